"""Laws of the LeRobot export: what was done is what is written, exactly, and nothing else."""

from __future__ import annotations

import errno
import fcntl
import filecmp
import json
import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from fabrika._errors import (
    BusyError,
    InterruptedRunError,
    ResourceError,
    UnknownNameError,
    UsageError,
)
from fabrika._run import run_scenarios
from fabrika._store import Store
from fabrika._whole import whole_folder
from fabrika.data import export_lerobot, verify_lerobot
from fabrika.data._film import Reel
from fabrika.data._shards import Shards
from fabrika.data._stats import column_stats, picture_stats
from fabrika.lines.toy import TASK

EPISODES = 6
CAMERAS = ("head", "scene")
SMALL = (32, 48)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "train"
    run_scenarios(TASK.name, "expert", "train", range(EPISODES), store=folder)
    return folder


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "random"
    run_scenarios(TASK.name, "random", "train", range(3), store=folder)
    return folder


@pytest.fixture(scope="module")
def plain(store: Path) -> Path:
    out = store.parent / "plain"
    export_lerobot(store, out)
    return out


@pytest.fixture(scope="module")
def pictured(store: Path) -> Path:
    out = store.parent / "pictured"
    export_lerobot(store, out, cameras=CAMERAS, size=SMALL, looks=2)
    return out


def data(root: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(root / "data")
    return {name: np.array(table.column(name).to_pylist()) for name in table.column_names}


def episode_rows(root: Path) -> list[dict[str, object]]:
    return pq.read_table(root / "meta/episodes").to_pylist()


def equal_folders(one: Path, other: Path) -> bool:
    names = [sorted(p.relative_to(r) for p in r.rglob("*") if p.is_file()) for r in (one, other)]
    return names[0] == names[1] and not filecmp.cmpfiles(one, other, names[0], shallow=False)[1]


def litter(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if "partial" in path.name]


@pytest.mark.parametrize("name", ["plain", "pictured"])
def test_an_export_verifies_without_a_finding(name: str, request: pytest.FixtureRequest) -> None:
    report = verify_lerobot(request.getfixturevalue(name))
    assert report.findings == ()
    assert report.ok
    assert report.format == "LeRobot v3.0"


def test_rows_are_observations_and_the_actions_commanded_then(store: Path, plain: Path) -> None:
    with Store.open(store) as opened:
        episodes = [opened.episode(row) for row in opened.rows() if row.accepted]
    written = data(plain)
    commanded = np.concatenate([e.actions["slide"] for e in episodes]).astype(np.float32)
    assert np.array_equal(written["action"], commanded)
    names = ("joint/position", "joint/velocity")
    state = [np.concatenate([e.observations[n][:-1] for n in names], axis=1) for e in episodes]
    assert np.array_equal(written["observation.state"], np.concatenate(state).astype(np.float32))
    tracked = np.concatenate([e.observations["tracker/target"][:-1] for e in episodes])
    assert np.array_equal(written["observation.environment_state"], tracked.astype(np.float32))
    assert len(written["index"]) == sum(e.length for e in episodes)


def test_truth_is_exported_under_no_name(store: Path, pictured: Path) -> None:
    info = json.loads((pictured / "meta/info.json").read_text())
    names = [n for f in info["features"].values() for n in f["names"] or ()]
    assert not [name for name in [*names, *info["features"]] if "truth" in name]
    with Store.open(store) as opened:
        truth = opened.episode(opened.rows()[0]).observations["truth/position"][:-1, 0]
    written = data(pictured)
    for values in written.values():
        columns = values[: len(truth)].reshape(len(truth), -1)
        assert not any(np.array_equal(c, truth.astype(np.float32)) for c in columns.T)


def test_every_entry_of_a_vector_is_named(plain: Path) -> None:
    features = json.loads((plain / "meta/info.json").read_text())["features"]
    assert features["action"]["names"] == ["slide/x", "slide/y"]
    for key in ("observation.state", "observation.environment_state", "action"):
        assert len(set(features[key]["names"])) == features[key]["shape"][0]


def test_times_are_exact_over_many_episodes(pictured: Path) -> None:
    fps = json.loads((pictured / "meta/info.json").read_text())["fps"]
    written, before = data(pictured), 0
    expected = (written["frame_index"] / fps).astype(np.float32)
    assert np.array_equal(written["timestamp"].astype(np.float32), expected)
    for row in episode_rows(pictured):
        length = row["length"]
        for camera in CAMERAS:
            key = f"videos/observation.images.{camera}"
            assert row[f"{key}/from_timestamp"] == before / fps
            assert row[f"{key}/to_timestamp"] == (before + length) / fps
        before += length
    with av.open(str(next((pictured / "videos").rglob("*.mp4")))) as file:
        times = [float(frame.time) for frame in file.decode(video=0)]
    assert np.abs(np.array(times) - np.arange(before) / fps).max() < 1e-9


def test_statistics_are_those_of_numpy(plain: Path) -> None:
    stats = json.loads((plain / "meta/stats.json").read_text())
    for key, values in data(plain).items():
        exact = values.reshape(len(values), -1).astype(np.float32).astype(np.float64)
        if values.dtype.kind == "i":
            exact = values.reshape(len(values), -1).astype(np.float64)
        for name, part in {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}.items():
            assert np.array_equal(stats[key][name], np.quantile(exact, part, axis=0)), (key, name)
        assert np.array_equal(stats[key]["max"], exact.max(axis=0))
        assert np.allclose(stats[key]["mean"], exact.mean(axis=0), rtol=1e-12, atol=1e-15)
        assert np.allclose(stats[key]["std"], exact.std(axis=0), rtol=1e-12, atol=1e-15)
        assert stats[key]["count"] == [len(values)]


def test_picture_statistics_from_counts_are_those_of_the_pixels() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (999, 3)) // np.array([1, 3, 7])
    counts = np.stack([np.bincount(pixels[:, c], minlength=256) for c in range(3)])
    found, exact = picture_stats(counts, 5), column_stats(pixels / 255.0)
    for name in exact.keys() - {"count"}:
        assert np.allclose(found[name].ravel(), exact[name], atol=1e-12), name


