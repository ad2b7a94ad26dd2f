"""Laws of the MuJoCo world: equal, restorable, honest about its sensors, void when it breaks."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from typing import Any

import mujoco
import numpy as np
import pytest

from fabrika import BrokenWorldError, ContractError, Scenario, Task, UnknownNameError, rollout
from fabrika.lines.home.carry_tray import TASK as TRAY
from fabrika.lines.home.mug_to_shelf import TASK as MUG
from fabrika.sim import CLOID_CLASS, Kinematics, SimWorld, thing
from fabrika.sim._pose import split9, vector_of
from fabrika.testing import check_world

HOME = {name: np.array(group.home) for name, group in MUG.build().robot.groups.items()}  # type: ignore[attr-defined]


def edited(task: Task, index: int = 0, **changes: Any) -> Scenario:
    """A scenario of a task, with some params changed."""
    scenario = task.scenario("train", index)
    params = json.loads(json.dumps(scenario.params)) | changes
    return dataclasses.replace(scenario, params=params)


def world_of(task: Task) -> SimWorld:
    world = task.build()
    assert isinstance(world, SimWorld)
    return world


def shaken(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Home, with noise on the right arm and the fingers."""
    action = {name: value.copy() for name, value in HOME.items()}
    action["right_arm"] += rng.normal(0, 0.1, 7)
    action["right_hand"] += rng.uniform(0, 1.0, 6)
    return action


def test_a_longer_delay_than_is_kept_is_refused() -> None:
    with pytest.raises(ContractError, match="delay of 5"):
        world_of(MUG).reset(edited(MUG, delay=5))


@pytest.mark.parametrize("task", [MUG, TRAY], ids=lambda task: task.name)
def test_restoring_any_state_continues_bit_for_bit(task: Task) -> None:
    rng = np.random.default_rng(0)
    scenario = task.scenario("train", 3)
    actions = [shaken(rng) for _ in range(30)]
    world, other = world_of(task), world_of(task)
    world.reset(scenario)
    states = [world.state()]
    for action in actions:
        world.step(action)
        states.append(world.state())
    for start in (0, 7, 19):
        other.restore(scenario, states[start])
        assert np.array_equal(other.state(), states[start])
        for tick in range(start, len(actions)):
            other.step(actions[tick])
            assert np.array_equal(other.state(), states[tick + 1]), (start, tick)
    names = [name for name in world.observes if not name.startswith("camera/")]
    ours, theirs = world.observe(names), other.observe(names)
    skip = ("truth/velocity", "truth/torque")
    assert all(np.array_equal(ours[n], theirs[n]) for n in names if n not in skip)


def test_a_grasp_continues_bit_for_bit_from_any_moment_of_it() -> None:
    """Fingers that close, stall and hold: what they felt is in the state."""
    scenario = MUG.scenario("train", 1)
    world = world_of(MUG)
    episode = rollout(MUG.expert(), world, scenario, MUG.horizon)
    actions = [{n: v[tick] for n, v in episode.actions.items()} for tick in range(episode.length)]
    fingers = np.abs(np.diff(episode.actions["right_hand"], axis=0)).max(axis=1) > 1e-6
    held = np.flatnonzero(episode.observations["truth/support"][:, 0, 1] > 1.0)
    moments = sorted({*np.flatnonzero(fingers).tolist()[::2], *held.tolist()[::20]})
    assert len(moments) > 15
    for start in moments:
        world.restore(scenario, episode.states[start])
        for tick in range(start, min(start + 3, episode.length)):
            world.step(actions[tick])
            assert np.array_equal(world.state(), episode.states[tick + 1]), (start, tick)


def test_what_a_world_gives_is_not_its_own_memory() -> None:
    world = world_of(MUG)
    world.reset(MUG.scenario("train", 0))
    world.step(HOME)
    state = world.state()
    seen = world.observe([name for name in world.observes if not world.observes[name].image])
    before = {name: value.copy() for name, value in seen.items()}
    for value in world.executed.values():
        value[:] = 9.0
    assert np.array_equal(world.state(), state)
    world.step(HOME)
    assert all(np.array_equal(seen[name], before[name]) for name in seen)


