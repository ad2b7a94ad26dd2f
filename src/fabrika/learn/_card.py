"""The card of a policy: what it reads, what it commands, how it was made. Plain JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from math import prod
from operator import index
from typing import Any, Literal, cast

from fabrika._errors import UsageError, VersionError

Limits = Mapping[str, list[float]]
"""Per entry of a command, flattened: "low", "high", and "step", its largest change in a tick."""
Sensors = Literal["tracker", "cameras"]
Shape = tuple[int, ...]

CARD_FORMAT = 2
"""Version of the card. Read: this one. Written: this one."""
CARD_KEY = "fabrika.card"
"""Where the card lies in the metadata of ``policy.onnx``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """All that an actor needs to run a policy, and that a person needs to remake it."""

    task: str
    sensors: Sensors
    reads: Mapping[str, Shape]
    """Recorded sensors and the shape of one sample; inputs of the graph, (lags, *shape).
    "last/arm" is no sensor: it is the policy's own last command of "arm"."""
    pictures: Mapping[str, Shape]
    """Cameras and (H, W, 3) uint8; inputs of the graph, newest only."""
    acts: Mapping[str, Shape]
    """Commands; outputs of the graph, (chunk, *shape)."""
    guides: Mapping[str, Shape] = field(default_factory=dict)
    """Sensors that it was taught to make out in its pictures; never fed, so no inputs."""
    dt: float
    """Control period [s]: a policy is for one rate."""
    chunk: int = 16
    """Commands that are predicted at a time [ticks]."""
    execute: int = 8
    """Commands that are carried out before the policy looks again [ticks]."""
    fade: float = 0.0
    """Weight of a prediction beside one that was made a tick later: 0, only the newest counts;
    near 1, all chunks that cover a tick are averaged."""
    limits: Mapping[str, Limits] = field(default_factory=dict)
    """For each command, what it was in the data: it is never commanded beyond."""
    lags: tuple[int, ...] = (0,)
    """How old the readings are that the policy sees [ticks], newest first."""
    words: int = 0
    """Length of the embedded instruction that it is fed; 0: the instruction is not read."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """Digest of the data, steps, seed, versions: for the record, never for the run."""

    def to_json(self) -> str:
        """Canonical JSON."""
        return json.dumps({"format": CARD_FORMAT, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str) -> Card:
        """The card that `to_json` wrote. ``where`` names the file in the error.

        Raises `UsageError` if it is no card, `VersionError` for another version's.
        """
        try:
            data = cast(dict[str, Any], json.loads(text))
            version = data.pop("format")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UsageError(f"{where}: its card cannot be read ({error}). Train again.") from error
        if version != CARD_FORMAT:
            raise VersionError(
                f"{where}: card format {version!r}; this version of Fabrika reads {CARD_FORMAT}. "
                "Train it again, or run it with the version that made it."
            )
        unknown = data.keys() ^ {f.name for f in fields(cls)}
        if unknown:
            raise UsageError(f"{where}: its card lacks, or adds, {sorted(unknown)}. Train again.")
        try:
            return cls(**{name: _READ.get(name, _as_it_is)(value) for name, value in data.items()})
        except (TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"{where}: its card cannot be read ({error}). Train again.") from error


def _whole(values: Iterable[Any]) -> tuple[int, ...]:
    return tuple(index(value) for value in values)


def _shapes(group: Mapping[str, Any]) -> dict[str, Shape]:
    return {name: _whole(shape) for name, shape in group.items()}


def _limits(group: Mapping[str, Any]) -> dict[str, Limits]:
    return {
        name: {key: [float(value) for value in values] for key, values in limits.items()}
        for name, limits in group.items()
    }


def _as_it_is(value: Any) -> Any:
    return value


_READ: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("reads", "pictures", "acts", "guides"), _shapes),
    **dict.fromkeys(("chunk", "execute", "words"), index),
    **dict.fromkeys(("dt", "fade"), float),
    "lags": _whole,
    "limits": _limits,
}
"""How the fields that a policy runs on are read from JSON; each raises for another kind."""


def recalled(name: str) -> str:
    """The command that "last/<command>" recalls; "" for a sensor."""
    return name.removeprefix("last/") if name.startswith("last/") else ""


def columns(shapes: Mapping[str, Shape]) -> dict[str, slice]:
    """Where each signal lies when all are flattened and laid side by side, sorted by name."""
    places: dict[str, slice] = {}
    at = 0
    for name in sorted(shapes):
        size = prod(shapes[name])
        places[name] = slice(at, at + size)
        at += size
    return places
