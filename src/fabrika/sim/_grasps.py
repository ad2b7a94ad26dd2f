"""Ways to hold a thing, sampled from its shape: palm poses in the thing's frame, the best first.

A grasp is said as a palm's frame in the frame of the thing's bottom. *Side* grasps close round an
upright axis, the thumb up; *top* grasps come from above, the fingers across what is longest. What
a hand can hold follows from its ``pocket`` and ``span``; whether it can get there, and what else it
would touch, is for the rehearsal to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np

from fabrika._signals import Array
from fabrika.sim._model import Frame
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._robot import Hand, Pinch

_FLAT = (
    *("lying", "cutlery", "shoe", "keys", "bowl", "plate", "pot", "crate", "tray"),
    *("peg", "socket", "needle", "eye"),
)
"""Shapes that no hand closes round an upright axis of."""
_ROUND = ("can", "cup", "cylinder", "glass")
"""Upright round shapes without a handle: taken by their rim from above where walls are around."""
DIPS = (0.12, 0.35, 0.55)
"""How far the fingers point down in a side grasp [rad]: more clears a fixture's edge better."""
NECK = 0.65
"""Share of a bottle's height below its neck."""
_ABOVE = 0.009
"""How far the open hand keeps above what the thing stands on [m]."""
RIM = 0.042
"""How far below the rim of what is taken from above fingertips close [m]."""
_EDGE = 0.012
"""How far below the upper edge of a pad fingertips close [m]."""
_SIDE = 0.05
"""What is lower has no side to close round [m]."""
_UPPER = 0.6
"""Share of its height at which fingertips hold what is round and low."""
_SKIM = 0.004
"""How far open fingertips keep above it when they reach around something low [m]."""
LOW = 0.3
"""What stands lower than this is taken at its top however tall it is: a wrist that is to hold it
round its side would have to be lower than arms reach [m]."""
_TOP = 0.035
"""How far below its top what is tall is then taken [m]."""
_TURNS = (0.0, 0.35, -0.35, 0.7, -0.7, 1.1, -1.1, 1.5, -1.5)
"""How far from straight ahead a hand may point that takes something round [rad]."""


@dataclass(frozen=True, slots=True)
class Grasp:
    """A palm in a thing's frame, and how it gets there."""

    palm: Frame
    away: Array
    """(3,) unit vector in the palm's frame along which the hand comes and leaves: backwards."""
    cost: float
    open: tuple[float, ...]
    """Fingers' positions on the way there, and when it lets go."""
    closed: tuple[float, ...]
    """Fingers' positions that hold."""
    releases: tuple[tuple[float, ...], ...] = ()
    """Fingers' positions on the way from closed to open."""
    above: bool = False
    """Whether the hand comes from above, and leaves upwards."""
    level: bool = True
    """Whether the thing is set down level; else as it is held, and it rights itself."""
    slim: bool = False
    """Whether the fingers go where they are `open` only before the thing: at rest, and where it
    is set down, the hand is open as it usually is."""
    off: tuple[float, float, float] | None = None
    """Of what hangs: which way it comes off its peg, in the palm's frame [m]. It is laid down
    later, by the hand from above. None: it is lifted."""


def grasps(
    hand: Hand,
    params: Mapping[str, Any],
    frame: Frame,
    facing: float,
    walled: bool = False,
    slim: bool = False,
) -> list[Grasp]:
    """Grasps of a thing that stands in ``frame``, for a robot that faces ``facing`` [rad].

    ``walled``: walls stand around it, so that no hand gets to its side; ``slim``: only those of a
    box whose far side stands close to something: no thumb reaches behind it.
    """
    if slim:
        if not hand.slim or walled or params["kind"] != "box":
            return []
        opened, closed, *releases = hand.slim
        held = replace(hand, open=opened, closed=closed, releases=tuple(releases))
        ways = (replace(grasp, slim=True) for grasp in _side(held, params, frame, facing))
        return sorted(ways, key=lambda grasp: grasp.cost)
    found = [*_top(hand, params, frame, facing, walled)]
    if not walled:
        found = [
            *_side(hand, params, frame, facing),
            *found,
            *_keys(hand, params, frame, facing),
        ]
    return sorted(found, key=lambda grasp: grasp.cost)


def _extent(params: Mapping[str, Any]) -> tuple[float, float, float]:
    """Half depth, half width, height of what is to be held [m]."""
    if "width" in params and "depth" in params:
        return params["depth"] / 2, params["width"] / 2, params["height"]
    radius = params["radius"]
    return radius, radius, params.get("height", 2 * radius)


