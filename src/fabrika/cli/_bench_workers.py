"""How fast scenarios get done by several workers, and by Ray beside the pool."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fabrika._control import Answer, Executor, Shift
from fabrika._errors import BrokenWorldError
from fabrika._index import Index
from fabrika._owners import Owner
from fabrika._pool import Job
from fabrika._result import Result
from fabrika._run import make_executor
from fabrika._store import Store
from fabrika.cli._options import cores

WORKERS = (1, 2, 4)
EACH = 8
"""Scenarios run for each episode asked for: at the end of a run workers idle, and that counts."""
_WAIT = 0.25


def scaling(task_name: str, count: int, passes: int) -> dict[str, Any]:
    """Episodes a second by the number of workers: one in this process, the others a pool's."""
    crews = [("serial" if workers == 1 else "pool", workers) for workers in WORKERS]
    rates, starts = _rates(task_name, crews, count * EACH, passes)
    return {
        "cores": cores(),
        "episodes": count * EACH,
        "episodes_per_second": dict(zip(map(str, WORKERS), rates, strict=True)),
        "startup_seconds": dict(zip(map(str, WORKERS), starts, strict=True)),
        "speedup": {
            str(workers): rate / rates[0] for workers, rate in zip(WORKERS, rates, strict=True)
        },
    }


def ray_beside_pool(task_name: str, count: int, passes: int) -> dict[str, Any]:
    """Episodes a second on Ray and on the pool, with as many workers; ``installed`` or not."""
    if find_spec("ray") is None:
        return {"installed": False}
    workers = min(2, cores())
    rates, starts = _rates(task_name, [("pool", workers), ("ray", workers)], count * EACH, passes)
    return {
        "installed": True,
        "workers": workers,
        "episodes": count * EACH,
        "batch_seconds": count * EACH / rates[0],
        "episodes_per_second": {"pool": rates[0], "ray": rates[1]},
        "startup_seconds": {"pool": starts[0], "ray": starts[1]},
        "ray_over_pool": rates[1] / rates[0],
    }


def _rates(
    task_name: str, crews: Sequence[tuple[str, int]], count: int, passes: int
) -> tuple[list[float], list[float]]:
    """Episodes a second, and seconds to start, of each crew; they take turns."""
    seconds, starts = [math.inf] * len(crews), [math.inf] * len(crews)
    for _ in range(passes):
        for place, (name, workers) in enumerate(crews):
            start, took = _shift(task_name, name, workers, count)
            starts[place] = min(starts[place], start)
            seconds[place] = min(seconds[place], took)
    return [count / took for took in seconds], starts


def _shift(task_name: str, name: str, workers: int, count: int) -> tuple[float, float]:
    """Seconds until every worker has run one scenario, and those of ``count`` more, committed."""
    with TemporaryDirectory(prefix="fabrika-bench-") as folder:
        path = Path(folder) / "store"
        manifest = {"task": task_name, "actor": "expert", "split": "train", "draw": ""}
        with Store.create(path, manifest) as store:
            job = Job(task=task_name, actor="expert", split="train", store=path)
            owner = Owner(path / "owners")
            begun = time.perf_counter()
            crew = make_executor(name, job, workers)
            try:
                _warm_up(crew, workers, count)
                start = time.perf_counter()
                _work(crew, store.index, owner, range(count))
                return start - begun, time.perf_counter() - start
            finally:
                crew.close()
                owner.close()


def _warm_up(crew: Executor, workers: int, first: int) -> None:
    """One scenario for each worker, whose results are dropped."""
    while crew.room < workers:
        _sound(crew.take(_WAIT))
    crew.give(range(first, first + workers))
    left = workers
    while left:
        left -= len(_sound(crew.take(_WAIT)))


def _work(crew: Executor, index: Index, owner: Owner, wanted: Sequence[int]) -> None:
    """All of it, as `run_scenarios` does it."""
    shift = Shift(index, owner, wanted, crew.patience)
    answers: Sequence[Answer] = ()
    while not shift.done:
        crew.give(shift.turn(answers, crew.room).give)
        answers = () if shift.done else _sound(crew.take(_WAIT))


def _sound(answers: Sequence[Answer]) -> Sequence[Answer]:
    """The answers; a run in which a worker died measures nothing."""
    for answer in answers:
        if not isinstance(answer, Result):
            raise BrokenWorldError(f"a worker died ({answer.why}) in scenario {answer.index}.")
    return answers
