"""Laws of grasps: what they promise of the palm holds for every thing of the catalogue."""

from math import pi

import mujoco
import numpy as np
import pytest

from fabrika.sim import CATALOGUE, CLOID_CLASS, draw_thing
from fabrika.sim._grasps import RIM, Grasp, grasps
from fabrika.sim._model import Frame
from fabrika.sim._pose import yaw_rotation
from fabrika.sim._robot import Hand, driven_joints
from fabrika.sim._scene import footprint

SIDES = ("left", "right")


def _grasps(instance: str, side: str, yaw: float) -> list[Grasp]:
    params = draw_thing(np.random.default_rng(0), instance)
    frame = Frame(np.array([1.0, 0.2, 0.9]), yaw_rotation(yaw))
    return grasps(CLOID_CLASS.hands[side], params, frame, 0.3)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("instance", sorted(CATALOGUE))
def test_a_grasp_is_a_frame_and_the_cheapest_comes_first(instance: str, side: str) -> None:
    hand = CLOID_CLASS.hands[side]
    found = _grasps(instance, side, 0.7)
    assert [g.cost for g in found] == sorted(g.cost for g in found)
    for grasp in found:
        np.testing.assert_allclose(grasp.palm.turn @ grasp.palm.turn.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(grasp.palm.turn) == pytest.approx(1.0)
        assert np.linalg.norm(grasp.away) == pytest.approx(1.0)
        assert len(grasp.open) == len(grasp.closed) == len(CLOID_CLASS.groups[hand.fingers].names)


@pytest.mark.parametrize("instance", sorted(CATALOGUE))
def test_from_above_a_hand_leaves_upwards_and_the_thing_is_between_its_fingertips(
    instance: str,
) -> None:
    pinch = CLOID_CLASS.hands["left"].pinch
    assert pinch is not None
    half = np.array(footprint(draw_thing(np.random.default_rng(0), instance)))
    for grasp in _grasps(instance, "left", -1.2):
        if not grasp.above:
            continue
        np.testing.assert_allclose(grasp.palm.turn @ grasp.away, [0.0, 0.0, 1.0], atol=1e-9)
        at = grasp.palm.at + grasp.palm.turn @ np.array(pinch.at)
        assert (np.abs(at[:2]) < half).all()
        assert at[2] > pinch.below


@pytest.mark.parametrize("side", SIDES)
def test_hanging_keys_are_between_thumb_and_fingers_and_come_off_the_wall(side: str) -> None:
    """The fingers are on the side of the wall, the hand comes from its own side, and level."""
    facing, hand = 0.3, CLOID_CLASS.hands[side]
    pinch = hand.pinch
    assert pinch is not None
    wall = yaw_rotation(facing)
    frame = Frame(np.array([1.0, 0.2, 1.2]), yaw_rotation(facing + pi))
    params = draw_thing(np.random.default_rng(0), "keys_house")
    found = grasps(hand, params, frame, facing)
    assert found
    for grasp in found:
        palm = frame * grasp.palm
        between = palm.point(*pinch.at)
        fob = (wall.T @ (between - frame.at)).tolist()
        assert abs(fob[0]) < 0.001 and abs(fob[1]) < 0.001 and 0.0 < fob[2] < params["length"]
        assert (palm.turn @ np.array(pinch.across) @ wall[:, 0]) > 0.9
        comes = palm.turn @ grasp.away
        assert comes @ wall[:, 1] * hand.thumb[1] > 0.9 and abs(comes[2]) < 1e-9
        assert grasp.off is not None and not grasp.above
        off = palm.turn @ np.array(grasp.off)
        assert off @ wall[:, 0] < -0.06 and off[2] > 0.0


@pytest.mark.parametrize("instance", ["packet_pasta", "carton_milk", "packet_cereal"])
def test_what_is_tall_is_taken_at_its_top_from_the_floor_alone(instance: str) -> None:
    params = draw_thing(np.random.default_rng(0), instance)
    hand = CLOID_CLASS.hands["left"]
    for height, at_top in ((0.0, True), (0.9, False)):
        found = grasps(hand, params, Frame(np.array([1.0, 0.2, height]), np.eye(3)), 0.3)
        assert any(grasp.above for grasp in found) == at_top
        for grasp in found:
            if grasp.above and hand.pinch is not None:
                at = grasp.palm.point(*hand.pinch.at)
                # Between the fingertips is the upper half, and the palm stays above the top.
                assert params["height"] / 2 < at[2] < params["height"] - 0.01
                assert at[2] + hand.pinch.above > params["height"]


@pytest.mark.parametrize("instance", ["cup_plastic", "glass_long", "can_soup"])
def test_what_stands_between_walls_is_taken_from_above_by_its_rim(instance: str) -> None:
    params = draw_thing(np.random.default_rng(0), instance)
    hand, frame = CLOID_CLASS.hands["left"], Frame(np.array([0.0, 0.0, 0.9]), np.eye(3))
    assert hand.pinch is not None
    assert not any(grasp.above for grasp in grasps(hand, params, frame, 0.3))
    found = grasps(hand, params, frame, 0.3, walled=True)
    assert found and all(grasp.above and grasp.level for grasp in found)
    for grasp in found:
        at = grasp.palm.at + grasp.palm.turn @ np.array(hand.pinch.at)
        np.testing.assert_allclose(at, [0.0, 0.0, params["height"] - RIM], atol=1e-9)


@pytest.mark.parametrize("instance", sorted(n for n, t in CATALOGUE.items() if t.shape == "lying"))
def test_what_lies_is_held_at_its_middle_or_above(instance: str) -> None:
    """Fingertips that close below the widest part of it press it up and out of themselves."""
    params = draw_thing(np.random.default_rng(0), instance)
    pinch = CLOID_CLASS.hands["left"].pinch
    found = _grasps(instance, "left", 0.7)
    assert found and pinch is not None
    for grasp in found:
        at = grasp.palm.at + grasp.palm.turn @ np.array(pinch.at)
        # It keeps off the palm, too.
        assert params["radius"] - 1e-9 <= at[2] < params["radius"] + 0.01
        assert 2 * params["radius"] < at[2] + pinch.above


def test_what_turns_with_its_frame_is_grasped_alike() -> None:
    """The same thing, turned together with the robot, has the same grasps."""
    params = draw_thing(np.random.default_rng(0), "croissant")
    hand = CLOID_CLASS.hands["right"]
    for turn in (0.0, pi / 2, 2.0):
        frame = Frame(np.zeros(3), yaw_rotation(0.4 + turn))
        found = grasps(hand, params, frame, 0.1 + turn)
        first = grasps(hand, params, Frame(np.zeros(3), yaw_rotation(0.4)), 0.1)
        for one, other in zip(found, first, strict=True):
            assert one.cost == pytest.approx(other.cost)
            np.testing.assert_allclose(one.palm.at, other.palm.at, atol=1e-9)


@pytest.mark.parametrize("side", SIDES)
def test_the_pinch_is_where_the_model_of_the_hand_has_it(side: str) -> None:
    """Fingertips that are open stand on both sides of the point, and reach as low as said."""
    hand = CLOID_CLASS.hands[side]
    pinch = hand.pinch
    assert pinch is not None
    model = CLOID_CLASS.compile()
    data = mujoco.MjData(model)
    for actuator, value in zip(CLOID_CLASS.groups[hand.fingers].actuators, pinch.open, strict=True):
        joints, share = driven_joints(model, model.actuator(actuator).id)
        for joint in joints:
            data.qpos[model.jnt_qposadr[joint]] = share * value
    mujoco.mj_kinematics(model, data)
    palm = data.body(hand.palm)
    turn = palm.xmat.reshape(3, 3)
    tips = {
        f: turn.T @ (data.site(f"{side}_{f}_tip").xpos - palm.xpos) for f in ("thumb", "middle")
    }
    middle, down = (tips["thumb"] + tips["middle"]) / 2, np.array(pinch.down)
    np.testing.assert_allclose(middle, pinch.at, atol=0.004)
    assert (tips["middle"] - tips["thumb"]) @ np.array(pinch.across) > pinch.span
    lowest = max(float(tip @ down) for tip in tips.values()) + 0.010
    assert lowest - np.array(pinch.at) @ down == pytest.approx(pinch.below, abs=0.003)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("instance", ["carton_milk", "carton_juice", "bundle_socks"])
def test_at_a_wall_a_box_is_held_with_less_of_the_thumb_behind_it(instance: str, side: str) -> None:
    """By the same palms as else; what is no box has none of these grasps."""
    hand, frame = CLOID_CLASS.hands[side], Frame(np.zeros(3), np.eye(3))
    params = draw_thing(np.random.default_rng(0), instance)
    usual = [g for g in grasps(hand, params, frame, 0.1) if not g.above]
    slim = grasps(hand, params, frame, 0.1, slim=True)
    assert slim and all(g.slim for g in slim) and not any(g.slim for g in usual)
    assert {g.palm.at.tobytes() for g in slim} == {g.palm.at.tobytes() for g in usual}
    beyond = [_reach(hand, found[0].open) for found in (usual, slim)]
    assert beyond[1] < beyond[0] - 0.015
    mug = draw_thing(np.random.default_rng(0), "mug_white")
    assert grasps(hand, mug, frame, 0.1, slim=True) == []


def _reach(hand: Hand, fingers: tuple[float, ...]) -> float:
    """How far the thumb reaches along the palm's normal [m]."""
    model = CLOID_CLASS.compile()
    data = mujoco.MjData(model)
    for actuator, value in zip(CLOID_CLASS.groups[hand.fingers].actuators, fingers, strict=True):
        joints, share = driven_joints(model, model.actuator(actuator).id)
        for joint in joints:
            data.qpos[model.jnt_qposadr[joint]] = share * value
    mujoco.mj_kinematics(model, data)
    palm = data.body(hand.palm)
    side = hand.palm.partition("_")[0]
    tip = data.site(f"{side}_thumb_tip").xpos - palm.xpos
    return float(palm.xmat.reshape(3, 3)[:, 2] @ tip)


@pytest.mark.parametrize("instance", ["towel_guest", "towel_hand", "towel_kitchen"])
def test_a_soft_bundle_is_held_so_that_it_is_set_down_level(instance: str) -> None:
    found = [grasp for side in SIDES for grasp in _grasps(instance, side, 0.7)]
    assert found and all(grasp.level for grasp in found)  # on an edge it sinks in
