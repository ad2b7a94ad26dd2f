"""``fabrika gallery``: every task measured, with a picture and a video of each."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabrika._errors import IntegrityError
from fabrika.cli._console import answer, emit, say
from fabrika.cli._episodes import roll
from fabrika.cli._options import (
    FILE,
    FOLDER,
    count_option,
    executor_options,
    json_option,
    out_option,
    workers_option,
)

if TYPE_CHECKING:
    from fabrika._result import Result
    from fabrika.lines.home._page import Page

GALLERY = Path("docs/gallery")
"""Where the gallery is, unless somebody says otherwise."""
COUNT = 300
"""Scenarios of each task, unless somebody says otherwise."""
ENOUGH = 0.9
"""Share of them that are to be accepted."""
QUOTA = 8
"""Further scenarios that a start cell without an accepted episode gets."""
_FURTHEST = 30
"""How far they are looked for: so many times the scenarios asked for."""


@click.command()
@click.argument("tasks", nargs=-1)
@count_option(
    default=COUNT, show_default=True, help="Scenarios of each task that the expert tries."
)
@out_option("Where the gallery goes.", default=GALLERY, show_default=True)
@click.option(
    "--stores",
    type=FOLDER,
    default=Path("runs/gallery"),
    show_default=True,
    metavar="DIR",
    help="Where the episodes are kept, a store for each task and version of it.",
)
@click.option(
    "--table",
    "page",
    type=FILE,
    default=Path("docs/results.md"),
    show_default=True,
    help="A page that gets the table too, between its gallery markers, if it has them.",
)
@click.option(
    "--again", is_flag=True, help="Measure anew what was measured of this version already."
)
@workers_option
@executor_options
@json_option
def gallery(
    tasks: tuple[str, ...],
    count: int,
    out: Path,
    stores: Path,
    page: Path,
    again: bool,
    workers: int,
    executor: str,
    as_json: bool,
) -> None:
    """Let the expert try N train scenarios of each task (of all, if none is named), and show it.

    Writes results.json, README.md with the table, and a picture and a video of an accepted episode
    of each. Start cells without an accepted episode are tried further, up to a quota, and named if
    that does not help. The same command goes on where it stopped: what was measured of this version
    in as many scenarios is not measured again.

    \b
    Example: fabrika gallery toy/reach-v1 -n 20 --out gallery
    """
    from fabrika._registry import known
    from fabrika._registry import task as find_task

    names = tasks or tuple(known("tasks"))
    for name in names:
        find_task(name)  # an unknown name is told before anything is made
    rows = read_results(out)
    for name in names:
        kept = None if again else _kept(rows.get(name), name, count)
        if kept:
            say(f"{name}: measured of this version already (--again measures it anew)")
        rows[name] = kept or _measure(name, count, out, stores, workers, executor)
        _write(rows, out, page)
    if as_json:
        emit([rows[name] for name in names])
        return
    for name in names:
        row = rows[name]
        answer(f"{name}: {row['accepted']} of {row['scenarios']}, at least {row['at_least']:.1%}")
    answer(str(out / "README.md"))


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """What was measured, by task; nothing if nothing was. Raises `IntegrityError`."""
    file = folder / "results.json"
    if not file.is_file():
        return {}
    try:
        return {str(row["task"]): row for row in json.loads(file.read_text())}
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{file} is not what `fabrika gallery` writes: {error}.") from error


def _write(rows: dict[str, dict[str, Any]], out: Path, page: Path) -> None:
    """The file of results, the gallery's page, and the table of the other page."""
    from fabrika.cli._run_folder import write_json
    from fabrika.release import gallery_page, gallery_table, with_table

    ordered = [rows[name] for name in sorted(rows)]
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "results.json", ordered)
    (out / "README.md").write_text(gallery_page(ordered))
    if page.is_file():
        text = with_table(page.read_text(), gallery_table(ordered))
        if text is not None:
            page.write_text(text)


def _kept(row: dict[str, Any] | None, name: str, count: int) -> dict[str, Any] | None:
    """A row of this version of a task, with what is to be said of it now; None if it is not."""
    from fabrika._source import source_digest

    if not row or row["source"] != source_digest(name) or row["scenarios"] < count:
        return None
    return {**row, "experimental": remark(row, _page(name))}


def remark(row: Mapping[str, Any], page: Page | None) -> str:
    """Why a task is experimental: as was measured, and what its page adds; empty if it is not.

    It is not if `ENOUGH` of `COUNT` scenarios or more were accepted, and none was unsafe.
    """
    tried, reasons = row["scenarios"], row["reasons"].items()
    unsafe = sum(count for reason, count in reasons if reason.startswith("safety/"))
    short = row["accepted"] < ENOUGH * tried
    told = [page.experimental] if page and page.experimental else []
    if not unsafe and not short:
        return "" if tried >= COUNT else "".join(told)
    counted = [f"{row['accepted']} of {tried} accepted"] * short + [
        f"{unsafe} of {tried} beyond a limit of safety"
    ] * (unsafe > 0)
    return ": ".join([", ".join(counted), *told])


def _page(name: str) -> Page | None:
    """The page of a task, for its robot, if it has one."""
    from fabrika._registry import known
    from fabrika.lines.home.pages import page_at

    found = page_at(known("tasks")[name])
    return found[0] if found else None


