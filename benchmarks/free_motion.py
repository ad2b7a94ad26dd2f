"""Free motion of an arm: our RRT-Connect, OMPL's, and mink with collision limits, side by side.

    pip install ompl mink daqp      # into the environment of Fabrika, or better a copy of it
    python benchmarks/free_motion.py [-n 6]

Experts ask for paths of torso and arm while they work. Each question is put to all three with the
same test of what is free, and the expert goes on with our answer. Only questions whose straight
line touches something count: the others need no planner. mink plans nothing: it walks towards the
goal and keeps off what is near. It is asked while no hand holds a thing, for in its model what is
held does not go with the palm. An answer that the common test refuses counts as none.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import mink
import mujoco
import numpy as np
from ompl import base as ob
from ompl import geometric as og
from ompl import util as ou

import fabrika
from fabrika.sim import _reach, _roads
from fabrika.sim._paths import Free, Space, plan
from fabrika.sim._rehearsal import Rehearsal

Array = Any
Answer = list[Array] | None
TASKS = ("home/croissant-in-oven-v1", "home/mug-in-microwave-v1", "home/load-washer-v1")
LONGEST = 2.0
"""What OMPL may take for a question, and again to shorten its answer [s]."""
WALK, STRIDE, NEAR = 500, 0.02, 0.01
"""mink: most steps of a walk, how far a joint goes in one, how near is there [rad or m]."""


def fabrikas(space: Space, start: Array, goal: Array, free: Free, _: Rehearsal) -> Answer:
    return plan(space, start, goal, free, np.random.default_rng(0), 300)


def ompls(space: Space, start: Array, goal: Array, free: Free, _: Rehearsal) -> Answer:
    """RRT-Connect and OMPL's own simplifier; joints scaled, and tested as far apart, as ours."""
    size = len(start)
    states, bounds = ob.RealVectorStateSpace(size), ob.RealVectorBounds(size)
    for joint in range(size):
        bounds.setLow(joint, float(space.low[joint] / space.scale[joint]))
        bounds.setHigh(joint, float(space.high[joint] / space.scale[joint]))
    states.setBounds(bounds)
    setup = og.SimpleSetup(states)

    def read(state: Any) -> Array:
        return np.array([state[joint] for joint in range(size)]) * space.scale

    def write(q: Array) -> Any:
        state = states.allocState()
        for joint in range(size):
            state[joint] = float(np.clip(q, space.low, space.high)[joint] / space.scale[joint])
        return state

    setup.setStateValidityChecker(lambda state: free(read(state)))
    states.setLongestValidSegmentFraction(space.step / states.getMaximumExtent())
    setup.setStartAndGoalStates(write(start), write(goal))
    setup.setPlanner(og.RRTConnect(setup.getSpaceInformation()))
    if not setup.solve(LONGEST) or not setup.haveExactSolutionPath():
        return None
    setup.simplifySolution(LONGEST)
    return [read(state) for state in setup.getSolutionPath().getStates()[1:]]


def minks(space: Space, start: Array, goal: Array, free: Free, rehearsal: Rehearsal) -> Answer:
    """Velocities towards the goal's posture; the robot's geoms kept off the scene's and its own."""
    model, data = rehearsal._model, rehearsal._data
    address = []
    for joint in range(len(start)):
        free(start)
        here = data.qpos.copy()
        free(start + 0.001 * np.eye(len(start))[joint])
        address.append(int(np.flatnonzero(data.qpos != here)[0]))
    free(goal)
    end = data.qpos.copy()
    free(start)
    own = start - data.qpos[address]  # a base's odometry is turned and shifted
    configuration = mink.Configuration(model, q=data.qpos.copy())
    posture = mink.PostureTask(model, cost=1.0)
    posture.set_target(end)
    joints = {int(model.jnt_qposadr[j]): int(model.jnt_dofadr[j]) for j in range(model.njnt)}
    dofs = [joints[a] for a in address]
    still = mink.DofFreezingTask(model, dof_indices=sorted(set(range(model.nv)) - set(dofs)))
    # A limit of the configuration would refuse to freeze doors that stand at the end of theirs.
    limits = _kept_off(rehearsal, configuration, dofs)
    way: list[Array] = []
    for _ in range(WALK):
        try:
            speed = mink.solve_ik(
                configuration, [posture], 1.0, "daqp", limits=limits, constraints=[still]
            )
        except mink.NoSolutionFound:
            return None
        share = min(1.0, STRIDE / max(np.abs(speed).max(), 1e-9))
        configuration.integrate_inplace(share * speed, 1.0)
        way.append(configuration.q[address] + own)
        if np.abs(way[-1] - goal).max() < NEAR:
            return [*way, goal]
        if len(way) > 20 and np.abs(way[-1] - way[-20]).max() < NEAR:
            return None
    return None


