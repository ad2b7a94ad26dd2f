"""What furniture and appliances are made of: cases, boards, doors, drawers, buttons, handles.

A fixture's frame lies on the floor under the middle of its front: x points out of the front,
towards who uses it, y to its left as it looks out, z up; it fills x from -depth to 0. What a
skill or a measure has to know of it are its *spots* to stand things on, its *spaces* to put them
in, and its *parts* that move.

Joints are at zero when closed. What seals a door is a small magnet: a pair of geoms that adhere
within a few millimetres, as in a fridge; drawers and racks hold by friction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import pi
from typing import Any, Literal

import numpy as np

from fabrika._signals import Array
from fabrika.sim._pose import turn_by
from fabrika.sim._shapes import block, geom

Params = Mapping[str, Any]
Vector = tuple[float, float, float]
Names = tuple[str, ...]
Motion = Literal["hinge", "slide", "press", "turn"]


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
    hangs: bool = False
    """Whether it is the top of a peg: what has a ring hangs from it, and nothing stands there."""


@dataclass(frozen=True, slots=True)
class Space:
    """A box that things can be inside of, in the frame of a body."""

    name: str
    body: str
    low: Vector
    high: Vector

    def has(self, point: Vector) -> bool:
        """Whether a point of that frame is in it, up to 2 cm outside of its low sides."""
        sides = zip(point, self.low, self.high, strict=True)
        return all(low - 0.02 <= at <= high for at, low, high in sides)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A door, a drawer, a lid, a rack, a button or a knob; its joint is at zero when closed."""

    joint: str
    """Name of the joint, and of the body that it moves."""
    motion: Motion
    root: Vector
    """Origin of that body in the fixture's frame when closed [m]."""
    axis: Vector
    """Unit vector that it turns about, or slides along, in the fixture's frame."""
    open: float
    """Where it is wide open, pressed, or turned all the way [rad or m]."""
    handle: Vector
    """Middle of the handle's bar, or of the button's face, in the body's frame [m]."""
    bar: Vector
    """Unit vector along the bar, of a knob too; of a button, out of its face."""
    out: Vector
    """Unit vector from the panel through the handle, towards the hand, when closed."""
    covers: tuple[str, ...] = ()
    """Spots and spaces that it shuts, other than those of a door: of all that is inside."""

    @property
    def level(self) -> bool:
        """Whether it turns about a level axis, as a lid does, or a door that drops down."""
        return self.motion == "hinge" and abs(self.axis[2]) < 0.5

    def pose(self, at: float) -> tuple[Array, Array]:
        """Origin (3,) [m] and rotation (3, 3) of the body in the fixture's frame."""
        if self.motion in ("hinge", "turn"):
            return np.array(self.root), turn_by(at * np.array(self.axis))
        return np.array(self.root) + at * np.array(self.axis), np.eye(3)


@dataclass(slots=True)
class Fixture:
    """One fixture, built."""

    geoms: str = ""
    """Children of its own body: geoms, and the bodies that move. A geom's ``material`` says which
    of its fixture's surfaces it is, see ``_finishes``; its body, if there is none."""
    spots: list[Spot] = field(default_factory=list)
    spaces: list[Space] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)


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
_STAYS: Mapping[str, Any] = {"solreffriction": "0.005 1", "solimpfriction": "0.99 0.99 0.001"}
"""Friction in a joint that does not creep."""
LEVER = 0.065
"""From the front of a lid to the middle of its lever: fingers go between them [m]."""
WALL = 0.018
"""Thickness of panels [m]."""


def handle_bar(part: Part, length: float) -> str:
    """A bar on two posts that go back to the panel."""
    at, along, away = (np.array(v) for v in (part.handle, part.bar, part.out))
    ends = [at + s * along * length / 2 for s in (-1, 1)]
    text = geom("capsule", size=BAR, fromto=six(*ends), mass=0.15, material="handle")
    for end in ends:
        post = six(end, end - away * (CLEARANCE - 0.004))
        text += geom("capsule", size=0.8 * BAR, fromto=post, mass=0.03, material="handle")
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


def add_part(
    made: Fixture, part: Part, most: float, geoms: str, *, start: float = 0.0, **physics: object
) -> None:
    """A body on a joint from 0 to ``most``, with what is on it; a mark where its handle is.

    ``start``: where it is when an episode begins [rad or m].
    """
    kind = "hinge" if part.motion in ("hinge", "turn") else "slide"
    text = " ".join(f'{key}="{value}"' for key, value in physics.items())
    pose = f'pos="{_three(part.root)}"'
    if start:
        turned = start if kind == "hinge" else 0.0
        at, _ = part.pose(start)
        pose = f'pos="{_three(at)}" axisangle="{_three(part.axis)} {turned:.6g}"'
        text += f' ref="{start:.6g}"'
    made.geoms += (
        f'<body name="{part.joint}" {pose}><joint name="{part.joint}" '
        f'type="{kind}" axis="{_three(part.axis)}" range="0 {most:.6g}" limited="true" '
        f'solreflimit="0.01 1" {text}/>{geoms}{mark(f"{part.joint}.handle", part.handle)}</body>'
    )
    made.parts.append(part)


