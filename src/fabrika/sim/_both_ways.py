"""Ways for two hands to take one thing, and to put it: where they press, where the base stands.

Drawn at random, ordered by cost, and rehearsed with both arms at once, from the cheapest on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import cos, hypot, pi, sin
from typing import TYPE_CHECKING

import numpy as np

from fabrika._errors import ContractError
from fabrika._signals import Array, Signals
from fabrika.sim._grasps_parallel import ways_to_hold
from fabrika.sim._model import Frame
from fabrika.sim._pose import yaw_rotation
from fabrika.sim._push import ROLLS, palms_at
from fabrika.sim._reach import BLOCKED, EXACT, MARGIN, TURNS, UP
from fabrika.sim._robot import Flat, Hand
from fabrika.sim._scene import footprint, height_of
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
STAGES = ((0.0, 0.0), (0.0, RISE), (BEFORE, 0.0), (BEFORE, OVER), (BEFORE, OVER))
"""How far beside it, and how much higher, the hands are when it is rehearsed; open at last [m]."""
FREE = 0.014
"""What has to stay free around the robot on its way [m]."""
OPTIONS, MOST = 4000, 600
"""Ways to take it that are drawn, the most that are rehearsed."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A thing between two hands."""

    palms: Mapping[str, Frame]
    """Where the hands meet it, by side, in the thing's frame."""
    into: Mapping[str, Array]
    """(3,) unit vectors in the thing's frame along which they press, by side."""


@dataclass(frozen=True, slots=True)
class Plan:
    """From where a thing is taken so, and how."""

    hold: Hold
    base: Array
    over: dict[str, Array]
    """Torso and both arms, the hands over its sides."""
    drawn: dict[str, Array]


def takes_both(w: Worker, name: str) -> bool:
    """Whether a thing is too wide for each hand, and two hands can press on its sides."""
    hands, params = w.robot.hands, w.model.things[name]
    if len(hands) != 2 or params["kind"] not in SHAPES:
        return False
    if not w.robot.drives or any(hand.flat is None for hand in hands.values()):
        return False
    frame, facing = w.model.thing(name), float(w.model.stand()[2])
    return not any(
        ways_to_hold(hand, params, frame, facing, slim=slim)
        for hand in hands.values()
        for slim in (False, True)
    )


def flat_of(hand: Hand) -> Flat:
    """How a hand presses. Raises `ContractError` for one that does not."""
    if hand.flat is None:
        raise ContractError(f"{hand.palm} is not said to press on anything (`Hand.flat`).")
    return hand.flat


def beside(w: Worker, name: str, hold: Hold, gap: float, up: float) -> dict[str, Frame]:
    """Both hands ``gap`` [m] beside the thing as it is now, and ``up`` higher, in the world."""
    there = w.model.thing(name)
    level = Frame(there.at + up * UP, yaw_rotation(there.yaw))
    return {
        side: level * Frame(palm.at - gap * hold.into[side], palm.turn)
        for side, palm in hold.palms.items()
    }


def leans(w: Worker, name: str) -> float:
    """How much lower than its middle the lowest edge of what is held is [m]."""
    tilt = w.model.thing(name).turn[:2, 2]
    return float(hypot(*tilt) * hypot(*footprint(w.model.things[name])))


def both_arms(
    w: Worker, palms: Mapping[str, Frame], base: Frame, joints: Signals, drawn: Signals
) -> dict[str, Array] | None:
    """Torso and both arms that bring both palms there in the world; None if they do not."""
    local = {side: base.inverse() * palm for side, palm in palms.items()}
    goals = {side: (palm.at, palm.turn) for side, palm in local.items()}
    posture = {**w.limbs.joints, **drawn, **w._torso()}
    return w.kinematics.bring(goals, joints, posture, within=EXACT / 2, most=40)


def find(w: Worker, name: str) -> Plan | None:
    """The cheapest way to take it between two hands."""
    options = sorted(_options(w, name), key=lambda option: option[0])
    spare: dict[bytes, bool] = {}
    tried = blocked = 0
    for _, hold, base, drawn in options:
        key = np.round(base, 2).tobytes()
        if key not in spare:
            w.model.rehearsal.pose(w._at(base, w._arms()))
            spare[key] = w.model.rehearsal.clear(MARGIN)
        if not spare[key]:
            continue
        tried += 1
        if tried > MOST or blocked >= BLOCKED:
            break
        w.look()
        over = _rehearse(w, name, hold, base, drawn)
        if over is None:
            continue
        if w.route(base) is not None:
            w.look()
            return Plan(hold, base, over, drawn)
        spare[key], blocked = False, blocked + 1
    w.look()
    return None


