"""Laws of a failing disk: whichever call fails, it is said, nothing is lost, a rerun mends it.

Every call that changes a file is made to fail in turn, or is never reached.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from faults.powerloss import Op, read_log
from faults.server import COUNT, Answer, Server, complaints

RESOURCE_ERROR = 7
"""Exit code of `fabrika.ResourceError`."""
FAULTS = [("fail-from", "ENOSPC"), ("fail-one", "EIO"), ("short", "ENOSPC"), ("short", "")]
"""All later calls fail too, or this one alone; half is written, and then all fails, or goes on."""
MORE_FAULTS = [("fail-one", "ENOSPC"), ("fail-from", "EIO"), ("short", "EIO")]
MORE_FAULTS += [("fail-one", "EDQUOT"), ("fail-from", "EDQUOT"), ("short", "EDQUOT")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fault" in metafunc.fixturenames:
        release = metafunc.config.getoption("--tier") == "release"
        faults = FAULTS + (MORE_FAULTS if release else [])
        metafunc.parametrize("fault", faults, ids=[" ".join(fault).strip() for fault in faults])


@pytest.fixture(scope="session")
def calls(server: Server) -> list[Op]:
    """The calls that a run without faults makes, in order."""
    log = server.folder / "log"
    answer = server.run(server.root(), log=str(log))
    found = [op for op in read_log(log) if op.kind not in {"root", "mark"}]
    assert len(found) == answer["calls"]
    return found


def test_the_shim_sees_python_and_sqlite(calls: list[Op]) -> None:
    """Were a call to escape it, every other law here would hold of nothing."""
    journal = [op.kind for op in calls if op.path.endswith(("-journal", "-wal"))]
    assert journal.count("write") > COUNT and journal.count("sync") > COUNT
    episodes = [op.kind for op in calls if ".npz" in op.path]
    assert episodes.count("write") >= COUNT and episodes.count("sync") >= COUNT
    assert sum(op.kind == "rename" and op.worked for op in calls) >= COUNT


def which(calls: list[Op], mode: str) -> range | list[int]:
    """Numbers of the calls to disturb: only a write can be cut in the middle.

    A few more than there are, in case that a run with a fault makes more.
    """
    if mode in {"short", "kill-half"}:
        return [n for n, op in enumerate(calls, start=1) if op.kind == "write" and len(op.data) > 1]
    return range(1, len(calls) + 3)


def told(wrong: list[str]) -> str:
    return "\n".join([f"{len(wrong)} cases:", *wrong[:20]])


def test_a_failing_call_is_reported_and_a_rerun_mends_it(
    server: Server, golden: Answer, calls: list[Op], fault: tuple[str, str]
) -> None:
    mode, name = fault
    number = getattr(errno, name, 0)
    wrong, failed = [], 0
    for nth in which(calls, mode):
        root = server.root()
        answer = server.run(root, check=True, mode=mode, nth=nth, errno=number)
        failed += answer["error"] != ""
        found = complaints(answer["check"], answer["told"], golden)
        if answer["killed"] or answer["exit_code"] not in {0, RESOURCE_ERROR}:
            found.append(f"it ended with {answer['error']}\n{answer['trace']}")
        wrong += [f"{mode} {name} at {named(calls, nth)}: {what}" for what in found]
        shutil.rmtree(root)
    assert not wrong, told(wrong)
    # The call that is cut short and then goes on is no error; few others may be passed over.
    assert failed == 0 if not name else failed > 0.8 * len(which(calls, mode))


def test_a_failing_call_in_any_process_of_a_pool_is_reported(
    server: Server, golden: Answer, calls: list[Op], pytestconfig: pytest.Config
) -> None:
    """The n-th call of each process, and all its later ones, find the disk full."""
    wrong, failed = [], []
    step = 1 if pytestconfig.getoption("--tier") == "release" else 5
    for nth in range(1, len(calls), step):
        root, disk = server.root(), {"mode": "fail-from", "errno": errno.ENOSPC}
        answer = server.run(root, check=True, workers=2, cheap_workers=True, nth=nth, **disk)
        failed.append(answer["error"] != "")
        found = complaints(answer["check"], answer["told"], golden)
        if answer["killed"] or answer["exit_code"] not in {0, RESOURCE_ERROR}:
            found.append(f"it ended with {answer['error']}\n{answer['trace']}")
        wrong += [f"call {nth}: {what}" for what in found]
        shutil.rmtree(root)
    assert not wrong, told(wrong)
    assert failed[0] and sum(failed) > len(failed) // 2


@pytest.mark.parametrize("mode", ["kill-before", "kill-half"])
def test_a_run_killed_at_any_call_is_continued(
    server: Server, golden: Answer, calls: list[Op], mode: str
) -> None:
    wrong, killed = [], 0
    for nth in which(calls, mode):
        root = server.root()
        answer = server.run(root, mode=mode, nth=nth)
        killed += answer["killed"]
        found = complaints(server.check(root), answer["told"], golden)
        wrong += [f"{mode} at {named(calls, nth)}: {what}" for what in found]
        shutil.rmtree(root)
    assert not wrong, told(wrong)
    assert killed >= min(len(calls), len(which(calls, mode))) - 2


def named(calls: list[Op], nth: int) -> str:
    """The call, by its number and by what it was in the run without faults."""
    op = calls[nth - 1] if nth <= len(calls) else None
    return f"call {nth}" + (f" ({op.kind} {Path(op.path).name})" if op else "")
