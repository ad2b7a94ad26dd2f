"""Shapes of household things as MJCF geoms: few convex primitives, so that a step is cheap.

Every shape stands on the origin of its body, which is the centre of its bottom. ``looks`` adds
geoms that only cameras see. A concave mesh would collide as its hull: what things go into has
walls of boxes. Sizes in metres, masses in kilograms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import atan2, cos, pi, sin, tan
from typing import Any

Params = Mapping[str, Any]
ROLLING = 0.0008
"""Rolling friction of grains and of what is round [m]: of fruit it is a fiftieth of its radius."""
WALLED: Mapping[str, float] = {"cup": 0.004, "pot": 0.005}
"""Open round vessels with upright walls, and how thick these are [m]."""
FLOOR = 0.006
"""Thickness of their floors [m]."""
LOOK = {"class": "look"}
"""Attributes of a geom that nothing touches."""


def geom(kind: str, **attributes: object) -> str:
    """One geom."""
    text = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f'<geom type="{kind}" {text}/>'


def upright(kind: str, radius: float, low: float, high: float, **attributes: object) -> str:
    """A cylinder or capsule about the vertical, from ``low`` to ``high``."""
    size, pos = f"{radius} {(high - low) / 2}", f"0 0 {(high + low) / 2}"
    return geom(kind, size=size, pos=pos, **attributes)


def block(low: tuple[float, float, float], high: tuple[float, float, float], **more: object) -> str:
    """A box between two corners."""
    size = " ".join(f"{(b - a) / 2:.6g}" for a, b in zip(low, high, strict=True))
    pos = " ".join(f"{(b + a) / 2:.6g}" for a, b in zip(low, high, strict=True))
    return geom("box", size=size, pos=pos, **more)


def cylinder(p: Params, looks: bool) -> str:
    """A can, a jar, a closed glass: ``radius``, ``height``."""
    r, h = p["radius"], p["height"]
    text = upright("cylinder", r, 0, h, mass=p["mass"])
    if looks and p.get("lid"):
        text += upright("cylinder", r - 0.003, h, h + 0.001, rgba=p["lid"], **LOOK)
    return text


def box(p: Params, looks: bool) -> str:
    """A packet, a book: ``depth`` along x, ``width`` along y, ``height``."""
    x, y, h = p["depth"] / 2, p["width"] / 2, p["height"]
    return block((-x, -y, 0), (x, y, h), mass=p["mass"])


def towel(p: Params, looks: bool) -> str:
    """A folded towel, as a soft bundle: ``depth`` along x, ``width`` along y, ``height``.

    It yields where it lies and keeps its fold, so that it is no cloth.
    """
    x, y, h = p["depth"] / 2, p["width"] / 2, p["height"]
    text = block((-x, -y, 0), (x, y, h), mass=p["mass"], solref="0.02 1", solimp="0.7 0.95 0.003")
    for layer in (0.25, 0.5, 0.75) if looks else ():
        low = (-x - 0.0005, -y - 0.0005, layer * h - 0.001)
        high = (x + 0.0005, y + 0.0005, layer * h + 0.001)
        text += block(low, high, rgba=".35 .35 .38 1", **LOOK)
    return text


def ball(p: Params, looks: bool) -> str:
    """``radius``; a little flat below, so that it stays where it is put.

    It rolls with resistance, as fruit does, which no sphere is: else it would rock for long.
    """
    r = p["radius"]
    foot = upright("cylinder", 0.3 * r, 0, 0.1 * r, mass=0.05 * p["mass"])
    rolling = {"friction": f"{p['friction']} 0.005 {ROLLING}", "condim": 6}
    return foot + geom("sphere", size=r, pos=f"0 0 {r}", mass=0.95 * p["mass"], **rolling)


def grain(p: Params, looks: bool) -> str:
    """``radius``; one sphere, cheap enough to be poured by the dozen.

    It rolls with resistance, as what is not quite round does: so that it comes to rest.
    """
    r = p["radius"]
    rolling = f"{p['friction']} 0.005 {ROLLING}"
    return geom("sphere", size=r, pos=f"0 0 {r}", mass=p["mass"], friction=rolling, condim=6)


def lying(p: Params, looks: bool) -> str:
    """A capsule along x: ``radius``, ``length`` from tip to tip; two feet keep it from rolling."""
    r, half = p["radius"], p["length"] / 2 - p["radius"]
    ends = f"{-half:.6g} 0 {r} {half:.6g} 0 {r}"
    text = geom("capsule", size=r, fromto=ends, mass=0.9 * p["mass"])
    for s in (-1, 1):
        text += block(
            (s * 0.6 * half - 0.004, -0.5 * r, 0),
            (s * 0.6 * half + 0.004, 0.5 * r, 0.3 * r),
            mass=0.05 * p["mass"],
        )
    return text


def bottle(p: Params, looks: bool) -> str:
    """A body and a neck: ``radius``, ``height``."""
    r, h = p["radius"], p["height"]
    text = upright("cylinder", r, 0, 0.65 * h, mass=0.85 * p["mass"])
    return text + upright("cylinder", 0.4 * r, 0.65 * h, h, mass=0.15 * p["mass"])


def mug(p: Params, looks: bool) -> str:
    """Solid, with a handle of four capsules along +x: ``radius``, ``height``."""
    r, h = p["radius"], p["height"]
    text = upright("cylinder", r, 0, h, mass=0.9 * p["mass"])
    corners = ((r - 0.004, 0.25), (r + 0.03, 0.32), (r + 0.03, 0.68), (r - 0.004, 0.75))
    for (x0, z0), (x1, z1) in pairwise(corners):
        ends = f"{x0} 0 {z0 * h} {x1} 0 {z1 * h}"
        text += geom("capsule", size=0.006, fromto=ends, mass=0.1 * p["mass"] / 3)
    if looks:
        text += upright("cylinder", r - 0.004, h, h + 0.0008, rgba=".2 .13 .08 1", **LOOK)
    return text


def _wall(p: Params, share: float, sides: int, thick: float, low: float) -> str:
    """Upright panels around a circle, from ``low`` to the height."""
    r, h, text = p["radius"], p["height"], ""
    size = f"{thick / 2} {r * tan(pi / sides):.6g} {(h - low) / 2:.6g}"
    for side in range(sides):
        a = 2 * pi * side / sides
        x, y = (r - thick / 2) * cos(a), (r - thick / 2) * sin(a)
        axes = f"{cos(a):.6g} {sin(a):.6g} 0 {-sin(a):.6g} {cos(a):.6g} 0"
        text += geom(
            "box",
            size=size,
            pos=f"{x:.6g} {y:.6g} {(h + low) / 2:.6g}",
            xyaxes=axes,
            mass=share * p["mass"] / sides,
        )
    return text


def cup(p: Params, looks: bool) -> str:
    """An open vessel of a disc and twelve panels: ``radius``, ``height``."""
    base = upright("cylinder", p["radius"] - 0.002, 0, 0.006, mass=0.25 * p["mass"])
    return base + _wall(p, 0.75, 12, 0.004, 0.005)


def pot(p: Params, looks: bool) -> str:
    """An open vessel with one long handle along +x: ``radius``, ``height``, ``handle`` length."""
    r, h, m = p["radius"], p["height"], p["mass"]
    text = upright("cylinder", r - 0.002, 0, 0.006, mass=0.35 * m) + _wall(p, 0.5, 10, 0.005, 0.005)
    ends = f"{r - 0.004} 0 {h - 0.015} {r + p['handle']} 0 {h - 0.005}"
    return text + geom("capsule", size=0.011, fromto=ends, mass=0.15 * m)


def bowl(p: Params, looks: bool) -> str:
    """A disc and eight panels that lean outwards from 0.6 to 1 radius.

    The panels hang a few millimetres over the disc's bottom: they never meet what bears it.
    """
    r, h, sides = p["radius"], p["height"], 8
    text = upright("cylinder", 0.6 * r, 0, 0.008, mass=0.4 * p["mass"])
    lean = atan2(0.4 * r, h)
    size = f"0.004 {0.8 * r * sin(pi / sides) + 0.004} {0.5 * h / cos(lean)}"
    for side in range(sides):
        a = 2 * pi * side / sides
        out, across = (cos(a), sin(a)), f"{-sin(a)} {cos(a)} 0"
        text += geom(
            "box",
            size=size,
            pos=f"{0.8 * r * out[0]} {0.8 * r * out[1]} {h / 2 + 0.008}",
            xyaxes=f"{cos(lean) * out[0]} {cos(lean) * out[1]} {-sin(lean)} {across}",
            mass=0.6 * p["mass"] / sides,
        )
    return text


def plate(p: Params, looks: bool) -> str:
    """A foot, a disc and a raised rim with room for fingers below: ``radius``, ``height``."""
    r, h, m = p["radius"], p["height"], p["mass"]
    text = upright("cylinder", 0.55 * r, 0, 0.4 * h, mass=0.3 * m)
    text += upright("cylinder", r, 0.4 * h, 0.4 * h + 0.006, mass=0.5 * m)
    sides, thick = 12, 0.006
    size = f"{thick / 2} {r * tan(pi / sides):.6g} {(0.6 * h - 0.006) / 2:.6g}"
    for side in range(sides):
        a = 2 * pi * side / sides
        text += geom(
            "box",
            size=size,
            pos=f"{(r - thick / 2) * cos(a):.6g} {(r - thick / 2) * sin(a):.6g} {0.7 * h:.6g}",
            xyaxes=f"{cos(a):.6g} {sin(a):.6g} 0 {-sin(a):.6g} {cos(a):.6g} 0",
            mass=0.2 * m / sides,
        )
    return text


def crate(p: Params, looks: bool) -> str:
    """A floor and four walls: ``depth``, ``width``, ``height``, ``wall`` thickness."""
    x, y, h, t, m = p["depth"] / 2, p["width"] / 2, p["height"], p["wall"], p["mass"]
    text = block((-x, -y, 0), (x, y, t), mass=0.4 * m)
    for s in (-1, 1):
        text += block((s * x - t * (s > 0), -y, t), (s * x + t * (s < 0), y, h), mass=0.15 * m)
        text += block(
            (t - x, s * y - t * (s > 0), t), (x - t, s * y + t * (s < 0), h), mass=0.15 * m
        )
    return text


TRAY_GRIP = 0.085
"""Height of the middle of a tray's handle bars above its bottom [m]."""


