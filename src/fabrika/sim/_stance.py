"""Where to stand, so that a hand can go where it is to go without touching anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import cos, hypot, sin

import numpy as np

from fabrika._signals import Array, Signals
from fabrika.sim._kinematics import Kinematics, Pose
from fabrika.sim._pose import yaw_rotation
from fabrika.sim._rehearsal import Rehearsal
from fabrika.sim._robot import Robot

AHEAD = (0.36, 0.42, 0.48, 0.54, 0.60)
ASIDE = (0.32, 0.24, 0.16, 0.08)
TURNS = (0.0, 0.25, -0.25)
"""Where the hand's last goal may lie in the base frame [m], and how far the base may be turned
from facing it squarely [rad]."""
BEST = (0.45, 0.20)
"""Where it lies best [m]: near the middle of what an arm of this class reaches."""
EXACT = 0.006
"""Largest error of a posture [m]."""
MARGIN = 0.012
"""What has to stay free around the robot [m]."""
_MOST = 25
"""Iterations of the inverse kinematics for one goal; most goals take fewer."""


@dataclass(frozen=True, slots=True)
class Stance:
    """A place for the base, and the arm's postures there."""

    base: tuple[float, float, float]
    """x, y [m] and yaw [rad] in the world."""
    postures: tuple[dict[str, Array], ...]
    """Joint positions by group, one for each goal."""
    side: str
    cost: float
    """Less is better."""


def stances(
    robot: Robot,
    kinematics: Kinematics,
    rehearsal: Rehearsal,
    goals: Mapping[str, Sequence[Pose]],
    facing: float,
    posture: Signals,
    *,
    ignore: Collection[str] = (),
) -> Iterator[Stance]:
    """Stances from which a hand reaches its goals one after another, the best first.

    ``goals``: by hand, poses of its palm in the world; ``facing``: yaw of the base that faces the
    fixture squarely [rad]; ``posture``: what spare joints are drawn to; ``ignore``: bodies that the
    hand is about to touch. In ``rehearsal`` the robot begins at the world's origin.
    """
    for side, ahead, aside, turn, cost in _candidates(robot, goals):
        sign = 1.0 if side == "left" else -1.0
        yaw, last = facing + turn, goals[side][-1][0]
        c, s = cos(yaw), sin(yaw)
        x = float(last[0]) - (c * ahead - s * sign * aside)
        y = float(last[1]) - (s * ahead + c * sign * aside)
        base = (x, y, yaw)
        rehearsal.pose({**robot.home, "base": np.array(base)})
        if rehearsal.touches(deeper=-MARGIN):
            continue
        found = _postures(robot, kinematics, rehearsal, goals[side], base, side, posture, ignore)
        if found:
            yield Stance(base, found, side, cost)


def _candidates(
    robot: Robot, goals: Mapping[str, Sequence[Pose]]
) -> list[tuple[str, float, float, float, float]]:
    """Hand, place of the goal in the base frame, turn of the base, cost; the cheapest first."""
    found = []
    for side, ahead, aside, turn in product(goals, AHEAD, ASIDE, TURNS):
        far = hypot(ahead - BEST[0], aside - BEST[1])
        found.append((side, ahead, aside, turn, far + 0.2 * abs(turn)))
    return sorted(found, key=lambda candidate: (candidate[-1], candidate[0]))


def _postures(
    robot: Robot,
    kinematics: Kinematics,
    rehearsal: Rehearsal,
    goals: Sequence[Pose],
    base: tuple[float, float, float],
    side: str,
    posture: Signals,
    ignore: Collection[str],
) -> tuple[dict[str, Array], ...]:
    """The arm at each goal, from one to the next; empty if one cannot be, or touches something."""
    joints = {name: values.copy() for name, values in {**robot.home, **posture}.items()}
    turn, found = yaw_rotation(base[2]).T, []
    for position, rotation in goals:
        local = turn @ (position - np.array([base[0], base[1], 0.0])), turn @ rotation
        for _ in range(_MOST):
            solved, left = kinematics.solve({side: local}, joints, posture)
            arrived = {name: joints[name] for name in solved}  # what ``left`` is the error of
            joints.update(solved)
            if left < EXACT / 2:
                break
        rehearsal.pose(arrived)
        if left > EXACT or rehearsal.touches(deeper=-MARGIN / 2, ignore=ignore):
            return ()
        found.append({name: values.copy() for name, values in arrived.items()})
    return tuple(found)
