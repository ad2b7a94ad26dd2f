"""The tests' end of fork_server.py: cases go in, what came of them comes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TASK = "faults/brief-v1"
"""The toy task with ten steps: what is tested here is files."""
COUNT = 3
"""Scenarios of a run."""
WARNINGS = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
"""Python warns of forks beside threads; the forks here live for one case, and hold no lock."""

Answer = dict[str, Any]
"""What the server says of a case.

Of a run: ``told`` (rows that on_result was given), ``calls`` (how many the shim counted),
``error`` ("" or "Kind: message"), ``exit_code`` (None if it is not one of Fabrika's), ``trace``,
``killed``, ``seconds``.

Of a check, in ``check``: ``found`` (rows of the store as it was; None, and again ``error``,
``exit_code`` and ``trace``, if it could not be read); and then, after the same run was made once
more, ``again`` (rows told), ``after`` (rows stored), ``digest``, or ``crashed``, a traceback.
"""


class Server:
    """Does cases, each in a fork, and keeps the folders they work in."""

    def __init__(self, shim: Path, folder: Path) -> None:
        plugins = str(HERE.parent / "plugins")
        rest = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        paths = {"PYTHONPATH": os.pathsep.join([plugins, *rest]), "FAULTS_FOLDER": str(folder)}
        self._process = subprocess.Popen(
            [sys.executable, *WARNINGS, str(HERE / "fork_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **one, **paths, "LD_PRELOAD": str(shim)},
        )
        self.folder = folder
        self._cases = 0

    def root(self) -> Path:
        """A new empty folder, for one store and what lies above it."""
        self._cases += 1
        path = self.folder / str(self._cases)
        path.mkdir()
        return path

    def run(self, root: Path, *, check: bool = False, **case: Any) -> Answer:
        """Run the scenarios into a store under the root, with a fault; check in that process.

        The fault: ``mode`` (as in shim.c), ``nth``, ``errno``; or ``kill_at`` [s], counted from
        when ``kill_rows`` rows were told of. ``cheap_workers``: workers are forked. ``log``: the
        calls are written to that file.
        """
        return self._ask(root, run=True, check=check, **case)

    def check(self, root: Path, **case: Any) -> Answer:
        """Read that store, run the same once more without faults, and read it again."""
        answer: Answer = self._ask(root, run=False, check=True, **case)["check"]
        return answer

    def _ask(self, root: Path, **case: Any) -> Answer:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        place = {"root": str(root), "store": str(store_of(root))}
        print(json.dumps({"task": TASK, "count": COUNT, **place, **case}), file=stdin, flush=True)
        answer: Answer = json.loads(stdout.readline())
        assert "crashed" not in answer, answer["crashed"]
        assert not answer["hung"], f"no end after {answer['seconds']:.0f} s: {case}"
        return answer

    def close(self) -> None:
        self._process.communicate()


def store_of(root: Path) -> Path:
    """Neither the store nor the folder above it is there before the first run."""
    return root / "runs" / "s"


def complaints(check: Answer, told: list[str], golden: Answer) -> list[str]:
    """What is wrong with a store that was disturbed, seen before and after a rerun.

    ``told``: rows that on_result was given before: these must never be lost, nor made anew.
    """
    if "crashed" in check:
        return [f"the rerun failed: {check['crashed']}"]
    found = check["found"]
    wrong = []
    if found is None and (told or check["exit_code"] != 2):
        wrong.append(f"the store does not open: {check['trace']}")
    if lost := set(told) - set(found or []):
        wrong.append(f"{len(lost)} of {len(told)} rows that were told of are lost")
    if lost := set(found or []) - set(check["after"]):
        wrong.append(f"{len(lost)} rows were there, and are not after the rerun")
    if len(check["again"]) != len(check["after"]) or set(check["again"]) != set(check["after"]):
        wrong.append("what the rerun tells is not what it stores")
    if check["digest"] != golden["digest"]:
        wrong.append("the digest is not that of a run without faults")
    return wrong
