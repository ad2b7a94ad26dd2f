"""Laws of furniture and appliances: what is closed stays closed, what is left stays where it is."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from fabrika import UnknownNameError
from fabrika.sim import (
    FIXTURES,
    Fixture,
    Part,
    build_fixture,
    draw_fixture,
    draw_thing,
    fixture,
    places,
    put_on,
    thing,
)
from fabrika.sim._pose import yaw_rotation

OPTION = (
    '<compiler angle="radian" autolimits="true"/><option timestep="0.004" cone="elliptic" '
    'integrator="implicitfast" impratio="10"><flag autoreset="disable"/></option><default>'
    '<geom solref="0.008 1" solimp="0.95 0.99 0.001" condim="4" friction="0.8"/></default>'
)
CAN = {"kind": "can", "radius": 0.033, "height": 0.1, "mass": 0.4, "friction": 0.5, "yaw": 0.0}
UP = np.array([0.0, 0.0, 0.001])
RGBA = [0.8, 0.8, 0.8, 1.0]
PARTS = [
    (kind, number)
    for kind in sorted(FIXTURES)
    for number, _ in enumerate(
        build_fixture("it", draw_fixture(np.random.default_rng(0), kind)).parts
    )
]


def place(kind: str, seed: int = 0, more: str = "") -> tuple[Fixture, mujoco.MjModel]:
    params = draw_fixture(np.random.default_rng(seed), kind)
    params |= {"pos": [0.3, -0.2], "yaw": 0.5, "rgba": RGBA}
    text = fixture("it", params)
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco>{OPTION}<worldbody><geom type="plane" size="4 4 1"/>{text}{more}</worldbody>'
        "</mujoco>"
    )
    return build_fixture("it", params), model


def settled(model: mujoco.MjModel, seconds: float = 1.0) -> mujoco.MjData:
    data = mujoco.MjData(model)
    run(model, data, seconds)
    return data


def run(model: mujoco.MjModel, data: mujoco.MjData, seconds: float) -> None:
    for _ in range(round(seconds / 0.004)):
        mujoco.mj_step(model, data)


def pull(model: mujoco.MjModel, data: mujoco.MjData, part: Part, force: float) -> None:
    """Draw at the handle along its normal, press the button, or turn a bar's end; force [N]."""
    body = model.body(part.joint).id
    turn = data.xmat[body].reshape(3, 3)
    handle, out = np.array(part.handle), np.array(part.out)
    way = turn @ out * (-1 if part.motion == "press" else 1)
    if part.motion == "turn":
        handle = handle + 0.02 * np.array(part.bar)
        way = turn @ np.cross(out, part.bar)
    at = data.xpos[body] + turn @ handle
    data.qfrc_applied[:] = 0
    mujoco.mj_applyFT(model, data, way * force, np.zeros(3), at, body, data.qfrc_applied)


def test_the_kinds_of_a_home_are_there() -> None:
    assert len(FIXTURES) >= 14
    with pytest.raises(UnknownNameError, match="fridge"):
        draw_fixture(np.random.default_rng(0), "frige")


@pytest.mark.parametrize(("kind", "number"), PARTS)
def test_a_part_opens_by_its_handle_and_by_nothing_less(kind: str, number: int) -> None:
    for seed in range(2):
        made, model = place(kind, seed)
        part, data = made.parts[number], settled(model)
        angle = data.joint(part.joint).qpos
        assert abs(angle[0]) < 1e-3, "closed at rest"

        needed = 0.0
        while needed < 30.0 and abs(angle[0]) < 0.3 * abs(part.open):
            needed = 8.0 * (data.time - 1.0)
            pull(model, data, part, needed)
            mujoco.mj_step(model, data)
        assert np.sign(angle[0]) == np.sign(part.open), "it opens the way that it says"
        assert 3.0 < needed < 20.0, needed


@pytest.mark.parametrize(("kind", "number"), PARTS)
def test_a_part_left_half_open_does_what_such_parts_do(kind: str, number: int) -> None:
    made, model = place(kind)
    part, data = made.parts[number], settled(model, 0.1)
    half = 0.5 * part.open
    data.joint(part.joint).qpos[0] = half
    run(model, data, 2.0)
    end = float(data.joint(part.joint).qpos[0])
    if part.motion == "press":  # a button comes back
        assert abs(end) < 0.01
    elif part.level and part.out[0] > 0.5:  # a drop-down door drops; a lid does not
        assert end > 0.9 * part.open
    else:
        assert end == pytest.approx(half, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_keys_hang_from_a_peg_until_they_are_taken_off_along_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hook = draw_fixture(rng, "hook") | {"pos": [0.3, -0.2], "yaw": 0.5, "rgba": RGBA}
    peg = places({"it": hook})["it.peg"]
    assert put_on(rng, peg, draw_thing(rng, "can_soup"), []) is None
    keys = put_on(rng, peg, draw_thing(rng, ("keys_house", "keys_car")[seed % 2]), [])
    assert keys is not None and put_on(rng, peg, keys, [(0.0, 0.0, 0.01)]) is None
    _, model = place("hook", seed, thing("keys", keys))
    data = settled(model, 2.0)
    hung = data.body("keys").xpos.copy()
    np.testing.assert_allclose(hung, keys["pos"], atol=0.006)
    for way, comes_off in (((0, 0, -1), False), ((1, 0, 0.2), True)):
        mujoco.mj_resetData(model, data)
        model.opt.gravity[:] = 0.0
        data.xfrc_applied[model.body("keys").id, :3] = 0.3 * yaw_rotation(0.5) @ np.array(way)
        run(model, data, 0.4)
        assert (np.linalg.norm(data.body("keys").xpos - hung) > 0.05) == comes_off


@pytest.mark.parametrize("kind", sorted(FIXTURES))
def test_a_can_stands_on_every_spot(kind: str) -> None:
    made, _ = place(kind)
    for spot in made.spots:
        if spot.hangs:
            continue
        made, model = place(kind, more=thing("can", CAN | {"pos": [0, 0, 0], "rgba": RGBA}))
        data = mujoco.MjData(model)
        for part in made.parts:
            if spot.name in part.covers:
                data.joint(part.joint).qpos[0] = part.open
        mujoco.mj_forward(model, data)
        body = data.body(spot.body)
        turn = body.xmat.reshape(3, 3)
        data.joint("can").qpos[:3] = body.xpos + turn @ (np.array(spot.middle) + UP)
        run(model, data, 0.5)
        offset = data.body("can").xpos - data.body(spot.body).xpos
        assert np.linalg.norm(turn.T @ offset - np.array(spot.middle)) < 0.003, spot.name
        assert data.body("can").xmat[8] > 0.999
        assert spot.headroom > 0.1 and min(spot.half) > 0.04
