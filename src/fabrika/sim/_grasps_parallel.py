"""Ways to hold a thing with two fingers that close in parallel: from above, or slanted.

The gripper comes along its palm's x axis and closes along y, which is level. Its pocket, between
the pads, goes to the middle of the thing: of a round one from any side, of a box across the sides
that are close enough together. What is in parts, such as a bottle, is held by one of them; an open
vessel that is too wide is held by its wall.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import cos, pi, sin
from typing import Any

import numpy as np

from fabrika._signals import Array
from fabrika.sim._grasps import Grasp, grasps
from fabrika.sim._model import Frame
from fabrika.sim._robot import Hand
from fabrika.sim._shapes import WALLED

SLANTS = (0.0, 0.35, 0.7, 1.0, 1.3)
"""Angles between the way that the gripper points and straight down [rad]."""
ROUND = 12
"""Directions from which a round thing is held."""
_ABOVE = 0.008
"""How far the fingers keep above what the thing stands on [m]."""
_RIM = 0.012
"""How deep the pocket is below the top of what is held, at least [m]."""
_INSIDE = 0.052
"""How far a thing may reach up behind the pocket: there the gripper's body begins [m]."""
_THICK = 0.010
"""Half of a finger, across its plane [m]."""
_BACK = np.array([-1.0, 0.0, 0.0])


@dataclass(frozen=True, slots=True)
class _Piece:
    """What two fingers can close on, in the thing's frame."""

    at: tuple[float, float]
    """Its middle, from above [m]."""
    low: float
    high: float
    """From where to where it goes [m]."""
    across: tuple[float, ...]
    """Directions in which the fingers may close, from above [rad]."""
    thick: float
    """Its thickness there [m]."""
    top: float
    """How far up the thing goes there, above the piece or with it [m]."""


def ways_to_hold(
    hand: Hand,
    params: Mapping[str, Any],
    frame: Frame,
    facing: float,
    walled: bool = False,
    slim: bool = False,
) -> list[Grasp]:
    """Grasps of a thing that stands in ``frame``, by the kind of hand, the best first.

    ``walled``: walls stand around it, as in a drawer or a rack; ``slim``: only those that need no
    room behind it, if the hand has others.
    """
    if hand.approach != (1.0, 0.0, 0.0):
        return grasps(hand, params, frame, facing, walled, slim)
    if slim:
        return []
    return list(_held(hand, tuple(p for p in _pieces(params) if p.thick <= hand.span)))


@lru_cache(maxsize=64)
def _held(hand: Hand, pieces: tuple[_Piece, ...]) -> tuple[Grasp, ...]:
    """Grasps of a shape, the best first: the same however the thing stands."""
    found = (grasp for piece in pieces for grasp in _pinches(hand, piece))
    return tuple(sorted(found, key=lambda grasp: grasp.cost))


def _pieces(params: Mapping[str, Any]) -> Iterator[_Piece]:
    """What of a thing can be held: nothing of shapes that are not known here."""
    kind = params["kind"]
    height = float(params.get("height", 2 * params.get("radius", 0.0)))
    if kind == "box":
        for across, thick in ((0.0, params["depth"]), (pi / 2, params["width"])):
            yield _Piece((0.0, 0.0), 0.0, height, (across,), thick, height)
    elif kind == "peg":
        for across, thick in ((0.0, params["depth"]), (pi / 2, params["width"])):
            yield _Piece((0.0, 0.0), params["length"], height, (across,), thick, height)
    elif kind == "needle":
        middle = ((params["handle"] - params["length"]) / 2, 0.0)
        yield _Piece(middle, 0.0, height, (pi / 2,), params["width"], height)
    elif kind in ("cylinder", "ball", "bottle"):
        radius, around = params["radius"], _around(ROUND)
        body = 0.65 * height if kind == "bottle" else height
        yield _Piece((0.0, 0.0), 0.0, body, around, 2 * radius, height)
        if kind == "bottle":
            yield _Piece((0.0, 0.0), body, height, around, 0.8 * radius, height)
    elif kind in WALLED:
        wall, radius = WALLED[kind], params["radius"]
        for turn in (2 * pi * side / ROUND for side in range(ROUND)):
            at = radius - wall / 2
            yield _Piece((at * cos(turn), at * sin(turn)), 0.03, height, (turn,), wall, height)


def _around(count: int) -> tuple[float, ...]:
    return tuple(pi * number / count for number in range(count))


def _pinches(hand: Hand, piece: _Piece) -> Iterator[Grasp]:
    """A piece between the fingers, however the gripper may be slanted and turned."""
    tip = hand.bounds[1] - hand.pocket[0]
    for slant, across, flip in product(SLANTS, piece.across, (0.0, pi)):
        # Over the wall of a vessel a gripper goes straight down, one finger on each side.
        if piece.at != (0.0, 0.0) and slant:
            continue
        for roll in (1.0, -1.0):
            turn = pinch(across + flip, slant, roll)
            below = tip * cos(slant) + _THICK * sin(slant)
            foot = _ABOVE if piece.low == 0.0 else 0.0
            lowest, highest = piece.low + foot + below, piece.high - _RIM
            if not slant:
                lowest = max(lowest, piece.top - _INSIDE)
            if lowest > highest:
                highest = lowest if lowest < piece.high - 0.004 else -1.0
            for share in (0.0, 0.5, 1.0) if highest > lowest else (0.0,) * (highest >= lowest):
                at = np.array([*piece.at, lowest + share * (highest - lowest)])
                cost = 0.1 * slant + 0.3 * abs(at[2] - 0.6 * piece.high)
                palm = Frame(at - turn @ np.array(hand.pocket), turn)
                yield Grasp(palm, _BACK, cost, hand.open, hand.closed, hand.releases)


def pinch(across: float, slant: float, roll: float = 1.0) -> Array:
    """(3, 3) palm that closes along ``across``, from above, and points down but for ``slant``.

    ``roll``: which of the two fingers is where, 1 or -1.
    """
    closing = np.array([cos(across), sin(across), 0.0])
    ahead = np.array([sin(across), -cos(across), 0.0])
    distal = sin(slant) * ahead - np.array([0.0, 0.0, cos(slant)])
    return np.stack([distal, roll * closing, np.cross(distal, roll * closing)], axis=1)
