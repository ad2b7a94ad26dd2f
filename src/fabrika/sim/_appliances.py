"""Appliances: functions of a name and params. See ``_joinery`` for the frame of a fixture."""

from __future__ import annotations

from math import cos, pi, sin, tan

from fabrika.sim._joinery import (
    WALL,
    Fixture,
    Params,
    Space,
    add_board,
    add_button,
    add_drawer,
    add_drop_door,
    add_knob,
    add_lid,
    add_side_door,
    add_spot,
    case,
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
    made.geoms = case(w, d, low, high)
    made.geoms += block((-d, -w / 2, 0), (-0.02, w / 2, low), material="stand")
    add_board(made, name, "rack", w, d, low + 0.40 * p["height"], 0.5 * p["height"] - WALL)
    made.spaces.append(Space("inside", name, (-d, -w / 2, low), (0.0, w / 2, high)))
    add_drop_door(made, name, p, w, low, high)
    return made


def microwave(name: str, p: Params) -> Fixture:
    """On a stand of height ``base``: a side-hinged door, and a button beside it."""
    made, (w, d) = Fixture(), (p["width"], p["depth"])
    low, high, panel = p["base"], p["base"] + p["height"], 0.10
    wide = w - panel
    made.geoms = block((-d, -w / 2, 0), (-0.02, w / 2, low), material="stand")
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
    made.geoms = block((-d, -w / 2, 0), (0, w / 2, low), material="stand")
    made.geoms += case(w, d, low, high)
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
            material="inside",
        )
    end = (-length - 0.02, -r, z - r), (-length - 0.01, r, z + r)
    made.geoms += block(*end, material="inside")
    made.spaces.append(Space("inside", name, (-length, -r, z - r), (0.0, r, z + r)))
    # The lowest panel, in the front of the drum.
    add_spot(made, name, "drum", (-0.20, 0.0, z - r), (0.16, 0.045), 2 * r)
    add_side_door(made, name, p, 2 * r + 0.06, z - r - 0.03, z + r + 0.03)
    return made


def coffee(name: str, p: Params) -> Fixture:
    """A machine for pods on a stand: a well under a hooded lid, a button, a place for a cup.

    The lid is lifted and pressed shut by a lever, a bar before it as wide as a hand; its hinge is
    stiff, so that it stays where it is left.
    """
    made, (w, d) = Fixture(), (p["width"], p["depth"])
    low, high, x0 = p["base"], p["base"] + p["height"], -0.24
    made.geoms = block((-d, -w / 2, 0), (0, w / 2, low), material="stand")
    made.geoms += block((-d, -w / 2, low), (x0, w / 2, high))
    deep, half, head = 0.018, 0.055, high - 0.10
    middle, floor = -0.09, high - deep
    made.geoms += block((x0, -w / 2, head), (0, w / 2, floor))
    for a, b in (((x0, -w / 2), (0, -half)), ((x0, half), (0, w / 2))):
        made.geoms += block((*a, floor), (*b, high))
    made.geoms += block((x0, -half, floor), (middle - half, half, high))
    made.geoms += block((middle + half, -half, floor), (0, half, high))
    add_lid(made, name, (x0, high + 0.002), (-x0, w - 0.01), ("well",))
    add_button(made, name, (0.0, 0.3 * w, high - 0.07))
    add_spot(made, name, "cup", (x0 / 2, 0.0, low), (-0.4 * x0, 0.3 * w), head - low)
    # Things go into its middle: what leans on its wall would hold the lid up.
    add_spot(made, name, "well", (middle, 0.0, floor), (half - 0.013, half - 0.013), 0.4)
    # The lid is hollow: what stands in the well is half under it.
    well = (middle - half, -half, floor), (middle + half, half, high + 0.024)
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
