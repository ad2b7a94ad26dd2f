"""Laws of the command line: data and messages apart, published shapes, published exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

import fabrika
from fabrika import Store
from fabrika._errors import FabrikaError, InterruptedRunError, ResourceError, UsageError
from fabrika.cli import main
from fabrika.cli._bench import measure
from fabrika.cli._errors import Program, explain

TOY = "toy/reach-v1"
ROLLOUT = ("task", "actor", "split", "start", "tried", "passed", "reasons", "safety_violations")
ROLLOUT += ("sim_seconds", "wall_seconds", "workers")
VALIDATE = ("passed", "successes", "episodes", "lower_bound", "preventable", "unsolved", "reason")


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def data(*words: object, code: int = 0) -> Any:
    """The JSON document on stdout; nothing else may be there."""
    result = call(*words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def policy(folder: Path, stride: float = 0.25) -> Path:
    """A policy of the plug-in package: its file holds its stride [m]."""
    path = folder / "policy.follow"
    path.write_text(str(stride))
    return path


def test_rollout_counts_every_scenario_once() -> None:
    found = data("rollout", TOY, "--actor", "expert", "--split", "train", "-n", 25, "--workers", 1)
    assert tuple(found) == ROLLOUT
    assert found["tried"] == 25 == found["passed"] + sum(found["reasons"].values())
    assert 0 < found["passed"] < 25 and found["sim_seconds"] == 100.0


def test_the_result_does_not_depend_on_the_workers() -> None:
    words = ("rollout", TOY, "--actor", "random", "--split", "validate", "-n", 6, "--start", 3)
    one, two = data(*words, "--workers", 1), data(*words, "--workers", 2)
    for found in (one, two):
        del found["wall_seconds"], found["workers"]
    assert one == two and one["passed"] == 0 and one["start"] == 3


def test_a_void_rollout_is_a_loss(faults: None) -> None:
    words = ("rollout", "faults/diverges-v1", "--actor", "expert", "--split", "train", "-n", 6)
    found = data(*words, "--workers", 1, code=3)
    assert found["reasons"]["void"] == 2


@pytest.mark.parametrize(("stride", "code"), [(0.25, 0), (0.01, 5)])
def test_validate_decides(faults: None, tmp_path: Path, stride: float, code: int) -> None:
    words = ("validate", policy(tmp_path, stride), "faults/none-v1", "-n", 40, "--workers", 1)
    found = data(*words, "--no-brackets", code=code)
    assert tuple(found) == VALIDATE
    assert found["passed"] is (code == 0) and found["episodes"] == 40
    assert found["preventable"] + found["unsolved"] == 40 - found["successes"]


def test_validate_says_it_in_words_beside_the_brackets(faults: None, tmp_path: Path) -> None:
    words = ("validate", policy(tmp_path), "faults/none-v1", "-n", 26, "--workers", 1)
    result = call(*words, "--out", tmp_path / "e")
    assert result.exit_code == 0 and "The gate passed." in result.stdout
    for role in ("policy", "expert", "zero", "random"):
        assert len(Store.open(tmp_path / "e" / role).rows()) == 26
        assert role in result.stdout


def test_data_goes_to_stdout_and_the_rest_to_stderr() -> None:
    result = call("rollout", TOY, "--actor", "zero", "--split", "train", "-n", 2, "--json")
    assert json.loads(result.stdout)["tried"] == 2
    assert "2 of 2" in result.stderr and "\x1b" not in result.output


def test_export_and_verify(tmp_path: Path) -> None:
    demos, dataset = tmp_path / "demos", tmp_path / "dataset"
    assert data("generate", TOY, "--out", demos, "-n", 6, "--workers", 1)["tried"] == 6
    made = data("export", demos, "--to", "lerobot", "--out", dataset, "--cameras", "none")
    found = data("verify", dataset)
    assert tuple(found) == ("ok", "format", "episodes", "frames", "findings")
    assert found["ok"] and found["episodes"] == made["episodes"]
    next(dataset.rglob("data/**/*.parquet")).write_bytes(b"not a table")
    broken = data("verify", dataset, code=6)
    assert not broken["ok"]
    assert {tuple(finding) for finding in broken["findings"]} == {("code", "where", "message")}


def test_show_makes_a_video_and_plots(tmp_path: Path) -> None:
    call("generate", TOY, "--out", tmp_path / "demos", "-n", 2, "--workers", 1)
    by_index = data("show", f"{tmp_path / 'demos'}:1", "--out", tmp_path / "a", "--no-video")
    start = by_index["digest"][:8]
    found = data(
        "show", start, "--in", tmp_path, "--out", tmp_path / "b", "--no-plots", "--pixels", 64
    )
    assert found["digest"] == by_index["digest"]
    assert Path(by_index["plots"]).read_bytes()[:4] == b"\x89PNG"
    assert b"ftyp" in Path(found["video"]).read_bytes()[:12]


@pytest.mark.parametrize("what", ["tasks", "actors", "robots", "runs"])
def test_every_listing_is_json(what: str) -> None:
    assert isinstance(data("list", what), list)


def test_a_folder_without_runs_is_told_and_is_no_data(tmp_path: Path) -> None:
    result = call("list", "runs", "--in", tmp_path)
    assert result.exit_code == 0 and result.stdout == "" and "there is no run" in result.stderr
    assert data("list", "runs", "--in", tmp_path) == []


def test_signals_are_listed_with_their_units() -> None:
    rows = data("list", "signals", TOY)
    assert {row["kind"] for row in rows} == {"observes", "acts"} and all(r["unit"] for r in rows)


def test_check_names_the_breaches(faults: None) -> None:
    assert data("check", "task", TOY, "-n", 12)["breaches"] == []
    found = data("check", "task", "faults/nan-v1", "-n", 12, code=2)
    assert found["breaches"] and not found["ok"]


def test_bench_accounts_for_the_time() -> None:
    found = data("bench", "--task", TOY, "-n", 1, "--pixels", 32)
    assert found["state_only"]["times_real_time"] > found["pictures"]["times_real_time"] > 0
    assert sum(found["parts"].values()) == pytest.approx(1.0)
    assert found["state_only"]["times_real_time"] >= found["state_only"]["by_the_clock"] > 0


def test_bench_compares_with_the_bare_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    from fabrika.lines.toy import ReachWorld

    monkeypatch.setattr(ReachWorld, "raw_step_seconds", lambda self, e: [5e-4] * 2, raising=False)
    monkeypatch.setattr(ReachWorld, "slip", lambda self, e: {"disc": 2e-3}, raising=False)
    found = measure(TOY, 2, 32, 1)
    assert found["raw"]["engine_seconds"] == pytest.approx(2e-3)
    assert found["raw"]["all_in_over_raw"] > found["raw"]["physics_over_raw"] > 0
    assert found["slip"] == {"held": 2, "median_mm": 2.0, "worst_mm": 2.0}


def test_doctor_says_what_to_do_next(monkeypatch: pytest.MonkeyPatch) -> None:
    from fabrika.cli import _doctor

    monkeypatch.setattr(_doctor, "_RENDER", "raise SystemExit('no GL here')")
    found = data("doctor", code=7)
    problems = {f["name"]: f for f in found["findings"] if not f["ok"]}
    assert "no GL here" in problems["offscreen GL"]["found"]
    assert all(problem["next"] for problem in problems.values())
    assert "apt-get install" in problems["offscreen GL"]["next"] and not found["ok"]


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


BAD: list[tuple[Sequence[str], int, Sequence[str]]] = [
    (["rollout", "toy/reach-v2", "--actor", "zero", "--split", "train", "-n", "1"], 2, ["did you"]),
    (["rollout", TOY, "--actor", "experts", "--split", "train", "-n", "1"], 2, ["'expert'"]),
    (["rollout", TOY, "--actor", "zero", "--split", "release", "-n", "1"], 2, ["validate"]),
    (["rollout", TOY, "--actor", "zero", "--split", "train", "-n", "0"], 2, ["-n"]),
    (["generate", "toy/reach", "--out", "new", "-n", "1"], 2, ["did you mean 'toy/reach-v1'"]),
    (["generate", TOY, "--out", "other", "-n", "1"], 2, ["other", "Choose another"]),
    (["run", "toy/reach", "--out", "new"], 2, ["did you mean 'toy/reach-v1'"]),
    (["run", TOY, "--out", "other"], 2, ["other exists and is not a run", "another --out"]),
    (["run", TOY, "--out", "new", "-n", "5"], 2, ["5 scenarios are fewer", "-n 26"]),
    (["export", "other", "--out", "new"], 2, ["neither a run nor a store"]),
    (["export", "demos", "--to", "lerobots", "--out", "new"], 2, ["did you mean 'lerobot'"]),
    (["export", "demos", "--out", "new", "--cameras", "heda"], 2, ["did you mean 'head'"]),
    (["export", "demos", "--out", "other"], 2, ["other exists", "another --out"]),
    (["export", "absent", "--out", "new"], 2, ["absent is neither a run nor a store"]),
    (["verify", "absent"], 2, ["absent"]),
    (["validate", "absent.onnx", TOY, "-n", "40"], 2, ["absent.onnx"]),
    (["validate", "other/note.txt", TOY, "-n", "40", "--out", "new"], 2, ["'txt'", "onnx"]),
    (["validate", "fake.onnx", TOY, "-n", "40", "--out", "new"], 2, ["not an ONNX model"]),
    (
        ["validate", "fake.onnx", TOY, "-n", "5", "--out", "new"],
        2,
        ["fewer than the gate", "-n 26"],
    ),
    (["train", "other", "--out", "new"], 2, ["neither a run nor a store"]),
    (["show", "other:3"], 2, ["neither a run nor a store"]),
    (["show", "demos:99"], 2, ["no scenario 99", "from 0 to 1"]),
    (["show", "something"], 2, ["RUN:INDEX"]),
    (["show", "abcdef01", "--in", "."], 2, ["no episode", "--in"]),
    (["check", "task", "toy/reach-v3"], 2, ["did you mean"]),
    (["check", "robot", "cloid"], 2, ["did you mean 'cloid-class'"]),
    (["list", "signals", "reach"], 2, ["Known"]),
    (["bench", "--task", "toy/reahc-v1"], 2, ["did you mean"]),
    (["runn"], 2, ["runn"]),
]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of demonstrations, and a folder that is nothing to Fabrika."""
    folder = tmp_path_factory.mktemp("workshop")
    fabrika.run_scenarios(TOY, "expert", "train", range(2), store=folder / "demos")
    (folder / "other").mkdir()
    (folder / "other" / "note.txt").write_text("mine")
    (folder / "fake.onnx").write_bytes(b"not a model")
    return folder


