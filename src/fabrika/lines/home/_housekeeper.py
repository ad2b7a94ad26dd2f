"""The expert of every task that is a page: it plans from the goal, and again after every step.

It looks which goals do not hold, takes the first that can be worked on, and does the skill that
brings it nearer: opens what is in the way, takes, puts, presses, and closes last. As it plans from
what is there and not from what it did, a push, a slip or a missed grasp is one more step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from fabrika._actor import Actor, Story
from fabrika._signals import Signals
from fabrika.lines.home._goals import PREDICATES, WIDE, moment
from fabrika.lines.home._narrator import Narrator
from fabrika.lines.home._page import Goal, Page
from fabrika.lines.home._trips import companions
from fabrika.sim import Kinematics, Robot
from fabrika.sim._insert import Joining
from fabrika.sim._reach import Act
from fabrika.sim._scenery import Scenery
from fabrika.sim._work import To, Worker

_MOST = 40
"""Steps until it gives up."""
_PATIENCE = 3
"""Times that one step may fail."""
_JOINING = ("inserted", "threaded")
_ATOP = ("stacked", "covers")
_BY_TWO = ("on", "stacked")
"""Predicates that two hands bring a thing for which is too wide for one."""
_BRINGING = ("on", "inside", *_ATOP, *_JOINING)
"""Predicates that a thing is brought somewhere for."""


@dataclass(frozen=True, slots=True)
class Step:
    """One skill, and what a person would call it."""

    words: str
    run: Callable[[], Act]


@cache
def _kinematics(name: str) -> Kinematics:
    from fabrika._registry import load

    robot = load("robots", name)
    assert isinstance(robot, Robot)
    return Kinematics(robot)


def housekeeper(page: Page, robot: Robot, scenery: Scenery, joints: tuple[str, ...]) -> Actor:
    """The expert of one page."""
    reads = (
        *scenery.reads,
        "truth/contact",
        "truth/support",
        "truth/torque",
        *(f"joint/{part}" for hand in robot.hands.values() for part in (hand.fingers, hand.arm)),
        *(f"joint/{name}" for name in (*robot.torso, "base") if name in robot.groups),
        *(f"truth/{joint}" for joint in joints),
    )

    def story(first: Signals, rng: np.random.Generator, me: Narrator) -> Story:
        return (yield from _keep_house(page, robot, scenery, first, rng, me))

    return Narrator("home/housekeeper-v1", reads, story)


def _keep_house(
    page: Page,
    robot: Robot,
    scenery: Scenery,
    first: Signals,
    rng: np.random.Generator,
    me: Narrator,
) -> Story:
    worker = Worker(robot, _kinematics(page.robot), scenery, first, rng, 0.04)
    me.doing = "get ready"
    yield from worker.settle()
    failures: dict[str, int] = {}
    done: set[str] = set()
    for _ in range(_MOST):
        yield from worker.forget_lost()
        step = next(_steps(page, worker, done, failures), None)
        if step is None:
            me.doing = "done"
            yield from worker.settle()
            return ""
        me.doing = step.words
        # Each step draws from the same start: what looks alike is done alike, and can be learned.
        worker.rng = np.random.default_rng(failures.get(step.words, 0))
        failed = yield from step.run()
        if failed:
            me.events.append(f"{step.words}: {failed}")
            failures[step.words] = failures.get(step.words, 0) + 1
            if failures[step.words] >= _PATIENCE:
                return failed
    return "too-many-steps"


def _holds(goal: Goal, worker: Worker) -> bool:
    """Whether a predicate holds now, measured as the judge will measure it."""
    model = worker.look()
    things = {n: {**p, "absent": not _there(worker, n)} for n, p in model.things.items()}
    now = moment(worker.limbs.seen, {"fixtures": model.fixtures, "things": things})
    return bool(PREDICATES[goal.predicate](*goal.args)(now)[0])


def _there(worker: Worker, name: str) -> bool:
    """Whether a thing is in the room: what a scenario lacks stands outside."""
    return float(np.abs(worker.model.thing(name).at[:2]).max()) < 2.5


def _steps(
    page: Page, worker: Worker, done: set[str], failures: Mapping[str, int]
) -> Iterator[Step]:
    """What may be done next, the best first; of things, first what did not fail before."""
    sources = {page.source_of(str(g.args[0])) for g in page.goals if g.predicate == "poured"}
    sources |= {str(g.args[0]) for g in page.goals if g.predicate == "wiped"}
    pressed = [str(g.args[0]) for g in page.goals if g.predicate == "pressed"]
    machines = {worker.model.owner(joint) for joint in pressed}
    order = {
        "handed": -1,
        "poured": 1,
        "wiped": 1,
        "covers": 2,  # What is filled is filled before.
        "open": 3,
        "pressed": 5,
        "turned": 5,
        "closed": 6,
    }

    held = list(worker.holds.values())
    full = len(held) == len(worker.robot.hands)

    def rank(goal: Goal) -> tuple[int, bool, int, int]:
        later = order.get(goal.predicate, 0)
        if goal.args[0] in sources and goal.predicate in ("on", "inside", *_ATOP):
            later = 2  # What is poured from, or wiped with, goes to its place after that.
        if goal.predicate == "closed":
            joint = str(goal.args[0])
            if worker.model.parts[joint].covers or worker.model.owner(joint) in machines:
                later = 4  # A machine is started with its lid or door shut.
        thing = str(goal.args[0])
        about = _said(worker, thing)
        often = 0 if later > 0 else sum(n for words, n in failures.items() if about in words)
        # With both hands full, what was taken last is before the body: it is put down first.
        turn = len(held) - held.index(thing) if full and thing in held else 0
        return later, full and not turn, often, turn

    goals = sorted(page.goals, key=rank)
    for goal in goals:
        names = [str(arg) for arg in goal.args]
        if any(name in worker.model.things and not _there(worker, name) for name in names):
            continue
        if goal.predicate in _BRINGING:
            # What is threaded stays in the hand.
            unfinished = goal.predicate != "threaded" and names[0] in worker.holds.values()
            if unfinished or not _holds(goal, worker):
                more = next(_as_well(worker, goal, page, failures), None)
                if more and unfinished:
                    yield more
                aside = more is not None
                yield from _bring(worker, goal.predicate, names[0], names[1], page, aside)
        elif goal.predicate == "at" and not _holds(goal, worker):
            words = f"push {_said(worker, names[0])} to {_middle(worker, names[1])}"
            yield Step(words, partial(worker.push, *names))
        elif goal.predicate == "held":
            yield from _hold(worker, names[0], names[1] if len(names) > 1 else "")
        elif goal.predicate == "handed" and goal.words not in done:
            yield from _hand(worker, goal, done)
        elif goal.predicate == "poured":
            yield from _pour(worker, goal, page)
        elif goal.predicate == "wiped":
            yield from _wipe(worker, goal, page, done)
        elif goal.predicate == "open" and not _holds(goal, worker):
            yield _opening(worker, names[0])
        elif goal.predicate == "pressed" and names[0] not in done:
            words = f"press {_said(worker, names[0])}"
            yield Step(words, partial(_press, worker, names[0], done))
        elif goal.predicate == "turned" and not _holds(goal, worker):
            yield _turning(worker, names[0], float(goal.args[1]))
        elif goal.predicate == "closed" and not _holds(goal, worker):
            yield Step(f"close {_said(worker, names[0])}", partial(worker.close, names[0]))


def _as_well(worker: Worker, goal: Goal, page: Page, failures: Mapping[str, int]) -> Iterator[Step]:
    """Steps that fetch another thing with the free hand, to bring both on one way."""

    def take(thing: str) -> Act:
        busy = next(iter(worker.holds))
        failed = yield from worker.set_aside(busy)
        free = tuple(side for side in worker.robot.hands if side != busy)
        return failed or (yield from worker.take(thing, free))

    for other in companions(worker, goal, _unfinished(worker, page)):
        thing, place = map(str, other.args[:2])
        words = f"take {_said(worker, thing)} as well"
        shut = _shut(worker, worker.model.under(thing)) or _shut(worker, place)
        if not shut and words not in failures:
            yield Step(words, partial(take, thing))


def _unfinished(worker: Worker, page: Page) -> Iterator[Goal]:
    """Goals whose things are in the room, in no hand, and not yet where they belong."""
    for goal in page.goals:
        thing = str(goal.args[0])
        known = thing in worker.model.things and thing not in worker.holds.values()
        if known and _there(worker, thing) and not _holds(goal, worker):
            yield goal


def _hold(worker: Worker, thing: str, side: str) -> Iterator[Step]:
    """Steps that end with the thing in a hand, of that side if one is said."""
    if thing not in worker.holds.values():
        yield from _fetch(worker, thing, sides=(side,) if side else ())
    elif side and worker.holds.get(side) != thing:
        yield _handing(worker, thing, side)


def _hand(worker: Worker, goal: Goal, done: set[str]) -> Iterator[Step]:
    """Steps that end with the thing given from another hand to this one."""
    thing, side = map(str, goal.args)
    others = tuple(other for other in worker.robot.hands if other != side)

    def run() -> Act:
        failed = yield from worker.hand_over(thing, side)
        if not failed:
            done.add(goal.words)
        return failed

    if thing not in worker.holds.values():
        yield from _fetch(worker, thing, sides=others)
    elif worker.holds.get(side) == thing:
        yield _handing(worker, thing, others[0])
    else:
        yield replace(_handing(worker, thing, side), run=run)


def _handing(worker: Worker, thing: str, side: str) -> Step:
    words = f"give {_said(worker, thing)} to the {side} hand"
    return Step(words, lambda: worker.hand_over(thing, side))


def _pour(worker: Worker, goal: Goal, page: Page) -> Iterator[Step]:
    """Steps that end with the granules in the vessel, and what they were in back in its place."""
    granules, vessel = map(str, goal.args[:2])
    source = page.source_of(granules)
    held = source in worker.holds.values()
    if not _holds(goal, worker):
        if not held:
            yield from _fetch(worker, source)
        else:
            words = f"pour {_said(worker, granules)} into {_said(worker, vessel)}"
            done = partial(_holds, goal, worker)
            yield Step(words, lambda: worker.pour(source, vessel, done))
    elif held:
        yield from _back(worker, source, page)


def _back(worker: Worker, thing: str, page: Page) -> Iterator[Step]:
    """Steps that end with what was only needed for a while where it was."""
    if any(g.args[0] == thing and g.predicate in (*_BRINGING, "held") for g in page.goals):
        return
    place = worker.came_from[thing][0]
    if place:
        yield from _bring(worker, "on", thing, place, page)


def _wipe(worker: Worker, goal: Goal, page: Page, done: set[str]) -> Iterator[Step]:
    """Steps that end with the patch wiped, and the pad back in its place."""
    pad, place = map(str, goal.args[:2])

    def run() -> Act:
        failed = yield from worker.wipe(pad, place)
        if not failed:
            done.add(goal.words)
        return failed

    if goal.words in done:
        if pad in worker.holds.values():
            yield from _back(worker, pad, page)
    elif pad not in worker.holds.values():
        yield from _fetch(worker, pad)
    else:
        yield Step(f"wipe {_said(worker, place)} with {_said(worker, pad)}", run)


def _said(worker: Worker, name: str) -> str:
    """A name, as one says it: "the table", "the middle of the fridge", "the top drawer"."""
    model = worker.model
    fixture, _, place = name.partition(".")
    if name in model.parts:
        fixture = model.owner(name)
        place = name.removeprefix(f"{fixture}_")
    kind = model.fixtures[fixture]["kind"] if fixture in model.fixtures else ""
    if kind == "drawers" and f"{fixture}_{place}" in model.parts:
        words = f"{place} drawer"
    elif name in model.parts and model.parts[name].motion == "turn":
        words = f"{place} of the {fixture}"
    elif name in model.parts:
        words = f"{fixture} {place}"
    elif place in ("", "top", "inside", "on"):
        words = fixture
    else:
        words = f"{place} of the {fixture}"
    return "the " + words.replace("_", " ")


def _middle(worker: Worker, place: str) -> str:
    """Where something is pushed to, as one says it: "the middle of the table"."""
    words = _said(worker, place)
    return words if " of " in words else f"the middle of {words}"


def _press(worker: Worker, joint: str, done: set[str]) -> Act:
    failed = yield from worker.press(joint)
    if not failed:
        done.add(joint)
    return failed


def _turning(worker: Worker, joint: str, share: float) -> Step:
    """A knob turned to a share of its way; a person says "off", "on", or how far."""
    far = {0.0: "off", 1.0: "all the way on"}.get(share, f"to {share:.0%}")
    to = share * worker.model.parts[joint].open
    return Step(f"turn {_said(worker, joint)} {far}", lambda: worker.turn(joint, to))


def _opening(worker: Worker, joint: str) -> Step:
    return Step(f"open {_said(worker, joint)}", lambda: worker.open(joint))


def _shut(worker: Worker, place: str) -> str:
    """The door or drawer that has to be opened to get at a place; empty if none."""
    for joint in worker.model.guards(place):
        part = worker.model.parts[joint]
        if worker.model.opening(joint) / part.open <= WIDE:
            return joint
    return ""


def _fetch(
    worker: Worker,
    thing: str,
    to: To | None = None,
    sides: tuple[str, ...] = (),
    aside: bool = False,
) -> Iterator[Step]:
    """Steps that end with the thing in a hand: what it will be put on, hands that are better.

    ``aside``: the hand is to be out of the other one's way then.
    """
    place = worker.model.under(thing)
    shut = _shut(worker, place) if place else ""
    if shut:
        yield _opening(worker, shut)

    def run() -> Act:
        failed = yield from worker.take(thing, sides, to=to, aside=aside)
        if failed == "no-grasp" and sides:
            failed = yield from worker.take(thing, to=to)
        return failed

    yield Step(f"take {_said(worker, thing)}", run)


def _bring(
    worker: Worker, how: str, thing: str, place: str, page: Page, aside: bool = False
) -> Iterator[Step]:
    """Steps that end with the thing at its place; ``aside``: another one is fetched before."""
    if how in (*_ATOP, *_JOINING):
        for goal in page.goals:
            below = goal.args[0] == place and goal.predicate in _BRINGING
            if below and not _holds(goal, worker):
                yield from _bring(worker, goal.predicate, place, str(goal.args[1]), page)
    shut = _shut(worker, place) if "." in place else ""
    if how in _BY_TWO and worker.takes_both(thing):
        if not worker.holds:
            words = f"carry {_said(worker, thing)} to {_said(worker, place)} with both hands"
            yield Step(words, lambda: worker.carry_both(thing, lambda: worker.where(how, place)))
        return
    if thing not in worker.holds.values():
        if shut:
            yield _opening(worker, shut)
        joined = Joining(how, place) if how in _JOINING else None
        yield from _fetch(worker, thing, lambda: joined or worker.where(how, place), (), aside)
        return
    if shut:
        yield _opening(worker, shut)
    into = {"inside": "into", "inserted": "into", "threaded": "through", "covers": "over"}.get(
        how, "on"
    )
    words = f"put {_said(worker, thing)} {into} {_said(worker, place)}"
    put: Mapping[str, Callable[[], Act]] = {
        "on": lambda: worker.put(thing, place),
        "inside": lambda: worker.put_in(thing, place),
        "stacked": lambda: worker.stack(thing, place),
        "covers": lambda: worker.stack(thing, place),
        "inserted": lambda: worker.insert(thing, place),
        "threaded": lambda: worker.thread(thing, place),
    }
    yield Step(words, put[how])
