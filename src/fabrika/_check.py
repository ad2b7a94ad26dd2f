"""Checks and the judge: pure functions of the recorded episode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from fabrika._episode import Episode, Finding, Kind, Verdict
from fabrika._errors import ContractError

Measure = Callable[[Episode], float]
Condition = Callable[[Episode], NDArray[np.bool_]]
"""A condition gives (T + 1,) booleans: whether it holds at each observation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A pure measurement of an episode, and its limits."""

    name: str
    """Short and stable: it becomes the reason code ``kind/name``."""
    kind: Kind
    measure: Measure
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if self.kind != "quality" and self.at_least is None and self.at_most is None:
            raise ContractError(f"check {self.name!r} of kind {self.kind!r} has no limit.")

    def find(self, episode: Episode) -> Finding:
        """Measure. A value that is not finite is outside any limit."""
        value = float(self.measure(episode))
        low_ok = self.at_least is None or value >= self.at_least
        high_ok = self.at_most is None or value <= self.at_most
        unlimited = self.at_least is None and self.at_most is None
        return Finding(
            check=self.name,
            kind=self.kind,
            value=value,
            unit=self.unit,
            at_least=self.at_least,
            at_most=self.at_most,
            ok=unlimited or (isfinite(value) and low_ok and high_ok),
        )


def judge(episode: Episode, checks: Sequence[Check]) -> Verdict:
    """The verdict on one episode. Pure: no simulator, no clock, no randomness.

    A fault comes before safety, safety before goals. Quality numbers never fail an episode.
    A goal that the actor itself gave up takes the actor's remark as its reason.
    """
    findings = tuple(check.find(episode) for check in checks)
    failed = [f for kind in ("safety", "goal") for f in findings if f.kind == kind and not f.ok]
    if episode.ending == "fault":
        reason = "fault"
    elif not failed:
        reason = "passed"
    elif failed[0].kind == "goal" and episode.remark:
        reason = f"gave-up/{episode.remark}"
    else:
        reason = f"{failed[0].kind}/{failed[0].check}"
    return Verdict(passed=reason == "passed", reason=reason, findings=findings)


def held_to_end(condition: Condition) -> Measure:
    """For how long the condition held without a break up to the last observation [s]."""

    def measure(episode: Episode) -> float:
        holds = condition(episode)
        if not holds[-1]:
            return 0.0
        broken = np.flatnonzero(~holds)
        first = int(broken[-1]) + 1 if len(broken) else 0
        return float(episode.times[-1] - episode.times[first])

    return measure


def at_end(condition: Condition) -> Measure:
    """1.0 if the condition holds at the last observation, else 0.0."""
    return lambda episode: float(condition(episode)[-1])


def ever(condition: Condition) -> Measure:
    """1.0 if the condition holds at any observation, else 0.0. Not a goal by itself."""
    return lambda episode: float(condition(episode).any())
