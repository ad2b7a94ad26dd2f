"""Options that several commands share, and the defaults that are tuned for each task."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from fabrika._errors import UsageError
from fabrika._registry import task as find_task

F = TypeVar("F", bound=Callable[..., Any])
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)

SEED_BLOCK = 1_000_000
"""Training scenarios of one seed: block s starts at s times this, so that seeds never share."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of everything a run uses by default."""

    episodes: int = 300
    """Training scenarios that the expert tries."""
    train_steps: int = 7000
    """Steps of training: a count, not a time, so that a run does not depend on the machine."""
    camera_steps: int = 4000
    """Steps of training from pictures."""
    validate: int = 100
    """Scenarios that the gate judges."""


BUDGETS = {
    "toy/reach-v1": Budget(episodes=200, train_steps=2500),
    "home/carry-tray-v1": Budget(episodes=240),
}
"""Budgets of tasks that need less, or more, than the rest."""


LONG = 30.0
"""A task whose episodes may take longer [s] has more ticks to learn, and is given more steps."""


def budget(task: str) -> Budget:
    """The default budget of a task."""
    own = Budget(train_steps=14_000) if find_task(task).horizon > LONG else Budget()
    return BUDGETS.get(task, own)


def training(
    task: str, sensors: str, seconds: float | None, steps: int | None
) -> tuple[float | None, int | None]:
    """The budget of one training, in seconds or in steps: what was asked for, else the task's."""
    if seconds is not None and steps is not None:
        raise UsageError("give a budget of steps or of seconds, not both.")
    if seconds is not None or steps is not None:
        return seconds, steps
    own = budget(task)
    return None, own.camera_steps if sensors == "cameras" else own.train_steps


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on stdout, for scripts."
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=cores,
    show_default="one for each core",
    metavar="K",
    help="Worker processes. The result does not depend on it.",
)


def executor_options(command: F) -> F:
    """``--executor NAME``, and what a cluster asks for."""
    executor = click.option(
        "--executor",
        default="",
        show_default="pool, or serial for one worker",
        metavar="NAME",
        help="Where scenarios run: serial (this process), pool (processes of this machine), ray "
        "(CPUs of the Ray cluster at RAY_ADDRESS, or of this machine), or another plug-in. The "
        "result does not depend on it.",
    )
    trust = click.option(
        "--i-trust-this-network",
        is_flag=True,
        expose_value=False,
        callback=_trust,
        help="Join a Ray cluster on other machines though it asks nobody for a token: whoever "
        "reaches it can run any code there.",
    )
    return executor(trust(command))


def _trust(ctx: click.Context, option: click.Parameter, trusted: bool) -> None:
    if trusted:
        os.environ["FABRIKA_TRUST_NETWORK"] = "1"


def actor_option(**settings: Any) -> Callable[[F], F]:
    """``--actor``."""
    words = "expert, zero, random, or the path of a policy file."
    return click.option("--actor", help=words, **settings)


def split_option(**settings: Any) -> Callable[[F], F]:
    """``--split``."""
    splits = click.Choice(["train", "validate"])
    return click.option("--split", type=splits, help="Which scenarios.", **settings)


def finding_options(command: F) -> F:
    """``--of`` and ``--in``: which recorded episode is meant."""
    role = click.option(
        "--of",
        "role",
        default="policy",
        show_default=True,
        help="In RUN:INDEX, whose episode: policy, expert, zero, random, or train.",
    )
    folder = click.option(
        "--in",
        "folder",
        type=FOLDER,
        default=Path("runs"),
        show_default=True,
        help="Where to look for a digest.",
    )
    return role(folder(command))


def count_option(**settings: Any) -> Callable[[F], F]:
    """``-n N``."""
    return click.option("-n", "count", type=click.IntRange(min=1), metavar="N", **settings)


def out_option(words: str, **settings: Any) -> Callable[[F], F]:
    """``--out DIR``."""
    return click.option("--out", type=FOLDER, metavar="DIR", help=words, **settings)
