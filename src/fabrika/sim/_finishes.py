"""Finishes of a room's furniture, and tints of its things: what a look draws of them.

A fixture has *surfaces*: its body, and what its builder marks by a geom's ``material``: top,
front, inside, stand, trim, handle. Each has a colour and a pattern. Of wood and
of stone there is one picture for the whole room, nearly white, which every surface of it dyes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from fabrika._signals import Array
from fabrika.sim._joinery import Params

Palette = tuple[tuple[str, float, float, float], ...]
"""Pattern, and RGB."""
Finish = Mapping[str, Any]
"""Its ``pattern`` and ``rgb``: plain data."""
_SIDE = 128
"""Texels along each side of a pattern's picture."""
_MADE = {"plain": (0.1, 0), "wood": (0.1, 1), "stone": (0.3, 2), "metal": (0.6, 0)}
"""How much of a light each pattern mirrors, and its pictures in a metre; 0: it has none."""
_HIDDEN = ("inside", "handle")
"""Surfaces in many small pieces, that have a colour alone: each picture costs time to draw."""

_WOOD: Palette = (
    ("wood", 0.80, 0.64, 0.46), ("wood", 0.88, 0.74, 0.56), ("wood", 0.52, 0.37, 0.26),
    ("wood", 0.86, 0.78, 0.66), ("wood", 0.66, 0.43, 0.30),
)  # fmt: skip
_WHITE: Palette = (("plain", 0.93, 0.93, 0.92), ("plain", 0.93, 0.90, 0.82))
_PAINT: Palette = (
    *_WHITE, ("plain", 0.66, 0.73, 0.63), ("plain", 0.35, 0.45, 0.57), ("plain", 0.64, 0.66, 0.68),
    ("plain", 0.87, 0.73, 0.69), ("plain", 0.40, 0.52, 0.46), ("plain", 0.88, 0.76, 0.48),
)  # fmt: skip
_JOINERY = _WOOD + _PAINT
_STONE: Palette = (
    ("stone", 0.62, 0.62, 0.63), ("stone", 0.36, 0.36, 0.39), ("stone", 0.93, 0.92, 0.90),
    ("stone", 0.82, 0.76, 0.67), ("stone", 0.50, 0.56, 0.54),
)  # fmt: skip
_STEEL: Palette = (("metal", 0.76, 0.77, 0.79), ("metal", 0.60, 0.61, 0.63))
_BLACK: Palette = (("plain", 0.20, 0.20, 0.22), ("plain", 0.30, 0.31, 0.33))
_PASTEL: Palette = (
    ("plain", 0.74, 0.87, 0.81), ("plain", 0.73, 0.83, 0.91), ("plain", 0.94, 0.77, 0.75),
    ("plain", 0.95, 0.88, 0.68),
)  # fmt: skip
_CASING = _WHITE * 2 + _STEEL * 2 + _BLACK + _PASTEL
_HANDLE: Palette = (*_STEEL, ("metal", 0.82, 0.68, 0.42), ("metal", 0.25, 0.25, 0.26))

_FITTED: Mapping[str, Palette] = {
    "body": _JOINERY,
    "front": _JOINERY,
    "top": _STONE + _WOOD,
    "inside": _WOOD + _WHITE,
    "handle": _HANDLE,
}
_TABLE: Mapping[str, Palette] = {"body": _JOINERY + _STEEL, "top": _WOOD * 2 + _WHITE + _STONE}
_PANEL: Mapping[str, Palette] = {"body": _WOOD + _WHITE, "handle": _HANDLE}
_APPLIANCE: Mapping[str, Palette] = {
    "body": _CASING,
    "front": _CASING,
    "inside": _STEEL + _WHITE,
    "stand": _JOINERY,
    "handle": _HANDLE,
}
_GLAZED = {**_APPLIANCE, "front": _BLACK * 2 + _STEEL + _WHITE}
_KINDS: Mapping[str, Mapping[str, Palette]] = {
    "bench": _TABLE,
    "bin": {"body": _PAINT + _STEEL + _BLACK},
    "coffee": _APPLIANCE,
    "dishwasher": _APPLIANCE,
    "fridge": _APPLIANCE,
    "hook": _PANEL,
    "microwave": _GLAZED,
    "oven": _GLAZED,
    "shelf": _PANEL,
    "sink": {**_FITTED, "inside": _STEEL * 2 + _WHITE},
    "stove": _APPLIANCE,
    "table": _TABLE,
    "washer": _GLAZED,
}
"""What the surfaces of each kind are drawn from; of what is not here, those of fitted kitchens."""
_SET = 0.5
"""How likely a surface is as others of its room are, that are drawn from the same."""
_APART = 0.25
"""A top is not as its body: least distance between their colours, as RGB."""
_NAMED = re.compile(
    "(?<![a-z])(beige|black|blue|bronze|brown|gold|golden|gray|green|grey|orange|pink|purple|red"
    "|silver|turquoise|violet|white|yellow)(?![a-z])"
)
"""Words for colours."""
_TINT = 0.06
"""How far each part of a thing's colour may go."""


