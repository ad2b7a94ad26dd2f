"""Pushing: a thing too wide to be held slides over what it stands on, before a closed hand.

The hand goes down behind the thing, seen from its goal, a flat side of the closed hand ahead, and
pushes straight at the goal. It looks all the while, and steers; what turns off, or slides past, is
gone behind anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import cos, hypot, pi, sin
from typing import TYPE_CHECKING, Any

import numpy as np

from fabrika._signals import Array
from fabrika.sim._model import Frame
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._reach import MARGIN, UP, Act, Stand
from fabrika.sim._robot import Face, Hand
from fabrika.sim._scene import footprint, height_of
from fabrika.sim._stands import search

if TYPE_CHECKING:
    from fabrika.sim._work import Worker

PACE, COME = 0.12, 0.06
"""Speed at which a thing is pushed, and at which the hand comes to it [m/s]."""
NEAR = 0.035
"""How near to its goal a thing is pushed [m]."""
STOP = 0.004
"""How much before its goal it is let be: what slides goes on a little [m]."""
BEFORE = 0.05
"""How far behind the thing the hand goes down [m]."""
STEER = 0.35
"""How far aside of straight ahead the hand may push [rad]."""
ASTRAY = 0.05
"""How far aside of its hand a thing may get before the hand goes behind it anew [m]."""
WIDE = 0.04
"""Half of the width of a hand's face [m]."""
FOLLOWS = (0.0, 1.0, 0.5)
"""Share of the way that the base goes with the hand."""
STRAIGHT, ROUND = (0.0,), (0.6, -0.6, 1.1, -1.1)
"""How far off the way to its goal a thing is pushed, and, if that cannot be, for a while [rad]."""
HEIGHTS = (0.045, 0.055, 0.07)
"""Heights of the middle of the hand's face over what the thing stands on [m]."""
ROLLS = tuple(k * pi / 8 for k in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8))
"""How the hand may be turned about the way that it pushes, from its thumb up [rad]."""
CLEAR = 0.008
"""What has to stay free around the robot on its way [m]."""
JAMMED = 60.0
"""Force of the hand on what is fixed, or on the thing, at which it goes no further [N]."""
TRIES, PUSHES = 120, 6
"""Stands that are tried; pushes after which it gives up."""


@dataclass(frozen=True, slots=True)
class _Push:
    """A hand behind a thing, and the way that it pushes."""

    side: str
    palm: Frame
    """Where the hand touches the thing, in the world."""
    way: Array
    """(3,) level unit vector."""
    stand: Stand
    follow: float
    """Share of the way that the base goes along."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A straight way of a thing."""

    palm: Frame
    """Where the hand touches it, in the world."""
    far: Array
    """(3,) how far it goes, level [m]."""


def push(worker: Worker, name: str, place: str) -> Act:
    """Slide a thing to the middle of the spot "fixture.spot" that it stands on."""
    if not _level_with(worker, name, place):
        return "not-on-it"
    for _ in range(PUSHES):
        if hypot(*_left(worker, name, place)) < NEAR:
            return ""
        found = _find(worker, name, place, STRAIGHT) or _find(worker, name, place, ROUND)
        if found is None:
            return "" if hypot(*_left(worker, name, place)) < NEAR else "no-way-to-push"
        failed = yield from worker.drive(found.stand.base)
        if failed:
            continue
        failed = yield from _do(worker, name, place, found)
        if failed:
            yield from worker.back_off(0.2)
            yield from worker.tuck(found.side)
    return "" if hypot(*_left(worker, name, place)) < NEAR else "not-pushed"


def _level_with(worker: Worker, name: str, place: str) -> bool:
    under = worker.look().under(name)
    return bool(under) and worker.model.spot_body(under) == worker.model.spot_body(place)


def _left(worker: Worker, name: str, place: str) -> Array:
    """(2,) what is left to push, from above [m]."""
    worker.model.look(worker.limbs.seen)
    return np.asarray(worker.model.spot(place)[1].at[:2] - worker.model.thing(name).at[:2])


