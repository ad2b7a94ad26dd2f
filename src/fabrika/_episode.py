"""Episodes, findings and verdicts: what a rollout leaves behind."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field, replace
from sys import intern
from typing import Any, Literal

import numpy as np

from fabrika._errors import IntegrityError, VersionError, in_words
from fabrika._scenario import Scenario
from fabrika._signals import Array, Signals

Ending = Literal["horizon", "world", "fault"]
Kind = Literal["goal", "safety", "quality"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One measurement of one check, beside its limits."""

    check: str
    kind: Kind
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    ok: bool = True
    """Within its limits. A quality number without limits is always ok."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `judge` made of an episode."""

    passed: bool
    reason: str
    """"passed", or the code of what went wrong first: "fault", "safety/force", "goal/placed"."""
    findings: tuple[Finding, ...] = ()

    @property
    def safety_violations(self) -> tuple[str, ...]:
        """Names of the safety checks that failed."""
        return tuple(f.check for f in self.findings if f.kind == "safety" and not f.ok)

    def value(self, check: str) -> float:
        """The number measured by one check; `KeyError` if it was not measured."""
        return {f.check: f.value for f in self.findings}[check]


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """T actions between T + 1 observations of one actor in one scenario."""

    scenario: Scenario
    actor: str
    """Name and, for a policy, digest: episodes of equal ``actor`` come from one actor."""
    reads: tuple[str, ...]
    """Signals that the actor was shown, sorted."""
    truth: tuple[str, ...]
    """Signals that are simulator truth, sorted, pictures too. A learner must not read them."""
    dt: float
    """Control period [s]."""
    times: Array
    """(T + 1,) time stamps [s], from 0."""
    observations: Signals
    """Each (T + 1, *shape): all signals but pictures."""
    actions: Signals
    """Each (T, *shape): as commanded by the actor."""
    executed: Signals
    """Each (T, *shape): as the robot carried them out, after its limits."""
    states: Array
    """(T + 1, S) float64: all that is needed to continue, or to render, any step."""
    ending: Ending
    fault: str = ""
    """What the actor did wrong, if ``ending`` is "fault"."""
    remark: str = ""
    """The actor's own word on how it ended, such as "slipped"; never part of the judgement."""
    warnings: tuple[str, ...] = ()
    """What the engine warned of, where that does not void the rollout."""
    verdict: Verdict | None = None

    @property
    def length(self) -> int:
        """T, the number of actions."""
        return len(self.times) - 1

    @property
    def privileged(self) -> bool:
        """True if the actor read simulator truth: never evidence for a release."""
        return bool(set(self.reads) & set(self.truth))

    def with_verdict(self, verdict: Verdict) -> Episode:
        """The same episode, judged."""
        return replace(self, verdict=verdict)


@dataclass(frozen=True, slots=True)
class _Header:
    """The part of a stored episode that is not arrays."""

    format: int
    scenario: str
    actor: str
    reads: tuple[str, ...]
    truth: tuple[str, ...]
    dt: float
    ending: Ending
    fault: str
    remark: str
    warnings: tuple[str, ...]
    verdict: dict[str, Any] | None = field(default=None)


FORMAT = 1
"""Version of the episode file. Read: this one. Written: this one."""
_GROUPS = ("observations", "actions", "executed")


def dump_episode(episode: Episode) -> bytes:
    """One episode as the bytes of an uncompressed ``.npz``; equal episodes give equal bytes."""
    header = _Header(
        FORMAT,
        episode.scenario.to_json(),
        episode.actor,
        episode.reads,
        episode.truth,
        episode.dt,
        episode.ending,
        episode.fault,
        episode.remark,
        episode.warnings,
        asdict(episode.verdict) if episode.verdict else None,
    )
    text = json.dumps(asdict(header), sort_keys=True)
    arrays: dict[str, Array] = {"header": np.frombuffer(text.encode(), np.uint8)}
    for group in _GROUPS:
        signals: Signals = getattr(episode, group)
        for name in sorted(signals):
            arrays[f"{group}/{name}"] = signals[name]
    arrays["states"], arrays["times"] = episode.states, episode.times
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # names are strings, values arrays
    return buffer.getvalue()


def load_episode(data: bytes) -> Episode:
    """The episode that `dump_episode` wrote. Raises `IntegrityError` for anything else.

    Raises `VersionError` if a version with another format of episodes wrote it.
    """
    try:
        return _load(data)
    except VersionError:
        raise
    except Exception as error:  # zipfile, numpy and json each raise their own kinds
        raise IntegrityError(f"this is not an episode file: {in_words(error)}") from error


def _load(data: bytes) -> Episode:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays.pop("header").tobytes())
    if header["format"] != FORMAT:
        raise VersionError(f"episode format {header['format']}; this version reads {FORMAT}.")
    head = _Header(**header)
    states, times = arrays.pop("states"), arrays.pop("times")
    groups: dict[str, dict[str, Array]] = {group: {} for group in _GROUPS}
    for name, value in arrays.items():
        group, _, signal = name.partition("/")
        groups[group][signal] = value
    verdict = head.verdict
    return Episode(
        scenario=Scenario.from_json(head.scenario),
        actor=head.actor,
        reads=tuple(head.reads),
        truth=tuple(head.truth),
        dt=head.dt,
        times=times,
        states=states,
        ending=head.ending,
        fault=head.fault,
        remark=head.remark,
        warnings=tuple(head.warnings),
        verdict=load_verdict(verdict) if verdict else None,
        **groups,
    )


def load_verdict(data: dict[str, Any]) -> Verdict:
    """A verdict from the plain data of `dataclasses.asdict`."""
    for found in data["findings"]:  # words that every row has: in memory once
        found["check"], found["unit"] = intern(found["check"]), intern(found["unit"])
    findings = tuple(Finding(**found) for found in data["findings"])
    return Verdict(passed=data["passed"], reason=data["reason"], findings=findings)