def tray(p: Params, looks: bool) -> str:
    """Floor, low rim, and two raised bars along x at its left and right ends."""
    x, y, m = p["depth"] / 2, p["width"] / 2, p["mass"]
    text = geom("box", size=f"{x} {y} 0.005", pos="0 0 0.005", mass=0.6 * m)
    for s in (-1, 1):
        text += geom("box", size=f"0.004 {y} 0.009", pos=f"{s * x} 0 0.015", mass=0.08 * m)
        text += geom("box", size=f"{x} 0.004 0.009", pos=f"0 {s * y} 0.015", mass=0.06 * m)
        text += geom(
            "capsule",
            size=p["bar"],
            fromto=f"{-x + 0.012} {s * y} {TRAY_GRIP} {x - 0.012} {s * y} {TRAY_GRIP}",
            mass=0.03 * m,
        )
        for t in (-1, 1):
            ends = f"{t * (x - 0.012)} {s * y} 0.018 {t * (x - 0.012)} {s * y} {TRAY_GRIP}"
            text += geom("capsule", size=0.006, fromto=ends, mass=0.015 * m)
    return text


def cutlery(p: Params, looks: bool) -> str:
    """A handle and a head along x: ``length``, ``width`` of the head, ``height`` of the handle."""
    half, w, h, m = p["length"] / 2, p["width"] / 2, p["height"], p["mass"]
    text = block((-half, -0.007, 0), (0.3 * half, 0.007, h), mass=0.65 * m)
    return text + block((0.3 * half, -w, 0), (half, w, 0.5 * h), mass=0.35 * m)


