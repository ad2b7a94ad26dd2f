"""The store: judged episodes in sealed files, and one row for each scenario.

::

    FOLDER/manifest.json         what it holds, and what made it; checksummed, never rewritten
    FOLDER/index.sqlite          a row for each scenario, and who runs what: the only thing that
                                 is ever changed; it can be made again from the rest
    FOLDER/objects/ab/abcd….npz  episodes, named by their SHA-256; never rewritten
    FOLDER/ledger/               what each run that wrote here has cost
    FOLDER/owners/               signs of life of those who write here now
    FOLDER/staging/              files being written; whatever lies here was never committed
    FOLDER/damaged/              what repair took out, if it had to
    FOLDER/lock                  shared by all writers; repair holds it alone

An episode is committed in this order: its file is written in ``staging``, flushed to disk,
renamed into ``objects``, the folders flushed; only then does one SQLite transaction add its row.
A crash at any point leaves at worst a file that no row names. What fixes an episode's bits is in
the manifest (task, its source, actor, split, draw, versions of the code and the engine, kind of
machine) and in the number of the scenario, which is the row's key: so anything may be run twice,
by anyone, and is there once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from fabrika._disk import PARTS, disk_errors, flush, make_folder, sha256, write_whole
from fabrika._episode import Episode, dump_episode, load_episode
from fabrika._errors import BusyError, IntegrityError, UsageError, VersionError, in_words
from fabrika._index import Index
from fabrika._result import Result
from fabrika._tier import EPISODES

FORMAT, MINOR = 1, 1
"""Version of the folder's layout. Read: this major version, up to this minor one."""
JOIN = 0.9
"""How long a writer waits for one that is alone in the store, as it is while it opens it [s]."""
FOLDERS = ("objects", "owners", "staging", "ledger")
DAMAGED = "damaged"
"""What repair took out of a store is kept here."""


