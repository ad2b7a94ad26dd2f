"""Laws of doors that drop down, and of lids: where fingers go, and that they open one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from fabrika import judge, rollout
from fabrika._signals import Array, Signals
from fabrika.lines.home.pages import OWN, load_page
from fabrika.sim import CLOID_CLASS, Kinematics, build_fixture, draw_fixture
from fabrika.sim._along import JAMMED, Along, go_along
from fabrika.sim._joinery import BAR, CLEARANCE, Part
from fabrika.sim._levers import DIPS, Lever
from fabrika.sim._lids import OUT, PUSH, PUSHES, TILTS, Ride, Tip, _behind, _out
from fabrika.sim._model import Frame
from fabrika.sim._parts import _find_press
from fabrika.sim._scenery import Scenery
from fabrika.sim._work import Worker

FINGER = 0.009
"""Radius of a finger [m]."""
PAGE = """task: test/open-oven-v1
about: Open the oven.
room:
  back: [counter, oven, drawers]
things:
  can:
    from: can
    on: counter.top
goal:
  - open(oven_door)
words:
  - open the oven
held-out-words:
  - pull the oven open
"""


def door(kind: str) -> Part:
    rng = np.random.default_rng(3)
    return next(p for p in build_fixture(kind, draw_fixture(rng, kind)).parts if p.level)


@pytest.mark.parametrize("kind", ["oven", "dishwasher"])
@pytest.mark.parametrize("roll", [1.0, -1.0])
@pytest.mark.parametrize("tilt", TILTS)
def test_fingers_behind_a_bar_touch_neither_bar_nor_panel(
    kind: str, roll: float, tilt: float
) -> None:
    part, hand = door(kind), CLOID_CLASS.hands["right"]
    ride = Ride("right", roll, 0.0, 1.0, (_behind(tilt), _behind(tilt)))
    palm = ride.palm(part, hand, 0.0)
    np.testing.assert_allclose(palm.turn.T @ palm.turn, np.eye(3), atol=1e-9)
    assert np.linalg.det(palm.turn) > 0.99
    # The bar's axis and the fingers' are skew lines, square to each other.
    away = np.array(part.handle) - palm.at
    across = away - (away @ palm.turn[:, 0]) * palm.turn[:, 0]
    across -= (across @ np.array(part.bar)) * np.array(part.bar)
    assert np.linalg.norm(across) > BAR + FINGER
    tip = palm.point(hand.bounds[1], 0.0, 0.0) - np.array(part.handle)
    assert -CLEARANCE + FINGER < tip @ np.array(part.out) < -BAR


@pytest.mark.parametrize("kind", ["oven", "dishwasher"])
def test_the_bent_tip_of_a_steep_finger_comes_in_between_bar_and_edge(kind: str) -> None:
    part, hand = door(kind), CLOID_CLASS.hands["right"]
    ride = Ride("right", 1.0, 0.0, 1.0, (_behind(min(TILTS)), _behind(0.0)))
    here = SimpleNamespace(body=lambda joint, at: Frame(np.zeros(3), np.eye(3)))
    here.parts = {part.joint: part}
    worker = SimpleNamespace(model=here)
    for far in np.linspace(0.0, OUT, 25):
        palm = _out(worker, part.joint, ride, 0.0, ride.palm(part, hand, 0.0), far)  # type: ignore[arg-type]
        tip = palm.point(0.150, 0.0, 0.0094) - np.array(part.handle)  # of the middle finger
        assert np.hypot(tip[0], tip[2]) > BAR + FINGER + 0.002
        beside = tip[2] < 0.05 + FINGER  # the panel ends 5 cm above its bar
        assert not beside or CLEARANCE + tip[0] > FINGER + 0.003


@pytest.mark.parametrize("tilt", PUSHES)
def test_fingertips_that_push_stay_before_the_bar_and_on_the_panel(tilt: float) -> None:
    part, hand = door("oven"), CLOID_CLASS.hands["left"]
    ride = Ride("left", 1.0, 1.5, 0.0, (Tip(0.0, *PUSH), Tip(tilt, *PUSH)))
    for at in (1.5, 0.7, 0.0):
        tip = ride.palm(part, hand, at).point(hand.bounds[1], 0.0, 0.0) - np.array(part.handle)
        assert 0.0 < CLEARANCE + tip @ np.array(part.out) < 1.5 * FINGER
        assert np.hypot(tip[2], tip[0] + CLEARANCE) > BAR + FINGER


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("dips", [(DIPS[0], DIPS[-1]), (DIPS[2], DIPS[1])])
@pytest.mark.parametrize(("start", "goal"), [(0.0, 1.6), (1.6, 0.0)])
def test_a_hand_at_a_lever_keeps_looking_ahead_and_stays_on_its_side_of_the_bar(
    side: str, dips: tuple[float, float], start: float, goal: float
) -> None:
    part, hand = door("coffee"), CLOID_CLASS.hands[side]
    lever = Lever(side, start, goal, dips)
    for share in (0.0, 0.5, 1.0):
        at = start + share * (goal - start)
        palm = Frame(*part.pose(at)) * lever.palm(part, hand, at)  # in the fixture's frame
        assert np.linalg.det(palm.turn) > 0.99
        dip = dips[0] + share * (dips[1] - dips[0])
        # Ahead is into the fixture; the palm looks down.
        np.testing.assert_allclose(palm.turn[:, 0], [-np.cos(dip), 0, -np.sin(dip)], atol=1e-9)
        bar = Frame(*part.pose(at)).point(*part.handle)
        x, y, z = palm.turn.T @ (bar - palm.at)
        assert 0.045 < x < hand.bounds[1] and abs(y) < 1e-9
        assert (z > 0) == (goal == 0.0) and abs(z) > BAR + FINGER
        outside = palm.at - 0.12 * lever.way(palm) - bar
        assert outside[0] > 0.08  # it comes from before the lid, and, to press, from above
        assert goal > 0.0 or outside[2] > palm.at[2] - bar[2]


class Stuck:
    """A worker whose part does not move, and whose hand is pressed with a force [N]."""

    dt = 0.04

    def __init__(self, force: float) -> None:
        self.seen = {"truth/contact": np.array([force, 0.0])}
        self.limbs = self.model = self
        self.joints = {"base": np.zeros(3)}

    def look(self, seen: object) -> None: ...
    def refresh(self) -> None: ...
    def pursue(self, goals: object, *, speed: float, turn: float) -> None: ...

    def opening(self, joint: str) -> float:
        return 0.5

    def body(self, joint: str, at: float) -> Frame:
        return Frame(np.zeros(3), np.eye(3))

    def base(self) -> Frame:
        return Frame(np.zeros(3), np.eye(3))

    def left(self, stand: Array) -> Array:
        return stand

    def tick(self) -> Iterator[Signals]:
        yield {}


@pytest.mark.parametrize("goal", [0.0, 1.5])
@pytest.mark.parametrize("force", [JAMMED - 20, JAMMED + 1])
def test_a_hand_that_jams_goes_no_further_opening_or_shutting(goal: float, force: float) -> None:
    way = Along(
        side="left",
        goal=goal,
        palm=lambda at: Frame(np.zeros(3), np.eye(3)),
        stand=lambda palm, at: np.zeros(3),
        seat=lambda palm: np.zeros(3),
        pace=0.4,
        lag=0.12,
        beyond=0.06,
        pressed=15.0,
    )
    steps = sum(1 for _ in go_along(cast("Worker", Stuck(force)), "lid", way))
    assert (steps == 0) == (force > JAMMED)


def test_fingers_still_point_after_a_stand_that_no_way_leads_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = load_page(OWN / "press-microwave.yaml")
    world, scenario = task.build(), task.scenario("train", 0)
    world.reset(scenario)
    seen = dict(world.observe(sorted(task.expert().reads)))
    scenery = Scenery(
        {n: f["kind"] for n, f in scenario.params["fixtures"].items()}, {"mug": "mug"}
    )
    rng = np.random.default_rng(0)
    worker = Worker(CLOID_CLASS, Kinematics(CLOID_CLASS), scenery, seen, rng, 0.04)
    tried: list[dict[str, Array]] = []
    pose = worker.model.rehearsal.pose
    fingers: dict[str, Array] = {}

    def watch(joints: Mapping[str, Array]) -> None:
        fingers.update({name: v for name, v in joints.items() if name.endswith("_hand")})
        pose(joints)

    def rehearse(side: str, *args: object) -> tuple[dict[str, Array], ...]:
        tried.append(
            {"is": fingers[f"{side}_hand"], "is to": np.array(CLOID_CLASS.hands[side].point)}
        )
        return ({},)

    monkeypatch.setattr(worker.model.rehearsal, "pose", watch)
    monkeypatch.setattr(worker, "rehearse", rehearse)
    monkeypatch.setattr(worker, "route", lambda goal: worker.look() and None)
    assert _find_press(worker, "microwave_button") is None
    assert len(tried) > 1
    assert all(np.array_equal(one["is"], one["is to"]) for one in tried)


def test_a_lid_guards_what_is_under_it_and_nothing_else() -> None:
    built = build_fixture("it", draw_fixture(np.random.default_rng(0), "coffee"))
    (lid,) = [p for p in built.parts if p.covers]
    names = {place.name for place in (*built.spots, *built.spaces)}
    assert set(lid.covers) <= names and "cup" not in lid.covers


def test_the_expert_opens_an_oven(tmp_path: Path) -> None:
    page = tmp_path / "open-oven.yaml"
    page.write_text(PAGE)
    task = load_page(page)
    episode = rollout(task.expert(), task.build(), task.scenario("train", 1), task.horizon)
    verdict = judge(episode, task.checks)
    assert verdict.passed, verdict.reason
