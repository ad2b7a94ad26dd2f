"""The control plane: who runs which scenario, what is tried again, what is published.

A `Shift` is one coordinator's share of a run. It does no work and waits for nothing: it is told
what came back, and says what to run next. So it runs under a simulated clock, disk and scheduler
as well as in earnest (``tests/test_control.py``: thousands of seeds).

Any number of shifts, on any number of machines, may be at work on one index: they share what is
wanted. One that dies loses what it had in hand, and the others run that again.
"""

from __future__ import annotations

import signal
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fabrika._errors import BrokenWorldError, FabrikaError, ResourceError
from fabrika._index import Index
from fabrika._owners import Life
from fabrika._result import Result

SCAN = 1000
"""Scenarios that one turn looks at in search of some to lease: others wait meanwhile."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A scenario that did not come back: its worker died, hung, or went with its machine."""

    index: int
    why: str
    """"SIGKILL", "no sign of life for 60 s"."""
    suspect: bool = True
    """True if it was being run at that moment, so that it may be the cause."""


Answer = Result | Lost


class Executor(Protocol):
    """Runs scenarios somewhere: in this process, on worker processes, on a cluster.

    Results may come in any order, late, or twice; what is lost must be told as `Lost`, once.
    """

    patience: int
    """How many times a scenario may take its worker with it before the run is given up."""

    @property
    def room(self) -> int:
        """How many more scenarios it wants to be given now."""

    def give(self, indices: Sequence[int]) -> None:
        """Run these. Sealed episodes go to the store by themselves; only results come back."""

    def take(self, timeout: float) -> list[Answer]:
        """What has come back; waits for it up to so many seconds. Raises what a worker raised."""

    def close(self) -> None:
        """End whatever still runs."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What one turn of a shift came to."""

    published: list[Result] = field(default_factory=list)
    """Results of this shift, on disk from now on."""
    present: list[Result] = field(default_factory=list)
    """Results that others had published."""
    give: list[int] = field(default_factory=list)
    """What to run next."""


class Shift:
    """One coordinator's share of a run."""

    def __init__(
        self,
        index: Index,
        life: Life,
        wanted: Sequence[int],
        patience: int = 2,
        check: Callable[[Result], None] = lambda _: None,
        what: str = "the run",
    ) -> None:
        """``check`` is called with each result that others published before it is counted.

        ``what`` is being run, in the words of an error.
        """
        self._index, self._life, self._check, self._what = index, life, check, what
        self._patience = patience
        self._open = deque(wanted)
        """Wanted, and neither published nor in hand, as far as is known here."""
        self._held: dict[int, int] = {}
        """In hand, with the token of the lease."""
        self._again: deque[int] = deque()
        """In hand, and to be run once more."""
        self._falls: Counter[int] = Counter()

    @property
    def done(self) -> bool:
        """True if everything wanted is published."""
        return not self._open and not self._held

    def turn(self, answers: Collection[Answer], room: int) -> Settled:
        """Settle what came back; what is published now, and what to run next.

        Raises `ResourceError` or `BrokenWorldError` for a scenario that took its worker with it
        too often, and whatever the index raises.
        """
        ready = self._ready(answers)
        give = [self._again.popleft() for _ in range(min(room, len(self._again)))]
        room -= len(give)
        if not (ready or (self._open and room > 0)):
            return Settled(give=give)
        others = self._index.owners() - {self._life.name} if self._open and room > 0 else set()
        turn = self._index.turn(
            self._life.name,
            done=ready,
            dead=self._life.dead(others),
            wanted=self._candidates(),
            room=max(room, 0),
        )
        for result in turn.present:
            self._check(result)
        settled = {result.index for result in (*turn.published, *turn.present)}
        for position in (*(result.index for result, _ in ready), *settled, *turn.leased):
            self._held.pop(position, None)
        self._held |= turn.leased
        self._open.extend(turn.elsewhere)
        self._open.extend(position for position in turn.fenced if position not in settled)
        return Settled(turn.published, turn.present, [*give, *turn.leased])

    def _candidates(self) -> Iterator[int]:
        """Takes from what is open, as far as it is gone through."""
        for _ in range(min(len(self._open), SCAN)):
            yield self._open.popleft()

    def _ready(self, answers: Collection[Answer]) -> list[tuple[Result, int]]:
        """The results to be published, once each; what was lost is put back, or gives up."""
        ready: dict[int, tuple[Result, int]] = {}
        for answer in answers:
            if answer.index not in self._held:  # it came twice
                continue
            if isinstance(answer, Result):
                ready[answer.index] = (answer, self._held[answer.index])
            else:
                self._retry(answer)
        return list(ready.values())

    def _retry(self, lost: Lost) -> None:
        self._falls[lost.index] += lost.suspect
        if self._falls[lost.index] >= self._patience:
            raise self._give_up(lost)
        self._again.append(lost.index)

    def _give_up(self, lost: Lost) -> FabrikaError:
        cause = ResourceError if lost.why == signal.SIGKILL.name else BrokenWorldError
        return cause(
            f"{self._patience} workers died ({lost.why}) in scenario {lost.index} of {self._what}. "
            "Run it alone, with one worker."
        )
