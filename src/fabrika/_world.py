"""The world protocol: where an actor acts. A simulator, or later a robot."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from fabrika._scenario import Scenario
from fabrika._signals import Array, Signal, Signals


class World(Protocol):
    """Something that can be reset to a scenario, observed, and acted in.

    A world is built once per process and reset for each scenario. Equal scenarios must give
    equal worlds, whatever ran before.
    """

    @property
    def dt(self) -> float:
        """Control period [s]."""

    @property
    def observes(self) -> Mapping[str, Signal]:
        """What can be observed. Constant: does not depend on the scenario."""

    @property
    def acts(self) -> Mapping[str, Signal]:
        """What can be commanded, in single precision. Constant; bounds are finite."""

    @property
    def time(self) -> float:
        """Time since `reset` [s]."""

    @property
    def executed(self) -> Signals:
        """The last action as carried out, after the limits of the robot. Names as ``acts``."""

    @property
    def warnings(self) -> Sequence[str]:
        """What the engine warned of since `reset`, where that does not void the rollout."""

    def reset(self, scenario: Scenario) -> None:
        """Start the scenario. Raises `BrokenWorldError` if it cannot be simulated."""

    def observe(self, names: Collection[str]) -> Signals:
        """The named signals now. Only what is asked for is computed: cameras cost.

        What is returned for one name does not depend on which others are asked for.
        """

    def step(self, action: Signals) -> bool:
        """Act for one control period; True when the world has ended.

        Raises `BrokenWorldError` when the simulator diverges or warns of it.
        """

    def state(self) -> Array:
        """(S,) float64: all that is needed to continue bit for bit with `restore`."""

    def restore(self, scenario: Scenario, state: Array) -> None:
        """Continue the scenario from a state."""

    def close(self) -> None:
        """Give back what the world holds. It is not used afterwards."""


@runtime_checkable
class Pictured(Protocol):
    """A world from whose stored states pictures can be made, long after the rollout."""

    @property
    def cameras(self) -> Sequence[str]:
        """Names of the cameras, the robot's own first; "scene" shows the whole to a person."""

    def dress(self, scenario: Scenario, look: int = 0) -> None:
        """Prepare the pictures of one scenario.

        Look 0 has the scenario's own colours and lights; every other number is another draw
        of what cannot touch physics.
        """

    def picture(self, state: Array, camera: str, height: int, width: int) -> Array:
        """(height, width, 3) uint8 RGB of one state of the dressed scenario."""
