"""Every fault that the checker knows is planted, and found under its own code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fabrika._errors import UsageError
from fabrika._run import run_scenarios
from fabrika.data import CODES, export_lerobot, verify_lerobot
from fabrika.data._film import Film
from fabrika.data._findings import Findings
from fabrika.data._language import Words, language_column
from fabrika.lines.toy import TASK

SIDE = 32
KEY = "observation.images.scene"
VIDEO = f"videos/{KEY}/chunk-000/file-000.mp4"
DATA = "data/chunk-000/file-000.parquet"
TABLE = "meta/episodes/chunk-000/file-000.parquet"
TASKS = "meta/tasks.parquet"
INFO, STATS = "meta/info.json", "meta/stats.json"
ACTION = "action"

Plant = Callable[[Path], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    run_scenarios(TASK.name, "expert", "train", range(4), store=folder / "train")
    export_lerobot(folder / "train", folder / "out", cameras=("scene",), size=(SIDE, SIDE))
    return folder / "out"


# How faults are planted.


def in_json(name: str, change: Callable[[dict[str, Any]], object]) -> Plant:
    def plant(root: Path) -> None:
        content = json.loads((root / name).read_text())
        change(content)
        (root / name).write_text(json.dumps(content))

    return plant


def in_info(**fields: object) -> Plant:
    return in_json(INFO, lambda info: info.update(fields))


def in_feature(key: str, **fields: object) -> Plant:
    return in_json(INFO, lambda info: info["features"][key].update(fields))


def in_table(name: str, change: Callable[[pa.Table], pa.Table]) -> Plant:
    """Rewrites a Parquet file; the data keep one row group for each episode."""

    def plant(root: Path) -> None:
        table = change(pq.read_table(root / name))
        size = 80 if name == DATA else None
        pq.write_table(table, root / name, row_group_size=size)

    return plant


def put(table: pa.Table, name: str, values: object, kind: pa.DataType | None = None) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, name, pa.array(values, kind or table.schema.field(name).type))


def cell(file: str, name: str, row: int, value: object) -> Plant:
    def change(table: pa.Table) -> pa.Table:
        values = table.column(name).to_pylist()
        values[row] = value
        return put(table, name, values)

    return in_table(file, change)


def vectors(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Plant:
    """Replaces the action by a function of action and state."""

    def edit(table: pa.Table) -> pa.Table:
        action, state = (
            np.array(table.column(name).to_pylist(), np.float32)
            for name in (ACTION, "observation.state")
        )
        return put(table, ACTION, list(change(action, state).astype(np.float32)))

    return in_table(DATA, edit)


def film(change: Callable[[list[np.ndarray]], Sequence[np.ndarray]], fps: int = 20) -> Plant:
    """Encodes the video again, after a change of its pictures."""

    def plant(root: Path) -> None:
        with av.open(str(root / VIDEO)) as file:
            pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        changed = list(change(pictures))
        with closing(Film(root / VIDEO, changed[0].shape[:2], fps, "h264")) as new:
            for picture in changed:
                new.add(np.ascontiguousarray(picture))

    return plant


def flipped(name: str) -> Plant:
    """One bit of a file, in its middle."""

    def plant(root: Path) -> None:
        data = bytearray((root / name).read_bytes())
        data[len(data) // 2] ^= 4
        (root / name).write_bytes(bytes(data))

    return plant


def both(*plants: Plant) -> Plant:
    def plant(root: Path) -> None:
        for one in plants:
            one(root)

    return plant


def black(pictures: list[np.ndarray]) -> list[np.ndarray]:
    return [np.zeros_like(p) for p in pictures[:80]] + pictures[80:]


def frozen(pictures: list[np.ndarray]) -> list[np.ndarray]:
    return [pictures[0]] * 80 + pictures[80:]


def larger(pictures: list[np.ndarray]) -> list[np.ndarray]:
    return [np.pad(p, ((0, 16), (0, 0), (0, 0))) for p in pictures]


def twice(pictures: list[np.ndarray]) -> list[np.ndarray]:
    return pictures[:80] * 2 + pictures[160:]


def copied_rows(table: pa.Table) -> pa.Table:
    for name in (ACTION, "observation.state", "observation.environment_state"):
        values = table.column(name).to_pylist()
        table = put(table, name, values[:80] * 2 + values[160:])
    return table


def damage(name: str, keep: float) -> Plant:
    def plant(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: int(len(content) * keep)])

    return plant


def copy(name: str, other: str) -> Plant:
    def plant(root: Path) -> None:
        (root / other).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, root / other)

    return plant


def garbled_pictures(root: Path) -> None:
    table = pq.read_table(root / DATA)
    pictures = [{"bytes": b"not a picture", "path": "a.png"}] * len(table)
    pq.write_table(table.append_column("front", pa.array(pictures)), root / DATA)
    entry = {"dtype": "image", "shape": [SIDE, SIDE, 3], "names": ["height", "width", "channels"]}
    in_json(INFO, lambda info: info["features"].update(front=entry))(root)


def words(*parts: list[Words], kind: pa.DataType | None = None) -> Plant:
    """A column of words, each part of it in as many rows, of our type or another."""

    def plant(root: Path) -> None:
        table = pq.read_table(root / DATA)
        columns = [language_column(part, len(table) // len(parts)) for part in parts]
        column = pa.chunked_array(columns) if kind is None else pa.nulls(len(table), kind)
        table = table.append_column("language_persistent", column)
        pq.write_table(table, root / DATA, row_group_size=80)
        entry = {"dtype": "language", "shape": [1], "names": None}
        in_json(INFO, lambda info: info["features"].update(language_persistent=entry))(root)

    return plant


def task_at(time: float, content: str = "go") -> Words:
    return Words(time, "subtask", "assistant", content)


def all_tasks(change: Callable[[list[int], list[str]], tuple[list[int], list[str]]]) -> Plant:
    def edit(table: pa.Table) -> pa.Table:
        numbers, words = change(*(table.column(n).to_pylist() for n in ("task_index", "task")))
        return pa.table({"task_index": numbers, "task": words})

    return in_table(TASKS, edit)


def stat(name: str, value: object, key: str = ACTION) -> Plant:
    return in_json(STATS, lambda stats: stats[key].update({name: value}))


def no_quantiles(stats: dict[str, Any]) -> None:
    stats[ACTION] = {k: v for k, v in stats[ACTION].items() if not k.startswith("q")}


def extremes(root: Path) -> None:
    """A quantile that is the outermost of the episodes', as some writers merge them."""
    rows = pq.read_table(root / TABLE).column(f"stats/{ACTION}/q50").to_pylist()
    stat("q50", np.min(rows, axis=0).tolist())(root)


