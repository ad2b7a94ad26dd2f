"""The robot's own controller: limits, interpolation, velocity lead, fingers that hold.

A command is an absolute position target. The controller clips it to the joint's range, slows it
to the joint's speed and acceleration, and every 20 ms interpolates it, delayed as the scenario
says, with a lead that cancels the servo's lag (kv / kp). A finger that stalls holds what it has
closed around: its servo stays where it is 70 % of its force limit beyond the contact, because a
saturated servo is only neutrally stable and lets the object creep.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from fabrika._signals import Array, Signals
from fabrika.sim._robot import Robot

_STALL = 6
"""Servo updates without progress until a finger holds."""
_GRIP = 0.7
"""Share of the force limit with which a finger holds."""
_DELAYS = 4
"""Longest command delay that can be asked for, in servo updates."""


class Motors:
    """The state and the arithmetic of the controller, for all actuators at once."""

    def __init__(
        self,
        robot: Robot,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        params: Mapping[str, Any],
        sway: Array,
    ) -> None:
        self._robot, self._data = robot, data
        groups = robot.groups
        names = [name for group in groups.values() for name in group.actuators]
        ids = [model.actuator(name).id for name in names]
        # Actuators in the order of the groups, as they should be, are a view; else a copy.
        ordered = ids == list(range(ids[0], ids[0] + len(ids)))
        self._ids: Any = slice(ids[0], ids[0] + len(ids)) if ordered else np.array(ids)
        edges = np.cumsum([0, *(len(g.actuators) for g in groups.values())])
        self._slices = {
            name: slice(int(a), int(b))
            for name, a, b in zip(groups, edges[:-1], edges[1:], strict=True)
        }
        self._starts = edges[:-1]

        def column(field: str) -> Array:
            return np.concatenate([np.array(getattr(g, field), float) for g in groups.values()])

        self._low, self._high = column("low"), column("high")
        self._velocity, self._torque = column("velocity"), column("torque")
        self._acceleration = np.concatenate(
            [np.full(len(g.names), g.acceleration) for g in groups.values()]
        )
        self._hand = np.concatenate([np.full(len(g.names), g.hand) for g in groups.values()])
        gain = np.asarray(params["gain"], float)
        model.actuator_gainprm[self._ids, 0] *= gain
        model.actuator_biasprm[self._ids, 1] *= gain
        kp = model.actuator_gainprm[self._ids, 0]
        kv = -model.actuator_biasprm[self._ids, 2]
        self._lead = kv / kp
        self._margin = _GRIP * self._torque / kp
        self._per_limit = np.stack(
            [np.where(self._hand, 0.0, 1 / self._velocity), 1 / self._torque]
        )
        self._shares = np.zeros_like(self._per_limit)
        self._fingers = np.flatnonzero(self._hand)
        self._delay = int(params["delay"])
        self._place(model, data)
        home = column("home")
        self._past, self._goal = home.copy(), home.copy()
        self._queue = np.tile(home, (_DELAYS, 1))
        self._rates = np.zeros((_DELAYS, len(home)))
        self._held = np.full(len(self._fingers), np.nan)
        self._stall = np.zeros(len(self._fingers))
        data.ctrl[self._ids] = home
        self._period = 1.0
        self._ticks = 0
        self._sway = sway
        self._drift = sway[:2]

    def _place(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Put every joint at home; a tendon's joints share its length equally."""
        home = [h for group in self._robot.groups.values() for h in group.home]
        for actuator, value in zip(np.arange(model.nu)[self._ids], home, strict=True):
            target = int(model.actuator_trnid[actuator, 0])
            if model.actuator_trntype[actuator] == mujoco.mjtTrn.mjTRN_TENDON:
                start = int(model.tendon_adr[target])
                wraps = range(start, start + int(model.tendon_num[target]))
                joints = [int(model.wrap_objid[wrap]) for wrap in wraps]
            else:
                joints = [target]
            for joint in joints:
                data.qpos[model.jnt_qposadr[joint]] = value

    def pick(self, group: str, values: Array) -> Array:
        """The entries of one group."""
        return values[self._slices[group]]

    def position(self, group: str) -> Array:
        """Measured positions of one group."""
        return np.array(self._data.actuator_length[self._ids][self._slices[group]])

    def command(self, action: Signals, period: float) -> dict[str, Array]:
        """Take a new command for one control period [s]; what will be carried out of it."""
        wanted = np.concatenate([action[name] for name in self._slices])
        wanted = np.clip(wanted, self._low, self._high)
        before, most = (self._goal - self._past) / period, self._acceleration * period
        self._past = self._goal
        rate = np.clip((wanted - self._past) / period, before - most, before + most)
        rate = np.clip(rate, -self._velocity, self._velocity)
        self._goal = np.clip(self._past + rate * period, self._low, self._high)
        self._drift = (self._sway[min(self._ticks, len(self._sway) - 2) :])[:2]
        self._ticks += 1
        self._period = period
        return {name: self._goal[part].copy() for name, part in self._slices.items()}

    def speed(self) -> float:
        """Largest commanded speed, as a share of its limit."""
        return float(np.max(np.abs(self._goal - self._past) / (self._velocity * self._period)))

    def servo(self, share: float, seconds: float) -> None:
        """Update every servo: ``share`` of the control period has passed at its end."""
        if self._delay:
            self._queue[1:], self._rates[1:] = self._queue[:-1].copy(), self._rates[:-1].copy()
        moved = self._goal - self._past
        self._rates[0] = moved / self._period
        self._queue[0] = self._past + share * moved
        target, rate = self._queue[self._delay], self._rates[self._delay]
        target = target + (1.0 - share) * self._drift[0] + share * self._drift[1]
        ctrl = target + rate * (self._lead - 0.5 * seconds)
        ctrl[self._fingers] = self._hold(target[self._fingers])
        self._data.ctrl[self._ids] = ctrl

    def _hold(self, target: Array) -> Array:
        """Servo positions of fingers: the target, or where they hold."""
        length = self._data.actuator_length[self._ids][self._fingers]
        slow = np.abs(self._data.actuator_velocity[self._ids][self._fingers]) < 0.15
        margin = self._margin[self._fingers]
        self._stall = np.where(slow & (target - length > margin), self._stall + 1, 0)
        fresh = np.isnan(self._held) & (self._stall >= _STALL)
        self._held = np.where(fresh, length + margin, self._held)
        # Opening below the hold lets go; closing further does not push harder.
        self._held = np.where(target < self._held - 0.02, np.nan, self._held)
        return np.where(np.isnan(self._held), target, self._held)

    def load(self, most: Array) -> None:
        """Raise ``most`` (2, groups) to the speed and torque of now, as shares of their limits.

        A finger's coupled joints move freely behind a contact: its speed is not a command's.
        """
        now = self._shares
        np.abs(self._data.actuator_velocity[self._ids], out=now[0])
        np.abs(self._data.actuator_force[self._ids], out=now[1])
        now *= self._per_limit
        np.maximum(most, np.maximum.reduceat(now, self._starts, axis=1), out=most)

    def overrun(self) -> Array:
        """(groups,) how far beyond its range any joint is [rad or m]."""
        length = self._data.actuator_length[self._ids]
        over = np.maximum(self._low - length, length - self._high)
        return np.maximum(np.maximum.reduceat(over, self._starts), 0.0)

    def state(self) -> Array:
        """Everything that the next `servo` depends on."""
        held = np.nan_to_num(self._held, nan=-1e9)
        parts = (self._past, self._goal, self._queue, self._rates, held, self._stall)
        return np.concatenate([[self._ticks], *(np.ravel(part) for part in parts)])

    def restore(self, state: Array) -> Array:
        """Continue from what `state` gave; the rest of a longer vector is returned."""
        self._ticks, state = int(state[0]), state[1:]
        for part in (self._past, self._goal, self._queue, self._rates, self._held, self._stall):
            part.flat[:] = state[: part.size]
            state = state[part.size :]
        self._held[self._held < -1e8] = np.nan
        return state


def draw_sway(robot: Robot, rng: np.random.Generator, size: float, ticks: int, dt: float) -> Array:
    """(ticks + 2, actuators) slow wander of the arms' servos about their targets [rad].

    The sum of three sines of 0.15 to 0.6 Hz for each joint, of standard deviation ``size``,
    fading in over the first second. It is what play, friction and a worn calibration do; to
    a learner it shows how an expert comes back.
    """
    arms = {hand.arm for hand in robot.hands.values()}
    widths = [(name in arms) * np.ones(len(g.names)) for name, g in robot.groups.items()]
    scale = size * np.sqrt(2.0 / 3.0) * np.concatenate(widths)
    time = np.arange(ticks + 2)[:, None, None] * dt
    frequency = rng.uniform(0.15, 0.6, (len(scale), 3))
    phase = rng.uniform(0.0, 2 * np.pi, (len(scale), 3))
    waves = np.sin(2 * np.pi * frequency * time + phase).sum(axis=2)
    return np.asarray(np.minimum(time[:, :, 0], 1.0) * scale * waves)
