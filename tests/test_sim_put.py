"""Laws of setting down and of turning: what leans, which way round, and how far a base counts."""

from __future__ import annotations

from itertools import pairwise
from math import atan2, pi
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabrika.lines.home import _housekeeper
from fabrika.lines.home._page import Goal
from fabrika.lines.home._trips import companions
from fabrika.sim import CLOID_CLASS, build_fixture, draw_fixture, draw_thing
from fabrika.sim._drum import barred
from fabrika.sim._model import Frame
from fabrika.sim._pose import towards, turn_by, yaw_rotation
from fabrika.sim._put import LEAN, Placer, _WayDown
from fabrika.sim._reach import BEFORE, CLOSE, UP, Stand
from fabrika.sim._surface import Surface

angles = st.floats(-pi, pi)


@given(angles, st.floats(0.0, 3.0), angles, st.floats(0.0, 3.0))
def test_a_direction_is_turned_into_another(a: float, b: float, c: float, d: float) -> None:
    one, other = (yaw_rotation(x) @ turn_by(np.array([y, 0, 0])) @ UP for x, y in ((a, b), (c, d)))
    np.testing.assert_allclose(turn_by(towards(one, other)) @ one, other, atol=1e-6)


@given(angles, angles, st.floats(0.0, 0.5), st.sampled_from(["mug_white", "bottle_water"]))
def test_what_leans_is_set_down_level_or_leaning_less_than_it_may(
    yaw: float, way: float, tilt: float, instance: str
) -> None:
    params = draw_thing(np.random.default_rng(0), instance)
    axis = yaw_rotation(way)[:, 0]
    there = Frame(np.zeros(3), turn_by(tilt * axis) @ yaw_rotation(yaw))
    placer = SimpleNamespace(
        robot=CLOID_CLASS,
        grips={"left": SimpleNamespace(off=None, level=True)},
        model=SimpleNamespace(thing=lambda name: there, things={"it": params}),
    )
    level, leaning = Placer._set(cast(Placer, placer), "it", "left")
    np.testing.assert_allclose(level[:, 2], UP, atol=1e-9)
    most = LEAN * atan2(2 * params["radius"], params["height"])
    lean = float(np.arccos(np.clip(leaning[2, 2], -1, 1)))
    assert lean == pytest.approx(min(tilt, most), abs=1e-6)
    # It leans the way that it leans in the hand.
    np.testing.assert_allclose(leaning[:, 2], turn_by(lean * axis) @ UP, atol=1e-6)


@pytest.mark.parametrize(
    ("slid", "force", "kept"),
    [(0.0, 5.0, True), (0.03, 5.0, True), (0.05, 5.0, False), (0.0, 0.1, False)],
)
def test_what_slips_far_or_is_not_touched_is_no_longer_held(
    slid: float, force: float, kept: bool
) -> None:
    at = [np.zeros(3)]
    placer = SimpleNamespace(
        _in_palm=lambda side, name: Frame(at[0], np.eye(3)),
        model=SimpleNamespace(support=lambda name: (0.0, force)),
    )
    held = Placer._keeps(cast(Placer, placer), "it", "left")
    at[0] = np.array([0.0, slid, 0.0])
    assert held() == kept


def test_what_failed_is_tried_after_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_housekeeper, "_holds", lambda goal, worker: False)
    monkeypatch.setattr(_housekeeper, "_there", lambda worker, name: True)
    model = SimpleNamespace(
        things={"mug": {}, "jar": {}},
        parts={},
        fixtures={"table": {"kind": "table"}},
        under=lambda name: "",
        guards=lambda p: [],
    )
    page: Any = SimpleNamespace(
        goals=(Goal("on", ("mug", "table.top")), Goal("on", ("jar", "table.top")))
    )
    robot = SimpleNamespace(hands={"left": None, "right": None}, drives=False)
    worker: Any = SimpleNamespace(model=model, holds={}, robot=robot, takes_both=lambda name: False)

    def first(failures: dict[str, int]) -> str:
        return next(_housekeeper._steps(page, worker, set(), failures)).words

    assert first({}) == "take the mug"
    assert first({"take the mug": 1}) == "take the jar"
    assert first({"take the mug": 1, "put the jar on the table": 2}) == "take the mug"


@pytest.mark.parametrize("high", [0.02, 0.10, 0.24])
def test_a_high_fall_is_tried_however_many_low_ones_there_are(high: float) -> None:
    frame = Frame(np.zeros(3), np.eye(3))
    surface = Surface(frame, (0.2, 0.2), "drawer", 0.0, 0.2, walls=True)
    ways = [
        _WayDown(drop, frame, frame, np.array([0.01 * k, 0.0, 0.0]), drop, {}, (drop, 0))
        for drop in surface.drops
        for k in range(400)
    ]

    def brings(name: str, side: str, surface: Surface, way: _WayDown) -> Stand | None:
        return Stand(way.base, (), {}) if way.drop >= high else None

    rehearsal = SimpleNamespace(pose=lambda joints: None, clear=lambda margin: True)
    placer: Any = SimpleNamespace(
        _look_holding=lambda *_: SimpleNamespace(rehearsal=rehearsal),
        _ways_down=lambda *_: ways,
        _arms=dict,
        _at=lambda base, joints: joints,
        _brings=brings,
        _comes_away=lambda *_: True,
        robot=CLOID_CLASS,
        route=lambda base: [],
    )
    found = Placer._find_place(placer, "can", "left", surface)
    assert found is not None and found[1] == high


