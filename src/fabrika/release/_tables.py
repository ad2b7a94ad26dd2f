"""The tables of the report: plain words and numbers from the facts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fabrika._episode import Finding
from fabrika._ledger import COSTS, total
from fabrika._result import Result
from fabrika.release._charts import number
from fabrika.release._facts import Facts


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text; ``numeric`` and ``code`` name columns by number."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[int] = ()
    code: Sequence[int] = ()
    empty: str = field(default="none")


_ROLES = {
    "policy": "the policy",
    "expert": "expert (reference)",
    "zero": "zero (must fail)",
    "random": "random (must fail)",
}


def brackets(facts: Facts) -> Table:
    """The policy beside the expert, zero and random."""
    rows = []
    for role, results in facts.evidence.items():
        won, tried = sum(r.accepted for r in results), len(results)
        unsafe = sum(bool(r.safety_violations) for r in results)
        void = sum(bool(r.void) for r in results)
        rows.append(
            (
                _ROLES[role],
                f"{won} of {tried}",
                f"{won / tried:.1%}" if tried else "",
                str(unsafe),
                str(void),
                reasons(results),
            )
        )
    return Table(
        "All scenarios 0 … n-1 of the validate split, each once.",
        ("actor", "passed", "rate", "unsafe episodes", "void", "reasons"),
        rows,
        numeric=(1, 2, 3, 4),
    )


def reasons(results: Sequence[Result]) -> str:
    """Reason codes of what did not pass, the commonest first."""
    counts = Counter(r.reason for r in results if not r.accepted)
    return ", ".join(f"{code} {count}" for code, count in counts.most_common()) or "–"


def failures(facts: Facts) -> Table:
    """Every failure of the policy, with the commands that show it."""
    preventable, unsolved = facts.preventable()
    kinds = [(r, "preventable") for r in preventable] + [(r, "unsolved") for r in unsolved]
    rows = [
        (str(r.index), kind, r.reason, f"fabrika show {facts.folder}:{r.index}")
        for r, kind in sorted(kinds, key=lambda pair: pair[0].index)
    ]
    return Table(
        "Failures, and the command that replays each.",
        ("scenario", "kind", "reason", "replay"),
        rows,
        code=(2, 3),
        empty="no failure",
    )


def _by_check(results: Sequence[Result]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for result in results:
        for finding in result.verdict.findings if result.verdict else ():
            found.setdefault(finding.check, []).append(finding)
    return found


def _limit(finding: Finding) -> str:
    parts = []
    if finding.at_least is not None:
        parts.append(f"≥ {number(finding.at_least)}")
    if finding.at_most is not None:
        parts.append(f"≤ {number(finding.at_most)}")
    return _with_unit(" and ".join(parts), finding.unit) if parts else "none"


def _with_unit(text: str, unit: str) -> str:
    """A number with its unit; "1" is the unit of what has none."""
    return text if unit == "1" else f"{text} {unit}"


def margins(facts: Facts) -> Table:
    """For each safety check, the episode that came nearest to its limit, or went beyond."""
    rows = []
    for check, findings in _by_check(facts.policy).items():
        if findings[0].kind != "safety":
            continue
        worst = min(findings, key=_room)
        limit = worst.at_most if worst.at_most is not None else worst.at_least
        room = _room(worst)
        share = f" ({room / abs(limit):.0%} of the limit)" if limit else ""
        over = sum(not f.ok for f in findings)
        rows.append(
            (
                check,
                _with_unit(number(worst.value), worst.unit),
                _limit(worst),
                _with_unit(number(room), worst.unit) + share,
                str(over),
            )
        )
    return Table(
        f"{len(facts.policy)} episodes of the policy.",
        ("check", "worst value", "limit", "margin", "violations"),
        rows,
        numeric=(1, 2, 3, 4),
        empty="the task has no safety check",
    )


def _room(finding: Finding) -> float:
    """Distance to the nearer limit; negative beyond it."""
    rooms = []
    if finding.at_most is not None:
        rooms.append(finding.at_most - finding.value)
    if finding.at_least is not None:
        rooms.append(finding.value - finding.at_least)
    room = min(rooms, default=float("inf"))
    return room if np.isfinite(finding.value) else float("-inf")


def quality(facts: Facts) -> Table:
    """Goals and quality numbers, of the policy beside the expert."""
    ours, reference = _by_check(facts.policy), _by_check(facts.evidence.get("expert", ()))
    rows = []
    for check, findings in ours.items():
        if findings[0].kind == "safety":
            continue
        label = f"{check} [{findings[0].unit}]"
        rows.append(
            (
                label,
                findings[0].kind,
                _limit(findings[0]),
                _spread(findings),
                _spread(reference.get(check, [])),
            )
        )
    return Table(
        "Median, and the 5th and 95th percentile, over all judged episodes.",
        ("check", "kind", "limit", "policy", "expert"),
        rows,
        numeric=(3, 4),
    )


def _spread(findings: Sequence[Finding]) -> str:
    values = np.array([f.value for f in findings], np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return "–"
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"{number(middle)} ({number(low)} … {number(high)})"


def rejections(facts: Facts) -> Table:
    """Why expert episodes were not taken as data, and which scenarios are missing for it."""
    by_reason: dict[str, list[int]] = {}
    for result in facts.train:
        if not result.accepted:
            by_reason.setdefault(result.reason, []).append(result.index)
    rows = [
        (reason, str(len(indices)), _indices(indices))
        for reason, indices in sorted(by_reason.items(), key=lambda item: -len(item[1]))
    ]
    return Table(
        "Rejected expert episodes: these scenarios are missing from the training data.",
        ("reason", "episodes", "scenarios"),
        rows,
        numeric=(1,),
        empty="nothing was rejected",
    )


def _indices(indices: Sequence[int], most: int = 12) -> str:
    text = ", ".join(str(index) for index in indices[:most])
    return text + (f" and {len(indices) - most} more" if len(indices) > most else "")


def ledger(facts: Facts) -> Table:
    """What each stage took, and what that comes to for each accepted episode."""
    accepted = sum(r.accepted for r in facts.train)
    rows = []
    for stage in dict.fromkeys(row.stage for row in facts.ledger):
        sums = total([row for row in facts.ledger if row.stage == stage])
        each = float(sums["cpu_seconds"] or 0) / accepted if accepted else None
        costs = [_cost(sums[name]) for name in COSTS]
        rows.append((stage, *costs, f"{sums['episodes_tried']:g}", _cost(each, 2)))
    return Table(
        "The ledger, added up: all sessions of a stage. Joules where the machine reports them.",
        (
            "stage",
            "seconds",
            "CPU seconds",
            "GPU seconds",
            "joules",
            "episodes tried",
            "CPU seconds per accepted training episode",
        ),
        rows,
        numeric=(1, 2, 3, 4, 5, 6),
        empty="no ledger was kept",
    )


def _cost(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def pairs(caption: str, values: Mapping[str, Any], empty: str = "none") -> Table:
    """A mapping as a table of two columns."""
    rows = [
        (name, value if isinstance(value, str) else _plain(value)) for name, value in values.items()
    ]
    return Table(caption, ("what", "value"), rows, empty=empty)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return json.dumps(value) if isinstance(value, dict | list | bool) else str(value)
