"""Where a base can drive: ways over the floor that touch nothing, arms as they are."""

from __future__ import annotations

from math import pi

import numpy as np

from fabrika._signals import Array
from fabrika.sim._model import Model
from fabrika.sim._paths import Free, Space, plan

SPACE = Space(
    np.array([-1.7, -1.7, -pi]), np.array([1.7, 1.7, pi]), np.array([1.0, 1.0, 1.2]), 0.04
)
"""x, y [m] and yaw [rad] of a base."""


def road(model: Model, goal: Array, margin: float, rng: np.random.Generator) -> list[Array] | None:
    """Corners (3,) of a way from where the base is to ``goal``; None if there is none."""
    here = model.stand()
    return plan(SPACE, here, _near(here, goal), _free(model, here, margin), rng, 300)


def straight(model: Model, goal: Array, margin: float) -> bool:
    """Whether nothing is in the way from where the base is straight to ``goal``."""
    here = model.stand()
    return SPACE.straight(here, _near(here, goal), _free(model, here, margin))


def _near(here: Array, goal: Array) -> Array:
    """The goal, its yaw the short way round from here."""
    return np.array([*goal[:2], here[2] + (goal[2] - here[2] + pi) % (2 * pi) - pi])


def _free(model: Model, here: Array, margin: float) -> Free:
    def free(q: Array) -> bool:
        model.rehearsal.pose({"base": q})
        # Near its start the base may be as near to things as it stands now.
        return model.rehearsal.clear(margin if SPACE.far(here, q) > 0.15 else min(margin, 0.004))

    return free
