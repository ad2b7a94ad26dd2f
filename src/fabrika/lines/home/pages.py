"""Tasks that are pages of YAML, by the names of their entry points.

Each page of ``tasks/`` beside this file is an attribute of this module: ``milk-to-table.yaml`` is
``milk_to_table``; on another robot of its page it is ``milk_to_table_on_aloha``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fabrika._errors import UsageError
from fabrika._task import Task

OWN = Path(__file__).parent / "tasks"
"""The pages that come with Fabrika."""


def load_page(path: Path, robot: str = "") -> Task:
    """The task of one page, on its usual robot or another that it names.

    Raises `UsageError` with line and column of what is wrong, `UnknownNameError` for a robot that
    the page does not name.
    """
    from fabrika.lines.home._chores import task_of
    from fabrika.lines.home._page import read_page

    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    page = read_page(text, str(path))
    return task_of(page.on(robot) if robot else page)


@cache
def _own(name: str, robot: str = "") -> Task:
    return load_page(_path(name), robot)


def _path(name: str) -> Path:
    return OWN / f"{name.replace('_', '-')}.yaml"


def __getattr__(name: str) -> Task:
    if _path(name).is_file():
        return _own(name)
    page, _, robot = name.rpartition("_on_")
    if page and _path(page).is_file():
        return _own(page, robot.replace("_", "-"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
