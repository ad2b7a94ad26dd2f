"""Where things stand on the floor: before the robot, or along the way between two fixtures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import cos, hypot, sin
from typing import Any

import numpy as np

from fabrika.lines.home._yaml import Value
from fabrika.sim import reach_of
from fabrika.sim._scene import ROOM

Rng = np.random.Generator
BEFORE = 0.5
"""How far before a fixture's front who stands there stands [m]."""
WAY = 0.2
"""How far from the middle of a way things stand on it [m]."""
APART = 0.25
"""Least distance between two things on the floor [m]."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A rectangle of the floor: from the middle of one end to that of the other [m]."""

    first: tuple[float, float]
    last: tuple[float, float]
    half: float
    """Half of its width [m]."""

    def at(self, along: float, aside: float) -> tuple[float, float]:
        """A point (x, y) of it: a share of its length, and how far to the left of that [m]."""
        (x, y), (u, v) = self.first, self.last
        far = hypot(u - x, v - y)
        return (
            x + along * (u - x) - aside * (v - y) / far,
            y + along * (v - y) + aside * (u - x) / far,
        )

    def seen(self, x: float, y: float) -> tuple[float, float]:
        """The share of its length and how far to the left a point is: undoes `at`."""
        (a, b), (u, v) = self.first, self.last
        far = hypot(u - a, v - b)
        c, s = (u - a) / far, (v - b) / far
        return (c * (x - a) + s * (y - b)) / far, c * (y - b) - s * (x - a)


FREE = Strip((0.2, 0.0), (ROOM - 1.1, 0.0), 0.6)
"""The floor before the robot."""


def strip(along: Sequence[str], fixtures: Mapping[str, Mapping[str, Any]]) -> Strip:
    """The way from before one fixture to before another; the free floor if none are named."""
    if not along:
        return FREE
    first, last = (_before(fixtures[name]) for name in along)
    return Strip(first, last, WAY)


def _before(params: Mapping[str, Any]) -> tuple[float, float]:
    """Where one stands before a fixture, from above [m]."""
    (x, y), far = params["pos"], params.get("depth", 0.0) / 2 + BEFORE
    return float(x + far * cos(params["yaw"])), float(y + far * sin(params["yaw"]))


def lie(
    rng: Rng, where: Strip, params: dict[str, Any], taken: Collection[tuple[float, float, float]]
) -> dict[str, Any] | None:
    """The thing's params with ``pos`` and ``yaw`` on a strip, clear of what is there; None if full.

    ``taken``: circles (x, y, radius) in the world [m].
    """
    radius = reach_of(params)
    for _ in range(60):
        x, y = where.at(float(rng.uniform()), float(rng.uniform(-where.half, where.half)))
        if all(hypot(x - u, y - v) > radius + r + APART for u, v, r in taken):
            yaw = float(rng.uniform(-np.pi, np.pi))
            return {**params, "pos": [round(x, 5), round(y, 5), 0.001], "yaw": round(yaw, 5)}
    return None


def way_between(
    value: Value, places: Collection[str], fixtures: Collection[str]
) -> tuple[str, ...]:
    """The two fixtures that a page's way is between; only what is on the floor lies along one."""
    names = [item.choice(fixtures, "fixture") for item in value.items()]
    if len(set(names)) != 2 or len(names) != 2:
        value.wrong("a way is between two fixtures, as in `along: [fridge, table]`.")
    if set(places) != {"floor"}:
        value.wrong("only what is on the floor lies along a way: `on: floor`.")
    return tuple(names)
