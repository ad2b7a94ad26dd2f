"""Laws of a furnished room: nothing overlaps, rest is cheap, and sleep can be stored."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import cos, hypot, sin
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabrika import ContractError, Scenario
from fabrika.lines.home._variation import robot_variation
from fabrika.sim import (
    CATALOGUE,
    CLOID_CLASS,
    SimWorld,
    arrange,
    draw_fixture,
    draw_thing,
    places,
    put_on,
    reach_of,
    scene,
)
from fabrika.sim._sleep import sleep_fields

WALLS: Any = {"back": ["fridge", "sink", "oven"], "left": ["washer", "drawers"], "right": ["table"]}
HOME = {name: value.copy() for name, value in CLOID_CLASS.home.items()}


def furnished(seed: int) -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    drawn = {name: draw_fixture(rng, name) for wall in WALLS.values() for name in wall}
    paint = {"rgba": [0.8, 0.8, 0.8, 1.0]}
    return {name: params | paint for name, params in arrange(rng, drawn, WALLS).items()}


def filled(seed: int, count: int) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Fixtures, and up to ``count`` things on their spots."""
    rng, fixtures, things = np.random.default_rng([seed, 1]), furnished(seed), dict[str, Any]()
    spots = {n: p for n, p in places(fixtures).items() if p.spot.headroom > 0.5}
    taken = []
    for number in range(count):
        place = spots[sorted(spots)[int(rng.integers(len(spots)))]]
        params = draw_thing(rng, sorted(CATALOGUE)[int(rng.integers(len(CATALOGUE)))])
        if put := put_on(rng, place, params, taken):
            things[f"thing_{number}"] = put
            taken.append((*put["pos"][:2], reach_of(put)))
    return fixtures, things


def scenario(seed: int) -> Scenario:
    fixtures, things = filled(seed, 30)
    varied = robot_variation(np.random.default_rng(seed))
    params = {"fixtures": fixtures, "things": things, "pushes": [], **varied}
    params["start"] = [-0.3, 0.0, 0.0]
    return Scenario(
        task="home/room-v1", split="train", index=seed, instruction="-", params=params, draw=""
    )


@cache
def world() -> SimWorld:
    free = tuple(sorted(scenario(0).params["things"]))
    return SimWorld(
        CLOID_CLASS, scene, tracked=(), free=free, seconds=9, joints=("fridge_door",), sleep=True
    )


def corners(params: dict[str, Any]) -> np.ndarray:
    x, y, yaw, half = *params["pos"], params["yaw"], params["width"] / 2
    turn = np.array([[cos(yaw), -sin(yaw)], [sin(yaw), cos(yaw)]])
    box = [(a, b) for a in (0.0, -params["depth"]) for b in (-half, half)]
    return np.array([turn @ corner for corner in box]) + np.array([x, y])


@given(st.integers(0, 10_000))
def test_fixtures_do_not_overlap_and_stay_in_the_room(seed: int) -> None:
    boxes = [corners(params) for params in furnished(seed).values()]
    for one, two in combinations(boxes, 2):
        apart = (one.min(0) >= two.max(0) - 1e-6) | (two.min(0) >= one.max(0) - 1e-6)
        assert apart.any()
    assert np.abs(np.concatenate(boxes)).max() < 1.9


@given(st.integers(0, 10_000))
def test_things_do_not_overlap_and_stand_within_their_spot(seed: int) -> None:
    _, things = filled(seed, 12)
    for one, two in combinations(things.values(), 2):
        (ax, ay, _), (bx, by, _) = one["pos"], two["pos"]
        assert hypot(ax - bx, ay - by) > reach_of(one) + reach_of(two)
    assert len(things) >= 3


def test_what_does_not_fit_a_wall_is_refused() -> None:
    drawn = {
        f"t{n}": {"kind": "table", "width": 1.2, "depth": 0.5, "height": 0.7} for n in range(4)
    }
    rng = np.random.default_rng(0)
    with pytest.raises(ContractError, match="too wide"):
        arrange(rng, drawn, {"back": list(drawn)})
    with pytest.raises(ContractError, match="no wall is given for t3"):
        arrange(rng, drawn, {"back": ["t0", "t1"], "left": ["t2"]})


def test_what_rests_sleeps_and_the_engine_agrees_who_does() -> None:
    it = world()
    it.reset(scenario(0))
    for _ in range(50):
        it.step(HOME)
    model, data = it._model, it._data
    awake = np.flatnonzero(np.asarray(data.tree_asleep) < 0)
    names = {model.body(model.dof_bodyid[model.tree_dofadr[tree]]).name for tree in awake}
    # What is small and top-heavy trembles by some hundredths of a radian a second.
    things = scenario(0).params["things"]
    trembles = {name for name, p in things.items() if p["kind"] in ("needle", "peg")}
    assert "base" in names and names - {"base"} <= trembles, "all but the robot"
    for name, values in sleep_fields(model, data.tree_asleep).items():
        found = getattr(data, name)
        same = (
            found == values if isinstance(values, int) else (found[: len(values)] == values).all()
        )
        assert same, name
    assert it.observe(["truth/fridge_door"])["truth/fridge_door"][0] == pytest.approx(0, abs=1e-3)


def test_a_world_with_sleepers_is_restored_to_the_bit() -> None:
    it, other, told = world(), world.__wrapped__(), []
    action = {name: value.copy() for name, value in HOME.items()}
    action["base"] = np.array([0.6, 0.3, 0.2])  # into the furniture, and what stands on it
    it.reset(scenario(0))
    for _ in range(90):
        it.step(action)
        told.append(it.state())
    for start in (3, 20, 60):  # settling, asleep, and woken
        other.restore(scenario(0), told[start])
        for state in told[start + 1 : start + 25]:
            other.step(action)
            assert (other.state() == state).all()
