"""Plug-ins by name: entry points of this and other packages, loaded when asked for."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Literal, get_args

from fabrika._errors import ContractError, UnknownNameError, UsageError
from fabrika._task import Task

PluginKind = Literal["tasks", "policies", "exporters", "robots", "executors"]


def known(kind: PluginKind) -> dict[str, str]:
    """Names of the plug-ins of a kind, and where each lives ("module:attribute").

    Installed ones, and tasks that an entry point of ``fabrika.finders`` finds: a callable that
    gives such a dictionary. None is imported. Raises `ContractError` for a name of two things.
    """
    return {name: point.value for name, point in sorted(_points(kind).items())}


def _points(kind: PluginKind) -> dict[str, EntryPoint]:
    if kind not in get_args(PluginKind):
        raise UsageError(f"no kind of plug-in {kind!r}; kinds: {', '.join(get_args(PluginKind))}.")
    group = f"fabrika.{kind}"
    points = list(entry_points(group=group))
    for finder in entry_points(group="fabrika.finders") if kind == "tasks" else ():
        points += [EntryPoint(name, place, group) for name, place in finder.load()().items()]
    found: dict[str, EntryPoint] = {}
    for point in points:
        if found.setdefault(point.name, point).value != point.value:
            raise ContractError(
                f"two things are named {point.name!r} in {group}: {found[point.name].value} and "
                f"{point.value}. Rename or uninstall one."
            )
    return found


def load(kind: PluginKind, name: str) -> object:
    """Import one plug-in. Raises `UnknownNameError` with the nearest name."""
    points = _points(kind)
    if name not in points:
        hint = "Plug-ins are entry points of installed packages: was one installed?"
        raise UnknownNameError(kind.removesuffix("s"), name, points, hint if not points else "")
    try:
        return points[name].load()
    except (ImportError, AttributeError) as error:
        where = points[name].value
        raise ContractError(f"{name!r} cannot be loaded from {where}: {error}.") from error


def task(name: str) -> Task:
    """The task of that name, as `Task`."""
    found = load("tasks", name)
    if not isinstance(found, Task):
        raise ContractError(f"the entry point {name!r} gives {type(found).__name__}, not a Task.")
    if found.name != name:
        raise ContractError(f"the entry point {name!r} gives a task that is named {found.name!r}.")
    return found
