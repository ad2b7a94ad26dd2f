"""Laws of the expert of pages: it does the work, it alone does, and the same way every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fabrika import Random, Task, Zero, judge, rollout
from fabrika.data import narrate
from fabrika.lines.home.pages import OWN, load_page
from fabrika.sim import CLOID_CLASS, build_fixture, places

DONE = {
    "coffee": "close the machine lid",
    "fetch-keys": "put the keys on the table",
    "open-drawer": "open the top drawer",
    "open-fridge": "open the fridge door",
    "press-microwave": "press the microwave button",
    "push-box": "push the box to the middle of the table",
    "wipe-table": "wipe the table with the cloth",
    "turn-off-stove": "turn the left knob of the stove off",
}
"""Short pages, and what their expert says while it does them."""


def of(name: str) -> Task:
    return load_page(OWN / f"{name}.yaml")


@pytest.mark.parametrize("name", DONE)
def test_the_expert_does_what_the_page_asks_and_says_so(name: str) -> None:
    task = of(name)
    scenario = task.scenario("validate", 0)
    episode = rollout(task.expert(), task.build(), scenario, task.horizon)
    verdict = judge(episode, task.checks)
    assert verdict.passed, verdict.reason
    said = [words for _, words in narrate(task, episode).subtasks]
    assert said[0] == "get ready" and DONE[name] in said


def test_a_cup_that_is_pushed_away_from_the_closing_hand_is_taken_all_the_same() -> None:
    task = of("cup-to-table")
    scenario = task.scenario("train", 0)
    cup = scenario.params["things"]["cup"]
    push = {"thing": "cup", "time": 10.0, "seconds": 0.2, "height": 0.01}
    force = [-3.0 * 9.81 * cup["mass"] * max(cup["friction"], 0.3), 0.0, 0.0]
    pushed = replace(scenario, params={**scenario.params, "pushes": [{**push, "force": force}]})
    episode = rollout(task.expert(), task.build(), pushed, task.horizon)
    at, tick = episode.observations["truth/cup"][:, :2], round(10.0 / episode.dt)
    assert np.linalg.norm(at[tick + 20] - at[tick]) > 0.03, "the push moved nothing"
    taken = next(time for time, words in narrate(task, episode).subtasks if "put" in words)
    assert taken > 10.5, "the cup was held already when it was pushed"
    assert judge(episode, task.checks).passed


def test_idle_and_random_do_not_open_a_drawer() -> None:
    task = of("open-drawer")
    world, scenario = task.build(), task.scenario("validate", 0)
    for actor in (Zero(world.acts), Random(world.acts)):
        verdict = judge(rollout(actor, world, scenario, 6.0), task.checks)
        assert not verdict.passed


def test_what_was_done_before_changes_nothing() -> None:
    task = of("cup-to-table")
    first, other = task.scenario("train", 0), task.scenario("train", 1)
    world, expert = task.build(), task.expert()
    fresh = rollout(task.expert(), task.build(), first, 12.0)
    rollout(expert, world, other, 12.0)
    again = rollout(expert, world, first, 12.0)
    assert all(np.array_equal(fresh.actions[n], again.actions[n]) for n in fresh.actions)
    assert np.array_equal(fresh.states, again.states)


@pytest.mark.parametrize(
    "name", ["cup-to-table", "open-fridge", "mug-in-microwave", "push-box", "turn-off-stove"]
)
def test_a_policy_is_told_where_things_are_to_go_and_what_to_open(name: str) -> None:
    task = of(name)
    scenario, world = task.scenario("train", 3), task.build()
    world.reset(scenario)
    fixtures = scenario.params["fixtures"]
    spots = places(fixtures)
    handles = {f"{p.joint}.handle" for n, f in fixtures.items() for p in build_fixture(n, f).parts}
    told = {read.partition("/")[2] for read in task.policy_reads if read.startswith("tracker/")}
    marks = {mark for mark in told if "." in mark}
    assert marks and marks <= spots.keys() | handles
    truth = world.observe([f"truth/{mark}" for mark in marks])
    for mark in marks & spots.keys():
        assert truth[f"truth/{mark}"][:3] == pytest.approx(spots[mark].middle, abs=1e-6)


def test_what_stands_deep_is_taken_with_the_arm_stretched() -> None:
    task = of("mug-in-microwave")
    scenario = task.scenario("train", 1)
    counter, mug = scenario.params["fixtures"]["counter"], scenario.params["things"]["mug"]
    assert mug["pos"][0] - counter["pos"][0] > 0.33  # [m] behind its edge
    episode = rollout(task.expert(), task.build(), scenario, 36.0)
    assert episode.observations["truth/mug"][:, 2].max() > mug["pos"][2] + 0.03


def test_an_arm_that_opened_a_door_beside_a_counter_comes_back_to_its_rest() -> None:
    task = of("milk-to-fridge")
    episode = rollout(task.expert(), task.build(), task.scenario("train", 0), 30.0)
    opened = episode.observations["truth/fridge_door"][:, 0] > 1.4
    rest = np.array(CLOID_CLASS.hands["right"].rest)
    away = np.abs(episode.actions["right_arm"] - rest).max(axis=1)
    assert opened.any() and away[opened[1:]].min() < 0.01


def test_held_out_things_are_never_trained_on() -> None:
    task = of("cup-to-table")
    drawn = {
        split: {task.scenario(split, i).params["things"]["cup"]["instance"] for i in range(25)}
        for split in ("train", "validate")
    }
    assert drawn["validate"] == {"cup_measuring"} and "cup_measuring" not in drawn["train"]
