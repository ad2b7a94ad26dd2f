"""How many cores, how much disk and what saturates first, for so many episodes in so many hours.

    python benchmarks/scale_paper.py [--episodes 780000] [--seconds 30] [--hours 11]

Arithmetic and nothing else, on what was measured on one machine: the defaults are the figures of
docs/results.md and docs/scale.md. Put in your own.
"""

from __future__ import annotations

import argparse

MEASURED: dict[str, tuple[float, str]] = {
    "states_speed": (13.5, "simulated seconds a core makes in one, states only"),
    "pictures_speed": (4.1, "the same, rendered and encoded by three cameras of 128 px"),
    "store_bytes": (240e3, "bytes of a store for a simulated second"),
    "states_bytes": (14.2e3, "bytes of a dataset without pictures for a simulated second"),
    "pictures_bytes": (54.7e3, "bytes of a dataset with three cameras for a simulated second"),
    "row_bytes": (2750.0, "bytes of the index for an episode"),
    "turn_seconds": (0.024, "to lease and publish one episode, flushed to disk"),
    "seal_seconds": (0.034, "to write one episode and flush it"),
}


def figures(episodes: float, seconds: float, hours: float, m: dict[str, float]) -> dict[str, float]:
    simulated, wall = episodes * seconds, hours * 3600
    per_second = episodes / wall
    return {
        "simulated hours": simulated / 3600,
        "times real time": simulated / wall,
        "cores, states only": simulated / wall / m["states_speed"],
        "cores, with pictures": simulated / wall / m["pictures_speed"],
        "store [TB]": simulated * m["store_bytes"] / 1e12,
        "dataset without pictures [TB]": simulated * m["states_bytes"] / 1e12,
        "dataset with pictures [TB]": simulated * m["pictures_bytes"] / 1e12,
        "index [GB]": episodes * m["row_bytes"] / 1e9,
        "episodes published per second": per_second,
        "written per second [MB]": simulated * m["store_bytes"] / wall / 1e6,
        "stores side by side, by the index": per_second * m["turn_seconds"],
        "writers side by side, by the disk": per_second * m["seal_seconds"],
        "cores that one index keeps up with": seconds / m["states_speed"] / m["turn_seconds"],
    }


def table(episodes: float, seconds: float, hours: float, m: dict[str, float]) -> str:
    found = figures(episodes, seconds, hours, m)
    return "".join(f"{name:36}{value:>12,.1f}\n" for name, value in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=float, default=780_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--hours", type=float, default=11.0)
    for name, (value, what) in MEASURED.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value, help=what)
    given = vars(parser.parse_args())
    asked = [given.pop(name) for name in ("episodes", "seconds", "hours")]
    print(table(*asked, given), end="")


if __name__ == "__main__":
    main()
