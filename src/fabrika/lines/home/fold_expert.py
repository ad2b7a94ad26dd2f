"""The expert for home/fold-mat-v1: a story told with skills.

The backs of straight fingers go under the loose half's edge, and turn it about the seam, until it
falls onto the other half by itself.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import cache

import numpy as np

from fabrika._actor import Story
from fabrika._signals import Array, Signals
from fabrika.lines.home._narrator import Narrator
from fabrika.sim import CLOID_CLASS, Kinematics, Limbs, body_in_base
from fabrika.sim._kinematics import Pose
from fabrika.sim._pose import turn_by, yaw_rotation

READS = (
    "truth/base",
    "truth/contact",
    "truth/mat",
    "truth/mat_fold",
    "truth/mat_sizes",
    "truth/torque",
    *(f"joint/{name}" for name in ("base", "lift", "left_arm", "right_arm")),
)

SIDE = "right"
STRAIGHT = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.3])
"""Fingers straight, the thumb aside: it would be in the way of the edge."""
OPEN = np.array([0.0, 0.0, 0.0, 0.0, 0.0, -0.2])
ELBOW = np.array([0.75, 0.95, -0.60, 1.70, -0.30, 0.75, -0.55])
BACKS = np.array([0.115, 0.0, -0.008])
"""What lifts, in the palm's frame: the backs of the fingers, near their tips [m]."""
FORWARD = 0.4
"""How far the fingers point forward of straight across [rad]."""
STAND = np.array([0.40, 0.04])
"""Where the middle of the seam lies before the base best [m]."""
INSIDE = 0.012
"""How far inside the edge the hand lifts [m]."""
TURNS = 0.75
"""Share of what the half turns that the hand turns with it: wrists go no further."""
LEAD, OVER = 0.3, 1.85
"""How far ahead of the half the hand goes; where it falls by itself [rad]."""
FLAT = 2.95
"""The half lies on the other one from here on [rad]."""
BESIDE, UNDER = 0.09, 0.022
"""How far outside the edge, and how far under it, the hand waits [m]."""

Part = Generator[Signals, Signals, None]


@cache
def _kinematics() -> Kinematics:
    return Kinematics(CLOID_CLASS)


def tell(first: Signals, rng: np.random.Generator, notes: Narrator) -> Story:
    """Fold the mat in half; the remark says why not."""
    limbs = Limbs(CLOID_CLASS, _kinematics(), 0.04)
    limbs.start(first, {"right_arm": ELBOW})
    notes.doing = "go to the mat"
    yield from limbs.drive(lambda: _way(limbs), speed=0.45, within=0.012)
    for _ in range(3):
        notes.doing = "reach under the edge of the mat"
        yield from limbs.shape((SIDE,), STRAIGHT, seconds=0.4)
        yield from limbs.move({SIDE: lambda: _palm(limbs, 0.0, BESIDE, UNDER)}, within=0.01)
        yield from limbs.move(
            {SIDE: lambda: _palm(limbs, 0.0, 0.0, UNDER)}, speed=0.2, within=0.006
        )
        notes.doing = "fold the mat"
        yield from limbs.move(
            {SIDE: lambda: _palm(limbs, min(_angle(limbs) + LEAD, OVER + LEAD), 0.0, 0.0)},
            speed=0.25,
            while_true=lambda: _angle(limbs) < OVER,
            patience=5.0,
        )
        notes.doing = "leave the mat"
        yield from _leave(limbs)
        for _ in range(25):
            if _angle(limbs) > FLAT:
                return ""
            yield from limbs.tick()
        notes.events.append("the half fell back")
    return "not-folded"


def _angle(limbs: Limbs) -> float:
    """How far the loose half is turned about the seam [rad]."""
    return float(limbs.seen["truth/mat_fold"][0])


def _way(limbs: Limbs) -> Array:
    """What the base still has to move (x, y, yaw) in the frame of its odometry."""
    place, turn = body_in_base(limbs.seen, "mat")
    yaw = float(np.arctan2(turn[1, 0], turn[0, 0]))
    left = place[:2] - yaw_rotation(yaw)[:2, :2] @ STAND
    base = float(limbs.joints["base"][2])
    x, y, _ = yaw_rotation(base) @ np.array([*left, 0.0])
    return np.array([x, y, yaw])


def _palm(limbs: Limbs, angle: float, beside: float, under: float) -> Pose:
    """The palm whose fingers lift the half at an angle of the seam [rad], in the base frame.

    ``beside``: how far outside its edge they are, ``under``: how far off its underside [m].
    """
    half, _, _, height = limbs.seen["truth/mat_sizes"].tolist()
    place, turn = body_in_base(limbs.seen, "mat")
    along = np.array([0.0, -np.cos(angle), np.sin(angle)])
    down = np.array([0.0, -np.sin(angle), -np.cos(angle)])
    edge = np.array([0.0, 0.0, height]) + (half - INSIDE + beside) * along
    point = place + turn @ (edge + (height + under) * down)
    fingers = np.array([np.sin(FORWARD), np.cos(FORWARD), 0.0])
    normal = np.array([0.0, 0.0, -1.0])
    flat = np.stack([fingers, np.cross(normal, fingers), normal], axis=1)
    rotation = turn @ turn_by(-TURNS * angle * np.array([1.0, 0.0, 0.0])) @ flat
    return point - rotation @ BACKS, rotation


def _leave(limbs: Limbs) -> Part:
    """Away to the right, and up; the hand open as usual."""
    here, rotation = limbs.palm(SIDE)
    for step in (np.array([0.0, -0.10, 0.02]), np.array([0.0, -0.14, 0.12])):
        yield from limbs.move({SIDE: (here + step, rotation)}, speed=0.3, within=0.02)
    yield from limbs.shape((SIDE,), OPEN, seconds=0.3)
