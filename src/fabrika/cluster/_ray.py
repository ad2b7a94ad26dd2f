"""An executor on Ray: one actor for each worker, wherever the cluster has a CPU for it.

An actor, not a task for each scenario: a world is built once and used for many. Scenarios are
queued at the actor, about `SPAN` seconds of them, and each answers for itself: so a worker never
waits for the coordinator, and one that dies takes with it nothing but what it was running.

If the coordinator dies, Ray ends its actors. What they sealed last is in the store under its
digest, and is found again; their leases end with the coordinator's (`fabrika._owners`).
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabrika._control import Answer, Lost
from fabrika._errors import ResourceError
from fabrika._pool import AHEAD, ONE_THREAD, STALL, Job, result_in
from fabrika._result import Result
from fabrika.cluster._desk import Desk, absolute, footing_of
from fabrika.cluster._session import join

SPAN = 1.0
"""How much work waits at a worker, by what scenarios have taken so far [s]."""
MOST = 64
"""The most scenarios that wait at one worker."""
SIGN = 2.0
"""A worker that is silent for this long is asked for a sign of life [s]."""
START = 300.0
"""With no worker at all for this long, the run ends [s]: the cluster is full, or broken."""
_CARRIED = ("PYTHONPATH", "MUJOCO_GL")
"""What else of this process's environment workers get."""
_CAUSES = {
    "low on memory": signal.SIGKILL.name,  # as if the system had: `Shift` says what to do
    "node has died": "its machine was lost",
}


@dataclass(slots=True, eq=False)
class _Worker:
    """An actor, and what it was asked and has not answered."""

    desk: Any
    beginning: Any
    """The answer to `Desk.begin`, until it is there: None means that it is at work."""
    given: dict[Any, int] = field(default_factory=dict)
    """The scenario of each answer to come, oldest first."""
    pulse: Any = None
    """The answer to `Desk.pulse`, if one was asked for."""
    asked: float = 0.0
    sign: str = ""
    heard: float = field(default_factory=time.monotonic)
    """When it last showed a sign of life."""

    @property
    def awaited(self) -> list[Any]:
        return [ref for ref in (self.beginning, self.pulse, *self.given) if ref is not None]


