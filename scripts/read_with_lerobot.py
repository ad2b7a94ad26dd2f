"""Read a dataset that `fabrika export` wrote with LeRobot's own reader, and compare.

LeRobot needs Python 3.12 and gigabytes of packages, so it gets an environment of its own::

    python3.12 -m venv /tmp/lerobot-env
    /tmp/lerobot-env/bin/pip install "lerobot[dataset]"
    HF_HUB_OFFLINE=1 /tmp/lerobot-env/bin/python scripts/read_with_lerobot.py DATASET

It prints versions, sizes and shapes, then checks that LeRobot gives back what the files hold:
every row of numbers, pictures that decode at every episode's first and last row, depth and
segmentation to the last bit, what the expert was at in every row, statistics, instructions, and a
choice of episodes by Fabrika's own columns. The exit status is 0 if all agree.
Nothing is downloaded, nothing of Fabrika is imported.
"""

from __future__ import annotations

import io
import json
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lerobot.datasets.language_render import active_at
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from PIL import Image

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


def is_list_of_words(name: str) -> bool:
    """True for LeRobot's own columns of language."""
    return name.startswith("language_")


def is_still(kind: pa.DataType) -> bool:
    """True for a column of stored pictures."""
    return pa.types.is_struct(kind) and "bytes" in {field.name for field in kind}


def check_rows(dataset: LeRobotDataset, root: Path, check: Checks) -> None:
    """All numbers, as LeRobot gives them, against the files."""
    table = pq.read_table(root / "data")
    loaded = dataset.hf_dataset.with_format("numpy")
    plain = [f.name for f in table.schema if not (is_list_of_words(f.name) or is_still(f.type))]
    for name in plain:
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


def check_stills(dataset: LeRobotDataset, root: Path, check: Checks) -> None:
    """Depth in whole millimetres and colours of bodies, of each episode's first and last row."""
    table = pq.read_table(root / "data")
    legend = root / "meta/segmentation.json"
    known = (
        {tuple(c) for c in json.loads(legend.read_text())["bodies"].values()}
        if (legend.exists())
        else set()
    )
    for name in [field.name for field in table.schema if is_still(field.type)]:
        good, seen = True, set()
        for episode in dataset.meta.episodes:
            for row in (episode["dataset_from_index"], episode["dataset_to_index"] - 1):
                png = table.column(name)[row].as_py()["bytes"]
                ours = np.array(Image.open(io.BytesIO(png)))
                theirs = dataset[row][name].numpy()
                if ours.ndim == 2:
                    good &= bool(np.array_equal(theirs[0], ours.astype(np.float32)))
                else:
                    good &= bool(np.array_equal(np.rint(theirs * 255), ours.transpose(2, 0, 1)))
                    seen |= {tuple(colour) for colour in ours.reshape(-1, 3).tolist()}
        good &= seen <= known | {(0, 0, 0)}
        bodies = f", {len(seen)} bodies, all in the legend" if seen else ""
        check(f"{name}: nothing is lost{bodies}", good)


def check_words(dataset: LeRobotDataset, root: Path, check: Checks) -> None:
    """What LeRobot finds in force at each row is the latest that was said by then."""
    if "language_persistent" not in dataset.features:
        print("  no words in this dataset")
        return
    told = pq.read_table(root / "data", columns=["timestamp", "language_persistent"])
    good, said = True, set()
    for row, now in enumerate(told.column("timestamp").to_pylist()):
        words = dataset.hf_dataset[row]["language_persistent"]
        good &= words == told.column("language_persistent")[row].as_py()
        before = [w for w in words if w["style"] == "subtask" and w["timestamp"] <= now]
        found = active_at(now, persistent=words, style="subtask")
        good &= (found and found["content"]) == (before[-1]["content"] if before else None)
        said |= {w["content"] for w in before}
    check(f"{len(told)} rows with words, {len(said)} sub-instructions in force", bool(good))


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
    check_stills(dataset, root, check)
    check_words(dataset, root, check)
    check_meta(dataset, root, check)
    check_chunks(root, dataset.fps, check)
    print("all agree" if not check.failed else f"{check.failed} checks failed")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
