"""Skills for what moves on a fixture: doors, drawers, lids, buttons.

A hand hooks the handle's bar, or lies against it; then base and arm go with the part together, as
if the robot were turned about the hinge with it, while the arm takes up what the base errs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import pi
from typing import TYPE_CHECKING

import numpy as np

from fabrika._signals import Array
from fabrika.sim._along import Along, go_along
from fabrika.sim._lids import swing
from fabrika.sim._model import Frame
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._reach import BLOCKED, Act, Stand
from fabrika.sim._robot import Hand
from fabrika.sim._stands import first_stand

if TYPE_CHECKING:
    from fabrika.sim._work import Worker

TILTS = (0.0, 0.35, -0.35, 0.7, -0.7)
"""How far the palm may be turned about the bar from facing the panel [rad]."""
SHARES = (1.0, 0.6, 0.25)
"""Share of a door's turn that the base turns with it; the wrist does the rest."""
PACE, SLIDE = 0.35, 0.12
"""Speed of a hinge, of a slide [rad/s, m/s]."""
LAG = (0.16, 0.05)
"""How far a hinge, or a slide, may stay behind before the hand is said to have lost it."""
PRESSED = 45.0
"""Force at which what is pushed shut is shut [N]."""
HOOK, UNHOOK = 1.2, 1.5
"""Time to close round a bar, and to let go of it [s]: fingers that snap shut hit it hard."""
CLEAR = 0.015
"""What has to stay free around robot and part on their way [m]."""
BEFORE = 0.09
"""How far before the handle the hand stops, and looks again [m]."""
LEAVE = 0.24
"""How far the base takes a hand off a bar that it has let go of [m]."""
OPEN = 0.77
"""Share of its way at which a part is open enough: a little more than the goals ask for."""
_THUMB = (0.25, 0.5, 0.75, 1.0)
TRIES, WIDER = 150, 60
"""Grips of each hand that are tried, so that the favoured one does not take all the tries of the
other; and in all, if one was found that opens wide enough, for a better one."""


@dataclass(frozen=True, slots=True)
class Grip:
    """A hand on a handle, and how the robot goes with it."""

    side: str
    palm: Frame
    """In the frame of the part's body."""
    stand: Stand
    share: float
    """Share of a door's turn that the base turns with it."""
    way: tuple[tuple[float, dict[str, Array]], ...]
    """Postures of torso and arm that were rehearsed, and where the part is then [rad or m]."""

    @property
    def goal(self) -> float:
        """How far it gets the part [rad or m]."""
        return self.way[-1][0]

    def posture(self, at: float) -> dict[str, Array]:
        """Of torso and arm, by group, where the part is ``at`` [rad or m]."""
        for (low, one), (high, two) in pairwise(self.way):
            if min(low, high) <= at <= max(low, high):
                share = (at - low) / (high - low)
                return {name: (1 - share) * one[name] + share * two[name] for name in one}
        return self.way[-1][1]


def open_part(worker: Worker, joint: str) -> Act:
    """Pull a door or a drawer open."""
    part = worker.model.parts[joint]
    if part.level:
        return (yield from swing(worker, joint, part.open))
    least = part.open * (0.95 if part.motion == "slide" else 0.84)
    return (yield from _move(worker, joint, part.open, least))


def close_part(worker: Worker, joint: str) -> Act:
    """Push a door or a drawer shut."""
    if worker.model.parts[joint].level:
        return (yield from swing(worker, joint, 0.0))
    return (yield from _move(worker, joint, 0.0, 0.0))


def press_part(worker: Worker, joint: str) -> Act:
    """Press a button with a finger, all the way."""
    for _ in range(3):
        found = _find_press(worker, joint)
        if found is None:
            return "no-way-to-press"
        side, palm, stand = found
        failed = yield from worker.drive(stand.base)
        if failed:
            continue
        hand = worker.robot.hands[side]
        failed = yield from worker.reach(side, palm, stand, BEFORE)
        if failed:
            continue
        yield from worker.limbs.shape((side,), np.array(hand.point), seconds=0.4)
        part = worker.model.parts[joint]
        button = _Button(worker, joint, 0.9 * part.open)
        into = Frame(palm.at + 0.02 * palm.turn[:, 0], palm.turn)
        back = Frame(palm.at - BEFORE * palm.turn[:, 0], palm.turn)
        yield from worker.goto(side, palm, speed=0.15, within=0.004, patience=3.0)
        yield from worker.goto(
            side, into, speed=0.03, within=0.001, while_true=button.moves, patience=3.0
        )
        yield from worker.goto(side, back, speed=0.15, within=0.01, patience=3.0)
        yield from worker.limbs.shape((side,), np.array(hand.open), seconds=0.3)
        yield from worker.back_off(0.2)
        yield from worker.tuck(side)
        if button.deepest >= 0.85 * part.open:
            return ""
    return "not-pressed"