def _kept_off(rehearsal: Rehearsal, configuration: Any, dofs: list[int]) -> list[Any]:
    """4 mm off the scene and the robot itself, but for its parts within 1 cm at the start."""
    model = rehearsal._model
    moved = {int(model.dof_bodyid[dof]) for dof in dofs}
    for body in range(model.nbody):
        if int(model.body_parentid[body]) in moved:
            moved.add(body)
    solid = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    of = model.geom_bodyid
    arm = [g for g in range(model.ngeom) if solid[g] and int(of[g]) in moved]
    rest = [g for g in range(model.ngeom) if solid[g] and int(of[g]) not in moved]
    scene = [g for g in rest if not rehearsal._mine[of[g]]]
    data, line = configuration.data, np.zeros(6)
    own = [
        ([a], [b])
        for a in arm
        for b in rest
        if rehearsal._mine[of[b]] and mujoco.mj_geomDistance(model, data, a, b, 0.1, line) > 0.01
    ]
    near = {"minimum_distance_from_collisions": 0.004, "collision_detection_distance": 0.1}
    return [mink.CollisionAvoidanceLimit(model, [(arm, scene), *own], **near)]


PLANNERS: dict[str, Callable[..., Answer]] = {"fabrika": fabrikas, "ompl": ompls, "mink": minks}


@dataclass
class Tally:
    """What one planner did with the questions that it was asked."""

    seconds: list[float] = field(default_factory=list)
    looks: list[int] = field(default_factory=list)
    lengths: dict[int, float] = field(default_factory=dict)
    refused: int = 0


def ask(
    tallies: dict[str, Tally], number: int, space: Space, start: Array, goal: Array, free: Free
) -> None:
    """Put one question to all, in an order that goes round."""
    rehearsal = _rehearsal_of(free)
    names = list(PLANNERS)
    for name in names[number % 3 :] + names[: number % 3]:
        if name == "mink" and rehearsal._held:
            continue
        looks = 0

        def looked(q: Array) -> bool:
            nonlocal looks
            looks += 1
            return free(q)

        began = time.perf_counter()
        way = PLANNERS[name](space, start, goal, looked, rehearsal)
        tallies[name].seconds.append(time.perf_counter() - began)
        tallies[name].looks.append(looks)
        if way is not None:
            corners = [start, *way]
            kept = all(
                (space.low - 1e-6 <= q).all() and (q <= space.high + 1e-6).all() for q in way
            )
            if kept and all(space.straight(a, b, free) for a, b in pairwise(corners)):
                length = sum(space.far(a, b) for a, b in pairwise(corners))
                tallies[name].lengths[number] = length
            else:
                tallies[name].refused += 1


def _rehearsal_of(free: Any) -> Rehearsal:
    """The model that a test of what is free asks."""
    cells = dict(zip(free.__code__.co_freevars, free.__closure__, strict=True))
    if "model" in cells:
        return cells["model"].cell_contents.rehearsal
    return cells["rehearsal"].cell_contents


def questions(name: str, count: int) -> tuple[dict[str, Tally], int]:
    """What the expert of a task asks in its first scenarios, put to all; how much it asked."""
    tallies, asked, hard = {planner: Tally() for planner in PLANNERS}, 0, 0

    def questioned(
        space: Space, start: Array, goal: Array, free: Free, rng: Any, most: int
    ) -> Answer:
        nonlocal asked, hard
        asked += 1
        if free(goal) and not space.straight(start, goal, free):
            ask(tallies, hard, space, start, goal, free)
            hard += 1
        return plan(space, start, goal, free, rng, most)

    _reach.plan = _roads.plan = questioned  # type: ignore[assignment]
    task = fabrika.task(name)
    world, expert = task.build(), task.expert()
    for index in range(count):
        fabrika.rollout(expert, world, task.scenario("train", index), task.horizon)
    return tallies, asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=6, help="train scenarios of each task")
    parser.add_argument("--tasks", nargs="*", default=TASKS)
    options = parser.parse_args()
    ou.setLogLevel(ou.LOG_NONE)
    for name in options.tasks:
        tallies, asked = questions(name, options.n)
        print(f"{name}: {asked} questions, {len(tallies['fabrika'].seconds)} need a planner")
        common = tallies["fabrika"].lengths.keys() & tallies["ompl"].lengths.keys()
        for planner, tally in tallies.items():
            if tally.seconds:
                way = [tally.lengths[n] for n in common if n in tally.lengths]
                print(
                    f"  {planner:8} answered {len(tally.lengths)} of {len(tally.seconds)},"
                    f" {tally.refused} refused; {1e3 * np.median(tally.seconds):.0f} ms"
                    f" (median), {1e3 * np.mean(tally.seconds):.0f} ms (mean);"
                    f" asks {np.mean(tally.looks):.0f} times;"
                    f" way {np.mean(way) if way else float('nan'):.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
