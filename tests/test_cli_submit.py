"""Laws of `fabrika submit`: what is written, told, handed over and refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fabrika._errors import ResourceError
from fabrika.cli import main
from fabrika.cluster import System, submit_slurm

TOY = "toy/reach-v1"


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["submit", *[str(word) for word in words]])


SLURM = (TOY, "--to", "slurm", "--out", "demos", "-n", 12, "--jobs", 3)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A Slurm that does as ``script`` says, and writes down its words."""
    fake = folder / "bin" / "sbatch"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >words\n{script}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")


def test_the_file_is_written_and_the_next_command_told(here: Path) -> None:
    result = call(*SLURM)
    (file,) = (here / "jobs").iterdir()
    assert result.exit_code == 0 and result.stdout == f"sbatch jobs/{file.name}\n"
    assert "all nodes share" in result.stderr
    assert f"--out {here}/demos" in file.read_text(), "Slurm's nodes see this machine's folders"
    assert call(*SLURM, "--write", "-").stdout == file.read_text()


def test_a_file_that_is_another_job_is_kept(here: Path) -> None:
    assert call(*SLURM, "--write", "job.sh").exit_code == 0
    before = (here / "job.sh").read_text()
    assert call(*SLURM, "--write", "job.sh").exit_code == 0, "the same job may be written again"
    result = call(*SLURM, "--split", "validate", "--write", "job.sh")
    assert result.exit_code == 2 and "job.sh exists" in result.stderr
    assert (here / "job.sh").read_text() == before


def test_the_answer_is_json(here: Path) -> None:
    found = json.loads(call(*SLURM, "--seed", 2, "--json").stdout)
    assert found["start"] == 2_000_000 and found["count"] == 12 and found["jobs"] == 3
    assert found["command"] == f"sbatch {found['file']}" and Path(found["file"]).is_file()
    assert found["job_id"] is None and found["exit_code"] is None


@pytest.mark.parametrize("system", ["kueue", "skypilot", "osmo"])
def test_only_slurm_is_run(system: System, here: Path) -> None:
    source = "/data" if system == "osmo" else "claim"
    words = [TOY, "--to", system, "--out", "/mnt/demos", "-n", 12, "--image", "fabrika:1"]
    words += ["--volume", f"{source}:/mnt"] + ([] if system == "skypilot" else ["--queue", "q"])
    told = call(*words)
    assert told.exit_code == 0, told.output
    shutil.rmtree("jobs")
    result = call(*words, "--run")
    assert result.exit_code == 2 and told.stdout.strip() in result.stderr
    assert not Path("jobs").exists(), "nothing is written"


REFUSED = [
    ([*SLURM, "--wait"], 2, "--wait needs --run"),
    ([*SLURM, "--write", "-", "--json"], 2, "name a file"),
    ([*SLURM, "--seed", 1, "--start", 1], 2, "not both"),
    ([*SLURM, "--actor", "absent.onnx"], 2, "absent.onnx"),
    ([*SLURM, "--volume", "demos"], 2, "SOURCE:FOLDER"),
    (["toy/reach-v2", *SLURM[1:]], 2, "did you mean 'toy/reach-v1'"),
    ([TOY, "--to", "osmo", "--out", "demos", "-n", 1, "--image", "i"], 2, "from / on"),
    ([TOY, "--to", "osmo", "--out", "/d", "-n", 1, "--image", "i", "--actor", "p.x"], 2, "from /"),
]


@pytest.mark.parametrize(("words", "code", "told"), REFUSED)
def test_bad_options_leave_nothing(words: list[Any], code: int, told: str, here: Path) -> None:
    result = call(*words)
    assert result.exit_code == code and told in result.stderr, result.output
    assert list(here.iterdir()) == []


def test_slurm_gives_the_job_a_number(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch(here, monkeypatch, 'echo "17;cluster"')
    result = call(*SLURM, "--run")
    assert result.exit_code == 0 and result.stdout == "17\n"
    assert (here / "words").read_text().split()[:1] == ["--parsable"]


def test_the_wait_ends_as_the_worst_share_does(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch(here, monkeypatch, "echo 17; exit 4")
    result = call(*SLURM, "--run", "--wait", "--json")
    assert result.exit_code == 4 and "job 17" in result.stderr
    found = json.loads(result.stdout)
    assert found["job_id"] == "17" and found["exit_code"] == 4
    assert "--wait" in (here / "words").read_text().split()


def test_ctrl_c_ends_the_wait_and_not_the_job(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch(here, monkeypatch, "echo 17; exec sleep 60")
    code = "from fabrika.cli import main; main()"
    words = [sys.executable, "-c", code, "submit", *map(str, SLURM), "--run", "--wait"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr
        while "waiting for it" not in waiting.stderr.readline():
            assert waiting.poll() is None
        waiting.send_signal(signal.SIGINT)
        told = waiting.stderr.read()
        assert waiting.wait(30) == 4 and "job 17 goes on" in told and "scancel 17" in told


def test_a_refusal_of_slurm_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch(here, monkeypatch, "echo 'invalid partition' >&2; exit 1")
    result = call(*SLURM, "--run")
    assert result.exit_code == 7 and "invalid partition" in result.stderr


def test_without_slurm_the_next_step_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(ResourceError, match=r"no sbatch here.*sbatch job\.sh"):
        submit_slurm(Path("job.sh"))
