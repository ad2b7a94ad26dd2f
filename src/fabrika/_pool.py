"""Worker processes. Names and numbers go in, results come out, both as lines of JSON."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import fabrika._errors as errors
from fabrika._errors import BrokenWorldError, FabrikaError, ResourceError, UsageError
from fabrika._result import Result
from fabrika._scenario import Split

AHEAD = 1
"""Scenarios given to one worker. With more, it would begin the next before its last is committed,
and a kill would undo both; waiting for the commit costs it some 20 ms of a scenario's seconds."""

_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)


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
        names = {"task": self.task, "actor": self.actor, "split": self.split, "draw": self.draw}
        return json.dumps({**names, "store": str(self.store) if self.store else None})

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

    @property
    def answers(self) -> IO[bytes]:
        return cast(IO[bytes], self.process.stdout)

    def receive(self) -> list[bytes] | None:
        """The answers that have come, perhaps none yet; None if it has died."""
        chunk = os.read(self.answers.fileno(), 1 << 16)
        *lines, self.partial = (self.partial + chunk).split(b"\n")
        return lines if chunk else None

    def send(self, line: str) -> None:
        pipe = cast(IO[bytes], self.process.stdin)
        with suppress(BrokenPipeError):  # it died: the end of its answers will say so
            pipe.write(line.encode() + b"\n")
            pipe.flush()

    def end(self) -> int:
        """Stop the process; its exit status, negative for a signal."""
        self.process.terminate()
        try:
            status = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        with suppress(BrokenPipeError):
            cast(IO[bytes], self.process.stdin).close()
        self.answers.close()
        return status


class Pool:
    """Workers on one job. Results come as they are ready, in no order."""

    def __init__(self, job: Job, workers: int) -> None:
        self._job = job
        self._selector = selectors.DefaultSelector()
        self._workers: set[_Worker] = set()
        for _ in range(workers):
            self._hire()

    def run(self, indices: Sequence[int]) -> Iterator[Result]:
        """Each scenario's result. A scenario whose worker dies is tried once more, elsewhere.

        Raises whatever `FabrikaError` a worker met.
        """
        waiting = deque(indices)
        died: set[int] = set()
        left = len(indices)
        while left:
            for worker in self._workers:
                while waiting and len(worker.given) < AHEAD:
                    index = waiting.popleft()
                    worker.given.append(index)
                    worker.send(json.dumps(index))
            for key, _ in self._selector.select():
                sender: _Worker = key.data
                answers = sender.receive()
                if answers is None:
                    self._replace(sender, died, waiting)
                    continue
                for answer in answers:
                    result = _result(json.loads(answer))
                    sender.given.popleft()
                    left -= 1
                    yield result

    def close(self) -> None:
        """Stop all workers, whatever they are doing."""
        for worker in list(self._workers):
            self._dismiss(worker)
        self._selector.close()

    def _replace(self, dead: _Worker, died: set[int], waiting: deque[int]) -> None:
        """Give what a dead worker held to others; its first scenario is the suspect."""
        status = self._dismiss(dead)
        if dead.given:
            suspect = dead.given[0]
            if suspect in died:
                how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
                cause = ResourceError if status == -signal.SIGKILL else BrokenWorldError
                raise cause(
                    f"two workers died ({how}) in scenario {suspect} of {self._job.split} of "
                    f"{self._job.task!r}, actor {self._job.actor!r}. Run it alone, with one worker."
                )
            died.add(suspect)
            waiting.extendleft(reversed(dead.given))
            self._hire()

    def _hire(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "fabrika._worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD},
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


def _result(answer: dict[str, Any]) -> Result:
    """The result in a worker's answer; raises the error if there is one."""
    if "error" in answer:
        kind = getattr(errors, answer["error"], FabrikaError)
        # An unknown name composes its own message, which here is complete already.
        raise (UsageError if kind is errors.UnknownNameError else kind)(answer["message"])
    return Result.from_json(answer["result"])
