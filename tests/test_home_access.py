"""Laws of what a page's check says of the robot's reach: what is out of it is told at its line."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from fabrika.lines.home._inspection import check_page
from fabrika.lines.home._page import read_page
from fabrika.lines.home.pages import START
from fabrika.sim._fixtures import RANGES
from fabrika.testing import Breach

NAME = "home/stand-cup-v1"
PAGE = START.read_text().replace("TASK", NAME)


def page(fixture: str, *goals: str) -> str:
    """The page that a new task begins as, with a fixture more and other goals."""
    text = PAGE.replace("[counter, drawers]", f"[counter, drawers, {fixture}]")
    return re.sub(r"(?<=\ngoal:\n)(  .*\n)+", "".join(f"  - {goal}\n" for goal in goals), text)


def checked(text: str) -> list[Breach]:
    return check_page(read_page(text, "page.yaml"), Path("page.yaml"))


def resized(monkeypatch: pytest.MonkeyPatch, kind: str, size: str, at: float) -> None:
    """From now on all fixtures of a kind have this size [m]."""
    monkeypatch.setitem(RANGES, kind, {**RANGES[kind], size: (at, at + 0.01)})


WITHIN = {
    "shelf": ["on(cup, shelf.top)"],
    "cabinet": ["inside(cup, cabinet.inside)", "closed(cabinet_door)"],
    "microwave": ["pressed(microwave_button)", "open(microwave_door)"],
    "dishwasher": [
        "inside(cup, dishwasher.upper)",
        "closed(dishwasher_upper)",
    ],
    "stove": ["turned(stove_left_knob, 1)", "on(cup, stove.top)"],
}


@pytest.mark.parametrize("fixture", WITHIN)
def test_what_is_within_reach_is_not_refused(fixture: str) -> None:
    assert checked(page(fixture, *WITHIN[fixture])) == []


BEYOND = {
    "a shelf too high": ("shelf", "height", 2.5, "on(cup, shelf.top)", "'shelf.top'"),
    "a button too high": ("microwave", "base", 2.1, "pressed(microwave_button)", "no finger"),
    "a button too low": ("microwave", "base", 0.0, "pressed(microwave_button)", "no finger"),
    "a handle too high": ("cabinet", "base", 1.9, "open(cabinet_door)", "no hand opens"),
    "behind such a door": ("cabinet", "base", 1.9, "inside(cup, cabinet.inside)", "no hand opens"),
    "a handle too low": ("microwave", "base", 0.0, "open(microwave_door)", "no hand opens"),
    "a basin too deep": ("sink", "depth", 0.58, "inside(cup, sink.inside)", "'sink.inside'"),
    "a knob too high": ("stove", "height", 2.0, "turned(stove_left_knob, 1)", "no hand turns"),
}


@pytest.mark.parametrize("what", BEYOND)
def test_what_is_out_of_reach_is_refused_at_its_goal(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, size, at, goal, words = BEYOND[what]
    resized(monkeypatch, kind, size, at)
    text = page(kind, "upright(cup)", goal)
    (breach,) = checked(text)
    line = text.splitlines().index(f"  - {goal}") + 1
    assert breach.code == "page/reach" and f"page.yaml:{line}:5: " in breach.message
    assert words in breach.message and "in 5 of 5 scenarios" in breach.message


def test_of_several_things_of_a_kind_what_is_out_of_reach_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resized(monkeypatch, "cabinet", "base", 1.9)
    text = page("cabinet", "inside(can, cabinet.inside)").replace("[0, 2]", "[1, 3]")
    assert len(checked(text)) == 1


def on_aloha(room: str, goal: str) -> str:
    text = page("shelf", goal).replace("[counter, drawers, shelf]", f"[{room}]")
    text = re.sub(r"on: (counter.top|\[.*\])", "on: table.top", text)
    return text.replace("about:", "robot: aloha\nabout:", 1)


@pytest.mark.skipif(find_spec("gym_aloha") is None, reason="gym-aloha (the extra aloha) is missing")
@pytest.mark.parametrize(
    ("room", "goal", "why"),
    [
        ("drawers", "open(drawers_top)", "no hand opens 'drawers_top'"),
        ("coffee", "pressed(coffee_button)", "no finger reaches 'coffee_button'"),
    ],
)
def test_hands_that_neither_hook_nor_point_open_and_press_nothing(
    room: str, goal: str, why: str
) -> None:
    (breach,) = checked(on_aloha(room, goal))
    assert breach.code == "page/reach" and why in breach.message


@pytest.mark.skipif(find_spec("gym_aloha") is None, reason="gym-aloha (the extra aloha) is missing")
def test_a_robot_that_stands_in_what_it_works_at_is_told_at_the_room() -> None:
    text = on_aloha("counter, drawers", "open(drawers_top)")
    (breach,) = checked(text)
    line = next(n for n, words in enumerate(text.splitlines(), 1) if words.startswith("  back:"))
    assert breach.code == "page/room" and f"page.yaml:{line}:" in breach.message
