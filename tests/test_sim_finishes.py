"""Laws of furniture's finishes: looks change how it looks, and nothing else."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import mujoco
import numpy as np
import pytest

from fabrika import Scenario
from fabrika._registry import task
from fabrika.sim import FIXTURES, SimWorld, draw_fixture, draw_thing, fixture, sample_look
from fabrika.sim import _pictures as pictures
from fabrika.sim._finishes import furnish

SIZE, LOOKS = (96, 128), range(1, 5)
PAGES = pytest.mark.parametrize(
    "name", ["home/mug-in-microwave-v1", "home/turn-off-stove-v1", "home/unload-dishwasher-v1"]
)
SEEN = ("mat_", "tex_", "light_", "cam_", "geom_rgba", "geom_matid", "name", "_")
"""Fields of a model that are of pictures, or of names, or count what there is of these."""


@cache
def room(name: str) -> tuple[SimWorld, Scenario, np.ndarray]:
    """A page's world and scenario, and the state that it starts in."""
    found = task(name)
    world, scenario = found.build(), found.scenario("train", 0)
    assert isinstance(world, SimWorld)
    world.reset(scenario)
    return world, scenario, world.state()


def dressed(world: SimWorld, scenario: Scenario, look: int) -> mujoco.MjModel:
    """The model of a look, compiled anew."""
    world.pictures.close()
    world.dress(scenario, look)
    return world.pictures._model


def masks(world: SimWorld, scenario: Scenario, state: np.ndarray, camera: str) -> dict[str, Any]:
    """Which pixels show each fixture, and each thing."""
    colours, model = world.pictures.segmentation(state, camera, *SIZE), world.pictures._model
    found = {}
    for name in (*scenario.params["fixtures"], *scenario.params["things"]):
        root = model.body(name).rootid
        bodies = {
            pictures._named(model, b) for b in range(model.nbody) if model.body_rootid[b] == root
        }
        legend = world.pictures.bodies()
        of = np.array([legend[body] for body in bodies if body in legend])
        found[name] = (colours[:, :, None, :] == of).all(axis=3).any(axis=2)
    return found


@PAGES
def test_finishes_change_pixels_of_furniture_and_things_and_neither_depth_nor_bodies(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, scenario, state = room(name)
    layers = {}
    for plain, look, camera in product((False, True), LOOKS, ("head", "scene")):
        with monkeypatch.context() as patch:
            if plain:
                patch.setattr(pictures, "furnish", lambda *_: {})
            dressed(world, scenario, look)
            layers[plain, look, camera] = [
                draw(state, camera, *SIZE)
                for draw in (
                    world.pictures.picture,
                    world.pictures.depth,
                    world.pictures.segmentation,
                )
            ]
        if plain:
            one, other = layers[True, look, camera], layers[False, look, camera]
            assert all(np.array_equal(a, b) for a, b in zip(one[1:], other[1:], strict=True))
            shown = masks(world, scenario, state, camera)
            changed = (one[0] != other[0]).any(axis=2)
            assert changed.any() and not (changed & ~np.any([*shown.values()], axis=0)).any()


@PAGES
def test_every_fixture_that_is_seen_has_other_colours_in_other_looks(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, scenario, state = room(name)
    light = sample_look(np.random.default_rng(0))
    monkeypatch.setattr(pictures, "sample_look", lambda _: light)
    means: dict[str, list[np.ndarray]] = {}
    for look in LOOKS:
        dressed(world, scenario, look)
        picture = world.picture(state, "scene", *SIZE)
        for thing, mask in masks(world, scenario, state, "scene").items():
            if thing in scenario.params["fixtures"] and mask.sum() > 30:
                means.setdefault(thing, []).append(picture[mask].mean(axis=0))
    assert len(means) > 2
    for thing, colours in means.items():
        assert np.ptp(colours, axis=0).max() > 15, thing


@PAGES
def test_looks_change_nothing_that_physics_reads(name: str) -> None:
    world, scenario, _ = room(name)
    own = dressed(world, scenario, 0)
    ways = []
    for look in (0, *LOOKS):
        model = dressed(world, scenario, look)
        for field in dir(own):
            value = getattr(own, field)
            if isinstance(value, np.ndarray) and not field.startswith(SEEN):
                assert np.array_equal(value, getattr(model, field)), field
        data, way = mujoco.MjData(model), []
        for _ in range(50):
            mujoco.mj_step(model, data)
            way.append(data.qpos.copy())
        ways.append(np.array(way).tobytes())
    assert len(set(ways)) == 1


@PAGES
def test_one_look_is_one_picture_and_the_scenarios_own_is_not_finished(name: str) -> None:
    world, scenario, state = room(name)
    other = task(name).build()
    assert isinstance(other, SimWorld)
    for look in (1, 2):
        shots = []
        for one in (world, other):
            dressed(one, scenario, look)
            shots.append(one.picture(state, "scene", *SIZE))
        assert np.array_equal(*shots)
    own = dressed(world, scenario, 0)
    assert not any("finish" in own.texture(i).name for i in range(own.ntex))


@pytest.mark.parametrize("kind", sorted(FIXTURES))
def test_every_surface_of_every_kind_is_finished_and_tops_are_not_as_their_bodies(
    kind: str,
) -> None:
    place = {"pos": [1.0, 0.0], "yaw": 0.0, "rgba": [0.8, 0.8, 0.8, 1.0]}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        params: dict[str, Any] = {
            "fixtures": {"it": {**draw_fixture(rng, kind), **place}},
            "things": {},
        }
        finished = furnish(rng, params, "")["fixtures"]["it"]
        used = set(fixture("it", finished).split('material="it.')[1:])
        surfaces = {word.split('"')[0] for word in used}
        assert surfaces <= finished["finish"].keys() and surfaces >= {"body"}
        assert " rgba=" not in fixture("it", finished)
        if "top" in finished["finish"]:
            top, body = (np.array(finished["finish"][s]["rgb"]) for s in ("top", "body"))
            assert np.linalg.norm(top - body) > 0.25


def test_things_are_tinted_a_little_and_what_words_give_a_colour_keeps_it() -> None:
    rng = np.random.default_rng(0)
    things = {
        "mug": draw_thing(rng, "mug_white"),
        "red_block": draw_thing(rng, "block_wood"),
        "can": draw_thing(rng, "can_soup"),
    }
    params: dict[str, Any] = {"fixtures": {}, "things": things}
    tinted = furnish(rng, params, "put the can on the table")["things"]
    assert [tinted[n] == things[n] for n in things] == [True, True, False]
    change = np.subtract(tinted["can"]["rgba"], things["can"]["rgba"])
    assert 0 < np.abs(change).max() < 0.061 and change[3] == 0
    assert tinted["can"].keys() == things["can"].keys()
    for words in ("Put the green can on the table", "the can, not the orange"):
        assert furnish(rng, params, words)["things"] == things
