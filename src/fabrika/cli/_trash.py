"""Deleting, and thinking better of it: ``delete``, ``restore`` and ``trash``."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from fabrika._errors import UnknownNameError, UsageError
from fabrika.cli._console import answer, emit, say, table
from fabrika.cli._options import FOLDER, json_option

TRASH = ".trash"
"""Beside what was deleted, so that moving it is one rename."""
_NOTE = "fabrika-deleted.json"
_OURS = ("run.json", "manifest.json", "meta/info.json")


@click.command()
@click.argument("folder", type=FOLDER)
@json_option
def delete(folder: Path, as_json: bool) -> None:
    """Move a run, a store or a dataset into the trash beside it. Nothing is destroyed.

    `fabrika restore` brings it back, `fabrika trash --empty` frees the space.

    \b
    Example: fabrika delete runs/toy-reach-v1-s0
    """
    from fabrika._disk import disk_errors, flush, write_whole
    from fabrika.cli._care import stores_in
    from fabrika.cli._run_folder import held

    folder = folder.absolute()
    if not any((folder / name).is_file() for name in _OURS):
        raise UsageError(f"{folder} is no run, no store and no dataset: it is left alone.")
    with ExitStack() as stack, disk_errors(folder):
        from fabrika._store import alone_in

        if (folder / "run.json").is_file():
            stack.enter_context(held(folder))
        for store in stores_in(folder):
            stack.enter_context(alone_in(store))
        now = datetime.now(UTC)
        place = folder.parent / TRASH / f"{folder.name}-{now:%Y%m%dT%H%M%S%f}"
        place.mkdir(parents=True)
        note = {"from": str(folder), "deleted": now.isoformat(timespec="seconds")}
        write_whole(place / _NOTE, json.dumps(note).encode())
        folder.rename(place / folder.name)
        for parent in (place, place.parent, folder.parent):
            flush(parent)
    _say({"path": str(folder), "trash": str(place)}, as_json, f"{folder} is in {place}")


@click.command()
@click.argument("name")
@click.option("--in", "folder", type=FOLDER, default=Path("runs"), help="Whose trash.")
@json_option
def restore(name: str, folder: Path, as_json: bool) -> None:
    """Bring something back from the trash. NAME is as `fabrika trash` lists it, or its start.

    \b
    Example: fabrika restore toy-reach-v1-s0 --in runs
    """
    from fabrika._disk import disk_errors, flush

    rows = {row["name"]: row for row in _rows(folder)}
    meant = [row for key, row in rows.items() if key == name or key.startswith(name)]
    if not meant:
        raise UnknownNameError("deleted thing", name, rows, f"(trash of {folder})")
    row = meant[-1]  # the one that was deleted last
    # Beside its trash, where it was: a note that came with somebody else's folder says nothing.
    place = Path(row["trash"])
    target = folder.absolute() / Path(row["from"]).name
    if os.path.lexists(target):
        raise UsageError(f"{target} exists again: move it away first.")
    with disk_errors(target):
        (place / target.name).rename(target)
        flush(folder)
        shutil.rmtree(place)
    _say({"path": str(target)}, as_json, f"{target} is back")


@click.command()
@click.option("--in", "folder", type=FOLDER, default=Path("runs"), help="Whose trash.")
@click.option("--empty", is_flag=True, help="Destroy everything in it, for good.")
@json_option
def trash(folder: Path, empty: bool, as_json: bool) -> None:
    """List what was deleted beside the runs; with --empty, free the space.

    \b
    Example: fabrika trash --in runs
    """
    rows = _rows(folder)
    if empty:
        for place in [Path(row["trash"]) for row in rows] + _notes_alone(folder):
            shutil.rmtree(place)
        _say({"destroyed": len(rows)}, as_json, f"{len(rows)} destroyed")
    elif as_json:
        emit(rows)
    elif rows:
        table(("name", "deleted", "from"), [[r["name"], r["deleted"], r["from"]] for r in rows])
    else:
        say(f"the trash of {folder} is empty")


def _rows(folder: Path) -> list[dict[str, str]]:
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}. Give the one beside whose runs to look.")
    found = []
    for note in (folder / TRASH).glob(f"*/{_NOTE}"):
        with suppress(ValueError, KeyError, TypeError, RecursionError):  # none of ours
            row = json.loads(note.read_text())
            names = {name: str(row[name]) for name in ("from", "deleted")}
            if (note.parent / Path(names["from"]).name).is_dir():  # else a crash left the note
                found.append({"name": note.parent.name, **names, "trash": str(note.parent)})
    return sorted(found, key=lambda row: row["deleted"])


def _notes_alone(folder: Path) -> list[Path]:
    """What a `delete` or `restore` left that was killed: a note, and nothing beside it."""
    notes = (folder / TRASH).glob(f"*/{_NOTE}")
    return [note.parent for note in notes if list(note.parent.iterdir()) == [note]]


def _say(data: dict[str, Any], as_json: bool, words: str) -> None:
    if as_json:
        emit(data)
    else:
        answer(words)
