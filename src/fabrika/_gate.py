"""The gate: from all results of one split to one decision, with error bounds that hold.

**The test.** Take the results in the order of their index, and let ``E`` start at 1. A pass
multiplies it by ``expected / at_least``, a failure by ``(1 - expected) / (1 - at_least)``: the
likelihood ratio of Wald (1945). If the true rate of success is ``at_least`` or lower, E is a
non-negative supermartingale, so by Ville's inequality (1939) the chance that it *ever* reaches
``1 / error`` is at most ``error``. The gate passes if it ever does. Looking after each episode,
and stopping or going on as one likes, is therefore no peeking.

**The bound.** Put any rate p in the place of ``at_least``. The rates that the same results
reject in the same way are exactly those below some number: that number is `Decision.lower_bound`.
Were p the truth, it would be rejected with a chance of at most ``error``; so the bound lies above
the truth with a chance of at most ``error``, at all lengths at once. By construction the gate
passes if and only if ``lower_bound >= at_least``. The bound never exceeds ``expected``: beyond
it the test has no power. The exact bounds beside it hold for a length that was fixed beforehand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf, lgamma, log, log1p

import numpy as np
from numpy.typing import NDArray

from fabrika._errors import EvidenceError, UsageError
from fabrika._result import Result
from fabrika._scenario import Split

_LARGEST = log(1e300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the gate decided, and every number that it rests on."""

    passed: bool
    successes: int
    episodes: int
    lower_bound: float
    """Anytime-valid lower bound of the rate of success; at least ``at_least`` when passed."""
    preventable: int | None
    """Failures where the reference passed; None without a reference."""
    unsolved: int | None
    """Failures where the reference failed too; None without a reference."""
    reason: str
    """A sentence made from the numbers."""
    at_least: float
    expected: float
    error: float
    """Largest chance that the bound lies above the truth."""
    exact_lower: float
    """Clopper-Pearson, one-sided at ``error``, for a length fixed beforehand."""
    exact_upper: float
    """The same from above."""
    evidence: tuple[float, ...]
    """(episodes,) E after each result, shown up to 1e300; it passes on reaching ``1 / error``."""
    decided_after: int | None
    """Episodes after which E first reached ``1 / error``; None if it never did."""
    safety_violations: int
    """Episodes that broke a safety check. They are failures already."""
    reasons: dict[str, int]
    """Episodes by reason code, the most frequent first."""
    preventable_scenarios: tuple[int, ...] = ()
    """Their indices."""
    unsolved_scenarios: tuple[int, ...] = ()
    """Their indices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The claim "succeeds in ``at_least`` of such scenarios", and how it is tested."""

    at_least: float = 0.80
    """The rate to be shown."""
    expected: float = 0.90
    """The rate at which the test is most powerful."""
    error: float = 0.05
    """Largest chance of passing an actor whose true rate is ``at_least`` or lower."""

    def __post_init__(self) -> None:
        if not 0 < self.at_least < self.expected < 1 or not 0 < self.error < 1:
            raise UsageError(
                "a gate needs 0 < at_least < expected < 1 and 0 < error < 1, not "
                f"{self.at_least}, {self.expected}, {self.error}."
            )

    @property
    def fewest(self) -> int:
        """The fewest episodes with which it could pass, all of them successes."""
        return ceil(log(1 / self.error) / log(self.expected / self.at_least))

    def decide(
        self,
        results: Sequence[Result],
        reference: Sequence[Result] | None = None,
        *,
        split: Split = "validate",
        count: int | None = None,
    ) -> Decision:
        """Decide on all of scenarios 0..count-1 of the split (count: by default, all given).

        ``reference`` (the expert's results in the same scenarios) tells preventable failures
        from unsolved ones. Raises `EvidenceError` for anything that is not evidence.
        """
        count = len(results) if count is None else count
        if split == "train":
            raise EvidenceError("wrong split: what was trained on is no evidence.")
        ordered = check_evidence(results, split=split, count=count)
        if count < self.fewest:
            raise EvidenceError(
                f"too few: {count} episodes cannot show {self.at_least:.0%} at an error of "
                f"{self.error:.0%}, even if all pass. The fewest that could: {self.fewest}."
            )
        passed = np.array([result.accepted for result in ordered])
        failures = [result.index for result in ordered if not result.accepted]
        solved = _solved(reference, ordered, split) if reference is not None else None
        preventable = tuple(i for i in failures if solved and i in solved)
        unsolved = tuple(i for i in failures if solved is not None and i not in solved)
        path = self.log_evidence(passed)
        crossed = np.flatnonzero(path >= log(1 / self.error))
        bound, successes = self.lower_bound(passed), int(passed.sum())
        return Decision(
            passed=bool(len(crossed)),
            successes=successes,
            episodes=count,
            lower_bound=bound,
            preventable=None if solved is None else len(preventable),
            unsolved=None if solved is None else len(unsolved),
            reason=self._sentence(successes, count, bound, bool(len(crossed))),
            at_least=self.at_least,
            expected=self.expected,
            error=self.error,
            exact_lower=exact_lower(successes, count, self.error),
            exact_upper=1.0 - exact_lower(count - successes, count, self.error),
            evidence=tuple(np.exp(np.minimum(path, _LARGEST)).tolist()),
            decided_after=int(crossed[0]) + 1 if len(crossed) else None,
            safety_violations=sum(bool(result.safety_violations) for result in ordered),
            reasons=dict(Counter(result.reason for result in ordered).most_common()),
            preventable_scenarios=preventable,
            unsolved_scenarios=unsolved,
        )

    def log_evidence(self, passed: NDArray[np.bool_]) -> NDArray[np.float64]:
        """ln E after each result. ``passed``: (..., n) booleans in order of index; (..., n)."""
        return _log_evidence(_counts(passed), self.at_least, self.expected)

    def lower_bound(self, passed: NDArray[np.bool_]) -> float:
        """The anytime-valid lower bound after ``passed``, (n,) booleans in order of index.

        For one length, ln E falls with p up to the rate observed and is negative from there to
        ``expected``; so what is rejected is an interval from 0, and bisection finds its end.
        """

        counts = _counts(passed)

        def rejects(rate: float) -> bool:
            reached = _log_evidence(counts, rate, self.expected).max(initial=-inf)
            return bool(reached >= log(1 / self.error))

        if not passed.any():
            return 0.0
        if rejects(self.at_least):  # bracketed so that rounding cannot part bound and decision
            return _bisect(rejects, self.at_least, self.expected)
        return _bisect(rejects, 0.0, self.at_least)

    def _sentence(self, successes: int, count: int, bound: float, passed: bool) -> str:
        rate = f"{successes} of {count} scenarios succeeded ({successes / count:.1%})"
        sure = f"at {1 - self.error:.0%} confidence"
        # Rounded down, so that the words never claim more than the number.
        shown = f"{int(bound * 1000) / 10:.1f} %"
        if passed:
            return f"Passed: {rate}; the true rate is at least {shown} {sure}."
        return (
            f"Not passed: {rate}; that shows a true rate of at least {shown} {sure}, "
            f"and {self.at_least:.0%} was to be shown."
        )