def deep(params: Any, turned: float, wide: float) -> float:
    """How far behind a thing's middle a flat side of half width ``wide`` [m] meets its skin [m].

    ``turned``: direction from the middle to the side, in the thing's frame [rad].
    """
    if "width" not in params:
        return float(params["radius"])
    half, d = np.array(footprint(params)), np.array([cos(turned), sin(turned)])
    across = np.array([-d[1], d[0]])
    far = 0.0
    for aside in np.linspace(-wide, wide, 9):
        # Where the ray leaves the box, if it meets it at all.
        sides = np.sign(d) * half - aside * across
        ends = [float(s / c) for s, c in zip(sides, d, strict=True) if abs(c) > 1e-9]
        at = min(ends)
        if (np.abs(at * d + aside * across) <= half + 1e-9).all():
            far = max(far, at)
    return far


def palms_at(
    hand: Hand, faces: Iterable[Face], way: Array, at: Array, rolls: Iterable[float] = ROLLS
) -> Iterator[tuple[Frame, float]]:
    """Palms of which a face lies at a point, looking along ``way``; with their costs.

    ``way``: (3,) unit vector, not upright.
    """
    rise = UP - (UP @ way) * way
    rise /= np.linalg.norm(rise)
    for middle, out in faces:
        n, thumb = np.array(out), np.array(hand.thumb)
        side = np.cross(thumb, n)
        own = np.stack([n, thumb, np.cross(n, thumb)], axis=1)
        if np.linalg.norm(side) < 0.5:  # the thumb's own side: the fingers up instead
            own = np.stack([n, [1.0, 0.0, 0.0], np.cross(n, [1.0, 0.0, 0.0])], axis=1)
        for roll in rolls:
            up = turn_by(roll * way) @ rise
            turn = np.stack([way, up, np.cross(way, up)], axis=1) @ own.T
            yield Frame(at - turn @ np.array(middle), turn), 0.05 * abs(roll)


def _find(worker: Worker, name: str, place: str, turns: tuple[float, ...]) -> _Push | None:
    """A hand behind a thing, and a stand from which it pushes it as far as it is to go.

    ``turns``: how far off the way to its goal [rad].
    """
    model = worker.look()
    there, params = model.thing(name), model.things[name]
    left = _left(worker, name, place)
    ways = []
    for turned in turns:
        far = hypot(*left) * cos(turned)
        ahead = float(np.arctan2(left[1], left[0])) + turned
        way = yaw_rotation(ahead)[:, 0]
        behind = there.at - deep(params, ahead + pi - there.yaw, WIDE) * way
        for side, hand in worker.robot.hands.items():
            if side in worker.holds:
                continue
            for high in (h for h in HEIGHTS if h < height_of(params)):
                for palm, cost in palms_at(hand, hand.faces, way, behind + high * UP):
                    # The middle of the way is to be where it is best.
                    middle = Frame(palm.at + 0.5 * far * way, palm.turn)
                    cost += 2 * (high - HEIGHTS[0]) + 0.5 * abs(turned)
                    ways.append((side, middle, cost, _Way(palm, far * way)))
    facing = model.facing(place.partition(".")[0])

    def attempt(
        side: str, way: _Way, base: Array, drawn: dict[str, Array]
    ) -> Iterator[tuple[Array, _Push]]:
        along = way.far
        for follow in FOLLOWS if worker.robot.drives else (0.0,):
            stand = base - 0.5 * follow * along
            if not _drives(worker, stand, follow * along):
                continue
            postures = _try(worker, name, place, side, way.palm, along, (stand, follow), drawn)
            if postures is not None:
                unit = along / float(np.linalg.norm(along))
                yield stand, _Push(side, way.palm, unit, Stand(stand, postures, drawn), follow)

    found = next(search(worker, ways, facing, attempt, TRIES), None)
    worker.look()
    return found


def _drives(worker: Worker, stand: Array, way: Array) -> bool:
    """Whether the base can go along a way from a stand, as free as on all its ways."""
    if not way.any():
        return True
    for share in (0.0, 0.5, 1.0):
        worker.model.rehearsal.pose(worker._at(stand + share * way, worker._arms()))
        if not worker.model.rehearsal.clear(MARGIN):
            return False
    return True


