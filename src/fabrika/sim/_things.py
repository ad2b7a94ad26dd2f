"""Household things as MJCF: each a free body whose origin is the centre of its bottom.

Kinds are the shapes of ``_shapes``, and a few older names for them that scenarios use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from fabrika._errors import UnknownNameError
from fabrika.sim._shapes import SHAPES, TRAY_GRIP, Params, cylinder, geom

__all__ = ["THINGS", "TRAY_GRIP", "thing"]


def _can(p: Params, looks: bool) -> str:
    return cylinder({**p, "lid": ".75 .76 .78 1"}, looks)


def _glass(p: Params, looks: bool) -> str:
    return cylinder(p, looks).replace("<geom ", '<geom rgba="0.75 0.85 0.9 0.55" ')


def _carton(p: Params, looks: bool) -> str:
    r, h = p["radius"], p["height"]
    return geom("box", size=f"{r} {r} {h / 2}", pos=f"0 0 {h / 2}", mass=p["mass"])


def _fruit(p: Params, looks: bool) -> str:
    r = p["radius"]
    return geom("sphere", size=r, pos=f"0 0 {r}", mass=p["mass"])


THINGS: Mapping[str, Callable[[Params, bool], str]] = {
    **SHAPES,
    "can": _can,
    "carton": _carton,
    "fruit": _fruit,
    "glass": _glass,
}
"""Every kind of thing, by name."""


def thing(name: str, params: Params, looks: bool = False) -> str:
    """The MJCF body of one thing.

    ``params``: ``kind``, ``pos`` [m] of its bottom's centre, ``yaw`` [rad], ``mass`` [kg],
    ``friction``, ``rgba``, and its kind's sizes [m]. Raises `UnknownNameError` for a kind that
    does not exist.
    """
    if params["kind"] not in THINGS:
        raise UnknownNameError("kind of thing", params["kind"], THINGS)
    x, y, z = params["pos"]
    rgba = " ".join(str(c) for c in params["rgba"])

    def finish(match: re.Match[str]) -> str:
        text = match.group()
        colour = "" if "rgba=" in text else f'rgba="{rgba}" '
        rubs = "" if "friction=" in text else f'friction="{params["friction"]} 0.005 0.0002" '
        skin = f"<geom {colour}{rubs}"
        return text.replace("<geom ", skin)

    geoms = re.sub("<geom [^>]*>", finish, THINGS[params["kind"]](params, looks))
    return (
        f'<body name="{name}" pos="{x} {y} {z}" euler="0 0 {params["yaw"]}">'
        f'<joint name="{name}" type="free" damping="1e-6"/>{geoms}</body>'
    )
