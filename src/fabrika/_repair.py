"""Mending a store: nothing untouched is lost, the rest is made again from its scenario."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fabrika._disk import disk_errors, flush, make_folder, sha256, write_whole
from fabrika._episode import dump_episode, load_episode
from fabrika._errors import FabrikaError, IntegrityError, VersionError
from fabrika._index import OWED, Index
from fabrika._result import Result
from fabrika._store import (
    DAMAGED,
    Store,
    alone_in,
    object_path,
    parse_manifest,
    require_versions,
    seal_bytes,
)
from fabrika._verify import Damage, asked, belongs, files_of, verify_store

Run = Callable[[Store, list[int]], Iterable[Result]]


@dataclass(slots=True)
class Repaired:
    """What `repair_store` did."""

    damage: list[Damage]
    """What was wrong."""
    kept: int = 0
    """Episodes that were sound, and were not touched."""
    renamed: list[str] = field(default_factory=list)
    """Digests of sound episodes that lay in the wrong place."""
    regenerated: list[int] = field(default_factory=list)
    """Scenarios that were run again, each with the result that was there before."""
    lost: list[str] = field(default_factory=list)
    """What cannot be made again, such as a row of the ledger."""
    damaged: str = ""
    """The folder that keeps what was taken out."""


def repair_store(
    path: Path,
    *,
    run: Run,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Repaired:
    """Mend a store: every sound episode is kept, the rest is made again from its scenario.

    What is taken out is kept in the store's folder "damaged". ``run`` runs scenarios of the store,
    seals their episodes in it, and gives their results.

    Raises `BusyError` if anybody works in the store, `VersionError` if episodes have to be made
    again and other versions made them, `IntegrityError` if the store cannot be mended, or if an
    episode came out otherwise than it was.
    """
    with alone_in(path) as lock, disk_errors(path):
        damage = verify_store(path, on_progress)
        done = Repaired(damage)
        bench = _Bench(path, path / DAMAGED / time.strftime("%Y%m%dT%H%M%S", time.gmtime()))
        manifest = bench.mend_manifest()
        wrong = {item.where for item in damage}
        done.renamed = bench.mend_episodes(wrong)
        known = bench.mend_index(manifest, any(d.code in ("index", "row") for d in damage))
        for item in damage:
            where, blocked = path / item.where, item.code == "episode-missing"
            if item.where == "lock" and where.is_file():  # held: emptied, not replaced
                bench.keep_content(where)
                os.truncate(where, 0)
            elif (item.code in ("ledger", "stray") and os.path.lexists(where)) or (
                blocked and where.is_dir()
            ):
                bench.take_out(item.where)
                if item.code == "ledger":
                    done.lost.append(item.where)
        done.damaged = str(bench.damaged) if bench.damaged.is_dir() else ""
        with Store.alone(path, lock) as store:
            _regenerate(store, run, known, done)
    return done


class _Bench:
    """The files of one store under repair."""

    def __init__(self, path: Path, damaged: Path) -> None:
        self.path, self.damaged = path, damaged

    def take_out(self, where: str) -> None:
        """Move a file out of the store, and keep it; of a link, the link."""
        (self.path / where).rename(self._free(where))

    def _free(self, where: str) -> Path:
        """Where to keep a file; never over one that is kept already."""
        make_folder(self.damaged)
        target = self.damaged / where.replace("/", "-")
        while os.path.lexists(target):
            target = target.with_name(f"{target.name}~")
        return target

    def mend_manifest(self) -> dict[str, Any]:
        """The manifest, from its file, the index's copy, or wherever it lies now."""
        file = self.path / "manifest.json"
        with suppress(IntegrityError, OSError):
            return parse_manifest(file.read_bytes(), file)
        for data in self._manifests():
            with suppress(FabrikaError):
                manifest = parse_manifest(data, file)
                self.keep_content(file)
                write_whole(file, data, "manifest")
                return manifest
        raise IntegrityError(
            f"{self.path} cannot be mended: neither manifest.json nor its copy in index.sqlite can "
            "be read. The command that made it makes one around the episodes in objects/."
        )

    def _manifests(self) -> Iterator[bytes]:
        for file in self._starting(b"SQLite format 3\0"):
            with suppress(FabrikaError), closing(Index.open(self.path / file)) as index:
                copy = index.copy("manifest")
                if copy:
                    yield copy.encode()
        for file in self._starting(b"{"):
            yield (self.path / file).read_bytes()

    def keep_content(self, file: Path) -> None:
        """Keep what lies in a file that is about to be replaced; sealed, if an episode.

        A copy: until the new file is in its place, whoever mends again needs the old one.
        """
        if file.is_dir():
            self.take_out(file.name)
        elif file.exists():
            data = file.read_bytes()
            if _is_episode(data):
                seal_bytes(self.path, data)
            kept = self._free(file.name)
            shutil.copyfile(file, kept)
            flush(kept)

    def _starting(self, magic: bytes) -> list[Path]:
        found = []
        for file in sorted(files_of(self.path)):
            if (self.path / file).is_symlink() or not (self.path / file).is_file():
                continue
            with (self.path / file).open("rb") as opened:
                if opened.read(len(magic)) == magic:
                    found.append(file)
        return found

    def mend_episodes(self, wrong: set[str]) -> list[str]:
        """Sound episodes that lie in a wrong place go to their own; altered ones are taken out."""
        renamed = []
        for file in sorted(files_of(self.path)):
            if (
                str(file) not in wrong
                or file.parts[0] == "ledger"
                or not (self.path / file).is_file()
            ):
                continue
            data = (self.path / file).read_bytes()
            if (self.path / file).is_symlink():
                self.take_out(str(file))
            if _is_episode(data):
                renamed.append(seal_bytes(self.path, data))
            mended = file == object_path(Path(), sha256(data))  # by an earlier one, just now
            left = os.path.lexists(self.path / file) and data[:6] != b"SQLite"
            if file.parts[0] == "objects" and not mended and left:
                self.take_out(str(file))
        return renamed

    def mend_index(self, manifest: dict[str, Any], broken: bool) -> set[int]:
        """A new index, if the old one is broken, from all that is sound; scenarios once there."""
        file = self.path / "index.sqlite"
        rows: dict[int, Result] = {}
        lost: set[int] = set()
        for place in (Path("index.sqlite"), *self._starting(b"SQLite format 3\0")):
            with suppress(FabrikaError), closing(Index.open(self.path / place)) as index:
                for position, row in index.salvage():
                    if row is None or row.index != position or not belongs(row, manifest):
                        lost.add(position)
                    else:
                        rows[position] = row
                lost |= index.owed()
        if not broken and file.is_file():
            return lost
        for row in self._from_objects(manifest):
            rows.setdefault(row.index, row)
        text = (self.path / "manifest.json").read_text()
        staged = self.path / "staging" / "index.sqlite"
        staged.unlink(missing_ok=True)
        # What has to be made again is told in the same file: a repair that ends before it has
        # made them is found by `verify_store`, and gone on with.
        owed = json.dumps(sorted((lost | asked(self.path)) - rows.keys()))
        with closing(Index.create(staged, {"manifest": text, OWED: owed})) as fresh:
            fresh.add([rows[position] for position in sorted(rows)])
        self.keep_content(file)
        with suppress(FileNotFoundError):
            self.take_out("index.sqlite-journal")
        staged.replace(file)
        flush(self.path)
        return lost - rows.keys()

    def _from_objects(self, manifest: dict[str, Any]) -> Iterator[Result]:
        """The rows that the sealed episodes themselves amount to."""
        for file in sorted((self.path / "objects").rglob("*.npz")):
            data = file.read_bytes()
            if sha256(data) == file.stem:
                with suppress(FabrikaError):
                    row = replace(Result.judged(load_episode(data)), digest=file.stem)
                    if belongs(row, manifest):
                        yield row


