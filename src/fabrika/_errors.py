"""One tree of errors.

::

    FabrikaError                      exit code 1
    ├── UsageError                    2  the call is wrong: a name, a number, a folder
    │   └── UnknownNameError          2  no such name; lists what exists, suggests the nearest
    ├── ContractError                 2  a plug-in breaks the contract of world, actor or task
    │   └── SignalError               2  a value does not fit its signal
    ├── VersionError                  2  made by another version than can be read here
    ├── BrokenWorldError              3  the simulator diverged: the rollout is void
    ├── InterruptedRunError           4  stopped on request; the same command goes on
    ├── GateFailedError               5  the evidence does not support the claim
    ├── EvidenceError                 6  partial, repeated, mixed, void or privileged evidence
    ├── IntegrityError                6  stored bytes are not what was written
    ├── ResourceError                 7  no space, no memory, no offscreen GL
    └── BusyError                     8  another writer holds the store

The exit codes are published: scripts may rely on them (0 is done, 3 is done with losses).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FabrikaError(Exception):
    """Anything that Fabrika reports. The message names the thing and the next step."""

    exit_code = 1


class UsageError(FabrikaError):
    """The call is wrong: a value, a path, a combination of options."""

    exit_code = 2


class UnknownNameError(UsageError):
    """No such name. Lists what exists and suggests the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        message = f"there is no {kind} {name!r}"
        message += f"; did you mean {near[0]!r}?" if near else "."
        message += f" Known: {', '.join(names) if names else 'none'}."
        super().__init__(f"{message} {hint}".rstrip())


class ContractError(FabrikaError):
    """A plug-in (world, actor, task, robot) breaks its contract."""

    exit_code = 2


class SignalError(ContractError):
    """A value does not fit the signal that was declared for it."""


class VersionError(FabrikaError):
    """Made by a version that cannot be read, or continued, here."""

    exit_code = 2


class BrokenWorldError(FabrikaError):
    """The simulator diverged or warned. The rollout is void: neither data nor evidence."""

    exit_code = 3


class InterruptedRunError(FabrikaError):
    """Stopped on request. What was committed stays; the same command goes on."""

    exit_code = 4


class GateFailedError(FabrikaError):
    """The gate ran, and the evidence does not support the claim."""

    exit_code = 5


class EvidenceError(FabrikaError):
    """The episodes cannot be evidence: partial, repeated, mixed, void or privileged."""

    exit_code = 6


class IntegrityError(FabrikaError):
    """Stored bytes are not what was written."""

    exit_code = 6


class ResourceError(FabrikaError):
    """The machine lacks something: space, memory, an offscreen GL."""

    exit_code = 7


class BusyError(FabrikaError):
    """Another process is writing to the same store."""

    exit_code = 8


def in_words(error: Exception) -> str:
    """What is wrong with a file that cannot be read; of a `KeyError`, that something is missing."""
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
