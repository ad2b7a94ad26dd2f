"""Searches for a stand of the base: the cheapest from which a hand can do all that it is to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from fabrika._signals import Array
from fabrika.sim._model import Frame
from fabrika.sim._reach import BLOCKED, Reacher, Stand

Given = TypeVar("Given")
Found = TypeVar("Found")
Attempt = Callable[[str, Given, Array, dict[str, Array]], Iterable[tuple[Array, Found]]]
"""Hand, what its way gives, (3,) base and what the arm is drawn to: what can be done from there,
and where the base is to come to for that."""


def search(
    reacher: Reacher,
    ways: Sequence[tuple[str, Frame, float, Given]],
    facing: float,
    attempt: Attempt[Given, Found],
    most: int,
    more: int = 0,
) -> Iterator[Found]:
    """What attempts find where the base can get to, from the cheapest stand on.

    ``ways``: as `Reacher.stands_for` has them; ``most``: stands that are tried, and of them
    ``more`` if something was found before.
    """
    blocked, limit = 0, most
    for tried, stand in enumerate(reacher.stands_for(ways, facing)):
        if tried >= limit or blocked >= BLOCKED:
            break
        for base, found in attempt(*stand):
            if reacher.route(base) is None:
                blocked += 1
                continue
            limit = more
            yield found
    reacher.look()


def first_stand(
    reacher: Reacher,
    ways: Sequence[tuple[str, Frame, float]],
    facing: float,
    goals: Callable[[Frame], Sequence[tuple[Frame, Mapping[str, float], float]]],
    most: int = 300,
) -> tuple[str, Frame, Stand] | None:
    """The cheapest hand, palm and stand from which all its goals can be reached."""

    def attempt(
        side: str, palm: Frame, base: Array, drawn: dict[str, Array]
    ) -> Iterator[tuple[Array, tuple[str, Frame, Stand]]]:
        postures = reacher.rehearse(side, base, goals(palm), drawn)
        if postures is not None:
            yield base, (side, palm, Stand(base, postures, drawn))

    given = [(side, palm, cost, palm) for side, palm, cost in ways]
    return next(search(reacher, given, facing, attempt, most + 1), None)
