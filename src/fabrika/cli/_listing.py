"""``fabrika list``: what there is to name."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fabrika._errors import FabrikaError
from fabrika.cli._console import emit, say, table
from fabrika.cli._gallery import GALLERY, read_results
from fabrika.cli._options import FOLDER, json_option


@click.group("list")
def list_() -> None:
    """List what there is: tasks, actors, robots, runs, or the signals of a task.

    \b
    Example: fabrika list tasks
    """


@list_.command()
@click.option(
    "--gallery",
    type=FOLDER,
    default=GALLERY,
    show_default=True,
    metavar="DIR",
    help="Where `fabrika gallery` wrote what it measured.",
)
@json_option
def tasks(gallery: Path, as_json: bool) -> None:
    """The tasks that are installed or found, those that cannot be loaded, and what was measured.

    Measured: how many of the expert's scenarios were accepted, CPU seconds for an accepted episode,
    the picture; and whether of this version of the task, or of another.

    \b
    Example: fabrika list tasks --json
    """
    measured = read_results(gallery)
    rows = []
    for name, where in _known("tasks").items():
        row = {"name": name, "where": where, "description": "", "problem": ""}
        found = _measured(name, measured[name], gallery) if name in measured else None
        told = {"measured": found} if as_json else _in_short(found) if found else {}
        rows.append({**row, **_describe(name), **told})
    _show(rows, as_json)


def _measured(name: str, row: dict[str, Any], gallery: Path) -> dict[str, Any]:
    """What is told of a task that was measured."""
    from fabrika._source import source_digest

    kept = ("scenarios", "accepted", "at_least", "cpu_seconds_per_accepted", "experimental")
    return {
        **{key: row[key] for key in kept},
        "of": "this version" if row["source"] == source_digest(name) else "another version",
        "picture": str(gallery / row["picture"]) if row["picture"] else "",
        "video": str(gallery / row["video"]) if row["video"] else "",
    }


def _in_short(found: dict[str, Any]) -> dict[str, str]:
    """The same for a person's table."""
    cost = found["cpu_seconds_per_accepted"]
    return {
        "accepted": f"{found['accepted']} of {found['scenarios']}"
        + (" (experimental)" if found["experimental"] else ""),
        "CPU s each": "" if cost is None else f"{cost:.2f}",
        "measured of": found["of"],
        "picture": found["picture"],
    }


@list_.command()
@json_option
def actors(as_json: bool) -> None:
    """What can act in any task, and the kinds of policy files.

    \b
    Example: fabrika list actors
    """
    rows = [
        {"name": "expert", "description": "the task's own script; it may read simulator truth"},
        {"name": "zero", "description": "commands zero, always: must fail"},
        {"name": "random", "description": "commands noise within the limits: must fail"},
    ]
    for suffix in _known("policies"):
        rows.append({"name": f"FILE.{suffix}", "description": "a policy file"})
    _show(rows, as_json)


@list_.command()
@json_option
def robots(as_json: bool) -> None:
    """The robots that are installed.

    \b
    Example: fabrika list robots
    """
    _show([{"name": name, "where": where} for name, where in _known("robots").items()], as_json)


@list_.command()
@click.option(
    "--in", "folder", type=FOLDER, default=Path("runs"), show_default=True, help="Where to look."
)
@json_option
def runs(folder: Path, as_json: bool) -> None:
    """The runs and stores in a folder, how far each is, and what became of it.

    \b
    Example: fabrika list runs --in runs
    """
    from fabrika._store import is_like_store
    from fabrika.cli._run_folder import read_manifest

    if not folder.is_dir():
        say(f"there is no folder {folder}; look elsewhere with --in")
    rows = []
    for file in sorted(folder.glob("*/run.json")):
        try:
            rows.append(_run_row(file.parent, read_manifest(file.parent)))
        except (ValueError, KeyError, TypeError, FabrikaError) as error:
            rows.append({"run": str(file.parent), "problem": f"cannot be read: {error}"})
    for place in sorted(filter(is_like_store, folder.glob("*/"))):
        try:
            rows.append(_store_row(place))
        except FabrikaError as error:
            rows.append({"run": str(place), "problem": str(error)})
    if not rows and folder.is_dir():
        say(f"there is no run in {folder}; look elsewhere with --in")
    _show(rows, as_json)


@list_.command()
@click.argument("task")
@json_option
def signals(task: str, as_json: bool) -> None:
    """Everything that can be observed, and commanded, in a task.

    \b
    Example: fabrika list signals toy/reach-v1
    """
    from contextlib import closing

    from fabrika._registry import task as find_task

    with closing(find_task(task).build()) as world:
        found = [("observes", n, s) for n, s in world.observes.items()]
        found += [("acts", n, s) for n, s in world.acts.items()]
    rows = []
    for kind, name, signal in found:
        plain = asdict(signal)
        plain["shape"], plain["names"] = list(signal.shape), list(signal.names)
        plain["low"], plain["high"] = _bound(signal.low), _bound(signal.high)
        rows.append({"kind": kind, "name": name, **plain})
    _show(rows, as_json)


def _bound(value: float) -> float | None:
    """JSON has no infinity: None is "no bound"."""
    from math import isfinite

    return value if isfinite(value) else None


def _known(kind: Any) -> dict[str, str]:
    from fabrika._registry import known

    return known(kind)


def _describe(name: str) -> dict[str, str]:
    from fabrika._registry import task

    try:
        return {"description": task(name).description.strip().splitlines()[0]}
    except FabrikaError as error:
        return {"problem": str(error)}


def _run_row(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    row = {
        "run": str(folder),
        "task": manifest["task"],
        "seed": manifest["seed"],
        "sensors": manifest["sensors"],
        "passed": "",
        "decision": "none yet",
        "determinism": _tier(folder),
        "problem": "",
    }
    if (folder / "train" / "index.sqlite").is_file():
        row["passed"] = _store_row(folder / "train")["passed"]
    decision = folder / "decision.json"
    if decision.is_file():
        found = json.loads(decision.read_text())
        word = "passed" if found["passed"] else "did not pass"
        row["decision"] = f"{word}, {found['successes']} of {found['episodes']}"
    return row


def _store_row(folder: Path) -> dict[str, Any]:
    from fabrika._store import Store

    with Store.open(folder) as store:
        count, manifest = store.count(), store.manifest
    return {
        "run": str(folder),
        "task": manifest.get("task", ""),
        "actor": manifest.get("actor", ""),
        "split": manifest.get("split", ""),
        "passed": f"{count['passed']} of {sum(count.values())}",
        "determinism": str(manifest.get("determinism", ""))[:2],
        "problem": "",
    }


def _tier(folder: Path) -> str:
    """The weakest tier of what a run has made so far; empty if that is nothing."""
    from fabrika._tier import weakest
    from fabrika.release._facts import promises

    found = promises(folder)
    return weakest(found.values()) if found else ""


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """The rows as JSON, or as a table without the columns that are empty throughout."""
    if as_json:
        emit(rows)
        return
    if not rows:
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns = [c for c in columns if any(row.get(c) not in ("", None, []) for row in rows)]
    table(columns, [[row.get(column, "") for column in columns] for row in rows])
