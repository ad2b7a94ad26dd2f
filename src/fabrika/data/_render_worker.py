"""One process that renders and narrates: ``python -m fabrika.data._render_worker STORE``.

It reads one job a line and answers each with one line, a shot or an error, both JSON: names,
words and numbers only. It ends when its input does.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from pathlib import Path

from fabrika._errors import FabrikaError
from fabrika.data._render import Job, Studio


def main() -> None:
    """Answer jobs until the input ends."""
    # What plug-ins and C libraries print must not get among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        with closing(Studio(Path(sys.argv[1]))) as studio:
            for line in sys.stdin:
                answers.write(studio.shoot(Job.from_json(line)).to_json() + "\n")
                answers.flush()
    except FabrikaError as error:
        answers.write(json.dumps({"error": type(error).__name__, "message": str(error)}) + "\n")
        answers.flush()
    except BrokenPipeError:
        pass  # the parent is gone
    except OSError as error:
        answers.write(json.dumps({"error": "ResourceError", "message": str(error)}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
