"""What a check of a dataset can find, by code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from fabrika._errors import UnknownNameError

Severity = Literal["error", "warning"]

_ERRORS = {
    "json-unreadable": "a JSON file is missing, is not JSON, or is far too large",
    "info-field": "a field of info.json is missing or of a wrong kind",
    "info-version": "the dataset is not of format v3.x",
    "info-template": "a path in info.json is not a LeRobot v3 template inside the dataset",
    "info-totals": "info.json counts other episodes, rows or tasks than there are",
    "info-splits": "the splits are not ranges of existing episodes, or they overlap",
    "feature-malformed": "a feature has an unknown type, an impossible shape, or a bad name",
    "feature-missing": "one of the five features that every dataset has is not declared",
    "feature-names": "a feature has another number of names than entries",
    "file-missing": "a file that the metadata name is not there",
    "file-stray": "a reader would load this file, but no episode lies in it",
    "file-unreadable": "a file is damaged: it ends early, or is not what its name says",
    "file-checksum": "a file is not what Fabrika's export wrote",
    "column-missing": "a declared feature has no column",
    "column-stray": "a column is not a declared feature",
    "column-type": "a column has another type than its feature declares",
    "value-shape": "rows are empty, or have another number of entries than declared",
    "not-finite": "a value is NaN or infinite",
    "row-index": "the column index does not count all rows from 0",
    "row-episode": "the column episode_index does not count the episodes from 0",
    "row-frame": "the column frame_index does not count an episode's rows from 0",
    "row-time": "a time stamp is not frame_index / fps",
    "row-task": "a task_index is no row of the table of tasks",
    "tasks-order": "the table of tasks is not in the order of task_index",
    "tasks-duplicate": "an instruction is in the table of tasks twice",
    "dataset-empty": "there is not one row",
    "episode-table": "the episode table lacks a column, or does not count from 0",
    "episode-length": "an episode has another number of rows than its length",
    "episode-range": "the row ranges of the episodes do not follow one another",
    "episode-place": "an episode does not lie in the data file that is named for it",
    "episode-tasks": "an episode names other tasks than its rows have",
    "episode-recovery": "what an episode recovered from has no times, or times outside of it",
    "episode-duplicate": "two episodes are the same, numbers and pictures",
    "language-type": "a language column is not a list of LeRobot's entries",
    "language-words": "words are out of order, outside of their episode, or change within it",
    "video-frames": "a video holds more or fewer pictures than its episodes have rows",
    "video-time": "a picture is not shown at frame / fps",
    "video-range": "the video ranges of the episodes do not follow one another",
    "video-pixels": "a video shows other pictures than the export encoded",
    "video-size": "a video is not of the declared size",
    "video-black": "a camera shows nothing but black for a whole episode",
    "picture-unreadable": "a stored picture cannot be decoded, or is not of the declared size",
    "stats-missing": "a feature has no statistics, or not all of them",
    "stats-shape": "statistics are not numbers of the shape of their feature",
    "stats-value": "min, max, mean, std or count are not those of the data",
    "stats-quantile": "a quantile is one that the data cannot have",
}
_WARNINGS = {
    "json-field": "info.json has a field that readers do not know",
    "file-video-stray": "a video that no episode names",
    "task-unused": "an instruction that no row has",
    "row-groups": "a data file does not have one row group for each episode: slow to read",
    "feature-unnamed": "a picture feature does not name its axes",
    "video-info": "a video is not encoded as info.json says",
    "video-frozen": "a camera shows one unchanging picture for a whole episode",
    "stats-missing-quantiles": "the statistics have no quantiles",
    "stats-envelope": "quantiles are not those of all data, but extremes over episodes",
    "action-constant": "an entry of the action never changes",
    "fingers-still": "a finger or gripper never moves",
    "action-next-state": "the action is the next state: not what was commanded",
    "action-state": "the action is the state of the same moment",
    "episode-short": "an episode has a single row",
}
CODES: Mapping[str, str] = _ERRORS | _WARNINGS
"""What every code means. Codes are published: scripts may rely on them."""

_SHOWN = 10
"""Findings of one code that are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with a dataset."""

    code: str
    """One of `CODES`."""
    where: str
    """File, feature, episode, row."""
    message: str
    severity: Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check of a dataset found."""

    format: str
    """"LeRobot v3.0": what the dataset says that it is."""
    episodes: int
    """Episodes that were found, whatever the metadata claim."""
    frames: int
    """Rows that were found."""
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True if nothing worse than warnings was found."""
        return not any(finding.severity == "error" for finding in self.findings)

    def to_plain(self) -> dict[str, Any]:
        """The report as plain data, ready for JSON."""
        return {"ok": self.ok, **asdict(self), "findings": [asdict(f) for f in self.findings]}


class Findings:
    """Collects findings; more than a few of one code are counted, not kept."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._seen: Counter[str] = Counter()

    def add(self, code: str, where: str | Path, message: str) -> None:
        """One finding. ``code`` is one of `CODES`."""
        if code not in CODES:
            raise UnknownNameError("code of a finding", code, CODES)
        self._seen[code] += 1
        if self._seen[code] <= _SHOWN:
            self._kept.append(_finding(code, str(where)[:300], message[:500]))

    def __contains__(self, code: str) -> bool:
        return code in self._seen

    def all(self) -> tuple[Finding, ...]:
        """Errors first, in the order in which they were found."""
        more = [
            _finding(code, "and elsewhere", f"{count - _SHOWN} more of the same kind.")
            for code, count in self._seen.items()
            if count > _SHOWN
        ]
        return tuple(sorted([*self._kept, *more], key=lambda f: f.severity != "error"))


def _finding(code: str, where: str, message: str) -> Finding:
    severity: Severity = "error" if code in _ERRORS else "warning"
    return Finding(code=code, where=where, message=message, severity=severity)
