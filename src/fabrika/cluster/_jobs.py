"""What a cluster is to do: a range of scenarios, cut into contiguous shares."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from fabrika._errors import UsageError
from fabrika._scenario import Split

MOST_JOBS = 10_000
"""Kubernetes runs no more pods of one job at once; Slurm's own default limit is 1000."""
MOST_SCENARIOS = 10**12
"""So that no shell's arithmetic, in 64 bits, overflows."""
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""Names that a cluster knows: of queues, partitions, pools and volumes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayJob:
    """Scenarios ``start`` … ``start + count - 1`` in ``jobs`` shares, rolled out into one store.

    Raises `UsageError` for whatever no cluster could do, or could not be written down safely.
    """

    task: str
    store: str
    """The store's folder as every node sees it: absolute, on a file system that all share."""
    count: int
    start: int = 0
    jobs: int = 1
    actor: str = "expert"
    """"expert", "random", "zero", or the absolute path of a policy file as every node sees it."""
    split: Split = "train"
    workers: int = 1
    """Worker processes of a share: so many cores are asked for."""
    command: tuple[str, ...] = ("fabrika",)
    """The words that start Fabrika on a node."""
    queue: str = ""
    """Slurm: partition. Kueue: local queue. OSMO: pool."""
    image: str = ""
    """Container image that has Fabrika."""
    volume: tuple[str, str] | None = None
    """What is mounted, and the absolute folder where. Kueue: a claim. SkyPilot: a volume.
    OSMO: a folder of the host."""
    minutes: int | None = None
    """Time limit of a share [min]."""
    memory: int | None = None
    """Memory of a share [GiB]."""
    at_once: int | None = None
    """Shares that may run at the same time, if not all."""

    def __post_init__(self) -> None:
        if not 1 <= self.jobs <= min(self.count, MOST_JOBS):
            raise UsageError(
                f"{self.count} scenarios cannot be shared among {self.jobs} jobs: every job needs "
                f"a scenario, and there may be {MOST_JOBS} jobs."
            )
        if self.start < 0 or self.start + self.count > MOST_SCENARIOS:
            raise UsageError(f"scenarios {self.start} + {self.count}: use 0 … {MOST_SCENARIOS}.")
        if self.at_once is not None and not 1 <= self.at_once <= self.jobs:
            raise UsageError(f"{self.at_once} of {self.jobs} jobs cannot run at once.")
        for word in self._words():
            if "\0" in word or (not word.isascii() and not _encodable(word)):
                raise UsageError(f"{word!r} cannot be written into a job: it is no text.")
        if not self.command or not self.task or self.task.startswith("-"):
            raise UsageError(f"no command and task can be {self.command} and {self.task!r}.")
        if self.queue and not NAME.fullmatch(self.queue):
            raise UsageError(f"{self.queue!r} is not the name of a queue: letters, digits, ._-")
        folders = [self.store] + ([self.volume[1]] if self.volume else [])
        for folder in folders:
            if not PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts:
                raise UsageError(f"{folder!r}: give the folder as nodes see it, from / on.")
        if self.volume and not PurePosixPath(self.store).is_relative_to(self.volume[1]):
            raise UsageError(
                f"the store {self.store} does not lie in {self.volume[1]}, where the volume "
                f"{self.volume[0]} is mounted: it would be lost with the container."
            )

    def _words(self) -> list[str]:
        """Everything that may hold any text."""
        volume = list(self.volume or ())
        return [*self.command, self.task, self.actor, self.store, self.image, *volume]

    @property
    def name(self) -> str:
        """What the cluster calls it: fit for every system, and another one for another job."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.task.lower())[:32].strip("-")
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return "-".join(part for part in ("fabrika", slug, digest[:8]) if part)

    def share(self, job: int) -> range:
        """The scenarios of share ``job`` in 0 … ``jobs`` - 1: contiguous, none empty.

        The job files compute the same: from floor(N j / J) up to floor(N (j + 1) / J).
        """
        first, last = (self.count * k // self.jobs for k in (job, job + 1))
        return range(self.start + first, self.start + last)

    def rollout(self, share: range | None = None) -> list[str]:
        """The words of the command that runs a share; without one, all but its range."""
        words = [*self.command, "rollout", self.task, "--actor", self.actor]
        words += ["--split", self.split, "--workers", str(self.workers), "--out", self.store]
        if share is not None:
            words += ["--start", str(share.start), "-n", str(len(share))]
        return words


def _encodable(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:  # bytes of a file name that are no text
        return False
    return True
