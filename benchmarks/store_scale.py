"""What a store costs at ten thousand, a hundred thousand and a million episodes, side by side.

    python benchmarks/store_scale.py [--episodes 1000000] [--folder runs/scale] [--json]

Rows are those of real, judged episodes of a home task with other numbers, written by the store's
own index; each names a small file that is there. Only the building skips the flushes to disk.
Each measurement has a fresh process, whose peak memory is told; files are as the building left
them, so mostly in the system's cache. The folder is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from fabrika import Result, Store, Verdict, run_scenarios
from fabrika._disk import sha256
from fabrika._store import object_path, seal_bytes
from fabrika._verify import verify_store
from fabrika.cli._find import find_episode

TASK = "home/mug-to-shelf-v1"
REAL = 5
BATCH = 10_000
REASONS = {"passed": 90, "goal/placed": 6, "safety/force": 4}
WHOLE = 100_000
"""What reads all rows is measured up to so many episodes: its work is a row's, times the rows."""


def grow(folder: Path, first: int, last: int) -> None:
    """Rows and small files for the scenarios from ``first`` to before ``last``."""
    with Store.open(folder) as store:
        models = list(store.index.rows(0, REAL - 1))
    chance = random.Random(first)
    verdicts = [other(models[n % REAL], chance) for n in range(500)]
    batches = [range(start, min(start + BATCH, last)) for start in range(first, last, BATCH)]
    context = multiprocessing.get_context("spawn")
    with Store.alone(folder) as store, ProcessPoolExecutor(1, mp_context=context) as pool:
        written = [pool.submit(write_files, folder, batch) for batch in batches]
        store.index._database.execute("PRAGMA synchronous=OFF")
        for batch in batches:
            store.index.add(
                [synthetic(models[n % REAL], n, chance.choice(verdicts)) for n in batch]
            )
        for each in written:
            each.result()


def write_files(folder: Path, batch: range) -> None:
    for number in batch:
        data = content(number)
        with open(object_path(folder, sha256(data)), "wb") as file:  # noqa: PTH123  # a million
            file.write(data)


def content(number: int) -> bytes:
    return f"episode {number}".encode()


def other(model: Result, chance: random.Random) -> Verdict:
    """The model's verdict with other numbers, and perhaps another reason."""
    assert model.verdict
    [reason] = chance.choices(list(REASONS), list(REASONS.values()))
    findings = tuple(replace(f, value=f.value + chance.random()) for f in model.verdict.findings)
    return replace(model.verdict, passed=reason == "passed", reason=reason, findings=findings)


def synthetic(model: Result, number: int, verdict: Verdict) -> Result:
    digest = sha256(content(number))
    return replace(
        model,
        index=number,
        scenario_id=digest[:16],
        digest=digest,
        reason=verdict.reason,
        verdict=verdict,
        wall_seconds=model.wall_seconds + number % 97 / 97,
    )


def repeated(count: int, call: Callable[[int], object]) -> float:
    start = time.perf_counter()
    for number in range(count):
        call(number)
    return (time.perf_counter() - start) / count


def _opened(folder: Path) -> None:
    Store.open(folder).close()


def _turns(folder: Path, size: int) -> float:
    """A lease and a publication, both flushed to disk, then forgotten."""
    with Store.open(folder) as store:
        model = next(store.iterate())
    with Store.alone(folder) as store:

        def turn(number: int) -> None:
            leased = store.index.turn("one", wanted=[size + number], room=1).leased
            result = replace(model, index=size + number)
            store.require_own(result)
            store.index.turn("one", done=[(result, leased[size + number])])

        seconds = repeated(20, turn)
        store.index.remove(range(size, size + 20))
    return seconds


def _seal(folder: Path) -> float:
    with Store.open(folder) as store:
        data = store.object(next(store.iterate()).digest).read_bytes()
    digests: list[str] = []
    seconds = repeated(10, lambda n: digests.append(seal_bytes(folder, data + bytes([n]))))
    for digest in digests:
        object_path(folder, digest).unlink()
    return seconds


def _find(folder: Path) -> float:
    with Store.open(folder) as store:
        digest = next(store.iterate()).digest[:16]
    return repeated(5, lambda _: find_episode(digest, "train", folder))


def measure(what: str, folder: Path, size: int) -> tuple[float, int]:
    """Seconds, and the peak memory of this process [B]."""
    if what in OUTSIDE:
        seconds = OUTSIDE[what](folder, size)
    else:
        times, call = INSIDE[what]
        with Store.open(folder) as store:
            seconds = repeated(times, lambda number: call(store, size, number))
    return seconds, peak_bytes()


