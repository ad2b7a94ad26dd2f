"""Laws of household things: they weigh what they should, and stay where they are put."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from fabrika import UnknownNameError
from fabrika.sim import CATALOGUE, THINGS, categories, draw_thing, thing

OPTION = (
    '<option timestep="0.004" integrator="implicitfast" cone="elliptic" impratio="10" '
    'gravity="0.2 0 -9.81"><flag autoreset="disable"/></option>'
)
"""The settings of `SimWorld`, on a slope of 1.2 degrees."""


def compiled(params: dict[str, object]) -> mujoco.MjModel:
    body = thing("it", {**params, "pos": [0.0, 0.0, 0.001], "yaw": 0.7})
    return mujoco.MjModel.from_xml_string(
        f'<mujoco>{OPTION}<default><geom condim="4" solref="0.008 1"/><default class="look"/>'
        f'</default><worldbody><geom type="plane" size="4 4 1"/>{body}</worldbody></mujoco>'
    )


def test_there_are_sixty_things_in_twenty_categories() -> None:
    assert len(CATALOGUE) >= 60 and len(categories()) >= 20
    assert sorted(name for names in categories().values() for name in names) == sorted(CATALOGUE)
    assert {instance.shape for instance in CATALOGUE.values()} <= THINGS.keys()
    assert min(map(len, categories().values())) >= 2  # one can be held out


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_thing_weighs_what_it_should_and_stays_where_it_is_put(name: str) -> None:
    for seed in range(3):
        params = draw_thing(np.random.default_rng(seed), name)
        model = compiled(params)
        assert model.body("it").mass[0] == pytest.approx(params["mass"], rel=1e-3)
        if params["kind"] == "grain":
            continue  # it rolls
        data = mujoco.MjData(model)
        for _ in range(250):
            mujoco.mj_step(model, data)
        assert np.hypot(*data.qpos[:2]) < 0.001 and np.abs(data.qvel).max() < 0.01
        assert data.body("it").xmat[8] > np.cos(0.01)
        assert min(contact.dist for contact in data.contact) > -0.0005


def test_pieces_of_one_instance_differ_and_keep_their_proportions() -> None:
    one, two = (draw_thing(np.random.default_rng(seed), "mug_white") for seed in (1, 2))
    assert one["radius"] != two["radius"]
    assert one["radius"] / one["height"] == pytest.approx(two["radius"] / two["height"], rel=1e-3)


def test_folded_towels_make_a_stack_that_stays() -> None:
    rng = np.random.default_rng(3)
    towels = [draw_thing(rng, name) for name in ("towel_hand", "towel_kitchen", "towel_guest")]
    bodies, high = "", 0.001
    for index, params in enumerate(towels):
        place = {"pos": [0.01 * index, -0.01 * index, high], "yaw": 0.3 * index}
        bodies += thing(f"towel_{index}", {**params, **place})
        high += params["height"]
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco>{OPTION}<default><geom condim="4" solref="0.008 1"/></default><worldbody>'
        f'<geom type="plane" size="4 4 1"/>{bodies}</worldbody></mujoco>'
    )
    data = mujoco.MjData(model)
    for _ in range(500):
        mujoco.mj_step(model, data)
    assert high - 0.006 < data.body("towel_2").xpos[2] + towels[2]["height"] < high
    assert np.abs(data.qvel).max() < 0.01 and data.body("towel_2").xmat[8] > 0.999


def test_an_unknown_instance_is_named() -> None:
    with pytest.raises(UnknownNameError, match="mug_white"):
        draw_thing(np.random.default_rng(0), "mug_whit")
