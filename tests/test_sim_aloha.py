"""Laws of a robot that others made: their geometry is kept, and it can pick and place."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Generator, Mapping
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from math import pi
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabrika import ResourceError, Scenario, Scripted, UnknownNameError, rollout
from fabrika.sim import Kinematics, Limbs, SimWorld, Stage, _aloha, aloha, body_in_base, thing
from fabrika.sim._aloha import FACE, HEIGHT, POCKET, SIDES
from fabrika.sim._pose import quaternion_rotation, vector_of, yaw_rotation
from fabrika.sim._rehearsal import Rehearsal
from fabrika.sim._robot import driven_joints
from fabrika.testing import check_robot, check_world

ROOT = Path(__file__).parent.parent
needs_files = pytest.mark.skipif(
    find_spec("gym_aloha") is None, reason="gym-aloha is not installed (the extra aloha)"
)
READY = np.array([0.0, -0.5, 0.7, 0.0, 1.37, 0.0])
"""The gripper points straight down, 0.27 m beside the middle of the table."""
shares = st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6).map(np.array)


def within(share: np.ndarray) -> np.ndarray:
    """Positions of an arm: 0 is its lowest, 1 its highest."""
    group = aloha().groups["left_arm"]
    low, high = np.array(group.low), np.array(group.high)
    return np.asarray(low + share * (high - low))


def theirs() -> mujoco.MjModel:
    folder = _aloha._assets()
    return mujoco.MjModel.from_xml_path(str(folder / "bimanual_viperx_transfer_cube.xml"))


# -- how it is loaded --------------------------------------------------------------------------


def test_without_its_files_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aloha, "find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"pip install 'fabrika\[aloha\]'"):
        _aloha.aloha.__wrapped__()
    with pytest.raises(AttributeError, match="OTHER"):
        _aloha.OTHER  # noqa: B018


@needs_files
def test_the_entry_point_loads_it_and_runs_none_of_their_code() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    value = project["entry-points"]["fabrika.robots"]["aloha"]
    robot = EntryPoint("aloha", value, "fabrika.robots").load()
    assert robot is aloha() and check_robot(robot) == []
    assert "gym_aloha" not in sys.modules


@needs_files
def test_its_text_stands_in_any_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = aloha().mjcf.replace("<worldbody>", "<worldbody><body name='other'/>", 1)
    assert mujoco.MjModel.from_xml_string(text).nmesh == aloha().compile().nmesh > 0


@needs_files
def test_the_page_of_the_robot_lists_every_assumption() -> None:
    page = (ROOT / "docs/robots/aloha.md").read_text()
    listed = page.split("<!-- assumptions -->\n")[1].split("<!-- /assumptions -->")[0]
    assert listed == "".join(f"- {line}\n" for line in aloha().assumptions)


# -- what is kept of the original --------------------------------------------------------------


@needs_files
def test_limits_of_the_description_are_those_of_the_model_and_of_the_original() -> None:
    model, original = aloha().compile(), theirs()
    for name, group in aloha().groups.items():
        side = name.partition("_")[0]
        for index, actuator in enumerate(group.actuators):
            mine = model.actuator(actuator)
            assert mine.forcerange[1] == group.torque[index]
            assert tuple(mine.ctrlrange) == (group.low[index], group.high[index])
            if not group.hand:
                joint = original.joint(actuator.replace(f"{side}_", f"vx300s_{side}/", 1))
                assert tuple(joint.range) == (group.low[index], group.high[index])
    # The pads meet before their stop does, which lets the meshes overlap by 3 mm.
    left = original.joint("vx300s_left/left_finger")
    assert aloha().groups["left_hand"].high[0] == pytest.approx(2 * (left.range[1] - FACE))


@needs_files
@given(shares, shares)
@settings(max_examples=20)
def test_palms_are_where_the_original_has_them(left: np.ndarray, right: np.ndarray) -> None:
    original = theirs()
    data = mujoco.MjData(original)
    arms = {"left": within(left), "right": within(right)}
    for side, arm in arms.items():
        for joint, value in zip(_aloha._MOTORS, arm, strict=True):
            data.joint(f"vx300s_{side}/{joint}").qpos[0] = value
    mujoco.mj_kinematics(original, data)
    turn = yaw_rotation(-pi / 2)
    joints = {f"{side}_arm": arm for side, arm in arms.items()}
    for side in SIDES:
        there = data.body(f"vx300s_{side}/gripper_link")
        place, rotation = Kinematics(aloha()).palm(joints, side)
        moved = turn @ (there.xpos - [0.0, 0.5, 0.0]) + [0.0, 0.0, HEIGHT]
        assert np.allclose(place, moved, atol=1e-9)
        assert np.allclose(rotation, turn @ there.xmat.reshape(3, 3), atol=1e-9)


@needs_files
@given(st.floats(0.0, 0.069))
@settings(max_examples=10)
def test_an_opening_is_the_gap_between_the_fingers_that_one_sees(opening: float) -> None:
    model = aloha().compile()
    data = mujoco.MjData(model)
    joints, share = driven_joints(model, model.actuator("left_gripper").id)
    for joint in joints:
        data.qpos[model.jnt_qposadr[joint]] = share * opening
    mujoco.mj_forward(model, data)
    assert data.actuator("left_gripper").length[0] == pytest.approx(opening)
    palm = data.body("left_gripper_link")
    inner = []
    for finger, sign in (("10_left_gripper_finger", 1), ("10_right_gripper_finger", -1)):
        geom = model.geom(f"left_{finger}")
        mesh = model.mesh(geom.dataid[0])
        start = int(mesh.vertadr[0])
        seen = data.geom(f"left_{finger}")
        points = model.mesh_vert[start : start + int(mesh.vertnum[0])]
        world = points @ seen.xmat.reshape(3, 3).T + seen.xpos
        inner.append(sign * ((world - palm.xpos) @ palm.xmat.reshape(3, 3))[:, 1])
    assert inner[0].min() + inner[1].min() == pytest.approx(opening, abs=2e-4)


@needs_files
@given(shares)
@settings(max_examples=20)
def test_one_arm_is_the_other_turned_by_half(share: np.ndarray) -> None:
    joints = {"left_arm": within(share), "right_arm": within(share)}
    kinematics, half = Kinematics(aloha()), yaw_rotation(pi)
    (left, turned), (right, other) = (kinematics.palm(joints, side) for side in SIDES)
    assert np.allclose(half @ left, right, atol=1e-5)
    assert np.allclose(half @ turned, other, atol=1e-5)


# -- kinematics of six joints ------------------------------------------------------------------


@needs_files
@given(shares)
@settings(max_examples=30)
def test_inverse_kinematics_is_exact_where_no_joint_is_spare(share: np.ndarray) -> None:
    """The pull towards a posture takes no share of the error, as it would through damping."""
    kinematics = Kinematics(aloha())
    goal = kinematics.palm({"left_arm": READY + 0.8 * (share - 0.5)}, "left")
    start = {**aloha().home, "left_arm": READY}
    solved, left = kinematics.solve({"left": goal}, start, aloha().home, iterations=200)
    place, turn = kinematics.palm(solved, "left")
    assert np.linalg.norm(place - goal[0]) < 1e-5 and left < 1e-5
    assert np.linalg.norm(vector_of(turn @ goal[1].T)) < 1e-4


@needs_files
@pytest.mark.parametrize("side", SIDES)
def test_each_arm_reaches_its_half_of_the_table_from_above_without_touching_it(side: str) -> None:
    robot, sign = aloha(), 1.0 if side == "left" else -1.0
    kinematics, rehearsal = Kinematics(robot), Rehearsal(robot, TABLE)
    for x in np.linspace(-0.3, 0.3, 4):
        for y in np.linspace(0.0, 0.28, 4):
            for height in (0.02, 0.15):
                for yaw in (-0.8, 0.0, 0.8):
                    turn = down(side, yaw + ease(side, np.array([x, sign * y])))
                    at = np.array([x, sign * y, HEIGHT + height]) - turn @ np.array(POCKET)
                    joints = {**robot.home, f"{side}_arm": READY}
                    solved, left = kinematics.solve(
                        {side: (at, turn)}, joints, joints, iterations=60
                    )
                    assert left < 1e-4, (x, y, height, yaw)
                    rehearsal.pose({**solved, f"{side}_hand": np.array([OPEN])})
                    assert rehearsal.touches() == [], (x, y, height, yaw)


@needs_files
def test_what_stands_fixed_does_not_drive() -> None:
    limbs = Limbs(aloha(), Kinematics(aloha()), SimWorld.dt)
    limbs.start({})
    with pytest.raises(UnknownNameError, match="no group 'base'"):
        next(limbs.drive(lambda: np.zeros(3), speed=0.1, within=0.01))


# -- it can pick and place ---------------------------------------------------------------------

SECONDS, LIFT = 20.0, 0.10
OPEN, CLOSED = 0.066, 0.0
THINGS: dict[str, dict[str, Any]] = {
    "block": {"kind": "box", "depth": 0.04, "width": 0.04, "height": 0.04},
    "can": {"kind": "can", "radius": 0.026, "height": 0.10},
}
_BITS = 'contype="32" conaffinity="31"'
TABLE = (
    f'<body name="floor"><geom type="plane" size="3 3 1" {_BITS}/></body>'
    f'<body name="table" pos="0 0 {HEIGHT}"><geom type="box" size="0.38 0.36 0.01" '
    f'pos="0 0 -0.01" {_BITS}/></body>'
)


def scenario(side: str, kind: str, index: int) -> Scenario:
    """A thing on one arm's side: place, yaw, mass, friction, servos and delay are random."""
    rng = np.random.default_rng([index, side == "left", kind == "can"])
    x, y = rng.uniform(-0.20, 0.20), rng.uniform(0.02, 0.26) * (1 if side == "left" else -1)
    item = THINGS[kind] | {
        "pos": [x, y, HEIGHT + 0.001],
        "yaw": rng.uniform(-pi, pi),
        "mass": rng.uniform(0.05, 0.35),
        "friction": rng.uniform(0.4, 0.9),
        "rgba": [0.8, 0.3, 0.2, 1.0],
    }
    params = {
        "start": [0.0, 0.0, 0.0],
        "grip": rng.uniform(0.6, 1.2),
        "gain": rng.uniform(0.92, 1.08, 14).tolist(),
        "delay": int(rng.integers(0, 2)),
        "sway": rng.uniform(0.001, 0.003),
        "noise": {
            "joint": 0.0005, "touch": 0.05, "position": 0.001, "bias": 0.001, "rotation": 0.003,
            "latency": 1, "dropout": 0.0,
        },
        "pushes": [],
        "view": {},
        "things": {"thing": item},
    }  # fmt: skip
    return Scenario(task="test/aloha", split="train", index=index, params=params)


