"""The faults of the world, planted: what a store must outlive, and how to do it to one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fabrika import Store

PLUGINS = Path(__file__).resolve().parent.parent / "plugins"


@contextmanager
def planted(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """Installs the package of planted faults, for this process and those that it starts.

    They leave their marks in ``folder``. Afterwards the environment is what it was, whatever
    anybody else did to it.
    """
    before = dict(os.environ)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLUGINS))
        rest = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
        patch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGINS), *rest]))
        patch.setenv("FAULTS_FOLDER", str(folder))
        yield patch
    os.environ.clear()
    os.environ.update(before)


def forget(store: Store, position: int) -> None:
    """Take a row out of the index behind the store's back, as nothing of Fabrika does."""
    store.index._database.execute("DELETE FROM results WHERE position = ?", (position,))
