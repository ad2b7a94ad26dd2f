"""What several test files share."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no error, and 50 examples of each law keep the suite short.
settings.register_profile("fabrika", deadline=None, max_examples=50)
settings.load_profile("fabrika")

# Started in a shell's background, Python ignores Ctrl-C, and so would all that tests start.
with suppress(ValueError):  # not in the main thread
    signal.signal(signal.SIGINT, signal.default_int_handler)

PLUGINS = Path(__file__).parent / "plugins"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tier",
        choices=("small", "release"),
        default="small",
        help="how far tests/faults goes: small takes two minutes, release half an hour",
    )


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Installs the package of planted faults, for this process and those that it starts."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    rest = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGINS), *rest]))
    monkeypatch.setenv("FAULTS_FOLDER", str(tmp_path))