def stage(params: Mapping[str, Any], looks: bool) -> Stage:
    """A floor, a table-top, the thing."""
    eye = '<camera name="scene" pos="-1.2 0 1.6" xyaxes="0 -1 0 0.6 0 0.8"/>'
    return Stage(assets="", bodies=TABLE + eye + thing("thing", params["things"]["thing"], looks))


def world(sleep: bool = False) -> SimWorld:
    return SimWorld(
        aloha(), stage, tracked=("thing",), free=("thing",), seconds=SECONDS, sleep=sleep
    )


def down(side: str, yaw: float) -> np.ndarray:
    """Rotation of a palm that points down; at yaw 0 as the arm has it, straight ahead."""
    distal, across = np.array([0.0, 0.0, -1.0]), yaw_rotation(yaw)[:, 0]
    across = across if side == "left" else -across
    return np.stack([distal, across, np.cross(distal, across)], axis=1)


def ease(side: str, place: np.ndarray) -> float:
    """Yaw at which the arm's waist alone turns the hand to a place in the base frame [rad]."""
    sign = 1.0 if side == "left" else -1.0
    return float(np.arctan2(sign * place[0], 0.469 - sign * place[1]))


def pick_and_place(side: str, kind: str) -> Scripted:
    """Opens above the thing, descends, closes, lifts, carries, puts down where it was, lets go."""
    robot, rows = aloha(), THINGS[kind]
    kinematics = Kinematics(robot)

    def story(first: Any, rng: Any) -> Generator[Any, Any, None]:
        limbs = Limbs(robot, kinematics, SimWorld.dt)
        limbs.start(first)
        place, turn = body_in_base(first, "thing")
        yaw, own = ease(side, place), float(np.arctan2(turn[1, 0], turn[0, 0]))
        if kind == "block":  # across two of its faces
            yaw += (own - yaw + pi / 4) % (pi / 2) - pi / 4
        rotation = down(side, yaw)
        middle = rows["height"] * (0.5 if kind == "block" else 0.6) + 0.003
        grip = place + np.array([0.0, 0.0, middle]) - rotation @ np.array(POCKET)
        above = grip + np.array([0.0, 0.0, LIFT])
        yield from limbs.shape((side,), np.array([OPEN]), seconds=0.6)
        yield from limbs.move({side: kinematics.palm({f"{side}_arm": READY}, side)})
        yield from limbs.move({side: (above, rotation)})
        yield from limbs.move({side: (grip, rotation)}, speed=0.12)
        yield from limbs.wait(0.3)
        yield from limbs.shape((side,), np.array([CLOSED]), seconds=0.8)
        yield from limbs.wait(0.4)
        yield from limbs.move({side: (above, rotation)}, speed=0.15)
        # A world ends after a second's rest: so it holds still for less, and carries it about.
        for aside in (0.04, -0.04, 0.0):
            beside = above + np.array([aside, 0.0, 0.0])
            yield from limbs.move({side: (beside, rotation)}, speed=0.08)
            yield from limbs.wait(0.6)
        yield from limbs.move({side: (grip, rotation)}, speed=0.10)
        yield from limbs.wait(0.3)
        yield from limbs.shape((side,), np.array([OPEN]), seconds=0.8)
        yield from limbs.move({side: (above, rotation)}, speed=0.15)
        yield from limbs.wait(0.5)

    return Scripted("pick and place", {"truth/base", "truth/thing"}, story)


