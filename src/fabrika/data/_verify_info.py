"""Checks of info.json and of the table of tasks: what the dataset says of itself."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fabrika.data._findings import Findings
from fabrika.data._layout import (
    BOOKKEEPING,
    DATA,
    FILES_PER_CHUNK,
    INFO,
    TASKS,
    VIDEO,
    Feature,
    Place,
    arrow_scalar,
)

DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError)
"""What reading a damaged Parquet file raises."""
LARGEST_JSON = 1 << 26
"""Bytes; a dataset's own JSON is a thousand times smaller."""
_LARGEST_SIDE = 1 << 14
"""Entries of a vector, or pixels, in one dimension."""
_OPTIONAL = {"robot_type", "splits", "tools", "video_path"}
_PLACEHOLDER = re.compile(r"\{(\w+)(?::0?\dd)?\}")
_STATISTICLESS = {"string", "language", "image", "video"}


@dataclass(slots=True)
class Claims:
    """What info.json says, as far as it makes sense."""

    root: Path
    version: str = "?"
    fps: float = 0.0
    """0 if it is not known: nothing that needs it is checked then."""
    features: dict[str, Feature] = field(default_factory=dict)
    episodes: int | None = None
    frames: int | None = None
    tasks: int | None = None
    files_per_chunk: int = FILES_PER_CHUNK
    splits: Mapping[str, Any] = field(default_factory=dict)
    data: str = DATA
    video: str = VIDEO

    @property
    def numeric(self) -> dict[str, Feature]:
        """The features that are numbers in the data files."""
        return {k: f for k, f in self.features.items() if f.dtype not in _STATISTICLESS}

    @property
    def videos(self) -> dict[str, Feature]:
        """The features that are videos."""
        return {k: f for k, f in self.features.items() if f.dtype == "video"}

    def data_file(self, place: Place) -> Path:
        """A data file's path."""
        return self.root / place.path(self.data)

    def video_file(self, key: str, place: Place) -> Path:
        """A video's path."""
        return self.root / place.path(self.video, key)


