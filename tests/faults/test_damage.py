"""Laws of bit rot: every damage to every kind of file is found, and mended without any loss."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fabrika import BusyError, IntegrityError, Result, Store, run_scenarios
from fabrika._index import Index
from fabrika._pool import Job
from fabrika._repair import Repaired, repair_store
from fabrika._station import Station
from fabrika._store import seal_bytes
from fabrika._verify import Damage, verify_store
from faults import forget

TASK, COUNT = "faults/diverges-v1", 7
"""Two of its scenarios are void: a row without an episode."""
DAMAGES = {"small": 200, "release": 5000}
PARTS = 4


@pytest.fixture
def store(faults: None, tmp_path: Path) -> Path:
    """A sound store, written in two runs."""
    path = tmp_path / "sound"
    for count in (4, COUNT):
        run_scenarios(TASK, "expert", "train", range(count), store=path)
    assert verify_store(path) == []
    return path


def again(store: Store, wanted: list[int]) -> list[Result]:
    job = Job(task=TASK, actor="expert", split="train", store=store.path)
    station = Station(job)
    return [station.run(index) for index in wanted]


def mend(path: Path) -> Repaired:
    return repair_store(path, run=again)


def files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


def flip(path: Path, chance: random.Random) -> None:
    file = chance.choice([file for file in files(path) if file.stat().st_size])
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def truncate(path: Path, chance: random.Random) -> None:
    file = chance.choice([file for file in files(path) if file.stat().st_size])
    file.write_bytes(file.read_bytes()[: chance.randrange(file.stat().st_size)])


def delete(path: Path, chance: random.Random) -> None:
    chance.choice(files(path)).unlink()


def swap(path: Path, chance: random.Random) -> None:
    one, two = chance.sample(files(path), 2)
    one.rename(path / "aside")
    two.rename(one)
    (path / "aside").rename(two)


def said(path: Path) -> tuple[str, dict[str, object], list[bytes]]:
    """All that a store says: its rows, its manifest, its episodes."""
    with Store.open(path) as store:
        episodes = [store.object(row.digest).read_bytes() for row in store.rows() if row.digest]
        copy = store.index.copy("manifest")
        return store.digest(), {**store.manifest, "copy": copy}, episodes


@pytest.mark.parametrize("part", range(PARTS))
def test_all_damage_is_found_and_mended(store: Path, tmp_path: Path, part: int, tier: str) -> None:
    whole, found = said(store), 0
    for number in range(part, DAMAGES[tier], PARTS):
        chance = random.Random(number)
        path = tmp_path / str(number)
        shutil.copytree(store, path)
        damage = (flip, truncate, delete, swap)[number // PARTS % 4]
        damage(path, chance)
        findings = verify_store(path)
        what = f"damage {number}: {damage.__name__}"
        # A bit in the unused part of a page of the index is no damage: the store says the same.
        assert findings or said(path) == whole, f"{what} was not found"
        found += bool(findings)
        untouched = {f for f in files(store / "objects") if _same(f, path / f.relative_to(store))}
        done = mend(path)
        assert verify_store(path) == [], f"{what} was not mended"
        assert said(path) == whole, f"{what} left another store"
        lost = {name for name in done.lost if not name.startswith("ledger")}
        assert not lost and len(done.regenerated) <= (3 if _index(findings) else 1)
        assert done.kept >= len(untouched)
        shutil.rmtree(path)
    assert found > 0.8 * DAMAGES[tier] / PARTS


def _index(findings: list[Damage]) -> bool:
    """Void rollouts are in the index alone, so two more have to be made again."""
    return any(damage.code == "index" for damage in findings)


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def test_a_sound_store_is_left_as_it_is(store: Path) -> None:
    before = {file: file.read_bytes() for file in files(store)}
    done = mend(store)
    assert not (done.damage or done.regenerated or done.renamed or done.lost or done.damaged)
    assert done.kept == 5
    assert {file: file.read_bytes() for file in files(store)} == before


def test_what_is_taken_out_is_kept(store: Path) -> None:
    file = next(f for f in files(store) if f.suffix == ".npz")
    file.write_bytes(b"rotten")
    done = mend(store)
    assert [f.read_bytes() for f in files(Path(done.damaged))] == [b"rotten"]
    assert len(done.regenerated) == 1 and verify_store(store) == []


def test_a_forged_row_is_not_made_true(store: Path) -> None:
    """A row with a right checksum, of an episode that never was."""
    with Store.alone(store) as opened:
        row = opened.rows()[0]
        forget(opened, row.index)
        forged = Result.from_json(row.to_json().replace(row.digest, "ab" * 32))
        opened.index.add([forged])
    assert [damage.code for damage in verify_store(store)] == ["episode-missing"]
    with pytest.raises(IntegrityError, match="came out otherwise"):
        mend(store)


def test_a_store_without_manifest_and_copy_cannot_be_mended(store: Path) -> None:
    (store / "manifest.json").write_text("{}")
    with sqlite3.connect(store / "index.sqlite") as database:
        database.execute("DELETE FROM copies")
    database.close()
    with pytest.raises(IntegrityError, match="cannot be mended"):
        mend(store)


def test_a_repair_that_was_cut_short_is_gone_on_with(store: Path) -> None:
    """A scenario whose row and episode are both gone is owed until it is made again."""
    with Store.open(store) as opened:
        before, row = opened.digest(), next(row for row in opened.rows() if row.digest)
        opened.object(row.digest).unlink()
    with sqlite3.connect(store / "index.sqlite") as database:
        database.execute("UPDATE results SET checksum = '' WHERE position = ?", (row.index,))
    database.close()
    shutil.rmtree(store / "ledger")  # which would have told, too

    def cut(_: Store, wanted: list[int]) -> list[Result]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repair_store(store, run=cut)
    assert [damage.where for damage in verify_store(store)] == [f"scenario {row.index}"]
    assert mend(store).regenerated == [row.index] and verify_store(store) == []
    with Store.open(store) as opened:
        assert opened.digest() == before


def test_a_sound_index_of_yesterday_is_found(store: Path) -> None:
    with Store.alone(store) as opened:
        before = opened.digest()
        forget(opened, COUNT - 1)
    assert [damage.code for damage in verify_store(store)] == ["row"]
    mend(store)
    with Store.open(store) as opened:
        assert opened.digest() == before and verify_store(store) == []


def test_a_link_is_found_and_nothing_outside_is_touched(store: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(store / "objects", outside)
    (outside / "precious").write_text("mine")
    folder = next(f for f in (store / "objects").iterdir() if any(f.iterdir()))
    shutil.rmtree(folder)
    folder.symlink_to(outside / folder.name)
    assert "stray" in {damage.code for damage in verify_store(store)}
    mend(store)
    assert verify_store(store) == [] and any((outside / folder.name).iterdir())
    for name in ("staging", "owners"):
        (store / name).rmdir()
        (store / name).symlink_to(outside)
        with pytest.raises(IntegrityError, match="symbolic link"):
            mend(store)
        (store / name).unlink()
    assert (outside / "precious").is_file()


def test_nothing_is_sealed_through_a_link(store: Path, tmp_path: Path) -> None:
    with Store.open(store) as opened:
        row = next(row for row in opened.iterate() if row.digest)
        data = opened.object(row.digest).read_bytes()
    folder = store / "objects" / row.digest[:2]
    folder.rename(tmp_path / "outside")
    (tmp_path / "outside" / f"{row.digest}.npz").unlink()
    folder.symlink_to(tmp_path / "outside")
    with pytest.raises(IntegrityError, match="symbolic link"):
        seal_bytes(store, data)
    assert list((tmp_path / "outside").glob(f"{row.digest}*")) == []


def test_nobody_comes_between_mending_and_making_again(store: Path) -> None:
    def run(mended: Store, wanted: list[int]) -> list[Result]:
        for opening in (lambda: Store.resume(store, {}), lambda: Store.alone(store)):
            with pytest.raises(BusyError):
                opening()
        return again(mended, wanted)

    next((store / "objects").rglob("*.npz")).unlink()
    (store / "lock").write_text("x")  # held all the while, and emptied
    assert len(repair_store(store, run=run).regenerated) == 1
    assert verify_store(store) == []


def test_a_row_that_is_no_text_costs_no_other(store: Path) -> None:
    data = bytearray((store / "index.sqlite").read_bytes())
    data[data.index(b'"index":3,') + 1] ^= 0x80
    (store / "index.sqlite").write_bytes(data)
    with closing(Index.open(store / "index.sqlite")) as index:
        found = dict(index.salvage())
    assert len(found) == COUNT and [i for i, row in found.items() if row is None] == [3]


def test_one_bit_does_not_free_the_manifest_of_its_checksum(store: Path) -> None:
    file = store / "manifest.json"
    file.write_text(file.read_text().replace('"minor": 1', '"minor": 0'))
    assert [damage.code for damage in verify_store(store)] == ["manifest"]


def test_a_slow_reader_stops_no_writer(store: Path) -> None:
    with Store.open(store) as reader, Store.alone(store) as writer:
        rows = reader.iterate()
        first = next(rows)
        forget(writer, COUNT - 1)
        assert [first.index, *(row.index for row in rows)] == list(range(COUNT - 1))
