"""A process that has Fabrika imported already, and forks once for each case: 5 ms, not 500.

It runs with the shim preloaded, reads one case a line and answers each with one line, both JSON.
What a case may say, and what is answered, is told in server.py.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib.metadata
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

# The list of installed packages does not change while this runs; to read it takes 50 ms a case.
for _name in ("version", "entry_points"):
    setattr(importlib.metadata, _name, functools.cache(getattr(importlib.metadata, _name)))

from fabrika import FabrikaError, Result, Store, run_scenarios  # noqa: E402

MODES = ("off", "fail-one", "fail-from", "short", "kill-before", "kill-half")
"""As in shim.c."""
PATIENCE = 60.0
"""No case takes longer than this [s]."""

Tell = Callable[..., None]
_shim = ctypes.CDLL(os.environ.get("LD_PRELOAD") or None)


def main() -> None:
    """Answer until the input ends."""
    with tempfile.TemporaryDirectory() as folder:  # whatever is imported late is imported now
        warm = {"store": f"{folder}/s", "task": "toy/reach-v1", "count": 1}
        _run(warm, lambda **said: None)
        _check(warm)
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(_serve(json.loads(line))), flush=True)


def _serve(case: dict[str, Any]) -> dict[str, Any]:
    """Do one case in a fork, and gather what it says until it ends or has to be killed."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        _child(case, theirs)
    os.close(theirs)
    start, said = time.monotonic(), b""
    end, rows = start + PATIENCE, case.get("kill_rows", 0)
    with selectors.DefaultSelector() as selector:
        selector.register(ours, selectors.EVENT_READ)
        while True:
            if "kill_at" in case and end == start + PATIENCE and said.count(b'"told"') >= rows:
                end = time.monotonic() + case["kill_at"]
            chunk = os.read(ours, 1 << 16) if selector.select(end - time.monotonic()) else None
            if not chunk:
                break
            said += chunk
    late = chunk is None
    if late:
        _kill_tree(child)
        while chunk := os.read(ours, 1 << 16):
            said += chunk
    os.close(ours)
    _, status = os.waitpid(child, 0)
    whole = said[: said.rfind(b"\n") + 1]
    answer: dict[str, Any] = {"told": [], "killed": os.WIFSIGNALED(status)}
    for line in whole.splitlines():
        heard = json.loads(line)
        answer["told"] += heard.pop("told", [])
        answer |= heard
    seconds = time.monotonic() - start
    return answer | {"seconds": seconds, "hung": late and seconds >= PATIENCE}


def _child(case: dict[str, Any], pipe: int) -> None:
    """Never returns."""

    def tell(**said: Any) -> None:
        os.write(pipe, json.dumps(said).encode() + b"\n")

    status = 0
    try:
        os.environ.update(case.get("environment", {}))
        if case["run"]:
            _run(case, tell)
        if case["check"]:
            tell(check=_check(case))
    except BaseException:
        tell(crashed=traceback.format_exc())
        status = 1
    os._exit(status)


def _run(case: dict[str, Any], tell: Tell) -> None:
    """Run the scenarios, with the fault if there is one, and say how it ended."""
    mode, nth = MODES.index(case.get("mode", "off")), case.get("nth", 0)
    root, log = case.get("root", ""), case.get("log", "")

    def heard(result: Result) -> None:
        _shim.fault_mark(result.to_json().encode())
        tell(told=[result.to_json()])

    if case.get("cheap_workers"):
        subprocess.Popen = ForkedWorker  # type: ignore[assignment,misc]
    _shim.fault_arm(root.encode(), mode, ctypes.c_long(nth), case.get("errno", 0), log.encode())
    error: BaseException | None = None
    try:
        _run_scenarios(case, heard, case.get("workers", 1))
    except BaseException as caught:
        error = caught
    calls = _shim.fault_count()
    _shim.fault_arm(b"", 0, ctypes.c_long(0), 0, b"")
    tell(calls=calls, **_described(error))


def _run_scenarios(case: dict[str, Any], heard: Callable[[Result], None], workers: int) -> None:
    run_scenarios(
        case["task"],
        "expert",
        "train",
        range(case["count"]),
        workers=workers,
        store=Path(case["store"]),
        on_result=heard,
    )


def _check(case: dict[str, Any]) -> dict[str, Any]:
    """What a store holds as it was found, and after the same run has been made once more."""
    store, again, check = Path(case["store"]), [], {"found": None}
    try:
        check["found"] = _rows(store)
    except FabrikaError as error:
        check |= _described(error)
    try:
        _run_scenarios(case, lambda result: again.append(result.to_json()), workers=1)
        with Store.open(store) as opened:
            digest = opened.digest()
        return check | {"again": again, "after": _rows(store), "digest": digest}
    except Exception:
        return check | {"crashed": traceback.format_exc()}


def _rows(store: Path) -> list[str]:
    """All rows; raises unless the episode of each is there, and is what was written."""
    with Store.open(store) as opened:
        for row in opened.rows():
            opened.episode(row)
        return [row.to_json() for row in opened.rows()]


def _described(error: BaseException | None) -> dict[str, Any]:
    if error is None:
        return {"error": "", "exit_code": 0, "trace": ""}
    return {
        "error": f"{type(error).__name__}: {error}",
        "exit_code": getattr(error, "exit_code", None),
        "trace": "".join(traceback.format_exception(error)),
    }


class ForkedWorker:
    """Stands in for the `Popen` of a worker: a fork of this process, ready at once."""

    real = subprocess.Popen

    def __new__(cls, command: list[str], **options: Any) -> Any:
        if command[1:] != ["-m", "fabrika._worker"]:
            return cls.real(command, **options)
        return super().__new__(cls)

    def __init__(self, command: list[str], **options: Any) -> None:
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self.pid, self._status = os.fork(), None
        if self.pid == 0:
            os.setsid()
            os.dup2(theirs_in, 0)
            os.dup2(theirs_out, 1)
            os.closerange(3, 400)  # a real worker inherits nothing, no lock above all
            os.environ.update(options.get("env") or {})
            self._work()
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin, self.stdout = os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb")

    def _work(self) -> None:
        try:
            import fabrika._worker

            sys.stdin = os.fdopen(0, "r")
            fabrika._worker.main()
        finally:
            os._exit(0)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        end = time.monotonic() + (PATIENCE if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("worker", timeout or PATIENCE)
            time.sleep(0.001)
        return status


def _kill_tree(process: int) -> None:
    """SIGKILL for a process and all its descendants; none can start another meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGSTOP)
    for child in _children(process):
        _kill_tree(child)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _children(process: int) -> list[int]:
    try:
        listing = Path(f"/proc/{process}/task/{process}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in listing.split()]


if __name__ == "__main__":
    main()