def _regenerate(
    store: Store,
    run: Run,
    lost: set[int],
    done: Repaired,
) -> None:
    """Run again what is asked for and not there, and what has lost its episode."""
    rows = {row.index: row for row in store.iterate()}
    gone = {i for i, row in rows.items() if row.digest and not store.object(row.digest).is_file()}
    done.kept = sum(1 for i, row in rows.items() if row.digest and i not in gone)
    # Rows that a broken index lost may be of a run that was stopped: all that was asked for counts.
    broken = any(damage.code == "index" for damage in done.damage)
    there = asked(store.path) if broken else asked(store.path, "done") | store.index.owed()
    wanted = sorted(gone | (lost | there) - rows.keys())
    if not wanted:
        return
    try:
        require_versions(store.path, store.manifest)
    except VersionError as error:
        raise VersionError(
            f"{len(wanted)} episodes of {store.path} have to be made again, by the versions that "
            f"made them. {error} All else is mended."
        ) from error
    for result in run(store, wanted):
        before = rows.get(result.index)
        if before and before.to_json(timed=False) != result.to_json(timed=False):
            raise IntegrityError(
                f"scenario {result.index} of {store.path} came out otherwise than it was: "
                f"episode {result.digest}, before {before.digest}. The code has changed, or "
                "the row was forged."
            )
        if not before:
            store.index.add([result])
        done.regenerated.append(result.index)


def _is_episode(data: bytes) -> bool:
    """True if these are the very bytes that `dump_episode` writes."""
    with suppress(FabrikaError):
        return dump_episode(load_episode(data)) == data
    return False
