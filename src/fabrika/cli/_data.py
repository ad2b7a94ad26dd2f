"""Commands on data: ``export`` and ``train``."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from fabrika.cli._console import Meter, answer, emit, say
from fabrika.cli._disk import require_absent
from fabrika.cli._options import FOLDER, json_option, out_option, training, workers_option

if TYPE_CHECKING:
    from fabrika._ledger import Entry


@click.command()
@click.argument("run", type=FOLDER)
@click.option("--to", "kind", default="lerobot", show_default=True, help="The format.")
@out_option("The new dataset; nothing may be there yet.", required=True)
@click.option(
    "--cameras",
    default="all",
    show_default=True,
    help="Names with commas between; all: the robot's own; none: no pictures.",
)
@click.option(
    "--pixels", type=click.IntRange(min=16), default=128, show_default=True, help="Height, width."
)
@click.option(
    "--looks",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Times that each episode is rendered, each with other colours, lights and cameras.",
)
@click.option("--depth", is_flag=True, help="Also the distance behind each pixel [mm], as PNG.")
@click.option("--segmentation", is_flag=True, help="Also the body behind each pixel, as PNG.")
@click.option(
    "--language/--no-language",
    default=True,
    show_default=True,
    help="Sub-instructions and paraphrases with each row, if the expert says what it is at.",
)
@workers_option
@json_option
def export(
    run: Path,
    kind: str,
    out: Path,
    cameras: str,
    pixels: int,
    looks: int,
    depth: bool,
    segmentation: bool,
    language: bool,
    workers: int,
    as_json: bool,
) -> None:
    """Write the accepted episodes of a run, or of a store of episodes, as a dataset.

    Pictures are rendered now, from stored states.

    \b
    Example: fabrika export runs/toy-reach-v1-s0 --to lerobot --out dataset
    """
    from fabrika._ledger import account
    from fabrika.cli._find import find_store

    store = find_store(run, "train")
    # The row lies with the episodes: a dataset holds nothing that does not belong to its format.
    mine = os.access(store, os.W_OK)
    row = account(store, stage="export", task=_task_of(store)) if mine else None
    made = export_store(
        store,
        kind,
        out,
        cameras,
        workers=workers,
        pixels=pixels,
        looks=looks,
        depth=depth,
        segmentation=segmentation,
        language=language,
        row=row,
    )
    if as_json:
        emit({**made, "path": str(made["path"])})
    else:
        answer(made["path"])


def export_store(
    store: Path,
    kind: str,
    target: Path,
    cameras: str,
    *,
    workers: int,
    pixels: int = 128,
    looks: int = 1,
    depth: bool = False,
    segmentation: bool = False,
    language: bool = True,
    row: AbstractContextManager[object] | None = None,
) -> dict[str, Any]:
    """Export with progress; plain data that says what was written.

    ``row`` is opened when nothing is wrong with what was asked: a mistake leaves nothing.
    """
    from fabrika._registry import load

    exporter = cast(Callable[..., Any], load("exporters", kind))
    require_absent(target, "a dataset")
    names = _cameras(store, cameras)
    with row or nullcontext(), Meter("export", 0) as meter:

        def progress(done: int, total: int) -> None:
            meter.total = total
            meter.update(done)

        made = exporter(
            store,
            target,
            cameras=names,
            size=(pixels, pixels),
            looks=looks,
            depth=depth,
            segmentation=segmentation,
            language=language,
            workers=workers,
            on_progress=progress,
        )
    if made.unnarrated_because:
        say(f"{made.unnarrated} episodes without sub-instructions: {made.unnarrated_because}")
    return asdict(made)


def _cameras(store: Path, words: str) -> tuple[str, ...]:
    """The cameras that are meant: "all" is every one on the robot, "none" is none."""
    from fabrika._errors import UnknownNameError
    from fabrika._registry import task as find_task
    from fabrika._world import Pictured

    if words == "none":
        return ()
    name = _task_of(store)
    with closing(find_task(name).build()) as world:
        known = tuple(world.cameras) if isinstance(world, Pictured) else ()
    if words == "all":
        return tuple(camera for camera in known if camera != "scene")
    wanted = tuple(part.strip() for part in words.split(",") if part.strip())
    for camera in wanted:
        if camera not in known:
            raise UnknownNameError(f"camera of {name}", camera, known)
    return wanted


def _task_of(store: Path) -> str:
    from fabrika._store import Store

    with Store.open(store) as opened:
        return str(opened.manifest.get("task"))


@click.command()
@click.argument("run", type=FOLDER)
@out_option("Where the policy goes; the same command goes on.", required=True)
@click.option(
    "--sensors",
    type=click.Choice(["tracker", "cameras"]),
    default="tracker",
    show_default=True,
    help="What the policy sees.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Its seed.")
@click.option(
    "--train-seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Time that training may take [s], instead of steps.",
)
@click.option(
    "--train-steps",
    type=click.IntRange(min=1),
    help="Steps of training.  [default: 7000; 14000 where episodes may take over 30 s; from "
    "cameras 4000]",
)
@json_option
def train(
    run: Path,
    out: Path,
    sensors: Literal["tracker", "cameras"],
    seed: int,
    train_seconds: float | None,
    train_steps: int | None,
    as_json: bool,
) -> None:
    """Train a policy on the accepted episodes of a run, or of a store of episodes.

    Ctrl-C keeps a checkpoint, and the same command goes on. The result is one file, policy.onnx.

    \b
    Example: fabrika train runs/demos --out runs/policy --train-seconds 60
    """
    from fabrika._ledger import account
    from fabrika.cli._find import find_store

    store = find_store(run, "train")
    task = _task_of(store)
    seconds, steps = training(task, sensors, train_seconds, train_steps)
    with account(out, stage="train", task=task) as entry:
        made = train_store(
            store, out, entry, sensors=sensors, seed=seed, seconds=seconds, steps=steps
        )
    if as_json:
        emit(made)
    else:
        answer(made["policy"])


def train_store(
    store: Path,
    target: Path,
    entry: Entry,
    *,
    sensors: Literal["tracker", "cameras"],
    seed: int,
    seconds: float | None,
    steps: int | None,
) -> dict[str, Any]:
    """Train with progress; plain data that says what was made. GPU seconds go to the ledger."""
    from fabrika.learn import Progress
    from fabrika.learn import train as train_policy

    with Meter("train", steps or 0) as meter:

        def progress(now: Progress) -> None:
            meter.total = now.steps
            losses = f"loss {now.train_loss:.4g}, held out {now.held_out_loss:.4g}"
            meter.update(now.step, losses)
            entry.note(gpu_seconds=now.gpu_seconds)

        made = train_policy(
            store,
            target,
            sensors=sensors,
            seed=seed,
            seconds=seconds,
            steps=steps,
            on_progress=progress,
        )
    return {**asdict(made), "policy": str(made.policy), "checkpoint": str(made.checkpoint)}
