"""Laws of going with a part, of roads, and of driving in: what is done is what was rehearsed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabrika.sim import CLOID_CLASS
from fabrika.sim._drum import DEEP, before
from fabrika.sim._model import Frame
from fabrika.sim._parts import Grip, _try_grip
from fabrika.sim._reach import Stand
from fabrika.sim._roads import Roads

LOW, HIGH = (getattr(CLOID_CLASS.groups["base"], end)[2] for end in ("low", "high"))
ANGLES = st.floats(-3.1, 3.1)


def roads(world: float, own: float, shut: bool = False) -> Roads:
    """A base at the origin with its yaw in the world and in its odometry; nothing in its way."""
    rehearsal = SimpleNamespace(pose=lambda joints: None, clear=lambda margin, wide: not shut)
    model: Any = SimpleNamespace(
        robot=CLOID_CLASS, rehearsal=rehearsal, stand=lambda: np.array([0.0, 0.0, world])
    )
    return Roads(model, own)


@settings(deadline=None, max_examples=40)
@given(ANGLES, st.floats(-3.0, 3.0), ANGLES)
def test_a_base_gets_to_its_goal_and_never_turns_past_its_range(
    world: float, own: float, goal: float
) -> None:
    there = np.array([0.4, -0.2, goal])
    found = roads(world, own).corners(there, 0.03, np.random.default_rng(0))
    assert (found is not None) == roads(world, own).turns(goal)
    if found is None:
        return
    assert np.allclose(found[-1][:2], there[:2])
    assert np.cos(found[-1][2] - goal) == pytest.approx(1.0)
    yaws = np.array([world, *(corner[2] for corner in found)])
    assert (np.abs(np.diff(yaws)) <= 2.0 + 1e-9).all()  # the short way round is the one meant
    assert (yaws - world + own > LOW).all() and (yaws - world + own < HIGH).all()


def test_a_door_is_not_swung_further_than_the_base_turns() -> None:
    assert roads(0.0, 2.0).turns(0.0, more=1.0)
    assert not roads(0.0, 2.0).turns(0.0, more=1.5)


def test_what_is_shut_in_does_not_drive() -> None:
    goal = np.array([0.5, 0.0, 0.0])
    assert roads(0.0, 0.0, shut=True).corners(goal, 0.03, np.random.default_rng(0)) is None


@given(st.floats(0.0, 1.75))
def test_on_its_way_the_arm_is_between_what_was_rehearsed(at: float) -> None:
    ends = [{"lift": np.array([x]), "left_arm": np.full(7, x)} for x in (0.1, 0.3, -0.2)]
    way = tuple(zip((0.0, 1.0, 1.75), ends, strict=True))
    frame = Frame(np.zeros(3), np.eye(3))
    grip = Grip("left", frame, Stand(np.zeros(3), (), {}), 1.0, way)
    for where, posture in way:
        assert np.allclose(grip.posture(where)["left_arm"], posture["left_arm"])
    low, high = sorted((ends[0], ends[1]) if at <= 1.0 else (ends[1], ends[2]), key=_lift)
    assert _lift(low) - 1e-9 <= _lift(grip.posture(at)) <= _lift(high) + 1e-9
    assert grip.goal == 1.75


def _lift(posture: dict[str, Any]) -> float:
    return float(posture["lift"][0])


@given(st.floats(-2.0, 2.0), st.floats(-2.0, 2.0), ANGLES)
def test_what_drives_in_begins_straight_behind(x: float, y: float, yaw: float) -> None:
    base = np.array([x, y, yaw])
    first = before(base)
    ahead = np.array([np.cos(yaw), np.sin(yaw)])
    assert first[2] == yaw
    np.testing.assert_allclose(first[:2] + DEEP * ahead, base[:2], atol=1e-12)


def test_what_lies_in_a_drawer_goes_with_it_when_it_is_rehearsed() -> None:
    """Else a hand that shuts it would meet the thing where it lay when it was open."""
    start, lay, at = 0.3, np.array([0.2, 0.1, 0.5]), {"drawer": 0.3}
    put: dict[str, Any] = {"can": lay}
    met = []

    def rehearse(side: str, base: Any, goals: Any, *_: Any) -> Any:
        np.testing.assert_allclose(put["can"] - lay, [start - at["drawer"], 0.0, 0.0], atol=1e-9)
        met.append(at["drawer"])
        return tuple({} for _ in goals)

    rehearsal = SimpleNamespace(
        pose=lambda joints: None,
        move=at.__setitem__,
        put=lambda name, position, turn: put.__setitem__(name, position),
    )
    part = SimpleNamespace(motion="slide", axis=(-1.0, 0.0, 0.0))
    model = SimpleNamespace(
        rehearsal=rehearsal,
        parts={"drawer": part},
        things={"can": {}},
        solid=["can"],
        opening=lambda joint: start,
        body=lambda joint, to=start: Frame(np.array([-to, 0.0, 0.4]), np.eye(3)),
        thing=lambda name: Frame(lay, np.eye(3)),
        under=lambda name: "drawers.top",
        spot_body=lambda place: "drawer",
    )
    worker: Any = SimpleNamespace(
        model=model,
        robot=SimpleNamespace(hands=CLOID_CLASS.hands, drives=False),
        limbs=SimpleNamespace(joints={}),
        rehearse=rehearse,
        turns=lambda base, more: True,
    )
    palm = Frame(np.zeros(3), np.eye(3))
    grip = _try_grip(worker, "drawer", (0.0, 0.0), "left", palm, np.zeros(3), {})
    assert grip is not None and grip.goal == 0.0 and met[-1] == 0.0