def mark(name: str, at: Vector) -> str:
    """A body without shape or mass, for a tracker to follow."""
    return f'<body name="{name}" pos="{_three(at)}"/>'


def _three(values: Iterable[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def case(w: float, d: float, low: float, high: float, *, back: float = WALL, y: float = 0) -> str:
    """Bottom, top, two sides and a back: open at the front. ``y``: its middle."""
    y0, y1, t = y - w / 2, y + w / 2, WALL
    return (
        block((-d, y0, low), (0, y1, low + t))
        + block((-d, y0, high - t), (0, y1, high))
        + block((-d, y0, low + t), (0, y0 + t, high - t))
        + block((-d, y1 - t, low + t), (0, y1, high - t))
        + block((-d, y0 + t, low + t), (-d + back, y1 - t, high - t))
    )


def add_board(
    made: Fixture, name: str, spot: str, w: float, d: float, z: float, room: float
) -> None:
    """A shelf between the sides of a case, its top at ``z``."""
    y = w / 2 - WALL
    made.geoms += block((-d + WALL, -y, z - 0.012), (-0.02, y, z), material="inside")
    add_spot(made, name, spot, (-d / 2, 0.0, z), (d / 2 - 0.03, y - 0.02), room)


def add_spot(
    made: Fixture, body: str, spot: str, middle: Vector, half: tuple[float, float], room: float
) -> None:
    made.spots.append(Spot(spot, body, middle, half, room))


def add_side_door(
    made: Fixture, name: str, p: Params, w: float, low: float, high: float, y: float = 0.0
) -> None:
    """A door hinged at one side, with an upright handle at the other, and a seal.

    ``w``: its width; ``y``: its middle.
    """
    s = 1.0 if p["hinge"] == "left" else -1.0  # the side of the hinge, as y
    t, h, edge, side = 0.03, high - low, -s * (w - 0.05), y + s * w / 2
    part = Part(
        joint=f"{name}_door",
        motion="hinge",
        root=(0.002, side, low),
        axis=(0.0, 0.0, s),
        open=1.75,
        handle=(t + CLEARANCE, edge, 0.5 * h if h < 0.8 else 0.42 * h),
        bar=(0.0, 0.0, 1.0),
        out=(1.0, 0.0, 0.0),
    )
    low_y, high_y = sorted((0.0, -s * w))
    panel = block((0, low_y, 0), (t, high_y, h), mass=p["mass"], material="front")
    seal = magnet((0.0062, edge, h - 0.05))
    made.geoms += strike((-0.0042, side + edge, high - 0.05))
    geoms = panel + seal + handle_bar(part, min(0.22, 0.5 * h))
    add_part(made, part, 2.2, geoms, damping=0.6, frictionloss=0.2, armature=0.02)


def add_drop_door(made: Fixture, name: str, p: Params, w: float, low: float, high: float) -> None:
    """A door hinged below, that a spring keeps from falling, with a level handle above."""
    t, h = 0.03, high - low
    part = Part(
        joint=f"{name}_door",
        motion="hinge",
        root=(0.002, 0.0, low),
        axis=(0.0, 1.0, 0.0),
        open=1.5,
        handle=(t + CLEARANCE, 0.0, h - 0.05),
        bar=(0.0, 1.0, 0.0),
        out=(1.0, 0.0, 0.0),
    )
    panel = block((0, -w / 2, 0), (t, w / 2, h), mass=p["mass"], material="front")
    seal = magnet((0.0062, 0.3 * w, h - 0.03))
    made.geoms += strike((-0.0042, 0.3 * w, high - 0.03))
    geoms = panel + seal + handle_bar(part, 0.5 * w)
    add_part(made, part, pi / 2, geoms, stiffness=4, damping=2, frictionloss=1, armature=0.02)


def add_lid(
    made: Fixture, name: str, root: tuple[float, float], size: tuple[float, float], covers: Names
) -> None:
    """A hooded lid hinged behind, with a lever: a level bar that stands off before its front.

    ``root``: x and z of its hinge; ``size``: its depth and width; ``covers``: what it shuts.
    """
    (d, w), t, h = size, 0.008, 0.034
    part = Part(
        joint=f"{name}_lid",
        motion="hinge",
        root=(root[0], 0.0, root[1]),
        axis=(0.0, -1.0, 0.0),
        open=1.6,
        handle=(d + LEVER, 0.0, 0.5 * h),
        bar=(0.0, 1.0, 0.0),
        out=(0.0, 0.0, 1.0),
        covers=covers,
    )
    hood, bar = {"material": "front"}, {"material": "handle"}
    text = block((0, -w / 2, h - t), (d, w / 2, h), mass=0.12, **hood)
    text += block((d - t, -w / 2, 0), (d, w / 2, h - t), mass=0.03, **hood)
    for y in (-w / 2, w / 2 - t):
        text += block((0, y, 0), (d - t, y + t, h - t), mass=0.04, **hood)
    x, y, z = part.handle[0], w / 2 - 0.012, part.handle[2]
    text += geom("capsule", size=BAR, fromto=six((x, -y, z), (x, y, z)), mass=0.08, **bar)
    for side in (-y, y):
        ends = six((x, side, z), (d, side, z))
        text += geom("capsule", size=BAR, fromto=ends, mass=0.02, **bar)
    add_part(made, part, 1.75, text, damping=0.2, frictionloss=0.6, armature=2e-3, **_STAYS)


def add_drawer(
    made: Fixture, name: str, mass: float, size: Vector, at: tuple[float, float], *, front: bool
) -> None:
    """A drawer, or a rack (without a front): floor and four walls that slide out along x.

    ``size``: depth, width, height; ``at``: x of its front and z of its bottom.
    """
    d, w, h = size
    y, t, over = w / 2, 0.008, 0.01 * front
    part = Part(
        joint=name,
        motion="slide",
        root=(at[0], 0.0, at[1]),
        axis=(1.0, 0.0, 0.0),
        open=0.8 * d - 0.02,
        handle=(0.016 + CLEARANCE, 0.0, 0.6 * h),
        bar=(0.0, 1.0, 0.0),
        out=(1.0, 0.0, 0.0),
    )
    box: Params = {"material": "inside"}
    text = block((-d, -y, 0), (0, y, t), mass=0.4 * mass, **box)
    for low, high in ((-y, -y + t), (y - t, y)):
        text += block((-d, low, t), (0, high, h), mass=0.1 * mass, **box)
    text += block((-d, -y + t, t), (-d + t, y - t, h), mass=0.1 * mass, **box)
    panel = {"mass": 0.3 * mass, "material": "front" if front else "inside"}
    text += block((0, -y - over, -over), (0.016, y + over, h + 2 * over), **panel)
    text += handle_bar(part, min(0.16, 0.4 * w))
    physics: Params = {"frictionloss": 3, "damping": 6, "armature": 0.1}
    add_part(made, part, 0.8 * d, text, **physics, **_STAYS)
    word = name.rpartition("_")[2]
    add_spot(made, name, word, (-d / 2, 0.0, t), (d / 2 - 0.03, y - 0.03), h)
    made.spaces.append(Space(word, name, (-d, -y, 0.0), (0.0, y, h + 0.05)))


def add_button(made: Fixture, name: str, at: Vector) -> None:
    """A button of 3 cm that clicks at 4 N and comes back: a cubic spring."""
    peak, dip, force = 0.0015, 0.0028, 4.0
    c = force / (peak**2 * (1.5 * dip - 0.5 * peak))
    part = Part(
        joint=f"{name}_button",
        motion="press",
        root=at,
        axis=(-1.0, 0.0, 0.0),
        open=0.003,
        handle=(0.010, 0.0, 0.0),
        bar=(1.0, 0.0, 0.0),
        out=(1.0, 0.0, 0.0),
    )
    made_of = {"mass": 0.01, "material": "trim"}
    face = geom("cylinder", size="0.015 0.004", pos="0.006 0 0", zaxis="1 0 0", **made_of)
    spring = f"{3 * c * peak * dip:.6g} {-1.5 * c * (peak + dip):.6g} {c:.6g}"
    add_part(made, part, 0.004, face, stiffness=spring, damping=4, armature=0.02)


def add_knob(made: Fixture, name: str, at: Vector, p: Params) -> None:
    """A knob on a front: a disc with a bar of 46 x 18 mm on it, upright when it is off.

    It turns by a quarter, as a gas tap does, and stays where it is left: 0.1 Nm of friction.
    """
    part = Part(
        joint=name,
        motion="turn",
        root=at,
        axis=(1.0, 0.0, 0.0),
        open=pi / 2,
        handle=(0.026, 0.0, 0.0),
        bar=(0.0, 0.0, 1.0),
        out=(1.0, 0.0, 0.0),
    )
    made_of = {"mass": 0.03, "material": "handle"}
    disc = geom("cylinder", size="0.022 0.0045", pos="0.0055 0 0", zaxis="1 0 0", **made_of)
    wing = block((0.010, -0.009, -0.023), (0.040, 0.009, 0.023), **made_of)
    physics: Params = {"frictionloss": 0.1, "damping": 0.02, "armature": 2e-3}
    start = float(p.get("turned", {}).get(name, 0.0))
    add_part(made, part, pi / 2, disc + wing, start=start, **physics, **_STAYS)
