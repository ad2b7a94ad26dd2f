"""Laws of knobs: they turn by their bar, stay where they are left, and start where a page says."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabrika import UsageError
from fabrika.lines.home._goals import TURNED, moment, turned
from fabrika.lines.home._page import read_page
from fabrika.lines.home.pages import OWN
from fabrika.sim import build_fixture, draw_fixture, fixture
from fabrika.sim._turn import LAG, NEAR

PAGE = (OWN / "turn-off-stove.yaml").read_text()
KNOB = "stove_left_knob"


def params(at: float = 0.0) -> dict[str, Any]:
    drawn = draw_fixture(np.random.default_rng(0), "stove")
    place = {"pos": [1.0, 0.4], "yaw": 0.7, "rgba": [0.8, 0.8, 0.8, 1.0]}
    return {**drawn, **place, "turned": {KNOB: at}}


@pytest.mark.parametrize("at", [0.0, 0.4, 1.5])
def test_a_knob_starts_where_it_is_said_and_stays(at: float) -> None:
    body = fixture("stove", params(at))
    text = f'<mujoco><compiler angle="radian"/><worldbody>{body}</worldbody></mujoco>'
    model = mujoco.MjModel.from_xml_string(text)
    data = mujoco.MjData(model)
    for _ in range(500):
        mujoco.mj_step(model, data)
    assert data.joint(KNOB).qpos[0] == pytest.approx(at, abs=2e-3)
    # The picture that experts make of it, without knowing where it started, is the same.
    part = next(p for p in build_fixture("stove", params()).parts if p.joint == KNOB)
    own = data.body("stove").xmat.reshape(3, 3).T @ data.body(KNOB).xmat.reshape(3, 3)
    np.testing.assert_allclose(own, part.pose(at)[1], atol=5e-3)


@given(st.floats(0.0, np.pi / 2), st.sampled_from((0.0, 0.5, 1.0)))
def test_a_knob_is_turned_where_it_is_and_nowhere_else(at: float, share: float) -> None:
    scene = {"fixtures": {"stove": params()}, "things": {}}
    off = abs(at - share * np.pi / 2)
    for speed in (0.0, 0.1):
        now = moment({f"truth/{KNOB}": np.array([at, speed])}, scene)
        assert bool(turned(KNOB, share)(now)[0]) == (off < TURNED and not speed)


def test_the_skill_ends_well_within_what_the_goal_allows() -> None:
    assert 2 * NEAR < TURNED < LAG


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("turned(stove_left_knob, 0)", "open(stove_left_knob)", "no part that can be open"),
        ("turned(stove_left_knob, 0)", "turned(fridge_door, 0)", "no part that can be turned"),
        ("turned(stove_left_knob, 0)", "turned(stove_left_knob, 2)", "from 0 to 1, not 2"),
        ("turned(stove_left_knob, 0)", "turned(stove_left_knob, off)", "is a number"),
        ("goal:\n", "goal:\n  - turned(stove_left_knob, 1)\n", "impossible"),
        ("  stove_left_knob: [", "  fridge_door: [", "there is no knob 'fridge_door'"),
        ("knob: [0.5, 1]", "knob: [0.5, 0.1]", r"or \[least, most\]"),
        ("knob: [0.5, 1]", "knob: [0.5, 3]", "3 is not between 0 and 1"),
    ],
)
def test_nonsense_about_knobs_is_refused_with_its_line(old: str, new: str, words: str) -> None:
    assert old in PAGE
    with pytest.raises(UsageError, match=rf"page\.yaml:\d+:\d+: .*{words}"):
        read_page(PAGE.replace(old, new), "page.yaml")
