"""Results: one row for each scenario tried, small enough to send, to store and to count."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from fabrika._episode import Episode, Finding, Verdict, load_verdict
from fabrika._errors import IntegrityError
from fabrika._scenario import Scenario, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one scenario. Plain data: JSON in, JSON out."""

    task: str
    split: Split
    draw: str
    """Of the release split: the digest of the candidate; otherwise empty."""
    index: int
    scenario_id: str
    actor: str
    """Name and, for a policy, digest."""
    verdict: Verdict | None
    """None if the rollout is void."""
    reason: str
    """The verdict's reason code, or "void"."""
    void: str = ""
    """How the world broke; empty if it did not."""
    remark: str = ""
    """The actor's own word on how it ended."""
    length: int = 0
    """Actions in the episode."""
    sim_seconds: float = 0.0
    """Duration of the episode [s]."""
    wall_seconds: float = 0.0
    """What it took to simulate and judge [s]. Two equal runs differ in this and the next alone."""
    cpu_seconds: float = 0.0
    """Processor time of the same [s], wherever it ran."""
    digest: str = ""
    """SHA-256 of the stored episode, in hexadecimal; empty if it is not stored."""
    privileged: bool = False
    """True if the actor read simulator truth."""

    @property
    def accepted(self) -> bool:
        """True if the world held and the judge passed it: this episode may become data."""
        return self.verdict is not None and self.verdict.passed

    @property
    def safety_violations(self) -> tuple[str, ...]:
        """Names of the safety checks that failed."""
        return self.verdict.safety_violations if self.verdict else ()

    @classmethod
    def judged(cls, episode: Episode) -> Result:
        """The row of a judged episode."""
        if episode.verdict is None:
            raise IntegrityError(f"scenario {episode.scenario.index} was never judged.")
        return replace(
            cls._start(episode.scenario, episode.actor),
            verdict=episode.verdict,
            reason=episode.verdict.reason,
            remark=episode.remark,
            length=episode.length,
            sim_seconds=float(episode.times[-1]),
            privileged=episode.privileged,
        )

    @classmethod
    def voided(cls, scenario: Scenario, actor: str, why: str) -> Result:
        """The row of a rollout whose world broke: neither data nor evidence."""
        return replace(cls._start(scenario, actor), void=why or "the world broke")

    @classmethod
    def _start(cls, scenario: Scenario, actor: str) -> Result:
        return cls(
            task=scenario.task,
            split=scenario.split,
            draw=scenario.draw,
            index=scenario.index,
            scenario_id=scenario.id,
            actor=actor,
            verdict=None,
            reason="void",
        )

    def to_json(self, *, timed: bool = True) -> str:
        """Canonical JSON; without the clocks if not ``timed``, for digests."""
        data = {name: getattr(self, name) for name in _NAMES if timed or name not in _CLOCKS}
        if self.verdict:
            found = [{name: getattr(f, name) for name in _FINDING} for f in self.verdict.findings]
            data["verdict"] = {
                "passed": self.verdict.passed,
                "reason": self.verdict.reason,
                "findings": found,
            }
        return json.dumps(data, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """The result that `to_json` wrote. Raises `IntegrityError` for anything else."""
        try:
            data = cast(dict[str, Any], json.loads(text))
            verdict = data.pop("verdict")
            return cls(**data, verdict=load_verdict(verdict) if verdict else None)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise IntegrityError(f"not a result ({error}); a result has: {names}.") from error


# dataclasses.asdict copies deeply, which takes ten times as long.
_NAMES = [field.name for field in fields(Result)]
_FINDING = [field.name for field in fields(Finding)]
_CLOCKS = ("wall_seconds", "cpu_seconds")
