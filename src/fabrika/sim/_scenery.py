"""What an expert is told of a scene, as truth, and how it makes the scene's params of it again.

An expert never holds the world, nor sees the params that it was built from. It knows the kinds
of what there is, because the task names them; where things stand and how large they are it reads
from signals. From these it rebuilds what it needs: the spots, spaces and handles of fixtures, and
a model of its own to plan in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fabrika._signals import Array, Signal, Signals
from fabrika.sim._catalogue import CATALOGUE
from fabrika.sim._fixtures import RANGES
from fabrika.sim._world import Told

_PLACE = ("x", "y", "yaw", "hinge")
"""What is told of a fixture before its sizes; the hinge is 1 on the left, -1 on the right."""


def sizes_of(shape: str) -> tuple[str, ...]:
    """The sizes that things of a shape have, in the order in which they are told."""
    return next(tuple(sorted(i.sizes)) for i in CATALOGUE.values() if i.shape == shape)


@dataclass(frozen=True)
class Scenery:
    """The fixtures and things of a task, by name: what they are, whatever their sizes."""

    fixtures: Mapping[str, str]
    """Kinds."""
    things: Mapping[str, str]
    """Shapes."""

    def told(self) -> dict[str, Told]:
        """The signals, without "truth/": "fixture/NAME" and "sizes/NAME"."""
        signals: dict[str, Told] = {}
        for name, kind in self.fixtures.items():
            names = (*_PLACE, *RANGES[kind])
            signals[f"fixture/{name}"] = (_signal(names), self._fixture(name))
        for name, shape in self.things.items():
            signals[f"sizes/{name}"] = (_signal(sizes_of(shape)), self._thing(name))
        return signals

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of all that an expert reads to know the scene."""
        bodies = [f"truth/{name}" for name in self.things]
        return tuple(sorted(("truth/base", *bodies, *(f"truth/{name}" for name in self.told()))))

    def _fixture(self, name: str) -> Callable[[Mapping[str, Any]], Array]:
        def tell(params: Mapping[str, Any]) -> Array:
            p = params["fixtures"][name]
            side = 1.0 if p["hinge"] == "left" else -1.0
            sizes = [p[size] for size in RANGES[p["kind"]]]
            return np.array([*p["pos"], p["yaw"], side, *sizes], float)

        return tell

    def _thing(self, name: str) -> Callable[[Mapping[str, Any]], Array]:
        def tell(params: Mapping[str, Any]) -> Array:
            p = params["things"][name]
            return np.array([p[size] for size in sizes_of(p["kind"])], float)

        return tell

    def fixture(self, seen: Signals, name: str) -> dict[str, Any]:
        """Params of a fixture, as far as its shape depends on them."""
        x, y, yaw, side, *sizes = seen[f"truth/fixture/{name}"].tolist()
        kind = self.fixtures[name]
        found = dict(zip(RANGES[kind], sizes, strict=True))
        hinge = "left" if side > 0 else "right"
        return {"kind": kind, "pos": [x, y], "yaw": yaw, "hinge": hinge, **found}

    def thing(self, seen: Signals, name: str) -> dict[str, Any]:
        """Params of a thing, as far as its shape depends on them."""
        shape = self.things[name]
        sizes = seen[f"truth/sizes/{name}"].tolist()
        return {"kind": shape, **dict(zip(sizes_of(shape), sizes, strict=True))}


def _signal(names: tuple[str, ...]) -> Signal:
    return Signal(shape=(len(names),), unit="m, rad", names=names, truth=True)
