"""Two hands on one thing: what no hand holds is pressed between two, lifted, carried, set down.

The flats of both hands go to opposite sides of it, press until they hold it by friction, and move
as one: what they hold then goes wherever the robot goes. Where it is taken, how the hands are
turned, and where it is put is drawn, and rehearsed with both arms at once. A robot that does not
drive carries it with its arms, straight over its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import cos, hypot, pi, sin
from typing import TYPE_CHECKING

import numpy as np

from fabrika._errors import ContractError
from fabrika._signals import Array, Signals
from fabrika.sim._grasps_parallel import ways_to_hold
from fabrika.sim._kinematics import Pose
from fabrika.sim._model import Frame
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._push import ROLLS, palms_at
from fabrika.sim._reach import BLOCKED, EXACT, MARGIN, TURNS, UP, Act
from fabrika.sim._robot import Flat, Hand
from fabrika.sim._scene import footprint, height_of
from fabrika.sim._skills import Skill
from fabrika.sim._surface import Surface

if TYPE_CHECKING:
    from fabrika.sim._work import Worker

SHAPES = ("box", "crate", "cylinder")
"""What has upright sides that hands press on."""
BEFORE = 0.05
"""How far beside the thing the hands stop, and look again [m]."""
OVER = 0.20
"""How much higher they come there [m]."""
RISE = 0.12
"""How high it is lifted, and how high over its place it comes [m]."""
AHEAD = (0.50, 0.46, 0.54, 0.42, 0.58, 0.62)
"""Where its middle may lie before a base that drives [m], the best first."""
ASIDE = (0.0, 0.07, -0.07)
"""How far the base may be turned from right before its side [rad]."""
ASKEW = 1.0
"""How far that may be from right before what bears it [rad]."""
HIGHS = (0.75, 0.65, 0.55)
"""Shares of its height at which the hands press: above its middle it hangs, and does not tip."""
LOWEST = 0.08
"""How high the middle of a hand stays over what bears the thing [m]."""
STAGES = ((BEFORE, OVER), (BEFORE, OVER), (BEFORE, 0.0), (0.0, 0.0), (0.0, RISE))
"""How far beside it, and how much higher, the hands are in turn; open at first [m]."""
STEP = 0.05
"""How far apart the places are at which a way of arms is looked at [m]."""
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
FREE = 0.014
"""What has to stay free around the robot on its way [m]."""
BORNE = 1.0
"""Force on a thing at which its place bears it [N]."""
OPTIONS, MOST, TRIES = 4000, 600, 3
"""Ways to take it that are drawn, the most that are rehearsed; times that it is tried."""


@dataclass(frozen=True, slots=True)
class _Hold:
    """A thing between two hands."""

    palms: Mapping[str, Frame]
    """Where the hands meet it, by side, in the thing's frame."""
    into: Mapping[str, Array]
    """(3,) unit vectors in the thing's frame along which they press, by side."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """From where a thing is taken so, and how."""

    hold: _Hold
    base: Array
    over: dict[str, Array]
    """Torso and both arms, the hands over its sides."""
    drawn: dict[str, Array]


def takes_both(w: Worker, name: str) -> bool:
    """Whether a thing is too wide for each hand, and two hands can press on its sides."""
    hands, params = w.robot.hands, w.model.things[name]
    if len(hands) != 2 or params["kind"] not in SHAPES:
        return False
    if any(hand.flat is None for hand in hands.values()):
        return False
    frame, facing = w.model.thing(name), float(w.model.stand()[2])
    return not any(
        ways_to_hold(hand, params, frame, facing, slim=slim)
        for hand in hands.values()
        for slim in (False, True)
    )


def _flat(hand: Hand) -> Flat:
    """How a hand presses. Raises `ContractError` for one that does not."""
    if hand.flat is None:
        raise ContractError(f"{hand.palm} is not said to press on anything (`Hand.flat`).")
    return hand.flat


def carry_both(w: Worker, name: str, where: Callable[[], Surface]) -> Act:
    """Bring a thing that no hand holds to a surface with both hands, and let go of it there."""
    if w.holds:
        return "hand-not-free"
    failed = "no-grasp"
    for _ in range(TRIES):
        w.look()
        w.came_from[name] = w.model.under(name), w.model.thing(name).at
        plan = _find(w, name, where)
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


def _take(w: Worker, name: str, plan: _Plan) -> Act:
    """Hands over its sides, beside it, look again, onto it, press, lift a little."""
    hands = w.robot.hands
    w._draw(plan.drawn)
    w.look()
    goals = _palms(w, name, plan.hold, BEFORE, OVER)
    posture = both_arms(w, goals, w.model.base(), {**w.limbs.joints, **plan.over}, plan.drawn)
    path = None if posture is None else w.arm_path(posture, {})
    if path is None:
        return "no-way"
    yield from w.limbs.follow(path, speed=0.4)
    yield from _shape(w, {s: _flat(hand).fingers for s, hand in hands.items()})
    yield from _move(w, partial(_palms, w, name, plan.hold, BEFORE, 0.0), 0.3)
    if w.limbs.blocked():
        return "no-way"
    yield from _press(w, name, plan.hold)
    w.holds.update(dict.fromkeys(hands, name))
    yield from _shift(w, name, plan.hold, RISE * UP, speed=0.15)
    return "" if _is_held(w, name) else "not-grasped"


def _palms(w: Worker, name: str, hold: _Hold, gap: float, up: float) -> dict[str, Frame]:
    """Both hands ``gap`` [m] beside the thing as it is now, and ``up`` higher, in the world."""
    there = w.model.thing(name)
    level = Frame(there.at + up * UP, yaw_rotation(there.yaw))
    return {
        side: level * Frame(palm.at - gap * hold.into[side], palm.turn)
        for side, palm in hold.palms.items()
    }


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


def _inward(w: Worker, name: str, hold: _Hold) -> dict[str, Array]:
    """(3,) unit vectors along which the hands press, by side, in the base frame."""
    turn = w.model.base().turn.T @ yaw_rotation(w.model.thing(name).yaw)
    return {side: turn @ into for side, into in hold.into.items()}


def _press(w: Worker, name: str, hold: _Hold) -> Act:
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


def _holding(w: Worker, name: str, hold: _Hold, skill: Act | Skill) -> Act:
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


def _keep(w: Worker, name: str, hold: _Hold) -> None:
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
        middle = np.array(_flat(hand).face[0])
        met, turn = at + turn @ middle, turned @ turn
        palms[side] = met - turn @ middle + far * inward[side], turn
    w.limbs.lead(palms)


def _shift(
    w: Worker,
    name: str,
    hold: _Hold,
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


def _leans(w: Worker, name: str) -> float:
    """How much lower than its middle the lowest edge of what is held is [m]."""
    tilt = w.model.thing(name).turn[:2, 2]
    return float(hypot(*tilt) * hypot(*footprint(w.model.things[name])))


# -- bring -----------------------------------------------------------------------------------


def _bring(w: Worker, name: str, hold: _Hold, where: Callable[[], Surface]) -> Act:
    """To over its place, down until that bears it."""
    if w.robot.drives:
        yield from _holding(w, name, hold, w.back_off(0.35))
    failed = "no-place"
    for _ in range(TRIES):
        w.look()
        found = _place(w, name, hold, where())
        if found is None:
            return "no-place"
        base, at = found
        up = max(0.0, at[2] + RISE + _leans(w, name) - w.model.thing(name).at[2])
        yield from _shift(w, name, hold, up * UP, speed=0.2)
        if w.robot.drives:
            failed = yield from _holding(w, name, hold, w.drive(base, speed=0.4))
        else:
            left = w.model.base().turn.T @ ((at - w.model.thing(name).at) * (1.0, 1.0, 0.0))
            yield from _shift(w, name, hold, left, speed=0.15)
            failed = ""
        if not _is_held(w, name):
            return "slipped"
        if not failed:
            yield from _down(w, name, hold, float(at[2]))
            return ""
    return failed


def _down(w: Worker, name: str, hold: _Hold, at: float) -> Act:
    """Down to just over a height [m], then slowly until something bears it."""

    def hangs() -> bool:
        w.model.look(w.limbs.seen)
        return w.model.support(name)[0] < BORNE

    down = float(w.model.thing(name).at[2]) - _leans(w, name) - at
    yield from _shift(w, name, hold, -(down - 0.02) * UP, speed=0.2)
    yield from _shift(w, name, hold, -0.035 * UP, speed=0.05, while_true=hangs)
    return ""


def _put_back(w: Worker, name: str, plan: _Plan) -> Act:
    """Where there is no way on, back to where it was taken, and down: it is not let fall."""
    was = w.came_from[name][1]
    if w.robot.drives:
        yield from _holding(w, name, plan.hold, w.drive(plan.base, speed=0.4))
    yield from _down(w, name, plan.hold, float(was[2]))
    return ""


def _leave(w: Worker, name: str, hold: _Hold) -> Act:
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


# -- what is rehearsed -----------------------------------------------------------------------


def both_arms(
    w: Worker, palms: Mapping[str, Frame], base: Frame, joints: Signals, drawn: Signals
) -> dict[str, Array] | None:
    """Torso and both arms that bring both palms there in the world; None if they do not."""
    local = {side: base.inverse() * palm for side, palm in palms.items()}
    goals = {side: (palm.at, palm.turn) for side, palm in local.items()}
    posture = {**w.limbs.joints, **drawn, **w._torso()}
    return w.kinematics.bring(goals, joints, posture, within=EXACT / 2, most=40)


def _find(w: Worker, name: str, where: Callable[[], Surface]) -> _Plan | None:
    """The cheapest way to take it between two hands, from where it can be put."""
    options = sorted(_options(w, name), key=lambda option: option[0])
    spare: dict[bytes, bool] = {}
    tried = blocked = 0
    for _, hold, base, drawn in options:
        key = np.round(base, 2).tobytes()
        if key not in spare and w.robot.drives:
            w.model.rehearsal.pose(w._at(base, w._arms()))
            spare[key] = w.model.rehearsal.clear(MARGIN)
        if not spare.get(key, True):
            continue
        tried += 1
        if tried > MOST or blocked >= BLOCKED:
            break
        w.look()
        over = _rehearse(w, name, hold, base, drawn)
        if over is None:
            continue
        if not w.robot.drives and _place(w, name, hold, where()) is None:
            continue
        if w.route(base) is not None:
            w.look()
            return _Plan(hold, base, over, drawn)
        spare[key], blocked = False, blocked + 1
    w.look()
    return None


def _options(w: Worker, name: str) -> Iterator[tuple[float, _Hold, Array, dict[str, Array]]]:
    """Sides, heights, turns of the hands and stands: cost, hold, base, what arms are drawn to."""
    model, params = w.look(), w.model.things[name]
    there, under = model.thing(name), model.under(name)
    facing = model.facing(under.partition(".")[0]) if under else float(model.stand()[2])
    hands = w.robot.hands.values()
    postures = list(zip(*((*hand.postures, *hand.wide) for hand in hands), strict=True))
    drives = w.robot.drives
    stands = list(product(AHEAD, ASIDE)) if drives else [(0.0, 0.0)]
    holds: dict[tuple[int, ...], _Hold] = {}
    angles, sides = _angles(params), dict(enumerate(HIGHS))
    for _ in range(OPTIONS):
        index, high = int(w.rng.integers(len(angles))), int(w.rng.integers(len(sides)))
        roll = int(w.rng.integers(len(ROLLS)))
        ahead, turned = stands[int(w.rng.integers(len(stands)))]
        posture = int(w.rng.integers(len(postures)))
        yaw = float(model.stand()[2])
        # How far the side is turned from the left of who stands before it.
        off = (angles[index] + there.yaw - (facing if drives else yaw)) % (2 * pi) - pi / 2
        behind = off > pi / 2
        off -= pi * behind
        if abs(off) > ASKEW:
            continue
        yaw = facing + off + turned if drives else yaw
        key = (index, high, roll, behind)
        if key not in holds:
            angle = angles[index] + pi * behind
            holds[key] = _hold(w, params, angle, sides[high], ROLLS[roll])
        hold = holds[key]
        base = model.stand()
        if drives:
            at = there.at - ahead * np.array([cos(yaw), sin(yaw), 0.0])
            base = np.array([at[0], at[1], yaw])
            if not w.turns(base):
                continue
        cost = 0.1 * high + 0.3 * abs(ROLLS[roll]) + 0.3 * abs(off) + 0.04 * posture
        cost += abs(ahead - AHEAD[0]) + abs(turned) if drives else 0.0
        drawn = {
            hand.arm: np.array(posed) for hand, posed in zip(hands, postures[posture], strict=True)
        }
        yield cost, hold, base, drawn


def _angles(params: Mapping[str, object]) -> list[float]:
    """Directions, in a thing's frame, of sides that hands press on [rad]."""
    if "width" in params:
        return [0.0, pi / 2]
    return [k * pi / 8 for k in range(8)]


