"""Read a dataset that `fabrika export` wrote with LeRobot's own reader, and compare.

LeRobot needs Python 3.12 and gigabytes of packages, so it gets an environment of its own::

    python3.12 -m venv /tmp/lerobot-env
    /tmp/lerobot-env/bin/pip install "lerobot[dataset]"
    HF_HUB_OFFLINE=1 /tmp/lerobot-env/bin/python scripts/read_with_lerobot.py DATASET

It prints versions, sizes and shapes, then checks that LeRobot gives back what the files hold:
every row of numbers, pictures that decode at every episode's first and last row, statistics,
instructions, and a choice of episodes by Fabrika's own columns. The exit status is 0 if all agree.
Nothing is downloaded, nothing of Fabrika is imported.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from lerobot.datasets.lerobot_dataset import LeRobotDataset

PACKAGES = ("lerobot", "torch", "datasets", "pyarrow", "pandas", "torchcodec", "av")


def installed(package: str) -> str:
    """Its version, or "none"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


class Checks:
    """Prints each check, and remembers whether one failed."""

    def __init__(self) -> None:
        self.failed = 0

    def __call__(self, what: str, holds: bool) -> None:
        """One check."""
        self.failed += not holds
        print(f"  {'ok  ' if holds else 'FAIL'} {what}")


def check_rows(dataset: LeRobotDataset, root: Path, check: Checks) -> None:
    """All numbers, as LeRobot gives them, against the files."""
    table = pq.read_table(root / "data")
    loaded = dataset.hf_dataset.with_format("numpy")
    for name in table.column_names:
        ours = np.array(table.column(name).to_pylist())
        theirs = np.array(loaded[name][:]).reshape(ours.shape)
        check(f"{name}: {len(ours)} rows are equal", bool(np.array_equal(ours, theirs)))


def check_pictures(dataset: LeRobotDataset, check: Checks) -> None:
    """First and last row of each episode: LeRobot refuses a picture that is 0.1 ms off."""
    cameras = dataset.meta.video_keys
    if not cameras:
        print("  no cameras in this dataset")
        return
    start, decoded, good = time.perf_counter(), 0, True
    for episode in dataset.meta.episodes:
        for row in (episode["dataset_from_index"], episode["dataset_to_index"] - 1):
            item = dataset[row]
            for camera in cameras:
                height, width, _ = dataset.features[camera]["shape"]
                picture = item[camera]
                good &= tuple(picture.shape) == (3, height, width)
                good &= 0.0 <= float(picture.min()) < float(picture.max()) <= 1.0
                decoded += 1
    rate = decoded / (time.perf_counter() - start)
    check(f"{decoded} pictures decoded at random places, {rate:.0f} a second", good)


def check_meta(dataset: LeRobotDataset, root: Path, check: Checks) -> None:
    """Statistics, instructions, and the columns by which episodes can be chosen."""
    told = json.loads((root / "meta/stats.json").read_text())
    same = all(
        np.array_equal(np.atleast_1d(value), dataset.meta.stats[key][name])
        for key, stats in told.items()
        for name, value in stats.items()
    )
    check(f"statistics of {len(told)} features are equal", same)
    words = set(dataset.meta.tasks.index)
    check(f"{len(words)} instructions; the first row's is one", dataset[0]["task"] in words)
    columns = set(dataset.meta.episodes.features)
    ours = {"success", "seed", "scenario_id", "split", "look", "episode_digest"}
    check("Fabrika's columns are there to choose episodes by", ours <= columns)
    chosen = dataset.meta.filter_episodes(lambda episode: episode["success"])
    check(f"filter_episodes finds {len(chosen)} successes", bool(chosen))


def check_chunks(root: Path, fps: int, check: Checks) -> None:
    """What a policy that predicts chunks asks for: actions of the next moments."""
    steps = {"action": [step / fps for step in range(8)]}
    windows = LeRobotDataset("local/export", root=root, delta_timestamps=steps)
    item = windows[len(windows) - 1]
    padded = int(item["action_is_pad"].sum())
    check(f"chunks of 8 actions; of the last row's, {padded} are padding", padded == 7)


def main() -> int:
    """Check the dataset that the command line names."""
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    root, check = Path(sys.argv[1]).absolute(), Checks()
    found = ", ".join(f"{package} {installed(package)}" for package in PACKAGES)
    print(f"Python {platform.python_version()}, {found}")
    dataset = LeRobotDataset("local/export", root=root)
    print(f"{dataset.num_episodes} episodes, {len(dataset)} rows, {dataset.fps} a second")
    for key, value in dataset[0].items():
        print(f"  {key}: {tuple(value.shape) if hasattr(value, 'shape') else repr(value)}")
    check_rows(dataset, root, check)
    check_pictures(dataset, check)
    check_meta(dataset, root, check)
    check_chunks(root, dataset.fps, check)
    print("all agree" if not check.failed else f"{check.failed} checks failed")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
