"""Accepted episodes as a LeRobot v3.0 dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fabrika._episode import Episode
from fabrika._errors import UsageError
from fabrika._store import Store
from fabrika._whole import whole_folder
from fabrika.data._checksums import write_checksums
from fabrika.data._film import Reel
from fabrika.data._layout import DATA, EPISODES, PICTURES, Feature, Place
from fabrika.data._meta import (
    describe,
    episode_schema,
    locate,
    measure,
    write_info,
    write_provenance,
    write_stats,
)
from fabrika.data._plan import Plan, make_plan
from fabrika.data._render import Job, Shot, shoot_all
from fabrika.data._shards import Shards, data_schema, write_tasks
from fabrika.data._stats import Counts, global_stats, picture_stats

_BATCH = 64
"""Episodes in one row group of the episode table."""

Progress = Callable[[int, int], None]
"""Called with the number of episodes written so far, and of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote."""

    path: Path
    episodes: int
    frames: int
    tasks: int
    """Different instructions."""
    fps: int
    cameras: tuple[str, ...]
    left_out: dict[str, int]
    """Results of the store that were not exported, counted by reason."""


def export_lerobot(
    store_path: Path,
    out: Path,
    *,
    cameras: Sequence[str] = (),
    size: tuple[int, int] = (128, 128),
    looks: int = 1,
    codec: str = "h264",
    workers: int = 1,
    on_progress: Progress | None = None,
    include_failed: bool = False,
) -> Exported:
    """Write the accepted episodes of a store as a LeRobot v3.0 dataset; say what was written.

    Row t holds observation t and the action that was commanded then; the last observation has
    no row. Truth is never exported. ``cameras`` are rendered from the stored states at ``size``
    (height, width) by ``workers`` processes; ``looks`` renders every episode that many times,
    look 0 in the scenario's own colours and lights. ``codec``: "h264" or "av1".
    ``include_failed`` also exports episodes that did not pass. Equal stores give equal bytes,
    whatever the number of workers.

    Raises `UsageError` if ``out`` exists, or if ``store_path`` is not a store or has no accepted
    episode; `ResourceError` if there is no space; `InterruptedRunError` on Ctrl-C. In each case
    nothing is left at ``out``.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers: at least one has to do the work.")
    with Store.open(Path(store_path)) as store:
        plan = make_plan(
            store,
            cameras=cameras,
            size=size,
            looks=looks,
            codec=codec,
            include_failed=include_failed,
        )
        frames = write_dataset(plan, Path(out), workers, on_progress)
        return Exported(
            path=Path(out),
            episodes=plan.total,
            frames=frames,
            tasks=len(plan.tasks),
            fps=plan.columns.fps,
            cameras=plan.cameras,
            left_out=plan.left_out,
        )


def write_dataset(
    plan: Plan, out: Path, workers: int = 1, on_progress: Progress | None = None
) -> int:
    """Write what is planned; the number of rows. Nothing is left at ``out`` if it fails."""
    with whole_folder(out) as root:
        return _Writer(plan, root).write(workers, on_progress)


