"""From a page to a task: how a scenario is drawn, what world it makes, what counts as done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fabrika._actor import Actor
from fabrika._check import Check, Condition, held_to_end
from fabrika._episode import Episode
from fabrika._errors import ContractError
from fabrika._registry import load
from fabrika._task import Task
from fabrika._world import World
from fabrika.lines.home._checks import HOLD, quality, safety
from fabrika.lines.home._floor import lie, strip
from fabrika.lines.home._goals import PREDICATES, Mask
from fabrika.lines.home._housekeeper import housekeeper
from fabrika.lines.home._page import Goal, Page, Supply
from fabrika.lines.home._variation import between, push, robot_variation
from fabrika.sim import (
    Robot,
    SimWorld,
    arrange,
    build_fixture,
    draw_fixture,
    draw_thing,
    places,
    put_on,
    reach_of,
    scene,
)
from fabrika.sim._joinery import Fixture
from fabrika.sim._scene import CrowdedError, Place, fill
from fabrika.sim._scenery import Scenery

Rng = np.random.Generator
_TRIES = 30
"""Rooms that are drawn before a page is said to be too full."""
START = ((-0.7, -0.4), (-0.25, 0.25), (-0.5, 0.5))
"""Where the robot begins: x [m], y [m], yaw [rad]."""
FAR = 0.10
"""How far from where it is to be a thing starts that is to be pushed [m]."""
_PLACING = ("on", "at", "inside", "stacked", "covers", "inserted")
"""Predicates that say where a thing is to be: it is let go of there, and rests."""


def task_of(page: Page) -> Task:
    """The task that a page describes. Raises `ContractError` if it describes none."""
    robot = load("robots", page.robot)
    assert isinstance(robot, Robot)
    used = _used_fixtures(page)
    if not robot.drives and len(used) != 1:
        raise ContractError(
            f"{page.task}: {robot.name} stands fixed and works at one fixture, but the goal and "
            f"its things are about {', '.join(used) or 'none'}."
        )
    scenery = Scenery(page.fixtures, page.shapes)
    names = tuple(sorted(scenery.things))
    joints = joints_of(page)
    goals = wanted(page)

    def build() -> World:
        return SimWorld(
            robot,
            scene,
            tracked=(*_tracked(page), *page.fixtures, *_marks(page)),
            free=names,
            joints=joints,
            told=scenery.told(),
            seconds=page.horizon,
            sleep=True,
        )

    def expert() -> Actor:
        return housekeeper(page, robot, scenery, joints)

    return Task(
        name=page.task,
        description=_description(page, goals),
        instructions=page.words,
        held_out_instructions=page.held_out_words,
        horizon=page.horizon,
        sample=lambda rng: sample(page, robot, rng, held_out=False),
        held_out_sample=lambda rng: sample(page, robot, rng, held_out=True),
        build=build,
        expert=expert,
        policy_reads=_policy_reads(page, robot),
        camera_reads=_camera_reads(robot),
        checks=(
            *(
                Check(
                    name=goal.words.replace(", ", ","),
                    kind="goal",
                    measure=held_to_end(condition(goal)),
                    unit="s",
                    at_least=HOLD,
                )
                for goal in goals
            ),
            # Grains are meant to fall; where they end is a goal.
            *safety(*_solid(scenery), robot=robot, fall=page.fall),
            *quality(),
        ),
    )


def _solid(scenery: Scenery) -> list[str]:
    return sorted(name for name, shape in scenery.things.items() if shape != "grain")


def joints_of(page: Page) -> tuple[str, ...]:
    """All parts that move, of all fixtures."""
    return tuple(part.joint for made in _built(page).values() for part in made.parts)


def _built(page: Page) -> dict[str, Fixture]:
    """Its fixtures in some size: the names of what they have are the same in all."""
    rng = np.random.default_rng(0)
    return {n: build_fixture(n, draw_fixture(rng, kind)) for n, kind in page.fixtures.items()}


def wanted(page: Page) -> tuple[Goal, ...]:
    """The page's goals, and what goes without saying: things are let go of where they belong."""
    found = list(page.goals)
    held = {goal.args[0] for goal in page.goals if goal.predicate == "held"}
    for goal in page.goals:
        if goal.predicate in _PLACING and goal.args[0] not in held:
            found += [Goal("let_go", goal.args[:1]), Goal("at_rest", goal.args[:1])]
        if goal.predicate == "wiped" and goal.args[0] not in held:
            found += [Goal("let_go", goal.args[:1]), Goal("at_rest", goal.args[:1])]
        if goal.predicate == "poured":
            # What it was poured from stands again; what it was poured into was not upset.
            source = page.source_of(str(goal.args[0]))
            found += [Goal("let_go", (source,)), Goal("upright", (source,))]
            found += [Goal("at_rest", (source,)), Goal("upright", goal.args[1:2])]
    return tuple(dict.fromkeys(found))


def condition(goal: Goal) -> Condition:
    """The goal's predicate; of a thing that this scenario lacks, it holds."""
    holds = PREDICATES[goal.predicate](*goal.args)

    def measured(episode: Episode) -> Mask:
        things = episode.scenario.params["things"]
        if any(things.get(arg, {}).get("absent") for arg in goal.args):
            return np.ones(len(episode.times), bool)
        return holds(episode)

    return measured


