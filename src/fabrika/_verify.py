"""Finding damage in a store: every file is read, and compared with its checksum."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from fabrika._disk import PARTS, sha256
from fabrika._errors import FabrikaError, IntegrityError, UsageError
from fabrika._index import Index
from fabrika._ledger import read_row
from fabrika._result import Result
from fabrika._store import DAMAGED, object_path, parse_manifest

CODES = {
    "manifest": "manifest.json is missing, or is not what was written",
    "index": "index.sqlite is missing, or is not what was written",
    "row": "a row of the index is not what was written, or does not belong here",
    "episode-missing": "a row names an episode that is not there",
    "episode": "an episode's file is not what was written",
    "ledger": "a row of the ledger is not what was written",
    "stray": "a file that no store has, or that lies in the wrong place",
}
"""What `verify_store` can find. Codes are published: scripts may rely on them."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong with a store."""

    code: str
    """One of `CODES`."""
    where: str
    """The file, relative to the store, or the scenario."""
    message: str


def verify_store(
    path: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    sample: int = 0,
    seed: int = 0,
) -> list[Damage]:
    """All damage: every file is read, and compared with its checksum. Changes nothing.

    With a ``sample``, only so many rows, drawn at random from ``seed``, are read with their
    episodes, beside the manifest and the ledger: no damage found is then no proof that there is
    none.

    Raises `UsageError` if the folder is no store at all, `VersionError` if a newer version of
    Fabrika wrote it.
    """
    if not path.is_dir() or not any(
        (path / name).exists() for name in ("manifest.json", "objects")
    ):
        raise UsageError(f"{path} is not a store: it has no manifest.json.")
    found: list[Damage] = []
    manifest = _read_manifest(path, found)
    named = _read_rows(path, manifest, found, sample, seed)
    absent = [digest for digest in named if not object_path(path, digest).is_file()]
    files = files_of(path) if not sample else _files_named(path, named.keys() - set(absent))
    for number, file in enumerate(files, 1):
        found += _check_file(path, file, named)
        on_progress(number, max(number, len(named)))
    for digest in absent:
        where = str(object_path(Path(), digest))
        found.append(Damage("episode-missing", where, f"scenario {named[digest]} names it."))
    for name in ("index.sqlite", "lock"):
        if not (path / name).is_file() and not any(d.where == name for d in found):
            found.append(Damage("stray", name, "it is missing."))
    return found


def _read_manifest(path: Path, found: list[Damage]) -> dict[str, Any] | None:
    file = path / "manifest.json"
    try:
        return parse_manifest(file.read_bytes(), file)
    except (IntegrityError, FileNotFoundError, IsADirectoryError) as error:
        found.append(Damage("manifest", "manifest.json", str(error)))
    return None


def _read_rows(
    path: Path, manifest: dict[str, Any] | None, found: list[Damage], sample: int, seed: int
) -> dict[str, int]:
    """The scenario of each episode that a sound row names; what is wrong with the rest is found."""
    problems, copy, rows, named = list[str](), None, list[Damage](), dict[str, int]()
    try:
        with closing(Index.open(path / "index.sqlite")) as index:
            problems = [] if sample else index.damage()
            copy = index.copy("manifest")
            wanted = index.positions()
            if sample:
                wanted = sorted(random.Random(seed).sample(wanted, min(sample, len(wanted))))
            count = 0
            for position, row in index.salvage(wanted if sample else None):
                count += 1
                wrong = _wrong(position, row, manifest)
                if wrong:
                    rows.append(Damage("row", f"scenario {position}", wrong))
                elif row and row.digest:
                    named[row.digest] = position
            if not problems and count != len(wanted):
                problems = ["rows are missing"]
    except IntegrityError as error:
        problems = [str(error)]
    found += [Damage("index", "index.sqlite", problem) for problem in problems]
    if copy is not None and manifest is not None and _plain(copy) != manifest:
        found.append(Damage("index", "index.sqlite", "its copy of the manifest is another."))
    found += rows
    return named


def _wrong(position: int, row: Result | None, manifest: dict[str, Any] | None) -> str:
    if row is None or row.index != position:
        return "it is not what was written."
    return "" if not manifest or belongs(row, manifest) else "it belongs to another store."


def _plain(copy: str) -> dict[str, Any] | None:
    with suppress(FabrikaError):
        return parse_manifest(copy.encode(), Path("index.sqlite"))
    return None


def files_of(path: Path) -> Iterator[Path]:
    """Every file that should not change, relative to the store, folder by folder."""
    for folder, inside, names in os.walk(path):
        place = Path(folder).relative_to(path)
        skip = () if place.parts else ("staging", "owners", DAMAGED)
        inside[:] = sorted(name for name in inside if name not in skip)
        yield from (place / n for n in sorted(names) if not fnmatch(n, PARTS))


def _files_named(path: Path, digests: Iterable[str]) -> Iterator[Path]:
    """The sealed episodes with these digests, and the ledger, relative to the store."""
    yield from (object_path(Path(), digest) for digest in sorted(digests))
    yield from (file.relative_to(path) for file in sorted((path / "ledger").glob("*")))


def _check_file(path: Path, file: Path, named: dict[str, int]) -> Iterator[Damage]:
    name = str(file)
    if name in ("manifest.json", "index.sqlite", "index.sqlite-journal"):
        return
    if name == "lock":
        if (path / file).stat().st_size:
            yield Damage("stray", name, "it should be empty.")
    elif file.parts[0] == "objects" and file == object_path(Path(), file.stem):
        if sha256((path / file).read_bytes()) != file.stem:
            whose = f" (scenario {named[file.stem]})" if file.stem in named else ""
            yield Damage("episode", name, f"its SHA-256 is another{whose}.")
    elif file.parts[0] == "ledger" and file.suffix == ".json":
        try:
            read_row(path / file)
        except FabrikaError as error:
            yield Damage("ledger", name, str(error))
    else:
        yield Damage("stray", name, "no store has such a file.")


def belongs(row: Result, manifest: dict[str, Any]) -> bool:
    """True if the row can be of the store with this manifest."""
    return all(manifest.get(name) == getattr(row, name) for name in ("task", "split", "draw"))
