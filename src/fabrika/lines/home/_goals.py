"""Goals: what a person wants of a scene, as measurements of the recorded episode.

Each predicate is a function of names that gives a `Condition`: for each observation, whether it
holds. It reads recorded truth and the scenario's params, and nothing else: so a verdict can be
worked out again from disk. Names: a thing is what ``params["things"]`` calls it; "fridge.middle" is
a spot, a space or a part of a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, sin
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fabrika._check import Condition
from fabrika._episode import Episode
from fabrika._errors import UnknownNameError
from fabrika._signals import Array, Signals
from fabrika.lines.home._checks import at_rest, position, tilt, upright
from fabrika.sim import Part, build_fixture, footprint
from fabrika.sim._joinery import Spot
from fabrika.sim._pose import quaternion_rotation
from fabrika.sim._scene import height_of, outlined, reach_of
from fabrika.sim._wipe import pressed as pressed_cells

LEVEL = 0.015
"""How far a thing's bottom may be from the plane that it stands on [m]."""
SHUT, SHUT_SLIDE = 0.03, 0.01
"""A hinge, or a slide, is closed within this of its zero [rad], [m]."""
AT = 0.05
"""How far from the middle of a spot a thing's middle may be that is `at` it [m]."""
WIDE = 0.75
"""A part is open from this share of its way on."""
FREE = 0.05
"""A robot that presses on a thing with less does not touch it [N]."""
MESH = 40
"""Points across a thing's outline that are looked at to say how much of it is covered."""
DEEP, STRAIGHT = 0.8, 0.1
"""Share of its way that a peg is in when it is inserted, and how far its axis may lean [rad]."""
BEYOND = 0.01
"""How far a needle's tip sticks out of the eye when it is threaded [m]."""
APART = 0.04
"""How much nearer the hand that holds a thing is to it than the others [m]."""
TURNED = 0.12
"""A knob is turned to where it is to be within this [rad]."""
STILL = 0.02
"""A part moves slower than this when it is at rest [rad/s or m/s]."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Frame:
    """A body of a fixture over an episode: (T + 1, 3) origins, (3, 3) rotation."""

    origin: Array
    turn: Array

    def see(self, points: Array) -> Array:
        """(T + 1, 3) points of the world in this frame [m]."""
        return np.asarray((points - self.origin) @ self.turn)


def moment(seen: Signals, params: Mapping[str, Any]) -> Episode:
    """One observation and a scenario's params, as a predicate sees an episode of one moment."""
    observations = {name: values[None] for name, values in seen.items()}
    scenario = SimpleNamespace(params=params)
    one = SimpleNamespace(observations=observations, scenario=scenario, times=np.zeros(1))
    return cast("Episode", one)


def _params(episode: Episode, kind: str, name: str) -> Mapping[str, Any]:
    known = episode.scenario.params[kind]
    if name not in known:
        raise UnknownNameError(kind.removesuffix("s"), name, known)
    found: Mapping[str, Any] = known[name]
    return found


def _part(episode: Episode, joint: str) -> Part:
    fixtures = episode.scenario.params["fixtures"]
    parts = {p.joint: p for n, params in fixtures.items() for p in build_fixture(n, params).parts}
    if joint not in parts:
        raise UnknownNameError("part", joint, parts)
    return parts[joint]


def _frame(episode: Episode, fixture: str, body: str) -> _Frame:
    """Where a body of a fixture is: the fixture's own, or a part that slides out of it."""
    params = _params(episode, "fixtures", fixture)
    c, s = cos(params["yaw"]), sin(params["yaw"])
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    origin = np.tile([*params["pos"], 0.0], (len(episode.times), 1))
    if body != fixture:
        part = _part(episode, body)
        slid = np.array([part.pose(at)[0] for at in _moved(episode, body)[0]])
        origin = origin + slid @ turn.T
    return _Frame(origin, turn)


def _spot(episode: Episode, place: str) -> Spot:
    """The spot that "fixture.spot" names."""
    fixture, _, name = place.partition(".")
    params = _params(episode, "fixtures", fixture)
    spots = {spot.name: spot for spot in build_fixture(fixture, params).spots}
    if name not in spots:
        raise UnknownNameError("spot", place, {f"{fixture}.{n}": s for n, s in spots.items()})
    return spots[name]


def middle(episode: Episode, thing: str) -> Array:
    """(T + 1, 3) the point halfway up a thing, in the world [m]."""
    half = height_of(_params(episode, "things", thing)) / 2
    return position(episode, thing) + half * _turn(episode, thing)[:, :, 2]


def _turn(episode: Episode, thing: str) -> Array:
    """(T + 1, 3, 3) rotation of a thing."""
    return quaternion_rotation(episode.observations[f"truth/{thing}"][:, 3:7])


