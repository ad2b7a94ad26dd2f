"""Laws of tasks that several robots do: one page, the same goals and words, whoever does it."""

from __future__ import annotations

import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabrika import ContractError, Task, UnknownNameError, judge, rollout
from fabrika.lines.home import pages
from fabrika.lines.home._page import read_page
from fabrika.sim import CATALOGUE, CLOID_CLASS, aloha, draw_thing, places
from fabrika.sim._grasps_parallel import pinch, ways_to_hold
from fabrika.sim._model import Frame
from fabrika.sim._pose import yaw_rotation

needs_files = pytest.mark.skipif(
    find_spec("gym_aloha") is None, reason="gym-aloha is not installed (the extra aloha)"
)
SHARED = ("glass-aside", "cartons-aside", "cups-aside")
"""Pages that both robots do."""
each = pytest.mark.parametrize("name", SHARED)
GRIPPER = 0.077
"""How far ALOHA's gripper goes before its fingers begin, from its palm [m]."""


def page(name: str) -> Path:
    return pages.OWN / f"{name}.yaml"


def on(name: str, robot: str) -> Task:
    return pages.load_page(page(name), robot)


@needs_files
@each
def test_a_page_is_the_same_task_on_another_robot(name: str) -> None:
    ours, theirs = pages.load_page(page(name)), on(name, "aloha")
    assert ours.name == f"home/{name}-v1" and theirs.name == f"home/{name}-on-aloha-v1"
    for what in ("instructions", "held_out_instructions", "horizon"):
        assert getattr(ours, what) == getattr(theirs, what)
    limits = [
        [(c.name, c.kind, c.at_least, c.at_most, c.unit) for c in task.checks]
        for task in (ours, theirs)
    ]
    assert limits[0] == limits[1]


@needs_files
@each
def test_both_are_entry_points(name: str) -> None:
    project = tomllib.loads((pages.OWN.parents[4] / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["fabrika.tasks"]
    for task in (pages.load_page(page(name)), on(name, "aloha")):
        module, _, attribute = points[task.name].partition(":")
        assert module == pages.__name__ and getattr(pages, attribute).name == task.name


@needs_files
@each
@pytest.mark.parametrize("robot", ["cloid-class", "aloha"])
def test_its_expert_passes(name: str, robot: str) -> None:
    task = on(name, robot)
    episode = rollout(task.expert(), task.build(), task.scenario("train", 0), task.horizon)
    verdict = judge(episode, task.checks)
    assert verdict.passed, (verdict.reason, episode.fault)


@needs_files
@each
@settings(max_examples=10)
@given(index=st.integers(0, 10**6))
def test_what_stands_fixed_stands_where_it_works(name: str, index: int) -> None:
    params = on(name, "aloha").scenario("train", index).params
    x, y, yaw = params["start"]
    middle = places(params["fixtures"])["bench.top"].middle
    assert np.hypot(middle[0] - x, middle[1] - y) < 0.03
    bench = params["fixtures"]["bench"]
    facing = np.array([np.cos(bench["yaw"]), np.sin(bench["yaw"])])
    assert facing @ [np.cos(yaw), np.sin(yaw)] < -0.999


def test_a_robot_that_the_page_does_not_name_is_refused() -> None:
    read = read_page(page("cup-to-table").read_text(), "cup-to-table.yaml")
    with pytest.raises(UnknownNameError, match="cloid-class"):
        read.on("aloha")
    with pytest.raises(AttributeError):
        _ = pages.no_such_page_on_aloha


@needs_files
def test_a_robot_that_stands_fixed_works_at_one_fixture() -> None:
    text = page("cup-to-table").read_text()
    with pytest.raises(ContractError, match=r"aloha stands fixed .* counter, table"):
        from fabrika.lines.home._chores import task_of

        task_of(read_page(f"robot: aloha\n{text}", "cup-to-table.yaml"))


# -- how two fingers hold ------------------------------------------------------------------------

turns = st.floats(-np.pi, np.pi)


@given(turns, st.floats(0.0, 1.5), st.sampled_from((1.0, -1.0)))
def test_a_pinch_closes_level_and_points_down_but_for_its_slant(
    across: float, slant: float, roll: float
) -> None:
    turn = pinch(across, slant, roll)
    assert np.allclose(turn @ turn.T, np.eye(3)) and np.linalg.det(turn) > 0
    assert abs(turn[2, 1]) < 1e-12 and np.isclose(turn[2, 0], -np.cos(slant))


@needs_files
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(CATALOGUE)), turns)
def test_what_is_between_the_fingers_is_thinner_than_they_open(
    seed: int, instance: str, yaw: float
) -> None:
    """And the pocket is in the thing: under its top, over its bottom."""
    params = draw_thing(np.random.default_rng(seed), instance)
    hand = aloha().hands["left"]
    for grasp in ways_to_hold(hand, params, Frame(np.zeros(3), yaw_rotation(yaw)), 0.0):
        pocket = grasp.palm.point(*hand.pocket)
        assert 0.0 < pocket[2] < height(params)
        assert np.allclose(grasp.away, -np.array(hand.approach))
        tip = grasp.palm.point(hand.bounds[1], 0.0, 0.0)
        assert tip[2] > 0.004
        assert thickness(params, grasp.palm.turn[:, 1], pocket) <= hand.span
        if grasp.palm.turn[2, 0] < -1 + 1e-9:  # straight down: its top is before the gripper's body
            assert grasp.palm.at[2] - height(params) > GRIPPER


def height(params: dict[str, Any]) -> float:
    return float(params.get("height", 2 * params.get("radius", 0.0)))


def thickness(params: dict[str, Any], closing: np.ndarray, at: np.ndarray) -> float:
    """How thick a box or a round thing is there; an open vessel where its wall is [m]."""
    if "width" in params:
        return float(params["depth" if abs(closing[0]) > 0.5 else "width"])
    if np.hypot(at[0], at[1]) > 0.5 * params["radius"]:
        return 0.005
    neck = params["kind"] == "bottle" and at[2] > 0.65 * params["height"]
    return float(2 * params["radius"] * (0.4 if neck else 1.0))


def test_a_hand_that_wraps_is_given_its_own_grasps() -> None:
    params = draw_thing(np.random.default_rng(0), "cup_plastic")
    frame = Frame(np.zeros(3), np.eye(3))
    found = ways_to_hold(CLOID_CLASS.hands["left"], params, frame, 0.0)
    assert found and all(np.allclose(grasp.away, [0.0, 0.0, -1.0]) for grasp in found)