class _Button:
    """A button that is being pressed: how deep it went."""

    def __init__(self, worker: Worker, joint: str, enough: float) -> None:
        self._worker, self._joint, self._enough = worker, joint, enough
        self.deepest = 0.0

    def moves(self) -> bool:
        """Whether it is not yet as deep as it is to go [m]."""
        self._worker.model.look(self._worker.limbs.seen)
        self.deepest = max(self.deepest, self._worker.model.opening(self._joint))
        return self.deepest < self._enough


def _find_press(worker: Worker, joint: str) -> tuple[str, Frame, Stand] | None:
    """A finger before the button, and a stand from which it gets there."""
    model = worker.look()
    part, owner = model.parts[joint], model.owner(joint)
    body = model.body(joint, 0.0)
    face, into = body.point(*part.handle), -(body.turn @ np.array(part.out))
    ways = []
    for side, hand in worker.robot.hands.items():
        if side in worker.holds or not hand.point:
            continue
        for roll in (0.0, 0.6, -0.6, 1.2, -1.2, pi / 2):
            up = turn_by(roll * into) @ np.array([0.0, 0.0, 1.0])
            y = hand.thumb[1] * up
            turn = np.stack([into, y, np.cross(into, y)], axis=1)
            ways.append((side, Frame(face - turn @ np.array(hand.tip), turn), 0.1 * abs(roll)))
    near = {joint: -0.001, owner: 0.001}
    hands = [worker.robot.hands[side] for side, _, _ in ways]
    pointing = {hand.fingers: np.array(hand.point) for hand in hands}

    def goals(palm: Frame) -> tuple[tuple[Frame, dict[str, float], float], ...]:
        model.rehearsal.pose(pointing)  # who looks for a way to a stand looks at the fingers anew
        before = Frame(palm.at - BEFORE * palm.turn[:, 0], palm.turn)
        return (palm, near, 0.002), (before, {}, 0.01)

    return first_stand(worker, ways, model.facing(owner), goals)


def _palms(hand: Hand, worker: Worker, joint: str) -> list[tuple[Frame, float]]:
    """Palms on the bar of a part, in the part's frame, with their costs."""
    part = worker.model.parts[joint]
    bar, out = np.array(part.bar), np.array(part.out)
    handle, found = np.array(part.handle), []
    for sign in (1.0, -1.0):
        for tilt in TILTS:
            z = turn_by(tilt * bar) @ -out
            y = sign * bar
            turn = np.stack([np.cross(y, z), y, z], axis=1)
            found.append((Frame(handle - turn @ np.array(hand.bar), turn), 0.25 * abs(tilt)))
    return found


def _move(worker: Worker, joint: str, goal: float, least: float) -> Act:
    """Bring a part to ``goal``, or to ``least`` at any rate, in as many grips as it takes."""
    failed = "no-grip"
    for _ in range(4):
        if _there(worker, joint, goal):
            return ""
        grip = _find_grip(worker, joint, goal, least)
        if grip is None:
            return "no-grip"
        failed = yield from worker.drive(grip.stand.base)
        if failed:
            continue
        worker.look()
        palm = worker.model.body(joint) * grip.palm
        failed = yield from worker.reach(grip.side, palm, grip.stand, BEFORE, axis=2)
        if failed:
            yield from worker.back_off(0.2)
            continue
        yield from _hook(worker, joint, grip)
        yield from _go_with(worker, joint, grip, grip.goal)
        yield from _unhook(worker, joint, grip)
        failed = "did-not-move"
    return "" if _there(worker, joint, goal) else failed


def _there(worker: Worker, joint: str, goal: float) -> bool:
    worker.model.look(worker.limbs.seen)
    at, part = worker.model.opening(joint), worker.model.parts[joint]
    return at > OPEN * part.open if goal else at < (0.02 if part.motion == "hinge" else 0.006)