def furnish(rng: np.random.Generator, params: Params, instruction: str) -> dict[str, Any]:
    """``fixtures`` and ``things`` of a scenario, finished and tinted by a look.

    Things keep their colours if the instruction names one; so does a thing whose name has one.
    """
    room: dict[Palette, Finish] = {}
    fixtures = {
        name: {**fixture, "finish": _finish(rng, fixture["kind"], room)}
        for name, fixture in params["fixtures"].items()
    }
    things = {}
    for name, thing in params["things"].items():
        tint, words = rng.uniform(-_TINT, _TINT, 3), f"{name} {thing.get('instance')} {instruction}"
        if not _NAMED.search(words.lower()):
            *rgb, alpha = thing["rgba"]
            tinted = (np.array(rgb) + tint).clip(0.02, 1.0).round(3).tolist()
            thing = {**thing, "rgba": [*tinted, alpha]}
        things[name] = thing
    return {"fixtures": fixtures, "things": things}


def _finish(rng: np.random.Generator, kind: str, room: dict[Palette, Finish]) -> dict[str, Finish]:
    """The finish of each surface of a fixture. ``room``: those that fixtures share, by palette."""
    found: dict[str, Finish] = {}
    palettes = _KINDS.get(kind, _FITTED)
    for surface, palette in palettes.items():
        drawn = room.setdefault(palette, _draw(rng, palette))
        if rng.random() >= _SET:
            alike = surface == "front" and palette == palettes["body"]
            drawn = found["body"] if alike and rng.random() < _SET else _draw(rng, palette)
        while surface == "top" and not _apart(drawn, found["body"]):
            drawn = _draw(rng, palette)
        found[surface] = drawn
    return found


def _draw(rng: np.random.Generator, palette: Palette) -> Finish:
    pattern, *rgb = palette[int(rng.integers(len(palette)))]
    shade = np.array(rgb) * rng.uniform(0.92, 1.04) + rng.uniform(-0.02, 0.02, 3)
    return {"pattern": pattern, "rgb": shade.clip(0.0, 1.0).round(3).tolist()}


def _apart(one: Finish, other: Finish) -> bool:
    return float(np.linalg.norm(np.subtract(one["rgb"], other["rgb"]))) > _APART


def finish_materials(fixtures: Mapping[str, Params]) -> str:
    """Materials "fixture.surface" of fixtures that a look has finished, and their patterns."""
    text, woven = "", set()
    for name, params in fixtures.items():
        for surface, finish in params.get("finish", {}).items():
            pattern, rgb = finish["pattern"], " ".join(f"{v:.3g}" for v in finish["rgb"])
            specular, often = _MADE[pattern]
            text += f'<material name="{name}.{surface}" rgba="{rgb} 1" specular="{specular}"'
            if often and surface not in _HIDDEN:
                woven.add(pattern)
                text += f' texture="finish.{pattern}" texuniform="true" texrepeat="{often} {often}"'
            text += "/>"
    size = f'width="{_SIDE}" height="{_SIDE}"'
    return text + "".join(
        f'<texture name="finish.{pattern}" type="2d" builtin="flat" {size}/>'
        for pattern in sorted(woven)
    )


def weave(rng: np.random.Generator, model: mujoco.MjModel) -> None:
    """Draw the patterns of a model's finishes into their textures."""
    for index in range(model.ntex):
        first, pattern = int(model.tex_adr[index]), model.texture(index).name
        if pattern.startswith("finish."):
            light = _light(rng, pattern.removeprefix("finish."))
            count = 3 * _SIDE * _SIDE
            texels = (255 * light[:, :, None].repeat(3, axis=2)).round()
            model.tex_data[first : first + count] = texels.astype(np.uint8).ravel()


def _light(rng: np.random.Generator, pattern: str) -> Array:
    """(side, side) how light each texel is, 0 to 1.

    Rows go down what faces a person, and along the width of what faces up; so the grain of wood,
    which runs along columns, is upright there, and runs along the width here.
    """
    if pattern == "stone":
        grains = rng.uniform(0.0, 1.0, (_SIDE, _SIDE))
        return np.asarray(0.93 - 0.25 * (grains < 0.06) + 0.07 * (grains > 0.9))
    turn, waves = 2 * np.pi * np.arange(_SIDE) / _SIDE, rng.uniform(0.0, 2 * np.pi, 5)
    across = turn[None, :] + 0.12 * np.sin(turn[:, None] + waves[0])
    light = 0.92 + rng.uniform(-0.03, 0.03, _SIDE)[None, :]
    for count, wave in zip((3, 7, 13, 29), waves[1:], strict=True):
        light = light + 0.025 * np.sin(count * across + wave)
    return np.asarray(light.clip(0.0, 1.0))
