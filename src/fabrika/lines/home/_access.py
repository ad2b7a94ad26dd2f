"""Whether the robot gets at what a page's goals are about, looked for as its expert looks for it.

Nothing is run. Of a scenario's first moment the expert's own searches are asked: a grasp for what
is to be taken, a way to open what is shut on the way, a place where it is set down, a finger for a
button. What a step would have changed is changed in what is seen: a door stands open, a thing is
in the hand.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np

from fabrika._episode import Episode
from fabrika._scenario import Scenario
from fabrika._signals import Array, Signals
from fabrika._task import Task
from fabrika.lines.home._chores import condition, joints_of
from fabrika.lines.home._goals import WIDE, moment
from fabrika.lines.home._housekeeper import _BRINGING, _BY_TWO, _JOINING, _kinematics
from fabrika.lines.home._page import SIDES, Goal, Page
from fabrika.sim import Robot
from fabrika.sim import _lids as lids
from fabrika.sim import _parts as parts
from fabrika.sim import _pour as pour
from fabrika.sim import _push as push
from fabrika.sim import _turn as turn
from fabrika.sim import _wipe as wipe
from fabrika.sim._both_ways import find
from fabrika.sim._grasps import Grasp
from fabrika.sim._insert import Joining
from fabrika.sim._model import Frame
from fabrika.sim._pose import yaw_rotation
from fabrika.sim._reach import UP, Stand
from fabrika.sim._scenery import Scenery
from fabrika.sim._work import CARRY, To, Worker

_WAYS = 250
"""Ways to grasp, and to set down, that are tried: as many as the expert tries."""
_GLIMPSE = 60
"""Ways to set down of which one has to be within an arm's reach, be it free or not."""
_LENIENT = 0.15
"""How much lower the hand may have to come then, for another grasp [m]."""
_HELD = ("held", "handed")
_HANDLED = (*_BRINGING, *_HELD, "wiped", "poured")
"""Predicates for which a thing is taken in a hand."""


def barriers(
    page: Page, robot: Robot, task: Task, scenarios: Iterable[Scenario]
) -> dict[Goal, list[str]]:
    """What keeps the robot from its goals: for each that it gets at nowhere, why, by scenario.

    Of a goal that it gets at in one of the scenarios nothing is said: how often it does is what
    the expert's yield tells. Nor is the same said of several things of one kind.
    """
    found: dict[Hashable, tuple[Goal, list[str]]] = {}
    near: set[Hashable] = set()
    reads = sorted(task.expert().reads)
    with closing(task.build()) as world:
        for scenario in scenarios:
            asked = (g for g in page.goals if _asks(page, g, scenario.params))
            left = {key: g for g in asked if (key := _alike(page, g)) not in near}
            if not left:
                continue
            world.reset(scenario)
            scene = _Scene(page, robot, scenario.params, dict(world.observe(reads)), world.dt)
            for key, goal in left.items():
                if why := scene.barrier(goal):
                    found.setdefault(key, (goal, []))[1].append(why)
                else:
                    near.add(key)
    return dict(value for key, value in found.items() if key not in near)


def _alike(page: Page, goal: Goal) -> Hashable:
    """What a goal has in common with those for other things of its kind."""
    kinds = (supply.name for supply in page.supplies if goal.args[0] in supply.names)
    return goal.predicate, next(kinds, goal.args[0]), goal.args[1:]


def start(page: Page, params: Mapping[str, Any]) -> Episode:
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


def _asks(page: Page, goal: Goal, params: Mapping[str, Any]) -> bool:
    """Whether a goal asks for something here: all are there, and it does not hold yet.

    That a door is closed asks for something where another goal needs it open.
    """
    if any(params["things"].get(arg, {}).get("absent") for arg in goal.args):
        return False
    return goal.predicate == "closed" or not condition(goal)(start(page, params))[0]


