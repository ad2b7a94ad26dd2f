"""Into what is narrow and deep, such as a drum: the arm is set outside, then the base drives in.

Arm and thing keep their posture while the base goes straight ahead, and the open hand comes back
out the same way. So nothing has to bend inside, and what was rehearsed is what is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import cos, sin
from typing import TYPE_CHECKING

import numpy as np

from fabrika._signals import Array
from fabrika.sim._model import Frame, Model
from fabrika.sim._reach import Act, Stand
from fabrika.sim._surface import Surface

if TYPE_CHECKING:
    from fabrika.sim._put import Placer

DEEP = 0.42
"""How far the base drives in [m]."""
BARRED = 0.4
"""Cost of taking what goes into a drum with the hand on its door's side: the body would stand
where the open door is, and so reach less deep."""
_GAP = 0.005
"""What has to stay free on the way in and out [m]."""
_BESIDE = (0.009, 0.006, 0.003, 0.0, -0.004)
"""What is to stay free between the open hand and what it let go of, on its way out, the best first
[m]: what falls comes to lie a little off, and a hand open around it would take it along."""
_ASIDE = (0.0, 0.006, -0.006, 0.012, -0.012, 0.02, -0.02, 0.03, -0.03)
"""How far to its left the base goes for that, as it starts out [m]."""
_OPENS = 0.4
"""How long it takes until fingers that were told to open are open, and what falls lies [s]."""
_LOOKS = 15
"""So often it is looked on the way what would touch."""
_SPEED = 0.2
"""Of the base [m/s]."""


def barred(model: Model, goal: object) -> str:
    """The hand whose shoulder would come before the open door of a drum; none if empty.

    ``goal``: what a thing is to be put on or into.
    """
    if not isinstance(goal, Surface) or not goal.hollow:
        return ""
    doors = (p for j, p in model.parts.items() if model.owner(j) == goal.body)
    door = next((part for part in doors if part.motion == "hinge"), None)
    # Who faces it has its left on the right: there the body of a right hand is, its left.
    return "" if door is None else "left" if door.root[1] > 0 else "right"


def before(base: Array) -> Array:
    """(3,) where the base starts to drive in, to come to ``base``."""
    return base - DEEP * np.array([cos(base[2]), sin(base[2]), 0.0])


def goes_in(
    placer: Placer, name: str, side: str, frame: Frame, fall: float, stand: Stand, body: str
) -> bool:
    """Whether hand and held thing can be driven in, and the open hand out.

    ``frame``: of the thing where it is let go of; it then falls by ``fall`` [m] onto ``body``.
    """
    rehearsal, hand = placer.model.rehearsal, placer.robot.hands[side]
    way = np.linspace(before(stand.base), stand.base, _LOOKS)
    rehearsal.pose(stand.postures[0])
    for base in way[::-1]:
        rehearsal.pose({"base": base})
        if not rehearsal.clear(_GAP):
            return False
    rehearsal.let_go(name)
    rehearsal.put(name, frame.at - np.array([0.0, 0.0, fall]), frame.turn)
    rehearsal.pose({hand.fingers: np.array(placer.grips[side].open)})
    if not rehearsal.clear(_GAP, {name: -0.02, body: 0.002}):  # it may lie against what held it
        return False
    return _way_out(placer, name, stand.base, body, _BESIDE[2:3]) is not None


def _way_out(
    placer: Placer, name: str, base: Array, body: str, beside: Sequence[float] = _BESIDE
) -> Array | None:
    """(3,) by how much the base has to go aside to take the open hand out; None if it cannot.

    ``beside``: what is to stay free between hand and thing [m], the best first.
    """
    rehearsal = placer.model.rehearsal
    way = np.linspace(base, before(base), _LOOKS)[1:]
    left = np.array([-sin(base[2]), cos(base[2]), 0.0])
    for gap in beside:
        for aside in _ASIDE:
            for there in way:
                rehearsal.pose({"base": there + aside * left})
                if not rehearsal.clear(_GAP, {name: gap, body: 0.002}):
                    break
            else:
                return np.asarray(aside * left)
    return None


def insert(placer: Placer, name: str, side: str, stand: Stand, body: str) -> Act:
    """Drive a held thing in, let go of it onto ``body``, and drive out beside where it lies."""
    limbs = placer.limbs
    outside = before(stand.base)
    failed = yield from placer.drive(outside)
    if failed:
        return failed
    path = placer.arm_path(stand.postures[0], {})
    if path is None:
        return "no-way"
    yield from limbs.follow(path, speed=0.35)
    yield from _drive(placer, stand.base)
    placer.look()
    failed = "" if placer.model.support(name)[1] > 0.3 else "slipped"
    yield from placer.let_go(side)
    # Fingers come after what they are told: half open, they would take along what they held.
    opened = np.array(placer.grips[side].open)
    yield from limbs.shape((side,), opened, seconds=_OPENS)
    here = placer.look().stand()
    aside = _way_out(placer, name, here, body)
    if aside is not None and aside.any():
        start = np.linspace(here, before(here), _LOOKS)[1]
        yield from _drive(placer, start + aside)
        outside = outside + aside
    yield from _drive(placer, outside)
    yield from placer.tuck(side)
    return failed


def _drive(placer: Placer, base: Array) -> Act:
    yield from placer.limbs.drive(partial(placer.left, base), speed=_SPEED, within=0.01)
    return ""
