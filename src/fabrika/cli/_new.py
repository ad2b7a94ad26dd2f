"""``fabrika new``: the start of something of one's own."""

from __future__ import annotations

import re

import click

from fabrika._errors import UsageError
from fabrika.cli._console import answer, emit, say
from fabrika.cli._options import json_option


@click.group()
def new() -> None:
    """Write the start of a task of one's own.

    \b
    Example: fabrika new task stand-cup
    """


@new.command("task")
@click.argument("name")
@json_option
def new_task(name: str, as_json: bool) -> None:
    """Write a commented page of YAML that is a task already: tasks/NAME.yaml, to be changed.

    NAME is what it does, as in stand-cup, or the whole name, as in home/stand-cup-v1. Pages are
    found in the folder "tasks", or in those that FABRIKA_TASKS names; the first gets this one.

    \b
    Example: fabrika new task stand-cup
    """
    from fabrika._registry import known
    from fabrika.lines.home.pages import START, folders

    full = name if "/" in name else f"home/{name}-v1"
    if not re.fullmatch(r"[a-z][a-z0-9-]*/[a-z0-9][a-z0-9-]*-v[0-9]+", full):
        raise UsageError(
            f"{name!r} is no task's name: small letters, digits and hyphens, such as stand-cup, or "
            "home/stand-cup-v1."
        )
    if full in known("tasks"):
        raise UsageError(f"there is a task {full!r} already. Choose another name.")
    stem = full.partition("/")[2].rpartition("-v")[0] if "/" not in name else full.replace("/", "-")
    path = folders()[0] / f"{stem}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(START.read_text().replace("TASK", full))
    except FileExistsError:
        raise UsageError(f"{path} exists, and stays as it is. Choose another name.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}.") from error
    if as_json:
        emit({"task": full, "path": str(path)})
        return
    answer(str(path))
    say(f"change it, then: fabrika check task {full}\nand then: fabrika run {full}")