class _Writer:
    """One export: episodes in, files out, one episode in memory at a time."""

    def __init__(self, plan: Plan, root: Path) -> None:
        self._plan, self._root = plan, root
        self._features = plan.features
        self._films = root / "films"
        self._frames = 0
        self._pictures: dict[str, Counts] = {}
        self._described: list[dict[str, Any]] = []

    def write(self, workers: int, on_progress: Progress | None) -> int:
        """All of it; the number of rows."""
        plan, root = self._plan, self._root
        with ExitStack() as stack:
            data = stack.enter_context(Shards(root, DATA, data_schema(self._features)))
            table = stack.enter_context(Shards(root, EPISODES, episode_schema(plan)))
            reels = {
                camera: stack.enter_context(Reel(root, PICTURES + camera, plan.columns.fps))
                for camera in plan.cameras
            }
            takes = stack.enter_context(closing(self._shots(workers)))
            for number, (job, shot) in enumerate(takes):
                self._add(number, job, shot, data, reels)
                if len(self._described) == _BATCH:
                    self._flush(table)
                if on_progress:
                    on_progress(number + 1, plan.total)
            self._flush(table)
        self._finish(data.files)
        return self._frames

    def _shots(self, workers: int) -> Generator[tuple[Job, Shot], None, None]:
        """Every take of the plan and its films; without cameras there are none."""
        if not self._plan.cameras:
            yield from ((job, Shot(0, {})) for job in self._jobs())
            return
        with closing(shoot_all(self._plan.store.path, self._jobs(), workers)) as shots:
            yield from zip(self._jobs(), shots, strict=True)

    def _jobs(self) -> Iterator[Job]:
        plan = self._plan
        for number, (row, look) in enumerate(plan.takes):
            yield Job(
                digest=row.digest,
                look=look,
                cameras=plan.cameras,
                size=plan.size,
                fps=plan.columns.fps,
                codec=plan.codec,
                folder=str(self._films / str(number)),
            )

    def _add(
        self, number: int, job: Job, shot: Shot, data: Shards, reels: Mapping[str, Reel]
    ) -> None:
        """One episode: its rows, its pictures, and its row in the episode table."""
        plan = self._plan
        row = plan.rows[number // plan.looks]
        episode = plan.store.episode(row)
        spans = {
            PICTURES + camera: reel.append(Path(job.folder, f"{camera}.mp4"), shot.frames)
            for camera, reel in reels.items()
        }
        shutil.rmtree(job.folder, ignore_errors=True)
        for camera, counts in shot.counts.items():
            key = PICTURES + camera
            self._pictures[key] = self._pictures.get(key, np.zeros_like(counts)) + counts
        rows = self._rows(number, episode)
        place = data.append(_table(rows, self._features))
        self._described.append(
            describe(episode, row, job.look)
            | {"episode_index": number}
            | _within("data", place)
            | {"dataset_from_index": self._frames}
            | {"dataset_to_index": self._frames + episode.length}
            | locate(spans)
            | measure(rows, shot, PICTURES)
        )
        self._frames += episode.length

    def _rows(self, number: int, episode: Episode) -> dict[str, NDArray[Any]]:
        """All columns of an episode's rows."""
        plan = self._plan
        count = np.arange(episode.length, dtype=np.int64)
        return {
            **plan.columns.rows(episode),
            "timestamp": (count / plan.columns.fps).astype(np.float32),
            "frame_index": count,
            "episode_index": np.full_like(count, number),
            "index": count + self._frames,
            "task_index": np.full_like(count, plan.tasks.index(episode.scenario.instruction)),
        }

    def _flush(self, table: Shards) -> None:
        if self._described:
            where = _within("meta/episodes", table.place)
            described = [entry | where for entry in self._described]
            table.append(pa.Table.from_pylist(described, schema=table.schema))
            self._described = []

    def _finish(self, files: Sequence[Path]) -> None:
        """The meta folder."""
        plan, features = self._plan, self._features
        shutil.rmtree(self._films, ignore_errors=True)
        stats = {
            key: picture_stats(self._pictures[key], self._frames)
            if feature.dtype == "video"
            else global_stats(files, key, feature.width, self._frames)
            for key, feature in features.items()
        }
        write_tasks(self._root, plan.tasks)
        write_stats(self._root, stats)
        write_provenance(self._root, plan)
        write_info(self._root, plan, features, self._frames)
        write_checksums(self._root)


def _within(table: str, place: Place) -> dict[str, int]:
    return {f"{table}/chunk_index": place.chunk, f"{table}/file_index": place.file}


def _table(rows: Mapping[str, NDArray[Any]], features: Mapping[str, Feature]) -> pa.Table:
    """Columns as Arrow has them: a vector of one entry is a scalar."""
    columns = {}
    for key, values in rows.items():
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        width = features[key].width
        columns[key] = flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)
    return pa.table(columns)