def _measure(
    name: str, count: int, out: Path, stores: Path, workers: int, executor: str
) -> dict[str, Any]:
    """Everything that is known of one task, after its scenarios were tried."""
    from fabrika._gate import exact_lower
    from fabrika._registry import task as find_task
    from fabrika._source import source_digest
    from fabrika.cli._run_folder import hardware

    source, page = source_digest(name), _page(name)
    stem = re.sub(r"[^\w-]+", "-", name)
    store = stores / f"{stem}-{source[:8]}"

    def tried(indices: Sequence[int]) -> list[Result]:
        how = {"workers": workers, "executor": executor, "store": store}
        return roll(name, "expert", "train", indices, title=name, **how)  # type: ignore[arg-type]

    results = tried(range(count))
    passed = [result for result in results if result.accepted]
    retried = _retry(name, page, count, results, tried) if page else []
    cover = _coverage(name, page, [*results, *retried]) if page else {}
    cpu, simulated = (
        sum(getattr(r, f"{kind}_seconds") for r in results) for kind in ("cpu", "sim")
    )
    reasons = Counter(result.reason for result in results if not result.accepted)
    row = {
        "task": name,
        "about": find_task(name).description.strip().splitlines()[0],
        "experimental": "",
        "source": source,
        "scenarios": len(results),
        "accepted": len(passed),
        "at_least": round(exact_lower(len(passed), len(results), 0.05), 6),
        "reasons": dict(reasons.most_common()),
        "mean_seconds": round(simulated / len(results), 3),
        "real_time": round(simulated / max(cpu, 1e-9), 3),
        "cpu_seconds_per_accepted": round(cpu / len(passed), 3) if passed else None,
        "coverage": {range_: _counted(found) for range_, found in cover.items()},
        "hard_cells": _hard(cover),
        "retried": len(retried),
        "hardware": hardware(),
        "picture": "",
        "video": "",
    }
    row["experimental"] = remark(row, page)
    return {**row, **_show(name, store, passed, out, stem)}


# -- the randomised range --------------------------------------------------------------------

Cover = dict[str, dict[tuple[int, int], list[int]]]
"""By range and cell: scenarios that were drawn there, and accepted ones."""


def _coverage(name: str, page: Page, results: Sequence[Result]) -> Cover:
    from fabrika._registry import task as find_task
    from fabrika.lines.home._coverage import GRID, cells, ranges

    sides = range(1, GRID + 1)
    cover: Cover = {r: {(i, j): [0, 0] for i in sides for j in sides} for r in ranges(page)}
    task = find_task(name)
    for result in results:
        scenario = task.scenario("train", result.index)
        for range_, cell in cells(page, scenario.params).items():
            cover[range_][cell][0] += 1
            cover[range_][cell][1] += result.accepted
    return cover


def _empty(cover: Cover) -> set[tuple[str, tuple[int, int]]]:
    """Cells without an accepted episode."""
    return {(r, cell) for r, found in cover.items() for cell, (_, ok) in found.items() if not ok}


def _retry(
    name: str, page: Page, count: int, results: Sequence[Result], tried: Any
) -> list[Result]:
    """Further scenarios in cells without an accepted episode, up to a quota for each."""
    from fabrika._registry import task as find_task
    from fabrika.lines.home._coverage import cells

    task = find_task(name)
    more: list[Result] = []
    left = dict.fromkeys(_empty(_coverage(name, page, results)), QUOTA)
    index = count
    while left and index < _FURTHEST * count:
        batch: list[int] = []
        reserved: set[tuple[str, tuple[int, int]]] = set()
        while index < _FURTHEST * count and len(batch) < len(left):
            mine = set(cells(page, task.scenario("train", index).params).items()) & left.keys()
            if mine - reserved:
                batch.append(index)
                reserved |= mine
            index += 1
            if reserved == left.keys():
                break
        if not batch:
            break
        more += tried(batch)
        for cell in reserved:
            left[cell] -= 1
        still = _empty(_coverage(name, page, [*results, *more]))
        left = {cell: quota for cell, quota in left.items() if quota and cell in still}
    return more


def _counted(found: dict[tuple[int, int], list[int]]) -> dict[str, int]:
    values = list(found.values())
    drawn, accepted = (sum(bool(value[i]) for value in values) for i in (0, 1))
    return {"cells": len(values), "drawn": drawn, "accepted": accepted}


def _hard(cover: Cover) -> list[str]:
    """Cells without an accepted episode, in words."""
    return [
        f"{range_}, row {row}, column {column} ({cover[range_][row, column][0]} tried)"
        for range_, (row, column) in sorted(_empty(cover))
    ]


# -- what is seen ----------------------------------------------------------------------------


def _show(name: str, store: Path, passed: Sequence[Result], out: Path, stem: str) -> dict[str, str]:
    """A picture and a video of the first accepted episode, if its world can be seen."""
    from fabrika import Pictured
    from fabrika._registry import task as find_task
    from fabrika._store import Store
    from fabrika.release import clip, poster

    if not passed:
        return {}
    with closing(find_task(name).build()) as world:
        if not isinstance(world, Pictured):
            return {}
        with Store.open(store) as opened:
            episode = opened.episode(passed[0])
        say(f"{name}: the film of scenario {passed[0].index}")
        poster(world, episode, out / f"{stem}.png")
        clip(world, episode, out / f"{stem}.mp4")
    return {"picture": f"{stem}.png", "video": f"{stem}.mp4"}