def peak_bytes() -> int:
    """Of this process alone: what getrusage tells begins with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def exhaust(rows: Iterator[Result]) -> int:
    return sum(1 for _ in rows)


OUTSIDE: dict[str, Callable[[Path, int], float]] = {
    "open": lambda folder, _: repeated(20, lambda _: _opened(folder)),
    "find by digest": lambda folder, _: _find(folder),
    "lease and publish one": _turns,
    "seal one (2.4 MB)": lambda folder, _: _seal(folder),
    "verify a sample of 1000": lambda folder, _: repeated(
        1, lambda _: verify_store(folder, sample=1000) and _unsound()
    ),
    "verify all": lambda folder, _: repeated(1, lambda _: verify_store(folder) and _unsound()),
}
INSIDE: dict[str, tuple[int, Callable[[Store, int, int], object]]] = {
    "one row by number": (200, lambda s, size, n: s.index.row(n * 7919 % size)),
    "a page of 100 rows": (20, lambda s, size, _: exhaust(s.index.rows(size // 2, size // 2 + 99))),
    "count by reason": (1, lambda s, *_: s.count()),
    "numbers of all": (1, lambda s, *_: s.index.positions()),
    "what is missing": (1, lambda s, size, _: s.missing(range(size + 10))),
    "go through all rows": (1, lambda s, *_: exhaust(s.iterate())),
    "digest of the store": (1, lambda s, *_: s.digest()),
    "all rows in memory": (1, lambda s, *_: s.rows()),
}
ORDER = (
    *("open", "one row by number", "a page of 100 rows", "find by digest"),
    *("lease and publish one", "seal one (2.4 MB)", "verify a sample of 1000"),
    *("count by reason", "numbers of all", "what is missing", "go through all rows"),
    *("digest of the store", "all rows in memory", "verify all"),
)
COSTLY = ("go through all rows", "digest of the store", "all rows in memory", "verify all")


def _unsound() -> None:
    raise SystemExit("the store is damaged")


def alone(what: str, folder: Path, size: int) -> tuple[float, int]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, what, folder, size).result()


def study(folder: Path, sizes: list[int]) -> dict[str, Any]:
    run_scenarios(TASK, "expert", "train", range(REAL), store=folder)
    for number in range(256):
        (folder / "objects" / f"{number:02x}").mkdir(exist_ok=True)
    found: dict[str, Any] = {"sizes": sizes, "measured": {}, "index_bytes": [], "build_seconds": []}
    there = REAL
    for size in sizes:
        start = time.perf_counter()
        grow(folder, there, size)
        os.sync()
        found["build_seconds"].append(round(time.perf_counter() - start, 1))
        found["index_bytes"].append((folder / "index.sqlite").stat().st_size)
        there = size
        print(f"{size}: built, {found['build_seconds'][-1]} s", file=sys.stderr)
        for what in ORDER:
            if what in COSTLY and size > WHOLE:
                continue
            seconds, peak = alone(what, folder, size)
            print(f"{size}: {what}: {seconds:.6f} s, {peak >> 20} MiB", file=sys.stderr)
            row = found["measured"].setdefault(what, [])
            row.append({"seconds": round(seconds, 7), "peak_bytes": peak})
    return found


def show(found: dict[str, Any]) -> None:
    sizes = found["sizes"]
    print(f"{'seconds':26}" + "".join(f"{size:>12,}" for size in sizes) + "   growth   peak memory")
    for what, row in found["measured"].items():
        cells = "".join(f"{each['seconds']:12.5f}" for each in row) + " " * 12 * (
            len(sizes) - len(row)
        )
        growth = row[-1]["seconds"] / row[0]["seconds"] if len(row) > 1 else 1.0
        print(f"{what:26}{cells} {growth:8.1f} {row[-1]['peak_bytes'] / 1e6:9.0f} MB")
    per_row = [
        f"{count / size:12.0f}" for count, size in zip(found["index_bytes"], sizes, strict=True)
    ]
    print(f"{'index, bytes in a row':26}{''.join(per_row)}")
    print(f"{'building, seconds':26}" + "".join(f"{s:12.1f}" for s in found["build_seconds"]))
    print(f"growth: from {sizes[0]:,} episodes to the most that was measured")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("runs/scale"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.folder.exists():
        raise SystemExit(f"{options.folder} exists; it would be removed. Choose another --folder.")
    try:
        found = study(options.folder, [options.episodes // part for part in (100, 10, 1)])
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)
    print(json.dumps(found)) if options.json else show(found)


if __name__ == "__main__":
    main()