def renamed(name: str) -> Plant:
    return in_feature(ACTION, names=["slide/x", name])


def constant(action: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.stack([action[:, 0], np.full(len(action), 0.25)], axis=1)


def next_state(action: np.ndarray, state: np.ndarray) -> np.ndarray:
    return np.concatenate([state[1:, :2], state[-1:, :2]])


FAULTS: list[tuple[str, Plant]] = [
    ("json-unreadable", damage(INFO, 0.5)),
    ("json-unreadable", damage(STATS, 0.5)),
    ("json-field", in_info(total_videos=3)),
    ("info-field", in_json(INFO, lambda info: info.pop("fps"))),
    ("info-field", in_info(total_frames="many")),
    ("info-version", in_info(codebase_version="v2.1")),
    ("info-template", in_info(data_path="../{chunk_index:03d}/{file_index:03d}")),
    ("info-template", in_info(video_path=None)),
    ("info-totals", in_json(INFO, lambda info: info.update(total_frames=319))),
    ("info-totals", in_info(total_episodes=5)),
    ("info-totals", in_info(total_tasks=99)),
    ("info-splits", in_info(splits={"train": "0:99"})),
    ("info-splits", in_info(splits={"train": "0:3", "test": "2:4"})),
    ("feature-malformed", in_feature(ACTION, dtype="floot")),
    ("feature-malformed", in_feature(ACTION, shape=[-2])),
    ("feature-malformed", in_feature(ACTION, shape=[10**15])),
    ("feature-missing", in_json(INFO, lambda info: info["features"].pop("timestamp"))),
    ("feature-names", in_feature(ACTION, names=["slide/x"])),
    ("feature-unnamed", in_feature(KEY, names=None)),
    ("file-missing", lambda root: (root / DATA).unlink()),
    ("file-missing", lambda root: (root / VIDEO).unlink()),
    ("file-missing", lambda root: (root / TABLE).unlink()),
    ("file-missing", lambda root: (root / TASKS).unlink()),
    ("file-stray", copy(DATA, "data/chunk-000/file-001.parquet")),
    ("file-video-stray", copy(VIDEO, VIDEO.replace("000.mp4", "001.mp4"))),
    ("file-unreadable", damage(DATA, 0.5)),
    ("file-unreadable", damage(TABLE, 0.9)),
    ("file-unreadable", damage(TASKS, 0.1)),
    ("file-unreadable", damage(VIDEO, 0.3)),
    ("column-missing", in_table(DATA, lambda table: table.drop_columns([ACTION]))),
    ("column-stray", in_table(DATA, lambda t: t.append_column("reward", t.column("timestamp")))),
    (
        "column-type",
        in_table(
            DATA, lambda t: put(t, ACTION, t.column(ACTION).to_pylist(), pa.list_(pa.float64(), 2))
        ),
    ),
    ("value-shape", cell(DATA, ACTION, 7, None)),
    ("value-shape", cell(DATA, "timestamp", 7, None)),
    ("not-finite", cell(DATA, ACTION, 7, [np.nan, 0.0])),
    ("not-finite", cell(DATA, "observation.state", 9, [0.0, np.inf, 0.0, 0.0])),
    ("row-index", cell(DATA, "index", 100, 101)),
    ("row-episode", cell(DATA, "episode_index", 100, 3)),
    ("row-frame", cell(DATA, "frame_index", 100, 19)),
    ("row-time", cell(DATA, "timestamp", 100, 1.01)),
    ("row-time", in_info(fps=21)),
    ("row-task", cell(DATA, "task_index", 100, 99)),
    ("tasks-order", all_tasks(lambda numbers, words: (numbers[::-1], words[::-1]))),
    ("tasks-duplicate", all_tasks(lambda numbers, words: (numbers, [words[0]] * len(words)))),
    ("task-unused", all_tasks(lambda numbers, words: ([*numbers, len(words)], [*words, "wave"]))),
    ("dataset-empty", in_table(DATA, lambda table: table.slice(0, 0))),
    ("row-groups", lambda root: pq.write_table(pq.read_table(root / DATA), root / DATA)),
    ("episode-table", in_table(TABLE, lambda table: table.drop_columns(["length"]))),
    ("episode-table", in_table(TABLE, lambda table: table.slice(0, 3))),
    ("episode-table", cell(TABLE, "episode_index", 2, 7)),
    ("episode-length", cell(TABLE, "length", 2, 79)),
    ("episode-short", cell(TABLE, "length", 2, 1)),
    ("episode-range", cell(TABLE, "dataset_from_index", 2, 161)),
    ("episode-place", cell(TABLE, "data/file_index", 2, 1)),
    ("episode-tasks", cell(TABLE, "tasks", 2, ["something else"])),
    ("episode-recovery", cell(TABLE, "recovered_from", 2, ["slipped"])),
    (
        "episode-recovery",
        both(cell(TABLE, "recovered_from", 2, ["slipped"]), cell(TABLE, "recovered_at", 2, [99.0])),
    ),
    ("language-type", words([], kind=pa.string())),
    ("language-type", words([], kind=pa.list_(pa.struct([("role", pa.string())])))),
    ("language-type", both(words([]), in_feature("language_persistent", shape=[2]))),
    ("language-words", words([task_at(1.0), task_at(0.5)])),
    ("language-words", words([task_at(0.0), task_at(4.0)])),
    ("language-words", words([task_at(1.0), task_at(1.0, "stay")])),
    ("language-words", words([task_at(1.0, "")])),
    ("language-words", words([Words(0.0, "vqa", "user", "what is it?")])),
    ("language-words", words(*[[task_at(0.0)], [task_at(0.0, "stay")]] * 4)),
    ("episode-duplicate", both(in_table(DATA, copied_rows), film(twice))),
    ("video-frames", film(lambda pictures: pictures[:-1])),
    ("video-frames", film(lambda pictures: [*pictures, pictures[0]])),
    ("video-time", film(lambda pictures: pictures, fps=21)),
    ("video-range", cell(TABLE, f"videos/{KEY}/from_timestamp", 2, 8.01)),
    ("video-range", cell(TABLE, f"videos/{KEY}/to_timestamp", 1, 8.5)),
    ("video-pixels", film(lambda pictures: pictures)),
    ("video-pixels", film(lambda p: [*p[:79], p[79] // 2, *p[80:]])),
    ("video-pixels", cell(TABLE, f"pixels/{KEY}", 2, "0" * 64)),
    ("episode-table", in_table(TABLE, lambda table: table.drop_columns([f"pixels/{KEY}"]))),
    ("video-size", film(larger)),
    ("video-black", film(black)),
    ("video-frozen", film(frozen)),
    ("video-info", in_feature(KEY, info={"video.codec": "av1"})),
    ("picture-unreadable", garbled_pictures),
    ("stats-missing", in_json(STATS, lambda stats: stats.pop(ACTION))),
    ("stats-missing", in_json(STATS, lambda stats: stats[KEY].pop("mean"))),
    ("stats-missing-quantiles", in_json(STATS, no_quantiles)),
    ("stats-shape", stat("mean", [0.0])),
    ("stats-shape", stat("mean", ["a", {}])),
    ("stats-shape", lambda root: (root / STATS).write_text("[]") and None),
    ("stats-value", stat("mean", [0.1, 0.1])),
    ("stats-value", stat("count", [3])),
    ("stats-value", stat("max", [[[254.0]]] * 3, KEY)),
    ("stats-value", stat("mean", [[[0.9]]] * 3, KEY)),
    ("stats-quantile", stat("q99", [9.0, 9.0])),
    ("stats-envelope", extremes),
    ("action-constant", vectors(constant)),
    ("fingers-still", both(vectors(constant), renamed("left_hand/thumb"))),
    ("action-next-state", vectors(next_state)),
    ("action-state", vectors(lambda _, state: state[:, :2])),
    ("file-checksum", flipped(DATA)),
    ("file-checksum", flipped(VIDEO)),
    ("file-checksum", flipped("meta/provenance.json")),
    ("file-checksum", lambda root: (root / "meta/checksums.json").unlink()),
    ("file-checksum", lambda root: (root / "meta/checksums.json").write_text("[]")),
    ("file-checksum", lambda root: (root / "meta/provenance.json").unlink()),
]


@pytest.mark.parametrize(
    ("code", "plant"), FAULTS, ids=[f"{number}-{code}" for number, (code, _) in enumerate(FAULTS)]
)
def test_a_planted_fault_is_found(sound: Path, tmp_path: Path, code: str, plant: Plant) -> None:
    root = tmp_path / "dataset"
    shutil.copytree(sound, root)
    plant(root)
    if code != "file-checksum":  # as if another writer had left it so
        (root / "meta/checksums.json").unlink()
        told = in_json("meta/provenance.json", lambda provenance: provenance.pop("checksums"))
        told(root)
    report = verify_lerobot(root)
    severities = {finding.severity for finding in report.findings if finding.code == code}
    assert severities, [(finding.code, finding.message) for finding in report.findings]
    assert report.ok is not ("error" in {finding.severity for finding in report.findings})
    assert all(finding.code in CODES for finding in report.findings)


def test_sound_words_are_not_complained_of(sound: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    shutil.copytree(sound, root)
    sentence = Words(0.0, "task_aug", "user", "go there")
    words([task_at(0.0), sentence, task_at(3.95, "stay")])(root)
    assert {f.code for f in verify_lerobot(root).findings} == {"file-checksum"}


def test_every_code_has_a_planted_fault() -> None:
    assert {code for code, _ in FAULTS} == set(CODES)


def test_the_guide_lists_every_code() -> None:
    guide = Path(__file__).parents[1] / "docs/guides/lerobot.md"
    rows = [line.split(" | ") for line in guide.read_text().splitlines() if " | " in line]
    told = {code[3:-1]: words.removesuffix(" |") for code, words, *_ in rows if "`" in code}
    assert {code: told.get(code) for code in CODES} == dict(CODES)


def test_a_sound_dataset_has_no_finding(sound: Path) -> None:
    report = verify_lerobot(sound)
    assert (report.findings, report.ok, report.episodes, report.frames) == ((), True, 4, 320)
    assert report.to_plain()["ok"] is True


def test_nothing_of_ours_is_needed(sound: Path, tmp_path: Path) -> None:
    root = tmp_path / "foreign"
    shutil.copytree(sound, root)
    (root / "meta/provenance.json").unlink()
    (root / "meta/checksums.json").unlink()
    ours = pq.read_table(root / TABLE)
    theirs = [n for n in ours.column_names if n.startswith(("videos/", "data/", "dataset_"))]
    pq.write_table(ours.select(["episode_index", "tasks", "length", *theirs]), root / TABLE)
    assert verify_lerobot(root).findings == ()


@pytest.mark.parametrize("what", ["nothing", "file", "empty folder"])
def test_what_is_no_dataset_is_a_usage_error(tmp_path: Path, what: str) -> None:
    path = tmp_path / "thing"
    if what == "file":
        path.write_text("text")
    elif what == "empty folder":
        path.mkdir()
    with pytest.raises(UsageError, match=r"info\.json"):
        verify_lerobot(path)


def spoilt(content: bytes) -> Iterator[bytes]:
    """A file's content in ways in which disks and strangers spoil it."""
    rng = np.random.default_rng(5)
    yield b""
    yield rng.bytes(500)
    for _ in range(3):
        flipped = bytearray(content)
        for place in rng.integers(0, len(content), 12):
            flipped[place] ^= 1 << int(rng.integers(8))
        yield bytes(flipped)


@pytest.mark.parametrize("name", [INFO, STATS, TASKS, TABLE, DATA, VIDEO])
def test_a_spoilt_file_never_breaks_the_checker(sound: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "dataset"
    shutil.copytree(sound, root)
    content = (root / name).read_bytes()
    for spoilt_content in spoilt(content):
        (root / name).write_bytes(spoilt_content)
        verify_lerobot(root)
    (root / name).write_bytes(content)
    assert verify_lerobot(root).ok


@pytest.mark.parametrize(
    "claim",
    [
        {"total_frames": 10**30},
        {"total_episodes": -1},
        {"fps": 1e308},
        {"fps": True},
        {"chunks_size": 0},
        {"features": []},
        {"features": {"a": 3}},
        {"data_path": "{chunk_index:0999999999d}/{file_index.__class__}"},
        {"video_path": "{video_key}{chunk_index}{file_index}{0}"},
        {"splits": {"train": "9" * 50 + ":0"}},
        {"codebase_version": ["v3.0"]},
    ],
)
def test_wild_claims_become_findings(sound: Path, tmp_path: Path, claim: dict[str, Any]) -> None:
    root = tmp_path / "dataset"
    shutil.copytree(sound, root)
    in_info(**claim)(root)
    assert not verify_lerobot(root).ok


def test_a_thousand_equal_findings_are_counted_not_listed() -> None:
    findings = Findings()
    for row in range(1000):
        findings.add("not-finite", f"row {row}", "NaN")
    assert len(findings.all()) <= 12
    assert "990 more" in findings.all()[-1].message
