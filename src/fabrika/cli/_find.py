"""Finding an episode by what a person would type."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fabrika._errors import UsageError

if TYPE_CHECKING:
    from fabrika._result import Result

FEWEST = 4
"""Fewer characters of a digest are too likely to mean several episodes."""


def find_episode(text: str, role: str, folder: Path) -> tuple[Path, Result]:
    """The store and the row of ``RUN:INDEX``, or of the start of a digest in ``folder``.

    RUN is a run folder (``role`` then picks the store in it) or a store itself.
    """
    place, colon, number = text.rpartition(":")
    if colon and number.isdecimal():
        store = find_store(Path(place), role)
        return store, _by_index(store, int(number))
    if re.fullmatch(rf"[0-9a-f]{{{FEWEST},64}}", text):
        return _by_digest(text, folder)
    raise UsageError(
        f"{text!r} names no episode. Give RUN:INDEX, such as runs/toy-reach-v1-s0:3, or "
        f"{FEWEST} or more characters of an episode's digest."
    )


def find_store(place: Path, role: str) -> Path:
    """The store that ``place`` is, or the one of ``role`` in the run that ``place`` is."""
    from fabrika._errors import UnknownNameError
    from fabrika._store import is_like_store, is_store

    if is_like_store(place):  # a damaged one will say how to mend it
        return place
    found = {p.name: p for p in (*place.glob("evidence/*"), *place.glob("train")) if is_store(p)}
    if not found:
        raise UsageError(
            f"{place} is neither a run nor a store of episodes. `fabrika list runs` lists runs."
        )
    if role not in found:
        raise UnknownNameError(f"store of {place}", role, found)
    return found[role]


def _by_index(store: Path, index: int) -> Result:
    from fabrika._store import Store

    with Store.open(store) as opened:
        row = opened.index.row(index)
        there = [] if row else opened.index.positions()
    if row:
        return row
    if not there:
        raise UsageError(f"{store} holds no episode yet.")
    raise UsageError(
        f"{store} has no scenario {index}: it holds {len(there)}, from {there[0]} to {there[-1]}."
    )


def _by_digest(start: str, folder: Path) -> tuple[Path, Result]:
    from fabrika._store import Store, is_store

    stores = []
    for place, inside, _ in os.walk(folder):
        if is_store(Path(place)):
            stores.append(Path(place))
            inside.clear()  # the files of a store may be millions
    files = {
        file.stem: path
        for path in sorted(stores)
        for file in (path / "objects" / start[:2]).glob(f"{start}*.npz")
    }
    if len(files) > 1:
        raise UsageError(f"{len(files)} episodes in {folder} start with {start}: give more of it.")
    for digest, path in files.items():
        with Store.open(path) as store:
            row = store.index.row(store.episode(digest).scenario.index)
        if row and row.digest == digest:
            return path, row
    raise UsageError(
        f"no episode in {folder} has a digest that starts with {start}. "
        "Look elsewhere with --in, or give RUN:INDEX."
    )
