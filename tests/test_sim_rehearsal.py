"""Laws of rehearsing: the expert's model agrees with the world about what touches what."""

from __future__ import annotations

import numpy as np
import pytest

from fabrika import UnknownNameError
from fabrika.sim import CLOID_CLASS, draw_fixture, draw_thing, fixture, thing
from fabrika.sim._rehearsal import Rehearsal

PAINT = {"rgba": [0.8, 0.8, 0.8, 1.0]}
COUNTER = {"pos": [0.35, 0.0], "yaw": np.pi, **PAINT}
CAN = draw_thing(np.random.default_rng(0), "can_soup") | {"pos": [2.0, 0.0, 0.0], "yaw": 0.0}


def rehearsal() -> Rehearsal:
    counter = draw_fixture(np.random.default_rng(0), "counter") | COUNTER
    return Rehearsal(CLOID_CLASS, fixture("counter", counter) + thing("can", CAN))


def test_home_touches_nothing_and_keeps_a_margin() -> None:
    it = rehearsal()
    assert it.touches() == [] == it.touches(deeper=-0.005)


def test_what_drives_into_a_counter_touches_it() -> None:
    it = rehearsal()
    depths = []
    for x in np.linspace(0.0, 0.5, 26):
        it.pose({"base": np.array([x, 0.0, 0.0])})
        depths.append(max((t.depth for t in it.touches() if t.other == "counter"), default=0.0))
    assert depths[0] == 0.0 and depths[-1] > 0.02
    assert {t.other for t in it.touches()} == {"counter"}
    assert {t.part for t in it.touches()} & {"torso", "base"}


def test_a_margin_is_met_before_the_thing_itself() -> None:
    it = rehearsal()
    first: dict[float, float] = {}
    for x in np.linspace(0.0, 0.4, 201):
        it.pose({"base": np.array([x, 0.0, 0.0])})
        for margin in (0.0, 0.03):
            if it.touches(deeper=-margin):
                first.setdefault(margin, x)
    assert first[0.0] - first[0.03] == pytest.approx(0.03, abs=0.012)


def test_a_thing_is_where_it_is_put_and_may_be_ignored() -> None:
    it = rehearsal()
    palm = it._data.body("right_palm")
    it.put("can", palm.xpos - [0.0, 0.0, 0.05], np.eye(3))
    touched = it.touches()
    assert {t.other for t in touched} == {"can"} and touched[0].depth > 0.01
    assert touched == sorted(touched, key=lambda t: -t.depth)
    assert it.touches(ignore=("can",)) == []


def test_fists_are_no_collision_and_arms_that_cross_are() -> None:
    it = rehearsal()
    it.pose({"right_hand": np.array([0.2, 1.6, 1.6, 1.6, 1.6, 0.0])})
    assert it.touches() == []
    across = np.array(CLOID_CLASS.groups["right_arm"].home)
    across[2] = -1.5
    it.pose({"right_arm": across})
    assert any(t.other.startswith(("left_", "torso", "base")) for t in it.touches())
    with pytest.raises(UnknownNameError, match="right_arm"):
        it.pose({"right_arn": across})


def test_what_one_hand_lets_go_of_the_other_hand_keeps() -> None:
    jar = draw_thing(np.random.default_rng(0), "jar_jam") | {"pos": [3.0, 0.0, 0.0], "yaw": 0.0}
    it = Rehearsal(CLOID_CLASS, thing("can", CAN) + thing("jar", jar))
    at = np.array([0.03, 0.0, 0.06])
    it.hold("can", "left", at, np.eye(3))
    it.hold("jar", "right", at, np.eye(3))
    assert it.clear(0.0)
    it.let_go("can")
    for x in (0.0, 0.5):  # the jar goes with the base; the can stays, and is met or not
        it.pose({"base": np.array([x, 0.0, 0.0])})
        palm = it.palm("right")[0]
        it.clear(0.0)
        assert np.linalg.norm(it._data.body("jar").xpos - palm) == pytest.approx(0.067, abs=1e-3)
    assert np.linalg.norm(it._data.body("can").xpos - it.palm("left")[0]) > 0.3
    it.let_go()
    assert not it._held
