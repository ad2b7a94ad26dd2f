"""Laws of replay: what is recorded comes out again, and what was altered does not."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabrika import Episode, Random, Result, Signals, Store, Task, judge, rollout, run_scenarios
from fabrika._registry import known
from fabrika._registry import task as find_task
from fabrika._replay import StoreReplay, first_difference
from fabrika._scenario import SPLITS, Scenario
from fabrika._store import manifest_text, versions
from fabrika.data import DatasetReplay, export_lerobot
from fabrika.lines import toy
from fabrika.lines.toy import TASK
from test_cli import call, data

GOLDEN = Path(__file__).parent / "golden" / "store-1.0"
FRESH = {"replayed": 6, "identical": 6, "tier": "D0", "reasons": {}, "made_by": [], "unlike": []}


class Stumbles(Random):
    """Acts at random, and raises at one of its steps."""

    reads = frozenset({"camera/head"})

    def __init__(self, fault_at: int) -> None:
        super().__init__(toy.ReachWorld.acts)
        self._left = fault_at

    def act(self, observation: Signals) -> Signals:
        if not self._left:
            raise ValueError("a stumble: of itself")
        self._left -= 1
        return super().act(observation)


def kept(folder: Path, episodes: list[Episode]) -> Path:
    """A store of these episodes."""
    scenario = episodes[0].scenario
    manifest = {"task": scenario.task, "split": scenario.split, "draw": scenario.draw}
    with Store.create(folder, manifest) as store:
        for episode in episodes:
            judged = episode.with_verdict(judge(episode, TASK.checks))
            store.commit(replace(Result.judged(judged), digest=store.seal(judged)))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores "expert", "random" and "faults", and their datasets."""
    folder = tmp_path_factory.mktemp("made")
    for actor in ("expert", "random"):
        run_scenarios(TASK.name, actor, "train", range(6), store=folder / actor)
    stumbles = [
        rollout(Stumbles(at), TASK.build(), TASK.scenario("release", at, "x"), TASK.horizon)
        for at in (0, 1, 2, 13, 79, 80)
    ]
    assert [e.length for e in stumbles if e.ending == "fault"] == [0, 1, 2, 13, 79]
    kept(folder / "faults", stumbles)
    for name in ("expert", "random", "faults"):
        export_lerobot(folder / name, folder / f"{name}-dataset", include_failed=True)
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "expert", tmp_path / "store"))


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "expert-dataset", tmp_path / "dataset"))


def replayed(place: Path, *words: object, code: int = 0) -> dict[str, Any]:
    found = data("replay", place, "--workers", 1, *words, code=code)
    return {name: found[name] for name in (*FRESH, "passed", "still_pass")}


def alter(store: Path, index: int, change: Callable[[Episode], Episode]) -> None:
    """Change an episode as somebody would who covers the traces: file, digest, row, checksum."""
    with Store.open(store) as opened:
        row = next(r for r in opened.rows() if r.index == index)
        digest = opened.seal(change(opened.episode(row)))
    text = replace(row, digest=digest).to_json()
    with sqlite3.connect(store / "index.sqlite") as database:
        database.execute(
            "UPDATE results SET result = ?, checksum = ? WHERE position = ?",
            (text, hashlib.sha256(text.encode()).hexdigest(), index),
        )
    database.close()


def shifted(group: str, name: str, tick: int, by: float) -> Callable[[Episode], Episode]:
    def change(episode: Episode) -> Episode:
        signals = {key: rows.copy() for key, rows in getattr(episode, group).items()}
        signals[name][tick, 0] += by
        return replace(episode, **{group: signals})

    return change


def made_by(store: Path, **versions: str) -> None:
    path = store / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["checksum"]
    manifest["versions"] |= versions
    path.write_text(manifest_text(manifest))


# What is recorded comes out again


@pytest.mark.parametrize("name", ["expert", "random", "faults"])
def test_a_store_replays_to_the_last_bit(made: Path, name: str) -> None:
    found = replayed(made / name)
    assert FRESH.items() <= found.items()
    assert found["passed"] == found["still_pass"] == (6 if name == "expert" else 0)


@pytest.mark.parametrize(("name", "count"), [("expert", 6), ("random", 6), ("faults", 5)])
def test_a_dataset_replays_to_the_very_episodes_of_its_store(
    made: Path, name: str, count: int
) -> None:
    """All but the one that has no row; `identical` asks for the stored episode's digest."""
    found = replayed(made / f"{name}-dataset")
    assert {**FRESH, "replayed": count, "identical": count}.items() <= found.items()


