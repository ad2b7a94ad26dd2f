"""The ledger: one row for each run, in a file of its own: ``FOLDER/ledger/START-ABCD1234.json``.

A row is written whole (staged, flushed, renamed) and carries a checksum. While the work goes on,
its writer replaces it with newer figures, so that a run that is killed has its row too. Nothing is
ever appended, and no run changes the row of another.

A row counts what no row inside it counts: if one account is opened within another, the outer row
has only the rest. So the sum over any rows is true, and there is no rule to remember.
"""

from __future__ import annotations

import json
import os
import platform
import pwd
import resource
import shlex
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fabrika._disk import disk_errors, make_folder, sha256, write_whole
from fabrika._energy import EnergyMeter
from fabrika._errors import IntegrityError, ResourceError, VersionError, in_words
from fabrika._result import Result
from fabrika._signals import Array

FORMAT = 1
"""Version of a row's file. Read: this one. Written: this one."""
RENEW_SECONDS = 10.0
"""A row is replaced this often while its work goes on: a killed run loses no more [s]."""
COSTS = ("wall_seconds", "cpu_seconds", "gpu_seconds", "joules")
COUNTS = ("sim_seconds", "episodes_tried", "episodes_accepted", "episodes_void")

Outcome = Literal["running", "done", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one run cost and made, without what the rows inside it say."""

    start: datetime
    """UTC."""
    end: datetime
    """``start`` and what the monotonic clock measured: a clock that is set changes nothing. Of a
    row that is running, or was killed: when it was last written."""
    machine: str
    stage: str
    outcome: Outcome = "running"
    """"running" is also what a killed run leaves."""
    user: str
    command: str
    task: str = ""
    actor: str = ""
    split: str = ""
    scenarios: str = ""
    """What it set out to run, as ranges: "0-7,12". What was stored before is not among them."""
    workers: int = 1
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of the process and its children; of the results, if that is more: they may have come from
    other machines [s]."""
    gpu_seconds: float = 0.0
    """Wall time on GPUs, times their number [s]."""
    joules: float | None = None
    """Of the whole processor package; None if the machine does not say [J]."""
    sim_seconds: float = 0.0
    episodes_tried: int = 0
    episodes_accepted: int = 0
    episodes_void: int = 0

    def columns(self) -> dict[str, Any]:
        """The row under its published names: those of FOCUS first, then our own, with ``x_``."""
        own = {_column(field.name): getattr(self, field.name) for field in fields(self)}
        focus = {**_CONSTANT, **{name: own.pop(name) for name in _FOCUS.values()}}
        for name in ("ChargePeriodStart", "ChargePeriodEnd"):
            focus[name] = focus[name].strftime("%Y-%m-%dT%H:%M:%SZ")
        return {**dict(sorted(focus.items())), **own}


_FOCUS = {
    "start": "ChargePeriodStart",
    "end": "ChargePeriodEnd",
    "cpu_seconds": "ConsumedQuantity",
    "machine": "ResourceId",
}
_CONSTANT = {
    "ChargeCategory": "Usage",
    "ConsumedUnit": "Core-Seconds",
    "ResourceType": "Machine",
    "ServiceCategory": "AI and Machine Learning",
    "ServiceName": "Fabrika",
}


def _column(name: str) -> str:
    return _FOCUS.get(name, "x_" + "".join(part.capitalize() for part in name.split("_")))


def total(rows: Sequence[Row]) -> dict[str, float | None]:
    """Sums of costs and counts. None if a row has None: part of the joules is not the joules."""
    values = {name: [getattr(row, name) for row in rows] for name in COSTS + COUNTS}
    return {name: None if None in found else sum(found) for name, found in values.items()}


_OPEN: ContextVar[Entry | None] = ContextVar("open", default=None)
_LOCK = threading.RLock()  # one for all entries: an outer one reads those inside it


class Entry:
    """A row in the making: `account` opens and ends it."""

    def __init__(self, path: Path, row: Row) -> None:
        self._path, self._row = path, row
        self._began, self._cpu, self._meter = time.monotonic(), _cpu_seconds(), EnergyMeter()
        self._told_cpu = self._gpu = 0.0
        self._inside: list[Entry] = []
        self._final: Array | None = None

    def add(self, result: Result) -> None:
        """Count one result that this run made itself."""
        counts = (result.sim_seconds, 1, result.accepted, bool(result.void))
        with _LOCK:
            self._told_cpu += result.cpu_seconds
            sums = {n: getattr(self._row, n) + c for n, c in zip(COUNTS, counts, strict=True)}
            self._row = replace(self._row, **sums)

    def note(self, *, gpu_seconds: float) -> None:
        """Set the GPU seconds so far: wall time, times the number of devices."""
        with _LOCK:
            self._gpu = gpu_seconds

    def _spent(self) -> Array:
        """All costs so far, or at its end, of what is inside too. NaN: unknown."""
        if self._final is not None:
            return self._final
        inside = self._spent_inside()
        cpu = max(_cpu_seconds() - self._cpu, self._told_cpu + inside[1])
        joules = self._meter.joules()
        wall = time.monotonic() - self._began
        return np.array([wall, cpu, self._gpu + inside[2], np.nan if joules is None else joules])

    def _spent_inside(self) -> Array:
        return sum((entry._spent() for entry in self._inside), np.zeros(len(COSTS)))

    def write(self, outcome: Outcome) -> None:
        """Put the row on disk as it is now. Raises `ResourceError` if that cannot be done."""
        with _LOCK:
            inside, whole = self._spent_inside(), self._spent()
            own = np.maximum(whole - inside, 0.0).round(6).tolist()
            costs: dict[str, Any] = dict(zip(COSTS, own, strict=True))
            costs["joules"] = None if np.isnan(costs["joules"]) else costs["joules"]
            end = _next_second(self._row.start + timedelta(seconds=float(whole[0])))
            self._row = replace(self._row, outcome=outcome, end=end, **costs)
            self._final = None if outcome == "running" else whole
            columns = self._row.columns()
        form = {"format": FORMAT, "row": columns, "sha256": _checksum(self._path, columns)}
        with disk_errors(self._path):
            make_folder(self._path.parent)
            data = json.dumps(form, indent=2, allow_nan=False) + "\n"
            write_whole(self._path, data.encode(), "ledger")

    def renew(self, ended: threading.Event) -> None:
        """Keep the row on disk new until the work has ended."""
        while not ended.wait(RENEW_SECONDS):
            with suppress(ResourceError):  # the last write tells
                self.write("running")

    def open_inside(self, path: Path, row: Row) -> Entry:
        """An account within this one: of the same stage, and no longer counted here."""
        entry = Entry(path, replace(row, stage=self._row.stage))
        with _LOCK:
            self._inside.append(entry)
        return entry


@contextmanager
def account(
    folder: Path,
    *,
    stage: str,
    task: str = "",
    actor: str = "",
    split: str = "",
    asked: Iterable[int] = (),
    workers: int = 1,
) -> Iterator[Entry]:
    """One row in the ledger of ``folder`` for what happens inside, however it ends.

    Within another account it belongs to the same stage. CPU time is the whole process's, so
    accounts of one process come after or inside one another, never beside.

    Raises `ResourceError` if the row cannot be written.
    """
    outer, start = _OPEN.get(), datetime.now(UTC)
    path = folder / "ledger" / f"{start:%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:8]}.json"
    row = Row(
        start=start,
        end=start,
        machine=platform.node(),
        stage=stage,
        user=_user(),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        task=task,
        actor=actor,
        split=split,
        scenarios=_ranges(asked),
        workers=workers,
    )
    entry = outer.open_inside(path, row) if outer else Entry(path, row)
    entry.write("running")
    ended = threading.Event()
    renewal = threading.Thread(target=entry.renew, args=(ended,), daemon=True)
    renewal.start()
    token = _OPEN.set(entry)
    outcome: Outcome = "stopped"
    try:
        yield entry
        outcome = "done"
    finally:
        _OPEN.reset(token)
        ended.set()
        renewal.join()
        with suppress(
            *([] if outcome == "done" else [ResourceError])
        ):  # why it stopped comes first
            entry.write(outcome)


def row_files(folder: Path) -> list[Path]:
    """The files of all rows in a folder and the folders in it, oldest first."""
    return sorted(folder.glob("**/ledger/*.json"), key=lambda path: (path.name, path))


def read_ledger(folder: Path) -> list[Row]:
    """All rows in a folder and the folders in it, oldest first. Raises as `read_row` does."""
    return [read_row(path) for path in row_files(folder)]


def read_row(path: Path) -> Row:
    """One row. Raises `IntegrityError` if it is not what was written, `VersionError` if newer."""
    hint = "Restore it from a copy; or remove it, and the ledger goes on without it."
    try:
        form = json.loads(path.read_text())
        version, columns, checksum = form["format"], form["row"], form["sha256"]
        if version == FORMAT and checksum == _checksum(path, columns):
            found = {field.name: columns[_column(field.name)] for field in fields(Row)}
            times = {name: datetime.fromisoformat(found[name]) for name in ("start", "end")}
            return Row(**{**found, **times})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"{path} cannot be read ({in_words(error)}). {hint}") from error
    if version != FORMAT:
        raise VersionError(f"{path} has format {version}; this version of Fabrika reads {FORMAT}.")
    raise IntegrityError(f"{path} is not what was written: its checksum is another. {hint}")


def _checksum(path: Path, columns: dict[str, Any]) -> str:
    """SHA-256 of the row and of its name: a row that is copied does not become two."""
    text = json.dumps([path.stem, columns], sort_keys=True, separators=(",", ":"))
    return sha256(text.encode())


def _cpu_seconds() -> float:
    """Of this process, and of its children that have ended [s]."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in found)


def _user() -> str:
    """Who runs this, by the system and not by the environment, which says what one wants."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container without a name for it
        return str(os.getuid())


def _next_second(moment: datetime) -> datetime:
    """FOCUS knows no fractions, and a period does not include its end."""
    return (moment + timedelta(seconds=1)).replace(microsecond=0)


def _ranges(indices: Iterable[int]) -> str:
    """{0, 1, 2, 5} is "0-2,5"."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
