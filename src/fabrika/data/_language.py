"""The column of words: sub-instructions and paraphrases, as LeRobot keeps them with every row.

Every row of an episode holds the same list; who reads it asks what is in force at the row's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fabrika._scenario import Scenario
from fabrika._task import Task
from fabrika.data._narration import Moment

SUBTASK, PARAPHRASE = "subtask", "task_aug"
STYLES = frozenset({SUBTASK, PARAPHRASE, "plan", "memory", "motion"})
"""The styles of words that stay in force until others of their style follow."""
_TEXTS = ("role", "content", "style", "camera")


@dataclass(frozen=True, slots=True)
class Words:
    """One entry of the list."""

    time: float
    """From when on it is in force [s]."""
    style: str
    role: str
    content: str


def words_of(task: Task, scenario: Scenario, subtasks: Sequence[Moment], fps: int) -> list[Words]:
    """What an episode's rows say, in the order of LeRobot's own writer: time, style, role.

    Paraphrases are the task's phrasings for training, the episode's own first. An episode that was
    instructed otherwise, in a held-out phrasing say, has none: its own words are to count.
    """
    found = [
        Words(round(time * fps) / fps, SUBTASK, "assistant", content) for time, content in subtasks
    ]
    own, known = scenario.instruction, task.instructions
    if own in known:
        phrases = dict.fromkeys((own, *known))
        found += [Words(0.0, PARAPHRASE, "user", phrase) for phrase in phrases]
    return sorted(found, key=lambda words: (words.time, words.style, words.role))


def language_type() -> pa.DataType:
    """The Arrow type of the column `language_persistent`."""
    fields = [pa.field(name, pa.string(), nullable=name != "role") for name in _TEXTS]
    role, content, style, camera = fields
    time = pa.field("timestamp", pa.float32(), nullable=False)
    calls = pa.field("tool_calls", pa.list_(_json_type()))
    return pa.list_(pa.struct([role, content, style, time, camera, calls]))


def language_feature() -> dict[str, Any]:
    """Its type as the `datasets` library writes it into the schema."""

    def value(dtype: str) -> dict[str, Any]:
        return {"dtype": dtype, "_type": "Value"}

    json = {"_type": "Json"} if hasattr(pa, "json_") else value("string")
    kinds = {name: value("string") for name in ("role", "content", "style")}
    kinds |= {"timestamp": value("float32"), "camera": value("string")}
    kinds["tool_calls"] = {"feature": json, "_type": "List"}
    return {"feature": kinds, "_type": "List"}


def language_column(words: Sequence[Words], rows: int) -> pa.Array:
    """The column of an episode: the same list in each of its ``rows``."""
    count, kind = len(words) * rows, language_type()
    columns = {
        "role": pa.array([w.role for w in words] * rows, pa.string()),
        "content": pa.array([w.content for w in words] * rows, pa.string()),
        "style": pa.array([w.style for w in words] * rows, pa.string()),
        "timestamp": pa.array(np.tile(np.array([w.time for w in words], np.float32), rows)),
        "camera": pa.nulls(count, pa.string()),
        "tool_calls": pa.nulls(count, pa.list_(_json_type())),
    }
    entries = pa.StructArray.from_arrays(list(columns.values()), fields=list(kind.value_type))
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * len(words))
    return pa.ListArray.from_arrays(offsets, entries, type=kind)


def _json_type() -> pa.DataType:
    """As LeRobot has it: JSON where this pyarrow knows it, else text."""
    return pa.json_() if hasattr(pa, "json_") else pa.string()