def test_episodes_carry_what_one_filters_by(store: Path, pictured: Path) -> None:
    rows = episode_rows(pictured)
    with Store.open(store) as opened:
        kept = [row for row in opened.rows() if row.accepted]
    assert len(rows) == 2 * len(kept)
    for row, source in zip(rows[::2], kept, strict=True):
        assert row["success"] is True and row["failure_code"] == ""
        assert row["scenario_id"] == source.scenario_id
        assert row["episode_digest"] == source.digest
        assert row["seed"] == TASK.scenario("train", source.index).seed("sample") % (1 << 63)
        assert row["quality/path"] == source.verdict.value("path")
        assert (row["split"], row["scenario_index"], row["look"]) == ("train", source.index, 0)
    assert [row["look"] for row in rows] == [0, 1] * len(kept)
    assert len({row["episode_digest"] for row in rows}) == len(kept)


def test_other_looks_have_equal_rows_and_other_pictures(pictured: Path) -> None:
    written, rows = data(pictured), episode_rows(pictured)
    first, second = (written["action"][written["episode_index"] == e] for e in (0, 1))
    assert np.array_equal(first, second)
    key = "stats/observation.images.scene/mean"
    assert rows[0][key] != rows[1][key]


@pytest.mark.parametrize("workers", [1, 2])
def test_equal_stores_give_equal_bytes(
    store: Path, pictured: Path, tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "again"
    export_lerobot(store, out, cameras=CAMERAS, size=SMALL, looks=2, workers=workers)
    assert equal_folders(out, pictured)


def test_files_roll_over_between_episodes(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fabrika.data._shards.MEGABYTE", 60)
    monkeypatch.setattr("fabrika.data._film.MEGABYTE", 100)
    monkeypatch.setattr("fabrika.data._layout.FILES_PER_CHUNK", 4)
    out = tmp_path / "out"
    export_lerobot(store, out, cameras=("scene",), size=SMALL)
    assert len(list((out / "data").rglob("*.parquet"))) > 1
    assert len(list((out / "videos").rglob("*.mp4"))) > 1
    assert (out / "data/chunk-001/file-000.parquet").exists()
    assert verify_lerobot(out).findings == ()


def test_only_what_passed_is_exported_unless_asked(failures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no accepted episode"):
        export_lerobot(failures, tmp_path / "out")
    summary = export_lerobot(failures, tmp_path / "out", include_failed=True)
    assert summary.episodes == 3
    assert not any(row["success"] for row in episode_rows(tmp_path / "out"))
    assert all(row["failure_code"] for row in episode_rows(tmp_path / "out"))


def test_an_existing_output_is_refused_and_left_alone(store: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("kept")
    with pytest.raises(UsageError, match="exists"):
        export_lerobot(store, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_what_is_not_a_store_or_is_empty_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(UsageError, match="not a store"):
            export_lerobot(path, tmp_path / "out")
    Store.create(tmp_path / "store", {"task": TASK.name}).close()
    with pytest.raises(UsageError, match="empty"):
        export_lerobot(tmp_path / "store", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"cameras": ("haed",)}, UnknownNameError),
        ({"cameras": ("head", "head")}, UsageError),
        ({"cameras": ("head",), "size": (33, 32)}, UsageError),
        ({"cameras": ("head",), "size": (0, 32)}, UsageError),
        ({"codec": "h265"}, UnknownNameError),
        ({"looks": 2}, UsageError),
        ({"looks": 0}, UsageError),
        ({"workers": 0}, UsageError),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    store: Path, tmp_path: Path, wrong: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        export_lerobot(store, tmp_path / "out", **wrong)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("place", "method"), [(Shards, "append"), (Reel, "append"), (Shards, "__exit__")]
)
@pytest.mark.parametrize(
    ("blow", "error"), [(no_space, ResourceError), (interrupt, InterruptedRunError)]
)
def test_a_failure_leaves_nothing_half_written(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: type,
    method: str,
    blow: Callable[..., None],
    error: type[Exception],
) -> None:
    monkeypatch.setattr(place, method, blow)
    with pytest.raises(error):
        export_lerobot(store, tmp_path / "out", cameras=("head",), size=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_is_no_obstacle(store: Path, tmp_path: Path) -> None:
    left = tmp_path / ".out.partial/data"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    export_lerobot(store, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert not (tmp_path / "out/data/half").exists()


def test_two_exports_do_not_share_a_folder(store: Path, tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out"), pytest.raises(BusyError, match="another process"):
        export_lerobot(store, tmp_path / "out")
    assert (tmp_path / "out").is_dir()


def test_a_folder_that_another_put_there_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before removed its folder while we waited for its lock, and a third made its own."""
    partial, real = tmp_path / ".out.partial", fcntl.flock

    def late(handle: int, how: int) -> None:
        partial.rename(tmp_path / "gone")
        partial.mkdir()
        (partial / "third's").touch()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(BusyError), whole_folder(tmp_path / "out"):
        pass
    assert (partial / "third's").is_file()


def test_progress_counts_every_episode(store: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    summary = export_lerobot(store, tmp_path / "out", on_progress=lambda *n: seen.append(n))
    assert seen == [(n + 1, summary.episodes) for n in range(summary.episodes)]
