"""Stores put together, and taken apart. Sources are read, checked, and never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from fabrika._disk import disk_errors
from fabrika._errors import IntegrityError, UsageError
from fabrika._ledger import account
from fabrika._result import Result
from fabrika._store import Store, refuse_inside, seal_bytes
from fabrika._whole import whole_folder

PART = ("task", "actor", "split", "draw", "source", "versions")
"""What stores must have in common to be one."""
_BATCH = 256
"""Rows in one transaction."""

Progress = Callable[[int, int], None]


def merge_stores(
    sources: Sequence[Path], out: Path, on_progress: Progress = lambda done, total: None
) -> int:
    """One new store with the episodes of several; how many it has.

    Scenarios that several have are there once. Raises `UsageError` if the stores do not hold the
    same task, actor, split and versions, or if ``out`` exists, and `IntegrityError` if they
    disagree on a scenario or one is damaged: nothing is left at ``out`` then.
    """
    if len(sources) < 2:
        raise UsageError("give two stores or more to be merged.")
    with ExitStack() as stack:
        stores = [stack.enter_context(Store.open(path)) for path in sources]
        first = stores[0]
        for store in stores[1:]:
            for name in PART:
                ours, theirs = first.manifest.get(name), store.manifest.get(name)
                if ours != theirs:
                    raise UsageError(
                        f"{first.path} has {name} {ours!r} and {store.path} {theirs!r}: such "
                        "episodes are not one store's."
                    )
        asked = [position for store in stores for position in store.index.positions()]
        rows = ((store, row) for store in stores for row in store.iterate())
        return _copy(first, rows, out, asked, "merge", lambda n: on_progress(n, len(asked)))


def split_store(
    source: Path, parts: int, out: Path, on_progress: Progress = lambda done, total: None
) -> list[Path]:
    """The scenarios of a store in ``parts`` new stores, ``out``/part-0 and so on, in order.

    `merge_stores` puts them together again. Raises as it does.
    """
    with Store.open(source) as store:
        positions = store.index.positions()
        if not 1 <= parts <= len(positions):
            raise UsageError(f"{source} has {len(positions)} scenarios: 1 to so many parts.")
        refuse_inside(out)
        edges = [round(len(positions) * part / parts) for part in range(parts + 1)]
        done, total = count(1), len(positions)
        with whole_folder(out) as folder:  # all parts or none: so it can be done again
            for part in range(parts):
                asked = positions[edges[part] : edges[part + 1]]
                rows = ((store, row) for row in store.index.rows(asked[0], asked[-1]))
                place = folder / f"part-{part}"
                _copy(store, rows, place, asked, "split", lambda _: on_progress(next(done), total))
        return [out / f"part-{part}" for part in range(parts)]


def _copy(
    like: Store,
    rows: Iterable[tuple[Store, Result]],
    out: Path,
    asked: Sequence[int],
    stage: str,
    on_progress: Callable[[int], None],
) -> int:
    """A new store like one that is there, with these rows and their episodes.

    Its ledger has a row that names the scenarios, so that repair knows what there has to be.
    """
    refuse_inside(out)
    kept = {name: value for name, value in like.manifest.items() if name not in ("format", "minor")}
    task, actor, split = (str(kept.get(name, "")) for name in ("task", "actor", "split"))
    with (
        whole_folder(out) as folder,
        disk_errors(out),
        Store.create(folder, kept) as store,
        account(folder, stage=stage, task=task, actor=actor, split=split, asked=set(asked)),
    ):
        batch: list[Result] = []
        for number, (source, row) in enumerate(rows, 1):
            if row.digest:
                data = source.object(row.digest)
                if not data.is_file() or seal_bytes(folder, data.read_bytes()) != row.digest:
                    raise IntegrityError(
                        f"episode {row.digest} of {source.path} is missing or was altered: "
                        f"`fabrika repair {source.path}` first."
                    )
            batch.append(row)
            if len(batch) == _BATCH:
                store.index.add(batch)
                batch = []
            on_progress(number)
        store.index.add(batch)
        return store.count().total()
