"""Checks of stats.json: everything is computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fabrika.data._findings import Findings
from fabrika.data._layout import MOMENTS, QUANTILES, STATS, Feature
from fabrika.data._stats import Floats, blocks, column_stats, picture_stats
from fabrika.data._verify_info import DAMAGED, Claims, read_json
from fabrika.data._verify_rows import Rows
from fabrika.data._verify_videos import Pictures, is_depth

_EXACT = 1e-6
"""Of the largest value: single precision."""
_CLOSE = 1e-4
"""Of the largest value: sums of single-precision numbers in another order."""
_HISTOGRAM = 1e-3
"""Of the range: quantiles from histograms."""
_PICTURE = 0.06
"""Mean and spread of pictures in [0, 1]: coded, and only a part of them counted."""


def check_stats(
    claims: Claims, rows: Rows, pictures: Mapping[str, Pictures], findings: Findings
) -> None:
    """Every feature has statistics, and they are those of the data."""
    stats = read_json(claims.root / STATS, findings)
    if stats is None:
        return
    if not isinstance(stats, dict):
        findings.add("stats-shape", STATS, f"it holds a {type(stats).__name__}, not an object.")
        return
    for key, feature in claims.numeric.items():
        told = _told(stats, key, (feature.width, feature.shape[-1]), findings)
        if told and rows.whole and rows.count and key not in rows.unsound:
            try:
                _compare(key, feature, told, rows, findings)
            except DAMAGED as error:
                findings.add("file-unreadable", f"data: {key}", f"{type(error).__name__}: {error}")
    for key, seen in pictures.items():
        depth = is_depth(claims.features[key])
        told = _told(stats, key, (1 if depth else 3,), findings)
        if told and not depth and seen.counts.sum():
            _compare_pictures(key, told, seen, findings)


def _told(
    stats: dict[str, Any], key: str, widths: Sequence[int], findings: Findings
) -> dict[str, Floats]:
    """What stats.json says of a feature, as flat arrays; only what has one of the widths."""
    entry = stats.get(key)
    if not isinstance(entry, dict):
        findings.add("stats-missing", f"{STATS}: {key}", "there are none.")
        return {}
    found: dict[str, Floats] = {}
    for name in (*MOMENTS, "count", *QUANTILES):
        if name not in entry:
            if name in MOMENTS:
                findings.add("stats-missing", f"{STATS}: {key}", f"there is no {name!r}.")
            continue
        wanted = (1,) if name == "count" else widths
        values = _numbers(entry[name])
        if values is None or values.size not in wanted or not np.isfinite(values).all():
            message = f"{name!r} is not {wanted[0]} finite numbers."
            findings.add("stats-shape", f"{STATS}: {key}", message)
        else:
            found[name] = values
    if not any(name in entry for name in QUANTILES):
        findings.add("stats-missing-quantiles", f"{STATS}: {key}", "some policies need them.")
    return found


def _numbers(value: Any) -> Floats | None:
    try:
        return np.asarray(value, np.float64).reshape(-1)
    except (ValueError, TypeError, OverflowError):
        return None


def _compare(
    key: str, feature: Feature, told: dict[str, Floats], rows: Rows, findings: Findings
) -> None:
    where, start = f"{STATS}: {key}", 0
    if "count" in told and int(told["count"][0]) != rows.count:
        message = f"count is {told['count'][0]:g} of {rows.count} rows."
        findings.add("stats-value", where, message)
    if any(value.size != feature.width for name, value in told.items() if name != "count"):
        return  # LeRobot's own writer keeps one number for each column of a matrix
    for block in blocks(rows.files, key, feature.width, rows.count):
        if not np.isfinite(block).all():
            return  # reported where it was read
        true = column_stats(block)
        part = {name: value[start : start + block.shape[1]] for name, value in told.items()}
        size = np.maximum(np.abs(true["min"]), np.abs(true["max"])) + 1e-12
        for name in MOMENTS:
            margin = (_EXACT if name in {"min", "max"} else _CLOSE) * size
            if name in part:
                _report(where, name, "stats-value", part[name], true[name], margin, findings)
        _compare_quantiles(where, part, true, block, rows, findings)
        start += block.shape[1]


def _report(
    where: str,
    name: str,
    code: str,
    told: Floats,
    true: Floats,
    margin: Floats,
    findings: Findings,
) -> None:
    wrong = np.flatnonzero(np.abs(told - true) > margin)
    if len(wrong):
        entry = int(wrong[0])
        message = f"{name} of entry {entry} is {true[entry]:.6g}, told is {told[entry]:.6g}"
        findings.add(code, where, f"{message}; {len(wrong)} entries.")


def _compare_quantiles(
    where: str,
    told: dict[str, Floats],
    true: dict[str, Floats],
    block: Floats,
    rows: Rows,
    findings: Findings,
) -> None:
    """Quantiles of all data lie between those of the episodes, and so does an envelope.

    An episode's own quantile may be either neighbour of the true place, as in a histogram.
    """
    names = [name for name in QUANTILES if name in told]
    size = np.maximum(np.abs(true["min"]), np.abs(true["max"])) + 1e-12
    off = [name for name in names if (np.abs(told[name] - true[name]) > _EXACT * size).any()]
    if not off:
        return
    shares = [QUANTILES[name] for name in off]
    parts = [block[seen.start : seen.start + seen.length] for seen in rows.seen]
    below = [np.quantile(part, shares, axis=0, method="lower") for part in parts]
    above = [np.quantile(part, shares, axis=0, method="higher") for part in parts]
    low, high = np.min(below, axis=0), np.max(above, axis=0)
    margin = _HISTOGRAM * (true["max"] - true["min"]) + _EXACT * size
    for row, name in enumerate(off):
        value = told[name]
        middle = np.clip(value, low[row], high[row])
        if (np.abs(value - middle) > margin).any():
            _report(where, name, "stats-quantile", value, middle, margin, findings)
        else:
            _report(where, name, "stats-envelope", value, true[name], _EXACT * size, findings)


def _compare_pictures(
    key: str, told: dict[str, Floats], seen: Pictures, findings: Findings
) -> None:
    true = {name: value.reshape(-1) for name, value in picture_stats(seen.counts, 1).items()}
    margin = np.full(3, _PICTURE)
    for name in ("mean", "std"):
        if name in told:
            _report(
                f"{STATS}: {key}", name, "stats-value", told[name], true[name], margin, findings
            )
    for name in ("min", "max", *QUANTILES):
        if name in told and (np.abs(told[name] - 0.5) > 0.5 + _HISTOGRAM).any():
            findings.add("stats-value", f"{STATS}: {key}", f"{name} is not within 0 and 1.")
