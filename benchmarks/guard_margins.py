"""How near do clean episodes come to the limits of the guard? The highest of each law.

    python benchmarks/guard_margins.py [-n 40] [--split train] [--actor expert]

Every law is worked out in full after every control period, alarm or none. Energy is what a period
gained beyond what the motors did. Voided episodes are counted, and named, and leave no maximum.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain

import fabrika
from fabrika.sim import SimWorld
from fabrika.sim._guard import Finding, Guard

TASKS = ("home/mug-to-shelf-v1", "home/carry-tray-v1")


class Margins:
    """The finding nearest to its limit, for each law and unit, while it is installed."""

    def __init__(self) -> None:
        self.most: dict[str, Finding] = {}
        self.now: dict[str, Finding] = {}
        first, last = Guard.first, Guard.last

        def looked(guard: Guard) -> None:
            self.note(guard.depths())
            first(guard)
            self.note(guard.energies())

        def ended(guard: Guard, work: float) -> None:
            last(guard, work)
            self.note(chain(guard.states(), guard.depths(), guard.clocks()))

        Guard.first, Guard.last = looked, ended  # type: ignore[method-assign]

    def note(self, findings: Iterator[Finding]) -> None:
        for found in findings:
            key = f"{found.law} [{found.unit}]"
            if key not in self.now or share(found) > share(self.now[key]):
                self.now[key] = found

    def keep(self) -> None:
        for key, found in self.now.items():
            if key not in self.most or share(found) > share(self.most[key]):
                self.most[key] = found


def share(found: Finding) -> float:
    return found.value / found.limit if found.limit else found.value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=40, help="episodes of each task")
    parser.add_argument("--split", default="train")
    parser.add_argument("--actor", choices=("expert", "random"), default="expert")
    options = parser.parse_args()
    margins = Margins()
    for name in TASKS:
        task = fabrika.task(name)
        world = task.build()
        assert isinstance(world, SimWorld)
        actor = task.expert() if options.actor == "expert" else fabrika.Random(world.acts)
        margins.most, void = {}, 0
        for scenario in task.scenarios(options.split, options.n):
            margins.now = {}
            try:
                fabrika.rollout(actor, world, scenario, task.horizon)
            except fabrika.BrokenWorldError as error:
                void += 1
                print(f"void: {scenario.split} {scenario.index}: {error}")
                continue
            margins.keep()
        print(f"{name}, {options.actor}: {void} of {options.n} void")
        for key, found in sorted(margins.most.items()):
            print(
                f"  {key:45} {found.value:10.4g} of {found.limit:10.4g}"
                f" = {share(found):6.1%}  {found.where}"
            )


if __name__ == "__main__":
    main()
