"""Laws of many writers: whoever dies, stops, races or has a wrong clock, the store is the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabrika import Result, Store, run_scenarios
from fabrika._control import Lost
from fabrika._disk import POINTS
from fabrika._ledger import read_ledger
from fabrika._owners import LEASE
from fabrika._pool import Job, Pool
from fabrika._verify import verify_store
from faults.server import HERE

COUNTED, COUNT = "faults/counted-v1", 8
RUN = """
import sys
from pathlib import Path
from fabrika import FabrikaError, run_scenarios
try:
    run_scenarios(sys.argv[1], "expert", "train", range(int(sys.argv[2])), workers=1,
                  store=Path(sys.argv[3]), on_result=lambda r: print(r.index, flush=True))
except FabrikaError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""
WRITTEN = [
    point for point in POINTS if point.split("/")[0] in ("episode", "manifest", "turn", "ledger")
]


def start(store: Path, task: str = COUNTED, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, task, str(COUNT), str(store)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def digest(store: Path) -> str:
    with Store.open(store) as opened:
        return opened.digest()


@pytest.fixture
def golden(faults: None, tmp_path: Path) -> str:
    """The digest of a run that nothing disturbs."""
    run_scenarios(COUNTED, "expert", "train", range(COUNT), store=tmp_path / "golden")
    (tmp_path / "begun").unlink()
    return digest(tmp_path / "golden")


def begun(folder: Path) -> Counter[str]:
    """How often each scenario was begun."""
    return Counter((folder / "begun").read_text().split())


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", WRITTEN)
def test_a_run_killed_at_any_fail_point_is_continued(
    golden: str, tmp_path: Path, point: str, nth: int
) -> None:
    store = tmp_path / "s"
    process = start(store, FABRIKA_FAIL_POINT=f"{point}:{nth}")
    process.communicate(timeout=60)
    once = point.startswith("manifest") and nth > 1
    assert process.returncode == (0 if once else -signal.SIGKILL), "the fail-point was not passed"
    run_scenarios(COUNTED, "expert", "train", range(COUNT), store=store)
    assert digest(store) == golden and verify_store(store) == []
    redone = begun(tmp_path).total() - COUNT
    assert redone <= 1 and not list((store / "staging").iterdir())


def test_every_fail_point_is_somewhere() -> None:
    source = Path(sys.modules["fabrika"].__file__ or "").parent
    text = "\n".join(file.read_text() for file in source.rglob("*.py"))
    for point in POINTS:
        kind, step = point.split("/")
        assert f'fail_point("{point}")' in text or (
            f'fail_point(f"{{what}}/{step}")' in text and f'"{kind}"' in text
        ), point


def test_eight_that_race_for_one_store_share_it(golden: str, tmp_path: Path, tier: str) -> None:
    for number in range(2 if tier == "small" else 100):
        store = tmp_path / f"race-{number}"
        racers = [start(store) for _ in range(8)]
        told = [racer.communicate(timeout=120)[0] for racer in racers]
        assert [racer.returncode for racer in racers] == [0] * 8, told
        assert digest(store) == golden and verify_store(store) == []
        assert set(begun(tmp_path).values()) == {number + 1}, "a scenario was run twice"


def test_a_writer_that_wakes_past_its_lease_does_no_harm(golden: str, tmp_path: Path) -> None:
    store = tmp_path / "s"
    sleeper = start(store, FABRIKA_FAIL_POINT="episode/published:3:stop")
    while not _stopped(sleeper.pid):
        time.sleep(0.05)
    before = time.monotonic()
    run_scenarios(COUNTED, "expert", "train", range(COUNT), store=store)
    assert LEASE <= time.monotonic() - before < LEASE + 3, "it has to wait for the lease, no more"
    assert digest(store) == golden
    os.kill(sleeper.pid, signal.SIGCONT)
    told, _ = sleeper.communicate(timeout=60)
    assert sleeper.returncode == 0 and len(told.split()) == COUNT
    assert digest(store) == golden and begun(tmp_path).total() == COUNT + 1


def test_a_killed_writer_is_succeeded_at_once(golden: str, tmp_path: Path) -> None:
    store = tmp_path / "s"
    start(store, FABRIKA_FAIL_POINT="episode/published:3").communicate()
    before = time.monotonic()
    run_scenarios(COUNTED, "expert", "train", range(COUNT), store=store)
    assert time.monotonic() - before < LEASE / 2 and digest(store) == golden


@pytest.fixture
def jumping_clock(tmp_path: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path / "clock.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "clock.c")]
    subprocess.run(command, check=True)
    return library


def test_a_clock_that_jumps_changes_nothing(
    golden: str, tmp_path: Path, jumping_clock: Path
) -> None:
    store = tmp_path / "s"
    shown = subprocess.run(
        [sys.executable, "-c", "import time; print(*(time.time() for _ in range(20)))"],
        env={**os.environ, "LD_PRELOAD": str(jumping_clock)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert max(map(float, shown)) - min(map(float, shown)) > 80_000, "the clock does not jump"
    before = time.monotonic()
    both = [start(store, LD_PRELOAD=str(jumping_clock)) for _ in range(2)]
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert time.monotonic() - before < 30
    assert digest(store) == golden and set(begun(tmp_path).values()) == {1}
    rows = read_ledger(store)
    assert rows and all(0 <= row.wall_seconds < 60 and row.end > row.start for row in rows)


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.fixture
def pool(faults: None) -> Iterator[Pool]:
    pool = Pool(Job(task=COUNTED, actor="expert", split="train"), 1, stall=2.5)
    yield pool
    pool.close()


def test_a_worker_that_hangs_is_replaced(pool: Pool) -> None:
    pool.give([0])
    (worker,) = pool._workers
    while not isinstance(_answer(pool), Result):  # it has built its world
        pass
    pool.give([1])
    os.kill(worker.process.pid, signal.SIGSTOP)
    before = time.monotonic()
    lost = _answer(pool)
    assert isinstance(lost, Lost) and lost.index == 1 and "no sign of life" in lost.why
    assert 2 < time.monotonic() - before < 30
    pool.give([1])
    again = _answer(pool)
    assert isinstance(again, Result) and again.index == 1


def _answer(pool: Pool) -> Result | Lost:
    while True:
        for answer in pool.take(1.0):
            return answer


def test_a_worker_whose_parent_is_gone_seals_nothing_false(golden: str, tmp_path: Path) -> None:
    """Its sign of life finds no reader: that is no fault of the actor that was acting."""
    store = tmp_path / "s"
    run_scenarios(COUNTED, "expert", "train", range(COUNT), store=store)
    before = set((store / "objects").rglob("*.npz"))
    job = Job(task=COUNTED, actor="expert", split="train", store=store)
    code = "import fabrika._worker as w; w._SIGN = 0.0; w.main()"
    worker = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdin and worker.stdout
    worker.stdin.write(f"{job.to_json()}\n")
    worker.stdin.flush()
    worker.stdout.readline()  # it has begun
    worker.stdout.close()
    worker.stdin.write("0\n")
    worker.stdin.close()
    assert worker.wait(timeout=60) == 0
    assert set((store / "objects").rglob("*.npz")) == before
