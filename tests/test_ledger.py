"""Laws of the ledger: every run leaves a row, sums are true, and nothing is altered unseen."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import fabrika._energy
import fabrika._ledger
from fabrika import (
    IntegrityError,
    InterruptedRunError,
    ResourceError,
    Result,
    Store,
    UsageError,
    VersionError,
    run_scenarios,
)
from fabrika._energy import EnergyMeter
from fabrika._ledger import COSTS, Row, account, read_ledger, read_row, row_files, total
from fabrika.cli import main
from fabrika.lines.toy import TASK

TOY = "toy/reach-v1"
VOID = Result.voided(TASK.scenario("train", 0), "expert", "planted")


def result(cpu: float, sim: float = 1.0) -> Result:
    return replace(VOID, cpu_seconds=cpu, sim_seconds=sim)


def used() -> float:
    """CPU seconds of this process and its children, however they ended."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in found)


def work(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


# Sums


@given(st.lists(st.floats(1e3, 1e6), min_size=1, max_size=9))
def test_seconds_of_other_machines_are_those_that_the_results_tell(
    tmp_path_factory: pytest.TempPathFactory, seconds: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    with account(folder, stage="rollout") as entry:
        for cpu in seconds:
            entry.add(result(cpu))
    sums = total(read_ledger(folder))
    assert sums["cpu_seconds"] == pytest.approx(sum(seconds))
    assert sums["episodes_tried"] == sums["episodes_void"] == len(seconds) == sums["sim_seconds"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_counts_its_own_results_and_all_that_its_processes_used(
    tmp_path: Path, workers: int
) -> None:
    before = used()
    results = run_scenarios(TOY, "expert", "train", range(6), workers=workers, store=tmp_path / "s")
    spent = used() - before
    (row,) = read_ledger(tmp_path)
    assert 0 < sum(r.cpu_seconds for r in results) <= row.cpu_seconds <= spent
    assert row.cpu_seconds > 0.5 * spent, "the start of the workers is counted"
    assert row.episodes_tried == 6 and row.sim_seconds == sum(r.sim_seconds for r in results)
    assert row.episodes_accepted == sum(r.accepted for r in results)
    assert (row.task, row.actor, row.split, row.scenarios) == (TOY, "expert", "train", "0-5")
    assert (row.outcome, row.workers, row.stage) == ("done", workers, "rollout")


def test_a_row_counts_what_no_row_inside_it_counts(tmp_path: Path) -> None:
    began, before = time.monotonic(), used()
    with account(tmp_path, stage="validate") as outer:
        work(0.05)
        outer.note(gpu_seconds=2.0)
        for name in ("a", "b"):
            with account(tmp_path / name, stage="rollout") as entry:
                work(0.1)
                entry.note(gpu_seconds=1.0)
                entry.note(gpu_seconds=3.0)
    wall, cpu = time.monotonic() - began, used() - before
    rows = read_ledger(tmp_path)
    sums = total(rows)
    assert len(rows) == 3 and {row.stage for row in rows} == {"validate"}
    assert 0.25 <= (sums["cpu_seconds"] or 0.0) <= cpu and (sums["wall_seconds"] or 0.0) <= wall
    assert sums["gpu_seconds"] == 2.0 + 3.0 + 3.0
    (own,) = read_ledger_of(tmp_path)
    assert 0.05 <= own.cpu_seconds < 0.15, "and the outer row has the rest"


def read_ledger_of(folder: Path) -> list[Row]:
    """The rows of this folder, and none of the folders in it."""
    return [read_row(path) for path in row_files(folder) if path.parent.parent == folder]


def test_work_of_another_machine_inside_is_not_the_outer_rows(tmp_path: Path) -> None:
    with account(tmp_path, stage="generate"), account(tmp_path / "s", stage="rollout") as entry:
        entry.add(result(5000.0))
    assert total(read_ledger(tmp_path))["cpu_seconds"] == pytest.approx(5000.0, abs=1.0)
    assert read_ledger_of(tmp_path)[0].cpu_seconds < 1.0


def test_the_time_of_results_changes_no_digest(tmp_path: Path) -> None:
    run_scenarios(TOY, "zero", "train", range(2), store=tmp_path / "s")
    with Store.open(tmp_path / "s") as store:
        row = store.rows()[0]
    later = replace(row, cpu_seconds=99.0, wall_seconds=99.0)
    assert row.cpu_seconds > 0 and later.to_json(timed=False) == row.to_json(timed=False)
    old = {name: v for name, v in json.loads(row.to_json()).items() if name != "cpu_seconds"}
    assert Result.from_json(json.dumps(old)) == replace(row, cpu_seconds=0.0)


# However it ends


def test_a_resumed_run_counts_only_what_it_ran_itself(tmp_path: Path) -> None:
    run_scenarios(TOY, "expert", "train", [0, 1, 4], store=tmp_path / "s")
    for _ in range(2):  # the second time there is nothing left, and so no row
        run_scenarios(TOY, "expert", "train", range(7), store=tmp_path / "s")
    rows = read_ledger(tmp_path)
    assert [row.episodes_tried for row in sorted(rows, key=lambda r: r.scenarios)] == [3, 4]
    assert {row.scenarios for row in rows} == {"0-1,4", "2-3,5-6"}


def test_an_interrupted_run_has_counted_what_it_kept(tmp_path: Path) -> None:
    def stop(found: Result) -> None:
        if found.index == 3:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError):
        run_scenarios(TOY, "zero", "train", range(6), store=tmp_path / "s", on_result=stop)
    (row,) = read_ledger(tmp_path)
    assert row.outcome == "stopped" and row.episodes_tried == 4
    run_scenarios(TOY, "zero", "train", range(6), store=tmp_path / "s")
    assert total(read_ledger(tmp_path))["episodes_tried"] == 6


def test_a_killed_run_leaves_its_row(faults: None, tmp_path: Path) -> None:
    code = (
        "import sys, fabrika, fabrika._ledger as ledger; from pathlib import Path\n"
        "ledger.RENEW_SECONDS = 0.01\n"
        "fabrika.run_scenarios('faults/slow-v1', 'zero', 'train', range(999), "
        "store=Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s")])
    deadline = time.monotonic() + 60
    try:
        while not (rows := read_ledger(tmp_path)) or rows[0].episodes_tried < 3:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        status = process.wait()
    assert status == -signal.SIGKILL
    (row,) = read_ledger(tmp_path)
    with Store.open(tmp_path / "s") as store:
        assert 3 <= row.episodes_tried <= len(store.rows())
    assert row.outcome == "running" and row.wall_seconds > 0 and row.cpu_seconds > 0
    found = json.loads(CliRunner().invoke(main, ["ledger", str(tmp_path), "--json"]).stdout)
    assert found["total"]["unfinished"] == 1


