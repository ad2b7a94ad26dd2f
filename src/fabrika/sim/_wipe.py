"""Wiping: a held pad is pressed on a surface with little force, and moved over it in strokes.

What counts is the patch around the middle of a spot, in cells: one is wiped when its middle was
under the pad while that lay flat and was pressed. Skill and goal measure it alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, hypot, pi
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fabrika._signals import Array
from fabrika.sim._model import Frame
from fabrika.sim._pose import turn_by, yaw_rotation
from fabrika.sim._reach import UP, Act, Stand
from fabrika.sim._scene import footprint
from fabrika.sim._stands import search

if TYPE_CHECKING:
    from fabrika.sim._work import Worker

PATCH = (0.08, 0.14)
"""Half of the patch that is wiped, along x and y of its spot [m]."""
CELL = 0.04
"""Side of its cells [m]."""
PRESS = 1.0
"""Force on a pad that is pressed [N]; as a light one is borne with less."""
FLAT, LEANS = 0.006, 0.15
"""How far a pad's bottom may be from the surface, and lean, when it wipes [m], [rad]."""
ENOUGH = 0.95
"""Share of the cells at which the skill is content; a goal asks for less."""
LIGHT, HARD = 4.0, 10.0
"""Between these forces the hand keeps its height [N]."""
PACE, YIELD = 0.11, 0.015
"""Speed of a stroke, and of the hand up and down as it presses [m/s]."""
BEHIND = 0.02
"""How far a pad may stay behind its stroke before it is waited for [m]."""
NEAR = 0.008
"""How near to the end of a stroke the pad has to come [m]."""
BEYOND = 0.008
"""How far strokes go beyond what has to be covered, and how much they overlap [m]."""
ABOVE = 0.06
"""From how high the pad comes down [m]."""
JAMMED = 30.0
"""Force of the hand itself on the surface at which it is raised [N]."""
TRIES, PASSES = 250, 3
"""Stands that are tried; times that it goes over the patch."""

Cells = NDArray[np.bool_]


def cells() -> Array:
    """(N, 2) middles of the patch's cells, x and y from the middle of its spot [m]."""
    xs, ys = (np.arange(-half + CELL / 2, half, CELL) for half in PATCH)
    return np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1).reshape(-1, 2)


def pressed(params: Any, at: Array, turn: Array, force: Array) -> Cells:
    """(T, N) cells that a pad is pressed on.

    ``at``, ``turn``: (T, 3) [m] and (T, 3, 3), the pad's bottom in the frame of the spot's middle;
    ``force``: (T,) normal force on the pad from all but robots [N].
    """
    points = np.pad(cells(), ((0, 0), (0, 1)))
    away = points[None] - at[:, None] * np.array([1.0, 1.0, 0.0])
    x, y, _ = np.moveaxis(np.einsum("tji,tcj->tci", turn, away), -1, 0)
    half = footprint(params)
    flat = (np.abs(at[:, 2]) < FLAT) & (turn[:, 2, 2] > np.cos(LEANS)) & (force > PRESS)
    return np.asarray((np.abs(x) < half[0]) & (np.abs(y) < half[1]) & flat[:, None])


@dataclass(frozen=True, slots=True)
class _Strokes:
    """A way of a pad over the patch."""

    corners: tuple[Frame, ...]
    """Of the pad's bottom, in the world."""
    stand: Stand


def wipe(worker: Worker, name: str, place: str) -> Act:
    """Wipe the middle of a spot with a pad that a hand holds."""
    side = next(s for s, n in worker.holds.items() if n == name)
    done = np.zeros(len(cells()), bool)
    failed = "not-wiped"
    for _ in range(PASSES):
        found = _find(worker, name, side, place)
        if found is None:
            return "no-way-to-wipe"
        failed = yield from worker.drive(found.stand.base)
        if failed:
            continue
        worker._draw(found.stand.drawn)
        failed = yield from worker._over(name, side, found.corners[0], found.stand, ABOVE)
        if failed:
            continue
        yield from _stroke(worker, name, side, place, found, done)
        yield from worker._raise(side, ABOVE)
        worker.look()
        if worker.model.support(name)[1] < 0.3:
            return "slipped"
        if done.mean() >= ENOUGH:
            yield from worker.carry(side)
            return ""
        failed = "not-wiped"
    return failed


