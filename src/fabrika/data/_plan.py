"""What an export will write: settled, and every mistake found, before the first byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product

from fabrika._errors import UnknownNameError, UsageError
from fabrika._registry import task as find_task
from fabrika._result import Result
from fabrika._store import Store
from fabrika._task import Task
from fabrika._world import Pictured
from fabrika.data._columns import Columns
from fabrika.data._film import CODECS, encoder_info
from fabrika.data._layout import BOOKKEEPING, LANGUAGE, PICTURES, Feature
from fabrika.data._narration import narrates
from fabrika.data._stills import LAYERS, Layered

_SMALLEST, _LARGEST = 16, 4096
"""Limits of a picture's sides [pixels]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which episodes, under which looks, from which cameras, in which columns."""

    store: Store
    task: Task
    rows: tuple[Result, ...]
    left_out: dict[str, int]
    """Results of the store that are not exported, counted by reason."""
    cameras: tuple[str, ...]
    size: tuple[int, int]
    """Height and width of the pictures [pixels]."""
    looks: int
    codec: str
    layers: tuple[str, ...]
    """What is exported of each camera beside its picture: names of `LAYERS`."""
    language: bool
    """Whether the rows have words: what the expert was at, and paraphrases."""
    columns: Columns
    tasks: tuple[str, ...]
    """The different instructions, sorted; their order is the meaning of ``task_index``."""
    qualities: tuple[str, ...]
    """Names of the quality checks that were measured, sorted."""

    @property
    def takes(self) -> Iterator[tuple[Result, int]]:
        """Every episode of the dataset, in order: a row of the store, and a look."""
        return product(self.rows, range(self.looks))

    @property
    def total(self) -> int:
        """How many episodes the dataset will have."""
        return len(self.rows) * self.looks

    @property
    def features(self) -> dict[str, Feature]:
        """Everything that info.json declares."""
        height, width = self.size
        picture = Feature(
            dtype="video",
            shape=(height, width, 3),
            names=("height", "width", "channels"),
            info=encoder_info(self.codec, height, width, self.columns.fps),
        )
        words = {LANGUAGE: Feature(dtype="language")} if self.language else {}
        return {
            **self.columns.features(),
            **{PICTURES + camera: picture for camera in self.cameras},
            **{
                LAYERS[layer].prefix + camera: LAYERS[layer].feature(self.size)
                for layer in self.layers
                for camera in self.cameras
            },
            **words,
            **{key: Feature(dtype=dtype) for key, dtype in BOOKKEEPING.items()},
        }


def make_plan(
    store: Store,
    *,
    cameras: Sequence[str],
    size: Sequence[int],
    looks: int,
    codec: str,
    layers: Sequence[str],
    language: bool,
    include_failed: bool,
) -> Plan:
    """The plan, or a `UsageError` that says what is wrong with it."""
    _check(cameras, size, looks, codec, layers)
    rows: list[Result] = []
    left_out: Counter[str] = Counter()
    for row in store.iterate():
        if (row.accepted or include_failed) and row.digest and row.length:
            rows.append(row)
        else:
            left_out[row.reason] += 1
    if not rows:
        tried = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        raise UsageError(
            f"{store.path} has no accepted episode to export ({tried or 'it is empty'}). "
            "Generate some first."
        )
    rows.sort(key=lambda row: (not row.accepted, row.split, row.draw, row.index))
    task = find_task(rows[0].task)
    with closing(task.build()) as world:
        columns = Columns.of(world)
        known = world.cameras if isinstance(world, Pictured) else ()
        if layers and not isinstance(world, Layered):
            raise UsageError(f"the cameras of {task.name} see no {layers[0]}: export without it.")
    for camera in cameras:
        if camera not in known:
            raise UnknownNameError(f"camera of {rows[0].task}", camera, known)
    return Plan(
        store=store,
        task=task,
        rows=tuple(rows),
        left_out=dict(sorted(left_out.items())),
        cameras=tuple(cameras),
        size=(size[0], size[1]),
        looks=looks,
        codec=codec,
        layers=tuple(layers),
        language=language and narrates(task),
        columns=columns,
        tasks=tuple(sorted({_instruction(store, task, row) for row in rows})),
        qualities=tuple(sorted(_qualities(rows))),
    )


def _qualities(rows: Sequence[Result]) -> set[str]:
    found = (f for row in rows if row.verdict for f in row.verdict.findings)
    return {f.check for f in found if f.kind == "quality"}


def _instruction(store: Store, task: Task, row: Result) -> str:
    """What the actor was told: drawn again, which costs less than to read the episode."""
    scenario = task.scenario(row.split, row.index, row.draw)
    if scenario.id != row.scenario_id:  # the task has changed since
        scenario = store.episode(row).scenario
    return scenario.instruction


def _check(
    cameras: Sequence[str], size: Sequence[int], looks: int, codec: str, layers: Sequence[str]
) -> None:
    if codec not in CODECS:
        raise UnknownNameError("codec", codec, CODECS)
    if len(size) != 2 or any(side % 2 or not _SMALLEST <= side <= _LARGEST for side in size):
        raise UsageError(
            f"size {tuple(size)}: height and width are even numbers from {_SMALLEST} to {_LARGEST}."
        )
    if looks < 1 or (looks > 1 and not cameras):
        raise UsageError(f"{looks} looks: at least one, and more than one only with cameras.")
    if layers and not cameras:
        raise UsageError(f"{layers[0]} is seen by cameras: name at least one.")
    if len(set(cameras)) != len(cameras):
        raise UsageError(f"a camera is named twice: {', '.join(cameras)}.")
