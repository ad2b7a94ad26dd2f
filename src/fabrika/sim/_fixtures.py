"""Furniture and appliances by kind: drawn, built, and put into a world as MJCF."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fabrika._errors import UnknownNameError
from fabrika.sim import _appliances as appliances
from fabrika.sim import _furniture as furniture
from fabrika.sim._joinery import Fixture, Params, mark

_BITS = 'contype="32" conaffinity="31" '
"""Collision bits: with things and robots, never with another fixture or a part of one."""
_METAL = [0.35, 0.36, 0.38, 1.0]
"""Colour of handles that no look has finished."""
_SURFACE = re.compile(r' material="(\w+)"')

FIXTURES: Mapping[str, Callable[[str, Params], Fixture]] = {
    "bench": furniture.bench,
    "bin": furniture.bin_,
    "cabinet": furniture.cabinet,
    "coffee": appliances.coffee,
    "counter": furniture.counter,
    "dishwasher": appliances.dishwasher,
    "drawers": furniture.drawers,
    "fridge": appliances.fridge,
    "hook": furniture.hook,
    "microwave": appliances.microwave,
    "oven": appliances.oven,
    "shelf": furniture.shelf,
    "sink": furniture.sink,
    "stove": appliances.stove,
    "table": furniture.table,
    "washer": appliances.washer,
}
"""Every kind of fixture, by name."""

RANGES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "bench": {"width": (0.60, 0.66), "depth": (0.44, 0.52), "height": (0.72, 0.75)},
    "bin": {"width": (0.28, 0.36), "depth": (0.26, 0.34), "height": (0.45, 0.60)},
    "cabinet": {
        "width": (0.40, 0.50), "depth": (0.30, 0.34), "height": (0.55, 0.65),
        "base": (1.10, 1.20), "mass": (4.0, 6.0),
    },
    "coffee": {
        "width": (0.22, 0.26), "depth": (0.36, 0.40), "height": (0.28, 0.31), "base": (0.62, 0.68),
    },
    "counter": {"width": (1.0, 1.6), "depth": (0.50, 0.60), "height": (0.84, 0.90)},
    "dishwasher": {
        "width": (0.56, 0.60), "depth": (0.55, 0.58), "height": (0.84, 0.88), "mass": (5.0, 7.0),
    },
    "drawers": {
        "width": (0.45, 0.60), "depth": (0.40, 0.46), "height": (0.80, 0.90), "mass": (2.5, 3.5),
    },
    "fridge": {
        "width": (0.55, 0.62), "depth": (0.55, 0.62), "height": (1.40, 1.55), "mass": (7.0, 9.0),
    },
    "hook": {"height": (1.20, 1.40)},
    "microwave": {
        "width": (0.48, 0.54), "depth": (0.36, 0.40), "height": (0.28, 0.31),
        "base": (0.86, 0.94), "mass": (1.5, 2.2),
    },
    "oven": {
        "width": (0.56, 0.60), "depth": (0.50, 0.55), "height": (0.42, 0.48),
        "base": (0.72, 0.80), "mass": (4.5, 5.5),
    },
    "shelf": {"width": (0.5, 0.9), "depth": (0.22, 0.28), "height": (1.05, 1.20)},
    "sink": {
        "width": (0.9, 1.2), "depth": (0.55, 0.60), "height": (0.86, 0.90), "basin": (0.40, 0.48),
    },
    "stove": {"width": (0.50, 0.60), "depth": (0.50, 0.58), "height": (0.84, 0.90)},
    "table": {"width": (0.8, 1.2), "depth": (0.50, 0.70), "height": (0.68, 0.76)},
    "washer": {
        "width": (0.58, 0.60), "depth": (0.52, 0.58), "height": (0.82, 0.85),
        "base": (0.25, 0.35), "drum": (0.16, 0.18), "mass": (3.0, 4.0),
    },
}  # fmt: skip
"""Sizes [m] and masses of doors [kg] that each kind is drawn from."""


def draw_fixture(rng: np.random.Generator, kind: str) -> dict[str, Any]:
    """Params of one fixture, without a place. Raises `UnknownNameError`."""
    if kind not in FIXTURES:
        raise UnknownNameError("kind of fixture", kind, FIXTURES)
    sizes = {name: round(float(rng.uniform(*span)), 4) for name, span in RANGES[kind].items()}
    hinge = ("left", "right")[int(rng.integers(2))]
    return {"kind": kind, "hinge": hinge, **sizes}


def build_fixture(name: str, params: Params) -> Fixture:
    """What a fixture is made of. Raises `UnknownNameError` for a kind that does not exist."""
    if params["kind"] not in FIXTURES:
        raise UnknownNameError("kind of fixture", params["kind"], FIXTURES)
    return FIXTURES[params["kind"]](name, params)


def fixture(name: str, params: Params) -> str:
    """The MJCF body of a fixture at ``pos`` (x, y) [m], ``yaw`` [rad], in one colour, ``rgba``.

    Its ``finish``, if a look has drawn one, says how each surface is made instead.

    Bodies without shape mark, for trackers, the spots that do not move, as "fixture.spot", and the
    handles of parts, as "joint.handle".
    """
    x, y = params["pos"]
    finish = params.get("finish", {})

    def skin(surface: str) -> str:
        if finish:
            known = {"trim": "handle"}.get(surface, surface)
            return f'material="{name}.{known}" '
        colour = _METAL if surface == "handle" else params["rgba"]
        return f'rgba="{" ".join(f"{value:.3g}" for value in colour)}" '

    def paint(match: re.Match[str]) -> str:
        found = _SURFACE.search(match.group())
        text = _SURFACE.sub("", match.group())
        bits = "" if "contype=" in text else _BITS
        return text.replace("<geom ", f"<geom {skin(found[1] if found else 'body')}{bits}")

    made = build_fixture(name, params)
    inner = re.sub("<geom [^>]*>", paint, made.geoms)
    inner += "".join(mark(f"{name}.{s.name}", s.middle) for s in made.spots if s.body == name)
    return f'<body name="{name}" pos="{x} {y} 0" euler="0 0 {params["yaw"]}">{inner}</body>'
