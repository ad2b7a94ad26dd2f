"""Actors: whatever acts. Experts, policies, and the two that must always fail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from typing import Protocol

import numpy as np

from fabrika._signals import Array, Signal, Signals


class Actor(Protocol):
    """Something that turns observations into actions."""

    @property
    def name(self) -> str:
        """Name and, for a policy, digest: equal names mean the same actor."""

    @property
    def reads(self) -> frozenset[str]:
        """The signals that it wants to see. It is shown these and no others."""

    @property
    def remark(self) -> str:
        """Its own word on how the episode ended, such as "slipped"; empty if none."""

    def reset(self, instruction: str, seed: int) -> None:
        """Start an episode. The seed is the actor's own; the world's stays hidden."""

    def act(self, observation: Signals) -> Signals:
        """The action for one control period."""


Story = Generator[Signals, Signals, str]
"""Yields actions, is sent observations, returns a remark ("" if it believes it succeeded)."""


class Scripted:
    """Turns a story (a generator) into an actor, so that an expert passes through the same loop.

    ``story`` is called at the first observation with it and a seeded generator. When the story
    ends, its last action is held.
    """

    def __init__(
        self,
        name: str,
        reads: Collection[str],
        story: Callable[[Signals, np.random.Generator], Story],
    ) -> None:
        self.name = name
        self.reads = frozenset(reads)
        self.remark = ""
        self._story = story
        self._seed = 0
        self._running: Story | None = None
        self._last: Signals = {}

    def reset(self, instruction: str, seed: int) -> None:
        self.remark, self._seed, self._running, self._last = "", seed, None, {}

    def act(self, observation: Signals) -> Signals:
        try:
            if self._running is None and not self._last:
                self._running = self._story(observation, np.random.default_rng(self._seed))
                self._last = next(self._running)
            elif self._running is not None:
                self._last = self._running.send(observation)
        except StopIteration as end:
            self.remark, self._running = str(end.value or ""), None
        return self._last


class Zero:
    """Commands zero, always. No task may let it pass."""

    name = "zero"
    remark = ""
    reads: frozenset[str] = frozenset()

    def __init__(self, acts: Mapping[str, Signal]) -> None:
        self._action = {name: np.zeros(signal.shape) for name, signal in acts.items()}

    def reset(self, instruction: str, seed: int) -> None:
        pass

    def act(self, observation: Signals) -> Signals:
        return self._action


class Random:
    """Commands uniform noise within the bounds of every signal. No task may let it pass."""

    name = "random"
    remark = ""
    reads: frozenset[str] = frozenset()

    def __init__(self, acts: Mapping[str, Signal]) -> None:
        self._acts = acts
        self._rng = np.random.default_rng(0)

    def reset(self, instruction: str, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Signals) -> Signals:
        action: dict[str, Array] = {}
        for name, signal in self._acts.items():
            action[name] = self._rng.uniform(signal.low, signal.high, signal.shape)
        return action
