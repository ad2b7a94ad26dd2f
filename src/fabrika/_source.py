"""The code behind a task, as one digest: what was changed under an old name is seen."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

from fabrika._registry import known

CORE = ("actor", "check", "episode", "rollout", "scenario", "signals", "task")
"""Modules of the core that an episode's bits depend on."""


def source_digest(task: str) -> str:
    """SHA-256 over the source that the episodes of an installed task depend on.

    That is: the core's loop and judge, the simulator shell, and the package that the task's entry
    point is in (for a line of Fabrika's own: that line). What these import from elsewhere is
    fixed by the versions in the manifest.
    """
    return _digest(known("tasks").get(task, task))


@cache
def _digest(place: str) -> str:
    module = place.partition(":")[0]
    own = Path(__file__).parent
    files = {own / f"_{name}.py" for name in CORE} | set((own / "sim").rglob("*.py"))
    parts = module.split(".")
    package = ".".join(parts[:3]) if parts[:2] == ["fabrika", "lines"] else parts[0]
    files |= _files(package)
    found = hashlib.sha256()
    for file in sorted(files, key=lambda file: (file.parent.name, file.name)):
        found.update(f"{file.parent.name}/{file.name}\0".encode() + file.read_bytes())
    return found.hexdigest()


def _files(package: str) -> set[Path]:
    """The source files of a package or module; none if there is no source."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return set()
    if spec is None:
        return set()
    if spec.submodule_search_locations:
        return {
            file
            for folder in spec.submodule_search_locations
            for file in Path(folder).rglob("*.py")
        }
    return {Path(spec.origin)} if spec.origin and Path(spec.origin).is_file() else set()
