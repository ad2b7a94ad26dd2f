"""Pouring: what is in a vessel that a hand holds goes into another one.

The vessel is tipped about its lip, which stays over the middle of the other: first high enough
for its bottom to pass over the rim, then ever lower. In which direction it is tipped, and how
the hand lies about it, is drawn and rehearsed like everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import cos, pi, sin
from typing import TYPE_CHECKING

import numpy as np

from fabrika._signals import Array
from fabrika.sim._model import Frame
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._put import SPINS
from fabrika.sim._reach import MARGIN, UP, Act, Stand
from fabrika.sim._scene import height_of, reach_of

if TYPE_CHECKING:
    from fabrika.sim._work import Worker

TILTS = (0.0, 0.5, 1.0, 1.5, 1.95)
"""Tilts that are rehearsed; at the last one all runs out [rad]."""
POURS = 0.7
"""From which tilt on it may flow: slowly then [rad]."""
OVER = 0.035
"""How high the lip is kept over the rim [m]."""
SHORT = 0.25
"""How far short of the middle the lip is, as a share of the vessel's radius: what flows is thrown
forward."""
FAST, SLOW = 0.9, 0.35
"""How fast it is tipped, before it flows and then [rad/s]."""
ROCK, SHAKES = 0.25, 4
"""How far it is rocked if something stays in it [rad], and how often."""
_WAYS = 12
"""Directions in which it may be tipped."""
_MOST = 400


@dataclass(frozen=True, slots=True)
class Tip:
    """How a vessel is tipped: where its lip goes, and in which direction."""

    lip: Array
    """(3,) of the world [m]: over the other vessel."""
    towards: Array
    """(3,) level unit vector: the way that it flows."""
    turn: Array
    """(3, 3) of the vessel while it is upright."""
    radius: float
    height: float

    def frame(self, tilt: float) -> Frame:
        """Where the vessel is, tipped by ``tilt`` [rad]."""
        axis = np.array([-self.towards[1], self.towards[0], 0.0])
        tipped = turn_by(tilt * axis)
        lip = self.lip + max(0.0, self.height * cos(tilt)) * UP
        at = lip - tipped @ (self.radius * self.towards + self.height * UP)
        return Frame(at, tipped @ self.turn)


def pour(w: Worker, source: str, vessel: str, done: Callable[[], bool]) -> Act:
    """Pour from a held vessel into another one, until it is ``done``; then hold it upright."""
    side = next(s for s, n in w.holds.items() if n == source)
    found = _find(w, side, source, vessel)
    if found is None:
        return "no-way-to-pour"
    tip, stand = found
    failed = yield from w.drive(stand.base)
    if failed:
        return failed
    w._draw(stand.drawn)
    # What the base is off by, the arm makes good: the tip is where the vessel is.
    w.look()
    held = w._in_palm(side, source).inverse()
    start = tip.frame(0.0) * held
    for goal in (Frame(start.at + 0.06 * UP, start.turn), start):
        yield from w.goto(side, goal, speed=0.25, within=0.006, patience=5.0)
    if w.model.support(source)[1] < 0.3:
        return "slipped"
    tilt = _Tilt(w, side, tip, held)
    yield from tilt.to(POURS, FAST)
    yield from tilt.to(TILTS[-1], SLOW, until=done)
    yield from w.limbs.wait(0.4)
    for _ in range(SHAKES):
        if done():
            break
        at = tilt.at
        yield from tilt.to(max(at - ROCK, POURS), 4 * FAST)
        yield from tilt.to(TILTS[-1], 4 * FAST)
        yield from w.limbs.wait(0.4)
    yield from tilt.to(0.0, FAST)
    here = w._palm(side)
    yield from w.goto(side, Frame(here.at + 0.06 * UP, here.turn), speed=0.25, within=0.01)
    yield from w.carry(side)
    return "" if done() else "not-poured"


class _Tilt:
    """A vessel in a hand, being tipped."""

    def __init__(self, w: Worker, side: str, tip: Tip, held: Frame) -> None:
        self._w, self._side, self._tip, self._held = w, side, tip, held
        self.at = 0.0

    def to(self, goal: float, rate: float, until: Callable[[], bool] = lambda: False) -> Act:
        """Tip it to ``goal`` [rad] at up to ``rate`` [rad/s], or until something is so."""
        step = rate * self._w.limbs.dt

        def palm() -> Frame:
            self.at += min(step, max(-step, goal - self.at))
            return self._tip.frame(self.at) * self._held

        def on_the_way() -> bool:
            return abs(goal - self.at) > 1e-6 and not until()

        yield from self._w.goto(
            self._side, palm, speed=0.5, within=0.0, while_true=on_the_way, patience=8.0
        )
        fixed = self._tip.frame(self.at) * self._held
        yield from self._w.goto(self._side, fixed, speed=0.3, within=0.006, patience=1.0)
        return ""


def _find(w: Worker, side: str, source: str, vessel: str) -> tuple[Tip, Stand] | None:
    """How to tip it, and where to stand for that: the cheapest that touches nothing."""
    model = w.look()
    held = w._in_palm(side, source).inverse()
    place = model.under(vessel)
    facing = model.facing(place.partition(".")[0]) if place else float(model.stand()[2])
    tips = list(_tips(w, side, source, vessel, facing))
    ways = [(side, tip.frame(1.0) * held, cost, tip.frame(0.0)) for cost, tip in tips]
    by_frame = {id(way[3]): tip for way, (_, tip) in zip(ways, tips, strict=True)}
    for tried, (_, given, base, drawn) in enumerate(w.stands_for(ways, facing)):
        if tried > _MOST:
            break
        tip = by_frame[id(given)]
        upright = tip.frame(0.0) * held
        goals: list[tuple[Frame, dict[str, float], float]]
        goals = [(Frame(upright.at + 0.06 * UP, upright.turn), {}, MARGIN)]
        goals += [(tip.frame(tilt) * held, {}, 0.01) for tilt in TILTS]
        postures = w.rehearse(side, base, goals, drawn)
        if postures is not None and w.route(base) is not None:
            return tip, Stand(base, postures, drawn)
    w.look()
    return None


def _tips(
    w: Worker, side: str, source: str, vessel: str, facing: float
) -> Iterator[tuple[float, Tip]]:
    """Directions and turns, with their cost."""
    model = w.model
    other, params = model.thing(vessel), model.things[source]
    rim = height_of(model.things[vessel]) + OVER
    for spin in SPINS:
        turn = yaw_rotation(facing + spin - w._palm(side).yaw) @ w._set(source, side)[0]
        for way in range(_WAYS):
            angle = 2 * pi * way / _WAYS
            towards = np.array([cos(angle), sin(angle), 0.0])
            lip = other.at + rim * UP - SHORT * reach_of(model.things[vessel]) * towards
            tip = Tip(lip, towards, turn, float(params["radius"]), height_of(params))
            yield 0.2 * abs(spin), tip
