"""Draw the pictures of the documentation: the robot, its reach, the two tasks.

.venv/bin/python scripts/make_pictures.py  # writes docs/pictures/*.png
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from fabrika import rollout
from fabrika._registry import task as find_task
from fabrika.sim import CLOID_CLASS, Kinematics

OUT = Path(__file__).parent.parent / "docs" / "pictures"
SIDE = np.stack([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]], axis=1)
"""Right palm upright, fingers forward: the pose of a side grasp."""


def strip(name: str, index: int, moments: tuple[float, ...], file: str) -> None:
    """One episode of the expert as a strip of pictures, seen by a person and by the head."""
    task = find_task(name)
    world, scenario = task.build(), task.scenario("train", index)
    episode = rollout(task.expert(), world, scenario, task.horizon)
    world.dress(scenario)  # type: ignore[attr-defined]
    states = [episode.states[round(share * episode.length)] for share in moments]
    rows = [
        np.concatenate([world.picture(s, camera, 240, 320) for s in states], axis=1)  # type: ignore[attr-defined]
        for camera in ("scene", "head")
    ]
    plt.imsave(OUT / file, np.concatenate(rows, axis=0))


def robot() -> None:
    """The robot at home, as a person sees it."""
    task = find_task("home/carry-tray-v1")
    world, scenario = task.build(), task.scenario("train", 3)
    world.reset(scenario)
    world.dress(scenario)  # type: ignore[attr-defined]
    plt.imsave(OUT / "robot.png", world.picture(world.state(), "scene", 600, 800))  # type: ignore[attr-defined]


def reach() -> None:
    """Where the right palm can be, upright and fingers forward, at four heights."""
    kinematics, home = Kinematics(CLOID_CLASS), CLOID_CLASS.home
    xs, ys = np.arange(0.10, 0.86, 0.05), np.arange(-0.85, 0.46, 0.05)
    heights = (0.5, 0.9, 1.2, 1.5)
    figure, axes = plt.subplots(1, len(heights), figsize=(13, 4.6), sharey=True)
    for axis, z in zip(axes, heights, strict=True):
        error = np.empty((len(xs), len(ys)))
        for i, x in enumerate(xs):
            for j, y in enumerate(ys):
                goal = (np.array([x, y, z]), SIDE)
                joints, _ = kinematics.solve({"right": goal}, home, home, iterations=60, pull=0.01)
                place, _ = kinematics.palm(joints, "right")
                error[i, j] = 1000 * np.linalg.norm(place - goal[0])
        shown = axis.pcolormesh(ys, xs, np.minimum(error, 30), cmap="viridis_r", vmin=0, vmax=30)
        axis.plot(0, 0, "k^", markersize=8)
        axis.set(title=f"palm at {z:.1f} m", xlabel="y, left [m]", aspect="equal")
        axis.invert_xaxis()
    axes[0].set_ylabel("x, ahead [m]")
    figure.colorbar(shown, ax=axes, label="error of the palm [mm]", shrink=0.8)
    figure.savefig(OUT / "reach.png", dpi=90, bbox_inches="tight")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    robot()
    reach()
    strip("home/mug-to-shelf-v1", 0, (0.0, 0.22, 0.42, 0.62, 0.98), "mug-to-shelf.png")
    strip("home/carry-tray-v1", 0, (0.0, 0.22, 0.5, 0.75, 0.98), "carry-tray.png")
