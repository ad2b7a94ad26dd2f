"""Laws of scale: what is asked of few rows reads few rows. Rows are counted, not seconds."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import fabrika._index
from fabrika import IntegrityError, Result, Store, UsageError
from fabrika._verify import verify_store
from fabrika.cli._find import find_episode
from test_core_store import EPISODES, MANIFEST

COUNT = 300
GOLDEN = Path(__file__).parent / "golden" / "store-1.0"
QUESTIONS = (
    "SELECT position FROM results",
    "SELECT reason, count(*) FROM results GROUP BY 1",
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with one real episode, and many rows beside it."""
    path = tmp_path / "s"
    with Store.create(path, MANIFEST) as opened:
        digest = opened.seal(EPISODES[0])
        model = replace(Result.judged(EPISODES[0]), digest=digest)
        rest = [replace(model, index=i, reason=f"r{i % 3}", digest="") for i in range(1, COUNT)]
        opened.index.add([model, *rest])
    return path


@contextmanager
def rows_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Counts the rows that are read, parsed and checked."""
    real, read = fabrika._index._result, [0]

    def counted(text: object, checksum: object) -> Result | None:
        read[0] += 1
        return real(text, checksum)

    with monkeypatch.context() as patch:
        patch.setattr(fabrika._index, "_result", counted)
        yield read


def test_what_concerns_few_rows_reads_few(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rows_read(monkeypatch) as read, Store.open(store) as opened:
        assert opened.count().total() == COUNT
        assert opened.index.positions() == list(range(COUNT))
        assert opened.missing(range(COUNT + 2)) == [COUNT, COUNT + 1]
        assert read == [0]
        assert opened.index.row(7)
        assert read == [1]
        assert len(list(opened.index.rows(100, 109))) == 10
        assert read == [11]
    with rows_read(monkeypatch) as read:
        digest = find_episode(f"{store}:0", "train", store)[1].digest
        assert find_episode(digest[:8], "train", store)[1].index == 0
        assert read == [2]
        with pytest.raises(UsageError, match=f"holds {COUNT}, from 0 to {COUNT - 1}"):
            find_episode(f"{store}:{COUNT}", "train", store)
        assert read == [2]


def test_a_commit_reads_no_other_rows(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.alone(store) as opened:
        model = next(opened.iterate())
        with rows_read(monkeypatch) as read:
            for index in range(COUNT, COUNT + 20):
                opened.commit(replace(model, index=index))
        assert read == [1]  # whose rows these are, once


def test_going_through_rows_reads_as_it_goes(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rows_read(monkeypatch) as read, Store.open(store) as opened:
        rows = opened.iterate()
        next(rows)
        assert read == [1]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_rows_themselves_are_not_touched(store: Path, question: str) -> None:
    """SQLite answers from the small index, and never opens the pages that hold the rows."""
    asked: list[str] = []
    with Store.open(store) as opened:
        opened.index._database.set_trace_callback(asked.append)
        opened.count(), opened.index.positions()
        opened.index._database.set_trace_callback(None)
        assert question in asked
        plan = opened.index._database.execute(f"EXPLAIN QUERY PLAN {question}").fetchall()
    assert [row[3] for row in plan] == ["SCAN results USING COVERING INDEX by_reason"]


def test_a_row_does_not_take_a_page_alone(tmp_path: Path) -> None:
    """A row of a home task is 2.3 kB: a page has room for seven."""
    with Store.create(tmp_path / "s", MANIFEST) as opened:
        model = replace(Result.judged(EPISODES[0]), remark="x" * 1500)
        assert 2200 < len(model.to_json()) < 2500
        opened.index.add([replace(model, index=index) for index in range(COUNT)])
    assert (tmp_path / "s" / "index.sqlite").stat().st_size < 3000 * COUNT


def test_a_store_of_the_first_format_is_counted_too(tmp_path: Path) -> None:
    with Store.open(GOLDEN) as opened:
        rows = opened.rows()
        assert opened.count().total() == len(rows) > 0
        assert opened.count()["passed"] == sum(row.reason == "passed" for row in rows)
        assert opened.index.positions() == [row.index for row in rows]


def test_a_sample_finds_damage_in_what_it_reads(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rows_read(monkeypatch) as read:
        assert verify_store(store, sample=20) == []
        assert read == [20]
    assert verify_store(store, sample=10 * COUNT) == []
    with sqlite3.connect(store / "index.sqlite") as database:
        database.execute("UPDATE results SET checksum = 'forged' WHERE position % 2")
    database.close()
    first, again, other = (verify_store(store, sample=20, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert {damage.code for damage in (*first, *other)} == {"row"}
    with Store.open(store) as opened:
        file = opened.object(next(opened.iterate()).digest)
        file.write_bytes(b"rotten")
        with pytest.raises(IntegrityError):
            opened.rows()
    assert "episode" in {damage.code for damage in verify_store(store, sample=COUNT)}
    file.unlink()
    assert "episode-missing" in {damage.code for damage in verify_store(store, sample=COUNT)}


def test_the_page_shows_what_the_script_prints() -> None:
    root = Path(__file__).resolve().parent.parent
    script = [sys.executable, str(root / "benchmarks" / "scale_paper.py")]
    told = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    page = (root / "docs" / "scale.md").read_text()
    assert page.split("<!-- paper -->\n```text\n")[1].split("```")[0] == told
