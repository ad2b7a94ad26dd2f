"""A video and plots of one stored episode."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabrika._errors import UsageError

if TYPE_CHECKING:
    from fabrika._result import Result


def show_episode(
    store: Path, row: Result, folder: Path, *, pixels: int, plots: bool
) -> dict[str, Any]:
    """Make the files; plain data that says what was made. ``pixels``: 0 makes no video."""
    from fabrika._registry import task as find_task
    from fabrika._store import Store
    from fabrika.cli._console import Meter
    from fabrika.release import encode_h264, film, plot_episode

    if not row.digest:
        why = f"its rollout is void: {row.void}" if row.void else "it was not kept"
        raise UsageError(f"scenario {row.index} of {store} has no episode to show: {why}.")
    with Store.open(store) as opened:
        episode = opened.episode(row)
    folder.mkdir(parents=True, exist_ok=True)
    # Names of tasks and actors hold slashes and colons.
    stem = re.sub(r"[^\w.-]+", "-", f"{row.task}-{row.split}-{row.index}-{row.actor}")
    made: dict[str, Any] = {
        "digest": row.digest,
        "task": row.task,
        "split": row.split,
        "index": row.index,
        "actor": row.actor,
        "reason": row.reason,
        "video": "",
        "plots": "",
    }
    if plots:
        made["plots"] = str(plot_episode(episode, folder / f"{stem}.png"))
    if pixels:
        target = folder / f"{stem}.mp4"
        with (
            closing(find_task(row.task).build()) as world,
            Meter("film", len(episode.states)) as meter,
        ):
            frames = _counted(film(world, episode, height=pixels // 2 * 2), meter)
            encode_h264(frames, 1 / episode.dt, target)
        made["video"] = str(target)
    return made


def _counted(frames: Any, meter: Any) -> Any:
    for number, frame in enumerate(frames, 1):
        yield frame
        meter.update(number)
