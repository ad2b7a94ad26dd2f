"""Laws of goals: what was put somewhere is there, and nowhere else; they read the record alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import mujoco
import numpy as np
import pytest

from fabrika import Episode, Scenario, Scripted, UnknownNameError, rollout
from fabrika._episode import dump_episode, load_episode
from fabrika._signals import Signals
from fabrika.lines.home._goals import PREDICATES, _part
from fabrika.lines.home._variation import robot_variation
from fabrika.sim import (
    CATALOGUE,
    CLOID_CLASS,
    SimWorld,
    arrange,
    draw_fixture,
    draw_thing,
    places,
    put_on,
    scene,
)
from fabrika.sim._pose import yaw_rotation
from fabrika.sim._scene import footprint, height_of, outlined
from fabrika.sim._scenery import Scenery
from fabrika.sim._things import thing as body

WALLS: Any = {"back": ["fridge", "sink", "counter"], "left": ["drawers"], "right": ["microwave"]}
WHERE = {
    "can": ("can_soup", "counter.top"),
    "milk": ("carton_milk", "fridge.middle"),
    "bowl": ("bowl_soup", "counter.top"),
    "sponge": ("sponge", "sink.basin"),
    "book": ("book_novel", "drawers.on"),
}
JOINTS = ("drawers_top", "fridge_door", "microwave_button")


def still() -> Any:
    """Holds the home posture; reads what goals read."""

    def tell(first: Signals, rng: np.random.Generator) -> Iterator[Signals]:
        while True:
            yield {name: value.copy() for name, value in CLOID_CLASS.home.items()}

    return Scripted("still", ("truth/base",), tell)


def scenery_of(params: Any) -> Scenery:
    kinds = {
        kind: {n: p["kind"] for n, p in params[kind].items()} for kind in ("fixtures", "things")
    }
    return Scenery(kinds["fixtures"], kinds["things"])


@cache
def recorded(seed: int, upper: str = "") -> Episode:
    """A second in a room where nobody does anything; ``upper``: a cube that lies on the book."""
    rng = np.random.default_rng(seed)
    paint = {"rgba": [0.8, 0.8, 0.8, 1.0]}
    drawn = {name: draw_fixture(rng, name) | paint for wall in WALLS.values() for name in wall}
    fixtures = arrange(rng, drawn, WALLS)
    things: dict[str, Any] = {}
    for name, (instance, place) in WHERE.items():
        there = [(*t["pos"][:2], 0.15) for t in things.values()]
        put = put_on(rng, places(fixtures)[place], draw_thing(rng, instance), there)
        assert put, (name, place)
        things[name] = put
    cube = draw_thing(rng, "block_wood")
    x, y, z = things["book" if upper else "can"]["pos"]
    beside = (x, y, z + height_of(things["book"]) + 0.001) if upper else (x + 0.1, y, z)
    things["cube"] = cube | {"pos": list(beside), "yaw": 0.4}
    params = {"fixtures": fixtures, "things": things, "pushes": [], **robot_variation(rng)}
    scenario = Scenario(
        task="home/x-v1", split="train", index=seed, instruction="-", params=params, draw=""
    )
    world = SimWorld(
        CLOID_CLASS,
        scene,
        tracked=(),
        free=tuple(sorted(things)),
        seconds=2,
        joints=JOINTS,
        told=scenery_of(params).told(),
        sleep=True,
    )
    return rollout(still(), world, scenario, 1.2)


def holds(episode: Episode, name: str, *words: object) -> bool:
    found = PREDICATES[name](*words)(episode)
    assert found.shape == (len(episode.times),) and found.dtype == bool
    return bool(found[-5:].all())


@pytest.mark.parametrize("seed", range(4))
def test_a_thing_is_where_it_was_put_and_nowhere_else(seed: int) -> None:
    episode = recorded(seed)
    spots = ("counter.top", "fridge.middle", "fridge.lower", "sink.basin", "drawers.on")
    for thing, (_, place) in WHERE.items():
        assert [spot for spot in spots if holds(episode, "on", thing, spot)] == [place]
        assert holds(episode, "inside", thing, "fridge.inside") == (thing == "milk")
        assert holds(episode, "inside", thing, "sink.inside") == (thing == "sponge")
        assert holds(episode, "at_rest", thing) and holds(episode, "let_go", thing)
        assert holds(episode, "upright", thing) and not holds(episode, "lying", thing)
        assert not holds(episode, "held", thing)


def test_the_record_tells_the_scene() -> None:
    episode = recorded(0)
    params = episode.scenario.params
    last = {name: values[-1] for name, values in episode.observations.items()}
    for name, there in params["fixtures"].items():
        found = scenery_of(params).fixture(last, name)
        assert found == {key: there[key] for key in found}


def test_what_is_closed_is_not_open() -> None:
    episode = recorded(0)
    for joint in JOINTS[:2]:
        assert holds(episode, "closed", joint) and not holds(episode, "open", joint)
    assert not holds(episode, "pressed", "microwave_button")


def test_a_tower_is_one() -> None:
    for upper in ("", "book"):
        episode = recorded(1, upper)
        assert holds(episode, "stacked", "cube", "book") == bool(upper)
        assert not holds(episode, "stacked", "book", "cube")
    assert holds(recorded(1), "near", "cube", "can", 0.15)
    assert not holds(recorded(1), "near", "cube", "milk", 0.15)


def laid(
    over: tuple[float, float, float], yaw: float = 0.0, lean: float = 0.0, below: str = "can"
) -> Episode:
    """The book on a thing, its middle (x, y, z) [m] off the middle of that thing's top."""
    episode = recorded(0)
    lower = episode.observations[f"truth/{below}"]
    book = episode.observations["truth/book"].copy()
    high = height_of(episode.scenario.params["things"][below])
    book[:, :3] = lower[:, :3] + np.array([0.0, 0.0, high]) + np.array(over)
    c, s = np.cos(yaw / 2), np.sin(yaw / 2)
    # First turned about its own x, then about the vertical.
    a, b = np.cos(lean / 2), np.sin(lean / 2)
    book[:, 3:7] = [c * a, c * b, s * b, s * a]
    return edited(episode, truth__book=book)


