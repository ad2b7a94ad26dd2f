"""Commands that look, and change nothing: ``show``, ``check``, ``bench`` and ``doctor``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from fabrika._errors import ContractError
from fabrika.cli._console import answer, emit, say, table
from fabrika.cli._errors import RESOURCES
from fabrika.cli._options import count_option, finding_options, json_option, out_option

if TYPE_CHECKING:
    from fabrika.testing import Breach


@click.command()
@click.argument("episode")
@finding_options
@out_option("Where the files go.", default=Path(), show_default="here")
@click.option(
    "--pixels",
    type=click.IntRange(min=32),
    default=480,
    show_default=True,
    help="Height of the video.",
)
@click.option("--video/--no-video", default=True, help="Make the video.")
@click.option("--plots/--no-plots", default=True, help="Make the plots.")
@json_option
def show(
    episode: str,
    role: str,
    folder: Path,
    out: Path,
    pixels: int,
    video: bool,
    plots: bool,
    as_json: bool,
) -> None:
    """Make a video and plots of an episode: RUN:INDEX, or the start of its digest.

    \b
    Example: fabrika show runs/toy-reach-v1-s0:3 --out videos
    """
    from fabrika.cli._find import find_episode
    from fabrika.cli._show import show_episode

    store, row = find_episode(episode, role, folder)
    made = show_episode(store, row, out, pixels=pixels if video else 0, plots=plots)
    if as_json:
        emit(made)
        return
    for kind in ("video", "plots"):
        if made[kind]:
            answer(made[kind])
    say(f"{made['actor']} in {made['split']} {made['index']}: {made['reason']}")


@click.group()
def check() -> None:
    """Check that a plug-in keeps its contract.

    \b
    Example: fabrika check task toy/reach-v1
    """


@check.command("task")
@click.argument("name")
@count_option(default=20, show_default=True, help="Scenarios that each actor tries.")
@json_option
@click.pass_context
def check_task(ctx: click.Context, name: str, count: int, as_json: bool) -> None:
    """Determinism, buffers, shapes, units, the expert's yield, and actors that must fail.

    Of a page of YAML first, without running it: goals that cannot be, things that find no room,
    goals that hold from the start, things, places, handles and buttons that are out of reach; each
    with its line and column.

    \b
    Example: fabrika check task toy/reach-v1 --json
    """
    from fabrika import testing
    from fabrika._registry import known
    from fabrika._registry import task as find_task
    from fabrika.lines.home._inspection import check_page
    from fabrika.lines.home.pages import page_at

    if found := page_at(known("tasks").get(name, "")):
        say(f"checking {found[1]}: room, goals and reach in scenarios that are drawn, not run")
        if breaches := check_page(*found):  # what follows would find the same, later
            _conclude(ctx, "task", name, breaches, as_json)
    task = find_task(name)
    say(f"checking {name}: the expert, zero and random try {count} scenarios each")
    _conclude(ctx, "task", name, testing.check_task(task, count=count), as_json)


@check.command("robot")
@click.argument("name")
@json_option
@click.pass_context
def check_robot(ctx: click.Context, name: str, as_json: bool) -> None:
    """Limits, names and units of a robot's description.

    \b
    Example: fabrika check robot cloid-class
    """
    from fabrika import testing
    from fabrika._registry import load

    robot = cast(testing.RobotLike, load("robots", name))
    _conclude(ctx, "robot", name, testing.check_robot(robot), as_json)


def _conclude(
    ctx: click.Context, kind: str, name: str, breaches: Sequence[Breach], as_json: bool
) -> None:
    if as_json:
        found = [{"code": breach.code, "message": breach.message} for breach in breaches]
        emit({"ok": not breaches, "kind": kind, "name": name, "breaches": found})
    else:
        for breach in breaches:
            answer(f"{breach.code}: {breach.message}")
        broken = f"breaks its contract in {len(breaches)} ways"
        answer(f"{kind} {name} {broken if breaches else 'keeps its contract'}.")
    ctx.exit(ContractError.exit_code if breaches else 0)


@click.command()
@click.option("--task", default="home/mug-to-shelf-v1", show_default=True, help="The task.")
@click.option(
    "--parts",
    default="speed,store,export",
    show_default=True,
    help="What to measure: speed, store, export, workers, ray, scale; or all.",
)
@count_option(default=5, show_default=True, help="Episodes of the expert to measure.")
@click.option("--pixels", default=128, show_default=True, help="Height and width of pictures.")
@click.option(
    "--passes",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Runs of the same work, of which the fastest counts: other load only ever adds.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    help="Rows of the large store in the part scale.",
)
@json_option
def bench(
    task: str, parts: str, count: int, pixels: int, passes: int, rows: int, as_json: bool
) -> None:
    """Measure speed in one run, as ratios of what is measured side by side.

    \b
    speed    whole episodes, pictures, physics against the bare engine
    store    a commit against a bare write and fsync, on the disk of TMPDIR
    export   the export's pictures a second against a plain x264 pipe; with
             store, the overhead of keeping an episode
    workers  episodes a second with 1, 2 and 4 workers
    ray      Ray against the pool, if it is installed
    scale    opening a store of a million episodes

    \b
    Example: fabrika bench --task toy/reach-v1 --parts store,workers
    """
    from fabrika._errors import UnknownNameError
    from fabrika.cli._bench_parts import PARTS, measure_parts, words

    asked = PARTS if parts == "all" else tuple(part.strip() for part in parts.split(","))
    for part in asked:
        if part not in PARTS:
            raise UnknownNameError("part of the bench", part, (*PARTS, "all"))
    found = measure_parts(task, asked, count=count, pixels=pixels, passes=passes, rows=rows)
    if as_json:
        emit(found)
        return
    for line in words(found):
        answer(line)


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Say what works on this machine, and what to do about what does not.

    Exit code 7 if something that a run needs is missing.

    \b
    Example: fabrika doctor
    """
    from fabrika.cli._doctor import examine

    findings = examine()
    ok = all(finding["ok"] or not finding["needed"] for finding in findings)
    if as_json:
        emit({"ok": ok, "findings": findings})
    else:
        rows = [
            ("ok" if f["ok"] else "PROBLEM" if f["needed"] else "missing", f["name"], f["found"])
            for f in findings
        ]
        table(("", "what", "found"), rows)
        for finding in findings:
            if finding["next"]:
                answer(f"{finding['name']}: {finding['next']}")
        answer("Everything that a run needs works." if ok else "A run needs what is missing above.")
    ctx.exit(0 if ok else RESOURCES)
