"""Household things as MJCF: each a free body whose origin is the centre of its bottom.

Collision shapes are few convex primitives, so that a grasp is stable and a step is cheap;
``looks`` adds geoms that only the cameras see. A concave mesh would collide as its hull, so the
mug is a solid cylinder with four capsules for its handle: nothing goes inside it here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import atan2, cos, pi, sin
from typing import Any

from fabrika._errors import UnknownNameError

Params = Mapping[str, Any]


def _geom(kind: str, **attributes: object) -> str:
    text = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f'<geom type="{kind}" {text}/>'


def _cylinder(radius: float, low: float, high: float, **attributes: object) -> str:
    return _geom(
        "cylinder",
        size=f"{radius} {(high - low) / 2}",
        pos=f"0 0 {(high + low) / 2}",
        **attributes,
    )


def _mug(p: Params, looks: bool) -> str:
    r, h = p["radius"], p["height"]
    text = _cylinder(r, 0, h, mass=0.9 * p["mass"])
    corners = ((r - 0.004, 0.25), (r + 0.03, 0.32), (r + 0.03, 0.68), (r - 0.004, 0.75))
    for (x0, z0), (x1, z1) in pairwise(corners):
        ends = f"{x0} 0 {z0 * h} {x1} 0 {z1 * h}"
        text += _geom("capsule", size=0.006, fromto=ends, mass=0.1 * p["mass"] / 3)
    if looks:
        text += _cylinder(r - 0.004, h, h + 0.0008, **{"class": "look", "rgba": ".2 .13 .08 1"})
    return text


def _glass(p: Params, looks: bool) -> str:
    rgba = "0.75 0.85 0.9 0.55"
    return _cylinder(p["radius"], 0, p["height"], mass=p["mass"], rgba=rgba)


def _can(p: Params, looks: bool) -> str:
    r, h = p["radius"], p["height"]
    text = _cylinder(r, 0, h, mass=p["mass"])
    if looks:
        text += _cylinder(r - 0.003, h, h + 0.001, **{"class": "look", "rgba": ".75 .76 .78 1"})
    return text


def _bottle(p: Params, looks: bool) -> str:
    r, h = p["radius"], p["height"]
    text = _cylinder(r, 0, 0.65 * h, mass=0.85 * p["mass"])
    return text + _cylinder(0.4 * r, 0.65 * h, h, mass=0.15 * p["mass"])


def _bowl(p: Params, looks: bool) -> str:
    """A disc and eight panels that lean outwards from 0.6 to 1 radius.

    The panels hang a few millimetres over the disc's bottom: they never meet what bears it.
    """
    r, h, sides = p["radius"], p["height"], 8
    text = _cylinder(0.6 * r, 0, 0.008, mass=0.4 * p["mass"])
    lean = atan2(0.4 * r, h)
    size = f"0.004 {0.8 * r * sin(pi / sides) + 0.004} {0.5 * h / cos(lean)}"
    for side in range(sides):
        a = 2 * pi * side / sides
        out, across = (cos(a), sin(a)), f"{-sin(a)} {cos(a)} 0"
        text += _geom(
            "box",
            size=size,
            pos=f"{0.8 * r * out[0]} {0.8 * r * out[1]} {h / 2 + 0.008}",
            xyaxes=f"{cos(lean) * out[0]} {cos(lean) * out[1]} {-sin(lean)} {across}",
            mass=0.6 * p["mass"] / sides,
        )
    return text


def _carton(p: Params, looks: bool) -> str:
    r, h = p["radius"], p["height"]
    return _geom("box", size=f"{r} {r} {h / 2}", pos=f"0 0 {h / 2}", mass=p["mass"])


def _fruit(p: Params, looks: bool) -> str:
    r = p["radius"]
    return _geom("sphere", size=r, pos=f"0 0 {r}", mass=p["mass"])


TRAY_GRIP = 0.085
"""Height of the middle of a tray's handle bars above its bottom [m]."""


def _tray(p: Params, looks: bool) -> str:
    """Floor, low rim, and two raised bars along x at its left and right ends."""
    x, y, m = p["depth"] / 2, p["width"] / 2, p["mass"]
    text = _geom("box", size=f"{x} {y} 0.005", pos="0 0 0.005", mass=0.6 * m)
    for s in (-1, 1):
        text += _geom("box", size=f"0.004 {y} 0.009", pos=f"{s * x} 0 0.015", mass=0.08 * m)
        text += _geom("box", size=f"{x} 0.004 0.009", pos=f"0 {s * y} 0.015", mass=0.06 * m)
        text += _geom(
            "capsule",
            size=p["bar"],
            fromto=f"{-x + 0.012} {s * y} {TRAY_GRIP} {x - 0.012} {s * y} {TRAY_GRIP}",
            mass=0.03 * m,
        )
        for t in (-1, 1):
            ends = f"{t * (x - 0.012)} {s * y} 0.018 {t * (x - 0.012)} {s * y} {TRAY_GRIP}"
            text += _geom("capsule", size=0.006, fromto=ends, mass=0.015 * m)
    return text


THINGS: Mapping[str, Callable[[Params, bool], str]] = {
    "bottle": _bottle,
    "bowl": _bowl,
    "can": _can,
    "carton": _carton,
    "fruit": _fruit,
    "glass": _glass,
    "mug": _mug,
    "tray": _tray,
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
    geoms = THINGS[params["kind"]](params, looks).replace(
        "<geom ", f'<geom friction="{params["friction"]} 0.005 0.0002" '
    )
    geoms = (
        geoms.replace("<geom ", f'<geom rgba="{rgba}" ')
        if "rgba=" not in geoms
        else "".join(
            part if "rgba=" in part else part.replace("<geom ", f'<geom rgba="{rgba}" ')
            for part in geoms.replace("/>", "/>\n").splitlines()
        )
    )
    return (
        f'<body name="{name}" pos="{x} {y} {z}" euler="0 0 {params["yaw"]}">'
        f'<joint name="{name}" type="free" damping="1e-6"/>{geoms}</body>'
    )
