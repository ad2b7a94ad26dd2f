"""The expert for home/mug-to-shelf-v1: a story told with skills."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache

import numpy as np

from fabrika._actor import Story
from fabrika._signals import Array, Signals
from fabrika.lines.home._narrator import Narrator
from fabrika.sim import CLOID_CLASS, Kinematics, Limbs, body_in_base
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._robot import clamp

READS = (
    "truth/base",
    "truth/contact",
    "truth/mug",
    "truth/shelf",
    "truth/size",
    "truth/support",
    "truth/torque",
    # Of what it moves alone: what never moves in the data, a policy never moves.
    "joint/lift",
    "joint/right_arm",
)

SIDE = "right"
OPEN = np.array([0.0, 0.0, 0.0, 0.0, 0.0, -0.2])
"""Fingers straight, thumb a little under the hand."""
CLOSED = np.array([1.6, 1.6, 1.6, 1.6, 1.6, -0.2])
DEEP = 0.018
"""Height of the palm's ridges above the palm frame [m]."""
DISTAL = 0.030
"""How far the mug's axis is from the palm's centre, towards the fingers [m]."""
PRESSED = 20.0
"""Force of the hand on the shelf at which it goes no lower [N]."""
UP = np.array([0.0, 0.0, 1.0])
DIP = 0.12
"""How far the fingers point down [rad], so that the forearm clears the counter's edge."""
UPRIGHT = np.stack(
    [[np.cos(DIP), 0, -np.sin(DIP)], [-np.sin(DIP), 0, -np.cos(DIP)], [0, 1, 0]], axis=1
)
"""Right palm: fingers forward (x), normal to the left (y), thumb up."""
ELBOW_OUT = np.array([0.14, 0.55, -0.04, 1.76, 0.55, -0.25, 0.15])
"""Arm posture that spare joints are drawn to: a high elbow keeps the forearm off the edge."""


@cache
def _kinematics() -> Kinematics:
    return Kinematics(CLOID_CLASS)


def tell(first: Signals, rng: np.random.Generator, notes: Narrator) -> Story:
    """Take the mug and stand it on the shelf; the remark says why not."""
    limbs = Limbs(CLOID_CLASS, _kinematics(), 0.04)
    limbs.start(first, {"right_arm": ELBOW_OUT, "lift": np.array([0.38])})
    for attempt in range(2):
        yield from _grasp(limbs, notes, hurried=attempt == 0)
        if _lifted(limbs):
            break
        notes.events.append("missed the grasp")
        notes.doing = "let go of the mug"
        yield from _let_go(limbs, 0.11)
    else:
        return "not-grasped"
    notes.doing = "carry the mug to the shelf"
    yield from _carry(limbs)
    if not _in_hand(limbs):
        return "slipped"
    notes.doing = "put the mug down on the shelf"
    yield from _put_down(limbs)
    notes.doing = "let go of the mug"
    yield from _let_go(limbs, 0.11)
    notes.doing = "draw the hand back"
    yield from _back_off(limbs)
    return ""


Part = Generator[Signals, Signals, None]


def _mug(limbs: Limbs) -> Array:
    """Position of the mug's bottom in the base frame [m]."""
    return body_in_base(limbs.seen, "mug")[0]


def _hand_yaw(limbs: Limbs) -> float:
    """Yaw of the hand [rad]: turned a little, so that the handle lies opposite the palm."""
    handle = body_in_base(limbs.seen, "mug")[1][:, 0]
    aside = np.arctan2(handle[1], handle[0]) - np.pi / 2
    aside = (aside + np.pi) % (2 * np.pi) - np.pi
    return float(np.clip(0.5 * aside, -0.35, 0.35))


def _grasp_pose(limbs: Limbs, gap: float, yaw: float) -> tuple[Array, Array]:
    """Palm pose beside the mug, ``gap`` [m] between the palm's ridges and its wall."""
    radius, height = limbs.seen["truth/size"][0]
    rotation = yaw_rotation(yaw) @ UPRIGHT
    middle = _mug(limbs) + np.array([0.0, 0.0, max(0.062, 0.55 * height)])
    return middle - rotation @ np.array([DISTAL, 0.0, DEEP + radius + gap]), rotation


def _beside(limbs: Limbs, yaw: float) -> tuple[Array, Array]:
    """Palm pose short of the mug and to its right, above the counter's clutter."""
    place, rotation = _grasp_pose(limbs, 0.12, yaw)
    return place + np.array([-0.10, -0.02, 0.05]), rotation


