"""Running scenarios: serially, or on worker processes that exchange nothing but JSON lines."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import cast

from fabrika._actor import Actor, Random, Zero
from fabrika._check import judge
from fabrika._errors import (
    BrokenWorldError,
    ContractError,
    FabrikaError,
    InterruptedRunError,
    UnknownNameError,
    UsageError,
    VersionError,
)
from fabrika._ledger import Entry, account
from fabrika._pool import Job, Pool
from fabrika._registry import known, load
from fabrika._registry import task as find_task
from fabrika._result import Result
from fabrika._rollout import rollout
from fabrika._scenario import Split
from fabrika._store import Store, is_store, seal_episode
from fabrika._task import Task
from fabrika._world import World

ACTORS = ("expert", "random", "zero")
"""Actors that every task has. Any other is the path of a policy file."""


def make_actor(spec: str, task: Task, world: World) -> Actor:
    """The actor that ``spec`` names: "expert", "zero", "random", or a policy file.

    The file's suffix picks its loader among the plug-ins "fabrika.policies". Raises
    `ContractError` if the loader names its actor otherwise than by the file's digest.
    """
    if spec == "expert":
        return task.expert()
    if spec == "zero":
        return Zero(world.acts)
    if spec == "random":
        return Random(world.acts)
    path = _policy_file(spec)
    loader = cast(Callable[[Path], Actor], load("policies", path.suffix.removeprefix(".")))
    actor, name = loader(path), _policy_name(path)
    if actor.name != name:
        raise ContractError(
            f"the loader of {path} names its actor {actor.name!r}, not {name!r}: the name is the "
            "file's SHA-256, so that evidence of two candidates cannot be mixed."
        )
    _require_fit(actor, task, world, path)
    return actor


def run_scenarios(
    task: str,
    actor: str,
    split: Split,
    indices: Sequence[int],
    *,
    draw: str = "",
    workers: int = 1,
    store: Path | None = None,
    on_result: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Roll out and judge the scenarios; their results, in the order of ``indices``.

    With a ``store``, every judged episode is kept there, whether it passed or not, and what is
    there already is not run again: the same call continues a run that was interrupted, unless
    the task has changed since (`VersionError`).
    ``on_result`` is called once for each result, stored ones first, then as they come in.
    The results do not depend on ``workers``: 1 runs in this process.

    Raises `InterruptedRunError` on Ctrl-C; what was committed stays.
    """
    if workers < 1 or not indices or len(set(indices)) != len(indices):
        raise UsageError(f"{workers} workers, indices {list(indices)[:9]}: one or more, each once.")
    plan = find_task(task)
    plan.scenario(split, min(indices), draw)  # what is wrong is said before any work
    if actor not in ACTORS:
        _policy_file(actor)
    job = Job(task=task, actor=actor, split=split, draw=draw, store=store)
    done: dict[int, Result] = {}

    def take(result: Result) -> None:
        done[result.index] = result
        if on_result:
            on_result(result)

    try:
        with _open_store(job) if store else nullcontext() as folder:
            asked = set(indices)
            for result in folder.rows() if folder else []:
                if result.index in asked:
                    _require_same_task(plan, result, store)
                    take(result)
            todo = [index for index in indices if index not in done]
            with (
                _account(job, todo, workers, folder) as entry,
                closing(
                    _serial(job, todo) if workers == 1 else _parallel(job, todo, workers)
                ) as run,
            ):
                for result in run:
                    if folder:
                        folder.commit(result)
                    if entry:
                        entry.add(result)
                    take(result)
    except KeyboardInterrupt as stop:
        kept = f"{len(done)} of {len(indices)} are done" + (" and kept" if store else "")
        raise InterruptedRunError(f"stopped: {kept}. The same command goes on.") from stop
    return [done[index] for index in indices]


