"""Skills that know the scene: go, take, put, open, close, press; for any robot with hands.

Each is a closed loop that looks before it acts: it samples ways to do it, rehearses them in the
expert's own model, does the first that touches nothing else, and says in a word if it failed. What
it changed it verifies by what is there, not by what it commanded.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import cos, hypot, pi, sin
from typing import Any

import numpy as np

from fabrika._signals import Array, Signals
from fabrika.sim._grasps import Grasp, grasps
from fabrika.sim._kinematics import Kinematics, Pose
from fabrika.sim._model import Frame, Model
from fabrika.sim._paths import Space, plan
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._robot import Robot, clamp
from fabrika.sim._scene import reach_of
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
EASE = 0.06
"""How far beyond where they hold fingers are commanded [rad or m]."""
LIFT = 0.05
"""How high a thing is lifted to see whether it is held [m]."""

AHEAD = (0.42, 0.36, 0.48, 0.54, 0.60)
ASIDE = (0.20, 0.28, 0.12, 0.04)
TURNS = (0.0, 0.3, -0.3, 0.6, -0.6)
"""Where a hand's goal may lie in the base frame [m], and how far the base may be turned from
facing it squarely [rad]."""
BEST = (0.44, 0.19)
PLACES = tuple(product(AHEAD, ASIDE))
SPINS = (0.0, 0.35, -0.35, 0.7, -0.7)
"""How far what is put down may be turned from how it is held [rad]."""
OPTIONS = 500
"""Ways to do a thing that are drawn; they are tried from the cheapest on."""


@dataclass(frozen=True, slots=True)
class Stand:
    """A place for the base, and postures of lift and arm there, by group."""

    base: Array
    postures: tuple[dict[str, Array], ...]
    drawn: dict[str, Array]
    """What spare joints of the arm are drawn to."""


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
        for side, name in self.holds.items():
            held = self._in_palm(side, name)
            model.rehearsal.hold(name, side, held.at, held.turn)
        return model

    def _palm(self, side: str) -> Frame:
        """Where a palm truly is, in the world: from the base's place and the arm's command."""
        at, turn = self.limbs.kinematics.palm(self.limbs.joints, side)
        return self.model.base() * Frame(at, turn)

    def _in_palm(self, side: str, name: str) -> Frame:
        return self._palm(side).inverse() * self.model.thing(name)

    # -- the base ----------------------------------------------------------------------------

    def _left(self, goal: Array) -> Array:
        """What is left to drive, in the frame of the odometry."""
        self.model.look(self.limbs.seen)
        at = self.model.stand()
        turn = yaw_rotation(float(self.limbs.joints["base"][2]) - at[2])
        x, y, _ = turn @ np.array([goal[0] - at[0], goal[1] - at[1], 0.0])
        return np.array([x, y, (goal[2] - at[2] + pi) % (2 * pi) - pi])

    def _base_space(self) -> Space:
        return Space(
            np.array([-1.7, -1.7, -pi]), np.array([1.7, 1.7, pi]), np.array([1.0, 1.0, 1.2]), 0.06
        )

    def route(self, goal: Array, margin: float = 0.03) -> list[Array] | None:
        """Corners of a way for the base, arms as they are; None if there is none."""
        model = self.look()
        here = model.stand()
        goal = goal.copy()
        goal[2] = here[2] + (goal[2] - here[2] + pi) % (2 * pi) - pi
        start_free = [margin]

        def free(q: Array) -> bool:
            model.rehearsal.pose({"base": q})
            return model.rehearsal.clear(start_free[0])

        if not free(here):
            start_free[0] = 0.004
        return plan(self._base_space(), here, goal, free, self.rng, 300)

    def drive(self, goal: Array, *, speed: float = 0.5, within: float = 0.012) -> Act:
        """Bring the base to (x, y, yaw) in the world, arms as they are."""
        self.log.append((self.limbs.ticks, "drive"))  # DEBUG
        corners = self.route(goal)
        if corners is None:
            return "no-way"
        for index, corner in enumerate(corners):
            last = index == len(corners) - 1
            yield from self.limbs.drive(
                lambda corner=corner: self._left(corner),
                speed=speed,
                within=within if last else 0.08,
            )
        return ""

    def back_off(self, far: float = 0.4) -> Act:
        """Straight back by up to ``far`` [m], as far as nothing is in the way."""
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
        yield from self.limbs.drive(lambda: self._left(goal), speed=0.4, within=0.05)
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

        margin = MARGIN

        def free(q: Array) -> bool:
            model.rehearsal.pose(split(q))
            return model.rehearsal.clear(margin, near)

        start = np.concatenate([self.limbs.joints[name] for name in names])
        goal = np.concatenate([target[name] for name in names])
        for margin in (MARGIN, 0.010, 0.004):
            if free(start) and free(goal):
                break
        else:
            margin = 0.0
        space = Space(
            np.concatenate([np.array(g.low) for g in groups]),
            np.concatenate([np.array(g.high) for g in groups]),
            np.concatenate([0.35 * np.ones(len(g.names)) if n in self.robot.torso
                            else np.ones(len(g.names)) for n, g in zip(names, groups, strict=True)]),
        )
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
        """The arm to where it begins; straight there, or around what is in the way."""
        self.log.append((self.limbs.ticks, "tuck"))  # DEBUG
        target = {self.robot.hands[side].arm: self.rest[self.robot.hands[side].arm]}
        path = self._arm_path(side, target, {})
        if path is None:
            return "no-way"
        yield from self.limbs.follow(path)
        return ""

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
        most = [ways, len(PLACES), len(TURNS), 2]
        return self.rng.integers(0, most, (OPTIONS, 4)).tolist()

    def _stand(
        self, side: str, at: Array, facing: float, stand: int, turn: int
    ) -> tuple[float, Array]:
        """Cost and place of a base from which a hand may reach a point."""
        s = 1.0 if side == "left" else -1.0
        ahead, aside = PLACES[stand]
        yaw = facing + TURNS[turn]
        c, d = cos(yaw), sin(yaw)
        base = np.array([at[0] - c * ahead + d * s * aside, at[1] - d * ahead - c * s * aside, yaw])
        cost = hypot(ahead - BEST[0], aside - BEST[1]) + 0.15 * abs(TURNS[turn])
        return cost, base

    def _rehearse(
        self,
        side: str,
        base: Array,
        goals: Sequence[tuple[Frame, Mapping[str, float], float]],
        drawn: Signals,
    ) -> tuple[dict[str, Array], ...] | None:
        """Postures for palm goals in turn, from a base; None if one fails or touches anything.

        ``goals``: palm in the world, what may be near, margin [m].
        """
        self.tried += 1
        frame = Frame(np.array([base[0], base[1], 0.0]), yaw_rotation(base[2]))
        rehearsal, found = self.model.rehearsal, []
        joints: Signals = {**self.limbs.joints, **drawn, **self._torso()}
        for palm, near, margin in goals:
            posture = self._solve(side, palm, frame, joints, drawn)
            if posture is None:
                return None
            rehearsal.pose({**posture, "base": base})
            if not rehearsal.clear(margin, near):
                return None
            joints = {**joints, **posture}
            found.append(posture)
        return tuple(found)

    def settle(self) -> Act:
        """Both arms to their rest, where they hold nothing."""
        idle = [h.arm for s, h in self.robot.hands.items() if s not in self.holds]
        yield from self.limbs.follow([{name: self.rest[name] for name in idle}], speed=0.6)
        return ""

    # -- take --------------------------------------------------------------------------------

    def take(self, name: str, sides: Sequence[str] = (), most: int = 250) -> Act:
        """Take a thing: stand where it can be reached, grasp, lift, see that it is held."""
        for _ in range(3):
            found = self._find_grasp(name, sides or tuple(self.robot.hands), most)
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
        self, name: str, sides: Sequence[str], most: int
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
            for grasp in grasps(self.robot.hands[side], params, frame, facing)
        ]
        options = []
        for way, stand, turn, index in self._drawn_options(len(ways)):
            side, grasp = ways[way]
            drawn = self._drawn(side)[index]
            palm = frame * grasp.palm
            cost, base = self._stand(side, palm.at, facing, stand, turn)
            cost += grasp.cost + (0.08 if index else 2 * max(0.0, deep - 0.24))
            options.append((cost, side, grasp, palm, base, drawn))
        options.sort(key=lambda option: option[0])
        spare: dict[bytes, bool] = {}
        tried = 0
        for _, side, grasp, palm, base, drawn in options:
            key = np.round(base, 2).tobytes()
            if key not in spare:
                model.rehearsal.pose({**self.limbs.joints, **self._torso(), "base": base})
                spare[key] = model.rehearsal.clear(MARGIN)
            if not spare[key]:
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
            postures = self._rehearse(side, base, goals, drawn)
            if postures is not None:
                if self.route(base) is not None:
                    return side, grasp, Stand(base, postures, drawn)
                spare[key] = False
        return None

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
        return things < 0.1 and robots > 0.3 and float(np.linalg.norm(offset.at)) < 0.25

    def _release(self, side: str) -> Act:
        """Open, and leave along the palm's normal."""
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
        away = loose - BEFORE * here.turn[:, 2] + 0.02 * UP
        if grasp.above:
            loose, away = here.at + 0.003 * UP, here.at + 0.12 * UP
        for goal, within in ((loose, 0.006), (away, 0.01)):
            frame = Frame(goal, here.turn)
            yield from self.goto(side, lambda frame=frame: frame, speed=0.2, within=within, patience=3.0)
        return ""

    def carry(self, side: str) -> Act:
        """Away from the fixture; the hand close before the body, what it holds upright."""
        self.log.append((self.limbs.ticks, "carry"))  # DEBUG
        failed = yield from self.back_off(0.45)
        self.look()
        base = self.model.base()
        s = 1.0 if side == "left" else -1.0
        here = base.inverse() * self._palm(side)
        goal = base * Frame(np.array([0.38, s * 0.20, max(0.95, min(1.15, here.at[2]))]), here.turn)
        if self._straight(side, [goal], {}):
            yield from self.goto(side, lambda: goal, within=0.02)
        else:
            self.events.append("carry not straight")
        if failed:
            self.events.append("back-off " + failed)
        return failed

    # -- put ---------------------------------------------------------------------------------

    def put(self, name: str, place: str, most: int = 250) -> Act:
        """Stand a held thing on a spot, upright; let go of it, and step back."""
        side = next(s for s, n in self.holds.items() if n == name)
        for _ in range(2):
            found = self._find_place(name, side, place, most)
            if found is None:
                return "no-place"
            target, stand = found
            failed = yield from self.drive(stand.base)
            if failed:
                continue
            self._draw(stand.drawn)
            failed = yield from self._over(name, side, target, stand)
            if failed:
                continue
            yield from self._lower(name, side, target)
            yield from self._release(side)
            yield from self.back_off(0.3)
            yield from self.tuck(side)
            return ""
        return failed

    def put_in(self, name: str, place: str) -> Act:
        yield from self.limbs.wait(0.1)
        return "not-yet"

    def stack(self, name: str, place: str) -> Act:
        yield from self.limbs.wait(0.1)
        return "not-yet"

    def open(self, joint: str) -> Act:
        yield from self.limbs.wait(0.1)
        return "not-yet"

    def close(self, joint: str) -> Act:
        yield from self.limbs.wait(0.1)
        return "not-yet"

    def press(self, joint: str) -> Act:
        yield from self.limbs.wait(0.1)
        return "not-yet"

    def _find_place(
        self, name: str, side: str, place: str, most: int
    ) -> tuple[Frame, Stand] | None:
        """Where on the spot the thing is to stand, and where the base."""
        model = self.look()
        spot, middle = model.spot(place)
        facing = model.facing(place.partition(".")[0])
        palm_in_thing = self._in_palm(side, name).inverse()
        palm_yaw = self._hand_yaw(side)
        others = [
            (*model.thing(n).at[:2], reach_of(p)) for n, p in model.things.items() if n != name
            and abs(float(model.thing(n).at[2]) - middle.at[2]) < 0.3
        ]
        radius = min(reach_of(model.things[name]), 0.1)
        targets = []
        for _ in range(60):
            x, y = self.rng.uniform(-1, 1, 2) * np.maximum(np.array(spot.half) - 0.02, 0.0)
            at = middle.point(x, y, 0.0)
            gap = min((hypot(at[0] - u, at[1] - v) - r - radius for u, v, r in others), default=1.0)
            if gap >= 0.015:
                deep = spot.half[0] + 0.03 - x  # from the front edge
                targets.append((abs(deep - 0.16) - 0.5 * min(gap, 0.12), at, deep))
        targets = sorted(targets, key=lambda target: target[0])[:16]
        options = []
        for way, stand, turn, index in self._drawn_options(len(targets)):
            cost, at, deep = targets[way]
            spin = float(self.rng.choice(SPINS))
            frame = Frame(at, yaw_rotation(facing + spin - palm_yaw) @ self._set(name, side))
            palm = frame * palm_in_thing
            more, base = self._stand(side, palm.at, facing + 0.5 * spin, stand, turn)
            total = cost + more + 0.2 * abs(spin) + (0.08 if index else 2 * max(0.0, deep - 0.24))
            options.append((total, frame, palm, base, self._drawn(side)[index]))
        options.sort(key=lambda option: option[0])
        grasp = self.grips[side]
        # Fingertips that hold something low are as low as it is.
        near = {spot.body: -0.03 if grasp.above else 0.006, name: 0.001}
        tried = 0
        rehearsal = model.rehearsal
        spare: dict[bytes, bool] = {}
        for _, frame, palm, base, drawn in options:
            key = np.round(base, 2).tobytes()
            if key not in spare:
                rehearsal.pose({**self.limbs.joints, "base": base})
                spare[key] = rehearsal.clear(0.004)
            if not spare[key]:
                continue
            tried += 1
            if tried > most:
                return None
            at = Frame(palm.at + 0.003 * UP, palm.turn)
            over = Frame(palm.at + 0.06 * UP, palm.turn)
            away = Frame(palm.at + palm.turn @ (BEFORE * grasp.away), palm.turn)
            goals = ((at, near, 0.003), (over, near, 0.004))
            postures = self._rehearse(side, base, goals, drawn)
            if postures is None:
                continue
            rehearsal.let_go()
            rehearsal.put(name, frame.at, frame.turn)
            left = self._rehearse(side, base, ((away, {spot.body: 0.006, name: 0.0}, 0.004),), drawn)
            self.look()
            if left is not None:
                if self.route(base) is not None:
                    return frame, Stand(base, postures, drawn)
                spare[key] = False
        return None

    def _hand_yaw(self, side: str) -> float:
        """Direction of the fingers, from above [rad]."""
        x = self._palm(side).turn[:, 0]
        return float(np.arctan2(x[1], x[0]))

    def _set(self, name: str, side: str) -> Array:
        """(3, 3) how a thing is set down: level, or as it is held; its yaw as it is now."""
        there = self.model.thing(name)
        return yaw_rotation(there.yaw) if self.grips[side].level else there.turn

    def _over(self, name: str, side: str, target: Frame, stand: Stand) -> Act:
        """Bring the thing over its place: straight, or around what is in the way."""
        self.log.append((self.limbs.ticks, "over"))  # DEBUG

        def over(above: float) -> Frame:
            return Frame(target.at + above * UP, target.turn) * self._in_palm(side, name).inverse()

        self.look()
        goal = over(0.06)
        if self._straight(side, [goal], {}):
            yield from self.goto(side, lambda: over(0.06), speed=0.3, within=0.015)
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

    def _lower(self, name: str, side: str, target: Frame) -> Act:
        """Over the place, then down until it bears the thing."""
        self.log.append((self.limbs.ticks, "lower"))  # DEBUG

        def over() -> Frame:
            palm = self._palm(side)
            there = self.model.thing(name)
            x, y, _ = there.turn[:, 2].tolist()
            tilt = np.array([y, -x, 0.0]) * self.grips[side].level
            up = turn_by(clamp(tilt, -0.3, 0.3))
            at = target.at + 0.03 * UP + up @ (palm.at - there.at)
            return Frame(at, up @ palm.turn)

        def held() -> bool:
            return self.model.support(name)[1] > 0.3

        # What has slipped is no measure of where the palm has to go.
        yield from self.goto(side, over, speed=0.25, within=0.008, while_true=held, patience=3.0)
        if not held():
            return "slipped"
        borne = [self.model.support(name)[1]]

        def floating() -> bool:
            self.model.look(self.limbs.seen)
            things, _ = self.model.support(name)
            return things < max(1.0, 0.4 * borne[0]) and self.limbs.seen["truth/contact"][0] < 20.0

        self.model.look(self.limbs.seen)
        weight = 9.81 * 0.3
        borne[0] = weight
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
