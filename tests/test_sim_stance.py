"""Law of stances: each keeps its promise, in the place and the postures that it names."""

from __future__ import annotations

from functools import cache
from itertools import islice

import numpy as np

from fabrika.sim import CLOID_CLASS, Kinematics, draw_fixture, fixture
from fabrika.sim._pose import yaw_rotation
from fabrika.sim._rehearsal import Rehearsal
from fabrika.sim._stance import EXACT, stances

HOME = {name: np.array(group.home) for name, group in CLOID_CLASS.groups.items()}
POSTURE = {name: HOME[name] for name in ("left_arm", "right_arm", "lift")}
FACING = 0.6


@cache
def kinematics() -> Kinematics:
    return Kinematics(CLOID_CLASS)


def test_a_stance_reaches_its_goals_and_touches_nothing() -> None:
    params = draw_fixture(np.random.default_rng(1), "counter")
    turn = yaw_rotation(FACING)
    front = turn @ [1.0, 0.2, 0.0]
    place = {"pos": front[:2].tolist(), "yaw": FACING + np.pi, "rgba": [0.8, 0.8, 0.8, 1.0]}
    rehearsal = Rehearsal(CLOID_CLASS, fixture("counter", params | place))
    over = front + turn @ [0.10, 0.0, params["height"] + 0.16]
    goals = {
        "right": [(over, turn @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))],
        "left": [(over, turn @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]))],
    }
    told = list(islice(stances(CLOID_CLASS, kinematics(), rehearsal, goals, FACING, POSTURE), 6))
    assert [stance.cost for stance in told] == sorted(stance.cost for stance in told)
    assert {stance.side for stance in told} == {"left", "right"}
    for stance in told:
        joints = HOME | stance.postures[-1] | {"base": np.array(stance.base)}
        at, rotation = kinematics().palm(joints, stance.side)
        there = yaw_rotation(stance.base[2])
        world = there @ at + np.array([stance.base[0], stance.base[1], 0.0])
        assert np.linalg.norm(world - over) < EXACT
        assert np.abs(there @ rotation - goals[stance.side][-1][1]).max() < 0.07
        rehearsal.pose(joints)
        assert rehearsal.touches() == []
