"""A room put together from fixtures and things: arranged without collisions, and built as MJCF.

World frame: the robot starts near the origin and faces +x. Fixtures stand with their backs to
three walls, or free in the room; things stand on their spots, or on the floor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import asin, cos, hypot, pi, sin
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fabrika._errors import ContractError
from fabrika._signals import Array
from fabrika.sim._finishes import finish_materials
from fabrika.sim._fixtures import build_fixture, fixture
from fabrika.sim._joinery import Params, Spot
from fabrika.sim._kitchen import kitchen_materials, lamp
from fabrika.sim._pictures import visual
from fabrika.sim._shapes import FLOOR, WALLED
from fabrika.sim._things import thing
from fabrika.sim._world import Stage

Wall = Literal["back", "left", "right"]
ROOM = 1.9
"""Distance of the walls from the origin [m]: behind the fixtures, and to both sides."""
GAP = 0.012
"""Least distance between two things that are put on one spot [m]."""
_TRIES = 200
_LIP = 0.004
"""How far a bowl's panels reach beyond its radius [m]."""
_HANDLES = {"mug": 0.006, "pot": 0.011}
"""Half of the thickness of round things' handles, along +x [m]."""
_EYE = (
    '<camera name="scene" pos="-2.5 -0.9 2.6" fovy="53" '
    'xyaxes="0.2726 -0.9621 0 0.5006 0.1418 0.854"/>'
)
"""The camera for people: from behind the robot, with all three walls."""


class CrowdedError(ContractError):
    """Something finds no room: a fixture on its wall, or a thing on its spots."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        """The wall, or the thing."""


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in the world: level, turned about the vertical."""

    fixture: str
    spot: Spot
    middle: tuple[float, float, float]
    yaw: float

    def at(self, x: float, y: float) -> tuple[float, float, float]:
        """The world's coordinates of a point of the spot [m]."""
        c, s = cos(self.yaw), sin(self.yaw)
        mx, my, mz = self.middle
        return mx + c * x - s * y, my + s * x + c * y, mz


