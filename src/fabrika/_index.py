"""The index of a store: one row for each scenario, and a lease on each that is being run.

One SQLite file in rollback-journal mode with ``synchronous=EXTRA``: a commit outlives a power
loss (the write-ahead log has lost data in some versions of SQLite, and needs shared memory, which
no cluster file system has). All that a coordinator does is one transaction, a `turn`: publish what
came back, drop the leases of the dead, lease what is to be run next. Three laws hold whatever
dies, and however often anything is run:

- a scenario has one row at most, and a row is never changed;
- a row is published only by who holds the lease, with the *token* that came with it: tokens are
  never used twice, so who was taken for dead, and wakes, publishes nothing;
- what is not published and not leased by the living can be leased.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from fabrika._disk import disk_errors, fail_point, sha256
from fabrika._errors import BusyError, IntegrityError
from fabrika._result import Result

PATIENCE = 20.0
"""How long a transaction waits for another's [s]."""
OWED = "owed"
"""The copy that names scenarios which a repair took out and has still to make again."""
_BATCH = 256
"""Rows that are read at once."""

PAGE = 16384
"""Bytes in a page of the file: of SQLite's usual 4096, a row of a home task takes a page alone."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    position INTEGER PRIMARY KEY, result TEXT NOT NULL, checksum TEXT NOT NULL,
    reason TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_reason ON results (reason);
CREATE TABLE IF NOT EXISTS leases (
    token INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER UNIQUE NOT NULL, owner TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS copies (
    name TEXT PRIMARY KEY, content TEXT NOT NULL);
"""


@dataclass(slots=True)
class Turn:
    """What one transaction settled."""

    published: list[Result] = field(default_factory=list)
    """Results that are on disk now, by this turn."""
    present: list[Result] = field(default_factory=list)
    """Results of wanted scenarios that others had published."""
    fenced: list[int] = field(default_factory=list)
    """Scenarios whose lease was lost before their result came: it was dropped."""
    leased: dict[int, int] = field(default_factory=dict)
    """Scenarios to be run, each with its token."""
    elsewhere: list[int] = field(default_factory=list)
    """Scenarios that were asked for, and that others run."""