def read_json(path: Path, findings: Findings) -> Any:
    """A JSON file, or None and a finding."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            findings.add("json-unreadable", path.name, f"larger than {LARGEST_JSON} bytes.")
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        findings.add("json-unreadable", path.name, f"{type(error).__name__}: {error}")
        return None


def read_claims(root: Path, findings: Findings) -> Claims:
    """info.json, checked field by field."""
    claims = Claims(root)
    info = read_json(root / INFO, findings)
    if info is None:
        return claims
    if not isinstance(info, dict):
        findings.add("info-field", INFO, f"it holds a {type(info).__name__}, not an object.")
        return claims
    for name in sorted(_FIELDS.keys() - info.keys() - _OPTIONAL):
        findings.add("info-field", INFO, f"there is no {name!r}.")
    for name in sorted(info.keys() - _FIELDS.keys()):
        findings.add("json-field", INFO, f"{name!r} means nothing to readers.")
    for name in sorted(_FIELDS.keys() & info.keys()):
        wanted, fits = _FIELDS[name]
        if not fits(info[name]):
            findings.add("info-field", INFO, f"{name!r} is {_short(info[name])}, not {wanted}.")
            info[name] = None
    claims.version = str(info.get("codebase_version") or "?")[:20]
    if not re.fullmatch(r"v3\.\d+", claims.version):
        findings.add("info-version", INFO, f"codebase_version is {claims.version!r}.")
    claims.fps = float(info.get("fps") or 0.0)
    claims.episodes, claims.frames = info.get("total_episodes"), info.get("total_frames")
    claims.tasks, claims.splits = info.get("total_tasks"), info.get("splits") or {}
    claims.files_per_chunk = info.get("chunks_size") or FILES_PER_CHUNK
    claims.features = _features(info.get("features") or {}, findings)
    for name, keys in (("data_path", _PLACE_KEYS), ("video_path", {"video_key", *_PLACE_KEYS})):
        template = info.get(name)
        if template is not None and not _safe(template, keys):
            findings.add("info-template", INFO, f"{name} {_short(template)} cannot be followed.")
        elif template is not None:
            setattr(claims, name.removesuffix("_path"), template)
    if claims.videos and not info.get("video_path"):
        findings.add("info-template", INFO, "there are videos, but no video_path.")
    return claims


def check_splits(claims: Claims, episodes: int, findings: Findings) -> None:
    """Splits are disjoint half-open ranges of existing episodes."""
    taken: list[tuple[int, int, str]] = []
    for name, text in claims.splits.items():
        match = re.fullmatch(r"(\d{1,18}):(\d{1,18})", str(text))
        if not match or not int(match[1]) <= int(match[2]) <= episodes:
            findings.add("info-splits", INFO, f"{name!r} is {_short(text)} of {episodes} episodes.")
            continue
        taken.append((int(match[1]), int(match[2]), str(name)))
    for (_, end, one), (start, _, other) in zip(sorted(taken), sorted(taken)[1:], strict=False):
        if start < end:
            findings.add("info-splits", INFO, f"{one!r} and {other!r} share episode {start}.")


def read_tasks(claims: Claims, findings: Findings) -> list[str] | None:
    """The instructions in the order of their index; None if they cannot be read."""
    try:
        table = pq.read_table(claims.root / TASKS, memory_map=False)
        named = [name for name in ("task", "__index_level_0__") if name in table.column_names]
        tasks = [str(task) for task in table.column(named[0] if named else "task").to_pylist()]
        indices = table.column("task_index").to_pylist()
    except FileNotFoundError:
        findings.add("file-missing", TASKS, "there is no table of tasks.")
        return None
    except DAMAGED as error:
        findings.add("file-unreadable", TASKS, f"{type(error).__name__}: {error}")
        return None
    if indices != list(range(len(tasks))):
        findings.add("tasks-order", TASKS, f"task_index is {_short(indices)}: readers go by row.")
    if claims.tasks is not None and claims.tasks != len(tasks):
        findings.add("info-totals", INFO, f"{claims.tasks} tasks; the table has {len(tasks)}.")
    for task in sorted(task for task, count in Counter(tasks).items() if count > 1):
        findings.add("tasks-duplicate", TASKS, f"{_short(task)} has two indices.")
    return tasks


def _features(plain: Mapping[str, Any], findings: Findings) -> dict[str, Feature]:
    found: dict[str, Feature] = {}
    for key, entry in plain.items():
        feature = _feature(key, entry, findings)
        if feature is not None:
            found[key] = feature
    for key, dtype in BOOKKEEPING.items():
        if key not in plain:
            findings.add("feature-missing", f"{INFO}: {key}", "every dataset has it.")
        elif key in found and (found[key].dtype, found[key].shape) != (dtype, (1,)):
            message = f"it is {found[key].dtype} {list(found[key].shape)}, not {dtype} [1]."
            findings.add("feature-malformed", f"{INFO}: {key}", message)
    return found


def _feature(key: str, entry: Any, findings: Findings) -> Feature | None:
    where = f"{INFO}: {key[:80]}"
    dtype = entry.get("dtype") if isinstance(entry, dict) else None
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or not 1 <= len(shape) <= 5 or not all(map(_side, shape)):
        findings.add("feature-malformed", where, f"its shape is {_short(shape)}.")
        return None
    if not isinstance(dtype, str) or not _known(dtype):
        findings.add("feature-malformed", where, f"its dtype is {_short(dtype)}.")
        return None
    if not key.strip(".") or {"/", "\\", "\0"} & set(key):
        findings.add("feature-malformed", where, "its name may hold no slash, nor be empty.")
        return None
    picture = dtype in {"image", "video"}
    if picture and len(shape) != 3:
        findings.add("feature-malformed", where, f"a picture of shape {shape}.")
        return None
    names, info = entry.get("names"), entry.get("info")
    flat = _entries(names)
    if picture and flat is None:
        findings.add("feature-unnamed", where, "readers cannot tell height, width and channels.")
    elif flat is not None and len(shape) in {1, 3} and len(flat) != (3 if picture else shape[0]):
        findings.add("feature-names", where, f"{len(flat)} names for the shape {shape}.")
    return Feature(
        dtype=dtype,
        shape=tuple(shape),
        names=flat,
        info=info if isinstance(info, dict) else {},
    )


def _entries(names: Any) -> list[str] | None:
    """Names of entries: a list, or a mapping of axes to lists; None if there are none."""
    if isinstance(names, dict):
        lists = [value for value in names.values() if isinstance(value, list)]
        return [str(name) for value in lists for name in value] if lists else None
    return [str(name) for name in names] if isinstance(names, list) else None


def _known(dtype: str) -> bool:
    try:
        arrow_scalar(dtype)
    except ValueError:
        return dtype in _STATISTICLESS
    return True


def _side(value: Any) -> bool:
    return _whole(value) and 1 <= value <= _LARGEST_SIDE


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _safe(template: str, allowed: set[str]) -> bool:
    """True if it names all of its keys plainly, and a place inside the dataset."""
    keys = set(_PLACEHOLDER.findall(template))
    rest = _PLACEHOLDER.sub("0", template)
    inside = not template.startswith("/") and ".." not in Path(template).parts
    return keys == allowed and inside and not {"{", "}", "\\", "\0"} & set(rest)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_PLACE_KEYS = {"chunk_index", "file_index"}
_FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "codebase_version": ("a version", lambda v: isinstance(v, str)),
    "fps": (
        "a number over 0",
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 < v <= 1e5,
    ),
    "features": ("an object", lambda v: isinstance(v, dict) and len(v) <= 10_000),
    "total_episodes": ("a count", _whole),
    "total_frames": ("a count", _whole),
    "total_tasks": ("a count", _whole),
    "chunks_size": ("a count over 0", lambda v: _whole(v) and v > 0),
    "data_files_size_in_mb": ("a size over 0", lambda v: isinstance(v, int | float) and v > 0),
    "video_files_size_in_mb": ("a size over 0", lambda v: isinstance(v, int | float) and v > 0),
    "data_path": ("a path", lambda v: isinstance(v, str) and len(v) < 300),
    "video_path": ("a path or null", lambda v: v is None or (isinstance(v, str) and len(v) < 300)),
    "robot_type": ("a name or null", lambda v: v is None or isinstance(v, str)),
    "splits": ("an object", lambda v: isinstance(v, dict)),
    "tools": ("a list or null", lambda v: v is None or isinstance(v, list)),
}
