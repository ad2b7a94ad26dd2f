"""Files that are there whole or not at all; and the points at which a test may pull the plug.

Everything that Fabrika publishes is written by `write_whole`: beside its place, flushed to disk,
renamed into it, the folder flushed. A crash at any point leaves the old file, or none.

A *fail-point* is a named place in that order. It costs one comparison; with the environment
variable ``FABRIKA_FAIL_POINT=NAME:N`` the process kills itself (SIGKILL) when it passes there for
the N-th time, and with ``NAME:N:stop`` it stops (SIGSTOP), as a machine does that is suspended.
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fabrika._errors import ResourceError, UsageError

FILES = ("episode", "manifest", "ledger", "checkpoint", "json")
"""What `write_whole` writes; each has the fail-points of `STEPS`."""
STEPS = ("staged", "flushed", "renamed", "published")
PARTS = ".*.part"
"""What files in the making are called, as a pattern: a crash may leave some."""
POINTS = (
    *(f"{what}/{step}" for what in FILES for step in STEPS),
    "turn/begun",
    "turn/written",
    "turn/committed",
    "folder/flushed",
    "folder/renamed",
)
"""Every fail-point there is."""

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
FORBIDDEN = {
    *(errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
}
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}


class _Plug:
    """The fail-point that is armed, if any."""

    def __init__(self, text: str) -> None:
        self.name, _, rest = text.partition(":")
        nth, _, how = rest.partition(":")
        self.left = int(nth or 1)
        self.signal = signal.SIGSTOP if how == "stop" else signal.SIGKILL

    def pass_by(self, name: str) -> None:
        """Fire if this is the place and the time."""
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.signal)


_plug = _Plug(os.environ["FABRIKA_FAIL_POINT"]) if "FABRIKA_FAIL_POINT" in os.environ else None


def fail_point(name: str) -> None:
    """A place where a test may end or stop this process. ``name``: one of `POINTS`."""
    if _plug is not None:
        _plug.pass_by(name)


def sha256(data: bytes) -> str:
    """The SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_whole(path: Path, data: bytes, what: str = "json", staging: Path | None = None) -> None:
    """Write a file that is there whole or not at all, and survives a power loss once this returns.

    ``staging``: a folder on the same disk for the file in the making; else the file's own.
    ``what``: one of `FILES`. Raises `OSError`; nothing half-written stays.
    """
    staged = (staging or path.parent) / f".{path.name}.{uuid.uuid4().hex}.part"
    try:
        with staged.open("xb") as file:
            file.write(data)
            fail_point(f"{what}/staged")
            file.flush()
            os.fsync(file.fileno())
        fail_point(f"{what}/flushed")
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    fail_point(f"{what}/renamed")
    flush(path.parent)
    fail_point(f"{what}/published")


def flush(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder whose name, and whose parents' names, survive a power loss."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    flush(path.parent)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns a full, failing or forbidden disk into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise ResourceError(f"cannot write to {path}: {error.strerror}. Free space.") from error
        if error.errno in _NO_LOCKS:
            raise ResourceError(
                f"{path} is on a file system without locks ({error.strerror}), which a store "
                "needs. Use a local disk, NFS 4, or a cluster file system mounted with locks."
            ) from error
        if error.errno in FORBIDDEN:
            raise UsageError(f"cannot write to {path}: {error.strerror}.") from error
        raise
    except sqlite3.OperationalError as error:
        raise ResourceError(f"cannot write to {path}: {error}.") from error
