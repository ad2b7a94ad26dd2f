"""Speed, measured in one run on one machine: whole episodes, pictures, bare physics.

A shared machine's speed changes twofold within a second, and other load only ever adds. So the
same episodes, which are the same to the bit, are run in several passes, and each control period
and each picture counts with its fastest pass. What the wall clock said is told beside.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from fabrika._episode import Episode
from fabrika._signals import Array


@runtime_checkable
class Measured(Protocol):
    """What a world on a physics engine offers, beside `World`, to be measured by.

    Nothing has to inherit from it: having the two methods is enough.
    """

    def raw_step_seconds(self, episode: Episode) -> Sequence[float]:
        """Wall seconds of the bare engine, and nothing else, for each of its calls in turn.

        The same model, the same states at the start, the same controls at each step, prepared
        before the clock starts; the same number of steps as the world took.
        """

    def slip(self, episode: Episode) -> Mapping[str, float]:
        """How far each held object moved in the hand while it was held [m], by its name."""


_LOOP = "the loop and its record"


class _Clock:
    """Seconds by part, lap by lap: a lap is one control period, or what comes after the last.

    A part inside another is taken out of the outer one; what no part claims is the loop's.
    """

    def __init__(self) -> None:
        self.laps: list[dict[str, float]] = []
        self._lap: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]
        self._since = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = self.begin()
        try:
            yield
        finally:
            self.end(name, start)

    def begin(self) -> float:
        """Begin a part."""
        self._inner.append(0.0)
        return time.perf_counter()

    def end(self, name: str, start: float) -> None:
        """End the part that began last."""
        whole = time.perf_counter() - start
        self._lap[name] += whole - self._inner.pop()
        self._inner[-1] += whole

    def lap(self) -> None:
        """End a lap."""
        now = time.perf_counter()
        self._lap[_LOOP] += now - self._since - sum(self._lap.values())
        self.laps.append(dict(self._lap))
        self._lap.clear()
        self._since = now


class _Timed:
    """Stands in for a world or an actor, and times those of its methods that are named."""

    def __init__(self, inner: object, clock: _Clock, parts: Mapping[str, str]) -> None:
        self._inner = inner
        for name, part in parts.items():
            setattr(self, name, _timed(getattr(inner, name), clock, part, laps=name == "act"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _timed(call: Callable[..., Any], clock: _Clock, part: str, *, laps: bool) -> Callable[..., Any]:
    """The call, timed as a part; with ``laps``, it begins a lap."""

    def timed(*values: Any) -> Any:
        if laps:
            clock.lap()
        start = clock.begin()
        try:
            return call(*values)
        finally:
            clock.end(part, start)

    return timed


_WORLD = {"reset": "reset", "step": "physics (step)", "observe": "sensors (observe)"}
_ACTOR = {"act": "expert (with its inverse kinematics)", "reset": "expert reset"}


def measure(task_name: str, count: int, pixels: int, passes: int) -> dict[str, Any]:
    """Measure ``count`` training episodes of the expert; plain data, all of it from this run."""
    from fabrika._registry import task as find_task
    from fabrika._world import Pictured

    task = find_task(task_name)
    sim, wall = 0.0, 0.0
    parts: defaultdict[str, float] = defaultdict(float)
    speed: defaultdict[str, float] = defaultdict(float)
    slips: list[float] = []
    frames = 0
    with closing(task.build()) as world:
        next(_episodes(task, world, 1))  # first calls compile models and warm caches
        # Episode by episode, so that a change of the machine's speed meets every measurement.
        for index in range(count):
            runs = list(_episodes(task, world, passes, index))
            episode = runs[0][0]
            sim += float(episode.times[-1])
            wall += sum(seconds for _, seconds, _ in runs) / passes
            for name, seconds in _fastest([laps for _, _, laps in runs]).items():
                parts[name] += seconds
            if isinstance(world, Pictured):
                film = [_film(world, episode, pixels, look) for look in range(passes)]
                speed["pictures"] += float(np.min(film, axis=0).sum())
                frames += film[0].size
            if isinstance(world, Measured):
                raw = [list(world.raw_step_seconds(episode)) for _ in range(passes)]
                speed["raw"] += float(np.min(raw, axis=0).sum())
                ours = [_replay(world, episode) for _ in range(passes)]
                speed["ours"] += float(np.min(ours, axis=0).sum())
                slips += world.slip(episode).values()
        state = sum(parts.values())
        found: dict[str, Any] = {
            "task": task_name,
            "episodes": count,
            "passes": passes,
            "sim_seconds": sim,
            "load_average": os.getloadavg()[0],
            "state_only": _speed(sim, state) | {"by_the_clock": sim / wall},
            "parts": {n: v / state for n, v in sorted(parts.items(), key=lambda item: -item[1])},
        }
        if isinstance(world, Pictured):
            found["pictures"] = {
                "cameras": _cameras(world),
                "pixels": pixels,
                "frames_per_second": frames / speed["pictures"],
                **_speed(sim, state + speed["pictures"]),
            }
    if "raw" in speed:
        slips.sort()
        found["raw"] = {
            "engine_seconds": speed["raw"],
            "physics_seconds": speed["ours"],
            "physics_over_raw": speed["ours"] / speed["raw"],
            "all_in_over_raw": state / speed["raw"],
        }
        found["slip"] = {
            "held": len(slips),
            "median_mm": 1000 * slips[len(slips) // 2] if slips else 0.0,
            "worst_mm": 1000 * slips[-1] if slips else 0.0,
        }
    return found


_Laps = list[dict[str, float]]


def _episodes(
    task: Any, world: Any, passes: int, index: int = 0
) -> Iterator[tuple[Episode, float, _Laps]]:
    """One episode of the expert, all in (rolled out, judged, sealed, committed), in each pass.

    With its wall seconds and its laps.
    """
    from fabrika._check import judge
    from fabrika._result import Result
    from fabrika._rollout import rollout
    from fabrika._store import Store

    manifest = {"task": task.name, "actor": "expert", "split": "train", "draw": ""}
    scenario = task.scenario("train", index)
    for _ in range(passes):
        with (
            TemporaryDirectory(prefix="fabrika-bench-") as folder,
            Store.create(Path(folder) / "store", manifest) as store,
        ):
            start, clock = time.perf_counter(), _Clock()
            actor = cast(Any, _Timed(task.expert(), clock, _ACTOR))
            timed = cast(Any, _Timed(world, clock, _WORLD))
            episode = rollout(actor, timed, scenario, task.horizon)
            with clock.part("judge"):
                episode = episode.with_verdict(judge(episode, task.checks))
            with clock.part("commit"):
                store.commit(replace(Result.judged(episode), digest=store.seal(episode)))
            clock.lap()
            yield episode, time.perf_counter() - start, clock.laps


def _fastest(passes: Sequence[_Laps]) -> dict[str, float]:
    """Seconds by part: each lap from its fastest pass."""
    found: defaultdict[str, float] = defaultdict(float)
    for laps in zip(*passes, strict=True):
        for name, seconds in min(laps, key=lambda lap: sum(lap.values())).items():
            found[name] += seconds
    return found


def _speed(sim: float, wall: float) -> dict[str, float]:
    return {"wall_seconds": wall, "times_real_time": sim / wall}


def _cameras(world: Any) -> list[str]:
    """Every camera but the one for people."""
    return [camera for camera in world.cameras if camera != "scene"]


def _film(world: Any, episode: Episode, pixels: int, look: int) -> Array:
    """Seconds of each picture of every camera, dressed, rendered and encoded."""
    from fabrika.release import encode_h264

    seconds: list[float] = []
    start = time.perf_counter()
    world.dress(episode.scenario, look)  # another look each pass: what is dressed is kept
    for camera in _cameras(world):

        def pictures(camera: str = camera) -> Iterator[Array]:
            nonlocal start
            for state in episode.states[:-1]:
                yield world.picture(state, camera, pixels, pixels)
                now = time.perf_counter()
                seconds.append(now - start)
                start = now

        encode_h264(pictures(), 1 / episode.dt)
        now = time.perf_counter()
        seconds[-1] += now - start
        start = now
    return np.array(seconds)


def _replay(world: Any, episode: Episode) -> Array:
    """Wall seconds of the world's steps alone, one by one, with the recorded commands."""
    world.reset(episode.scenario)
    seconds = np.empty(episode.length)
    for tick in range(episode.length):
        action = {name: values[tick] for name, values in episode.actions.items()}
        start = time.perf_counter()
        world.step(action)
        seconds[tick] = time.perf_counter() - start
    return seconds


