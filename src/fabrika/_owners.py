"""Who is at work in a store, and whether they still live. No clock is ever compared with another.

Each process that runs scenarios owns one file in ``FOLDER/owners``: it holds a lock on it, which
the system frees when the process ends, and counts in it once a second. An owner is dead when its
file is gone, when its lock can be taken, or when its count has stood still for `LEASE` seconds on
the *observer's* own monotonic clock: so a stopped or cut-off owner is found too, and a wall clock
that jumps changes nothing. A dead owner that wakes is harmless: its tokens are void (`Index`).
"""

from __future__ import annotations

import fcntl
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

BEAT = 1.0
"""An owner shows a sign of life this often [s]."""
LEASE = 4.0
"""An owner that showed none for this long, by the observer's clock, is taken for dead [s]."""


class Life(Protocol):
    """How a coordinator shows that it lives, and learns who does not."""

    @property
    def name(self) -> str:
        """Its own name, never used before or after."""

    def dead(self, owners: Iterable[str]) -> set[str]:
        """Those of the owners that are dead."""


class Watch:
    """Decides from signs of life alone; what the signs are is asked of ``sign``.

    ``sign`` gives something that changes while the owner lives, or None if it is surely dead.
    """

    def __init__(
        self,
        sign: Callable[[str], object | None],
        clock: Callable[[], float] = time.monotonic,
        lease: float = LEASE,
    ) -> None:
        self._sign, self._clock, self._lease = sign, clock, lease
        self._seen: dict[str, tuple[object, float]] = {}

    def dead(self, owners: Iterable[str]) -> set[str]:
        """Those that are dead by now."""
        now, found = self._clock(), set()
        for owner in owners:
            sign = self._sign(owner)
            last, since = self._seen.get(owner, (object(), now))
            if sign is None:
                found.add(owner)
            elif sign != last:
                self._seen[owner] = (sign, now)
            elif now - since >= self._lease:
                found.add(owner)
        return found


class Owner:
    """This process as an owner of a store's leases: its file, its lock, its count."""

    def __init__(self, folder: Path) -> None:
        self.name = uuid.uuid4().hex
        self._folder = folder
        self._watch = Watch(self._sign)
        folder.mkdir(exist_ok=True)
        self.dead(entry.name for entry in folder.iterdir())  # sweeps their files
        self._file = os.open(folder / self.name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        # Until the lock is held a sweeper may take the file for a dead one's, and remove it.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        if not (folder / self.name).exists():
            os.close(self._file)
            self._file = os.open(folder / self.name, os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._count = 0
        self._ended = threading.Event()
        with suppress(OSError):
            self.beat()
        self._heart = threading.Thread(target=self._live, name="fabrika-owner", daemon=True)
        self._heart.start()
        # A network file system may keep what is written to itself for half a minute. Flushing has
        # a thread of its own: a slow disk must not stop the count.
        threading.Thread(target=self._flush, name="fabrika-owner-flush", daemon=True).start()

    def beat(self) -> None:
        """Show a sign of life."""
        self._count += 1
        os.pwrite(self._file, f"{self._count:012d} {platform.node()} {os.getpid()}\n".encode(), 0)

    def dead(self, owners: Iterable[str]) -> set[str]:
        """Those of the owners that are dead."""
        return self._watch.dead(owners)

    def close(self) -> None:
        """No more signs of life."""
        self._ended.set()
        self._heart.join()
        with suppress(OSError):  # who sweeps finds the lock free
            (self._folder / self.name).unlink(missing_ok=True)
        os.close(self._file)

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):  # a full disk or a lost folder: the lock still speaks
                self.beat()

    def _flush(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):
                os.fsync(self._file)

    def _sign(self, owner: str) -> object | None:
        try:
            handle = os.open(self._folder / owner, os.O_RDWR)
        except FileNotFoundError:
            return None
        except OSError as error:  # a sign that cannot be read stands still
            return error.errno
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):  # a disk that fails: it is dead all the same
                (self._folder / owner).unlink(missing_ok=True)
        except BlockingIOError:
            return os.pread(handle, 64, 0)
        finally:
            os.close(handle)
        return None
