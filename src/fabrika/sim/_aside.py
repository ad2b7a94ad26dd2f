"""Out of the way: an arm holds its thing at its side, level, while the other arm works.

So a robot that drives brings two things on one way, one in each hand.
"""

from __future__ import annotations

from itertools import product
from math import acos
from typing import TYPE_CHECKING

import numpy as np

from fabrika.sim._model import Frame
from fabrika.sim._reach import Act

if TYPE_CHECKING:
    from fabrika.sim._work import Worker

ASIDE = ((0.20, 0.38), (0.26, 0.34), (0.16, 0.42))
"""Where the palm waits, ahead and to its side, in the base frame, the best first [m]."""
CHEST = (1.1, 1.0, 1.2)
"""Heights at which it waits: over tables and counters, and clear of the shoulders [m]."""
_THERE = 0.03
"""How near to one of these a palm is that waits already [m]."""
_FIRM = 60.0
"""What is held with less creeps in a hand that waits [N]: it is brought at once."""
_LEAN = 0.12
"""What leans by more as soon as it is taken turns on in the hand, and is brought at once [rad]."""


def waits_well(w: Worker, side: str) -> bool:
    """Whether a hand holds its thing so that it may hold it for long: wrapped, and upright."""
    grip, thing = w.grips[side], w.look().thing(w.holds[side])
    upright = not grip.level or acos(min(1.0, float(thing.turn[2, 2]))) < _LEAN
    return upright and not grip.above and w.model.support(w.holds[side])[1] > _FIRM


def set_aside(w: Worker, side: str) -> Act:
    """Bring what a hand holds to the robot's side, turned as it is.

    Straight from where it is; if something is in the way, away from the fixture first.
    """
    for before in ((), (w.carry,)):
        for skill in before:
            yield from skill(side)
        w.look()
        base, s = w.model.base(), 1.0 if side == "left" else -1.0
        here = base.inverse() * w._palm(side)
        places = [np.array([x, s * y, up]) for up, (x, y) in product(CHEST, ASIDE)]
        if min(np.linalg.norm(here.at - place) for place in places) < _THERE:
            return ""
        for place in places:
            goal = base * Frame(place, here.turn)
            if w._straight(side, [goal], {}):
                yield from w.goto(side, goal, speed=0.3, within=0.02)
                return ""
    return "no-room"
