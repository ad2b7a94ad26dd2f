"""Skills that fit things together: a peg into a socket's hole, a needle through an eye.

The thing is led by where it truly is, as an arm sways by as much as there is room. What it meets
is felt: it is pushed with little force, and where it does not go in, it is drawn back and tried
again a little aside, in a spiral.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sin, sqrt

import numpy as np

from fabrika._signals import Array
from fabrika.sim._model import Frame
from fabrika.sim._pose import yaw_rotation
from fabrika.sim._put import Placer
from fabrika.sim._reach import Act, Stand
from fabrika.sim._stands import first_stand

SHORT = 0.006
"""How far before the mouth of what it goes into a thing is held and aimed [m]."""
COMING = 0.05
"""How far before the mouth it comes to first [m]."""
THROUGH = 0.03
"""How far a needle's tip is brought beyond the eye [m]."""
FELT, PUSH = 2.0, 12.0
"""Force on the thing at which it is left to what it touches, and at which it is stuck [N]."""
ASTRAY = 0.006
"""How far aside of its way a thing may come before it is drawn back [m]."""
TWISTED = 0.15
"""How far a thing may turn in the hand before it is held anew [rad]."""
_AIMS = 20
"""Places that are tried to find the hole."""
_ASIDE = 0.0005
"""Distance of the spiral's first place from its middle [m]."""
_GOLDEN = pi * (3.0 - sqrt(5.0))
"""Angle from one place of the spiral to the next [rad]: they fill a disc evenly."""


@dataclass(frozen=True, slots=True)
class Joining:
    """What is wanted of two things: "inserted" or "threaded", and in what."""

    how: str
    other: str


@dataclass(frozen=True, slots=True)
class Fit:
    """One way in which a thing goes into another one."""

    frame: Frame
    """Where it is when it is about to go in, in the world."""
    way: Array
    """(3,) unit vector in the world along which it goes in."""
    deep: float
    """How far it goes in from there, at least and at most [m]."""
    most: float


