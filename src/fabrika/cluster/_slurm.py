"""Handing a job to Slurm."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from fabrika._errors import ResourceError


def submit_slurm(
    file: Path, *, wait: bool = False, on_submit: Callable[[str], None] | None = None
) -> tuple[str, int]:
    """Hand a script to ``sbatch``; the job's id, and the highest exit code of its shares.

    The exit code is 0 if nobody waits. ``on_submit`` is told the id before the wait. A wait that
    is interrupted leaves the job as it is. Raises `ResourceError` if Slurm is not here or refuses.
    """
    words = ["sbatch", "--parsable", *(["--wait"] if wait else []), str(file)]
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C ends the wait, not the job
        )
    except FileNotFoundError as error:
        raise ResourceError(
            f"there is no sbatch here. On a machine that has Slurm: sbatch {file}"
        ) from error
    with process:
        assert process.stdout and process.stderr
        try:
            number = process.stdout.readline().strip().split(";")[0]
            if not re.fullmatch(r"\d+", number):
                refusal = process.stderr.read().strip() or f"it said {number!r}"
                raise ResourceError(f"Slurm did not take {file}: {refusal}")
            if on_submit:
                on_submit(number)
            return number, process.wait()
        except BaseException:
            process.kill()
            raise
