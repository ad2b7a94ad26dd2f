"""The meta folder of a LeRobot dataset: one row for each episode, and what info.json says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa
from av import library_versions
from numpy.typing import NDArray

from fabrika._episode import Episode
from fabrika._result import Result
from fabrika._tier import DATASET
from fabrika.data._checksums import WORDS as CHECKSUMS_WORDS
from fabrika.data._film import Span
from fabrika.data._layout import (
    DATA,
    DATA_MEGABYTES,
    EPISODE_COLUMNS,
    FILES_PER_CHUNK,
    INFO,
    LEGEND,
    PROVENANCE,
    STATISTICS,
    STATS,
    VERSION,
    VIDEO,
    VIDEO_MEGABYTES,
    Feature,
    pixels_column,
    video_columns,
)
from fabrika.data._narration import Narration
from fabrika.data._plan import Plan
from fabrika.data._render import Shot
from fabrika.data._stats import Floats, column_stats, picture_stats, to_plain
from fabrika.data._stills import Colour

QUALITY = "quality/"
PIXELS_WORDS = (
    "pixels/CAMERA in the episode table: SHA-256 over the decoded pictures of an episode's video, "
    "of each the planes Y, U and V, row by row, without padding"
)

OURS = {
    "success": pa.bool_(),
    "failure_code": pa.string(),
    "seed": pa.int64(),
    "scenario_id": pa.string(),
    "split": pa.string(),
    "scenario_index": pa.int64(),
    "draw": pa.string(),
    "actor": pa.string(),
    "reads": pa.list_(pa.string()),
    "remark": pa.string(),
    "fault": pa.string(),
    "look": pa.int64(),
    "episode_digest": pa.string(),
}
"""Columns of the episode table that are Fabrika's own: LeRobot can select episodes by them."""
RECOVERY = {
    "recovered_from": pa.list_(pa.string()),
    "recovered_at": pa.list_(pa.float64()),
    "pushed": pa.list_(pa.string()),
}
"""More of these: what went wrong by the expert's own word and when [s], in an episode that passed
all the same (null where its word is not known), and what the scenario pushed."""
PICTURED = ("video", "image")


def episode_schema(plan: Plan) -> pa.Schema:
    """The columns of the episode table and their types."""
    columns = dict(EPISODE_COLUMNS)
    for key, feature in plan.features.items():
        if feature.dtype == "video":
            columns |= video_columns(key) | {pixels_column(key): pa.string()}
    columns |= OURS | RECOVERY | {QUALITY + name: pa.float64() for name in plan.qualities}
    for key, feature in plan.features.items():
        if feature.dtype == "language":
            continue
        depth = 3 if feature.dtype in PICTURED else 1
        for name in STATISTICS:
            columns[f"stats/{key}/{name}"] = _listed(
                pa.int64() if name == "count" else pa.float64(), 1 if name == "count" else depth
            )
    return pa.schema(list(columns.items()))


def _listed(kind: pa.DataType, depth: int) -> pa.DataType:
    return pa.list_(_listed(kind, depth - 1)) if depth else kind


def describe(
    episode: Episode, row: Result, look: int, narration: Narration | None
) -> dict[str, Any]:
    """What the episode table says of an episode, wherever it is stored."""
    findings = row.verdict.findings if row.verdict else ()
    overcome = narration.events if narration and row.accepted else ()
    return {
        "tasks": [episode.scenario.instruction],
        "length": episode.length,
        "success": row.accepted,
        "failure_code": "" if row.accepted else row.reason,
        # LeRobot's integers are signed: the seed without its highest bit.
        "seed": episode.scenario.seed("sample") & ((1 << 63) - 1),
        "scenario_id": row.scenario_id,
        "split": row.split,
        "scenario_index": row.index,
        "draw": row.draw,
        "actor": row.actor,
        "reads": list(episode.reads),
        "remark": row.remark,
        "fault": episode.fault,
        "look": look,
        "episode_digest": row.digest,
        "recovered_from": [words for _, words in overcome] if narration else None,
        "recovered_at": [time for time, _ in overcome] if narration else None,
        "pushed": _pushed(episode),
        **{
            QUALITY + f.check: f.value if isfinite(f.value) else None
            for f in findings
            if f.kind == "quality"
        },
    }