def test_the_tracker_is_late_and_noisy_by_what_the_scenario_says() -> None:
    quiet = {
        "joint": 0.0, "touch": 0.0, "position": 0.0, "bias": 0.0, "rotation": 0.0,
        "latency": 3, "dropout": 0.0,
    }  # fmt: skip
    scenario = edited(MUG, noise=quiet, pushes=[
        {"thing": "mug", "time": 0.0, "seconds": 1.0, "force": [0.0, 3.0, 0.0]}
    ])  # fmt: skip
    world = world_of(MUG)
    world.reset(scenario)
    true, told = [], []
    for _ in range(20):
        world.step(HOME)
        seen = world.observe(["tracker/mug", "truth/mug", "truth/base"])
        base = seen["truth/base"]
        true.append(base[:3, :3].T @ (seen["truth/mug"][:3] - base[:3, 3]))
        told.append(seen["tracker/mug"][:3])
    assert np.ptp(np.array(true)[:, 1]) > 0.01  # it was pushed
    assert np.allclose(told[3:], true[:-3], atol=1e-12)
    noise = quiet | {"position": 0.002, "rotation": 0.01, "latency": 0}
    noisy = edited(MUG, noise=noise, pushes=[])
    world.reset(noisy)
    readings = []
    for _ in range(40):
        world.step(HOME)
        readings.append(world.observe(["tracker/mug"])["tracker/mug"])
    spread = np.std(np.array(readings)[:, :3])
    assert 0.0 < np.std(np.array(readings)[:, 0]) < 0.006, spread
    turns = [vector_of(split9(r)[1] @ split9(readings[0])[1].T) for r in readings[1:]]
    assert 0.002 < np.std(turns) < 0.05


def test_a_dropout_repeats_the_last_reading_and_never_invents_one() -> None:
    lossy = dict(MUG.scenario("train", 0).params["noise"]) | {"dropout": 0.5, "latency": 1}
    world = world_of(MUG)
    world.reset(edited(MUG, noise=lossy))
    readings = []
    for _ in range(40):
        world.step(HOME)
        readings.append(tuple(world.observe(["tracker/mug"])["tracker/mug"]))
    repeats = sum(a == b for a, b in pairwise(readings))
    assert 8 <= repeats <= 32


def test_a_camera_that_is_asked_for_changes_nothing() -> None:
    scenario = MUG.scenario("train", 1)
    seen_by = []
    for asked in (["joint/lift"], ["joint/lift", "camera/head"]):
        world = world_of(MUG)
        world.reset(scenario)
        for _ in range(3):
            world.observe(asked)
            world.step(HOME)
        seen_by.append(world.state())
        world.close()
    assert np.array_equal(*seen_by)


def test_a_picture_depends_on_the_look_and_the_state_alone() -> None:
    world, other = world_of(MUG), world_of(MUG)
    scenario = MUG.scenario("train", 2)
    world.reset(scenario)
    state = world.state()
    for look in (0, 1):
        world.dress(scenario, look)
        other.dress(scenario, look)
        ours = world.picture(state, "head", 64, 64)
        assert ours.shape == (64, 64, 3) and ours.dtype == np.uint8 and ours.std() > 5
        assert np.array_equal(ours, other.picture(state, "head", 64, 64))
    world.dress(scenario, 0)
    assert not np.array_equal(ours, world.picture(state, "head", 64, 64))
    with pytest.raises(UnknownNameError, match="left_wrist"):
        world.picture(state, "left_wirst", 64, 64)
    world.close()
    other.close()


@pytest.mark.parametrize("damage", ["nan", "force", "velocity"])
def test_broken_physics_voids(damage: str) -> None:
    world = world_of(MUG)
    world.reset(MUG.scenario("train", 0))
    world.step(HOME)
    data = world._data
    if damage == "nan":
        data.qpos[5] = np.nan
    elif damage == "force":
        data.qfrc_applied[:] = 1e15
    else:
        data.qvel[8] = 1e12
    with pytest.raises(BrokenWorldError, match="physics"):
        for _ in range(5):
            world.step(HOME)


def test_autoreset_is_off() -> None:
    world = world_of(MUG)
    world.reset(MUG.scenario("train", 0))
    assert world._model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_AUTORESET


def test_a_scenario_that_starts_inside_something_is_void() -> None:
    things = json.loads(json.dumps(MUG.scenario("train", 0).params["things"]))
    things["mug"]["pos"][2] -= 0.03
    with pytest.raises(BrokenWorldError, match="overlap"):
        world_of(MUG).reset(edited(MUG, things=things))


