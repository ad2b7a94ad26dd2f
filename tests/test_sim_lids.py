"""Laws of doors that drop down: where fingers go, and that they open one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fabrika import judge, rollout
from fabrika.lines.home.pages import load_page
from fabrika.sim import CLOID_CLASS, build_fixture, draw_fixture
from fabrika.sim._joinery import BAR, CLEARANCE, Part
from fabrika.sim._lids import OUT, PUSH, PUSHES, TILTS, Ride, Tip, _behind, _out
from fabrika.sim._model import Frame

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


@pytest.mark.parametrize("kind", ["oven", "dishwasher", "coffee"])
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


def test_the_expert_opens_an_oven(tmp_path: Path) -> None:
    page = tmp_path / "open-oven.yaml"
    page.write_text(PAGE)
    task = load_page(page)
    episode = rollout(task.expert(), task.build(), task.scenario("train", 1), task.horizon)
    verdict = judge(episode, task.checks)
    assert verdict.passed, verdict.reason