def test_what_covers_hides_as_much_as_its_own_outline_does() -> None:
    """A round thing under a straight edge: how far that may come in is said by geometry."""
    params = recorded(0).scenario.params["things"]
    radius, half = params["can"]["radius"], params["book"]["depth"] / 2
    shares = np.linspace(0.0, 1.0, 401)  # how far an edge comes in, of the radius
    cut = (np.arccos(1 - shares) - (1 - shares) * np.sqrt(1 - (1 - shares) ** 2)) / np.pi
    far = half - radius + radius * float(shares[np.searchsorted(cut, 0.1)])
    for yaw in (0.0, 0.7, 2.0):
        aside = np.array([np.cos(yaw), np.sin(yaw)])
        for share, there in ((0.0, True), (0.93, True), (1.07, False)):
            over = (*(share * far * aside), 0.0)
            assert holds(laid(over, yaw), "covers", "book", "can") == there
        assert not holds(laid((0.0, 0.0, 0.0), yaw), "covers", "can", "book")
    # The long side of a book that is turned is no longer there.
    along = (0.0, 0.85 * far + params["book"]["width"] / 2 - half, 0.0)
    assert holds(laid(along), "covers", "book", "can")
    assert not holds(laid(along, np.pi / 2), "covers", "book", "can")


def test_what_hovers_leans_or_lies_below_covers_nothing() -> None:
    for high, there in ((0.0, True), (0.012, True), (0.02, False), (-0.02, False), (-0.11, False)):
        assert holds(laid((0.0, 0.0, high)), "covers", "book", "can") == there
    for lean, there in ((0.1, True), (0.2, False), (np.pi / 2, False)):
        assert holds(laid((0.0, 0.0, 0.0), lean=lean), "covers", "book", "can") == there
    assert not holds(recorded(0), "covers", "book", "can")
    # Half of a bowl may be hidden; which share is asked for is said.
    bowl = laid((0.05, 0.0, 0.0), below="bowl")
    assert not holds(bowl, "covers", "book", "bowl") and holds(bowl, "covers", "book", "bowl", 0.5)