def test_a_clock_that_is_set_back_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Set(datetime):
        jump = timedelta(0)

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            Set.jump += timedelta(days=1)
            return datetime(2030, 1, 9, tzinfo=UTC) - Set.jump

    monkeypatch.setattr(fabrika._ledger, "datetime", Set)
    with account(tmp_path, stage="a"), account(tmp_path / "b", stage="b"):
        time.sleep(0.02)
    for row in read_ledger(tmp_path):
        assert 0 <= row.wall_seconds < 60 and timedelta(0) < row.end - row.start < timedelta(60)
    assert total(read_ledger(tmp_path))["wall_seconds"] >= 0.02  # type: ignore[operator]


def test_many_episodes_cost_no_more_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    monkeypatch.setattr(fabrika._ledger, "write_whole", lambda path, *_: written.append(path))
    with account(tmp_path, stage="rollout") as entry:
        began = time.monotonic()
        for _ in range(1000):
            entry.add(result(0.0))
        took = time.monotonic() - began
    assert len(written) <= 2 + took / fabrika._ledger.RENEW_SECONDS


def test_a_full_disk_is_told_and_hides_no_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(ValueError, match="mine"), account(tmp_path, stage="a"):
        monkeypatch.setattr(os, "fsync", full)
        raise ValueError("mine")
    with pytest.raises(ResourceError, match="No space"), account(tmp_path, stage="b"):
        pytest.fail("it must not begin")
    assert [row.stage for row in read_ledger(tmp_path)] == ["a"], "nothing half-written counts"


