"""A kitchen corner: counter, wall shelf, table, two walls, a window of light.

World frame: the robot starts near the origin and faces +x. The counter's front edge is at
x = 0.30 m; under it is free, so that the base can drive up to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

COUNTER_TOP = 0.86  # [m]
COUNTER = (0.30, 0.80, -0.50, 0.78)
"""Counter's rectangle: x from, x to, y from, y to [m]."""
TABLE_SIZE = (0.50, 0.84)
"""Table's extent along x and y [m]."""
SHELF_DEPTH = 0.24  # [m]
WALL = 0.80
"""x of the wall's face [m]; the shelf hangs on it."""


def _box(name: str, low: tuple[float, ...], high: tuple[float, ...], **extra: str) -> str:
    size = " ".join(f"{(b - a) / 2:.6g}" for a, b in zip(low, high, strict=True))
    pos = " ".join(f"{(b + a) / 2:.6g}" for a, b in zip(low, high, strict=True))
    more = " ".join(f'{key}="{value}"' for key, value in extra.items())
    return f'<geom name="{name}" type="box" size="{size}" pos="{pos}" {more}/>'


def _fixture(name: str, *geoms: str) -> str:
    """Geoms as a body of their own: the engine tests the world's own against every link."""
    return f'<body name="{name}">{"".join(geoms)}</body>'


def _counter(front: str) -> str:
    """A plate of 4 cm on two side panels set back from its front."""
    x0, x1, y0, y1 = COUNTER
    under = COUNTER_TOP - 0.04
    top = _box("counter", (x0, y0, under), (x1, y1, COUNTER_TOP), material="counter")
    text = _fixture("counter", top)
    for side, y in (("a", y0 + 0.02), ("b", y1 - 0.04)):
        name = f"counter_{side}"
        text += _fixture(name, _box(name, (x0 + 0.25, y, 0.0), (x1, y + 0.02, under), rgba=front))
    return text


def _table(pos: tuple[float, ...], wood: str) -> str:
    """A plate of 4 cm on four legs; its origin is the centre of its top."""
    x, y = TABLE_SIZE[0] / 2, TABLE_SIZE[1] / 2
    text = _box("table", (-x, -y, -0.04), (x, y, 0.0), material="table")
    for i in (-1, 1):
        for j in (-1, 1):
            low = (i * (x - 0.04) - 0.02, j * (y - 0.04) - 0.02, -pos[2])
            high = (low[0] + 0.04, low[1] + 0.04, -0.04)
            text += _box(f"table_leg_{i}_{j}", low, high, rgba=wood)
    return f'<body name="table" pos="{pos[0]} {pos[1]} {pos[2]}">{text}</body>'


def kitchen(params: Mapping[str, Any], looks: bool = False) -> str:
    """Everything that does not move, as the children of ``worldbody``.

    ``params``: ``shelf`` (x, y, z of its top's centre, width [m]), ``table`` (x, y, z of its
    top's centre [m]),
    ``look`` (see `sample_look`).
    """
    sx, sy, sz = params["shelf"]["pos"]
    width = params["shelf"]["width"]
    look = params["look"]
    wood = _rgba(look["wood"])
    # Planes, whose distance to anything is one product: as boxes they passed every coarse test.
    text = _fixture("floor", '<geom name="floor" type="plane" size="4 4 1" material="floor"/>')
    text += _counter(_rgba(look["front"]))
    text += _table(params["table"]["pos"], wood)
    paint = f'rgba="{_rgba(look["wall"])}"'
    for name, pos, size, axes in (
        ("wall_x", f"{WALL} -0.5 1.2", "1.2 1.5 1", "0 0 1 0 1 0"),
        ("wall_y", f"{(WALL - 1.5) / 2} 0.8 1.2", f"{(WALL + 1.5) / 2} 1.2 1", "1 0 0 0 0 1"),
    ):
        place = f'pos="{pos}" size="{size}" xyaxes="{axes}"'
        text += _fixture(name, f'<geom name="{name}" type="plane" {place} {paint}/>')
    text += (
        f'<body name="shelf" pos="{sx} {sy} {sz}">'
        f'<geom name="shelf" type="box" size="{SHELF_DEPTH / 2} {width / 2} 0.01" '
        f'pos="0 0 -0.01" rgba="{wood}"/></body>'
    )
    return text + lamp(look)


def lamp(look: Mapping[str, Any]) -> str:
    """One light beside the camera's own: each costs every vertex once more."""
    light, (x, y, z) = look["light"], look["light"]["pos"]
    level = light["level"]
    return (
        f'<light pos="{x} {y} {z}" dir="{0.5 - x} {-0.3 - y} {0.9 - z}" castshadow="false" '
        f'diffuse="{level} {level} {level * light["warmth"]}" specular="0.1 0.1 0.1"/>'
    )


def kitchen_materials(params: Mapping[str, Any], looks: bool) -> str:
    """Materials of the floor, counter and table; textures only where cameras look."""
    look, text = params["look"], ""
    for name in ("floor", "counter", "table"):
        surface = look[name]
        if looks:
            one, two = (_rgb(surface["rgb"]), _rgb(surface["rgb2"]))
            text += (
                f'<texture name="{name}" type="2d" builtin="{surface["pattern"]}" width="64" '
                f'height="64" rgb1="{one}" rgb2="{two}"/>'
                f'<material name="{name}" texture="{name}" texrepeat="{surface["repeat"]} '
                f'{surface["repeat"]}" texuniform="true" reflectance="0"/>'
            )
        else:
            text += f'<material name="{name}" rgba="{_rgb(surface["rgb"])} 1"/>'
    return text


def sample_look(rng: np.random.Generator) -> dict[str, Any]:
    """Colours, textures and lights: what cannot touch physics."""

    def rgb(low: float, high: float, tint: float = 0.12) -> list[float]:
        mixed = rng.uniform(low, high) + rng.uniform(-tint, tint, 3)
        return [round(float(c), 3) for c in mixed.clip(0, 1)]

    def surface() -> dict[str, Any]:
        base = rgb(0.35, 0.85)
        other = (np.array(base) + rng.uniform(-0.15, 0.15)).clip(0, 1).round(3).tolist()
        pattern = ("flat", "checker", "gradient")[int(rng.integers(3))]
        return {
            "rgb": base,
            "rgb2": other,
            "pattern": pattern,
            "repeat": int(rng.integers(1, 8)),
        }

    return {
        "floor": surface(),
        "counter": surface(),
        "table": surface(),
        "wood": rgb(0.3, 0.8),
        "front": rgb(0.3, 0.9),
        "wall": rgb(0.6, 0.95),
        "light": {
            "pos": [round(float(v), 3) for v in rng.uniform((-1.0, -1.2, 1.9), (0.2, 0.6, 2.5))],
            "level": round(float(rng.uniform(0.4, 0.9)), 3),
            "warmth": round(float(rng.uniform(0.8, 1.0)), 3),
            "ambient": round(float(rng.uniform(0.2, 0.4)), 3),
        },
    }


def _rgb(values: list[float]) -> str:
    return " ".join(f"{v:.3g}" for v in values)


def _rgba(values: list[float]) -> str:
    return f"{_rgb(values)} 1"
