"""What a run folder holds, read once, for the report. Nothing is computed from pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fabrika._errors import IntegrityError, UsageError
from fabrika._ledger import Row, read_ledger
from fabrika._registry import task as find_task
from fabrika._result import Result
from fabrika._scenario import Scenario
from fabrika._signals import Array
from fabrika._store import Store, is_store
from fabrika._task import Task

ACTORS = ("policy", "expert", "zero", "random")
_UNFINISHED = ("report", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One finished run."""

    folder: Path
    manifest: Mapping[str, Any]
    """run.json: task, seed, sensors, command, versions, hardware."""
    decision: Mapping[str, Any]
    task: Task
    evidence: Mapping[str, Sequence[Result]]
    """By actor role: "policy" always, "expert", "zero" and "random" where they were run."""
    train: Sequence[Result]
    ledger: Sequence[Row]
    """What each run in the folder cost. The row of the report that is being written is left out."""
    curve: Mapping[str, Any]

    @property
    def policy(self) -> Sequence[Result]:
        """The results of the candidate, in order."""
        return self.evidence["policy"]

    def preventable(self) -> tuple[list[Result], list[Result]]:
        """Failures of the policy where the expert passes, and those where it fails too."""
        solved = {r.index for r in self.evidence.get("expert", ()) if r.accepted}
        failed = [r for r in self.policy if not r.accepted]
        inside = [r for r in failed if r.index in solved]
        return inside, [r for r in failed if r.index not in solved]


def read_run(folder: Path) -> Facts:
    """Read a run folder. Raises `UsageError` if it is not one, or is not finished."""
    manifest = _json(folder / "run.json", f"{folder} is not a run: it has no run.json.")
    decision = _json(
        folder / "decision.json",
        f"{folder} has no decision yet. Finish it: {manifest.get('command', 'fabrika run …')}",
    )
    stores = {role: folder / "evidence" / role for role in ACTORS}
    return Facts(
        folder=folder,
        manifest=manifest,
        decision=decision,
        task=find_task(str(manifest["task"])),
        evidence={role: _rows(path) for role, path in stores.items() if is_store(path)},
        train=_rows(folder / "train") if is_store(folder / "train") else [],
        ledger=[row for row in read_ledger(folder) if (row.stage, row.outcome) != _UNFINISHED],
        curve=_curve(folder / "policy" / "curve.json"),
    )


def promises(folder: Path) -> dict[str, str]:
    """What is promised of each part of a run's folder, finished or not: see `fabrika._tier`.

    A part that says nothing, or cannot be read, promises nothing.
    """
    stores = ["train", *(f"evidence/{role}" for role in ACTORS)]
    files = {name: folder / name / "manifest.json" for name in stores}
    files["dataset"] = folder / "dataset" / "meta" / "provenance.json"
    files["policy"] = folder / "policy" / "checkpoint.json"
    return {name: _promise(file) for name, file in files.items() if file.is_file()}


def _promise(file: Path) -> str:
    try:
        told = json.loads(file.read_text())
        if "card" in told:
            told = json.loads(told["card"])["made"]
        return str(told["determinism"])
    except (OSError, ValueError, KeyError, TypeError):
        return "D3: it says nothing"


def scenarios(facts: Facts) -> list[Scenario]:
    """The scenarios that the policy was judged in, drawn again.

    Raises `IntegrityError` if they are not the ones that were run: the task has changed since.
    """
    found = []
    for row in facts.policy:
        scenario = facts.task.scenario(row.split, row.index, row.draw)
        if scenario.id != row.scenario_id:
            raise IntegrityError(
                f"scenario {row.index} of {row.task!r} is {scenario.id} now and was "
                f"{row.scenario_id} in the evidence: the task has changed since. Run it again."
            )
        found.append(scenario)
    return found


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, float | str]:
    """Nested params as one level: {"pose": [1, 2]} gives {"pose[0]": 1, "pose[1]": 2}."""
    flat: dict[str, float | str] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        elif isinstance(value, list):
            numbered = {f"[{index}]": item for index, item in enumerate(value)}
            flat |= flatten(numbered, name)
        elif isinstance(value, str | bool):
            flat[name] = str(value)
        else:
            flat[name] = float(value)
    return flat


def separation(values: Array, ok: Array) -> float:
    """How well a number tells failures from passes: 0 not at all, 1 perfectly.

    |2 AUC - 1|, the rank-biserial correlation of the Mann-Whitney statistic; ties count half.
    """
    good, bad = values[ok], values[~ok]
    if not len(good) or not len(bad):
        return 0.0
    above = np.sign(good[:, None] - bad[None, :]).mean()
    return abs(float(above))


def _rows(path: Path) -> list[Result]:
    with Store.open(path) as store:
        return store.rows()


def _json(path: Path, missing: str) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(missing)
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise IntegrityError(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise IntegrityError(f"{path} holds {type(found).__name__}, not an object.")
    return found


def _curve(path: Path) -> Mapping[str, Any]:
    return _json(path, "") if path.is_file() else {}