def _side(hand: Hand, params: Mapping[str, Any], frame: Frame, facing: float) -> Iterator[Grasp]:
    """Round an upright axis: of a round thing from any side, of a box from its faces."""
    if params["kind"] in _FLAT or _extent(params)[2] < _SIDE:
        return
    depth, width, height = _extent(params)
    if params["kind"] == "bottle":
        height *= NECK
    # The palm's normal when the fingers point ahead: to the left for a right hand.
    s = hand.thumb[1]
    ahead = facing - s * pi / 2 - frame.yaw
    box = "width" in params
    if box:
        turns = [round((ahead + k * pi / 2) / (pi / 2)) * (pi / 2) for k in (-1, 0, 1)]
    else:
        turns = [ahead + turn for turn in _TURNS]
    middle = 0.52 * height
    for turn in turns:
        along = abs(round(np.cos(turn))) if box else 1
        half = (depth if along else width) if box else depth
        if 2 * half > hand.span or (box and 2 * (width if along else depth) > 0.16):
            continue
        normal = yaw_rotation(turn)[:, 0]
        off = abs(np.angle(np.exp(1j * (turn - ahead))))
        for dip in DIPS:
            turned = _palm(hand, normal, dip)
            px, _, pz = hand.pocket
            offset = turned @ np.array([px, 0.0, pz + half])
            lowest = max(_ABOVE + _below(hand, turned) + offset[2], 0.3 * height)
            highest = max(height - 0.03, min(lowest, 0.8 * height))
            if lowest > highest:
                continue
            low = max(lowest, min(middle, highest))
            for at in {low, min(low + 0.02, highest), 0.5 * (low + highest)}:
                palm = np.array([0.0, 0.0, at]) - offset
                cost = 0.25 * off + 0.3 * (dip - DIPS[0]) + 1.5 * (at - lowest)
                away = np.array([0.0, 0.0, -1.0])
                yield Grasp(Frame(palm, turned), away, cost, hand.open, hand.closed, hand.releases)


@dataclass(frozen=True, slots=True)
class _Grip:
    """A part of a thing that fingertips close on from above, in the thing's frame."""

    middle: tuple[float, float]
    """From above [m]."""
    axis: float | None
    """Direction along which the fingertips close [rad]; None if any will do."""
    thick: float
    """Along it [m]."""
    height: float
    """Of what is under the palm, from the thing's bottom [m]."""
    cost: float = 0.0
    up: float = 0.0
    """How high the fingertips are to be, if not as low as they can [m]."""
    level: bool = False
    """Whether it has to be set down level: what is round would roll away."""


def _grips(params: Mapping[str, Any], walled: bool) -> Iterator[_Grip]:
    """Where a thing can be taken from above: across what is longest."""
    kind = params["kind"]
    if kind in _ROUND and (walled or params["height"] < _SIDE):
        # Knuckles are lower than the palm: over a rim they need more room than over a box. What
        # is low is held above its middle: it may have to go between walls.
        high = params["height"]
        up = max(high - RIM, _UPPER * high if high < _SIDE else 0.0)
        yield _Grip((0.0, 0.0), None, 2 * params["radius"], high, up=up, level=True)
    if kind == "ball":
        # Below a ball's middle fingertips would turn it, or reach under it.
        radius = params["radius"]
        yield _Grip((0.0, 0.0), None, 2 * radius, 2 * radius, up=radius + 0.004, level=True)
    elif kind in ("box", "pad", "towel"):
        depth, width, height = _extent(params)
        # Fingertips stay off what is wiped with it.
        up = height - _EDGE if kind == "pad" else 0.0
        for axis, thick in ((0.0, 2 * depth), (pi / 2, 2 * width)):
            more = 2 * (thick - 2 * min(depth, width))
            # On its edge a soft bundle would sink into what it is put on.
            yield _Grip((0.0, 0.0), axis, thick, height, more, up, level=kind == "towel")
    elif kind == "lying":
        # At its middle: lower, fingertips press what is thick slowly up and out of themselves.
        radius = params["radius"]
        for along in (0.0, 0.12, -0.12):
            middle = (along * params["length"], 0.0)
            yield _Grip(middle, pi / 2, 2 * radius, 2 * radius, abs(along), up=radius)
    elif kind == "cutlery":
        yield _Grip((-0.05 * params["length"], 0.0), pi / 2, 0.014, params["height"])
    elif kind == "shoe":
        yield _Grip(
            (-0.14 * params["length"], 0.0), pi / 2, 0.9 * params["width"], params["height"]
        )
    elif kind == "peg":
        # Only the head: the shank is to go into a hole.
        for axis, thick in ((0.0, params["depth"]), (pi / 2, params["width"])):
            low = params["length"] + 0.024
            yield _Grip((0.0, 0.0), axis, thick, params["height"], thick, low, level=True)
    elif kind == "needle":
        middle = ((params["handle"] - params["length"]) / 2, 0.0)
        yield _Grip(middle, pi / 2, params["width"], params["height"], level=True)


