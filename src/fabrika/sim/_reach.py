"""A robot at work: what it knows, how its base drives, how its arms get to where they are to be.

What a hand does there is in `_put` and `_work`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product, zip_longest
from math import cos, hypot, pi, sin, sqrt
from typing import TypeVar

import numpy as np

from fabrika._signals import Array, Signals
from fabrika.sim._grasps import LOW, Grasp
from fabrika.sim._kinematics import Kinematics, Pose
from fabrika.sim._model import Frame, Model
from fabrika.sim._paths import Space, plan
from fabrika.sim._pose import turn_by, vector_of, yaw_rotation
from fabrika.sim._roads import Roads
from fabrika.sim._robot import Robot
from fabrika.sim._room import make_room
from fabrika.sim._scenery import Scenery
from fabrika.sim._skills import Limbs

Act = Generator[Signals, Signals, str]
"""A skill: yields actions, is sent observations, returns why it failed, or nothing."""
Given = TypeVar("Given")
UP = np.array([0.0, 0.0, 1.0])
MARGIN = 0.018
"""What has to stay free around the robot on its way [m]."""
CLOSE = 0.003
"""What has to stay free between a hand and what bears the thing that it takes [m]."""
EXACT = 0.006
"""Largest error of a posture [m]."""
BEFORE = 0.10
"""How far before a thing the hand stops, and looks again [m]."""
AHEAD = (0.48, 0.42, 0.54, 0.36, 0.60)
ASIDE = (0.28, 0.20, 0.12, 0.04)
TURNS = (0.0, 0.3, -0.3, 0.6, -0.6)
"""Where a hand's goal may lie in the base frame [m]; how far the base is turned aside [rad]."""
BEST = (AHEAD[0], ASIDE[0])
"""Where it lies best [m]: before the shoulder, so that the forearm crosses no edge aslant."""
NEARER = 0.1
"""By how much less ahead what is as low as the floor has to be: arms point down to it [m]."""
PLACES = tuple(product(AHEAD, ASIDE))
FAVOUR = 0.1
"""Cost of the left hand: shown now one, now the other for one scene, a policy learns neither."""
CREEP = 0.06
"""Slowest the base comes to where it stops [m/s]: a policy takes what is slower for standing."""
BESIDE = 0.03, 0.03
"""How far beside its stand the base comes first, at most [m, rad]: it is seen to come back."""
BLOCKED = 6
"""Stands without a way to them after which no other is tried: to find none takes long."""
BEYOND = 9.0
"""Cost of a stand that the base cannot turn to: after all others."""
LEAPS = 0.8
"""How far no joint of an arm that stands fixed turns in a step of a straight way [rad]."""
OPTIONS = 1200
"""Ways to do a thing that are drawn; they are tried from the cheapest on."""


@dataclass(frozen=True, slots=True)
class Stand:
    """A place for the base, and postures of lift and arm there, by group."""

    base: Array
    postures: tuple[dict[str, Array], ...]
    drawn: dict[str, Array]
    """What spare joints of the arm are drawn to."""


