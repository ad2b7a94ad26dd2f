"""What is wrong with a page that reads well: found by drawing scenarios, before any is run.

`check_page` is what ``fabrika check task`` asks of a page first: whether everything finds
room, there is something to do, and the robot gets at it: things, places, handles, buttons.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fabrika._errors import BrokenWorldError, ContractError
from fabrika._registry import load
from fabrika._scenario import Scenario, Split
from fabrika._task import Task
from fabrika.lines.home._access import barriers, start
from fabrika.lines.home._chores import condition, task_of
from fabrika.lines.home._page import Goal, Page
from fabrika.lines.home._yaml import Value
from fabrika.sim import Robot, build_fixture, footprint
from fabrika.sim._scene import CrowdedError, height_of
from fabrika.testing import Breach

DRAWN = 40
"""Scenarios of each split that are drawn and looked at."""
REACHED = 5
"""Scenarios in which it is looked whether the robot gets at things, until it does in one."""
YAWS = 6
"""Ways in which what is to cover another thing may be turned, that are looked at."""
_CHANGES = (
    *("on", "at", "inside", "stacked", "inserted", "threaded", "near", "held", "handed"),
    *("covers", "lying", "open", "poured", "pressed", "turned", "wiped"),
)
"""Predicates that ask for something to be done; the others may hold from the start."""
_KEPT = ("lying", "near")
"""Predicates that no skill makes true: they may be asked for where they are true already."""
_NEARER = "Let it stand nearer to the front edge (`within`), or elsewhere."
_ELSEWHERE = "Name another place or kind of fixture, or a robot that reaches it (`robot`)."
"""What to do about what is out of reach."""


def check_page(page: Page, path: Path) -> list[Breach]:
    """What is wrong with a page of this file; each says in which file, line and column."""
    root = Value.parse(page.source, str(path)).pairs()
    if breaches := _impossible(page, root):
        return breaches
    try:
        task = task_of(page)
    except ContractError as error:
        return [Breach("page/room", f"{root['room'].place}: {error}")]
    if breaches := _crowded(task, root):
        return breaches
    scenarios = list(task.scenarios("train", DRAWN))
    breaches = [*_idle(page, root, scenarios), *_bare(page, root, scenarios)]
    breaches += _cramped(page, root, scenarios)
    return [*breaches, *_unreached(page, task, root)]


# -- what can never be true ------------------------------------------------------------------


def _impossible(page: Page, root: Mapping[str, Value]) -> list[Breach]:
    """Goals that ask for nothing, or for more hands than its robot has."""
    if not page.goals:
        return [Breach("page/goal", f"{root['goal'].place}: these words ask for nothing.")]
    held = {goal.args[0] for goal in page.goals if goal.predicate == "held"}
    robot = load("robots", page.robot)
    assert isinstance(robot, Robot)
    if len(held) <= len(robot.hands):
        return []
    words = f"{len(held)} things are to be held, and {robot.name} has {len(robot.hands)} hands"
    return [Breach("page/goal", f"{root['goal'].place}: {words}.")]


def _cramped(page: Page, root: Mapping[str, Value], scenarios: Sequence[Scenario]) -> list[Breach]:
    """What is to be inside of what is too small for it."""
    breaches = []
    for goal in (goal for goal in page.goals if goal.predicate == "inside"):
        thing, place = map(str, goal.args)
        small = sum(not _fits(thing, place, scenario.params) for scenario in scenarios)
        if small:
            words = f"{thing!r} is too large for {place!r} in {small} of {len(scenarios)} scenarios"
            breaches.append(Breach("page/fit", f"{_line(root, goal).place}: {words}."))
    return breaches


def _fits(thing: str, place: str, params: Mapping[str, Any]) -> bool:
    """Whether a thing's two lesser extents are below the two greater ones of a space.

    Of a vessel: below those of its mouth. What passes so may still not fit.
    """
    things = params["things"]
    if things[thing].get("absent") or things.get(place, {}).get("absent"):
        return True
    wide = sorted(2 * half for half in footprint(things[thing]))
    need = sorted((*wide, height_of(things[thing])))[:2]
    if place in things:
        room = sorted(2 * half for half in footprint(things[place]))
    else:
        fixture, _, name = place.partition(".")
        spaces = build_fixture(fixture, params["fixtures"][fixture]).spaces
        space = next(space for space in spaces if space.name == name)
        room = sorted(b - a for a, b in zip(space.low, space.high, strict=True))[1:]
    return all(n < r for n, r in zip(need, room, strict=True))


def _crowded(task: Task, root: Mapping[str, Value]) -> list[Breach]:
    """Things and fixtures that find no room, by how many scenarios they spoil."""
    spoilt: Counter[str] = Counter()
    words: dict[str, str] = {}
    splits: tuple[Split, ...] = ("train", "validate")
    for split in splits:
        for index in range(DRAWN):
            try:
                task.scenario(split, index)
            except CrowdedError as error:
                spoilt[error.name] += 1
                words[error.name] = str(error)
    places = {**root["things"].pairs(), **root["room"].pairs()}
    return [
        Breach("page/room", f"{places[name].place}: in {n} of {2 * DRAWN} scenarios {words[name]}")
        for name, n in spoilt.items()
    ]


# -- nothing to do ---------------------------------------------------------------------------


def _idle(page: Page, root: Mapping[str, Value], scenarios: list[Scenario]) -> list[Breach]:
    """Goals that hold before anything is done."""
    starts = [start(page, scenario.params) for scenario in scenarios]
    held = {goal: [bool(condition(goal)(start)[0]) for start in starts] for goal in page.goals}
    # What is wiped with may go back to where it was.
    used = {goal.args[0] for goal in page.goals if goal.predicate == "wiped"}
    breaches = [
        Breach("page/goal", f"{_line(root, goal).place}: {goal.words} is true from the start.")
        for goal, truths in held.items()
        if goal.predicate in _CHANGES and all(truths) and goal.args[0] not in used
    ]
    breaches += [
        Breach(
            "page/goal",
            f"{_line(root, goal).place}: no skill makes {goal.words} true, and in "
            f"{truths.count(False)} of {len(starts)} scenarios it is not so at the start.",
        )
        for goal, truths in held.items()
        if goal.predicate in _KEPT and not all(truths)
    ]
    idle = [i for i, truths in enumerate(zip(*held.values(), strict=True)) if all(truths)]
    if idle and not breaches:
        some = ", ".join(map(str, idle[:5]))
        what = f"in {len(idle)} of {len(starts)} scenarios there is nothing to do (train {some})"
        breaches = [Breach("page/goal", f"{root['goal'].place}: {what}: every goal holds.")]
    return breaches


def _bare(page: Page, root: Mapping[str, Value], scenarios: list[Scenario]) -> list[Breach]:
    """What is to be covered by what is too small: laid down by its middle, turned anyhow."""
    breaches = []
    for goal in (goal for goal in page.goals if goal.predicate == "covers"):
        bare = sum(not _hides(page, goal, scenario.params) for scenario in scenarios)
        if bare:
            thing, other = goal.args[:2]
            words = f"{thing!r} is too small to cover {other!r} in {bare} of {len(scenarios)}"
            how = "scenarios, turned as it may come to lie. Take a larger one."
            breaches.append(Breach("page/cover", f"{_line(root, goal).place}: {words} {how}"))
    return breaches


def _hides(page: Page, goal: Goal, params: Mapping[str, Any]) -> bool:
    """Whether a thing covers another from its middle, however it is turned."""
    things, (thing, other) = params["things"], map(str, goal.args[:2])
    x, y, z = things[other]["pos"]
    there = {**things[thing], "pos": (x, y, z + height_of(things[other]))}
    turned = ({**there, "yaw": float(yaw)} for yaw in np.linspace(0.0, np.pi, YAWS, endpoint=False))
    starts = (start(page, {**params, "things": {**things, thing: lies}}) for lies in turned)
    return all(bool(condition(goal)(start)[0]) for start in starts)


def _line(root: Mapping[str, Value], goal: Goal) -> Value:
    """The line of the page that a goal was made of; a line may stand for several."""
    for item in root["goal"].items():
        name, _, rest = item.text().partition("(")
        args = [arg.strip() for arg in rest.rstrip(") ").split(",")]
        if (name.strip(), len(args)) == (goal.predicate, len(goal.args)) and all(
            isinstance(arg, float) or arg == asked or arg.rpartition("_")[0] == asked
            for arg, asked in zip(goal.args, args, strict=True)
        ):
            return item
    return root["goal"]


# -- out of reach ----------------------------------------------------------------------------


def _unreached(page: Page, task: Task, root: Mapping[str, Value]) -> list[Breach]:
    """Goals that the robot gets at in no scenario."""
    robot = load("robots", page.robot)
    assert isinstance(robot, Robot)
    try:
        found = barriers(page, robot, task, task.scenarios("train", REACHED))
    except BrokenWorldError as error:
        return [Breach("page/room", f"{root['room'].place}: {error} Leave more room there.")]
    breaches = []
    for goal, why in found.items():
        counted = Counter(why).most_common()
        words = ", ".join(f"{what} in {n} of {len(why)} scenarios" for what, n in counted)
        how = _NEARER if counted[0][0].startswith("no grasp") else _ELSEWHERE
        breaches.append(Breach("page/reach", f"{_line(root, goal).place}: {words}. {how}"))
    return breaches
