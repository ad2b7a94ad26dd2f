"""Is this still physics? Laws that no true motion breaks, checked in every control period.

A quick sum per law raises an alarm; only then is the law itself worked out, joint by joint and
pair by pair, with what explains a high value: speed explains depth, motors and pushes explain
energy. The guard reads the engine and changes no number that the next step depends on.
The limits beside what clean episodes reach: docs/simulation.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import mujoco
import numpy as np

from fabrika._errors import BrokenWorldError

DEPTH, ROBOT_DEPTH = 0.010, 0.020
"""Deepest contact of things and fixtures, and of the robot with anything, at rest [m].

A finger is 18 mm thick: deeper than that, the way out is no longer the way in. What a robot
presses in less deeply is for the judge, whose limit is 6 mm: its actor is to blame, not physics.
"""
IMPACT = 0.007
"""How much deeper an impact goes per speed [m per m/s].

One step of 4 ms of travel before it is noticed, and 1/e of the contacts' 8 ms to stop it.
"""
ARENA = 1e3
"""Farthest that anything gets from the middle of the scene [m]; a can may roll 20 m away."""
SPEED, SPIN = 25.0, 250.0
"""Fastest thing [m/s], [rad/s]: a fall of 30 m; a radian between two looks at the contacts."""
SLIDE, HINGE = 5.0, 250.0
"""Fastest joint [m/s], [rad/s]: ten times the base; fingers do snap at half of `SPIN`."""
ACCELERATION = 1e6
"""Largest acceleration of all joints together [m/s2, rad/s2]: `SPIN` from rest in 0.25 ms."""
OVERRUN_SLIDE, OVERRUN, OVERRUN_LIGHT = 0.02, 0.2, 0.6
"""Farthest beyond a joint's range [m], [rad], and [rad] of a light joint: a flicked finger."""
LIGHT = 0.01
"""A joint that moves less inertia than this is light [kg m2]."""
ENERGY = 1.0
"""Energy that may come from nowhere in one control period [J]: what contacts and springs store."""
JOLT = 10.0
"""Energy beyond the motors' that one step may bring [J]: a servo's force changes within it."""
LIGHTER = 10.0
"""How many times lighter than at the start the joints may be, on average: poses change it by 4."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One quantity beside its limit."""

    law: str
    where: str
    value: float
    limit: float
    unit: str

    @property
    def broken(self) -> bool:
        """Beyond the limit, or not a number."""
        return not self.value <= self.limit


