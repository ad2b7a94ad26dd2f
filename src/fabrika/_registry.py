"""Plug-ins by name: entry points of this and other packages, loaded when asked for."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Literal, get_args

from fabrika._errors import ContractError, UnknownNameError, UsageError
from fabrika._task import Task

PluginKind = Literal["tasks", "policies", "exporters", "robots", "executors"]


def known(kind: PluginKind) -> dict[str, str]:
    """Names of the installed plug-ins of a kind, and where each lives ("module:attribute").

    Nothing is imported. Raises `ContractError` if two packages give one name to two things.
    """
    if kind not in get_args(PluginKind):
        raise UsageError(f"no kind of plug-in {kind!r}; kinds: {', '.join(get_args(PluginKind))}.")
    found: dict[str, str] = {}
    for point in entry_points(group=f"fabrika.{kind}"):
        if found.setdefault(point.name, point.value) != point.value:
            raise ContractError(
                f"two packages install {point.name!r} in fabrika.{kind}: "
                f"{found[point.name]} and {point.value}. Uninstall one."
            )
    return dict(sorted(found.items()))


def load(kind: PluginKind, name: str) -> object:
    """Import one plug-in. Raises `UnknownNameError` with the nearest name."""
    places = known(kind)
    if name not in places:
        hint = "Plug-ins are entry points of installed packages: was one installed?"
        raise UnknownNameError(kind.removesuffix("s"), name, places, hint if not places else "")
    points = entry_points(group=f"fabrika.{kind}", name=name)
    try:
        return next(iter(points)).load()
    except (ImportError, AttributeError) as error:
        raise ContractError(f"{name!r} cannot be loaded from {places[name]}: {error}.") from error


def task(name: str) -> Task:
    """The task of that name, as `Task`."""
    found = load("tasks", name)
    if not isinstance(found, Task):
        raise ContractError(f"the entry point {name!r} gives {type(found).__name__}, not a Task.")
    if found.name != name:
        raise ContractError(f"the entry point {name!r} gives a task that is named {found.name!r}.")
    return found
