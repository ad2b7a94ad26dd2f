"""Going with a part: base and hand along its way together, as fast as it follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fabrika._signals import Array
from fabrika.sim._model import Frame
from fabrika.sim._reach import Act

if TYPE_CHECKING:
    from fabrika.sim._work import Worker

JAMMED = 110.0
"""Force at which a hand goes no further: something is in the way [N]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Along:
    """How a hand goes with a door, a drawer or a lid."""

    side: str
    goal: float
    """Where the part is to be brought [rad or m]; 0 shuts it."""
    palm: Callable[[float], Frame]
    """The palm in the part's frame where the part is so far."""
    stand: Callable[[Frame, float], Array]
    """(3,) where the base stands for a palm in the world, where the part is so far."""
    seat: Callable[[Frame], Array]
    """(3,) which way a palm in the world pushes what is shut into its seat, and how far for
    each rad or m beyond it."""
    pace: float
    """[rad/s or m/s]."""
    lag: float
    """How far the part may stay behind before it is waited for [rad or m]."""
    beyond: float
    """How far it is pushed beyond shut [rad or m]."""
    pressed: float
    """Force at which what is pushed shut is shut [N]."""
    draw: Callable[[float], None] = lambda at: None
    """Draws spare joints to where they are best with the part so far."""


def go_along(worker: Worker, joint: str, way: Along) -> Act:
    """Base and hand along the part's way."""
    limbs, lag = worker.limbs, way.lag
    worker.model.look(limbs.seen)
    start = worker.model.opening(joint)
    shuts, sign = way.goal <= 0.0, 1.0 if way.goal > start else -1.0
    at, rate = start, 0.0
    far = abs(way.goal - start) + (0.0 if way.goal > start else way.beyond)
    limbs.refresh()
    patience = round(1.0 / limbs.dt)
    while patience > 0:
        worker.model.look(limbs.seen)
        now = worker.model.opening(joint)
        rate = min(way.pace, rate + way.pace * limbs.dt / 0.5)
        if shuts:  # gently into its seat
            rate = min(rate, 0.2 * way.pace + 1.2 * abs(at))
        done, behind = abs(at - start) >= far, sign * (at - now)
        force = float(limbs.seen["truth/contact"][0])
        if force > (way.pressed if shuts and abs(now) < lag else JAMMED):
            break
        if behind < lag and not done:
            at = start + sign * min(far, abs(at - start) + rate * limbs.dt)
        if done or behind >= lag:
            patience -= 1
        if behind > 3 * lag or (done and behind < 0.3 * lag and not shuts):
            break
        palm = worker.model.body(joint, max(0.0, at)) * way.palm(max(0.0, at))
        if at < 0.0:
            palm = Frame(palm.at - at * way.seat(palm), palm.turn)
        left = worker.left(way.stand(palm, at))
        if "base" in limbs.joints:
            limbs.joints["base"] = limbs.joints["base"] + 0.5 * np.clip(left, -0.03, 0.03)
        local = worker.model.base().inverse() * palm
        way.draw(at)
        limbs.pursue({way.side: (local.at, local.turn)}, speed=0.4, turn=1.6)
        yield from limbs.tick()
    return ""
