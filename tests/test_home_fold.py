"""Laws of folding: a half that is turned past upright stays over; one that is not falls back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np
import pytest

from fabrika import judge, rollout
from fabrika.lines.home import fold_mat
from fabrika.lines.home.fold_mat import FOLDED, TASK, _folded, _let_go, _mat, _stays


def record(angle: float, moved: tuple[float, float, float], force: float) -> Any:
    """A mat at rest, then there."""
    mat = np.zeros((2, 13))
    mat[1, :3] = moved
    return SimpleNamespace(
        observations={
            "truth/mat": mat,
            "truth/mat_fold": np.array([[0.0, 0.0], [angle, 0.0]]),
            "truth/contact": np.array([[0.0] * 4, [force, 0.0, 0.0, 0.0]]),
        }
    )


@pytest.mark.parametrize(("angle", "lies"), [(np.pi, True), (np.pi - 0.2, False), (1.6, False)])
def test_folded_is_one_half_flat_on_the_other(angle: float, lies: bool) -> None:
    assert _folded(record(angle, (0, 0, 0), 0.0)).tolist() == [False, lies]
    assert FOLDED < 0.2


def test_a_mat_that_slid_away_or_is_held_is_not_folded_in_place() -> None:
    assert _stays(record(3.1, (0.03, 0.03, 0.0), 0.0)).all()
    assert not _stays(record(3.1, (0.05, 0.05, 0.0), 0.0))[1]
    assert not _stays(record(3.1, (0.0, 0.0, 0.05), 0.0))[1]
    assert _let_go(record(3.1, (0, 0, 0), 0.0)).all()
    assert not _let_go(record(3.1, (0, 0, 0), 2.0))[1]


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize(("start", "stays_over"), [(1.9, True), (1.2, False)])
def test_gravity_decides_on_which_side_a_half_falls(
    index: int, start: float, stays_over: bool
) -> None:
    params = TASK.scenario("train", index).params["things"]["mat"]
    floor = '<geom type="plane" size="2 2 1"/>'
    mat = _mat({**params, "pos": [0.0, 0.0, 0.001]})
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><compiler angle="radian"/><worldbody>{floor}{mat}</worldbody></mujoco>'
    )
    data = mujoco.MjData(model)
    data.joint("mat_fold").qpos = start
    for _ in range(round(2.0 / model.opt.timestep)):
        mujoco.mj_step(model, data)
    angle = float(data.joint("mat_fold").qpos[0])
    assert (angle > np.pi - FOLDED) == stays_over
    assert stays_over or angle < 0.1
    assert abs(float(data.joint("mat_fold").qvel[0])) < 0.05


def test_one_hand_folds_the_mat_and_leaves_it() -> None:
    scenarios = (TASK.scenario("validate", index) for index in range(20))
    scenario = next(s for s in scenarios if s.params["pushes"])
    expert = TASK.expert()
    episode = rollout(expert, TASK.build(), scenario, TASK.horizon)
    verdict = judge(episode, TASK.checks)
    assert verdict.passed, verdict.reason
    angle = episode.observations["truth/mat_fold"][:, 0]
    force = episode.observations["truth/contact"][:, 0]
    lifted = (angle > 0.3) & (angle < 1.5)
    assert lifted.any() and force[lifted].max() > 0.5, "a hand turns it over, and nothing else"
    assert force[-10:].max() == 0.0
    assert episode.times[-1] < fold_mat.HORIZON
