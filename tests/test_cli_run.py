"""Laws of ``fabrika run``: the whole line, resumable, and never mixed with another run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fabrika import Store
from fabrika._ledger import read_ledger, total
from fabrika.cli import main
from fabrika.cli._options import SEED_BLOCK

TOY = "toy/reach-v1"
SMALL = ("--episodes", "8", "--train-steps", "2", "-n", "26", "--workers", "1")


def run(folder: Path, *more: str, task: str = TOY) -> Result:
    return CliRunner().invoke(main, ["run", task, "--out", str(folder), *SMALL, *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run with next to no training: its gate cannot pass."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    result = run(folder, "--seed", "3", "--json")
    assert result.exit_code == 5, result.output
    found = json.loads(result.stdout)
    assert found["passed"] is False and found["run"] == str(folder)
    return folder


def ledger(folder: Path) -> list[str]:
    """The stages that the run's own rows are of."""
    rows = [json.loads(file.read_text())["row"] for file in sorted(folder.glob("ledger/*.json"))]
    assert not [row for row in rows if row["x_Outcome"] == "running"]
    return [row["x_Stage"] for row in rows]


def test_a_run_leaves_everything_that_it_rests_on(finished: Path) -> None:
    names = ("run.json", "decision.json", "report.html", "dataset/meta/info.json")
    names += ("policy/policy.onnx", "policy/curve.json")
    for name in names:
        assert (finished / name).is_file(), name
    for role in ("policy", "expert", "zero", "random"):
        assert [row.index for row in Store.open(finished / "evidence" / role).rows()] == [
            *range(26)
        ]
    stages = ["generate", "export", "train", "validate", "report"]
    assert ledger(finished)[:5] == stages
    sums = total(read_ledger(finished))
    assert sums["episodes_tried"] == 8 + 4 * 26, "in the stores, and once only"
    text = (finished / "report.html").read_text()
    assert all(f">{stage}</th>" in text for stage in stages[:4])


def test_a_seed_has_its_own_block_of_training_scenarios(finished: Path) -> None:
    rows = Store.open(finished / "train").rows()
    assert [row.index for row in rows] == [3 * SEED_BLOCK + i for i in range(8)]
    assert {row.split for row in rows} == {"train"}


def test_the_same_command_finds_it_done(finished: Path) -> None:
    policy = finished / "policy" / "policy.onnx"
    before = policy.stat().st_mtime_ns, (finished / "decision.json").read_text()
    result = run(finished, "--seed", "3")
    assert result.exit_code == 5 and "The gate did not pass." in result.stdout
    assert (policy.stat().st_mtime_ns, (finished / "decision.json").read_text()) == before
    assert ledger(finished).count("train") == 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--seed", "4"), "seed 3, not 4"),
        (("--seed", "3", "--sensors", "cameras"), "sensors 'tracker', not 'cameras'"),
        (("--seed", "3", "--episodes", "9"), "episodes=8"),
    ],
)
def test_another_run_is_not_mixed_in(finished: Path, more: tuple[str, ...], told: str) -> None:
    result = run(finished, *more)
    assert result.exit_code == 2 and told in result.stderr and "another --out" in result.stderr


@pytest.mark.parametrize("key", ["format", "versions"])
def test_a_run_of_other_versions_is_refused(tmp_path: Path, finished: Path, key: str) -> None:
    manifest = json.loads((finished / "run.json").read_text())
    manifest["format"] += key == "format"
    manifest["versions"]["numpy"] = "1.0" if key == "versions" else "2.0"
    (tmp_path / "run.json").write_text(json.dumps(manifest))
    result = run(tmp_path, "--seed", "3")
    assert result.exit_code == 2 and "another --out" in result.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != "lock"] == ["run.json"]


def test_a_run_that_another_process_works_in_is_busy(tmp_path: Path, finished: Path) -> None:
    import fcntl

    with (finished / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run(finished, "--seed", "3")
    assert result.exit_code == 8 and "another process" in result.stderr


def test_what_a_run_made_can_be_listed_shown_and_verified(finished: Path, tmp_path: Path) -> None:
    def call(*words: str) -> Result:
        return CliRunner().invoke(main, [*words, "--json"])

    row = json.loads(call("list", "runs", "--in", str(finished.parent)).stdout)[0]
    assert row["task"] == TOY and row["decision"].startswith("did not pass")
    assert row["determinism"] == "D0"
    assert "D0: equal data, recipe and threads" in (finished / "report.html").read_text()
    shown = call("show", f"{finished}:7", "--out", str(tmp_path), "--no-video")
    assert json.loads(shown.stdout)["actor"].startswith("policy:")
    assert json.loads(call("verify", str(finished / "dataset")).stdout)["ok"]


def test_what_a_run_has_lost_of_its_own_is_found(finished: Path, tmp_path: Path) -> None:
    def codes() -> set[tuple[str, str]]:
        result = CliRunner().invoke(main, ["verify", str(copy), "--json"])
        assert result.exit_code == 6
        own = json.loads(result.stdout)["parts"][0]
        assert own["path"] == str(copy)
        return {(finding["code"], finding["where"]) for finding in own["findings"]}

    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    assert CliRunner().invoke(main, ["verify", str(copy)]).exit_code == 0
    for part in ("train", "dataset", "evidence/zero"):
        shutil.rmtree(copy / part)
    assert codes() == {("missing", part) for part in ("train", "dataset", "evidence/zero")}
    mended = CliRunner().invoke(main, ["repair", str(copy)])
    assert mended.exit_code == 6 and "not mended: train" in mended.stdout
    assert "fabrika run toy/reach-v1" in mended.stdout  # how to make it anew
    whole = json.loads((copy / "run.json").read_text())
    row = sorted((copy / "ledger").glob("*.json"))[-1]
    row.write_text("{}")
    for broken in ({}, [1], {**whole, "settings": {"episodes": "x"}}, {**whole, "seed": "x"}):
        (copy / "run.json").write_text(json.dumps(broken))
        assert {("manifest", "run.json"), ("ledger", f"ledger/{row.name}")} <= codes()
        told = CliRunner().invoke(main, ["extend", str(copy), "--to", "99", "--json"])
        assert told.exit_code == 6 and "run.json" in json.loads(told.stdout)["error"]["message"]


def test_an_interrupted_run_says_how_to_go_on(faults: None, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    words = ["run", "faults/slow-v1", "--out", str(folder), *SMALL]
    process = subprocess.Popen(
        [sys.executable, "-c", "from fabrika.cli import main; main()", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while not list(folder.glob("train/objects/*/*")) and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    stdout, told = process.communicate(timeout=30)
    assert process.returncode == 4 and "same command goes on" in told
    assert stdout == "" and "Traceback" not in told
    assert ledger(folder) == ["generate"] and not (folder / "dataset").exists()
