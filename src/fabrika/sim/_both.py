"""Two hands on one thing: what no hand holds is pressed between two, lifted, carried, set down.

The flats of both hands go to opposite sides of it, press until they hold it by friction, and move
as one, pressing on as measured: what they hold then goes wherever the robot drives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import hypot
from typing import TYPE_CHECKING

import numpy as np

from fabrika._signals import Array
from fabrika.sim._both_ways import (
    BEFORE,
    OVER,
    RISE,
    Hold,
    Plan,
    beside,
    both_arms,
    find,
    flat_of,
    leans,
    place,
)
from fabrika.sim._kinematics import Pose
from fabrika.sim._model import Frame
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._reach import UP, Act
from fabrika.sim._skills import Skill
from fabrika.sim._surface import Surface

if TYPE_CHECKING:
    from fabrika.sim._work import Worker

COME, NEAR = 0.1, 0.012
"""How fast the hands come from there [m/s], until they are so near [m]."""
DEEPER = 0.0008
"""How much further in the hands are sent in a tick, until they press enough [m]."""
DEEPEST = 0.05
"""How far into the thing they are sent at most [m]."""
FORCE = 110.0
"""With how much both hands press [N]."""
STIFF = 2e-5
"""How much closer they come in a tick for what they press too little [m/N]."""
LEVEL, TILT = 0.06, 0.006
"""Share of what it leans that they turn back in a tick, and the most of it [rad]."""
BORNE = 1.0
"""Force on a thing at which its place bears it [N]."""
TRIES = 3
"""Times that it is tried."""


def carry_both(w: Worker, name: str, where: Callable[[], Surface]) -> Act:
    """Bring a thing that no hand holds to a surface with both hands, and let go of it there."""
    if w.holds:
        return "hand-not-free"
    failed = "no-grasp"
    for _ in range(TRIES):
        w.look()
        w.came_from[name] = w.model.under(name), w.model.thing(name).at
        plan = find(w, name)
        if plan is None:
            return "no-grasp"
        failed = yield from w.drive(plan.base)
        if failed:
            continue
        failed = yield from _take(w, name, plan)
        if not failed:
            failed = yield from _bring(w, name, plan.hold, where)
            if failed in ("no-place", "no-way"):
                yield from _put_back(w, name, plan)
        yield from _leave(w, name, plan.hold)
        if not failed:
            return ""
    return failed


# -- take ------------------------------------------------------------------------------------


def _take(w: Worker, name: str, plan: Plan) -> Act:
    """Hands over its sides, beside it, look again, onto it, press, lift a little."""
    hands = w.robot.hands
    w._draw(plan.drawn)
    w.look()
    goals = beside(w, name, plan.hold, BEFORE, OVER)
    posture = both_arms(w, goals, w.model.base(), {**w.limbs.joints, **plan.over}, plan.drawn)
    path = None if posture is None else w.arm_path(posture, {})
    if path is None:
        return "no-way"
    yield from w.limbs.follow(path, speed=0.4)
    yield from _shape(w, {s: flat_of(hand).fingers for s, hand in hands.items()})
    yield from _move(w, partial(beside, w, name, plan.hold, BEFORE, 0.0), 0.3)
    if w.limbs.blocked():
        return "no-way"
    yield from _press(w, name, plan.hold)
    w.holds.update(dict.fromkeys(hands, name))
    yield from _shift(w, name, plan.hold, RISE * UP, speed=0.15)
    return "" if _is_held(w, name) else "not-grasped"


def _move(w: Worker, palms: Callable[[], Mapping[str, Frame]], speed: float) -> Act:
    """Both palms straight to their goals in the world, asked anew every tick."""

    def local(side: str) -> Pose:
        w.model.look(w.limbs.seen)
        frame = w.model.base().inverse() * palms()[side]
        return frame.at, frame.turn

    w.limbs.refresh()
    goals = {side: partial(local, side) for side in w.robot.hands}
    yield from w.limbs.move(goals, speed=speed, within=0.004, patience=4.0)
    return ""


def _inward(w: Worker, name: str, hold: Hold) -> dict[str, Array]:
    """(3,) unit vectors along which the hands press, by side, in the base frame."""
    turn = w.model.base().turn.T @ yaw_rotation(w.model.thing(name).yaw)
    return {side: turn @ into for side, into in hold.into.items()}


def _press(w: Worker, name: str, hold: Hold) -> Act:
    """Both hands onto it from both sides, until they press enough, or are as far as they go.

    Straight, whatever the thing does: the hand that comes first slides it to the other one.
    """
    w.look()
    inward, far = _inward(w, name, hold), 0.0
    start = {side: w.limbs.palm(side) for side in w.robot.hands}
    w.limbs.refresh()
    while far < BEFORE + DEEPEST and w.model.support(name)[1] < FORCE:
        far += COME * w.limbs.dt if far < BEFORE - NEAR else DEEPER
        goals = {s: (at + far * inward[s], turn) for s, (at, turn) in start.items()}
        w.limbs.pursue(goals, speed=0.2, turn=1.0)
        yield from w.limbs.tick()
        w.model.look(w.limbs.seen)
    return ""


def _holding(w: Worker, name: str, hold: Hold, skill: Act | Skill) -> Act:
    """A skill that moves what two hands hold, while they press on as they are to.

    Fingers give way, and what lags behind is pressed less: the hands come closer, or go apart.
    What has turned between them, as friction creeps, they turn back.
    """
    arms = [hand.arm for hand in w.robot.hands.values()]
    try:
        action = next(skill)
        while True:
            _keep(w, name, hold)
            action = {**action, **{arm: w.limbs.joints[arm].copy() for arm in arms}}
            action = skill.send((yield action))
    except StopIteration as end:
        return end.value or ""


def _keep(w: Worker, name: str, hold: Hold) -> None:
    """Move both commanded palms by what is pressed too little, and by what the thing leans."""
    w.model.look(w.limbs.seen)
    inward, there = _inward(w, name, hold), w.model.thing(name)
    far = STIFF * (FORCE - w.model.support(name)[1])
    far = min(max(far, -DEEPER), DEEPER)
    up, palms = w.model.base().turn.T @ there.turn[:, 2], {}
    axis = next(iter(inward.values()))
    lean = float(np.arctan2(np.cross(up, UP) @ axis, up[2]))
    turned = turn_by(min(max(LEVEL * lean, -TILT), TILT) * axis)
    for side, hand in w.robot.hands.items():
        at, turn = w.limbs.palm(side)
        middle = np.array(flat_of(hand).face[0])
        met, turn = at + turn @ middle, turned @ turn
        palms[side] = met - turn @ middle + far * inward[side], turn
    w.limbs.lead(palms)


def _shift(
    w: Worker,
    name: str,
    hold: Hold,
    far: Array,
    *,
    speed: float,
    while_true: Callable[[], bool] = lambda: True,
) -> Act:
    """Both palms by ``far`` (3,) [m] in the base frame, as one, pressing on."""
    w.limbs.refresh()
    length = hypot(*far)
    if length < 1e-3:
        return ""
    start = {side: w.limbs.palm(side)[0] for side in w.robot.hands}

    def ahead(side: str) -> Pose:
        at, turn = w.limbs.palm(side)
        done = float((at - start[side]) @ far) / length**2
        return at + (1.0 - done) * far, turn

    goals = {side: partial(ahead, side) for side in w.robot.hands}
    moving = w.limbs.move(
        goals, speed=speed, within=0.003, while_true=while_true, patience=1.0 + 12 * length
    )
    yield from _holding(w, name, hold, moving)
    w.look()
    return ""


def _is_held(w: Worker, name: str) -> bool:
    things, robots = w.look().support(name)
    return things < BORNE and robots > BORNE


# -- bring -----------------------------------------------------------------------------------


def _bring(w: Worker, name: str, hold: Hold, where: Callable[[], Surface]) -> Act:
    """To over its place, down until that bears it."""
    yield from _holding(w, name, hold, w.back_off(0.35))
    failed = "no-place"
    for _ in range(TRIES):
        w.look()
        found = place(w, name, where())
        if found is None:
            return "no-place"
        base, at = found
        up = max(0.0, at[2] + RISE + leans(w, name) - w.model.thing(name).at[2])
        yield from _shift(w, name, hold, up * UP, speed=0.2)
        failed = yield from _holding(w, name, hold, w.drive(base, speed=0.4))
        if not _is_held(w, name):
            return "slipped"
        if not failed:
            yield from _down(w, name, hold, float(at[2]))
            return ""
    return failed


def _down(w: Worker, name: str, hold: Hold, at: float) -> Act:
    """Down to just over a height [m], then slowly until something bears it."""

    def hangs() -> bool:
        w.model.look(w.limbs.seen)
        return w.model.support(name)[0] < BORNE

    down = float(w.model.thing(name).at[2]) - leans(w, name) - at
    yield from _shift(w, name, hold, -(down - 0.02) * UP, speed=0.2)
    yield from _shift(w, name, hold, -0.035 * UP, speed=0.05, while_true=hangs)
    return ""


def _put_back(w: Worker, name: str, plan: Plan) -> Act:
    """Where there is no way on, back to where it was taken, and down: it is not let fall."""
    was = w.came_from[name][1]
    yield from _holding(w, name, plan.hold, w.drive(plan.base, speed=0.4))
    yield from _down(w, name, plan.hold, float(was[2]))
    return ""


def _leave(w: Worker, name: str, hold: Hold) -> Act:
    """Hands off the thing, sideways, then up, open them, and to their rest."""
    for side in w.robot.hands:
        w.holds.pop(side, None)
    w.look()
    inward = _inward(w, name, hold)
    w.limbs.refresh()
    for far, up, speed in ((BEFORE, 0.0, 0.08), (BEFORE, 0.0, 0.2), (0.0, OVER, 0.3)):
        goals = {}
        for side in w.robot.hands:
            at, turn = w.limbs.palm(side)
            goals[side] = (at - far * inward[side] + up * UP, turn)
        yield from w.limbs.move(goals, speed=speed, within=0.01, patience=2.0)
    yield from _shape(w, {side: hand.open for side, hand in w.robot.hands.items()})
    yield from w.back_off(0.3)
    yield from w.settle()
    return ""


def _shape(w: Worker, fingers: Mapping[str, tuple[float, ...]]) -> Act:
    """Fingers of both hands to where they are to be."""
    for side, goal in fingers.items():
        w.limbs.joints[w.robot.hands[side].fingers] = np.array(goal)
    yield from w.limbs.wait(0.5)
    return ""
