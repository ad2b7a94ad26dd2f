"""Appliances: functions of a name and params. See ``_joinery`` for the frame of a fixture."""

from __future__ import annotations

from math import cos, pi, sin, tan

from fabrika.sim._joinery import (
    CLEARANCE,
    WALL,
    Fixture,
    Params,
    Part,
    Space,
    add_board,
    add_button,
    add_drawer,
    add_drop_door,
    add_knob,
    add_part,
    add_side_door,
    add_spot,
    case,
    handle_bar,
)
from fabrika.sim._shapes import block, geom


def fridge(name: str, p: Params) -> Fixture:
    """One door, sealed by a magnet; three shelves."""
    made, (w, d, h) = Fixture(), (p["width"], p["depth"], p["height"])
    low = 0.30
    made.geoms = block((-d, -w / 2, 0), (-0.02, w / 2, low)) + case(w, d, low, h, back=0.04)
    step = (h - low - WALL) / 3
    add_spot(
        made, name, "lower", (-d / 2, 0.0, low + WALL), (d / 2 - 0.06, w / 2 - 0.05), step - 0.05
    )
    for number, word in ((1, "middle"), (2, "upper")):
        add_board(made, name, word, w, d, low + WALL + number * step, step - 0.05)
    made.spaces.append(Space("inside", name, (-d, -w / 2, low), (0.0, w / 2, h)))
    add_side_door(made, name, p, w, low, h)
    return made


def oven(name: str, p: Params) -> Fixture:
    """Built in at ``base``: a drop-down door and one rack."""
    made, (w, d) = Fixture(), (p["width"], p["depth"])
    low, high = p["base"], p["base"] + p["height"]
    made.geoms = case(w, d, low, high) + block((-d, -w / 2, 0), (-0.02, w / 2, low))
    add_board(made, name, "rack", w, d, low + 0.40 * p["height"], 0.5 * p["height"] - WALL)
    made.spaces.append(Space("inside", name, (-d, -w / 2, low), (0.0, w / 2, high)))
    add_drop_door(made, name, p, w, low, high)
    return made


def microwave(name: str, p: Params) -> Fixture:
    """On a stand of height ``base``: a side-hinged door, and a button beside it."""
    made, (w, d) = Fixture(), (p["width"], p["depth"])
    low, high, panel = p["base"], p["base"] + p["height"], 0.10
    wide = w - panel
    made.geoms = block((-d, -w / 2, 0), (-0.02, w / 2, low))
    shift = panel / 2
    made.geoms += case(wide, d, low, high, y=shift)
    add_side_door(made, name, {**p, "hinge": "left"}, wide, low, high, shift)
    made.geoms += block((-d, -w / 2, low), (0, -w / 2 + panel, high))
    add_button(made, name, (0.0, -w / 2 + panel / 2, low + 0.3 * p["height"]))
    add_spot(
        made,
        name,
        "plate",
        (-d / 2, shift, low + WALL),
        (d / 2 - 0.05, wide / 2 - 0.05),
        p["height"] - 2 * WALL,
    )
    inside = (-d, shift - wide / 2, low), (0.0, shift + wide / 2, high)
    made.spaces.append(Space("inside", name, *inside))
    return made


def dishwasher(name: str, p: Params) -> Fixture:
    """A drop-down door and two racks that slide out over it."""
    made, (w, d) = Fixture(), (p["width"], p["depth"])
    low, high = 0.12, p["height"]
    made.geoms = case(w, d, low, high) + block((-d, -w / 2, 0), (-0.04, w / 2, low))
    size = (d - 0.06, w - 2 * WALL - 0.02, 0.12)
    for word, share in (("lower", 0.08), ("upper", 0.55)):
        at = (-0.055, low + share * (high - low))
        add_drawer(made, f"{name}_{word}", 2.5, size, at, front=False)
    made.spaces.append(Space("inside", name, (-d, -w / 2, low), (0.0, w / 2, high)))
    add_drop_door(made, name, p, w, low, high)
    return made


