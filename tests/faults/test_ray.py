"""R7: workers and whole machines of a Ray cluster are killed, and the store is the same."""

from __future__ import annotations

import math
import os
import random
import signal
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fabrika import Result, Store, run_scenarios
from faults import planted

TIERS = {"small": (90, 3, 1.5), "release": (5000, 80, 5.0)}
"""Scenarios, kills, and seconds between two of them."""
SCENARIO = "faults/worked-v1"
MACHINE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Any]:
    """A head without CPUs, for the coordinator, and three machines of one CPU each."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    from fabrika.cluster import _session, _trust

    with planted(tmp_path) as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.delenv("RAY_ADDRESS", raising=False)
        _trust.cluster_address()
        for name, value in {**_session._QUIET, **_session._LOOPBACK}.items():
            patch.setenv(name, value)
        import ray
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={**MACHINE, "num_cpus": 0})
        for _ in range(3):
            made.add_node(**MACHINE)
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        _session.leave(ray)
        made.shutdown()


class Killer:
    """Kills a worker, or a machine with all that is on it, again and again, between results."""

    def __init__(self, cluster: Any, kills: int, pause: float) -> None:
        self._cluster, self._left, self._pause = cluster, kills, pause
        self._random = random.Random(7)
        self._last = math.inf
        self.killed: list[str] = []

    def __call__(self, result: Result) -> None:
        """Called with each result. Not from another thread: Ray starts machines in this one."""
        now = time.monotonic()
        self._last = min(self._last, now)
        if now - self._last < self._pause or len(self.killed) >= self._left:
            return
        kind = ("worker", "machine")[len(self.killed) % 2]
        if kind == "machine":
            self._cluster.remove_node(
                self._random.choice(list(self._cluster.worker_nodes)), allow_graceful=False
            )
            self._cluster.add_node(wait=False, **MACHINE)
        elif workers := desks():
            os.kill(self._random.choice(workers), signal.SIGKILL)
        else:
            return
        self.killed.append(kind)
        self._last = time.monotonic()


def desks() -> list[int]:
    """The processes of this cluster's workers."""
    token = f"RAY_AUTH_TOKEN={os.environ['RAY_AUTH_TOKEN']}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::Desk") and token in (
                folder / "environ"
            ).read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_workers_and_machines_may_die(
    cluster: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count, kills, pause = TIERS[request.config.getoption("--tier", "small")]
    killer = Killer(cluster, kills, pause)
    began = time.monotonic()
    run_scenarios(
        SCENARIO,
        "expert",
        "train",
        range(count),
        executor="ray",
        workers=3,
        store=tmp_path / "s",
        on_result=killer,
    )
    took = time.monotonic() - began
    worked = len(list(tmp_path.glob("worked-*")))
    print(f"{killer.killed} in {took:.0f} s; worked {worked} times for {count}")
    assert len(killer.killed) == kills, f"only {killer.killed} in {took:.0f} s"
    assert worked - count <= len(killer.killed), f"{worked} for {count} with {killer.killed}"
    golden = run_scenarios(
        SCENARIO, "expert", "train", range(count), workers=4, store=tmp_path / "t"
    )
    with Store.open(tmp_path / "s") as store, Store.open(tmp_path / "t") as serial:
        assert len(golden) == count and store.digest() == serial.digest()
