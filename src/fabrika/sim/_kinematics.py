"""Inverse kinematics of both arms and the torso, on the robot's own model of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import mujoco
import numpy as np

from fabrika._signals import Array, Signals
from fabrika.sim._pose import vector_of
from fabrika.sim._robot import Robot, clamp

_TORSO = 0.3
"""How readily the torso moves, compared with an arm's joint: it is slow and heavy."""

_WEIGHTS = np.array([1.0, 1.0, 1.0, 0.1, 0.1, 0.1])[:, None]
"""A radian counts as 0.1 m."""

_UNIT = {6: np.eye(6), 12: np.eye(12)}
"""Of one hand and of two."""

Pose = tuple[Array, Array]
"""Position (3,) [m] and rotation (3, 3) of a palm in the robot's base frame."""


class _Span(NamedTuple):
    """The joints that one solve moves: groups, slices, dofs, range, readiness, addresses."""

    used: tuple[str, ...]
    part: dict[str, slice]
    dofs: Array
    low: Array
    high: Array
    ease: Array
    qpos: Array

    def join(self, values: Signals) -> Array:
        """(n,) values of these groups, fresh."""
        return np.concatenate([values[name] for name in self.used])

    def split(self, q: Array) -> dict[str, Array]:
        """(n,) values by group, fresh."""
        return {name: q[part].copy() for name, part in self.part.items()}


class Kinematics:
    """Forward and inverse kinematics of the palms in the base frame.

    Damped least squares with a null-space pull towards a posture (Buss, "Introduction to
    inverse kinematics with Jacobian transpose, pseudoinverse and damped least squares methods",
    2004, equations 11 and 19). One stacked system for both hands, because they share the torso.
    """

    def __init__(self, robot: Robot) -> None:
        self._robot, self._model = robot, robot.compile()
        self._data = mujoco.MjData(self._model)
        self._groups = (*robot.torso, *(hand.arm for hand in robot.hands.values()))
        m = self._model
        self._qpos: dict[str, Array] = {}
        self._dof: dict[str, Array] = {}
        for name in self._groups:
            joints = [m.actuator_trnid[m.actuator(a).id, 0] for a in robot.groups[name].actuators]
            self._qpos[name] = np.array([m.jnt_qposadr[j] for j in joints])
            self._dof[name] = np.array([m.jnt_dofadr[j] for j in joints])
        self._palms = {side: m.body(hand.palm).id for side, hand in robot.hands.items()}
        self._slow = np.concatenate([[], *(self._dof[name] for name in robot.torso)])
        self._jacobian = np.zeros((6, m.nv))
        # Views into the engine's memory, which stays where it is.
        self._places, self._turns = self._data.xpos, self._data.xmat.reshape(-1, 3, 3)
        self._all = self._data.qpos
        self._moves, self._spins = self._jacobian[:3], self._jacobian[3:]
        self._spans: dict[tuple[str, ...], _Span] = {}

    def palm(self, joints: Mapping[str, Array], side: str) -> Pose:
        """Where a palm is. ``joints``: positions by group, those left out at their last."""
        self._set(joints)
        body = self._palms[side]
        return self._data.xpos[body].copy(), self._data.xmat[body].reshape(3, 3).copy()

    def _set(self, joints: Mapping[str, Array]) -> None:
        for name in self._groups:
            if name in joints:
                self._all[self._qpos[name]] = joints[name]
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)  # the Jacobians need it

    def solve(
        self,
        targets: Mapping[str, Pose],
        joints: Signals,
        posture: Signals,
        *,
        iterations: int = 1,
        damping: float = 0.03,
        pull: float = 0.1,
    ) -> tuple[dict[str, Array], float]:
        """Joint positions that bring the palms to the targets, from where ``joints`` are.

        ``posture``: positions by group that spare joints are drawn to; it counts for nothing where
        there are none, as in an arm of six. Returns the positions of the torso and the arms
        concerned, and the largest error that was left before the last iteration [m, or 0.1 m
        a rad].
        """
        span = self._span(tuple(targets))
        q, rest = span.join(joints), span.join(posture)
        error = np.zeros(6)
        for _ in range(iterations):
            error, jacobian = self._error(targets, span, q)
            q = _onward(span, q, rest, error, jacobian, damping, pull)
        return span.split(q), float(np.abs(error).max())

    def bring(
        self,
        targets: Mapping[str, Pose],
        joints: Signals,
        posture: Signals,
        *,
        within: float,
        most: int = 30,
    ) -> dict[str, Array] | None:
        """Joint positions that bring the palms ``within`` [m, or 0.1 m a rad] of the targets.

        As `solve`, in as many iterations as it takes; None after ``most``, or where it comes no
        nearer.
        """
        if len(targets) > 1 and not self._robot.torso:
            # No arm's joints have a say in another one's palm: solved as one, one fails for all.
            apart: dict[str, Array] = {}
            for side, target in targets.items():
                one = self.bring({side: target}, joints, posture, within=within, most=most)
                if one is None:
                    return None
                apart.update(one)
            return apart
        span = self._span(tuple(targets))
        q, rest, last = span.join(joints), span.join(posture), 9.0
        for count in range(most):
            error, jacobian = self._error(targets, span, q)
            left = max(map(abs, error.tolist()))
            if left < within:
                return span.split(q)
            if count > 12 and left > 0.8 * last:
                return None
            if count % 6 == 5:
                last = left
            q = _onward(span, q, rest, error, jacobian, 0.03, 0.1)
        return None

    def _span(self, sides: tuple[str, ...]) -> _Span:
        """What the solver moves for these hands: worked out once."""
        if sides not in self._spans:
            used = (*self._robot.torso, *(self._robot.hands[side].arm for side in sides))
            groups = [self._robot.groups[name] for name in used]
            edges = np.cumsum([0, *(len(g.names) for g in groups)]).tolist()
            dofs = np.concatenate([self._dof[name] for name in used])
            self._spans[sides] = _Span(
                used,
                {n: slice(a, b) for n, a, b in zip(used, edges[:-1], edges[1:], strict=True)},
                dofs,
                np.concatenate([np.array(g.low) for g in groups]),
                np.concatenate([np.array(g.high) for g in groups]),
                np.where(np.isin(dofs, self._slow), _TORSO, 1.0),
                np.concatenate([self._qpos[name] for name in used]),
            )
        return self._spans[sides]

    def _error(self, targets: Mapping[str, Pose], span: _Span, q: Array) -> tuple[Array, Array]:
        """Stacked task error and Jacobian where the joints are at ``q`` (n,)."""
        model, data, jacobian = self._model, self._data, self._jacobian
        self._all[span.qpos] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        error, rows = np.empty(6 * len(targets)), []
        for index, (side, (position, rotation)) in enumerate(targets.items()):
            body = self._palms[side]
            mujoco.mj_jacBody(model, data, self._moves, self._spins, body)
            turn = rotation @ self._turns[body].T
            error[6 * index : 6 * index + 3] = position - self._places[body]
            error[6 * index + 3 : 6 * index + 6] = 0.1 * vector_of(turn)
            rows.append(jacobian[:, span.dofs] * _WEIGHTS)
        return error, rows[0] if len(rows) == 1 else np.concatenate(rows)


