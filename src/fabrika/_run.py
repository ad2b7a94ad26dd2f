"""Running scenarios: whoever runs them, the control plane settles what is run and published."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import cast

from fabrika._control import Answer, Executor, Shift
from fabrika._disk import disk_errors
from fabrika._errors import (
    BusyError,
    InterruptedRunError,
    ResourceError,
    UnknownNameError,
    UsageError,
    VersionError,
)
from fabrika._index import Index
from fabrika._ledger import Entry, account
from fabrika._owners import Life, Owner
from fabrika._pool import Job, Pool
from fabrika._registry import known, load
from fabrika._registry import task as find_task
from fabrika._result import Result
from fabrika._scenario import Split
from fabrika._source import source_digest
from fabrika._station import ACTORS, Serial, policy_file, policy_name
from fabrika._store import Store, is_store
from fabrika._task import Task

EXECUTORS = ("serial", "pool")
"""Executors that are built in. Others are plug-ins "fabrika.executors"."""
_WAIT = 0.25
"""How long to wait for an answer, or for others, before looking again [s]."""


def run_scenarios(
    task: str,
    actor: str,
    split: Split,
    indices: Sequence[int],
    *,
    draw: str = "",
    workers: int = 1,
    executor: str = "",
    store: Path | None = None,
    on_result: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Roll out and judge the scenarios; their results, in the order of ``indices``.

    With a ``store``, every judged episode is kept there, whether it passed or not, and what is
    there already is not run again: the same call continues a run that was interrupted, unless
    the task has changed since (`VersionError`). Several calls, on several machines, may work on
    one store: they share the scenarios.
    ``on_result`` is called once for each result, stored ones first, then as they come in.
    ``executor``: "serial" runs in this process, "pool" on ``workers`` processes; others are
    plug-ins, such as "ray"; empty picks one of the first two. The results do not depend on it.

    Raises `InterruptedRunError` on Ctrl-C; what was committed stays.
    """
    if workers < 1 or not indices or len(set(indices)) != len(indices):
        raise UsageError(f"{workers} workers, indices {list(indices)[:9]}: one or more, each once.")
    plan = find_task(task)
    plan.scenario(split, min(indices), draw)  # what is wrong is said before any work
    if actor not in ACTORS:
        policy_file(actor)
    if executor not in ("", *EXECUTORS, *known("executors")):
        raise UnknownNameError("executor", executor, (*EXECUTORS, *known("executors")))
    job = Job(task=task, actor=actor, split=split, draw=draw, store=store)
    run = _Run(job, plan, indices, on_result or (lambda _: None))
    try:
        with _open(job) as (folder, index, life):
            run.look_up(index)
            if run.missing:
                name = executor or ("serial" if workers == 1 else "pool")
                with _account(job, run.missing, workers) as entry:
                    run.work(name, workers, folder, index, life, entry)
    except KeyboardInterrupt as stop:
        kept = f"{len(run.done)} of {len(indices)} are done" + (" and kept" if store else "")
        raise InterruptedRunError(f"stopped: {kept}. The same command goes on.") from stop
    return [run.done[index] for index in indices]


def _account(job: Job, asked: Sequence[int], workers: int) -> AbstractContextManager[Entry | None]:
    """A row in the ledger of the store, if there is one."""
    if job.store is None:
        return nullcontext()
    actor = manifest_of(job)["actor"]
    names = {"task": job.task, "actor": actor, "split": job.split}
    return account(job.store, stage="rollout", asked=asked, workers=workers, **names)


