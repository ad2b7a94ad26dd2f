"""A seeded world for the control plane: scheduler, clock, disk and everything that goes wrong.

The real `Shift`, `Index` and `Watch` run here, in one thread; only what they are given is
simulated: a clock for each machine, workers, and a disk that loses what was not flushed. Every
choice comes from one seed, so that every failure is one number.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

from fabrika import Result, Scenario
from fabrika._control import Answer, Lost, Shift
from fabrika._index import Index
from fabrika._owners import BEAT, LEASE, Watch
from fabrika._store import digest_of

COUNT = 10
"""Scenarios of a run."""
AHEAD = 3
"""What one coordinator has in hand at most."""


def result_of(index: int) -> Result:
    """The one result that this scenario can have."""
    scenario = Scenario(task="simulated/task-v1", split="train", index=index)
    return replace(Result.voided(scenario, "nobody", "simulated"), digest=f"{index:064x}")


RESULTS = [result_of(index) for index in range(COUNT)]
GOLDEN = digest_of(RESULTS)


class Disk:
    """Sealed episodes: in memory first, durable when flushed; a power loss keeps what was."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.durable: set[str] = set()

    def lose_power(self) -> None:
        self.written = set(self.durable)


class Machine:
    """One coordinator: its shift, its clock, its workers, its sign of life."""

    def __init__(self, world: Simulation, name: str) -> None:
        self.world, self.name = world, name
        self.alive, self.paused_until = True, 0.0
        self.beats = 0
        self._offset = world.random.uniform(-1e6, 1e6)  # no two clocks agree on the time
        self.watch = Watch(world.sign, lambda: world.now + self._offset)
        self.shift = Shift(world.index, self, range(COUNT), patience=10**9)
        self.inbox: list[Answer] = []
        self.in_hand = 0
        world.later(0.0, self.step)
        world.later(0.0, self.beat)

    def dead(self, owners: Iterable[str]) -> set[str]:
        return self.watch.dead(owners)

    def beat(self) -> None:
        if self.alive:
            if self.world.now >= self.paused_until:
                self.beats += 1
            self.world.later(BEAT, self.beat)

    def step(self) -> None:
        """One turn, as `run_scenarios` makes them."""
        world = self.world
        if not self.alive:
            return
        if world.now < self.paused_until:
            world.later(self.paused_until - world.now, self.step)
            return
        answers, self.inbox = self.inbox, []
        settled = self.shift.turn(answers, max(0, AHEAD - self.in_hand))
        for result in (*settled.published, *settled.present):
            world.acknowledge(result)
        if self.shift.done:
            self.end()
            return
        for index in settled.give:
            self.in_hand += 1
            world.later(world.random.expovariate(1.0), lambda index=index: self.work(index))
        world.later(world.random.uniform(0.05, 0.5), self.step)

    def work(self, index: int) -> None:
        """A worker has run the scenario and seals its episode, step by step; or it dies."""
        world = self.world
        if not self.alive:
            return  # its workers ended with it
        if world.faulty and world.random.random() < 0.1:
            world.lost += 1
            self.answer(Lost(index, "SIGKILL", suspect=world.random.random() < 0.5))
            return
        world.runs[index] += 1
        digest = RESULTS[index].digest
        world.disk.written.add(digest)
        world.later(world.random.uniform(0.0, 0.1), lambda: self.sealed(index, digest))

    def sealed(self, index: int, digest: str) -> None:
        world = self.world
        if not self.alive or digest not in world.disk.written:
            return
        world.disk.durable.add(digest)
        self.answer(replace(RESULTS[index], wall_seconds=world.random.random()))
        if world.faulty and world.random.random() < 0.1:  # delivered twice
            world.later(world.random.uniform(0.0, 3.0), lambda: self.inbox.append(RESULTS[index]))

    def answer(self, answer: Answer) -> None:
        self.in_hand -= 1
        self.inbox.append(answer)

    def end(self) -> None:
        self.alive = False
        self.world.index.release(self.name)


class Simulation:
    """One seed: a run of `COUNT` scenarios by several machines, until nothing is left to do."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.faulty = True
        self.index, self.disk = Index.memory(), Disk()
        self.machines: dict[str, Machine] = {}
        self.runs: Counter[int] = Counter()
        self.lost = self.kills = self.pauses = 0
        self._told: set[int] = set()
        self._rows: dict[int, str] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def later(self, delay: float, call: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.now + delay, self._number, call))

    def sign(self, owner: str) -> object | None:
        """What others see of an owner: nothing if the system freed its lock."""
        machine = self.machines.get(owner)
        return machine.beats if machine and machine.alive else None

    def start(self) -> None:
        name = f"machine-{len(self.machines)}"
        self.machines[name] = Machine(self, name)

    def acknowledge(self, result: Result) -> None:
        """A coordinator told its user that this is done: from now on it may never be lost."""
        self._told.add(result.index)
        self.check()

    def check(self) -> None:
        """What was published stays as it was; what was acknowledged is published, and sealed."""
        rows = dict(self.index._database.execute("SELECT position, result FROM results"))
        for index, text in self._rows.items():
            assert rows.get(index) == text, f"row {index} was changed or lost"
        assert self._told <= rows.keys(), "a scenario was acknowledged and is lost"
        for index in rows.keys() - self._rows.keys():
            digest = RESULTS[index].digest
            assert digest in self.disk.durable, f"row {index} is there, its episode is not"
        self._rows = rows

    def disturb(self) -> None:
        """Something goes wrong, somewhere."""
        living = [machine for machine in self.machines.values() if machine.alive]
        what = self.random.choice(("kill", "pause", "power", "join", "nothing"))
        if what == "kill" and living:
            self.random.choice(living).alive = False
            self.kills += 1
        elif what == "pause" and living:
            # A machine that sleeps past its lease, and wakes with results in its hands.
            pause = self.random.uniform(0.0, 3 * LEASE)
            self.random.choice(living).paused_until = self.now + pause
            self.pauses += 1
        elif what == "power":
            for machine in living:
                machine.alive = False
            self.kills += len(living)
            self.disk.lose_power()
        elif what == "join":
            self.start()
        self.check()

    def run(self) -> None:
        """Faults for a while; then none, and whoever is missing is started again."""
        for _ in range(self.random.randint(1, 3)):
            self.start()
        for _ in range(self.random.randint(0, 5)):
            self.later(self.random.uniform(0.0, 10.0), self.disturb)
        self.later(11.0, self.calm)
        limit = 200.0
        while self._queue:
            self.now, _, call = heapq.heappop(self._queue)
            assert self.now < limit, "no progress"
            call()
        self.check()
        assert digest_of(self.index.rows()) == GOLDEN
        assert not self.index.owners(), "leases were left behind"
        redone = sum(self.runs.values()) - COUNT
        most = AHEAD * (self.kills + self.pauses) + self.lost
        assert 0 <= redone <= most, f"{redone} redone for {self.kills} kills, {self.pauses} pauses"

    def calm(self) -> None:
        self.faulty = False
        self.start()