def words(found: Mapping[str, Any]) -> list[str]:
    """The measurements as lines for a person."""
    state = found["state_only"]
    lines = [
        f"{found['task']}: {found['episodes']} episodes of the expert, "
        f"{found['sim_seconds']:.1f} s simulated, one core, the fastest of {found['passes']}",
        f"state-only, all in (expert, checks, commit): {state['times_real_time']:.1f} times real "
        f"time ({state['by_the_clock']:.1f} by the wall clock, other load included)",
    ]
    if "pictures" in found:
        pictures = found["pictures"]
        lines.append(
            f"with {len(pictures['cameras'])} cameras at {pictures['pixels']} px, rendered and "
            f"encoded: {pictures['times_real_time']:.1f} times real time "
            f"({pictures['frames_per_second']:.0f} pictures/s)"
        )
    if "raw" in found:
        raw, slip = found["raw"], found["slip"]
        lines += [
            f"the world's physics takes {raw['physics_over_raw']:.2f} times the bare engine's",
            f"everything, state-only, takes {raw['all_in_over_raw']:.2f} times the bare engine's",
            f"slip of {slip['held']} held objects: median {slip['median_mm']:.2f} mm, worst "
            f"{slip['worst_mm']:.2f} mm",
        ]
    else:
        lines.append("this world offers no bare engine to compare with")
    lines.append("where the time goes, state-only:")
    lines += [f"  {share:6.1%}  {name}" for name, share in found["parts"].items()]
    return lines
