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

DEPTH, ROBOT_DEPTH = 0.010, 0.025
"""Deepest contact of things and fixtures, and of the robot with anything, at rest [m].

A finger is 18 mm thick: much deeper, the way out is no longer the way in. What a robot presses
in less deeply is for the judge, whose limit is 6 mm: its actor is to blame, not physics.
"""
IMPACT = 0.007
"""How much deeper an impact goes per speed [m per m/s].

One step of 4 ms of travel before it is noticed, and 1/e of the contacts' 8 ms to stop it.
"""
SPEED, SPIN = 25.0, 250.0
"""Fastest thing [m/s], [rad/s]: a fall of 30 m; a radian between two looks at the contacts."""
SLIDE, HINGE = 5.0, 250.0
"""Fastest joint [m/s], [rad/s]: ten times the base's speed; a flicked finger reaches 200 rad/s."""
OVERRUN_SLIDE, OVERRUN, OVERRUN_LIGHT = 0.02, 0.5, 2.0
"""Farthest beyond a joint's range [m], [rad], and [rad] of a light joint: a flicked finger."""
LIGHT = 0.01
"""A joint that moves less inertia than this is light [kg m2]."""
ENERGY = 1.0
"""Energy that may come from nowhere in one control period [J]: what contacts and springs store."""
LATE = 1e-6
"""Difference of the engine's time from what was declared [s]."""
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
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        scenario: str,
        *,
        root: int,
        period: float,
        push: float,
    ) -> None:
        """``root``: the robot's body; ``period``: of control [s]; ``push``: all pushes [N]."""
        self._model, self._data, self._scenario = model, data, scenario
        self._period, self._push = period, push
        self._is_robot = np.asarray(model.body_rootid)[model.geom_bodyid] == root
        free = np.asarray(model.jnt_type) == mujoco.mjtJoint.mjJNT_FREE
        hinge = np.asarray(model.jnt_type) == mujoco.mjtJoint.mjJNT_HINGE
        self._low, self._high = np.full(model.nq, -np.inf), np.full(model.nq, np.inf)
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
        weight = -model.opt.gravity[2] * model.body_mass * (1 - model.body_gravcomp)
        falling = np.flatnonzero(weight * (model.body_weldid > 0))
        heavy = slice(falling.min(initial=model.nbody), falling.max(initial=0) + 1)
        self._weight = weight[heavy]
        # Views into the engine's memory, which stays where it is.
        self._qpos, self._qvel = data.qpos, data.qvel
        self._heights, self._inverse = data.xipos[heavy, 2], data.qLDiagInv
        self._kinetic, self._warned = data.energy, data.warning.number
        self._force, self._motion = data.actuator_force, data.actuator_velocity
        self._step = model.opt.timestep
        self._scaled = np.empty(model.nv)
        self._moving, self._before = data.cvel, np.zeros_like(data.cvel)

    # -- when to look --------------------------------------------------------------------

    def start(self, fresh: bool = True) -> None:
        """Begin at the state now, of which `mj_forward` has been called.

        Raises `BrokenWorldError` where a scenario cannot start like this. A state that is not
        ``fresh`` was looked at when it was new, and what the motors had just done is not known.
        """
        self._light = 1.0 / (LIGHTER * self._model.nv * self._inverse)
        self._clock, self._energy = self._data.time, self._stored()
        self._gained, self._work = 0.0, 0.0 if fresh else np.inf
        self._before[:] = self._data.cvel
        self._pressed = DEPTH  # at the start nobody has pressed anything yet
        if fresh:
            self._judge(verb="starts with")
        self._pressed = ROBOT_DEPTH

    def first(self) -> None:
        """Look at the period's first state, one step into it: at contacts, ranges and energy."""
        d = self._data
        # The engine's constraints are contacts and ranges in one; most often none is far off.
        off = d.nefc and not min(d.efc_pos.tolist()) >= -DEPTH
        if off and (self._beyond() or (d.ncon and not min(d.contact.dist.tolist()) >= -DEPTH)):
            self._judge()
        before, self._energy = self._energy, self._stored()
        self._work += self._step * float(self._force.dot(self._motion))
        self._gained = self._energy - before
        if not self._gained - self._work <= ENERGY:
            self._judge(self.energies())
        np.copyto(self._before, self._moving)

    def contacts(self, depth: float) -> None:
        """Look at the contacts now; the deepest has ``depth`` [m]."""
        if not depth <= DEPTH:
            self._judge()

    def last(self, work: float) -> None:
        """Look at the engine, the speeds and the inertias at the end of a control period.

        ``work``: at most what the motors did in it [J].
        """
        self._clock, self._work = self._clock + self._period, work
        scaled = np.multiply(self._qvel, self._slowness, out=self._scaled)
        if (
            not abs(self._data.time - self._clock) <= LATE
            or any(self._warned.tolist())
            or not scaled.dot(scaled) <= 1.0
            or not self._inverse.dot(self._light) <= 1.0
        ):
            self._judge(self.clocks())

    def _beyond(self) -> bool:
        """Any joint is too far beyond its range."""
        return bool(((self._qpos < self._low) | (self._qpos > self._high)).any())

    def _stored(self) -> float:
        """Kinetic energy, and that of the height of what gravity pulls at [J].

        Positions and inertias are those of one step before.
        """
        mujoco.mj_energyVel(self._model, self._data)
        return float(self._kinetic[1] + self._heights.dot(self._weight))

    # -- the laws ------------------------------------------------------------------------

    def states(self) -> Iterator[Finding]:
        """Of the engine and of every joint: warnings, range, speed, inertia."""
        m = self._model
        for kind in np.flatnonzero(self._warned):
            yield Finding(
                "warning", mujoco.mjtWarning(int(kind)).name, int(self._warned[kind]), 0, "times"
            )
        for joint in range(m.njnt):
            name, kind = f"joint {m.joint(joint).name!r}", m.jnt_type[joint]
            free, hinge = kind == mujoco.mjtJoint.mjJNT_FREE, kind == mujoco.mjtJoint.mjJNT_HINGE
            q, v = int(m.jnt_qposadr[joint]), int(m.jnt_dofadr[joint])
            unit = "rad" if hinge else "m"
            if m.jnt_limited[joint]:
                (low, high), value = m.jnt_range[joint], self._qpos[q]
                over = float(np.maximum(low - value, value - high))
                limit = float(self._high[q] - high)
                yield Finding("range", name, over, limit, f"{unit} beyond")
            parts = ((0, 3, "m"), (3, 3, "rad")) if free else ((0, 1, unit),)
            for start, count, unit in parts:
                speeds = np.abs(self._qvel[v + start : v + start + count])
                limit = float(self._speed[v + start])
                yield Finding("speed", name, float(speeds.max()), limit, f"{unit}/s")
        light = float(self._inverse.dot(self._light)) * LIGHTER
        yield Finding("inertia", "the joints", light, LIGHTER, "times lighter than at the start")

    def depths(self) -> Iterator[Finding]:
        """How deep each pair is in the other, beside what its speed of late explains."""
        m, d = self._model, self._data
        contact = d.contact
        for distance, pair, place in zip(contact.dist, contact.geom, contact.pos, strict=True):
            bodies = m.geom_bodyid[pair]
            fast = 0.0
            for moving in (self._before, self._moving):
                turn, move = moving[bodies, :3], moving[bodies, 3:]
                arm = place - d.subtree_com[m.body_rootid[bodies]]
                speeds = move + np.cross(turn, arm)
                fast = max(fast, float(np.linalg.norm(speeds[1] - speeds[0])))
            rest = self._pressed if self._is_robot[pair].any() else DEPTH
            names = " and ".join(repr(m.body(int(body)).name) for body in bodies)
            limit = rest + IMPACT * min(fast, SPEED)
            yield Finding("overlap", names, -float(distance), limit, "m")

    def clocks(self) -> Iterator[Finding]:
        """How far the engine's time is from that of the end of the period."""
        late = abs(self._data.time - self._clock)
        yield Finding("clock", "the engine's time", late, LATE, "s off")

    def energies(self) -> Iterator[Finding]:
        """What the energy grew by since the last period beyond what motors and pushes did."""
        fast = max(
            float(np.linalg.norm(v[:, 3:], axis=1).max()) for v in (self._before, self._moving)
        )
        free = self._gained - self._work - self._push * fast * self._period
        yield Finding("energy", "all bodies together", free, ENERGY, "J out of nothing")

    def _judge(self, more: Iterable[Finding] = (), verb: str = "at {time:.3f} s has") -> None:
        """Raise `BrokenWorldError` that names the first broken law."""
        for found in chain(self.states(), self.depths(), more):
            if found.broken:
                raise BrokenWorldError(
                    f"scenario {self._scenario} {verb.format(time=self._data.time)} broken "
                    f"physics: {found.law} of {found.where} is {found.value:.4g} {found.unit}, "
                    f"the limit is {found.limit:.4g}."
                )
