"""Tasks that are pages of YAML, by the names of their entry points.

Each page of ``tasks/`` beside this file is an attribute of this module: ``milk-to-table.yaml`` is
``milk_to_table``; on another robot of its page it is ``milk_to_table_on_aloha``. So is each page
of a folder of one's own, see `find`: ``home_milk_v1_`` and the digest of its text, so that another
text is another task's source.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from fabrika._errors import UsageError
from fabrika._task import Task

if TYPE_CHECKING:
    from fabrika.lines.home._page import Page

OWN = Path(__file__).parent / "tasks"
"""The pages that come with Fabrika."""
START = Path(__file__).parent / "start.yaml"
"""What a new page begins as."""
FOLDERS = "FABRIKA_TASKS"
"""Environment variable: folders with pages of one's own. Without it, ``tasks`` in this one."""
_MOST = 1 << 20
"""How much of a file is looked at; no page is so long [B]."""
_NAME = re.compile(rb"^task:[ \t]*[\"']?([\w-]+/[\w-]+)[\"']?[ \t\r]*(?:#.*)?$", re.MULTILINE)


def folders() -> list[Path]:
    """Where pages of one's own are looked for, in order."""
    named = os.environ.get(FOLDERS, "").split(os.pathsep)
    return [Path(folder) for folder in named if folder] or [Path("tasks")]


def find() -> dict[str, str]:
    """Where each task of one's own lives ("module:attribute"), by name; no page is read in full.

    A page is a file ``*.yaml`` with a key ``task``. Raises `UsageError` if two have one name.
    """
    installed = {point.name: point.value for point in entry_points(group="fabrika.tasks")}
    found: dict[str, str] = {}
    files: dict[str, Path] = {}
    for path, (name, attribute) in _pages().items():
        if name in installed:
            raise UsageError(f"{path} is named {name!r}, as {installed[name]} is. Name it anew.")
        if name in files:
            raise UsageError(f"{files[name]} and {path} are both named {name!r}. Rename one.")
        files[name], found[name] = path, f"{__name__}:{attribute}"
    return found


def path_of(place: str) -> Path | None:
    """The page that lives at "module:attribute"; None if none does."""
    module, _, attribute = place.partition(":")
    if module != __name__:
        return None
    own = OWN / f"{attribute.replace('_', '-')}.yaml"
    if own.is_file():
        return own
    return next((path for path, (_, known) in _pages().items() if known == attribute), None)


def page_at(place: str) -> tuple[Page, Path] | None:
    """The page whose task lives at "module:attribute", for that task's robot, and its file.

    None if no page does. Raises as `load_page` does.
    """
    path, robot = path_of(place), ""
    if path is None:
        place, _, robot = place.rpartition("_on_")
        path = path_of(place)
    return None if path is None else (_read(path, robot.replace("_", "-")), path)


def load_page(path: Path, robot: str = "") -> Task:
    """The task of one page, on its usual robot or another that it names.

    Raises `UsageError` with line and column of what is wrong, `UnknownNameError` for a robot that
    the page does not name.
    """
    from fabrika.lines.home._chores import task_of

    return task_of(_read(path, robot))


def _read(path: Path, robot: str) -> Page:
    """One page, for its usual robot if none is named."""
    from fabrika.lines.home._page import read_page

    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    page = read_page(text, str(path))
    return page.on(robot) if robot else page


def _pages() -> dict[Path, tuple[str, str]]:
    """Name and attribute of every page of one's own, by its file."""
    found = {}
    for folder in {folder.resolve(): folder for folder in folders()}.values():
        for path in sorted(folder.glob("*.yaml")):
            data = b""
            with suppress(OSError):  # who names its task is told that there is none
                if path.is_file():
                    with path.open("rb") as file:
                        data = file.read(_MOST)
            if named := _NAME.search(data):
                name = named.group(1).decode()
                digest = hashlib.sha256(data).hexdigest()[:16]
                found[path] = name, re.sub(r"\W", "_", f"{name}_{digest}")
    return found


@cache
def _task(attribute: str) -> Task | None:
    from fabrika.lines.home._chores import task_of

    found = page_at(f"{__name__}:{attribute}")
    return None if found is None else task_of(found[0])


def __getattr__(name: str) -> Task:
    found = None if name.startswith("__") else _task(name)
    if found is None:
        raise AttributeError(f"no page is {name!r}: was its file changed or moved just now?")
    return found