class Station:
    """One world and one actor, built once, and used for one scenario after another."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._task = find_task(job.task)
        self._world = self._task.build()
        self._actor = make_actor(job.actor, self._task, self._world)

    def run(self, index: int) -> Result:
        """Roll out, judge and seal one scenario. A world that breaks gives a void result."""
        scenario = self._task.scenario(self._job.split, index, self._job.draw)
        start, cpu = time.perf_counter(), time.process_time()
        try:
            episode = rollout(self._actor, self._world, scenario, self._task.horizon)
            episode = episode.with_verdict(judge(episode, self._task.checks))
        except BrokenWorldError as error:
            self._world.close()  # whatever broke must not reach the next scenario
            self._world = self._task.build()
            return replace(
                Result.voided(scenario, self._actor.name, str(error)),
                wall_seconds=time.perf_counter() - start,
                cpu_seconds=time.process_time() - cpu,
            )
        except FabrikaError:
            raise
        except Exception as error:  # a plug-in may raise anything
            raise ContractError(
                f"task {self._task.name!r} raised {type(error).__name__} in scenario {index} of "
                f"{scenario.split}: {error}. A world that cannot go on raises BrokenWorldError."
            ) from error
        seconds = time.perf_counter() - start
        digest = seal_episode(self._job.store, episode) if self._job.store else ""
        return replace(
            Result.judged(episode),
            digest=digest,
            wall_seconds=seconds,
            cpu_seconds=time.process_time() - cpu,
        )

    def close(self) -> None:
        """Give back the world."""
        self._world.close()


def _serial(job: Job, indices: Sequence[int]) -> Generator[Result, None, None]:
    if not indices:
        return
    with closing(Station(job)) as station:
        for index in indices:
            yield station.run(index)


def _parallel(job: Job, indices: Sequence[int], workers: int) -> Generator[Result, None, None]:
    if not indices:
        return
    with closing(Pool(job, min(workers, len(indices)))) as pool:
        yield from pool.run(indices)


def _open_store(job: Job) -> Store:
    """The job's store, new or to be continued, open for writing."""
    assert job.store is not None
    actor = job.actor
    if actor not in ACTORS:
        actor = _policy_name(_policy_file(actor))
    manifest = {"task": job.task, "actor": actor, "split": job.split, "draw": job.draw}
    if is_store(job.store):
        return Store.resume(job.store, manifest)
    return Store.create(job.store, manifest)


def _account(
    job: Job, todo: Sequence[int], workers: int, store: Store | None
) -> AbstractContextManager[Entry | None]:
    """A row in the store's ledger for what is still to be run; none for nothing."""
    if store is None or not todo:
        return nullcontext()
    actor = str(store.manifest["actor"])
    return account(
        store.path,
        stage="rollout",
        task=job.task,
        actor=actor,
        split=job.split,
        asked=todo,
        workers=workers,
    )


def _policy_file(spec: str) -> Path:
    path = Path(spec)
    if not path.is_file():
        raise UnknownNameError("actor", spec, ACTORS, "Or give the path of a policy file.")
    suffix = path.suffix.removeprefix(".")
    if suffix not in known("policies"):
        raise UnknownNameError("kind of policy file", suffix, known("policies"))
    return path


def _policy_name(path: Path) -> str:
    """A policy is its bytes, wherever they lie."""
    return "policy:" + hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _require_fit(actor: Actor, task: Task, world: World, path: Path) -> None:
    """Refuse a policy that says that it is for another task or another control period."""
    made_for, dt = getattr(actor, "task", task.name), getattr(actor, "dt", world.dt)
    if made_for != task.name:
        raise UsageError(f"{path} was trained for {made_for!r}, not for {task.name!r}.")
    if abs(dt - world.dt) > 1e-9:
        raise UsageError(f"{path} acts every {dt} s; the world of {task.name!r}, {world.dt} s.")


def _require_same_task(task: Task, result: Result, store: Path | None) -> None:
    """Refuse to add to results of the same task as it was: the mixture would prove nothing."""
    again = task.scenario(result.split, result.index, result.draw)
    limits = [(c.name, c.kind, c.at_least, c.at_most) for c in task.checks]
    found = result.verdict.findings if result.verdict else ()
    judged = [(f.check, f.kind, f.at_least, f.at_most) for f in found]
    what = "scenarios" if again.id != result.scenario_id else "checks"
    if again.id != result.scenario_id or (judged and judged != limits):
        raise VersionError(
            f"{store} was made by a task {task.name!r} with other "
            f"{what} (see scenario {result.index}): the task has changed since. Choose another "
            "folder, or give the changed task a new version."
        )
