"""Skills that set things down: on spots, into spaces and vessels, on one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import atan2, hypot, pi, sin

import numpy as np

from fabrika._signals import Array
from fabrika.sim._drum import before, goes_in, insert
from fabrika.sim._grasps import downwards
from fabrika.sim._model import Frame
from fabrika.sim._pose import towards, turn_by, yaw_rotation
from fabrika.sim._reach import BEFORE, BLOCKED, CLOSE, UP, Act, Reacher, Stand
from fabrika.sim._robot import clamp
from fabrika.sim._scene import footprint, height_of, reach_of
from fabrika.sim._surface import Surface

BORNE, PRESSED = 1.2, 20.0
"""Force on a thing at which its place bears it, and of the hand on what is fixed [N]."""
SPARE = 0.010
"""How high over its place a thing is let go of [m]: who errs by as much still presses nothing."""
SOFT = 0.003
"""The same for what is soft, which would sink in, or round, which would rock and roll [m]."""
LEAN = 0.3
"""Share of the angle at which a thing falls over that it may lean by when it is let go of."""
SWEPT = (0.5, 0.75, 1.0)
"""Shares of its opening at which a hand is looked at that lets go."""
SLIDES = 0.04
"""How far a thing may move in a hand that sets it down [m]."""
FALLS = 3.0
"""Cost of a fall [1/m]: what falls far rolls on, or sinks into what it falls on."""
SPINS = (0.0, 0.35, -0.35, 0.7, -0.7)
"""How far what is put down may be turned from how it is held [rad]."""
HIGHER = 0.03
"""How much higher a thing has to come to be brought round the edge of its place [m]."""
PASSES = 0.010
"""What stays free of a hand that goes straight over its place, lagging and swaying [m]."""
FLAT = 0.03
"""How high a hand rises that leaves flat [m]."""
FOLDED = 0.34
"""How near to where its palm rests an arm that stands fixed works well [m]."""
WHIRL = 0.5  # how far one of its joints may turn in a step of that [rad]
RISES = (0.05, 0.10, 0.15)
"""Heights over its place at which a thing is looked at that goes down between walls [m]."""
NEAREST, INNER = 0.16, 0.30
"""How far behind its edge a thing is put best, and in a drum [m]: deep, for more comes after it."""
BAND = 0.06
"""Depths in a drum that differ by less are alike [m]."""
SWAYS = 0.010
"""What stays free beside what an arm that stands fixed sets down [m]: far out it sways."""


@dataclass(frozen=True, slots=True)
class _WayDown:
    """One way to set a held thing down."""

    cost: float
    frame: Frame
    """Of the thing where it is let go of, in the world."""
    palm: Frame
    base: Array
    drop: float
    """How far it falls from there [m]."""
    drawn: dict[str, Array]
    """What the spare joints are drawn to."""
    kind: tuple[float, int]
    """How far it falls, in a drum roughly how deep it is, and for what stands fixed its place."""


class Placer(Reacher):
    """Sets down what a hand holds, and lets go of it."""

    def _release(self, side: str, low: bool = False) -> Act:
        """Open, and leave the way that the hand comes; ``low``: flat."""
        grasp = self.grips[side]
        yield from self.let_go(side)
        flat = low and grasp.above
        if flat:
            yield from self.limbs.shape((side,), np.array(self.robot.hands[side].open), seconds=0.4)
        self.model.look(self.limbs.seen)
        here = self._palm(side)
        # Back along the fingers first: a thumb that lies against the thing would drag it.
        loose = here.at - 0.02 * here.turn[:, 0] + 0.003 * UP
        away = loose + here.turn @ (BEFORE * grasp.away) + 0.02 * UP
        if grasp.above:
            loose, away = here.at + 0.003 * UP, here.at + (FLAT if flat else 0.12) * UP
        for goal, within in ((loose, 0.006), (away, 0.01)):
            frame = Frame(goal, here.turn)
            yield from self.goto(side, frame, speed=0.2, within=within, patience=3.0)
        return ""

    # -- put ---------------------------------------------------------------------------------

    def put(self, name: str, place: str) -> Act:
        """Stand a held thing on a spot; let go of it, and step back."""
        self.watch(place)
        return (yield from self._set_down(name, lambda: self._on(place)))

    def put_in(self, name: str, place: str) -> Act:
        """Put a held thing into a space of a fixture, or into another thing."""
        self.watch(place)
        return (yield from self._set_down(name, lambda: self._within(place)))

    def stack(self, name: str, lower: str) -> Act:
        """Stand a held thing on another one, middle over middle."""
        self.watch(lower)
        return (yield from self._set_down(name, lambda: self._top(lower)))

    def where(self, how: str, place: str) -> Surface:
        """What a thing is put on to be "on" a spot, "inside" of a place, or on top of a thing."""
        return {"on": self._on, "inside": self._within}.get(how, self._top)(place)

    def _on(self, place: str) -> Surface:
        spot, frame = self.model.spot(place)
        facing = self.model.facing(place.partition(".")[0])
        walls = spot.body in self.model.parts  # a drawer, a rack
        edge = spot.half[0] + 0.03
        return Surface(frame, spot.half, spot.body, facing, edge, walls, room=spot.headroom)

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
        inner = [s for s in found if space.has(s.middle)]
        spot = inner[int(self.rng.integers(len(inner)))]
        surface = self._on(f"{owner}.{spot.name}")
        return replace(
            surface,
            walls=surface.walls or spot.name in ("floor", "well"),
            well=spot.name == "well",
            hollow=spot.name == "drum",
        )

    def _top(self, lower: str) -> Surface:
        frame, params = self.model.thing(lower), self.model.things[lower]
        under = self.model.under(lower)
        facing = (
            self.model.facing(under.partition(".")[0]) if under else float(self.model.stand()[2])
        )
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
            target, _, stand = found
            if surface.hollow:
                return (yield from insert(self, name, side, stand, surface.body))
            palm = target.turn @ self._in_palm(side, name).turn.T
            failed = yield from self.drive(stand.base)
            if failed:
                continue
            self._draw(stand.drawn)
            if not self.grips[side].level:
                # It may turn in the fingers on the way: the hand comes as it was rehearsed.
                self.look()
                target = Frame(target.at, palm @ self._in_palm(side, name).turn)
            if surface.walls:
                failed = yield from self._between_walls(name, side, target, stand)
                if failed in ("out-of-reach", "no-way"):
                    continue
                return failed
            failed = yield from self._over(name, side, target, stand, surface.above)
            if failed:
                continue
            self.look()
            if name not in self.holds.values() or self.model.support(name)[1] < 0.3:
                failed = "slipped"
            else:
                failed = yield from self._lower(name, side, target)
            yield from self._release(side, surface.low)
            # What lies under a hand that leaves flat is close to it.
            yield from self.back_off(0.3, near={name: -0.004} if surface.low else None)
            yield from self.tuck(side)
            return failed
        return failed

    def _find_place(
        self,
        name: str,
        side: str,
        surface: Surface,
        most: int = 250,
        held: Frame | None = None,
        far: bool = False,
    ) -> tuple[Frame, float, Stand] | None:
        """Where the thing is to come to, how far it falls from there, where the base stands.

        The cheapest way down that touches nothing. ``held``: the palm in the thing's frame, if it
        is not held yet; ``far``: with the arm stretched. What is held is put so if all else fails.
        """
        rehearsal = self._look_holding(name, side, held).rehearsal
        ways = self._ways_down(name, side, surface, held, far)
        spare: dict[bytes, bool] = {}
        # Every kind gets its share: where no low fall will do a high one may, or a place less deep.
        left = dict.fromkeys((way.kind for way in ways), 0)
        left = dict.fromkeys(left, max(1, (1 + surface.hollow) * most // max(1, len(left))))
        blocked = 0
        for way in ways:
            key = np.round(way.base, 2).tobytes()
            if not left[way.kind]:
                continue
            first = before(way.base) if surface.hollow else way.base
            if key not in spare and self.robot.drives:
                rehearsal.pose(self._at(first, self._arms()))
                spare[key] = rehearsal.clear(0.004)
            if not spare.get(key, True):
                continue
            left[way.kind] -= 1
            stand = self._brings(name, side, surface, way)
            if stand is None:
                continue
            free = (
                goes_in(self, name, side, way.frame, way.drop, stand, surface.body)
                if surface.hollow
                else self._comes_away(name, side, surface, way, stand)
            )
            self._look_holding(name, side, held)
            if free and self.route(first) is not None:
                return way.frame, way.drop, stand
            if free:
                spare[key], blocked = False, blocked + 1
            if blocked >= BLOCKED:
                break
        if far or held is not None:
            return None
        return self._find_place(name, side, surface, most, far=True)

    def _ways_down(
        self, name: str, side: str, surface: Surface, held: Frame | None, far: bool = False
    ) -> list[_WayDown]:
        """Random places, turns, falls and stands for what a hand holds; the cheapest first."""
        model = self.model
        palm_in_thing = held or self._in_palm(side, name).inverse()
        palm_yaw, set_down = self._palm(side).yaw, self._set(name, side)
        if held is not None and self.robot.drives:
            palm_yaw = (model.thing(name) * held).yaw
        targets, foot = self._targets(name, side, surface), min(footprint(model.things[name]))
        drops, found = surface.drops, []
        for count, option in enumerate(self._drawn_options(len(targets), far)):
            way, stand, turn, index = option
            cost, at, deep = targets[way]
            # What stands fixed turns a thing as its arm likes best.
            spin = float(self.rng.choice(SPINS) if self.robot.drives else self.rng.uniform(-pi, pi))
            drop = drops[int(self.rng.integers(len(drops)))]
            if count < len(targets) and self.robot.drives:
                spin, drop = 0.0, drops[0]
            leans = way % len(set_down)
            turned = yaw_rotation(surface.facing + spin - palm_yaw) @ set_down[leans]
            # One edge of what leans is lower than its middle.
            edge = foot * hypot(*turned[:2, 2]) * self.grips[side].level
            frame = Frame(at + (drop + edge) * UP, turned)
            palm = frame * palm_in_thing
            more, base = self._stand(side, palm.at, surface.facing + 0.5 * spin, stand, turn)
            total = cost + more + FALLS * drop + 0.1 * leans
            if self.robot.drives:
                total += 0.2 * abs(spin) + (0.08 if index else 2 * max(0.0, deep - 0.24))
            else:
                total += self._askew(side, palm)
            kind = drop, int(deep / BAND) if surface.hollow else 0
            if not self.robot.drives:  # what is out of reach is so however it is turned
                kind = drop, way
            drawn = self._drawn(side, far)[index]
            found.append(_WayDown(total, frame, palm, base, drop, drawn, kind))
        return sorted(found, key=lambda way: way.cost)

    def _brings(self, name: str, side: str, surface: Surface, way: _WayDown) -> Stand | None:
        """Postures in which a hand brings what it holds there, and over it; None if it cannot."""
        # Fingertips that hold something low are as low as it is; over walls they stay above.
        low = self.grips[side].above and not surface.walls
        near = {surface.body: -0.03 if low else 0.006, name: 0.001}
        palm = way.palm
        there = Frame(palm.at + 0.003 * UP, palm.turn)
        rises = RISES if surface.walls else (surface.above,)
        free = (0.003, 0.004) if self.robot.drives else (SWAYS, SWAYS)
        over = [(Frame(palm.at + up * UP, palm.turn), near, free[1]) for up in rises]
        postures = self.rehearse(side, way.base, ((there, near, free[0]), *over), way.drawn)
        return None if postures is None else Stand(way.base, postures, way.drawn)

    def _comes_away(
        self, name: str, side: str, surface: Surface, way: _WayDown, stand: Stand
    ) -> bool:
        """Whether the open hand leaves the thing where it put it, and touches nothing beside it."""
        rehearsal, hand = self.model.rehearsal, self.robot.hands[side]
        grasp, palm = self.grips[side], way.palm
        rehearsal.let_go(name)
        rehearsal.put(name, way.frame.at, way.frame.turn)
        beside = {surface.body: 0.002, name: -0.02}
        back = BEFORE * palm.turn @ np.array(hand.approach)
        straight_up = surface.walls or grasp.above
        others, closed = ((palm, {surface.body: -0.01, name: -1.0}, 0.012),), np.array(grasp.closed)
        for share in () if straight_up else SWEPT:  # what fingers sweep over as they open
            rehearsal.pose({hand.fingers: closed + share * (np.array(grasp.open) - closed)})
            if self.rehearse(side, way.base, others, way.drawn) is None:
                return False
        rehearsal.pose({hand.fingers: np.array(grasp.open)})
        off = 0.12 * UP if straight_up else -back
        out = [(Frame(palm.at + off, palm.turn), {surface.body: 0.006, name: -0.008}, 0.004)]
        if surface.low and grasp.above:
            rehearsal.pose({hand.fingers: np.array(hand.open)})
            out = [(Frame(palm.at + FLAT * UP, palm.turn), beside, 0.002)]
        elif surface.walls:  # where it opens and rises past the edges
            rises = (palm.at + up * UP for up in (0.003, *RISES[:2]))
            out[:0] = [(Frame(at, palm.turn), {surface.body: 0.0, name: -1.0}, 0.0) for at in rises]
        elif not straight_up:
            loose = palm.at - 0.02 * palm.turn[:, 0] + 0.003 * UP
            half = loose - 0.5 * back
            margin = 0.004 if self.robot.drives else SWAYS
            out[:0] = [(Frame(at, palm.turn), beside, margin) for at in (loose, half)]
            if name in self.passed and not self.robot.drives:  # all the way that it goes
                end = Frame(loose - back + 0.02 * UP, palm.turn)
                out.append((end, {name: 0.004}, 0.006))
        left = self.rehearse(side, way.base, out, way.drawn)
        if left is None:
            return False
        return name not in self.passed or not self._whirls(side, (stand.postures[0], *left))

    def _whirls(self, side: str, postures: Sequence[Mapping[str, Array]]) -> bool:
        """Whether an arm that stands fixed would turn far for the little way that it draws back."""
        arm = self.robot.hands[side].arm
        turns = [np.abs(b[arm] - a[arm]).max() for a, b in pairwise(postures)]
        return not self.robot.drives and max(turns) > WHIRL

    def _targets(self, name: str, side: str, surface: Surface) -> list[tuple[float, Array, float]]:
        """Free points of a surface: cost, place, distance from the edge; the best first."""
        model, middle, found = self.model, surface.frame, []
        others = [
            (*model.thing(n).at[:2], reach_of(p))
            for n, p in model.things.items()
            if n not in (name, surface.body)
            # What is lower, as the foot of a tower is, takes no room.
            and -max(0.01, height_of(p) - 0.01) < model.thing(n).at[2] - middle.at[2] < 0.2
        ]
        radius = min(reach_of(model.things[name]), 0.1)
        inset = min(radius, 0.04) if surface.walls else 0.02
        rest = self._resting(side)
        points = self.rng.uniform(-1, 1, (60, 2)) * np.maximum(np.array(surface.half) - inset, 0.0)
        was = middle.turn.T @ (self.came_from.get(name, ("", UP * 9))[1] - middle.at)
        back = bool((np.abs(was) < (*surface.half, 0.01)).all())
        for index, (x, y) in enumerate(np.vstack([*([was[:2]] if back else []), points])):
            at = middle.point(x, y, 0.0)
            gap = min((hypot(at[0] - u, at[1] - v) - r - radius for u, v, r in others), default=1.0)
            if gap >= (-0.06 if surface.hollow else 0.0 if surface.walls else 0.015):
                deep = surface.edge - x
                # What stands fixed reaches best what is near, but not right before its column;
                # what drives puts it near the edge, and near the middle of it.
                best = INNER if surface.hollow else NEAREST
                near = abs(deep - best) + 0.3 * abs(y)
                fixed = abs(hypot(*(at - rest)[:2]) - (FOLDED if name in self.passed else 0.0))
                far = near if self.robot.drives else fixed
                # Where it was taken, the hand has been.
                known = 0.15 if back and not index else 0.0
                found.append((far - 0.5 * min(gap, 0.12) - known, at, deep))
        return sorted(found, key=lambda target: target[0])[: 60 if surface.hollow else 16]

    def _set(self, name: str, side: str) -> list[Array]:
        """(3, 3) ways in which a thing is set down, its yaw as it is now: level, or as it is held.

        What hung is laid down, by the hand from above.
        """
        there, grasp, pinch = self.model.thing(name), self.grips[side], self.robot.hands[side].pinch
        if grasp.off is not None and pinch is not None:  # it hung, and is laid down
            palm = downwards(pinch, self._palm(side).yaw)
            return [palm @ self._in_palm(side, name).turn]
        if not grasp.level:
            return [there.turn]
        level = turn_by(towards(there.turn[:, 2], UP)) @ there.turn
        # What has turned in the hand may lean a little when it is let go of: it rights itself.
        params = self.model.things[name]
        lean = LEAN * atan2(2 * min(footprint(params)), height_of(params))
        leaning = towards(level[:, 2], there.turn[:, 2])
        far = float(np.linalg.norm(leaning))
        return [level, turn_by(leaning * min(1.0, lean / max(far, 1e-9))) @ level]

    def _between_walls(self, name: str, side: str, target: Frame, stand: Stand) -> Act:
        """Over the walls, down, let go, and up again: in the postures that were rehearsed."""
        self.look()
        way: list[dict[str, Array]] = []
        held = self._in_palm(side, name).inverse()
        for rise, posture in zip((0.003, *RISES), stand.postures, strict=True):
            palm = Frame(target.at + rise * UP, target.turn) * held
            start = {**self.limbs.joints, **posture}
            solved = self._solve(side, palm, self.model.base(), start, stand.drawn)
            if solved is None:
                return "out-of-reach"
            way.append(solved)
        path = self.arm_path(way[-1], {})
        if path is None:
            return "no-way"
        yield from self.limbs.follow(path, speed=0.35)
        yield from self.limbs.follow(way[-2::-1], speed=0.2)
        self.look()
        failed = "" if self.model.support(name)[1] > 0.3 else "slipped"
        yield from self.let_go(side)
        yield from self.limbs.follow(way[1:], speed=0.3)
        yield from self.back_off(0.3)
        yield from self.tuck(side)
        return failed

    def _over(self, name: str, side: str, target: Frame, stand: Stand, high: float) -> Act:
        """Bring the thing over its place: straight, or around what is in the way."""

        def over(above: float) -> Frame:
            return Frame(target.at + above * UP, target.turn) * self._in_palm(side, name).inverse()

        self.look()
        goal = over(high)
        # Straight, what is lower than the edge that it goes over would pass it too closely.
        higher = goal.at[2] > self._palm(side).at[2] + HIGHER
        spare = PASSES if self.robot.drives else CLOSE
        if not higher and self._straight(side, [goal], {}, spare):
            held = self._keeps(name, side)
            yield from self.goto(side, lambda: over(high), speed=0.3, within=0.015, while_true=held)
            return ""
        return (yield from self.go_round(side, goal, stand.postures[1], speed=0.35))

    def _keeps(self, name: str, side: str) -> Callable[[], bool]:
        """Whether a hand still holds a thing as it does now.

        What slips out of it is no measure of where the palm has to go: it would run away from it.
        """
        first = self._in_palm(side, name).at

        def held() -> bool:
            slid = float(np.linalg.norm(self._in_palm(side, name).at - first))
            return self.model.support(name)[1] > 0.3 and slid < SLIDES

        return held

    def _lower(self, name: str, side: str, target: Frame) -> Act:
        """Over the place, then down to where it is to be let go of, or until something bears it.

        How high that is was rehearsed: the hand keeps off what the thing is put on.
        """

        def to(above: float) -> Frame:
            palm = self._palm(side)
            there = self.model.thing(name)
            tilt = towards(there.turn[:, 2], target.turn[:, 2]) * self.grips[side].level
            up = turn_by(clamp(tilt, -0.3, 0.3))
            at = target.at + above * UP + up @ (palm.at - there.at)
            return Frame(at, up @ palm.turn)

        spare = SOFT if self.model.things[name]["kind"] in ("towel", "ball") else SPARE
        held = self._keeps(name, side)

        def hangs() -> bool:  # what slid down is borne sooner: the hand would press it into that
            return held() and self.model.support(name)[0] < PRESSED

        yield from self.goto(
            side, lambda: to(0.03), speed=0.25, within=0.012, while_true=hangs, patience=3.0
        )
        if not held():
            return "slipped"

        def floating() -> bool:
            self.model.look(self.limbs.seen)
            borne, pressed = self.model.support(name)[0], self.limbs.seen["truth/contact"][0]
            high = self.model.thing(name).at[2] > target.at[2] + spare + 0.002
            return bool(high and held() and borne < BORNE and pressed < PRESSED)

        # What does not come there in so long will not: it would stand still for nothing.
        yield from self.goto(
            side, lambda: to(spare), speed=0.1, within=0.001, while_true=floating, patience=1.2
        )
        self.model.look(self.limbs.seen)
        here = self._palm(side)

        def pressing() -> bool:
            return bool(self.limbs.seen["truth/contact"][0] > PRESSED)

        # The command is ahead of what was stopped by a touch: back until it no longer presses.
        if pressing():
            up = Frame(here.at + 0.02 * UP, here.turn)
            yield from self.goto(side, up, speed=0.1, within=0.002, while_true=pressing)
        return ""