@pytest.mark.parametrize(("words", "code", "told"), BAD, ids=lambda value: str(value)[:40])
def test_bad_input_is_told_clearly_and_leaves_nothing(
    workshop: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: Sequence[str],
    code: int,
    told: Sequence[str],
) -> None:
    monkeypatch.chdir(workshop)
    before = tree(workshop)
    result = call(*words)
    assert result.exit_code == code, result.output
    assert not result.stdout and "Traceback" not in result.stderr
    for part in told:
        assert part in result.stderr
    assert tree(workshop) == before


def test_an_error_is_json_too() -> None:
    words = ("rollout", "toy/reach-v2", "--actor", "zero", "--split", "train", "-n", 1)
    error = data(*words, code=2)["error"]
    assert error["kind"] == "UnknownNameError" and error["exit_code"] == 2
    assert "toy/reach-v1" in error["message"]
    assert data("rollout", TOY, "--actor", "zero", code=2)["error"]["kind"] == "UsageError"


def test_a_traceback_is_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FABRIKA_DEBUG", "1")
    result = call("list", "signals", "absent")
    assert result.exit_code == 2 and "Traceback" in result.stderr


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(9, 8, 1))
    result = call("generate", TOY, "--out", tmp_path / "demos", "-n", 2)
    assert result.exit_code == 7 and "Free some space" in result.stderr
    assert tree(tmp_path) == []