def _on(worker: Worker, joint: str, grip: Grip, gap: float) -> Frame:
    """The palm ``gap`` [m] before the handle, where it is now."""
    there = worker.model.body(joint) * grip.palm
    return Frame(there.at - gap * there.turn[:, 2], there.turn)


def _hook(worker: Worker, joint: str, grip: Grip) -> Act:
    """The hand onto the bar; round it, if the part is pulled."""
    hand, sides = worker.robot.hands[grip.side], (grip.side,)
    yield from worker.limbs.shape(sides, np.array(hand.hook_open), seconds=0.3)

    def on() -> Frame:
        return _on(worker, joint, grip, 0.002)

    yield from worker.goto(grip.side, on, speed=0.15, within=0.004, patience=3.0)
    if grip.goal:
        yield from worker.limbs.shape(sides, np.array(hand.hook), seconds=HOOK)
    return ""


def _unhook(worker: Worker, joint: str, grip: Grip) -> Act:
    """Let go of the bar, and away from it: with the base, arms as they are, or with the arm."""
    hand, sides = worker.robot.hands[grip.side], (grip.side,)
    if grip.goal:  # else they are straight, and would stand there pressing for nothing
        # Slowly: fingers that straighten behind a bar push the panel back.
        yield from worker.limbs.shape(sides, np.array(hand.hook_open), seconds=UNHOOK)
    worker.look()
    away, near = _on(worker, joint, grip, BEFORE), {joint: -0.006}
    failed = yield from worker.back_off(LEAVE, -away.turn[:, 2], near)
    worker.relax()
    if failed or not worker.robot.drives:
        yield from worker.goto(grip.side, away, speed=0.2, within=0.01, patience=3.0)
        yield from worker.back_off(LEAVE)
    # A thumb that turns by the bar would hook it again.
    turns = [np.array(hand.hook_open) + s * np.subtract(hand.open, hand.hook_open) for s in _THUMB]
    free = all(_is_free(worker, {hand.fingers: turn}) for turn in turns)
    if free:
        yield from worker.limbs.shape(sides, np.array(hand.open), seconds=0.2)
    yield from worker.tuck(grip.side)
    if not free:
        yield from worker.limbs.shape(sides, np.array(hand.open), seconds=0.2)
    return ""


def _is_free(worker: Worker, joints: dict[str, Array]) -> bool:
    rehearsal = worker.look().rehearsal
    rehearsal.pose(joints)
    return rehearsal.clear(0.004)


def _find_grip(worker: Worker, joint: str, goal: float, least: float) -> Grip | None:
    """A hand, a palm on the handle, and a way to go with the part without touching anything.

    The first that gets it to ``goal``; else, of what was tried, what gets it furthest.
    """
    model = worker.look()
    part, body = model.parts[joint], model.body(joint)
    out = body.turn @ np.array(part.out)
    level = float(np.hypot(out[0], out[1]))
    facing = (
        float(np.arctan2(-out[1], -out[0])) if level > 0.3 else model.facing(model.owner(joint))
    )
    ways = [
        (side, body * palm, cost, palm)
        for side, hand in worker.robot.hands.items()
        if side not in worker.holds and hand.hook
        for palm, cost in _palms(hand, worker, joint)
    ]
    best, blocked = None, 0
    tried = dict.fromkeys(worker.robot.hands, 0)
    for side, palm, base, drawn in worker.stands_for(ways, facing):
        if best and sum(tried.values()) >= WIDER:
            break
        if tried[side] >= TRIES:
            continue
        tried[side] += 1
        grip = _try_grip(worker, joint, (goal, least), side, palm, base, drawn)
        if grip is None or (best and abs(grip.goal) <= abs(best.goal)):
            continue
        if worker.route(base) is None:
            blocked += 1
            if blocked >= BLOCKED:
                break
            continue
        best = grip
        if grip.goal == goal:
            break
    worker.look()
    return best