# -- scenarios -------------------------------------------------------------------------------


def sample(page: Page, robot: Robot, rng: Rng, *, held_out: bool) -> dict[str, Any]:
    """Params of one scenario. Raises `CrowdedError` if a page asks for what does not fit."""
    for last in reversed(range(_TRIES)):
        drawn = {n: _painted(rng, draw_fixture(rng, kind)) for n, kind in page.fixtures.items()}
        for joint, span in page.start.items():
            _turn_knob(rng, drawn, joint, span)
        try:
            fixtures = arrange(rng, drawn, {w: list(row) for w, row in page.walls.items()})
            things = _place_all(page, rng, fixtures, held_out)
            break
        except CrowdedError:
            if not last:
                raise
    movable = [n for g in page.goals for n in map(str, g.args[:1]) if n in things]
    pushes: list[dict[str, Any]] = []
    if movable and rng.random() < page.pushes:
        name = movable[int(rng.integers(len(movable)))]
        pushes = [push(rng, name, things[name], (0.2, 6.0))]
    return {
        "fixtures": fixtures,
        "things": things,
        "pushes": pushes,
        **robot_variation(rng, robot),
        "start": _start(page, robot, rng, fixtures),
    }


def _start(page: Page, robot: Robot, rng: Rng, fixtures: Mapping[str, Any]) -> list[float]:
    """Where the robot stands at first: x, y [m], yaw [rad].

    One that does not drive stands where it works, to a centimetre and a degree.
    """
    if robot.drives:
        return [between(rng, *span) for span in START]
    (place,) = _used_fixtures(page)
    params = fixtures[place]
    yaw = params["yaw"] + np.pi + between(rng, -0.02, 0.02)
    (x, y), (u, v) = params["pos"], robot.works_at
    half, c, s = params["depth"] / 2, np.cos(yaw), np.sin(yaw)
    x, y = x + half * c - (c * u - s * v), y + half * s - (s * u + c * v)
    at = (x + between(rng, -0.01, 0.01), y + between(rng, -0.01, 0.01))
    return [*(round(float(value), 6) for value in at), round(float(yaw), 6)]


def _turn_knob(
    rng: Rng, fixtures: Mapping[str, dict[str, Any]], joint: str, span: tuple[float, float]
) -> None:
    """A knob that is not off at the start: where it is, drawn from shares of its way."""
    for name, params in fixtures.items():
        for part in build_fixture(name, params).parts:
            if part.joint == joint:
                at = part.open * rng.uniform(*span)
                params.setdefault("turned", {})[joint] = round(float(at), 4)


def _painted(rng: Rng, params: dict[str, Any]) -> dict[str, Any]:
    shade = rng.uniform(0.55, 0.95)
    tint = rng.uniform(-0.08, 0.08, 3)
    return {**params, "rgba": [*(round(float(shade + t), 3) for t in tint), 1.0]}


def _place_all(page: Page, rng: Rng, fixtures: Mapping[str, Any], held_out: bool) -> dict[str, Any]:
    """Every thing with a place. What there is not stands outside. Raises `CrowdedError`."""
    spots = places(fixtures)
    things: dict[str, Any] = {}
    taken: dict[str, list[tuple[float, float, float]]] = {}
    # Vessels first: what is in them is where they are.
    for supply in sorted(page.supplies, key=lambda s: bool(s.inside)):
        count = int(rng.integers(supply.least, supply.most + 1))
        pool = supply.held_out if held_out else supply.instances
        if supply.inside:
            things |= _fill(rng, supply, pool, count, things[supply.inside])
            continue
        for number, name in enumerate(supply.names):
            params = draw_thing(rng, pool[int(rng.integers(len(pool)))])
            if number >= count:
                away = [-4.0 - 0.6 * len(things), 0.0, 0.001]  # where the room has no wall
                things[name] = {**params, "pos": away, "yaw": 0.0, "absent": True}
                continue
            place = supply.on[int(rng.integers(len(supply.on)))]
            others = taken.setdefault(place, [])
            beside = [*others, *_not_there(page, name, spots, reach_of(params))]
            if place == "floor":
                placed = lie(rng, strip(supply.along, fixtures), params, beside)
            else:
                placed = _put(rng, spots[place], params, beside, supply)
            if placed is None:
                raise CrowdedError(
                    supply.name,
                    f"{supply.name!r} finds no room on {place}. Ask for fewer things, for more "
                    "spots, or let them stand further from the front edge with `within`.",
                )
            things[name] = placed
            others.append((*placed["pos"][:2], reach_of(placed)))
    return things


def _not_there(
    page: Page, name: str, spots: Mapping[str, Place], radius: float
) -> list[tuple[float, float, float]]:
    """Circles that keep what is to be pushed `FAR` from where it is to be, at the start."""
    middles = [
        spots[str(goal.args[1])].middle
        for goal in page.goals
        if goal.predicate == "at" and goal.args[0] == name
    ]
    return [(x, y, FAR - radius) for x, y, _ in middles]