class RayExecutor:
    """An executor: actors on a Ray cluster. One that dies or hangs is replaced, anywhere."""

    patience = 5
    """More than a pool's: on a cluster, workers die for reasons of their own."""

    def __init__(self, job: Job, workers: int, stall: float = STALL) -> None:
        """Join the cluster of RAY_ADDRESS, or start one here. See `join`.

        ``stall``: a worker at work that shows no sign of life for so many seconds is replaced.
        """
        self._ray = join(workers)
        job = absolute(job)
        self._orders = job.to_json(), footing_of(job)
        self._stall, self._seconds = stall, SPAN
        self._fewest, self._stillborn, self._idle_since = workers, 0, time.monotonic()
        carried = {name: os.environ[name] for name in _CARRIED if name in os.environ}
        # A worker's folder is another, but its pages are those of this one.
        pages = (os.environ.get("FABRIKA_TASKS") or "tasks").split(os.pathsep)
        carried["FABRIKA_TASKS"] = os.pathsep.join(str(Path(p).absolute()) for p in pages if p)
        self._desk = self._ray.remote(
            num_cpus=1,
            max_restarts=0,  # the control plane decides what is tried again
            max_task_retries=0,
            concurrency_groups={"signs": 1},
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {**carried, **ONE_THREAD}},
        )(Desk)
        self._workers: list[_Worker] = []
        for _ in range(workers):
            self._hire()

    @property
    def room(self) -> int:
        """How many more scenarios keep every worker busy that is there."""
        ahead = min(MOST, max(AHEAD, math.ceil(SPAN / self._seconds)))
        return sum(max(0, ahead - len(worker.given)) for worker in self._ready())

    def give(self, indices: Sequence[int]) -> None:
        """Queue the scenarios at the workers with least in hand."""
        for index in indices:
            worker = min(self._ready(), key=lambda worker: len(worker.given))
            if not worker.given:
                worker.heard = time.monotonic()  # it was idle: its silence means nothing
            worker.given[worker.desk.run.remote(json.dumps(index))] = index

    def take(self, timeout: float) -> list[Answer]:
        """What has come back, of the dead and the hung too. Raises what a worker raised."""
        self._require_anyone()
        self._ask_the_silent()
        awaited = [ref for worker in self._workers for ref in worker.awaited]
        come: set[Any] = set()
        if not awaited:
            time.sleep(timeout)
        elif self._ray.wait(awaited, num_returns=1, timeout=timeout)[0]:
            come.update(self._ray.wait(awaited, num_returns=len(awaited), timeout=0)[0])
        answers: list[Answer] = []
        for worker in list(self._workers):
            answers += self._hear(worker, come)
        return [*answers, *self._bury_the_hung()]

    def close(self) -> None:
        """End all actors, whatever they are doing. The session ends with the process."""
        for worker in self._workers:
            self._dismiss(worker)
        self._workers.clear()

    def _ready(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.beginning is None]

    def _hire(self) -> None:
        desk = self._desk.remote()
        self._workers.append(_Worker(desk, desk.begin.remote(*self._orders)))

    def _hear(self, worker: _Worker, come: set[Any]) -> list[Answer]:
        """What one worker has said; if it says no more, what it had in hand is lost."""
        answers: list[Answer] = []
        now = time.monotonic()
        try:
            if worker.beginning in come:
                self._greet(worker)
            for ref in [ref for ref in worker.given if ref in come]:
                text = self._ray.get(ref)
                del worker.given[ref]
                result = result_in(json.loads(text))
                self._learn(result)
                answers.append(result)
                worker.heard = now
            if worker.pulse in come:
                sign, worker.pulse = self._ray.get(worker.pulse), None
                if sign != worker.sign:
                    worker.sign, worker.heard = sign, now
        except self._ray.exceptions.RayError as error:
            answers += self._bury(worker, _cause(error))
        return answers

    def _greet(self, worker: _Worker) -> None:
        """A worker has begun, or could not; raises what it raised."""
        answer = json.loads(self._ray.get(worker.beginning))
        if answer:
            result_in(answer)
        worker.beginning, self._stillborn = None, 0

    def _learn(self, result: Result) -> None:
        """How long a scenario takes, as a mean that forgets."""
        if result.wall_seconds:
            self._seconds += 0.2 * (max(result.wall_seconds, 1e-4) - self._seconds)

    def _ask_the_silent(self) -> None:
        now, sign = time.monotonic(), min(SIGN, self._stall / 4)
        for worker in self._workers:
            silent = now - max(worker.heard, worker.asked) > sign
            if worker.given and worker.pulse is None and silent:
                worker.asked = now
                worker.pulse = worker.desk.pulse.options(concurrency_group="signs").remote()

    def _bury_the_hung(self) -> list[Lost]:
        lost: list[Lost] = []
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.given and now - worker.heard > self._stall:
                lost += self._bury(worker, f"no sign of life for {self._stall:.0f} s")
        return lost

    def _bury(self, dead: _Worker, why: str) -> list[Lost]:
        """Replace a worker; what it had in hand is lost, and the first of it is the suspect."""
        self._workers.remove(dead)
        self._dismiss(dead)
        self._stillborn += dead.beginning is not None
        if self._stillborn > self.patience * self._fewest:
            raise ResourceError(
                f"{self._stillborn} workers on the Ray cluster died ({why}) before they could "
                "begin. Is Fabrika installed on every machine, and does the task run there?"
            )
        self._hire()
        return [Lost(index, why, suspect=not n) for n, index in enumerate(dead.given.values())]

    def _dismiss(self, worker: _Worker) -> None:
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker.desk)

    def _require_anyone(self) -> None:
        if self._ready():
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > START:
            cpus = self._ray.cluster_resources().get("CPU", 0)
            raise ResourceError(
                f"no worker could begin for {START:.0f} s: the Ray cluster has {cpus:.0f} CPUs, "
                "and others may hold them. Try again when there are some."
            )


def _cause(error: Exception) -> str:
    """Why a worker died, in a few words; Ray's own are a page."""
    words = str(error)
    if getattr(error, "actor_init_failed", False):
        return words.strip().splitlines()[-1]
    return next((why for sign, why in _CAUSES.items() if sign in words), "its Ray worker died")
