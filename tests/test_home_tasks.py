"""The household tasks: experts pass, idle and random actors fail, grasps do not creep."""

from __future__ import annotations

import numpy as np
import pytest

from fabrika import Episode, Random, Task, Zero, judge, rollout
from fabrika.lines.home.carry_tray import TASK as TRAY
from fabrika.lines.home.mug_to_shelf import TASK as MUG

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


@TASKS
def test_each_goal_check_can_fail(task: Task) -> None:
    """At the start nothing is done yet: every episode cut to its first second fails a goal."""
    from dataclasses import replace

    episode = expert_episodes(task)[0]
    cut = 25
    early = replace(
        episode,
        times=episode.times[: cut + 1],
        observations={n: v[: cut + 1] for n, v in episode.observations.items()},
        actions={n: v[:cut] for n, v in episode.actions.items()},
        executed={n: v[:cut] for n, v in episode.executed.items()},
        states=episode.states[: cut + 1],
    )
    assert "goal/placed" in judge(early, task.checks).reason


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