# Rows on disk


@pytest.fixture
def written(tmp_path: Path) -> Path:
    with account(tmp_path, stage="a", task=TOY, asked=[3, 1, 2, 9]) as entry:
        entry.add(result(2.5))
    return row_files(tmp_path)[0]


def test_columns_are_those_of_focus_or_marked_as_ours(written: Path) -> None:
    columns = read_row(written).columns()
    assert columns == json.loads(written.read_text())["row"]
    ours = [name for name in columns if name.startswith("x_")]
    focus = [name for name in columns if not name.startswith("x_")]
    assert list(columns) == sorted(focus) + ours
    assert set(focus) == {
        "ChargeCategory",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ConsumedQuantity",
        "ConsumedUnit",
        "ResourceId",
        "ResourceType",
        "ServiceCategory",
        "ServiceName",
    }
    for name in ("ChargePeriodStart", "ChargePeriodEnd"):
        datetime.strptime(columns[name], "%Y-%m-%dT%H:%M:%SZ")
    assert columns["x_Scenarios"] == "1-3,9" and columns["x_Command"]
    guide = (Path(__file__).parents[1] / "docs/guides/ledger.md").read_text()
    assert not [name for name in columns if f"| `{name}` |" not in guide]


def test_an_altered_row_is_noticed_and_named(written: Path) -> None:
    form = json.loads(written.read_text())
    for name, value in form["row"].items():
        changed = value + 1 if isinstance(value, int | float) else f"{value}x"
        text = json.dumps({**form, "row": {**form["row"], name: changed}})
        written.write_text(text)
        with pytest.raises(IntegrityError, match=written.name):
            read_ledger(written.parent.parent)
    for text in ("", "[]", "{}", json.dumps(form)[:-9]):
        written.write_text(text)
        with pytest.raises(IntegrityError, match=written.name):
            read_row(written)
    written.write_text(json.dumps({**form, "format": 2}))
    with pytest.raises(VersionError, match=written.name):
        read_row(written)


def test_a_copied_row_does_not_count_twice(written: Path) -> None:
    copy = written.with_name("20300101T000000Z-00000000.json")
    copy.write_bytes(written.read_bytes())
    with pytest.raises(IntegrityError, match=copy.name):
        read_ledger(written.parent.parent)


# Energy


def counter(root: Path, name: str, kind: str, microjoules: int, most: int = 1000) -> Path:
    path = root / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{kind}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text(f"{most}\n")
    return path / "energy_uj"


@given(st.lists(st.integers(0, 999), max_size=20))
def test_joules_are_the_sum_over_packages_through_any_wraps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    root = tmp_path_factory.mktemp("powercap")
    one = counter(root, "intel-rapl:0", "package-0", 990)
    counter(root, "intel-rapl:1", "package-1", 5)
    for name, kind in (("intel-rapl:0:0", "core"), ("intel-rapl:2", "psys")):
        counter(root, name, kind, 0)
    meter, whole = EnergyMeter(root), 990
    for step in steps:
        whole += step
        one.write_text(str(whole % 1000))
        for name in ("intel-rapl:0:0", "intel-rapl:2"):  # inside and around the package
            (root / name / "energy_uj").write_text(str(step))
        assert meter.joules() == pytest.approx((whole - 990) / 1e6)