def _rows(half: tuple[float, float]) -> list[tuple[float, float]]:
    """Corners of the strokes of a pad with these half extents, from the patch's middle [m]."""
    ends = [max(0.0, p - CELL / 2 - h + BEYOND) for p, h in zip(PATCH, half, strict=True)]
    count = 1 + ceil(2 * ends[0] / max(2 * half[0] - BEYOND, 0.01))
    rows = np.linspace(-ends[0], ends[0], count) if count > 1 else np.zeros(1)
    found = []
    # The nearest row first: x points to who stands before it.
    for number, x in enumerate(rows[::-1].tolist()):
        sign = 1.0 if number % 2 else -1.0
        found += [(x, sign * ends[1]), (x, -sign * ends[1])]
    return found


def _find(worker: Worker, name: str, side: str, place: str) -> _Strokes | None:
    """Strokes with the pad's sides along the spot's, and a stand from which all are reached."""
    model = worker.look()
    spot, frame = model.spot(place)
    facing = model.facing(place.partition(".")[0])
    level, half = worker._set(name, side)[0], footprint(model.things[name])
    palm_in_thing = worker._in_palm(side, name).inverse()
    now = Frame(np.zeros(3), level).yaw
    ways = []
    for quarter in range(4):
        turned = yaw_rotation(frame.yaw + quarter * pi / 2 - now) @ level
        rows = _rows(half if quarter % 2 == 0 else half[::-1])
        corners = tuple(Frame(frame.point(x, y, 0.0), turned) for x, y in rows)
        middle = Frame(frame.at, turned) * palm_in_thing
        off = abs(float(np.angle(np.exp(1j * (middle.yaw - facing)))))
        ways.append((side, middle, 0.3 * off, corners))
    near = {spot.body: -0.03 if worker.grips[side].above else 0.006, name: 0.001}

    def attempt(
        side: str, corners: tuple[Frame, ...], base: Array, drawn: dict[str, Array]
    ) -> Iterator[tuple[Array, _Strokes]]:
        raised = [Frame(c.at + 0.003 * UP, c.turn) * palm_in_thing for c in corners]
        over = Frame(raised[0].at + ABOVE * UP, raised[0].turn)
        goals = [(palm, near, 0.003) for palm in (raised[0], over, *raised[1:])]
        postures = worker.rehearse(side, base, goals, drawn)
        if postures is not None:
            yield base, _Strokes(corners, Stand(base, postures, drawn))

    found = next(search(worker, ways, facing, attempt, TRIES), None)
    worker.look()
    return found


def _stroke(worker: Worker, name: str, side: str, place: str, found: _Strokes, done: Cells) -> Act:
    """Down until the surface bears the pad, then along the strokes; ``done`` is filled in."""
    limbs, model = worker.limbs, worker.model
    _, frame = model.spot(place)
    model.look(limbs.seen)
    here = worker._palm(side)
    high, felt = float(here.at[2]), 0.0
    lowest = high - ABOVE - 0.02
    way = [corner.at for corner in found.corners]
    at, corner, late = way[0].copy(), 0, 0
    limbs.refresh()
    while corner < len(way) and late < round(2.0 / limbs.dt):
        model.look(limbs.seen)
        pad, palm = model.thing(name), worker._palm(side)
        force = model.support(name)[0]
        felt += 0.4 * (force - felt)
        local = frame.inverse() * pad
        one = pressed(model.things[name], local.at[None], local.turn[None], np.array([force]))
        done |= one[0]
        if float(limbs.seen["truth/contact"][0]) > JAMMED or felt > HARD:
            high += YIELD * limbs.dt
        elif felt < LIGHT:
            high = max(lowest, high - (YIELD if felt > 0.2 else 3 * YIELD) * limbs.dt)
        behind = hypot(*(at - pad.at)[:2])
        if felt > PRESS and behind < BEHIND:
            left = way[corner] - at
            far = hypot(*left[:2])
            at = at + left * min(1.0, PACE * limbs.dt / max(far, 1e-9))
            corner += far < 0.003 and behind < NEAR
            late = 0
        else:
            late += 1
        off = palm.at - pad.at
        # What has turned in the hand is laid flat by the hand.
        lean = np.cross(pad.turn[:, 2], UP)
        turn = turn_by(lean) @ palm.turn
        goal = Frame(np.array([at[0] + off[0], at[1] + off[1], high]), turn)
        there = model.base().inverse() * goal
        limbs.pursue({side: (there.at, there.turn)}, speed=0.25, turn=1.0)
        yield from limbs.tick()
    return ""
