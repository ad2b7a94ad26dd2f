"""A plug-in package, installed by its entry points: the toy task with things that go wrong."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from fabrika import BrokenWorldError, Scenario, Signals, Task
from fabrika.lines.toy import TASK, ReachWorld

BROKEN = (1, 4)
"""Indices of the scenarios whose world breaks."""
NUMBER = 7


class FaultyWorld(ReachWorld):
    """Does something once in every scenario, at its fifth step."""

    def __init__(self, fault: Callable[[int], None]) -> None:
        super().__init__()
        self._fault = fault
        self._steps = 0

    def reset(self, scenario: Scenario) -> None:
        super().reset(scenario)
        self._index, self._steps = scenario.index, 0

    def step(self, action: Signals) -> bool:
        self._steps += 1
        if self._steps == 5:
            self._fault(self._index)
        return super().step(action)


class NanWorld(FaultyWorld):
    """A sensor reports NaN from the fifth step on."""

    def observe(self, names: Collection[str]) -> Signals:
        seen = dict(super().observe(names))
        if self._index in BROKEN and self._steps >= 5 and "joint/position" in seen:
            seen["joint/position"] = np.full(2, np.nan)
        return seen


def _task(name: str, fault: Callable[[int], None], world: type[FaultyWorld] = FaultyWorld) -> Task:
    return replace(TASK, name=f"faults/{name}-v1", build=lambda: world(fault))


def _nothing(index: int) -> None:
    pass


def _sleep(index: int) -> None:
    time.sleep(0.03)


def _diverge(index: int) -> None:
    if index in BROKEN:
        raise BrokenWorldError(f"planted in {index}")


def _mistake(index: int) -> None:
    raise KeyError("planted")


def _die(index: int) -> None:
    if index in BROKEN:
        os.kill(os.getpid(), signal.SIGKILL)


def _die_once(index: int) -> None:
    mark = Path(os.environ["FAULTS_FOLDER"]) / f"died-{index}"
    if index in BROKEN and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGSEGV)


def _hang_once(index: int) -> None:
    mark = Path(os.environ["FAULTS_FOLDER"]) / f"hung-{index}"
    if index in BROKEN and not mark.exists():
        mark.touch()
        time.sleep(3600)


def _work(index: int) -> None:
    """Takes its time, and leaves a mark for each time that it was taken."""
    time.sleep(0.2)
    (Path(os.environ["FAULTS_FOLDER"]) / f"worked-{index}-{time.time_ns()}").touch()


def _print(index: int) -> None:
    print('{"result": "noise"}', flush=True)
    os.write(1, b"noise from a C library\n")


def _count(index: int) -> None:
    """Leaves a line for each time that a scenario is begun."""
    with (Path(os.environ["FAULTS_FOLDER"]) / "begun").open("a") as file:
        file.write(f"{index}\n")
    time.sleep(0.01)


NONE = _task("none", _nothing)
SLOW = _task("slow", _sleep)
DIVERGES = _task("diverges", _diverge)
NAN = _task("nan", _nothing, NanWorld)
BUG = _task("bug", _mistake)
DIES = _task("dies", _die)
DIES_ONCE = _task("dies-once", _die_once)
HANGS_ONCE = _task("hangs-once", _hang_once)
WORKED = _task("worked", _work)
PRINTS = _task("prints", _print)
BRIEF = replace(NONE, name="faults/brief-v1", horizon=0.5)
COUNTED = replace(_task("counted", _count), horizon=0.5)


class Follower:
    """A policy: goes where the tracker sees the disc. Its file holds its stride [m]."""

    remark = ""
    reads = frozenset({"joint/position", "tracker/target"})

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        self.name = "policy:" + hashlib.sha256(data).hexdigest()[:12]
        self._stride = float(data)

    def reset(self, instruction: str, seed: int) -> None:
        pass

    def act(self, observation: Signals) -> Signals:
        gap = observation["tracker/target"] - observation["joint/position"]
        step = min(1.0, self._stride / max(float(np.hypot(*gap)), 1e-9)) * gap
        return {"slide": observation["joint/position"] + step}


def load_follower(path: Path) -> Follower:
    return Follower(path)


def load_nameless(path: Path) -> Follower:
    policy = Follower(path)
    policy.name = "mine"
    return policy
