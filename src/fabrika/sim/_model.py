"""An expert's picture of the scene: what it was told, where all is now, and what would touch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import atan2
from typing import Any

import numpy as np

from fabrika._signals import Array, Signals
from fabrika.sim._fixtures import build_fixture, fixture
from fabrika.sim._joinery import Fixture, Part, Space, Spot
from fabrika.sim._pose import rotation_of, yaw_rotation
from fabrika.sim._rehearsal import Rehearsal
from fabrika.sim._robot import Robot
from fabrika.sim._scene import ring_of, walls
from fabrika.sim._scenery import Scenery
from fabrika.sim._things import thing

_PAINT = {"rgba": [0.8, 0.8, 0.8, 1.0]}
_SKIN = {**_PAINT, "mass": 0.1, "friction": 0.5, "pos": [0.0, 0.0, -9.0], "yaw": 0.0}


@dataclass(frozen=True, slots=True)
class Frame:
    """A place in the world: (3,) [m] and (3, 3)."""

    at: Array
    turn: Array

    def __mul__(self, other: Frame) -> Frame:
        return Frame(self.at + self.turn @ other.at, self.turn @ other.turn)

    def point(self, x: float, y: float, z: float) -> Array:
        """A point of this frame, in the world [m]."""
        return np.asarray(self.at + self.turn @ np.array([x, y, z]))

    def inverse(self) -> Frame:
        """The frame that undoes this one."""
        return Frame(-self.turn.T @ self.at, self.turn.T)

    @property
    def yaw(self) -> float:
        """Direction of its x axis, from above [rad]."""
        return atan2(self.turn[1, 0], self.turn[0, 0])


class Model:
    """The scene as an expert knows it, and its robot in it.

    Built once an episode from the first observation; `look` takes in where things are.
    """

    def __init__(self, robot: Robot, scenery: Scenery, seen: Signals) -> None:
        self.robot, self._scenery = robot, scenery
        self.fixtures: dict[str, Mapping[str, Any]] = {
            name: scenery.fixture(seen, name) for name in scenery.fixtures
        }
        self.things = {name: scenery.thing(seen, name) for name in scenery.things}
        self.built: dict[str, Fixture] = {
            name: build_fixture(name, params) for name, params in self.fixtures.items()
        }
        self.parts: dict[str, Part] = {p.joint: p for b in self.built.values() for p in b.parts}
        self._owner = {p.joint: name for name, b in self.built.items() for p in b.parts}
        bodies = "".join(fixture(name, {**_PAINT, **p}) for name, p in self.fixtures.items())
        # Grains are nothing to keep off: they lie in a vessel, and go where it goes.
        self.solid = [name for name, p in self.things.items() if p["kind"] != "grain"]
        bodies += "".join(thing(name, {**_SKIN, **self.things[name]}) for name in self.solid)
        self.rehearsal = Rehearsal(robot, bodies + walls())
        self.look(seen)

    def look(self, seen: Signals) -> None:
        """Take in where the robot's base, things and parts are."""
        self._seen = seen
        for name in self.solid:
            place = self.thing(name)
            self.rehearsal.put(name, place.at, place.turn)
        for joint in self.parts:
            self.rehearsal.move(joint, self.opening(joint))
        if self.robot.drives:
            self.rehearsal.pose({"base": self.stand()})
        else:
            base = self.base()
            self.rehearsal.stand(base.at, base.turn)

    # -- where things are --------------------------------------------------------------------

    def base(self) -> Frame:
        """The robot's base."""
        base = self._seen["truth/base"]
        return Frame(base[:3, 3], base[:3, :3])

    def stand(self) -> Array:
        """(3,) the base's x, y [m] and yaw [rad]."""
        base = self.base()
        return np.array([base.at[0], base.at[1], base.yaw])

    def thing(self, name: str) -> Frame:
        """A thing's bottom."""
        body = self._seen[f"truth/{name}"]
        return Frame(body[:3], rotation_of(body[3:7]))

    def support(self, name: str) -> tuple[float, float]:
        """Normal force on a thing, from things and from robots [N]."""
        index = sorted(self.things).index(name)
        things, robots = self._seen["truth/support"][index].tolist()
        return things, robots

    def loaded(self, name: str) -> bool:
        """Whether there are grains in a thing."""
        frame, params = self.thing(name), self.things[name]
        for grain in self.things.keys() - set(self.solid):
            x, y, z = frame.turn.T @ (self.thing(grain).at - frame.at)
            if np.hypot(x, y) < params.get("radius", 0.0) and 0 < z < params["height"]:
                return True
        return False

    def opening(self, joint: str) -> float:
        """Where a part is [rad or m]."""
        return float(self._seen[f"truth/{joint}"][0])

    def body(self, name: str, at: float | None = None) -> Frame:
        """A fixture's body: its own, or a part of it, where it is or where it is ``at``."""
        owner = self._owner.get(name, name)
        params = self.fixtures[owner]
        frame = Frame(np.array([*params["pos"], 0.0]), yaw_rotation(params["yaw"]))
        if name in self.parts:
            moved = self.opening(name) if at is None else at
            frame = frame * Frame(*self.parts[name].pose(moved))
        return frame

    def owner(self, joint: str) -> str:
        """The fixture that a part belongs to."""
        return self._owner[joint]

    def spot(self, place: str) -> tuple[Spot, Frame]:
        """ "fixture.spot": what it is, and its middle as a frame."""
        owner, _, name = place.partition(".")
        spot = next(s for s in self.built[owner].spots if s.name == name)
        frame = self.body(spot.body)
        return spot, Frame(frame.point(*spot.middle), frame.turn)

    def space(self, place: str) -> tuple[Space, Frame]:
        """ "fixture.space": what it is, and the frame of its body."""
        owner, _, name = place.partition(".")
        space = next(s for s in self.built[owner].spaces if s.name == name)
        return space, self.body(space.body)

    def bearing(self, name: str) -> Array:
        """(3,) a thing, a handle, or "fixture.place", in the base frame [m]: where to look."""
        owner, _, place = name.partition(".")
        if name in self.things:
            at = self.thing(name).at
        elif name in self.parts:
            at = self.body(name).point(*self.parts[name].handle)
        elif any(spot.name == place for spot in self.built[owner].spots):
            at = self.spot(name)[1].at
        else:
            space, frame = self.space(name)
            at = frame.point(*(0.5 * (np.array(space.low) + np.array(space.high))))
        return self.base().inverse().point(*at)

    def under(self, name: str) -> str:
        """The place "fixture.spot" that a thing stands on, or hangs from; empty if on none."""
        at = self.thing(name).at
        hung = self.thing(name).point(0.0, 0.0, ring_of(self.things[name]))
        for owner, built in self.built.items():
            for spot in built.spots:
                _, frame = self.spot(f"{owner}.{spot.name}")
                x, y, z = frame.turn.T @ ((hung if spot.hangs else at) - frame.at)
                if abs(x) < spot.half[0] + 0.03 and abs(y) < spot.half[1] + 0.03 and abs(z) < 0.03:
                    return f"{owner}.{spot.name}"
        return ""

    def spot_body(self, place: str) -> str:
        """The body that "fixture.spot" is on; empty for no place."""
        return self.spot(place)[0].body if place else ""

    def guards(self, place: str) -> list[str]:
        """Parts that have to be open to get at "fixture.spot" or "fixture.space", in order."""
        owner, _, name = place.partition(".")
        if owner not in self.built:
            return []
        built = self.built[owner]
        places: list[Spot | Space] = [*built.spots, *built.spaces]
        bodies = [s.body for s in places if s.name == name]
        inner = any(space.name == "inside" for space in built.spaces)
        door = f"{owner}_door"
        found = [door] if door in self.parts and inner and name != "top" else []
        found += [part.joint for part in built.parts if name in part.covers]
        return found + [body for body in bodies[:1] if body in self.parts]

    def facing(self, fixture: str) -> float:
        """Yaw of a base that faces the fixture [rad]."""
        return float(self.fixtures[fixture]["yaw"]) + np.pi
