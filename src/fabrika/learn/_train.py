"""Training from a store of accepted episodes to one exported file."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from fabrika._errors import InterruptedRunError, ResourceError, UsageError
from fabrika._registry import task as find_task
from fabrika.learn._card import Sensors
from fabrika.learn._checkpoint import NAME, has_checkpoint, load_checkpoint, save_checkpoint
from fabrika.learn._course import Course, Recipe
from fabrika.learn._export import export_policy
from fabrika.learn._frames import Frames, accepted, gather, with_pictures

Device = Literal["cpu", "cuda", "auto"]
CHECKS = 20
"""Points of the learning curve, and checkpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far training is."""

    step: int
    steps: int
    seconds: float
    """Since this call began [s]."""
    remaining: float
    """To go, at the mean pace so far [s]."""
    gpu_seconds: float
    """``seconds`` if it runs on a GPU, else 0 [s]."""
    train_loss: float
    held_out_loss: float
    """Of the averaged weights, on whole episodes that are not trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What training made."""

    policy: Path
    checkpoint: Path
    steps: int
    seconds: float
    """Of this call [s]."""
    gpu_seconds: float
    """``seconds`` if it ran on a GPU, else 0 [s]."""
    parameters: int
    episodes: int
    held_out: int
    """Episodes among them that were not trained on."""
    frames: int
    train_loss: float
    held_out_loss: float
    data: str
    """Digest of the training data."""


OnProgress = Callable[[Progress], None]


def train(
    store_path: Path,
    out: Path,
    *,
    sensors: Sensors = "tracker",
    seed: int = 0,
    steps: int | None = None,
    seconds: float | None = None,
    device: Device = "cpu",
    reads: Sequence[str] = (),
    recipe: Recipe | None = None,
    threads: int | None = None,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Train one policy on the accepted episodes of a store: ``out/policy.onnx``.

    ``steps``, or ``seconds`` (turned into steps by timing a few), is the budget; ``recipe``
    sets everything else. ``reads`` names sensors; by default the task does, else all are read.
    With "cameras", pictures are rendered from stored states into ``out/pictures`` first.

    A call that was stopped goes on from its last checkpoint in ``out``; on a CPU, with as many
    threads, the weights are then bit for bit those of a call that was never stopped.

    Raises `UsageError` for too few accepted episodes, or an ``out`` of other data or recipe;
    `ContractError` if asked to read truth; `VersionError` for another version's checkpoint;
    `InterruptedRunError` on Ctrl-C.
    """
    if steps is not None and seconds is not None:
        raise UsageError("give a budget of steps or of seconds, not both.")
    if (steps is not None and steps < 1) or (seconds is not None and not seconds > 0):
        raise UsageError(f"a budget of {steps} steps, {seconds} s: it must be more than 0.")
    # A picture costs a thousand times what a reading does: fewer of them a step.
    usual = Recipe(batch=64) if sensors == "cameras" else Recipe()
    recipe = replace(recipe or usual, seed=seed)
    if steps is not None:
        recipe = replace(recipe, steps=steps)
    frames = _frames(store_path, out, sensors, reads, recipe)
    return fit(
        frames,
        out,
        sensors=sensors,
        recipe=recipe,
        seconds=seconds,
        device=device,
        threads=threads,
        on_progress=on_progress,
    )


