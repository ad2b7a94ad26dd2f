"""Checks that household tasks share: pure functions of the episode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fabrika._check import Check, Condition, Measure
from fabrika._episode import Episode
from fabrika._signals import Array
from fabrika.sim import CLOID_CLASS, Robot
from fabrika.sim._pose import quaternion_rotation

HOLD = 0.9
"""How long a goal must have held at the end of the episode [s]."""


def position(episode: Episode, name: str) -> Array:
    """(T + 1, 3) position of a body in the world [m]."""
    return episode.observations[f"truth/{name}"][:, :3]


def tilt(episode: Episode, name: str) -> Array:
    """(T + 1,) angle between a body's z axis and the vertical [rad]."""
    turn = quaternion_rotation(episode.observations[f"truth/{name}"][:, 3:7])
    return np.asarray(np.arccos(np.clip(turn[:, 2, 2], -1.0, 1.0)))


def upright(name: str, within: float = 0.15) -> Condition:
    """The body stands: tilted by less than ``within`` [rad]."""
    return lambda episode: tilt(episode, name) < within


def at_rest(name: str, speed: float = 0.03, spin: float = 0.3) -> Condition:
    """The body moves by less than ``speed`` [m/s] and turns by less than ``spin`` [rad/s]."""

    def condition(episode: Episode) -> NDArray[np.bool_]:
        motion = episode.observations[f"truth/{name}"][:, 7:]
        slow = np.linalg.norm(motion[:, :3], axis=1) < speed
        return np.asarray(slow & (np.linalg.norm(motion[:, 3:], axis=1) < spin))

    return condition


def released(*indices: int) -> Condition:
    """No robot touches the free bodies with these indices."""

    def condition(episode: Episode) -> NDArray[np.bool_]:
        support = episode.observations["truth/support"][:, list(indices)]
        return np.asarray((support[:, :, 1] < 0.05).all(axis=1))

    return condition


def _largest(signal: str, column: int | None = None) -> Measure:
    def measure(episode: Episode) -> float:
        values = episode.observations[f"truth/{signal}"]
        return float(np.max(values if column is None else values[:, column]))

    return measure


def _torque(robot: Robot) -> Measure:
    """Largest share of its limit that any servo used; the fingers' limit is their grip."""
    arms = [index for index, group in enumerate(robot.groups.values()) if not group.hand]
    return lambda episode: float(np.max(episode.observations["truth/torque"][:, arms]))


def _fall(name: str) -> Measure:
    """Largest speed downwards [m/s]."""
    return lambda episode: float(-np.min(episode.observations[f"truth/{name}"][:, 9]))


def safety(*things: str, robot: Robot = CLOID_CLASS, fall: float = 0.8) -> tuple[Check, ...]:
    """Limits of the robot and of what it does to its surroundings.

    ``fall``: fastest that a thing may fall [m/s].
    """
    limits: tuple[tuple[str, Measure, str, float], ...] = (
        ("joint", _largest("overrun"), "rad or m", 0.02),
        ("velocity", _largest("velocity"), "of limit", 1.15),
        ("torque", _torque(robot), "of limit", 0.95),
        ("self-collision", _largest("contact", 1), "N", 1.0),
        # ISO/TS 15066 gives 140 N as the quasi-static limit for a person's hand.
        ("force", _largest("contact", 0), "N", 140.0),
        # A grip is not a collision: crockery bears far more than this.
        ("squeeze", _largest("contact", 3), "N", 300.0),
        ("penetration", _largest("contact", 2), "m", 0.006),
    )
    drops = tuple((f"drop-{name}", _fall(name), "m/s", fall) for name in things)
    return tuple(
        Check(name=name, kind="safety", measure=measure, unit=unit, at_most=limit)
        for name, measure, unit, limit in limits + drops
    )


def _arm_path(episode: Episode, order: int) -> Array:
    """Derivative of the executed arm commands, (T - order, joints)."""
    arms = [v for n, v in sorted(episode.executed.items()) if n.endswith("_arm")]
    stacked = np.concatenate(arms, axis=1)
    return np.asarray(np.diff(stacked, n=order, axis=0) / episode.dt**order)


def _jerk(episode: Episode) -> float:
    path = _arm_path(episode, 3)
    return float(np.sqrt(np.mean(path**2))) if len(path) else 0.0


def _length(episode: Episode) -> float:
    return float(np.abs(_arm_path(episode, 1)).sum() * episode.dt)


def quality(
    extra: tuple[tuple[str, Callable[[Episode], float], str], ...] = (),
) -> tuple[Check, ...]:
    """Numbers that never fail an episode: less is better."""
    numbers = (
        ("jerk", _jerk, "rad/s3"),
        ("duration", lambda episode: float(episode.times[-1]), "s"),
        ("path", _length, "rad"),
        *extra,
    )
    return tuple(
        Check(name=name, kind="quality", measure=measure, unit=unit)
        for name, measure, unit in numbers
    )
