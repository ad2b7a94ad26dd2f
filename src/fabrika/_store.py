"""The store: judged episodes in sealed files, and one atomic row for each scenario.

::

    FOLDER/manifest.json         what it holds, and the versions that made it; never rewritten
    FOLDER/index.sqlite          one row for each scenario: the only thing that is ever changed
    FOLDER/objects/ab/abcd….npz  episodes, named by their SHA-256; never rewritten
    FOLDER/staging/              files being written; whatever lies here was never committed
    FOLDER/ledger/….json         what each run cost, one file each (see `fabrika._ledger`)
    FOLDER/lock                  held by the one writer; the system frees it if the writer dies

An episode is committed in this order: its file is written in ``staging``, flushed to disk,
renamed into ``objects``, the folder flushed; only then does one SQLite transaction (rollback
journal, ``synchronous=FULL``) add its row. A crash at any point leaves at worst a file that no
row names.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from fabrika._episode import Episode, dump_episode, load_episode
from fabrika._errors import BusyError, IntegrityError, ResourceError, UsageError, VersionError
from fabrika._result import Result

FORMAT = 1
"""Version of the folder's layout. Read: this one. Written: this one."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_SCHEMA = """CREATE TABLE IF NOT EXISTS results (
    position INTEGER PRIMARY KEY, result TEXT NOT NULL, checksum TEXT NOT NULL)"""


def versions() -> dict[str, str]:
    """What an episode's bits depend on: versions of the packages, and the machine's kind."""
    found = {"machine": platform.machine()}
    for package in ("fabrika", "numpy", "mujoco", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


class Store:
    """Results and episodes of one actor in one split of one task. One writer, many readers."""

    def __init__(self, path: Path, manifest: Mapping[str, Any], lock: IO[bytes] | None) -> None:
        self.path = path
        self.manifest = manifest
        """Plain data: ``format``, ``versions``, and what `create` was given."""
        self._lock = lock
        try:  # never create: an empty index would read as a run without results
            uri = f"{(path / 'index.sqlite').resolve().as_uri()}?mode=rw"
            self._database = sqlite3.connect(uri, uri=True)
        except sqlite3.OperationalError as error:
            raise IntegrityError(f"{path / 'index.sqlite'} cannot be opened: {error}.") from error

    @classmethod
    def create(cls, path: Path, manifest: Mapping[str, Any]) -> Store:
        """A new store, open for writing. ``manifest``: plain data that says what it holds.

        Raises `UsageError` if a store, or something else, is there already.
        """
        with ExitStack() as undo, _disk(path):
            if path.exists() and (not path.is_dir() or _foreign(path)):
                raise UsageError(f"{path} exists and is not a store. Choose another folder.")
            path.mkdir(parents=True, exist_ok=True)
            lock = undo.enter_context(_hold(path))
            if is_store(path):
                raise UsageError(f"{path} is a store already. Resume it, or choose another folder.")
            for name in ("objects", "staging"):
                (path / name).mkdir(exist_ok=True)
            with closing(sqlite3.connect(path / "index.sqlite")) as database, database:
                database.execute(_SCHEMA)
            full = {"format": FORMAT, "versions": versions(), **manifest}
            _write(path / "manifest.json", json.dumps(full, indent=2, sort_keys=True).encode())
            _flush_folder(path.parent)
            store = cls._writer(path, lock)
            undo.pop_all()
            return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """An existing store, to read. Other versions' stores can be read, newer formats not."""
        return cls(path, _manifest(path), None)

    @classmethod
    def resume(cls, path: Path, manifest: Mapping[str, Any]) -> Store:
        """An existing store, to go on writing what `create` began with an equal ``manifest``.

        Raises `VersionError` if other versions made it: their episodes would not be equal.
        """
        found = _manifest(path)
        if found["versions"] != versions():
            ours = versions()
            changed = [
                f"{name} {found['versions'].get(name, 'none')}, here {ours.get(name, 'none')}"
                for name in sorted(ours.keys() | found["versions"].keys())
                if ours.get(name) != found["versions"].get(name)
            ]
            raise VersionError(
                f"{path} was made by other versions ({'; '.join(changed)}) and can be read but "
                "not continued: equal scenarios might differ. Choose another folder."
            )
        for name, value in manifest.items():
            if found.get(name) != value:
                raise UsageError(
                    f"{path} holds {name} {found.get(name)!r}, not {value!r}. "
                    "Choose another folder."
                )
        with ExitStack() as undo, _disk(path):
            store = cls._writer(path, undo.enter_context(_hold(path)))
            undo.pop_all()
            return store

    @classmethod
    def _writer(cls, path: Path, lock: IO[bytes]) -> Store:
        store = cls(path, _manifest(path), lock)
        store._database.execute("PRAGMA journal_mode=DELETE")
        store._database.execute("PRAGMA synchronous=FULL")
        for orphan in (path / "staging").iterdir():  # left by a writer that died
            orphan.unlink(missing_ok=True)
        return store

    def seal(self, episode: Episode) -> str:
        """Write the episode for good, and give its digest. Any process may do this."""
        return seal_episode(self.path, episode)

    def commit(self, result: Result) -> None:
        """Add one row, atomically. Committing an equal result again changes nothing.

        Raises `IntegrityError` if the result is not of this store, or differs from the one
        that is there: equal scenarios must give equal episodes.
        """
        if self._lock is None:
            raise UsageError(f"{self.path} is open for reading. Use Store.resume to write.")
        for name in ("task", "split", "draw"):
            if self.manifest.get(name, getattr(result, name)) != getattr(result, name):
                raise IntegrityError(f"{self.path} holds {name} {self.manifest[name]!r} only.")
        if result.digest and not self._object(result.digest).exists():
            raise IntegrityError(f"episode {result.digest} was never sealed in {self.path}.")
        first = self._select("ORDER BY position LIMIT 1")
        promised = str(self.manifest.get("actor", ""))
        promised = promised if promised.startswith("policy:") else result.actor
        for actor in (promised, *(row.actor for row in first)):
            if actor != result.actor:
                raise IntegrityError(
                    f"{self.path} holds {actor!r}; {result.actor!r} is another actor. "
                    "Choose another folder."
                )
        present = self._select("WHERE position = ?", result.index)
        if present and present[0].to_json(timed=False) != result.to_json(timed=False):
            raise IntegrityError(f"scenario {result.index} is in {self.path} with another result.")
        text = result.to_json()
        with _disk(self.path), self._database:
            self._database.execute(
                "INSERT INTO results VALUES (?, ?, ?) ON CONFLICT(position) DO NOTHING",
                (result.index, text, _sha256(text.encode())),
            )

    def rows(self) -> list[Result]:
        """All results, in the order of their index."""
        return self._select("ORDER BY position")

    def missing(self, indices: Iterable[int]) -> list[int]:
        """Those indices that have no row yet, in the order given."""
        done = {result.index for result in self.rows()}
        return [index for index in indices if index not in done]

    def episode(self, which: Result | str) -> Episode:
        """The episode of a result, or of a digest. Raises `IntegrityError` if it was altered."""
        digest = which.digest if isinstance(which, Result) else which
        path = self._object(digest)
        if not digest or not path.is_file():
            raise IntegrityError(f"{self.path} has no episode {digest or '(never stored)'}.")
        data = path.read_bytes()
        if _sha256(data) != digest:
            raise IntegrityError(f"{path} is not what was written: its SHA-256 is another.")
        return load_episode(data)

    def digest(self) -> str:
        """SHA-256 over all rows in order, without the wall clock: equal runs have equal digests."""
        lines = [result.to_json(timed=False) for result in self.rows()]
        return _sha256("\n".join(lines).encode())

    def close(self) -> None:
        """Let go of the store; another process may write then."""
        self._database.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _object(self, digest: str) -> Path:
        return self.path / "objects" / digest[:2] / f"{digest}.npz"

    def _select(self, where: str, *values: int) -> list[Result]:
        try:
            found = self._database.execute(
                f"SELECT position, result, checksum FROM results {where}", values
            ).fetchall()
        except sqlite3.DatabaseError as error:
            kind = BusyError if "locked" in str(error) else IntegrityError
            raise kind(f"{self.path / 'index.sqlite'} cannot be read: {error}.") from error
        for position, text, checksum in found:
            if _sha256(text.encode()) != checksum:
                raise IntegrityError(f"row {position} of {self.path} is not what was written.")
        return [Result.from_json(text) for _, text, _ in found]


