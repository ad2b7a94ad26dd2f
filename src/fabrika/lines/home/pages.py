"""Tasks that are pages of YAML, by the names of their entry points.

Each page of ``tasks/`` beside this file is an attribute of this module: ``milk-to-table.yaml`` is
``milk_to_table``. Pages of a folder of one's own are found by `find`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fabrika._errors import UsageError
from fabrika._task import Task

OWN = Path(__file__).parent / "tasks"
"""The pages that come with Fabrika."""


def load_page(path: Path) -> Task:
    """The task of one page. Raises `UsageError` with line and column of what is wrong."""
    from fabrika.lines.home._chores import task_of
    from fabrika.lines.home._page import read_page

    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    return task_of(read_page(text, str(path)))


@cache
def _own(name: str) -> Task:
    return load_page(OWN / f"{name.replace('_', '-')}.yaml")


def __getattr__(name: str) -> Task:
    if (OWN / f"{name.replace('_', '-')}.yaml").is_file():
        return _own(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
