"""Decoration: what a look adds to pictures, where neither the robot nor any thing can be.

It is in no model, only in the scene that is drawn: nothing can touch it. Pictures hang flat on
the walls, rugs lie flat on the floor, and some shapes stand behind the robot, where no room is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import mujoco
import numpy as np

from fabrika._signals import Array

FLAT = 0.002
"""How far a picture stands out from its wall [m]: less than the gap behind any furniture."""
RUG = 0.0003
"""Thickness of a rug [m]: less than that of anything on the floor."""
BEHIND = (2.6, 3.4)
"""How far behind the world's origin shapes stand, from and to [m]: past the end of any room."""
_MOST = 4
"""Pictures, and shapes, at most of each."""


@dataclass(frozen=True, slots=True)
class Ornament:
    """One geom of the drawn scene."""

    shape: mujoco.mjtGeom
    size: Array
    """(3,) half sides; radius and half height [m]."""
    place: Array
    """(3,) its centre in the world [m]."""
    turn: Array
    """(3, 3) its axes in the world."""
    rgba: Array


def draw_decor(
    rng: np.random.Generator, model: mujoco.MjModel, data: mujoco.MjData
) -> list[Ornament]:
    """Decoration for a model's walls and floor: its planes. ``data``: with its kinematics done."""
    found: list[Ornament] = []
    for geom in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE):
        point, axes = data.geom_xpos[geom], data.geom_xmat[geom].reshape(3, 3)
        normal = axes[:, 2]
        if abs(normal[2]) < 0.1:
            for _ in range(int(rng.integers(_MOST + 1))):
                found += _picture(rng, point, normal)
        elif rng.random() < 0.5:
            found.append(_rug(rng, float(point[2])))
    return found + [_shape(rng) for _ in range(int(rng.integers(_MOST + 1)))]


def add_decor(scene: mujoco.MjvScene, decor: list[Ornament]) -> None:
    """Put decoration into a scene that was just updated, as far as there is room."""
    for ornament in decor[: scene.maxgeom - scene.ngeom]:
        mujoco.mjv_initGeom(
            scene.geoms[scene.ngeom],
            ornament.shape,
            ornament.size,
            ornament.place,
            ornament.turn.ravel(),
            ornament.rgba,
        )
        scene.ngeom += 1


def _colour(rng: np.random.Generator) -> Array:
    return np.append(rng.uniform(0.05, 0.95, 3), 1.0).astype(np.float32)


def _picture(rng: np.random.Generator, point: Array, normal: Array) -> list[Ornament]:
    """A frame and what is in it, on the wall through a point [m], near the origin."""
    aside = np.cross((0.0, 0.0, 1.0), normal)
    width, height = rng.uniform(0.08, 0.3, 2)
    middle = (point @ normal) * normal + rng.uniform(-1.6, 1.6) * aside
    middle[2] = rng.uniform(1.25, 1.9)
    turn = np.stack([aside, (0.0, 0.0, 1.0), normal], axis=1)
    box, edge = mujoco.mjtGeom.mjGEOM_BOX, rng.uniform(0.75, 0.95)
    outer, inner = (np.array([width, height, FLAT / 2 * share]) for share in (0.5, 1.0))
    inner[:2] *= edge
    return [
        Ornament(box, half, middle + half[2] * normal, turn, _colour(rng))
        for half in (outer, inner)
    ]


def _rug(rng: np.random.Generator, floor: float) -> Ornament:
    width, length = rng.uniform(0.3, 0.8, 2)
    angle = rng.uniform(-pi, pi)
    turn = np.array([[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0], [0, 0, 1.0]])
    place = np.array([*rng.uniform(-1.2, 1.2, 2), floor + RUG / 2])
    size = np.array([width, length, RUG / 2])
    return Ornament(mujoco.mjtGeom.mjGEOM_BOX, size, place, turn, _colour(rng))


def _shape(rng: np.random.Generator) -> Ornament:
    kinds = (mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER)
    kind, size = kinds[int(rng.integers(len(kinds)))], rng.uniform(0.1, 0.5, 3)
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        size = np.array([size[0] / 2, size[0] / 2, size[2]])
    place = np.array([-rng.uniform(*BEHIND), rng.uniform(-1.5, 1.5), size[2]])
    return Ornament(kind, size, place, np.eye(3), _colour(rng))
