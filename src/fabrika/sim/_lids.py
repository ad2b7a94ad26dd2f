"""Skills for what turns about a level hinge: doors that drop down, and lids.

Straight fingers go into the gap between panel and bar, from the panel's free edge. There they can
do both: pull at the bar, and push at the panel; what falls by itself lies on them. The hand need
not turn as far as the part does: fingers fit the gap at any of a range of tilts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from math import cos, tan
from typing import TYPE_CHECKING

import numpy as np

from fabrika._signals import Array
from fabrika.sim._along import Along, go_along
from fabrika.sim._joinery import CLEARANCE, Part
from fabrika.sim._levers import DIPS, Lever
from fabrika.sim._model import Frame
from fabrika.sim._pose import across
from fabrika.sim._reach import BLOCKED, Act, Stand
from fabrika.sim._robot import Hand

if TYPE_CHECKING:
    from fabrika.sim._work import Worker

TILTS = (0.0, -0.3, -0.55, -0.8)
"""Tilts of fingers behind a bar [rad]."""
PUSHES = (-0.8, -1.1, -1.4)
"""Tilts of fingers that push a panel shut, before its bar [rad]."""
DEEP = 0.014
"""How far fingertips go in behind the bar [m]."""
GAP = 0.0185
"""From the bar's middle to the middle of the fingers behind it [m]."""
STUCK = 30.0
"""Force at which fingers that go behind a bar have met it [N]."""
OUT = 0.12
"""How far the hand waits before the gap, along its fingers [m]."""
LOOSE = 0.015
"""How far fingers that lifted a lid come off its bar before they are drawn out [m]."""
FOLLOWS = (1.0, 1.4, 0.5, 0.0)
"""Share of the way that the hand goes, from above, that the base goes with it."""
PUSH = (-0.025, CLEARANCE - 0.011)
"""Where fingertips push a panel: behind the bar, and from it towards the panel [m]."""
FALLS = (0.65, 0.45)
"""Shares of its way to try to take a door along that drops down: past its balance it falls."""
LIFTS = (0.92, 0.84)
"""The same of a lid, which stays where it is left."""
PACE, LAG = 0.4, 0.12
"""Speed [rad/s], and how far the part may stay behind before it is waited for [rad]."""
PRESSED, SHUT = 40.0, 15.0
"""Force at which a door that is pushed shut is shut, and a lid [N]."""
CLEAR = 0.010
"""What has to stay free around the robot on its way [m]."""
STEPS = 6
MOST = 300
"""Stands that are tried for a ride."""


@dataclass(frozen=True, slots=True)
class Tip:
    """Fingertips at a bar, in the plane across it."""

    tilt: float
    """Angle between straight fingers and the panel [rad]; above zero they point away from it."""
    deep: float
    """How far they are in behind the bar [m]."""
    below: float
    """How far they are from the bar, towards the panel [m]."""


@dataclass(frozen=True, slots=True)
class Ride:
    """A hand that goes with a part, its fingers behind the bar."""

    side: str
    roll: float
    """Which side of the hand looks away from the panel: 1 the palm, -1 its back."""
    start: float
    goal: float
    """Where the part is when it begins and ends [rad]."""
    tips: tuple[Tip, Tip]
    """Where the fingertips are then."""

    def palm(self, part: Part, hand: Hand, at: float) -> Frame:
        """The palm in the part's frame where the part is ``at`` [rad]."""
        done = min(max((at - self.start) / (self.goal - self.start), 0.0), 1.0)
        one, two = self.tips
        tilt, deep, below = (
            a + done * (b - a)
            for a, b in ((one.tilt, two.tilt), (one.deep, two.deep), (one.below, two.below))
        )
        out, handle, inwards = np.array(part.out), np.array(part.handle), _inwards(part)
        x = np.cos(tilt) * inwards + np.sin(tilt) * out
        z = self.roll * (np.cos(tilt) * out - np.sin(tilt) * inwards)
        turn = np.empty((3, 3))
        turn[:, 0], turn[:, 1], turn[:, 2] = x, across(z, x), z
        tip = handle + deep * inwards - below * out
        return Frame(tip - hand.bounds[1] * x, turn)


def _behind(tilt: float) -> Tip:
    """Fingertips behind the bar."""
    deep = DEEP if tilt > -0.4 else 0.5 * DEEP  # steep fingers would meet the panel
    return Tip(tilt, deep, GAP / cos(tilt) - deep * tan(tilt))


def _is_lid(part: Part) -> bool:
    """Whether it lies on top, with a lever before it; else it drops down."""
    return part.out[2] > 0.5


@lru_cache(maxsize=64)
def _inwards(part: Part) -> Array:
    """(3,) unit vector along the panel from its bar to its hinge, in the part's frame."""
    bar, out, handle = np.array(part.bar), np.array(part.out), np.array(part.handle)
    along = -(handle - (handle @ out) * out - (handle @ bar) * bar)
    return np.asarray(along / np.linalg.norm(along))


