"""Commands that roll out: ``rollout``, ``generate`` and ``validate``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabrika.cli._console import Meter, Tally, answer, emit, reasons_in_words, say, table
from fabrika.cli._errors import GATE_FAILED, LOSSES
from fabrika.cli._options import (
    FILE,
    SEED_BLOCK,
    actor_option,
    budget,
    count_option,
    executor_options,
    json_option,
    out_option,
    split_option,
    workers_option,
)

if TYPE_CHECKING:
    from fabrika._gate import Gate
    from fabrika._result import Result
    from fabrika._scenario import Split


@click.command()
@click.argument("task")
@actor_option(required=True)
@split_option(required=True)
@count_option(required=True, help="How many scenarios.")
@click.option("--start", type=click.IntRange(min=0), default=0, metavar="I", help="The first one.")
@workers_option
@executor_options
@out_option("Keep the episodes here; the same command goes on where it stopped.")
@json_option
@click.pass_context
def rollout(
    ctx: click.Context,
    task: str,
    actor: str,
    split: Split,
    count: int,
    start: int,
    workers: int,
    executor: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Let an actor act in scenarios I … I+N-1 of a task, and judge each episode.

    \b
    Example: fabrika rollout toy/reach-v1 --actor expert --split train -n 20
    """
    began = time.monotonic()
    indices = range(start, start + count)
    results = roll(task, actor, split, indices, workers=workers, executor=executor, store=out)
    summary = summarise(results, workers=workers, wall=time.monotonic() - began)
    print_summary(
        {"task": task, "actor": actor, "split": split, "start": start, **summary}, as_json
    )
    ctx.exit(LOSSES if any(r.void for r in results) else 0)


@click.command()
@click.argument("task")
@out_option("Where the judged episodes go; the same command goes on.", required=True)
@count_option(default=None, help="Scenarios to try.  [default: 300, or what the task needs]")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Which block of scenarios.")
@workers_option
@executor_options
@json_option
@click.pass_context
def generate(
    ctx: click.Context,
    task: str,
    out: Path,
    count: int | None,
    seed: int,
    workers: int,
    executor: str,
    as_json: bool,
) -> None:
    """Make judged demonstrations: the expert in N training scenarios, simulated state-only.

    Every episode is kept with its verdict; only those that passed become data. Ctrl-C stops
    cleanly, and the same command goes on.

    \b
    Example: fabrika generate toy/reach-v1 --out runs/demos -n 50
    """
    began = time.monotonic()
    tries = count or budget(task).episodes
    start = seed * SEED_BLOCK
    indices = range(start, start + tries)
    results = roll(
        task,
        "expert",
        "train",
        indices,
        workers=workers,
        executor=executor,
        store=out,
        title="generate",
    )
    summary = summarise(results, workers=workers, wall=time.monotonic() - began)
    head = {"task": task, "actor": "expert", "split": "train", "start": start}
    print_summary({**head, **summary}, as_json)
    ctx.exit(LOSSES if any(r.void for r in results) else 0)