def test_looks_of_one_episode_are_one_replay(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "looks"
    export_lerobot(made / "expert", out, cameras=("head",), size=(16, 16), looks=2)
    found = replayed(out)
    assert found["replayed"] == found["identical"] == found["still_pass"] == 6


def test_the_result_does_not_depend_on_the_workers(made: Path, store: Path) -> None:
    alter(store, 3, shifted("actions", "slide", 7, 0.1))
    for place, code in ((store, 6), (made / "faults-dataset", 0)):
        one, two = (data("replay", place, "--workers", k, code=code) for k in (1, 2))
        assert one == two


def test_a_sample_is_spread_evenly(made: Path) -> None:
    assert replayed(made / "expert", "-n", 4)["replayed"] == 4
    assert replayed(made / "expert", "-n", 40)["replayed"] == 6


def test_a_part_of_a_run_is_chosen(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "random", tmp_path / "train")
    shutil.copytree(made / "expert-dataset", tmp_path / "dataset")
    assert replayed(tmp_path)["passed"] == 0
    assert replayed(tmp_path, "--of", "dataset")["passed"] == 6
    assert call("replay", tmp_path, "--of", "policy").exit_code == 2


def test_a_void_rollout_cannot_be_replayed(faults: None, tmp_path: Path) -> None:
    run_scenarios("faults/diverges-v1", "expert", "train", range(6), store=tmp_path / "s")
    found = replayed(tmp_path / "s", code=3)
    assert found["identical"] == 4 and found["reasons"] == {"void": 2} and found["tier"] == "D0"


@pytest.mark.parametrize("task", ["home/mug-to-shelf-v1", "home/carry-tray-v1"])
def test_a_household_replays_to_the_last_bit(task: str, tmp_path: Path) -> None:
    run_scenarios(task, "expert", "train", range(1), store=tmp_path / "s")
    export_lerobot(tmp_path / "s", tmp_path / "d", include_failed=True)
    for place in ("s", "d"):
        assert replayed(tmp_path / place)["identical"] == 1


@pytest.mark.parametrize("task", [find_task(name) for name in known("tasks")], ids=lambda t: t.name)
def test_a_stored_scenario_is_ordered_as_a_fresh_one(task: Task) -> None:
    """Worlds are built in the order of the params: another order is another physics state."""
    for split in SPLITS:
        fresh = task.scenario(split, 0, "x" if split == "release" else "")
        stored = Scenario.from_json(fresh.to_json())
        assert json.dumps(fresh.params) == json.dumps(stored.params)


# What was commanded is what is recorded


class Listening(toy.ReachWorld):
    """Keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[np.ndarray] = []

    def step(self, action: Signals) -> bool:
        self.heard.append(action["slide"].copy())
        return super().step(action)


def test_the_world_is_given_what_is_recorded() -> None:
    world = Listening()
    episode = rollout(TASK.expert(), world, TASK.scenario("train", 0), TASK.horizon)
    assert np.stack(world.heard).tobytes() == episode.actions["slide"].tobytes()
    assert episode.actions["slide"].dtype == episode.executed["slide"].dtype == np.float32
    assert episode.states.dtype == np.float64


# What was altered does not come out


def test_an_altered_action_is_found(store: Path) -> None:
    alter(store, 2, shifted("actions", "slide", 7, 0.25))
    found = replayed(store, code=6)
    assert found["identical"] == 5 and found["reasons"] == {"differs": 1}
    (unlike,) = found["unlike"]
    assert unlike["index"] == 2
    assert "executed/slide differs first, at tick 7 by 0.25" in unlike["detail"]


def test_an_altered_reading_is_told_from_altered_physics(store: Path) -> None:
    alter(store, 2, shifted("observations", "tracker/target", 9, 0.5))
    (unlike,) = replayed(store, code=6)["unlike"]
    words = "observations/tracker/target differs first, at tick 9 by 0.5, and at 1 of 81 ticks"
    assert f"{words}; no other series does" in unlike["detail"] and unlike["tier"] == "D2"


def test_a_verdict_that_the_checks_do_not_give_is_found(store: Path) -> None:
    def lie(episode: Episode) -> Episode:
        assert episode.verdict is not None
        first, *rest = episode.verdict.findings
        findings = (replace(first, value=0.125), *rest)
        return episode.with_verdict(replace(episode.verdict, findings=findings))

    alter(store, 2, lie)
    (unlike,) = replayed(store, code=6)["unlike"]
    assert unlike["reason"] == "checks" and "judge speed: 0.125 m/s" in unlike["detail"]


def test_a_row_that_contradicts_its_episode_is_damage(store: Path) -> None:
    alter(store, 2, lambda episode: replace(episode, remark="said nothing of the kind"))
    assert replayed(store, code=6)["reasons"] == {"damaged": 1}


def test_a_shortened_record_is_found(store: Path) -> None:
    def shorten(episode: Episode) -> Episode:
        actions = {name: rows[:-1] for name, rows in episode.actions.items()}
        return replace(episode, actions=actions)

    alter(store, 2, shorten)
    (unlike,) = replayed(store, code=6)["unlike"]
    assert unlike["reason"] == "damaged" and "lengths" in unlike["detail"]


def test_a_damaged_file_is_found(store: Path) -> None:
    victim = sorted(store.rglob("*.npz"))[3]
    victim.write_bytes(victim.read_bytes()[:-9])
    assert replayed(store, code=6)["reasons"] == {"damaged": 1}


def test_other_versions_are_named_and_asked_for_less(store: Path) -> None:
    made_by(store, fabrika="0.0.9", machine="abacus")
    found = replayed(store)
    assert found["identical"] == 6 and len(found["made_by"]) == 2
    alter(store, 2, shifted("observations", "tracker/target", 9, 1e-9))
    alter(store, 3, shifted("actions", "slide", 79, 1e-3))
    alter(store, 4, shifted("actions", "slide", 79, 9.0))
    with Store.open(store) as opened:
        assert [row.accepted for row in opened.rows()][2:5] == [True] * 3
    found = replayed(store, code=3)
    assert [(one["reason"], one["tier"]) for one in found["unlike"]] == [
        ("versions", "D1"),
        ("versions", "D2"),
        ("versions", "D3"),
    ]
    assert "fabrika 0.0.9, here" in found["unlike"][0]["detail"]


def test_the_inference_engine_is_no_reason(store: Path) -> None:
    made_by(store, onnxruntime="0.0.1")
    assert replayed(store)["made_by"] == []


# A changed task is explained


def changed(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    monkeypatch.setattr(toy, "TASK", replace(TASK, **changes))


@pytest.mark.parametrize("name", ["expert", "expert-dataset"])
def test_other_scenarios_are_told(made: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, sample=lambda rng: {**TASK.sample(rng), "mass": 1.0})
    found = replayed(made / name, code=6)
    assert found["reasons"] == {"scenario": 6}
    # A store holds the scenario itself, so that what was done in it can still be judged.
    assert found["still_pass"] == (6 if name == "expert" else 0)


@pytest.mark.parametrize("name", ["expert", "expert-dataset"])
def test_other_checks_are_told(made: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = [replace(c, at_most=0.01) if c.name == "speed" else c for c in TASK.checks]
    changed(monkeypatch, checks=tuple(strict))
    found = replayed(made / name, code=6)
    assert found["reasons"] == {"checks": 6} and found["still_pass"] == 0


@pytest.mark.parametrize("name", ["expert", "expert-dataset"])
def test_other_physics_is_told(made: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "DAMPING", 11.5)
    found = replayed(made / name, code=6)
    assert found["reasons"] == {"differs": 6}
    first = "observations/" if name == "expert" else "observation.state"
    for one in found["unlike"]:
        assert one["detail"].startswith(first) and " differs first, at tick 2 by" in one["detail"]


@pytest.mark.parametrize("name", ["expert", "expert-dataset"])
def test_a_world_that_breaks_now_is_told(
    made: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fragile(toy.ReachWorld):
        def step(self, action: Signals) -> bool:
            if self._tick == 30 and self._seed % 2:
                raise RuntimeError("planted")
            return super().step(action)

    changed(monkeypatch, build=Fragile)
    odd = sum(TASK.scenario("train", index).seed("sensor") % 2 for index in range(6))
    found = replayed(made / name, code=6)
    assert found["reasons"] == {"broken": odd} and 0 < odd < 6
    assert found["identical"] == 6 - odd and "planted" in found["unlike"][0]["detail"]


def test_a_longer_horizon_is_told(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, horizon=5.0)
    found = replayed(made / "expert", code=6)
    assert "equal until tick 80: 80 ticks recorded, now 100" in found["unlike"][0]["detail"]
    assert found["still_pass"] == 6, "the last action is held"


def test_a_store_of_double_precision_is_told() -> None:
    """Version 1.0 of the store held commands that a dataset cannot hold."""
    with StoreReplay(GOLDEN)._store as golden:
        rows = golden.rows()
    found = data("replay", GOLDEN, "--workers", 1, code=6 if same_version() else 0)
    assert found["reasons"].keys() <= {"signals"} and found["replayed"] == len(rows)
    assert "float64 (2,), now float32" in found["unlike"][0]["detail"]


def same_version() -> bool:
    return bool(json.loads((GOLDEN / "manifest.json").read_text())["versions"] == versions())


# Datasets are not trusted


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)


def put(table: pa.Table, name: str, values: Any) -> pa.Table:
    at = table.column_names.index(name)
    return table.set_column(at, name, pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize("column", ["action", "observation.state"])
def test_an_altered_row_of_a_dataset_is_found(dataset: Path, column: str) -> None:
    def change(table: pa.Table) -> pa.Table:
        values = table.column(column).to_pylist()
        values[85][1] += 0.5
        return put(table, column, values)

    rewrite(next((dataset / "data").rglob("*.parquet")), change)
    found = replayed(dataset, code=6)
    assert found["identical"] == 5 and found["reasons"] == {"differs": 1}
    # A changed command is played, so that all that follows from it changes too.
    first = {
        "action": "observation.state differs first, at tick 6",
        "observation.state": " 5 by 0.5",
    }
    assert first[column] in found["unlike"][0]["detail"]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("success", False, "checks"),
        ("failure_code", "safety/speed", "checks"),
        ("episode_digest", "0" * 64, "digest"),
        ("remark", "it was easy", "digest"),
        ("reads", ["truth/target"], "digest"),
        ("scenario_id", "0" * 16, "scenario"),
        ("scenario_index", 999, "scenario"),
        ("split", "test", "damaged"),
        ("draw", "x", "damaged"),
        ("length", 79, "damaged"),
        ("length", -1, "damaged"),
        ("data/file_index", 77, "damaged"),
        ("scenario_index", -1, "damaged"),
    ],
)
def test_an_altered_episode_table_is_found(
    dataset: Path, column: str, value: Any, reason: str
) -> None:
    def change(table: pa.Table) -> pa.Table:
        return put(table, column, [value, *table.column(column).to_pylist()[1:]])

    rewrite(next((dataset / "meta/episodes").rglob("*.parquet")), change)
    found = replayed(dataset, code=6)
    assert found["reasons"] == {reason: 1} and found["unlike"][0]["index"] == 0


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("meta/provenance.json", "[]", 6),
        ("meta/provenance.json", "{", 6),
        ("meta/provenance.json", '{"task": "toy/reach-v1"}', 6),
        ("meta/provenance.json", '{"task": "no/such-v1", "store_versions": {}}', 2),
        ("meta/info.json", "7", 6),
        ("meta/info.json", '{"features": []}', 6),
        ("meta/episodes/chunk-000/file-000.parquet", "PAR1", 6),
        ("data/chunk-000/file-000.parquet", "PAR1", 6),
    ],
)
def test_a_malformed_dataset_is_named(dataset: Path, name: str, text: str, code: int) -> None:
    (dataset / name).write_text(text)
    result = call("replay", dataset, "--workers", 1)
    assert result.exit_code == code and "unexpected" not in result.output, result.output


def test_a_dataset_of_others_is_refused(dataset: Path) -> None:
    (dataset / "meta/provenance.json").unlink()
    result = call("replay", dataset)
    assert result.exit_code == 2 and "not exported by Fabrika" in result.stderr


def test_a_dataset_without_the_columns_is_refused(dataset: Path) -> None:
    path = next((dataset / "meta/episodes").rglob("*.parquet"))
    rewrite(path, lambda table: table.drop_columns(["reads"]))
    result = call("replay", dataset)
    assert result.exit_code == 2 and "no column reads" in result.stderr


def test_an_error_of_a_worker_is_the_error(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With workers, whatever stops one is told as it would be without."""
    from fabrika.cli import _replay_source

    class Present:
        task, count, changes = TASK.name, 2, ()

        def close(self) -> None:
            pass

    monkeypatch.setattr(_replay_source, "open_source", lambda place, kind: Present())
    (dataset / "meta/provenance.json").unlink()
    result = call("replay", dataset, "--workers", 2)
    assert result.exit_code == 2 and "not exported by Fabrika" in result.stderr


def test_the_dataset_of_a_run_needs_no_store(made: Path) -> None:
    source = DatasetReplay(made / "expert-dataset")
    try:
        assert source.count == 6 and source.replay(5).identical
    finally:
        source.close()


# Differences


@given(st.integers(0, 9), st.integers(0, 2), st.sampled_from([1.0, -0.0, np.nan, 1e-300]))
def test_the_first_difference_is_found_to_the_last_bit(tick: int, entry: int, value: float) -> None:
    told = {"a": np.zeros((10, 3)), "b": np.zeros((11, 3))}
    now = {name: rows.copy() for name, rows in told.items()}
    assert first_difference(told, now) == ""
    now["b"][tick, entry] = value
    words = first_difference(told, now)
    assert words.startswith(f"b differs first, at tick {tick} by ") and "1 of 11 ticks" in words
