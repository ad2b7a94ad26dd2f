"""The decision in words. Made from the bound itself, so that it cannot say more than it."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from typing import Any


def percent_down(share: float) -> str:
    """A share as a percentage with one decimal, never rounded up."""
    return f"{floor(share * 1000 + 1e-9) / 10:.1f}%"


def verdict_words(decision: Mapping[str, Any]) -> str:
    """One line: whether the gate passed."""
    return "The gate passed." if decision["passed"] else "The gate did not pass."


def claim_words(decision: Mapping[str, Any]) -> list[str]:
    """What the evidence supports, and no more. ``decision``: `Decision` as plain data."""
    required, sure = f"{decision['at_least']:.0%}", f"{1 - decision['error']:.0%}"
    words = [
        f"In simulation the policy succeeded in {decision['successes']} of "
        f"{decision['episodes']} scenarios that it had never met. With {sure} confidence its "
        f"true rate of success over such scenarios is at least "
        f"{percent_down(decision['lower_bound'])}; at least {required} was to be shown."
    ]
    if decision["preventable"] is not None:
        words.append(failure_words(decision["preventable"], decision["unsolved"]))
    return words


def failure_words(preventable: int, unsolved: int) -> str:
    """How the failures divide, told beside the reference."""
    if not preventable + unsolved:
        return "It did not fail once."
    return (
        f"Of its {preventable + unsolved} failures, {preventable} were preventable (the expert "
        f"succeeds in the same scenario) and {unsolved} unsolved (the expert fails there too)."
    )