def arrange(
    rng: np.random.Generator, fixtures: Mapping[str, Params], walls: Mapping[Wall, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """Params of the fixtures with ``pos`` and ``yaw``: side by side along each wall, in order.

    What room a wall leaves is shared at random between the gaps. Raises `CrowdedError` if they
    do not fit, and `ContractError` if one has no wall.
    """
    placed: dict[str, dict[str, Any]] = {}
    for wall, names in walls.items():
        widths = [float(fixtures[name].get("width", 0.1)) for name in names]
        free = 2 * ROOM - 0.1 - sum(widths)
        if wall != "back":  # the corner belongs to the back wall
            free -= 0.75
        if free < 0:
            wide = f"{', '.join(names)} are {-free:.2f} m too wide for the wall {wall!r}."
            raise CrowdedError(wall, wide)
        shares = rng.dirichlet(np.ones(len(names) + 1)) * min(free, 0.15 * (len(names) + 1))
        start = -(sum(widths) + float(sum(shares))) / 2
        for name, width, share in zip(names, widths, shares, strict=False):
            start += float(share)
            placed[name] = dict(fixtures[name]) | _against(wall, start + width / 2, fixtures[name])
            start += width
    lost = sorted(fixtures.keys() - placed.keys())
    if lost:
        raise ContractError(f"no wall is given for {', '.join(lost)}.")
    return placed


def _against(wall: Wall, along: float, params: Params) -> dict[str, Any]:
    """Position and yaw of a fixture whose back is against a wall."""
    depth = float(params.get("depth", 0.0))
    front = ROOM - 0.01 - depth
    pos, yaw = {
        "back": ((front, along), pi),
        "left": ((along - 0.375, front), -pi / 2),
        "right": ((along - 0.375, -front), pi / 2),
    }[wall]
    return {"pos": [round(v, 5) for v in pos], "yaw": round(yaw, 6)}


def places(fixtures: Mapping[str, Params]) -> dict[str, Place]:
    """Every spot of fixtures that stand somewhere, by "fixture.spot": of closed ones.

    Spots of what moves, such as drawers, are where they are while it is closed.
    """
    found = {}
    for name, params in fixtures.items():
        x, y = params["pos"]
        c, s = cos(params["yaw"]), sin(params["yaw"])
        built = build_fixture(name, params)
        roots = {part.joint: part.root for part in built.parts}
        for spot in built.spots:
            a, b, z = (
                m + r
                for m, r in zip(spot.middle, roots.get(spot.body, (0.0, 0.0, 0.0)), strict=True)
            )
            middle = (x + c * a - s * b, y + s * a + c * b, z)
            found[f"{name}.{spot.name}"] = Place(name, spot, middle, float(params["yaw"]))
    return found


def footprint(params: Params) -> tuple[float, float]:
    """Half of a thing's extent along its own x and y, as seen from above [m]."""
    if "width" in params:
        length = params.get("depth", params.get("length", 0.0))
        return length / 2, params["width"] / 2 + params.get("bar", 0.0)
    if params["kind"] == "lying":
        return params["length"] / 2, params["radius"]
    handle = {"mug": 0.036, "pot": params.get("handle", 0.0) + 0.011}.get(params["kind"], 0.0)
    return params["radius"] + handle, params["radius"]


def outlined(params: Params, points: Array) -> NDArray[np.bool_]:
    """Which points are within a thing's outline, as seen from above where it stands.

    ``points``: (..., 2) in the thing's own frame [m]; the answer is (...,).
    """
    x, y = points[..., 0], points[..., 1]
    kind, (long, wide) = params["kind"], footprint(params)
    if kind == "lying":
        return np.asarray(np.hypot(np.maximum(np.abs(x) - long + wide, 0.0), y) <= wide)
    if "width" not in params:
        handle = (x > 0.0) & (x <= long) & (np.abs(y) <= _HANDLES.get(kind, 0.0))
        radius = params["radius"] + _LIP * (kind == "bowl")
        return np.asarray((np.hypot(x, y) <= radius) | handle)
    within = (np.abs(x) <= long) & (np.abs(y) <= wide)
    if kind == "cutlery":
        within &= (x >= 0.3 * long) | (np.abs(y) <= 0.007)
    if kind == "needle":
        within &= (x <= params["handle"] - long) | (np.abs(y) <= params["radius"])
    return np.asarray(within)


def height_of(params: Mapping[str, Any]) -> float:
    """How high a thing is [m]."""
    if params["kind"] == "keys":
        return float(params["length"] + 2 * params["radius"])
    if params["kind"] == "tray":
        return 0.1
    return float(params.get("height", 2 * params.get("radius", 0.0)))


def ring_of(params: Mapping[str, Any]) -> float:
    """How high above a thing's bottom the top of the hole of its ring is [m]; 0 without a ring."""
    if params["kind"] != "keys":
        return 0.0
    # The ring has ten sides, and is 5 mm thick; one of its sides is uppermost.
    return float(params["length"] + params["radius"] * (1 + sin(0.4 * pi)) - 0.0025)


def reach_of(params: Params) -> float:
    """Radius of the circle about its origin that a thing stays within, from above [m]."""
    x, y = footprint(params)
    return hypot(x, y) if "width" in params else max(x, y)


def put_on(
    rng: np.random.Generator,
    place: Place,
    params: Params,
    taken: Iterable[tuple[float, float, float]],
    part: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0),
) -> dict[str, Any] | None:
    """The thing's params with ``pos`` and ``yaw`` on a place, clear of what is there; None if full.

    ``taken``: circles (x, y, radius) in the world [m]. ``part``: which shares of the spot's
    depth (from behind, to its front) and of its width (from its right, to its left) may be used.
    On a peg there is room for one thing, if it has a ring.
    """
    if place.spot.hangs:
        return _hung(rng, place, params) if ring_of(params) and not list(taken) else None
    radius, others, (a, b) = reach_of(params), list(taken), footprint(params)
    (hx, hy), (x0, x1, y0, y1) = place.spot.half, part
    for _ in range(_TRIES):
        x = hx * (2 * rng.uniform(x0, x1) - 1)
        y = hy * (2 * rng.uniform(y0, y1) - 1)
        yaw = float(rng.uniform(-pi, pi))
        c, s = abs(cos(yaw - place.yaw)), abs(sin(yaw - place.yaw))
        at = place.at(x, y)
        inside = abs(x) + a * c + b * s <= hx and abs(y) + a * s + b * c <= hy
        if inside and all(hypot(at[0] - u, at[1] - v) > radius + r + GAP for u, v, r in others):
            pos = [round(at[0], 5), round(at[1], 5), round(at[2] + 0.001, 5)]
            return {**params, "pos": pos, "yaw": round(yaw, 5)}
    return None


def fill(vessel: Params, grain: Params, count: int) -> list[tuple[float, float, float]] | None:
    """Places (x, y, z) in the world [m] of ``count`` grains in a vessel; None if it is too small.

    Rings upon rings, a little apart: they settle in the first moments.
    """
    radius = 1.02 * grain["radius"]
    ring = vessel["radius"] - WALLED[vessel["kind"]] - radius
    around = int(pi / asin(radius / ring)) if ring > radius else int(ring >= 0)
    middle = ring >= 2 * radius
    layers = int((vessel["height"] - FLOOR) / (2 * radius))
    found = []
    for layer, index in product(range(layers), range(around + middle)):
        a = 2 * pi * index / max(around, 1) + layer * pi / max(around, 1)
        far = ring if index < around else 0.0
        x, y, z = vessel["pos"]
        at = (x + far * cos(a), y + far * sin(a), z + FLOOR + 2 * layer * radius)
        found.append((round(at[0], 5), round(at[1], 5), round(at[2], 5)))
    return found[:count] if len(found) >= count else None


def _hung(rng: np.random.Generator, place: Place, params: Params) -> dict[str, Any]:
    """The thing's params with its ring over a peg, one of its broad sides to the left."""
    x, y, z = place.at(place.spot.half[0] * float(rng.uniform(-1, 1)), 0.0)
    turned = pi * int(rng.integers(2)) + float(rng.uniform(-0.1, 0.1))
    pos = [round(x, 5), round(y, 5), round(z + 0.0002 - ring_of(params), 5)]
    return {**params, "pos": pos, "yaw": round(place.yaw + turned, 5)}


def scene(params: Params, looks: bool) -> Stage:
    """The room of a scenario: ``fixtures``, ``things``, ``look`` of its params."""
    look = params["look"]
    bodies = _shell(look)
    bodies += "".join(fixture(name, p) for name, p in params["fixtures"].items())
    bodies += "".join(thing(name, p, looks) for name, p in params["things"].items())
    return Stage(
        assets=kitchen_materials(params, looks) + finish_materials(params["fixtures"]),
        bodies=bodies + _EYE,
        visual=visual(0.05 + look["light"]["ambient"], 0.3) if looks else "",
    )


def _shell(look: Mapping[str, Any]) -> str:
    """Floor, walls and light: a lamp's cone is too narrow for a room, so it shines from afar."""
    light = lamp(look).replace("<light ", '<light directional="true" ')
    return walls(look["wall"], 'material="floor"') + light


def walls(rgb: Sequence[float] = (0.8, 0.8, 0.8), floor: str = "") -> str:
    """Floor and three walls as planes, each a body of its own."""
    bits = 'contype="32" conaffinity="31"'
    colour = " ".join(f"{value:.3g}" for value in rgb)
    planes = {
        "floor": ("0 0 0", "1 0 0 0 1 0", floor),
        "wall_back": (f"{ROOM} 0 0", "0 -1 0 0 0 1", f'rgba="{colour} 1"'),
        "wall_left": (f"0 {ROOM} 0", "1 0 0 0 0 1", f'rgba="{colour} 1"'),
        "wall_right": (f"0 {-ROOM} 0", "-1 0 0 0 0 1", f'rgba="{colour} 1"'),
    }
    return "".join(
        f'<body name="{name}" pos="{pos}"><geom name="{name}" type="plane" size="4 4 1" '
        f'xyaxes="{axes}" {paint} {bits}/></body>'
        for name, (pos, axes, paint) in planes.items()
    )
