"""Laws of sudden death: a pool killed at any moment goes on, and hardly anything is done twice."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from faults.server import Answer, Server, complaints

COUNTED = "faults/counted-v1"
"""A short slow toy task; it leaves a line in a file whenever a scenario is begun."""
SCENARIOS, WORKERS = 8, 2
KILLS = {"small": 100, "release": 3000}
"""Of workers that are forked, which take a few milliseconds to start."""
REAL_KILLS = {"small": 8, "release": 200}
"""Of workers as they are, which take half a second."""
PARTS = 4
"""Tests that the kills are spread over, so that they can be shared out."""


def run(server: Server, root: Path, **case: Any) -> Answer:
    environment = {"FAULTS_FOLDER": str(root)}
    count = {"task": COUNTED, "count": SCENARIOS, "environment": environment}
    return server.run(root, workers=WORKERS, **count, **case)


def check(server: Server, root: Path) -> Answer:
    environment = {"FAULTS_FOLDER": str(root)}
    return server.check(root, task=COUNTED, count=SCENARIOS, environment=environment)


def begun(root: Path) -> Counter[str]:
    """How often each scenario was begun."""
    path = root / "begun"
    return Counter(path.read_text().split() if path.exists() else [])


def kills(server: Server, number: int, seed: int, cheap: bool) -> list[str]:
    """Kill so many runs, all processes of each, at moments spread over it; what was wrong then."""
    moments, wrong, kept = random.Random(seed), [], Counter[int]()
    golden, seconds = undisturbed(server, cheap)
    while kept.total() < number:
        # A real worker starts for most of the time: the moment is counted from a row on then.
        at, rows = moments.uniform(0.0, seconds), 0
        if not cheap:
            at, rows = moments.uniform(0.0, 0.04), moments.randrange(SCENARIOS)
        root = server.root()
        answer = run(server, root, cheap_workers=cheap, kill_at=at, kill_rows=rows)
        found = check(server, root)
        if answer["killed"]:  # else it was done before its moment
            what = complaints(found, answer["told"], golden)
            redone = begun(root).total() - SCENARIOS
            if redone > WORKERS:
                what.append(f"{redone} scenarios were begun again, with {WORKERS} workers")
            wrong += [f"killed {at:.4f} s after row {rows}: {complaint}" for complaint in what]
            kept[len(found["found"] or [])] += 1
        shutil.rmtree(root)
    assert len(kept) > 2, f"the moments were not spread: {kept}"
    return wrong


def undisturbed(server: Server, cheap: bool) -> tuple[Answer, float]:
    """The same run, never killed, and how long it takes [s]."""
    root = server.root()
    answer = run(server, root, cheap_workers=cheap)
    assert answer["error"] == "" and set(begun(root).values()) == {1}
    return check(server, root), answer["seconds"]


def numbered(wrong: list[str], number: int) -> str:
    return "\n".join([f"{len(wrong)} complaints in {number} kills:", *wrong[:20]])


@pytest.mark.parametrize("part", range(PARTS))
def test_a_pool_killed_at_any_moment_is_continued(
    server: Server, part: int, pytestconfig: pytest.Config
) -> None:
    number = KILLS[pytestconfig.getoption("--tier")] // PARTS
    wrong = kills(server, number, part, cheap=True)
    assert not wrong, numbered(wrong, number)


def test_a_pool_of_real_processes_killed_at_any_moment_is_continued(
    server: Server, pytestconfig: pytest.Config
) -> None:
    number = REAL_KILLS[pytestconfig.getoption("--tier")]
    wrong = kills(server, number, PARTS, cheap=False)
    assert not wrong, numbered(wrong, number)
