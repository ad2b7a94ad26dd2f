"""Laws of searches for stands: the cheapest that does comes first, and they end."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from fabrika._signals import Array
from fabrika.sim._reach import BLOCKED, Reacher
from fabrika.sim._stands import search


def found(
    most: int, more: int = 0, does: range = range(100), free: range = range(100)
) -> tuple[list[int], list[int]]:
    """What is found at 100 stands, and which are tried: ``does`` do, to ``free`` the base gets."""
    tried: list[int] = []

    def attempt(
        side: str, given: int, base: Array, drawn: dict[str, Array]
    ) -> Iterator[tuple[Array, int]]:
        tried.append(given)
        if given in does:
            yield base, given

    reacher = SimpleNamespace(
        stands_for=lambda ways, facing: (("left", i, np.full(3, i), {}) for i in range(100)),
        route=lambda base: [] if int(base[0]) in free else None,
        look=lambda: None,
    )
    way: Any = ("left", None, 0.0, 0)
    return list(search(cast("Reacher", reacher), [way], 0.0, attempt, most, more)), tried


def test_no_more_stands_are_tried_than_is_said() -> None:
    for most in (1, 7, 40):
        assert found(most, does=range(0)) == ([], list(range(most)))
        assert found(most, does=range(most, 100))[0] == []
    # Once something was found fewer may be tried, of all that are.
    assert found(40, more=10, does=range(3, 100)) == (list(range(3, 10)), list(range(10)))
    assert found(40, more=10, does=range(20, 100)) == ([20], list(range(21)))


def test_where_the_base_cannot_get_nothing_is_found_and_soon_given_up() -> None:
    assert found(40, 40, free=range(2, 40))[0] == list(range(2, 40))
    assert found(90, free=range(0)) == ([], list(range(BLOCKED)))
    # What does not do is not asked for a way.
    assert found(90, does=range(50, 52), free=range(51, 52)) == ([51], list(range(52)))
