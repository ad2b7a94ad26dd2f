"""What keeping episodes costs, beside what it has to cost: commits, encoding, a large store.

The sides of a ratio take turns, so that a change of the machine's speed meets them all, and each
counts with its fastest pass.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import count as numbers
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fabrika._episode import Episode, dump_episode
from fabrika._errors import UsageError
from fabrika._result import Result
from fabrika._signals import Array
from fabrika._store import Store

TRIES = 20
"""Scenarios that may be tried for each episode that has to be accepted."""
FEW = 100
"""Rows of the store that a large one is compared with."""
_BATCH = 20_000
"""Rows that are added to a large store in one transaction."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An accepted episode of the expert, and what it took to simulate and judge it [s]."""

    episode: Episode
    seconds: float


def race(passes: int, sides: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The fastest pass of each side [s]; they take turns."""
    best = dict.fromkeys(sides, math.inf)
    for _ in range(passes):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def samples(task: Any, world: Any, count: int, passes: int) -> list[Sample]:
    """The first ``count`` training episodes that pass every check.

    Raises `UsageError` if hardly any does.
    """
    from fabrika._check import judge
    from fabrika._rollout import rollout

    found: list[Sample] = []
    for index in range(count * TRIES):
        scenario = task.scenario("train", index)
        episode = rollout(task.expert(), world, scenario, task.horizon)
        episode = episode.with_verdict(judge(episode, task.checks))
        if episode.verdict is None or not episode.verdict.passed:
            continue

        def again(made: Episode = episode) -> object:
            return judge(rollout(task.expert(), world, made.scenario, task.horizon), task.checks)

        found.append(Sample(episode, race(passes, {"simulate": again})["simulate"]))
        if len(found) == count:
            return found
    raise UsageError(f"of {count * TRIES} episodes of {task.name}, {len(found)} passed: too few.")


# -- commit --------------------------------------------------------------------------------------


def commit_cost(task_name: str, found: Sequence[Sample], passes: int) -> dict[str, Any]:
    """A commit (seal, and the index's turn that publishes it) against a bare write and fsync.

    Both put the same bytes on the same disk, that of the temporary folder.
    """
    seconds = dict.fromkeys(("serialise", "bare", "commit", "seal"), 0.0)
    size = 0
    with TemporaryDirectory(prefix="fabrika-bench-") as name:
        folder = Path(name)
        for number, sample in enumerate(found):
            data = dump_episode(sample.episode)
            size += len(data)
            place = folder / str(number)
            place.mkdir()
            with ExitStack() as stack:
                sides = _commits(place, _manifest(task_name), sample.episode, data, passes, stack)
                for side, least in race(passes, sides).items():
                    seconds[side] += least
    mean = {side: total / len(found) for side, total in seconds.items()}
    return {
        "episodes": len(found),
        "folder": str(folder.parent),
        "bytes": size / len(found),
        **{f"{side}_seconds": value for side, value in mean.items()},
        "turn_seconds": max(0.0, mean["commit"] - mean["seal"]),
        "commit_over_bare": mean["commit"] / mean["bare"],
    }


def _commits(
    folder: Path,
    manifest: Mapping[str, Any],
    episode: Episode,
    data: bytes,
    passes: int,
    stack: ExitStack,
) -> dict[str, Callable[[], object]]:
    """The sides, for one episode. No two passes write to the same place."""
    result = Result.judged(episode)
    files, places = numbers(), numbers()
    stores = [
        stack.enter_context(Store.create(folder / f"store-{number}", manifest))
        for number in range(2 * passes)
    ]
    waiting, sealing = iter(stores[:passes]), iter(stores[passes:])
    owner = "bench"
    tokens = [s.index.turn(owner, wanted=[result.index], room=1).leased for s in stores[:passes]]

    def bare() -> None:
        with (folder / f"bare-{next(files)}").open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def commit() -> None:  # as a coordinator does: what came is published, more is leased
        store, lease = next(waiting), tokens[next(places)]
        done = replace(result, digest=store.seal(episode))
        following = (result.index + 1,)
        token = lease[result.index]
        store.index.turn(owner, done=[(done, token)], wanted=following, room=1)

    return {
        "serialise": lambda: dump_episode(episode),
        "bare": bare,
        "commit": commit,
        "seal": lambda: next(sealing).seal(episode),
    }


def _manifest(task_name: str) -> dict[str, Any]:
    return {"task": task_name, "actor": "expert", "split": "train", "draw": ""}


# -- export --------------------------------------------------------------------------------------


def encode_cost(world: Any, sample: Sample, pixels: int, passes: int) -> dict[str, Any]:
    """The export's way of given pictures into a dataset, against a plain x264 pipe.

    Both get the same pictures of one episode and use the same encoder with the same settings.
    """
    from fabrika.cli._bench import _cameras

    episode = sample.episode
    rate = round(1 / episode.dt)
    world.dress(episode.scenario)
    films: dict[str, list[Array]] = {}
    seconds: list[float] = []
    for camera in _cameras(world):
        films[camera] = []
        for state in episode.states[:-1]:
            start = time.perf_counter()
            films[camera].append(np.array(world.picture(state, camera, pixels, pixels)))
            seconds.append(time.perf_counter() - start)
    frames = len(seconds)
    with TemporaryDirectory(prefix="fabrika-bench-") as name:
        root, number = Path(name), numbers()

        def ours() -> None:
            _export_films(root / str(next(number)), films, rate)

        def plain() -> None:
            _pipe_films(root / str(next(number)), films, rate)

        best = race(passes, {"ours": ours, "plain": plain})
    return {
        "cameras": list(films),
        "pixels": pixels,
        "frames": frames,
        "frames_per_second": frames / best["ours"],
        "plain_frames_per_second": frames / best["plain"],
        "export_over_plain": best["plain"] / best["ours"],
        "encode_seconds": best["ours"],
        # The median: other load only ever adds, and no picture is rendered twice.
        "render_seconds": frames * float(np.median(seconds)),
    }


def _export_films(folder: Path, films: Mapping[str, Sequence[Array]], rate: int) -> None:
    from fabrika.data._film import Film, Reel, pixels_digest

    folder.mkdir()
    for camera, pictures in films.items():
        path = folder / f"{camera}.mp4"
        size = (pictures[0].shape[0], pictures[0].shape[1])
        with closing(Film(path, size, rate, "h264")) as film:
            for picture in pictures:
                film.add(picture)
        pixels_digest(path)
        with Reel(folder, camera, rate) as reel:
            reel.append(path, len(pictures))


def _pipe_films(folder: Path, films: Mapping[str, Sequence[Array]], rate: int) -> None:
    """What anybody would write: PyAV, and nothing but the encoder."""
    import av

    from fabrika.data._film import CODECS, GROUP, PIXELS

    encoder, options = CODECS["h264"]
    folder.mkdir()
    for camera, pictures in films.items():
        with av.open(str(folder / f"{camera}.mp4"), "w") as file:
            stream: Any = file.add_stream(encoder, rate=rate, options=options)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt, stream.gop_size, stream.thread_count = PIXELS, GROUP, 1
            for picture in pictures:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            file.mux(stream.encode(None))


def export_seconds(task_name: str, found: Sequence[Sample], passes: int) -> float:
    """Seconds that one accepted episode takes to export, states only, without words.

    The plan, which builds a world once for any number of episodes, is made before.
    """
    from fabrika.data._export import write_dataset
    from fabrika.data._plan import make_plan

    with (
        TemporaryDirectory(prefix="fabrika-bench-") as name,
        Store.create(Path(name) / "store", _manifest(task_name)) as store,
    ):
        for sample in found:
            row = Result.judged(sample.episode)
            store.commit(replace(row, digest=store.seal(sample.episode)))
        plan = make_plan(
            store,
            cameras=(),
            size=(128, 128),
            looks=1,
            codec="h264",
            layers=(),
            language=False,
            include_failed=False,
        )
        places = (Path(name) / f"dataset-{number}" for number in numbers())
        best = race(passes, {"export": lambda: write_dataset(plan, next(places))})
    return best["export"] / len(found)


def overhead(
    found: Sequence[Sample], commit: Mapping[str, Any], export: float, encode: Mapping[str, Any]
) -> dict[str, Any]:
    """Storing and exporting an accepted episode, as a share of its simulation.

    ``encode``: empty without cameras. With them, rendering is part of the simulation.
    """
    simulation = sum(sample.seconds for sample in found) / len(found)
    kept = commit["commit_seconds"] + export
    share: dict[str, Any] = {
        "simulation_seconds": simulation,
        "commit_seconds": commit["commit_seconds"],
        "export_seconds": export,
        "share": kept / simulation,
    }
    if encode:
        longer = found[0].seconds + encode["render_seconds"]
        share["share_with_pictures"] = (kept + encode["encode_seconds"]) / longer
    return share


# -- a large store -------------------------------------------------------------------------------


def scale_cost(task: Any, rows: int, passes: int) -> dict[str, Any]:
    """Opening, counting, and reading one row of a store of so many rows, against one of `FEW`."""
    with TemporaryDirectory(prefix="fabrika-bench-") as name, _rows_of(task) as made:
        large, small = Path(name) / "large", Path(name) / "small"
        start = time.perf_counter()
        for path, size in ((small, FEW), (large, rows)):
            with Store.create(path, _manifest(task.name)) as store:
                rest = made(size)
                while batch := list(islice(rest, _BATCH)):
                    store.index.add(batch)
        fill = time.perf_counter() - start
        sides: dict[str, Callable[[], object]] = {}
        for word, path, size in (("", large, rows), ("small_", small, FEW)):
            sides |= _looks(word, path, size)
        best = race(max(passes, 3), sides)
        disk = (large / "index.sqlite").stat().st_size
    return {
        "rows": rows,
        "fill_seconds": fill,
        "index_bytes": disk,
        **{f"{side}_seconds": least for side, least in best.items()},
        "open_over_small": best["open"] / best["small_open"],
    }


def _looks(word: str, path: Path, size: int) -> dict[str, Callable[[], object]]:
    """What is done to one store, each time from its opening on."""

    def look(at: Callable[[Store], object]) -> None:
        with Store.open(path) as store:
            at(store)

    return {
        f"{word}open": lambda: look(lambda store: None),
        f"{word}open_and_count": lambda: look(Store.count),
        f"{word}open_and_row": lambda: look(lambda store: store.index.row(size // 2)),
    }


@contextmanager
def _rows_of(task: Any) -> Iterator[Callable[[int], Iterator[Result]]]:
    """Makes rows of one real episode, under other numbers. Their episodes are not there."""
    with closing(task.build()) as world:
        row = Result.judged(samples(task, world, 1, 1)[0].episode)
    yield lambda size: (
        replace(row, index=index, digest=f"{index:064x}", scenario_id=f"{index:016x}")
        for index in range(size)
    )
