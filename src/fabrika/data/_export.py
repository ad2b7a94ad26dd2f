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
from fabrika._errors import ContractError, UsageError
from fabrika._store import Store
from fabrika._whole import whole_folder
from fabrika.data._checksums import write_checksums
from fabrika.data._film import Reel
from fabrika.data._language import language_column, words_of
from fabrika.data._layout import DATA, EPISODES, PICTURES, Feature, Place
from fabrika.data._meta import (
    PICTURED,
    describe,
    episode_schema,
    locate,
    measure,
    write_info,
    write_legend,
    write_provenance,
    write_stats,
)
from fabrika.data._narration import Narration
from fabrika.data._plan import Plan, make_plan
from fabrika.data._render import Job, Shot, shoot_all
from fabrika.data._shards import Shards, data_schema, write_tasks
from fabrika.data._stats import Counts, global_stats, picture_stats
from fabrika.data._stills import Colour, read_stills

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
    recovered: int
    """Episodes that passed although something went wrong, by the expert's own word."""
    unnarrated: int
    """Episodes whose rows do not say what the expert was at; all, if it does not say."""
    unnarrated_because: str
    """Why the first of them does not; empty if there is none, or if nobody asked."""


def export_lerobot(
    store_path: Path,
    out: Path,
    *,
    cameras: Sequence[str] = (),
    size: tuple[int, int] = (128, 128),
    looks: int = 1,
    codec: str = "h264",
    depth: bool = False,
    segmentation: bool = False,
    language: bool = True,
    workers: int = 1,
    on_progress: Progress | None = None,
    include_failed: bool = False,
) -> Exported:
    """Write the accepted episodes of a store as a LeRobot v3.0 dataset; say what was written.

    Row t holds observation t and the action that was commanded then; the last observation has
    no row. Truth is never exported. ``cameras`` are rendered from the stored states at ``size``
    (height, width); ``looks`` renders every episode that many times, look 0 in the scenario's own
    colours and lights. ``codec``: "h264" or "av1". ``depth`` and
    ``segmentation`` add the distance and the body behind every pixel of every camera, as PNG.
    ``language``: the rows say what the expert was at, and paraphrase the instruction, if the
    task's expert says what it is at (see `narrate`); an episode of which that cannot be worked out
    has paraphrases only, and is counted. ``workers``: how many processes render and narrate.
    ``include_failed`` also exports episodes that did not
    pass, after all others, as the split "failed". Equal stores give equal bytes, whatever the
    number of workers.

    Raises `UsageError` if ``out`` exists, or if ``store_path`` is not a store or has no accepted
    episode; `ResourceError` if there is no space; `InterruptedRunError` on Ctrl-C. In each case
    nothing is left at ``out``.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers: at least one has to do the work.")
    wanted = {"depth": depth, "segmentation": segmentation}
    with Store.open(Path(store_path)) as store:
        plan = make_plan(
            store,
            cameras=cameras,
            size=size,
            looks=looks,
            codec=codec,
            layers=[name for name, on in wanted.items() if on],
            language=language,
            include_failed=include_failed,
        )
        return write_dataset(plan, Path(out), workers, on_progress)


def write_dataset(
    plan: Plan, out: Path, workers: int = 1, on_progress: Progress | None = None
) -> Exported:
    """Write what is planned. Nothing is left at ``out`` if it fails."""
    with whole_folder(out) as root:
        writer = _Writer(plan, root)
        writer.write(workers, on_progress)
    return Exported(
        path=out,
        episodes=plan.total,
        frames=writer.frames,
        tasks=len(plan.tasks),
        fps=plan.columns.fps,
        cameras=plan.cameras,
        left_out=plan.left_out,
        recovered=writer.recovered,
        unnarrated=plan.total - writer.narrated,
        unnarrated_because=writer.refusal,
    )


class _Writer:
    """One export: episodes in, files out, one episode in memory at a time."""

    def __init__(self, plan: Plan, root: Path) -> None:
        self._plan, self._root = plan, root
        self._features = plan.features
        self._films = root / "films"
        self.frames = self.narrated = self.recovered = 0
        self.refusal = ""
        """Why the first episode that was not narrated was not."""
        self._pictures: dict[str, Counts] = {}
        self._bodies: dict[str, Colour] = {}
        self._described: list[dict[str, Any]] = []
        self._told: Narration | None = None

    def write(self, workers: int, on_progress: Progress | None) -> None:
        """All of it."""
        plan, root = self._plan, self._root
        with ExitStack() as stack:
            data = stack.enter_context(Shards(root, DATA, data_schema(self._features)))
            table = stack.enter_context(Shards(root, EPISODES, episode_schema(plan)))
            reels = {
                PICTURES + camera: stack.enter_context(
                    Reel(root, PICTURES + camera, plan.columns.fps)
                )
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

    def _shots(self, workers: int) -> Generator[tuple[Job, Shot], None, None]:
        """Every take of the plan, its films, and what was said."""
        if not (self._plan.cameras or self._plan.language):
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
                layers=plan.layers,
                language=plan.language and number % plan.looks == 0,
            )

    def _add(
        self, number: int, job: Job, shot: Shot, data: Shards, reels: Mapping[str, Reel]
    ) -> None:
        """One episode: its rows, its pictures, and its row in the episode table."""
        plan = self._plan
        row = plan.rows[number // plan.looks]
        episode = plan.store.episode(row)
        films = {key: Path(job.folder, f"{key}.mp4") for key in reels}
        spans = {key: reel.append(films[key], shot.frames) for key, reel in reels.items()}
        for key, counts in shot.counts.items():
            self._pictures[key] = self._pictures.get(key, np.zeros_like(counts)) + counts
        self._learn(shot.bodies)
        if job.language:  # the other looks of an episode say the same
            self._told, self.refusal = shot.told, self.refusal or shot.refusal
        narration = self._told
        self.narrated += narration is not None
        rows = self._rows(number, episode)
        stored = self._stored(job, episode, narration)
        shutil.rmtree(job.folder, ignore_errors=True)
        place = data.append(_table(rows, stored, self._features))
        self._described.append(
            describe(episode, row, job.look, narration)
            | {"episode_index": number}
            | _within("data", place)
            | {"dataset_from_index": self.frames}
            | {"dataset_to_index": self.frames + episode.length}
            | locate(spans)
            | measure(rows, shot)
        )
        self.recovered += bool(self._described[-1]["recovered_from"])
        self.frames += episode.length

    def _learn(self, bodies: Mapping[str, Colour]) -> None:
        """Add to the legend."""
        self._bodies |= bodies
        if len(set(self._bodies.values())) < len(self._bodies):
            raise ContractError("two bodies have names of one colour: give one another name.")

    def _stored(self, job: Job, episode: Episode, narration: Narration | None) -> dict[str, Any]:
        """The columns of an episode's rows that are no numbers."""
        found: dict[str, Any] = {}
        for key, feature in self._features.items():
            if feature.dtype == "image":
                found[key] = read_stills(Path(job.folder, f"{key}.parquet"), feature.arrow)
            elif feature.dtype == "language":
                said, fps = narration.subtasks if narration else (), self._plan.columns.fps
                words = words_of(self._plan.task, episode.scenario, said, fps)
                found[key] = language_column(words, episode.length)
        return found

    def _rows(self, number: int, episode: Episode) -> dict[str, NDArray[Any]]:
        """All columns of an episode's rows."""
        plan = self._plan
        count = np.arange(episode.length, dtype=np.int64)
        return {
            **plan.columns.rows(episode),
            "timestamp": (count / plan.columns.fps).astype(np.float32),
            "frame_index": count,
            "episode_index": np.full_like(count, number),
            "index": count + self.frames,
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
            key: picture_stats(self._pictures[key], self.frames)
            if feature.dtype in PICTURED
            else global_stats(files, key, feature.width, self.frames)
            for key, feature in features.items()
            if feature.dtype != "language"
        }
        write_tasks(self._root, plan.tasks)
        write_stats(self._root, stats)
        if self._bodies:
            write_legend(self._root, self._bodies)
        told = {"narrated": self.narrated, "recovered": self.recovered}
        write_provenance(self._root, plan, told if plan.language else {})
        write_info(self._root, plan, features, self.frames)
        write_checksums(self._root)


def _within(table: str, place: Place) -> dict[str, int]:
    return {f"{table}/chunk_index": place.chunk, f"{table}/file_index": place.file}


def _table(
    rows: Mapping[str, NDArray[Any]],
    stored: Mapping[str, pa.Array],
    features: Mapping[str, Feature],
) -> pa.Table:
    """Columns as Arrow has them, in the order of the features."""
    columns = dict(stored)
    for key, values in rows.items():
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        width = features[key].width  # a vector of one entry is a scalar
        columns[key] = flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)
    return pa.table({key: columns[key] for key in features if key in columns})
