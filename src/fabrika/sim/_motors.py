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

from fabrika._errors import ContractError
from fabrika._signals import Array, Signals
from fabrika.sim._robot import Robot, clamp, driven_joints

_STALL = 6
"""Servo updates without progress until a finger holds."""
_GRIP = 0.7
"""Share of the force limit with which a finger holds."""
_WEAK = 0.5
"""A finger that has lost this share of its grip holds anew."""
_SLOW = 0.06
"""Share of its speed limit below which a finger makes no progress."""
_BACK = 0.008
"""A finger that is opened by so much, in seconds at its speed limit, lets go."""
_FREE = 1e9
"""Where a finger that holds nothing would stop [rad or m, closing]: nowhere."""
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
        blocks: int,
    ) -> None:
        """``blocks``: updates of the servos in one control period."""
        self._robot = robot
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
        fingers = np.flatnonzero(self._hand)
        together = len(fingers) > 0 and np.ptp(fingers) == len(fingers) - 1
        self._fingers: Any = slice(fingers[0], fingers[-1] + 1) if together else fingers
        gain = np.asarray(params["gain"], float)
        model.actuator_gainprm[self._ids, 0] *= gain
        model.actuator_biasprm[self._ids, 1] *= gain
        kp = model.actuator_gainprm[self._ids, 0]
        kv = -model.actuator_biasprm[self._ids, 2]
        self._lead = kv / kp
        self._margin = (_GRIP * self._torque / kp)[self._fingers]
        closes = np.concatenate([np.full(len(g.names), float(g.closes)) for g in groups.values()])
        self._closes = closes[self._fingers]
        self._slow, self._back = (share * self._velocity[self._fingers] for share in (_SLOW, _BACK))
        self._per_limit = np.stack(
            [np.where(self._hand, 0.0, 1 / self._velocity), 1 / self._torque]
        )
        self._creep = 0.03 * self._velocity
        self._loads = np.zeros((blocks, 2, len(self._low)))
        self._shares = np.arange(1, blocks + 1)[:, None] / blocks
        self._delay = int(params["delay"])
        if not 0 <= self._delay <= _DELAYS:
            raise ContractError(
                f"a command delay of {self._delay} servo updates; it can be 0 to {_DELAYS}."
            )
        self._place(model, data)
        home = column("home")
        self._past, self._goal = home.copy(), home.copy()
        self._queue = np.tile(home, (_DELAYS + blocks, 1))
        self._rates = np.zeros((_DELAYS + blocks, len(home)))
        self._held = np.full(len(fingers), _FREE)
        self._stall = np.zeros(len(fingers))
        self._holding = False
        data.ctrl[self._ids] = home
        # Views into the engine's memory, which stays where it is, in the order of its actuators.
        self._ctrl, self._length = data.ctrl, data.actuator_length
        self._speed, self._force = data.actuator_velocity, data.actuator_force
        self._ticks, self._sway = 0, sway

    def _place(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Put every joint at home; a tendon's joints share its length equally."""
        home = [h for group in self._robot.groups.values() for h in group.home]
        for actuator, value in zip(np.arange(model.nu)[self._ids], home, strict=True):
            joints, share = driven_joints(model, actuator)
            for joint in joints:
                data.qpos[model.jnt_qposadr[joint]] = share * value

    def pick(self, group: str, values: Array) -> Array:
        """The entries of one group."""
        return values[self._slices[group]]

    def positions(self) -> Array:
        """(actuators,) measured positions of all groups."""
        return np.asarray(self._length[self._ids])

    def command(self, action: Signals, period: float) -> dict[str, Array]:
        """Take a new command for one control period [s]; what will be carried out of it."""
        # Commands come in single precision; all that follows from them is double.
        wanted = np.concatenate([action[name] for name in self._slices], dtype=np.float64)
        wanted = clamp(wanted, self._low, self._high)
        before, most = (self._goal - self._past) / period, self._acceleration * period
        self._past = self._goal
        rate = clamp((wanted - self._past) / period, before - most, before + most)
        rate = clamp(rate, -self._velocity, self._velocity)
        self._goal = clamp(self._past + rate * period, self._low, self._high)
        self._aim(period)
        return {name: self._goal[part].copy() for name, part in self._slices.items()}

    def _aim(self, period: float) -> None:
        """Work out where the servos are to be in each block of this control period.

        Interpolated between commands, late by the delay, ahead by the servo's lag, swayed.
        """
        count, moved = len(self._shares), self._goal - self._past
        self._queue[count:], self._rates[count:] = self._queue[:-count], self._rates[:-count]
        self._queue[:count] = self._past + self._shares[::-1] * moved
        self._rates[:count] = moved / period
        late = slice(self._delay, self._delay + count)
        sway = self._sway[min(self._ticks, len(self._sway) - 2) :][:2]
        self._ticks += 1
        target = self._queue[late][::-1] + sway[0] + self._shares * (sway[1] - sway[0])
        lead = self._lead - 0.5 * period / count
        self._targets, self._ahead = target, target + self._rates[late][::-1] * lead

    def moving(self) -> bool:
        """True if any joint is commanded faster than 3 % of its speed limit."""
        return bool((np.abs(self._rates[0]) > self._creep).any())

    def servo(self, block: int) -> None:
        """Update every servo at the start of a block of the control period."""
        ctrl = self._ahead[block]
        ctrl[self._fingers] = self._hold(self._targets[block, self._fingers])
        self._ctrl[self._ids] = ctrl

    def _hold(self, target: Array) -> Array:
        """Servo positions of fingers: the target, but no further than where they hold."""
        target = self._closes * target
        grip = self._closes * self._length[self._ids][self._fingers] + self._margin
        pushing = target > grip
        if not (self._holding or pushing.any()):
            self._stall[:] = 0.0
            return np.asarray(self._closes * target)
        slow = np.abs(self._speed[self._ids][self._fingers]) < self._slow
        self._stall = (self._stall + 1.0) * (slow & pushing)
        fresh = (self._stall >= _STALL) & (self._held == _FREE)
        # What creeps in the hand would slip out of fingers that stay where they first stalled.
        weak = slow & (target >= self._held) & (grip - self._held > _WEAK * self._margin)
        held = np.where(fresh | weak, grip, self._held)
        # Opening below the hold lets go; closing further does not push harder.
        self._held = np.where(target < held - self._back, _FREE, held)
        self._holding = bool((self._held != _FREE).any())
        return np.asarray(self._closes * np.minimum(target, self._held))

    def load(self, block: int) -> None:
        """Note the speed and torque at the end of a block."""
        self._loads[block, 0] = self._speed[self._ids]
        self._loads[block, 1] = self._force[self._ids]

    def worst(self) -> Array:
        """(2, groups) highest speed and torque noted in this period, as shares of their limits.

        A finger's coupled joints move freely behind a contact: its speed is not a command's.
        """
        self._most = np.abs(self._loads).max(axis=0)
        found: Array = np.maximum.reduceat(self._most * self._per_limit, self._starts, axis=1)
        return found

    def work(self, period: float) -> float:
        """At most what the motors did in the control period [s] that `worst` was called for [J]."""
        return float(self._most[0].dot(self._most[1])) * period

    def overrun(self) -> Array:
        """(groups,) how far beyond its range any joint is [rad or m]."""
        length = self._length[self._ids]
        over = np.maximum(self._low - length, length - self._high)
        return np.maximum(np.maximum.reduceat(over, self._starts), 0.0)

    def state(self) -> Array:
        """Everything that the next `servo` depends on.

        Of the engine, what fingers feel: it is of the last step, which `restore` does not repeat.
        """
        felt = self._length[self._ids], self._speed[self._ids]
        return np.concatenate(((self._ticks,), *self._memory(), *felt), axis=None)

    def _memory(self) -> tuple[Array, ...]:
        return self._past, self._goal, self._queue, self._rates, self._held, self._stall

    def restore(self, state: Array) -> Array:
        """Continue from what `state` gave; the rest of a longer vector is returned."""
        self._ticks, state = int(state[0]), state[1:]
        for part in self._memory():
            part.flat[:] = state[: part.size]
            state = state[part.size :]
        for engine in (self._length, self._speed):
            engine[self._ids] = state[: len(self._low)]
            state = state[len(self._low) :]
        self._holding = bool((self._held != _FREE).any())
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