# -- where things are ----------------------------------------------------------------------


def on(thing: str, place: str) -> Condition:
    """The thing stands on a spot: its bottom level with it, its middle within its rectangle."""

    def condition(episode: Episode) -> Mask:
        fixture, spot = place.partition(".")[0], _spot(episode, place)
        seen = _frame(episode, fixture, spot.body).see(position(episode, thing))
        x, y, z = (seen - np.array(spot.middle)).T
        flat = (np.abs(x) < spot.half[0] + 0.02) & (np.abs(y) < spot.half[1] + 0.02)
        return np.asarray(flat & (np.abs(z) < LEVEL))

    return condition


def at(thing: str, place: str) -> Condition:
    """The thing stands on a spot, its middle within `AT` of the spot's middle, from above."""

    def condition(episode: Episode) -> Mask:
        fixture, spot = place.partition(".")[0], _spot(episode, place)
        seen = _frame(episode, fixture, spot.body).see(position(episode, thing))
        x, y, z = (seen - np.array(spot.middle)).T
        return np.asarray((np.hypot(x, y) < AT) & (np.abs(z) < LEVEL))

    return condition


def inside(thing: str, place: str) -> Condition:
    """The thing's middle is in a space of a fixture, or within the walls of another thing."""

    def condition(episode: Episode) -> Mask:
        at = middle(episode, thing)
        if place in episode.scenario.params["things"]:
            return _within_thing(episode, at, place)
        fixture, _, name = place.partition(".")
        params = _params(episode, "fixtures", fixture)
        spaces = {space.name: space for space in build_fixture(fixture, params).spaces}
        if name not in spaces:
            raise UnknownNameError("space", place, {f"{fixture}.{n}": s for n, s in spaces.items()})
        space = spaces[name]
        seen = _frame(episode, fixture, space.body).see(at)
        within = (seen > np.array(space.low)) & (seen < np.array(space.high))
        return np.asarray(within.all(axis=1))

    return condition


def _within_thing(episode: Episode, at: Array, vessel: str) -> Mask:
    """Points that are between a vessel's walls and under its rim, in its own frame."""
    params = _params(episode, "things", vessel)
    x, y, z = _seen_from(episode, vessel, at).T
    if "width" in params:
        half = footprint(params)
        flat = (np.abs(x) < half[0]) & (np.abs(y) < half[1])
    else:
        flat = np.hypot(x, y) < params["radius"]
    return np.asarray(flat & (z > 0.0) & (z < height_of(params)))


def stacked(upper: str, lower: str) -> Condition:
    """The upper thing stands on the lower one: bottom on top, middle over it."""

    def condition(episode: Episode) -> Mask:
        params = _params(episode, "things", lower)
        x, y, z = (position(episode, upper) - position(episode, lower)).T
        level = np.abs(z - height_of(params)) < LEVEL
        return np.asarray(level & (np.hypot(x, y) < 0.6 * max(footprint(params))))

    return condition


def covers(thing: str, other: str, share: float = 0.9) -> Condition:
    """Seen from above, the thing's own outline, turned as it is, hides this share of the other's.

    It lies on it: its bottom within `LEVEL` of the other's top, over the middle of that. Both
    stand level, to 0.15 rad. The other's outline is looked at in a mesh of `MESH` x `MESH` points.
    """

    def condition(episode: Episode) -> Mask:
        params = _params(episode, "things", other)
        half = reach_of(params)
        grid = np.linspace(-half, half, MESH)
        points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
        rim = np.vstack([[0.0, 0.0], points[outlined(params, points)]])
        rim = np.column_stack([rim, np.full(len(rim), height_of(params))])
        top = position(episode, other)[:, None] + np.einsum(
            "tij,nj->tni", _turn(episode, other), rim
        )
        bottom, turn = position(episode, thing)[:, None], _turn(episode, thing)
        # Straight up or down from each point, to the plane of the thing's bottom.
        normal = turn[:, None, :, 2]
        level = np.where(np.abs(normal[..., 2]) > 0.1, normal[..., 2], 1.0)
        above = ((bottom - top) * normal).sum(axis=2) / level
        met = top + above[..., None] * np.array([0.0, 0.0, 1.0])
        seen = np.einsum("tij,tni->tnj", turn, met - bottom)[:, 1:, :2]
        hidden = outlined(_params(episode, "things", thing), seen).mean(axis=1)
        flat = upright(thing)(episode) & upright(other)(episode)
        return np.asarray(flat & (np.abs(above[:, 0]) < LEVEL) & (hidden >= share - 1e-9))

    return condition