def _out(
    worker: Worker, joint: str, ride: Ride | Lever, at: float, palm: Frame, far: float = OUT
) -> Frame:
    """The palm before it goes in, or after it came out.

    Behind a bar midway between the fingers' direction and the panel's: along themselves their bent
    tips would meet the bar, along the panel steep ones would meet its edge.
    """
    way = palm.turn[:, 0]
    if isinstance(ride, Lever):
        way = ride.way(palm)
    elif ride.tips[0].deep > 0.0:
        way = way + worker.model.body(joint, at).turn @ _inwards(worker.model.parts[joint])
    return Frame(palm.at - far * way / np.linalg.norm(way), palm.turn)


def swing(worker: Worker, joint: str, goal: float) -> Act:
    """Bring a door that drops down, or a lid, to ``goal`` [rad], in as many rides as it takes."""
    failed, went = "no-grip", dict[float, bool]()
    for _ in range(4):
        if _there(worker, joint, goal):
            return ""
        yield from worker.settle()  # an arm that is still out would be in the way of every stand
        found = _find(worker, joint, goal, went)
        if found is None:
            return "no-grip"
        ride, stand, follow = found
        failed = yield from _do(worker, joint, ride, stand, follow)
        if not failed:
            failed = "did-not-move"
    return "" if _there(worker, joint, goal) else failed


def _there(worker: Worker, joint: str, goal: float) -> bool:
    worker.model.look(worker.limbs.seen)
    at = worker.model.opening(joint)
    return at > 0.78 * worker.model.parts[joint].open if goal > 0.0 else at < 0.02


def _do(worker: Worker, joint: str, ride: Ride | Lever, stand: Stand, follow: float) -> Act:
    """Put the fingers behind the bar, go with the part, and draw them out again."""
    side, limbs = ride.side, worker.limbs
    hand, part = worker.robot.hands[side], worker.model.parts[joint]
    failed = yield from worker.drive(stand.base)
    if failed:
        return failed

    def at_bar(far: float = 0.0) -> Frame:
        now = worker.model.opening(joint)
        palm = worker.model.body(joint) * ride.palm(part, hand, now)
        return _out(worker, joint, ride, now, palm, far)

    worker.look()
    failed = yield from worker.reach(side, at_bar(OUT), stand, 0.0)
    if failed:
        yield from worker.back_off(0.2)
        return failed
    yield from limbs.shape((side,), np.array(hand.hook_open), seconds=0.3)

    def free() -> bool:
        return float(limbs.seen["truth/contact"][0]) < STUCK

    yield from worker.goto(side, at_bar, speed=0.12, within=0.003, patience=3.0, while_true=free)
    if free():
        yield from _go_with(worker, joint, ride, follow)
    worker.model.look(limbs.seen)
    if isinstance(ride, Lever) and ride.goal > 0.0:  # off the bar: it would be dragged along
        under = at_bar()
        under = Frame(under.at + LOOSE * under.turn[:, 2], under.turn)
        yield from worker.goto(side, under, speed=0.1, within=0.004, patience=2.0)
        worker.model.look(limbs.seen)
    away = at_bar(OUT)
    if not isinstance(ride, Lever):
        away = _out(worker, joint, ride, worker.model.opening(joint), worker._palm(side))
    yield from worker.goto(side, away, speed=0.2, within=0.01, patience=3.0)
    yield from limbs.wait(0.4)
    yield from worker.back_off(0.25)
    yield from limbs.shape((side,), np.array(hand.open), seconds=0.2)
    yield from worker.tuck(side)
    return ""


def _rides(
    worker: Worker, joint: str, start: float, goal: float
) -> Iterator[tuple[Ride | Lever, float]]:
    """Ways to go with a part, with their costs."""
    part = worker.model.parts[joint]
    if _is_lid(part):
        for side, hand in worker.robot.hands.items():
            if side not in worker.holds and hand.hook:
                for shut, wide in product(DIPS, DIPS):
                    # An open lid is pushed ahead or drawn back, by fingers that point down.
                    cost = abs(shut - 0.3) + abs(wide - 0.6)
                    dips = (wide, shut) if goal <= 0.0 else (shut, wide)
                    yield Lever(side, start, goal, dips), cost
        return
    for side, hand in worker.robot.hands.items():
        if side in worker.holds or not hand.hook:
            continue
        for roll, one, two in product((1.0, -1.0), TILTS, PUSHES if goal <= 0.0 else TILTS):
            if goal <= 0.0:
                tips = Tip(one, *PUSH), Tip(two, *PUSH)
            else:
                tips = _behind(one), _behind(two)
            ride = Ride(side, roll, start, goal, tips)
            # Arms point ahead and down with ease, and not straight down.
            steep = 0.0
            for at in (start, goal):
                x = worker.model.body(joint, at).turn @ ride.palm(part, hand, at).turn[:, 0]
                steep += abs(float(np.arcsin(-x[2])) - 0.3)
            yield ride, steep + 0.1 * (roll < 0)


