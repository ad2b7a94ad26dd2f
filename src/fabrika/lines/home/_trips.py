"""Two things on one way: which other thing a robot fetches before it brings what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from fabrika._signals import Array
from fabrika.lines.home._page import Goal
from fabrika.sim._work import Worker

SAVED = 0.8
"""By how much shorter the way has to become [m]."""
TOGETHER = ("on", "inside")
"""Predicates of which two things are brought on one way: neither has to be there before."""


def companions(worker: Worker, goal: Goal, unfinished: Iterator[Goal]) -> Iterator[Goal]:
    """Goals whose things are fetched as well before the thing of a ``goal`` is brought."""
    mine = [side for side, name in worker.holds.items() if name == goal.args[0]]
    if not worker.robot.drives or goal.predicate not in TOGETHER or len(worker.holds) > len(mine):
        return
    if any(not worker.waits_well(side) for side in mine):
        return
    if _narrow(worker, goal):
        return
    end, here = _place(worker, str(goal.args[1])), worker.model.stand()[:2]
    for other in unfinished:
        wide = worker.takes_both(str(other.args[0]))
        if other.predicate in TOGETHER and other.args[0] != goal.args[0] and not wide:
            thing, place = map(str, other.args[:2])
            start, there = worker.model.thing(thing).at[:2], _place(worker, place)
            one_way = _far(here, start, there, end)
            shorter = one_way + SAVED < _far(here, end, start, there)
            if shorter and not _narrow(worker, other):
                yield other


def _narrow(worker: Worker, goal: Goal) -> bool:
    """Whether a thing goes into a drum: the base drives close to it, and what waits is in its way.

    The hand that is on its open door's side reaches less deep, too.
    """
    return worker.where(goal.predicate, str(goal.args[1])).hollow


def _far(*points: Array) -> float:
    """Length of the way through points [m]."""
    return sum(float(np.linalg.norm(b - a)) for a, b in pairwise(points))


def _place(worker: Worker, name: str) -> Array:
    """(2,) where a spot, a space or a thing is in the world [m]."""
    model = worker.model
    if name in model.things:
        return model.thing(name).at[:2]
    owner, _, _ = name.partition(".")
    return model.body(owner).at[:2]
