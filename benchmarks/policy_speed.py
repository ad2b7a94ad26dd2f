"""Milliseconds of a training step and of an inference, network beside network.

    python benchmarks/policy_speed.py [--threads 1]

CPU time, summed over the threads, on random data in the sizes of a home task: 32 joints, two
palms, two tracked bodies.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import onnxruntime
import torch
from alternatives import NETWORKS, TorchSession

from fabrika.learn import Recipe
from fabrika.learn._course import Course
from fabrika.learn._export import to_onnx
from fabrika.learn._frames import Frames
from fabrika.learn._policy import Policy

JOINTS = {"base": 3, "lift": 1, "head": 2, "left_arm": 7, "right_arm": 7, "left_hand": 6}
JOINTS["right_hand"] = 6
POSES = ("hand/left", "hand/right", "tracker/mug", "tracker/shelf")


def frames(episodes: int = 20, length: int = 250) -> Frames:
    rng = np.random.default_rng(0)
    reads = {f"joint/{n}": (k,) for n, k in JOINTS.items()} | dict.fromkeys(POSES, (9,))
    reads |= {"touch/left": (5,), "touch/right": (5,)}
    rows = episodes * length
    return Frames(
        task="home/mug-to-shelf-v1",
        dt=0.04,
        reads=dict(sorted(reads.items())),
        acts={n: (k,) for n, k in sorted(JOINTS.items())},
        seen=rng.normal(size=(rows, sum(s[0] for s in reads.values()))).astype(np.float32),
        done=rng.normal(size=(rows, sum(JOINTS.values()))).astype(np.float32),
        starts=np.arange(0, rows + 1, length),
        told=np.zeros((episodes, 96), np.float32),
        ids=tuple(map(str, range(episodes))),
        digest="",
        pictures={},
        pictured=np.arange(rows),
    )


def milliseconds(call: Callable[[], object], count: int) -> float:
    for _ in range(3):
        call()
    times = []
    for _ in range(count):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--count", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = frames()
    print(f"batch 256, {options.threads} threads, medians of {options.count}")
    print(f"{'network':28} {'parameters':>10} {'train ms':>9} {'torch ms':>9} {'onnx ms':>8}")
    for name, (network, width, depth) in NETWORKS.items():
        kind = type("Timed", (Course,), {"network": network})
        course = kind(data, "tracker", Recipe(width=width, depth=depth), "cpu", options.threads)
        step = milliseconds(course.advance, options.count)
        feed = {n: np.zeros((1, *s), np.float32) for n, s in data.reads.items()}
        session = TorchSession(course.policy)
        torch_ms = milliseconds(partial(session.run, [], feed), options.count)
        onnx_ms = "-"
        if network is Policy:
            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads = 1
            graph = onnxruntime.InferenceSession(
                to_onnx(course.policy).SerializeToString(), settings
            )
            onnx_ms = f"{milliseconds(partial(graph.run, None, feed), options.count):.2f}"
        size = sum(p.numel() for p in course.policy.parameters())
        print(f"{name:28} {size:10,} {step:9.1f} {torch_ms:9.2f} {onnx_ms:>8}", flush=True)


if __name__ == "__main__":
    main()