class _Scene:
    """One scenario's first moment, and what the robot could do from it."""

    def __init__(
        self, page: Page, robot: Robot, params: Mapping[str, Any], seen: Signals, dt: float
    ) -> None:
        self._page, self._robot, self._params, self._dt = page, robot, params, dt
        self._first = seen
        self._scenery = Scenery(page.fixtures, page.shapes)
        self._model = self._worker(seen).model
        self._opens: dict[str, bool] = {}

    def barrier(self, goal: Goal) -> str:
        """What keeps the robot from a goal; empty if nothing does."""
        name = str(goal.args[0])
        if goal.predicate == "open":
            return self._opened(self._guards_of(name))[1]
        if goal.predicate == "closed":
            return self._closing(name)
        if goal.predicate == "pressed":
            found = parts._find_press(self._worker(self._first), name)
            return "" if found else f"no finger reaches {name!r}"
        if goal.predicate == "turned":
            to = float(goal.args[1]) * self._model.parts[name].open
            twist = turn._find(self._worker(self._first), name, to)
            return "" if twist else f"no hand turns {name!r}"
        if goal.predicate == "at":
            return self._pushing(name, str(goal.args[1]))
        return self._bringing(self._thing(goal), goal) if goal.predicate in _HANDLED else ""

    def _worker(self, seen: Signals) -> Worker:
        """A robot at work that sees this, its hands empty."""
        rng = np.random.default_rng(0)  # as the expert begins each of its steps
        kinematics = _kinematics(self._page.robot)
        return Worker(self._robot, kinematics, self._scenery, seen, rng, self._dt)

    # -- parts -------------------------------------------------------------------------------

    def _guards_of(self, joint: str) -> list[str]:
        """What has to be opened for a part to be open, itself included, in order."""
        owner = self._model.owner(joint)
        on_it = [s.name for s in self._model.built[owner].spots if s.body == joint]
        return self._model.guards(f"{owner}.{on_it[0]}") if on_it else [joint]

    def _opened(self, joints: Iterable[str]) -> tuple[Signals, str]:
        """What is seen once these are open, in order; and why one of them cannot be opened."""
        seen, done = self._first, ""
        for joint in joints:
            part, now = self._model.parts[joint], float(seen[f"truth/{joint}"][0])
            if now / part.open > WIDE:
                continue
            done += f" {joint}"
            if done not in self._opens:
                self._opens[done] = self._moves(seen, joint, part.open)
            if not self._opens[done]:
                return seen, f"no hand opens {joint!r}"
            seen = self._with(seen, joint, part.open)
        return seen, ""

    def _moves(self, seen: Signals, joint: str, goal: float) -> bool:
        """Whether a hand brings a door, a drawer or a lid there [rad or m]."""
        worker, part = self._worker(seen), self._model.parts[joint]
        if part.level:
            return lids._find(worker, joint, goal, {}) is not None
        least = goal * (0.95 if part.motion == "slide" else 0.84)
        return parts._find_grip(worker, joint, goal, least) is not None

    def _with(self, seen: Signals, joint: str, at: float) -> Signals:
        """What is seen once a part is there, with all that lies in it [rad or m]."""
        model = self._model
        model.look(seen)
        body, moved = model.body(joint), model.body(joint, at)
        riding = [n for n in model.solid if model.spot_body(model.under(n)) == joint]
        there = {n: moved * (body.inverse() * model.thing(n)) for n in riding}
        placed = {f"truth/{name}": _body(frame) for name, frame in there.items()}
        return {**seen, **placed, f"truth/{joint}": np.array([at, 0.0])}

    def _closing(self, joint: str) -> str:
        """What keeps a part from being closed again, if it has to be opened on the way."""
        for goal in self._page.goals:
            if goal.predicate not in _HANDLED or not _asks(self._page, goal, self._params):
                continue
            guards = self._guards(self._thing(goal), goal)
            if joint in guards:
                seen, why = self._opened(guards[: guards.index(joint) + 1])
                # That it cannot be opened is told of the goal for which it is to be.
                return "" if why or self._moves(seen, joint, 0.0) else f"no hand closes {joint!r}"
        return ""

    # -- things ------------------------------------------------------------------------------

    def _thing(self, goal: Goal) -> str:
        """What is taken in a hand for a goal."""
        name = str(goal.args[0])
        return self._page.source_of(name) if goal.predicate == "poured" else name

    def _guards(self, thing: str, goal: Goal) -> list[str]:
        """What has to be opened to take a thing and to bring it where its goal says, in order."""
        self._model.look(self._first)
        guards = self._model.guards(self._model.under(thing))
        if goal.predicate in _BRINGING:
            guards = [*self._model.guards(str(goal.args[1])), *guards]
        return list(dict.fromkeys(guards))

    def _pushing(self, name: str, place: str) -> str:
        worker = self._worker(self._first)
        found = any(push._find(worker, name, place, t) for t in (push.STRAIGHT, push.ROUND))
        return "" if found else f"no hand pushes {name!r} to {place!r}"

    def _bringing(self, name: str, goal: Goal) -> str:
        """What keeps a thing from being taken, and brought where its goal says."""
        seen, why = self._opened(self._guards(name, goal))
        if why:
            return why
        for view in (seen, self._emptied(seen, goal, name)):
            if view is None:  # nothing else has a goal
                break
            if not self._stays(goal) and _far_off(self._worker(view), name, goal):
                why = _undone(name, goal)
                continue
            worker = self._worker(view)
            if goal.predicate in _BY_TWO and worker.takes_both(name):
                if find(worker, name):
                    return ""
                why = f"no two hands take {name!r}"
                continue
            to = None if self._stays(goal) else _to(worker, goal)
            sides = tuple(self._robot.hands)
            took = to and worker._find_grasp(name, sides, _WAYS, to)
            took = took or _grasp(worker, name, sides)
            if took is None:
                why = f"no grasp reaches {name!r}"
                continue
            if self._stays(goal) or _brings(worker, name, goal, *took):
                return ""
            why = _undone(name, goal)
            for side in sides:  # another hand than the expert would take
                worker = self._worker(view)
                other = None if side == took[0] else _grasp(worker, name, (side,))
                if other and _brings(worker, name, goal, *other):
                    return ""
        return why

    def _stays(self, goal: Goal) -> bool:
        """Whether it is not known yet where a thing is to be brought, or by which hand."""
        about = [g for g in self._page.goals if g is not goal]
        given = any(g.predicate == "handed" and g.args[0] == goal.args[0] for g in about)
        other = str(goal.args[1]) if len(goal.args) > 1 else ""
        moved = any(g.predicate in (*_BRINGING, "at") and g.args[0] == other for g in about)
        return goal.predicate in _HELD or given or moved

    def _emptied(self, seen: Signals, goal: Goal, name: str) -> Signals | None:
        """What is seen once all else that has a goal is out of the way; None if nothing has."""
        kept = {name, *map(str, goal.args)}
        others = {str(g.args[0]) for g in self._page.goals if g.predicate in _BRINGING} - kept
        away = {
            f"truth/{other}": _body(Frame(np.array([-4.0, 4.0 + 0.6 * number, 0.0]), np.eye(3)))
            for number, other in enumerate(sorted(others))
        }
        return {**seen, **away} if away else None


