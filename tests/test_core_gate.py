"""Laws of the gate: what is no evidence is refused, and what passes is really that good."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import comb, exp, log, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabrika import Decision, EvidenceError, Finding, Gate, Result, UsageError, Verdict
from fabrika._gate import check_evidence, exact_lower

GATE = Gate()


def row(index: int, passed: bool, **changes: Any) -> Result:
    reason = "passed" if passed else "goal/missed"
    plain = Result(
        task="made/up-v1",
        split="validate",
        draw="",
        index=index,
        scenario_id=f"{index:016x}",
        actor="policy:made-up",
        verdict=Verdict(passed=passed, reason=reason),
        reason=reason,
    )
    return replace(plain, **changes)


def rows(passed: list[bool]) -> list[Result]:
    return [row(index, ok) for index, ok in enumerate(passed)]


OUTCOMES = st.lists(st.booleans(), min_size=GATE.fewest, max_size=120)
GOOD = rows([True] * 40)


# What is no evidence


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (GOOD[:-1], "partial: 1 of scenarios 0..39 are missing: 39"),
        ([r for r in GOOD if r.index != 7], "partial: .* missing: 7"),
        ([*GOOD, GOOD[3]], "repeated: scenarios 3 "),
        ([*GOOD[:-1], GOOD[3]], "repeated: scenarios 3 "),
        ([*GOOD, row(40, True)], "not as asked: scenarios 40 are beyond 39"),
        ([*GOOD[:-1], row(39, True, actor="other")], "mixed: .*actor: other, policy:made-up"),
        ([*GOOD[:-1], row(39, True, task="a/b-v1")], "mixed: .*task"),
        ([*GOOD[:-1], row(39, True, draw="x")], "mixed: .*draw"),
        ([*GOOD[:-1], row(39, True, split="train")], "wrong split: train"),
        ([row(i, True, split="release", draw="x") for i in range(40)], "wrong split: release"),
        ([*GOOD[:-1], row(39, True, privileged=True)], "privileged: 'policy:made-up' read"),
        ([*GOOD[:-1], row(39, False, verdict=None, void="x")], "void: .* scenarios 39"),
        ([], "partial"),
    ],
)
def test_what_is_no_evidence_is_refused_and_it_says_why(results: list[Result], words: str) -> None:
    with pytest.raises(EvidenceError, match=words):
        check_evidence(results, split="validate", count=40)
    with pytest.raises(EvidenceError, match=words):
        GATE.decide(results, count=40)
    if "privileged" not in words:  # a reference may be
        with pytest.raises(EvidenceError, match=words):
            GATE.decide(GOOD, results)


@given(st.permutations(GOOD))
def test_the_order_in_which_results_came_in_does_not_matter(shuffled: list[Result]) -> None:
    assert check_evidence(shuffled, split="validate", count=40) == GOOD
    assert GATE.decide(shuffled) == GATE.decide(GOOD)


def test_a_reference_may_read_truth_and_must_be_about_the_same_scenarios() -> None:
    expert = [replace(r, actor="expert", privileged=True) for r in GOOD]
    assert GATE.decide(GOOD, expert).passed
    with pytest.raises(EvidenceError, match="privileged"):
        GATE.decide(expert, GOOD)
    expert[9] = replace(expert[9], scenario_id="f" * 16)
    with pytest.raises(EvidenceError, match="scenario 9 of the reference"):
        GATE.decide(GOOD, expert)


def test_what_was_trained_on_is_no_evidence() -> None:
    with pytest.raises(EvidenceError, match="trained on"):
        GATE.decide([replace(r, split="train") for r in GOOD], split="train")


@given(st.floats(0.05, 0.9), st.floats(0.01, 0.09), st.floats(0.001, 0.3))
def test_the_fewest_that_could_pass_is_exact(low: float, more: float, error: float) -> None:
    gate = Gate(at_least=low, expected=low + more, error=error)
    reached = gate.log_evidence(np.ones(gate.fewest, bool))
    assert reached[-1] >= log(1 / error) * (1 - 1e-12)
    assert not len(reached) > 1 or reached[-2] < log(1 / error)


def test_too_few_are_refused_with_the_number_that_is_needed() -> None:
    assert GATE.fewest == 26
    with pytest.raises(EvidenceError, match=r"25 episodes.*could: 26"):
        GATE.decide(GOOD[:25])
    assert GATE.decide(GOOD[:26]).passed


@pytest.mark.parametrize(
    ("at_least", "expected", "error"),
    [(0.9, 0.8, 0.05), (0.8, 0.8, 0.05), (0.0, 0.5, 0.05), (0.8, 1.0, 0.05), (0.8, 0.9, 0.0)],
)
def test_a_gate_that_makes_no_sense_is_refused(
    at_least: float, expected: float, error: float
) -> None:
    with pytest.raises(UsageError):
        Gate(at_least=at_least, expected=expected, error=error)


# Decision and bound


@given(OUTCOMES)
def test_it_passes_if_and_only_if_the_bound_says_so(passed: list[bool]) -> None:
    decision = GATE.decide(rows(passed))
    assert decision.passed == (decision.lower_bound >= GATE.at_least)
    assert decision.passed == (max(decision.evidence) >= 20 * (1 - 1e-12))
    assert decision.passed == (decision.decided_after is not None)
    assert 0 <= decision.lower_bound < GATE.expected
    assert decision.exact_lower <= sum(passed) / len(passed) <= decision.exact_upper
    assert (decision.successes, decision.episodes) == (sum(passed), len(passed))
    # The words never claim more than the number.
    claimed = decision.reason.partition("at least ")[2].partition(" %")[0]
    assert float(claimed) / 100 <= decision.lower_bound + 1e-12
    assert decision.reason.startswith("Passed: " if decision.passed else "Not passed: ")


@given(OUTCOMES)
def test_the_evidence_is_the_likelihood_ratio(passed: list[bool]) -> None:
    ratio = Fraction(1)
    for ok, shown in zip(passed, GATE.decide(rows(passed)).evidence, strict=True):
        ratio *= Fraction(9, 8) if ok else Fraction(1, 2)
        assert shown == pytest.approx(float(ratio), rel=1e-9)


@given(OUTCOMES, st.integers(0, 119))
def test_more_successes_never_lower_the_bound(passed: list[bool], at: int) -> None:
    better = list(passed)
    better[at % len(better)] = True
    worse, improved = np.array(passed), np.array(better)
    assert GATE.lower_bound(improved) >= GATE.lower_bound(worse) - 1e-12


@given(OUTCOMES, st.lists(st.booleans(), max_size=40))
def test_more_episodes_never_take_back_what_was_shown(passed: list[bool], more: list[bool]) -> None:
    assert GATE.lower_bound(np.array(passed + more)) >= GATE.lower_bound(np.array(passed)) - 1e-12


@given(OUTCOMES)
def test_the_bound_is_where_rejection_ends(passed: list[bool]) -> None:
    outcomes = np.array(passed)
    bound = GATE.lower_bound(outcomes)
    for rate in np.linspace(0.01, 0.895, 60):
        gate = Gate(at_least=float(rate), expected=GATE.expected)
        rejects = bool(gate.log_evidence(outcomes).max() >= log(20))
        assert rejects == (rate <= bound)


@given(st.integers(1, 80), st.data())
@settings(max_examples=40)
def test_the_exact_bound_is_that_of_clopper_and_pearson(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    bound = Fraction(exact_lower(k, n, 0.05))
    tail = sum(comb(n, i) * bound**i * (1 - bound) ** (n - i) for i in range(k, n + 1))
    assert float(tail) == pytest.approx(0.05, rel=1e-9)
    assert exact_lower(0, n, 0.05) == 0.0


@pytest.mark.parametrize(
    ("successes", "n", "error", "expected"),
    # Zero failures in 29 show 0.90; 97 of 112 show 0.80; all of n: error ** (1 / n).
    [(29, 29, 0.05, exp(log(0.05) / 29)), (299, 299, 0.05, exp(log(0.05) / 299))],
)
def test_known_values(successes: int, n: int, error: float, expected: float) -> None:
    assert exact_lower(successes, n, error) == pytest.approx(expected, rel=1e-12)
    assert exact_lower(97, 112, 0.05) > 0.80 > exact_lower(96, 112, 0.05)


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_failures_divide_into_preventable_and_unsolved(passed: list[bool], random: Any) -> None:
    solved = [random.random() < 0.7 for _ in passed]
    decision = GATE.decide(rows(passed), rows(solved))
    failures = {i for i, ok in enumerate(passed) if not ok}
    assert set(decision.preventable_scenarios) == {i for i in failures if solved[i]}
    assert set(decision.unsolved_scenarios) == {i for i in failures if not solved[i]}
    assert decision.preventable == len(decision.preventable_scenarios)
    assert decision.unsolved == len(decision.unsolved_scenarios)
    alone = GATE.decide(rows(passed))
    assert alone.preventable is None and alone.unsolved is None
    assert alone.passed == decision.passed, "the reference explains; it does not excuse"


def test_violations_of_safety_are_failures_and_are_counted() -> None:
    finding = Finding(check="force", kind="safety", value=9.0, unit="N", at_most=1.0, ok=False)
    unsafe = Verdict(passed=False, reason="safety/force", findings=(finding,))
    results = [*GOOD[:-1], row(39, False, verdict=unsafe, reason="safety/force")]
    decision = GATE.decide(results)
    assert (decision.safety_violations, decision.successes) == (1, 39)
    assert decision.reasons == {"passed": 39, "safety/force": 1}


# False accepts


def decide_many(rate: float, count: int, runs: int, seed: int) -> list[Decision]:
    good, bad = rows([True] * count), rows([False] * count)
    draws = np.random.default_rng(seed).random((runs, count)) < rate
    return [
        GATE.decide([(good if ok else bad)[i] for i, ok in enumerate(run)])
        for run in draws.tolist()
    ]


def test_an_actor_that_is_not_good_enough_passes_in_at_most_one_of_twenty() -> None:
    """2,000 actors of exactly 80 %, looked at after each of 120 episodes.

    If the chance were above 5 %, the count would exceed 100; what is allowed on top is three
    standard deviations of the count, sqrt(2000 * 0.05 * 0.95) = 9.7.
    """
    runs = 2000
    decisions = decide_many(GATE.at_least, 120, runs, seed=1)
    accepted = sum(decision.passed for decision in decisions)
    overstated = sum(decision.lower_bound > GATE.at_least for decision in decisions)
    assert accepted <= runs * 0.05 + 3 * sqrt(runs * 0.05 * 0.95)
    assert accepted >= runs * 0.02, "a test that never errs has no power, or is not run"
    assert overstated <= accepted


def test_an_actor_as_good_as_expected_passes() -> None:
    decisions = decide_many(GATE.expected, 200, 200, seed=2)
    assert sum(decision.passed for decision in decisions) >= 180
