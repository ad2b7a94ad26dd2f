"""The shim, compiled; a server that forks for each case; and what a run without faults gives."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.server import COUNT, HERE, Answer, Server


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled shim."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE"]
    command = [compiler, *options, "-o", str(library), str(HERE / "shim.c"), "-lpthread"]
    subprocess.run(command, check=True)
    return library


@pytest.fixture(scope="session")
def server(shim: Path) -> Iterator[Server]:
    """A server whose stores lie in memory, if there is such a place: a sync costs nothing there."""
    memory = Path("/dev/shm")  # whether syncs are asked for is seen by the shim, not by the disk
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="fabrika-faults-") as folder:
        server = Server(shim, Path(folder))
        yield server
        server.close()


@pytest.fixture(scope="session")
def golden(server: Server) -> Answer:
    """The same run without any fault."""
    root = server.root()
    assert server.run(root)["error"] == ""
    answer = server.check(root)
    assert len(answer["after"]) == COUNT and answer["after"] == answer["found"]
    return answer


@pytest.fixture
def tier(pytestconfig: pytest.Config) -> str:
    """How far to go: "small" or "release"."""
    return str(pytestconfig.getoption("--tier"))
