"""Laws of runs: any number of workers, killed or not, gives the same store; plain data only."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fabrika import (
    ContractError,
    EvidenceError,
    Gate,
    InterruptedRunError,
    ResourceError,
    Result,
    Store,
    UnknownNameError,
    UsageError,
    VersionError,
    check_evidence,
    known,
    load,
    run_scenarios,
    task,
)
from fabrika._pool import Job
from fabrika._scenario import Split
from fabrika._store import manifest_text
from fabrika.lines.toy import TASK

TOY = "toy/reach-v1"


def run_into(
    path: Path,
    indices: Sequence[int],
    *,
    name: str = TOY,
    actor: str = "expert",
    split: Split = "train",
    workers: int = 1,
    on_result: Callable[[Result], None] | None = None,
) -> str:
    """Digest of the store after the run."""
    run_scenarios(name, actor, split, indices, workers=workers, store=path, on_result=on_result)
    with Store.open(path) as store:
        return store.digest()


# Equal scenarios, equal episodes


@pytest.mark.parametrize("actor", ["expert", "random"])
def test_workers_and_order_change_nothing(tmp_path: Path, actor: str) -> None:
    indices = list(range(9))
    shuffled = random.Random(0).sample(indices, len(indices))
    golden = run_into(tmp_path / "1", indices, actor=actor)
    assert run_into(tmp_path / "s", shuffled, actor=actor) == golden
    assert run_into(tmp_path / "2", shuffled, actor=actor, workers=2) == golden
    assert run_into(tmp_path / "4", indices, actor=actor, workers=4) == golden


def test_results_come_in_the_order_asked_and_are_told_once() -> None:
    told: list[int] = []
    indices = [5, 0, 3, 2]
    results = run_scenarios(
        TOY, "zero", "validate", indices, workers=2, on_result=lambda r: told.append(r.index)
    )
    assert [result.index for result in results] == indices
    assert sorted(told) == sorted(indices)
    assert {result.digest for result in results} == {""}
    assert [r.to_json(timed=False) for r in run_scenarios(TOY, "zero", "validate", indices)] == [
        r.to_json(timed=False) for r in results
    ]


def test_a_release_draw_has_its_own_scenarios() -> None:
    ids = set()
    for draw in ("one", "two"):
        for result in run_scenarios(TOY, "zero", "release", range(3), draw=draw):
            ids.add(result.scenario_id)
            assert result.draw == draw
    assert len(ids) == 6


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    told: list[int] = []
    run_into(tmp_path / "s", [3, 1])
    digest = run_into(tmp_path / "s", range(5), on_result=lambda r: told.append(r.index))
    assert told == [1, 3, 0, 2, 4], "what is stored is told first, and not run again"
    assert digest == run_into(tmp_path / "t", range(5))


# Plain data only


def test_a_worker_speaks_json_lines_and_nothing_else(faults: None) -> None:
    job = Job(task="faults/prints-v1", actor="expert", split="train")
    assert Job.from_json(job.to_json()) == job
    done = subprocess.run(
        [sys.executable, "-m", "fabrika._worker"],
        input=f"{job.to_json()}\n0\n1\n",
        capture_output=True,
        text=True,
        check=True,
    )
    lines = filter(None, done.stdout.splitlines())  # empty ones are signs of life
    answers = [Result.from_json(json.loads(line)["result"]) for line in lines]
    serial = run_scenarios("faults/none-v1", "expert", "train", [0, 1])
    assert [a.index for a in answers] == [0, 1]
    assert [a.reason for a in answers] == [s.reason for s in serial]
    assert "noise from a C library" in done.stderr


def test_a_worker_tells_its_errors_in_plain_data(faults: None) -> None:
    job = Job(task="faults/bug-v1", actor="expert", split="train")
    done = subprocess.run(
        [sys.executable, "-m", "fabrika._worker"],
        input=f"{job.to_json()}\n0\n",
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["error"] == "ContractError" and "KeyError" in answer["message"]


# Broken worlds


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["diverges", "nan"])
def test_a_broken_world_is_counted_and_is_neither_data_nor_evidence(
    faults: None, tmp_path: Path, name: str, workers: int
) -> None:
    indices = range(8)
    told: list[Result] = []
    run_into(
        tmp_path / "s",
        indices,
        name=f"faults/{name}-v1",
        actor="zero",
        split="validate",
        workers=workers,
        on_result=told.append,
    )
    with Store.open(tmp_path / "s") as store:
        rows = store.rows()
        assert store.missing(indices) == []
    void = [row for row in rows if row.void]
    assert [row.index for row in void] == [1, 4] and len(told) == len(rows) == 8
    assert {(row.reason, row.digest, row.verdict) for row in void} == {("void", "", None)}
    assert not any(row.accepted for row in void)
    for judged in (
        lambda: check_evidence(rows, split="validate", count=8),
        lambda: Gate().decide(rows),
    ):
        with pytest.raises(EvidenceError, match=r"void.*1, 4"):
            judged()
    # The others are what they would have been without any fault.
    clean = run_scenarios("faults/none-v1", "zero", "validate", indices)
    assert [r.reason for r in rows if not r.void] == [
        r.reason for r in clean if r.index not in (1, 4)
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_in_a_task_is_named_and_not_counted(
    faults: None, tmp_path: Path, workers: int
) -> None:
    with pytest.raises(ContractError, match=r"KeyError in scenario \d of train: 'planted'"):
        run_into(tmp_path / "s", range(4), name="faults/bug-v1", workers=workers)
    with Store.open(tmp_path / "s") as store:
        assert store.rows() == []


def test_a_worker_that_dies_is_replaced(faults: None, tmp_path: Path) -> None:
    digest = run_into(tmp_path / "s", range(8), name="faults/dies-once-v1", workers=2)
    assert {path.name for path in tmp_path.glob("died-*")} == {"died-1", "died-4"}
    assert run_into(tmp_path / "t", range(8), name="faults/dies-once-v1") == digest


def test_a_scenario_that_kills_every_worker_is_named(faults: None, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"SIGKILL.* in scenario [14] of train"):
        run_into(tmp_path / "s", range(8), name="faults/dies-v1", workers=2)
    with Store.open(tmp_path / "s") as store:
        assert not {1, 4} & {row.index for row in store.rows()}


# Kill, interrupt, two writers

PARENT = """
import sys
from pathlib import Path
from fabrika import FabrikaError, run_scenarios
try:
    run_scenarios("faults/slow-v1", "expert", "train", range(14),
                  workers=int(sys.argv[2]), store=Path(sys.argv[1]),
                  on_result=lambda result: print(result.index, flush=True))