def _hold(w: Worker, params: Mapping[str, object], angle: float, high: float, roll: float) -> _Hold:
    """Both hands on opposite sides, the left one where ``angle`` [rad] points in its frame."""
    half = footprint(params)
    up = max(LOWEST, high * height_of(params))
    palms, into = {}, {}
    for side, hand in w.robot.hands.items():
        out = yaw_rotation(angle + (0.0 if side == "left" else pi))[:, 0]
        far = half[int(abs(out[1]) > 0.5)] if "width" in params else half[1]
        at, turned = far * out + up * UP, roll if side == "left" else -roll  # as in a mirror
        found = palms_at(hand, (_flat(hand).face,), -out, at, (turned,))
        palms[side], into[side] = next(iter(found))[0], -out
    return _Hold(palms, into)


def _rehearse(
    w: Worker, name: str, hold: _Hold, base: Array, drawn: dict[str, Array]
) -> dict[str, Array] | None:
    """Torso and arms with the hands beside it, if they can take and lift it; else None."""
    model, rehearsal = w.model, w.model.rehearsal
    there = model.thing(name)
    frame = Frame(np.array([base[0], base[1], 0.0]), yaw_rotation(base[2]))
    if not w.robot.drives:
        frame = model.base()
    joints = {**w.limbs.joints, **drawn, **w._torso()}
    found: list[dict[str, Array]] = []
    for number, (gap, up) in enumerate(STAGES):
        for hand in w.robot.hands.values():
            rehearsal.pose({hand.fingers: np.array(_flat(hand).fingers if number else hand.open)})
        palms = _palms(w, name, hold, gap, up)
        posture = both_arms(w, palms, frame, joints, drawn)
        if posture is None:
            return None
        lifted = there.at + (up * UP if gap == 0.0 else 0.0)
        rehearsal.put(name, lifted, there.turn)
        rehearsal.pose(w._at(base, posture))
        if not rehearsal.clear(FREE, {name: -0.006 if gap == 0.0 else 0.01}):
            return None
        joints = {**joints, **posture}
        found.append(posture)
    return found[0]


