"""Checks of the data files, read once, in batches: every row in its place, every number finite."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabrika.data._findings import Findings
from fabrika.data._layout import ACTION, BOOKKEEPING, STATE, TOLERANCE, Feature, arrow_scalar
from fabrika.data._stats import matrix
from fabrika.data._verify_info import DAMAGED, Claims

_BATCH = 4096
"""Rows in memory at a time."""
_SAMPLE = 20_000
"""Rows of state and action that are kept to compare them with one another."""

_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)

Columns = dict[str, NDArray[Any]]


@dataclass(slots=True)
class Seen:
    """One episode as its rows show it."""

    episode: int
    start: int
    files: list[Path]
    length: int = 0
    tasks: set[int] = field(default_factory=set)
    hashes: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Equal for episodes of equal numbers."""
        parts = [f"{key}={value.hexdigest()}" for key, value in sorted(self.hashes.items())]
        return hashlib.sha256("\n".join([str(self.length), *parts]).encode()).hexdigest()


@dataclass(slots=True)
class Rows:
    """All rows as they were found."""

    files: list[Path] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    count: int = 0
    whole: bool = True
    """False if a file or a column could not be read: totals mean little then."""
    unsound: set[str] = field(default_factory=set)
    """Features whose column is missing, of another type, or of uneven rows."""
    low: Columns = field(default_factory=dict)
    high: Columns = field(default_factory=dict)
    sample: list[Columns] = field(default_factory=list)
    """State and action of the first episodes, one mapping each."""


def scan_rows(claims: Claims, findings: Findings) -> Rows:
    """Read all data files as a reader would: sorted by name, one after another."""
    rows = Rows(files=sorted((claims.root / "data").glob("*/*.parquet")))
    if not rows.files:
        findings.add("file-missing", "data", "there are no data files.")
        rows.whole = False
    for path in rows.files:
        where = path.relative_to(claims.root)
        try:
            with pq.ParquetFile(path) as file:
                sound = _check_schema(claims, file.schema_arrow, where, rows, findings)
                before = len(rows.seen)
                # Columns of text are not looked at; words and pictures are, elsewhere.
                for batch in file.iter_batches(_BATCH, columns=sorted(sound)):
                    columns = _columns(batch, sound, where, rows, findings)
                    _add(claims, rows, len(batch), columns, path, findings)
                _check_groups(file, rows.seen[before:], where, findings)
        except DAMAGED as error:
            findings.add("file-unreadable", where, f"{type(error).__name__}: {error}")
            rows.whole = False
    return rows


def _check_schema(
    claims: Claims, schema: pa.Schema, where: Path, rows: Rows, findings: Findings
) -> dict[str, Feature]:
    """The features that can be read from this file."""
    declared = {key: f for key, f in claims.features.items() if f.dtype != "video"}
    names = set(schema.names)
    for key in sorted(declared.keys() - names):
        findings.add("column-missing", f"{where}: {key}", "it is declared, but has no column.")
        rows.unsound.add(key)
    for key in sorted(names - declared.keys()):
        findings.add("column-stray", f"{where}: {key}", "it has a column, but is not declared.")
    sound: dict[str, Feature] = {}
    for key in sorted(declared.keys() & names & claims.numeric.keys()):
        kind, wanted = schema.field(key).type, arrow_scalar(declared[key].dtype)
        scalar = _scalar(kind)
        if scalar != wanted or (kind == scalar) != (declared[key].shape == (1,)):
            message = f"it is {kind}; declared is {declared[key].dtype} {declared[key].shape}."
            findings.add("column-type", f"{where}: {key}", message)
            rows.unsound.add(key)
        else:
            sound[key] = declared[key]
    return sound


