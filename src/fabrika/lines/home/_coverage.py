"""Which part of its randomised range a scenario of a page is from: cells of a grid.

Two ranges are cut into `GRID` x `GRID` cells: where the first thing that the goals name stands on
its spot (of several spots, each is a range), and where a robot that drives begins. Row 1 is the
furthest from who stands before the spot, or, of the robot, from the back wall; column 1 is the
left one.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, sin
from typing import Any

from fabrika._registry import load
from fabrika.lines.home._chores import START, nearest_of
from fabrika.lines.home._floor import strip
from fabrika.lines.home._page import Page, Supply
from fabrika.sim import Robot, footprint, places
from fabrika.sim._scene import Place

GRID = 4
"""Cells along each side of a range."""


def ranges(page: Page) -> tuple[str, ...]:
    """The ranges that scenarios of a page are drawn from."""
    things = (f"{s.name} on {place}" for s in _first(page) for place in s.on if _wide(page, place))
    return (*things, "robot") if _drives(page) else tuple(things)


def _drives(page: Page) -> bool:
    robot = load("robots", page.robot)
    return isinstance(robot, Robot) and robot.drives


def cells(page: Page, params: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """(row, column) from 1 on, in each range that the scenario with these params is in."""
    x, y, _ = params["start"]
    found = {"robot": (_part(x, *START[0]), _part(-y, *START[1]))} if _drives(page) else {}
    for supply in _first(page):
        thing = params["things"][supply.names[0]]
        if thing.get("absent"):
            continue
        for name, place in places(params["fixtures"]).items():
            if name in supply.on and _wide(page, name) and (cell := _on_spot(place, thing, supply)):
                found[f"{supply.name} on {name}"] = cell
        if "floor" in supply.on and thing["pos"][2] < 0.01:
            where = strip(supply.along, params["fixtures"])
            along, aside = where.seen(*thing["pos"][:2])
            cell = _part(-along, -1.0, 0.0), _part(-aside, -where.half, where.half)
            found[f"{supply.name} on floor"] = cell
    return found


def _wide(page: Page, place: str) -> bool:
    """Whether a place is a range: on a peg everything hangs at one point."""
    return page.fixtures.get(place.partition(".")[0]) != "hook"


def _first(page: Page) -> tuple[Supply, ...]:
    """The first thing that the goals name; none if they name parts alone."""
    named = [
        page.source_of(str(arg)) if goal.predicate == "poured" and not index else arg
        for goal in page.goals
        for index, arg in enumerate(goal.args)
    ]
    return tuple(s for arg in named for s in page.supplies if arg in s.names)[:1]


def _on_spot(place: Place, thing: Mapping[str, Any], supply: Supply) -> tuple[int, int] | None:
    """The cell of a thing on a spot, within what of it things are put on; None if elsewhere."""
    a, b = (thing["pos"][i] - place.middle[i] for i in (0, 1))
    c, s = cos(place.yaw), sin(place.yaw)
    x, y = c * a + s * b, c * b - s * a
    (hx, hy), edge = place.spot.half, min(footprint(thing))
    if abs(x) > hx or abs(y) > hy or abs(thing["pos"][2] - place.middle[2]) > 0.01:
        return None
    behind = hx * (2 * nearest_of(place, thing, supply) - 1)
    # y is to the left as the spot looks out: to the right of who stands before it.
    side = min(hy - edge, 0.92 * hy)
    return _part(x, max(behind, edge - hx), hx - edge), _part(y, -side, side)


def _part(value: float, low: float, high: float) -> int:
    """Which of `GRID` equal parts of a range a value is in, from 1 on."""
    share = (value - low) / max(high - low, 1e-9)
    return 1 + min(GRID - 1, max(0, int(GRID * share)))
