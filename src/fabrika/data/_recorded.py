"""The episodes of a dataset that Fabrika exported, simulated again and compared with its rows."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fabrika._episode import Episode
from fabrika._errors import FabrikaError, IntegrityError, UsageError, VersionError
from fabrika._replay import (
    JUDGED,
    Account,
    Record,
    Replayed,
    Replayer,
    first_difference,
)
from fabrika._scenario import Scenario
from fabrika._signals import Array
from fabrika.data._columns import Columns
from fabrika.data._layout import ACTION, DATA, INFO, PROVENANCE, Feature, Place
from fabrika.data._meta import OURS
from fabrika.data._verify_info import DAMAGED, LARGEST_JSON

_NEEDED = {
    "episode_index": pa.int64(),
    "length": pa.int64(),
    "data/chunk_index": pa.int64(),
    "data/file_index": pa.int64(),
    **OURS,
}
"""Columns of the episode table that a replay needs, and their types."""


class DatasetReplay:
    """The episodes of a dataset, to be replayed by position; one under several looks is one.

    Raises `UsageError` if Fabrika did not export it, `VersionError` if a version did whose
    datasets cannot be replayed, `IntegrityError` if its tables cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        if not (root / PROVENANCE).is_file():
            raise UsageError(
                f"{root} has no {PROVENANCE}: it was not exported by Fabrika, so that it cannot "
                "be known what was simulated. `fabrika verify` checks any dataset."
            )
        provenance = _json(root / PROVENANCE)
        task, made_by = provenance.get("task"), provenance.get("store_versions")
        if not isinstance(task, str) or not isinstance(made_by, dict):
            raise IntegrityError(f"{root / PROVENANCE} names no task, or no versions.")
        features = _json(root / INFO).get("features")
        self._features = features if isinstance(features, dict) else {}
        looks: dict[str, list[dict[str, Any]]] = {}
        for row in _episode_table(root):
            looks.setdefault(row["episode_digest"], []).append(row)
        self._looks = list(looks.values())
        self._replayer = Replayer(task, made_by)
        try:
            self._columns = Columns.of(self._replayer.world)
        except FabrikaError:
            self.close()
            raise
        self.task, self.count = task, len(self._looks)
        self.changes = self._replayer.changes

    def replay(self, position: int) -> Replayed:
        """What comes of an episode; its index is its number in the dataset."""
        row, *others = self._looks[position]
        known = {"index": row["episode_index"], "passed": row["success"]}
        try:
            scenario = self._replayer.task.scenario(
                row["split"], row["scenario_index"], row["draw"]
            )
            told = self._told(row)
            for other in others:
                moved = first_difference(told.series, self._told(other).series)
                if moved:
                    number = other["episode_index"]
                    raise IntegrityError(f"episode {number} is another look of it, but {moved}.")
        except FabrikaError as error:
            return Replayed(reason="damaged", detail=str(error), **known)
        if scenario.id != row["scenario_id"]:
            why = f"{self.task} draws another scenario {scenario.index} of {scenario.split} now."
            return Replayed(reason="scenario", detail=why, **known)
        unlike = self._unlike_features()
        if unlike:
            return Replayed(reason="signals", detail=unlike, **known)
        return self._replayer.replay(self._record(row, scenario, told))

    def close(self) -> None:
        """Give back the world."""
        self._replayer.close()

    def _unlike_features(self) -> str:
        """What info.json names otherwise than the task's world does now; empty if nothing."""
        for key, feature in self._columns.features().items():
            found = self._features.get(key)
            names = found.get("names") if isinstance(found, dict) else None
            if names != list(feature.names or ()):
                return f"{key} has other entries than {self.task} has now."
        return ""

    def _told(self, row: dict[str, Any]) -> Account:
        """The rows of an episode, and what the episode table says of its verdict."""
        place = Place(row["data/chunk_index"], row["data/file_index"])
        path = self._root / place.path(DATA)
        features = self._columns.features()
        number, length = row["episode_index"], row["length"]
        try:
            table = pq.read_table(
                path,
                columns=[*features, "frame_index"],
                filters=[("episode_index", "=", number)],
                partitioning=None,
            )
            series = {key: _matrix(table.column(key), f) for key, f in features.items()}
            frames = table.column("frame_index").to_numpy()
        except DAMAGED as error:
            raise IntegrityError(f"{path} cannot be read: {error}") from error
        if length < 1 or not np.array_equal(frames, np.arange(length)):
            raise IntegrityError(f"{path} does not hold the {length} rows of episode {number}.")
        return Account(series, _facts(row["failure_code"] or "passed", row["success"]))

    def _tell(self, episode: Episode) -> Account:
        verdict = episode.verdict
        assert verdict is not None
        return Account(self._columns.rows(episode), _facts(verdict.reason, verdict.passed))

    def _record(self, row: dict[str, Any], scenario: Scenario, told: Account) -> Record:
        return Record(
            index=row["episode_index"],
            scenario=scenario,
            actor=row["actor"],
            reads=tuple(row["reads"]),
            remark=row["remark"],
            fault=row["fault"],
            actions=self._columns.commands(told.series[ACTION]),
            passed=row["success"],
            digest=row["episode_digest"],
            told=told,
            tell=self._tell,
        )


def _facts(reason: str, passed: bool) -> dict[str, Any]:
    return {JUDGED: reason, f"{JUDGED} passed": passed}


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"larger than {LARGEST_JSON} bytes")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise IntegrityError(f"{path} holds a {type(found).__name__}, not an object.")
    return found


def _episode_table(root: Path) -> list[dict[str, Any]]:
    """The needed columns of all episodes, in the order of the files."""
    rows: list[dict[str, Any]] = []
    for path in sorted((root / "meta/episodes").glob("*/*.parquet")):
        try:
            with closing(pq.ParquetFile(path)) as file:
                schema = file.schema_arrow
                missing = sorted(_NEEDED.keys() - set(schema.names))
                if missing:
                    raise VersionError(
                        f"{path} has no column {', '.join(missing)}: an earlier version of Fabrika "
                        "exported this dataset, or it was changed since. Export its store again."
                    )
                found = file.read(columns=list(_NEEDED)).cast(pa.schema(_NEEDED)).to_pylist()
        except DAMAGED as error:
            raise IntegrityError(f"{path} cannot be read: {error}") from error
        if any(value is None for row in found for value in (*row.values(), *(row["reads"] or ()))):
            raise IntegrityError(f"{path} has empty entries.")
        rows += found
    if not rows:
        raise IntegrityError(f"{root} has no table of episodes, or an empty one.")
    return rows


def _matrix(column: pa.ChunkedArray, feature: Feature) -> NDArray[Any]:
    """(T, D) numbers of a column of the declared type."""
    if column.type != feature.arrow or column.null_count:
        raise ValueError(f"a column is {column.type}, not {feature.arrow}")
    values = column.combine_chunks()
    flat: Array = (values if feature.width == 1 else values.flatten()).to_numpy()
    return flat.reshape(-1, feature.width)
