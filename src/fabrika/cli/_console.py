"""What a person or a script sees: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from fabrika._result import Result


def answer(text: str) -> None:
    """A line of data, to stdout."""
    click.echo(text)


def say(text: str) -> None:
    """A line for the person who waits, to stderr."""
    click.echo(text, err=True)


def emit(data: Any) -> None:
    """One JSON document, to stdout."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def _console() -> Console:
    # rich itself respects NO_COLOR and TERM; a pipe gets plain text that is wide enough.
    from rich.console import Console

    stream = sys.stdout
    width = None if stream.isatty() else 10_000
    return Console(file=stream, width=width, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table, to stdout."""
    from rich import box
    from rich.table import Table

    edges = box.SIMPLE if sys.stdout.isatty() else None
    grid = Table(*columns, title=title or None, box=edges, title_justify="left")
    for row in rows:
        grid.add_row(*[_escape(str(cell)) for cell in row])
    _console().print(grid)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def counted(number: int, thing: str) -> str:
    """ "1 finding", "2 findings"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def duration(seconds: float) -> str:
    """Seconds as a person says them: "42 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def reasons_in_words(reasons: Mapping[str, int], most: int = 4) -> str:
    """Reason codes with their counts, the commonest first."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{code} {count}" for code, count in ordered[:most])
    return shown + (f", {len(ordered) - most} more" if len(ordered) > most else "")


class Meter(AbstractContextManager["Meter"]):
    """Progress on stderr: a live line on a terminal, else a line now and then.

    ``total`` is a number of things; ``skip`` of them were there before and cost no time.
    """

    def __init__(self, title: str, total: float, skip: float = 0, every: float = 15.0) -> None:
        self.title, self.total, self.done = title, total, 0.0
        self._skip, self._every = skip, every
        self._start = self._spoke = time.monotonic()
        self._live = sys.stderr.isatty()
        self._note = ""

    def update(self, done: float, note: str = "") -> None:
        """Say how far it is, and what there is to say about it."""
        self.done, self._note = done, note
        now = time.monotonic()
        if now - self._spoke < (0.2 if self._live else self._every):
            return
        self._spoke = now
        self._print(now)

    def _print(self, now: float) -> None:
        speed = (self.done - self._skip) / max(now - self._start, 1e-9)
        left = f"{duration((self.total - self.done) / speed)} left" if speed > 0 else "starting"
        line = f"{self.title}: {self.done:.0f} of {self.total:.0f}, {left}"
        line += f"; {self._note}" if self._note else ""
        if self._live:
            click.echo(f"\r\x1b[2K{line[: _columns()]}", err=True, nl=False)
        else:
            say(line)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            click.echo("\r\x1b[2K", err=True, nl=False)
        if kind and not self.total:
            return  # it had not begun
        took = duration(time.monotonic() - self._start)
        how = "done" if kind is None else "stopped"
        note = f"; {self._note}" if self._note else ""
        say(f"{self.title}: {how}, {self.done:.0f} of {self.total:.0f} in {took}{note}")


def _columns() -> int:
    """Columns of the terminal, less one so that a line never wraps."""
    return shutil.get_terminal_size().columns - 1


class Tally:
    """Counts results as they come and keeps a meter going: yield and reasons for rejection."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.tried = self.passed = 0
        self.reasons: Counter[str] = Counter()

    def __call__(self, result: Result) -> None:
        """Count one result."""
        self.tried += 1
        if result.accepted:
            self.passed += 1
        else:
            self.reasons[result.reason] += 1
        note = f"{self.passed} of {self.tried} passed ({self.passed / self.tried:.0%})"
        if self.reasons:
            note += f"; {reasons_in_words(self.reasons)}"
        self.meter.update(self.meter.done + 1, note)
