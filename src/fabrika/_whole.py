"""A folder that is there whole, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fabrika._disk import FORBIDDEN, NO_SPACE, fail_point, flush, make_folder
from fabrika._errors import BusyError, InterruptedRunError, ResourceError, UsageError


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside ``out`` to write into; it becomes ``out`` by one rename at the end.

    Whatever goes wrong before that, the hidden folder is removed. What a killed process left is
    removed by the next call. Raises `UsageError` if ``out`` exists, `BusyError` if another
    process is writing it, `ResourceError` if there is no space, `InterruptedRunError` on Ctrl-C.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100  # resolve() would follow a dangling link
    if os.path.lexists(out):
        raise UsageError(f"{out} exists. Choose another folder, or move it away: `fabrika delete`.")
    partial = out.with_name(f".{out.name}.partial")
    with _plain_errors(out):
        make_folder(out.parent)
        partial.mkdir(exist_ok=True)
        with _held(partial):
            try:
                _empty(partial)
                yield partial
                _flush_all(partial)
                fail_point("folder/flushed")
                _rename(partial, out)
                fail_point("folder/renamed")
                flush(out.parent)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The writer's lock; the system frees it if the process dies."""
    busy: BusyError | None = BusyError(
        f"another process is writing {folder}. Wait for it, or stop it."
    )
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who held it before may have renamed or removed it: the path is another folder then.
            if os.path.samestat(os.fstat(handle), folder.lstat()):
                busy = None
        if busy:
            raise busy
        yield
    finally:
        os.close(handle)


@contextmanager
def _plain_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stop:
        raise InterruptedRunError(
            f"stopped; nothing was left at {out}. The same command starts again."
        ) from stop
    except MemoryError as error:
        raise ResourceError(f"no memory left while writing {out}.") from error
    except OSError as error:
        if error.errno in NO_SPACE or "No space left" in str(error):
            raise ResourceError(
                f"cannot write {out}: {error}. Free space; nothing was left there."
            ) from error
        if error.errno in FORBIDDEN:
            raise UsageError(f"cannot write {out}: {error}. Choose another folder.") from error
        raise


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _rename(partial: Path, out: Path) -> None:
    try:
        partial.rename(out)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise UsageError(f"{out} appeared while it was being written.") from error
        raise


def _flush_all(folder: Path) -> None:
    """Everything in the folder to disk, so that the rename never shows half of it."""
    for parent, _, names in os.walk(folder):
        for name in names:
            flush(Path(parent, name))
        flush(Path(parent))
