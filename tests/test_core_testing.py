"""The kit finds each planted breach, and finds none in what is sound."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from fabrika import Actor, Check, ContractError, Scenario, Scripted, Signal, Signals, Task, World
from fabrika.lines.toy import TASK, ReachWorld
from fabrika.testing import (
    check_actor,
    check_robot,
    check_task,
    check_world,
    require,
)

Declared = Mapping[str, Signal]
SCENARIOS = list(TASK.scenarios("train", 2))


def codes(breaches: Any) -> set[str]:
    return {breach.code for breach in breaches}


def test_the_toy_task_keeps_the_contract() -> None:
    require(check_task(TASK, count=10))


# Worlds


class Remembers(ReachWorld):
    """Does not forget the scenario before."""

    def reset(self, scenario: Scenario) -> None:
        before = getattr(self, "_mass", 0.0)
        super().reset(scenario)
        self._drag += before


class Unlike(ReachWorld):
    """Differs from one object to the next."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        Unlike.made += 1
        self._number = Unlike.made

    def reset(self, scenario: Scenario) -> None:
        super().reset(scenario)
        self._drag += self._number


class Forgets(ReachWorld):
    """Leaves its memory out of the state."""

    def reset(self, scenario: Scenario) -> None:
        super().reset(scenario)
        self._wind = 0.0

    def restore(self, scenario: Scenario, state: np.ndarray) -> None:
        super().restore(scenario, state)
        self._wind = 0.0

    def step(self, action: Signals) -> bool:
        self._wind += 0.01
        self._velocity = self._velocity + self._wind
        return super().step(action)


class DrawsWhenAsked(ReachWorld):
    """Its noise depends on the order of questions."""

    def observe(self, names: Collection[str]) -> Signals:
        rng = np.random.default_rng(self._tick)
        seen = super().observe(names)
        return {
            name: value + rng.normal(size=2) if name.startswith("joint") else value
            for name, value in seen.items()
        }


class ChangesWhenSeen(ReachWorld):
    """Observing moves it."""

    def observe(self, names: Collection[str]) -> Signals:
        self._velocity = self._velocity + 1e-9
        return super().observe(names)


class Writes(ReachWorld):
    """Clips the action in place."""

    def step(self, action: Signals) -> bool:
        action["slide"][:] = np.clip(action["slide"], -0.01, 0.01)
        return super().step(action)


class Keeps(ReachWorld):
    """Keeps the action that it was given, and reports it later."""

    def step(self, action: Signals) -> bool:
        ended = super().step(action)
        self._executed = np.asarray(action["slide"])
        return ended


class Careless(ReachWorld):
    """Pictures draw on one generator for all."""

    rng = np.random.default_rng(0)

    def picture(self, state: np.ndarray, camera: str, height: int, width: int) -> np.ndarray:
        picture = super().picture(state, camera, height, width)
        return picture ^ self.rng.integers(2, size=picture.shape, dtype=np.uint8)


class Blind(ReachWorld):
    cameras = ("head",)


class Uniform(ReachWorld):
    """Ignores the scenario."""

    def reset(self, scenario: Scenario) -> None:
        super().reset(SCENARIOS[0])


class NoUnit(ReachWorld):
    observes: ClassVar[Declared] = {**ReachWorld.observes, "joint/position": Signal(shape=(2,))}


class NoBounds(ReachWorld):
    acts: ClassVar[Declared] = {"slide": Signal(shape=(2,), dtype="float32", unit="m")}


class Double(ReachWorld):
    acts: ClassVar[Declared] = {"slide": Signal(shape=(2,), unit="m", low=-1.0, high=1.0)}


class WrongShape(ReachWorld):
    observes: ClassVar[Declared] = {
        **ReachWorld.observes,
        "joint/position": Signal(shape=(3,), unit="m"),
    }


class Fails(ReachWorld):
    def step(self, action: Signals) -> bool:
        raise KeyError("planted")


@pytest.mark.parametrize(
    ("world", "code"),
    [
        (Remembers, "world/repeats"),
        (Unlike, "world/fresh"),
        (Forgets, "world/restore"),
        (DrawsWhenAsked, "observe/independent"),
        (ChangesWhenSeen, "observe/changes"),
        (Writes, "world/runs"),
        (Keeps, "world/keeps"),
        (Careless, "picture/repeats"),
        (Blind, "picture/scene"),
        (Uniform, "world/scenario"),
        (NoUnit, "signal/unit"),
        (NoBounds, "action/bounds"),
        (Double, "action/dtype"),
        (WrongShape, "world/runs"),
        (Fails, "world/runs"),
    ],
)
def test_each_breach_of_a_world_is_found(world: Callable[[], World], code: str) -> None:
    assert code in codes(check_world(world, SCENARIOS))


