"""All skills of one robot with hands: take, here, and what `_put`, `_parts`, `_pour` ... have.

Each is a closed loop that looks before it acts: it samples ways to do it, rehearses them in the
expert's own model, does the first that touches nothing else, and says in a word if it failed. What
it changed it verifies by what is there, not by what it commanded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fabrika._signals import Array
from fabrika.sim._aside import set_aside, waits_well
from fabrika.sim._both import carry_both
from fabrika.sim._both_ways import takes_both
from fabrika.sim._drum import BARRED, barred
from fabrika.sim._grasps import LOW, Grasp
from fabrika.sim._grasps_parallel import ways_to_hold
from fabrika.sim._handover import hand_over
from fabrika.sim._insert import Fitter, Joining
from fabrika.sim._model import Frame
from fabrika.sim._parts import close_part, open_part, press_part
from fabrika.sim._pose import yaw_rotation
from fabrika.sim._pour import pour
from fabrika.sim._push import push
from fabrika.sim._reach import BEFORE, BLOCKED, CLOSE, MARGIN, UP, Act, Stand
from fabrika.sim._surface import Surface
from fabrika.sim._turn import turn_knob
from fabrika.sim._wipe import wipe

LIFT = 0.05
"""How high a thing is lifted to see whether it is held [m]."""
LOST = 0.3
"""What is held with less force is not held [N]."""
OVER = 0.03
"""How high over the walls that it stands between a thing is lifted [m]."""
OUT = (0.0, 0.06, 0.12)
"""How far it may come out before it rises [m]: a rack may not be as far out as it is deep."""
CHASED = 0.012
"""How far a thing may be pushed by a hand that closes in [m]: further, it would run from it."""
JAMMED = 12.0
"""Force of open fingers on a thing at which a hand draws back a little and comes again [N]: an arm
sways by as much as there is room beside something thick, and pushes it down by friction."""
CARRY = (1.2, 1.1, 1.0)
"""Heights of the hand at which things are carried, the best first [m]."""
AROUND = (0.0, 0.8, -0.8, 1.6, -1.6, 2.4, -2.4)
"""From which sides a thing on the floor is taken, seen from the nearest [rad]."""
HIGH = 1.0
"""What is to stand higher than this is near the height of the shoulders [m]."""
_GLIMPSE = 40
"""Places that are tried to see whether a thing can be put there as it is to be taken."""

To = Callable[[], Surface | Joining]
"""What a thing is to be put on or into, as it is when asked."""


class Worker(Fitter):
    """One robot at work."""

    # -- parts -------------------------------------------------------------------------------

    def open(self, joint: str) -> Act:
        """Pull a door or a drawer open."""
        self.watch(joint)
        return open_part(self, joint)

    def close(self, joint: str) -> Act:
        """Push a door or a drawer shut."""
        self.watch(joint)
        return close_part(self, joint)

    def press(self, joint: str) -> Act:
        """Press a button."""
        self.watch(joint)
        return press_part(self, joint)

    def turn(self, joint: str, to: float) -> Act:
        """Turn a knob to an angle [rad]."""
        self.watch(joint)
        return turn_knob(self, joint, to)

    # -- push, wipe --------------------------------------------------------------------------

    def push(self, name: str, place: str) -> Act:
        """Slide a thing to the middle of the spot that it stands on."""
        self.watch(name)
        return push(self, name, place)

    def wipe(self, name: str, place: str) -> Act:
        """Wipe the middle of a spot with a held pad."""
        self.watch(place)
        return wipe(self, name, place)

    # -- pour --------------------------------------------------------------------------------

    def pour(self, source: str, vessel: str, done: Callable[[], bool]) -> Act:
        """Pour what is in a held vessel into another one, until it is ``done``."""
        self.watch(vessel)
        return pour(self, source, vessel, done)

    def hand_over(self, name: str, to: str) -> Act:
        """Give a held thing from one hand to another, in the air."""
        self.watch(name)
        return hand_over(self, name, to)

    def takes_both(self, name: str) -> bool:
        """Whether a thing is too wide for each hand, and two hands can carry it."""
        return takes_both(self, name)

    def carry_both(self, name: str, to: Callable[[], Surface]) -> Act:
        """Bring a thing to a surface with both hands, and let go of it."""
        self.watch(name)
        return carry_both(self, name, to)

    def set_aside(self, side: str) -> Act:
        """Hold what a hand has at the robot's side, out of the other arm's way."""
        return set_aside(self, side)

    def waits_well(self, side: str) -> bool:
        """Whether a hand may hold what it has for long."""
        return waits_well(self, side)

    def forget_lost(self) -> Act:
        """What slipped out of a hand on its way is no longer held; the hand goes to its rest."""
        for side, name in list(self.holds.items()):
            if self.look().support(name)[1] < LOST:
                del self.holds[side]
                yield from self.limbs.shape(
                    (side,), np.array(self.robot.hands[side].open), seconds=0.3
                )
                yield from self.tuck(side)
        return ""

    # -- take --------------------------------------------------------------------------------

    def take(
        self,
        name: str,
        sides: Sequence[str] = (),
        most: int = 250,
        *,
        to: To | None = None,
        aside: bool = False,
    ) -> Act:
        """Take a thing: stand where it can be reached, grasp, lift, see that it is held.

        ``to``: what it will be put on, if that is known: a robot that does not drive, or
        that has to reach up, takes it with the hand, and in the way, in which it can put it there.
        ``aside``: hold it at the robot's side, for the other hand is to take another thing.
        """
        model = self.look()
        self.watch(name)
        place = model.under(name)
        if place or name not in self.came_from:
            self.came_from[name] = place, model.thing(name).at
        self.passed.discard(name)
        for _ in range(3):
            hands = sides or tuple(self.robot.hands)
            # What stands deep, or behind something, is reached in few of very many ways.
            found = self._find_grasp(name, hands, most, to)
            found = found or self._find_grasp(name, hands, most, to, far=True)
            found = found or self._find_grasp(name, hands, most, to, slim=True)
            found = found or self._find_grasp(name, hands, 4 * most, to)
            if found is None:
                return "no-grasp"
            side, grasp, stand = found
            failed = yield from self._approach(name, side, grasp, stand)
            if failed:
                continue
            under = self.model.under(name)
            walled = self.model.spot_body(under) in self.model.parts
            failed = yield from self._grasp(name, side, grasp)
            if not failed:
                self.holds[side] = name
                opened = self.robot.hands[side].open if grasp.slim else grasp.open
                above = grasp.above or grasp.off is not None
                self.grips[side] = replace(grasp, above=above, open=opened)
                if walled:
                    yield from self._raise(side, self.model.spot(under)[0].headroom + OVER - LIFT)
                if not (aside and self.waits_well(side)) or (yield from self.set_aside(side)):
                    yield from self.carry(side)
                self.model.look(self.limbs.seen)
                if self._is_held(name, side):
                    return ""
                del self.holds[side]
            yield from self._release(side)
            yield from self.back_off(0.3)
            if grasp.slim:
                yield from self._spread(side, self.robot.hands[side].open)
            yield from self.tuck(side)
        return "not-grasped"

    def _find_grasp(
        self,
        name: str,
        sides: Sequence[str],
        most: int,
        to: To | None = None,
        far: bool = False,
        slim: bool = False,
    ) -> tuple[str, Grasp, Stand] | None:
        """The cheapest grasp, hand and stand that touch nothing.

        ``far``: arms stretched; ``slim``: where there is no room behind it.
        """
        model = self.look()
        frame, params = model.thing(name), model.things[name]
        place = model.under(name)
        support = model.spot(place)[0].body if place else "floor"
        faces = [model.facing(place.partition(".")[0])] if place else self._around(frame.at)
        deep = self._deep(place, frame.at) if place else 0.0
        goal = to() if to else None
        up = self.robot.drives and isinstance(goal, Surface) and goal.frame.at[2] > HIGH
        seen = to if up or not self.robot.drives else None
        worse = barred(model, goal)
        ways = [
            (side, grasp, facing, cost)
            for cost, facing in enumerate(faces)
            for side in sides
            if side not in self.holds
            for grasp in ways_to_hold(
                self.robot.hands[side], params, frame, facing, support in model.parts, slim
            )
        ]
        options, strains = [], dict[int, float]()
        for way, stand, turn, index in self._drawn_options(len(ways), far):
            side, grasp, facing, more = ways[way]
            drawn = self._drawn(side, far)[index]
            palm = frame * grasp.palm
            cost, base = self._stand(side, palm.at, facing, stand, turn)
            cost += grasp.cost + 0.05 * more + BARRED * (side == worse)
            if up:  # held high, so that the forearm clears the edge
                cost -= 2.5 * grasp.palm.at[2]
            if not self.robot.drives:
                if way not in strains:
                    strains[way] = self._strain(name, side, grasp, to)
                cost += 0.3 * self._askew(side, palm) + strains[way]
            else:
                cost += 0.08 if index else 2 * max(0.0, deep - 0.24)
            options.append((cost, side, grasp, palm, base, drawn))
        options.sort(key=lambda option: option[0])
        usual = {
            h.fingers: np.array(h.open)
            for s, h in self.robot.hands.items()
            if slim and s not in self.holds
        }
        spare: dict[bytes, bool] = {}
        leads: dict[int, bool] = {}
        tried = blocked = 0
        for _, side, grasp, palm, base, drawn in options:
            key = np.round(base, 2).tobytes()
            if key not in spare and self.robot.drives:
                model.rehearsal.pose(self._at(base, {**self._arms(), **self._torso(), **usual}))
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
            over = Frame(palm.at + self._off(palm, grasp), palm.turn)
            goals: tuple[tuple[Frame, Mapping[str, float], float], ...] = (
                (palm, near, 0.004),
                (half, near, 0.004),
                (before, {}, MARGIN),
                (over, near, 0.0),
            )
            postures = self.rehearse(side, base, goals, drawn)
            if postures is not None and id(grasp) not in leads:
                leads[id(grasp)] = self._leads_to(name, side, grasp, seen)
            if postures is not None and leads[id(grasp)]:
                if self.route(base) is not None:
                    return side, grasp, Stand(base, postures, drawn)
                spare[key], blocked = False, blocked + 1
                if blocked >= BLOCKED:
                    return None
        return None

    def _around(self, at: Array) -> list[float]:
        """Yaws of a base that looks at a point of the floor, the nearest way first [rad]."""
        x, y, _ = (at - self.model.base().at).tolist()
        return [float(np.arctan2(y, x)) + turn for turn in AROUND]

    def _strain(self, name: str, side: str, grasp: Grasp, to: To | None) -> float:
        """What a grasp costs where the thing is to be joined to another one."""
        goal = to and to()
        if not isinstance(goal, Joining):
            return 0.0
        palms = (fit.frame * grasp.palm for fit in self._fits(name, goal))
        return 0.3 * min(self._askew(side, palm) for palm in palms)

    def _leads_to(self, name: str, side: str, grasp: Grasp, to: To | None) -> bool:
        """Whether a thing can be put there, if that is known, as this grasp holds it."""
        if to is None:
            return True
        self.grips[side] = grasp  # as it will be held
        goal = to()
        found = (
            self._find_fit(name, side, goal, _GLIMPSE, grasp.palm)
            if isinstance(goal, Joining)
            else self._find_place(name, side, goal, _GLIMPSE, grasp.palm)
        )
        self.look()
        return found is not None

    def _off(self, palm: Frame, grasp: Grasp) -> Array:
        """(3,) where a hand that has closed goes first, in the world [m]: up, or off a peg."""
        return LIFT * UP if grasp.off is None else palm.turn @ np.array(grasp.off)

    def _before(self, palm: Frame, grasp: Grasp) -> Frame:
        """Where the hand waits before it closes in: away from the thing, and above."""
        return Frame(palm.at + palm.turn @ (BEFORE * grasp.away) + 0.03 * UP, palm.turn)

    def _approach(self, name: str, side: str, grasp: Grasp, stand: Stand) -> Act:
        """Drive to the stand; bring the hand before the thing, fingers open."""
        failed = yield from self.drive(stand.base)
        if failed:
            return failed
        self._draw(stand.drawn)
        # Straight fingers find no way where those that are bent do: they are bent before.
        yield from self._spread(side, self.robot.hands[side].open if grasp.slim else grasp.open)
        palm = self.look().thing(name) * grasp.palm
        failed = yield from self.go_round(side, self._before(palm, grasp), stand.postures[2])
        if grasp.slim and not failed:
            yield from self._spread(side, grasp.open)
        return failed

    def _spread(self, side: str, fingers: Sequence[float]) -> Act:
        """Fingers to where they are to be on the way to a thing."""
        yield from self.limbs.shape((side,), np.array(fingers), seconds=0.4)
        return ""

    def _grasp(self, name: str, side: str, grasp: Grasp) -> Act:
        """Close in, looking; close the fingers; lift a little; see whether it is held."""
        turned = (self.model.thing(name) * grasp.palm).turn

        def palm(gap: float) -> Frame:
            there = self.model.thing(name)
            at = there.at + (turned @ grasp.palm.turn.T) @ grasp.palm.at
            return Frame(at + turned @ (gap * grasp.away), turned)

        yield from self.goto(side, lambda: palm(BEFORE), within=0.012, patience=3.0)
        gap, stood = 0.0 if grasp.above else 0.003, self.model.thing(name).at

        def stands() -> bool:
            chased = float(np.linalg.norm(self.model.thing(name).at - stood)) >= CHASED
            return not chased and self.model.support(name)[1] < JAMMED

        for _ in range(3):
            yield from self.goto(
                side, lambda: palm(gap), speed=0.2, within=0.003, while_true=stands, patience=3.0
            )
            if self.model.support(name)[1] < JAMMED:
                break
            yield from self.goto(
                side, lambda: palm(0.3 * BEFORE), speed=0.2, within=0.006, patience=1.0
            )
        self.grips[side] = grasp
        yield from self.limbs.shape((side,), np.array(grasp.closed), seconds=0.8)
        self.model.look(self.limbs.seen)
        here = self._palm(side)
        yield from self.goto(
            side,
            Frame(here.at + self._off(here, grasp), here.turn),
            speed=0.2,
            within=0.015,
            patience=3.0,
        )
        self.model.look(self.limbs.seen)
        return "" if self._is_held(name, side) else "not-grasped"

    def _raise(self, side: str, far: float) -> Act:
        """Up by ``far`` [m]; first a little towards the robot where something is above."""
        base, here = self.look().base(), self._palm(side)
        away = (base.at - here.at) * (1.0, 1.0, 0.0)
        away /= np.linalg.norm(away)
        rises = [[out * away, out * away + far * UP][not out :] for out in OUT]
        ways = [[Frame(here.at + step, here.turn) for step in rise] for rise in rises]
        for goal in next((way for way in ways if self._straight(side, way, {})), ways[0]):
            yield from self.goto(side, goal, speed=0.25, within=0.01, patience=3.0)
        return ""

    def _is_held(self, name: str, side: str) -> bool:
        things, robots = self.model.support(name)
        offset = self._in_palm(side, name)
        away = offset.at - np.array(self.robot.hands[side].pocket)
        # What is in it presses on it, too: then it is held if it stands on nothing.
        lifted = things < 0.1 or (self.model.loaded(name) and not self.model.under(name))
        return lifted and robots > 0.3 and float(np.linalg.norm(away)) < 0.25

    def _up(self, side: str, goals: Sequence[Frame]) -> Act:
        """The palm to the first of some poses in the world that there is a way to.

        As it is turned now, or with its fingers straight ahead.
        """
        rest = {self.robot.hands[side].arm: self.rest[self.robot.hands[side].arm]}
        base = self.look().base()
        ahead = [Frame(g.at, yaw_rotation(base.yaw - g.yaw) @ g.turn) for g in goals]
        for goal in (*goals, *ahead):
            target = self._solve(side, goal, base, {**self.limbs.joints, **self._torso(), **rest})
            path = None if target is None else self.arm_path(target, {})
            if path is not None:
                yield from self.limbs.follow(path, speed=0.25)
                return ""
        return "no-way"

    def carry(self, side: str) -> Act:
        """Away from the fixture; the hand close before the body, what it holds upright."""
        if not self.robot.drives:
            return ""
        failed = yield from self.back_off(0.45)
        self.look()
        base = self.model.base()
        s = 1.0 if side == "left" else -1.0
        here = base.inverse() * self._palm(side)
        goals = [base * Frame(np.array([0.36, s * 0.20, up]), here.turn) for up in CARRY]
        straight = next((goal for goal in goals if self._straight(side, [goal], {})), None)
        if straight is not None:
            yield from self.goto(side, straight, speed=0.25, within=0.02)
        elif here.at[2] < LOW + 0.3:  # under the edge of a table it would find no way up
            yield from self._up(side, goals)
        return failed