def _options(w: Worker, name: str) -> Iterator[tuple[float, Hold, Array, dict[str, Array]]]:
    """Sides, heights, turns of the hands and stands: cost, hold, base, what arms are drawn to."""
    model, params = w.look(), w.model.things[name]
    there, under = model.thing(name), model.under(name)
    facing = model.facing(under.partition(".")[0]) if under else float(model.stand()[2])
    hands = w.robot.hands.values()
    postures = list(zip(*((*hand.postures, *hand.wide) for hand in hands), strict=True))
    stands = list(product(AHEAD, ASIDE))
    holds: dict[tuple[int, ...], Hold] = {}
    angles, sides = _angles(params), dict(enumerate(HIGHS))
    for _ in range(OPTIONS):
        index, high = int(w.rng.integers(len(angles))), int(w.rng.integers(len(sides)))
        roll = int(w.rng.integers(len(ROLLS)))
        ahead, turned = stands[int(w.rng.integers(len(stands)))]
        posture = int(w.rng.integers(len(postures)))
        # How far the side is turned from the left of who stands before it.
        off = (angles[index] + there.yaw - facing) % (2 * pi) - pi / 2
        behind = off > pi / 2
        off -= pi * behind
        if abs(off) > ASKEW:
            continue
        yaw = facing + off + turned
        key = (index, high, roll, behind)
        if key not in holds:
            angle = angles[index] + pi * behind
            holds[key] = _hold(w, params, angle, sides[high], ROLLS[roll])
        hold = holds[key]
        at = there.at - ahead * np.array([cos(yaw), sin(yaw), 0.0])
        base = np.array([at[0], at[1], yaw])
        if not w.turns(base):
            continue
        cost = 0.1 * high + 0.3 * abs(ROLLS[roll]) + 0.3 * abs(off) + 0.04 * posture
        cost += abs(ahead - AHEAD[0]) + abs(turned)
        drawn = {
            hand.arm: np.array(posed) for hand, posed in zip(hands, postures[posture], strict=True)
        }
        yield cost, hold, base, drawn


def _angles(params: Mapping[str, object]) -> list[float]:
    """Directions, in a thing's frame, of sides that hands press on [rad]."""
    if "width" in params:
        return [0.0, pi / 2]
    return [k * pi / 8 for k in range(8)]


def _hold(w: Worker, params: Mapping[str, object], angle: float, high: float, roll: float) -> Hold:
    """Both hands on opposite sides, the left one where ``angle`` [rad] points in its frame."""
    half = footprint(params)
    up = max(LOWEST, high * height_of(params))
    palms, into = {}, {}
    for side, hand in w.robot.hands.items():
        out = yaw_rotation(angle + (0.0 if side == "left" else pi))[:, 0]
        far = half[int(abs(out[1]) > 0.5)] if "width" in params else half[1]
        at, turned = far * out + up * UP, roll if side == "left" else -roll  # as in a mirror
        found = palms_at(hand, (flat_of(hand).face,), -out, at, (turned,))
        palms[side], into[side] = next(iter(found))[0], -out
    return Hold(palms, into)


def _rehearse(
    w: Worker, name: str, hold: Hold, base: Array, drawn: dict[str, Array]
) -> dict[str, Array] | None:
    """Torso and arms with the hands beside it, if they can take and lift it; else None."""
    model, rehearsal = w.model, w.model.rehearsal
    there = model.thing(name)
    frame = Frame(np.array([base[0], base[1], 0.0]), yaw_rotation(base[2]))
    joints = {**w.limbs.joints, **drawn, **w._torso()}
    found: list[dict[str, Array]] = []
    for number, (gap, up) in enumerate(STAGES):
        for hand in w.robot.hands.values():
            last = number == len(STAGES) - 1
            rehearsal.pose({hand.fingers: np.array(hand.open if last else flat_of(hand).fingers)})
        palms = beside(w, name, hold, gap, up)
        posture = both_arms(w, palms, frame, joints, drawn)
        if posture is None:
            return None
        lifted = there.at + (up * UP if gap == 0.0 else 0.0)
        rehearsal.put(name, lifted, there.turn)
        rehearsal.pose(w._at(base, posture))
        if not rehearsal.clear(FREE, {name: -0.006 if gap == 0.0 else 0.01}):
            return None
        if up != RISE:  # it comes from beside the thing, and not from above it
            joints = {**joints, **posture}
        found.append(posture)
    return found[-1]


def place(w: Worker, name: str, surface: Surface) -> tuple[Array, Array] | None:
    """(3,) where the base stands when it is put there as it is held, (3,) where [m]; or None."""
    model = w.model
    now, stand = model.thing(name), model.stand()
    ahead = yaw_rotation(-stand[2]) @ (now.at - np.array([stand[0], stand[1], 0.0]))
    side = next(iter(w.robot.hands))
    targets = w._targets(name, side, surface)
    for _, at, _ in targets:
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
    high = float(w.model.thing(name).at[2]) - leans(w, name)
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
