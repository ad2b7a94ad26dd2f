"""Handing over: one hand brings a thing before the body, the other takes it, the first lets go.

Where they meet, how the thing is turned there and how the second hand grasps it is drawn, and
rehearsed with both arms at once. The base stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import hypot, pi
from typing import TYPE_CHECKING

import numpy as np

from fabrika._signals import Array
from fabrika.sim._both_ways import both_arms
from fabrika.sim._grasps import Grasp
from fabrika.sim._grasps_parallel import ways_to_hold
from fabrika.sim._kinematics import Pose
from fabrika.sim._model import Frame
from fabrika.sim._pose import yaw_rotation
from fabrika.sim._reach import BEFORE, UP, Act
from fabrika.sim._scene import height_of

if TYPE_CHECKING:
    from fabrika.sim._work import Worker

AROUND = ((-0.05, 0.30), (-0.12, 0.12), (-0.10, 0.20))
"""Where they meet: from the middle between the resting palms, in the base frame [m]."""
NEARER = ((-0.15, 0.12), (-0.20, 0.20), (0.05, 0.22))
"""The same of arms that stand fixed, for the palm of the first hand [m]: held from above, what is
long hangs far below it."""
ALOFT = 0.05
"""How much higher than it stood what such arms pass on is at least [m]."""
HIGHER = (0.0, 0.03, 0.06, 0.09)
"""How much higher than on a table a thing can be grasped in the air [m]."""
APART = 0.012
"""What stays free between the hands while both are at the thing [m]."""
_RIM = 0.02
"""How far below its top it is grasped at least [m]."""
_OPTIONS, _FEW, _MOST = 2000, 600, 250
"""Meetings that are drawn, for arms that stand fixed too, and the most that are rehearsed."""
_GIVES = 0.3
"""Share of its distance from where it is that an arm's command gives way by in a tick."""
_EMPTY = 0.05
"""Share of the fingers' way that is left where they have closed on nothing."""


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Where the thing goes from one hand to the other, and how the other holds it."""

    grasp: Grasp
    taker: Frame
    posture: dict[str, Array]
    """Of torso and both arms, the taker still `BEFORE` away."""


def hand_over(w: Worker, name: str, to: str) -> Act:
    """Give a held thing to the hand ``to``. The base stays where it is."""
    side = next(s for s, n in w.holds.items() if n == name)
    if side == to or to in w.holds:
        return "hand-not-free"
    found = _find(w, name, side, to)
    if found is None:
        return "no-meeting"
    fingers = w.robot.hands[to].fingers
    w.limbs.joints[fingers] = np.array(found.grasp.open)
    yield from w.limbs.tick()
    path = w.arm_path(found.posture, {})
    if path is None:
        return "no-way"
    yield from w.limbs.follow(path, speed=0.4)
    if w.look().support(name)[1] < 0.3:
        return "slipped"
    yield from _close_in(w, name, side, to, found)
    yield from _grip(w, to, np.array(found.grasp.closed))
    w.grips[to] = found.grasp
    here = w._palm(side), w._palm(to)
    if _empty(w, to):
        yield from w.limbs.shape((to,), np.array(found.grasp.open), seconds=0.4)
        back = Frame(here[1].at + here[1].turn @ (BEFORE * found.grasp.away), here[1].turn)
        yield from _both(w, {side: here[0], to: back})
        yield from w.tuck(to)
        return "not-grasped"
    yield from _leave(w, side, to, *here)
    w.holds.pop(side)
    w.holds[to] = name
    w.passed.add(name)
    w.look()
    if not w._is_held(name, to):
        w.holds.pop(to)
        return "dropped"
    yield from w.tuck(side)
    return ""


def _close_in(w: Worker, name: str, side: str, to: str, found: _Meeting) -> Act:
    """The taking hand to its grasp, looking, while the other holds still."""
    still, turned = w._palm(side), found.taker.turn
    own = found.grasp.palm

    def palm(gap: float) -> Frame:
        there = w.model.thing(name)
        at = there.at + (turned @ own.turn.T) @ own.at
        return Frame(at + turned @ (gap * found.grasp.away), turned)

    for gap, speed in ((BEFORE, 0.3), (0.0, 0.15)):
        yield from _both(w, {side: still, to: partial(palm, gap)}, speed)
    return ""


def _grip(w: Worker, to: str, closed: Array) -> Act:
    """Close the taking hand; its arm gives way: what two hands hold, two stiff arms would wrench.

    Where fingers meet a thing a few millimetres aside, they draw the arm to it.
    """
    hand, start = w.robot.hands[to], w.limbs.joints[w.robot.hands[to].fingers]
    for share in (*np.linspace(0.0, 1.0, 18)[1:], *np.ones(8)):
        w.limbs.joints[hand.fingers] = start + share * (closed - start)
        off = w.limbs.seen[f"joint/{hand.arm}"] - w.limbs.joints[hand.arm]
        w.limbs.joints[hand.arm] = w.limbs.joints[hand.arm] + _GIVES * off
        yield from w.limbs.tick()
    w.limbs.refresh()
    return ""


def _leave(w: Worker, side: str, to: str, giver: Frame, taker: Frame) -> Act:
    """Open the giving hand, and draw it back the way that it came."""
    grasp = w.grips[side]
    for posture in (*grasp.releases, grasp.open):
        yield from w.limbs.shape((side,), np.array(posture), seconds=0.4)
    for goal in _ways_out(giver, grasp):
        yield from _both(w, {side: goal, to: taker}, 0.15)
    return ""


def _ways_out(palm: Frame, grasp: Grasp) -> Iterator[Frame]:
    """A little back along the fingers, so that a thumb drags nothing, then away."""
    loose = palm.at - 0.02 * palm.turn[:, 0]
    yield Frame(loose, palm.turn)
    yield Frame(loose + palm.turn @ (BEFORE * grasp.away), palm.turn)


def _both(w: Worker, goals: Mapping[str, Frame | Callable[[], Frame]], speed: float = 0.2) -> Act:
    """Both palms to their goals in the world."""

    def local(goal: Frame | Callable[[], Frame]) -> Pose:
        w.model.look(w.limbs.seen)
        frame = w.model.base().inverse() * (goal if isinstance(goal, Frame) else goal())
        return frame.at, frame.turn

    w.limbs.refresh()
    moves = {side: partial(local, goal) for side, goal in goals.items()}
    yield from w.limbs.move(moves, speed=speed, within=0.004, patience=3.0)
    return ""


def _empty(w: Worker, side: str) -> bool:
    """Whether the fingers have closed all the way: there is nothing between them."""
    opened, closed = (np.array(p) for p in (w.grips[side].open, w.grips[side].closed))
    way = np.abs(opened - closed)
    left = np.abs(w.limbs.seen[f"joint/{w.robot.hands[side].fingers}"] - closed)
    return bool((left[way > 0] / way[way > 0]).max() < _EMPTY)


# -- where they meet -------------------------------------------------------------------------


def _find(w: Worker, name: str, side: str, to: str) -> _Meeting | None:
    """The cheapest meeting that both arms reach, and that the first hand can leave."""
    model = w.look()
    held = w._in_palm(side, name).inverse()
    base = model.base()
    middle = base.inverse().at + base.turn.T @ (w._resting(side) + w._resting(to)) / 2
    options = []
    drives = w.robot.drives
    low, high = np.array(AROUND if drives else NEARER).T
    level = yaw_rotation(-model.thing(name).yaw) @ w._set(name, side)[0]
    ways: dict[int, list[tuple[Grasp, float]]] = {}
    for _ in range(_OPTIONS if drives else _FEW):
        offset = w.rng.uniform(low, high)
        turn = int(w.rng.integers(16))
        turned = yaw_rotation(2 * pi * turn / 16) @ level
        palm = np.zeros(3) if drives else turned @ held.at
        frame = base * Frame(middle + offset - palm, turned)
        if not drives and frame.at[2] < w.came_from[name][1][2] + ALOFT:
            continue
        kind = turn if drives else 0  # a parallel gripper's ways are the same from everywhere
        if kind not in ways:
            ways[kind] = list(_grasps(w, name, to, frame))
        if not ways[kind]:
            continue
        grasp = _higher(*ways[kind][int(w.rng.integers(len(ways[kind])))])
        giver, taker = frame * held, frame * grasp.palm
        cost = float(np.linalg.norm(offset)) - 2 * min(hypot(*(taker.at - giver.at)), 0.3)
        if not drives:
            cost += 0.5 * (w._askew(side, giver) + w._askew(to, taker))
        options.append((cost, frame, grasp))
    options.sort(key=lambda option: option[0])
    postures = list(zip(w.robot.hands[side].postures, w.robot.hands[to].postures, strict=True))
    for number, (_, frame, grasp) in enumerate(options[:_MOST]):
        one, two = postures[number % len(postures)]
        drawn = {w.robot.hands[side].arm: np.array(one), w.robot.hands[to].arm: np.array(two)}
        found = _rehearse(w, name, side, to, frame, held, grasp, drawn)
        if found is not None:
            w.look()
            return found
    w.look()
    return None


def _grasps(w: Worker, name: str, to: str, frame: Frame) -> Iterator[tuple[Grasp, float]]:
    """Ways to take a thing that stands on nothing, and how much higher up [m]."""
    hand, params = w.robot.hands[to], w.model.things[name]
    highest = height_of(params) - _RIM
    for grasp in ways_to_hold(hand, params, frame, float(w.model.stand()[2])):
        yield grasp, 0.0
        if not grasp.above:
            high = float(grasp.palm.point(*hand.pocket)[2])
            yield from ((grasp, more) for more in HIGHER[1:] if high + more < highest)


def _higher(grasp: Grasp, more: float) -> Grasp:
    """The same grasp, higher up [m]."""
    return replace(grasp, palm=Frame(grasp.palm.at + more * UP, grasp.palm.turn))


def _rehearse(
    w: Worker,
    name: str,
    side: str,
    to: str,
    frame: Frame,
    held: Frame,
    grasp: Grasp,
    drawn: dict[str, Array],
) -> _Meeting | None:
    """Both arms to the meeting, the second hand round the thing, the first one away."""
    rehearsal, hands = w.model.rehearsal, w.robot.hands
    giver, taker = frame * held, frame * grasp.palm
    before = Frame(taker.at + taker.turn @ (BEFORE * grasp.away), taker.turn)
    w.look()
    rehearsal.pose({hands[to].fingers: np.array(grasp.open)})
    joints = {**w.limbs.joints, **drawn, **w._torso()}
    postures = []
    steps = [(giver, before, {}, APART), (giver, taker, {name: -0.004}, APART)]
    ways_out = (giver, *_ways_out(giver, w.grips[side]))
    leaving = [(away, taker, {name: -0.008}, 0.5 * APART) for away in ways_out]
    for number, (one, two, near, margin) in enumerate(steps + leaving):
        if number == len(steps):
            rehearsal.let_go(name)
            own = grasp.palm.inverse()
            rehearsal.hold(name, to, own.at, own.turn)
            rehearsal.pose({hands[side].fingers: np.array(w.grips[side].open)})
            rehearsal.pose({hands[to].fingers: np.array(grasp.open)})
        posture = both_arms(w, {side: one, to: two}, w.model.base(), joints, drawn)
        if posture is None:
            return None
        rehearsal.pose(posture)
        if not rehearsal.clear(margin, near, own=margin):
            return None
        joints = {**joints, **posture}
        postures.append(posture)
    return _Meeting(grasp, taker, postures[0])
