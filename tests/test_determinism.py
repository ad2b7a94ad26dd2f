"""Laws of determinism: the same bytes from any number of workers, any executor, any environment."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from fabrika import run_scenarios
from fabrika._store import read_manifest
from fabrika._tier import TIERS, tier_of, weakest
from fabrika.data import export_lerobot
from fabrika.data._film import PixelHash
from print_digests import bytes_in, store_bytes

ROOT = Path(__file__).resolve().parent.parent
TOY = "toy/reach-v1"
INDICES = range(11)
CREWS = [("serial", 1), ("pool", 1), ("pool", 2), ("pool", 4), ("pool", 8)]
ELSEWHERE = {
    "PYTHONHASHSEED": "4242",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "C",
    "LANG": "de_DE.UTF-8",
    "OMP_NUM_THREADS": "4",
    "OPENBLAS_NUM_THREADS": "4",
    "COLUMNS": "40",
}
HERE = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("golden") / "store"
    run_scenarios(TOY, "expert", "train", INDICES, store=folder)
    return folder


@pytest.fixture(scope="module")
def dataset(store: Path) -> Path:
    out = store.parent / "dataset"
    export_lerobot(store, out, cameras=("head", "scene"), size=(32, 48), looks=2)
    return out


@pytest.fixture
def ray() -> Iterator[None]:
    """Ray on this machine, with two CPUs, ended with the test."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    from fabrika.cluster import _session

    before = dict(os.environ)
    os.environ.pop("RAY_ADDRESS", None)
    module = _session.join(2)
    yield
    _session.leave(module)
    os.environ.clear()
    os.environ.update(before)


def shuffled(seed: int) -> list[int]:
    return random.Random(seed).sample(list(INDICES), len(INDICES))


@pytest.mark.parametrize(("executor", "workers"), CREWS)
def test_a_store_has_the_same_bytes_whoever_made_it(
    store: Path, tmp_path: Path, executor: str, workers: int
) -> None:
    order, made = shuffled(workers), tmp_path / "made"
    run_scenarios(TOY, "expert", "train", order, store=made, executor=executor, workers=workers)
    assert order != list(INDICES) and store_bytes(made) == store_bytes(store)


def test_a_store_has_the_same_bytes_on_ray(ray: None, store: Path, tmp_path: Path) -> None:
    for workers in (2, 1):
        made = tmp_path / str(workers)
        run_scenarios(
            TOY, "expert", "train", shuffled(9), store=made, executor="ray", workers=workers
        )
        assert store_bytes(made) == store_bytes(store)


def test_other_scenarios_give_other_bytes(store: Path, tmp_path: Path) -> None:
    run_scenarios(TOY, "expert", "train", range(1, 12), store=tmp_path / "other")
    assert store_bytes(tmp_path / "other") != store_bytes(store)


def test_a_dataset_has_the_same_bytes_with_any_number_of_workers(
    store: Path, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "dataset"
    export_lerobot(store, out, cameras=("head", "scene"), size=(32, 48), looks=2, workers=2)
    assert bytes_in(out) == bytes_in(dataset)


def test_two_environments_make_the_same_store_dataset_and_policy(tmp_path: Path) -> None:
    found = []
    for name, variables, mask in (("here", HERE, 0o022), ("elsewhere", ELSEWHERE, 0o077)):
        home = tmp_path / name
        home.mkdir()
        kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "print_digests.py"), str(home / "made")],
            env={**kept, "HOME": str(home), **variables},
            cwd=home,
            umask=mask,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    assert len(set(found[0].values())) == 3


# Pixels


def videos(root: Path) -> Iterator[tuple[Path, str, list[dict[str, Any]]]]:
    """Each video file of a dataset, its camera, and the rows of its episodes."""
    rows = pq.read_table(root / "meta/episodes").to_pylist()
    for path in sorted(root.glob("videos/*/*/*.mp4")):
        yield path, path.parent.parent.name, rows


def test_an_episodes_pixels_are_hashed_as_they_are_decoded(dataset: Path) -> None:
    """By another way than the export's: all planes of a picture at once."""
    seen = 0
    for path, key, rows in videos(dataset):
        with av.open(str(path)) as file:
            pictures = [frame.to_ndarray() for frame in file.decode(video=0)]
        for row in rows:
            first = round(row[f"videos/{key}/from_timestamp"] * 20)
            again = av_hash(pictures[first : first + row["length"]])
            assert row[f"pixels/{key}"] == again
            seen += 1
    assert seen == 2 * len(rows) > 0


def av_hash(pictures: list[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).hexdigest()


def test_every_look_has_pixels_of_its_own(dataset: Path) -> None:
    rows = pq.read_table(dataset / "meta/episodes").to_pylist()
    told = [row["pixels/observation.images.head"] for row in rows]
    assert len(set(told)) == len(told)


def test_padding_is_not_hashed() -> None:
    """A plane's lines may be longer in memory than the picture is wide."""
    chance = np.random.default_rng(0)
    picture = chance.integers(0, 256, (48, 34), np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
    assert frame.planes[0].line_size > frame.planes[0].width
    found = PixelHash()
    found.add(frame)
    assert found.hexdigest() == av_hash([picture])


# Tiers


def test_every_artifact_says_its_tier(store: Path, dataset: Path) -> None:
    from fabrika.learn._course import PROMISES

    provenance = json.loads((dataset / "meta/provenance.json").read_text())
    assert tier_of(read_manifest(store)["determinism"]) == "D0"
    assert tier_of(provenance["determinism"]) == "D0" and "SHA-256" in provenance["pixels"]
    assert {device: tier_of(words) for device, words in PROMISES.items()} == {
        "cpu": "D0",
        "cuda": "D3",
    }


@pytest.mark.parametrize("promise", ["", "none", None, "D4: more", "D00", "d0", ["D0"]])
def test_what_promises_nothing_known_is_of_the_last_tier(promise: object) -> None:
    assert tier_of(promise) == "D3"


def test_what_is_made_of_others_is_as_good_as_the_weakest() -> None:
    for worst in TIERS:
        found = [f"{tier}: words" for tier in TIERS if tier <= worst]
        assert weakest(found) == weakest(reversed(found)) == worst
    assert weakest([]) == "D3"
