"""Checks of the episode table: that its ranges tile the rows, and the videos, exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from fabrika.data._findings import Findings
from fabrika.data._layout import (
    EPISODE_COLUMNS,
    INFO,
    PIXELS,
    PROVENANCE,
    TOLERANCE,
    Place,
    pixels_column,
    video_columns,
)
from fabrika.data._verify_info import DAMAGED, Claims

TABLE = "meta/episodes"
_OPTIONAL = {"meta/episodes/chunk_index", "meta/episodes/file_index"}


@dataclass(slots=True)
class Episodes:
    """The episode table, column by column; empty where a column cannot be trusted."""

    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    tasks: list[list[str]] = field(default_factory=list)
    pixels: dict[str, list[str]] = field(default_factory=dict)
    """By video: the hash of each episode's pixels, where Fabrika wrote the dataset."""
    count: int = 0

    def places(self, prefix: str) -> list[Place]:
        """The file of each episode, for "data" or "videos/KEY"."""
        chunks, files = (self.columns.get(f"{prefix}/{n}_index", ()) for n in ("chunk", "file"))
        return [Place(int(c), int(f)) for c, f in zip(chunks, files, strict=True)]

    def by_file(self, prefix: str) -> dict[Place, list[int]]:
        """The episodes of each file, in their order."""
        found: dict[Place, list[int]] = {}
        for episode, place in enumerate(self.places(prefix)):
            found.setdefault(place, []).append(episode)
        return found


def read_episodes(claims: Claims, findings: Findings) -> Episodes:
    """The episode table as a reader would load it: all files, sorted by name."""
    wanted = [name for name in EPISODE_COLUMNS if name not in _OPTIONAL]
    hashed = _promises_pixels(claims.root)
    for key in claims.videos:
        wanted += list(video_columns(key))
        wanted += [pixels_column(key)] if hashed else []
    files = sorted((claims.root / TABLE).glob("*/*.parquet"))
    if not files:
        findings.add("file-missing", TABLE, "there is no episode table.")
    episodes = Episodes()
    parts: list[pa.Table] = []
    for path in files:
        where = path.relative_to(claims.root)
        try:
            with pq.ParquetFile(path) as file:
                names = set(file.schema_arrow.names)
                table = file.read(columns=[name for name in wanted if name in names])
        except DAMAGED as error:
            findings.add("file-unreadable", where, f"{type(error).__name__}: {error}")
            continue
        for name in sorted(set(wanted) - names):
            findings.add("episode-table", where, f"there is no column {name!r}.")
        parts.append(table)
    episodes.count = sum(len(part) for part in parts)
    for name in wanted:
        columns = [part.column(name) for part in parts if name in part.column_names]
        if len(columns) == len(parts) and parts:
            _take(episodes, name, columns, findings)
    _check_ranges(claims, episodes, findings)
    return episodes


def _promises_pixels(root: Path) -> bool:
    """True if the dataset says that it has the hash of every episode's pixels: ours do."""
    try:
        told = json.loads((root / PROVENANCE).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and bool(told.get("pixels"))


def _take(
    episodes: Episodes, name: str, columns: Sequence[pa.ChunkedArray], findings: Findings
) -> None:
    """One column, as numbers; tasks as lists of words."""
    try:
        if name == "tasks":
            episodes.tasks = [list(map(str, row)) for part in columns for row in part.to_pylist()]
            return
        if name.startswith(PIXELS):
            told = [str(value) for part in columns for value in part.to_pylist()]
            episodes.pixels[name.removeprefix(PIXELS)] = told
            return
        kind = np.float64 if name.endswith("timestamp") else np.int64
        parts = [part.to_numpy() for part in columns]
        if any(part.dtype.kind not in "iuf" for part in parts):
            raise ValueError(f"it holds {parts[0].dtype}")
        values = np.concatenate(parts)
        with np.errstate(invalid="raise"):
            whole = values.astype(kind)
        if not np.isfinite(values).all() or (whole != values).any() or (whole < 0).any():
            raise ValueError("an entry is empty, negative or not a whole number")
        episodes.columns[name] = whole
    except (*DAMAGED, FloatingPointError) as error:
        findings.add("episode-table", TABLE, f"column {name!r}: {error}.")


def _check_ranges(claims: Claims, episodes: Episodes, findings: Findings) -> None:
    if claims.episodes is not None and claims.episodes != episodes.count:
        findings.add(
            "info-totals", INFO, f"{claims.episodes} episodes; the table has {episodes.count}."
        )
    numbers = episodes.columns.get("episode_index")
    if numbers is not None:
        for row in _where(numbers != np.arange(len(numbers))):
            message = f"row {row} is episode {numbers[row]}."
            findings.add("episode-table", TABLE, message)
    lengths = episodes.columns.get("length")
    if lengths is None:
        return
    for episode in _where(lengths < 1):
        findings.add("episode-length", f"episode {episode}", "it has no rows.")
    for episode in _where(lengths == 1):
        findings.add("episode-short", f"episode {episode}", "a single row teaches no motion.")
    starts = episodes.columns.get("dataset_from_index")
    ends = episodes.columns.get("dataset_to_index")
    if starts is not None and ends is not None:
        expected = np.cumsum(lengths)
        for episode in _where((starts != expected - lengths) | (ends != expected)):
            message = (
                f"rows {starts[episode]}:{ends[episode]} instead of "
                f"{expected[episode] - lengths[episode]}:{expected[episode]}."
            )
            findings.add("episode-range", f"episode {episode}", message)
    for key in claims.videos:
        _check_video_ranges(claims, episodes, key, findings)


def _check_video_ranges(claims: Claims, episodes: Episodes, key: str, findings: Findings) -> None:
    """Within a file, videos follow one another: from = pictures before / fps."""
    names = (f"videos/{key}/from_timestamp", f"videos/{key}/to_timestamp")
    if not claims.fps or not all(name in episodes.columns for name in names):
        return
    starts, ends = (episodes.columns[name] for name in names)
    lengths = episodes.columns["length"]
    for members in episodes.by_file(f"videos/{key}").values():
        reached = np.cumsum(lengths[members])
        expected = np.stack([reached - lengths[members], reached]) / claims.fps
        found = np.stack([starts[members], ends[members]])
        for position in _where((np.abs(found - expected) > TOLERANCE).any(axis=0)):
            (start, end), (low, high) = found[:, position], expected[:, position]
            findings.add(
                "video-range",
                f"episode {members[position]}, {key}",
                f"{start:.6f}:{end:.6f} s instead of {low:.6f}:{high:.6f} s.",
            )


def check_stray_videos(claims: Claims, episodes: Episodes, findings: Findings) -> None:
    """Videos that no episode names: they only take space."""
    named: set[Path] = set()
    for key in claims.videos:
        named |= {claims.video_file(key, place) for place in episodes.by_file(f"videos/{key}")}
    for path in sorted((claims.root / "videos").glob("*/*/*.mp4")):
        if path not in named:
            findings.add("file-video-stray", path.relative_to(claims.root), "no episode names it.")


def _where(wrong: ArrayLike) -> Iterator[int]:
    return (int(place) for place in np.flatnonzero(wrong))