def _try(
    worker: Worker,
    name: str,
    place: str,
    side: str,
    palm: Frame,
    far: Array,
    goes: tuple[Array, float],
    drawn: dict[str, Array],
) -> tuple[dict[str, Array], ...] | None:
    """Postures behind the thing, and over there; None if the hand cannot push it all the way.

    ``goes``: where the base stands at first, and its share of the way ``far``, (3,) [m].
    """
    model, hand, (base, follow) = worker.model, worker.robot.hands[side], goes
    rehearsal, there = model.rehearsal, model.thing(name)
    rehearsal.put(name, there.at, there.turn)
    rehearsal.pose({hand.fingers: np.array(hand.closed)})
    body, length = model.spot_body(place), float(np.linalg.norm(far))
    near = {name: -0.004, body: 0.003}
    behind = Frame(palm.at - BEFORE * far / max(length, 1e-9), palm.turn)
    goals = ((palm, near, CLEAR), (behind, {body: 0.003}, CLEAR))
    postures = worker.rehearse(side, base, goals, drawn)
    if postures is None:
        return None
    joints = {**worker.limbs.joints, **drawn, **postures[0]}
    try:
        for share in np.linspace(0.0, 1.0, max(2, int(length / 0.07) + 1) + 1)[1:].tolist():
            moved = share * far
            rehearsal.put(name, there.at + moved, there.turn)
            goal = ((Frame(palm.at + moved, palm.turn), near, CLEAR),)
            stand = base + follow * moved * np.array([1.0, 1.0, 0.0])
            found = worker.rehearse(side, stand, goal, drawn, joints)
            if found is None:
                return None
            joints.update(found[0])
    finally:
        rehearsal.put(name, there.at, there.turn)
    return postures


def _do(worker: Worker, name: str, place: str, found: _Push) -> Act:
    """Go down behind the thing, push, and draw back."""
    side, limbs, way = found.side, worker.limbs, found.way
    hand = worker.robot.hands[side]
    worker._draw(found.stand.drawn)
    yield from limbs.shape((side,), np.array(hand.closed), seconds=0.5)
    worker.look()
    behind = Frame(found.palm.at - BEFORE * way, found.palm.turn)
    failed = yield from worker.go_round(side, behind, found.stand.postures[1])
    if failed:
        return failed
    limbs.refresh()
    yield from _slide(worker, name, place, found)
    worker.model.look(limbs.seen)
    here = worker._palm(side)
    back = Frame(here.at - BEFORE * way, here.turn)
    yield from worker.goto(side, back, speed=0.2, within=0.01, patience=3.0)
    yield from worker.back_off(0.25)
    yield from limbs.shape((side,), np.array(hand.open), seconds=0.3)
    yield from worker.tuck(side)
    return ""


def _slide(worker: Worker, name: str, place: str, found: _Push) -> Act:
    """Push until the thing is as far as its goal, or gets astray."""
    side, way, limbs, model = found.side, found.way, worker.limbs, worker.model
    aside = np.array([-way[1], way[0], 0.0])
    model.look(limbs.seen)
    first, base, start = worker._palm(side).at, model.stand(), model.thing(name).at
    # How far aside of the thing's middle the palm's origin belongs.
    lead = float((found.palm.at - start) @ aside)
    at, rate, most = np.array([*first[:2], found.palm.at[2]]), 0.0, round(12.0 / limbs.dt)
    limbs.refresh()
    for _ in range(most):
        left = _left(worker, name, place)
        ahead = float(left @ way[:2])
        off = worker._palm(side).at - model.thing(name).at
        astray = abs(float(off @ aside) - lead) > ASTRAY
        fixed, _, _, thing = limbs.seen["truth/contact"]
        if ahead < STOP or astray or max(fixed, thing) > JAMMED:
            break
        touched = hypot(*(model.thing(name).at - start)[:2]) > 0.003
        rate = min(PACE if touched else COME, rate + 0.3 * limbs.dt, 0.03 + 1.5 * ahead)
        turned = np.clip(np.arctan2(float(left @ aside[:2]), max(ahead, 0.05)), -STEER, STEER)
        at = at + rate * limbs.dt * (yaw_rotation(float(turned)) @ way)
        gone = found.follow * float((at - first) @ way) * way
        if "base" in limbs.joints and found.follow:
            step = worker.left(base + np.array([gone[0], gone[1], 0.0]))
            limbs.joints["base"] = limbs.joints["base"] + 0.5 * np.clip(step, -0.03, 0.03)
        local = model.base().inverse() * Frame(at, found.palm.turn)
        limbs.pursue({side: (local.at, local.turn)}, speed=0.4, turn=1.6)
        yield from limbs.tick()
    return ""