def _find(
    worker: Worker, joint: str, goal: float, went: dict[float, bool]
) -> tuple[Ride | Lever, Stand, float] | None:
    """A ride as far as there is one, the stand where it begins, how the base goes along.

    ``went``: whether the first ride looked for went so far [rad]; if not, none is looked for again.
    """
    model = worker.look()
    start = model.opening(joint)
    wide = LIFTS if _is_lid(model.parts[joint]) else FALLS
    for share in wide if goal > start else (1.0,):
        end = start + share * (goal - start)
        far = round(end, 2)
        found = _find_to(worker, joint, start, end, MOST if went.get(far, True) else 0)
        went.setdefault(far, found is not None)
        if found is not None:
            return found
    return None


def _find_to(
    worker: Worker, joint: str, start: float, goal: float, most: int
) -> tuple[Ride | Lever, Stand, float] | None:
    """``most``: stands that are tried. Draws are the same for any, so that what follows is, too."""
    model = worker.look()
    part, body = model.parts[joint], model.body(joint, start)
    hands = worker.robot.hands
    ways = []
    for ride, cost in _rides(worker, joint, start, goal):
        palm = body * ride.palm(part, hands[ride.side], start)
        ways.append((ride.side, palm, cost, ride))
    blocked = 0
    stands = worker.stands_for(ways, model.facing(model.owner(joint)))
    for tried, (_, ride, base, drawn) in enumerate(stands):
        if tried >= most:
            break
        postures = _try(worker, joint, ride, base, drawn)
        if postures is None:
            continue
        for follow in FOLLOWS:
            if _goes(worker, joint, ride, base, drawn, postures[0], follow):
                worker.look()
                if worker.route(base) is not None:
                    return ride, Stand(base, postures, drawn), follow
                blocked += 1
                break
        if blocked >= BLOCKED:
            break
    worker.look()
    return None


def _try(
    worker: Worker, joint: str, ride: Ride | Lever, base: Array, drawn: dict[str, Array]
) -> tuple[dict[str, Array], ...] | None:
    """Postures with the fingers behind the bar, and before the gap."""
    model, hand = worker.model, worker.robot.hands[ride.side]
    model.rehearsal.pose({hand.fingers: np.array(hand.hook_open)})
    model.rehearsal.move(joint, ride.start)
    palm = model.body(joint, ride.start) * ride.palm(model.parts[joint], hand, ride.start)
    goals = (
        (palm, {joint: -0.002 if ride.goal > 0.0 else -0.006}, CLEAR),
        (_out(worker, joint, ride, ride.start, palm), {joint: 0.0}, CLEAR),
    )
    return worker.rehearse(ride.side, base, goals, drawn)


def _goes(
    worker: Worker,
    joint: str,
    ride: Ride | Lever,
    base: Array,
    drawn: dict[str, Array],
    posture: dict[str, Array],
    follow: float,
) -> bool:
    """Whether the hand can go with the part, and then out of the gap."""
    model, hand = worker.model, worker.robot.hands[ride.side]
    part, near = model.parts[joint], {joint: -0.004 if ride.goal > 0.0 else -0.006}
    joints = {**worker.limbs.joints, **drawn, **posture}
    first = (model.body(joint, ride.start) * ride.palm(part, hand, ride.start)).at
    try:
        for at in np.linspace(ride.start, ride.goal, STEPS)[1:]:
            model.rehearsal.move(joint, float(at))
            palm = model.body(joint, float(at)) * ride.palm(part, hand, float(at))
            stand = _with(base, palm.at - first, follow)
            found = worker.rehearse(ride.side, stand, ((palm, near, CLEAR),), drawn, joints)
            if found is None:
                return False
            joints.update(found[0])
        way = ((_out(worker, joint, ride, ride.goal, palm), {joint: 0.0}, 0.004),)
        out = worker.rehearse(ride.side, stand, way, drawn, joints)
        if out is None or ride.goal <= 0.0:
            return out is not None
        model.rehearsal.move(joint, part.open)  # what is let go of falls open
        model.rehearsal.pose(worker._at(stand, out[0]))
        return model.rehearsal.clear(0.02)
    finally:
        model.rehearsal.move(joint, ride.start)


def _with(base: Array, moved: Array, follow: float) -> Array:
    """(3,) where the base goes while the hand moves by (3,) [m]."""
    return base + follow * np.array([moved[0], moved[1], 0.0])


def _go_with(worker: Worker, joint: str, ride: Ride | Lever, follow: float) -> Act:
    """Base and hand along the part's way, as fast as it follows."""
    hand, part = worker.robot.hands[ride.side], worker.model.parts[joint]
    worker.model.look(worker.limbs.seen)
    base, start = worker.model.stand(), worker.model.opening(joint)
    first = (worker.model.body(joint) * ride.palm(part, hand, start)).at
    into = -0.5 * worker.model.body(joint, 0.0).turn @ np.array(part.out)
    way = Along(
        side=ride.side,
        goal=ride.goal,
        palm=partial(ride.palm, part, hand),
        stand=lambda palm, _: _with(base, palm.at - first, follow),
        seat=lambda _: into,
        pace=PACE,
        lag=LAG,
        beyond=0.06,
        pressed=SHUT if isinstance(ride, Lever) else PRESSED,
    )
    return (yield from go_along(worker, joint, way))
