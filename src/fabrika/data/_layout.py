"""Names, places and types of a LeRobot v3.0 dataset: what writer and checker agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from fabrika.data._language import language_feature, language_type

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA_MEGABYTES = 100
VIDEO_MEGABYTES = 200
MEGABYTE = 1 << 20

INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
PROVENANCE = "meta/provenance.json"
CHECKSUMS = "meta/checksums.json"
LEGEND = "meta/segmentation.json"
_PLACE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA = f"data/{_PLACE}.parquet"
EPISODES = f"meta/episodes/{_PLACE}.parquet"
VIDEO = f"videos/{{video_key}}/{_PLACE}.mp4"

STATE, ENVIRONMENT, ACTION = "observation.state", "observation.environment_state", "action"
PICTURES = "observation.images."
LANGUAGE = "language_persistent"
PIXELS = "pixels/"

BOOKKEEPING = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""The columns that every dataset has, and their types."""

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
MOMENTS = ("min", "max", "mean", "std")
STATISTICS = (*MOMENTS, "count", *QUANTILES)

TOLERANCE = 1e-4
"""How far from its picture a row's time stamp may lie before LeRobot refuses to read it [s]."""

EPISODE_COLUMNS = {
    "episode_index": pa.int64(),
    "tasks": pa.list_(pa.string()),
    "length": pa.int64(),
    "data/chunk_index": pa.int64(),
    "data/file_index": pa.int64(),
    "dataset_from_index": pa.int64(),
    "dataset_to_index": pa.int64(),
    "meta/episodes/chunk_index": pa.int64(),
    "meta/episodes/file_index": pa.int64(),
}


def video_columns(key: str) -> dict[str, pa.DataType]:
    """The columns of the episode table that say where an episode's video lies."""
    return {
        f"videos/{key}/chunk_index": pa.int64(),
        f"videos/{key}/file_index": pa.int64(),
        f"videos/{key}/from_timestamp": pa.float64(),
        f"videos/{key}/to_timestamp": pa.float64(),
    }


def pixels_column(key: str) -> str:
    """The column of the episode table, Fabrika's own, with the hash of an episode's pixels."""
    return PIXELS + key


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One entry of ``features`` in info.json."""

    dtype: str
    """A NumPy scalar type, or "string", "image", "video", "language"."""
    shape: tuple[int, ...] = (1,)
    names: Sequence[str] | None = None
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Numbers in one sample."""
        product = 1
        for side in self.shape:
            product *= side
        return product

    @property
    def arrow(self) -> pa.DataType:
        """Its type in the data files. A vector of one entry is a scalar there."""
        if self.dtype == "language":
            return language_type()
        if self.dtype == "image":
            return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        scalar = arrow_scalar(self.dtype)
        return scalar if self.shape == (1,) else pa.list_(scalar, self.width)

    @property
    def hugging_face(self) -> dict[str, Any]:
        """Its type as the `datasets` library writes it into the schema."""
        if self.dtype == "language":
            return language_feature()
        if self.dtype == "image":
            return {"_type": "Image"}
        value: dict[str, Any] = {"dtype": self.dtype, "_type": "Value"}
        if self.shape == (1,):
            return value
        return {"feature": value, "length": self.width, "_type": "Sequence"}

    def to_plain(self) -> dict[str, Any]:
        """The entry, as plain data."""
        names = None if self.names is None else list(self.names)
        plain: dict[str, Any] = {"dtype": self.dtype, "shape": list(self.shape), "names": names}
        return {**plain, "info": self.info} if self.info else plain


def arrow_scalar(dtype: str) -> pa.DataType:
    """The Arrow type of a NumPy scalar type. Raises `ValueError` for any other word."""
    if dtype not in _SCALARS:
        raise ValueError(f"{dtype!r} is not a scalar type.")
    return pa.type_for_alias(dtype)


_SCALARS = {"bool", "float16", "float32", "float64"}
_SCALARS |= {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Which file: ``chunk-000/file-000`` and onwards."""

    chunk: int = 0
    file: int = 0

    def next(self) -> Place:
        """The file after this one."""
        if self.file == FILES_PER_CHUNK - 1:
            return Place(self.chunk + 1, 0)
        return Place(self.chunk, self.file + 1)

    def path(self, template: str, key: str = "") -> str:
        """The path of this file by a template, relative to the dataset."""
        return template.format(video_key=key, chunk_index=self.chunk, file_index=self.file)
