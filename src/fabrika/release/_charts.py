"""Small charts as inline SVG: no script, no fonts, colours from the page's own variables.

A failing part is hatched, so that a chart can be read without colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isfinite

import numpy as np

from fabrika._signals import Array

_WIDTH, _HEIGHT, _FOOT = 300, 150, 24


def _svg(body: str, label: str, width: int = _WIDTH, height: int = _HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label, quote=True)}">'
        f"{body}</svg>"
    )


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def number(value: float) -> str:
    """A number as a person reads it: four significant digits."""
    return f"{value:.4g}" if isfinite(value) else "not finite"


def _bar(x: float, y: float, width: float, height: float, style: str) -> str:
    if height <= 0:
        return ""
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" '
        f'height="{height:.1f}"/>'
    )


def stacked_bars(names: Sequence[str], passed: Array, failed: Array, label: str) -> str:
    """Bars of how many passed (solid) and failed (hatched, on top). All (len(names),)."""
    top = max(int((passed + failed).max(initial=0)), 1)
    room, slot = _HEIGHT - _FOOT - 14, _WIDTH / max(len(names), 1)
    parts = [_text(2, 10, f"{top}", "start")]
    for index, (good, bad) in enumerate(zip(passed, failed, strict=True)):
        tall_good, tall_bad = room * good / top, room * bad / top
        x, floor = index * slot + slot * 0.06, _HEIGHT - _FOOT
        parts.append(_bar(x, floor - tall_good, slot * 0.88, tall_good, "pass"))
        parts.append(_bar(x, floor - tall_good - tall_bad, slot * 0.88, tall_bad, "fail"))
    parts.append(f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{room + 14}" y2="{room + 14}"/>')
    return _svg("".join(parts), label)


def histogram(values: Array, ok: Array, label: str, bins: int = 12) -> str:
    """How ``values`` (N,) are distributed, those that passed ``ok`` (N,) apart from the rest."""
    finite = np.isfinite(values)
    values, ok = values[finite], ok[finite]
    if not len(values):
        return _svg(_text(_WIDTH / 2, _HEIGHT / 2, "no finite value"), label)
    edges = np.histogram_bin_edges(values, bins)
    good, bad = np.histogram(values[ok], edges)[0], np.histogram(values[~ok], edges)[0]
    chart = stacked_bars([""] * (len(edges) - 1), good, bad, label)
    low, high = _text(2, _HEIGHT - 6, number(edges[0]), "start"), number(edges[-1])
    return chart.replace("</svg>", low + _text(_WIDTH - 2, _HEIGHT - 6, high, "end") + "</svg>")


def categories(values: Sequence[str], ok: Array, label: str) -> str:
    """How often each word occurs, and how often it passed. ``ok`` (N,) booleans."""
    names = sorted(set(values))
    words = np.array(values)
    good = np.array([np.sum(ok & (words == name)) for name in names])
    bad = np.array([np.sum(~ok & (words == name)) for name in names])
    chart = stacked_bars(names, good, bad, label)
    slot = _WIDTH / len(names)
    fit = max(int(slot / 7), 2)
    foot = "".join(
        _text((i + 0.5) * slot, _HEIGHT - 6, name if len(name) <= fit else name[: fit - 1] + "…")
        for i, name in enumerate(names)
    )
    return chart.replace("</svg>", foot + "</svg>")


def curve(lines: dict[str, tuple[Array, Array]], x_name: str, label: str, *, log: bool) -> str:
    """Curves (x, y) by name; the second and later ones are dashed. ``log``: logarithmic y."""
    width, height, left = 640, 240, 56
    clean = {name: _clean(x, y, log) for name, (x, y) in lines.items()}
    clean = {name: line for name, line in clean.items() if len(line[0])}
    if not clean:
        return _svg(_text(width / 2, height / 2, "no points"), label, width, height)
    xs = np.concatenate([x for x, _ in clean.values()])
    ys = np.concatenate([y for _, y in clean.values()])
    x_span, y_span = np.ptp(xs) or 1.0, np.ptp(ys) or 1.0
    room = height - _FOOT - 10
    parts = []
    for index, (name, (x, y)) in enumerate(clean.items()):
        px = left + (x - xs.min()) / x_span * (width - left - 8)
        py = 10 + (ys.max() - y) / y_span * room
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
        parts.append(f'<polyline class="line{min(index, 1)}" points="{points}"/>')
        style = "dashed" if index else "solid"
        parts.append(_text(width - 10, 24 + 16 * index, f"{name} ({style})", "end"))
    show = (lambda v: number(10**v)) if log else number
    parts += [
        f'<line class="axis" x1="{left}" x2="{width}" y1="{room + 10}" y2="{room + 10}"/>',
        _text(left - 6, 16, show(float(ys.max())), "end"),
        _text(left - 6, room + 10, show(float(ys.min())), "end"),
        _text(left, height - 6, number(float(xs.min())), "start"),
        _text((left + width) / 2, height - 6, x_name),
        _text(width - 4, height - 6, number(float(xs.max())), "end"),
    ]
    return _svg("".join(parts), label, width, height)


def _clean(x: Array, y: Array, log: bool) -> tuple[Array, Array]:
    """Finite points only, at most 400 of them, on the scale that is drawn."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    keep = np.isfinite(x) & np.isfinite(y) & ((y > 0) | (not log))
    x, y = x[keep], y[keep]
    step = max(1, len(x) // 400)
    x, y = x[::step], y[::step]
    return x, np.log10(y) if log else y