class Reacher:
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
        self.robot, self.kinematics = robot, kinematics
        self.rng = self.chance = rng
        self.limbs = Limbs(robot, kinematics, dt)
        self.rest = {h.arm: np.array(h.rest) for h in robot.hands.values()}
        self.limbs.start(first, self._torso())
        self.model = Model(robot, scenery, first)
        self.holds: dict[str, str] = {}
        self.passed: set[str] = set()
        """What went from hand to hand: the hand that has it now may be nearer than is easy."""
        self.came_from: dict[str, tuple[str, Array]] = {}
        self.grips: dict[str, Grasp] = {}
        self.drawn = dict(self.rest)
        self._folded = {side: kinematics.palm(self.rest, side)[0] for side in robot.hands}

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

    def watch(self, name: str) -> None:
        """Look at a thing, a handle or a place from now on, whatever else moves."""
        self.limbs.watch(partial(self.model.bearing, name))

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

    def route(self, goal: Array, margin: float = 0.03) -> list[Array] | None:
        """Corners of a way for the base, arms as they are; None if there is none."""
        self.look()
        return self._roads().corners(goal, margin, self.rng) if self.robot.drives else []

    def _roads(self) -> Roads:
        return Roads(self.model, float(self.limbs.joints["base"][2]))

    def turns(self, base: Array, more: float = 0.0) -> bool:
        """Whether the base can stand so, and turn by ``more`` from there [rad]."""
        return not self.robot.drives or self._roads().turns(float(base[2]), more)

    def drive(
        self, goal: Array, *, speed: float = 0.5, within: float = 0.012, margin: float = 0.03
    ) -> Act:
        """Bring the base to (x, y, yaw) in the world, arms as they are."""
        corners = self.route(goal, margin)
        if corners is None:
            return "no-way"
        for corner, after in zip_longest(corners, corners[1:]):
            to = partial(self.limbs.drive, partial(self.left, corner), speed=speed, least=CREEP)
            if after is None:
                first = partial(self.left, self._beside(corner))
                yield from self.limbs.drive(first, speed=speed, least=CREEP, within=0.015)
            yield from to(within=within if after is None else 0.08)
            self.look()
            if after is not None and not self._roads().straight(after, 0.02):
                yield from to(within=0.02)
        return "no-way" if self.limbs.blocked() else ""

    def _beside(self, goal: Array) -> Array:
        """(3,) a place for the base by chance, near a goal and as free; the goal if it is not."""
        turn, far = self.chance.uniform((-pi, 0.0), (pi, 1.0))
        away = BESIDE[0] * sqrt(far)
        spin = self.chance.uniform(-BESIDE[1], BESIDE[1])
        beside = goal + np.array([away * cos(turn), away * sin(turn), spin])
        self.look().rehearsal.pose({"base": beside})
        return beside if self.model.rehearsal.clear(0.01) else goal

    def back_off(
        self, far: float = 0.4, way: Array | None = None, near: Mapping[str, float] | None = None
    ) -> Act:
        """Straight back by up to ``far`` [m], as far as nothing is in the way.

        ``way``: (3,) where to in the world, if not straight back; ``near``: what may be near at
        first, and how near [m].
        """
        if not self.robot.drives:
            return ""
        model = self.look()
        here = model.stand()
        away = yaw_rotation(here[2]) @ np.array([-1.0, 0.0, 0.0]) if way is None else way
        free = 0.0
        for step in np.arange(0.02, far + 0.01, 0.04):
            model.rehearsal.pose({"base": here + np.array([*(step * away[:2]), 0.0])})
            if not model.rehearsal.clear(*((0.004, near) if step < 0.12 else (0.012,))):
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
        posture = {**self.limbs.joints, **(drawn or self.drawn), **self._torso()}
        goal = {side: (local.at, local.turn)}
        return self.kinematics.bring(goal, joints, posture, within=EXACT / 2)

    def arm_path(
        self,
        target: Mapping[str, Array],
        near: Mapping[str, float],
        base: Array | None = None,
    ) -> list[dict[str, Array]] | None:
        """Corners for torso and arm from where they are commanded to be to a target.

        ``base``: (3,) where it is to stand, if not where it stands.
        """
        model = self.look()
        if base is not None:
            model.rehearsal.pose({"base": base})
        names = tuple(target)
        groups = [self.robot.groups[name] for name in names]
        edges = np.cumsum([0, *(len(g.names) for g in groups)])

        def split(q: Array) -> dict[str, Array]:
            return {n: q[a:b] for n, a, b in zip(names, edges[:-1], edges[1:], strict=True)}

        start = np.concatenate([self.limbs.joints[name] for name in names])
        goal = np.concatenate([target[name] for name in names])
        weights = [0.35 if n in self.robot.torso else 1.0 for n in names]
        space = Space(
            np.concatenate([np.array(g.low) for g in groups]),
            np.concatenate([np.array(g.high) for g in groups]),
            np.repeat(weights, [len(g.names) for g in groups]),
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

    def _straight(
        self, side: str, goals: Sequence[Frame], near: Mapping[str, float], spare: float = CLOSE
    ) -> bool:
        """Whether the palm can go straight through the goals, turning as it goes, touching nothing.

        ``spare``: what stays free of it until it is near a goal [m].
        """
        model, base = self.look(), self.model.base()
        joints = {name: v.copy() for name, v in self.limbs.joints.items()}
        here, arm, free = self._palm(side), self.robot.hands[side].arm, self.robot.drives
        for goal in goals:
            far, spin = goal.at - here.at, vector_of(goal.turn @ here.turn.T)
            steps = max(2, int(hypot(*far) / 0.04) + 1, int(hypot(*spin) / 0.2) + 1)
            for share in np.arange(1, steps + 1) / steps:
                palm = Frame(here.at + share * far, turn_by(share * spin) @ here.turn)
                found = self._solve(side, palm, base, joints)
                # A joint at its end: the posture is another one, to which no straight way leads.
                if found is None or not (free or np.abs(found[arm] - joints[arm]).max() < LEAPS):
                    return False
                joints.update(found)
                model.rehearsal.pose(found)
                margin = spare if (1.0 - share) * hypot(*far) > BEFORE else CLOSE
                if not model.rehearsal.clear(margin, near):
                    return False
            here = goal
        return True

    def goto(
        self,
        side: str,
        goal: Frame | Callable[[], Frame],
        *,
        speed: float = 0.35,
        within: float = 0.004,
        while_true: Callable[[], bool] = lambda: True,
        patience: float = 6.0,
    ) -> Act:
        """The palm straight to a goal in the world, fixed or asked anew every tick."""

        def local() -> Pose:
            self.model.look(self.limbs.seen)
            there = goal if isinstance(goal, Frame) else goal()
            frame = self.model.base().inverse() * there
            return frame.at, frame.turn

        self.limbs.refresh()
        yield from self.limbs.move(
            {side: local}, speed=speed, within=within, while_true=while_true, patience=patience
        )
        return ""

    def tuck(self, side: str) -> Act:
        """Arm and torso to rest, around what is in the way; the base first makes room for them."""
        arm = self.robot.hands[side].arm
        rest = {**self._torso(), arm: self.rest[arm]}
        path = self.arm_path(rest, {})
        for _ in range(2):  # where it comes to is not quite where it was to come to
            if path is None:
                yield from make_room(self, side, rest)
                path = self.arm_path(rest, {})
        if path is None:
            return "no-way"
        yield from self.limbs.follow(path)
        return ""

    # -- where to stand ----------------------------------------------------------------------

    def _draw(self, drawn: dict[str, Array]) -> None:
        self.drawn = drawn
        self.limbs.draw(drawn)

    def relax(self) -> None:
        """Torso and arms are drawn again to where they are best."""
        self.limbs.draw({**self._torso(), **self.drawn})

    def _deep(self, place: str, at: Array) -> float:
        """How far behind the front edge of a spot a point is [m]."""
        spot, middle = self.model.spot(place)
        return float(spot.half[0] + 0.03 - (middle.turn.T @ (at - middle.at))[0])

    def _drawn(self, side: str, far: bool = False) -> list[dict[str, Array]]:
        """What an arm's spare joints may be drawn to."""
        hand = self.robot.hands[side]
        postures = hand.far if far else hand.postures
        return [{**self.rest, hand.arm: np.array(posture)} for posture in postures]

    def _drawn_options(self, ways: int, far: bool = False) -> list[list[int]]:
        """Every way from the usual stand; then ways, stands, turns and postures by chance."""
        postures = min(len(self._drawn(side, far)) for side in self.robot.hands)
        if not ways or not postures:
            return []
        stands = (len(PLACES), len(TURNS)) if self.robot.drives else (1, 1)
        most = [ways, *stands, postures]
        usual = np.arange(ways)[:, None] * np.array([1, 0, 0, 0])
        drawn = self.rng.integers(0, most, (OPTIONS, 4)).tolist()
        return [*usual.tolist(), *drawn]

    def _stand(
        self, side: str, at: Array, facing: float, stand: int, turn: int
    ) -> tuple[float, Array]:
        """Cost and place of a base from which a hand may reach a point."""
        if not self.robot.drives:
            return 0.0, self.model.stand()
        s = 1.0 if side == "left" else -1.0
        ahead, aside = PLACES[stand]
        ahead -= NEARER * (at[2] < LOW)
        yaw = facing + TURNS[turn]
        c, d = cos(yaw), sin(yaw)
        base = np.array([at[0] - c * ahead + d * s * aside, at[1] - d * ahead - c * s * aside, yaw])
        cost = hypot(PLACES[stand][0] - BEST[0], aside - BEST[1]) + 0.15 * abs(TURNS[turn])
        if not self.turns(base):
            cost += BEYOND
        return cost + FAVOUR * (side == "left"), base

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
        frame = Frame(np.array([base[0], base[1], 0.0]), yaw_rotation(base[2]))
        rehearsal, found = self.model.rehearsal, []
        joints: Signals = start or {**self.limbs.joints, **drawn, **self._torso()}
        # The other arm is not where it was last tried.
        rehearsal.pose({h.arm: self.limbs.joints[h.arm] for h in self.robot.hands.values()})
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
        path = self.arm_path(target, {})
        if path is not None:
            yield from self.limbs.follow(path, speed=0.6)
            return ""
        for side in idle:
            yield from self.tuck(side)
        return ""

    def stands_for(
        self, ways: Sequence[tuple[str, Frame, float, Given]], facing: float
    ) -> Iterator[tuple[str, Given, Array, dict[str, Array]]]:
        """Hand, way, base and arm posture to try, the cheapest first; bases that touch nothing.

        ``ways``: hand, palm in the world, cost, and what is given back of it.
        """
        options = []
        for way, stand, turn, index in dict.fromkeys(map(tuple, self._drawn_options(len(ways)))):
            side, palm, cost, given = ways[way]
            more, base = self._stand(side, palm.at, facing, stand, turn)
            cost += more + 0.04 * index
            options.append((cost, side, given, base, self._drawn(side)[index]))
        options.sort(key=lambda option: option[0])
        spare: dict[bytes, bool] = {}
        for _, side, given, base, drawn in options:
            key = np.round(base, 2).tobytes()
            if key not in spare:
                self.model.rehearsal.pose(self._at(base, self._arms()))
                spare[key] = self.model.rehearsal.clear(MARGIN)
            if spare[key]:
                yield side, given, base, drawn

    def reach(self, side: str, palm: Frame, stand: Stand, before: float, axis: int = 0) -> Act:
        """From where the arm is to ``before`` [m] short of a palm pose, along its axis."""
        self._draw(stand.drawn)
        self.look()
        goal = Frame(palm.at - before * palm.turn[:, axis], palm.turn)
        return (yield from self.go_round(side, goal, stand.postures[1]))

    def go_round(self, side: str, goal: Frame, posture: Signals, *, speed: float = 0.5) -> Act:
        """The palm to a goal in the world, around what is in the way; near a posture there."""
        target = self._solve(side, goal, self.model.base(), {**self.limbs.joints, **posture})
        if target is None:
            return "out-of-reach"
        path = self.arm_path(target, {})
        if path is None:
            return "no-way"
        yield from self.limbs.follow(path, speed=speed)
        return ""

    # -- what is held ------------------------------------------------------------------------

    def let_go(self, side: str) -> Act:
        """Open a hand, and stay."""
        grasp = self.grips[side]
        self.holds.pop(side, None)
        for posture in grasp.releases:
            yield from self.limbs.shape((side,), np.array(posture), seconds=0.3)
        yield from self.limbs.shape((side,), np.array(grasp.open), seconds=0.5)
        return ""

    def _look_holding(self, name: str, side: str, palm: Frame | None) -> Model:
        """As `look`, with a thing in a hand that does not hold it yet: ``palm`` in its frame."""
        model = self.look()
        if palm is not None:
            held = palm.inverse()
            model.rehearsal.hold(name, side, held.at, held.turn)
        return model

    def _resting(self, side: str) -> Array:
        """Where a palm is while its arm rests, in the world [m]."""
        return self.model.base().point(*self._folded[side])

    def _askew(self, side: str, palm: Frame) -> float:
        """How far a palm points aside of where its arm comes from, from above: 0 to 2."""
        hand = self.robot.hands[side]
        out = (palm.point(*hand.pocket) - self._resting(side))[:2]
        points = palm.turn @ np.array(hand.approach)
        return float(hypot(*points[:2]) - points[:2] @ out / max(hypot(*out), 0.05))
