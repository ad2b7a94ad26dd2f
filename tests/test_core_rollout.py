"""Laws of the loop: one loop, pure judge, sensor and truth, broken worlds and broken actors."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fabrika
from fabrika import (
    BrokenWorldError,
    Check,
    ContractError,
    Episode,
    IntegrityError,
    Random,
    Signal,
    Signals,
    UnknownNameError,
    Zero,
    dump_episode,
    held_to_end,
    judge,
    load_episode,
    rollout,
)
from fabrika.lines.toy import TASK, ReachWorld

SOURCES = Path(fabrika.__file__).parent
SCENARIO = TASK.scenario("train", 0)


def roll(actor: fabrika.Actor, index: int = 0) -> Episode:
    return rollout(actor, TASK.build(), TASK.scenario("train", index), TASK.horizon)


# One loop


def acting_loops(tree: ast.AST) -> Iterator[int]:
    """Lines of the loops in which something acts and something is stepped."""
    loops = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp)
    for node in ast.walk(tree):
        if isinstance(node, loops):
            calls = {
                call.func.attr
                for call in ast.walk(node)
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
            }
            if {"act", "step"} <= calls:
                yield node.lineno


def test_there_is_one_loop_and_it_is_short() -> None:
    found = [
        path.name
        for path in sorted(SOURCES.rglob("*.py"))
        for _ in acting_loops(ast.parse(path.read_text()))
    ]
    assert found == ["_rollout.py"]
    assert len((SOURCES / "_rollout.py").read_text().splitlines()) < 100


# Doing apart from judging


def actors() -> list[fabrika.Actor]:
    acts = ReachWorld.acts
    return [TASK.expert(), Zero(acts), Random(acts)]


@pytest.mark.parametrize("index", range(4))
def test_a_verdict_can_be_derived_again_from_the_file(index: int) -> None:
    for actor in actors():
        episode = roll(actor, index)
        verdict = judge(episode, TASK.checks)
        judged = episode.with_verdict(verdict)
        again = load_episode(dump_episode(judged))
        assert again.verdict == verdict == judge(again, TASK.checks)
        assert dump_episode(again) == dump_episode(judged)


def test_equal_scenarios_give_equal_bytes() -> None:
    assert dump_episode(roll(TASK.expert())) == dump_episode(roll(TASK.expert()))
    assert dump_episode(roll(TASK.expert())) != dump_episode(roll(TASK.expert(), 1))


@given(st.integers(0, 200_000), st.binary(min_size=1, max_size=4))
def test_damaged_bytes_never_load_as_another_episode(at: int, junk: bytes) -> None:
    data = dump_episode(roll(TASK.expert()))
    at %= len(data)
    damaged = data[:at] + junk + data[at + len(junk) :]
    try:
        episode = load_episode(damaged)
    except IntegrityError:
        return
    # What loads may differ only where the archive's own checksum does not reach.
    assert dump_episode(episode) == data


# No peeking


class Watcher:
    """Records what it is shown."""

    name = "watcher"
    remark = ""

    def __init__(self, reads: set[str]) -> None:
        self.reads = frozenset(reads)
        self.seen: list[set[str]] = []

    def reset(self, instruction: str, seed: int) -> None:
        assert seed not in {SCENARIO.seed(p) for p in ("sample", "sensor", "look")}

    def act(self, observation: Signals) -> Signals:
        self.seen.append(set(observation))
        return {"slide": np.zeros(2)}


@given(st.sets(st.sampled_from(sorted(ReachWorld.observes))))
def test_an_actor_is_shown_what_it_declared_and_no_more(reads: set[str]) -> None:
    watcher = Watcher(reads)
    episode = rollout(watcher, TASK.build(), SCENARIO, horizon=0.2)
    assert watcher.seen == [reads] * 4
    assert episode.reads == tuple(sorted(reads))
    assert episode.privileged == any(name.startswith("truth/") for name in reads)
    # What is recorded does not depend on who looks, and holds no pictures.
    assert set(episode.observations) == {n for n in ReachWorld.observes if "camera" not in n}


def test_reading_what_does_not_exist_is_an_error_that_suggests() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'truth/target'"):
        roll(Watcher({"truth/targets"}))


# A broken actor fails; a broken world voids


class Broken:
    """Gives something else from its third step on."""

    name = "broken"
    remark = ""
    reads = frozenset({"truth/target"})

    def __init__(self, what: Callable[[], object]) -> None:
        self._what = what
        self._steps = 0

    def reset(self, instruction: str, seed: int) -> None:
        self._steps = 0

    def act(self, observation: Signals) -> Signals:
        self._steps += 1
        return {"slide": np.zeros(2)} if self._steps < 3 else self._what()  # type: ignore[return-value]


def _raise() -> object:
    raise ZeroDivisionError("planted")


WRONG: dict[str, Callable[[], object]] = {
    "nan": lambda: {"slide": np.array([0.0, np.nan])},
    "infinite": lambda: {"slide": np.array([np.inf, 0.0])},
    "too large": lambda: {"slide": np.array([1e39, 0.0])},
    "shape": lambda: {"slide": np.zeros(3)},
    "missing": lambda: {},
    "other": lambda: {"slides": np.zeros(2)},
    "more": lambda: {"slide": np.zeros(2), "arm": np.zeros(2)},
    "text": lambda: {"slide": np.array(["a", "b"])},
    "complex": lambda: {"slide": np.zeros(2, complex)},
    "nothing": lambda: None,
    "raises": _raise,
}


@pytest.mark.parametrize("what", WRONG)
def test_a_broken_actor_fails_its_episode(what: str) -> None:
    episode = roll(Broken(WRONG[what]))
    anything = Check(name="any", kind="goal", unit="s", measure=lambda e: 1.0, at_least=0.0)
    verdict = judge(episode, [anything])
    assert (episode.ending, episode.length) == ("fault", 2)
    assert episode.fault and not verdict.passed and verdict.reason == "fault"
    assert all(np.isfinite(values).all() for values in episode.actions.values())


def test_an_actor_that_cannot_be_reset_fails_its_episode() -> None:
    actor = Broken(dict)
    actor.reset = lambda instruction, seed: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    episode = roll(actor)
    assert (episode.ending, episode.length) == ("fault", 0)
    assert judge(load_episode(dump_episode(episode)), TASK.checks).reason == "fault"


class Scribbler:
    """Writes into what it is shown, and into what it gave."""

    name = "scribbler"
    remark = ""
    reads = frozenset({"truth/position", "joint/position"})

    def reset(self, instruction: str, seed: int) -> None:
        self.buffer, self.scribbles = np.zeros(2), True

    def act(self, observation: Signals) -> Signals:
        self.buffer.fill(0.3)
        if self.scribbles:
            for value in observation.values():
                value.fill(1e9)
        return {"slide": self.buffer}


def test_an_actor_cannot_alter_the_record_nor_the_world() -> None:
    honest = Scribbler()
    honest.reset = lambda instruction, seed: setattr(  # type: ignore[method-assign, assignment]
        honest, "__dict__", {**honest.__dict__, "buffer": np.zeros(2), "scribbles": False}
    )
    assert dump_episode(roll(Scribbler())) == dump_episode(roll(honest))


class Diverging(ReachWorld):
    def __init__(self, how: str) -> None:
        super().__init__()
        self._how = how

    def step(self, action: Signals) -> bool:
        if self._tick == 3 and self._how == "raises":
            raise BrokenWorldError("planted")
        return super().step(action)

    def observe(self, names: object) -> Signals:
        seen = dict(super().observe(names))  # type: ignore[arg-type]
        if self._tick >= 3 and self._how == "nan":
            seen["joint/velocity"] = np.full(2, np.nan)
        if self._tick >= 3 and self._how == "shape":
            seen["joint/velocity"] = np.zeros(3)
        return seen

    @property
    def executed(self) -> Signals:
        done = super().executed["slide"]
        return {"slide": done[:1] if self._how == "executed" else done}


@pytest.mark.parametrize("how", ["raises", "nan", "shape", "executed"])
def test_a_broken_world_voids_the_rollout(how: str) -> None:
    with pytest.raises(BrokenWorldError):
        rollout(TASK.expert(), Diverging(how), SCENARIO, TASK.horizon)


# No vacuous pass


def test_a_task_without_a_goal_is_refused() -> None:
    with pytest.raises(ContractError, match="no goal"):
        replace(TASK, checks=tuple(c for c in TASK.checks if c.kind != "goal"))


@pytest.mark.parametrize("kind", ["goal", "safety"])
def test_a_check_without_a_limit_is_refused(kind: fabrika._episode.Kind) -> None:
    with pytest.raises(ContractError, match="no limit"):
        Check(name="any", kind=kind, unit="1", measure=lambda e: 1.0)


@given(st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_measurement_that_is_not_finite_never_passes(value: float) -> None:
    check = Check(name="any", kind="goal", unit="1", measure=lambda e: value, at_least=-1e300)
    assert not judge(roll(Zero(ReachWorld.acts)), [check]).passed


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_held_to_the_end_means_without_a_break(holds: list[bool]) -> None:
    episode = replace(roll(Zero(ReachWorld.acts)), times=0.1 * np.arange(len(holds)))
    longest = 0
    while longest < len(holds) and holds[-1 - longest]:
        longest += 1
    measured = held_to_end(lambda e: np.array(holds))(episode)
    assert measured == pytest.approx(0.1 * max(longest - 1, 0))


def test_safety_comes_before_goals_and_quality_never_fails() -> None:
    def check(name: str, kind: fabrika._episode.Kind, limit: float) -> Check:
        return Check(name=name, kind=kind, unit="1", measure=lambda e: 0.0, at_least=limit)

    episode = roll(Zero(ReachWorld.acts))
    assert judge(episode, [check("a", "goal", 1), check("b", "safety", 1)]).reason == "safety/b"
    assert judge(episode, [check("a", "goal", 0), check("c", "quality", 1)]).passed


class Chameleon(Zero):
    """Says that it reads truth while it is shown things, and denies it when asked again."""

    asked = 0

    @property
    def reads(self) -> frozenset[str]:  # type: ignore[override]
        self.asked += 1
        return frozenset({"truth/target"} if self.asked == 1 else ())


def test_what_an_actor_reads_is_asked_once() -> None:
    episode = roll(Chameleon(ReachWorld.acts))
    assert episode.reads == ("truth/target",) and episode.privileged


class Segmented(ReachWorld):
    """A picture that only a simulator can take."""

    observes: ClassVar[dict[str, Signal]] = {
        **ReachWorld.observes,
        "truth/mask": Signal(shape=(2, 2, 1), dtype="uint8", unit="1", truth=True),
    }

    def observe(self, names: Collection[str]) -> Signals:
        mask = {"truth/mask": np.zeros((2, 2, 1), np.uint8)}
        seen = super().observe([name for name in names if name not in mask])
        return {**seen, **{name: mask[name] for name in names if name in mask}}


def test_a_picture_can_be_truth_too() -> None:
    actor = Zero(ReachWorld.acts)
    actor.reads = frozenset({"truth/mask"})
    assert rollout(actor, Segmented(), SCENARIO, TASK.horizon).privileged
    actor.reads = frozenset()
    assert not rollout(actor, Segmented(), SCENARIO, TASK.horizon).privileged
