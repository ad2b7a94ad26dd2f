"""Hands at the lever of a lid: a level bar that stands off before its front edge.

The lid is lifted with the backs of straight fingers under the bar, and pressed shut with their
insides on it. The hand keeps looking ahead and down as the lid turns, so that no wrist has to
follow it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fabrika._signals import Array
from fabrika.sim._joinery import Part
from fabrika.sim._model import Frame
from fabrika.sim._pose import turn_by
from fabrika.sim._robot import Hand

DIPS = (0.0, 0.25, 0.5, 0.8)
"""How far fingers at a lever point down [rad]."""
BEYOND = 0.04
"""How far fingertips go beyond the bar [m]."""
OFF = 0.0185
"""From the bar's middle to the middle of the fingers [m]."""


@dataclass(frozen=True, slots=True)
class Lever:
    """A hand that goes with a lid, its fingers under the lever or on it."""

    side: str
    start: float
    goal: float
    """Where the lid is when it begins and ends [rad]."""
    dips: tuple[float, float]
    """How far the fingers point down then [rad]."""

    def way(self, palm: Frame) -> Array:
        """(3,) the way that the hand comes to the bar: over it, fingertips stay off it."""
        down = 0.4 if self.goal <= 0.0 else 0.0
        return np.asarray(palm.turn[:, 0] + down * palm.turn[:, 2])

    def palm(self, part: Part, hand: Hand, at: float) -> Frame:
        """The palm in the part's frame where the part is ``at`` [rad]."""
        done = min(max((at - self.start) / (self.goal - self.start), 0.0), 1.0)
        dip = self.dips[0] + done * (self.dips[1] - self.dips[0])
        bar, up, handle = np.array(part.bar), np.array(part.out), np.array(part.handle)
        ahead = -(handle - (handle @ up) * up - (handle @ bar) * bar)
        ahead /= np.linalg.norm(ahead)
        x = np.cos(dip) * ahead - np.sin(dip) * up
        z = -np.sin(dip) * ahead - np.cos(dip) * up
        # As the closed lid's frame sees it, and then as the lid does.
        turn = turn_by(-at * np.array(part.axis)) @ np.stack([x, np.cross(z, x), z], axis=1)
        off = OFF if self.goal <= 0.0 else -OFF
        return Frame(handle - turn @ np.array([hand.bounds[1] - BEYOND, 0.0, off]), turn)