@pytest.mark.parametrize("hinge", ["left", "right"])
def test_the_hand_whose_body_is_off_the_open_door_brings_into_a_drum(hinge: str) -> None:
    """Hinged at its own left, the door is to the right of who faces it, and a right hand's body
    to the left."""
    built = build_fixture(
        "washer", {**draw_fixture(np.random.default_rng(0), "washer"), "hinge": hinge}
    )
    parts = {part.joint: part for part in built.parts}
    model: Any = SimpleNamespace(parts=parts, owner=lambda joint: "washer")
    frame = Frame(np.zeros(3), np.eye(3))
    drum = Surface(frame, (0.16, 0.04), "washer", pi, 0.2, hollow=True)
    assert barred(model, drum) == hinge
    assert barred(model, Surface(frame, (0.2, 0.2), "washer", pi, 0.2)) == ""
    assert barred(model, None) == ""


@pytest.mark.parametrize("hollow", [False, True])
def test_nothing_is_fetched_on_the_way_to_a_drum(hollow: bool) -> None:
    """What would wait in the other hand would be in the way there."""
    at = {"one": np.array([3.0, 0.0, 0.8]), "two": np.array([3.2, 0.0, 0.8])}
    body = Frame(np.zeros(3), np.eye(3))
    model = SimpleNamespace(
        things=at,
        thing=lambda name: SimpleNamespace(at=at[name]),
        stand=lambda: at["one"],
        body=lambda name: body,
    )
    worker: Any = SimpleNamespace(
        model=model,
        holds={"right": "one"},
        robot=SimpleNamespace(drives=True),
        waits_well=lambda side: True,
        takes_both=lambda name: False,
        where=lambda how, place: SimpleNamespace(hollow=hollow),
    )
    goals = [Goal("inside", (name, "washer.inside")) for name in at]
    assert list(companions(worker, goals[0], iter(goals[1:]))) == ([] if hollow else goals[1:])


@pytest.mark.parametrize(("below", "way"), [(0.05, "round"), (0.0, "to"), (-0.2, "to")])
def test_what_has_to_come_higher_is_brought_round_the_edge(below: float, way: str) -> None:
    """Straight, its foot would pass the edge that it goes over too closely."""
    turn, gone = np.eye(3), list[str]()
    target = Frame(np.array([0.3, 0.1, 1.0]), turn)
    here = Frame(np.array([0.0, 0.0, 1.06 - below]), turn)

    def going(how: str) -> Any:
        gone.append(how)
        return ""
        yield

    placer: Any = SimpleNamespace(
        look=lambda: None,
        goto=lambda *args, **options: going("to"),
        go_round=lambda *args, **options: going("round"),
        _palm=lambda side: here,
        _in_palm=lambda side, name: Frame(np.zeros(3), turn),
        _straight=lambda side, goals, near, spare: True,
        robot=CLOID_CLASS,
        _keeps=lambda name, side: lambda: True,
    )
    stand = Stand(np.zeros(3), ({}, {}), {})
    list(Placer._over(placer, "it", "left", target, stand, 0.06))
    assert gone == [way]


@pytest.mark.parametrize("spare", [0.003, 0.010])
def test_a_straight_way_is_rehearsed_as_it_is_gone(spare: float) -> None:
    """A palm turns evenly on its way, and keeps off until it is near its goal."""
    posed: list[Frame] = []
    asked: list[float] = []
    rehearsal = SimpleNamespace(
        pose=lambda found: None, clear=lambda margin, near: asked.append(margin) or True
    )
    model = SimpleNamespace(base=lambda: Frame(np.zeros(3), np.eye(3)), rehearsal=rehearsal)

    def solve(side: str, palm: Frame, base: Frame, joints: Any) -> dict[str, Any]:
        posed.append(palm)
        return {"left_arm": np.zeros(7)}

    reacher = SimpleNamespace(
        look=lambda: model,
        model=model,
        limbs=SimpleNamespace(joints={"left_arm": np.zeros(7)}),
        robot=CLOID_CLASS,
        _palm=lambda side: Frame(np.zeros(3), np.eye(3)),
        _solve=solve,
    )
    goal = Frame(np.array([0.3, 0.0, 0.0]), yaw_rotation(1.2))
    assert Placer._straight(cast(Placer, reacher), "left", [goal], {}, spare)
    for palm in posed:
        assert palm.yaw == pytest.approx(1.2 * palm.at[0] / 0.3, abs=1e-6)
    far = [0.3 - palm.at[0] for palm in posed]
    assert asked == [spare if left > BEFORE else CLOSE for left in far]
    assert max(b - a for a, b in pairwise([0.0, *(palm.at[0] for palm in posed)])) <= 0.041