except FabrikaError as error:
    print(type(error).__name__, error, flush=True)
    sys.exit(error.exit_code)
"""


UNDISTURBED: list[str] = []
"""Digest of the same run, never killed."""


def start(store: Path, workers: int, after: int) -> subprocess.Popen[str]:
    """A run in another process, that has told of so many results."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(store), str(workers)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(after):
        assert process.stdout.readline().strip().isdigit()
    return process


@pytest.mark.parametrize(("workers", "after"), [(1, 0), (1, 5), (2, 1), (2, 9)])
def test_a_run_that_is_killed_can_be_continued(
    faults: None, tmp_path: Path, workers: int, after: int
) -> None:
    process = start(tmp_path / "s", workers, after)
    time.sleep(random.Random(after).uniform(0.0, 0.1))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if after:
        with Store.open(tmp_path / "s") as store:
            kept = store.rows()
        assert after <= len(kept) < 14
    told: list[Result] = []
    digest = run_into(tmp_path / "s", range(14), name="faults/slow-v1", on_result=told.append)
    assert len(told) == 14
    assert not after or [r for r in told if r in kept] == kept, "nothing is done twice or lost"
    if not UNDISTURBED:
        UNDISTURBED.append(run_into(tmp_path / "t", range(14), name="faults/slow-v1"))
    assert digest == UNDISTURBED[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_cleanly_and_the_same_call_goes_on(
    faults: None, tmp_path: Path, workers: int
) -> None:
    process = start(tmp_path / "s", workers, after=3)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == InterruptedRunError.exit_code == 4
    assert "InterruptedRunError stopped: " in said and "and kept" in said
    with Store.open(tmp_path / "s") as store:
        assert 3 <= len(store.rows()) < 14
    assert not list((tmp_path / "s").glob("*-journal"))
    run_into(tmp_path / "s", range(14), name="faults/slow-v1", workers=workers)


def test_two_runs_on_one_store_share_the_work(faults: None, tmp_path: Path) -> None:
    process = start(tmp_path / "s", workers=1, after=1)
    told: list[Result] = []
    digest = run_into(tmp_path / "s", range(14), name="faults/slow-v1", on_result=told.append)
    process.communicate()
    assert process.returncode == 0
    assert sorted(result.index for result in told) == list(range(14))
    assert digest == run_into(tmp_path / "t", range(14), name="faults/slow-v1")


def test_workers_end_with_their_parent(faults: None, tmp_path: Path) -> None:
    process = start(tmp_path / "s", workers=2, after=1)
    listing = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    children = [int(pid) for pid in listing.read_text().split()]
    assert len(children) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(_lives(pid) for pid in children):
        time.sleep(0.05)
    assert not any(_lives(pid) for pid in children)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_store_of_other_versions_is_not_continued(tmp_path: Path) -> None:
    run_into(tmp_path / "s", range(2))
    path = tmp_path / "s" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["checksum"]
    manifest["versions"]["numpy"] = "0.9"
    path.write_text(manifest_text(manifest))
    with pytest.raises(VersionError, match="numpy"):
        run_into(tmp_path / "s", range(3))


# Names


def test_a_policy_file_is_an_actor_known_by_its_bytes(faults: None, tmp_path: Path) -> None:
    policy = tmp_path / "policy.follow"
    policy.write_text("0.25")
    results = run_scenarios(TOY, str(policy), "validate", range(4), workers=2)
    assert results[0].actor.startswith("policy:") and not results[0].privileged
    assert run_into(tmp_path / "s", range(2), actor=str(policy))
    (tmp_path / "moved").mkdir()
    moved = policy.rename(tmp_path / "moved" / "other.follow")
    assert run_into(tmp_path / "s", range(3), actor=str(moved))
    moved.write_text("0.2")
    with pytest.raises(UsageError, match="holds actor"):
        run_into(tmp_path / "s", range(4), actor=str(moved))


def test_a_loader_cannot_name_its_actor_as_it_likes(faults: None, tmp_path: Path) -> None:
    policy = tmp_path / "policy.nameless"
    policy.write_text("0.25")
    with pytest.raises(ContractError, match=r"names its actor 'mine', not 'policy:"):
        run_scenarios(TOY, str(policy), "validate", range(2))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"instructions": ("go",)}, "scenarios"),
        ({"sample": lambda rng: {"mass": float(rng.uniform())}}, "scenarios"),
        ({"checks": (replace(TASK.checks[0], at_most=9.0), *TASK.checks[1:])}, "checks"),
        ({"checks": TASK.checks[1:]}, "checks"),
    ],
)
def test_results_of_a_task_that_has_changed_are_not_added_to(
    change: dict[str, Any], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = run_into(tmp_path / "s", range(2))
    with monkeypatch.context() as patch:
        patch.setattr("fabrika._run.find_task", lambda name: replace(TASK, **change))
        with pytest.raises(VersionError, match=f"other {what}.*the task has changed since"):
            run_into(tmp_path / "s", range(3))
    with Store.open(tmp_path / "s") as store:
        assert store.digest() == digest


def test_from_scenarios_to_a_decision(faults: None, tmp_path: Path) -> None:
    policy = tmp_path / "policy.follow"
    policy.write_text("0.2")
    evidence = {
        name: run_scenarios(TOY, actor, "validate", range(80), workers=2)
        for name, actor in {"policy": str(policy), "expert": "expert", "zero": "zero"}.items()
    }
    good = Gate().decide(evidence["policy"], evidence["expert"])
    assert good.passed and good.successes + (good.unsolved or 0) + (good.preventable or 0) == 80
    bad = Gate().decide(evidence["zero"], evidence["expert"])
    assert not bad.passed and bad.lower_bound == 0.0
    assert bad.preventable == sum(result.accepted for result in evidence["expert"])
    with pytest.raises(EvidenceError, match="privileged: 'expert' read simulator truth"):
        Gate().decide(evidence["expert"])


def test_unknown_names_are_told_with_what_exists(faults: None, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'toy/reach-v1'.*Known: .*home/"):
        run_scenarios("toy/reach", "zero", "train", [0])
    with pytest.raises(UnknownNameError, match=r"did you mean 'expert'.*path of a policy"):
        run_scenarios(TOY, "expret", "train", [0])
    (tmp_path / "policy.pt").touch()
    with pytest.raises(UnknownNameError, match=r"kind of policy file 'pt'.*follow"):
        run_scenarios(TOY, str(tmp_path / "policy.pt"), "train", [0], workers=2)
    with pytest.raises(UnknownNameError, match="no robot 'cloid'; did you mean 'cloid-class'"):
        load("robots", "cloid")
    with pytest.raises(ContractError, match="NOTHING"):
        task("faults/absent-v1")
    with pytest.raises(ContractError, match="int, not a Task"):
        task("faults/number-v1")
    with pytest.raises(UsageError, match="kinds: tasks"):
        known("things")  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*.sqlite"))


@pytest.mark.parametrize(("indices", "workers"), [([], 1), ([0, 0], 1), ([0], 0), ([-1], 1)])
def test_a_call_that_makes_no_sense_is_refused(indices: list[int], workers: int) -> None:
    with pytest.raises(UsageError):
        run_scenarios(TOY, "zero", "train", indices, workers=workers)


def test_the_environment_of_workers_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []
    real = subprocess.Popen

    def watch(*args: object, **options: object) -> object:
        seen.append(options["env"])  # type: ignore[arg-type]
        assert options["start_new_session"] is True
        return real(*args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", watch)
    run_scenarios(TOY, "zero", "train", [0, 1], workers=2)
    assert [env["OMP_NUM_THREADS"] for env in seen] == ["1", "1"]
