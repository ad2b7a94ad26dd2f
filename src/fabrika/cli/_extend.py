"""``fabrika extend``: more scenarios in a run or a store, up to a total."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any

import click

from fabrika._errors import UsageError
from fabrika._verify import MOST
from fabrika.cli._console import say
from fabrika.cli._episodes import print_summary, roll, summarise
from fabrika.cli._errors import LOSSES
from fabrika.cli._options import (
    FILE,
    FOLDER,
    executor_options,
    json_option,
    training,
    workers_option,
)

_MOMENT = "%Y%m%dT%H%M%S%f"
DERIVED = ("dataset", "policy", "evidence", "decision.json", "report.html")
"""What a run makes from its episodes: made from fewer, it is put aside."""


@click.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--to", "total", type=click.IntRange(1, MOST), required=True, help="Scenarios in total."
)
@click.option("--policy", type=FILE, help="The policy file, if the store is a policy's.")
@workers_option
@executor_options
@json_option
@click.pass_context
def extend(
    ctx: click.Context,
    folder: Path,
    total: int,
    policy: Path | None,
    workers: int,
    executor: str,
    as_json: bool,
) -> None:
    """Go on with a run or a store until it has N scenarios in total; never "N more".

    So the same command twice, or again after an interruption, does nothing twice. What a run had
    made of fewer episodes (dataset, policy, evidence, report) is kept in its folder "before", and
    made anew from all of them.

    \b
    Example: fabrika extend runs/toy-reach-v1-s0 --to 400
    """
    if (folder / "run.json").is_file():
        ctx.exit(_extend_run(folder, total, workers, executor, as_json=as_json))
    _extend_store(ctx, folder, total, policy, workers, executor, as_json=as_json)


def _extend_run(folder: Path, total: int, workers: int, executor: str, *, as_json: bool) -> int:
    from fabrika.cli._line import Plan, run_line
    from fabrika.cli._run_folder import held, read_manifest, write_json

    with held(folder):
        manifest = read_manifest(folder)
        settings: dict[str, Any] = dict(manifest["settings"])
        has = int(settings["episodes"])
        if total < has:
            raise UsageError(f"{folder} is a run of {has} episodes already: --to {has} or more.")
        if total > has:
            _put_aside(folder)
            settings["episodes"] = total
            command = f"fabrika extend {folder} --to {total}"
            write_json(folder / "run.json", {**manifest, "settings": settings, "command": command})
    seconds, steps = settings["train_seconds"], settings["train_steps"]
    seconds, steps = training(manifest["task"], manifest["sensors"], seconds, steps)
    plan = Plan(
        task=manifest["task"],
        seed=manifest["seed"],
        sensors=manifest["sensors"],
        episodes=total,
        train_seconds=seconds,
        train_steps=steps,
        validate=settings["validate"],
        workers=workers,
        executor=executor,
    )
    return run_line(plan, folder, str(manifest["command"]), as_json=as_json)


def _put_aside(folder: Path) -> None:
    """What was made of fewer episodes goes into one folder; after a crash, the rest follows."""
    there = [name for name in DERIVED if (folder / name).exists()]
    if there:
        aside = folder / "before" / f"{datetime.now(UTC):{_MOMENT}}"
        aside.mkdir(parents=True)
        for name in there:
            (folder / name).rename(aside / name)
        say(f"kept in {aside}: {', '.join(there)}")


def put_aside_at(folder: Path) -> datetime:
    """When a run's results were last put aside to be made anew; long ago if never."""
    last = datetime.min.replace(tzinfo=UTC)
    for aside in (folder / "before").glob("*"):
        with suppress(ValueError):
            last = max(last, datetime.strptime(aside.name, _MOMENT).replace(tzinfo=UTC))
    return last


def _extend_store(
    ctx: click.Context,
    folder: Path,
    total: int,
    policy: Path | None,
    workers: int,
    executor: str,
    *,
    as_json: bool,
) -> None:
    from fabrika._station import ACTORS
    from fabrika._store import Store

    with Store.open(folder) as store:
        manifest, there = store.manifest, store.index.positions()
    start = min(there, default=0)
    if there and total < len(there):
        raise UsageError(f"{folder} has {len(there)} scenarios already: --to {len(there)} or more.")
    have, actor = set(there), str(manifest["actor"])
    more = (index for index in count(start) if index not in have)  # gaps first
    if actor not in ACTORS and policy is None:
        raise UsageError(f"{folder} is of {actor}: give its file with --policy.")
    began = time.monotonic()
    results = roll(
        manifest["task"],
        str(policy or actor),
        manifest["split"],
        sorted((*there, *islice(more, total - len(there)))),
        workers=workers,
        executor=executor,
        store=folder,
        title="extend",
    )
    head = {name: manifest[name] for name in ("task", "actor", "split")}
    summary = summarise(results, workers=workers, wall=time.monotonic() - began)
    print_summary({**head, "start": start, **summary}, as_json)
    ctx.exit(LOSSES if any(result.void for result in results) else 0)