def _fill(
    rng: Rng, supply: Supply, pool: tuple[str, ...], count: int, vessel: Mapping[str, Any]
) -> dict[str, Any]:
    """Grains in a vessel, all of one size. Raises `CrowdedError`."""
    grain = draw_thing(rng, pool[int(rng.integers(len(pool)))])
    found = fill(vessel, grain, count)
    if found is None:
        raise CrowdedError(
            supply.name, f"{supply.name!r}: {count} of them do not fit into {supply.inside!r}."
        )
    away = [(-4.0 - 0.1 * n, 0.6, 0.001) for n in range(len(supply.names) - count)]
    return {
        name: {**grain, "pos": list(at), "yaw": 0.0, **({"absent": True} if at in away else {})}
        for name, at in zip(supply.names, found + away, strict=True)
    }


def _put(
    rng: Rng,
    place: Place,
    params: dict[str, Any],
    taken: list[tuple[float, float, float]],
    supply: Supply,
) -> dict[str, Any] | None:
    """A thing on its spot, near its front."""
    nearest = nearest_of(place, params, supply)
    return put_on(rng, place, params, taken, (nearest, 1.0, 0.04, 0.96))


def nearest_of(place: Place, params: Mapping[str, Any], supply: Supply) -> float:
    """The share of a spot's depth, from behind, that the middles of things stay in front of."""
    deep = 2 * place.spot.half[0]
    return float(max(0.0, 1.0 - (supply.within - 0.03 + reach_of(params)) / deep))


# -- what is said of it ----------------------------------------------------------------------


def _tracked(page: Page) -> tuple[str, ...]:
    """Things that the goals name: what a policy has to know the places of."""
    names = page.shapes
    words = [str(a) for g in page.goals for a in g.args]
    words += [page.source_of(str(g.args[0])) for g in page.goals if g.predicate == "poured"]
    return tuple(dict.fromkeys(word for word in words if word in names))


def _policy_reads(page: Page, robot: Robot) -> tuple[str, ...]:
    felt = [f"joint/{name}" for name in robot.groups]
    felt += [f"{kind}/{side}" for side in robot.hands for kind in ("hand", "touch")]
    followed = (*_tracked(page), *_used_fixtures(page), *_marks(page))
    return tuple(sorted((*felt, *(f"tracker/{name}" for name in followed))))


def _marks(page: Page) -> tuple[str, ...]:
    """Where things are to go, and the handles of what may have to be opened: sizes vary."""
    built, used = _built(page), _used_fixtures(page)
    found = [f"{part.joint}.handle" for name in used for part in built[name].parts]
    words = [arg for goal in page.goals for arg in goal.args if isinstance(arg, str)]
    places = {word for word in words if "." in word}
    for place in sorted(places):
        fixture, _, name = place.partition(".")
        fixed = [spot.name for spot in built[fixture].spots if spot.body == fixture]
        found += [f"{fixture}.{spot}" for spot in ([name] if name in fixed else fixed)]
    return tuple(dict.fromkeys(found))


def _used_fixtures(page: Page) -> tuple[str, ...]:
    """Fixtures that goals name, or that their things stand on."""
    words = [str(arg) for goal in page.goals for arg in goal.args]
    goal_things = set(_tracked(page))
    words += [place for s in page.supplies if goal_things & set(s.names) for place in s.on]
    owners = {word.partition(".")[0] for word in words}
    owners |= {n for word in words for n in page.fixtures if word.startswith(f"{n}_")}
    return tuple(sorted(owners & page.fixtures.keys()))


def _camera_reads(robot: Robot) -> tuple[str, ...]:
    felt = [f"joint/{name}" for name in robot.groups]
    return tuple(sorted((*felt, *(f"camera/{name}" for name in robot.cameras))))


def _standing(supply: Supply) -> str:
    if supply.along:
        return f") on the floor, along the way between {' and '.join(supply.along)}"
    return f") on {', '.join(supply.on)}, within {supply.within} m of its front edge"


def _description(page: Page, goals: tuple[Goal, ...]) -> str:
    """The fixed sections of a task's description."""
    rows = [
        f"{s.name} ({s.least} to {s.most} of {', '.join(s.instances)}"
        + (f"; held out: {', '.join(s.held_out)}" if s.held_out != s.instances else "")
        + (f") in {s.inside}" if s.inside else _standing(s))
        for s in page.supplies
    ]
    return f"""{page.about}

    Description: A room with {", ".join(page.fixtures)}. The expert plans from the goal; nothing
    holds things but contact and friction.

    Randomisation: sizes, places and hinges of all fixtures; {"; ".join(rows)}; sizes, masses,
    friction, colours and yaw of all things; the robot's start (30 x 50 cm, 57 degrees), grip,
    servos, delay, sensors, light.

    Success: for the last {HOLD} s: {"; ".join(goal.words for goal in goals)}.

    Safety: joint ranges, speeds, torques; no self-collision above 1 N; the robot presses on what
    is fixed with at most 140 N, on things with at most 300 N; penetration at most 6 mm; nothing
    falls faster than {page.fall} m/s.
    """