def shoe(p: Params, looks: bool) -> str:
    """A sole and an upper at its heel: ``length`` along x, ``width``, ``height``."""
    x, y, h, m = p["length"] / 2, p["width"] / 2, p["height"], p["mass"]
    sole = block((-x, -y, 0), (x, y, 0.35 * h), mass=0.6 * m)
    return sole + block((-x, -0.9 * y, 0.35 * h), (0.1 * x, 0.9 * y, h), mass=0.4 * m)


def keys(p: Params, looks: bool) -> str:
    """A ring of ``radius`` in the y-z plane, and below it a fob that fingers can hold.

    Ten capsules make the ring, so that a peg along x goes through it. ``fob``: its thickness,
    along y.
    """
    r, f, m, sides, text = p["radius"], p["fob"], p["mass"], 10, ""
    centre = p["length"] + r
    for side in range(sides):
        a, b = (2 * pi * s / sides for s in (side, side + 1))
        ends = (
            f"0 {r * cos(a):.6g} {centre + r * sin(a):.6g} "
            f"0 {r * cos(b):.6g} {centre + r * sin(b):.6g}"
        )
        text += geom("capsule", size=0.0025, fromto=ends, mass=0.2 * m / sides)
    low = (-0.016, -f / 2, 0.0)
    return text + block(low, (0.016, f / 2, p["length"]), mass=0.8 * m)


