"""``submit``: a range of scenarios, as a job for a shared cluster."""

from __future__ import annotations

import os
import shlex
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabrika._errors import UnknownNameError, UsageError
from fabrika.cli._console import answer, emit, say
from fabrika.cli._options import (
    SEED_BLOCK,
    actor_option,
    count_option,
    json_option,
    split_option,
)

if TYPE_CHECKING:
    from fabrika.cluster import ArrayJob, System

_INTERRUPTED = 4


def _volume(
    ctx: click.Context, option: click.Parameter, value: str | None
) -> tuple[str, str] | None:
    """What is mounted, and where: the folder is what follows the last colon."""
    if value is None:
        return None
    source, _, folder = value.rpartition(":")
    if not source or not folder:
        raise click.BadParameter(f"{value!r}: give SOURCE:FOLDER, what is mounted and where.")
    return source, folder


@click.command()
@click.argument("task")
@click.option(
    "--to",
    "system",
    type=click.Choice(["slurm", "kueue", "skypilot", "osmo"]),
    required=True,
    help="Which kind of cluster.",
)
@click.option(
    "--out",
    "store",
    required=True,
    metavar="DIR",
    help="The store, as the nodes see it: on a file system that all of them share.",
)
@count_option(required=True, help="How many scenarios, over all jobs.")
@click.option("--start", type=click.IntRange(min=0), metavar="I", help="The first one.")
@click.option(
    "--seed", type=click.IntRange(min=0), help="The first one, as of `generate --seed`, instead."
)
@actor_option(default="expert", show_default=True)
@split_option(default="train", show_default=True)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="J",
    help="Contiguous shares, each a job.",
)
@click.option(
    "--at-once",
    type=click.IntRange(min=1),
    help="Jobs that may run at the same time.  [default: all]",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="K",
    help="Worker processes, and cores, of each job.",
)
@click.option(
    "--queue", "--partition", default="", help="Slurm's partition, Kueue's queue, OSMO's pool."
)
@click.option("--time", "minutes", type=click.IntRange(min=1), help="Limit of each job [min].")
@click.option("--memory", type=click.IntRange(min=1), help="Memory of each job [GiB].")
@click.option("--image", default="", help="Container image that has Fabrika.")
@click.option(
    "--volume",
    callback=_volume,
    metavar="SOURCE:FOLDER",
    help="Mount SOURCE (a claim, SkyPilot's volume, OSMO's host folder) in the containers.",
)
@click.option(
    "--command",
    default="fabrika",
    show_default=True,
    help="What starts Fabrika on a node, such as /shared/venv/bin/fabrika.",
)
@click.option("--write", metavar="FILE", help="The job's file; - is stdout.  [default: jobs/NAME]")
@click.option("--run", is_flag=True, help="Hand it over now (Slurm only).")
@click.option("--wait", is_flag=True, help="With --run: wait until all jobs have ended.")
@json_option
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    system: System,
    write: str | None,
    run: bool,
    wait: bool,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Share N scenarios among J jobs of a cluster, all into one store.

    Writes the job's file and prints the command that hands it over. A job that was stopped goes
    on when it runs again.

    \b
    Example: fabrika submit toy/reach-v1 --to slurm --out /shared/demos -n 1000 --jobs 8
    """
    from fabrika.cluster import job_file, next_command

    job = _array_job(system, wanted)
    text = job_file(system, job)
    file = write or f"jobs/{job.name}{'.sh' if system == 'slurm' else '.yaml'}"
    command = shlex.join(next_command(system, job, file if file != "-" else "FILE"))
    _require_sense(system, command, to_stdout=file == "-", run=run, wait=wait, as_json=as_json)
    if job.task not in entry_points(group="fabrika.tasks").names:
        say(
            f"{job.task} is a page of a folder, which the nodes have to see too: as FABRIKA_TASKS, "
            "if not as the folder tasks of where they run. --command 'env FABRIKA_TASKS=/shared/"
            "tasks fabrika' tells them."
        )
    if file == "-":
        click.echo(text, nl=False)
    else:
        _write_once(Path(file), text)
    say(f"the store {job.store} must be on a file system that all nodes share, with POSIX locks.")
    number, code = _hand_over(Path(file), wait) if run else (None, None)
    if as_json:
        asked = {"task": job.task, "actor": job.actor, "split": job.split, "start": job.start}
        asked |= {"count": job.count, "jobs": job.jobs, "to": system, "store": job.store}
        emit({**asked, "file": file, "command": command, "job_id": number, "exit_code": code})
    elif number is not None:
        answer(number)
    elif file == "-":
        say(f"next, when it is in FILE: {command}")
    else:
        answer(command)
    ctx.exit(code or 0)


def _array_job(system: System, wanted: dict[str, Any]) -> ArrayJob:
    """The job that the options ask for; its paths are absolute, as nodes see them."""
    from fabrika._registry import known
    from fabrika._station import ACTORS
    from fabrika.cluster import ArrayJob

    seed, start = wanted.pop("seed"), wanted.pop("start")
    if seed is not None and start is not None:
        raise UsageError("give --start or --seed, not both.")
    wanted["start"] = seed * SEED_BLOCK if seed is not None else start or 0
    wanted["command"] = tuple(shlex.split(wanted["command"]))
    if wanted["task"] not in known("tasks"):
        raise UnknownNameError("task", wanted["task"], known("tasks"))
    policy = wanted["actor"] not in ACTORS
    if system == "slurm":  # its nodes see the folders that this machine sees
        wanted["store"] = os.path.abspath(wanted["store"])  # noqa: PTH100  # links stay links
        if policy and not Path(wanted["actor"]).is_file():
            raise UnknownNameError(
                "actor", wanted["actor"], ACTORS, "Or give the path of a policy file."
            )
        if policy:
            wanted["actor"] = str(Path(wanted["actor"]).absolute())
    elif policy and not Path(wanted["actor"]).is_absolute():
        raise UnknownNameError(
            "actor", wanted["actor"], ACTORS, "Or give a policy file's path on the nodes, from /."
        )
    return ArrayJob(**wanted)


def _require_sense(
    system: System, command: str, *, to_stdout: bool, run: bool, wait: bool, as_json: bool
) -> None:
    """Refuse options that contradict one another, before anything is written."""
    if wait and not run:
        raise UsageError("--wait needs --run.")
    if run and system != "slurm":
        raise UsageError(
            f"--run hands over to Slurm only. Without it the file is written; then: {command}"
        )
    if to_stdout and (run or as_json):
        raise UsageError("--write - goes with neither --run nor --json: name a file.")


def _write_once(file: Path, text: str) -> None:
    """Write the file, or leave it if it is there and equal."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x") as stream:
            stream.write(text)
    except FileExistsError:
        if not file.is_file() or file.read_bytes() != text.encode():
            raise UsageError(
                f"{file} exists and is another job. Choose another --write, or remove it."
            ) from None


def _hand_over(file: Path, wait: bool) -> tuple[str, int | None]:
    """Submit to Slurm; the job's id, and, after a wait, the highest exit code of its shares."""
    from fabrika.cluster import submit_slurm

    told: list[str] = []

    def tell(number: str) -> None:
        told.append(number)
        if wait:
            say(f"job {number} is submitted; waiting for it. Ctrl-C ends only the wait.")

    try:
        number, code = submit_slurm(file, wait=wait, on_submit=tell)
    except KeyboardInterrupt:
        if not told:
            raise
        say(f"job {told[0]} goes on: squeue -j {told[0]} shows it, scancel {told[0]} ends it.")
        raise click.exceptions.Exit(_INTERRUPTED) from None
    return number, code if wait else None
