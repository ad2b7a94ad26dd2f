"""What a towel of simulated cloth costs, and whether it stays in one piece when it is lifted.

    python benchmarks/cloth.py [--counts 10 15 20] [--step 0.004]

A square of 0.4 m and 60 g falls 2 cm onto a table, lies, and is lifted 0.3 m by one corner. The
corner is held by a constraint, which no robot has: fingers that hold it by friction cost more. No
robot, no other thing and no picture is in the scene, so that what is printed is the most that a
task with such a towel could reach on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import mujoco
import numpy as np

SIZE, MASS, TABLE = 0.4, 0.06, 0.7
"""Edge [m] and mass [kg] of the towel, height of the table [m]."""
LYING, LIFTING = 1.0, 2.0
"""How long it falls and lies, how long it is lifted [s]."""
UP = 0.3
"""How far its corner is lifted [m]."""


def towel(count: int, step: float) -> mujoco.MjModel:
    """A table, and a towel of ``count`` x ``count`` vertices over it."""
    gap, at = SIZE / (count - 1), TABLE + 0.02
    text = f"""<mujoco>
<option timestep="{step}" integrator="discrete" solver="Newton" tolerance="1e-6" cone="elliptic"
        impratio="10"/>
<worldbody>
 <geom name="table" type="box" size="0.5 0.5 0.02" pos="0 0 {TABLE - 0.02}" solref="0.008 1"/>
 <body name="hand" mocap="true" pos="{-SIZE / 2} {-SIZE / 2} {at}"/>
 <flexcomp name="towel" type="grid" dim="2" count="{count} {count} 1" spacing="{gap} {gap} {gap}"
           pos="0 0 {at}" mass="{MASS}" radius="0.002">
  <elasticity young="1e6" thickness="0.002" poisson="0.2" damping="0.01" elastic2d="both"/>
  <contact selfcollide="auto" solref="0.008 1" friction="0.8"/>
 </flexcomp>
</worldbody>
<equality><connect body1="towel_0" body2="hand" anchor="0 0 0" active="false"/></equality>
</mujoco>"""
    return mujoco.MjModel.from_xml_string(text)


def run(
    model: mujoco.MjModel, data: mujoco.MjData, seconds: float, move: Callable[[float], None]
) -> float:
    """Times real time of some seconds, ``move`` being told the share of them that has gone by."""
    steps = round(seconds / model.opt.timestep)
    start = time.process_time()
    for count in range(steps):
        move(count / steps)
        mujoco.mj_step(model, data)
    return seconds / (time.process_time() - start)


def measure(count: int, step: float) -> str:
    """One row of the table."""
    model = towel(count, step)
    data = mujoco.MjData(model)
    edges = model.flex_edge[model.flex_edge[:, 0] >= 0]

    def spots() -> np.ndarray:
        return data.flexvert_xpos.copy()

    lying = run(model, data, LYING, lambda share: None)
    flat = spots()
    data.eq_active[0] = 1
    begin = data.flexvert_xpos[0].copy()
    data.mocap_pos[0] = begin

    def lift(share: float) -> None:
        data.mocap_pos[0] = begin + np.array([0.0, 0.0, UP * share])

    lifted = run(model, data, LIFTING, lift)
    there = spots()
    rest = np.linalg.norm(flat[edges[:, 0]] - flat[edges[:, 1]], axis=1)
    now = np.linalg.norm(there[edges[:, 0]] - there[edges[:, 1]], axis=1)
    lost = bool(np.isnan(there).any()) or int(data.warning.number.sum()) > 0
    below = int((there[:, 2] < TABLE - 0.01).sum())
    return (
        f"| {count} x {count} | {lying:.2f} | {lifted:.2f} | {float((now / rest).max() - 1):.0%} "
        f"| {'no' if lost else 'yes'} | {below} of {len(there)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 15, 20])
    parser.add_argument("--step", type=float, default=0.004, help="time step [s]")
    args = parser.parse_args()
    print("| vertices | lying, x real time | lifted, x real time | stretch | stable | below |")
    print("|---|---|---|---|---|---|")
    for count in args.counts:
        print(measure(count, args.step), flush=True)


if __name__ == "__main__":
    main()
