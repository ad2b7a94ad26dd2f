"""Replaying: a recorded episode again, from its scenario and its actions, through the one loop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fabrika._check import judge
from fabrika._episode import Episode, Finding, dump_episode
from fabrika._errors import ContractError, IntegrityError
from fabrika._registry import task as find_task
from fabrika._result import Result
from fabrika._rollout import rollout
from fabrika._scenario import Scenario
from fabrika._signals import Array, Signals
from fabrika._store import Store, version_changes
from fabrika._tier import Tier

CLOSE = 1e-6
"""How far numbers of tier D1 may lie apart, absolutely and relatively."""


class Recorded:
    """Commands what was commanded. It looks at nothing, so that no camera has to be rendered.

    Where the record goes on, it holds its last action; where it ends in a fault, it faults.
    """

    remark = ""
    reads: frozenset[str] = frozenset()

    def __init__(self, name: str, actions: Signals, *, faults: bool) -> None:
        self.name = name
        self._actions, self._faults = actions, faults
        self._length = min((len(rows) for rows in actions.values()), default=0)
        self._tick = 0

    def reset(self, instruction: str, seed: int) -> None:
        self._tick = 0

    def act(self, observation: Signals) -> Signals:
        tick, last = self._tick, self._length - 1
        if tick > last and (self._faults or last < 0):
            raise ContractError("the record ends here.")
        self._tick += 1
        return {name: rows[min(tick, last)] for name, rows in self._actions.items()}


@dataclass(frozen=True, slots=True)
class Account:
    """What is told of an episode: its series, (T or T + 1, ...) each, and plain facts."""

    series: Mapping[str, Array]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a replay needs of an episode, and what has to come out of it again."""

    index: int
    """The number by which its source calls it."""
    scenario: Scenario
    actor: str
    reads: tuple[str, ...]
    remark: str
    fault: str
    actions: Signals
    passed: bool
    digest: str
    """SHA-256 of the whole episode's file."""
    told: Account
    tell: Callable[[Episode], Account]
    """Makes of a replayed episode what ``told`` is of the recorded one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of a replay. Plain data: JSON in, JSON out."""

    index: int
    reason: str
    """"identical"; where it is not, the first of: "void", "damaged" (it cannot be read),
    "broken" (the world broke), "scenario" (the task draws another one now), "signals" (other
    names, shapes or types), "checks" (equal motion, another verdict), "versions", "differs"
    (though made by these versions, on such a machine), "digest" (nothing but the file)."""
    detail: str = ""
    """What differs first and by how much, and what may be why."""
    tier: Tier = "D3"
    """What came out again: see `TIERS`."""
    passed: bool = False
    """As recorded."""
    passes: bool = False
    """As replayed."""

    @property
    def identical(self) -> bool:
        """True if all that is recorded came out again, to the last bit."""
        return self.reason == "identical"

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Replayed:
        """What `to_json` wrote."""
        return cls(**json.loads(text))


class Replayer:
    """One task and one world, for one record after another."""

    def __init__(self, task: str, made_by: Mapping[str, str]) -> None:
        """``made_by``: the versions that made the records."""
        self.task = find_task(task)
        # Actions are recorded: what once inferred them cannot matter.
        self.changes = version_changes(made_by, ignore="onnxruntime")
        self.world = self.task.build()

    def replay(self, record: Record) -> Replayed:
        """Play the actions in the scenario again, judge, and compare with what is told."""
        old = record.scenario
        try:
            drawn = self.task.scenario(old.split, old.index, old.draw)
            episode = self._act(record)
            now = record.tell(episode)
        except Exception as error:  # a world may raise anything over what a file says
            self.world.close()
            self.world = self.task.build()
            why = f"{type(error).__name__}: {error}"
            return self._concluded(record, "broken", why)
        if drawn.id != old.id:
            reason, detail = "scenario", f"{self.task.name} draws another one now."
        else:
            reason, detail = self._compare(record, episode, now)
        passes = bool(episode.verdict and episode.verdict.passed)
        tier: Tier = "D2" if passes == record.passed else "D3"
        if reason == "identical":
            tier = "D0"
        elif tier == "D2" and _close(record.told, now):
            tier = "D1"
        return self._concluded(record, reason, detail, tier=tier, passes=passes)

    def close(self) -> None:
        """Give back the world."""
        self.world.close()

    def _act(self, record: Record) -> Episode:
        actor = Recorded(record.actor, record.actions, faults=bool(record.fault))
        episode = rollout(actor, self.world, record.scenario, self.task.horizon)
        # What the actor saw and said is not simulated: it is taken from the record.
        fault = record.fault if episode.ending == "fault" and record.fault else episode.fault
        episode = replace(episode, reads=record.reads, remark=record.remark, fault=fault)
        return episode.with_verdict(judge(episode, self.task.checks))

    def _compare(self, record: Record, episode: Episode, now: Account) -> tuple[str, str]:
        """The reason's code, and its words."""
        told = record.told
        old, new = _declared(told), _declared(now)
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                return "signals", f"{name}: {old.get(name, 'none')}, now {new.get(name, 'none')}."
        names = [n for n in {**told.facts, **now.facts} if told.facts.get(n) != now.facts.get(n)]
        facts = [f"{n}: {told.facts.get(n)}, now {now.facts.get(n)}" for n in names]
        moved = first_difference(told.series, now.series)
        if moved or facts:
            judged = not moved and all(name.startswith(JUDGED) for name in names)
            code = "checks" if judged else "versions" if self.changes else "differs"
            return code, "; ".join((*([moved] if moved else ()), *facts)) + "."
        if hashlib.sha256(dump_episode(episode)).hexdigest() != record.digest:
            return "digest", "all that can be compared is equal; the episode's SHA-256 is another."
        return "identical", ""

    def _concluded(self, record: Record, reason: str, detail: str, **found: Any) -> Replayed:
        if self.changes and reason != "identical":
            detail = f"{detail} Made by {'; '.join(self.changes)}."
        return Replayed(
            index=record.index, reason=reason, detail=detail, passed=record.passed, **found
        )


