"""Where replays come from: a store or a dataset, in this process or in several."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from fabrika._replay import Replayed

Kind = Literal["store", "dataset"]


class Source(Protocol):
    """Recorded episodes, to be replayed by position."""

    task: str
    count: int
    changes: list[str]
    """In words, the versions that made them and are others here."""

    def replay(self, position: int) -> Replayed:
        """What comes of the episode at a position."""

    def close(self) -> None:
        """Give back what it holds."""


def find_source(place: Path, role: str) -> tuple[Path, Kind]:
    """The store or the dataset that ``place`` is, or the one of ``role`` in a run folder."""
    from fabrika._errors import UsageError
    from fabrika._store import is_store
    from fabrika.cli._find import find_store

    for folder in (place, place / "dataset") if role == "dataset" else (place,):
        if (folder / "meta" / "info.json").is_file():
            return folder, "dataset"
    if role == "dataset" and is_store(place):
        raise UsageError(f"{place} is a store: it has no dataset. Leave --of out.")
    return find_store(place, role), "store"


def open_source(place: Path, kind: Kind) -> Source:
    """The source, with a world of its own. Raises whatever is wrong with it."""
    if kind == "store":
        from fabrika._replay import StoreReplay

        return StoreReplay(place)
    from fabrika.data import DatasetReplay

    return DatasetReplay(place)


def replay_parallel(
    place: Path, kind: Kind, positions: Sequence[int], workers: int
) -> Iterator[Replayed]:
    """What comes of the episodes, as it comes, from processes that speak JSON lines.

    Raises the error that a worker met; `ResourceError` if one died.
    """
    import fabrika._errors as errors
    from fabrika._replay import Replayed

    lines: queue.SimpleQueue[tuple[subprocess.Popen[str], str]] = queue.SimpleQueue()
    shares = [positions[first::workers] for first in range(min(workers, len(positions)))]
    crew = [_hire(json.dumps([str(place), kind, share])) for share in shares]
    ears = [threading.Thread(target=_listen, args=(one, lines), daemon=True) for one in crew]
    try:
        for ear in ears:
            ear.start()
        working = len(crew)
        while working:
            process, line = lines.get()
            if line:
                answer = json.loads(line)
                if "error" in answer:
                    found = getattr(errors, answer["error"], errors.FabrikaError)
                    # An unknown name composes its own message, which here is complete already.
                    found = errors.UsageError if found is errors.UnknownNameError else found
                    raise found(answer["message"])
                yield Replayed(**answer)
                continue
            working -= 1
            status = process.wait()
            if status:
                how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
                raise errors.ResourceError(f"a worker died ({how}). Use --workers 1 to see why.")
    finally:
        for process in crew:
            process.kill()  # it holds nothing
            process.wait()
        for ear in ears:
            ear.join()
        for process in crew:
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    if pipe:
                        pipe.close()


def _hire(job: str) -> subprocess.Popen[str]:
    from fabrika._pool import ONE_THREAD

    process = subprocess.Popen(
        [sys.executable, "-m", "fabrika.cli._replay_source"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **ONE_THREAD},
        start_new_session=True,  # Ctrl-C is for the parent, which decides
        text=True,
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died: its exit status will say so
        process.stdin.write(job + "\n")
        process.stdin.flush()
    return process


def _listen(
    process: subprocess.Popen[str], lines: queue.SimpleQueue[tuple[subprocess.Popen[str], str]]
) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put((process, line))
    lines.put((process, ""))


def main() -> None:
    """One worker: it reads one job, answers each of its positions with a line, and ends."""
    from fabrika._errors import FabrikaError

    # What plug-ins and C libraries print must not get among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    place, kind, positions = json.loads(sys.stdin.readline())
    try:
        with closing(open_source(Path(place), kind)) as source:
            for position in positions:
                answers.write(source.replay(position).to_json() + "\n")
                answers.flush()
    except FabrikaError as error:
        answers.write(json.dumps({"error": type(error).__name__, "message": str(error)}) + "\n")
        answers.flush()
    except BrokenPipeError:
        pass  # the parent is gone


if __name__ == "__main__":
    main()
