"""What an expert was at, moment by moment: worked out again, for it is in no recording.

An expert is a function of its seed and of what it reads, and all of that is recorded. A fresh one,
shown the recorded observations, gives the recorded actions to the last bit; where it does not, it
is another expert, and its word is not taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fabrika._episode import Episode
from fabrika._errors import UsageError, VersionError
from fabrika._signals import Signals
from fabrika._task import Task

Moment = tuple[float, str]
"""A time since the start of the episode [s], and words."""
_STEP = "Export with --no-language, or with the version that made the episodes."


@runtime_checkable
class Narrating(Protocol):
    """An actor that says what it is at. It may have ``events``, too: a list of words that grows."""

    doing: str
    """The sub-instruction that the last action served; empty where there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Narration:
    """What the expert of one episode said, in the order of time."""

    subtasks: tuple[Moment, ...] = ()
    """Each sub-instruction, from the first action that served it."""
    events: tuple[Moment, ...] = ()
    """What went wrong and was noticed, such as "missed the grasp"."""

    @classmethod
    def from_plain(cls, plain: Mapping[str, Sequence[Sequence[Any]]]) -> Narration:
        """The narration that was made plain, for JSON."""
        moments = {key: tuple((at, words) for at, words in plain[key]) for key in plain}
        return cls(**moments)


def narrates(task: Task) -> bool:
    """True if the task's expert says what it is at."""
    return isinstance(task.expert(), Narrating)


def narrate(task: Task, episode: Episode) -> Narration:
    """Have a fresh expert say what the recorded one was at.

    Raises `UsageError` if the task's expert says nothing, did not make the episode, or reads
    pictures, which are not recorded; `VersionError` if it does not give the recorded actions, cast
    to their recorded types, bit for bit.
    """
    actor, scenario = task.expert(), episode.scenario
    if not isinstance(actor, Narrating):
        raise UsageError(f"{actor.name} says nothing of what it is at: it has no `doing`.")
    if scenario.task != task.name or episode.actor != actor.name:
        raise UsageError(
            f"{episode.actor} made this episode of {scenario.task}, not {actor.name}, the expert "
            f"of {task.name}: what it was at is not known."
        )
    if tuple(sorted(actor.reads)) != episode.reads:
        raise VersionError(f"{actor.name} read other signals when this was recorded. {_STEP}")
    unseen = sorted(set(episode.reads) - episode.observations.keys())
    if unseen:
        raise UsageError(f"{actor.name} reads {unseen[0]}, and pictures are not recorded.")
    subtasks: list[Moment] = []
    events: list[Moment] = []
    said = ""
    actor.reset(scenario.instruction, scenario.seed("actor"))
    for tick, now in enumerate(episode.times[:-1].tolist()):
        seen = {name: np.array(episode.observations[name][tick]) for name in episode.reads}
        _require_same(_act(actor, seen), episode, tick)
        if actor.doing and actor.doing != said:
            said = actor.doing
            subtasks.append((now, said))
        told: Sequence[str] = getattr(actor, "events", ())
        events += [(now, words) for words in told[len(events) :]]
    return Narration(tuple(subtasks), tuple(events))


def _act(actor: Any, seen: Signals) -> Signals:
    try:
        return dict(actor.act(seen))
    except Exception as error:  # whatever an actor raises: the recorded one went on
        why = f"{type(error).__name__}: {error}"
        raise VersionError(f"{actor.name} fails where it once went on ({why}). {_STEP}") from error


def _require_same(action: Signals, episode: Episode, tick: int) -> None:
    """Raise `VersionError` unless the action, in the recorded types, is the recorded one."""
    for name, recorded in episode.actions.items():
        with np.errstate(over="ignore"):
            given = np.asarray(action.get(name, ())).astype(recorded.dtype)
        if given.shape != recorded.shape[1:] or given.tobytes() != recorded[tick].tobytes():
            raise VersionError(
                f"{episode.actor} acts otherwise than recorded in episode {episode.scenario.id}, "
                f"from {name!r} at {episode.times[tick]:.2f} s on: another version made it, or "
                f"another kind of machine. {_STEP}"
            )
