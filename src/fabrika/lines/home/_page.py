"""A task as one YAML page: read, and checked before anything runs.

`read_page` turns text into a `Page`, plain data; what is wrong is said with its line and column.
docs/guides/tasks-in-yaml.md has every key.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import cast

import numpy as np

from fabrika._errors import UnknownNameError
from fabrika._registry import known
from fabrika.lines.home._contradictions import contradictions
from fabrika.lines.home._floor import way_between
from fabrika.lines.home._goals import PREDICATES
from fabrika.lines.home._yaml import Value
from fabrika.sim import CATALOGUE, FIXTURES, build_fixture, categories, draw_fixture
from fabrika.sim._joinery import Fixture, Motion, Spot
from fabrika.sim._scene import Wall
from fabrika.sim._shapes import WALLED
from fabrika.sim._wipe import PATCH

WALLS: tuple[Wall, ...] = ("back", "left", "right")
NEAR = 0.28
"""How far behind the front edge of a spot things stand, if a page does not say [m]."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TASK = re.compile(r"[a-z][a-z0-9-]*/[a-z0-9][a-z0-9-]*-v[0-9]+")
_CALL = re.compile(r"([a-z_]+)\s*\(([^()]*)\)")
_SHAPED = ("peg", "socket", "needle", "eye", "pad")
"""Parameters of predicates that are things of this shape."""
_THINGS = ("thing", "name", "upper", "lower", "other", "vessel", *_SHAPED)
"""Parameters of predicates that are things."""
_TAKEN = ("base", "contact", "overrun", "size", "support", "torque", "velocity")
"""Names of what is recorded of the robot: no thing's."""
_MOVED: Mapping[str, tuple[Motion, ...]] = {
    "closed": ("hinge", "slide"),
    "open": ("hinge", "slide"),
    "pressed": ("press",),
    "turned": ("turn",),
}
"""What parts do that a predicate is about."""
_WIPED = " x ".join(f"{200 * half:.0f} cm" for half in PATCH)
SIDES = {"left": "", "right": ""}
"""Hands that a goal can name."""
_MOST = 64
"""Most phrasings that templates may expand to."""


@dataclass(frozen=True, slots=True)
class Supply:
    """One kind of thing in a task: which instances, how many, where they stand."""

    name: str
    instances: tuple[str, ...]
    """For the train split."""
    held_out: tuple[str, ...]
    """For the other splits; the same if none are held out."""
    least: int
    most: int
    on: tuple[str, ...]
    """Spots "fixture.spot", or "floor"."""
    within: float
    """Distance from the front edge of the fixture that its near side stays within [m]."""
    counted: bool = False
    inside: str = ""
    """The vessel that they start in, instead of a spot."""
    along: tuple[str, ...] = ()
    """The two fixtures between which they lie on the floor; none: anywhere before the robot."""

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each that there may be."""
        if not self.counted:
            return (self.name,)
        return tuple(f"{self.name}_{number + 1}" for number in range(self.most))


@dataclass(frozen=True, slots=True)
class Goal:
    """One predicate of what is wanted."""

    predicate: str
    args: tuple[str | float, ...]

    @property
    def words(self) -> str:
        """As in a page: "on(mug, table.top)"."""
        return f"{self.predicate}({', '.join(str(arg) for arg in self.args)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A task, as its page says it."""

    task: str
    about: str
    robots: tuple[str, ...]
    """Robots that do it; the first is the usual one."""
    horizon: float
    """[s]."""
    walls: Mapping[Wall, Mapping[str, str]]
    """Fixtures in order, by wall: their kinds by name."""
    supplies: tuple[Supply, ...]
    goals: tuple[Goal, ...]
    words: tuple[str, ...]
    held_out_words: tuple[str, ...]
    fall: float = 0.8
    """Fastest that a thing may fall [m/s]."""
    start: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """From which to which share of their way knobs are turned at the start, by joint."""
    pushes: float = 0.0
    """Share of the scenarios in which something is pushed."""
    experimental: str = ""
    """Why the expert does not reach 90 %; empty if it does."""
    source: str = field(default="", compare=False)

    @property
    def robot(self) -> str:
        """The robot that does it."""
        return self.robots[0]

    def on(self, robot: str) -> Page:
        """The same task, done by another of its robots.

        "home/tidy-v1" on "aloha" is "home/tidy-on-aloha-v1". Raises `UnknownNameError`.
        """
        if robot not in self.robots:
            raise UnknownNameError(f"robot of {self.task}", robot, dict.fromkeys(self.robots))
        if robot == self.robot:
            return self
        name, _, version = self.task.rpartition("-")
        return replace(self, task=f"{name}-on-{robot}-{version}", robots=(robot,))

    def source_of(self, granules: str) -> str:
        """The vessel that granules start in."""
        return next(s.inside for s in self.supplies if granules in (s.name, *s.names))

    @property
    def fixtures(self) -> dict[str, str]:
        """Kinds of all fixtures, by name."""
        return {n: kind for wall in self.walls.values() for n, kind in wall.items()}

    @property
    def shapes(self) -> dict[str, str]:
        """Shapes of all things, by name."""
        return {name: shape_of(supply) for supply in self.supplies for name in supply.names}


