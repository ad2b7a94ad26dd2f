"""``fabrika replay``: whether recorded episodes come out again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabrika.cli._console import Meter, answer, emit, reasons_in_words, table
from fabrika.cli._errors import INTEGRITY, LOSSES
from fabrika.cli._options import FOLDER, count_option, json_option, workers_option

if TYPE_CHECKING:
    from fabrika._replay import Replayed
    from fabrika.cli._replay_source import Kind

WORDS = {True: "passed", False: "failed"}
SHOWN = 20
"""Rows of the table of what is not identical; --json has all."""


@click.command()
@click.argument("place", metavar="DIR", type=FOLDER)
@click.option(
    "--of",
    "role",
    default="train",
    show_default=True,
    help="Of a run, which part: train, policy, expert, zero, random, or dataset.",
)
@count_option(default=None, help="Replay so many, spread evenly.  [default: all]")
@workers_option
@json_option
@click.pass_context
def replay(
    ctx: click.Context, place: Path, role: str, count: int | None, workers: int, as_json: bool
) -> None:
    """Simulate recorded episodes again from their scenarios and actions, and compare.

    DIR is a run, a store of episodes, or a dataset that `fabrika export` wrote.

    Tiers: D0 identical to the last bit, promised for the same versions and kind of machine;
    D1 every number within 1e-6; D2 passed or failed as recorded; D3 none of these. Elsewhere D2
    is asked for.

    Exit code 6 if an episode is damaged, or short of D0 where D0 is promised; 3 if one is void,
    or short of D2 where other versions or another machine made it.

    \b
    Example: fabrika replay runs/toy-reach-v1-s0 --of dataset -n 20
    """
    from fabrika.cli._replay_source import find_source, open_source

    folder, kind = find_source(place, role)
    with closing(open_source(folder, kind)) as source:
        task, changes = source.task, source.changes
        wanted = min(count or source.count, source.count)
        positions = [number * source.count // wanted for number in range(wanted)] if wanted else []
        found: list[Replayed] = []
        with Meter("replay", wanted) as meter:
            serial = workers == 1 or wanted <= 1
            runs = (
                map(source.replay, positions) if serial else _many(folder, kind, positions, workers)
            )
            for one in runs:
                found.append(one)
                identical = sum(r.identical for r in found)
                meter.update(len(found), f"{identical} of {len(found)} identical")
    found.sort(key=lambda one: one.index)
    code = exit_code(found, changes)
    summary = {"place": str(folder), "kind": kind, "task": task, **summarise(found, changes)}
    if as_json:
        emit(summary | {"unlike": [_plain(one) for one in found if not one.identical]})
    else:
        _print(found, summary)
    ctx.exit(code)


def exit_code(found: Sequence[Replayed], changes: Sequence[str]) -> int:
    """0, or the published code of what is worst."""
    void = [one for one in found if one.reason == "void"]
    kept = [one for one in found if one.reason != "void"]
    if any(one.reason == "damaged" or not (changes or one.identical) for one in kept):
        return INTEGRITY
    return LOSSES if void or any(one.tier == "D3" for one in kept) else 0


def summarise(found: Sequence[Replayed], changes: Sequence[str]) -> dict[str, Any]:
    """The numbers of ``replay --json``."""
    reasons = Counter(one.reason for one in found if not one.identical)
    return {
        "replayed": len(found),
        "identical": sum(one.identical for one in found),
        "passed": sum(one.passed for one in found),
        "still_pass": sum(one.passed and one.passes for one in found),
        "tier": max((one.tier for one in found if one.reason != "void"), default=""),
        "reasons": dict(sorted(reasons.items())),
        "made_by": list(changes),
    }


def _many(folder: Path, kind: Kind, positions: Sequence[int], workers: int) -> Iterator[Replayed]:
    from fabrika.cli._replay_source import replay_parallel

    return replay_parallel(folder, kind, positions, workers)


def _plain(one: Replayed) -> dict[str, Any]:
    names = ("index", "reason", "tier", "passed", "passes", "detail")
    return {name: getattr(one, name) for name in names}


def _outcome(one: Replayed) -> str:
    """How the replay ended; what is damaged was never replayed."""
    return "-" if one.reason == "damaged" else WORDS[one.passes]


def _print(found: Sequence[Replayed], summary: dict[str, Any]) -> None:
    answer(
        f"{summary['identical']} of {summary['replayed']} are identical to the last bit; "
        f"{summary['still_pass']} of {summary['passed']} that passed pass again"
    )
    if summary["made_by"]:
        answer(f"made by: {'; '.join(summary['made_by'])}")
    unlike = [one for one in found if not one.identical]
    if not unlike:
        return
    answer(f"not identical: {reasons_in_words(summary['reasons'], most=20)}")
    rows = [
        (one.index, one.reason, one.tier, WORDS[one.passed], _outcome(one), one.detail)
        for one in unlike[:SHOWN]
    ]
    table(("episode", "why", "tier", "recorded", "replayed", "what differs first"), rows)
    if len(unlike) > SHOWN:
        answer(f"and {len(unlike) - SHOWN} more; --json has all")
