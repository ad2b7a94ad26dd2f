"""What a furnished room costs while it rests: with sleep, without, and the robot alone.

    python benchmarks/room_rest.py [--things 40] [--seconds 8] [--passes 3]

All three are run in turns in one process; the fastest pass of each counts.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from fabrika import Scenario
from fabrika.lines.home._variation import robot_variation
from fabrika.sim import (
    CATALOGUE,
    CLOID_CLASS,
    FIXTURES,
    SimWorld,
    arrange,
    draw_fixture,
    draw_thing,
    places,
    put_on,
    reach_of,
    scene,
)

WALLS: Any = {
    "back": ["fridge", "counter", "oven", "coffee"],
    "left": ["washer", "drawers", "microwave", "cabinet", "hook"],
    "right": ["dishwasher", "sink", "shelf", "bin"],
}
FREE = {"table": (-0.9, -0.7), "table_2": (-0.9, 0.9)}
"""What stands in the room, where."""
SETTLING = 2.0
"""Seconds that are run before anything is timed [s]."""


def room(seed: int, count: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    paint = {"rgba": [0.8, 0.8, 0.8, 1.0]}
    drawn = {name: draw_fixture(rng, name) | paint for wall in WALLS.values() for name in wall}
    for params in drawn.values():
        params["width"] = min(params.get("width", 0.1), 1.0)
    fixtures = arrange(rng, drawn, WALLS)
    for name, pos in FREE.items():
        fixtures[name] = draw_fixture(rng, "table") | paint | {"pos": list(pos), "yaw": 0.0}
    # A bench is for robots that stand at it.
    assert {params["kind"] for params in fixtures.values()} == set(FIXTURES) - {"bench"}
    spots = {name: p for name, p in places(fixtures).items() if p.spot.headroom > 0.35}
    things: dict[str, Any] = {}
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in spots}
    while len(things) < count:
        spot = sorted(spots)[int(rng.integers(len(spots)))]
        params = draw_thing(rng, sorted(CATALOGUE)[int(rng.integers(len(CATALOGUE)))])
        if put := put_on(rng, spots[spot], params, taken[spot]):
            things[f"thing_{len(things):02d}"] = put
            taken[spot].append((*put["pos"][:2], reach_of(put)))
    varied = robot_variation(rng) | {"start": [-0.2, 0.0, 0.0]}
    return {"fixtures": fixtures, "things": things, "pushes": [], **varied}


def speed(params: dict[str, Any], seconds: float, sleep: bool) -> tuple[float, SimWorld]:
    """Times real time of a room in which the robot holds its home posture."""
    scenario = Scenario(
        task="home/room-v1", split="train", index=0, instruction="-", params=params, draw=""
    )
    free = tuple(sorted(params["things"]))
    world = SimWorld(CLOID_CLASS, scene, tracked=(), free=free, seconds=60, sleep=sleep)
    world.reset(scenario)
    home = {name: value.copy() for name, value in CLOID_CLASS.home.items()}
    for _ in range(round(SETTLING / world.dt)):
        world.step(home)
    start = time.perf_counter()
    for _ in range(round(seconds / world.dt)):
        world.step(home)
    return seconds / (time.perf_counter() - start), world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--things", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--passes", type=int, default=3)
    args = parser.parse_args()
    full = room(0, args.things)
    bare = full | {"fixtures": {}, "things": {}}
    cases = {"the robot alone": (bare, False), "asleep": (full, True), "awake": (full, False)}
    best, size = dict.fromkeys(cases, 0.0), {}
    for _ in range(args.passes):
        for name, (params, sleep) in cases.items():
            found, world = speed(params, args.seconds, sleep)
            best[name], size[name] = max(best[name], found), world._model.nv
    print(f"{len(full['fixtures'])} fixtures, {len(full['things'])} things")
    for name, value in best.items():
        share = f"{value / best['the robot alone']:.2f} of the robot alone"
        print(f"{name:16} {value:5.1f} times real time, {share}; nv {size[name]}")


if __name__ == "__main__":
    main()
