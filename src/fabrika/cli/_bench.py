"""Speed, measured in one run on one machine: whole episodes, pictures, bare physics."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, cast, runtime_checkable

from fabrika._episode import Episode
from fabrika.cli._options import cores


@runtime_checkable
class Measured(Protocol):
    """What a world on a physics engine offers, beside `World`, to be measured by.

    Nothing has to inherit from it: having the two methods is enough.
    """

    def raw_step_seconds(self, episode: Episode) -> float:
        """Wall seconds of the bare engine for the episode's physics steps, and nothing else.

        The same model, the same states at the start, the same controls at each step, prepared
        before the clock starts; the same number of steps as the world took.
        """

    def slip(self, episode: Episode) -> Mapping[str, float]:
        """How far each held object moved in the hand while it was held [m], by its name."""


class _Clock:
    """Seconds by part. A part inside another is taken out of the outer one."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - start
            self.seconds[name] += whole - self._inner.pop()
            self._inner[-1] += whole


class _Timed:
    """Stands in for a world or an actor, and times those of its methods that are named."""

    def __init__(self, inner: object, clock: _Clock, parts: Mapping[str, str]) -> None:
        self._inner, self._clock, self._parts = inner, clock, parts

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._parts:
            return found
        call = cast(Callable[..., Any], found)

        def timed(*values: Any) -> Any:
            with self._clock.part(self._parts[name]):
                return call(*values)

        return timed


_WORLD = {"reset": "reset", "step": "physics (step)", "observe": "sensors (observe)"}
_ACTOR = {"act": "expert (with its inverse kinematics)", "reset": "expert reset"}


def measure(task_name: str, count: int, pixels: int) -> dict[str, Any]:
    """Measure ``count`` training episodes of the expert; plain data, all of it from this run."""
    from fabrika._registry import task as find_task
    from fabrika._world import Pictured

    task = find_task(task_name)
    with closing(task.build()) as world:
        _episodes(task, world, 1, _Clock())  # first calls compile models and warm caches
        clock = _Clock()
        episodes, wall = _episodes(task, world, count, clock)
        sim = sum(float(episode.times[-1]) for episode in episodes)
        found: dict[str, Any] = {
            "task": task_name,
            "episodes": count,
            "sim_seconds": sim,
            "load_average": os.getloadavg()[0],
            "state_only": _speed(sim, wall),
            "parts": _parts(clock, wall),
        }
        if isinstance(world, Pictured):
            found["pictures"] = _pictures(world, episodes, pixels, wall, sim)
        if isinstance(world, Measured):
            found |= _against_raw(world, episodes, wall)
    return found


def _episodes(task: Any, world: Any, count: int, clock: _Clock) -> tuple[list[Episode], float]:
    """The expert's episodes, all in (rolled out, judged, sealed, committed), and seconds [s]."""
    from fabrika._check import judge
    from fabrika._result import Result
    from fabrika._rollout import rollout
    from fabrika._store import Store

    actor = cast(Any, _Timed(task.expert(), clock, _ACTOR))
    timed = cast(Any, _Timed(world, clock, _WORLD))
    episodes = []
    manifest = {"task": task.name, "actor": "expert", "split": "train", "draw": ""}
    with (
        TemporaryDirectory(prefix="fabrika-bench-") as folder,
        Store.create(Path(folder) / "store", manifest) as store,
    ):
        start = time.perf_counter()
        for scenario in task.scenarios("train", count):
            with clock.part("the loop and its record"):
                episode = rollout(actor, timed, scenario, task.horizon)
            with clock.part("judge"):
                episode = episode.with_verdict(judge(episode, task.checks))
            with clock.part("commit"):
                store.commit(replace(Result.judged(episode), digest=store.seal(episode)))
            episodes.append(episode)
        wall = time.perf_counter() - start
    return episodes, wall


def _speed(sim: float, wall: float) -> dict[str, float]:
    return {"wall_seconds": wall, "times_real_time": sim / wall}


def _parts(clock: _Clock, wall: float) -> dict[str, float]:
    """Share of the wall clock by part, the greatest first."""
    shares = {name: seconds / wall for name, seconds in clock.seconds.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _pictures(
    world: Any, episodes: list[Episode], pixels: int, wall: float, sim: float
) -> dict[str, Any]:
    """Every camera but "scene", each step, rendered and encoded on top of the state-only time."""
    from fabrika.release import encode_h264

    cameras = [camera for camera in world.cameras if camera != "scene"]
    frames = 0
    start = time.perf_counter()
    for episode in episodes:
        world.dress(episode.scenario)
        for camera in cameras:
            pictures = (
                world.picture(state, camera, pixels, pixels) for state in episode.states[:-1]
            )
            encode_h264(pictures, 1 / episode.dt)
            frames += episode.length
    spent = time.perf_counter() - start
    return {
        "cameras": cameras,
        "pixels": pixels,
        "frames_per_second": frames / spent,
        **_speed(sim, wall + spent),
    }


def _against_raw(world: Any, episodes: list[Episode], wall: float) -> dict[str, Any]:
    """The world's own physics, replayed with nothing beside, against the bare engine."""
    ours, raw = 0.0, 0.0
    slips: list[float] = []
    for episode in episodes:
        # Interleaved, so that a burst of other load on the machine meets both.
        raw += world.raw_step_seconds(episode)
        ours += _replay(world, episode)
        slips += world.slip(episode).values()
    slips.sort()
    return {
        "raw": {
            "engine_seconds": raw,
            "physics_seconds": ours,
            "physics_over_raw": ours / raw,
            "all_in_over_raw": wall / raw,
        },
        "slip": {
            "held": len(slips),
            "median_mm": 1000 * slips[len(slips) // 2] if slips else 0.0,
            "worst_mm": 1000 * slips[-1] if slips else 0.0,
        },
    }


def _replay(world: Any, episode: Episode) -> float:
    """Wall seconds of the world's steps alone, with the recorded commands."""
    world.reset(episode.scenario)
    actions = [
        {name: values[tick] for name, values in episode.actions.items()}
        for tick in range(episode.length)
    ]
    start = time.perf_counter()
    for action in actions:
        world.step(action)
    return time.perf_counter() - start


def words(found: Mapping[str, Any]) -> list[str]:
    """The measurements as lines for a person."""
    state = found["state_only"]
    lines = [
        f"{found['task']}: {found['episodes']} episodes of the expert, "
        f"{found['sim_seconds']:.1f} s simulated, one core",
        f"state-only, all in (expert, checks, commit): {state['times_real_time']:.1f} times real "
        "time",
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
    if found["load_average"] > cores():
        lines.append(
            f"the machine was busy (load {found['load_average']:.1f} on {cores()} cores): the "
            "speeds are too low, the ratios less so; run it again when nothing else runs"
        )
    lines.append("where the time goes, state-only:")
    lines += [f"  {share:6.1%}  {name}" for name, share in found["parts"].items()]
    return lines
