"""Room for an arm that is out and finds no way back to its rest: the base takes it there."""

from __future__ import annotations

from itertools import product
from math import pi
from typing import TYPE_CHECKING

import numpy as np

from fabrika._signals import Signals
from fabrika.sim._pose import yaw_rotation

if TYPE_CHECKING:
    from fabrika.sim._reach import Act, Reacher

FAR = (0.15, 0.3, 0.45, 0.6)
"""How far away it looks for room, the nearest first [m]."""
FREE = 0.018
"""What has to stay free around the robot there [m]."""
MARGIN = 0.01
"""What has to stay free around it on its way there, its arm still out [m]."""
TRIES = 8
"""Places from which a way for the arm is looked for: to find none takes long."""


def make_room(reacher: Reacher, side: str, posture: Signals) -> Act:
    """Drive to the nearest place from which there is a way to a posture of torso and arm."""
    if not reacher.robot.drives:
        return "no-room"
    here = reacher.look().stand()
    tried = 0
    for far, angle in product(FAR, np.arange(8) * pi / 4 + pi):
        offset = yaw_rotation(float(here[2] + angle)) @ np.array([far, 0.0, 0.0])
        goal = here + np.array([offset[0], offset[1], 0.0])
        rehearsal = reacher.look().rehearsal
        rehearsal.pose({**reacher._arms(), **posture, "base": goal})
        if not rehearsal.clear(FREE) or reacher.route(goal, MARGIN) is None:
            continue
        if reacher.arm_path(posture, {}, goal) is not None:
            return (yield from reacher.drive(goal, margin=MARGIN))
        tried += 1
        if tried == TRIES:
            break
    return "no-room"
