"""Furniture: functions of a name and params. See ``_joinery`` for the frame of a fixture."""

from __future__ import annotations

from itertools import pairwise

from fabrika.sim._joinery import (
    WALL,
    Fixture,
    Params,
    Space,
    Spot,
    add_board,
    add_drawer,
    add_side_door,
    add_spot,
    case,
    six,
)
from fabrika.sim._shapes import block, geom


def counter(name: str, p: Params) -> Fixture:
    """A plate of 4 cm on two side panels set back, so that a robot's base fits under it."""
    made, (w, d, h) = Fixture(), (p["width"], p["depth"], p["height"])
    made.geoms = block((-d, -w / 2, h - 0.04), (0, w / 2, h), material="top")
    for s in (-1, 1):
        inner, outer = sorted((s * (w / 2 - 0.02), s * w / 2))
        made.geoms += block((-d, inner, 0), (-0.25, outer, h - 0.04))
    add_spot(made, name, "top", (-d / 2, 0.0, h), (d / 2 - 0.03, w / 2 - 0.03), 1.0)
    return made


def table(name: str, p: Params) -> Fixture:
    """A plate of 4 cm on four legs."""
    made, (w, d, h) = Fixture(), (p["width"], p["depth"], p["height"])
    made.geoms = block((-d, -w / 2, h - 0.04), (0, w / 2, h), material="top")
    for x in (-d + 0.04, -0.04):
        for y in (-w / 2 + 0.04, w / 2 - 0.04):
            made.geoms += block((x - 0.02, y - 0.02, 0), (x + 0.02, y + 0.02, h - 0.04))
    add_spot(made, name, "top", (-d / 2, 0.0, h), (d / 2 - 0.03, w / 2 - 0.03), 1.0)
    return made


def bench(name: str, p: Params) -> Fixture:
    """A small table, to work at: its halves are spots, left and right for who stands before it."""
    made, (w, d, h) = table(name, p), (p["width"], p["depth"], p["height"])
    for word, s in (("left", -1), ("right", 1)):
        half = (d / 2 - 0.03, w / 4 - 0.03)
        add_spot(made, name, word, (-d / 2, s * w / 4, h), half, 1.0)
    return made


def shelf(name: str, p: Params) -> Fixture:
    """A board on the wall, its top at ``height``."""
    made, (w, d, h) = Fixture(), (p["width"], p["depth"], p["height"])
    made.geoms = block((-d, -w / 2, h - 0.02), (0, w / 2, h))
    add_spot(made, name, "top", (-d / 2, 0.0, h), (d / 2 - 0.02, w / 2 - 0.03), 0.4)
    return made


def cabinet(name: str, p: Params) -> Fixture:
    """A cupboard on the wall: one door, two boards; its bottom at ``base``."""
    made, (w, d) = Fixture(), (p["width"], p["depth"])
    low, high = p["base"], p["base"] + p["height"]
    made.geoms = case(w, d, low, high)
    half = low + p["height"] / 2
    inner = p["height"] / 2 - 2 * WALL
    add_spot(made, name, "lower", (-d / 2, 0.0, low + WALL), (d / 2 - 0.03, w / 2 - 0.04), inner)
    add_board(made, name, "upper", w, d, half, inner)
    made.spaces.append(Space("inside", name, (-d, -w / 2, low), (0.0, w / 2, high)))
    add_side_door(made, name, p, w, low, high)
    return made


def drawers(name: str, p: Params) -> Fixture:
    """A chest of three drawers; things stand on its top as well."""
    made, (w, d, h) = Fixture(), (p["width"], p["depth"], p["height"])
    low = 0.10
    made.geoms = case(w, d, low, h) + block((-d, -w / 2, 0), (-0.06, w / 2, low))
    each = (h - low - 2 * WALL) / 3
    for number, word in enumerate(("bottom", "middle", "top")):
        z = low + WALL + number * each + 0.012
        size = (d - 0.04, w - 2 * WALL - 0.012, each - 0.045)
        add_drawer(made, f"{name}_{word}", p["mass"], size, (0.0, z), front=True)
    add_spot(made, name, "on", (-d / 2, 0.0, h), (d / 2 - 0.03, w / 2 - 0.03), 1.0)
    return made