def _pushed(episode: Episode) -> list[str]:
    """The things that a simulated scenario pushed while the episode lasted."""
    told = episode.scenario.params.get("pushes")
    pushes = [push for push in told if isinstance(push, dict)] if isinstance(told, list) else []
    return [str(p["thing"]) for p in pushes if "thing" in p and p["time"] < episode.times[-1]]


def locate(spans: Mapping[str, Span]) -> dict[str, Any]:
    """Where an episode's videos lie."""
    return {
        f"videos/{key}/{name}": value
        for key, span in spans.items()
        for name, value in (
            ("chunk_index", span.place.chunk),
            ("file_index", span.place.file),
            ("from_timestamp", span.start),
            ("to_timestamp", span.end),
        )
    }


def measure(rows: Mapping[str, NDArray[Any]], shot: Shot) -> dict[str, Any]:
    """Of one episode: the statistics of its (T, D) columns and pictures, and its pixels' hash."""
    found: dict[str, dict[str, Floats]] = {}
    for key, values in rows.items():
        found[key] = column_stats(values.reshape(len(values), -1).astype("float64"))
    for key, counts in shot.counts.items():
        found[key] = picture_stats(counts, shot.frames)
    pixels = {pixels_column(key): value for key, value in shot.pixels.items()}
    return pixels | {
        f"stats/{key}/{name}": value
        for key, stats in found.items()
        for name, value in to_plain(stats).items()
    }


def write_stats(root: Path, stats: Mapping[str, dict[str, Floats]]) -> None:
    """meta/stats.json."""
    _write_json(root / STATS, {key: to_plain(value) for key, value in stats.items()})


def write_info(root: Path, plan: Plan, features: Mapping[str, Feature], frames: int) -> None:
    """meta/info.json: what every reader opens first."""
    info = {
        "codebase_version": VERSION,
        "fps": plan.columns.fps,
        "robot_type": plan.store.manifest.get("robot"),
        "features": {key: feature.to_plain() for key, feature in features.items()},
        "total_episodes": plan.total,
        "total_frames": frames,
        "total_tasks": len(plan.tasks),
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_MEGABYTES,
        "video_files_size_in_mb": VIDEO_MEGABYTES,
        "data_path": DATA,
        "video_path": VIDEO if plan.cameras else None,
        "splits": _splits(plan),
    }
    _write_json(root / INFO, info)


def write_legend(root: Path, bodies: Mapping[str, Colour]) -> None:
    """meta/segmentation.json: which colour is which body."""
    words = "red, green and blue of each body; black is none; a name has one colour everywhere"
    _write_json(root / LEGEND, {"colours": words, "bodies": dict(sorted(bodies.items()))})


def write_provenance(root: Path, plan: Plan, told: Mapping[str, Any]) -> None:
    """meta/provenance.json: what made this dataset, and from what. No clock, no paths.

    ``told``: what is known only now that all is written.
    """
    store = plan.store
    packages = ("fabrika", "numpy", "pyarrow", "av")
    provenance = {
        "format": 1,
        "task": plan.rows[0].task,
        "store_digest": store.digest(),
        "store_versions": store.manifest.get("versions"),
        "export_versions": {name: version(name) for name in packages}
        | {name: list(number) for name, number in sorted(library_versions.items())},
        "cameras": list(plan.cameras),
        "size": list(plan.size) if plan.cameras else None,
        "looks": plan.looks,
        "codec": plan.codec if plan.cameras else None,
        "layers": list(plan.layers),
        "language": plan.language,
        "determinism": DATASET,
        "pixels": PIXELS_WORDS if plan.cameras else None,
        "checksums": CHECKSUMS_WORDS,
        "exported": len(plan.rows),
        "left_out": plan.left_out,
        **told,
        "seed": "the 64-bit seed of the purpose 'sample', without its highest bit",
    }
    _write_json(root / PROVENANCE, provenance)


def _splits(plan: Plan) -> dict[str, str]:
    """Half-open ranges of episodes, by split: the takes are in the order of their splits.

    What did not pass is in none of the scenarios' splits: nobody is to train on it by accident.
    """
    found: dict[str, str] = {}
    splits = [row.split if row.accepted else "failed" for row, _ in plan.takes]
    for split in dict.fromkeys(splits):
        start = splits.index(split)
        found[split] = f"{start}:{start + splits.count(split)}"
    return found


def _write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