def _scalar(kind: pa.DataType) -> pa.DataType:
    """What a type is a list of, however deep."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif any(is_list(kind) for is_list in _LISTS):
            kind = kind.value_type
        else:
            return kind


def _columns(
    batch: pa.RecordBatch, sound: dict[str, Feature], where: Path, rows: Rows, findings: Findings
) -> Columns:
    found: Columns = {}
    for key, feature in sound.items():
        try:
            values = matrix(batch.column(batch.schema.get_field_index(key)), feature.width)
        except ValueError as error:
            findings.add("value-shape", f"{where}: {key}", f"{error}.")
            rows.unsound.add(key)
            continue
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row, entry = np.argwhere(~np.isfinite(values))[0]
            message = f"entry {entry} of row {rows.count + row} is {values[row, entry]}."
            findings.add("not-finite", f"{where}: {key}", message)
        low: NDArray[Any] = np.fmin.reduce(values, axis=0)
        high: NDArray[Any] = np.fmax.reduce(values, axis=0)
        rows.low[key] = np.fmin(rows.low.get(key, low), low)
        rows.high[key] = np.fmax(rows.high.get(key, high), high)
        found[key] = values
    return found


def _add(
    claims: Claims, rows: Rows, size: int, columns: Columns, path: Path, findings: Findings
) -> None:
    """Cut a batch where its episode changes, and check every piece."""
    numbers = columns.get("episode_index", np.zeros((size, 1), np.int64))[:, 0]
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1), size] if size else []
    for start, end in pairwise(cuts):
        piece = {key: values[start:end] for key, values in columns.items()}
        number = int(numbers[start])
        if not rows.seen or rows.seen[-1].episode != number:
            if number != len(rows.seen) and rows.whole:
                message = f"episode {number} where {len(rows.seen)} should begin."
                findings.add("row-episode", f"row {rows.count}", message)
            rows.seen.append(Seen(number, rows.count, []))
        _check_piece(claims, rows, end - start, piece, path, findings)


def _check_piece(
    claims: Claims, rows: Rows, length: int, piece: Columns, path: Path, findings: Findings
) -> None:
    """Rows of one episode, in one batch."""
    seen = rows.seen[-1]
    where = f"{path.relative_to(claims.root)}: episode {seen.episode}"
    if path not in seen.files:
        seen.files.append(path)
    frames = np.arange(seen.length, seen.length + length)
    expected: dict[str, tuple[str, NDArray[Any], float]] = {
        "index": ("row-index", np.arange(rows.count, rows.count + length), 0.0),
        "frame_index": ("row-frame", frames, 0.0),
    }
    if claims.fps:
        rounding = float(np.spacing(np.float32(frames[-1] / claims.fps)))
        expected["timestamp"] = ("row-time", frames / claims.fps, max(TOLERANCE, rounding))
    for key, (code, wanted, margin) in expected.items():
        if key not in piece or (key == "index" and not rows.whole):
            continue
        wrong = np.flatnonzero(~(np.abs(piece[key][:, 0] - wanted) <= margin))
        if len(wrong):
            row = int(wrong[0])
            message = f"{key} is {piece[key][row, 0]} instead of {wanted[row]:g}"
            findings.add(code, f"{where}, frame {frames[row]}", f"{message}; {len(wrong)} rows.")
    if "task_index" in piece:
        seen.tasks |= set(np.unique(piece["task_index"]).tolist())
    for key, values in piece.items():
        if key not in BOOKKEEPING:
            digest = seen.hashes.setdefault(key, hashlib.blake2b(digest_size=16))
            digest.update(np.ascontiguousarray(values).tobytes())
    _keep_sample(rows, piece, new=seen.length == 0)
    seen.length += length
    rows.count += length


def _keep_sample(rows: Rows, piece: Columns, *, new: bool) -> None:
    kept = {key: piece[key] for key in (ACTION, STATE) if key in piece}
    taken = sum(len(part[ACTION]) for part in rows.sample)
    if len(kept) < 2 or taken > _SAMPLE:
        return
    if new:
        rows.sample.append(kept)
    elif rows.sample:
        last = rows.sample[-1]
        rows.sample[-1] = {key: np.concatenate([last[key], kept[key]]) for key in kept}


def _check_groups(file: pq.ParquetFile, seen: list[Seen], where: Path, findings: Findings) -> None:
    """One row group for each episode, so that a reader can fetch one alone."""
    groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    if groups != [episode.length for episode in seen]:
        message = f"{len(groups)} row groups for {len(seen)} episodes."
        findings.add("row-groups", where, message)


def picture_batches(path: Path, key: str) -> Iterator[list[Any]]:
    """The stored pictures of a column, a few at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(16, columns=[key]):
            yield batch.column(0).to_pylist()