def versions() -> dict[str, str]:
    """What an episode's bits depend on: versions of the packages, and the machine's kind."""
    found = {"machine": platform.machine()}
    for package in ("fabrika", "numpy", "mujoco", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def version_changes(made_by: Mapping[str, str], *, ignore: str = "") -> list[str]:
    """In words, each of `versions` that is another one here; ``ignore`` names one to leave out."""
    ours = versions()
    return [
        f"{name} {made_by.get(name, 'none')}, here {ours.get(name, 'none')}"
        for name in sorted((ours.keys() | made_by.keys()) - {ignore})
        if ours.get(name) != made_by.get(name)
    ]


class Store:
    """Results and episodes of one actor in one split of one task. Many writers, many readers."""

    def __init__(self, path: Path, manifest: Mapping[str, Any], lock: IO[bytes] | None) -> None:
        self.path = path
        self.manifest = manifest
        """Plain data: ``format``, ``versions``, and what `create` was given."""
        self.index = Index.open(path / "index.sqlite")
        self._lock = lock
        self._actor: str | None = None
        """Of the rows, once one was seen."""

    @classmethod
    def create(cls, path: Path, manifest: Mapping[str, Any]) -> Store:
        """A new store, open for writing. ``manifest``: plain data that says what it holds.

        Raises `UsageError` if a store, or something else, is there already.
        """
        refuse_inside(path)
        with ExitStack() as undo, disk_errors(path):
            if path.exists() and (not path.is_dir() or _foreign(path)):
                raise UsageError(f"{path} exists and is not a store. Choose another folder.")
            make_folder(path)
            lock = undo.enter_context(_hold(path))
            if is_store(path):
                raise UsageError(f"{path} is a store already. Resume it, or choose another folder.")
            for name in FOLDERS:
                (path / name).mkdir(exist_ok=True)
            text = manifest_text({"versions": versions(), "determinism": EPISODES, **manifest})
            Index.create(path / "index.sqlite", {"manifest": text}).close()
            write_whole(path / "manifest.json", text.encode(), "manifest")
            fcntl.flock(lock, fcntl.LOCK_SH)
            store = cls(path, read_manifest(path), lock)
            undo.pop_all()
            return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """An existing store, to read. Other versions' stores can be read, newer formats not."""
        return cls(path, read_manifest(path), None)

    @classmethod
    def resume(cls, path: Path, manifest: Mapping[str, Any]) -> Store:
        """An existing store, to go on writing what `create` began with an equal ``manifest``.

        Others may write to it at the same time. Raises `VersionError` if other versions made it:
        their episodes would not be equal.
        """
        found = read_manifest(path)
        require_versions(path, found)
        for name, value in manifest.items():
            if found.get(name) != value:
                if name == "source":
                    raise VersionError(
                        f"the code of task {found.get('task')!r} has changed since {path} was "
                        "begun: what is there would not fit what is to come. Choose another "
                        "folder, or give the changed task a new version."
                    )
                raise UsageError(
                    f"{path} holds {name} {found.get(name)!r}, not {value!r}. "
                    "Choose another folder."
                )
        return cls._writer(path, lambda: _join(path))

    @classmethod
    def alone(cls, path: Path, lock: IO[bytes] | None = None) -> Store:
        """An existing store, to write to with nobody else. ``lock``: of `alone_in`, if held.

        Raises `BusyError` at once if anybody else works in it.
        """
        return cls._writer(path, lambda: lock or _hold(path))

    @classmethod
    def _writer(cls, path: Path, take: Callable[[], IO[bytes]]) -> Store:
        with ExitStack() as undo, disk_errors(path):
            manifest = read_manifest(path)
            lock = undo.enter_context(take())
            for name in FOLDERS:
                (path / name).mkdir(exist_ok=True)
            store = cls(path, manifest, lock)
            undo.pop_all()
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
        self.require_own(result)
        self.index.add([result])

    def require_own(self, result: Result) -> None:
        """Raise `IntegrityError` unless the result belongs here and its episode is sealed."""
        own = {name: self.manifest.get(name) for name in ("task", "split", "draw", "actor")}
        if not str(own["actor"]).startswith("policy:"):  # "expert" is a kind; the rows have names
            first = None if self._actor else next(self.index.rows(), None)
            own["actor"] = self._actor = self._actor or (first.actor if first else None)
        for name, expected in own.items():
            found = getattr(result, name)
            if expected not in (None, found):
                raise IntegrityError(
                    f"{self.path} holds {name} {expected!r}; {found!r} is another {name}. "
                    "Choose another folder."
                )
        if result.digest and not self.object(result.digest).exists():
            raise IntegrityError(f"episode {result.digest} was never sealed in {self.path}.")

    def rows(self) -> list[Result]:
        """All results, in the order of their index."""
        return list(self.index.rows())

    def iterate(self) -> Iterator[Result]:
        """All results, in the order of their index, one at a time: for stores of any size."""
        return self.index.rows()

    def count(self) -> Counter[str]:
        """How many results there are, by reason; their rows are not read."""
        return self.index.count()

    def missing(self, indices: Iterable[int]) -> list[int]:
        """Those indices that have no row yet, in the order given."""
        done = set(self.index.positions())
        return [index for index in indices if index not in done]

    def episode(self, which: Result | str) -> Episode:
        """The episode of a result, or of a digest. Raises `IntegrityError` if it was altered."""
        digest = which.digest if isinstance(which, Result) else which
        path = self.object(digest)
        if not digest or not path.is_file():
            raise IntegrityError(f"{self.path} has no episode {digest or '(never stored)'}.")
        data = path.read_bytes()
        if sha256(data) != digest:
            raise IntegrityError(f"{path} is not what was written: its SHA-256 is another.")
        return load_episode(data)

    def digest(self) -> str:
        """SHA-256 over all rows in order, without the clocks: equal runs have equal digests."""
        return digest_of(self.index.rows())

    def object(self, digest: str) -> Path:
        """Where the episode with that digest lies, if it is here."""
        return object_path(self.path, digest)

    def close(self) -> None:
        """Let go of the store."""
        self.index.close()
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


@contextmanager
def alone_in(path: Path) -> Iterator[IO[bytes]]:
    """Holds a store's folder against all other writers. Raises `BusyError` at once."""
    with disk_errors(path), _hold(path) as lock:
        yield lock


def is_store(path: Path) -> bool:
    """True if the folder holds a store, whole or in the making."""
    return (path / "manifest.json").is_file()


def is_like_store(path: Path, least: int = 2) -> bool:
    """True if the folder holds a store, or what damage left of one: so many of its parts."""
    parts = ("manifest.json", "index.sqlite", *FOLDERS)  # anybody may have a folder "objects"
    return sum((path / part).exists() for part in parts) >= least


def refuse_inside(path: Path) -> None:
    """Raise `UsageError` for a place inside a store: repair would take out what is put there."""
    for parent in Path(os.path.abspath(path)).parents:  # noqa: PTH100  # it may be a link
        if is_store(parent) and (parent / "index.sqlite").is_file():
            raise UsageError(f"{path} is inside the store {parent}. Choose another folder.")


def digest_of(rows: Iterable[Result]) -> str:
    """SHA-256 over rows in order, without the clocks; one row at a time is in memory."""
    total, between = hashlib.sha256(), b""
    for row in rows:
        total.update(between + row.to_json(timed=False).encode())
        between = b"\n"
    return total.hexdigest()


def object_path(store: Path, digest: str) -> Path:
    """Where a store keeps the episode with that digest."""
    return store / "objects" / digest[:2] / f"{digest}.npz"


def seal_episode(store: Path, episode: Episode) -> str:
    """Write a judged episode into the store's objects; its digest. Needs no lock.

    Raises `ResourceError` if there is no space; nothing half-written stays.
    """
    return seal_bytes(store, dump_episode(episode))


def seal_bytes(store: Path, data: bytes) -> str:
    """Write an episode's bytes into the store's objects; their digest."""
    digest = sha256(data)
    target = object_path(store, digest)
    there = target.is_file() and sha256(target.read_bytes()) == digest
    with disk_errors(store):
        target.parent.mkdir(exist_ok=True)
        if target.parent.is_symlink():
            raise IntegrityError(f"{target.parent} is a symbolic link: see `fabrika repair`.")
        if there:  # who renamed it may have died before it flushed the folder
            flush(target.parent)
        else:
            write_whole(target, data, "episode", store / "staging")
        flush(target.parent.parent)
    return digest


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """The manifest as it is written, with its checksum."""
    full = {"format": FORMAT, "minor": MINOR, **manifest}
    return json.dumps({**full, "checksum": _checksum(full)}, indent=2, sort_keys=True) + "\n"


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a store.

    Raises `UsageError` if there is none, `IntegrityError` if it was altered, `VersionError` if a
    newer version of Fabrika wrote it.
    """
    if not is_store(path):
        hint = " If the command that makes it was stopped as it began, run it again; if not, "
        hint += f"`fabrika repair {path}` may mend it."
        raise UsageError(
            f"{path} is not a store: it has no manifest.json.{hint * is_like_store(path)}"
        )
    return parse_manifest((path / "manifest.json").read_bytes(), path / "manifest.json")


def parse_manifest(data: bytes, where: Path) -> dict[str, Any]:
    """The manifest in ``data``; see `read_manifest`."""
    try:
        found = dict(json.loads(data))
        form, minor = int(found["format"]), int(found.get("minor", 0))
        found["versions"].items()
        # Minor version 0 had none; one bit makes a 1 a 0, so that alone does not excuse it.
        bare = minor == 0 and "checksum" not in found
        whole = bare or found.pop("checksum") == _checksum(found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{where} cannot be read: {in_words(error)}.") from error
    if (form, minor) > (FORMAT, MINOR) or form != FORMAT:
        raise VersionError(
            f"{where.parent} has format {form}.{minor}; this version of Fabrika reads {FORMAT}.0 "
            f"to {FORMAT}.{MINOR}. It was made by fabrika {found['versions'].get('fabrika')}: use "
            "that one."
        )
    if not whole:
        raise IntegrityError(f"{where} is not what was written. `fabrika repair` may mend it.")
    return found


def require_versions(path: Path, manifest: Mapping[str, Any]) -> None:
    """Raise `VersionError` unless the store was made by the versions that run here."""
    changed = version_changes(manifest["versions"])
    if changed:
        raise VersionError(
            f"{path} was made by other versions ({'; '.join(changed)}) and can be read but "
            "not continued: equal scenarios might differ. Choose another folder."
        )


def _checksum(manifest: Mapping[str, Any]) -> str:
    return sha256(json.dumps(manifest, sort_keys=True).encode())


def _hold(path: Path) -> IO[bytes]:
    """The lock, for one who has to be alone. The system frees it when its process ends."""
    lock = _lock(path, fcntl.LOCK_EX)
    if lock is None:
        raise BusyError(f"another process is writing to {path}. Wait for it, or stop it.")
    _sweep(path)  # nobody else is here: whatever lies in staging is a dead one's
    return lock


def _join(path: Path) -> IO[bytes]:
    """The lock, shared with other writers. Raises `BusyError` if one stays alone in there."""
    until = time.monotonic() + JOIN
    while time.monotonic() < until:
        with suppress(BusyError):
            lock = _hold(path)
            fcntl.flock(lock, fcntl.LOCK_SH)
            return lock
        shared = _lock(path, fcntl.LOCK_SH)
        if shared is not None:
            return shared
        time.sleep(0.02)
    raise BusyError(f"another process repairs or changes {path}. Wait for it, or stop it.")


def _lock(path: Path, kind: int) -> IO[bytes] | None:
    _require_plain(path)
    lock = (path / "lock").open("ab")
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    except OSError:
        lock.close()
        raise
    return lock


def _require_plain(path: Path) -> None:
    """Refuse links: what is written, swept or moved through one would be another's."""
    for name in (*FOLDERS, DAMAGED, "lock", "index.sqlite", "manifest.json"):
        if (path / name).is_symlink():
            raise IntegrityError(
                f"{path / name} is a symbolic link; a store is one folder of plain files. "
                "Put what it points to in its place, or remove it."
            )


def _sweep(path: Path) -> None:
    """Remove what dead writers left."""
    for name in ("staging", "owners"):
        for orphan in (path / name).iterdir() if (path / name).is_dir() else ():
            if orphan.is_symlink() or not orphan.is_dir():
                orphan.unlink(missing_ok=True)
    for orphan in (*path.glob(PARTS), *path.glob(f"ledger/{PARTS}")):
        orphan.unlink(missing_ok=True)


def _foreign(path: Path) -> bool:
    """True if the folder holds anything that a store would not, so that none is littered."""
    ours = {*FOLDERS, DAMAGED, "lock"}
    made = ("manifest.json", ".manifest.json", "index.sqlite")  # and what a crash leaves of them
    return any(e.name not in ours and not e.name.startswith(made) for e in path.iterdir())
