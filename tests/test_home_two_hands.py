"""Laws of pouring and handing over: what counts as done, read from the record alone."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fabrika import UnknownNameError, judge, rollout
from fabrika.lines.home._goals import PREDICATES
from fabrika.lines.home.pages import OWN, load_page
from fabrika.sim import draw_thing
from fabrika.sim._pour import TILTS, Tip
from fabrika.sim._scene import fill

UP = np.array([0.0, 0.0, 1.0])


def record(places: dict[str, tuple[str, list[tuple[float, float, float]]]], **seen: Any) -> Any:
    """Things that go from place to place, upright."""
    rng = np.random.default_rng(0)
    things = {name: draw_thing(rng, instance) for name, (instance, _) in places.items()}
    bodies = {
        f"truth/{name}": np.array([[*at, 1.0, *np.zeros(9)] for at in way])
        for name, (_, way) in places.items()
    }
    count = len(next(iter(bodies.values())))
    return SimpleNamespace(
        observations={**bodies, **seen},
        scenario=SimpleNamespace(params={"things": things, "fixtures": {}}),
        times=np.arange(count) * 0.04,
    )


@pytest.mark.parametrize(("inside", "enough"), [(10, True), (9, True), (8, False), (0, False)])
def test_poured_is_a_share_of_all_the_grains(inside: int, enough: bool) -> None:
    bowl = {"bowl": ("bowl_cereal", [(0.0, 0.0, 0.9)])}
    nuts = {
        f"nuts_{n}": ("macadamia", [(0.0 if n < inside else 0.3, 0.0, 0.92)]) for n in range(10)
    }
    episode = record(bowl | nuts)
    assert PREDICATES["poured"]("nuts", "bowl")(episode).tolist() == [enough]
    with pytest.raises(UnknownNameError, match="nut"):
        PREDICATES["poured"]("rice", "bowl")(episode)


def given(borne_by_table: bool, right: bool = True) -> Any:
    """A carton that the right hand holds, then both, then the left one; the table in between?"""
    near, far = [0.03, 0.0, 0.05], [0.3, 0.0, 0.05]
    turns = np.tile([1.0, 0, 0, 0, 1, 0], (3, 1))
    support = np.array([[[0.0, 3.0]], [[float(borne_by_table), 3.0]], [[0.0, 3.0]]])
    hands = {"right": [near if right else far, near, far], "left": [far, near, near]}
    return record(
        {"carton": ("carton_cream", [(0.0, 0.0, 0.0)] * 3)},
        **{
            "truth/base": np.tile(np.eye(4), (3, 1, 1)),
            "truth/support": support,
            **{f"truth/palm_{s}": np.hstack([p, turns]) for s, p in hands.items()},
        },
    )


def test_handed_is_from_hand_to_hand_and_over_no_table() -> None:
    assert PREDICATES["handed"]("carton", "left")(given(False)).tolist() == [False, False, True]
    assert not PREDICATES["handed"]("carton", "left")(given(True)).any()
    assert not PREDICATES["handed"]("carton", "left")(given(False, right=False)).any()
    assert not PREDICATES["handed"]("carton", "right")(given(False)).any()
    assert PREDICATES["held"]("carton", "right")(given(False)).tolist() == [True, False, False]


@pytest.mark.skipif(find_spec("gym_aloha") is None, reason="gym-aloha is not installed")
def test_the_hand_that_takes_a_thing_from_another_does_not_wrench_it() -> None:
    task = load_page(OWN / "transport.yaml")
    expert = task.expert()
    episode = rollout(expert, task.build(), task.scenario("train", 4), task.horizon)
    verdict = judge(episode, task.checks)
    assert verdict.passed, verdict.reason
    assert not getattr(expert, "events", None)
    both = (episode.observations["joint/left_hand"][:, 0] < 0.06) & (
        episode.observations["truth/support"][:, 0, 1] > 60.0
    )
    torque = episode.observations["truth/torque"][both, :2]
    assert len(torque) and torque.max() < 0.9  # stiff, they used all of it


def test_what_is_tipped_stays_over_the_rim_and_ends_upside_down_enough() -> None:
    towards = np.array([0.6, 0.8, 0.0])
    tip = Tip(np.array([0.1, 0.2, 1.0]), towards, np.eye(3), 0.04, 0.1)
    for tilt in TILTS:
        frame = tip.frame(tilt)
        for along in (-0.04, 0.04):
            for z in (0.0, 0.1):
                assert frame.point(*(along * towards + z * UP))[2] > 1.0 - 1e-9
    assert tip.frame(TILTS[-1]).turn[2, 2] < 0


def test_grains_fit_into_what_they_start_in() -> None:
    rng = np.random.default_rng(1)
    for cup in ("cup_plastic", "cup_paper", "cup_measuring"):
        vessel = draw_thing(rng, cup) | {"pos": [0.0, 0.0, 0.0]}
        grain = draw_thing(rng, "macadamia")
        places = np.array(fill(vessel, grain, 8))
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(8)
        assert apart.min() >= 2 * grain["radius"]
        assert np.hypot(*places[:, :2].T).max() + grain["radius"] < vessel["radius"] - 0.003
        assert fill(vessel, grain, 500) is None


def test_the_page_of_pouring_starts_with_the_nuts_in_the_cup() -> None:
    task = load_page(OWN / "pour-nuts.yaml")
    names = {check.name for check in task.checks}
    assert {"poured(nuts,bowl)", "upright(bowl)", "upright(cup)", "let_go(cup)"} <= names
    assert "drop-cup" in names and not any(name.startswith("drop-nuts") for name in names)
