"""Scenarios: plain data that fixes one run, and the splits that keep data and proof apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast, get_args

from fabrika._errors import UsageError

Split = Literal["train", "validate", "release"]
"""What scenarios are for: demonstrations; the gate at any time; the gate of one candidate."""
SPLITS: tuple[Split, ...] = get_args(Split)


def seed_for(task: str, split: str, index: int, purpose: str, draw: str = "") -> int:
    """The 64-bit seed of one purpose of one scenario: a hash, so that splits cannot meet."""
    text = json.dumps([task, split, draw, index, purpose])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Everything that fixes one run of one task. Plain data: JSON in, JSON out.

    An actor is never shown ``params``, nor any seed from which they were drawn.
    """

    task: str
    split: Split
    index: int
    params: Mapping[str, Any] = field(default_factory=dict)
    """What was randomised, as JSON has it: poses [m, rad], sizes [m], masses [kg], friction."""
    instruction: str = ""
    """What the actor is told, in words."""
    draw: str = ""
    """For ``release`` only: the digest of the candidate, so that each gets fresh scenarios."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UsageError(f"there is no split {self.split!r}. Splits: {', '.join(SPLITS)}.")
        if self.index < 0:
            raise UsageError(f"a scenario's index starts at 0, not {self.index}.")
        if (self.split == "release") != bool(self.draw):
            raise UsageError(
                "the release split, and no other, is drawn for one candidate: "
                f"split {self.split!r} with draw {self.draw!r}."
            )

    def seed(self, purpose: str) -> int:
        """A 64-bit seed for one purpose ("sample", "sensor", "actor"); purposes never meet."""
        return seed_for(self.task, self.split, self.index, purpose, self.draw)

    @cached_property
    def id(self) -> str:
        """Content hash: 16 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces; floats survive exactly."""
        data = {
            "task": self.task,
            "split": self.split,
            "index": self.index,
            "params": self.params,
            "instruction": self.instruction,
            "draw": self.draw,
        }
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Scenario:
        """The scenario that `to_json` wrote."""
        data = cast(dict[str, Any], json.loads(text))
        return cls(**data)
