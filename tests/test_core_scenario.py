"""Laws of scenarios: splits that cannot meet, plain data, nothing depends on order."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabrika import ContractError, Scenario, UsageError
from fabrika._scenario import SPLITS, seed_for
from fabrika.lines.toy import TASK

KEYS = st.tuples(
    st.text(max_size=12),
    st.sampled_from(SPLITS),
    st.integers(0, 2**40),
    st.text(max_size=12),
    st.text(max_size=12),
)


@given(KEYS, KEYS)
def test_seeds_meet_only_where_everything_is_equal(one: Any, other: Any) -> None:
    assert (seed_for(*one) == seed_for(*other)) == (one == other)


def test_no_scenario_is_in_two_splits() -> None:
    seeds: dict[int, tuple[str, int, str, str]] = {}
    ids = set()
    for split in SPLITS:
        for draw in ("one", "two") if split == "release" else ("",):
            for index in range(200):
                scenario = TASK.scenario(split, index, draw)
                ids.add(json.dumps(scenario.params, sort_keys=True))
                for purpose in ("sample", "sensor", "actor", "look"):
                    seeds[scenario.seed(purpose)] = (split, index, draw, purpose)
    assert len(seeds) == 4 * 200 * 4
    assert len(ids) == 4 * 200


@given(st.lists(st.integers(0, 500), min_size=1, max_size=10, unique=True))
def test_a_scenario_is_the_same_whatever_was_drawn_before(indices: list[int]) -> None:
    forwards = {i: TASK.scenario("validate", i) for i in indices}
    backwards = {i: TASK.scenario("validate", i) for i in reversed(indices)}
    assert forwards == backwards
    for scenario in forwards.values():
        assert Scenario.from_json(scenario.to_json()) == scenario
        assert Scenario.from_json(scenario.to_json()).id == scenario.id


def test_held_out_words_are_never_trained_on() -> None:
    trained = {TASK.scenario("train", i).instruction for i in range(60)}
    tested = {TASK.scenario("validate", i).instruction for i in range(60)}
    assert trained == set(TASK.instructions)
    assert tested == set(TASK.held_out_instructions)
    with pytest.raises(ContractError, match="trained on"):
        replace(TASK, held_out_instructions=TASK.instructions[:1])


@pytest.mark.parametrize(
    ("split", "draw", "index"),
    [("train", "x", 0), ("release", "", 0), ("test", "", 0), ("train", "", -1)],
)
def test_what_is_no_scenario_is_refused(split: Any, draw: str, index: int) -> None:
    with pytest.raises(UsageError):
        Scenario(task="a/b-v1", split=split, index=index, draw=draw)


@pytest.mark.parametrize("value", [np.zeros(2), float("nan"), {1, 2}, print])
def test_params_are_plain_data(value: Any) -> None:
    task = replace(TASK, sample=lambda rng: {"thing": value})
    with pytest.raises(ContractError, match="plain"):
        task.scenario("train", 0)
