"""Skills: closed-loop pieces of a story, for any robot with hands.

A skill is a generator: it yields actions and is sent observations. Motion is a pursuit, not a
timed path: each tick the command moves towards its goal at a bounded speed that falls with the
distance left, so that what it does follows from where it is, and a policy can learn it.
Poses are in the robot's base frame unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from math import atan2, hypot

import numpy as np

from fabrika._errors import UnknownNameError
from fabrika._signals import Array, Signals
from fabrika.sim._kinematics import Kinematics, Pose
from fabrika.sim._pose import rotation_of, turn_by, vector_of
from fabrika.sim._robot import Robot, clamp

Skill = Generator[Signals, Signals, None]
Goal = Pose | Callable[[], Pose]
"""Where a palm is to go: fixed, or asked anew every tick."""
_FAST = 0.45
"""Share of its top speed that no joint exceeds while a palm is led."""
_SHARES = np.linspace(1.0, 0.05, 20)
_NOD = 0.12
"""Share of what is left that the head turns in a tick, and the most of its top speed."""
_RAMP = 2.0
"""How much of its top speed a joint gains in a second."""
_PRESSED = 80.0
"""Force against what stands fast from which everything gives way [N]."""
_BLOCKED = 0.4
"""So long it gives way before it leaves its path [s]."""


class Limbs:
    """The commanded position of every joint, and the skills that move it."""

    def __init__(self, robot: Robot, kinematics: Kinematics, dt: float) -> None:
        self.robot, self.kinematics, self.dt = robot, kinematics, dt
        self.joints: dict[str, Array] = {}
        self.seen: Signals = {}
        self._speed: dict[str, float] = {}
        self._resisted = 0.0
        self._watched: Callable[[], Array] | None = None

    def start(self, observation: Signals, posture: Signals | None = None) -> None:
        """Begin at home. ``posture``: positions by group that spare joints are drawn to."""
        self.seen = observation
        self.joints = {name: home.copy() for name, home in self.robot.home.items()}
        self._posture = {name: value.copy() for name, value in self.joints.items()}
        self._posture.update(posture or {})
        self._speed, self._steps = dict.fromkeys(self.robot.hands, 0.0), np.zeros(0)
        # How far every joint can go in a tick.
        self._most = {n: self.dt * np.array(g.velocity) for n, g in self.robot.groups.items()}
        self._poses = {s: self.kinematics.palm(self.joints, s) for s in self.robot.hands}

    def draw(self, posture: Mapping[str, Array]) -> None:
        """From now on spare joints are drawn to these positions by group."""
        self._posture.update({name: value.copy() for name, value in posture.items()})

    def watch(self, at: Callable[[], Array]) -> None:
        """From now on the head, if there is one, follows a point in the base frame [m].

        It turns while the rest moves, and costs no time: what is worked on is in its pictures.
        """
        self._watched = at

    def _nod(self) -> None:
        """Turn the head by one tick towards what is watched."""
        neck = self.robot.neck
        if neck is None or self._watched is None:
            return
        rise = sum(float(self.joints[name][0]) for name in self.robot.torso)
        x, y, z = self._watched() - np.array(neck.at)
        aim = np.array([atan2(y, x), atan2(rise - z, hypot(x, y))])
        group, here = self.robot.groups[neck.group], self.joints[neck.group]
        most = 0.25 * self._most[neck.group]
        aim = clamp(aim, np.array(group.low), np.array(group.high))
        step = clamp(_NOD * (aim - here), -most, most)
        self.joints[neck.group] = here + step

    def tick(self) -> Skill:
        """Send the commanded joints and take the next observation, if there is one."""
        self._nod()
        self.seen = (yield {n: v.copy() for n, v in self.joints.items()}) or self.seen
        self._give_way()

    def _give_way(self) -> None:
        """Draw the commands of limbs that meet resistance back to where they are.

        A command that ran on would press ever harder. An arm feels it in its torque
        (`Robot.effort`), all but fingers in what the robot presses against. An expert that does
        not read ``truth/torque`` feels neither.
        """
        felt = self.seen.get("truth/torque")
        if felt is None:
            return
        pressed, resisted = bool(self.seen["truth/contact"][0] > _PRESSED), False
        arms = {hand.arm for hand in self.robot.hands.values()}
        for (name, group), share in zip(self.robot.groups.items(), felt, strict=True):
            if f"joint/{name}" not in self.seen or group.hand:
                continue
            if pressed or (name in arms and share > self.robot.effort):
                self.joints[name], resisted = self.seen[f"joint/{name}"].copy(), True
        # What is pressed springs back, and so comes and goes.
        self._resisted = max(0.0, self._resisted + (self.dt if resisted else -0.1 * self.dt))
        if resisted:
            self.refresh()

    def blocked(self) -> bool:
        """Whether what was begun last has met resistance for long."""
        return self._resisted > _BLOCKED

    def wait(self, seconds: float) -> Skill:
        """Hold still."""
        for _ in range(round(seconds / self.dt)):
            yield from self.tick()

    def palm(self, side: str) -> Pose:
        """The commanded pose of a palm."""
        return self._poses[side]

    # -- arms ----------------------------------------------------------------------------

    def move(
        self,
        goals: Mapping[str, Goal],
        *,
        speed: float = 0.35,
        turn: float = 1.6,
        within: float = 0.004,
        while_true: Callable[[], bool] = lambda: True,
        patience: float = 6.0,
    ) -> Skill:
        """Bring the palms to their goals at up to ``speed`` [m/s] and ``turn`` [rad/s].

        Ends when all are ``within`` [m], when ``while_true`` fails, when an arm has long met
        resistance, or after ``patience`` [s].
        """
        self._resisted = 0.0
        for _ in range(round(patience / self.dt)):
            left = self.pursue(goals, speed=speed, turn=turn)
            yield from self.tick()
            if left < within or self.blocked() or not while_true():
                return

    def pursue(self, goals: Mapping[str, Goal], *, speed: float, turn: float) -> float:
        """Move the commands by one tick; the largest distance left [m + 0.1 m/rad]."""
        targets: dict[str, Pose] = {}
        far = 0.0
        for side, goal in goals.items():
            position, rotation = goal() if callable(goal) else goal
            here, turned = self._poses[side]
            offset, spin = position - here, vector_of(rotation @ turned.T)
            distance, angle = hypot(*offset.tolist()), hypot(*spin.tolist())
            # One scalar path for place and turn, so that both arrive together.
            length = max(distance, angle * speed / turn, 1e-9)
            # Brake so that it could stop in time, and do not start faster than it could stop.
            limit = min(speed, self._speed[side] + 1.2 * self.dt, 4.0 * length)
            share = min(1.0, limit * self.dt / length)
            self._speed[side] = limit
            targets[side] = (here + share * offset, turn_by(share * spin) @ turned)
            far = max(far, distance, 0.1 * angle)
        solved, _ = self.kinematics.solve(targets, self.joints, self._posture)
        share = self._share(solved)
        if share < 1.0:
            # Near a singular posture joints race where the palm creeps: the palm waits for them.
            solved = {n: self.joints[n] + share * (v - self.joints[n]) for n, v in solved.items()}
        self.joints.update(solved)
        if share < 1.0:
            targets = {side: self.kinematics.palm(self.joints, side) for side in targets}
        self._poses.update(targets)
        return far

    def lead(self, palms: Mapping[str, Pose]) -> None:
        """The commanded palms to poses close by, at once."""
        solved, _ = self.kinematics.solve(palms, self.joints, self._posture)
        self.joints.update(solved)
        self._poses.update(palms)  # and not where they came to: they would drift

    def _share(self, goal: Signals) -> float:
        """What share of a step to joint positions is done in this tick: no joint races or jerks."""
        step = np.concatenate([(v - self.joints[n]) / self._most[n] for n, v in goal.items()])
        last = self._steps if self._steps.shape == step.shape else np.zeros_like(step)
        shares = min(1.0, _FAST / max(float(np.abs(step).max()), 1e-9)) * _SHARES
        jerk = np.abs(shares[:, None] * step - last).max(axis=1)
        # The most that is smooth; if nothing is, what is smoothest.
        smooth = np.flatnonzero(jerk <= _RAMP * self.dt)
        share = float(shares[smooth[0] if len(smooth) else jerk.argmin()])
        self._steps = share * step
        return share

    def follow(self, path: Sequence[Mapping[str, Array]], *, speed: float = 0.5) -> Skill:
        """Through joint positions by group, one after the other, at a share of top speed.

        Corners are taken slowly: the sharper, the slower. A path on which the arm meets resistance
        is left.
        """
        rate = self._resisted = 0.0
        for index, corner in enumerate(path):
            through = 0.05
            if index < len(path) - 1:
                through = min(speed, _RAMP * self.dt / self._bend(corner, path[index + 1]))
            while True:
                left = {name: values - self.joints[name] for name, values in corner.items()}
                # Ticks that it takes at top speed, of the joint that has furthest to go.
                ticks = max(float((np.abs(v) / self._most[n]).max()) for n, v in left.items())
                if ticks < 1e-6:
                    break
                rate = min(speed, rate + _RAMP * self.dt, max(through, 0.15 * ticks))
                share = min(1.0, rate / ticks)
                for name, values in left.items():
                    self.joints[name] = self.joints[name] + share * values
                yield from self.tick()
                if self.blocked():
                    return
                rate *= not self._resisted
        self.refresh()

    def _bend(self, corner: Mapping[str, Array], after: Mapping[str, Array]) -> float:
        """How sharply the way from here turns at a corner: 0 straight on, 2 back."""

        def way(start: Mapping[str, Array], end: Mapping[str, Array]) -> Array:
            steps = np.concatenate([(end[n] - start[n]) / self._most[n] for n in corner])
            return np.asarray(steps / max(float(np.abs(steps).max()), 1e-9))

        return max(float(np.abs(way(corner, after) - way(self.joints, corner)).max()), 1e-3)

    def refresh(self) -> None:
        """Work out the palms' poses again, after joints were moved by themselves."""
        self._poses = {s: self.kinematics.palm(self.joints, s) for s in self.robot.hands}
        self._speed, self._steps = dict.fromkeys(self.robot.hands, 0.0), np.zeros(0)

    # -- fingers -------------------------------------------------------------------------

    def shape(self, sides: tuple[str, ...], closure: Array, *, seconds: float) -> Skill:
        """Move the fingers of the hands to a posture (fingers,) over a time [s]."""
        names = [self.robot.hands[side].fingers for side in sides]
        starts = [self.joints[name].copy() for name in names]
        ticks = max(1, round(seconds / self.dt))
        for tick in range(1, ticks + 1):
            for name, begin in zip(names, starts, strict=True):
                self.joints[name] = begin + (closure - begin) * tick / ticks
            yield from self.tick()

    # -- base ----------------------------------------------------------------------------

    def drive(
        self,
        goal: Callable[[], Array],
        *,
        speed: float,
        within: float,
        least: float = 0.0,
        patience: float = 10.0,
    ) -> Skill:
        """Move the base's command by ``goal()``: what is left (x, y, yaw) in the start frame.

        Between ``least`` and ``speed`` [m/s], slower the nearer it is. Raises `UnknownNameError`
        for a robot without a group "base": it stands where it stands.
        """
        if "base" not in self.joints:
            raise UnknownNameError("group", "base", self.joints)
        rate = self._resisted = 0.0
        for _ in range(round(patience / self.dt)):
            left = goal()
            distance = float(np.linalg.norm(left[:2])) + 0.3 * abs(float(left[2]))
            if distance < within:
                return
            rate = min(speed, rate + 0.6 * self.dt, max(least, 1.6 * distance))
            self.joints["base"] = self.joints["base"] + left * min(1.0, rate * self.dt / distance)
            yield from self.tick()
            if self.blocked():
                return
            rate *= not self._resisted


def body_in_base(observation: Signals, name: str) -> Pose:
    """True pose of a body in the robot's base frame, from ``truth/`` signals."""
    base, body = observation["truth/base"], observation[f"truth/{name}"]
    turn = base[:3, :3].T
    return turn @ (body[:3] - base[:3, 3]), turn @ rotation_of(body[3:7])
