"""What runs inside a Ray actor: one station, asked and answering in lines of JSON.

Ray itself is not imported here, and nothing but text crosses: Ray would carry objects with pickle.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path

from fabrika._errors import ContractError, FabrikaError, UsageError, VersionError
from fabrika._pool import Job
from fabrika._run import manifest_of
from fabrika._station import Station
from fabrika._store import is_store, versions

LONGEST = 1 << 16
"""The longest message [characters]. Data goes through the store; these are words about it."""


class Desk:
    """One worker. `pulse` is answered while `run` is busy; the others one after another."""

    def __init__(self) -> None:
        self._station: Station | None = None
        self._signs = 0

    def begin(self, job: str, footing: str) -> str:
        """Build the world and the actor; "null", or an error."""
        return _told(lambda: self._begin(Job.from_json(job), footing))

    def run(self, index: str) -> str:
        """The answer to one scenario, as `fabrika._pool.result_in` reads it."""
        return _told(lambda: self._run(json.loads(index)))

    def pulse(self) -> str:
        """Another number than last time, if the actor was asked to act in between."""
        return json.dumps(self._signs)

    def _begin(self, job: Job, footing: str) -> None:
        _require_equal(footing, footing_of(job))
        if job.store and not is_store(job.store):
            raise UsageError(
                f"{job.store} is not on {platform.node()}: a store that several machines write "
                "to lies in a folder that all of them have, under one path."
            )
        # Built in the thread that runs it: an OpenGL context belongs to its thread.
        self._station = Station(job, alive=self._live)

    def _run(self, index: int) -> dict[str, str]:
        if self._station is None:
            raise UsageError("a worker was given work before it began.")
        return {"result": self._station.run(index).to_json()}

    def _live(self) -> None:
        self._signs += 1


def footing_of(job: Job) -> str:
    """What an episode's bits depend on, here: two machines may share a run if it is equal."""
    return json.dumps({**versions(), **manifest_of(job)}, sort_keys=True)


def absolute(job: Job) -> Job:
    """The job as any folder and any machine would understand it."""
    data = json.loads(job.to_json())
    if Path(job.actor).is_file():
        data["actor"] = str(Path(job.actor).absolute())
    if job.store:
        data["store"] = str(job.store.absolute())
    return Job.from_json(json.dumps(data))


def _require_equal(theirs: str, ours: str) -> None:
    asked, found = json.loads(theirs), json.loads(ours)
    changed = [name for name in asked if asked[name] != found.get(name)]
    if changed:
        words = "; ".join(f"{name} {found.get(name)}, there {asked[name]}" for name in changed)
        raise VersionError(
            f"{platform.node()} is not like the machine that began the run ({words}): equal "
            "scenarios might differ. Install the same versions on every machine."
        )


def _told(ask: Callable[[], object]) -> str:
    """The answer as JSON. Errors too: Ray would send the exception itself."""
    try:
        answer = json.dumps(ask())
        if len(answer) > LONGEST:
            raise ContractError(f"a result of {len(answer)} characters; at most {LONGEST}.")
    except FabrikaError as error:
        answer = json.dumps({"error": type(error).__name__, "message": str(error)})
    except Exception as error:  # whatever a plug-in raised while the world was built
        words = f"a worker raised {type(error).__name__}: {error}."
        answer = json.dumps({"error": ContractError.__name__, "message": words[:LONGEST]})
    return answer
