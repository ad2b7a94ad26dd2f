"""The expert for home/carry-tray-v1: a story told with skills."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache

import numpy as np

from fabrika._actor import Story
from fabrika._signals import Array, Signals
from fabrika.lines.home._narrator import Narrator
from fabrika.sim import CLOID_CLASS, Kinematics, Limbs, body_in_base
from fabrika.sim._pose import yaw_rotation
from fabrika.sim._things import TRAY_GRIP

READS = (
    "truth/base",
    "truth/can",
    "truth/contact",
    "truth/size",
    "truth/support",
    "truth/table",
    "truth/torque",
    "truth/tray",
    *(f"joint/{name}" for name in ("base", "lift", "left_arm", "right_arm")),
)

SIDES = ("left", "right")
OPEN = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.3])
"""Fingers straight, thumb turned aside: opposed, it would dig into the counter."""
HOOK = np.array([0.3, 1.6, 1.6, 1.6, 1.6, 1.3])
IN_PALM = np.array([0.012, 0.0, 0.026])
"""Where the bar lies in the palm frame [m]: between the palm's ridges."""
INWARD, DIP = 0.2, 0.25
"""Fingers point inwards, turned forwards and dipped by this much [rad]."""
ELBOWS = np.array([0.75, 0.95, -0.6, 1.7, -0.3, 0.75, -0.55])
CARRY = 0.07
"""How high the tray is lifted [m]."""

Part = Generator[Signals, Signals, None]


@cache
def _kinematics() -> Kinematics:
    return Kinematics(CLOID_CLASS)


def tell(first: Signals, rng: np.random.Generator, notes: Narrator) -> Story:
    """Carry the tray to the table; the remark says why not."""
    limbs = Limbs(CLOID_CLASS, _kinematics(), 0.04)
    limbs.start(first, {"left_arm": ELBOWS, "right_arm": ELBOWS, "lift": np.array([0.28])})
    for attempt in range(2):
        yield from _grasp(limbs, notes, hurried=attempt == 0)
        if _lifted(limbs):
            break
        notes.events.append("missed the grasp")
        notes.doing = "let go of the tray"
        yield from _let_go(limbs)
    else:
        return "not-grasped"
    yield from _raise(limbs, CARRY)
    notes.doing = "carry the tray to the table"
    yield from limbs.drive(lambda: _way(limbs), speed=0.45, within=0.012)
    if not _held(limbs):
        return "slipped"
    notes.doing = "put the tray down on the table"
    yield from _put_down(limbs)
    notes.doing = "let go of the tray"
    yield from _let_go(limbs)
    return ""


def _palm_rotation(side: str, yaw: float) -> Array:
    """Palm down, fingers inwards, for a tray turned by ``yaw`` [rad] in the base frame."""
    s = 1.0 if side == "left" else -1.0
    inward = np.array([np.sin(INWARD), -s * np.cos(INWARD), 0.0])
    down = np.array([0.0, 0.0, -1.0])
    x = np.cos(DIP) * inward + np.sin(DIP) * down
    z = np.cos(DIP) * down - np.sin(DIP) * inward
    return np.asarray(yaw_rotation(yaw) @ np.stack([x, np.cross(z, x), z], axis=1))


def _grip(limbs: Limbs, side: str, above: float) -> tuple[Array, Array]:
    """Palm pose with the tray's bar in the palm, ``above`` [m] over it."""
    place, turn = body_in_base(limbs.seen, "tray")
    yaw = float(np.arctan2(turn[1, 0], turn[0, 0]))
    width = float(limbs.seen["truth/size"][0, 0])
    s = 1.0 if side == "left" else -1.0
    bar = place + turn @ np.array([0.0, s * width / 2, TRAY_GRIP])
    rotation = _palm_rotation(side, yaw)
    return bar - rotation @ IN_PALM + np.array([0.0, s * 0.3 * above, above]), rotation


def _both(limbs: Limbs, above: float) -> dict[str, tuple[Array, Array]]:
    return {side: _grip(limbs, side, above) for side in SIDES}


def _grasp(limbs: Limbs, notes: Narrator, hurried: bool) -> Part:
    """Over the bars, look again, down onto them, close, lift a little."""
    notes.doing = "reach for the tray with both hands"
    yield from limbs.shape(SIDES, OPEN, seconds=0.04 if hurried else 0.4)
    yield from limbs.move(_both(limbs, 0.12), within=0.02, speed=0.4)
    yield from limbs.move(_both(limbs, 0.0), speed=0.18, within=0.003)
    notes.doing = "grasp the tray"
    yield from limbs.shape(SIDES, HOOK, seconds=0.7)
    yield from limbs.wait(0.32)
    notes.doing = "lift the tray"
    yield from _raise(limbs, 0.03)


def _raise(limbs: Limbs, height: float) -> Part:
    """Both palms straight up by ``height`` [m], or down."""
    goals = {}
    for side in SIDES:
        here, rotation = limbs.palm(side)
        goals[side] = (here + np.array([0.0, 0.0, height]), rotation)
    yield from limbs.move(goals, speed=0.15, within=0.004)


def _lifted(limbs: Limbs) -> bool:
    """The hands bear the tray; only the can still presses on it."""
    things, robot = limbs.seen["truth/support"][0]
    return bool(things < 5.0 and robot > 8.0)


def _held(limbs: Limbs) -> bool:
    return bool(limbs.seen["truth/support"][0, 1] > 8.0)


def _way(limbs: Limbs) -> Array:
    """What the base still has to move (x, y, yaw) in the frame of its odometry."""
    base = limbs.seen["truth/base"]
    yaw = float(np.arctan2(base[1, 0], base[0, 0]))
    left = limbs.seen["truth/table"][:3] - limbs.seen["truth/tray"][:3]
    left[0] -= 0.04
    turn = yaw_rotation(float(limbs.joints["base"][2]) - yaw)
    x, y, _ = turn @ left
    return np.array([x, y, -yaw])


def _put_down(limbs: Limbs) -> Part:
    """Down to just over the table, then slowly until it bears the tray."""
    gap = float(body_in_base(limbs.seen, "tray")[0][2] - body_in_base(limbs.seen, "table")[0][2])
    yield from _raise(limbs, 0.02 - gap)

    def floating() -> bool:
        return bool(limbs.seen["truth/support"][0, 0] < 9.0)

    goals = {}
    for side in SIDES:
        here, rotation = limbs.palm(side)
        goals[side] = (here - np.array([0.0, 0.0, 0.05]), rotation)
    yield from limbs.move(goals, speed=0.05, while_true=floating, patience=2.0)


def _let_go(limbs: Limbs) -> Part:
    """Open slowly, then straight up."""
    yield from limbs.shape(SIDES, OPEN, seconds=0.8)
    goals = {}
    for side, s in (("left", 1.0), ("right", -1.0)):
        here, rotation = limbs.palm(side)
        goals[side] = (here + np.array([0.0, s * 0.03, 0.12]), rotation)
    yield from limbs.move(goals, speed=0.2, within=0.01)