def _grasp(limbs: Limbs, notes: Narrator, hurried: bool) -> Part:
    """Go beside the mug, look again, close in along the palm's normal, close the fingers."""
    notes.doing = "reach for the mug"
    yaw = _hand_yaw(limbs)
    yield from limbs.shape((SIDE,), OPEN, seconds=0.04 if hurried else 0.4)
    yield from limbs.move({SIDE: lambda: _beside(limbs, yaw)}, within=0.03)
    yield from limbs.move({SIDE: lambda: _grasp_pose(limbs, 0.10, yaw)}, within=0.012)
    yaw = _hand_yaw(limbs)
    yield from limbs.move({SIDE: lambda: _grasp_pose(limbs, 0.003, yaw)}, speed=0.2, within=0.003)
    notes.doing = "grasp the mug"
    yield from limbs.shape((SIDE,), CLOSED, seconds=0.7)
    yield from limbs.wait(0.32)
    notes.doing = "lift the mug"
    here, rotation = limbs.palm(SIDE)
    yield from limbs.move({SIDE: (here + 0.05 * UP, rotation)}, speed=0.2, within=0.006)


def _lifted(limbs: Limbs) -> bool:
    """The mug has left the counter: the hand bears it."""
    things, robot = limbs.seen["truth/support"][0]
    return bool(things < 0.05 and robot > 0.5 and _in_hand(limbs))


def _in_hand(limbs: Limbs) -> bool:
    """The mug is within reach of the fingers."""
    palm, rotation = limbs.palm(SIDE)
    offset = rotation.T @ (_mug(limbs) - palm)
    return bool(np.abs(offset[0] - DISTAL) < 0.05 and 0.0 < offset[2] < 0.12)


def _over(limbs: Limbs, ahead: float, above: float) -> tuple[Array, Array]:
    """Palm pose that brings the mug to the shelf: ``ahead``, ``above`` its place [m]."""
    shelf, turn = body_in_base(limbs.seen, "shelf")
    place = shelf + turn @ np.array([ahead - 0.045, 0.0, above])
    mug, turned = body_in_base(limbs.seen, "mug")
    palm, rotation = limbs.palm(SIDE)
    # Closing the fingers tilts the mug by a few degrees: stand it up again.
    x, y, _ = turned[:, 2].tolist()
    lean = np.array([y, -x, 0.0])  # the cross product with "up"
    upright = turn_by(clamp(lean, -0.3, 0.3))
    return place + upright @ (palm - mug), upright @ rotation


def _carry(limbs: Limbs) -> Part:
    """Up before the shelf, then forward over it."""
    yield from limbs.move({SIDE: lambda: _over(limbs, -0.21, 0.045)}, within=0.025)
    yield from limbs.move({SIDE: lambda: _over(limbs, 0.0, 0.03)}, speed=0.3, within=0.006)


def _put_down(limbs: Limbs) -> Part:
    """Lower until the shelf bears the mug, or the hand, if the mug sits high in it."""

    def floating() -> bool:
        borne, pressed = limbs.seen["truth/support"][0, 0], limbs.seen["truth/contact"][0]
        return bool(borne < 2.0 and pressed < PRESSED)

    here, rotation = limbs.palm(SIDE)
    yield from limbs.move(
        {SIDE: (here - 0.06 * UP, rotation)}, speed=0.06, while_true=floating, patience=2.0
    )
    here, rotation = limbs.palm(SIDE)
    ease = 0.004 if limbs.seen["truth/contact"][0] < PRESSED else 0.010
    yield from limbs.move({SIDE: (here + ease * UP, rotation)}, speed=0.06, within=0.001)


def _let_go(limbs: Limbs, away: float) -> Part:
    """Open, and leave along the palm's normal by ``away`` [m]."""
    yield from limbs.shape((SIDE,), OPEN, seconds=0.6)
    here, rotation = limbs.palm(SIDE)
    yield from limbs.move({SIDE: (here - away * rotation[:, 2], rotation)}, speed=0.2, within=0.01)


def _back_off(limbs: Limbs) -> Part:
    """Draw the hand back from the shelf."""
    here, rotation = limbs.palm(SIDE)
    yield from limbs.move({SIDE: (here - np.array([0.15, 0.0, 0.0]), rotation)}, within=0.01)
