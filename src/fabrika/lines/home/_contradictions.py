"""Goals that no world makes true, alone or with another goal of their page."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fabrika.lines.home._page import Goal

_PLACES = ("on", "at", "stacked", "covers", "inserted", "threaded", "held")
"""Predicates that say what bears a thing: one thing is borne by one."""
_BORNE = ("stacked", "covers", "inside", "inserted", "threaded")
"""Predicates whose first thing is on, in or through the second."""
_HOLLOW = ("bowl", "crate", "cup", "mug", "pot", "shoe", "tray")
"""Shapes that have an inside."""
_EITHER = (("held", "let_go"), ("open", "closed"))
"""Predicates of which a thing, or a part, fulfils one."""


def contradictions(
    goals: Sequence[Goal], shapes: Mapping[str, str], fixtures: Collection[str]
) -> Iterator[tuple[Goal, str]]:
    """Goals that are never true, and why; of two that exclude each other, the later one.

    ``shapes``: of all things, by name; ``fixtures``: their names.
    """
    for number, goal in enumerate(goals):
        why = _never(goal, shapes) or _loop(goal, goals)
        for other in goals[:number]:
            why = why or _against(goal, other, fixtures)
        if why:
            yield goal, why


def _never(goal: Goal, shapes: Mapping[str, str]) -> str:
    """Why a goal is never true; empty if it may be."""
    within = [arg for arg in goal.args if isinstance(arg, float)]
    if goal.predicate in ("near", "upright", "lying") and any(w <= 0.0 for w in within):
        return "a tolerance is more than nothing"
    shape = shapes.get(str(goal.args[1])) if goal.predicate == "inside" else None
    return f"{goal.args[1]} is not hollow" if shape and shape not in _HOLLOW else ""


def _loop(goal: Goal, goals: Sequence[Goal]) -> str:
    """Whether a thing is to be on or in what is to be on or in it."""
    if goal.predicate not in _BORNE:
        return ""
    bears = [(g.args[0], g.args[1]) for g in goals if g.predicate in _BORNE]
    found = {goal.args[1]}
    while more := {below for above, below in bears if above in found} - found:
        found |= more
    return f"{goal.args[0]} would be on or in itself" if goal.args[0] in found else ""


def _against(goal: Goal, other: Goal, fixtures: Collection[str]) -> str:
    """Why two goals are never true at once; empty if they may be."""
    kinds, same = {goal.predicate, other.predicate}, goal.args[0] == other.args[0]
    if not same:
        crowded = kinds == {"held"} and goal.args[1:] == other.args[1:] != ()
        return f"{other.words} is in that hand" if crowded else ""
    upright = next((g for g in (goal, other) if g.predicate == "upright"), None)
    # With a tolerance of its own, upright may be wide enough to lie.
    lies = kinds == {"lying", "upright"} and upright is not None and len(upright.args) == 1
    hands = kinds == {"held"} and len({g.args[1:] for g in (goal, other)} - {()}) > 1
    if lies or hands or any(kinds == set(pair) for pair in _EITHER):
        return f"so is {other.words} asked for"
    if kinds == {"turned"} and goal.args != other.args:
        return f"so is {other.words} asked for"
    if kinds <= set(_PLACES) and _bearer(goal) != _bearer(other):
        return f"{other.words} is elsewhere"
    there = [str(g.args[1]) for g in (goal, other) if g.predicate in ("on", "at", "inside")]
    if len(there) == 2 and all(place.partition(".")[0] in fixtures for place in there):
        return f"{other.words} is elsewhere" if _apart(goal, other) else ""
    return ""


def _bearer(goal: Goal) -> tuple[object, ...]:
    """What a thing is borne by: a hand is one, whichever it is, and a spot's middle is the spot."""
    if goal.predicate == "held":
        return ("held",)
    return ("on" if goal.predicate == "at" else goal.predicate), goal.args[1]


def _apart(goal: Goal, other: Goal) -> bool:
    """Whether two places of fixtures are on two of them, or are two spaces beside each other."""
    (one, _, first), (two, _, second) = (str(g.args[1]).partition(".") for g in (goal, other))
    spaces = goal.predicate == other.predicate == "inside" and "inside" not in (first, second)
    return one != two or (spaces and first != second)
