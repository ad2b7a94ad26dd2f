"""Laws of the store: whole or not at all, one writer, nothing altered unseen."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import fabrika._disk
from fabrika import (
    BusyError,
    Episode,
    IntegrityError,
    ResourceError,
    Result,
    Store,
    UsageError,
    VersionError,
    Zero,
    dump_episode,
    judge,
    rollout,
    run_scenarios,
)
from fabrika._store import manifest_text
from fabrika.lines.toy import TASK, ReachWorld

MANIFEST = {"task": TASK.name, "actor": "zero", "split": "train", "draw": ""}


def judged(index: int) -> Episode:
    actor = Zero(ReachWorld.acts)
    episode = rollout(actor, TASK.build(), TASK.scenario("train", index), horizon=0.5)
    return episode.with_verdict(judge(episode, TASK.checks))


EPISODES = [judged(index) for index in range(4)]


def put(store: Store, episode: Episode) -> Result:
    result = replace(Result.judged(episode), digest=store.seal(episode))
    store.commit(result)
    return result


def test_what_is_committed_comes_back_in_order(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s", MANIFEST) as store:
        results = [put(store, EPISODES[index]) for index in (2, 0, 1)]
        assert store.missing(range(4)) == [3]
    with Store.open(tmp_path / "s") as store:
        assert store.rows() == [results[1], results[2], results[0]]
        assert {**store.manifest, **MANIFEST} == store.manifest
        for row in store.rows():
            assert dump_episode(store.episode(row)) == dump_episode(EPISODES[row.index])
        assert not list((tmp_path / "s" / "staging").iterdir())


def test_the_digest_is_of_content_alone(tmp_path: Path) -> None:
    digests = set()
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        with Store.create(tmp_path / name, MANIFEST) as store:
            for index in order:
                result = Result.judged(EPISODES[index])
                digest = store.seal(EPISODES[index])
                store.commit(replace(result, digest=digest, wall_seconds=float(len(digests))))
            digests.add(store.digest())
    assert len(digests) == 1
    with Store.create(tmp_path / "c", MANIFEST) as store:
        for index in (0, 1, 3):
            put(store, EPISODES[index])
        assert store.digest() not in digests


def test_results_survive_json() -> None:
    for episode in EPISODES:
        result = Result.judged(episode)
        assert Result.from_json(result.to_json()) == result
    void = Result.voided(EPISODES[0].scenario, "zero", "it broke")
    assert Result.from_json(void.to_json()) == void
    assert not void.accepted and void.reason == "void"
    for text in ("", "[]", "{}", '{"verdict": null}', "nonsense"):
        with pytest.raises(IntegrityError):
            Result.from_json(text)


def test_committing_twice_changes_nothing_and_never_overwrites(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s", MANIFEST) as store:
        result = put(store, EPISODES[0])
        before = store.digest()
        store.commit(replace(result, wall_seconds=99.0))
        assert store.digest() == before
        with pytest.raises(IntegrityError, match="another result"):
            store.commit(replace(result, remark="other"))
        assert store.digest() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "other/task-v1"}, "task"),
        ({"split": "validate"}, "split"),
        ({"actor": "random", "index": 1}, "another actor"),
        ({"digest": "ab" * 32, "index": 1}, "never sealed"),
    ],
)
def test_a_store_takes_only_what_belongs_to_it(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with Store.create(tmp_path / "s", MANIFEST) as store:
        result = put(store, EPISODES[0])
        with pytest.raises(IntegrityError, match=message):
            store.commit(replace(result, **change))
        assert store.rows() == [result]


def test_a_store_of_one_policy_takes_no_other_from_the_first_row_on(tmp_path: Path) -> None:
    with Store.create(tmp_path / "s", {**MANIFEST, "actor": "policy:1"}) as store:
        one, two = (replace(Result.judged(EPISODES[0]), actor=f"policy:{n}") for n in (1, 2))
        with pytest.raises(IntegrityError, match="another actor"):
            store.commit(two)
        store.commit(one)
        assert store.rows() == [one]


def test_many_writers_and_readers_but_who_is_alone_is_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Store.create(path, MANIFEST) as store:
        with pytest.raises(BusyError), Store.alone(path):
            pass
        with pytest.raises(BusyError):
            Store.create(path, MANIFEST)
        with Store.resume(path, MANIFEST) as other, Store.open(path) as reader:
            put(store, EPISODES[0])
            put(other, EPISODES[1])
            put(other, EPISODES[0])  # again: nothing changes
            assert [row.index for row in reader.rows()] == [0, 1]
            with pytest.raises(UsageError, match="reading"):
                reader.commit(reader.rows()[0])
    with Store.alone(path):
        for opening in (lambda: Store.resume(path, MANIFEST), lambda: Store.alone(path)):
            before = time.perf_counter()
            with pytest.raises(BusyError):
                opening()
            assert time.perf_counter() - before < 1.5
        with Store.open(path) as reader:
            assert len(reader.rows()) == 2
    Store.resume(path, MANIFEST).close()


def test_what_a_dead_writer_left_is_cleaned_away(tmp_path: Path) -> None:
    path = tmp_path / "s"
    Store.create(path, MANIFEST).close()
    (path / "staging" / "half.npz").write_bytes(b"half")
    (path / "manifest.json.tmp").write_bytes(b"half")
    Store.open(path).close()
    assert (path / "staging" / "half.npz").exists(), "a reader changes nothing"
    Store.resume(path, MANIFEST).close()
    assert not list((path / "staging").iterdir())


def test_a_store_half_created_can_be_created(tmp_path: Path) -> None:
    path = tmp_path / "s"
    Store.create(path, MANIFEST).close()
    (path / "manifest.json").rename(path / "manifest.json.tmp")
    with pytest.raises(UsageError, match="run it again"):
        Store.open(path)
    with Store.create(path, MANIFEST) as store:
        assert store.rows() == []


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for path in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(UsageError, match="not a store"):
            Store.create(path, MANIFEST)
        with pytest.raises(UsageError, match="not a store"):
            Store.open(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def edit_manifest(path: Path, **changes: Any) -> None:
    """As another version would have written it: with its checksum."""
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["checksum"]
    (path / "manifest.json").write_text(manifest_text({**manifest, **changes}))


def test_other_versions_are_read_but_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Store.create(path, MANIFEST) as store:
        put(store, EPISODES[0])
        mine = dict(store.manifest["versions"])
    edit_manifest(path, versions={**mine, "numpy": "0.9"})
    with Store.open(path) as store:
        assert len(store.rows()) == 1
    with pytest.raises(VersionError, match=r"numpy 0\.9, here"):
        Store.resume(path, MANIFEST)
    for newer in ({"format": 2, "minor": 0}, {"format": 1, "minor": 99}):
        edit_manifest(path, versions=mine, **newer)
        for opening in (Store.open, lambda path: Store.resume(path, MANIFEST)):
            with pytest.raises(VersionError, match=rf"format {newer['format']}\.{newer['minor']};"):
                opening(path)
    (path / "manifest.json").write_text(json.dumps({**mine, "format": 1, "minor": 1}))
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        Store.open(path)
    (path / "manifest.json").write_text("{")
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        Store.open(path)


def test_a_store_is_continued_as_what_it_is(tmp_path: Path) -> None:
    Store.create(tmp_path / "s", MANIFEST).close()
    for name in MANIFEST:
        with pytest.raises(UsageError, match=f"{name} .*not 'other'"):
            Store.resume(tmp_path / "s", {**MANIFEST, name: "other"})


def test_whatever_is_altered_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Store.create(path, MANIFEST) as store:
        row = put(store, EPISODES[0])
    episode = path / "objects" / row.digest[:2] / f"{row.digest}.npz"
    whole = episode.read_bytes()
    for at in range(0, len(whole), 997):
        episode.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with Store.open(path) as store, pytest.raises(IntegrityError):
            store.episode(row)
    with Store.resume(path, MANIFEST) as store:  # sealing again mends it
        store.seal(EPISODES[0])
        assert dump_episode(store.episode(row)) == dump_episode(EPISODES[0])
    database = sqlite3.connect(path / "index.sqlite")
    with database:
        database.execute("UPDATE results SET result = replace(result, 'goal', 'gaol')")
    database.close()
    with Store.open(path) as store, pytest.raises(IntegrityError, match="row 0"):
        store.rows()
    (path / "index.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(IntegrityError, match=r"index\.sqlite"):
        Store.open(path)
    (path / "index.sqlite").unlink()
    with pytest.raises(IntegrityError, match=r"index\.sqlite"):
        Store.open(path)


def fill_disk(monkeypatch: pytest.MonkeyPatch, call: str, nth: int) -> list[int]:
    """The nth call of ``os.<call>`` and all later ones find no space."""
    real, count = getattr(os, call), [0]

    def full(*args: Any, **options: Any) -> Any:
        count[0] += 1
        if count[0] >= nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **options)

    monkeypatch.setattr(fabrika._disk.os, call, full)
    return count


def test_a_full_disk_stops_the_run_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    def run(name: str) -> list[Result]:
        return run_scenarios(TASK.name, "expert", "train", range(3), store=tmp_path / name)

    run("golden")
    with Store.open(tmp_path / "golden") as store:
        golden = store.digest()
    failed = 0
    for nth in range(1, 20):
        name = f"full-{nth}"
        with pytest.MonkeyPatch.context() as patch:
            calls = fill_disk(patch, "fsync", nth)
            try:
                run(name)
            except ResourceError as error:
                failed += 1
                assert "No space left" in str(error)
        if calls[0] < nth:
            break
        if (tmp_path / name / "manifest.json").exists():
            assert not list((tmp_path / name / "staging").iterdir())
            with Store.open(tmp_path / name) as store:
                for row in store.rows():
                    store.episode(row)
        run(name)  # there is space again
        with Store.open(tmp_path / name) as store:
            assert store.digest() == golden
    else:
        pytest.fail("the run never got through: the sweep is too short")
    assert failed == nth - 1 >= 10


def test_a_full_database_is_a_lack_of_resources(tmp_path: Path) -> None:
    rows = [Result.voided(TASK.scenario("train", i), "zero", "planted") for i in range(99)]
    with Store.create(tmp_path / "s", MANIFEST) as store:
        store.index._database.execute("PRAGMA max_page_count = 10")
        with pytest.raises(ResourceError, match="full"):
            for row in rows:
                store.commit(row)
        kept = store.rows()
        assert 0 < len(kept) < len(rows)
    with Store.resume(tmp_path / "s", MANIFEST) as store:
        assert store.rows() == kept == rows[: len(kept)]
        for row in rows:
            store.commit(row)
        assert store.rows() == rows
