"""Statistics as LeRobot keeps them, but exact: quantiles of all samples, not envelopes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabrika.data._layout import QUANTILES

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

MEMORY = 1 << 28
"""Bytes that one block of a column may take. A dataset is larger; a few columns of it are not."""


def column_stats(values: Floats) -> dict[str, Floats]:
    """Statistics of (N, D) samples, each (D,) but ``count``, which is (1,)."""
    found = {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "count": np.array([len(values)]),
    }
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    return found | dict(zip(QUANTILES, quantiles, strict=True))


def picture_stats(counts: Counts, frames: int) -> dict[str, Floats]:
    """Statistics of pictures from (C, values) counts of each value of each channel.

    Each is (C, 1, 1) but ``count``, which is (1,) and counts frames. Pictures of 256 values are
    in [0, 1], all others, such as depth, in their own unit.
    """
    values = counts.shape[1]
    unit = 255.0 if values == 256 else 1.0
    level = np.arange(values) / unit
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ level
    spread = np.sqrt((share * (level[None, :] - mean[:, None]) ** 2).sum(axis=1))
    seen = [np.flatnonzero(channel) for channel in counts]
    found = {
        "min": np.array([level[found[0]] for found in seen]),
        "max": np.array([level[found[-1]] for found in seen]),
        "mean": mean,
        "std": spread,
    }
    for name, part in QUANTILES.items():
        found[name] = np.array([_quantile(channel, part) for channel in counts]) / unit
    shaped = {name: value.reshape(-1, 1, 1) for name, value in found.items()}
    return shaped | {"count": np.array([frames])}


def _quantile(counts: Counts, part: float) -> float:
    """The quantile of counted values 0, 1, 2, ..., interpolated as `numpy.quantile` does."""
    reached = np.cumsum(counts)
    position = part * (int(reached[-1]) - 1)
    low = int(np.searchsorted(reached, np.floor(position), side="right"))
    high = int(np.searchsorted(reached, np.ceil(position), side="right"))
    return float(low + (high - low) * (position - np.floor(position)))


def to_plain(stats: dict[str, Floats]) -> dict[str, Any]:
    """Statistics as lists, ready for JSON and for Arrow."""
    return {name: value.tolist() for name, value in stats.items()}


def matrix(column: pa.Array | pa.ChunkedArray, width: int) -> NDArray[Any]:
    """A column of scalars or (nested) lists as (rows, width).

    Raises `ValueError` if a row has another number of entries, or none.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    rows = len(array)
    if array.null_count:
        raise ValueError(f"{array.null_count} of {rows} rows are empty")
    while pa.types.is_nested(array.type):
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if not isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
            raise ValueError(f"{array.type} is not a list of numbers")
        parts = len(array)
        lengths = array.value_lengths().to_numpy(zero_copy_only=False)
        if parts and (lengths != lengths[0]).any():
            raise ValueError("its rows differ in length")
        array = array.flatten()
        if array.null_count:
            raise ValueError(f"{array.null_count} entries are empty")
    if len(array) != rows * width:
        raise ValueError(f"its rows have {len(array) / max(rows, 1):g} entries, not {width}")
    return np.asarray(array.to_numpy(zero_copy_only=False)).reshape(rows, width)


def blocks(files: Sequence[Path], column: str, width: int, rows: int) -> Iterator[Floats]:
    """A column of all files as (N, d) blocks of whole entries, first entries first.

    Only one block is in memory, so that exact quantiles need no more than `MEMORY`, unless a
    single entry of all ``rows`` does.
    """
    step = max(1, MEMORY // (8 * max(rows, 1)))
    for start in range(0, width, step):
        parts = [
            matrix(batch.column(0), width)[:, start : start + step].astype(np.float64)
            for path in files
            for batch in _batches(path, column)
        ]
        yield np.concatenate(parts)


def _batches(path: Path, column: str) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=1 << 14, columns=[column])


def global_stats(files: Sequence[Path], column: str, width: int, rows: int) -> dict[str, Floats]:
    """`column_stats` of a whole dataset, in bounded memory."""
    found = [column_stats(block) for block in blocks(files, column, width, rows)]
    merged = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    return merged | {"count": found[0]["count"]}