class Fitter(Placer):
    """Fits what a hand holds into another thing."""

    def insert(self, name: str, socket: str) -> Act:
        """Bring a held peg over a socket, find the hole, push it down, let go of it."""
        side = next(s for s, n in self.holds.items() if n == name)
        failed = yield from self._join(name, side, Joining("inserted", socket))
        if failed in ("no-place", "no-way", "out-of-reach"):
            return failed
        yield from self._release(side)
        yield from self.back_off(0.3)
        yield from self.tuck(side)
        return failed

    def thread(self, name: str, eye: str) -> Act:
        """Bring a held needle before an eye, and push it through; it stays in the hand."""
        side = next(s for s, n in self.holds.items() if n == name)
        return (yield from self._join(name, side, Joining("threaded", eye)))

    def _fits(self, name: str, wanted: Joining) -> list[Fit]:
        """Every way in which a thing goes into the other one, as that stands now."""
        there, thing = self.model.thing(wanted.other), self.model.things[name]
        other = self.model.things[wanted.other]
        if wanted.how == "inserted":
            mouth = there.point(0.0, 0.0, other["height"])
            deep = min(thing["length"], other["sunk"])
            turns = [there.turn @ yaw_rotation(k * pi / 2) for k in range(4)]
            return [Fit(Frame(mouth, turn), -there.turn[:, 2], 0.9 * deep, deep) for turn in turns]
        eye, found = there.point(0.0, 0.0, other["level"]), []
        for way in (there.turn[:, 0], -there.turn[:, 0]):
            turn = np.stack([way, np.cross(there.turn[:, 2], way), there.turn[:, 2]], axis=1)
            tip = np.array([thing["length"] / 2 + other["rim"] / 2, 0.0, thing["height"] / 2])
            deep = other["rim"] + THROUGH
            found.append(Fit(Frame(eye - turn @ tip, turn), way, deep - 0.005, deep))
        return found

    def _find_fit(
        self, name: str, side: str, wanted: Joining, most: int, held: Frame | None = None
    ) -> tuple[int, Stand] | None:
        """Number of the way to take, and where the base stands for it.

        ``held``: the palm in the thing's frame, if it is not held yet.
        """
        model = self._look_holding(name, side, held)
        in_thing = held or self._in_palm(side, name).inverse()
        other = wanted.other
        fits = self._fits(name, wanted)
        palms = [fit.frame * in_thing for fit in fits]
        under = model.under(other)
        facing = model.facing(under.partition(".")[0]) if under else float(model.stand()[2])
        now = model.thing(name).turn
        ways = []
        for fit, palm in zip(fits, palms, strict=True):
            spin = float(np.arccos(np.clip((np.trace(fit.frame.turn @ now.T) - 1) / 2, -1, 1)))
            cost = 0.2 * spin if self.robot.drives else self._askew(side, palm)
            ways.append((side, palm, cost))

        def goals(palm: Frame) -> list[tuple[Frame, dict[str, float], float]]:
            fit = next(f for f, p in zip(fits, palms, strict=True) if p is palm)
            near = {name: 0.001, other: 0.004}

            def at(along: float) -> Frame:
                return Frame(palm.at + along * fit.way, palm.turn)

            # In the hole it may touch what is around it; the hand may not.
            return [
                (at(-SHORT), near, 0.003),
                (at(-COMING), near, 0.004),
                (at(fit.most), {name: -0.004, other: 0.001}, 0.0),
            ]

        found = first_stand(self, ways, facing, goals, most)
        if found is None:
            return None
        return next(i for i, p in enumerate(palms) if p is found[1]), found[2]

    def _join(self, name: str, side: str, wanted: Joining) -> Act:
        failed = "no-place"
        for _ in range(2):
            self.look()
            found = self._find_fit(name, side, wanted, 250)
            if found is None:
                return "no-place"
            index, stand = found
            failed = yield from self.drive(stand.base)
            if failed:
                continue
            self._draw(stand.drawn)
            self.look()
            fit = self._fits(name, wanted)[index]
            before = Frame(fit.frame.at - COMING * fit.way, fit.frame.turn)
            failed = yield from self._over(name, side, before, stand, 0.0)
            if failed:
                continue
            return (yield from self._go_in(name, side, wanted, index))
        return failed

    # -- in touch ----------------------------------------------------------------------------

    def _lead(
        self,
        name: str,
        side: str,
        goal: Callable[[], Frame],
        *,
        speed: float,
        within: float,
        patience: float,
        while_true: Callable[[], bool] = lambda: True,
    ) -> Act:
        """Bring a held thing to a frame in the world, by where it truly is."""

        def palm() -> Frame:
            there, wanted, here = self.model.thing(name), goal(), self._palm(side)
            turn = wanted.turn @ there.turn.T
            return Frame(wanted.at + turn @ (here.at - there.at), turn @ here.turn)

        return (
            yield from self.goto(
                side, palm, speed=speed, within=within, patience=patience, while_true=while_true
            )
        )

    def _keeps_turned(self, name: str, side: str) -> Callable[[], bool]:
        """As `_keeps`, and it has not turned in the hand, which would go round it."""
        held, first = self._keeps(name, side), self._in_palm(side, name).turn

        def keeps() -> bool:
            cosine = (float(np.trace(first.T @ self._in_palm(side, name).turn)) - 1.0) / 2.0
            return held() and cosine > cos(TWISTED)

        return keeps

    def _go_in(self, name: str, side: str, wanted: Joining, index: int) -> Act:
        """From before the mouth into it: aim, push; where it is stuck, draw back, aim aside."""

        def fit() -> Fit:
            return self._fits(name, wanted)[index]

        def seen() -> tuple[float, float, float]:
            """How far it is in, how far aside [m], and the force on it [N]."""
            self.model.look(self.limbs.seen)
            goal = fit()
            off = self.model.thing(name).at - goal.frame.at
            deep = float(off @ goal.way)
            aside = float(np.linalg.norm(off - deep * goal.way))
            return deep, aside, self.model.support(name)[0]

        self.look()  # it may have come round something, looking at nothing
        keeps = self._keeps_turned(name, side)
        for count in range(_AIMS):
            far = _ASIDE * sqrt(count)
            out, up = far * cos(count * _GOLDEN), far * sin(count * _GOLDEN)

            def aim(along: float, out: float = out, up: float = up) -> Frame:
                goal = fit()
                y, z = goal.frame.turn[:, 1], np.cross(goal.way, goal.frame.turn[:, 1])
                at = goal.frame.at + out * y + up * z + along * goal.way
                return Frame(at, goal.frame.turn)

            yield from self._lead(
                name,
                side,
                lambda: aim(-SHORT),
                speed=0.1,
                within=0.002,
                patience=0.8,
                while_true=keeps,
            )
            if not keeps():
                return "slipped"

            def going() -> bool:
                deep, aside, force = seen()
                return deep < fit().most and aside < ASTRAY and force < PUSH and keeps()

            def ahead() -> Frame:
                """Straight on; where it touches nothing, also towards its aim."""
                deep, _, force = seen()
                here, there, goal = self._palm(side), self.model.thing(name), fit()
                if force > FELT:
                    return Frame(here.at + 0.02 * goal.way, here.turn)
                wanted = aim(deep + 0.02)
                turn = wanted.turn @ there.turn.T
                return Frame(wanted.at + turn @ (here.at - there.at), turn @ here.turn)

            yield from self.goto(
                side, ahead, speed=0.05, within=0.0, while_true=going, patience=4.0
            )
            deep, aside, _ = seen()
            if deep >= fit().deep and aside < ASTRAY:
                return ""
        return "stuck"