def washer(name: str, p: Params) -> Fixture:
    """A front loader on a plinth of height ``base``: a drum of twelve panels behind a door."""
    made, (w, d) = Fixture(), (p["width"], p["depth"])
    low, high = p["base"], p["base"] + p["height"]
    r, z, sides = p["drum"], low + 0.52 * p["height"], 12
    made.geoms = block((-d, -w / 2, 0), (0, w / 2, low)) + case(w, d, low, high)
    thick, length = 0.01, d - 0.08
    wide = (r + thick) * tan(pi / sides)
    for side in range(sides):
        a = 2 * pi * side / sides
        y, up = (r + thick / 2) * cos(a), (r + thick / 2) * sin(a)
        made.geoms += geom(
            "box",
            size=f"{length / 2:.6g} {wide:.6g} {thick / 2:.6g}",
            pos=f"{-length / 2 - 0.01:.6g} {y:.6g} {z + up:.6g}",
            xyaxes=f"1 0 0 0 {-sin(a):.6g} {cos(a):.6g}",
        )
    made.geoms += block((-length - 0.02, -r, z - r), (-length - 0.01, r, z + r))
    made.spaces.append(Space("inside", name, (-length, -r, z - r), (0.0, r, z + r)))
    # The lowest panel, in the front of the drum.
    add_spot(made, name, "drum", (-0.20, 0.0, z - r), (0.16, 0.045), 2 * r)
    add_side_door(made, name, p, 2 * r + 0.06, z - r - 0.03, z + r + 0.03)
    return made


def coffee(name: str, p: Params) -> Fixture:
    """A coffee machine on a stand: a well for a pod under a lid, a button, a place for a cup."""
    made, (w, d) = Fixture(), (p["width"], p["depth"])
    low, high, t = p["base"], p["base"] + p["height"], 0.01
    made.geoms = block((-d, -w / 2, 0), (0, w / 2, low))
    made.geoms += block((-d, -w / 2, low), (-0.55 * d, w / 2, high - 0.05))
    x0, x1, y = -0.55 * d, 0.0, 0.035
    made.geoms += block((x0, -w / 2, high - 0.09), (x1, w / 2, high - 0.05))
    for a, b in (((x0, -w / 2), (x1, -y)), ((x0, y), (x1, w / 2))):
        made.geoms += block((*a, high - 0.05), (*b, high))
    middle = (x0 + x1) / 2
    made.geoms += block((x0, -y, high - 0.05), (middle - 0.035, y, high))
    made.geoms += block((middle + 0.035, -y, high - 0.05), (x1, y, high))
    reach = -x0 + 0.01
    lid = Part(
        joint=f"{name}_lid",
        motion="hinge",
        root=(x0, 0.0, high + 0.002),
        axis=(0.0, -1.0, 0.0),
        open=1.7,
        handle=(reach - 0.02, 0.0, 0.014 + CLEARANCE),
        bar=(0.0, 1.0, 0.0),
        out=(0.0, 0.0, 1.0),
    )
    panel = block((0, -w / 2 + t, 0), (reach, w / 2 - t, 0.014), mass=0.15)
    geoms = panel + handle_bar(lid, 0.08)
    add_part(made, lid, 1.9, geoms, damping=0.05, frictionloss=0.05, armature=2e-3)
    add_button(made, name, (0.0, 0.3 * w, high - 0.07))
    add_spot(made, name, "cup", (-0.27 * d, 0.0, low), (0.2 * d, 0.3 * w), high - 0.09 - low)
    well = (middle - 0.035, -y, high - 0.05), (middle + 0.035, y, high)
    made.spaces.append(Space("well", name, *well))
    return made


def stove(name: str, p: Params) -> Fixture:
    """A cooker: a hob to stand pots on, and two knobs on its front; its oven stays shut."""
    made, (w, d, h) = Fixture(), (p["width"], p["depth"], p["height"])
    made.geoms = block((-d, -w / 2, 0), (0, w / 2, h))
    # Left and right for who stands before it, whose left is -y here.
    for word, s in (("left", -1), ("right", 1)):
        add_knob(made, f"{name}_{word}_knob", (0.0, s * 0.11, h - 0.06), p)
    add_spot(made, name, "top", (-d / 2, 0.0, h), (d / 2 - 0.03, w / 2 - 0.03), 0.6)
    return made
