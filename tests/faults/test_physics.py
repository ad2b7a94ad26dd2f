"""200 injected faults of physics, every one void within a control period; clean ones never.

A fault is put into the engine's own memory at the start of a random control period of a real
task, after the servos and pushes were set, and before the physics.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import pytest

from fabrika import BrokenWorldError, Episode, Random, Scenario, Task, rollout
from fabrika.lines.home._variation import stage
from fabrika.lines.home.carry_tray import TASK as TRAY
from fabrika.lines.home.mug_to_shelf import TASK as MUG
from fabrika.lines.toy import TASK as TOY
from fabrika.sim import CLOID_CLASS, SimWorld
from fabrika.sim._world import TICK

Rng = np.random.Generator
Fault = Callable[[mujoco.MjModel, mujoco.MjData, Rng], None]
HOME = CLOID_CLASS.home
TICKS = 10
"""Injuries happen within so many control periods."""


class InjuredWorld(SimWorld):
    """A world that is injured once, at the start of one control period."""

    injury: tuple[int, Fault, Rng] | None = None
    memory = "16M"

    def _document(self, params: Mapping[str, Any], looks: bool) -> str:
        size = f'<size memory="{self.memory}"/>'
        return super()._document(params, looks).replace("<worldbody>", f"{size}<worldbody>", 1)

    def _push(self, now: float) -> None:
        super()._push(now)
        if self.injury and now == self.injury[0] * TICK:
            self.injury[1](self._model, self._data, self.injury[2])


def world_of(task: Task) -> InjuredWorld:
    things = ("mug", "clutter_0") if task is MUG else ("tray", "can", "clutter_0")
    return InjuredWorld(CLOID_CLASS, stage, tracked=things, free=things, seconds=1.0)


def waving(rng: Rng) -> dict[str, np.ndarray]:
    """Home, with noise on the arms and the fingers."""
    return {name: q + rng.normal(0, 0.1, q.shape) * (len(q) > 3) for name, q in HOME.items()}


def injured(world: InjuredWorld, scenario: Scenario, fault: Fault, rng: Rng) -> str:
    """Why the period of the injury was void; those before it are clean."""
    tick = int(rng.integers(2, TICKS))
    world.injury = (tick, fault, rng)
    world.reset(scenario)
    for _ in range(tick):
        world.step(waving(rng))
    with pytest.raises(BrokenWorldError) as caught:
        world.step(waving(rng))
    return str(caught.value)


# -- the faults ----------------------------------------------------------------------------


def body(model: mujoco.MjModel, rng: Rng, *, free: bool) -> int:
    """A body of the robot that moves, or a thing that lies about."""
    robot = model.body_rootid == model.body(CLOID_CLASS.root).id
    return int(rng.choice(np.flatnonzero((model.body_dofnum > 0) & (robot != free))))


def not_a_number(model: mujoco.MjModel, data: mujoco.MjData, rng: Rng) -> None:
    push = data.xfrc_applied[body(model, rng, free=bool(rng.integers(2)))]
    fields = (data.ctrl, data.qpos, data.qvel, push)
    kind = int(rng.integers(len(fields)))
    values = fields[kind]
    # Infinite controls are clipped by MuJoCo, as any that are too high: that breaks nothing.
    values[rng.integers(len(values))] = rng.choice([np.nan, np.inf, -np.inf]) if kind else np.nan


def force(model: mujoco.MjModel, data: mujoco.MjData, rng: Rng) -> None:
    """A billion newtons."""
    way = rng.normal(size=3)
    one = body(model, rng, free=bool(rng.integers(2)))
    data.xfrc_applied[one, :3] = 1e9 * way / np.linalg.norm(way)


def overlap(model: mujoco.MjModel, data: mujoco.MjData, rng: Rng) -> None:
    """A thing is suddenly inside another, in a palm, or 12 to 35 mm in what it stands on."""
    name = {2: "mug", 3: "can"}[int((model.jnt_type == mujoco.mjtJoint.mjJNT_FREE).sum())]
    place = data.joint(name).qpos[:3]
    where = str(rng.choice(["clutter_0", "left_palm", "right_palm", "below"]))
    if where == "below":
        place[2] -= rng.uniform(0.012, 0.035)
    else:
        middle = data.body(where).xipos - data.body(name).xipos
        place += middle + rng.uniform(-0.005, 0.005, 3)


def time_step(model: mujoco.MjModel, data: mujoco.MjData, rng: Rng) -> None:
    model.opt.timestep *= rng.choice([0.5, 2.0, 20.0])


def inertia(model: mujoco.MjModel, data: mujoco.MjData, rng: Rng) -> None:
    """A thing of no mass, or of a billionth of it."""
    one, share = body(model, rng, free=True), float(rng.choice([0.0, 1e-9]))
    model.body_mass[one] *= share
    model.body_inertia[one] *= share


def energy(model: mujoco.MjModel, data: mujoco.MjData, rng: Rng) -> None:
    """A thing has suddenly 12 to 30 J more than before, or an arm 25 to 40 J."""
    if rng.integers(2):
        one, joules = body(model, rng, free=True), rng.uniform(12.0, 30.0)
    else:
        one = model.body(f"{rng.choice(['left', 'right'])}_shoulder_pitch").id
        joules = rng.uniform(25.0, 40.0)
    way, mass = np.zeros(model.nv), np.zeros(model.nv)
    way[int(model.body_dofadr[one]) :][: min(3, int(model.body_dofnum[one]))] = 1.0
    mujoco.mj_mulM(model, data, mass, way)
    half, before = way @ mass / 2, data.qvel @ mass
    # The root of: half x^2 + before x = joules.
    data.qvel += way * (np.sqrt(before**2 + 4 * half * joules) - before) / (2 * half)


def beyond(model: mujoco.MjModel, data: mujoco.MjData, rng: Rng) -> None:
    """A joint of an arm, or the lift, is suddenly outside of its range."""
    arms = [name for side in ("left", "right") for name in CLOID_CLASS.groups[f"{side}_arm"].names]
    joint = model.joint(str(rng.choice([*arms, "lift"])))
    low, high = joint.range
    by = rng.uniform(0.1, 0.3) if joint.name == "lift" else rng.uniform(0.8, 2.0)
    data.joint(joint.name).qpos = rng.choice([low - by, high + by])


KINDS: tuple[tuple[Fault, int, tuple[str, ...]], ...] = (
    (not_a_number, 40, ("warning", "range", "speed")),
    (force, 20, ("warning", "range", "speed")),
    (overlap, 30, ("overlap",)),
    (time_step, 10, ("clock", "range")),
    (inertia, 20, ("inertia", "warning", "speed")),
    (energy, 30, ("energy", "speed")),
    (beyond, 20, ("range",)),
)
"""Each with its number of cases, and the laws that may be named as broken."""
OVERFLOWS = 30


def test_there_are_200_cases() -> None:
    assert sum(count for _, count, _ in KINDS) + OVERFLOWS == 200


@pytest.mark.parametrize(
    ("fault", "count", "laws"), KINDS, ids=[fault.__name__ for fault, _, _ in KINDS]
)
def test_a_fault_voids_its_control_period(fault: Fault, count: int, laws: tuple[str, ...]) -> None:
    tasks = (MUG, TRAY)
    worlds = [world_of(task) for task in tasks]
    for seed in range(count):
        rng = np.random.default_rng([20, seed])
        scenario = tasks[seed % 2].scenario("train", seed % 7)
        why = injured(worlds[seed % 2], scenario, fault, rng)
        assert scenario.id in why and " s has broken physics: " in why, (seed, why)
        assert any(f"physics: {law} of" in why for law in laws), (seed, why)


def test_a_memory_that_is_too_small_for_the_contacts_voids_at_once() -> None:
    """At the start, or in the first control period, when things meet what they stand on."""
    rng = np.random.default_rng(20)
    for seed in range(OVERFLOWS):
        world = world_of(MUG)
        world.memory = str(int(rng.integers(12_000, 45_000)))
        with pytest.raises(BrokenWorldError, match=r"mjWARN_\w+FULL|out of memory"):
            world.reset(MUG.scenario("train", seed % 7))
            world.step(waving(rng))


# -- what is not broken --------------------------------------------------------------------


@pytest.mark.parametrize("task", [MUG, TRAY], ids=lambda task: task.name)
def test_clean_physics_is_never_void(task: Task) -> None:
    """Neither of a robot that waves, nor of one that flails, nor under a push."""
    world = world_of(task)
    name = "mug" if task is MUG else "can"
    push = {"thing": name, "time": 0.1, "seconds": 0.2, "force": [3.0, 0.0, 0.0]}
    for seed in range(10):
        scenario = task.scenario("train", seed)
        scenario = replace(scenario, params={**scenario.params, "pushes": [push]})
        rng = np.random.default_rng(seed)
        world.reset(scenario)
        for _ in range(TICKS):
            world.step(waving(rng))
        rollout(Random(world.acts), world, scenario, horizon=1.0)


def test_the_guard_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    world, scenario = world_of(TRAY), TRAY.scenario("train", 2)

    def run() -> Episode:
        return rollout(Random(world.acts), world, scenario, horizon=1.0)

    guarded = run()
    for look in ("start", "first", "contacts", "last"):
        monkeypatch.setattr(f"fabrika.sim._guard.Guard.{look}", lambda *given, **named: None)
    assert np.array_equal(guarded.states, run().states)


def test_a_scenario_that_starts_broken_is_void_and_says_so() -> None:
    things = json.loads(json.dumps(MUG.scenario("train", 0).params["things"]))
    things["mug"]["pos"][2] -= 0.012
    scenario = MUG.scenario("train", 0)
    scenario = replace(scenario, params={**scenario.params, "things": things})
    with pytest.raises(BrokenWorldError, match="starts with broken physics: overlap of") as caught:
        world_of(MUG).reset(scenario)
    assert "'mug' and 'counter'" in str(caught.value)


@pytest.mark.parametrize("state", [(np.nan, 0.0), (3.0, 0.0), (0.0, 9.0)])
def test_the_toy_is_void_where_it_cannot_be(state: tuple[float, float]) -> None:
    world = TOY.build()
    world.restore(TOY.scenario("train", 0), np.array([0.0, state[0], 0.0, state[1], 0.0]))
    with pytest.raises(BrokenWorldError, match="the point"):
        world.step({"slide": np.zeros(2)})