KEYS = {
    "task": "its name, line/what-vN; what changes its meaning is a new N",
    "about": "what it is, in a sentence",
    "robot": "a robot of `fabrika list robots`; cloid-class if none is named",
    "horizon": "longest episode [s], 2 to 600; 60 if it is not said",
    "room": "fixtures along the walls `back`, `left`, `right`: a kind, or `name: kind`",
    "things": "what there is, by name: see the keys of a thing",
    "start": "knobs that are not off at first: which share of its way, or from one to another",
    "goal": "predicates that hold at the end",
    "words": "how people say it; `[a|b]` is written out",
    "held-out-words": "how they say it where the policy is judged",
    "fall": "fastest that a thing may fall [m/s], 0.1 to 2.5; 0.8 if it is not said",
    "pushes": "share of the scenarios in which something is pushed, 0 to 1; 0 if it is not said",
    "experimental": "why the expert does not reach 90 %",
}
"""Every key of a page, and what it says."""
THING_KEYS = {
    "from": "instances of the catalogue, or categories",
    "held-out": "those of them that are never trained on; the policy is judged with these alone",
    "count": "how many, or [least, most]; they are `name_1`, `name_2` ...",
    "on": "spots where it may stand at the start, or `floor`",
    "in": "the vessel that grains start in, a cup or a pot among the things; instead of `on`",
    "along": "two fixtures: what is on the floor lies along the way from one to the other",
    "within": "how far behind the front edge its near side may be [m], 0.02 to 3; 0.28 if not said",
}
"""Every key of a thing, and what it says."""


def read_page(text: str, source: str) -> Page:
    """The page of a task. Raises `UsageError` with line and column of what is wrong."""
    root = Value.parse(text, source)
    page = root.pairs(KEYS)
    for key in ("task", "about", "room", "things", "goal", "words", "held-out-words"):
        if key not in page:
            root.wrong(f"the key {key!r} is missing.")
    name = page["task"].text()
    if not _TASK.fullmatch(name):
        page["task"].wrong(f"{name!r} is no task's name, such as 'home/milk-to-table-v1'.")
    walls = _walls(page["room"])
    fixtures = {n: kind for wall in walls.values() for n, kind in wall.items()}
    built = {n: build_fixture(n, _probe(kind)) for n, kind in fixtures.items()}
    supplies = _supplies(page["things"], built)
    goals = _goals(page["goal"], supplies, built)
    words, others = _words(page["words"]), _words(page["held-out-words"])
    both = set(words) & set(others)
    if both:
        page["held-out-words"].wrong(f"{sorted(both)[0]!r} is among the words, too.")
    return Page(
        task=name,
        about=page["about"].text(),
        robots=_robots(page["robot"]) if "robot" in page else ("cloid-class",),
        horizon=page["horizon"].number(2.0, 600.0) if "horizon" in page else 60.0,
        walls=walls,
        supplies=supplies,
        goals=goals,
        words=words,
        held_out_words=others,
        fall=page["fall"].number(0.1, 2.5) if "fall" in page else 0.8,
        start=_turned(page["start"], built) if "start" in page else {},
        pushes=page["pushes"].number(0.0, 1.0) if "pushes" in page else 0.0,
        experimental=page["experimental"].text() if "experimental" in page else "",
        source=text,
    )