class _Run:
    """One call of `run_scenarios`: what is asked for, and what is done of it."""

    def __init__(
        self, job: Job, task: Task, indices: Sequence[int], on_result: Callable[[Result], None]
    ) -> None:
        self._job, self._task, self._indices, self._tell = job, task, indices, on_result
        self.done: dict[int, Result] = {}

    @property
    def missing(self) -> list[int]:
        """What is asked for and not done, in the order asked."""
        return [index for index in self._indices if index not in self.done]

    def look_up(self, index: Index) -> None:
        """Count what is there already."""
        asked = set(self._indices)
        for result in index.rows(min(asked), max(asked)):
            if result.index in asked:
                if not self.done:
                    self._require_same_task(result)
                self._take([result])

    def work(
        self,
        executor: str,
        workers: int,
        folder: Store | None,
        index: Index,
        life: Life,
        entry: Entry | None,
    ) -> None:
        """Have the missing scenarios run, until all are published, by whomever."""
        missing = self.missing
        crew = make_executor(executor, self._job, min(workers, len(missing)))
        what = f"{self._job.split} of {self._job.task!r}, actor {self._job.actor!r}"
        shift = Shift(index, life, missing, crew.patience, self._require_same_task, what)
        answers: Sequence[Answer] = ()
        try:
            while not shift.done:
                for answer in answers:
                    if folder and isinstance(answer, Result):
                        folder.require_own(answer)
                settled = shift.turn(answers, crew.room)
                for result in settled.published:
                    if entry:
                        entry.add(result)
                self._take((*settled.published, *settled.present))
                crew.give(settled.give)
                answers = () if shift.done else crew.take(_WAIT)
        finally:
            crew.close()
            with suppress(ResourceError, BusyError):  # others see that this owner is gone
                index.release(life.name)

    def _take(self, results: Iterable[Result]) -> None:
        for result in results:
            if result.index not in self.done:
                self.done[result.index] = result
                self._tell(result)

    def _require_same_task(self, result: Result) -> None:
        """Refuse to add to results of the same task as it was: the mixture would prove nothing."""
        task, where = self._task, self._job.store
        again = task.scenario(result.split, result.index, result.draw)
        limits = [(c.name, c.kind, c.at_least, c.at_most) for c in task.checks]
        found = result.verdict.findings if result.verdict else ()
        judged = [(f.check, f.kind, f.at_least, f.at_most) for f in found]
        what = "scenarios" if again.id != result.scenario_id else "checks"
        if again.id != result.scenario_id or (judged and judged != limits):
            raise VersionError(
                f"{where} was made by a task {task.name!r} with other "
                f"{what} (see scenario {result.index}): the task has changed since. Choose "
                "another folder, or give the changed task a new version."
            )


def make_executor(name: str, job: Job, workers: int) -> Executor:
    """The executor of that name, at work on the job."""
    if name == "serial":
        return Serial(job)
    if name == "pool":
        return Pool(job, workers)
    plugin = cast(Callable[[Job, int], Executor], load("executors", name))
    return plugin(job, workers)


class _Alone:
    """The sign of life of a run that keeps nothing, and so has nobody beside it."""

    name = "alone"

    def dead(self, owners: Iterable[str]) -> set[str]:
        return set()


@contextmanager
def _open(job: Job) -> Iterator[tuple[Store | None, Index, Life]]:
    """The job's store, new or to be continued, with its index and this process's sign of life."""
    if job.store is None:
        yield None, Index.memory(), _Alone()
        return
    with open_store(job.store, manifest_of(job)) as folder:
        with disk_errors(job.store):
            owner = Owner(job.store / "owners")
        try:
            yield folder, folder.index, owner
        finally:
            owner.close()


def manifest_of(job: Job) -> dict[str, str]:
    """What the manifest of the job's store says beside the versions."""
    actor = job.actor if job.actor in ACTORS else policy_name(policy_file(job.actor))
    names = {"task": job.task, "actor": actor, "split": job.split, "draw": job.draw}
    return {**names, "source": source_digest(job.task)}


def open_store(path: Path, manifest: dict[str, str]) -> Store:
    """A store to write to: gone on with if it is there, else new. Any number may call it at once.

    Raises `BusyError` if somebody who has to be alone stays in there.
    """
    until = time.monotonic() + 1.0
    while True:
        if is_store(path):
            return Store.resume(path, manifest)
        try:
            return Store.create(path, manifest)
        except BusyError:  # another is creating it
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        except UsageError:
            if not is_store(path):
                raise