def peg(p: Params, looks: bool) -> str:
    """A square head on a square shank: ``depth``, ``width`` of the head, ``height`` of both.

    ``shank``: half of its width; ``length``: how long it is.
    """
    x, y, s, low, m = p["depth"] / 2, p["width"] / 2, p["shank"], p["length"], p["mass"]
    head = block((-x, -y, low), (x, y, p["height"]), mass=0.6 * m)
    return block((-s, -s, 0), (s, s, low), mass=0.4 * m) + head


def socket(p: Params, looks: bool) -> str:
    """A block with a square hole from above: ``depth``, ``width``, ``height``.

    ``hole``: half of its width; ``sunk``: how deep it is.
    """
    x, y, h, a, m = p["depth"] / 2, p["width"] / 2, p["height"], p["hole"], p["mass"]
    floor = h - p["sunk"]
    text = block((-x, -y, 0), (x, y, floor), mass=0.3 * m)
    text += block((-x, a, floor), (x, y, h), mass=0.2 * m)
    text += block((-x, -y, floor), (x, -a, h), mass=0.2 * m)
    text += block((a, -a, floor), (x, a, h), mass=0.15 * m)
    return text + block((-x, -a, floor), (-a, a, h), mass=0.15 * m)


def needle(p: Params, looks: bool) -> str:
    """A handle that lies flat, and a rod of ``radius`` from its middle along +x.

    ``length`` of both, ``handle``: that of the handle; ``width``, ``height`` of the handle.
    """
    half, y, h, m = p["length"] / 2, p["width"] / 2, p["height"], p["mass"]
    root = p["handle"] - half
    ends = f"{root:.6g} 0 {h / 2:.6g} {half - p['radius']:.6g} 0 {h / 2:.6g}"
    text = block((-half, -y, 0), (root, y, h), mass=0.9 * m)
    return text + geom("capsule", size=p["radius"], fromto=ends, mass=0.1 * m)


def eye(p: Params, looks: bool) -> str:
    """A square window, seen along x, on a foot: ``depth``, ``width`` of the foot.

    ``hole``: half of the window's width; ``level``: height of its middle; ``rim``: thickness of
    the bars around it; ``height``: up to where these go.
    """
    x, y, z, a, t, m = (p[n] for n in ("depth", "width", "level", "hole", "rim", "mass"))
    text = block((-x / 2, -y / 2, 0), (x / 2, y / 2, 0.012), mass=0.7 * m)
    for s in (-1, 1):
        low, high = sorted((s * a, s * (a + t)))
        text += block((-t / 2, low, 0.012), (t / 2, high, p["height"]), mass=0.1 * m)
    for low, high in ((0.012, z - a), (z + a, p["height"])):
        text += block((-t / 2, -a, low), (t / 2, a, high), mass=0.05 * m)
    return text


SHAPES: Mapping[str, Callable[[Params, bool], str]] = {
    "ball": ball,
    "bottle": bottle,
    "bowl": bowl,
    "box": box,
    "crate": crate,
    "cup": cup,
    "cutlery": cutlery,
    "cylinder": cylinder,
    "grain": grain,
    "eye": eye,
    "keys": keys,
    "lying": lying,
    "mug": mug,
    "needle": needle,
    "peg": peg,
    "plate": plate,
    "pot": pot,
    "shoe": shoe,
    "pad": towel,
    "towel": towel,
    "socket": socket,
    "tray": tray,
}
"""Every shape, by name."""
