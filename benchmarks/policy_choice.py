"""Which network learns most in equal CPU time? Held-out error, and success in closed loop.

    python benchmarks/policy_choice.py STORE [--seconds 120] [--trials 40]

STORE holds accepted expert episodes of a registered task. One thread, CPU seconds of this
process, so that the figures do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch
from alternatives import NETWORKS, actor_of

import fabrika
from fabrika.learn import Recipe
from fabrika.learn._course import Course
from fabrika.learn._frames import Frames, accepted, gather


def trained(frames: Frames, kind: type[Course], recipe: Recipe, seconds: float) -> Course:
    """Trained for CPU seconds; the schedule's length is found by timing a few steps."""
    trial = kind(frames, "tracker", recipe, "cpu", 1)
    for _ in range(5):
        trial.advance()
    start = time.process_time()
    for _ in range(25):
        trial.advance()
    steps = int(25 * seconds / (time.process_time() - start))
    course = kind(frames, "tracker", replace(recipe, steps=steps), "cpu", 1)
    while course.step < steps:
        course.advance()
    return course


def error(course: Course) -> float:
    """Mean absolute error of the commands that are carried out, held-out episodes [rad or m]."""
    rows = course.batches.held_out[::3]
    with torch.no_grad():
        seen, pictures, told, done = course.batches.batch(rows)
        moving = course.average.scale[0] > 0
        wrong = (course.average(seen, pictures, told) - done).abs()
    return float(wrong[:, : course.recipe.execute, moving].mean())


def success(course: Course, task: fabrika.Task, trials: int) -> int:
    world, actor = task.build(), actor_of(course.average, "trial")
    passed = 0
    for scenario in task.scenarios("validate", trials):
        episode = fabrika.rollout(actor, world, scenario, task.horizon)
        passed += fabrika.judge(episode, task.checks).passed
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name = next(accepted(options.store)).scenario.task
    task = fabrika.task(name)
    frames = gather(accepted(options.store), task.policy_reads, recall=True)
    print(f"{name}, {len(frames.ids)} episodes, {options.seconds:.0f} CPU seconds each")
    print(f"{'network':28} {'steps':>6} {'ms':>6} {'error':>8} {'passed':>7}")
    for label, (network, width, depth) in NETWORKS.items():
        if options.only not in label:
            continue
        kind = type("Trial", (Course,), {"network": network})
        course = trained(frames, kind, Recipe(width=width, depth=depth), options.seconds)
        each = 1e3 * options.seconds / course.step
        passed = success(course, task, options.trials) if options.trials else "-"
        print(
            f"{label:28} {course.step:6} {each:6.1f} {error(course):8.5f} {passed:>7}", flush=True
        )


if __name__ == "__main__":
    main()
