"""One worker process: ``python -m fabrika._worker``.

The first line that it reads is the job, every other line the number of a scenario; each is
answered with one line, a result or an error. It ends when its input does.
"""

from __future__ import annotations

import json
import os
import sys

from fabrika._errors import FabrikaError
from fabrika._pool import Job
from fabrika._run import Station


def main() -> None:
    """Answer until the input ends."""
    # What plug-ins and C libraries print must not get among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    line = sys.stdin.readline()
    if not line:
        return
    try:
        station = Station(Job.from_json(line))
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


if __name__ == "__main__":
    main()
