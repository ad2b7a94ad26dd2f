"""Laws of what is put together and taken apart, extended, deleted and brought back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fabrika import IntegrityError, Store, UsageError, run_scenarios
from fabrika._verify import verify_store
from fabrika.cli import main
from fabrika.data._combine import merge_stores, split_store
from fabrika.lines.toy import TASK
from faults import forget

COUNT = 9


def make(path: Path, *indices: int, task: str = TASK.name, actor: str = "expert") -> Path:
    run_scenarios(task, actor, "train", indices, store=path)
    return path


def digest(path: Path) -> str:
    with Store.open(path) as store:
        return store.digest()


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return make(tmp_path / "whole", *range(COUNT))


def call(*words: object, code: int = 0) -> Any:
    done = CliRunner().invoke(main, [*map(str, words), "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("parts", [1, 2, 4, COUNT])
def test_merging_undoes_splitting(whole: Path, tmp_path: Path, parts: int) -> None:
    before = digest(whole)
    made = split_store(whole, parts, tmp_path / "parts")
    assert len(made) == parts and all(verify_store(part) == [] for part in made)
    if parts > 1:
        assert merge_stores(made[::-1], tmp_path / "again") == COUNT
        assert digest(tmp_path / "again") == before and verify_store(tmp_path / "again") == []
    assert digest(whole) == before
    with pytest.raises(UsageError):
        split_store(whole, COUNT + 1, tmp_path / "more")


def test_what_several_have_is_there_once_and_can_be_gone_on_with(
    whole: Path, tmp_path: Path
) -> None:
    one, two = make(tmp_path / "one", 0, 1, 2, 3), make(tmp_path / "two", 2, 3, 4, 7)
    assert merge_stores([one, two], tmp_path / "both") == 6
    make(tmp_path / "both", *range(COUNT))
    assert digest(tmp_path / "both") == digest(whole)


def test_what_does_not_belong_together_is_refused_and_nothing_is_left(
    faults: None, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    others = [make(tmp_path / "a", 0, actor="zero"), make(tmp_path / "b", 0, task="faults/none-v1")]
    for other in others:
        with pytest.raises(UsageError, match="such episodes are not one store's"):
            merge_stores([whole, other], out)
    liar = tmp_path / "liar"
    shutil.copytree(whole, liar)
    with Store.alone(liar) as store:
        row = store.rows()[0]
        forget(store, 0)
        store.index.add([type(row).from_json(row.to_json().replace('"remark":""', '"remark":"x"'))])
    with pytest.raises(IntegrityError, match="another result"):
        merge_stores([whole, liar], out)
    rotten = tmp_path / "rotten"
    shutil.copytree(whole, rotten)
    next(rotten.rglob("*.npz")).write_bytes(b"rotten")
    with pytest.raises(IntegrityError, match="missing or was altered"):
        merge_stores([rotten, make(tmp_path / "c", 0)], out)
    assert not out.exists() and not list(tmp_path.glob(".*.partial"))


def test_a_store_is_extended_to_a_total(whole: Path, tmp_path: Path) -> None:
    part = make(tmp_path / "part", *range(4))
    for _ in range(2):
        assert call("extend", part, "--to", COUNT, "--workers", 1)["tried"] == COUNT
        assert digest(part) == digest(whole)
    assert "has 9 scenarios already" in call("extend", part, "--to", 3, code=2)["error"]["message"]


def test_what_is_deleted_comes_back_until_the_trash_is_emptied(whole: Path, tmp_path: Path) -> None:
    before = digest(whole)
    call("delete", whole)
    assert not whole.exists()
    assert [row["from"] for row in call("trash", "--in", tmp_path)] == [str(whole)]
    call("restore", "whole", "--in", tmp_path)
    assert digest(whole) == before and call("trash", "--in", tmp_path) == []
    with Store.alone(whole):
        assert call("delete", whole, code=8)["error"]["kind"] == "BusyError"
    (tmp_path / "thesis").mkdir()
    assert "left alone" in call("delete", tmp_path / "thesis", code=2)["error"]["message"]
    call("delete", whole)
    (note,) = tmp_path.glob(".trash/*/fabrika-deleted.json")
    killed = tmp_path / ".trash" / "killed" / note.name  # a delete that was killed halfway
    killed.parent.mkdir()
    killed.write_text(note.read_text())
    assert call("trash", "--in", tmp_path, "--empty")["destroyed"] == 1
    assert list((tmp_path / ".trash").iterdir()) == []
    call("restore", "whole", "--in", tmp_path, code=2)


def test_a_store_with_gaps_is_extended_to_a_total(tmp_path: Path) -> None:
    part = make(tmp_path / "part", 0, 1, 6)
    for _ in range(2):
        assert call("extend", part, "--to", 5, "--workers", 1)["tried"] == 5
    with Store.open(part) as store:
        assert store.index.positions() == [0, 1, 2, 3, 6]


def test_nothing_is_put_inside_a_store(whole: Path, tmp_path: Path) -> None:
    part = make(tmp_path / "part", 20)
    for out in (whole / "sub", whole / "objects" / "sub"):
        for words in (("split", whole, "--parts", 2), ("merge", whole, part)):
            assert "inside the store" in call(*words, "--out", out, code=2)["error"]["message"]
        told = call("generate", TASK.name, "--out", out, "-n", 1, "--workers", 1, code=2)
        assert "inside the store" in told["error"]["message"]
    assert call("verify", whole)["ok"] is True


def test_a_list_of_runs_survives_a_bad_one(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "bad" / "train").mkdir(parents=True)
    (tmp_path / "bad" / "run.json").write_text("[]")
    shutil.copytree(whole, tmp_path / "headless")
    (tmp_path / "headless" / "manifest.json").unlink()
    rows = {Path(row["run"]).name: row["problem"] for row in call("list", "runs", "--in", tmp_path)}
    assert rows["whole"] == "" and "cannot be read" in rows["bad"]
    assert "fabrika repair" in rows["headless"]
    assert call("repair", tmp_path / "headless") and call("verify", tmp_path / "headless")["ok"]


def test_a_sample_counts_what_there_is_and_equal_stores_show_one_digest(
    whole: Path, tmp_path: Path
) -> None:
    assert call("verify", whole, "--sample", 500)["episodes"] == COUNT
    shutil.copytree(whole, tmp_path / "copy")
    assert call("verify", whole)["digest"] == call("verify", tmp_path / "copy")["digest"]


def test_a_forged_note_in_the_trash_brings_nothing_elsewhere(whole: Path, tmp_path: Path) -> None:
    call("delete", whole)
    (note,) = tmp_path.glob(".trash/*/fabrika-deleted.json")
    elsewhere = tmp_path / "elsewhere" / "whole"
    note.write_text(json.dumps({**json.loads(note.read_text()), "from": str(elsewhere)}))
    (tmp_path / ".trash" / "other").mkdir()
    (tmp_path / ".trash" / "other" / note.name).write_text("[")
    assert call("restore", "whole", "--in", tmp_path)["path"] == str(whole)
    assert whole.is_dir() and not elsewhere.parent.exists()


def test_verify_and_repair_tell_what_they_did(whole: Path) -> None:
    assert call("verify", whole)["ok"] is True
    before = digest(whole)
    next(whole.rglob("*.npz")).unlink()
    assert [f["code"] for f in call("verify", whole, code=6)["findings"]] == ["episode-missing"]
    (done,) = call("repair", whole)
    assert done["kept"] == COUNT - 1 and len(done["regenerated"]) == 1
    assert call("verify", whole)["ok"] is True and digest(whole) == before
    next((whole / "ledger").iterdir()).write_text("{}")
    (done,) = call("repair", whole, code=3)
    assert len(done["lost"]) == 1 and digest(whole) == before


def test_a_golden_store_of_the_version_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "golden"
    shutil.copytree(Path(__file__).parent / "golden" / "store-1.0", path)
    with Store.open(path) as store:
        rows = store.rows()
        assert len(rows) == 4 and all(row.accepted for row in rows)
        assert [store.episode(row).length for row in rows] == [80] * 4
        assert store.digest() == "e18b8018c218c6ce72d80a7600f7cf60335afa6022eb272f7f4c1c6d0aa61f20"
    assert call("verify", path)["ok"] is True
    next(path.rglob("*.npz")).write_bytes(b"")
    assert call("verify", path, code=6)["findings"][0]["code"] == "episode"
    assert "have to be made again" in call("repair", path, code=2)["error"]["message"]
