"""Checks of words: what the rows say, and what the episode table says of recoveries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fabrika.data._findings import Findings
from fabrika.data._language import STYLES, SUBTASK
from fabrika.data._layout import INFO, LANGUAGE, TOLERANCE
from fabrika.data._verify_episodes import TABLE
from fabrika.data._verify_info import DAMAGED, Claims
from fabrika.data._verify_rows import Rows

EVENTS = "language_events"
_TEXTS = ("role", "content", "style", "camera")
_BATCH = 1024
"""Rows in memory at a time: each repeats all words of its episode."""


def check_language(claims: Claims, rows: Rows, findings: Findings) -> None:
    """The words of each episode: LeRobot's entries, in order, within it, alike in all its rows."""
    for key in [key for key, f in claims.features.items() if f.dtype == "language"]:
        if key not in (LANGUAGE, EVENTS) or claims.features[key].shape != (1,):
            message = f"LeRobot knows {LANGUAGE} and {EVENTS}, of shape [1]."
            findings.add("language-type", f"{INFO}: {key}", message)
            continue
        for path in rows.files:
            where = f"{path.relative_to(claims.root)}: {key}"
            try:
                _check_file(claims, rows, path, key, where, findings)
            except DAMAGED as error:
                findings.add("file-unreadable", where, f"{type(error).__name__}: {error}")


def _check_file(
    claims: Claims, rows: Rows, path: Path, key: str, where: str, findings: Findings
) -> None:
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        if key not in schema.names or "episode_index" not in schema.names:
            return  # reported where the columns were read
        wrong = _wrong_type(schema.field(key).type, timed=key == LANGUAGE)
        if wrong:
            findings.add("language-type", where, wrong)
        if wrong or key != LANGUAGE:
            return
        lengths = {seen.episode: seen.length for seen in rows.seen}
        known: tuple[int, pa.Array | None] = (-1, None)
        for number, lists in _pieces(file, key):
            where_episode = f"{where}, episode {number}"
            if known[0] != number:
                known = (number, lists.slice(0, 1).flatten())
                last = (lengths.get(number, 1) - 1) / claims.fps if claims.fps else np.inf
                wrong = _wrong_words(known[1].to_pylist(), last)
                if wrong:
                    findings.add("language-words", where_episode, wrong)
            if not _all_alike(lists, known[1]):
                findings.add("language-words", where_episode, "they change from row to row.")


def _pieces(file: pq.ParquetFile, key: str) -> Iterator[tuple[int, pa.Array]]:
    """Parts of the column, each of one episode."""
    for batch in file.iter_batches(_BATCH, columns=["episode_index", key]):
        numbers = batch.column("episode_index").to_numpy(zero_copy_only=False)
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for start, end in pairwise(cuts):
            if end > start:
                yield int(numbers[start]), batch.column(key).slice(start, end - start)


def _wrong_type(kind: pa.DataType, *, timed: bool) -> str:
    """What is wrong with the type of a language column; empty if nothing."""
    if not pa.types.is_list(kind) or not pa.types.is_struct(kind.value_type):
        return f"it is {str(kind)[:60]}, not a list of entries."
    fields = {field.name: field.type for field in kind.value_type}
    wanted = {*_TEXTS, "tool_calls", *(["timestamp"] if timed else [])}
    if fields.keys() != wanted:
        return f"its entries have {', '.join(sorted(fields))}, not {', '.join(sorted(wanted))}."
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    for name in _TEXTS:
        if not any(is_text(fields[name]) for is_text in texts):
            return f"{name} is {fields[name]}, not text."
    if timed and not pa.types.is_floating(fields["timestamp"]):
        return f"timestamp is {fields['timestamp']}, not a number of seconds."
    return ""


def _wrong_words(words: list[dict[str, Any]], last: float) -> str:
    """What is wrong with the words of an episode whose last row is at a time [s]."""
    strange = sorted({str(entry["style"]) for entry in words} - STYLES)
    if strange:
        return f"{strange[0]!r} is no style of words that stay in force."
    if any(not entry["role"] or not (entry["content"] or entry["tool_calls"]) for entry in words):
        return "an entry is empty, or nobody's."
    if any(entry["camera"] for entry in words):
        return "an entry belongs to a camera, which its style does not allow."
    times = [entry["timestamp"] for entry in words]
    if times != sorted(times) or (times and not 0 <= times[0] <= times[-1] <= last + TOLERANCE):
        return f"their times are not in order, or not within the episode's {last:g} s."
    tasks = [entry["timestamp"] for entry in words if entry["style"] == SUBTASK]
    if len(set(tasks)) < len(tasks):
        return "two sub-instructions begin at one time."
    return ""


def _all_alike(lists: pa.Array, first: pa.Array) -> bool:
    """True if every row holds the same entries as ``first``."""
    if lists.null_count or (np.asarray(lists.value_lengths()) != len(first)).any():
        return False
    entries, again = lists.flatten(), pa.array(np.tile(np.arange(len(first)), len(lists)))
    return all(
        pc.struct_field(entries, name).equals(pc.struct_field(first, name).take(again))
        for name in (*_TEXTS, "timestamp")
    )


def check_recoveries(claims: Claims, findings: Findings) -> None:
    """Of a dataset that names what its experts recovered from: each has a time in its episode."""
    wanted = ["episode_index", "length", "recovered_from", "recovered_at"]
    for path in sorted((claims.root / TABLE).glob("*/*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                if not {*wanted} <= set(file.schema_arrow.names):
                    continue
                for row in file.read(columns=wanted).to_pylist():
                    wrong = _wrong_recovery(row, claims.fps)
                    if wrong:
                        number = row["episode_index"]
                        findings.add("episode-recovery", f"episode {number}", wrong)
        except DAMAGED as error:
            where = path.relative_to(claims.root)
            findings.add("file-unreadable", where, f"{type(error).__name__}: {error}")


def _wrong_recovery(row: dict[str, Any], fps: float) -> str:
    words, times = row["recovered_from"], row["recovered_at"]
    if words is None and times is None:
        return ""
    if words is None or times is None or len(words) != len(times) or not all(words):
        return "each has words and a time."
    last = row["length"] / fps if fps else np.inf
    if times != sorted(times) or (times and not 0 <= times[0] <= times[-1] <= last):
        return f"their times are not in order, or not within the episode's {last:g} s."
    return ""