def fit(
    frames: Frames,
    out: Path,
    *,
    sensors: Sensors = "tracker",
    recipe: Recipe,
    seconds: float | None = None,
    device: Device = "cpu",
    threads: int | None = None,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Train on decoded frames: `train` without the store."""
    where = _device(device)
    old = load_checkpoint(out) if has_checkpoint(out) else None
    if old is not None:
        threads = threads or int(old.facts["threads"])
        if threads != old.facts["threads"]:
            raise UsageError(
                f"{out} was trained with {old.facts['threads']} threads; with {threads} the sums "
                "round otherwise. Leave threads out, or train in another folder."
            )
    with _determined(threads, where) as count:
        if seconds is not None:
            found = int(old.facts["recipe"]["steps"]) if old else None
            steps = found or _affordable(frames, sensors, recipe, seconds, where, count)
            recipe = replace(recipe, steps=steps)
        course = Course(frames, sensors, recipe, where, count)
        if old is not None:
            course.restore(old, str(out))
        try:
            out.mkdir(parents=True, exist_ok=True)
            return _run(course, frames, out, on_progress)
        except KeyboardInterrupt as stop:
            raise InterruptedRunError(
                f"training stopped at step {course.step} of {recipe.steps}; the same command "
                f"goes on from the last checkpoint in {out}."
            ) from stop


def _run(course: Course, frames: Frames, out: Path, on_progress: OnProgress | None) -> Summary:
    steps, first = course.recipe.steps, course.step
    every = max(1, steps // CHECKS)
    losses: list[Tensor] = []
    began = last = time.monotonic()
    devices = int(course.device != "cpu")
    while course.step < steps:
        losses.append(course.advance())
        if course.step % every and course.step < steps:
            continue
        loss, held_out = float(torch.stack(losses).mean()), course.held_out_loss()
        losses.clear()
        now = time.monotonic()
        course.note(now - last, loss, held_out)
        save_checkpoint(out, course.checkpoint())
        last = now
        if on_progress:
            on_progress(
                Progress(
                    step=course.step,
                    steps=steps,
                    seconds=now - began,
                    remaining=(now - began) / (course.step - first) * (steps - course.step),
                    gpu_seconds=devices * (now - began),
                    train_loss=loss,
                    held_out_loss=held_out,
                )
            )
    on_gpu = devices * (time.monotonic() - began)
    policy = export_policy(out, out / "policy.onnx")
    (out / "curve.json").write_text(json.dumps(course.curve) + "\n")
    return Summary(
        policy=policy,
        checkpoint=out / NAME,
        steps=course.step,
        seconds=time.monotonic() - began,
        gpu_seconds=on_gpu,
        parameters=sum(p.numel() for p in course.policy.parameters()),
        episodes=len(frames.ids),
        held_out=int(frames.held_out().sum()),
        frames=len(frames.seen),
        train_loss=course.curve["train_loss"][-1],
        held_out_loss=course.curve["held_out_loss"][-1],
        data=frames.digest,
    )


def _frames(
    store: Path, out: Path, sensors: Sensors, reads: Sequence[str], recipe: Recipe
) -> Frames:
    """Decode the store. What is read is the caller's choice, else the task's, else all."""
    task = find_task(next(accepted(store)).scenario.task)
    asked = reads or (task.camera_reads if sensors == "cameras" else task.policy_reads)
    cameras = [name for name in asked if name.startswith("camera/")]
    state = [name for name in asked if not name.startswith("camera/")]
    if sensors == "tracker" and cameras:
        raise UsageError(f"{', '.join(cameras)}: ask for the sensors 'cameras' to learn from them.")
    if sensors == "cameras" and not cameras:
        raise UsageError(
            f"{task.name!r} names no camera in its camera_reads ({asked or 'it is empty'}): "
            "name them there, or in reads."
        )
    # What the task's tracker would have told is what the pictures are to be searched for.
    told = [name for name in task.policy_reads if name.startswith("tracker/")]
    guides = [name for name in told if cameras and name not in state]
    given = state if asked else None
    frames = gather(accepted(store), given, recall=recipe.recall, guides=guides)
    if not cameras:
        return frames
    return with_pictures(frames, accepted(store), cameras, out / "pictures", every=recipe.every)


def _affordable(
    frames: Frames, sensors: Sensors, recipe: Recipe, seconds: float, device: str, threads: int
) -> int:
    """How many steps fit into the seconds: a few are timed on a network that is thrown away."""
    trial = Course(frames, sensors, recipe, device, threads)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 40 and time.perf_counter() - began < max(0.1 * seconds, 1.0):
        start = time.perf_counter()
        float(trial.advance())
        times.append(time.perf_counter() - start)
    # The first steps allocate; held-out losses and checkpoints take a few percent.
    return max(1, int(0.95 * seconds / statistics.median(times[len(times) // 4 :])))


def _device(device: Device) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("there is no CUDA device here. Use the device 'cpu' or 'auto'.")
    return device


@contextmanager
def _determined(threads: int | None, device: str) -> Iterator[int]:
    """Deterministic algorithms and a fixed number of threads, for the duration."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    count = threads or min(len(os.sched_getaffinity(0)), before[0])
    try:
        torch.set_num_threads(count)
        torch.use_deterministic_algorithms(device == "cpu")
        yield count
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
