"""Checks of what the numbers mean: do actions command, do fingers move, is an episode new."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fabrika.data._findings import Findings
from fabrika.data._layout import ACTION, STATE, Feature
from fabrika.data._verify_info import Claims
from fabrika.data._verify_rows import Columns, Rows
from fabrika.data._verify_videos import Pictures

_FINGERS = re.compile(r"finger|thumb|grip|jaw|(?<![a-z])(hand|index|middle|ring|pinky|little)")
_NEAR = 1e-6
"""Numbers this close are copies of one another."""
_LEVELS = 1.0
"""Of 255: pictures that differ less, by region and on average, are encodings of one picture."""
_MOST = 0.5
"""Of the moving entries of the action, so many must be copies before it is told."""


def check_motion(claims: Claims, rows: Rows, findings: Findings) -> None:
    """Constant actions, still fingers, and states that were written down as actions."""
    action = claims.features.get(ACTION)
    if action is not None and ACTION in rows.low:
        still = _still(rows, ACTION)
        if len(still):
            message = f"{_names(action, still)} never change."
            findings.add("action-constant", ACTION, message)
    for key, feature in claims.numeric.items():
        if key in {ACTION, STATE} and key in rows.low and feature.names:
            fingers = [i for i in _still(rows, key) if _finger(feature, i)]
            if fingers:
                findings.add("fingers-still", key, f"{_names(feature, fingers)} never move.")
    if rows.sample and not {ACTION, STATE} & rows.unsound:
        _check_copies(rows.sample, findings)


def _check_copies(sample: Sequence[Columns], findings: Findings) -> None:
    """Is there, for most entries of the action, an entry of the state that is its copy?"""
    for code, shift, words in (
        ("action-next-state", 1, "of the next row"),
        ("action-state", 0, "of the same row"),
    ):
        copied: NDArray[np.bool_] | None = None
        moving: NDArray[np.bool_] | None = None
        for episode in sample:
            actions = episode[ACTION].astype(np.float64)
            states = episode[STATE].astype(np.float64)[shift:]
            actions = actions[: len(states)]
            if len(actions) < 2:
                continue
            equal = _equal_entries(actions, states)
            copied = equal if copied is None else copied & equal
            moves = np.asarray(np.ptp(actions, axis=0) > _NEAR)
            moving = moves if moving is None else moving | moves
        if copied is None or moving is None or not moving.any():
            continue
        share = float(np.asarray(copied.any(axis=1))[moving].mean())
        if share > _MOST:
            message = f"{share:.0%} of its moving entries are the state {words}."
            findings.add(code, ACTION, message)


def _equal_entries(actions: NDArray[np.float64], states: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(A, S) whether entry a of the action is entry s of the state, in every row."""
    return np.array(
        [
            (np.abs(actions[:, [entry]] - states) <= _NEAR).all(axis=0)
            for entry in range(actions.shape[1])
        ]
    )


def check_duplicates(rows: Rows, pictures: Mapping[str, Pictures], findings: Findings) -> None:
    """Episodes of equal numbers and equal pictures. Other looks of one episode are no copies."""
    alike: dict[str, list[int]] = {}
    for seen in rows.seen if any(seen.hashes for seen in rows.seen) else ():
        others = alike.setdefault(seen.digest, [])
        copied = [e for e in others if all(_same(p, e, seen.episode) for p in pictures.values())]
        if copied:
            message = f"it is a copy of episode {copied[0]}."
            findings.add("episode-duplicate", f"episode {seen.episode}", message)
        else:
            others.append(seen.episode)


def _same(pictures: Pictures, one: int, other: int) -> bool:
    """True unless the pictures of two episodes look different."""
    first, second = pictures.prints.get(one), pictures.prints.get(other)
    if first is None or second is None:
        return True
    return bool(np.abs(first - second).max() < _LEVELS)


def _still(rows: Rows, key: str) -> NDArray[np.intp]:
    return np.flatnonzero(rows.low[key] == rows.high[key]) if rows.count > 1 else np.array([], int)


def _finger(feature: Feature, entry: int) -> bool:
    names = feature.names or ()
    return entry < len(names) and bool(_FINGERS.search(names[entry].lower()))


def _names(feature: Feature, entries: Sequence[int] | NDArray[np.intp]) -> str:
    names = feature.names or ()
    told = [names[i] if i < len(names) else f"entry {i}" for i in entries[:6]]
    return ", ".join(told) + (f" and {len(entries) - 6} more" if len(entries) > 6 else "")
