"""Where a scenario is run: one world and one actor, whatever executor brought it here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

from fabrika._actor import Actor, Random, Zero
from fabrika._check import judge
from fabrika._control import Answer
from fabrika._errors import (
    BrokenWorldError,
    ContractError,
    FabrikaError,
    UnknownNameError,
    UsageError,
)
from fabrika._pool import Job
from fabrika._registry import known, load
from fabrika._registry import task as find_task
from fabrika._result import Result
from fabrika._rollout import rollout
from fabrika._signals import Signals
from fabrika._store import seal_episode
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
    path = policy_file(spec)
    loader = cast(Callable[[Path], Actor], load("policies", path.suffix.removeprefix(".")))
    actor, name = loader(path), policy_name(path)
    if actor.name != name:
        raise ContractError(
            f"the loader of {path} names its actor {actor.name!r}, not {name!r}: the name is the "
            "file's SHA-256, so that evidence of two candidates cannot be mixed."
        )
    _require_fit(actor, task, world, path)
    return actor


def policy_file(spec: str) -> Path:
    """The policy file that ``spec`` names. Raises `UnknownNameError`."""
    path = Path(spec)
    if not path.is_file():
        raise UnknownNameError("actor", spec, ACTORS, "Or give the path of a policy file.")
    suffix = path.suffix.removeprefix(".")
    if suffix not in known("policies"):
        raise UnknownNameError("kind of policy file", suffix, known("policies"))
    return path


def policy_name(path: Path) -> str:
    """A policy is its bytes, wherever they lie."""
    return "policy:" + hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _require_fit(actor: Actor, task: Task, world: World, path: Path) -> None:
    """Refuse a policy that says that it is for another task or another control period."""
    made_for, dt = getattr(actor, "task", task.name), getattr(actor, "dt", world.dt)
    if made_for != task.name:
        raise UsageError(f"{path} was trained for {made_for!r}, not for {task.name!r}.")
    if abs(dt - world.dt) > 1e-9:
        raise UsageError(f"{path} acts every {dt} s; the world of {task.name!r}, {world.dt} s.")


class _Living:
    """An actor that shows a sign of life whenever it is asked to act."""

    def __init__(self, actor: Actor, alive: Callable[[], None]) -> None:
        self._actor, self._alive = actor, alive
        self.name, self.reads = actor.name, actor.reads

    @property
    def remark(self) -> str:
        return self._actor.remark

    def reset(self, instruction: str, seed: int) -> None:
        self._actor.reset(instruction, seed)

    def act(self, observation: Signals) -> Signals:
        self._alive()
        return self._actor.act(observation)


class Station:
    """One world and one actor, built once, and used for one scenario after another."""

    def __init__(self, job: Job, alive: Callable[[], None] | None = None) -> None:
        """``alive`` is called at every control period, so that others see that it goes on."""
        self._job = job
        self._task = find_task(job.task)
        self._world = self._task.build()
        actor = make_actor(job.actor, self._task, self._world)
        self._actor = _Living(actor, alive) if alive else actor

    def run(self, index: int) -> Result:
        """Roll out, judge and seal one scenario. A world that breaks gives a void result."""
        scenario = self._task.scenario(self._job.split, index, self._job.draw)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            episode = rollout(self._actor, self._world, scenario, self._task.horizon)
            episode = episode.with_verdict(judge(episode, self._task.checks))
        except BrokenWorldError as error:
            self._world.close()  # whatever broke must not reach the next scenario
            self._world = self._task.build()
            return replace(
                Result.voided(scenario, self._actor.name, str(error)),
                wall_seconds=time.perf_counter() - wall,
                cpu_seconds=time.process_time() - cpu,
            )
        except FabrikaError:
            raise
        except Exception as error:  # a plug-in may raise anything
            raise ContractError(
                f"task {self._task.name!r} raised {type(error).__name__} in scenario {index} of "
                f"{scenario.split}: {error}. A world that cannot go on raises BrokenWorldError."
            ) from error
        return replace(
            Result.judged(episode),
            wall_seconds=time.perf_counter() - wall,
            cpu_seconds=time.process_time() - cpu,
            digest=seal_episode(self._job.store, episode) if self._job.store else "",
        )

    def close(self) -> None:
        """Give back the world."""
        self._world.close()


class Serial:
    """The executor that runs scenarios in this process, one by one."""

    patience = 1

    def __init__(self, job: Job) -> None:
        self._job = job
        self._station: Station | None = None
        self._given: list[int] = []

    @property
    def room(self) -> int:
        """One scenario at a time."""
        return 1 - len(self._given)

    def give(self, indices: Sequence[int]) -> None:
        """Run these when asked for the answer."""
        self._given += indices

    def take(self, timeout: float) -> list[Answer]:
        """Run what was given."""
        if not self._given:
            time.sleep(timeout)
            return []
        self._station = self._station or Station(self._job)
        return [self._station.run(self._given.pop(0))]

    def close(self) -> None:
        """Give back the world."""
        if self._station:
            with closing(self._station):
                self._station = None
