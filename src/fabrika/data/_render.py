"""What takes long of an export, pictures and narration: in this process, or in several.

Worker processes speak JSON lines.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

import fabrika._errors as errors
from fabrika._episode import Episode
from fabrika._errors import (
    FabrikaError,
    ResourceError,
    UnknownNameError,
    UsageError,
    VersionError,
)
from fabrika._registry import task as find_task
from fabrika._signals import Array
from fabrika._store import Store
from fabrika._world import Pictured
from fabrika.data._film import Film, pixels_digest
from fabrika.data._layout import PICTURES
from fabrika.data._narration import Narration, narrate
from fabrika.data._stats import Counts
from fabrika.data._stills import LAYERS, Colour, Layered, Stills

AHEAD = 2
"""Films rendered ahead of the one that is being joined, for each worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One episode, under one look, from some cameras."""

    digest: str
    look: int
    cameras: tuple[str, ...]
    size: tuple[int, int]
    """Height and width [pixels]."""
    fps: int
    codec: str
    folder: str
    """Where the films go, ``FEATURE.mp4``, and the stills, ``FEATURE.parquet``."""
    layers: tuple[str, ...] = ()
    """What is wanted of each camera beside its picture: names of `LAYERS`."""
    language: bool = False
    """Whether the expert is to say what it was at."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The job that `to_json` wrote."""
        plain = json.loads(text)
        return cls(**plain | {key: tuple(plain[key]) for key in ("cameras", "size", "layers")})


@dataclass(frozen=True, slots=True)
class Shot:
    """What came of a job."""

    frames: int
    counts: dict[str, Counts]
    """By feature: (channels, values) how often each value occurred."""
    pixels: dict[str, str] = field(default_factory=dict)
    """By feature: SHA-256 over the pictures as they are decoded."""
    bodies: dict[str, Colour] = field(default_factory=dict)
    """The colours of segmentation, where it was wanted."""
    told: Narration | None = None
    """What the expert was at, where that was wanted."""
    refusal: str = ""
    """Why that cannot be known."""

    def to_json(self) -> str:
        """One line of JSON."""
        counts = {key: rows.tolist() for key, rows in self.counts.items()}
        told = asdict(self.told) if self.told else None
        plain = {"frames": self.frames, "pixels": self.pixels, "bodies": self.bodies}
        return json.dumps({**plain, "counts": counts, "told": told, "refusal": self.refusal})

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Shot:
        """The shot that `to_json` wrote, parsed."""
        counts = {key: np.array(rows, np.int64) for key, rows in plain["counts"].items()}
        bodies = {name: tuple(colour) for name, colour in plain["bodies"].items()}
        told = plain["told"] and Narration.from_plain(plain["told"])
        return cls(plain["frames"], counts, plain["pixels"], bodies, told, plain["refusal"])


class Studio:
    """A store's episodes, and one world to picture them in, if they are pictured."""

    def __init__(self, store: Path) -> None:
        with ExitStack() as undo:
            self._store = undo.enter_context(Store.open(store))
            self._task = find_task(str(self._store.manifest["task"]))
            self._undo = undo.pop_all()

    @cached_property
    def _world(self) -> Pictured:
        world = self._undo.enter_context(closing(self._task.build()))
        if not isinstance(world, Pictured):
            raise UsageError(f"{self._task.name} has no cameras: export it without.")
        return world

    def shoot(self, job: Job) -> Shot:
        """Picture every observation that an action follows, and ask what the expert was at."""
        episode = self._store.episode(job.digest)
        shot = self._pictures(job, episode) if job.cameras else Shot(0, {})
        if not job.language:
            return shot
        try:
            return replace(shot, told=narrate(self._task, episode))
        except (UsageError, VersionError) as error:
            return replace(shot, refusal=str(error))

    def _pictures(self, job: Job, episode: Episode) -> Shot:
        self._world.dress(episode.scenario, job.look)
        folder = Path(job.folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = {camera: folder / f"{PICTURES}{camera}.mp4" for camera in job.cameras}
        stills = {
            (layer, camera): Stills(LAYERS[layer], job.size)
            for layer in job.layers
            for camera in job.cameras
        }
        with ExitStack() as stack:
            films = {
                camera: stack.enter_context(closing(Film(path, job.size, job.fps, job.codec)))
                for camera, path in paths.items()
            }
            for state in episode.states[:-1]:
                for camera, film in films.items():
                    film.add(self._world.picture(state, camera, *job.size))
                for (layer, camera), still in stills.items():
                    still.add(self._layer(layer)(state, camera, *job.size))
        counts = {PICTURES + camera: film.counts for camera, film in films.items()}
        for (layer, camera), still in stills.items():
            key = LAYERS[layer].prefix + camera
            still.write(folder / f"{key}.parquet")
            counts[key] = still.counts
        pixels = {PICTURES + camera: pixels_digest(path) for camera, path in paths.items()}
        return Shot(episode.length, counts, pixels, self._bodies() if stills else {})

    def _layer(self, name: str) -> Callable[..., Array]:
        """What makes that layer of a state."""
        assert isinstance(self._world, Layered)  # the plan has seen to it
        return cast(Callable[..., Array], getattr(self._world.pictures, name))

    def _bodies(self) -> dict[str, Colour]:
        """The colours of the bodies of the dressed scenario."""
        assert isinstance(self._world, Layered)
        return dict(self._world.pictures.bodies())

    def close(self) -> None:
        """Give back the world and the store."""
        self._undo.close()


def shoot_all(store: Path, jobs: Iterator[Job], workers: int) -> Generator[Shot, None, None]:
    """The shots of all jobs, in their order, from this process or from ``workers`` others."""
    if workers == 1:
        with closing(Studio(store)) as studio:
            yield from map(studio.shoot, jobs)
        return
    with closing(_Crew(store, workers)) as crew:
        yield from crew.run(jobs)


class _Crew:
    """Worker processes, and one thread that waits for each."""

    def __init__(self, store: Path, workers: int) -> None:
        self._all = [_hire(store) for _ in range(workers)]
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        for process in self._all:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(workers)

    def run(self, jobs: Iterator[Job]) -> Iterator[Shot]:
        """Shots in the order of the jobs."""
        waiting: deque[Future[Shot]] = deque()
        for job in jobs:
            waiting.append(self._threads.submit(self._shoot, job))
            if len(waiting) > AHEAD * len(self._all):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _shoot(self, job: Job) -> Shot:
        process = self._idle.get()
        try:
            return _ask(process, job)
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """Stop all workers, whatever they are doing."""
        for process in self._all:
            process.kill()  # it holds nothing but films that are not wanted any more
            process.wait()
        self._threads.shutdown(cancel_futures=True)
        for process in self._all:
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    cast(IO[bytes], pipe).close()


def _hire(store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fabrika.data._render_worker", str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the parent, which decides
    )


def _ask(process: subprocess.Popen[bytes], job: Job) -> Shot:
    """Give a job to a worker and wait for its answer; raises the error that it met."""
    pipe, answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    with suppress(BrokenPipeError):  # it died: that it does not answer will say so
        pipe.write(job.to_json().encode() + b"\n")
        pipe.flush()
    line = answers.readline()
    if not line.endswith(b"\n"):
        status = process.wait()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise ResourceError(
            f"a working process died ({how}) at episode {job.digest[:12]}. Export with one "
            "worker to see why."
        )
    answer = json.loads(line)
    if "error" in answer:
        kind = getattr(errors, answer["error"], FabrikaError)
        # An unknown name composes its own message, which here is complete already.
        raise (UsageError if kind is UnknownNameError else kind)(answer["message"])
    return Shot.from_plain(answer)
