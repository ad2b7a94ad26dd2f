"""Training data, decoded once: plain arrays, one row a tick; pictures in a memory map."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabrika._episode import Episode
from fabrika._errors import ContractError, ResourceError, UnknownNameError, UsageError
from fabrika._registry import task as find_task
from fabrika._signals import Array
from fabrika._store import Store
from fabrika._world import Pictured
from fabrika.learn._card import Limits, Shape, columns, recalled
from fabrika.learn._words import embed

LEAST_EPISODES = 4
"""Fewer cannot be split into what is learned and what is held out."""
HELD_OUT = 20
"""One episode in so many is kept from training."""
Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """N ticks of E accepted episodes, episode after episode."""

    task: str
    dt: float
    """Control period [s]."""
    reads: Mapping[str, Shape]
    """Sensors in the order of the columns of ``seen``: sorted by name."""
    acts: Mapping[str, Shape]
    """Commands in the order of the columns of ``done``: sorted by name."""
    seen: NDArray[np.float32]
    """(N, D) what the sensors reported before the command; then (N, G), what the guides did."""
    done: NDArray[np.float32]
    """(N, A) the command."""
    starts: NDArray[np.int64]
    """(E + 1,) first row of each episode, and N."""
    told: NDArray[np.float32]
    """(E, WORDS) the embedded instruction of each episode."""
    ids: tuple[str, ...]
    """(E,) scenario ids."""
    digest: str
    """SHA-256 of the data; of pictures, of what they are rendered from."""
    pictures: Mapping[str, NDArray[np.uint8]]
    """Per camera (P, H, W, 3), mapped from disk; empty without cameras."""
    guides: Mapping[str, Shape] = field(default_factory=dict)
    """Sensors to be made out in pictures, in the order of the last columns of ``seen``."""
    pictured: NDArray[np.int64]
    """(P,) the rows that have pictures: those that can be learned from. All, without cameras."""

    @property
    def episode(self) -> NDArray[np.int64]:
        """(N,) which episode each row is of."""
        return np.repeat(np.arange(len(self.ids)), np.diff(self.starts))

    def limits(self) -> dict[str, Limits]:
        """The range of every command, and its largest change in a tick, over all episodes."""
        change = np.abs(np.diff(self.done, axis=0))
        change[self.starts[1:-1] - 1] = 0.0  # from one episode to the next is no change
        values = {"low": self.done.min(0), "high": self.done.max(0), "step": change.max(0)}
        return {
            name: {key: [float(v) for v in value[part]] for key, value in values.items()}
            for name, part in columns(self.acts).items()
        }

    def held_out(self) -> NDArray[np.bool_]:
        """(E,) whole episodes kept from training, chosen by the hash of the scenario's id."""
        keys = [hashlib.sha256(name.encode()).digest() for name in self.ids]
        chosen = sorted(range(len(keys)), key=keys.__getitem__)[: max(1, len(keys) // HELD_OUT)]
        out = np.zeros(len(keys), bool)
        out[chosen] = True
        return out


def accepted(path: Path) -> Iterator[Episode]:
    """The episodes of a store that passed, in the order of their scenarios."""
    with Store.open(path) as store:
        kept = [row.digest for row in store.iterate() if row.accepted and row.digest]
        if len(kept) < LEAST_EPISODES:
            total = store.count().total()
            raise UsageError(
                f"{path}: {len(kept)} of {total} episodes were accepted; training needs "
                f"{LEAST_EPISODES} or more. Generate more, or look at the reasons for rejection."
            )
        for digest in kept:
            yield store.episode(digest)


def gather(
    episodes: Iterable[Episode],
    reads: Collection[str] | None = None,
    *,
    recall: bool = False,
    guides: Collection[str] = (),
) -> Frames:
    """The frames of accepted episodes of one task, without pictures: see `with_pictures`.

    ``reads`` names the sensors; None: all that were recorded, without truth. ``recall`` adds
    the last command of every "arm" that has a sensor "joint/arm" as "last/arm". ``guides`` are
    sensors that a policy with cameras learns to make out, and is not given. Raises
    `ContractError` for truth, `UsageError` for mixed tasks or too few episodes.
    """
    seen, done, told, ids, lengths = list[Rows](), list[Rows](), list[Rows](), list[str](), [0]
    first: Episode | None = None
    names, shown = list[str](), list[str]()
    for episode in episodes:  # one at a time: its states and pictures take 25 times the memory
        _require_fit(episode, first or episode)
        given = names if first else _readable(episode, reads)
        known = _recalling(episode, given) if recall else episode
        if first is None:
            first, shown = known, _readable(episode, guides)
            added = (name for name in known.observations if recall and recalled(name))
            names = sorted({*given, *added})
        seen.append(_rows(known.observations, [*names, *shown], episode.length))
        done.append(_rows(episode.actions, sorted(first.actions), episode.length))
        told.append(embed(episode.scenario.instruction))
        ids.append(episode.scenario.id)
        lengths.append(episode.length)
    if first is None or len(ids) < LEAST_EPISODES:
        raise UsageError(f"{len(ids)} episodes; training needs {LEAST_EPISODES} or more.")
    starts = np.cumsum(lengths).astype(np.int64)
    frames = Frames(
        task=first.scenario.task,
        dt=first.dt,
        reads={name: first.observations[name].shape[1:] for name in names},
        acts={name: first.actions[name].shape[1:] for name in sorted(first.actions)},
        seen=np.concatenate(seen),
        done=np.concatenate(done),
        starts=starts,
        told=np.stack(told),
        ids=tuple(ids),
        digest="",
        pictures={},
        guides={name: first.observations[name].shape[1:] for name in shown},
        pictured=np.arange(starts[-1]),
    )
    return replace(frames, digest=_digest(frames))


def _require_fit(episode: Episode, first: Episode) -> None:
    if episode.verdict is None or not episode.verdict.passed:
        raise UsageError(f"scenario {episode.scenario.index} was not accepted: not data.")
    if (episode.scenario.task, episode.dt) != (first.scenario.task, first.dt):
        raise UsageError(
            f"one policy, one task: these episodes are of {first.scenario.task!r} and of "
            f"{episode.scenario.task!r}. Train on one store at a time."
        )


def with_pictures(
    frames: Frames,
    episodes: Iterable[Episode],
    signals: Sequence[str],
    folder: Path,
    *,
    every: int = 1,
) -> Frames:
    """The same frames with pictures, rendered from stored states into memory maps.

    ``signals`` are camera signals of the world, "camera/head" being the camera "head", at the
    world's own size. Pictures are made for one tick in ``every`` [ticks]: chunks overlap, so
    most ticks add little. What ``folder`` has from an earlier call is used again.
    """
    world = find_task(frames.task).build()
    with closing(world):
        if not isinstance(world, Pictured):
            raise ContractError(f"the world of {frames.task!r} makes no pictures (see Pictured).")
        shapes: dict[str, Shape] = {}
        for name in sorted(signals):
            if name not in world.observes or not world.observes[name].image:
                images = [n for n, s in world.observes.items() if s.image]
                raise UnknownNameError("camera signal", name, images)
            shapes[name] = world.observes[name].shape
        parts = zip(frames.starts[:-1], frames.starts[1:], strict=True)
        pictured = np.concatenate([np.arange(a, b, every) for a, b in parts])
        recipe = json.dumps([frames.digest, {n: list(s) for n, s in shapes.items()}, every])
        digest = hashlib.sha256(recipe.encode()).hexdigest()
        if not _made(folder, digest):
            _render(world, episodes, shapes, folder, every, len(pictured))
            (folder / "pictures.json").write_text(json.dumps({"digest": digest}))
    maps = {name: np.load(_place(folder, name), mmap_mode="r") for name in shapes}
    return replace(frames, digest=digest, pictures=maps, pictured=pictured)


def _render(
    world: Pictured,
    episodes: Iterable[Episode],
    shapes: Mapping[str, Shape],
    folder: Path,
    every: int,
    count: int,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pictures.json").unlink(missing_ok=True)
    try:
        maps = {
            name: np.lib.format.open_memmap(_place(folder, name), "w+", np.uint8, (count, *shape))
            for name, shape in shapes.items()
        }
    except OSError as error:
        raise ResourceError(f"no room for pictures in {folder}: {error}.") from error
    at = 0
    for episode in episodes:
        world.dress(episode.scenario)
        for state in episode.states[: episode.length : every]:
            for name, shape in shapes.items():
                camera = name.removeprefix("camera/")
                maps[name][at] = world.picture(state, camera, shape[0], shape[1])
            at += 1
    for each in maps.values():
        each.flush()


def _made(folder: Path, digest: str) -> bool:
    try:
        return bool(json.loads((folder / "pictures.json").read_text())["digest"] == digest)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _place(folder: Path, name: str) -> Path:
    return folder / f"{name.replace('/', '_')}.npy"


def _digest(frames: Frames) -> str:
    head = [frames.task, frames.dt, frames.ids, sorted(frames.reads), sorted(frames.acts)]
    head += [sorted(frames.guides)] if frames.guides else []
    total = hashlib.sha256(json.dumps(head).encode())
    for array in (frames.seen, frames.done, frames.starts, frames.told):
        total.update(str(array.shape).encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _readable(episode: Episode, reads: Collection[str] | None) -> list[str]:
    """The sensors to learn from, sorted; truth is refused."""
    recorded = episode.observations
    sensors = recorded.keys() - set(episode.truth)
    for name in reads or ():
        if name in episode.truth:
            raise ContractError(
                f"a policy cannot learn from {name!r}: it is simulator truth, which no sensor "
                f"reports. Sensors: {', '.join(sorted(sensors))}."
            )
        if name not in recorded:
            raise UnknownNameError("recorded sensor", name, sensors)
    return sorted(sensors if reads is None else reads)


def _recalling(episode: Episode, names: Collection[str]) -> Episode:
    """The episode with each last command as a reading; before the first, the measured joint."""
    seen = dict(episode.observations)
    for name, done in episode.actions.items():
        joint = seen.get(f"joint/{name}")
        if joint is not None and f"joint/{name}" in names and joint.shape[1:] == done.shape[1:]:
            seen[f"last/{name}"] = np.concatenate([joint[:1], done])
    return replace(episode, observations=seen)


def _rows(signals: Mapping[str, Array], names: Sequence[str], length: int) -> NDArray[np.float32]:
    flat = [np.asarray(signals[name][:length], np.float32).reshape(length, -1) for name in names]
    return np.concatenate(flat, axis=1)
