"""The decision in words. Made from the bound itself, so that it cannot say more than it."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from typing import Any


def percent_down(share: float) -> str:
    """A share as a percentage with one decimal, never rounded up."""
    return f"{floor(share * 1000 + 1e-9) / 10:.1f} %"


def verdict_words(decision: Mapping[str, Any]) -> str:
    """One line: whether the gate passed."""
    return "The gate passed." if decision["passed"] else "The gate did not pass."


def claim_words(decision: Mapping[str, Any]) -> list[str]:
    """What the evidence supports, and no more. ``decision``: as in ``decision.json``.

    Reads passed, successes, episodes, lower_bound, preventable, unsolved, reason; and, where
    they are there, at_least and error (default 0.80 and 0.05).
    """
    error = float(decision.get("error", 0.05))
    required = float(decision.get("at_least", 0.80))
    won, tried = int(decision["successes"]), int(decision["episodes"])
    bound = float(decision["lower_bound"])
    words = [
        f"In simulation the policy succeeded in {won} of {tried} scenarios that it had never met. "
        f"With {1 - error:.0%} confidence its true rate of success over such scenarios is at "
        f"least {percent_down(bound)}."
    ]
    if decision["passed"]:
        words.append(f"At least {required:.0%} was required.")
    else:
        words.append(f"At least {required:.0%} was required. {_sentence(str(decision['reason']))}")
    words.append(failure_words(_count(decision["preventable"]), _count(decision["unsolved"])))
    return words


def failure_words(preventable: int, unsolved: int) -> str:
    """How the failures divide, told beside the reference."""
    if not preventable + unsolved:
        return "It did not fail once."
    return (
        f"Of its {preventable + unsolved} failures, {preventable} were preventable (the expert "
        f"succeeds in the same scenario) and {unsolved} unsolved (the expert fails there too)."
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) else len(value)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".") if text else ""
