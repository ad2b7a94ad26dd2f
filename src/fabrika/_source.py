"""The code behind a task, as one digest: what was changed under an old name is seen."""

from __future__ import annotations

import ast
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
    point is in (of a line of Fabrika's own: what the entry point's module imports from it), with
    the page of YAML that it is named after, or else all its pages; and the place of the task in it,
    which says what is in a page that was found. What these import from elsewhere is fixed by the
    versions in the manifest.
    """
    return _digest(known("tasks").get(task, task))


@cache
def _digest(place: str) -> str:
    own = Path(__file__).parent
    files = {own / f"_{name}.py" for name in CORE} | set((own / "sim").rglob("*.py"))
    module, _, name = place.partition(":")
    line = module.startswith("fabrika.lines.")
    package = ".".join(module.split(".")[: 3 if line else 1])
    held = _files(package)
    pages = {file for file in held if file.suffix == ".yaml"}
    mine = {file for file in pages if name.startswith(file.stem.replace("-", "_"))}
    code = _imported(module, package) if line else frozenset(held - pages)
    found = hashlib.sha256(place.encode())
    for file in sorted(files | code | (mine or (set() if line else pages)), key=_key):
        lines = file.read_bytes().splitlines(keepends=True)
        said = b"".join(n for n in lines if file not in pages or not n.startswith(REMARK))
        found.update(f"{file.parent.name}/{file.name}\0".encode() + said)
    return found.hexdigest()


def _key(file: Path) -> tuple[str, str]:
    return file.parent.name, file.name


@cache
def _imported(module: str, package: str) -> frozenset[Path]:
    """The files of a module of a line, and of all that it imports, in turn, from the line."""
    found: set[Path] = set()
    seen, ahead = {module, package}, [module, package]
    while ahead:
        place = Path(__file__).parent.joinpath(*ahead.pop().split(".")[1:])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if not file.is_file():  # what is imported from a module is none
            continue
        found.add(file)
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                named = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                named = {alias.name for alias in node.names}
            else:
                continue
            fresh = {n for n in named if n.startswith(f"{package}.")} - seen
            seen |= fresh
            ahead += fresh
    return frozenset(found)


def _files(package: str) -> set[Path]:
    """The source files of a package or module; none if there is no source."""
    spec = None
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    found = [file for folder in folders for file in folder.rglob("*.*")]
    found += [Path(spec.origin)] if spec and spec.origin and not folders else []
    return {file for file in found if file.suffix in (".py", ".yaml") and file.is_file()}
