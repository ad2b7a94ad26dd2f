"""Laws of the robot, its hands and its kinematics."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabrika import ContractError
from fabrika.sim import CLOID_CLASS, Kinematics, Limbs
from fabrika.sim._pose import (
    across,
    pose9,
    quaternion_rotation,
    rotation_vector,
    split9,
    vector_of,
)
from fabrika.sim._robot import compile_mjcf, driven_joints

MODEL = CLOID_CLASS.compile()
KINEMATICS = Kinematics(CLOID_CLASS)
vectors = st.tuples(*[st.floats(-1.7, 1.7)] * 3).map(np.array)


@given(vectors)
def test_rotation_vectors_survive_the_round_trip(vector: np.ndarray) -> None:
    turn = rotation_vector(vector)
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.isclose(np.linalg.det(turn), 1.0)
    assert np.allclose(vector_of(turn), vector, atol=1e-6)


@given(vectors, vectors)
def test_nine_numbers_keep_a_pose(position: np.ndarray, vector: np.ndarray) -> None:
    turn = rotation_vector(vector)
    place, back = split9(pose9(position, turn))
    assert np.allclose(place, position) and np.allclose(back, turn)


@given(vectors)
def test_a_rotation_is_the_same_as_mujocos(vector: np.ndarray) -> None:
    quaternion = np.zeros(4)
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle > 1e-9 else np.array([1.0, 0.0, 0.0])
    mujoco.mju_axisAngle2Quat(quaternion, axis, angle)
    assert np.allclose(quaternion_rotation(quaternion), rotation_vector(vector), atol=1e-9)


@given(st.floats(0.0, 0.38), st.floats(0.4, 2.0), st.floats(-1.2, 1.2), st.floats(0.5, 1.4))
@settings(max_examples=20)
def test_the_head_comes_to_look_at_what_is_watched(
    lift: float, far: float, aside: float, high: float
) -> None:
    limbs = Limbs(CLOID_CLASS, KINEMATICS, 0.04)
    limbs.start({})
    limbs.joints["lift"] = np.array([lift])
    at = np.array([far * np.cos(aside), far * np.sin(aside), high])
    limbs.watch(lambda: at)
    turned = [limbs.joints["head"]]
    for action in limbs.wait(2.5):
        turned.append(action["head"])
    assert (np.abs(np.diff(turned, axis=0)) / 0.04 <= CLOID_CLASS.groups["head"].velocity).all()
    data = mujoco.MjData(MODEL)
    data.joint("lift").qpos[0] = lift
    data.joint("head_pan").qpos[0], data.joint("head_tilt").qpos[0] = turned[-1]
    mujoco.mj_kinematics(MODEL, data)
    mujoco.mj_camlight(MODEL, data)
    base = data.body("base")
    way = base.xpos + base.xmat.reshape(3, 3) @ at - data.camera("head").xpos
    ahead = -data.camera("head").xmat.reshape(3, 3)[:, 2]
    assert np.arccos(ahead @ way / np.linalg.norm(way)) < np.radians(15)


def test_the_public_facts_hold() -> None:
    arms = [CLOID_CLASS.groups[hand.arm] for hand in CLOID_CLASS.hands.values()]
    assert [len(arm.names) for arm in arms] == [7, 7]
    for hand in CLOID_CLASS.hands.values():
        assert len(hand.touch) == 5
        assert len(CLOID_CLASS.groups[hand.fingers].names) == 6  # five fingers, opposition
    assert CLOID_CLASS.cameras == ("head", "left_wrist", "right_wrist")
    heights = []
    for lift in (0.0, 0.38):
        data = mujoco.MjData(MODEL)
        data.joint("lift").qpos[0] = lift
        mujoco.mj_kinematics(MODEL, data)
        heights.append(data.body("head").xpos[2] + 0.14)
    assert np.allclose(heights, [1.05, 1.43], atol=0.01)


def test_limits_of_the_description_are_those_of_the_model() -> None:
    for group in CLOID_CLASS.groups.values():
        for index, name in enumerate(group.actuators):
            actuator = MODEL.actuator(name)
            assert actuator.forcerange[1] == group.torque[index]
            if actuator.ctrllimited[0]:
                assert tuple(actuator.ctrlrange) == (group.low[index], group.high[index])
            assert group.low[index] <= group.home[index] <= group.high[index]


def test_an_actuator_is_where_its_joints_were_put() -> None:
    data = mujoco.MjData(MODEL)
    wanted = np.random.default_rng(0).uniform(0.1, 0.5, MODEL.nu)
    for actuator in range(MODEL.nu):
        joints, share = driven_joints(MODEL, actuator)
        for joint in joints:
            data.qpos[MODEL.jnt_qposadr[joint]] = share * wanted[actuator]
    mujoco.mj_forward(MODEL, data)
    assert np.allclose(data.actuator_length, wanted)


def test_nothing_holds_but_friction() -> None:
    assert MODEL.neq == 0 and MODEL.nmocap == 0
    assert MODEL.opt.gravity[2] == pytest.approx(-9.81)


def test_every_link_can_be_touched() -> None:
    """Each body with mass to speak of carries a geom that collides."""
    solid = {int(b) for b, c in zip(MODEL.geom_bodyid, MODEL.geom_contype, strict=True) if c}
    for body in range(1, MODEL.nbody):
        if MODEL.body_mass[body] > 0.31:
            assert body in solid, MODEL.body(body).name


joint_share = st.lists(st.floats(0.1, 0.9), min_size=7, max_size=7).map(np.array)


@given(joint_share, st.floats(0.02, 0.36))
@settings(max_examples=30, deadline=None)
def test_the_sides_mirror_each_other(share: np.ndarray, lift: float) -> None:
    group = CLOID_CLASS.groups["left_arm"]
    arm = np.array(group.low) + share * (np.array(group.high) - np.array(group.low))
    joints = {"lift": np.array([lift]), "left_arm": arm, "right_arm": arm}
    left, turned_left = KINEMATICS.palm(joints, "left")
    right, turned_right = KINEMATICS.palm(joints, "right")
    mirror = np.diag([1.0, -1.0, 1.0])
    assert np.allclose(mirror @ left, right, atol=1e-9)
    # Distal and normal mirror; the axis across is the other way round.
    assert np.allclose(mirror @ turned_left[:, [0, 2]], turned_right[:, [0, 2]], atol=1e-9)


@given(joint_share)
@settings(max_examples=15, deadline=None)
def test_inverse_kinematics_reaches_what_forward_kinematics_gives(share: np.ndarray) -> None:
    group = CLOID_CLASS.groups["right_arm"]
    low, high = np.array(group.low), np.array(group.high)
    home = CLOID_CLASS.home
    arm = home["right_arm"] + 0.4 * (share - 0.5) * (high - low)
    goal = KINEMATICS.palm({"lift": np.array([0.3]), "right_arm": np.clip(arm, low, high)}, "right")
    solved, _ = KINEMATICS.solve({"right": goal}, home, home, iterations=200, pull=0.0)
    place, turn = KINEMATICS.palm(solved, "right")
    # A joint at the end of its range may stop it a little before; nothing else may.
    room = np.minimum(solved["right_arm"] - low, high - solved["right_arm"]).min()
    share = 1.0 if room > 1e-6 else 5.0
    assert np.linalg.norm(place - goal[0]) < share * 2e-3
    assert np.linalg.norm(vector_of(turn @ goal[1].T)) < share * 2e-2
    assert room >= 0.0


@given(joint_share)
@settings(max_examples=15, deadline=None)
def test_a_goal_is_brought_about_as_by_single_iterations_or_not_at_all(share: np.ndarray) -> None:
    """`bring` saves overhead, and no bit: a rehearsal finds what it found one step at a time."""
    group, home = CLOID_CLASS.groups["right_arm"], CLOID_CLASS.home
    low, high = np.array(group.low), np.array(group.high)
    arm = np.clip(home["right_arm"] + 0.9 * (share - 0.5) * (high - low), low, high)
    goal = {"right": KINEMATICS.palm({"lift": np.array([0.2]), "right_arm": arm}, "right")}
    found = KINEMATICS.bring(goal, home, home, within=3e-3)
    now, errors = dict(home), []
    for _ in range(30):
        solved, left = KINEMATICS.solve(goal, now, home)
        errors.append(left)
        if left < 3e-3:
            break
        now.update(solved)
    if found is None:
        assert min(errors[:13]) >= 3e-3
    else:
        assert all((values == now[name]).all() for name, values in found.items())
    assert (
        KINEMATICS.bring({"right": (np.array([3.0, 0, 1]), np.eye(3))}, home, home, within=0.01)
        is None
    )


def test_a_malformed_mjcf_is_named() -> None:
    with pytest.raises(ContractError, match="my-robot"):
        compile_mjcf("<mujoco><worldbody><geom type='nonsense'/></worldbody></mujoco>", "my-robot")


def test_the_page_of_the_robot_lists_every_assumption() -> None:
    page = (Path(__file__).parent.parent / "docs/robots/cloid-class.md").read_text()
    listed = page.split("<!-- assumptions -->\n")[1].split("<!-- /assumptions -->")[0]
    assert listed == "".join(f"- {line}\n" for line in CLOID_CLASS.assumptions)


@given(st.lists(st.floats(-9, 9), min_size=6, max_size=6))
def test_a_cross_product_made_short_is_the_same_to_the_bit(numbers: list[float]) -> None:
    one, other = np.array(numbers[:3]), np.array(numbers[3:])
    assert (across(one, other) == np.cross(one, other)).all()