def poured(granules: str, vessel: str, share: float = 0.9) -> Condition:
    """Of all the granules, at least this share is in the vessel.

    So what is spilt and what is left behind is at most the rest of them.
    """

    def condition(episode: Episode) -> Mask:
        _params(episode, "things", vessel)
        names = grains(episode.scenario.params["things"], granules)
        if not names:
            raise UnknownNameError("thing", granules, episode.scenario.params["things"])
        within = [_within_thing(episode, middle(episode, name), vessel) for name in names]
        return np.asarray(np.mean(within, axis=0) >= share - 1e-9)

    return condition


def grains(things: Mapping[str, Any], granules: str) -> list[str]:
    """Names of all that "nuts" means, "nuts_1" and so on, as far as a scenario has them."""
    found = [n for n in things if granules in (n, n.rpartition("_")[0])]
    return [name for name in found if not things[name].get("absent")]


def _seen_from(episode: Episode, other: str, points: Array) -> Array:
    """(T + 1, 3) points of the world in another thing's frame [m]."""
    away = points - position(episode, other)
    return np.asarray(np.einsum("tij,ti->tj", _turn(episode, other), away))


def inserted(peg: str, socket: str) -> Condition:
    """The peg is in the socket's hole by `DEEP` of the way that it can go, and stands straight."""

    def condition(episode: Episode) -> Mask:
        shank, hole = (_params(episode, "things", name) for name in (peg, socket))
        x, y, z = _seen_from(episode, socket, position(episode, peg)).T
        axis, mouth = _turn(episode, peg)[:, :, 2], _turn(episode, socket)[:, :, 2]
        straight = (axis * mouth).sum(axis=1) > cos(STRAIGHT)
        way = DEEP * min(shank["length"], hole["sunk"])
        flat = (np.abs(x) < hole["hole"]) & (np.abs(y) < hole["hole"])
        return np.asarray(flat & straight & (hole["height"] - z > way))

    return condition


def threaded(needle: str, eye: str) -> Condition:
    """The needle's rod goes through the eye's window, its tip by `BEYOND` or more."""

    def condition(episode: Episode) -> Mask:
        rod, window = (_params(episode, "things", name) for name in (needle, eye))
        half, turn = rod["length"] / 2, _turn(episode, needle)
        root, tip = (
            _seen_from(
                episode,
                eye,
                position(episode, needle) + turn @ np.array([x, 0.0, rod["height"] / 2]),
            )
            - np.array([0.0, 0.0, window["level"]])
            for x in (rod["handle"] - half, half)
        )
        side = np.sign(root[:, 0])
        beyond = -side * tip[:, 0] > window["rim"] / 2 + BEYOND
        before = side * root[:, 0] > window["rim"] / 2
        # Where the rod's axis meets the plane of the window.
        share = root[:, 0] / np.where(beyond & before, root[:, 0] - tip[:, 0], 1.0)
        meets = root + share[:, None] * (tip - root)
        within = (np.abs(meets[:, 1:]) < window["hole"]).all(axis=1)
        return np.asarray(beyond & before & within)

    return condition


def wiped(pad: str, place: str, share: float = 0.9) -> Condition:
    """Up to now, of the patch around the middle of a spot, this share was wiped with the pad.

    A cell is wiped when the pad lay flat on it, pressed with `PRESS` or more.
    """

    def condition(episode: Episode) -> Mask:
        fixture, spot = place.partition(".")[0], _spot(episode, place)
        frame = _frame(episode, fixture, spot.body)
        at = frame.see(position(episode, pad)) - np.array(spot.middle)
        turn = np.einsum("ji,tjk->tik", frame.turn, _turn(episode, pad))
        force = _support(episode, pad)[:, 0]
        found = pressed_cells(_params(episode, "things", pad), at, turn, force)
        return np.asarray(np.logical_or.accumulate(found).mean(axis=1) >= share - 1e-9)

    return condition


def near(thing: str, other: str, within: float) -> Condition:
    """The two are at most ``within`` [m] apart, seen from above."""

    def condition(episode: Episode) -> Mask:
        x, y, _ = (position(episode, thing) - position(episode, other)).T
        return np.asarray(np.hypot(x, y) < within)

    return condition


def lying(thing: str, within: float = 0.35) -> Condition:
    """The thing lies on its side, to ``within`` [rad]."""
    return lambda episode: np.abs(tilt(episode, thing) - np.pi / 2) < within


# -- what holds them -----------------------------------------------------------------------


def _support(episode: Episode, thing: str) -> Array:
    """(T + 1, 2) normal force on a thing, from things and from robots [N]."""
    index = sorted(episode.scenario.params["things"]).index(thing)
    return episode.observations["truth/support"][:, index]


