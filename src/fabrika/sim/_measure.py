"""Measurements of episodes and of the engine, for benchmarks: slip in the hand, bare physics."""

from __future__ import annotations

import time
from collections.abc import Sequence

import mujoco
import numpy as np

from fabrika._episode import Episode
from fabrika._signals import Array

_SETTLED = 5
"""Control periods left out after lift-off, while the grasp settles, and before the landing."""


def slip(episode: Episode, free: Sequence[str], hands: Sequence[str]) -> dict[str, float]:
    """How far each held thing moved in the palm's frame while it was held [m], by its name.

    Held: for at least a second on end a robot's hand presses on it most, and it is up. The palm is
    the nearest one; its frame is x distal, z along the normal.
    """
    seen = episode.observations
    moved: dict[str, float] = {}
    for index, name in enumerate(free):
        things, robot = seen["truth/support"][:, index].T
        body = seen[f"truth/{name}"]
        up = body[:, 2] > body[0, 2] + 0.01
        held = _longest((robot > 0.5) & (things < 0.5 * robot) & up)[_SETTLED:-_SETTLED]
        if len(held) * episode.dt < 1.0:
            continue
        offsets = [_in_palm(episode, body[:, :3], hand)[held] for hand in hands]
        nearest = min(offsets, key=lambda path: float(np.linalg.norm(path, axis=1).mean()))
        moved[name] = float(np.linalg.norm(nearest - nearest[0], axis=1).max())
    return moved


def _longest(holds: Array) -> Array:
    """Indices of the longest unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]])))
    if not len(edges):
        return np.arange(0)
    runs = edges.reshape(-1, 2)
    first, end = runs[int(np.argmax(runs[:, 1] - runs[:, 0]))]
    return np.arange(first, end)


def _in_palm(episode: Episode, place: Array, hand: str) -> Array:
    """(T + 1, 3) position of a body's origin in the frame of a palm [m]."""
    base, palm = episode.observations["truth/base"], episode.observations[f"truth/palm_{hand}"]
    in_base = np.einsum("tji,tj->ti", base[:, :3, :3], place - base[:, :3, 3])
    x, y = palm[:, 3:6], palm[:, 6:9]
    turn = np.stack([x, y, np.cross(x, y)], axis=2)
    return np.asarray(np.einsum("tji,tj->ti", turn, in_base - palm[:, :3]))


def bare_seconds(
    model: mujoco.MjModel, data: mujoco.MjData, controls: Sequence[Array], steps: int
) -> float:
    """Wall seconds of nothing but ``mj_step``: each control in turn, ``steps`` steps each."""
    start = time.perf_counter()
    for control in controls:
        data.ctrl[:] = control
        mujoco.mj_step(model, data, nstep=steps)
    return time.perf_counter() - start
