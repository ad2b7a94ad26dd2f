"""Which signals become which columns. Truth becomes none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabrika._episode import Episode
from fabrika._errors import IntegrityError, UsageError, VersionError
from fabrika._signals import Array, Signal, Signals
from fabrika._world import World
from fabrika.data._layout import ACTION, ENVIRONMENT, STATE, Feature

TRACKER = "tracker/"
"""Signals of this kind tell of the surroundings; all other sensors tell of the robot."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the signals in each vector, in order, and how the world declared them."""

    state: tuple[str, ...]
    environment: tuple[str, ...]
    action: tuple[str, ...]
    declared: Mapping[str, Signal]
    fps: int

    @classmethod
    def of(cls, world: World) -> Columns:
        """All sensors that are numbers, but pictures and truth; and all that is commanded."""
        sensors = [
            name
            for name, signal in sorted(world.observes.items())
            if not signal.truth and not signal.image and np.dtype(signal.dtype).kind in "biuf"
        ]
        if not sensors:
            raise UsageError("this world has no sensors: there is nothing to learn from.")
        fps = round(1.0 / world.dt)
        if fps < 1 or abs(fps * world.dt - 1.0) > 1e-9:
            raise UsageError(
                f"LeRobot counts whole frames a second; a period of {world.dt} s is none."
            )
        tracked = tuple(name for name in sensors if name.startswith(TRACKER))
        return cls(
            state=tuple(name for name in sensors if name not in tracked),
            environment=tracked,
            action=tuple(sorted(world.acts)),
            declared={**{f"act:{name}": s for name, s in world.acts.items()}, **world.observes},
            fps=fps,
        )

    def features(self) -> dict[str, Feature]:
        """The vectors as features, every entry named."""
        vectors = {STATE: self.state, ENVIRONMENT: self.environment}
        found = {key: self._feature(names) for key, names in vectors.items() if names}
        return found | {ACTION: self._feature(self.action, "act:")}

    def rows(self, episode: Episode) -> dict[str, NDArray[np.float32]]:
        """The (T, D) vectors of an episode: T observations, each with the action commanded then.

        The last observation, after the last action, has no row.
        """
        leaked = set(episode.truth) & {*self.state, *self.environment}
        if leaked:
            raise VersionError(f"{sorted(leaked)} was truth when this episode was recorded.")
        shown = {name: value[:-1] for name, value in episode.observations.items()}
        found = {STATE: self._stack(shown, self.state, episode.length)}
        if self.environment:
            found[ENVIRONMENT] = self._stack(shown, self.environment, episode.length)
        found[ACTION] = self._stack(episode.actions, self.action, episode.length, "act:")
        expected = np.arange(episode.length + 1) / self.fps
        if not np.allclose(episode.times, expected, rtol=0.0, atol=1e-6):
            raise UsageError(
                f"episode {episode.scenario.id} is not sampled every {1 / self.fps} s."
            )
        return found

    def commands(self, rows: NDArray[np.float32]) -> dict[str, Array]:
        """The actions, each (T, *shape), that the (T, D) rows of ``action`` hold."""
        shapes = {name: self.declared[f"act:{name}"].shape for name in self.action}
        widths = [int(np.prod(shape, dtype=int)) for shape in shapes.values()]
        parts = np.split(rows, np.cumsum(widths)[:-1], axis=1)
        return {
            name: part.reshape(len(rows), *shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }

    def _stack(
        self, signals: Signals, names: Sequence[str], length: int, prefix: str = ""
    ) -> NDArray[np.float32]:
        parts: list[Array] = []
        for name in names:
            shape = (length, *self.declared[prefix + name].shape)
            if name not in signals or signals[name].shape != shape:
                raise VersionError(
                    f"the episodes have no signal {name!r} of shape {shape[1:]}, which their task "
                    "declares now: export them with the version that made them."
                )
            parts.append(signals[name].reshape(length, -1))
        with np.errstate(over="ignore"):
            stacked = np.concatenate(parts, axis=1).astype(np.float32)
        if not np.isfinite(stacked).all():
            raise IntegrityError(f"one of {list(names)} is not finite in single precision.")
        return stacked

    def _feature(self, names: Sequence[str], prefix: str = "") -> Feature:
        entries: list[str] = []
        for name in names:
            signal = self.declared[prefix + name]
            width = int(np.prod(signal.shape, dtype=int))
            parts = signal.names if len(signal.names) == width else tuple(map(str, range(width)))
            entries += [f"{name}/{part}" for part in parts] if signal.shape else [name]
        return Feature(dtype="float32", shape=(len(entries),), names=entries)