class StoreReplay:
    """The episodes of a store, to be replayed by position. Raises whatever `Store.open` does."""

    def __init__(self, path: Path) -> None:
        with ExitStack() as undo:
            self._store = undo.enter_context(Store.open(path))
            self.task = str(self._store.manifest.get("task"))
            self._replayer = Replayer(self.task, self._store.manifest["versions"])
            self._undo = undo.pop_all()
        self._undo.callback(self._replayer.close)
        self._positions = self._store.index.positions()
        self.changes, self.count = self._replayer.changes, len(self._positions)

    def replay(self, position: int) -> Replayed:
        """What comes of the episode at a position, in the order of the rows."""
        index = self._positions[position]
        row = next(self._store.index.rows(index, index))
        if row.void or not row.digest:
            why = row.void or "its episode was not kept."
            return Replayed(index=row.index, reason="void", detail=why)
        try:
            record = _record(row, self._store.episode(row))
        except IntegrityError as error:
            why = str(error)
            return Replayed(index=row.index, reason="damaged", detail=why, passed=row.accepted)
        return self._replayer.replay(record)

    def close(self) -> None:
        """Give back the world and the store."""
        self._undo.close()


def _record(row: Result, episode: Episode) -> Record:
    """A stored episode as a record. Raises `IntegrityError` if it makes no sense."""
    told, says = account(episode), Result.judged(episode)
    same = ("scenario_id", "actor", "remark", "length", "reason")
    if any(getattr(row, name) != getattr(says, name) for name in same):
        raise IntegrityError(f"row {row.index} says something else than its episode does.")
    lengths = {name: len(rows) if rows.ndim else -1 for name, rows in told.series.items()}
    extra = {name: name.startswith(("observations/", "states", "times")) for name in lengths}
    if not episode.actions or any(lengths[n] != row.length + extra[n] for n in lengths):
        raise IntegrityError(f"episode {row.digest[:12]} has series of lengths {lengths}.")
    return Record(
        index=row.index,
        scenario=episode.scenario,
        actor=episode.actor,
        reads=episode.reads,
        remark=episode.remark,
        fault=episode.fault,
        actions=episode.actions,
        passed=row.accepted,
        digest=row.digest,
        told=told,
        tell=account,
    )


JUDGED = "judge"
"""How facts begin that follow from the checks alone."""


def account(episode: Episode) -> Account:
    """All of an episode that is simulated or judged."""
    series = {
        f"{group}/{name}": rows
        for group in ("actions", "executed", "observations")
        for name, rows in getattr(episode, group).items()
    }
    facts = {
        name: getattr(episode, name) for name in ("truth", "dt", "ending", "fault", "warnings")
    }
    if episode.verdict:
        facts[JUDGED] = episode.verdict.reason
        facts |= {f"{JUDGED} {f.check}": _limits(f) for f in episode.verdict.findings}
    return Account(series | {"states": episode.states, "times": episode.times}, facts)


def _limits(found: Finding) -> str:
    """In words, because NaN does not equal itself."""
    limits = f"{found.at_least} to {found.at_most}"
    return f"{found.value!r} {found.unit} ({found.kind}, {limits}, {found.ok})"


def _declared(account: Account) -> dict[str, str]:
    return {name: f"{rows.dtype} {rows.shape[1:]}" for name, rows in account.series.items()}


def first_difference(told: Mapping[str, Array], now: Mapping[str, Array]) -> str:
    """Which series differs first, where, and by how much; empty if none does, to the last bit.

    ``told`` and ``now`` hold the same names, shapes and types, but perhaps for other times.
    """
    unlike: dict[str, tuple[int, int]] = {}
    for name, rows in told.items():
        length = min(len(rows), len(now[name]))
        if rows.tobytes() == now[name].tobytes():
            continue
        differs = [rows[t].tobytes() != now[name][t].tobytes() for t in range(length)]
        unlike[name] = (differs.index(True) if any(differs) else length, sum(differs))
    if not unlike:
        return ""
    name = min(unlike, key=lambda key: unlike[key][0])
    tick, count = unlike[name]
    if tick >= min(len(told[name]), len(now[name])):
        return f"equal until tick {tick}: {len(told[name])} ticks recorded, now {len(now[name])}"
    by = ""
    if told[name].dtype.kind in "iuf":
        gap = np.abs(np.subtract(told[name][tick], now[name][tick], dtype=np.float64)).max()
        by = f" by {gap:.3g}"
    words = f"{name} differs first, at tick {tick}{by}, and at {count} of {len(told[name])} ticks; "
    others = len(unlike) - 1
    return words + (f"so do {others} other series" if others else "no other series does")


def _close(told: Account, now: Account) -> bool:
    """True if no number lies farther from its recorded one than `CLOSE`."""
    if told.series.keys() != now.series.keys():
        return False
    return all(
        rows.shape == now.series[name].shape
        and (
            np.allclose(rows, now.series[name], rtol=CLOSE, atol=CLOSE)
            if rows.dtype.kind in "iuf"
            else np.array_equal(rows, now.series[name])
        )
        for name, rows in told.series.items()
    )
