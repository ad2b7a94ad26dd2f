"""Experts that say what they are at, for datasets that teach language."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from fabrika._actor import Scripted, Story
from fabrika._signals import Signals


class Narrator:
    """A scripted expert whose story says, while it acts, what it is at.

    The story is called with the first observation, a seeded generator and this actor: it sets
    ``doing`` where a part begins, and adds to ``events`` what went wrong and was noticed. Neither
    is recorded: `fabrika.data.narrate` asks a fresh expert again.
    """

    def __init__(
        self,
        name: str,
        reads: Collection[str],
        story: Callable[[Signals, np.random.Generator, Narrator], Story],
    ) -> None:
        self._script = Scripted(name, reads, lambda first, rng: story(first, rng, self))
        self.name, self.reads = self._script.name, self._script.reads
        self.doing = ""
        """The sub-instruction that the last action served, such as "reach for the mug"."""
        self.events: list[str] = []
        """What went wrong so far, in words: "missed the grasp"."""

    @property
    def remark(self) -> str:
        """The story's own word on how it ended; empty if it believes that it succeeded."""
        return self._script.remark

    def reset(self, instruction: str, seed: int) -> None:
        """Start an episode."""
        self.doing, self.events = "", []
        self._script.reset(instruction, seed)

    def act(self, observation: Signals) -> Signals:
        """The action for one control period."""
        return self._script.act(observation)
