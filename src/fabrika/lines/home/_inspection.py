"""What is wrong with a page that reads well: found by drawing scenarios, before any is run.

`check_page` is what ``fabrika check task`` asks of a page first: whether its goals can be true at
once, everything finds room, there is something to do, and the robot can grasp what it is to bring.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from fabrika._episode import Episode
from fabrika._errors import ContractError, UsageError
from fabrika._registry import load
from fabrika._scenario import Scenario, Split
from fabrika._signals import Array
from fabrika._task import Task
from fabrika.lines.home._chores import condition, joints_of, task_of
from fabrika.lines.home._goals import moment
from fabrika.lines.home._page import SIDES, Goal, Page, read_page
from fabrika.lines.home._yaml import Value
from fabrika.lines.home.pages import path_of
from fabrika.sim import Kinematics, Robot, build_fixture, footprint
from fabrika.sim._scene import CrowdedError, height_of
from fabrika.sim._scenery import Scenery
from fabrika.sim._work import Worker
from fabrika.testing import Breach

DRAWN = 40
"""Scenarios of each split that are drawn and looked at."""
REACHED = 5
"""Scenarios in which the robot looks for grasps."""
YAWS = 6
"""Ways in which what is to cover another thing may be turned, that are looked at."""
_CHANGES = (
    *("on", "at", "inside", "stacked", "inserted", "threaded", "near", "held", "handed"),
    *("covers", "lying", "open", "poured", "pressed", "turned", "wiped"),
)
"""Predicates that ask for something to be done; the others may hold from the start."""
_TAKEN = (
    *("on", "inside", "stacked", "covers", "inserted", "threaded"),
    *("held", "handed", "wiped"),
)
"""Predicates whose first thing has to be taken in a hand."""
_BORNE = ("stacked", "covers", "inside", "inserted", "threaded")
"""Predicates whose first thing is on, in or through the second."""
_HOLLOW = ("bowl", "crate", "cup", "mug", "pot", "shoe", "tray")
"""Shapes that have an inside."""
_KEPT = ("lying", "near")
"""Predicates that no skill makes true: they may be asked for where they are true already."""
_WAYS = 250
"""Ways to grasp that are tried."""


def page_at(place: str) -> tuple[Page, Path] | None:
    """The page whose task lives at "module:attribute", for that task's robot, and its file.

    None if no page does. Raises `UsageError` if it cannot be read.
    """
    path, robot = path_of(place), ""
    if path is None:
        place, _, robot = place.rpartition("_on_")
        path = path_of(place)
    if path is None:
        return None
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    page = read_page(text, str(path))
    return (page.on(robot.replace("_", "-")) if robot else page), path


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
    """Goals that no world makes true, alone or with another goal of the page."""
    if not page.goals:
        return [Breach("page/goal", f"{root['goal'].place}: these words ask for nothing.")]
    breaches = []
    for number, goal in enumerate(page.goals):
        why = _never(page, goal) or _loop(page, goal)
        for other in page.goals[:number]:
            why = why or _against(page, goal, other)
        if why:
            line = _line(root, goal).place
            breaches.append(Breach("page/goal", f"{line}: {goal.words} is impossible: {why}."))
    held = {goal.args[0] for goal in page.goals if goal.predicate == "held"}
    robot = load("robots", page.robot)
    assert isinstance(robot, Robot)
    if len(held) > len(robot.hands) and not breaches:
        words = f"{len(held)} things are to be held, and {robot.name} has {len(robot.hands)} hands"
        breaches.append(Breach("page/goal", f"{root['goal'].place}: {words}."))
    return breaches


def _never(page: Page, goal: Goal) -> str:
    """Why a goal is never true; empty if it may be."""
    within = [arg for arg in goal.args if isinstance(arg, float)]
    if goal.predicate in ("near", "upright", "lying") and any(w <= 0.0 for w in within):
        return "a tolerance is more than nothing"
    shape = page.shapes.get(str(goal.args[1])) if goal.predicate == "inside" else None
    return f"{goal.args[1]} is not hollow" if shape and shape not in _HOLLOW else ""


def _against(page: Page, goal: Goal, other: Goal) -> str:
    """Why two goals are never true at once; empty if they may be."""
    kinds, same = {goal.predicate, other.predicate}, goal.args[0] == other.args[0]
    if same and kinds == {"held", "let_go"}:
        return f"so is {other.words} asked for"
    if kinds == {"held"} and not same and goal.args[1:] == other.args[1:] != ():
        return f"{other.words} is in that hand"
    if same and goal != other:
        there = [str(g.args[1]) for g in (goal, other) if g.predicate in ("on", "at", "inside")]
        fixtures = [page.fixtures.get(place.partition(".")[0]) and place for place in there]
        if len(fixtures) == 2 and all(fixtures) and _apart(goal, other):
            return f"{other.words} is elsewhere"
    return ""


def _apart(goal: Goal, other: Goal) -> bool:
    """Whether two places of fixtures are on two of them, or are two spaces beside each other."""
    (one, _, first), (two, _, second) = (str(g.args[1]).partition(".") for g in (goal, other))
    spaces = goal.predicate == other.predicate == "inside" and "inside" not in (first, second)
    return one != two or (spaces and first != second)


def _loop(page: Page, goal: Goal) -> str:
    """Whether a thing is to be on or in what is to be on or in it."""
    if goal.predicate not in _BORNE:
        return ""
    bears = [(g.args[0], g.args[1]) for g in page.goals if g.predicate in _BORNE]
    found = {goal.args[1]}
    while more := {below for above, below in bears if above in found} - found:
        found |= more
    return f"{goal.args[0]} would be on or in itself" if goal.args[0] in found else ""


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
    starts = [_start(page, scenario.params) for scenario in scenarios]
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
    starts = (_start(page, {**params, "things": {**things, thing: lies}}) for lies in turned)
    return all(bool(condition(goal)(start)[0]) for start in starts)


def _start(page: Page, params: Mapping[str, Any]) -> Episode:
    """The first moment of an episode, as the goals' predicates see it."""
    things = params["things"]
    seen: dict[str, Array] = {f"truth/{joint}": np.zeros(2) for joint in joints_of(page)}
    for fixture in params["fixtures"].values():
        for joint, at in fixture.get("turned", {}).items():
            seen[f"truth/{joint}"] = np.array([at, 0.0])
    for name, thing in things.items():
        half = thing["yaw"] / 2
        body = [*thing["pos"], np.cos(half), 0.0, 0.0, np.sin(half), *np.zeros(6)]
        seen[f"truth/{name}"] = np.array(body)
    seen["truth/base"] = np.eye(4)
    seen |= {f"truth/palm_{side}": np.zeros(9) for side in SIDES}
    return moment({**seen, "truth/support": np.zeros((len(things), 2))}, params)


