"""``fabrika ledger``: what every run cost, for each accepted episode and each gated policy."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabrika.cli._console import answer, duration, emit, say, table
from fabrika.cli._errors import INTEGRITY
from fabrika.cli._options import FILE, FOLDER, json_option

if TYPE_CHECKING:
    from fabrika._ledger import Row


@dataclass(frozen=True, slots=True)
class _Found:
    """Rows with the run that each belongs to, and what could not be read."""

    rows: list[tuple[Path, str, Row]]
    """File, run, row."""
    problems: list[str]
    passed: int
    """Runs whose policy passed the gate."""


@click.command()
@click.argument("folder", type=FOLDER, default=Path("runs"))
@click.option("--csv", "sheet", type=FILE, metavar="FILE", help="Also write the rows as CSV here.")
@json_option
@click.pass_context
def ledger(ctx: click.Context, folder: Path, sheet: Path | None, as_json: bool) -> None:
    """Seconds and energy of all runs in FOLDER, for each accepted episode and gated policy.

    Columns of --csv and --json are named as in FOCUS where it has them. Exit code 6 if a row is
    not what was written; the others are told all the same.

    \b
    Example: fabrika ledger runs
    """
    from fabrika._errors import UsageError

    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}. Name the one that holds the runs.")
    found = _read(folder)
    if sheet:
        _write_csv(sheet, [_published(file, folder, row) for file, _, row in found.rows])
    if as_json:
        rows = [_published(file, folder, row) for file, _, row in found.rows]
        whole = {"stages": _stages(found), "total": _whole(found), "problems": found.problems}
        emit({"folder": str(folder), **whole, "rows": rows})
    else:
        _print(found, folder)
    for problem in found.problems:
        say(f"not counted: {problem}")
    ctx.exit(INTEGRITY if found.problems else 0)


def _read(folder: Path) -> _Found:
    from fabrika._errors import FabrikaError, in_words
    from fabrika._ledger import read_row, row_files

    rows, problems = [], []
    for file in row_files(folder):
        try:
            rows.append((file, _run_of(file, folder), read_row(file)))
        except FabrikaError as error:
            problems.append(str(error))
    passed = 0
    for file in sorted(folder.glob("**/decision.json")):
        try:
            passed += bool(json.loads(file.read_text())["passed"])
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"{file} cannot be read: {in_words(error)}.")
    return _Found(rows, problems, passed)


def _run_of(file: Path, folder: Path) -> str:
    """The run that a row lies in, or else the folder that has this ledger."""
    place = file.parent.parent
    for parent in (place, *place.parents):
        if (parent / "run.json").is_file():
            return str(parent)
        if parent == folder:
            break
    return str(place)


def _stages(found: _Found) -> list[dict[str, Any]]:
    """Sums by run, task and stage, in the order in which they began."""
    from fabrika._ledger import total

    groups: dict[tuple[str, str, str], list[Row]] = {}
    for _, run, row in found.rows:
        groups.setdefault((run, row.task, row.stage), []).append(row)
    stages = []
    for (run, task, stage), rows in groups.items():
        sums = total(rows)
        unfinished = sum(row.outcome != "done" for row in rows)
        head = {"run": run, "task": task, "stage": stage}
        counts = {"rows": len(rows), "unfinished": unfinished}
        each = _each(sums, sums["episodes_accepted"])
        stages.append({**head, **counts, **sums, "per_accepted_episode": each})
    return sorted(stages, key=lambda stage: str(stage["run"]))


def _whole(found: _Found) -> dict[str, Any]:
    """All of it, for each episode that became data, and for each policy that passed its gate."""
    from fabrika._ledger import total

    rows = [row for _, _, row in found.rows]
    data = total([row for row in rows if row.split == "train"])["episodes_accepted"]
    sums = total(rows)
    return {
        "rows": len(rows),
        "unfinished": sum(row.outcome != "done" for row in rows),
        **sums,
        "training_episodes": data,
        "per_training_episode": _each(sums, data),
        "policies_passed": found.passed,
        "per_policy_passed": _each(sums, found.passed),
    }


def _each(sums: Mapping[str, float | None], count: float | None) -> dict[str, float | None]:
    """Costs for each of ``count`` things; None where that is not known."""
    from fabrika._ledger import COSTS

    costs = {name: sums[name] for name in COSTS}
    return {n: None if c is None or not count else c / count for n, c in costs.items()}


def _published(file: Path, folder: Path, row: Row) -> dict[str, Any]:
    return {**row.columns(), "x_Row": str(file.relative_to(folder))}


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from fabrika._errors import UsageError

    if not rows:
        raise UsageError(f"there is no row to write to {path}.")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    staged = path.with_name(f".{path.name}.part")
    try:
        staged.write_text(text.getvalue(), newline="")
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def _print(found: _Found, folder: Path) -> None:
    if not found.rows:
        say(f"there is no row of a ledger in {folder}. `fabrika run` writes them.")
        return
    stages, whole = _stages(found), _whole(found)
    columns = {
        "seconds": "wall_seconds",
        "CPU s": "cpu_seconds",
        "GPU s": "gpu_seconds",
        "joules": "joules",
        "tried": "episodes_tried",
        "accepted": "episodes_accepted",
    }
    rows = []
    for stage in [*stages, {"run": "all", "task": "", "stage": "", **whole}]:
        each = stage.get("per_accepted_episode", {}).get("cpu_seconds")
        numbers = [_number(stage[name]) for name in columns.values()]
        head = (stage["run"], stage["task"], stage["stage"], stage["rows"])
        rows.append((*head, *numbers, _number(each, 3)))
    table(("run", "task", "stage", "rows", *columns, "CPU s each accepted"), rows)
    if whole["unfinished"]:
        answer(f"{whole['unfinished']} rows have no end: stopped, killed, or still at work")
    if whole["training_episodes"]:
        words = _words(whole["per_training_episode"])
        answer(f"everything, for each of {whole['training_episodes']} training episodes: {words}")
    if whole["policies_passed"]:
        words = _words(whole["per_policy_passed"])
        answer(f"everything, for each of {whole['policies_passed']} policies that passed: {words}")


def _words(each: Mapping[str, float | None]) -> str:
    wall, cpu, gpu = (each[name] or 0.0 for name in ("wall_seconds", "cpu_seconds", "gpu_seconds"))
    joules = each["joules"]
    energy = "energy not reported here" if joules is None else f"{joules:.0f} J"
    on_gpu = f", {duration(gpu)} GPU" if gpu else ""
    return f"{duration(wall)}, {duration(cpu)} CPU{on_gpu}, {energy}"


def _number(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"
