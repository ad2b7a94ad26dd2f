"""What furniture and appliances are made of: cases, boards, doors, drawers, buttons, handles.

A fixture's frame lies on the floor under the middle of its front: x points out of the front,
towards who uses it, y to its left as it looks out, z up; it fills x from -depth to 0. What a
skill or a measure has to know of it are its *spots* to stand things on, its *spaces* to put them
in, and its *parts* that move.

Joints are at zero when closed. What seals a door is a small magnet: a pair of geoms that adhere
within a few millimetres, as in a fridge; drawers and racks hold by friction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import pi
from typing import Any, Literal

import numpy as np

from fabrika.sim._shapes import block, geom

Params = Mapping[str, Any]
Vector = tuple[float, float, float]
Motion = Literal["hinge", "slide", "press"]


@dataclass(frozen=True, slots=True)
class Spot:
    """A level rectangle that things can stand on, in the frame of a body."""

    name: str
    body: str
    middle: Vector
    half: tuple[float, float]
    """Half of its extent along the body's x and y [m]."""
    headroom: float
    """How high above it is free [m]."""


@dataclass(frozen=True, slots=True)
class Space:
    """A box that things can be inside of, in the frame of a body."""

    name: str
    body: str
    low: Vector
    high: Vector


@dataclass(frozen=True, slots=True)
class Part:
    """A door, a drawer, a lid, a rack or a button; its joint is at zero when closed."""

    joint: str
    body: str
    motion: Motion
    open: float
    """Where it is wide open, or pressed [rad or m]; its sign is the way that it opens."""
    handle: Vector
    """Middle of the handle's bar, or of the button's face, in the body's frame [m]."""
    bar: Vector
    """Unit vector along the bar; of a button, out of its face."""
    out: Vector
    """Unit vector from the panel through the handle, towards the hand, when closed."""


@dataclass(slots=True)
class Fixture:
    """One fixture, built."""

    geoms: str = ""
    """Children of its own body: geoms, and the bodies that move."""
    spots: list[Spot] = field(default_factory=list)
    spaces: list[Space] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)


METAL = "0.35 0.36 0.38 1"
"""Colour of handles."""
BAR = 0.007
"""Radius of a handle's bar [m]."""
CLEARANCE = 0.045
"""From a panel to the middle of its handle's bar: fingers go behind it [m]."""
SEAL = 10.0
"""Force that a door's magnet holds with [N]."""
_MAGNET: Mapping[str, object] = {
    "adhesion": SEAL / 2,  # the forces of the two add
    "gap": 0.004,
    "condim": 1,
    "solref": "0.01 1",
    "contype": 64,
    "conaffinity": 64,
}
WALL = 0.018
"""Thickness of panels [m]."""


def handle_bar(middle: Vector, bar: Vector, out: Vector, length: float) -> str:
    """A bar on two posts that go back to the panel: grey."""
    at, along, away = (np.array(v) for v in (middle, bar, out))
    ends = [at + s * along * length / 2 for s in (-1, 1)]
    text = geom("capsule", size=BAR, fromto=six(*ends), mass=0.15, rgba=METAL)
    for end in ends:
        post = six(end, end - away * (CLEARANCE - 0.004))
        text += geom("capsule", size=0.8 * BAR, fromto=post, mass=0.03, rgba=METAL)
    return text


def six(a: Any, b: Any) -> str:
    return " ".join(f"{value:.6g}" for value in (*a, *b))


def magnet(at: Vector) -> str:
    """Half of a seal: two that meet hold each other with `SEAL`."""
    x, y, z = at
    return geom(
        "sphere",
        size="0.005",
        pos=f"{x:.6g} {y:.6g} {z:.6g}",
        mass="0.01",
        **_MAGNET,
    )


def strike(at: Vector) -> str:
    """The other half: a plate that faces +x."""
    x, y, z = at
    return geom(
        "box",
        size="0.004 0.008 0.008",
        pos=f"{x:.6g} {y:.6g} {z:.6g}",
        **_MAGNET,
    )


def joint(name: str, kind: str, axis: str, low: float, high: float, **more: object) -> str:
    text = " ".join(f'{key}="{value}"' for key, value in more.items())
    return (
        f'<joint name="{name}" type="{kind}" axis="{axis}" range="{low:.6g} {high:.6g}" '
        f'limited="true" solreflimit="0.01 1" {text}/>'
    )


def case(w: float, d: float, low: float, high: float, *, back: float = WALL) -> str:
    """Bottom, top, two sides and a back: open at the front."""
    y, t = w / 2, WALL
    return (
        block((-d, -y, low), (0, y, low + t))
        + block((-d, -y, high - t), (0, y, high))
        + block((-d, -y, low + t), (0, -y + t, high - t))
        + block((-d, y - t, low + t), (0, y, high - t))
        + block((-d, -y + t, low + t), (-d + back, y - t, high - t))
    )


def add_board(
    made: Fixture, name: str, spot: str, w: float, d: float, z: float, room: float
) -> None:
    """A shelf between the sides of a case, its top at ``z``."""
    y = w / 2 - WALL
    made.geoms += block((-d + WALL, -y, z - 0.012), (-0.02, y, z))
    add_spot(made, name, spot, (-d / 2, 0.0, z), (d / 2 - 0.03, y - 0.02), room)


