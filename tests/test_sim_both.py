"""Laws of carrying with two hands: what no hand holds, two hold level, and set down."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fabrika import Episode, judge, rollout
from fabrika._signals import Array
from fabrika.lines.home.pages import OWN, load_page
from fabrika.sim import CATALOGUE, CLOID_CLASS, Kinematics, Limbs, draw_thing, thing
from fabrika.sim._both import FORCE
from fabrika.sim._both_ways import SHAPES
from fabrika.sim._grasps_parallel import ways_to_hold
from fabrika.sim._model import Frame
from fabrika.sim._pose import quaternion_rotation
from fabrika.sim._rehearsal import Rehearsal

AT = Frame(np.array([0.5, 0.0, 0.9]), np.eye(3))
PARCELS = [name for name, instance in CATALOGUE.items() if instance.category == "parcel"]


@cache
def carried() -> Episode:
    """One parcel, from the counter to the table."""
    task = load_page(OWN / "parcel-to-table.yaml")
    episode = rollout(task.expert(), task.build(), task.scenario("train", 0), task.horizon)
    return episode.with_verdict(judge(episode, task.checks))


@given(st.sampled_from(PARCELS), st.integers(0, 99), st.floats(-3.1, 3.1))
def test_no_hand_holds_a_parcel_by_itself(name: str, seed: int, facing: float) -> None:
    params = draw_thing(np.random.default_rng(seed), name)
    assert params["kind"] in SHAPES
    for hand in CLOID_CLASS.hands.values():
        for slim in (False, True):
            assert not ways_to_hold(hand, params, AT, facing, slim=slim)
    cup = draw_thing(np.random.default_rng(seed), "cup_plastic")
    assert ways_to_hold(CLOID_CLASS.hands["left"], cup, AT, facing)


def test_what_two_hands_hold_may_touch_both_and_nothing_else() -> None:
    def bar(length: float) -> tuple[Rehearsal, dict[str, tuple[Array, Array]]]:
        sizes = {"kind": "box", "depth": 0.03, "width": length, "height": 0.03}
        made = {**sizes, "mass": 1.0, "friction": 0.5, "rgba": [1.0] * 4, "pos": [0, 0, 3.0]}
        it = Rehearsal(CLOID_CLASS, thing("bar", {**made, "yaw": 0.0}))
        it.pose({hand.arm: np.array(hand.wide[0]) for hand in CLOID_CLASS.hands.values()})
        return it, {side: it.palm(side) for side in CLOID_CLASS.hands}

    _, palms = bar(0.1)
    between = 0.5 * (palms["left"][0] + palms["right"][0])
    it, palms = bar(float(np.ptp([at[1] for at, _ in palms.values()])))
    for middle in (between, np.array([0.0, 0.0, 1.05])):  # the latter is in the torso
        for number, (side, (at, turn)) in enumerate(palms.items()):
            it.hold("bar", side, turn.T @ (middle - at), turn.T)
            if not number:
                assert not it.clear(0.0), "it is in the other hand, too, or in the torso"
        assert it.clear(0.0) == (middle is between)
        it.let_go()
    it.put("bar", np.array([0.0, 0.0, 3.0]), np.eye(3))
    assert it.clear(0.0)


def test_palms_that_are_led_do_not_drift() -> None:
    kinematics = Kinematics(CLOID_CLASS)
    limbs = Limbs(CLOID_CLASS, kinematics, 0.04)
    away = {hand.arm: np.array(hand.wide[0]) for hand in CLOID_CLASS.hands.values()}
    limbs.start({}, away)
    first = {side: limbs.palm(side) for side in CLOID_CLASS.hands}
    for _ in range(500):
        limbs.lead({side: limbs.palm(side) for side in CLOID_CLASS.hands})
    for side, (at, turn) in first.items():
        here, turned = kinematics.palm(limbs.joints, side)
        assert np.linalg.norm(here - at) < 0.004
        assert np.trace(turned.T @ turn) > 3 - 0.002


def test_two_hands_hold_it_level_with_as_much_force_as_they_are_to() -> None:
    episode = carried()
    assert episode.verdict is not None and episode.verdict.passed, episode.verdict
    things, robots = episode.observations["truth/support"][:, 0].T
    up = quaternion_rotation(episode.observations["truth/parcel"][:, 3:7])[:, 2, 2]
    height = episode.observations["truth/parcel"][:, 2]
    aloft = (height > height[0] + 0.05) & (things < 0.1)
    assert aloft.mean() > 0.2, "it is carried, and not slid"
    assert up[aloft].min() > np.cos(0.05)
    assert 0.5 * FORCE < np.median(robots[aloft]) < 1.5 * FORCE
