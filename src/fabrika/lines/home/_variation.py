"""What every household scenario varies: noise, servos, light, clutter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fabrika.sim import (
    CLOID_CLASS,
    Robot,
    Stage,
    kitchen,
    kitchen_materials,
    sample_look,
    thing,
    visual,
)
from fabrika.sim._kitchen import COUNTER_TOP

Rng = np.random.Generator
RUBS = 0.8
"""Friction of furniture; of two that touch the higher one counts."""

_CLUTTER: Mapping[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    # kind: radius [m], height [m], mass [kg], each from and to
    "bottle": ((0.030, 0.038), (0.19, 0.24), (0.3, 0.8)),
    "bowl": ((0.055, 0.075), (0.050, 0.065), (0.2, 0.4)),
    "can": ((0.030, 0.035), (0.10, 0.13), (0.2, 0.4)),
    "carton": ((0.030, 0.036), (0.16, 0.22), (0.3, 0.9)),
    "fruit": ((0.032, 0.042), (0.07, 0.08), (0.10, 0.22)),
    "glass": ((0.030, 0.036), (0.09, 0.13), (0.15, 0.3)),
}


def between(rng: Rng, low: float, high: float) -> float:
    """Uniform, rounded to a micron or so, so that scenarios print short."""
    return round(float(rng.uniform(low, high)), 6)


def colour(rng: Rng) -> list[float]:
    """A saturated colour, opaque."""
    return [*(round(float(c), 3) for c in rng.uniform(0.1, 0.95, 3)), 1.0]


def clutter(rng: Rng, slots: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """One thing of a random kind near each slot (x, y) [m] of the counter."""
    things: dict[str, Any] = {}
    for index, (x, y) in enumerate(slots):
        kind = sorted(_CLUTTER)[int(rng.integers(len(_CLUTTER)))]
        radius, height, mass = (between(rng, *span) for span in _CLUTTER[kind])
        things[f"clutter_{index}"] = {
            "kind": kind,
            "radius": radius,
            "height": height,
            "mass": mass,
            "friction": between(rng, 0.4, 0.9),
            "rgba": colour(rng),
            "pos": [
                x + between(rng, -0.04, 0.04),
                y + between(rng, -0.04, 0.04),
                COUNTER_TOP + 0.001,
            ],
            "yaw": between(rng, -3.14, 3.14),
        }
    return things


def table(rng: Rng) -> dict[str, Any]:
    """Where the table stands, and how high."""
    return {"pos": [between(rng, 0.54, 0.58), between(rng, -1.18, -1.10), between(rng, 0.68, 0.76)]}


def robot_variation(rng: Rng, robot: Robot = CLOID_CLASS) -> dict[str, Any]:
    """Start pose, servos, sensors, cameras and light of one scenario."""
    count = sum(len(group.actuators) for group in robot.groups.values())
    return {
        "start": [between(rng, -0.03, 0.03), between(rng, -0.04, 0.04), between(rng, -0.05, 0.05)],
        "grip": between(rng, 0.6, 1.2),
        "gain": [round(float(g), 4) for g in rng.uniform(0.92, 1.08, count)],
        "delay": int(rng.integers(0, 2)),
        "sway": between(rng, 0.001, 0.006),
        "noise": {
            "joint": between(rng, 0.0002, 0.001),
            "touch": between(rng, 0.02, 0.1),
            "position": between(rng, 0.0005, 0.002),
            "bias": between(rng, 0.0005, 0.003),
            "rotation": between(rng, 0.002, 0.01),
            "latency": int(rng.integers(1, 4)),
            "dropout": between(rng, 0.0, 0.1),
        },
        "view": {name: [between(rng, -0.006, 0.006) for _ in range(3)] for name in robot.cameras},
        "look": sample_look(rng),
    }


def push(
    rng: Rng,
    name: str,
    params: Mapping[str, Any],
    window: tuple[float, float],
    *,
    most: float = 0.05,
) -> dict[str, Any]:
    """A short sideways push at a thing's foot, after which it stands 1 cm to ``most`` [m] away.

    ``window``: when it may begin [s]. With friction mu, an acceleration a for t seconds and what
    it slides on after it are d = t^2/2 (a + a^2 / (mu g)); solved for a. It is a guess, as the
    thing may turn, or meet another one.
    """
    angle, seconds = rng.uniform(-np.pi, np.pi), between(rng, 0.08, 0.2)
    slows = 9.81 * max(params["friction"], RUBS)
    far = rng.uniform(0.01, most)
    gains = slows / 2 * (np.sqrt(1 + 8 * far / (seconds**2 * slows)) - 1)
    size = params["mass"] * (slows + gains)
    return {
        "thing": name,
        "time": between(rng, *window),
        "seconds": seconds,
        "height": 0.01,
        "force": [
            round(float(size * np.cos(angle)), 4),
            round(float(size * np.sin(angle)), 4),
            0.0,
        ],
    }


def stage(params: Mapping[str, Any], looks: bool) -> Stage:
    """The kitchen corner and the scenario's things."""
    things = "".join(thing(name, p, looks) for name, p in params["things"].items())
    eye = (
        '<camera name="scene" pos="-0.9 -1.5 1.9" xyaxes="0.76 -0.65 0 0.33 0.39 0.86" fovy="50"/>'
    )
    return Stage(
        assets=kitchen_materials(params, looks),
        bodies=kitchen(params, looks) + things + eye,
        visual=visual(params["look"]["light"]["ambient"]) if looks else "",
    )