def _top(
    hand: Hand, params: Mapping[str, Any], frame: Frame, facing: float, walled: bool
) -> Iterator[Grasp]:
    """From above: fingertips on both sides of what is thinnest."""
    pinch = hand.pinch
    if pinch is None:
        return
    for grip in _grips(params, walled):
        lowest = pinch.below + _SKIM
        # What is higher is taken round its side: fingertips at its top would only just hold it.
        tall = not walled and grip.height > pinch.above + lowest + 0.02
        if grip.thick > pinch.span or (tall and frame.at[2] > LOW):
            continue
        at = max(lowest, grip.up, grip.height - (_TOP if tall else pinch.above))
        if grip.axis is None:
            turns = [facing - frame.yaw + turn for turn in _TURNS]
        else:
            turns = [grip.axis, grip.axis + pi]
        for turn in turns:
            off = abs(float(np.angle(np.exp(1j * (turn + frame.yaw - facing)))))
            off = min(off, pi - off) if pinch.twin else off
            cost = grip.cost + 0.15 * off
            turned = downwards(pinch, turn)
            palm = np.array([*grip.middle, at]) - turned @ np.array(pinch.at)
            yield Grasp(
                Frame(palm, turned),
                -np.array(pinch.down),
                cost,
                pinch.open,
                pinch.closed,
                above=True,
                level=grip.level or tall,
            )


def downwards(pinch: Pinch, turn: float) -> Array:
    """(3, 3) palm that comes from above, its fingertips closing along ``turn`` [rad]."""
    return pinching(pinch, np.array([0.0, 0.0, -1.0]), yaw_rotation(turn)[:, 0])


def pinching(pinch: Pinch, way: Array, along: Array) -> Array:
    """(3, 3) palm that comes along ``way``, its fingertips closing along ``along``."""
    down, across = np.array(pinch.down), np.array(pinch.across)
    own = np.stack([down, across, np.cross(down, across)], axis=1)
    return np.asarray(np.stack([way, along, np.cross(way, along)], axis=1) @ own.T)


def _keys(hand: Hand, params: Mapping[str, Any], frame: Frame, facing: float) -> Iterator[Grasp]:
    """The fob of keys: from the side while they hang, from above where they lie.

    While they hang, the fingers go behind the fob, the thumb before it.
    """
    pinch = hand.pinch
    if params["kind"] != "keys" or pinch is None:
        return
    fob = frame.point(0.0, 0.0, 0.45 * params["length"])
    axis = frame.turn[:, 2]
    hangs = axis[2] > 0.7
    down, across, closed = np.array(pinch.down), np.array(pinch.across), pinch.closed
    off = None
    if hangs:
        off = tuple((0.012 * np.cross(down, across) * hand.thumb[1] - 0.08 * across).tolist())
    else:
        fob[2] += max(0.0, pinch.below + _SKIM - fob[2])
    lies = float(np.arctan2(axis[1], axis[0]))
    for turn in (0.0, 0.2, -0.2) if hangs else (pi / 2, -pi / 2):
        if hangs:
            ahead, left = yaw_rotation(facing + turn)[:, 0], yaw_rotation(facing + turn)[:, 1]
            turned, cost = pinching(pinch, -hand.thumb[1] * left, ahead), 0.3 * abs(turn)
        else:
            turned = downwards(pinch, lies + turn)
            cost = 0.15 * abs(float(np.angle(np.exp(1j * (lies + turn - facing)))))
        palm = frame.inverse() * Frame(fob - turned @ np.array(pinch.at), turned)
        opened = (hangs and pinch.narrow) or pinch.open
        yield Grasp(palm, -down, cost, opened, closed, above=not hangs, level=False, off=off)


def _palm(hand: Hand, normal: Array, dip: float) -> Array:
    """(3, 3) palm with its normal along ``normal``, the thumb up, the fingers ``dip`` down."""
    s = hand.thumb[1]
    up = np.array([0.0, 0.0, 1.0])
    upright = np.stack([np.cross(s * up, normal), s * up, normal], axis=1)
    # About the normal: the fingers' axis goes down.
    down = turn_by(dip * normal)
    if (down @ upright)[2, 0] > 0:
        down = turn_by(-dip * normal)
    return np.asarray(down @ upright)


def _below(hand: Hand, turned: Array) -> float:
    """How far the open hand reaches below its palm's origin [m]."""
    back, forth, aside = hand.bounds
    return float(max(-turned[2, 0] * back, -turned[2, 0] * forth) + aside * abs(turned[2, 1]))
