"""Laws of the control plane: thousands of simulated runs in which everything goes wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fabrika import BrokenWorldError, IntegrityError, ResourceError
from fabrika._control import Lost, Shift
from fabrika._index import Index
from fabrika._owners import LEASE, Watch
from faults.simulation import COUNT, RESULTS, Simulation


@pytest.mark.parametrize("block", range(20))
def test_nothing_is_lost_or_doubled_in_any_simulated_run(block: int, tier: str) -> None:
    seeds = 500 if tier == "small" else 5_000
    for seed in range(block * seeds, (block + 1) * seeds):
        try:
            Simulation(seed).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index.memory()
    yield index
    index.close()


def test_who_was_taken_for_dead_publishes_nothing(index: Index) -> None:
    old = index.turn("sleeper", wanted=range(3), room=2)
    assert list(old.leased) == [0, 1]
    new = index.turn("heir", dead={"sleeper"}, wanted=range(3), room=3)
    assert list(new.leased) == [0, 1, 2]
    assert min(new.leased.values()) > max(old.leased.values()), "tokens are never used twice"
    late = index.turn("sleeper", done=[(RESULTS[i], token) for i, token in old.leased.items()])
    assert late.fenced == [0, 1] and not late.published and index.positions() == []
    # A token is worth nothing in another's hand, nor for another scenario.
    stolen = index.turn("sleeper", done=[(RESULTS[0], new.leased[0])])
    crossed = index.turn("heir", done=[(RESULTS[0], new.leased[1])])
    assert stolen.fenced == crossed.fenced == [0] and index.positions() == []
    index.turn("heir", done=[(RESULTS[i], token) for i, token in new.leased.items()])
    assert list(index.rows()) == RESULTS[:3] and not index.owners()
    # What is there already is no longer anybody's loss.
    assert index.turn("sleeper", done=[(RESULTS[0], 1)]).published == [RESULTS[0]]


def test_a_turn_happens_wholly_or_not_at_all(index: Index) -> None:
    leased = index.turn("one", wanted=range(2), room=2).leased
    index.add([RESULTS[1]])
    other = Simulation(0).index  # has nothing: only its type matters here
    other.close()
    wrong = RESULTS[1].__class__.from_json(RESULTS[1].to_json().replace("nobody", "somebody"))
    with pytest.raises(IntegrityError, match="another result"):
        index.turn("one", done=[(RESULTS[0], leased[0]), (wrong, leased[1])], dead={"one"})
    assert index.positions() == [1] and index.owners() == {"one"}


def test_an_owner_is_dead_when_its_sign_stands_still_by_the_observers_clock() -> None:
    now, signs = [1e9], {"still": 1, "moving": 1}
    watch = Watch(signs.get, lambda: now[0])
    assert watch.dead(["still", "moving", "gone"]) == {"gone"}
    for _ in range(100):
        now[0] += LEASE / 2
        signs["moving"] += 1
        dead = watch.dead(["still", "moving"])
        assert "moving" not in dead
    assert dead == {"still"}


@pytest.mark.parametrize(("why", "error"), [("SIGKILL", ResourceError), ("hung", BrokenWorldError)])
def test_a_scenario_that_takes_its_workers_with_it_is_named(
    index: Index, why: str, error: type[Exception]
) -> None:
    class Alone:
        name = "alone"

        def dead(self, owners: object) -> set[str]:
            return set()

    shift = Shift(index, Alone(), range(COUNT), patience=3)
    give = shift.turn((), 2).give
    for _ in range(9):  # who is not the suspect may be lost any number of times
        again = shift.turn([Lost(give[1], why, suspect=False)], 1)
        assert again.give == [give[1]]
    for _ in range(2):
        shift.turn([Lost(give[0], why)], 1)
    with pytest.raises(error, match=f"3 workers died .{why}. in scenario {give[0]}"):
        shift.turn([Lost(give[0], why)], 1)