def held(thing: str, side: str = "") -> Condition:
    """A robot bears the thing, and nothing else does; with the hand of that side, if one is said.

    That hand is then nearer to the thing than any other, by `APART`.
    """

    def condition(episode: Episode) -> Mask:
        things, robots = _support(episode, thing).T
        found = (things < FREE) & (robots > 10 * FREE)
        return np.asarray(found & _nearest(episode, thing, side) if side else found)

    return condition


def handed(thing: str, side: str) -> Condition:
    """Up to now another hand held the thing once, and then this one: nothing else between them."""

    def condition(episode: Episode) -> Mask:
        mine, held_at_all = held(thing, side)(episode), held(thing)(episode)
        others = [_nearest(episode, thing, other) for other in _hands(episode) if other != side]
        given, found = False, np.zeros(len(episode.times), bool)
        done = False
        for tick, (holds, own) in enumerate(zip(held_at_all, mine, strict=True)):
            given = bool(holds) and (given or any(other[tick] for other in others))
            done = done or (given and bool(own))
            found[tick] = done
        return found

    return condition


def _hands(episode: Episode) -> dict[str, Array]:
    """(T + 1, 3) palms in the world [m], by side."""
    seen, start = episode.observations, "truth/palm_"
    base = seen["truth/base"]
    return {
        name.removeprefix(start): np.einsum("tij,tj->ti", base[:, :3, :3], palm[:, :3])
        + base[:, :3, 3]
        for name, palm in seen.items()
        if name.startswith(start)
    }


def _nearest(episode: Episode, thing: str, side: str) -> Mask:
    """Whether a hand is nearer to a thing's axis than all the others, by `APART`."""
    bottom, hands = position(episode, thing), _hands(episode)
    if side not in hands:
        raise UnknownNameError("hand", side, hands)
    axis = middle(episode, thing) - bottom
    far = {}
    for name, palm in hands.items():
        along = np.einsum("ti,ti->t", palm - bottom, axis) / np.einsum("ti,ti->t", axis, axis)
        point = bottom + np.clip(along, 0.0, 2.0)[:, None] * axis
        far[name] = np.linalg.norm(palm - point, axis=1)
    others = [away for name, away in far.items() if name != side]
    return np.asarray(far[side] + APART < np.min(others, axis=0))


def let_go(thing: str) -> Condition:
    """No robot touches the thing."""
    return lambda episode: _support(episode, thing)[:, 1] < FREE


# -- parts ---------------------------------------------------------------------------------


def _moved(episode: Episode, joint: str) -> tuple[Array, Array]:
    """(T + 1,) where a part is, and its speed."""
    _part(episode, joint)  # its name is checked before its record
    recorded = episode.observations[f"truth/{joint}"]
    return recorded[:, 0], recorded[:, 1]


def closed(joint: str) -> Condition:
    """The door, drawer or lid is shut, and does not move."""

    def condition(episode: Episode) -> Mask:
        at, speed = _moved(episode, joint)
        limit = SHUT if _part(episode, joint).motion == "hinge" else SHUT_SLIDE
        return np.asarray((np.abs(at) < limit) & (np.abs(speed) < STILL))

    return condition


def opened(joint: str) -> Condition:
    """The door, drawer or lid is open by `WIDE` of its way or more."""
    return lambda episode: _moved(episode, joint)[0] / _part(episode, joint).open > WIDE


def pressed(joint: str) -> Condition:
    """The button was pressed all the way at least once up to now, and has come back."""

    def condition(episode: Episode) -> Mask:
        at, _ = _moved(episode, joint)
        share = at / _part(episode, joint).open
        return np.asarray(np.logical_or.accumulate(share > 0.8) & (share < 0.3))

    return condition


def turned(joint: str, share: float) -> Condition:
    """The knob is at this share of its way, 0 off and 1 all the way, to `TURNED`, and rests."""

    def condition(episode: Episode) -> Mask:
        at, speed = _moved(episode, joint)
        off = np.abs(at - share * _part(episode, joint).open)
        return np.asarray((off < TURNED) & (np.abs(speed) < STILL))

    return condition


PREDICATES: Mapping[str, Callable[..., Condition]] = {
    "at": at,
    "at_rest": at_rest,
    "closed": closed,
    "covers": covers,
    "handed": handed,
    "held": held,
    "inserted": inserted,
    "inside": inside,
    "let_go": let_go,
    "lying": lying,
    "near": near,
    "on": on,
    "open": opened,
    "poured": poured,
    "pressed": pressed,
    "stacked": stacked,
    "threaded": threaded,
    "turned": turned,
    "upright": upright,
    "wiped": wiped,
}
"""Every predicate, by the name that a task's page has for it."""