class Index:
    """The rows and leases of one store."""

    def __init__(self, database: sqlite3.Connection, where: Path | str) -> None:
        self.where = where
        self._database = database
        columns = "SELECT name FROM pragma_table_info('results')"
        self._narrow = ("reason",) not in self._ask(columns)  # a store of format 1.0

    @classmethod
    def create(cls, path: Path, copies: dict[str, str]) -> Index:
        """A new index, or what a dead process had made of one. ``copies``: texts to keep a copy of.

        Raises `OSError` and `sqlite3.OperationalError`.
        """
        with closing(_connect(path.as_posix(), uri=False)) as database:
            database.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            for name, content in copies.items():
                database.execute("INSERT OR REPLACE INTO copies VALUES (?, ?)", (name, content))
            database.execute("COMMIT")
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Index:
        """An existing index. Raises `IntegrityError` if it is not there or is none."""
        try:  # never create: an empty index would read as a run without results
            return cls(_connect(f"{path.resolve().as_uri()}?mode=rw", uri=True), path)
        except sqlite3.DatabaseError as error:
            raise IntegrityError(f"{path} cannot be opened: {error}.") from error

    @classmethod
    def memory(cls) -> Index:
        """An index that ends with the process."""
        database = _connect(":memory:", uri=False)
        for statement in _SCHEMA.split(";"):
            database.execute(statement)
        return cls(database, "memory")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # -- read ----------------------------------------------------------------------------

    def rows(self, first: int = 0, last: int = 1 << 62) -> Iterator[Result]:
        """The results of scenarios ``first`` to ``last``, in their order, one at a time.

        Between batches no lock is held: however slow its reader, no writer has to wait for it.
        """
        where, size = "WHERE position BETWEEN ? AND ? ORDER BY position LIMIT ?", 1
        while batch := list(self._select(where, first, last, size)):
            yield from batch
            first, size = batch[-1].index + 1, _BATCH

    def row(self, position: int) -> Result | None:
        """The result of one scenario, if there is one."""
        return next(self._select("WHERE position = ?", position), None)

    def positions(self) -> list[int]:
        """The scenarios that have a result, in order; their rows are not read."""
        return sorted(row[0] for row in self._ask("SELECT position FROM results"))  # by_reason

    def count(self) -> Counter[str]:
        """How many results there are, by reason; their rows are not read."""
        reason = "json_extract(result, '$.reason')" if self._narrow else "reason"
        return Counter(dict(self._ask(f"SELECT {reason}, count(*) FROM results GROUP BY 1")))

    def copy(self, name: str) -> str | None:
        """The copy of a text that `create` was given, if this index is new enough to have any."""
        if not self._ask("SELECT 1 FROM sqlite_master WHERE name = 'copies'"):
            return None
        found = self._ask("SELECT content FROM copies WHERE name = ?", name)
        return str(found[0][0]) if found else None

    def owed(self) -> set[int]:
        """Scenarios that were lost with a broken index, and have not been made again yet."""
        text = self.copy(OWED)
        try:
            return set(map(int, json.loads(text or "[]"))) - set(self.positions())
        except (ValueError, TypeError) as error:
            raise IntegrityError(f"{self.where} cannot be read: {error}.") from error

    def damage(self) -> list[str]:
        """What SQLite's own check of its pages finds; empty if nothing."""
        found = [str(row[0]) for row in self._ask("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    def salvage(self, wanted: Iterable[int] | None = None) -> Iterator[tuple[int, Result | None]]:
        """Every row, or those wanted, as far as they can be read; None for one that was altered."""
        select = "SELECT position, CAST(result AS BLOB), checksum FROM results"
        read = self._database.execute
        each = f"{select} WHERE position = ?"
        try:
            found: Iterable[Any] = (
                read(f"{select} NOT INDEXED")
                if wanted is None
                else chain.from_iterable(read(each, (position,)) for position in wanted)
            )
            for position, text, checksum in found:  # bytes: it may be no text now
                result = None
                with suppress(IntegrityError, UnicodeDecodeError, AttributeError):
                    result = _result(text.decode(), checksum)
                yield int(position), result
        except (sqlite3.DatabaseError, ValueError, TypeError):  # whatever comes after is lost
            return

    def owners(self) -> set[str]:
        """Who holds leases."""
        return {row[0] for row in self._ask("SELECT DISTINCT owner FROM leases")}

    # -- write ---------------------------------------------------------------------------

    def turn(
        self,
        owner: str,
        *,
        done: Collection[tuple[Result, int]] = (),
        dead: Collection[str] = (),
        wanted: Iterable[int] = (),
        room: int = 0,
    ) -> Turn:
        """Publish results with their tokens, free what the dead held, lease up to ``room`` more.

        ``wanted`` is gone through until there is no more room. All of it happens, or nothing.
        Raises `IntegrityError` if a scenario has another result already, `ResourceError` if the
        disk is full, `BusyError` if another transaction does not end.
        """
        turn = Turn()
        with self._transaction():
            for result, token in done:
                self._publish(owner, result, token, turn)
            for name in dead:
                self._database.execute("DELETE FROM leases WHERE owner = ?", (name,))
            for position in wanted if room else ():
                self._lease(owner, position, turn)
                if len(turn.leased) >= room:
                    break
        return turn

    def release(self, owner: str) -> None:
        """Give back all leases of an owner that ends."""
        with self._transaction():
            self._database.execute("DELETE FROM leases WHERE owner = ?", (owner,))

    def add(self, results: Sequence[Result]) -> None:
        """Publish results without a lease: of who is alone in the store, or brings them ready.

        Adding an equal result again changes nothing. Raises as `turn` does.
        """
        with self._transaction():
            for result in results:
                if not self._same(result):
                    self._insert(result)

    def _publish(self, owner: str, result: Result, token: int, turn: Turn) -> None:
        mine = (token, result.index, owner)
        held = "DELETE FROM leases WHERE token = ? AND position = ? AND owner = ?"
        if self._same(result):  # others were faster: equal scenarios gave equal episodes
            self._database.execute(held, mine)
            turn.published.append(result)
        elif self._database.execute(held, mine).rowcount:
            self._insert(result)
            turn.published.append(result)
        else:
            turn.fenced.append(result.index)

    def _lease(self, owner: str, position: int, turn: Turn) -> None:
        present = self.row(position)
        if present:
            turn.present.append(present)
            return
        cursor = self._database.execute(
            "INSERT INTO leases (position, owner) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (position, owner),
        )
        if cursor.rowcount:
            turn.leased[position] = int(cursor.lastrowid or 0)
        else:
            turn.elsewhere.append(position)

    def _same(self, result: Result) -> bool:
        """True if the scenario has this very result already."""
        present = self.row(result.index)
        if present and present.to_json(timed=False) != result.to_json(timed=False):
            raise IntegrityError(
                f"scenario {result.index} is in {self.where} with another result: equal scenarios "
                "must give equal episodes. Was the task, or the actor, changed?"
            )
        return present is not None

    def _insert(self, result: Result) -> None:
        text = result.to_json()
        row = (result.index, text, sha256(text.encode()), result.reason)
        self._database.execute("INSERT INTO results VALUES (?, ?, ?, ?)", row)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, and flushed to disk at the end."""
        with disk_errors(Path(self.where)):
            try:
                self._database.execute("BEGIN IMMEDIATE")
                fail_point("turn/begun")
                try:
                    yield
                    fail_point("turn/written")
                    self._database.execute("COMMIT")
                except BaseException:
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")
                    raise
            except sqlite3.OperationalError as error:
                if "locked" in str(error):  # at its begin by a writer, at its end by a reader
                    raise BusyError(
                        f"another process has been at work in {self.where} for {PATIENCE:.0f} s. "
                        "Is it stopped? Let it go on, or end it."
                    ) from error
                raise
            except sqlite3.DatabaseError as error:
                raise IntegrityError(f"{self.where} cannot be written: {error}.") from error
            fail_point("turn/committed")

    def _ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(question, values).fetchall()
        except sqlite3.DatabaseError as error:
            kind = BusyError if "locked" in str(error) else IntegrityError
            raise kind(f"{self.where} cannot be read: {error}.") from error

    def _select(self, where: str, *values: object) -> Iterator[Result]:
        question = f"SELECT position, result, checksum FROM results {where}"
        for position, text, checksum in self._ask(question, *values):
            result = _result(text, checksum)
            if result is None or result.index != position:
                raise IntegrityError(f"row {position} of {self.where} is not what was written.")
            yield result


def _result(text: object, checksum: object) -> Result | None:
    if not isinstance(text, str) or sha256(text.encode()) != checksum:
        return None
    return Result.from_json(text)


def _connect(place: str, *, uri: bool) -> sqlite3.Connection:
    database = sqlite3.connect(place, uri=uri, isolation_level=None, timeout=PATIENCE)
    database.execute("PRAGMA trusted_schema=OFF")  # the file may be a stranger's
    database.execute("PRAGMA synchronous=EXTRA")
    database.execute(f"PRAGMA page_size={PAGE}")  # of a file that is new; others keep theirs
    return database
