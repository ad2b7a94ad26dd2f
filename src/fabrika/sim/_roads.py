"""Where a base can drive: ways over the floor that touch nothing, arms as they are.

A base turns no further than its range, in its own odometry: a way may have to go round the other
way. A model knows yaws of the world only; what they are in the odometry follows from both, now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import pi

import numpy as np

from fabrika._signals import Array
from fabrika.sim._model import Model
from fabrika.sim._paths import Free, Space, plan

_SPACE = Space(
    np.array([-1.7, -1.7, -pi]), np.array([1.7, 1.7, pi]), np.array([1.0, 1.0, 1.2]), 0.04
)
_SPARE = 0.05
"""How far a base stays from the ends of its range [rad]."""
_TURN = 2.0
"""Farthest turn from corner to corner, so that the short way round is the one meant [rad]."""


class Roads:
    """Ways for the base from where it is. ``yaw``: what its odometry has now [rad]."""

    def __init__(self, model: Model, yaw: float) -> None:
        self._model, self._here = model, model.stand()
        self._shift = yaw - self._here[2]
        group = model.robot.groups["base"]
        self._low = min(yaw, group.low[2] + _SPARE)
        self._high = max(yaw, group.high[2] - _SPARE)

    def turns(self, yaw: float, more: float = 0.0) -> bool:
        """Whether the base can have a yaw in the world, and turn by ``more`` from there [rad]."""
        first = float(self._own(np.array([0.0, 0.0, yaw]))[2])
        return self._low <= min(first, first + more) and max(first, first + more) <= self._high

    def corners(self, goal: Array, margin: float, rng: np.random.Generator) -> list[Array] | None:
        """(3,) x, y [m] and yaw in the world of a way to ``goal``; None if there is none."""
        here = self._here + np.array([0.0, 0.0, self._shift])
        there = self._own(goal)
        found = plan(_SPACE, here, there, self._free(here, there, margin), rng, 300)
        return None if found is None else list(self._in_world([here, *found]))

    def straight(self, goal: Array, margin: float) -> bool:
        """Whether nothing is in the way straight to ``goal``."""
        here = self._here + np.array([0.0, 0.0, self._shift])
        return _SPACE.straight(here, self._own(goal), self._free(here, self._own(goal), margin))

    def _own(self, goal: Array) -> Array:
        """A place in the world, its yaw as in the odometry."""
        return np.array([*goal[:2], (goal[2] + self._shift + pi) % (2 * pi) - pi])

    def _in_world(self, found: Sequence[Array]) -> Iterator[Array]:
        for one, two in pairwise(found):
            parts = int(np.ceil(abs(two[2] - one[2]) / _TURN)) or 1
            for part in range(1, parts + 1):
                yield one + part / parts * (two - one) - np.array([0.0, 0.0, self._shift])

    def _free(self, here: Array, goal: Array, margin: float) -> Free:
        rehearsal = self._model.rehearsal

        def free(q: Array) -> bool:
            if not self._low <= q[2] <= self._high:
                return False
            rehearsal.pose({"base": q - np.array([0.0, 0.0, self._shift])})
            # Near its start the base may be as near to things as it stands now, and at its goal a
            # hand as near as its work asks for.
            begun, left = _SPACE.far(here, q), _SPACE.far(goal, q)
            off = margin if begun > 0.15 else min(margin, 0.004)
            return rehearsal.clear(off, wide=min(begun, left) > 0.15)

        return free
