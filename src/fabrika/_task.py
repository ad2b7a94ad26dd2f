"""Tasks: data and a few functions. Never subclassed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fabrika._actor import Actor
from fabrika._check import Check
from fabrika._errors import ContractError, UsageError
from fabrika._scenario import Scenario, Split, seed_for
from fabrika._world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be done, how it varies, and how it is judged."""

    name: str
    """"line/what-v1": the version is part of the name."""
    description: str
    """The fixed sections: Description, Randomisation, Success, Safety."""
    instructions: tuple[str, ...]
    """Phrasings for the train split."""
    held_out_instructions: tuple[str, ...]
    """Phrasings for the validate and release splits: never seen in training."""
    horizon: float
    """Longest episode [s]."""
    sample: Callable[[np.random.Generator], Mapping[str, Any]]
    """Draws the params of one scenario."""
    held_out_sample: Callable[[np.random.Generator], Mapping[str, Any]] | None = None
    """Draws them for the validate and release splits, if things of theirs are never trained on."""
    build: Callable[[], World]
    """Makes a world, to be reset for each scenario."""
    expert: Callable[[], Actor]
    """Makes an expert: it may read truth, it never holds the world."""
    checks: tuple[Check, ...]
    policy_reads: tuple[str, ...] = ()
    """Sensors that a policy reads by default; empty: all sensors but pictures."""
    camera_reads: tuple[str, ...] = ()
    """Sensors that a policy from pixels reads. The trackers of ``policy_reads`` it is taught to
    make out in its pictures while it learns, and is not given."""

    def __post_init__(self) -> None:
        if not any(check.kind == "goal" for check in self.checks):
            raise ContractError(f"task {self.name!r} has no goal check: anything would pass.")
        names = [check.name for check in self.checks]
        if len(set(names)) != len(names):
            raise ContractError(f"task {self.name!r} has two checks of one name: {names}.")
        if set(self.instructions) & set(self.held_out_instructions):
            raise ContractError(f"task {self.name!r}: a held-out instruction is trained on.")
        if not self.instructions or not self.held_out_instructions:
            raise ContractError(f"task {self.name!r} needs instructions for every split.")

    def scenario(self, split: Split, index: int, draw: str = "") -> Scenario:
        """Scenario ``index`` of a split: always the same, whatever was drawn before."""
        rng = np.random.default_rng(seed_for(self.name, split, index, "sample", draw))
        train = split == "train"
        words = self.instructions if train else self.held_out_instructions
        sample = self.sample if train else self.held_out_sample or self.sample
        return Scenario(
            task=self.name,
            split=split,
            index=index,
            instruction=words[int(rng.integers(len(words)))],
            params=_plain(self.name, sample(rng)),
            draw=draw,
        )

    def scenarios(
        self, split: Split, count: int, start: int = 0, draw: str = ""
    ) -> Iterator[Scenario]:
        """Scenarios ``start .. start + count - 1`` of a split."""
        if count < 1 or start < 0:
            raise UsageError(f"{count} scenarios from {start}: ask for at least one, from 0 on.")
        return (self.scenario(split, index, draw) for index in range(start, start + count))


def _plain(task: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Params as a stored scenario gives them back, in their order too: worlds are built by it."""
    try:
        plain = json.loads(json.dumps(params, sort_keys=True, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ContractError(f"task {task!r} samples what is not plain data: {error}.") from error
    if not isinstance(plain, dict):
        raise ContractError(f"task {task!r} must sample a mapping, not {type(plain).__name__}.")
    return plain