@pytest.mark.parametrize("kind", ["bottle", "bowl", "can", "carton", "fruit", "glass", "mug"])
def test_every_thing_stands_still_where_it_is_put(kind: str) -> None:
    things = json.loads(json.dumps(MUG.scenario("train", 0).params["things"]))
    things["clutter_0"] |= {"kind": kind, "yaw": 0.3}
    scenario = edited(MUG, things=things, pushes=[])
    world = world_of(MUG)
    world.reset(scenario)
    start = world.observe(["truth/clutter_0"])["truth/clutter_0"]
    for _ in range(25):
        world.step(HOME)
    end = world.observe(["truth/clutter_0", "truth/contact"])
    assert np.linalg.norm(end["truth/clutter_0"][:3] - start[:3]) < 0.004
    assert np.linalg.norm(end["truth/clutter_0"][7:10]) < 0.02
    assert end["truth/contact"][2] < 0.002


def test_an_unknown_thing_is_named() -> None:
    with pytest.raises(UnknownNameError, match="mug"):
        thing("x", {"kind": "mugg"})


def test_commands_are_slowed_to_the_robots_speed_and_kept_in_its_range() -> None:
    world = world_of(MUG)
    world.reset(MUG.scenario("train", 0))
    wild = {name: value + 100.0 for name, value in HOME.items()}
    before = {name: value.copy() for name, value in HOME.items()}
    for _ in range(60):
        world.step(wild)
        for name, group in world.robot.groups.items():
            moved = np.abs(world.executed[name] - before[name])
            assert (moved <= np.array(group.velocity) * world.dt + 1e-12).all()
            assert (world.executed[name] <= np.array(group.high) + 1e-12).all()
            before[name] = world.executed[name]


def test_depth_is_the_distance_to_what_is_seen() -> None:
    """The wall stands square before the robot: its distance follows from the scenario."""
    scenario = edited(
        MUG, start=[0.0, 0.0, 0.0], view={}, noise=MUG.scenario("train", 0).params["noise"]
    )
    world = world_of(MUG)
    world.reset(scenario)
    action = {name: value.copy() for name, value in HOME.items()}
    action["head"] = np.array([0.0, 0.0])  # level, straight ahead
    for _ in range(60):
        world.step(action)
    depth = world.observe(["depth/head"])["depth/head"]
    assert depth.shape == (128, 128, 1) and depth.dtype == np.uint16
    data = world._data
    camera = data.camera("head").xpos
    assert depth[20, 64, 0] == pytest.approx(1000 * (0.80 - camera[0]), abs=15)
    world.close()


def test_what_stands_is_borne_with_its_weight() -> None:
    world = world_of(MUG)
    scenario = edited(MUG, pushes=[])
    world.reset(scenario)
    for _ in range(25):
        world.step(HOME)
    support = world.observe(["truth/support"])["truth/support"]
    for row, name in enumerate(("mug", "clutter_0")):
        weight = 9.81 * scenario.params["things"][name]["mass"]
        assert support[row] == pytest.approx([weight, 0.0], rel=0.03)


def test_palms_are_where_kinematics_puts_the_joints() -> None:
    noise = dict(MUG.scenario("train", 0).params["noise"]) | {"joint": 0.0}
    world, kinematics = world_of(MUG), Kinematics(CLOID_CLASS)
    world.reset(edited(MUG, noise=noise, delay=0))
    rng = np.random.default_rng(1)
    for _ in range(15):
        world.step(shaken(rng))
    for _ in range(10):
        world.step(HOME)
    names = [f"joint/{name}" for name in world.robot.groups]
    joints = {name.removeprefix("joint/"): v for name, v in world.observe(names).items()}
    for side in world.robot.hands:
        seen = world.observe([f"hand/{side}"])[f"hand/{side}"]
        place, turn = kinematics.palm(joints, side)
        assert np.allclose(seen[:3], place, atol=1e-6)
        assert np.allclose(seen[3:], np.concatenate([turn[:, 0], turn[:, 1]]), atol=1e-6)


def test_worlds_of_one_process_do_not_disturb_each_others_pictures() -> None:
    scenarios = [MUG.scenario("train", index) for index in (0, 1)]
    worlds = [world_of(MUG), world_of(MUG)]
    alone, states = [], []
    for world, scenario in zip(worlds, scenarios, strict=True):
        world.reset(scenario)
        world.dress(scenario)
        states.append(world.state())
        alone.append(world.picture(states[-1], "head", 64, 96))
    for _ in range(2):
        for world, state, expected in zip(worlds, states, alone, strict=True):
            assert np.array_equal(world.picture(state, "head", 64, 96), expected)
    worlds[1].close()
    assert np.array_equal(worlds[0].picture(states[0], "head", 64, 96), alone[0])
    worlds[0].close()


def test_the_household_keeps_the_contract_of_a_world() -> None:
    assert check_world(MUG.build, list(MUG.scenarios("train", 2))) == []