def _body(frame: Frame) -> Array:
    """(13,) a body at rest there, as it is observed."""
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(frame.turn).ravel())
    return np.concatenate([frame.at, quaternion, np.zeros(6)])


def _to(worker: Worker, goal: Goal) -> To | None:
    """What the expert takes a thing for, as it says it when it takes it."""
    if goal.predicate not in _BRINGING:
        return None
    how, place = goal.predicate, str(goal.args[1])
    joined = Joining(how, place) if how in _JOINING else None
    return lambda: joined or worker.where(how, place)


def _grasp(worker: Worker, name: str, sides: tuple[str, ...]) -> tuple[str, Grasp, Stand] | None:
    """A grasp, looked for in the ways in which the expert does, and as long."""
    ways: tuple[dict[str, Any], ...] = ({}, {"far": True}, {"slim": True}, {"most": 4 * _WAYS})
    found = (worker._find_grasp(name, sides, **{"most": _WAYS, **way}) for way in ways)
    return next((grasp for grasp in found if grasp), None)


def _far_off(worker: Worker, name: str, goal: Goal) -> bool:
    """Whether an arm comes near where a thing is to be from no stand, touching what it may.

    So that what is far beyond reach is told soon: the searches themselves would try every grasp.
    """
    drops = goal.predicate in _BRINGING and goal.predicate not in _JOINING
    found = drops and worker.robot.drives and _grasp(worker, name, tuple(worker.robot.hands))
    if not found or not _take_up(worker, name, *found):
        return False
    side, surface = found[0], worker.where(goal.predicate, str(goal.args[1]))
    for far in (False, True):
        ways = worker._ways_down(name, side, surface, None, far)
        for way in ways[:: max(1, len(ways) // _GLIMPSE)]:
            base = Frame(np.array([*way.base[:2], 0.0]), yaw_rotation(float(way.base[2])))
            joints = {**worker.limbs.joints, **way.drawn, **worker._torso()}
            for down in (0.0, _LENIENT):  # it may be held higher
                palm = Frame(way.palm.at - down * UP, way.palm.turn)
                if worker._solve(side, palm, base, joints, way.drawn):
                    return False
    return True


def _brings(worker: Worker, name: str, goal: Goal, side: str, grasp: Grasp, stand: Stand) -> bool:
    """Whether a hand that has taken a thing so gets it where its goal says."""
    if not _take_up(worker, name, side, grasp, stand):
        return False
    how, other = goal.predicate, str(goal.args[1])
    if how == "poured":
        return pour._find(worker, side, name, other) is not None
    if how == "wiped":
        return wipe._find(worker, name, side, other) is not None
    if how in _JOINING:
        return worker._find_fit(name, side, Joining(how, other), _WAYS) is not None
    return worker._find_place(name, side, worker.where(how, other)) is not None


def _take_up(worker: Worker, name: str, side: str, grasp: Grasp, stand: Stand) -> bool:
    """From now on the hand has the thing, and is where it is carried; false if it never gets there.

    A robot that stands fixed has it where it took it.
    """
    model, hand = worker.look(), worker.robot.hands[side]
    worker.came_from[name] = model.under(name), model.thing(name).at
    joints = {**worker.limbs.joints, **stand.drawn, **stand.postures[-1]}
    local = Frame(*worker.kinematics.palm(joints, side))
    base, s = model.base(), 1.0 if side == "left" else -1.0
    if worker.robot.drives:
        goals = (base * Frame(np.array([0.36, s * 0.20, up]), local.turn) for up in CARRY)
        found = (worker._solve(side, goal, base, joints) for goal in goals)
        carried = next((posture for posture in found if posture), None)
        if carried is None:
            return False
        joints |= carried
    worker.limbs.joints.update({name: joints[name] for name in worker._groups(side)})
    held = worker._palm(side) * grasp.palm.inverse()
    fingers = {f"joint/{hand.fingers}": np.array(grasp.closed)}
    worker.limbs.seen = {**worker.limbs.seen, **fingers, f"truth/{name}": _body(held)}
    worker.holds[side] = name
    opened = hand.open if grasp.slim else grasp.open
    above = grasp.above or grasp.off is not None
    worker.grips[side] = replace(grasp, above=above, open=opened)
    return True


def _undone(name: str, goal: Goal) -> str:
    """What cannot be done with a thing that can be taken."""
    other = str(goal.args[1])
    words = {
        "poured": f"no hand pours from {name!r} into {other!r}",
        "wiped": f"no hand wipes {other!r} with {name!r}",
    }
    return words.get(goal.predicate, f"no hand that takes {name!r} brings it to {other!r}")
