"""The parts of ``fabrika bench``: which there are, and what each says to a person."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

from fabrika._registry import task as find_task
from fabrika._world import Pictured
from fabrika.cli import _bench, _bench_store, _bench_workers
from fabrika.cli._console import say

PARTS = ("speed", "store", "export", "workers", "ray", "scale")
QUICK = ("speed", "store", "export")
"""What is measured unless more is asked for: a minute or two, not ten."""


def measure_parts(
    task_name: str, parts: Collection[str], *, count: int, pixels: int, passes: int, rows: int
) -> dict[str, Any]:
    """The parts that are asked for, as plain data; ``rows`` of the large store of "scale"."""
    task = find_task(task_name)
    found: dict[str, Any] = {
        "task": task_name,
        "passes": passes,
        "load_average": os.getloadavg()[0],
    }
    if "speed" in parts:
        say("speed: whole episodes, pictures, physics")
        found |= _bench.measure(task_name, count, pixels, passes)
    if "store" in parts or "export" in parts:
        say("store and export: what keeping costs")
        found |= _keeping(task, parts, count, pixels, passes)
    if "workers" in parts:
        say(f"workers: {count * _bench_workers.EACH} episodes by each of {_bench_workers.WORKERS}")
        found["workers"] = _bench_workers.scaling(task_name, count, passes)
    if "ray" in parts:
        say("ray: beside the pool")
        found["ray"] = _bench_workers.ray_beside_pool(task_name, count, passes)
    if "scale" in parts:
        say(f"scale: a store of {rows} rows is being made")
        found["scale"] = _bench_store.scale_cost(task, rows, passes)
    return found


def _keeping(
    task: Any, parts: Collection[str], count: int, pixels: int, passes: int
) -> dict[str, Any]:
    """Commit and encoding; and the overhead, which needs them both."""
    found: dict[str, Any] = {}
    encode: dict[str, Any] = {}
    with closing(task.build()) as world:
        sampled = _bench_store.samples(task, world, count, passes)
        if "export" in parts and isinstance(world, Pictured):
            encode = _bench_store.encode_cost(world, sampled[0], pixels, passes)
            found["export"] = encode
    if "store" in parts:
        found["store"] = _bench_store.commit_cost(task.name, sampled, passes)
    if {"store", "export"} <= set(parts):
        export = _bench_store.export_seconds(task.name, sampled, passes)
        found["overhead"] = _bench_store.overhead(sampled, found["store"], export, encode)
    return found


def words(found: Mapping[str, Any]) -> list[str]:
    """The measurements as lines for a person."""
    lines = _bench.words(found) if "state_only" in found else [f"{found['task']}:"]
    for part, tell in _TELL.items():
        if part in found:
            lines += tell(found[part])
    return lines


def _store(told: Mapping[str, Any]) -> list[str]:
    return [
        f"a commit of {told['bytes'] / 1e6:.2f} MB takes {told['commit_over_bare']:.2f} times a "
        f"bare write and fsync: {_ms(told['commit_seconds'])} ms, {_ms(told['bare_seconds'])} ms "
        f"(serialising {_ms(told['serialise_seconds'])} ms, the index {_ms(told['turn_seconds'])})"
    ]


def _export(told: Mapping[str, Any]) -> list[str]:
    return [
        f"given pictures are exported at {told['export_over_plain']:.2f} times the rate of a plain "
        f"x264 pipe: {told['frames_per_second']:.0f} and "
        f"{told['plain_frames_per_second']:.0f} a second"
    ]


def _overhead(told: Mapping[str, Any]) -> list[str]:
    line = f"storing and exporting an episode costs {told['share']:.1%} of its simulation"
    if "share_with_pictures" in told:
        line += f"; with pictures {told['share_with_pictures']:.1%} of simulation and rendering"
    return [line]


def _workers(told: Mapping[str, Any]) -> list[str]:
    lines = [f"{told['episodes']} episodes on {told['cores']} cores, start-up left out:"]
    for workers, speedup in told["speedup"].items():
        lines.append(
            f"  {workers} workers: {speedup:.2f} times one, "
            f"{told['episodes_per_second'][workers]:.2f} episodes/s; "
            f"start-up {told['startup_seconds'][workers]:.1f} s"
        )
    return lines


def _ray(told: Mapping[str, Any]) -> list[str]:
    if not told["installed"]:
        return ["Ray is not installed"]
    return [
        f"Ray does {told['ray_over_pool']:.2f} times the pool's episodes/s with {told['workers']} "
        f"workers, in a batch of {told['batch_seconds']:.1f} s; start-up "
        f"{told['startup_seconds']['ray']:.1f} s and {told['startup_seconds']['pool']:.1f} s"
    ]


def _scale(told: Mapping[str, Any]) -> list[str]:
    return [
        f"a store of {told['rows']} rows opens in {_ms(told['open_seconds'])} ms, "
        f"{told['open_over_small']:.2f} times one of {_bench_store.FEW}; with one row read "
        f"{_ms(told['open_and_row_seconds'])} ms, counted by reason "
        f"{_ms(told['open_and_count_seconds'])} ms"
    ]


_TELL = {
    "store": _store,
    "export": _export,
    "overhead": _overhead,
    "workers": _workers,
    "ray": _ray,
    "scale": _scale,
}


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"