def in_palm(seen: Mapping[str, np.ndarray], side: str) -> np.ndarray:
    """(T + 1, 3) place of the thing in the palm's frame [m]; the base is the world's frame."""
    palm, body = seen[f"truth/palm_{side}"], seen["truth/thing"]
    turn = np.stack([palm[:, 3:6], palm[:, 6:], np.cross(palm[:, 3:6], palm[:, 6:])], axis=2)
    return np.einsum("tji,tj->ti", turn, body[:, :3] - palm[:, :3])


@needs_files
@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize("side", SIDES)
def test_it_lifts_by_friction_alone_holds_and_puts_down(side: str, index: int) -> None:
    kind = ("block", "can")[index % 2]
    episode = rollout(pick_and_place(side, kind), world(), scenario(side, kind, index), SECONDS)
    seen = episode.observations
    body, hand = seen["truth/thing"], 2 + SIDES.index(side)
    up = body[:, 2] > body[0, 2] + 0.8 * LIFT
    assert up.sum() * episode.dt > 2.0
    held = in_palm(seen, side)[up]
    assert np.linalg.norm(held - held[0], axis=1).max() < 0.005
    # It has stalled, and holds with 70 % of its force instead of all of it.
    assert seen["truth/torque"][up][10:-10, hand] == pytest.approx(0.7, abs=0.05)
    assert np.linalg.norm(body[-1, :3] - body[0, :3]) < 0.01
    assert quaternion_rotation(body[-1, 3:7])[2, 2] > 0.999
    assert seen["truth/support"][-1, 0, 1] == 0.0
    fixed, own, penetration, _ = seen["truth/contact"].max(axis=0)
    assert fixed == own == 0.0 and penetration < 0.003
    arm = seen["truth/torque"][:, SIDES.index(side)]
    assert arm.max() < 0.95 and seen["truth/velocity"].max() < 1.0


