"""Ways to hold a thing, sampled from its shape: palm poses in the thing's frame, the best first.

A grasp is said as a palm's frame in the frame of the thing's bottom. *Side* grasps close round an
upright axis, the thumb up; *top* grasps come from above, the fingers across what is longest. What
a hand can hold follows from its ``pocket`` and ``span``; whether it can get there, and what else it
would touch, is for the rehearsal to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np

from fabrika._signals import Array
from fabrika.sim._model import Frame
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._robot import Hand

UPRIGHT_SHAPES = ("bottle", "can", "carton", "cup", "cylinder", "glass", "mug", "jar")
DIPS = (0.12, 0.35, 0.55)
"""How far the fingers point down in a side grasp [rad]: more clears a fixture's edge better."""
NECK = 0.65
"""Share of a bottle's height below its neck."""
_ABOVE = 0.009
"""How far the open hand keeps above what the thing stands on [m]."""


@dataclass(frozen=True, slots=True)
class Grasp:
    """A palm in a thing's frame, and how it gets there."""

    palm: Frame
    away: Array
    """(3,) unit vector in the palm's frame along which the hand comes and leaves: backwards."""
    cost: float


def grasps(hand: Hand, params: Mapping[str, Any], frame: Frame, facing: float) -> list[Grasp]:
    """Grasps of a thing that stands in ``frame``, for a robot that faces ``facing`` [rad]."""
    found = list(_side(hand, params, frame, facing))
    return sorted(found, key=lambda grasp: grasp.cost)


def _extent(params: Mapping[str, Any]) -> tuple[float, float, float]:
    """Half depth, half width, height of what is to be held [m]."""
    if "width" in params and "depth" in params:
        return params["depth"] / 2, params["width"] / 2, params["height"]
    radius = params["radius"]
    return radius, radius, params.get("height", 2 * radius)


def _side(
    hand: Hand, params: Mapping[str, Any], frame: Frame, facing: float
) -> Iterator[Grasp]:
    """Round an upright axis: of a round thing from any side, of a box from its faces."""
    depth, width, height = _extent(params)
    if params["kind"] == "bottle":
        height *= NECK
    if height < 0.05:
        return
    # The palm's normal when the fingers point ahead: to the left for a right hand.
    s = hand.thumb[1]
    ahead = facing - s * pi / 2 - frame.yaw
    box = "width" in params
    if box:
        turns = [(round((ahead + k * pi / 2) / (pi / 2)) * (pi / 2), k) for k in (-1, 0, 1)]
    else:
        turns = [(ahead + a, a) for a in (0.0, -0.35, 0.35, -0.7, 0.7, -1.1, 1.1, 1.5, -1.5)]
    middle = 0.52 * height
    for turn, aside in turns:
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
                yield Grasp(Frame(palm, turned), np.array([0.0, 0.0, -1.0]), cost)


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
