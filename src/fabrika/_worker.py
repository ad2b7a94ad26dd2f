"""One worker process: ``python -m fabrika._worker``.

The first line that it reads is the job, every other line the number of a scenario; each is
answered with one line, a result or an error. Empty lines in between say that it lives. It ends
when its input does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO

from fabrika._errors import FabrikaError
from fabrika._pool import Job
from fabrika._station import Station

_SIGN = 2.0
"""At work, it shows a sign of life this often [s]."""


def main() -> None:
    """Answer until the input ends."""
    # What plug-ins and C libraries print must not get among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    line = sys.stdin.readline()
    if not line:
        return
    try:
        station = Station(Job.from_json(line), alive=_pulse(answers))
        answers.write("\n")
        answers.flush()
        for line in sys.stdin:
            result = station.run(json.loads(line))
            answers.write(json.dumps({"result": result.to_json()}) + "\n")
            answers.flush()
        station.close()
    except FabrikaError as error:
        answers.write(json.dumps({"error": type(error).__name__, "message": str(error)}) + "\n")
        answers.flush()
    except BrokenPipeError:
        pass  # the parent is gone


def _pulse(answers: IO[str]) -> Callable[[], None]:
    """Called at every control period; says so to the parent, now and then."""
    last = time.monotonic()

    def alive() -> None:
        nonlocal last
        if time.monotonic() - last > _SIGN:
            last = time.monotonic()
            try:
                answers.write("\n")
                answers.flush()
            except BrokenPipeError:  # the parent is gone; an error here would be the actor's fault
                os._exit(0)

    return alive


if __name__ == "__main__":
    main()