def check_evidence(
    results: Sequence[Result], *, split: Split, count: int, privileged: bool = False
) -> list[Result]:
    """The results in order of index, if they are evidence: else `EvidenceError` says why not.

    Evidence is all of scenarios 0..count-1 of one split of one task, each once, from one actor,
    none void, and none from an actor that read truth (unless ``privileged``: a reference may).
    """
    if count < 1:
        raise EvidenceError("partial: there is no episode at all.")
    for what in ("task", "draw", "actor"):
        found = sorted({getattr(result, what) for result in results})
        if len(found) > 1:
            raise EvidenceError(f"mixed: results of more than one {what}: {', '.join(found)}.")
    others = sorted({result.split for result in results} - {split})
    if others:
        raise EvidenceError(f"wrong split: {', '.join(others)} among results of {split}.")
    times = Counter(result.index for result in results)
    repeated = sorted(index for index, n in times.items() if n > 1)
    if repeated:
        raise EvidenceError(f"repeated: scenarios {_some(repeated)} count more than once.")
    missing = sorted(set(range(count)) - times.keys())
    if missing:
        raise EvidenceError(
            f"partial: {len(missing)} of scenarios 0..{count - 1} are missing: {_some(missing)}."
        )
    extra = sorted(times.keys() - set(range(count)))
    if extra:
        raise EvidenceError(f"not as asked: scenarios {_some(extra)} are beyond {count - 1}.")
    void = sorted(result.index for result in results if result.verdict is None)
    if void:
        raise EvidenceError(
            f"void: the world broke in scenarios {_some(void)}, so the evidence is partial. "
            "Mend the world, and run all again."
        )
    if not privileged and any(result.privileged for result in results):
        raise EvidenceError(f"privileged: {results[0].actor!r} read simulator truth.")
    return sorted(results, key=lambda result: result.index)


def exact_lower(successes: int, episodes: int, error: float) -> float:
    """Lower limit of Clopper and Pearson (1934), one-sided: P(X >= successes) there is ``error``.

    That is the ``error`` quantile of Beta(successes, episodes - successes + 1), found by
    bisection of the binomial tail.
    """
    if successes == 0:
        return 0.0
    hits = np.arange(successes, episodes + 1)
    ways = np.array([-lgamma(k + 1) - lgamma(episodes - k + 1) for k in hits.tolist()])

    def excludes(rate: float) -> bool:
        terms = lgamma(episodes + 1) + ways + hits * log(rate) + (episodes - hits) * log1p(-rate)
        return bool(np.exp(terms).sum() <= error)

    return _bisect(excludes, 0.0, 1.0)


_Counts = tuple[NDArray[np.float64], NDArray[np.float64]]


def _counts(passed: NDArray[np.bool_]) -> _Counts:
    """(..., n) successes and (..., n) failures so far, after each result."""
    return np.cumsum(passed, -1, np.float64), np.cumsum(~passed, -1, np.float64)


def _log_evidence(counts: _Counts, rate: float, expected: float) -> NDArray[np.float64]:
    """(..., n) ln of the likelihood ratio of ``expected`` against ``rate``, after each result."""
    successes, failures = counts
    success = log(expected) - log(rate)  # the quotient of a tiny rate would overflow
    failure = log1p(-expected) - log1p(-rate)
    return np.asarray(successes * success + failures * failure)


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The largest number in [low, high) up to which ``holds`` is true; at ``low`` it must be."""
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _solved(reference: Sequence[Result], ordered: list[Result], split: Split) -> set[int]:
    """Scenarios that the reference passed, once it is known to be about the same ones."""
    known = check_evidence(reference, split=split, count=len(ordered), privileged=True)
    for ours, theirs in zip(ordered, known, strict=True):
        if ours.scenario_id != theirs.scenario_id:
            raise EvidenceError(
                f"mixed: scenario {ours.index} of the reference is not the same as the "
                "candidate's; the task changed in between. Run both again."
            )
    return {result.index for result in known if result.accepted}


def _some(indices: Sequence[int]) -> str:
    shown = ", ".join(str(index) for index in indices[:8])
    return f"{shown}, ..." if len(indices) > 8 else shown