def _place(w: Worker, name: str, hold: _Hold, surface: Surface) -> tuple[Array, Array] | None:
    """(3,) where the base stands when it is put there, (3,) where it is put [m]; None if none.

    As it is held now, or, by arms that stand fixed, as it will be.
    """
    model = w.model
    now, stand = model.thing(name), model.stand()
    ahead = yaw_rotation(-stand[2]) @ (now.at - np.array([stand[0], stand[1], 0.0]))
    side = next(iter(w.robot.hands))
    targets = w._targets(name, side, surface)
    for _, at, _ in targets:
        if not w.robot.drives:
            if _ways(w, name, hold, at):
                return stand, at
            continue
        for turned in TURNS:
            yaw = surface.facing + turned
            spot = at - yaw_rotation(yaw) @ (ahead * (1.0, 1.0, 0.0))
            base = np.array([spot[0], spot[1], yaw])
            if w.turns(base) and _sets_down(w, name, surface, base, at):
                w.look()
                if w.route(base) is not None:
                    w.look()
                    return base, at
    w.look()
    return None


def _sets_down(w: Worker, name: str, surface: Surface, base: Array, at: Array) -> bool:
    """Whether both hands come there with it, down to its place, and off it again."""
    w.look()
    rehearsal, here = w.model.rehearsal, w.model.base()
    frame = Frame(np.array([base[0], base[1], here.at[2]]), yaw_rotation(base[2]))
    palms = {side: frame * (here.inverse() * w._palm(side)) for side in w.robot.hands}
    # One edge of what leans is lower than its middle.
    high = float(w.model.thing(name).at[2]) - _leans(w, name)
    joints = dict(w.limbs.joints)
    for up in (RISE, 0.003):
        rise = (at[2] + up - high) * UP
        goals = {s: Frame(palm.at + rise, palm.turn) for s, palm in palms.items()}
        posture = both_arms(w, goals, frame, joints, w.drawn)
        if posture is None:
            return False
        rehearsal.pose(w._at(base, posture))
        if not rehearsal.clear(0.008, {surface.body: 0.0}):
            return False
        joints = {**joints, **posture}
    return True


def _ways(w: Worker, name: str, hold: _Hold, at: Array) -> bool:
    """Whether arms that stand fixed bring it over there, straight, and down."""
    w.look()
    now, rehearsal = w.model.thing(name), w.model.rehearsal
    turn = yaw_rotation(now.yaw)
    over = max(float(at[2] - now.at[2]), 0.0) + RISE
    one, two = now.at + over * UP, np.array([*at[:2], now.at[2] + over])
    steps = max(2, int(hypot(*(two - one)) / STEP) + 1)
    line = [now.at, *(one + s * (two - one) for s in np.linspace(0.0, 1.0, steps)), at]
    joints: Signals = dict(w.limbs.joints)
    for point in line:
        level = Frame(point + 0.002 * UP, turn)
        palms = {side: level * palm for side, palm in hold.palms.items()}
        posture = both_arms(w, palms, w.model.base(), joints, w.drawn)
        if posture is None:
            return False
        rehearsal.put(name, level.at, level.turn)
        rehearsal.pose(posture)
        if not rehearsal.clear(0.006, {name: -0.006}):
            return False
        joints = {**joints, **posture}
    return True
