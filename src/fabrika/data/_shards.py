"""Parquet files of many row groups, rolled over as LeRobot does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fabrika.data._layout import DATA_MEGABYTES, MEGABYTE, TASKS, Feature, Place


class Shards:
    """A table in files of limited size; every `append` is one row group in one file."""

    def __init__(self, root: Path, template: str, schema: pa.Schema) -> None:
        self._root, self._template, self.schema = root, template, schema
        self._open = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._sink: Any = None
        self._largest = 0
        self.place = Place()
        """The file that the next row group goes to."""
        self.files: list[Path] = []

    def append(self, table: pa.Table) -> Place:
        """Write a row group; the file that it went to."""
        if self._writer is None:
            self._start()
        assert self._writer is not None
        before, place = self._sink.tell(), self.place
        self._writer.write_table(table.cast(self.schema), row_group_size=max(1, len(table)))
        self._largest = max(self._largest, self._sink.tell() - before)
        if self._sink.tell() + self._largest >= DATA_MEGABYTES * MEGABYTE:
            self._open.close()
            self._writer, self.place = None, self.place.next()
        return place

    def _start(self) -> None:
        path = self._root / self.place.path(self._template)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.files.append(path)
        self._sink = self._open.enter_context(pa.OSFile(str(path), "wb"))
        self._writer = self._open.enter_context(
            pq.ParquetWriter(self._sink, self.schema, compression="snappy", use_dictionary=True)
        )

    def __enter__(self) -> Shards:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()


def data_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """The schema of the data files, with what the `datasets` library wants to find in it."""
    stored = {key: feature for key, feature in features.items() if feature.dtype != "video"}
    types = {key: feature.hugging_face for key, feature in stored.items()}
    told = json.dumps({"info": {"features": types}})
    fields = [pa.field(key, feature.arrow) for key, feature in stored.items()]
    return pa.schema(fields, metadata={"huggingface": told})


def write_tasks(root: Path, tasks: Sequence[str]) -> None:
    """The table of instructions; its row order is the meaning of ``task_index``.

    LeRobot reads it as a pandas frame whose index is the instruction; pandas finds that in the
    schema, so that it need not be here to write it.
    """

    def column(name: str, kind: str, numpy: str) -> dict[str, Any]:
        return {
            "name": name,
            "field_name": name,
            "pandas_type": kind,
            "numpy_type": numpy,
            "metadata": None,
        }

    told = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    schema = pa.schema(
        [pa.field("task_index", pa.int64()), pa.field("task", pa.string())],
        metadata={"pandas": json.dumps(told)},
    )
    table = pa.table({"task_index": list(range(len(tasks))), "task": list(tasks)}, schema=schema)
    path = root / TASKS
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