def is_store(path: Path) -> bool:
    """True if the folder holds a store, whole or in the making."""
    return (path / "manifest.json").is_file()


def seal_episode(store: Path, episode: Episode) -> str:
    """Write a judged episode into the store's objects; its digest. Needs no lock.

    Raises `ResourceError` if there is no space; nothing half-written stays.
    """
    data = dump_episode(episode)
    digest = _sha256(data)
    target = store / "objects" / digest[:2] / f"{digest}.npz"
    there = target.is_file() and _sha256(target.read_bytes()) == digest
    staged = store / "staging" / f"{uuid.uuid4().hex}.npz"
    with _disk(store):
        try:
            if not there:
                with staged.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                target.parent.mkdir(exist_ok=True)
                staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)
        # Also if it was there: who renamed it may have died before this.
        for folder in (target.parent, target.parent.parent):
            _flush_folder(folder)
    return digest


def _manifest(path: Path) -> dict[str, Any]:
    if not is_store(path):
        raise UsageError(f"{path} is not a store: it has no manifest.json.")
    try:
        found = json.loads((path / "manifest.json").read_text())
        form = int(found["format"])
        found["versions"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path / 'manifest.json'} cannot be read: {error!r}.") from error
    if form != FORMAT:
        raise VersionError(
            f"{path} has format {form}; this version of Fabrika reads {FORMAT}. "
            f"It was made by fabrika {found['versions'].get('fabrika')}: use that one."
        )
    return dict(found)


def _hold(path: Path) -> IO[bytes]:
    """The writer's lock, or `BusyError`. The system frees it when its process ends."""
    lock = (path / "lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise BusyError(
            f"another process is writing to {path}. Wait for it, or stop it."
        ) from error
    return lock


def _foreign(path: Path) -> bool:
    """True if the folder holds anything that a store would not, so that none is littered."""
    ours = {"objects", "staging", "ledger", "lock"}
    made = ("manifest.json", "index.sqlite")  # and what is left of them by a crash: .tmp, -journal
    return any(e.name not in ours and not e.name.startswith(made) for e in path.iterdir())


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Turns a full or failing disk into `ResourceError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise ResourceError(f"cannot write to {path}: {error.strerror}. Free space.") from error
        if error.errno in {errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR}:
            raise UsageError(f"cannot write to {path}: {error.strerror}.") from error
        raise
    except sqlite3.OperationalError as error:
        raise ResourceError(f"cannot write to {path}: {error}.") from error


def _write(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    staged = path.with_name(f"{path.name}.tmp")
    with staged.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    _flush_folder(path.parent)


def _flush_folder(path: Path) -> None:
    """Make the names in a folder as durable as the files are."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