def _robots(value: Value) -> tuple[str, ...]:
    """One robot, or several that do the same task."""
    return tuple(dict.fromkeys(v.choice(known("robots"), "robot") for v in value.items()))


def _turned(value: Value, built: Mapping[str, Fixture]) -> dict[str, tuple[float, float]]:
    """From which to which share of their way knobs are turned when an episode begins."""
    knobs = {p.joint: "" for f in built.values() for p in f.parts if p.motion == "turn"}
    found = {}
    for joint, share in value.pairs().items():
        if joint not in knobs:
            _unknown(value, "knob", joint, knobs)
        ends = [end.number(0.0, 1.0) for end in share.items()]
        if len(ends) > 2 or ends[0] > ends[-1]:
            share.wrong("where a knob is at the start is one share of its way, or [least, most].")
        found[joint] = ends[0], ends[-1]
    return found


def _probe(kind: str) -> dict[str, object]:
    return draw_fixture(np.random.default_rng(0), kind)


def _walls(room: Value) -> dict[Wall, dict[str, str]]:
    """Fixtures by wall; an item is a kind, or ``name: kind``."""
    found: dict[Wall, dict[str, str]] = {}
    seen: set[str] = set()
    for wall, value in room.pairs(WALLS).items():
        row = found.setdefault(cast("Wall", wall), {})
        for item in value.items():
            pairs = item.pairs() if item.is_map else {item.text(): item}
            for name, kind in pairs.items():
                if not _NAME.fullmatch(name):
                    item.wrong(f"{name!r} is no name: small letters, digits, underscores.")
                if name in seen:
                    item.wrong(f"there are two fixtures {name!r}: name them, as in `left_{name}`.")
                seen.add(name)
                row[name] = kind.choice(FIXTURES, "kind of fixture")
    if not seen:
        room.wrong("a room without fixtures.")
    return found


def _supplies(things: Value, built: Mapping[str, Fixture]) -> tuple[Supply, ...]:
    found = []
    for name, value in things.pairs().items():
        if not _NAME.fullmatch(name) or name in built or name in _TAKEN:
            value.wrong(
                f"{name!r} cannot be a thing's name: small letters, no fixture's, and none of "
                f"{', '.join(_TAKEN)}."
            )
        found.append(_supply(name, value, built))
    if not found:
        things.wrong("a task without things.")
    vessels = {s.name: "" for s in found if shape_of(s) in WALLED and not s.counted}
    for supply in found:
        if supply.inside:
            words = things.pairs()[supply.name].pairs()["in"]
            words.choice(vessels, "cup or pot, one alone,")
            if shape_of(supply) != "grain":
                words.wrong(f"{supply.name!r} cannot start in a vessel: only grains can.")
    return tuple(found)


def shape_of(supply: Supply) -> str:
    """The shape of all its things."""
    return CATALOGUE[supply.instances[0]].shape


