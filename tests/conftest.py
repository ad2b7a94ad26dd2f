"""What several test files share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

from faults import planted

# A slow machine is no error, and 50 examples of each law keep the suite short.
settings.register_profile("fabrika", deadline=None, max_examples=50)
settings.load_profile("fabrika")

# Started in a shell's background, Python ignores Ctrl-C, and so would all that tests start.
with suppress(ValueError):  # not in the main thread
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tier",
        choices=("small", "release"),
        default="small",
        help="how far tests/faults goes: small takes minutes, release 40 of them",
    )


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[None]:
    """Installs the package of planted faults, for this process and those that it starts."""
    with planted(tmp_path):
        yield
