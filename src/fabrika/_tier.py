"""Tiers of determinism: what is promised, and printed, of everything that Fabrika makes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Tier = Literal["D0", "D1", "D2", "D3"]
TIERS: dict[Tier, str] = {
    "D0": "identical to the last bit",
    "D1": "every number within 1e-6, passed or failed alike",
    "D2": "passed or failed alike",
    "D3": "none of these",
}
"""What comes out when a thing is made again, from the strongest promise to none."""

EPISODES = "D0: equal scenarios give equal bytes, for these versions on this kind of machine"
"""The promise of a store: on any number of workers, by any executor, in any order."""
DATASET = (
    "D0: equal stores give equal bytes, for these versions on this kind of machine and, with "
    "cameras, this renderer"
)
"""The promise of a dataset, for any number of workers."""


def tier_of(promise: object) -> Tier:
    """The tier that a promise begins with; D3 for what promises nothing, or nothing known."""
    word = str(promise).partition(":")[0]
    return next((tier for tier in get_args(Tier) if tier == word), "D3")


def weakest(promises: Iterable[object]) -> Tier:
    """The tier of something that is made of others; D3 if it is made of nothing."""
    return max(map(tier_of, promises), default="D3")