@click.command()
@click.argument("file", type=FILE)
@click.argument("task")
@count_option(default=None, help="Scenarios 0 … N-1 are judged.  [default: 100]")
@click.option(
    "--brackets/--no-brackets",
    default=True,
    help="Also run zero and random on the same scenarios: both must fail.",
)
@workers_option
@executor_options
@out_option("Keep the evidence here; the same command goes on where it stopped.")
@json_option
@click.pass_context
def validate(
    ctx: click.Context,
    file: Path,
    task: str,
    count: int | None,
    brackets: bool,
    workers: int,
    executor: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Judge a policy file on all of scenarios 0 … N-1 of the validate split, and decide.

    The expert runs on the same scenarios as the reference. Exit code 5 if the gate fails.

    \b
    Example: fabrika validate runs/toy-reach-v1-s0/policy/policy.onnx toy/reach-v1 -n 100
    """
    from fabrika._ledger import account

    tries = count or budget(task).validate
    row = account(out, stage="validate", task=task) if out else None
    evidence, decision = judge_policy(
        file,
        task,
        tries,
        workers=workers,
        executor=executor,
        folder=out,
        brackets=brackets,
        row=row,
    )
    if as_json:
        emit(published(decision))
    else:
        print_decision(decision, evidence)
    ctx.exit(0 if decision["passed"] else GATE_FAILED)


def roll(
    task: str,
    actor: str,
    split: Split,
    indices: Sequence[int],
    *,
    workers: int,
    executor: str = "",
    store: Path | None = None,
    title: str = "",
) -> list[Result]:
    """`run_scenarios` with live progress: ETA, yield, and reasons for rejection."""
    from fabrika._registry import task as find_task
    from fabrika._run import run_scenarios
    from fabrika.cli._disk import kept, require_space

    find_task(task)  # an unknown name is told before anything is made
    before = len(kept(store, indices))
    if store is not None and before < len(indices):
        require_space(store, len(indices) - before)
    with Meter(title or f"{actor} in {split}", len(indices), skip=before) as meter:
        tally = Tally(meter)
        return run_scenarios(
            task,
            actor,
            split,
            indices,
            workers=workers,
            executor=executor,
            store=store,
            on_result=tally,
        )


def summarise(results: Sequence[Result], *, workers: int, wall: float) -> dict[str, Any]:
    """The numbers of ``rollout --json``, after those that name what was run."""
    reasons: dict[str, int] = {}
    for result in results:
        if not result.accepted:
            reasons[result.reason] = reasons.get(result.reason, 0) + 1
    return {
        "tried": len(results),
        "passed": sum(result.accepted for result in results),
        "reasons": dict(sorted(reasons.items())),
        "safety_violations": sum(bool(result.safety_violations) for result in results),
        "sim_seconds": round(sum(result.sim_seconds for result in results), 6),
        "wall_seconds": round(wall, 3),
        "workers": workers,
    }


def print_summary(summary: dict[str, Any], as_json: bool) -> None:
    """The summary of a rollout, for a person or for a script."""
    if as_json:
        emit(summary)
        return
    share = summary["passed"] / summary["tried"]
    answer(f"{summary['passed']} of {summary['tried']} passed ({share:.1%})")
    if summary["reasons"]:
        answer(f"rejected: {reasons_in_words(summary['reasons'], most=20)}")
    answer(f"episodes with a safety violation: {summary['safety_violations']}")
    speed = summary["sim_seconds"] / max(summary["wall_seconds"], 1e-9)
    answer(
        f"{summary['sim_seconds']:.1f} s simulated in {summary['wall_seconds']:.1f} s: "
        f"{speed:.1f} times real time with {summary['workers']} workers"
    )


def judge_policy(
    file: Path,
    task: str,
    count: int,
    *,
    workers: int,
    executor: str = "",
    folder: Path | None,
    brackets: bool,
    row: AbstractContextManager[object] | None = None,
) -> tuple[dict[str, list[Result]], dict[str, Any]]:
    """The evidence by role, and the decision as plain data.

    Raises, before anything is run, `UsageError` if ``count`` is fewer than the gate can ever
    pass with, and `EvidenceError` if the policy reads simulator truth. Only then ``row`` is opened.
    """
    from fabrika._gate import Gate

    gate = Gate()
    require_enough(gate, count)
    require_sensors_only(file, task)
    roles = {"policy": str(file), "expert": "expert"}
    if brackets:
        roles |= {"zero": "zero", "random": "random"}
    evidence = {}
    with row or nullcontext():
        for role, actor in roles.items():
            evidence[role] = roll(
                task,
                actor,
                "validate",
                range(count),
                workers=workers,
                executor=executor,
                store=folder / role if folder else None,
                title=f"validate {role}",
            )
            if role == "policy":
                _explain_faults(file, task, evidence[role])
        decision = gate.decide(evidence["policy"], evidence["expert"])
    return evidence, asdict(decision)


def require_enough(gate: Gate, count: int) -> None:
    """Refuse to begin with so few scenarios that even no failure at all could not pass."""
    from fabrika._errors import UsageError

    if count < gate.fewest:
        raise UsageError(
            f"{count} scenarios are fewer than the gate asks for: even without a single failure "
            f"they cannot show {gate.at_least:.0%} at an error of {gate.error:.0%}. "
            f"Use -n {gate.fewest} or more (100 is usual)."
        )


def require_sensors_only(file: Path, task_name: str) -> None:
    """Refuse a policy that could never be evidence: one that reads truth, or cannot be loaded."""
    from contextlib import closing

    from fabrika._errors import EvidenceError, UnknownNameError
    from fabrika._registry import task as find_task
    from fabrika._station import make_actor

    task = find_task(task_name)
    with closing(task.build()) as world:
        reads = make_actor(str(file), task, world).reads
        for name in sorted(reads - world.observes.keys()):
            raise UnknownNameError(f"signal of {task_name}", name, world.observes, f"({file})")
        peeked = [name for name in sorted(reads) if world.observes[name].truth]
    if peeked:
        raise EvidenceError(
            f"privileged: {file} reads simulator truth ({', '.join(peeked)}), which no robot has: "
            "its episodes cannot be evidence. Train it on sensors only."
        )


def _explain_faults(file: Path, task_name: str, results: Sequence[Result]) -> None:
    """Say what a policy did wrong when it broke by itself: its first fault, acted again."""
    from contextlib import closing

    from fabrika._registry import task as find_task
    from fabrika._rollout import rollout
    from fabrika._station import make_actor

    faulty = [result.index for result in results if result.reason == "fault"]
    if not faulty:
        return
    task = find_task(task_name)
    with closing(task.build()) as world:
        actor = make_actor(str(file), task, world)
        episode = rollout(actor, world, task.scenario("validate", faulty[0]), task.horizon)
    say(
        f"the policy itself broke in {len(faulty)} of {len(results)} scenarios; in {faulty[0]}: "
        f"{episode.fault} Train it again, or look at its export."
    )


PUBLISHED = (
    "passed",
    "successes",
    "episodes",
    "lower_bound",
    "preventable",
    "unsolved",
    "reason",
)


def published(decision: dict[str, Any]) -> dict[str, Any]:
    """The part of a decision that scripts rely on."""
    return {name: decision[name] for name in PUBLISHED}


def print_decision(decision: dict[str, Any], evidence: dict[str, list[Result]]) -> None:
    """The decision in words, and the brackets beside it."""
    from fabrika.release import claim_words, verdict_words

    answer(verdict_words(decision))
    for sentence in claim_words(decision):
        answer(sentence)
    rows = []
    for role, results in evidence.items():
        summary = summarise(results, workers=1, wall=0)
        rows.append((role, f"{summary['passed']} of {summary['tried']}"))
        if role in ("zero", "random") and summary["passed"]:
            say(f"warning: {role} passed {summary['passed']} times: the checks prove too little.")
    table(("actor", "passed"), rows)
