"""Skills that know the scene: go, take, put, open, close, press; for any robot with hands.

Each is a closed loop that looks before it acts: it samples ways to do it, rehearses them in the
expert's own model, does the first that touches nothing else, and says in a word if it failed. What
it changed it verifies by what is there, not by what it commanded.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import cos, hypot, pi, sin
from typing import Any

import numpy as np

from fabrika._signals import Array, Signals
from fabrika.sim._grasps import Grasp
from fabrika.sim._grasps_parallel import ways_to_hold
from fabrika.sim._kinematics import Kinematics, Pose
from fabrika.sim._model import Frame, Model
from fabrika.sim._parts import close_part, open_part, press_part
from fabrika.sim._paths import Space, plan
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._robot import Robot, clamp
from fabrika.sim._joinery import Space as Room
from fabrika.sim._scene import footprint, height_of, reach_of
from fabrika.sim._scenery import Scenery
from fabrika.sim._skills import Limbs

Act = Generator[Signals, Signals, str]
"""A skill: yields actions, is sent observations, returns why it failed, or nothing."""

UP = np.array([0.0, 0.0, 1.0])
MARGIN = 0.018
"""What has to stay free around the robot on its way [m]."""
CLOSE = 0.003
"""What has to stay free between a hand and what bears the thing that it takes [m]."""
EXACT = 0.006
"""Largest error of a posture [m]."""
BEFORE = 0.10
"""How far before a thing the hand stops, and looks again [m]."""
BORNE, PRESSED = 1.2, 20.0
"""Force on a thing at which its place bears it, and of the hand on what is fixed [N]."""
EASE = 0.06
"""How far beyond where they hold fingers are commanded [rad or m]."""
LIFT = 0.05
"""How high a thing is lifted to see whether it is held [m]."""

CARRY = (1.2, 1.1, 1.0)
"""Heights of the hand at which things are carried, the best first [m]."""
AHEAD = (0.42, 0.36, 0.48, 0.54, 0.60)
ASIDE = (0.20, 0.28, 0.12, 0.04)
TURNS = (0.0, 0.3, -0.3, 0.6, -0.6)
"""Where a hand's goal may lie in the base frame [m], and how far the base may be turned from
facing it squarely [rad]."""
BEST = (0.44, 0.19)
PLACES = tuple(product(AHEAD, ASIDE))
SPINS = (0.0, 0.35, -0.35, 0.7, -0.7)
"""How far what is put down may be turned from how it is held [rad]."""
_GLIMPSE = 40
"""Places that are tried to see whether a thing can be put there as it is to be taken."""
OPTIONS = 1200
"""Ways to do a thing that are drawn; they are tried from the cheapest on."""


@dataclass(frozen=True, slots=True)
class Stand:
    """A place for the base, and postures of lift and arm there, by group."""

    base: Array
    postures: tuple[dict[str, Array], ...]
    drawn: dict[str, Array]
    """What spare joints of the arm are drawn to."""


@dataclass(frozen=True, slots=True)
class Surface:
    """Where a thing may be set down."""

    frame: Frame
    """Its middle; x towards the robot."""
    half: tuple[float, float]
    """Half of its extent along x and y [m]."""
    body: str
    """What bears the thing."""
    facing: float
    """Yaw of a base that faces it [rad]."""
    edge: float
    """How far its middle is from the edge that the robot reaches over [m]."""
    walls: bool = False
    """Whether walls stand around it: the thing may be let fall over them, upright or not."""

    @property
    def above(self) -> float:
        """From how high over it a thing is brought down [m]."""
        return 0.15 if self.walls else 0.06


Where = Callable[[], Surface]
"""A surface, as it is when asked."""
DROPS = (0.0, 0.05, 0.10, 0.16, 0.24)
"""How far a thing may be let fall between walls [m]."""


class Worker:
    """One robot at work: its limbs, its picture of the scene, what it holds."""

    def __init__(
        self,
        robot: Robot,
        kinematics: Kinematics,
        scenery: Scenery,
        first: Signals,
        rng: np.random.Generator,
        dt: float,
    ) -> None:
        self.robot, self.kinematics, self.rng = robot, kinematics, rng
        self.limbs = Limbs(robot, kinematics, dt)
        self.rest = {h.arm: np.array(h.rest) for h in robot.hands.values()}
        self.limbs.start(first, self._torso())
        self.model = Model(robot, scenery, first)
        self.holds: dict[str, str] = {}
        self.grips: dict[str, Grasp] = {}
        self.drawn = dict(self.rest)
        self.tried = 0
        self.log: list[Any] = []  # DEBUG
        self.events: list[str] = []

    def _torso(self) -> dict[str, Array]:
        return {name: self.robot.home[name] for name in self.robot.torso}

    # -- the model ---------------------------------------------------------------------------

    def look(self) -> Model:
        """The picture of the scene, brought up to date; what is held goes with its hand."""
        model = self.model
        model.rehearsal.let_go()
        model.look(self.limbs.seen)
        model.rehearsal.pose({n: v for n, v in self.limbs.joints.items() if n != "base"})
        for hand in self.robot.hands.values():  # fingers are where they were stopped
            model.rehearsal.pose({hand.fingers: self.limbs.seen[f"joint/{hand.fingers}"]})
        for side, name in self.holds.items():
            held = self._in_palm(side, name)
            model.rehearsal.hold(name, side, held.at, held.turn)
        return model

    def _arms(self) -> dict[str, Array]:
        """Commands of all but the base and the fingers."""
        fingers = {hand.fingers for hand in self.robot.hands.values()}
        return {n: v for n, v in self.limbs.joints.items() if n != "base" and n not in fingers}

    def _palm(self, side: str) -> Frame:
        """Where a palm truly is, in the world: from the base's place and the arm's command."""
        at, turn = self.limbs.kinematics.palm(self.limbs.joints, side)
        return self.model.base() * Frame(at, turn)

    def _in_palm(self, side: str, name: str) -> Frame:
        return self._palm(side).inverse() * self.model.thing(name)

    # -- the base ----------------------------------------------------------------------------

    def left(self, goal: Array) -> Array:
        """What is left to drive, in the frame of the odometry."""
        self.model.look(self.limbs.seen)
        at = self.model.stand()
        turn = yaw_rotation(float(self.limbs.joints["base"][2]) - at[2])
        x, y, _ = turn @ np.array([goal[0] - at[0], goal[1] - at[1], 0.0])
        return np.array([x, y, (goal[2] - at[2] + pi) % (2 * pi) - pi])

    def _base_space(self) -> Space:
        return Space(
            np.array([-1.7, -1.7, -pi]), np.array([1.7, 1.7, pi]), np.array([1.0, 1.0, 1.2]), 0.04
        )

    def route(self, goal: Array, margin: float = 0.03) -> list[Array] | None:
        """Corners of a way for the base, arms as they are; None if there is none."""
        model = self.look()
        here = model.stand()
        goal = goal.copy()
        goal[2] = here[2] + (goal[2] - here[2] + pi) % (2 * pi) - pi
        space = self._base_space()
        if not self.robot.drives:
            return []

        def free(q: Array) -> bool:
            model.rehearsal.pose({"base": q})
            # Near its start the base may be as near to things as it stands now.
            return model.rehearsal.clear(margin if space.far(here, q) > 0.15 else min(margin, 0.004))

        return plan(space, here, goal, free, self.rng, 300)

    def drive(self, goal: Array, *, speed: float = 0.5, within: float = 0.012) -> Act:
        """Bring the base to (x, y, yaw) in the world, arms as they are."""
        self.log.append((self.limbs.ticks, "drive"))  # DEBUG
        corners = self.route(goal)
        if corners is None:
            return "no-way"
        for index, corner in enumerate(corners):
            last = index == len(corners) - 1
            yield from self.limbs.drive(
                lambda corner=corner: self.left(corner),
                speed=speed,
                within=within if last else 0.08,
            )
        return ""

    def back_off(self, far: float = 0.4) -> Act:
        """Straight back by up to ``far`` [m], as far as nothing is in the way."""
        if not self.robot.drives:
            return ""
        self.log.append((self.limbs.ticks, "back off"))  # DEBUG
        model = self.look()
        here = model.stand()
        away = yaw_rotation(here[2]) @ np.array([-1.0, 0.0, 0.0])
        free = 0.0
        for step in np.arange(0.02, far + 0.01, 0.04):
            model.rehearsal.pose({"base": here + np.array([*(step * away[:2]), 0.0])})
            if not model.rehearsal.clear(0.004 if step < 0.15 else 0.012):
                if "-d" in __import__("sys").argv: print("   back", step, model.rehearsal.touches(deeper=-0.004)[:3])
                break
            free = float(step)
        if free < 0.03:
            return "stuck"
        goal = here + np.array([*(free * away[:2]), 0.0])
        yield from self.limbs.drive(lambda: self.left(goal), speed=0.4, within=0.05)
        return ""

    # -- an arm ------------------------------------------------------------------------------

    def _groups(self, side: str) -> tuple[str, ...]:
        return (*self.robot.torso, self.robot.hands[side].arm)

    def _solve(
        self, side: str, palm: Frame, base: Frame, joints: Signals, drawn: Signals | None = None
    ) -> dict[str, Array] | None:
        """Postures of torso and arm that bring the palm there; None if they do not.

        ``joints``: where they begin; ``drawn``: what spare joints are drawn to.
        """
        local = base.inverse() * palm
        goal, most = (local.at, local.turn), 30
        now = {name: joints[name] for name in self._groups(side)}
        posture = {**self.limbs.joints, **(drawn or self.drawn), **self._torso()}
        last = 9.0
        for count in range(most):
            solved, left = self.kinematics.solve({side: goal}, {**joints, **now}, posture)
            if left < EXACT / 2:
                return now
            if count > 12 and left > 0.8 * last:
                return None
            if count % 6 == 5:
                last = left
            now = solved
        return None

    def _arm_path(
        self, side: str, target: Mapping[str, Array], near: Mapping[str, float]
    ) -> list[dict[str, Array]] | None:
        """Corners for torso and arm from where they are commanded to be to a target."""
        model = self.look()
        names = tuple(target)
        groups = [self.robot.groups[name] for name in names]
        edges = np.cumsum([0, *(len(g.names) for g in groups)])

        def split(q: Array) -> dict[str, Array]:
            return {n: q[a:b] for n, a, b in zip(names, edges[:-1], edges[1:], strict=True)}

        start = np.concatenate([self.limbs.joints[name] for name in names])
        goal = np.concatenate([target[name] for name in names])
        space = Space(
            np.concatenate([np.array(g.low) for g in groups]),
            np.concatenate([np.array(g.high) for g in groups]),
            np.concatenate([0.35 * np.ones(len(g.names)) if n in self.robot.torso
                            else np.ones(len(g.names)) for n, g in zip(names, groups, strict=True)]),
        )
        margins = []
        for end in (start, goal):
            model.rehearsal.pose(split(end))
            kept = (m for m in (MARGIN, 0.010, 0.004) if model.rehearsal.clear(m, near))
            margins.append(next(kept, 0.0))

        def free(q: Array) -> bool:
            # Near its ends the arm may be as near to things as it is there.
            ends = zip((start, goal), margins, strict=True)
            margin = min((m for end, m in ends if space.far(end, q) < 0.3), default=MARGIN)
            model.rehearsal.pose(split(q))
            return model.rehearsal.clear(margin, near)

        found = plan(space, start, goal, free, self.rng, 300)
        return None if found is None else [split(q) for q in found]

    def _straight(self, side: str, goals: Sequence[Frame], near: Mapping[str, float]) -> bool:
        """Whether the palm can go straight from where it is through the goals, touching nothing."""
        model, base = self.look(), self.model.base()
        joints = {name: v.copy() for name, v in self.limbs.joints.items()}
        here = self._palm(side)
        for goal in goals:
            far = float(np.linalg.norm(goal.at - here.at))
            for step in range(1, max(2, int(far / 0.04) + 1) + 1):
                share = step / max(2, int(far / 0.04) + 1)
                at = here.at + share * (goal.at - here.at)
                found = self._solve(side, Frame(at, goal.turn), base, joints)
                if found is None:
                    return False
                joints.update(found)
                model.rehearsal.pose(found)
                if not model.rehearsal.clear(CLOSE, near):
                    return False
            here = goal
        return True

    def goto(self, side: str, goal: Callable[[], Frame], **how: float) -> Act:
        """The palm straight to a goal in the world, asked anew every tick."""

        def local() -> Pose:
            self.model.look(self.limbs.seen)
            frame = self.model.base().inverse() * goal()
            return frame.at, frame.turn

        self.limbs.refresh()
        yield from self.limbs.move({side: local}, **how)
        return ""

    def tuck(self, side: str) -> Act:
        """The arm to its rest, around what is in the way; the base first makes room for it."""
        arm = self.robot.hands[side].arm
        path = self._arm_path(side, {arm: self.rest[arm]}, {})
        if path is None:
            yield from self._make_room({arm: self.rest[arm]})
            path = self._arm_path(side, {arm: self.rest[arm]}, {})
        if path is None:
            return "no-way"
        yield from self.limbs.follow(path)
        return ""

    def _make_room(self, posture: Signals) -> Act:
        """Drive to the nearest place where a posture touches nothing."""
        if not self.robot.drives:
            return "no-room"
        model = self.look()
        here = model.stand()
        for far, angle in product((0.15, 0.3, 0.45, 0.6), np.arange(8) * pi / 4 + pi):
            offset = yaw_rotation(float(here[2] + angle)) @ np.array([far, 0.0, 0.0])
            goal = here + np.array([offset[0], offset[1], 0.0])
            model.rehearsal.pose(self._at(goal, {**self._arms(), **posture}))
            if model.rehearsal.clear(MARGIN) and self.route(goal, 0.01) is not None:
                return (yield from self.drive(goal, within=0.03))
            model = self.look()
        return "no-room"

    # -- where to stand ----------------------------------------------------------------------

    def _draw(self, drawn: dict[str, Array]) -> None:
        self.drawn = drawn
        self.limbs.draw(drawn)

    def _deep(self, place: str, at: Array) -> float:
        """How far behind the front edge of a spot a point is [m]."""
        spot, middle = self.model.spot(place)
        return float(spot.half[0] + 0.03 - (middle.turn.T @ (at - middle.at))[0])

    def _drawn(self, side: str) -> list[dict[str, Array]]:
        """What an arm's spare joints may be drawn to."""
        hand = self.robot.hands[side]
        return [{**self.rest, hand.arm: np.array(posture)} for posture in hand.postures]

    def _drawn_options(self, ways: int) -> list[list[int]]:
        """Random ways, stands, turns and arm postures to try, as indices."""
        if not ways:
            return []
        stands = (len(PLACES), len(TURNS)) if self.robot.drives else (1, 1)
        postures = min(len(hand.postures) for hand in self.robot.hands.values())
        return self.rng.integers(0, [ways, *stands, postures], (OPTIONS, 4)).tolist()

    def _stand(
        self, side: str, at: Array, facing: float, stand: int, turn: int
    ) -> tuple[float, Array]:
        """Cost and place of a base from which a hand may reach a point."""
        if not self.robot.drives:
            return 0.0, self.model.stand()
        s = 1.0 if side == "left" else -1.0
        ahead, aside = PLACES[stand]
        yaw = facing + TURNS[turn]
        c, d = cos(yaw), sin(yaw)
        base = np.array([at[0] - c * ahead + d * s * aside, at[1] - d * ahead - c * s * aside, yaw])
        cost = hypot(ahead - BEST[0], aside - BEST[1]) + 0.15 * abs(TURNS[turn])
        return cost, base

    def rehearse(
        self,
        side: str,
        base: Array,
        goals: Sequence[tuple[Frame, Mapping[str, float], float]],
        drawn: Signals,
        start: Signals | None = None,
    ) -> tuple[dict[str, Array], ...] | None:
        """Postures for palm goals in turn, from a base; None if one fails or touches anything.

        ``goals``: palm in the world, what may be near, margin [m].
        """
        self.tried += 1
        frame = Frame(np.array([base[0], base[1], 0.0]), yaw_rotation(base[2]))
        rehearsal, found = self.model.rehearsal, []
        joints: Signals = start or {**self.limbs.joints, **drawn, **self._torso()}
        # The other arm is not where it was last tried.
        rehearsal.pose({hand.arm: self.limbs.joints[hand.arm] for hand in self.robot.hands.values()})
        for palm, near, margin in goals:
            posture = self._solve(side, palm, frame, joints, drawn)
            if posture is None:
                return None
            rehearsal.pose(self._at(base, posture))
            if not rehearsal.clear(margin, near):
                return None
            joints = {**joints, **posture}
            found.append(posture)
        return tuple(found)

    def _at(self, base: Array, joints: Mapping[str, Array]) -> dict[str, Array]:
        """Joints, with the base where it is to be if the robot drives."""
        return {**joints, "base": base} if self.robot.drives else dict(joints)

    def settle(self) -> Act:
        """Both arms to their rest, where they hold nothing."""
        idle = {s: h.arm for s, h in self.robot.hands.items() if s not in self.holds}
        target = {arm: self.rest[arm] for arm in idle.values()}
        path = self._arm_path("", target, {})
        if path is not None:
            yield from self.limbs.follow(path, speed=0.6)
            return ""
        for side in idle:
            yield from self.tuck(side)
        return ""

    def stands_for(
        self, ways: Sequence[tuple[str, Frame, float, Frame]], facing: float
    ) -> Iterator[tuple[str, Frame, Array, dict[str, Array]]]:
        """Hand, way, base and arm posture to try, the cheapest first; bases that touch nothing.

        ``ways``: hand, palm in the world, cost, and what is given back of it.
        """
        options = []
        for way, stand, turn, index in self._drawn_options(len(ways)):
            side, palm, cost, given = ways[way]
            more, base = self._stand(side, palm.at, facing, stand, turn)
            options.append((cost + more + 0.04 * index, side, given, base, self._drawn(side)[index]))
        options.sort(key=lambda option: option[0])
        spare: dict[bytes, bool] = {}
        for _, side, given, base, drawn in options:
            key = np.round(base, 2).tobytes()
            if key not in spare:
                self.model.rehearsal.pose(self._at(base, self._arms()))
                spare[key] = self.model.rehearsal.clear(MARGIN)
            if spare[key]:
                yield side, given, base, drawn

    def first_stand(
        self,
        ways: Sequence[tuple[str, Frame, float]],
        facing: float,
        goals: Callable[[Frame], Sequence[tuple[Frame, Mapping[str, float], float]]],
        most: int = 300,
    ) -> tuple[str, Frame, Stand] | None:
        """The cheapest hand, palm and stand from which all its goals can be reached."""
        given = [(side, palm, cost, palm) for side, palm, cost in ways]
        for tried, (side, palm, base, drawn) in enumerate(self.stands_for(given, facing)):
            if tried > most:
                break
            postures = self.rehearse(side, base, goals(palm), drawn)
            if postures is not None and self.route(base) is not None:
                return side, palm, Stand(base, postures, drawn)
        self.look()
        return None

    def reach(self, side: str, palm: Frame, stand: Stand, before: float, axis: int = 0) -> Act:
        """From where the arm is to ``before`` [m] short of a palm pose, along its axis."""
        self._draw(stand.drawn)
        self.look()
        goal = Frame(palm.at - before * palm.turn[:, axis], palm.turn)
        start = {**self.limbs.joints, **stand.postures[1]}
        target = self._solve(side, goal, self.model.base(), start)
        if target is None:
            return "out-of-reach"
        path = self._arm_path(side, target, {})
        if path is None:
            return "no-way"
        yield from self.limbs.follow(path)
        return ""

    # -- parts -------------------------------------------------------------------------------

    def open(self, joint: str) -> Act:
        """Pull a door or a drawer open."""
        return open_part(self, joint)

    def close(self, joint: str) -> Act:
        """Push a door or a drawer shut."""
        return close_part(self, joint)

    def press(self, joint: str) -> Act:
        """Press a button."""
        return press_part(self, joint)

    # -- take --------------------------------------------------------------------------------

    def take(
        self,
        name: str,
        sides: Sequence[str] = (),
        most: int = 250,
        *,
        to: Where | None = None,
    ) -> Act:
        """Take a thing: stand where it can be reached, grasp, lift, see that it is held.

        ``to``: what it will be put on, if that is known: a robot that does not drive takes
        it with the hand, and in the way, in which it can put it there.
        """
        for _ in range(3):
            found = self._find_grasp(name, sides or tuple(self.robot.hands), most, to)
            if found is None:
                return "no-grasp"
            side, grasp, stand = found
            failed = yield from self._approach(name, side, grasp, stand)
            if failed:
                continue
            failed = yield from self._grasp(name, side, grasp)
            if not failed:
                self.holds[side] = name
                yield from self.carry(side)
                return ""
            yield from self._release(side)
            yield from self.back_off(0.3)
            yield from self.tuck(side)
        return "not-grasped"

    def _find_grasp(
        self, name: str, sides: Sequence[str], most: int, to: Where | None = None
    ) -> tuple[str, Grasp, Stand] | None:
        """The cheapest grasp, hand and stand that touch nothing."""
        model = self.look()
        frame, params = model.thing(name), model.things[name]
        place = model.under(name)
        support = model.spot(place)[0].body if place else "floor"
        facing = model.facing(place.partition(".")[0]) if place else model.stand()[2]
        deep = self._deep(place, frame.at) if place else 0.0
        ways = [
            (side, grasp)
            for side in sides
            if side not in self.holds
            for grasp in ways_to_hold(self.robot.hands[side], params, frame, facing)
        ]
        options = []
        for way, stand, turn, index in self._drawn_options(len(ways)):
            side, grasp = ways[way]
            drawn = self._drawn(side)[index]
            palm = frame * grasp.palm
            cost, base = self._stand(side, palm.at, facing, stand, turn)
            cost += grasp.cost
            if not self.robot.drives:
                cost += 0.3 * self._askew(side, palm)
            else:
                cost += 0.08 if index else 2 * max(0.0, deep - 0.24)
            options.append((cost, side, grasp, palm, base, drawn))
        options.sort(key=lambda option: option[0])
        spare: dict[bytes, bool] = {}
        tried = 0
        for _, side, grasp, palm, base, drawn in options:
            key = np.round(base, 2).tobytes()
            if key not in spare and self.robot.drives:
                model.rehearsal.pose(self._at(base, {**self._arms(), **self._torso()}))
                spare[key] = model.rehearsal.clear(MARGIN)
            if not spare.get(key, True):
                continue
            tried += 1
            if tried > most:
                return None
            model.rehearsal.pose({self.robot.hands[side].fingers: np.array(grasp.open)})
            near = {name: -0.003, support: 0.0 if grasp.above else CLOSE}
            before = self._before(palm, grasp)
            half = Frame(palm.at + palm.turn @ (0.4 * BEFORE * grasp.away), palm.turn)
            over = Frame(palm.at + LIFT * UP, palm.turn)
            goals = (
                (palm, near, 0.004),
                (half, near, 0.004),
                (before, {}, MARGIN),
                (over, near, 0.0),
            )
            postures = self.rehearse(side, base, goals, drawn)
            if postures is not None and self._leads_to(name, side, grasp, to):
                if self.route(base) is not None:
                    return side, grasp, Stand(base, postures, drawn)
                spare[key] = False
        return None

    def _leads_to(self, name: str, side: str, grasp: Grasp, to: Where | None) -> bool:
        """Whether a robot that does not drive can put a thing there as this grasp holds it."""
        if self.robot.drives or to is None:
            return True
        found = self._find_place(name, side, to(), _GLIMPSE, grasp.palm)
        self.look()
        return found is not None

    def _look_holding(self, name: str, side: str, palm: Frame | None) -> Model:
        """As `look`, but with a thing in a hand that does not hold it yet: ``palm`` in its frame."""
        model = self.look()
        if palm is not None:
            held = palm.inverse()
            model.rehearsal.hold(name, side, held.at, held.turn)
        return model

    def _resting(self, side: str) -> Array:
        """Where a palm is while its arm rests, in the world [m]."""
        return self.model.base().point(*self.kinematics.palm(self.rest, side)[0])

    def _askew(self, side: str, palm: Frame) -> float:
        """How far a palm points aside of where its arm comes from, from above: 0 to 2."""
        hand = self.robot.hands[side]
        out = (palm.point(*hand.pocket) - self._resting(side))[:2]
        points = palm.turn @ np.array(hand.approach)
        return float(hypot(*points[:2]) - points[:2] @ out / max(hypot(*out), 0.05))

    def _before(self, palm: Frame, grasp: Grasp) -> Frame:
        """Where the hand waits before it closes in: away from the thing, and above."""
        return Frame(palm.at + palm.turn @ (BEFORE * grasp.away) + 0.03 * UP, palm.turn)

    def _approach(self, name: str, side: str, grasp: Grasp, stand: Stand) -> Act:
        """Drive to the stand; bring the hand before the thing, fingers open."""
        self.log.append((self.limbs.ticks, "approach"))  # DEBUG
        failed = yield from self.drive(stand.base)
        if failed:
            return failed
        self._draw(stand.drawn)
        hand = self.robot.hands[side]
        self.limbs.joints[hand.fingers] = np.array(grasp.open)
        yield from self.limbs.tick()
        base = self.look().base()
        palm = self.model.thing(name) * grasp.palm
        before = self._before(palm, grasp)
        target = self._solve(side, before, base, {**self.limbs.joints, **stand.postures[2]})
        if target is None:
            return "out-of-reach"
        path = self._arm_path(side, target, {})
        if path is None:
            return "no-way"
        yield from self.limbs.follow(path)
        return ""

    def _grasp(self, name: str, side: str, grasp: Grasp) -> Act:
        """Close in, looking; close the fingers; lift a little; see whether it is held."""
        self.log.append((self.limbs.ticks, "grasp"))  # DEBUG
        turned = (self.model.thing(name) * grasp.palm).turn

        def palm(gap: float) -> Frame:
            there = self.model.thing(name)
            at = there.at + (turned @ grasp.palm.turn.T) @ grasp.palm.at
            return Frame(at + turned @ (gap * grasp.away), turned)

        yield from self.goto(side, lambda: palm(BEFORE), within=0.012, patience=3.0)
        gap = 0.0 if grasp.above else 0.003
        yield from self.goto(side, lambda: palm(gap), speed=0.2, within=0.003, patience=3.0)
        self.grips[side] = grasp
        yield from self.limbs.shape((side,), np.array(grasp.closed), seconds=0.7)
        yield from self.limbs.wait(0.32)
        self._ease(side, grasp)
        self.model.look(self.limbs.seen)
        here = self._palm(side)
        yield from self.goto(side, lambda: Frame(here.at + LIFT * UP, here.turn), speed=0.2, within=0.006, patience=3.0)
        self.model.look(self.limbs.seen)
        return "" if self._is_held(name, side) else "not-grasped"

    def _ease(self, side: str, grasp: Grasp) -> None:
        """Command fingers that hold no further than they need: what is rehearsed is what is."""
        fingers = self.robot.hands[side].fingers
        opened, closed = np.array(grasp.open), np.array(grasp.closed)
        most = self.limbs.seen[f"joint/{fingers}"] + EASE * np.sign(closed - opened)
        between = np.minimum(opened, closed), np.maximum(opened, closed)
        self.limbs.joints[fingers] = clamp(most, *between)

    def _is_held(self, name: str, side: str) -> bool:
        things, robots = self.model.support(name)
        offset = self._in_palm(side, name)
        away = offset.at - np.array(self.robot.hands[side].pocket)
        return things < 0.1 and robots > 0.3 and float(np.linalg.norm(away)) < 0.25

    def _release(self, side: str, upwards: bool = False) -> Act:
        """Open, and leave the way that the hand comes, or upwards."""
        self.log.append((self.limbs.ticks, "release"))  # DEBUG
        grasp = self.grips[side]
        self.holds.pop(side, None)
        for posture in grasp.releases:
            yield from self.limbs.shape((side,), np.array(posture), seconds=0.3)
        yield from self.limbs.shape((side,), np.array(grasp.open), seconds=0.5)
        self.model.look(self.limbs.seen)
        here = self._palm(side)
        # Back along the fingers first: a thumb that lies against the thing would drag it.
        loose = here.at - 0.02 * here.turn[:, 0] + 0.003 * UP
        away = loose + here.turn @ (BEFORE * grasp.away) + 0.02 * UP
        if upwards or grasp.above:
            loose, away = here.at + 0.003 * UP, here.at + (0.16 if upwards else 0.12) * UP
        for goal, within in ((loose, 0.006), (away, 0.01)):
            frame = Frame(goal, here.turn)
            yield from self.goto(side, lambda frame=frame: frame, speed=0.2, within=within, patience=3.0)
        return ""

    def carry(self, side: str) -> Act:
        """Away from the fixture; the hand close before the body, what it holds upright."""
        self.log.append((self.limbs.ticks, "carry"))  # DEBUG
        if not self.robot.drives:
            return ""
        failed = yield from self.back_off(0.45)
        self.look()
        base = self.model.base()
        s = 1.0 if side == "left" else -1.0
        here = base.inverse() * self._palm(side)
        for up in CARRY:
            goal = base * Frame(np.array([0.36, s * 0.20, up]), here.turn)
            if self._straight(side, [goal], {}):
                yield from self.goto(side, lambda goal=goal: goal, speed=0.25, within=0.02)
                break
        if failed:
            self.events.append("back-off " + failed)
        return failed

    # -- put ---------------------------------------------------------------------------------

    def put(self, name: str, place: str) -> Act:
        """Stand a held thing on a spot; let go of it, and step back."""
        return (yield from self._set_down(name, lambda: self._on(place)))

    def put_in(self, name: str, place: str) -> Act:
        """Put a held thing into a space of a fixture, or into another thing."""
        return (yield from self._set_down(name, lambda: self._within(place)))

    def stack(self, name: str, lower: str) -> Act:
        """Stand a held thing on another one, middle over middle."""
        return (yield from self._set_down(name, lambda: self._top(lower)))

    def where(self, how: str, place: str) -> Surface:
        """What a thing is put on to be "on" a spot, "inside" of a place or "stacked" on a thing."""
        return {"on": self._on, "inside": self._within, "stacked": self._top}[how](place)

    def _on(self, place: str) -> Surface:
        spot, frame = self.model.spot(place)
        facing = self.model.facing(place.partition(".")[0])
        walls = spot.body in self.model.parts  # a drawer, a rack
        return Surface(frame, spot.half, spot.body, facing, spot.half[0] + 0.03, walls)

    def _within(self, place: str) -> Surface:
        model = self.model
        if place in model.things:
            frame, params = model.thing(place), model.things[place]
            x, y = footprint(params)
            under = model.under(place)
            facing = model.facing(under.partition(".")[0]) if under else float(model.stand()[2])
            turn = yaw_rotation(facing + pi)
            quarter = abs(sin(frame.yaw - facing)) > 0.7
            half = (y, x) if quarter else (x, y)
            edge = self._deep(under, frame.at) if under else 0.3
            raised = Frame(frame.at + float(params.get("wall", 0.006)) * UP, turn)
            return Surface(raised, (half[0] - 0.015, half[1] - 0.015), place, facing, edge, True)
        space, frame = model.space(place)
        owner = place.partition(".")[0]
        found = [s for s in model.built[owner].spots if s.body == space.body]
        inner = [s for s in found if _inside(s.middle, space)]
        spot = inner[int(self.rng.integers(len(inner)))]
        surface = self._on(f"{owner}.{spot.name}")
        return replace(surface, walls=surface.walls or spot.name == "floor")

    def _top(self, lower: str) -> Surface:
        frame, params = self.model.thing(lower), self.model.things[lower]
        under = self.model.under(lower)
        facing = self.model.facing(under.partition(".")[0]) if under else float(self.model.stand()[2])
        edge = self._deep(under, frame.at) if under else 0.3
        top = Frame(frame.at + height_of(params) * UP, yaw_rotation(facing + pi))
        return Surface(top, (0.0, 0.0), lower, facing, edge)

    def _set_down(self, name: str, where: Callable[[], Surface]) -> Act:
        """Set a held thing down on a surface, as it is then; let go of it, and step back."""
        side = next(s for s, n in self.holds.items() if n == name)
        failed = "no-place"
        for _ in range(2):
            self.look()
            surface = where()
            found = self._find_place(name, side, surface)
            if found is None:
                return "no-place"
            target, drop, stand = found
            failed = yield from self.drive(stand.base)
            if failed:
                continue
            self._draw(stand.drawn)
            failed = yield from self._over(name, side, target, stand, surface.above)
            if failed:
                continue
            self.look()
            if name not in self.holds.values() or self.model.support(name)[1] < 0.3:
                self.holds.pop(side, None)
                failed = "slipped"
                break
            yield from self._lower(name, side, target, stop=drop > 0.0)
            yield from self._release(side, upwards=surface.walls)
            yield from self.back_off(0.3)
            yield from self.tuck(side)
            return ""
        return failed

    def _find_place(
        self,
        name: str,
        side: str,
        surface: Surface,
        most: int = 250,
        held: Frame | None = None,
    ) -> tuple[Frame, float, Stand] | None:
        """Where the thing is to come to, how far it falls from there, where the base stands.

        ``held``: the palm in the thing's frame, if it is not held yet.
        """
        model = self._look_holding(name, side, held)
        rehearsal, hand = model.rehearsal, self.robot.hands[side]
        palm_in_thing = held or self._in_palm(side, name).inverse()
        palm_yaw = self._hand_yaw(side)
        targets = self._targets(name, side, surface)
        drops = DROPS if surface.walls else (0.0,)
        options = []
        for way, stand, turn, index in self._drawn_options(len(targets)):
            cost, at, deep = targets[way]
            # What stands fixed turns a thing as its arm likes best.
            spin = float(self.rng.choice(SPINS) if self.robot.drives else self.rng.uniform(-pi, pi))
            drop = drops[int(self.rng.integers(len(drops)))]
            turned = yaw_rotation(surface.facing + spin - palm_yaw) @ self._set(name, side)
            frame = Frame(at + drop * UP, turned)
            palm = frame * palm_in_thing
            more, base = self._stand(side, palm.at, surface.facing + 0.5 * spin, stand, turn)
            total = cost + more + 0.8 * drop
            if self.robot.drives:
                total += 0.2 * abs(spin) + (0.08 if index else 2 * max(0.0, deep - 0.24))
            else:
                total += self._askew(side, palm)
            options.append((total, frame, palm, base, drop, self._drawn(side)[index]))
        options.sort(key=lambda option: option[0])
        grasp = self.grips[side]
        # Fingertips that hold something low are as low as it is.
        near = {surface.body: -0.03 if grasp.above else 0.006, name: 0.001}
        spare: dict[bytes, bool] = {}
        tried = 0
        for _, frame, palm, base, drop, drawn in options:
            key = np.round(base, 2).tobytes()
            if key not in spare and self.robot.drives:
                rehearsal.pose(self._at(base, self._arms()))
                spare[key] = rehearsal.clear(0.004)
            if not spare.get(key, True):
                continue
            tried += 1
            if tried > most:
                return None
            at = Frame(palm.at + 0.003 * UP, palm.turn)
            over = Frame(palm.at + surface.above * UP, palm.turn)
            postures = self.rehearse(side, base, ((at, near, 0.003), (over, near, 0.004)), drawn)
            if postures is None:
                continue
            back = BEFORE * palm.turn @ np.array(hand.approach)
            straight_up = surface.walls or grasp.above
            away = Frame(palm.at + 0.12 * UP, palm.turn) if straight_up else Frame(palm.at - back, palm.turn)
            rehearsal.let_go()
            rehearsal.put(name, frame.at, frame.turn)
            # The open hand may touch what it lets go of, and nothing beside it.
            rehearsal.pose({hand.fingers: np.array(grasp.open)})
            beside = {surface.body: 0.002, name: -0.02}
            way_out = [(away, {surface.body: 0.006, name: -0.008}, 0.004)]
            if not straight_up:
                loose = palm.at - 0.02 * palm.turn[:, 0] + 0.003 * UP
                half = loose - 0.5 * back
                way_out[:0] = [(Frame(at, palm.turn), beside, 0.004) for at in (loose, half)]
            left = self.rehearse(side, base, way_out, drawn)
            self._look_holding(name, side, held)
            if left is not None:
                if self.route(base) is not None:
                    return Frame(frame.at, frame.turn), drop, Stand(base, postures, drawn)
                spare[key] = False
        return None

    def _targets(self, name: str, side: str, surface: Surface) -> list[tuple[float, Array, float]]:
        """Free points of a surface: cost, place, distance from the edge; the best first."""
        model, middle, found = self.model, surface.frame, []
        others = [
            (*model.thing(n).at[:2], reach_of(p))
            for n, p in model.things.items()
            if n not in (name, surface.body) and abs(model.thing(n).at[2] - middle.at[2]) < 0.2
        ]
        radius = min(reach_of(model.things[name]), 0.1)
        inset = min(radius, 0.04) if surface.walls else 0.02
        rest = self._resting(side)
        for _ in range(60):
            x, y = self.rng.uniform(-1, 1, 2) * np.maximum(np.array(surface.half) - inset, 0.0)
            at = middle.point(x, y, 0.0)
            gap = min((hypot(at[0] - u, at[1] - v) - r - radius for u, v, r in others), default=1.0)
            if gap >= (0.0 if surface.walls else 0.015):
                deep = surface.edge - x
                # What stands fixed reaches best what is near.
                far = abs(deep - 0.16) if self.robot.drives else hypot(*(at - rest)[:2])
                found.append((far - 0.5 * min(gap, 0.12), at, deep))
        return sorted(found, key=lambda target: target[0])[:16]

    def _hand_yaw(self, side: str) -> float:
        """Direction of the fingers, from above [rad]."""
        x = self._palm(side).turn[:, 0]
        return float(np.arctan2(x[1], x[0]))

    def _set(self, name: str, side: str) -> Array:
        """(3, 3) how a thing is set down: level, or as it is held; its yaw as it is now."""
        there = self.model.thing(name)
        return yaw_rotation(there.yaw) if self.grips[side].level else there.turn

    def _over(self, name: str, side: str, target: Frame, stand: Stand, high: float) -> Act:
        """Bring the thing over its place: straight, or around what is in the way."""
        self.log.append((self.limbs.ticks, "over"))  # DEBUG

        def over(above: float) -> Frame:
            return Frame(target.at + above * UP, target.turn) * self._in_palm(side, name).inverse()

        self.look()
        goal = over(high)
        if self._straight(side, [goal], {}):
            yield from self.goto(side, lambda: over(high), speed=0.3, within=0.015)
            return ""
        posture = self._solve(side, goal, self.model.base(), {**self.limbs.joints, **stand.postures[1]})
        if posture is None:
            return "out-of-reach"
        self.events.append("over by path")
        path = self._arm_path(side, posture, {})
        if path is None:
            return "no-way"
        yield from self.limbs.follow(path, speed=0.35)
        return ""

    def _lower(self, name: str, side: str, target: Frame, stop: bool) -> Act:
        """Over the place, then down until it bears the thing, or (``stop``) to where it falls."""
        self.log.append((self.limbs.ticks, "lower"))  # DEBUG

        def over() -> Frame:
            palm = self._palm(side)
            there = self.model.thing(name)
            x, y, _ = there.turn[:, 2].tolist()
            tilt = np.array([y, -x, 0.0]) * self.grips[side].level
            up = turn_by(clamp(tilt, -0.3, 0.3))
            at = target.at + (0.0 if stop else 0.03) * UP + up @ (palm.at - there.at)
            return Frame(at, up @ palm.turn)

        def held() -> bool:
            return self.model.support(name)[1] > 0.3

        # What has slipped is no measure of where the palm has to go.
        yield from self.goto(side, over, speed=0.25, within=0.008, while_true=held, patience=3.0)
        if not held():
            return "slipped"
        if stop:
            return ""

        def floating() -> bool:
            self.model.look(self.limbs.seen)
            borne, pressed = self.model.support(name)[0], self.limbs.seen["truth/contact"][0]
            return bool(borne < BORNE and pressed < PRESSED)

        self.model.look(self.limbs.seen)
        here = self._palm(side)
        down = Frame(here.at - 0.08 * UP, here.turn)
        yield from self.goto(side, lambda: down, speed=0.04, while_true=floating, patience=3.0)
        here = self._palm(side)
        yield from self.goto(side, lambda: Frame(here.at + 0.001 * UP, here.turn), speed=0.06, within=0.001, patience=0.5)

        def pressing() -> bool:
            return bool(self.limbs.seen["truth/contact"][0] > 20.0)

        # The command is ahead of what was stopped by a touch: back until it no longer presses.
        if pressing():
            up = Frame(here.at + 0.02 * UP, here.turn)
            yield from self.goto(side, lambda: up, speed=0.1, within=0.002, while_true=pressing)
        return ""


def _inside(point: Sequence[float], space: Room) -> bool:
    """Whether a point is in a space, both in the frame of one body."""
    return all(a - 0.02 <= p <= b for p, a, b in zip(point, space.low, space.high, strict=True))
