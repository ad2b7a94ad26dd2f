"""Turning a knob: fingertips hold its bar, and the hand turns about the knob's own axis.

One grip turns as far as the arm can go; then the hand lets go, and takes the bar anew. So any knob
with a bar can be turned by any hand whose fingers close on something thin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from fabrika._signals import Array
from fabrika.sim._grasps import pinching
from fabrika.sim._model import Frame
from fabrika.sim._reach import Act, Stand
from fabrika.sim._robot import Hand, clamp
from fabrika.sim._stands import search

if TYPE_CHECKING:
    from fabrika.sim._work import Worker

PACE = 0.9
"""Speed of a knob that is turned [rad/s]."""
NEAR = 0.04
"""A knob is where it is to be within this [rad]."""
LAG = 0.5
"""How far a knob may stay behind the hand, whose fingers yield [rad]."""
LEAST = 0.3
"""What a grip has to turn it by, if it does not turn it all the way [rad]."""
JAMMED = 80.0
"""Force on what is fixed at which the hand goes no further [N]."""
BEFORE = 0.07
"""How far before the knob the hand stops, and looks again [m]."""
CLEAR = 0.008
"""What has to stay free around the robot on its way [m]."""
OFF = (0.0, 0.006, 0.012)
"""How far off the middle of its bar fingers may close [m]: as they close they go deeper."""
TIGHT = 1.3
"""How much further fingers close on a bar than on what they lift, as a share."""
HOLD, LET_GO = 0.6, 0.5
"""Time to close on the bar, and to let go of it [s]."""
GRIPS = 6
"""Grips after which it gives up."""
TRIES, WIDER = 150, 40
"""Stands that are tried; and after one was found that does not turn it all the way."""


@dataclass(frozen=True, slots=True)
class _Twist:
    """A hand on a knob's bar, and how far it turns it."""

    side: str
    palm: Frame
    """In the knob's frame."""
    stand: Stand
    end: float
    """[rad]."""


def turn_knob(worker: Worker, joint: str, goal: float) -> Act:
    """Turn a knob to ``goal`` [rad], in as many grips as it takes."""
    failed = "no-grip"
    for _ in range(GRIPS):
        if _there(worker, joint, goal):
            return ""
        twist = _find(worker, joint, goal)
        if twist is None:
            return "no-grip"
        failed = yield from worker.drive(twist.stand.base)
        if failed:
            continue
        worker._draw(twist.stand.drawn)
        worker.look()
        before = _off(worker, joint, twist)
        failed = yield from worker.go_round(twist.side, before, twist.stand.postures[1])
        if failed:
            yield from worker.back_off(0.2)
            continue
        yield from _twist(worker, joint, twist, goal)
        yield from worker.back_off(0.2)
        yield from worker.tuck(twist.side)
        failed = "did-not-turn"
    return "" if _there(worker, joint, goal) else failed


def _there(worker: Worker, joint: str, goal: float) -> bool:
    worker.model.look(worker.limbs.seen)
    return abs(worker.model.opening(joint) - goal) < 2 * NEAR


def _off(worker: Worker, joint: str, twist: _Twist, far: float = BEFORE) -> Frame:
    """The palm ``far`` [m] off the bar, where the knob is now."""
    body = worker.model.body(joint)
    palm = body * twist.palm
    return Frame(palm.at + far * (body.turn @ _axis(worker, joint)), palm.turn)


def _axis(worker: Worker, joint: str) -> Array:
    """(3,) unit vector out of the knob, in its frame."""
    return np.array(worker.model.parts[joint].out)


def _twist(worker: Worker, joint: str, twist: _Twist, goal: float) -> Act:
    """Take the bar, turn it, let go of it, and come away."""
    hand, limbs, sides = worker.robot.hands[twist.side], worker.limbs, (twist.side,)
    opened, closed = fingers(worker, twist.side)
    yield from limbs.shape(sides, opened, seconds=0.3)

    def on() -> Frame:
        return _off(worker, joint, twist, 0.0)

    yield from worker.goto(twist.side, on, speed=0.15, within=0.006, patience=2.0)
    yield from limbs.shape(sides, closed, seconds=HOLD)
    yield from _go_with(worker, joint, twist, goal)
    yield from limbs.shape(sides, opened, seconds=LET_GO)
    worker.look()
    here = worker._palm(twist.side)
    out = worker.model.body(joint).turn @ _axis(worker, joint)
    away = Frame(here.at + BEFORE * out, here.turn)
    yield from worker.goto(twist.side, away, speed=0.2, within=0.01, patience=3.0)
    yield from limbs.shape(sides, np.array(hand.open), seconds=0.3)
    return ""