def _supply(name: str, value: Value, built: Mapping[str, Fixture]) -> Supply:
    pairs = value.pairs(THING_KEYS)
    for key in ("from", "on"):
        if key not in pairs and (key, "in" in pairs) != ("on", True):
            value.wrong(f"the thing {name!r} needs the key {key!r}.")
    if "on" in pairs and "in" in pairs:
        pairs["in"].wrong(f"{name!r} starts on something or in something, not both.")
    kinds = _instances(pairs["from"])
    others = _instances(pairs["held-out"]) if "held-out" in pairs else ()
    kinds = tuple(kind for kind in kinds if kind not in others)
    if not kinds:
        pairs["held-out"].wrong(f"nothing is left of {name!r} to train on.")
    shapes = {CATALOGUE[kind].shape for kind in (*kinds, *others)}
    if len(shapes) > 1:
        pairs["from"].wrong(
            f"{name!r} is of {len(shapes)} shapes ({', '.join(sorted(shapes))}): "
            "give each shape a name of its own."
        )
    least, most, counted = 1, 1, "count" in pairs
    if counted:
        ends = [round(v.number(0, 20)) for v in pairs["count"].items()]
        least, most = ends[0], ends[-1]
        if len(ends) > 2 or least > most or most < 1:
            pairs["count"].wrong("a count is one number, or [least, most].")
    spots = {f"{n}.{s.name}" for n, f in built.items() for s in f.spots}
    pegs = {f"{n}.{s.name}" for n, f in built.items() for s in f.spots if s.hangs}
    spots.add("floor")
    for place in pairs["on"].items() if "on" in pairs else ():
        if place.text() in pegs and "keys" not in shapes:
            place.wrong(f"{name!r} has no ring to hang from {place.text()}: only keys have one.")
    on = tuple(v.choice(spots, "spot") for v in pairs["on"].items()) if "on" in pairs else ()
    return Supply(
        name=name,
        instances=kinds,
        held_out=others or kinds,
        least=least,
        most=most,
        on=on,
        within=pairs["within"].number(0.02, 3.0) if "within" in pairs else NEAR,
        counted=counted,
        inside=pairs["in"].text() if "in" in pairs else "",
        along=way_between(pairs["along"], on, built) if "along" in pairs else (),
    )


def _instances(value: Value) -> tuple[str, ...]:
    """Instances of the catalogue; a category is all that are in it."""
    groups = categories()
    names = [v.choice({*CATALOGUE, *groups}, "thing or category") for v in value.items()]
    found = [n for name in names for n in (groups.get(name, ()) or (name,))]
    return tuple(dict.fromkeys(found))


def _goals(
    value: Value, supplies: tuple[Supply, ...], built: Mapping[str, Fixture]
) -> tuple[Goal, ...]:
    lines: dict[Goal, Value] = {}
    for item in value.items():
        match = _CALL.fullmatch(item.text())
        if not match:
            item.wrong(f"{item.text()!r} is no goal, such as on(mug, table.top).")
        name = match.group(1)
        if name not in PREDICATES:
            _unknown(item, "predicate", name, PREDICATES)
        args = [arg.strip() for arg in match.group(2).split(",") if arg.strip()]
        for goal in _expand(item, name, args, supplies, built):
            lines.setdefault(goal, item)
    shapes = {name: shape_of(supply) for supply in supplies for name in supply.names}
    for goal, why in contradictions(tuple(lines), shapes, built):
        lines[goal].wrong(f"{goal.words} is impossible: {why}.")
    return tuple(lines)


def _unknown(item: Value, kind: str, name: str, names: Mapping[str, object]) -> None:
    item.wrong(str(UnknownNameError(kind, name, names)))


