"""Signals: the named, typed streams between a world and an actor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabrika._errors import SignalError

Array = NDArray[Any]
Signals = Mapping[str, Array]
"""One sample of each of some signals, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """The declaration of one named stream of arrays."""

    shape: tuple[int, ...]
    """Shape of one sample."""
    dtype: str = "float64"
    """NumPy dtype name."""
    unit: str = ""
    """Unit of every entry: "m", "rad", "N", "m/s"; "1" for a ratio; "m,quat" for a pose."""
    low: float = -inf
    """Smallest meaningful value. Actions below it are clipped by the robot, not refused."""
    high: float = inf
    """Largest meaningful value."""
    truth: bool = False
    """True if no real sensor could report it: simulator state, for experts and checks only."""
    names: tuple[str, ...] = field(default=())
    """Name of each entry of a vector (joint names, axes); empty, or as long as the vector."""

    @property
    def image(self) -> bool:
        """True for pictures, (H, W, C) uint8, or uint16 for depth: shown, never recorded."""
        return len(self.shape) == 3 and self.dtype in ("uint8", "uint16")


def check_signals(values: Signals, declared: Mapping[str, Signal], who: str) -> None:
    """Raise `SignalError` unless ``values`` has exactly the declared names, shapes and kinds.

    Floats must be finite. Bounds are not enforced: limits belong to the robot, which clips.
    ``who`` names the producer in the message.
    """
    missing, extra = declared.keys() - values.keys(), values.keys() - declared.keys()
    if missing or extra:
        raise SignalError(
            f"{who} must give exactly {sorted(declared)}; "
            f"missing: {sorted(missing) or 'none'}, unknown: {sorted(extra) or 'none'}."
        )
    floats: list[Array] = []
    for name, signal in declared.items():
        value = np.asarray(values[name])
        kind = np.dtype(signal.dtype)
        if value.shape != signal.shape:
            raise SignalError(
                f"{who}: {name!r} has shape {value.shape}, declared is {signal.shape}."
            )
        if value.dtype is not kind and not np.can_cast(value.dtype, kind, casting="same_kind"):
            raise SignalError(f"{who}: {name!r} is {value.dtype}, declared is {signal.dtype}.")
        if value.dtype.kind == "f":
            floats.append(value)
    # One sum for all: only when it is not finite does it matter which it was.
    if floats and not isfinite(np.concatenate(floats, axis=None).sum(dtype=np.float64)):
        for name in declared:
            if not np.isfinite(values[name]).all():
                raise SignalError(f"{who}: {name!r} is not finite: {values[name]}.")


def copy_signals(values: Signals, declared: Mapping[str, Signal]) -> dict[str, Array]:
    """Fresh arrays of the declared dtypes, so that a world or actor may reuse its buffers.

    Raises `SignalError` if a value is larger than its dtype can hold.
    """
    try:
        with np.errstate(over="raise"):
            return {name: np.array(values[name], dtype=declared[name].dtype) for name in declared}
    except FloatingPointError as error:
        raise SignalError(f"one of {sorted(declared)} is too large for its dtype.") from error


class Tape:
    """Samples of signals, one after another, each copied at once into its place."""

    def __init__(self, declared: Mapping[str, Signal]) -> None:
        self.length = 0
        self._rows = {name: np.empty((64, *s.shape), s.dtype) for name, s in declared.items()}

    def add(self, sample: Signals) -> None:
        """Write down one sample of every signal."""
        for name, rows in self._rows.items():
            if self.length == len(rows):
                rows = self._rows[name] = np.concatenate([rows, np.empty_like(rows)])
            rows[self.length] = sample[name]
        self.length += 1

    def cut(self) -> dict[str, Array]:
        """(length, *shape) arrays of what was written, by name."""
        return {name: rows[: self.length].copy() for name, rows in self._rows.items()}