# Actors


def expert(**changes: Any) -> Actor:
    actor = TASK.expert()
    for name, value in changes.items():
        setattr(actor, name, value)
    return actor


class Grows:
    """Does not start anew with an episode."""

    name, remark, reads = "grows", "", frozenset({"truth/position"})
    total = 0.0

    def reset(self, instruction: str, seed: int) -> None:
        pass

    def act(self, observation: Signals) -> Signals:
        self.total += 1e-3
        return {"slide": np.full(2, self.total)}


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: expert(name=""), "actor/name"),
        (lambda: expert(reads=frozenset({"truth/mass"})), "actor/reads"),
        (lambda: Scripted("liar", (), lambda seen, rng: iter(())), "actor/fault"),  # type: ignore[arg-type, return-value]
        (Grows, "actor/repeats"),
    ],
)
def test_each_breach_of_an_actor_is_found(make: Callable[[], Actor], code: str) -> None:
    assert code in codes(check_actor(make, ReachWorld, SCENARIOS, 0.5))


def test_a_sound_actor_is_found_sound() -> None:
    assert check_actor(TASK.expert, ReachWorld, SCENARIOS, 0.5) == []


# Tasks


def always(value: float) -> Check:
    return Check(name="any", kind="goal", unit="1", measure=lambda e: value, at_least=1.0)


class Counting:
    """A measure that is not pure."""

    def __init__(self) -> None:
        self.calls = 0.0

    def __call__(self, episode: object) -> float:
        self.calls += 1
        return self.calls


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (replace(TASK, checks=(always(1.0),)), "zero/fails"),
        (replace(TASK, checks=(always(1.0),)), "random/fails"),
        (replace(TASK, checks=(always(0.0),)), "expert/yield"),
        (replace(TASK, description="A task."), "task/description"),
        (replace(TASK, name="reach"), "task/name"),
        (replace(TASK, policy_reads=("truth/target",)), "task/policy_reads"),
        (replace(TASK, camera_reads=("camera/foot",)), "task/camera_reads"),
        (replace(TASK, sample=lambda rng: SCENARIOS[0].params), "task/sample"),
        (
            replace(
                TASK,
                checks=(
                    *TASK.checks,
                    Check(name="count", kind="quality", unit="1", measure=Counting()),
                ),
            ),
            "task/judge",
        ),
        (replace(TASK, build=Fails), "task/runs"),
    ],
)
def test_each_breach_of_a_task_is_found(task: Task, code: str) -> None:
    assert code in codes(check_task(task, count=3, at_least=0.6))


def test_what_is_required_is_raised_with_all_breaches() -> None:
    with pytest.raises(ContractError, match=r"(?s)2 times.*signal/unit.*'joint/position'"):
        breaches = check_world(NoUnit, SCENARIOS)
        require([*breaches, *breaches])
    require([])


# Robots


@dataclass(frozen=True, kw_only=True)
class Joints:
    names: tuple[str, ...] = ("a", "b")
    unit: str = "rad"
    low: tuple[float, ...] = (-1.0, -1.0)
    high: tuple[float, ...] = (1.0, 1.0)
    velocity: tuple[float, ...] = (2.0, 2.0)
    torque: tuple[float, ...] = (30.0, 30.0)
    home: tuple[float, ...] = (0.0, 0.5)


@dataclass(frozen=True)
class Machine:
    groups: dict[str, Joints]
    name: str = "machine"


def test_a_sound_robot_is_found_sound() -> None:
    assert check_robot(Machine({"arm": Joints()})) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"names": ("a", "a")}, "robot/joints"),
        ({"unit": ""}, "robot/unit"),
        ({"low": (-1.0,)}, "robot/limits"),
        ({"low": (2.0, -1.0)}, "robot/limits"),
        ({"high": (float("inf"), 1.0)}, "robot/limits"),
        ({"velocity": (0.0, 1.0)}, "robot/limits"),
        ({"torque": (-1.0, 1.0)}, "robot/limits"),
        ({"home": (0.0, 1.5)}, "robot/home"),
    ],
)
def test_each_breach_of_a_robot_is_found(changes: dict[str, Any], code: str) -> None:
    assert code in codes(check_robot(Machine({"arm": Joints(**changes)})))


def test_a_robot_without_joints_is_none() -> None:
    assert codes(check_robot(Machine({}))) == {"robot/joints"}