def _expand(
    item: Value,
    name: str,
    args: list[str],
    supplies: tuple[Supply, ...],
    built: Mapping[str, Fixture],
) -> list[Goal]:
    """A goal for each thing that its words mean."""
    wanted = inspect.signature(PREDICATES[name]).parameters
    least = sum(p.default is inspect.Parameter.empty for p in wanted.values())
    if not least <= len(args) <= len(wanted):
        item.wrong(f"{name} takes {', '.join(wanted)}; here are {len(args)} of them.")
    things = {s.name: s.names for s in supplies}
    single = {n: (n,) for s in supplies for n in s.names}
    spots = {f"{n}.{s.name}": "" for n, f in built.items() for s in f.spots if not s.hangs}
    open_spots = {f"{n}.{s.name}" for n, f in built.items() for s in f.spots if _can_wipe(s)}
    spaces = {f"{n}.{s.name}": "" for n, f in built.items() for s in f.spaces}
    parts = {p.joint: p.motion for f in built.values() for p in f.parts}
    choices: list[tuple[str | float, ...]] = []
    for parameter, arg in zip(wanted, args, strict=False):
        if parameter in _THINGS:
            if arg not in things and arg not in single:
                _unknown(item, "thing", arg, {**single, **things})
            names = things.get(arg) or single[arg]
            shape = next(shape_of(s) for s in supplies if names[0] in s.names)
            if parameter in _SHAPED and shape != parameter:
                item.wrong(f"{name} takes a thing of the shape {parameter}; {arg!r} is of {shape}.")
            choices.append(names)
        elif parameter == "side":
            if arg not in SIDES:
                _unknown(item, "hand", arg, SIDES)
            choices.append((arg,))
        elif parameter == "granules":
            filled = {s.name: "" for s in supplies if s.inside}
            if arg not in filled:
                _unknown(item, "thing that is in another", arg, filled)
            choices.append((arg,))
        elif parameter == "place":
            level = name in ("on", "at", "wiped")
            known_places = spots if level else {**spaces, **single}
            if arg not in known_places:
                _unknown(item, "spot" if level else "space", arg, known_places)
            if name == "at":
                _stays(item, args[0], arg, supplies)
            if name == "wiped" and arg not in open_spots:
                item.wrong(f"{arg!r} is too small or too low: {_WIPED} are wiped, from above.")
            choices.append((arg,))
        elif parameter == "joint":
            if arg not in parts:
                _unknown(item, "part", arg, parts)
            if parts[arg] not in _MOVED[name]:
                fit = {n: "" for n, motion in parts.items() if motion in _MOVED[name]}
                _unknown(item, f"part that can be {name}", arg, fit)
            choices.append((arg,))
        else:
            try:
                number = float(arg)
            except ValueError:
                item.wrong(f"{parameter} of {name} is a number, not {arg!r}.")
            if parameter == "share" and not 0.0 <= number <= 1.0:
                item.wrong(f"{parameter} of {name} is from 0 to 1, not {arg}.")
            choices.append((number,))
    return [Goal(name, args) for args in product(*choices) if len(set(args)) == len(args)]


def _can_wipe(spot: Spot) -> bool:
    """Whether a spot has room for the patch that is wiped, and for an arm over it."""
    wide = all(half >= wanted for half, wanted in zip(spot.half, PATCH, strict=True))
    return wide and spot.headroom > 0.5 and not spot.hangs


def _stays(item: Value, thing: str, place: str, supplies: tuple[Supply, ...]) -> None:
    """What is pushed stays on the fixture that it stands on."""
    fixture = place.partition(".")[0]
    for supply in supplies:
        starts = {on.partition(".")[0] for on in supply.on}
        if thing in (supply.name, *supply.names) and starts != {fixture}:
            where = ", ".join(supply.on) or supply.inside
            item.wrong(f"{thing!r} starts on {where}: it is pushed on the {fixture} alone.")


def _words(value: Value) -> tuple[str, ...]:
    """Phrasings: each ``[a|b]`` of a template is written out."""
    found: list[str] = []
    for item in value.items():
        parts = re.split(r"\[([^\[\]]*)\]", item.text())
        options = [part.split("|") if index % 2 else [part] for index, part in enumerate(parts)]
        for choice in product(*options):
            found.append(" ".join("".join(choice).split()))
        if set("[]|") & set("".join(found)):
            item.wrong("a bracket is not closed, or | stands outside of one: [a|b].")
        if len(found) > _MOST:
            item.wrong(f"more than {_MOST} phrasings.")
    if not found or not all(found):
        value.wrong("words to say the task in are needed.")
    return tuple(dict.fromkeys(found))
