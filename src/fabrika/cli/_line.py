"""``fabrika run``: the whole line, from a task and a seed to a gated policy and its report."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from fabrika.cli._console import answer, emit, say
from fabrika.cli._episodes import judge_policy, print_decision, published, require_enough, roll
from fabrika.cli._errors import GATE_FAILED, LOSSES
from fabrika.cli._options import (
    SEED_BLOCK,
    budget,
    count_option,
    executor_options,
    json_option,
    out_option,
    training,
    workers_option,
)
from fabrika.cli._run_folder import RunFolder, open_run, write_json

Sensors = Literal["tracker", "cameras"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run is to do. Equal plans on equal versions make equal data."""

    task: str
    seed: int
    sensors: Sensors
    episodes: int
    train_seconds: float | None
    train_steps: int | None
    validate: int
    workers: int
    executor: str

    def claim(self) -> dict[str, Any]:
        """What must be equal for a run to be gone on with."""
        settings = {
            "episodes": self.episodes,
            "train_seconds": self.train_seconds,
            "train_steps": self.train_steps,
            "validate": self.validate,
        }
        return {
            "task": self.task,
            "seed": self.seed,
            "sensors": self.sensors,
            "settings": settings,
        }


@click.command()
@click.argument("task")
@out_option("The run's folder.  [default: runs/LINE-TASK-sSEED]")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Which block of training scenarios, and the seed of training. Validation never changes.",
)
@click.option(
    "--sensors",
    type=click.Choice(["tracker", "cameras"]),
    default="tracker",
    show_default=True,
    help="What the policy sees: proprioception, touch and a pose tracker, or pictures.",
)
@workers_option
@executor_options
@click.option(
    "--episodes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Training scenarios that the expert tries.  [default: 300, or what the task needs]",
)
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
@count_option(default=None, help="Scenarios that the gate judges, 26 or more.  [default: 100]")
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    task: str,
    out: Path | None,
    seed: int,
    sensors: Sensors,
    workers: int,
    executor: str,
    episodes: int | None,
    train_seconds: float | None,
    train_steps: int | None,
    count: int | None,
    as_json: bool,
) -> None:
    """Generate, export, train, validate, report: a gated policy from a task and a seed.

    Ctrl-C stops cleanly; the same command goes on. Exit code 5 if the gate fails.

    \b
    Example: fabrika run toy/reach-v1 --seed 0
    """
    own = budget(task)
    train_seconds, train_steps = training(task, sensors, train_seconds, train_steps)
    plan = Plan(
        task=task,
        seed=seed,
        sensors=sensors,
        episodes=episodes or own.episodes,
        train_seconds=train_seconds,
        train_steps=train_steps,
        validate=count or own.validate,
        workers=workers,
        executor=executor,
    )
    folder = out or Path("runs") / f"{task.replace('/', '-')}-s{seed}"
    code = run_line(plan, folder, _command(ctx, folder), as_json=as_json)
    ctx.exit(code)


def _command(ctx: click.Context, folder: Path) -> str:
    """The command that remakes the run, with everything that was not left to a default."""
    words = ["fabrika", "run", str(ctx.params["task"]), "--out", str(folder)]
    flags = {
        "seed": "--seed",
        "sensors": "--sensors",
        "episodes": "--episodes",
        "train_seconds": "--train-seconds",
        "train_steps": "--train-steps",
        "count": "-n",
    }
    for name, flag in flags.items():
        if ctx.params[name] is not None and (name == "seed" or ctx.params[name] != "tracker"):
            words += [flag, str(ctx.params[name])]
    return shlex.join(words)


def run_line(plan: Plan, folder: Path, command: str, *, as_json: bool) -> int:
    """All stages in order, each going on where it stopped; the exit code."""
    from fabrika._gate import Gate
    from fabrika._registry import task as find_task
    from fabrika.release import report

    find_task(plan.task)
    require_enough(Gate(), plan.validate)
    with open_run(folder, plan.claim(), command) as opened:
        losses = generate_stage(opened, plan)
        export_stage(opened, plan)
        train_stage(opened, plan)
        decision, evidence = validate_stage(opened, plan)
        with opened.stage("report"):
            page = report(folder)
    if as_json:
        head = {"run": str(folder), "task": plan.task, "seed": plan.seed}
        emit({**head, **published(decision), "report": str(page)})
    else:
        print_decision(decision, evidence)
        answer(f"report: {page}")
    if not decision["passed"]:
        return GATE_FAILED
    return LOSSES if losses else 0


def generate_stage(opened: RunFolder, plan: Plan) -> int:
    """The expert in the seed's block of training scenarios; the number of void rollouts."""
    store, start = opened.path / "train", plan.seed * SEED_BLOCK
    indices = range(start, start + plan.episodes)
    with opened.stage("generate"):
        results = roll(
            plan.task,
            "expert",
            "train",
            indices,
            workers=plan.workers,
            executor=plan.executor,
            store=store,
            title="generate",
        )
    return sum(bool(result.void) for result in results)


def export_stage(opened: RunFolder, plan: Plan) -> None:
    """The accepted episodes as a LeRobot dataset; with pictures if the policy is to see them."""
    from fabrika.cli._data import export_store

    target = opened.path / "dataset"
    if target.exists():
        say("export: done before")
        return
    cameras = "all" if plan.sensors == "cameras" else "none"
    with opened.stage("export"):
        export_store(opened.path / "train", "lerobot", target, cameras, workers=plan.workers)


def train_stage(opened: RunFolder, plan: Plan) -> None:
    """A policy file from the accepted episodes."""
    from fabrika.cli._data import train_store

    target = opened.path / "policy"
    if (target / "policy.onnx").exists():
        say("train: done before")
        return
    with opened.stage("train") as entry:
        train_store(
            opened.path / "train",
            target,
            entry,
            sensors=plan.sensors,
            seed=plan.seed,
            seconds=plan.train_seconds,
            steps=plan.train_steps,
        )


def validate_stage(opened: RunFolder, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
    """The decision, and the evidence by role."""
    policy = opened.path / "policy" / "policy.onnx"
    with opened.stage("validate"):
        evidence, decision = judge_policy(
            policy,
            plan.task,
            plan.validate,
            workers=plan.workers,
            executor=plan.executor,
            folder=opened.path / "evidence",
            brackets=True,
        )
        write_json(opened.path / "decision.json", json.loads(json.dumps(decision)))
    return decision, evidence
