"""Out of the way: an arm holds its thing at its side, level, while the other arm works.

So a robot that drives brings two things on one way, one in each hand.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from fabrika.sim._model import Frame
from fabrika.sim._reach import Act

if TYPE_CHECKING:
    from fabrika.sim._reach import Reacher

ASIDE = ((0.20, 0.38), (0.26, 0.34), (0.16, 0.42))
"""Where the palm waits, ahead and to its side, in the base frame, the best first [m]."""
CHEST = (1.1, 1.0, 1.2)
"""Heights at which it waits: over tables and counters, and clear of the shoulders [m]."""


def set_aside(w: Reacher, side: str) -> Act:
    """Bring what a hand holds to the robot's side, straight and turned as it is."""
    s = 1.0 if side == "left" else -1.0
    w.look()
    base = w.model.base()
    turn = (base.inverse() * w._palm(side)).turn
    for up, (ahead, aside) in product(CHEST, ASIDE):
        goal = base * Frame(np.array([ahead, s * aside, up]), turn)
        if w._straight(side, [goal], {}):
            yield from w.goto(side, goal, speed=0.3, within=0.02)
            return ""
    return "no-room"
