"""Paths that touch nothing, in the space of a robot's joints.

RRT-Connect (Kuffner and LaValle, "RRT-Connect: an efficient approach to single-query path
planning", ICRA 2000) after a straight line was tried, then shortcuts. It is our own because equal
scenarios have to give equal episodes: OMPL seeds its planners once a process, from a generator that
all share, so what a worker planned before would change what it plans next.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fabrika._signals import Array

Free = Callable[[Array], bool]
"""Whether a configuration (n,) touches nothing."""
_SHORTCUTS = 30


class Space:
    """Joints that move together: their ranges, and how far is far.

    ``low``, ``high``: (n,) ranges; ``scale``: (n,) what counts as one, such as 1 rad of an arm
    and 0.3 m of a base; ``step``: how far apart what is checked may be, in that measure.
    """

    def __init__(self, low: Array, high: Array, scale: Array, step: float = 0.08) -> None:
        self.low, self.high, self.scale, self.step = low, high, scale, step

    def far(self, one: Array, two: Array) -> float:
        """Distance: of the joint that has furthest to go."""
        return float(np.abs((two - one) / self.scale).max())

    def between(self, one: Array, two: Array) -> Array:
        """(k, n) configurations on the straight line, ``step`` apart at most; not the first."""
        count = max(1, int(np.ceil(self.far(one, two) / self.step)))
        return np.asarray(one + np.arange(1, count + 1)[:, None] / count * (two - one))

    def straight(self, one: Array, two: Array, free: Free) -> bool:
        """Whether the straight line touches nothing; its first configuration is not looked at.

        From coarse to fine, so that what is not free is found soon.
        """
        points = self.between(one, two)
        return all(free(points[index]) for index in _spread(len(points)))


def plan(
    space: Space, start: Array, goal: Array, free: Free, rng: np.random.Generator, most: int = 400
) -> list[Array] | None:
    """Corners of a path from ``start`` to ``goal``, start left out; None if none was found.

    ``most``: how often the trees are grown.
    """
    if not free(goal):
        return None
    if space.straight(start, goal, free):
        return [goal]
    found = _connect(space, start, goal, free, rng, most)
    return _shorten(space, found, free, rng)[1:] if found else None


def _spread(count: int) -> list[int]:
    """0 .. count - 1: the last, then ever finer halves."""
    order, stride = [count - 1], 1
    while stride < count:
        stride *= 2
    seen = {count - 1}
    while stride >= 1:
        for index in range(stride - 1, count, stride):
            if index not in seen:
                seen.add(index)
                order.append(index)
        stride //= 2
    return order


class _Tree:
    def __init__(self, root: Array) -> None:
        self.nodes, self.parents = [root], [-1]

    def nearest(self, point: Array, scale: Array) -> int:
        away = np.abs((np.array(self.nodes) - point) / scale)
        return int(np.argmin((away**2).sum(axis=1)))

    def add(self, point: Array, parent: int) -> int:
        self.nodes.append(point)
        self.parents.append(parent)
        return len(self.nodes) - 1

    def path(self, index: int) -> list[Array]:
        """From a node to the root."""
        found = []
        while index >= 0:
            found.append(self.nodes[index])
            index = self.parents[index]
        return found


_STRIDE = 4
"""A tree grows by so many steps at a time."""


def _connect(
    space: Space, start: Array, goal: Array, free: Free, rng: np.random.Generator, most: int
) -> list[Array] | None:
    """Grow two trees towards each other, in turn."""
    one, two, ours = _Tree(start), _Tree(goal), True
    for _ in range(most):
        target = rng.uniform(space.low, space.high)
        new = _grow(space, one, target, free)
        if new is not None:
            met = _reach(space, two, one.nodes[new], free)
            if met is not None:
                head, tail = one.path(new)[::-1], two.path(met)
                path = head + tail[1:]
                return path if ours else path[::-1]
        one, two, ours = two, one, not ours
    return None


def _grow(space: Space, tree: _Tree, target: Array, free: Free) -> int | None:
    """One stride from the nearest node to the target."""
    near = tree.nearest(target, space.scale)
    here = tree.nodes[near]
    share = min(1.0, _STRIDE * space.step / max(space.far(here, target), 1e-9))
    there = here + share * (target - here)
    return tree.add(there, near) if space.straight(here, there, free) else None


def _reach(space: Space, tree: _Tree, target: Array, free: Free) -> int | None:
    """Strides towards the target until it is met; None if something is in the way."""
    while True:
        new = _grow(space, tree, target, free)
        if new is None:
            return None
        if space.far(tree.nodes[new], target) < 1e-9:
            return new


def _shorten(space: Space, path: list[Array], free: Free, rng: np.random.Generator) -> list[Array]:
    """Cut corners wherever a straight line between two of them touches nothing."""
    for _ in range(_SHORTCUTS):
        if len(path) < 3:
            break
        a, b = sorted(rng.choice(len(path), 2, replace=False).tolist())
        if b - a > 1 and space.straight(path[a], path[b], free):
            path = path[: a + 1] + path[b:]
    return path
