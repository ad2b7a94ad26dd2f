"""Worker processes. Names and numbers go in, results come out, both as lines of JSON."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import fabrika._errors as errors
from fabrika._control import Answer, Lost
from fabrika._errors import FabrikaError, UsageError
from fabrika._result import Result
from fabrika._scenario import Split

AHEAD = 1
"""Scenarios given to one worker. With a second one it would be at work on it before the first is
committed, and a crash could cost two; waiting for the commit costs a hundredth of a second."""
STALL = 30.0
"""A worker at work that shows no sign of life for this long is hung, and is replaced [s]."""
START = 300.0
"""A worker that does not begin within this is hung too: it imports, and builds its world [s]."""
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""The environment of a worker: one thread each, so that sums are the same everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker has to know to run scenarios: names only."""

    task: str
    actor: str
    split: Split
    draw: str = ""
    store: Path | None = None

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The job that `to_json` wrote."""
        data = json.loads(text)
        return cls(**{**data, "store": Path(data["store"]) if data["store"] else None})


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, and the scenarios that it was given and has not answered, oldest first."""

    process: subprocess.Popen[bytes]
    given: deque[int] = field(default_factory=deque)
    partial: bytes = b""
    """The beginning of an answer whose end is still to come."""
    heard: float = field(default_factory=time.monotonic)
    """When it last showed a sign of life."""
    begun: bool = False
    """True from its first sign of life on."""

    @property
    def answers(self) -> IO[bytes]:
        return cast(IO[bytes], self.process.stdout)

    def receive(self) -> list[bytes] | None:
        """The answers that have come, perhaps none yet; None if it has died."""
        chunk = os.read(self.answers.fileno(), 1 << 16)
        self.heard, self.begun = time.monotonic(), True
        *lines, self.partial = (self.partial + chunk).split(b"\n")
        return [line for line in lines if line] if chunk else None

    def send(self, line: str) -> None:
        pipe = cast(IO[bytes], self.process.stdin)
        with suppress(BrokenPipeError):  # it died: the end of its answers will say so
            pipe.write(line.encode() + b"\n")
            pipe.flush()

    def end(self, patience: float = 5.0) -> int:
        """Stop the process; its exit status, negative for a signal."""
        self.process.terminate()
        try:
            status = self.process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        with suppress(BrokenPipeError):
            cast(IO[bytes], self.process.stdin).close()
        self.answers.close()
        return status


class Pool:
    """An executor: worker processes on one job. One that dies or hangs is replaced."""

    patience = 2

    def __init__(self, job: Job, workers: int, stall: float = STALL) -> None:
        self._job, self._stall = job, stall
        self._selector = selectors.DefaultSelector()
        self._workers: set[_Worker] = set()
        for _ in range(workers):
            self._hire()

    @property
    def room(self) -> int:
        """How many more scenarios keep every worker busy."""
        return sum(AHEAD - len(worker.given) for worker in self._workers)

    def give(self, indices: Sequence[int]) -> None:
        """Hand the scenarios to the workers with least in hand."""
        for index in indices:
            worker = min(self._workers, key=lambda worker: len(worker.given))
            if not worker.given:
                worker.heard = time.monotonic()  # it was idle: its silence means nothing
            worker.given.append(index)
            worker.send(json.dumps(index))

    def take(self, timeout: float) -> list[Answer]:
        """What has come back, of the dead and the hung too. Raises what a worker raised."""
        answers: list[Answer] = []
        for key, _ in self._selector.select(timeout):
            sender: _Worker = key.data
            lines = sender.receive()
            if lines is None:
                answers += self._bury(sender, "")
            for line in lines or ():
                answers.append(result_in(json.loads(line)))
                sender.given.popleft()
        now = time.monotonic()
        for worker in list(self._workers):
            limit = self._stall if worker.begun else START
            if worker.given and now - worker.heard > limit:
                answers += self._bury(worker, f"no sign of life for {limit:.0f} s")
        return answers

    def close(self) -> None:
        """Stop all workers, whatever they are doing."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in list(self._workers):
            self._dismiss(worker)
        self._selector.close()

    def _bury(self, dead: _Worker, why: str) -> list[Lost]:
        """Replace a worker; what it had in hand is lost, and the first of it is the suspect."""
        if why:
            dead.process.kill()
        status = self._dismiss(dead)
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        self._hire()
        return [Lost(index, why or how, suspect=not n) for n, index in enumerate(dead.given)]

    def _hire(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "fabrika._worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,  # Ctrl-C is for the parent, which decides
        )
        worker = _Worker(process)
        self._workers.add(worker)
        self._selector.register(worker.answers, selectors.EVENT_READ, worker)
        worker.send(self._job.to_json())

    def _dismiss(self, worker: _Worker) -> int:
        self._workers.discard(worker)
        self._selector.unregister(worker.answers)
        return worker.end()


def result_in(answer: dict[str, Any]) -> Result:
    """The result in a worker's answer; raises the error if there is one."""
    if "error" in answer:
        kind = getattr(errors, answer["error"], FabrikaError)
        # An unknown name composes its own message, which here is complete already.
        raise (UsageError if kind is errors.UnknownNameError else kind)(answer["message"])
    return Result.from_json(answer["result"])