def _onward(
    span: _Span,
    q: Array,
    rest: Array,
    error: Array,
    jacobian: Array,
    damping: float,
    pull: float,
) -> Array:
    """(n,) joint positions one damped step nearer to where the error is none."""
    # Of what is not spare, damping would let a pull take a share: millimetres of error.
    pull = pull if len(q) > len(error) else 0.0
    ease = span.ease
    room = (span.low - q) / ease, (span.high - q) / ease
    step = _step(error, jacobian * ease, (rest - q) / ease, *room, damping, pull)
    return np.asarray(q + ease * step)


def _step(
    error: Array, jacobian: Array, away: Array, low: Array, high: Array, damping: float, pull: float
) -> Array:
    """One damped step within the room (low, high) that each joint has left.

    A joint that would leave its range is stopped at its end, and the others are solved again
    without it: merely clipping would let it take a share of the error that it cannot carry.
    """
    ridge = damping**2 * _UNIT[len(error)]
    both = np.empty((len(error), 2))
    both[:, 0], both[:, 1] = error, jacobian @ away
    move = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + ridge, both)
    step = clamp(move[:, 0], -0.3, 0.3) + pull * (away - move[:, 1])
    free = (step >= low) & (step <= high)
    if free.all():
        return np.asarray(step)
    step = clamp(step, low, high)
    for _ in range(2):
        j = jacobian[:, free]
        gram = j @ j.T + ridge
        left = error - jacobian[:, ~free] @ step[~free]
        both[:, 0], both[:, 1] = left, j @ away[free]
        solved = np.linalg.solve(gram, both)
        null = away[free] - j.T @ solved[:, 1]
        step[free] = clamp(j.T @ solved[:, 0], -0.3, 0.3) + pull * null
        out = free & ((step < low) | (step > high))
        step = clamp(step, low, high)
        if not out.any():
            break
        free &= ~out
    return np.asarray(step)
