"""Plots of one episode: what was seen and commanded, over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fabrika._episode import Episode
from fabrika._signals import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_episode(episode: Episode, target: Path) -> Path:
    """Draw every recorded signal and command of an episode into one PNG.

    Commands are drawn as lines, what the robot carried out after its limits as dots beside them.
    Written whole or not at all.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    panels = [("seen", name) for name in sorted(episode.observations)]
    panels += [("command", name) for name in sorted(episode.actions)]
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(14, 2.2 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False, sharex=True)
    for axis, (kind, name) in zip(axes.flat, panels, strict=False):
        if kind == "seen":
            _draw(axis, episode.times, episode.observations[name])
        else:
            _draw(axis, episode.times[:-1], episode.actions[name])
            flat = episode.executed[name].reshape(episode.length, -1)
            axis.plot(episode.times[:-1], flat, ".", markersize=1.5, color="0.4")
        axis.set_title(f"{kind}: {name}", fontsize=9, loc="left")
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("time [s]")
    verdict = episode.verdict.reason if episode.verdict else "not judged"
    figure.suptitle(
        f"{episode.scenario.task}, {episode.scenario.split} {episode.scenario.index}, "
        f"{episode.actor}: {verdict}"
    )
    partial = target.with_name(f".{target.name}.part")
    try:
        figure.savefig(partial, format="png", dpi=90)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _draw(axis: Axes, times: Array, values: Array) -> None:
    """(T,) times [s] and (T, *shape) values, one line an entry."""
    axis.plot(times, values.reshape(len(times), -1), linewidth=1)
