"""Measurements of episodes and of the engine, for benchmarks: slip in the hand, bare physics."""

from __future__ import annotations

import time
from collections.abc import Sequence

import mujoco
import numpy as np

from fabrika._episode import Episode
from fabrika._signals import Array
from fabrika.sim._pose import quaternion_rotation

_SETTLED = 5
"""Control periods left out after lift-off, while the grasp settles, and before the landing."""


def slip(episode: Episode, free: Sequence[str], hands: Sequence[str]) -> dict[str, float]:
    """How far the palm moved on each thing while it held it [m], by the thing's name.

    Held: for at least a second on end a robot's hand presses on it most, and it is up. What
    moves is the palm's centre in the thing's frame: at the grip, not at the far end of a tray,
    where a degree of turning is centimetres. Of two hands, the nearer one.
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
        offsets = [_grip(episode, body, hand)[held] for hand in hands]
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


def _grip(episode: Episode, body: Array, hand: str) -> Array:
    """(T + 1, 3) position of a palm in the frame of a body [m]."""
    base, palm = episode.observations["truth/base"], episode.observations[f"truth/palm_{hand}"]
    place = np.einsum("tij,tj->ti", base[:, :3, :3], palm[:, :3]) + base[:, :3, 3]
    turn = quaternion_rotation(body[:, 3:7])
    return np.asarray(np.einsum("tji,tj->ti", turn, place - body[:, :3]))


def bare_seconds(
    model: mujoco.MjModel, data: mujoco.MjData, controls: Sequence[Array], steps: int
) -> Array:
    """Wall seconds of nothing but ``mj_step``: for each control in turn, ``steps`` steps."""
    seconds = np.empty(len(controls))
    for index, control in enumerate(controls):
        data.ctrl[:] = control
        start = time.perf_counter()
        mujoco.mj_step(model, data, nstep=steps)
        seconds[index] = time.perf_counter() - start
    return seconds