def _line(root: Mapping[str, Value], goal: Goal) -> Value:
    """The line of the page that a goal was made of; a line may stand for several."""
    for item in root["goal"].items():
        name, _, rest = item.text().partition("(")
        args = [arg.strip() for arg in rest.rstrip(") ").split(",")]
        if name.strip() == goal.predicate and all(
            isinstance(arg, float) or arg == asked or arg.rpartition("_")[0] == asked
            for arg, asked in zip(goal.args, args, strict=False)
        ):
            return item
    return root["goal"]


# -- out of reach ----------------------------------------------------------------------------


def _unreached(page: Page, task: Task, root: Mapping[str, Value]) -> list[Breach]:
    """Things that the robot has to take, and finds no grasp for in more than a fifth."""
    wanted = {str(g.args[0]): g for g in page.goals if g.predicate in _TAKEN}
    wanted |= {page.source_of(str(g.args[0])): g for g in page.goals if g.predicate == "poured"}
    missed: Counter[str] = Counter()
    there: Counter[str] = Counter()
    robot = load("robots", page.robot)
    assert isinstance(robot, Robot)
    reads = sorted(task.expert().reads)
    scenery = Scenery(page.fixtures, page.shapes)
    with closing(task.build()) as world:
        for scenario in task.scenarios("train", REACHED):
            world.reset(scenario)
            seen = dict(world.observe(reads))
            rng = np.random.default_rng(scenario.index)
            for name, goal in wanted.items():
                if scenario.params["things"][name].get("absent"):
                    continue
                if condition(goal)(_start(page, scenario.params))[0]:
                    continue
                worker = Worker(robot, Kinematics(robot), scenery, seen, rng, world.dt)
                for joint in worker.model.guards(worker.model.under(name)):
                    seen[f"truth/{joint}"] = np.array([worker.model.parts[joint].open, 0.0])
                worker = Worker(robot, worker.kinematics, scenery, seen, rng, world.dt)
                there[name] += 1
                missed[name] += worker._find_grasp(name, tuple(robot.hands), _WAYS) is None
    return [
        Breach(
            "page/reach",
            f"{_line(root, wanted[name]).place}: no grasp reaches {name!r} in {missed[name]} of "
            f"{count} scenarios. Let it stand nearer to the front edge (`within`), or elsewhere.",
        )
        for name, count in there.items()
        if missed[name] > count / 5
    ]
