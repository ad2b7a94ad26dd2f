"""The household tasks: experts pass, idle and random actors fail, grasps do not creep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fabrika import Episode, Random, Task, Zero, judge, rollout
from fabrika.lines.home.carry_tray import TASK as TRAY
from fabrika.lines.home.mug_to_shelf import TASK as MUG
from fabrika.sim import CLOID_CLASS

TASKS = pytest.mark.parametrize("task", [MUG, TRAY], ids=lambda task: task.name)
_EPISODES: dict[str, list[Episode]] = {}


def expert_episodes(task: Task) -> list[Episode]:
    """Three episodes of the expert, rolled out once for all tests."""
    if task.name not in _EPISODES:
        world = task.build()
        _EPISODES[task.name] = [
            rollout(task.expert(), world, scenario, task.horizon)
            for scenario in task.scenarios("train", 3)
        ]
    return _EPISODES[task.name]


@TASKS
def test_the_expert_passes(task: Task) -> None:
    verdicts = [judge(episode, task.checks) for episode in expert_episodes(task)]
    assert [verdict.reason for verdict in verdicts] == ["passed"] * 3
    assert not any(verdict.safety_violations for verdict in verdicts)


@TASKS
def test_held_things_do_not_creep(task: Task) -> None:
    world = task.build()
    for episode in expert_episodes(task):
        slips = world.slip(episode)  # type: ignore[attr-defined]
        assert slips, "nothing was held"
        assert max(slips.values()) < 0.012


@TASKS
@pytest.mark.parametrize("kind", [Zero, Random])
def test_actors_that_know_nothing_fail(task: Task, kind: type[Zero] | type[Random]) -> None:
    world = task.build()
    for scenario in task.scenarios("train", 2):
        episode = rollout(kind(world.acts), world, scenario, task.horizon)
        assert not judge(episode, task.checks).passed


@pytest.mark.parametrize("index", [25, 116])
def test_what_the_mug_does_not_need_stays_where_it_is_though_the_hand_meets_resistance(
    index: int,
) -> None:
    episode = rollout(MUG.expert(), MUG.build(), MUG.scenario("train", index), MUG.horizon)
    felt = episode.observations["truth/torque"][:, list(CLOID_CLASS.groups).index("right_arm")]
    pressed = episode.observations["truth/contact"][:, 0]
    assert (felt > CLOID_CLASS.effort).any() or (pressed > 80.0).any()
    still = ("base", "head", "left_arm", "left_hand")
    assert [np.ptp(episode.actions[name], axis=0).max() for name in still] == [0.0] * 4


def test_a_push_moves_the_mug_by_centimetres() -> None:
    world, scenarios = MUG.build(), (MUG.scenario("train", i) for i in range(12))
    stay = {name: home.astype(np.float32) for name, home in CLOID_CLASS.home.items()}
    moved = []
    for scenario in scenarios:
        world.reset(scenario)
        if scenario.params["pushes"]:
            first = world.observe(["truth/mug"])["truth/mug"].copy()
            for _ in range(int(2.2 / world.dt)):
                world.step(stay)
            moved.append(np.linalg.norm((world.observe(["truth/mug"])["truth/mug"] - first)[:2]))
    assert len(moved) > 2 and min(moved) > 0.005 and max(moved) < 0.06


Planted = tuple[str, tuple[slice | int, ...], float | list[float]]
"""A truth signal, which of its entries, and what they are set to."""


def spoilt(thing: str, standing: str, resting: str) -> dict[str, Planted]:
    """What makes the checks of one thing fail: tilted, moving, falling."""
    tilted = [float(np.cos(0.2)), float(np.sin(0.2)), 0.0, 0.0]
    return {
        standing: (thing, (slice(3, 7),), tilted),
        resting: (thing, (7,), 0.1),
        f"drop-{thing}": (thing, (9,), -1.0),
    }


SHARED: dict[str, Planted] = {
    "joint": ("overrun", (0,), 0.05),
    "velocity": ("velocity", (0,), 1.3),
    "torque": ("torque", (0,), 1.0),
    "force": ("contact", (0,), 200.0),
    "self-collision": ("contact", (1,), 5.0),
    "penetration": ("contact", (2,), 0.01),
    "squeeze": ("contact", (3,), 400.0),
    "released": ("support", (0, 1), 1.0),
    "drop-clutter_0": ("clutter_0", (9,), -1.0),
}
PLANTED = {
    MUG.name: {**SHARED, **spoilt("mug", "upright", "at-rest"), "placed": ("mug", (2,), 0.9)},
    TRAY.name: {
        **SHARED,
        **spoilt("tray", "level", "at-rest"),
        **spoilt("can", "can-upright", "can-at-rest"),
        "placed": ("tray", (2,), 0.9),
        "can-on-tray": ("can", (0,), 9.0),
    },
}


@TASKS
def test_each_check_can_fail(task: Task) -> None:
    """One wrong entry at the end of a good episode, and the check that is about it fails."""
    episode = expert_episodes(task)[0]
    for check in (check for check in task.checks if check.kind != "quality"):
        signal, entries, value = PLANTED[task.name][check.name]
        spoiled = np.array(episode.observations[f"truth/{signal}"])
        spoiled[(-1, *entries)] = value
        seen = {**episode.observations, f"truth/{signal}": spoiled}
        verdict = judge(replace(episode, observations=seen), task.checks)
        assert not verdict.passed
        assert check.name in {f.check for f in verdict.findings if not f.ok}


@TASKS
def test_the_expert_never_reads_what_it_did_not_declare(task: Task) -> None:
    episode = expert_episodes(task)[0]
    assert episode.privileged and set(episode.reads) == set(task.expert().reads)


@TASKS
def test_lifting_is_done_by_friction(task: Task) -> None:
    """While the thing is up, the hand presses on it with more than its weight."""
    episode = expert_episodes(task)[0]
    name = "mug" if task is MUG else "tray"
    height = episode.observations[f"truth/{name}"][:, 2]
    up = height > height[0] + 0.03
    force = episode.observations["truth/support"][up, 0, 1]
    mass = episode.scenario.params["things"][name]["mass"]
    assert np.median(force) > 0.8 * 9.81 * mass