def add_spot(
    made: Fixture, body: str, spot: str, middle: Vector, half: tuple[float, float], room: float
) -> None:
    made.spots.append(Spot(spot, body, middle, half, room))


def add_side_door(made: Fixture, name: str, p: Params, w: float, low: float, high: float) -> None:
    """A door hinged at one side, with an upright handle at the other, and a seal."""
    s = 1.0 if p["hinge"] == "left" else -1.0  # the side of the hinge, as y
    t, h, body = 0.03, high - low, f"{name}_door"
    edge, at = -s * (w - 0.05), 0.5 * h if h < 0.8 else 0.42 * h
    handle: Vector = (t + CLEARANCE, edge, at)
    length = min(0.22, 0.5 * h)
    panel = block((0, min(0, -s * w), 0), (t, max(0, -s * w), h), mass=p["mass"])
    made.geoms += strike((-0.0042, s * w / 2 + edge, high - 0.05))
    made.geoms += (
        f'<body name="{body}" pos="0.002 {s * w / 2:.6g} {low:.6g}">'
        + joint(
            f"{name}_door",
            "hinge",
            f"0 0 {s:.0f}",
            0.0,
            2.2,
            damping=0.6,
            frictionloss=0.2,
            armature=0.02,
        )
        + panel
        + magnet((0.0062, edge, h - 0.05))
        + handle_bar(handle, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0), length)
        + "</body>"
    )
    part = Part(f"{name}_door", body, "hinge", 1.75, handle, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
    made.parts.append(part)


def add_drop_door(made: Fixture, name: str, p: Params, w: float, low: float, high: float) -> None:
    """A door hinged below, that a spring keeps from falling, with a level handle above."""
    t, h, body = 0.03, high - low, f"{name}_door"
    handle: Vector = (t + CLEARANCE, 0.0, h - 0.05)
    made.geoms += strike((-0.0042, 0.3 * w, low + h - 0.03))
    made.geoms += (
        f'<body name="{body}" pos="0.002 0 {low:.6g}">'
        + joint(
            f"{name}_door",
            "hinge",
            "0 1 0",
            0.0,
            pi / 2,
            stiffness=4,
            damping=2,
            frictionloss=1,
            armature=0.02,
        )
        + block((0, -w / 2, 0), (t, w / 2, h), mass=p["mass"])
        + magnet((0.0062, 0.3 * w, h - 0.03))
        + handle_bar(handle, (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), 0.5 * w)
        + "</body>"
    )
    part = Part(f"{name}_door", body, "hinge", 1.5, handle, (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    made.parts.append(part)


def add_drawer(
    made: Fixture, name: str, p: Params, size: tuple[float, float, float], z: float, *, front: bool
) -> None:
    """A drawer, or a rack (without a front): floor and four walls that slide out along x."""
    d, w, h = size
    y, t, reach = w / 2, 0.008, 0.8 * d
    text = block((-d, -y, 0), (0, y, t), mass=0.4 * p["mass"])
    for s in (-1, 1):
        text += block(
            (-d, s * y - t * (s > 0), t), (0, s * y + t * (s < 0), h), mass=0.1 * p["mass"]
        )
    text += block((-d, -y + t, t), (-d + t, y - t, h), mass=0.1 * p["mass"])
    tall = h + 0.02 if front else h
    text += block(
        (0, -y - 0.01 * front, -0.01 * front), (0.016, y + 0.01 * front, tall), mass=0.3 * p["mass"]
    )
    handle: Vector = (0.016 + CLEARANCE, 0.0, 0.6 * h)
    rail = joint(
        name,
        "slide",
        "1 0 0",
        0.0,
        reach,
        frictionloss=3,
        damping=6,
        armature=0.1,
        solreffriction="0.005 1",
        solimpfriction="0.99 0.99 0.001",
    )
    bar = handle_bar(handle, (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), min(0.16, 0.4 * w))
    made.geoms += f'<body name="{name}" pos="0.0 0 {z:.6g}">{rail}{text}{bar}</body>'
    made.parts.append(
        Part(name, name, "slide", reach - 0.02, handle, (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    )
    middle: Vector = (-d / 2, 0.0, t)
    add_spot(made, name, name.rpartition("_")[2], middle, (d / 2 - 0.03, y - 0.03), h)
    made.spaces.append(Space(name.rpartition("_")[2], name, (-d, -y, 0.0), (0.0, y, h + 0.05)))


def add_button(made: Fixture, name: str, at: Vector) -> None:
    """A button of 3 cm that clicks at 4 N and comes back: a cubic spring."""
    x, y, z = at
    body, c = f"{name}_button", 4.0 / (0.0015**2 * (1.5 * 0.0028 - 0.5 * 0.0015))
    a, b = 3 * c * 0.0015 * 0.0028, -1.5 * c * (0.0015 + 0.0028)
    spring = joint(
        body,
        "slide",
        "-1 0 0",
        0.0,
        0.004,
        stiffness=f"{a:.6g} {b:.6g} {c:.6g}",
        damping=4,
        armature=0.02,
    )
    face = geom("cylinder", size="0.015 0.004", pos="0.006 0 0", zaxis="1 0 0", mass=0.01)
    made.geoms += f'<body name="{body}" pos="{x:.6g} {y:.6g} {z:.6g}">{spring}{face}</body>'
    out: Vector = (1.0, 0.0, 0.0)
    made.parts.append(Part(body, body, "press", 0.003, (0.010, 0.0, 0.0), out, out))