@pytest.mark.parametrize("instance", sorted(CATALOGUE))
def test_an_outline_is_what_geoms_hide_from_above(instance: str) -> None:
    """Of a mesh of points, all but those along its edge are said to be hidden, or not, rightly."""
    params = draw_thing(np.random.default_rng(0), instance)
    if params["kind"] == "keys":
        return  # their ring stands upright: they have no outline to lay anything on
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody>"
        + body("it", params | {"pos": (0.0, 0.0, 0.0), "yaw": 0.0})
        + "</worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    half = max(footprint(params)) + 0.02
    grid = np.linspace(-half, half, 81)
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    down, found = np.array([0.0, 0.0, -1.0]), np.zeros(1, np.int32)
    hit = np.array(
        [
            mujoco.mj_ray(model, data, np.array([*at, 1.0]), down, None, 1, -1, found)
            for at in points
        ]
    )
    differs = (hit >= 0.0) != outlined(params, points)
    assert differs.mean() < 0.03


def test_goals_are_worked_out_again_from_the_file() -> None:
    episode = recorded(2)
    again = load_episode(dump_episode(episode))
    for words in (("on", "can", "counter.top"), ("closed", "fridge_door"), ("held", "can")):
        condition = PREDICATES[words[0]](*words[1:])
        assert (condition(episode) == condition(again)).all()


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("on", ("can", "counter.tpo"), "counter.top"),
        ("on", ("can", "counte.top"), "counter"),
        ("inside", ("can", "fridge.indide"), "fridge.inside"),
        ("closed", ("fridge_dor",), "fridge_door"),
    ],
)
def test_an_unknown_name_is_told_with_its_neighbours(
    name: str, words: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UnknownNameError, match=told.replace(".", r"\.")):
        PREDICATES[name](*words)(recorded(0))


def edited(episode: Episode, **values: np.ndarray) -> Episode:
    """The same record, with other truth: names with "__" for "/"."""
    truth = {name.replace("__", "/"): value for name, value in values.items()}
    assert truth.keys() <= episode.observations.keys()
    return replace(episode, observations={**episode.observations, **truth})


def test_parts_are_judged_by_where_they_are() -> None:
    episode = recorded(0)
    for joint in JOINTS[:2]:
        for share, shut, wide in ((0.0, True, False), (0.4, False, False), (1.0, False, True)):
            moved = np.zeros_like(episode.observations[f"truth/{joint}"])
            moved[:, 0] = share * _part(episode, joint).open
            now = edited(episode, **{f"truth__{joint}": moved})
            assert holds(now, "closed", joint) == shut and holds(now, "open", joint) == wide


def test_a_button_has_to_go_in_and_come_back() -> None:
    episode = recorded(0)
    way = np.zeros_like(episode.observations["truth/microwave_button"])
    way[5:8, 0] = 0.003
    pressed = PREDICATES["pressed"]("microwave_button")
    found = pressed(edited(episode, truth__microwave_button=way))
    assert not found[:8].any() and found[8:].all()
    way[8:, 0] = 0.003
    assert not pressed(edited(episode, truth__microwave_button=way)).any()


def test_what_a_robot_bears_is_held_and_not_let_go() -> None:
    episode = recorded(0)
    support = np.zeros_like(episode.observations["truth/support"])
    support[:, sorted(episode.scenario.params["things"]).index("can"), 1] = 4.0
    now = edited(episode, truth__support=support)
    assert holds(now, "held", "can") and not holds(now, "let_go", "can")
    assert not holds(now, "held", "milk") and holds(now, "let_go", "milk")


def test_a_thing_in_a_drawer_goes_with_it() -> None:
    """Moved as far as the drawer, it is still in it; left behind, it is not."""
    episode = recorded(0)
    fixture, part = episode.scenario.params["fixtures"]["drawers"], _part(episode, "drawers_top")
    turn = yaw_rotation(fixture["yaw"])
    out = np.zeros_like(episode.observations["truth/drawers_top"])
    out[:, 0] = part.open
    for drawn, can, there in ((0.0, 0.0, True), (1.0, 1.0, True), (1.0, 0.0, False)):
        at = part.pose(can * part.open)[0] + [-0.25, 0.0, 0.008]
        pose = episode.observations["truth/can"].copy()
        pose[:, :3] = turn @ at + [*fixture["pos"], 0.0]
        now = edited(episode, truth__can=pose, truth__drawers_top=drawn * out)
        assert holds(now, "on", "can", "drawers.top") == there
        assert holds(now, "inside", "can", "drawers.top") == there
