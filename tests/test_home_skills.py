"""Whole episodes of skills that other tests look at in parts: what each brought about, measured."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fabrika import Episode, Task, judge, rollout
from fabrika.lines.home._checks import tilt
from fabrika.lines.home._chores import task_of
from fabrika.lines.home._floor import FREE, WAY, Strip, strip
from fabrika.lines.home._goals import PREDICATES
from fabrika.lines.home._page import read_page
from fabrika.lines.home.pages import OWN, load_page
from fabrika.sim import build_fixture, places
from fabrika.sim._scene import height_of

BORNE = 0.5
"""A robot that bears a thing does so with more [N]."""


def done(task: Task, index: int) -> Episode:
    """An episode of the expert, accepted."""
    scenario = task.scenario("validate", index)
    episode = rollout(task.expert(), task.build(), scenario, task.horizon)
    verdict = judge(episode, task.checks)
    assert verdict.passed, verdict.reason
    return episode


def of(name: str) -> Task:
    return load_page(OWN / f"{name}.yaml")


def body(episode: Episode, name: str) -> np.ndarray:
    """(T + 1, 3) where the bottom of a thing is [m]."""
    return np.asarray(episode.observations[f"truth/{name}"][:, :3])


def by_hand(episode: Episode, name: str) -> np.ndarray:
    """(T + 1,) force of the robot on a thing [N]."""
    index = sorted(episode.scenario.params["things"]).index(name)
    return np.asarray(episode.observations["truth/support"][:, index, 1])


def carried(episode: Episode, name: str) -> bool:
    """Whether a hand bore a thing that was off its place, and does so no more."""
    force, high = by_hand(episode, name), body(episode, name)[:, 2]
    lifted = force[high > high[0] + 0.03].max(initial=0.0)
    return bool(lifted > BORNE and force[-1] < 0.05)


def door(episode: Episode, joint: str) -> np.ndarray:
    return np.asarray(episode.observations[f"truth/{joint}"][:, 0])


def test_nuts_are_poured_out_of_a_tipped_cup_that_stands_again() -> None:
    episode = done(of("pour-nuts"), 0)
    in_bowl = PREDICATES["poured"]("nuts", "bowl")(episode)
    leans = tilt(episode, "cup")
    assert not in_bowl[0] and in_bowl[-1]
    first = int(np.flatnonzero(in_bowl)[0])
    assert carried(episode, "cup") and by_hand(episode, "cup")[first] > BORNE
    assert leans[: first + 1].max() > 1.2 and leans[-1] < 0.15


def test_a_jar_is_stacked_on_a_can() -> None:
    episode = done(of("jar-on-can"), 0)
    can, jar = (body(episode, name) for name in ("can", "jar"))
    high = height_of(episode.scenario.params["things"]["can"])
    assert carried(episode, "jar") and not carried(episode, "can")
    assert np.hypot(*(jar - can)[0, :2]) > 0.06
    assert np.hypot(*(jar - can)[-1, :2]) < 0.02 and abs((jar - can)[-1, 2] - high) < 0.005


def test_a_towel_covers_a_jar() -> None:
    episode = done(of("cover-jar"), 0)
    towel, jar = body(episode, "towel"), body(episode, "jar")
    high = height_of(episode.scenario.params["things"]["jar"])
    hides = PREDICATES["covers"]("towel", "jar")(episode)
    assert carried(episode, "towel") and not hides[0] and hides[-1]
    assert abs((towel - jar)[-1, 2] - high) < 0.015 and tilt(episode, "jar").max() < 0.15


def test_a_bundle_is_laid_into_a_drum_through_its_door_which_is_shut_again() -> None:
    text = (OWN / "load-washer.yaml").read_text()
    page = read_page(text.replace("count: 2", "count: 1"), "page.yaml")
    episode = done(task_of(page), 0)
    opening = door(episode, "washer_door")
    within = PREDICATES["inside"]("bundle_1", "washer.inside")(episode)
    part = build_fixture("washer", episode.scenario.params["fixtures"]["washer"]).parts[0]
    assert carried(episode, "bundle_1") and not within[0] and within[-1]
    entered = int(np.flatnonzero(within)[0])
    assert opening[0] < 0.03 and opening[entered] > 0.75 * part.open and opening[-1] < 0.03


def test_a_door_swings_open_and_shut_around_what_is_put_behind_it() -> None:
    task = of("milk-to-fridge")
    episode = done(task, 0)
    opening = door(episode, "fridge_door")
    part = build_fixture("fridge", episode.scenario.params["fixtures"]["fridge"]).parts[0]
    within = PREDICATES["inside"]("milk", "fridge.inside")(episode)
    entered = int(np.flatnonzero(within)[0])
    assert opening[0] < 0.03 and opening[entered] > 0.75 * part.open and opening[-1] < 0.03
    assert carried(episode, "milk") and within[entered:].all()


def test_a_door_beside_drawers_swings_open_and_stays_so() -> None:
    episode = done(of("open-fridge"), 1)
    opening = door(episode, "fridge_door")
    part = build_fixture("fridge", episode.scenario.params["fixtures"]["fridge"]).parts[0]
    assert opening[0] < 0.03 and opening[-25:].min() > 0.75 * part.open
    assert np.ptp(body(episode, "can"), axis=0).max() < 0.01


def test_a_way_on_the_floor_is_cleared() -> None:
    task = of("clear-floor")
    episode = done(task, 0)
    params = episode.scenario.params
    way = strip(("fridge", "drawers"), params["fixtures"])
    table = places(params["fixtures"])["table.top"].middle[2]
    figures = [name for name, thing in params["things"].items() if not thing.get("absent")]
    assert figures
    for name in figures:
        at = body(episode, name)
        along, aside = way.seen(*at[0, :2])
        assert 0.0 <= along <= 1.0 and abs(aside) <= WAY and at[0, 2] < 0.01
        assert carried(episode, name) and abs(at[-1, 2] - table) < 0.015
        along, aside = way.seen(*at[-1, :2])
        assert abs(aside) > WAY or not 0.0 <= along <= 1.0


@pytest.mark.parametrize("where", [FREE, Strip((0.5, -0.6), (0.1, 0.7), 0.2)])
def test_a_point_of_a_strip_is_seen_where_it_is(where: Strip) -> None:
    ends = [where.at(along, 0.0) for along in (0.0, 1.0)]
    np.testing.assert_allclose(ends, [where.first, where.last], atol=1e-12)
    for along, aside in ((0.0, 0.1), (0.3, -0.2), (1.0, 0.0)):
        assert where.seen(*where.at(along, aside)) == pytest.approx((along, aside))
    # What is to the left of the way has the way turning left towards it.
    (x, y), (u, v), (a, b) = where.first, where.last, where.at(0.5, 0.1)
    assert (u - x) * (b - y) - (v - y) * (a - x) > 0


def test_things_on_a_way_lie_along_it_in_every_split_and_apart_from_each_other() -> None:
    task = of("clear-floor")
    for split in ("train", "validate"):
        for index in range(20):
            params = task.scenario(split, index).params
            way = strip(("fridge", "drawers"), params["fixtures"])
            there = [t["pos"] for t in params["things"].values() if not t.get("absent")]
            for x, y, _ in there:
                along, aside = way.seen(x, y)
                assert -1e-4 < along < 1 + 1e-4 and abs(aside) < WAY + 1e-4
            for (x, y, _), (u, v, _) in pairwise(there):
                assert np.hypot(x - u, y - v) > 0.25
