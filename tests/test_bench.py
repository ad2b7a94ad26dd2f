"""Laws of the bench: the sides take turns, the fastest counts, and the figures add up."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest
from click.testing import CliRunner

from fabrika import UsageError, task
from fabrika.cli import _bench_store, _bench_workers, main
from fabrika.cli._bench_parts import PARTS, QUICK, measure_parts, words

TOY = "toy/reach-v1"


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """All parts but Ray, as small as they get."""
    parts = [part for part in PARTS if part not in ("ray", "speed")]
    return measure_parts(TOY, parts, count=1, pixels=32, passes=1, rows=300)


def test_the_fastest_pass_counts_and_the_sides_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    ticks = iter([0, 5, 10, 30, 30, 33, 40, 100])  # one: 5 and 3; two: 20 and 60
    monkeypatch.setattr(_bench_store.time, "perf_counter", lambda: next(ticks))
    best = _bench_store.race(
        2, {"one": lambda: order.append("one"), "two": lambda: order.append("two")}
    )
    assert order == ["one", "two", "one", "two"] and best == {"one": 3, "two": 20}


def test_only_accepted_episodes_are_sampled() -> None:
    toy = task(TOY)
    world = toy.build()
    found = _bench_store.samples(toy, world, 3, 1)
    assert len(found) == 3
    assert all(s.episode.verdict and s.episode.verdict.passed and s.seconds > 0 for s in found)
    monkey = type("Hopeless", (), {"__getattr__": lambda self, name: getattr(toy, name)})()
    monkey.horizon = 0.1  # nothing is reached in two control periods
    with pytest.raises(UsageError, match="too few"):
        _bench_store.samples(monkey, world, 1, 1)


def test_a_commit_is_what_is_written_and_more(found: dict[str, Any]) -> None:
    told = found["store"]
    assert told["episodes"] == 1 and told["bytes"] > 1000
    assert told["commit_over_bare"] == pytest.approx(told["commit_seconds"] / told["bare_seconds"])
    assert told["bare_seconds"] > 0 and told["serialise_seconds"] > 0


def test_both_sides_of_the_export_get_all_pictures(found: dict[str, Any]) -> None:
    told = found["export"]
    ratio = told["frames_per_second"] / told["plain_frames_per_second"]
    assert told["export_over_plain"] == pytest.approx(ratio) and ratio > 0
    assert told["frames_per_second"] == pytest.approx(told["frames"] / told["encode_seconds"])
    assert told["cameras"] == ["head"] and told["render_seconds"] > 0


def test_the_overhead_is_the_sum_of_what_was_measured(found: dict[str, Any]) -> None:
    told = found["overhead"]
    kept = told["commit_seconds"] + told["export_seconds"]
    assert told["share"] == pytest.approx(kept / told["simulation_seconds"])
    assert told["commit_seconds"] == found["store"]["commit_seconds"]
    assert told["share_with_pictures"] > 0


def test_every_number_of_workers_is_measured(found: dict[str, Any]) -> None:
    told = found["workers"]
    assert list(told["speedup"]) == ["1", "2", "4"] and told["speedup"]["1"] == 1.0
    for workers, rate in told["episodes_per_second"].items():
        assert rate > 0 and told["startup_seconds"][workers] > 0
        assert told["speedup"][workers] == pytest.approx(rate / told["episodes_per_second"]["1"])


def test_a_large_store_has_as_many_rows_as_asked_for(found: dict[str, Any]) -> None:
    told = found["scale"]
    assert told["rows"] == 300 and told["index_bytes"] > 300 * 500
    assert told["open_over_small"] == pytest.approx(
        told["open_seconds"] / told["small_open_seconds"]
    )


def test_rows_of_a_large_store_are_all_different() -> None:
    with _bench_store._rows_of(task(TOY)) as made:
        rows = list(made(50))
    assert [row.index for row in rows] == list(range(50))
    assert len({row.digest for row in rows}) == 50 and {len(row.digest) for row in rows} == {64}


def test_without_ray_the_bench_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bench_workers, "find_spec", lambda name: None)
    told = measure_parts(TOY, ["ray"], count=1, pixels=32, passes=1, rows=1)
    assert told["ray"] == {"installed": False} and "Ray is not installed" in words(told)


def test_ray_is_measured_beside_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are asked for the same scenarios with as many workers, in turns."""
    asked = []
    seconds = count(1)

    def shift(task_name: str, name: str, workers: int, amount: int) -> tuple[float, float]:
        asked.append((name, workers, amount))
        return 0.5, float(next(seconds))

    monkeypatch.setattr(_bench_workers, "find_spec", lambda name: object())
    monkeypatch.setattr(_bench_workers, "_shift", shift)
    told = _bench_workers.ray_beside_pool(TOY, 2, 2)
    assert [name for name, _, _ in asked] == ["pool", "ray", "pool", "ray"]
    assert len({(workers, amount) for _, workers, amount in asked}) == 1
    assert told["ray_over_pool"] == pytest.approx(1 / 2)


def test_a_person_is_told_of_every_part(found: dict[str, Any]) -> None:
    lines = "\n".join(words(found))
    for word in ("fsync", "x264", "of its simulation", "4 workers", "rows opens"):
        assert word in lines


def test_parts_are_chosen_by_name() -> None:
    words_of = ("bench", "--task", TOY, "-n", "1", "--pixels", "32", "--passes", "1", "--json")
    some = CliRunner().invoke(main, [*words_of, "--parts", "store"])
    assert {"store"} == set(json.loads(some.stdout)) & {*PARTS, "overhead", "state_only"}
    unknown = CliRunner().invoke(main, [*words_of, "--parts", "store,speeed"])
    assert unknown.exit_code == 2 and "speed" in unknown.stderr
    assert set(QUICK) < set(PARTS)