def sink(name: str, p: Params) -> Fixture:
    """A counter with a basin, and a tap behind it."""
    made, (w, d, h) = Fixture(), (p["width"], p["depth"], p["height"])
    bw, bd, deep, t = p["basin"] / 2, 0.17, 0.16, 0.012
    x0, x1 = -d / 2 - bd, -d / 2 + bd
    for low, high in (
        ((-d, -w / 2), (x0, w / 2)),
        ((x1, -w / 2), (0, w / 2)),
        ((x0, -w / 2), (x1, -bw)),
        ((x0, bw), (x1, w / 2)),
    ):
        made.geoms += block((*low, h - 0.04), (*high, h), material="top")
    floor = h - deep
    basin = {"material": "inside"}
    made.geoms += block((x0, -bw, floor - t), (x1, bw, floor), **basin)
    made.geoms += block((x0 - t, -bw, floor - t), (x0, bw, h - 0.04), **basin)
    made.geoms += block((x1, -bw, floor - t), (x1 + t, bw, h - 0.04), **basin)
    made.geoms += block((x0, -bw - t, floor - t), (x1, -bw, h - 0.04), **basin)
    made.geoms += block((x0, bw, floor - t), (x1, bw + t, h - 0.04), **basin)
    for s in (-1, 1):
        inner, outer = sorted((s * (w / 2 - 0.02), s * w / 2))
        made.geoms += block((-d, inner, 0), (-0.25, outer, h - 0.04))
    tap = ((-d + 0.06, 0, h), (-d + 0.06, 0, h + 0.25), (-d + 0.18, 0, h + 0.25))
    for a, b in pairwise(tap):
        made.geoms += geom("capsule", size="0.012", fromto=six(a, b), material="trim")
    add_spot(made, name, "basin", (-d / 2, 0.0, floor), (bd - 0.02, bw - 0.02), 0.5)
    aside = (w / 2 - bw) / 2
    for s, word in ((1, "left"), (-1, "right")):
        if aside > 0.08:
            middle = (-d / 2, s * (bw + aside), h)
            add_spot(made, name, word, middle, (d / 2 - 0.05, aside - 0.03), 0.6)
    made.spaces.append(Space("inside", name, (x0, -bw, floor), (x1, bw, h)))
    return made


def hook(name: str, p: Params) -> Fixture:
    """A peg on the wall that slants upwards; its root at ``height``.

    It is as long as those of a peg rail, so that a finger has room behind what hangs from it.
    """
    made, h = Fixture(), p["height"]
    made.geoms = block((-0.009, -0.03, h - 0.03), (0, 0.03, h + 0.03))
    root, tip, r = (0.0, 0.0, h), (0.085, 0.0, h + 0.010), 0.004
    made.geoms += geom("capsule", size=r, fromto=six(root, tip), material="trim")
    made.spaces.append(Space("peg", name, (0.0, -0.02, h - 0.12), (0.09, 0.02, h + 0.04)))
    # Its middle is where a ring slides neither off its tip nor to the wall.
    top = h + 0.010 * 0.06 / 0.085 + r
    made.spots.append(Spot("peg", name, (0.06, 0.0, top), (0.008, 0.004), 0.0, hangs=True))
    return made


def bin_(name: str, p: Params) -> Fixture:
    """An open bin on the floor."""
    made, (w, d, h), t = Fixture(), (p["width"], p["depth"], p["height"]), 0.008
    made.geoms = block((-d, -w / 2, 0), (0, w / 2, 0.015))
    for low, high in (
        ((-d, -w / 2), (-d + t, w / 2)),
        ((-t, -w / 2), (0, w / 2)),
        ((-d + t, -w / 2), (-t, -w / 2 + t)),
        ((-d + t, w / 2 - t), (-t, w / 2)),
    ):
        made.geoms += block((*low, 0.015), (*high, h))
    made.spaces.append(Space("inside", name, (-d, -w / 2, 0.0), (0.0, w / 2, h)))
    add_spot(made, name, "floor", (-d / 2, 0.0, 0.015), (d / 2 - 0.04, w / 2 - 0.04), 1.0)
    return made
