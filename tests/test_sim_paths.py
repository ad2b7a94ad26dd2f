"""Laws of paths: they end where they should, touch nothing, and are the same every time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fabrika._signals import Array
from fabrika.sim._paths import Space, plan

SPACE = Space(-np.ones(2), np.ones(2), np.ones(2), 0.05)


def walled(seed: int) -> list[tuple[float, float, float]]:
    rng = np.random.default_rng(seed)
    return [(*rng.uniform(-0.7, 0.7, 2), float(rng.uniform(0.1, 0.3))) for _ in range(6)]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000))
def test_a_path_ends_at_its_goal_and_touches_nothing(seed: int) -> None:
    discs = walled(seed)
    start, goal = np.array([-0.95, -0.95]), np.array([0.95, 0.95])

    def free(q: Array) -> bool:
        return all(np.hypot(q[0] - x, q[1] - y) > r for x, y, r in discs)

    if not (free(start) and free(goal)):
        return
    found = plan(SPACE, start, goal, free, np.random.default_rng(seed))
    again = plan(SPACE, start, goal, free, np.random.default_rng(seed))
    if found is None:
        assert again is None
        return
    assert again is not None and np.array_equal(np.array(found), np.array(again))
    assert np.allclose(found[-1], goal)
    for one, two in zip([start, *found], found, strict=False):
        assert all(free(q) for q in SPACE.between(one, two))


def test_what_is_shut_in_has_no_path() -> None:
    def free(q: Array) -> bool:
        return not 0.3 < float(np.hypot(*q)) < 0.6

    rng = np.random.default_rng(0)
    assert plan(SPACE, np.array([0.9, 0.9]), np.zeros(2), free, rng) is None
    assert plan(SPACE, np.array([0.9, 0.9]), np.array([0.45, 0.0]), free, rng) is None


def test_where_nothing_is_in_the_way_the_path_is_straight() -> None:
    goal = np.array([0.5, -0.5])
    found = plan(SPACE, np.zeros(2), goal, lambda q: True, np.random.default_rng(0))
    assert found is not None and len(found) == 1 and np.array_equal(found[0], goal)
