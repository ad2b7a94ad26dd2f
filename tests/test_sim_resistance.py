"""Laws of resistance: what meets it gives way, keeps what it holds, and sees it coming."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fabrika
from fabrika import Story
from fabrika.lines.home._narrator import Narrator
from fabrika.sim import CLOID_CLASS, Kinematics, Limbs, body_in_base, draw_fixture, fixture
from fabrika.sim._rehearsal import Rehearsal
from fabrika.sim._skills import _PRESSED

KINEMATICS = Kinematics(CLOID_CLASS)
GROUPS = CLOID_CLASS.groups
ARMS = {hand.arm for hand in CLOID_CLASS.hands.values()}
COUNTER = {"pos": [0.35, 0.0], "yaw": np.pi, "rgba": [0.8, 0.8, 0.8, 1.0]}


@given(
    st.lists(st.floats(0.0, 1.0), min_size=len(GROUPS), max_size=len(GROUPS)),
    st.floats(0.0, 2 * _PRESSED),
)
def test_what_is_resisted_is_commanded_to_where_it_is(shares: list[float], force: float) -> None:
    limbs = Limbs(CLOID_CLASS, KINEMATICS, 0.04)
    limbs.start({})
    wanted = {name: value.copy() for name, value in limbs.joints.items()}
    skill = limbs.wait(1.0)
    next(skill)
    seen = {f"joint/{name}": value + 0.01 for name, value in wanted.items()}
    felt = {"truth/torque": np.array(shares), "truth/contact": np.array([force, 0.0, 0.0, 0.0])}
    skill.send(seen | felt)
    for (name, group), share in zip(GROUPS.items(), shares, strict=True):
        gives = not group.hand and (
            force > _PRESSED or (name in ARMS and share > CLOID_CLASS.effort)
        )
        there = seen[f"joint/{name}"] if gives else wanted[name]
        np.testing.assert_array_equal(limbs.joints[name], there)


@pytest.mark.parametrize("feels", [True, False])
def test_who_feels_what_is_in_the_way_does_not_press_ever_harder(feels: bool) -> None:
    task = fabrika.task("home/open-drawer-v1")

    def story(first: Any, rng: Any, me: Narrator) -> Story:
        limbs = Limbs(CLOID_CLASS, KINEMATICS, 0.04)
        limbs.start(first)
        ahead = body_in_base(first, "drawers")[0][:2]
        goal = np.array([*ahead, 0.0])
        yield from limbs.drive(
            lambda: goal - limbs.joints["base"], speed=0.15, within=0.02, patience=20.0
        )

    reads = {"truth/base", "truth/drawers", "truth/contact"} | {f"joint/{n}" for n in GROUPS}
    actor = Narrator("drives on", tuple(reads | ({"truth/torque"} if feels else set())), story)
    scenario = task.scenario("train", 0)
    episode = fabrika.rollout(actor, task.build(), scenario, 20.0)
    force = episode.observations["truth/contact"][:, 0]
    late = force[np.flatnonzero(force > 1.0)[0] + round(0.2 / episode.dt) :]
    assert (late.max() < 1.75 * _PRESSED) == feels


@given(st.floats(-0.25, 0.30), st.floats(-0.3, 0.3), st.floats(-0.8, 0.8))
@settings(max_examples=25, deadline=None)
def test_a_wide_look_misses_nothing_within_its_margin(x: float, y: float, yaw: float) -> None:
    counter = draw_fixture(np.random.default_rng(0), "counter") | COUNTER
    it = Rehearsal(CLOID_CLASS, fixture("counter", counter))
    it.pose({"base": np.array([x, y, yaw])})
    wide = it.clear(0.03, wide=True)
    model, data, line = it._model, it._data, np.zeros(6)
    solid = np.flatnonzero(model.geom_contype | model.geom_conaffinity)
    mine = it._mine[model.geom_bodyid]
    nearest = min(
        mujoco.mj_geomDistance(model, data, int(a), int(b), 0.1, line)
        for a in solid[mine[solid]]
        for b in solid[~mine[solid]]
    )
    assert wide or nearest < 0.032 or not it.clear(-0.1)
    assert not wide or nearest > 0.028
    assert it.clear(0.03) or not wide
