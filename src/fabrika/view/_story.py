"""What is told beside the picture: what the actor was at, and which goals hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fabrika._actor import Actor
from fabrika._check import Check
from fabrika._episode import Episode, Finding
from fabrika._signals import Signals


class Watched:
    """An actor whose attribute ``doing`` is noted after each action, if it has one.

    ``doing`` is the part of the instruction that it is at, such as "open the drawer".
    """

    def __init__(self, actor: Actor, acted: Callable[[int], None] | None = None) -> None:
        """``acted`` is told after each action how many there were."""
        self._actor, self._acted = actor, acted
        self.name, self.reads = actor.name, actor.reads
        self.doings: list[str] = []
        """What it was at, one entry for each action."""

    @property
    def remark(self) -> str:
        return self._actor.remark

    def reset(self, instruction: str, seed: int) -> None:
        self.doings.clear()
        self._actor.reset(instruction, seed)

    def act(self, observation: Signals) -> Signals:
        action = self._actor.act(observation)
        self.doings.append(str(getattr(self._actor, "doing", "") or ""))
        if self._acted:
            self._acted(len(self.doings))
        return action


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A judged episode, told observation by observation."""

    episode: Episode
    checks: Sequence[Check]
    """Those of its task: the goals among them are told."""
    doings: Sequence[str] = ()
    """See `Watched`; none for an episode that nobody watched."""
    _known: dict[int, tuple[Finding, ...]] = field(default_factory=dict, init=False)

    def doing(self, frame: int) -> str:
        """What the actor was at after it had seen observation ``frame``; empty if not known."""
        return self.doings[min(frame, len(self.doings) - 1)] if self.doings else ""

    def goals(self, frame: int) -> tuple[Finding, ...]:
        """Every goal as it would be judged if the episode had ended at observation ``frame``."""
        if frame not in self._known:
            so_far = cut(self.episode, frame)
            goals = [check for check in self.checks if check.kind == "goal"]
            self._known[frame] = tuple(_find(check, so_far) for check in goals)
        return self._known[frame]


def cut(episode: Episode, frame: int) -> Episode:
    """The episode up to observation ``frame``, not judged."""
    return replace(
        episode,
        times=episode.times[: frame + 1],
        observations={name: v[: frame + 1] for name, v in episode.observations.items()},
        actions={name: v[:frame] for name, v in episode.actions.items()},
        executed={name: v[:frame] for name, v in episode.executed.items()},
        states=episode.states[: frame + 1],
        verdict=None,
    )


def _find(check: Check, episode: Episode) -> Finding:
    """The finding; of an episode that is too short for the check, one that is not ok."""
    try:
        return check.find(episode)
    except (IndexError, ValueError, ZeroDivisionError):
        return replace(check, measure=lambda _: math.nan).find(episode)
