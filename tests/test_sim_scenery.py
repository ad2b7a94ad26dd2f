"""Law of what experts are told: it is all that the shape of a scene depends on."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fabrika.sim import CATALOGUE, FIXTURES, build_fixture, draw_fixture, draw_thing, footprint
from fabrika.sim._scene import height_of
from fabrika.sim._scenery import Scenery


@given(st.integers(0, 10_000))
def test_a_scene_is_rebuilt_from_what_is_told_of_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    place = {"pos": rng.uniform(-2, 2, 2).tolist(), "yaw": float(rng.uniform(-3, 3))}
    fixtures = {name: draw_fixture(rng, name) | place for name in FIXTURES}
    things = {name: draw_thing(rng, name) for name in CATALOGUE}
    kinds = {name: params["kind"] for name, params in fixtures.items()}
    shapes = {name: params["kind"] for name, params in things.items()}
    scenery = Scenery(kinds, shapes)
    params = {"fixtures": fixtures, "things": things}
    seen = {}
    for name, (signal, tell) in scenery.told().items():
        seen[f"truth/{name}"] = tell(params)
        assert seen[f"truth/{name}"].shape == signal.shape and signal.truth
    assert seen.keys() < set(scenery.reads)
    for name, there in fixtures.items():
        found = scenery.fixture(seen, name)
        assert build_fixture(name, found) == build_fixture(name, there)
        assert (found["pos"], found["yaw"]) == (there["pos"], there["yaw"])
    for name, there in things.items():
        found = scenery.thing(seen, name)
        assert (footprint(found), height_of(found)) == (footprint(there), height_of(there))