class Guard:
    """Watches one model in motion, from `start` on."""

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, root: int, scenario: str, period: float
    ) -> None:
        """``root``: the robot's body; ``period``: of control [s]."""
        self._model, self._data, self._scenario, self._period = model, data, scenario, period
        self._is_robot = np.asarray(model.body_rootid)[model.geom_bodyid] == root
        free = np.asarray(model.jnt_type) == mujoco.mjtJoint.mjJNT_FREE
        hinge = np.asarray(model.jnt_type) == mujoco.mjtJoint.mjJNT_HINGE
        self._low, self._high = np.full(model.nq, -ARENA), np.full(model.nq, ARENA)
        self._speed = np.full(model.nv, SLIDE)
        for joint in range(model.njnt):
            q, v = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
            if free[joint]:
                self._speed[v : v + 6] = (SPEED,) * 3 + (SPIN,) * 3
                continue
            light = OVERRUN_LIGHT if model.dof_M0[v] < LIGHT else OVERRUN
            beyond = light if hinge[joint] else OVERRUN_SLIDE
            self._speed[v] = HINGE if hinge[joint] else SLIDE
            if model.jnt_limited[joint]:
                low, high = model.jnt_range[joint]
                self._low[q], self._high[q] = low - beyond, high + beyond
        self._slowness = 1.0 / self._speed
        self._weight = -model.opt.gravity[2] * model.body_mass * (1 - model.body_gravcomp)
        # Views into the engine's memory, which stays where it is.
        self._qpos, self._qvel, self._qacc = data.qpos, data.qvel, data.qacc
        self._heights, self._inverse = data.xipos[:, 2], data.qLDiagInv
        self._kinetic, self._warned = data.energy, data.warning.number
        self._force, self._motion = data.actuator_force, data.actuator_velocity
        self._step = model.opt.timestep
        self._clipped, self._scaled = np.empty(model.nq), np.empty(model.nv)
        self._before, self._pushed = np.zeros_like(data.cvel), np.zeros_like(data.cvel)
        self._work = self._power = 0.0

    # -- when to look --------------------------------------------------------------------

    def start(self, check: bool = True) -> None:
        """Begin at the state now, of which `mj_forward` has been called.

        Raises `BrokenWorldError` where a scenario cannot start like this.
        """
        self._light = 1.0 / (LIGHTER * self._model.nv * self._inverse)
        self._clock = self._data.time
        self._energy = self._peak = self._stored()
        self._before[:] = self._data.cvel
        self._pressed = DEPTH  # at the start nobody has pressed anything yet
        if check:
            self._judge(verb="starts with")
        self._pressed = ROBOT_DEPTH

    def first(self) -> None:
        """Look at the contacts and the energy of the period's first state, one step into it."""
        if self._data.ncon and not min(self._data.contact.dist.tolist()) >= -DEPTH:
            self._judge()
        self._peak = self._stored()
        self._power = float(self._force.dot(self._motion))
        if not self._peak - self._energy - self._power * self._step <= JOLT:
            self._judge(self.jolts())
        self._before[:], self._pushed[:] = self._data.cvel, self._data.xfrc_applied

    def contacts(self, depth: float) -> None:
        """Look at the contacts now; the deepest has ``depth`` [m]."""
        if not depth <= DEPTH:
            self._judge()

    def last(self, work: float) -> None:
        """Look at everything else at the end of a control period.

        ``work``: at most what the motors did in it [J].
        """
        now, self._clock = self._clock + self._period, self._data.time
        late = not abs(self._clock - now) < 1e-6
        stored, self._work = self._stored(), work
        self._peak = max(self._peak, stored)
        np.minimum(self._qpos, self._high, out=self._clipped)
        np.maximum(self._clipped, self._low, out=self._clipped)
        scaled = np.multiply(self._qvel, self._slowness, out=self._scaled)
        if (
            late
            or any(self._warned.tolist())
            or self._clipped.tobytes() != self._qpos.tobytes()
            or not scaled.dot(scaled) <= 1.0
            or not self._qacc.dot(self._qacc) <= ACCELERATION**2
            or not self._inverse.dot(self._light) <= 1.0
            or not self._peak - self._energy <= work + ENERGY
        ):
            if late:
                lag = abs(self._clock - now)
                self._judge([Finding("clock", "the engine's time", lag, 1e-6, "s off")])
            self._judge(self.energies())
        self._energy = stored

    def _stored(self) -> float:
        """Kinetic energy, and that of the height of what gravity pulls at [J].

        Positions and inertias are those of one step before.
        """
        mujoco.mj_energyVel(self._model, self._data)
        return float(self._kinetic[1] + self._heights.dot(self._weight))

    # -- the laws ------------------------------------------------------------------------

    def states(self) -> Iterator[Finding]:
        """Of the engine and of every joint: warnings, place, speed, acceleration, inertia."""
        m = self._model
        for kind in np.flatnonzero(self._warned):
            yield Finding(
                "warning", mujoco.mjtWarning(int(kind)).name, int(self._warned[kind]), 0, "times"
            )
        for joint in range(m.njnt):
            free = m.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE
            name = f"joint {m.joint(joint).name!r}"
            q = slice(m.jnt_qposadr[joint], m.jnt_qposadr[joint] + (7 if free else 1))
            v = slice(m.jnt_dofadr[joint], m.jnt_dofadr[joint] + (6 if free else 1))
            over = np.maximum(self._low[q] - self._qpos[q], self._qpos[q] - self._high[q]).max()
            hinge = m.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE
            unit = "rad" if hinge else "m"
            reach = ARENA
            if m.jnt_limited[joint]:
                reach = float(m.jnt_range[joint, 0] - self._low[q][0])
            law, beyond = ("range", " beyond") if m.jnt_limited[joint] else ("place", "")
            yield Finding(law, name, float(over) + reach, reach, unit + beyond)
            parts = ((slice(0, 3), "m"), (slice(3, 6), "rad")) if free else ((slice(0, 1), unit),)
            for part, unit in parts:
                speed = float(np.abs(self._qvel[v][part]).max())
                limit = float(self._speed[v][part][0])
                yield Finding("speed", name, speed, limit, f"{unit}/s")
                change = float(np.abs(self._qacc[v][part]).max())
                unit = f"{unit}/s2"
                yield Finding("acceleration", name, change, ACCELERATION, unit)
        light = float(self._inverse.dot(self._light)) * LIGHTER
        yield Finding("inertia", "the joints", light, LIGHTER, "times lighter than at the start")

    def depths(self) -> Iterator[Finding]:
        """How deep each pair is in the other, beside what its speed of late explains."""
        m, d = self._model, self._data
        contact = d.contact
        for distance, pair, place in zip(contact.dist, contact.geom, contact.pos, strict=True):
            bodies = m.geom_bodyid[pair]
            fast = 0.0
            for moving in (self._before, d.cvel):
                turn, move = moving[bodies, :3], moving[bodies, 3:]
                arm = place - d.subtree_com[m.body_rootid[bodies]]
                speeds = move + np.cross(turn, arm)
                fast = max(fast, float(np.linalg.norm(speeds[1] - speeds[0])))
            rest = self._pressed if self._is_robot[pair].any() else DEPTH
            names = " and ".join(repr(m.body(int(body)).name) for body in bodies)
            limit = rest + IMPACT * min(fast, SPEED)
            yield Finding("overlap", names, -float(distance), limit, "m")

    def jolts(self) -> Iterator[Finding]:
        """What the energy grew by in the period's first step beyond what motors and pushes did."""
        jolt = self._peak - self._energy - (self._power + self._pushing()) * self._step
        yield Finding("energy", "all bodies together", jolt, JOLT, "J in one step, out of nothing")

    def energies(self) -> Iterator[Finding]:
        """What the energy grew by since the last period beyond what motors and pushes did."""
        free = self._peak - self._energy - self._work - self._pushing() * self._period
        yield Finding("energy", "all bodies together", free, ENERGY, "J out of nothing")

    def _pushing(self) -> float:
        """At most the power of the forces applied from outside, of late [W]."""
        d = self._data
        forces = (np.linalg.norm(f[:, :3], axis=1) for f in (self._pushed, d.xfrc_applied))
        speeds = (np.linalg.norm(v[:, 3:], axis=1) for v in (self._before, d.cvel))
        return float(np.maximum(*forces).dot(sum(speeds)))

    def _judge(self, more: Iterable[Finding] = (), verb: str = "at {time:.3f} s has") -> None:
        """Raise `BrokenWorldError` that names the first broken law."""
        for found in chain(self.states(), self.depths(), more):
            if found.broken:
                raise BrokenWorldError(
                    f"scenario {self._scenario} {verb.format(time=self._data.time)} broken "
                    f"physics: {found.law} of {found.where} is {found.value:.4g} {found.unit}, "
                    f"the limit is {found.limit:.4g}."
                )