@needs_files
@pytest.mark.parametrize("sleep", [False, True])
def test_its_world_keeps_the_contract(sleep: bool) -> None:
    scenarios = [scenario("left", "can", 0), scenario("right", "block", 1)]
    assert check_world(lambda: world(sleep), scenarios) == []


@needs_files
def test_arms_stay_and_fingers_go_where_they_are_told_together() -> None:
    it = world()
    it.reset(scenario("left", "can", 0))
    action = {name: value.copy() for name, value in aloha().home.items()}
    for opening in (0.069, 0.02, 0.05):
        action["left_hand"][:] = opening
        for _ in range(30):
            it.step(action)
        data = it._data
        assert data.actuator("left_gripper").length[0] == pytest.approx(opening, abs=5e-4)
        fingers = [data.joint(f"left_{side}_finger").qpos[0] for side in SIDES]
        assert fingers[0] == pytest.approx(fingers[1], abs=2e-4)
    arm = it._motors.pick("left_arm", it._motors.positions())
    assert np.abs(arm - action["left_arm"]).max() < 0.012  # three times the largest sway


@needs_files
@pytest.mark.parametrize("margin", [0.004, 0.010, 0.018])
def test_in_rehearsal_a_wall_is_as_far_as_its_margin(margin: float) -> None:
    """The gripper's bar is flat beside the wall: what only its box would touch is looked at."""
    plane = '<geom type="plane" size="4 4 1" xyaxes="0 -1 0 0 0 1" contype="32" conaffinity="31"/>'
    it = Rehearsal(aloha(), f'<body name="wall" pos="1 0 0">{plane}</body>')
    it.pose({"left_arm": np.array([0.32, 0.77, -0.7, -0.01, 1.49, 0.47])})

    def first(margin: float) -> float:
        """Where the robot stands when it is first too near [m]."""
        for x in np.arange(0.6, 0.9, 0.001):
            it.stand(np.array([x, 0.0, 0.0]), np.eye(3))
            if not it.clear(margin):
                return float(x)
        raise AssertionError("it stands in the wall")

    assert first(0.0) - first(margin) == pytest.approx(margin, abs=0.0015)