def _try_grip(
    worker: Worker,
    joint: str,
    wanted: tuple[float, float],
    side: str,
    palm: Frame,
    base: Array,
    drawn: dict[str, Array],
) -> Grip | None:
    """How far base and hand can go with the part, and leave it then; None if not far enough.

    ``wanted``: how far they are to get it, and at least.
    """
    model, hand = worker.model, worker.robot.hands[side]
    rehearsal, part = model.rehearsal, model.parts[joint]
    start, body = model.opening(joint), model.body(joint)
    # What lies in a drawer goes with it.
    riding = [n for n in model.solid if model.spot_body(model.under(n)) == joint]
    within = {name: body.inverse() * model.thing(name) for name in riding}

    def move(at: float) -> Frame:
        moved = model.body(joint, at)
        rehearsal.move(joint, at)
        for name, frame in within.items():
            there = moved * frame
            rehearsal.put(name, there.at, there.turn)
        return moved

    near = {joint: -0.006, **dict.fromkeys(riding, 0.0)}
    rehearsal.pose({hand.fingers: np.array(hand.hook_open)})
    move(start)
    there = body * palm
    before = Frame(there.at - BEFORE * there.turn[:, 2], there.turn)
    postures = worker.rehearse(
        side, base, ((there, near, CLEAR), (before, {**near, joint: 0.0}, CLEAR)), drawn
    )
    if postures is None:
        return None
    best = None
    hinged = part.motion == "hinge" and abs(part.axis[2]) > 0.5
    for share in SHARES if hinged else (0.0,):
        if not worker.turns(base, share * part.axis[2] * (wanted[0] - start)):
            continue
        joints = {**worker.limbs.joints, **drawn, **postures[0]}
        way = [(start, postures[0])]
        for at in _stops(start, *wanted):
            moved = move(at)
            stand = base_with(part.axis, there, moved * palm, base, share, at - start)
            found = worker.rehearse(side, stand, ((moved * palm, near, CLEAR),), drawn, joints)
            if found is None:
                break
            joints.update(found[0])
            way.append((at, found[0]))
            far = wanted[0] == 0.0 == at or at >= wanted[1] > 0.0
            if far and (best is None or at > best.goal) and _leaves(worker, moved * palm, stand):
                best = Grip(side, palm, Stand(base, postures, drawn), share, tuple(way))
        if best and best.goal == wanted[0]:
            break
    move(start)
    return best


def _stops(start: float, goal: float, least: float) -> list[float]:
    """Where a way from ``start`` to ``goal`` is looked at [rad or m]."""
    end = least if start < least else goal
    more = np.linspace(end, goal, 3)[1:].tolist() if goal > end else []
    return [*np.linspace(start, end, 14)[1:].tolist(), *more]


def _leaves(worker: Worker, palm: Frame, stand: Array) -> bool:
    """Whether, in the posture rehearsed last, the base can take the hand off the bar."""
    if not worker.robot.drives:
        return True
    off = -palm.turn[:, 2]
    for far in (0.6 * LEAVE, LEAVE):
        worker.model.rehearsal.pose({"base": stand + far * np.array([off[0], off[1], 0.0])})
        if not worker.model.rehearsal.clear(0.004):
            return False
    return True


def base_with(
    axis: tuple[float, float, float],
    before: Frame,
    palm: Frame,
    base: Array,
    share: float,
    turned: float,
) -> Array:
    """(3,) where the base goes while the palm goes from ``before`` to ``palm``.

    It turns by ``share`` of the door's turn about the palm, and keeps the palm where it was in
    its own frame, as seen from above.
    """
    spin = share * turned * axis[2]
    local = yaw_rotation(-float(base[2])) @ (before.at - np.array([base[0], base[1], 0.0]))
    yaw = float(base[2]) + spin
    at = palm.at - yaw_rotation(yaw) @ local
    return np.array([at[0], at[1], yaw])


def _go_with(worker: Worker, joint: str, grip: Grip, goal: float) -> Act:
    """Base and hand along the part's way, as fast as it follows."""
    part, limbs = worker.model.parts[joint], worker.limbs
    worker.model.look(limbs.seen)
    start = worker.model.opening(joint)
    before, base = worker.model.body(joint) * grip.palm, worker.model.stand()
    hinge = part.motion == "hinge"
    way = Along(
        side=grip.side,
        goal=goal,
        palm=lambda _: grip.palm,
        stand=lambda palm, at: base_with(part.axis, before, palm, base, grip.share, at - start),
        seat=lambda palm: (0.5 if hinge else 1.0) * palm.turn[:, 2],
        pace=PACE if hinge else SLIDE,
        lag=LAG[0] if hinge else LAG[1],
        beyond=0.05 if hinge else 0.012,
        pressed=PRESSED,
        # Spare joints as rehearsed: what was looked at is what is done.
        draw=lambda at: limbs.draw(grip.posture(at)),
    )
    return (yield from go_along(worker, joint, way))