def test_a_store_that_another_process_writes_is_busy(tmp_path: Path) -> None:
    call("generate", TOY, "--out", tmp_path / "d", "-n", 1)
    with Store.alone(tmp_path / "d"):
        result = call("generate", TOY, "--out", tmp_path / "d", "-n", 2)
    assert result.exit_code == 8 and "another process" in result.stderr
    with Store.resume(tmp_path / "d", {}):
        call("generate", TOY, "--out", tmp_path / "d", "-n", 2)
        result = call("repair", tmp_path / "d")
    assert result.exit_code == 8 and "another process" in result.stderr


def test_an_altered_episode_is_refused(tmp_path: Path) -> None:
    call("generate", TOY, "--out", tmp_path / "d", "-n", 1, "--workers", 1)
    episode = next((tmp_path / "d" / "objects").rglob("*.npz"))
    episode.write_bytes(episode.read_bytes()[:-1] + b"x")
    result = call("show", f"{tmp_path / 'd'}:0", "--out", tmp_path / "v")
    assert result.exit_code == 6 and not (tmp_path / "v").exists()


def test_a_policy_that_is_not_finite_fails_with_its_reason(
    faults: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fabrika_faults

    nowhere = {"slide": np.full(2, np.nan)}
    monkeypatch.setattr(fabrika_faults.Follower, "act", lambda self, seen: nowhere)
    words = ("validate", policy(tmp_path), "faults/none-v1", "-n", 26)
    result = call(*words, "--no-brackets", "--workers", 1)
    assert result.exit_code == 5 and "not finite" in result.stderr and "0 of 26" in result.stdout


def test_a_policy_that_reads_truth_is_refused(
    faults: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fabrika_faults

    monkeypatch.setattr(fabrika_faults.Follower, "reads", frozenset({"truth/target"}))
    out = tmp_path / "evidence"
    result = call("validate", policy(tmp_path), "faults/none-v1", "-n", 26, "--out", out)
    assert result.exit_code == 6 and "truth/target" in result.stderr and not out.exists()


def test_what_breaks_of_ctrl_c_is_an_interruption() -> None:
    """An import that is cut short leaves halves behind, and the next one fails otherwise."""

    @click.command()
    def halves() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise AttributeError("partially initialized module") from None

    program = Program(name="p", commands={"halves": halves})
    result = CliRunner().invoke(program, ["halves"])
    assert result.exit_code == 4 and "same command" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_generate_goes_on(faults: None, tmp_path: Path, number: int) -> None:
    """Stopped and gone on with gives the same store as never stopped."""
    store = tmp_path / "stopped"
    words = ["generate", "faults/slow-v1", "-n", "3", "--workers", "1", "--out"]
    code = "from fabrika.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words, str(store)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while not list(store.glob("objects/*/*")) and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, number)
    told = process.communicate(timeout=30)[1]
    if process.returncode != 0:  # else it was quicker than the signal
        assert process.returncode == 4, told
        assert "same command goes on" in told and "Traceback" not in told
    for folder in (store, tmp_path / "whole"):
        assert call(*words, folder).exit_code == 0
    with Store.open(store) as stopped, Store.open(tmp_path / "whole") as whole:
        assert stopped.digest() == whole.digest()


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (KeyboardInterrupt(), InterruptedRunError, "run the same command to go on"),
        (OSError(28, "No space left on device"), ResourceError, "no space left"),
        (MemoryError(), ResourceError, "--workers"),
        (ModuleNotFoundError("x", name="torch"), ResourceError, "pip install 'fabrika[learn]'"),
        (PermissionError(13, "Permission denied", "/etc/x"), UsageError, "/etc/x"),
        (KeyError("odd"), FabrikaError, "FABRIKA_DEBUG=1"),
    ],
)
def test_whatever_goes_wrong_has_a_next_step(
    error: BaseException, kind: type[FabrikaError], told: str
) -> None:
    found = explain(error)
    assert type(found) is kind and told in str(found)
