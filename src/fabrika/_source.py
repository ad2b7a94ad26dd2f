"""The code behind a task, as one digest: what was changed under an old name is seen."""

from __future__ import annotations

import hashlib
import importlib.util
from contextlib import suppress
from functools import cache
from pathlib import Path

from fabrika._registry import known

CORE = ("actor", "check", "episode", "rollout", "scenario", "signals", "task")
"""Modules of the core that an episode's bits depend on."""
REMARK = b"experimental:"
"""A line of a page that says how far its expert is to be trusted: it changes no episode."""


def source_digest(task: str) -> str:
    """SHA-256 over the source that the episodes of an installed task depend on.

    That is: the core's loop and judge, the simulator shell, and the package that the task's entry
    point is in (for a line of Fabrika's own: that line), with the page of YAML that it is named
    after, or else all its pages; and the place of the task in it, which says what is in a page that
    was found. What these import from elsewhere is fixed by the versions in the manifest.
    """
    return _digest(known("tasks").get(task, task))


@cache
def _digest(place: str) -> str:
    own = Path(__file__).parent
    files = {own / f"_{name}.py" for name in CORE} | set((own / "sim").rglob("*.py"))
    parts = place.partition(":")[0].split(".")
    files |= _files(".".join(parts[: 3 if parts[:2] == ["fabrika", "lines"] else 1]))
    pages = {file for file in files if file.suffix == ".yaml"}
    name = place.partition(":")[2]
    files -= pages - ({f for f in pages if name.startswith(f.stem.replace("-", "_"))} or pages)
    found = hashlib.sha256(place.encode())
    for file in sorted(files, key=lambda file: (file.parent.name, file.name)):
        lines = file.read_bytes().splitlines(keepends=True)
        said = b"".join(n for n in lines if file not in pages or not n.startswith(REMARK))
        found.update(f"{file.parent.name}/{file.name}\0".encode() + said)
    return found.hexdigest()


def _files(package: str) -> set[Path]:
    """The source files of a package or module; none if there is no source."""
    spec = None
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    found = [file for folder in folders for file in folder.rglob("*.*")]
    found += [Path(spec.origin)] if spec and spec.origin and not folders else []
    return {file for file in found if file.suffix in (".py", ".yaml") and file.is_file()}