def test_joules_that_are_not_reported_are_not_guessed(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path / "none").joules() is None
    one = counter(tmp_path, "intel-rapl:0", "package-0", 10)
    two = counter(tmp_path, "intel-rapl:1", "package-1", 10)
    meter = EnergyMeter(tmp_path)
    one.write_text("30")
    two.unlink()  # as where only root may read it
    assert meter.joules() is None and EnergyMeter(tmp_path).joules() is None
    two.write_text("50")
    assert meter.joules() is None, "what was missed stays unknown"


def test_energy_is_divided_among_the_rows_and_known_for_all_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "powercap"
    one = counter(root, "intel-rapl:0", "package-0", 0, 10**9)
    monkeypatch.setattr(fabrika._energy, "POWERCAP", root)
    with account(tmp_path / "r", stage="a"):
        one.write_text("1000000")
        with account(tmp_path / "r" / "s", stage="b"):
            one.write_text("6000000")
    inner, outer = sorted(r.joules or 0.0 for r in read_ledger(tmp_path / "r"))[::-1]
    assert (inner, outer) == (5.0, 1.0)
    monkeypatch.setattr(fabrika._energy, "POWERCAP", tmp_path / "none")
    with account(tmp_path / "r" / "t", stage="c"):
        pass
    assert total(read_ledger(tmp_path / "r"))["joules"] is None


# The command


def test_the_command_tells_sums_of_the_rows(tmp_path: Path, faults: None) -> None:
    policy = tmp_path / "policy.follow"
    policy.write_text("0.25")
    runs = tmp_path / "runs"
    run_scenarios("faults/none-v1", "expert", "train", range(4), store=runs / "demos")
    words = ["validate", str(policy), "faults/none-v1", "-n", "26", "--workers", "1", "--out"]
    gate = CliRunner().invoke(main, [*words, str(runs / "gate"), "--no-brackets"])
    assert gate.exit_code == 0, gate.output
    sheet = tmp_path / "ledger.csv"
    words = ["ledger", str(runs), "--json", "--csv", str(sheet)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    rows = read_ledger(runs)
    assert {name: found["total"][name] for name in total(rows)} == total(rows)
    assert [r["ConsumedQuantity"] for r in found["rows"]] == [r.cpu_seconds for r in rows]
    assert found["total"]["episodes_tried"] == 4 + 2 * 26
    for name in (*COSTS[:3], "episodes_tried"):
        assert sum(s[name] for s in found["stages"]) == pytest.approx(found["total"][name])
    made = next(s for s in found["stages"] if s["run"] == str(runs / "demos"))
    each = made["cpu_seconds"] / made["episodes_accepted"]
    assert made["per_accepted_episode"]["cpu_seconds"] == each
    with sheet.open(newline="") as file:
        assert [list(row) for row in csv.DictReader(file)] == [list(row) for row in found["rows"]]


def test_the_command_names_altered_rows_and_tells_the_rest(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run_scenarios(TOY, "zero", "train", range(2), store=tmp_path / name)
    bad = row_files(tmp_path / "a")[0]
    bad.write_text(bad.read_text().replace('"x_EpisodesTried": 2', '"x_EpisodesTried": 3'))
    done = CliRunner().invoke(main, ["ledger", str(tmp_path)])
    assert done.exit_code == 6 and str(bad) in done.stderr
    assert str(tmp_path / "b") in done.stdout and "3" not in done.stdout.split()
    found = CliRunner().invoke(main, ["ledger", str(tmp_path), "--json"])
    assert found.exit_code == 6 and json.loads(found.stdout)["total"]["episodes_tried"] == 2


def test_a_folder_without_rows_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["ledger", str(tmp_path)])
    assert done.exit_code == 0 and done.stdout == "" and "no row" in done.stderr
    missing = CliRunner().invoke(main, ["ledger", str(tmp_path / "none")])
    assert missing.exit_code == UsageError.exit_code and "none" in missing.stderr