def _go_with(worker: Worker, joint: str, twist: _Twist, goal: float) -> Act:
    """The hand about the knob's axis, as fast as the knob follows, until it is there."""
    limbs, model = worker.limbs, worker.model
    model.look(limbs.seen)
    start = at = model.opening(joint)
    sign = 1.0 if goal > start else -1.0
    rate, patience = 0.0, round(1.6 / limbs.dt)
    limbs.refresh()
    while patience > 0:
        model.look(limbs.seen)
        now = model.opening(joint)
        left = sign * (goal - now)
        if left < NEAR or float(limbs.seen["truth/contact"][0]) > JAMMED:
            break
        rate = min(PACE, rate + PACE * limbs.dt / 0.4, 0.15 + 1.5 * left)
        if sign * (at - now) < LAG and sign * (twist.end - at) > 0.0:
            at += sign * rate * limbs.dt
        else:
            patience -= 1
        palm = worker.model.body(joint, at) * twist.palm
        local = model.base().inverse() * palm
        limbs.pursue({twist.side: (local.at, local.turn)}, speed=0.4, turn=1.6)
        yield from limbs.tick()
    return ""


def fingers(worker: Worker, side: str) -> tuple[Array, Array]:
    """Fingers' positions round a bar, open and closed: a bar is thinner than what is lifted."""
    hand = worker.robot.hands[side]
    if hand.pinch is None:
        return np.array(hand.open), np.array(hand.closed)
    opened, closed = np.array(hand.pinch.open), np.array(hand.pinch.closed)
    group = worker.robot.groups[hand.fingers]
    tight = opened + TIGHT * (closed - opened)
    return opened, clamp(tight, np.array(group.low), np.array(group.high))


def _palms(hand: Hand, worker: Worker, joint: str) -> Iterator[tuple[Frame, float]]:
    """Palms whose fingertips are on both sides of a knob's bar, in its frame, with their costs."""
    part = worker.model.parts[joint]
    out, bar = np.array(part.out), np.array(part.bar)
    for sign, off in product((1.0, -1.0), OFF):
        across = sign * np.cross(out, bar)
        if hand.pinch is not None:
            turn, at = pinching(hand.pinch, -out, across), np.array(hand.pinch.at)
        else:  # two fingers that close along y
            turn = np.stack([-out, across, np.cross(-out, across)], axis=1)
            at = np.array(hand.pocket)
        yield Frame(np.array(part.handle) + off * out - turn @ at, turn), 25 * off


def _find(worker: Worker, joint: str, goal: float) -> _Twist | None:
    """The first grip that turns a knob all the way; else, of what was tried, what turns it most."""
    model = worker.look()
    body = model.body(joint)
    ways = [
        (side, body * palm, cost, palm)
        for side, hand in worker.robot.hands.items()
        if side not in worker.holds and (hand.pinch is not None or not hand.hook)
        for palm, cost in _palms(hand, worker, joint)
    ]
    best: _Twist | None = None

    def attempt(
        side: str, palm: Frame, base: Array, drawn: dict[str, Array]
    ) -> Iterator[tuple[Array, _Twist]]:
        twist = _try(worker, joint, goal, side, palm, base, drawn)
        if twist and (best is None or abs(twist.end - goal) < abs(best.end - goal)):
            yield base, twist

    facing = model.facing(model.owner(joint))
    for twist in search(worker, ways, facing, attempt, TRIES, WIDER):
        best = twist
        if twist.end == goal:
            break
    worker.look()
    if best is None:
        return None
    over = LAG if best.end == goal else 0.0
    end = best.end + (over if goal > model.opening(joint) else -over)
    return _Twist(best.side, best.palm, best.stand, end)


def _try(
    worker: Worker,
    joint: str,
    goal: float,
    side: str,
    palm: Frame,
    base: Array,
    drawn: dict[str, Array],
) -> _Twist | None:
    """How far a hand turns a knob from a stand; None if not far enough."""
    model, hand = worker.model, worker.robot.hands[side]
    start, owner = model.opening(joint), model.owner(joint)
    out = BEFORE * (model.body(joint).turn @ _axis(worker, joint))
    opened, closed = fingers(worker, side)
    model.rehearsal.pose({hand.fingers: opened})
    model.rehearsal.move(joint, start)
    near = {joint: 0.0, owner: 0.002}
    there = model.body(joint) * palm
    goals = ((there, near, CLEAR), (Frame(there.at + out, there.turn), {joint: 0.0}, CLEAR))
    postures = worker.rehearse(side, base, goals, drawn)
    if postures is None:
        return None
    joints = {**worker.limbs.joints, **drawn, **postures[0]}
    end = start
    # What they close on they will not be as deep in.
    model.rehearsal.pose({hand.fingers: opened + (closed - opened) / TIGHT})
    near[joint] = -0.02
    steps = max(2, int(abs(goal - start) / 0.25) + 1)
    try:
        for at in np.linspace(start, goal, steps + 1)[1:].tolist():
            model.rehearsal.move(joint, at)
            turned = model.body(joint, at) * palm
            found = worker.rehearse(side, base, ((turned, near, CLEAR),), drawn, joints)
            if found is None:
                break
            joints.update(found[0])
            end = at
    finally:
        model.rehearsal.move(joint, start)
    if end != goal and abs(end - start) < LEAST:
        return None
    return _Twist(side, palm, Stand(base, postures, drawn), end)
