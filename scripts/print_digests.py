"""Makes a store, a dataset with pictures and a policy, and prints the SHA-256 of each as JSON.

    python scripts/print_digests.py FOLDER [TASK]

Two environments of the same versions print the same: see scripts/two_environments.sh.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from fabrika import Store, run_scenarios
from fabrika.data import export_lerobot
from fabrika.learn import Recipe, train

EPISODES = 10
RECIPE = Recipe(steps=8, width=16, depth=2, batch=16, chunk=4, execute=2, warm_up=5)


def bytes_in(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files, in the order of their names."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(folder)} {data}\n".encode())
    return found.hexdigest()


def store_bytes(folder: Path) -> str:
    """SHA-256 over the rows, without the clocks, the manifest, and the files of all episodes."""
    with Store.open(folder) as store:
        rows = store.digest()
    manifest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    return hashlib.sha256((rows + manifest + bytes_in(folder / "objects")).encode()).hexdigest()


def digests(folder: Path, task: str) -> dict[str, str]:
    """Makes one of each in the folder."""
    store, dataset, policy = folder / "store", folder / "dataset", folder / "policy"
    run_scenarios(task, "expert", "train", range(EPISODES), store=store)
    export_lerobot(store, dataset, cameras=("head",), size=(32, 32))
    made = train(store, policy, recipe=RECIPE, threads=1).policy
    return {
        "store": store_bytes(store),
        "dataset": bytes_in(dataset),
        "policy": hashlib.sha256(made.read_bytes()).hexdigest(),
    }


if __name__ == "__main__":
    place = Path(sys.argv[1])
    print(json.dumps(digests(place, sys.argv[2] if sys.argv[2:] else "toy/reach-v1"), indent=2))
