"""Laws of what fits together: what is made to fit fits, what does not, does not."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import product
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np
import pytest

from fabrika import Split, UsageError, judge, rollout
from fabrika.lines.home._goals import PREDICATES
from fabrika.lines.home._page import read_page
from fabrika.lines.home.pages import OWN, load_page
from fabrika.sim import CLOID_CLASS, Kinematics, categories, draw_thing, thing
from fabrika.sim._model import Frame
from fabrika.sim._pose import rotation_of, turn_by, yaw_rotation
from fabrika.sim._skills import _FAST, _RAMP, Limbs

RNG = np.random.default_rng
needs_files = pytest.mark.skipif(
    find_spec("gym_aloha") is None, reason="gym-aloha is not installed (the extra aloha)"
)


def holds(goal: str, frames: dict[str, Frame], things: dict[str, Any]) -> bool:
    """Whether a predicate of two things holds where they are said to be."""
    seen = {}
    for name, frame in frames.items():
        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(frame.turn).ravel())
        seen[f"truth/{name}"] = np.array([[*frame.at, *quaternion, *np.zeros(6)]])
    scenario = SimpleNamespace(params={"things": things, "fixtures": {}})
    record: Any = SimpleNamespace(observations=seen, scenario=scenario, times=np.zeros(1))
    return bool(PREDICATES[goal](*frames)(record)[0])


def somewhere(rng: np.random.Generator) -> Frame:
    return Frame(rng.uniform(-1, 1, 3), turn_by(rng.uniform(-1, 1, 3)))


@pytest.mark.parametrize("seed", range(6))
def test_a_peg_is_inserted_where_it_is_deep_in_the_hole_and_straight(seed: int) -> None:
    rng = RNG(seed)
    pegs, sockets = categories()["peg"], categories()["socket"]
    things = {
        "peg": draw_thing(rng, pegs[seed % len(pegs)]),
        "socket": draw_thing(rng, sockets[seed % len(sockets)]),
    }
    there, peg, socket = somewhere(rng), things["peg"], things["socket"]
    bottom = socket["height"] - min(peg["length"], socket["sunk"])
    quarter = yaw_rotation(seed * np.pi / 2)
    for at, turn, true in (
        ((0.0, 0.0, bottom), np.eye(3), True),
        ((0.001, -0.001, bottom + 0.004), turn_by(np.array([0.04, 0.0, 0.0])), True),
        ((0.0, 0.0, socket["height"]), np.eye(3), False),  # on it
        ((0.0, 0.0, 0.5 * (bottom + socket["height"])), np.eye(3), False),  # half in
        ((0.0, 0.0, bottom), turn_by(np.array([0.0, 0.2, 0.0])), False),  # askew
        ((0.07, 0.0, 0.0), np.eye(3), False),  # beside it
    ):
        frame = there * Frame(np.array(at), turn @ quarter)
        assert holds("inserted", {"peg": frame, "socket": there}, things) == true, at


@pytest.mark.parametrize("seed", range(6))
def test_a_needle_is_threaded_where_its_rod_goes_through_the_window(seed: int) -> None:
    rng = RNG(seed)
    needles, eyes = categories()["needle"], categories()["eye"]
    things = {
        "needle": draw_thing(rng, needles[seed % len(needles)]),
        "eye": draw_thing(rng, eyes[seed % len(eyes)]),
    }
    there, needle, eye = somewhere(rng), things["needle"], things["eye"]
    for side in (0.0, np.pi):  # from either side
        turn = yaw_rotation(side)

        def pushed(tip: float, up: float = 0.0, aside: float = 0.0, turn: Any = turn) -> Frame:
            off = [tip - needle["length"] / 2, aside, eye["level"] - needle["height"] / 2 + up]
            return there * Frame(turn @ np.array([*off[:2], 0.0]) + [0, 0, off[2]], turn)

        for frame, true in (
            (pushed(0.025), True),
            (pushed(0.025, up=0.004, aside=-0.004), True),
            (pushed(0.008), False),  # not far enough
            (pushed(-0.02), False),  # before it
            (pushed(needle["length"]), False),  # behind it
            (pushed(0.025, up=0.02), False),  # over the window
            (pushed(0.025, aside=0.02), False),
        ):
            assert holds("threaded", {"needle": frame, "eye": there}, things) == true


def dropped(peg: str, socket: str, aside: float, yaw: float) -> tuple[Frame, Frame, dict[str, Any]]:
    """A peg let fall from just above a hole, after a second."""
    things = {"peg": draw_thing(RNG(0), peg), "socket": draw_thing(RNG(1), socket)}
    above = things["socket"]["height"] + 0.001
    text = thing("socket", things["socket"] | {"pos": [0, 0, 0], "yaw": 0.0})
    text += thing("peg", things["peg"] | {"pos": [aside, 0, above], "yaw": yaw})
    floor = '<geom type="plane" size="1 1 1"/>'
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><compiler angle="radian"/>'
        '<option timestep="0.004" integrator="implicitfast" cone="elliptic"/>'
        '<default><geom solref="0.008 1" solimp="0.95 0.99 0.001"/><default class="look"/>'
        f"</default><worldbody>{floor}{text}</worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 250)
    bodies = (data.body(name) for name in ("peg", "socket"))
    found = [Frame(body.xpos.copy(), rotation_of(body.xquat)) for body in bodies]
    return found[0], found[1], things


@pytest.mark.parametrize(
    ("peg", "socket"), list(product(categories()["peg"], categories()["socket"]))
)
def test_every_peg_falls_into_every_socket_if_aimed_well_and_only_then(
    peg: str, socket: str
) -> None:
    for aside, yaw, true in ((0.0, np.pi / 2, True), (0.0006, 0.0, True), (0.004, 0.0, False)):
        one, other, things = dropped(peg, socket, aside, yaw)
        assert holds("inserted", {"peg": one, "socket": other}, things) == true
    one, other, things = dropped(peg, socket, 0.0, np.pi / 4)
    assert not holds("inserted", {"peg": one, "socket": other}, things)


def test_pages_join_only_what_can_be_joined() -> None:
    text = (OWN / "piece-assembly.yaml").read_text()
    with pytest.raises(UsageError, match="takes a thing of the shape peg; 'socket' is of socket"):
        read_page(text.replace("(peg, socket)", "(socket, peg)"), "page")
    with pytest.raises(UsageError, match="'base' cannot be a thing's name"):
        read_page(text.replace("  socket:", "  base:"), "page")


@needs_files
@pytest.mark.parametrize(
    ("name", "split", "index"),
    [
        ("piece-assembly", "validate", 0),
        ("threading", "validate", 0),
        # Half a turn away: no straight way, and the wrist comes to its end on the short one.
        ("piece-assembly", "train", 4),
        ("threading", "train", 20),
    ],
)
def test_the_expert_fits_them_together(name: str, split: Split, index: int) -> None:
    task = load_page(OWN / f"{name}.yaml")
    scenario = task.scenario(split, index)
    expert = task.expert()
    episode = rollout(expert, task.build(), scenario, task.horizon)
    verdict = judge(episode, task.checks)
    assert verdict.passed, verdict.reason
    assert not getattr(expert, "events", None)


@pytest.mark.parametrize("seed", range(4))
def test_no_joint_races_or_jerks_however_a_palm_is_led(seed: int) -> None:
    """Goals far out of reach and turned over lead through singular postures."""
    rng, robot = RNG(seed), CLOID_CLASS
    limbs = Limbs(robot, Kinematics(robot), 0.04)
    limbs.start({name: home.copy() for name, home in robot.home.items()})
    groups = ("left_arm", *robot.torso)
    before, speeds = {n: limbs.joints[n].copy() for n in groups}, []
    at, turn = limbs.palm("left")
    goal = at + rng.uniform(-0.6, 0.6, 3), turn_by(rng.uniform(-2.0, 2.0, 3)) @ turn
    for _ in range(120):
        limbs.pursue({"left": goal}, speed=2.0, turn=8.0)
        steps = [
            (limbs.joints[n] - before[n]) / (0.04 * np.array(robot.groups[n].velocity))
            for n in groups
        ]
        speeds.append(np.concatenate(steps))
        before = {n: limbs.joints[n].copy() for n in groups}
    assert np.abs(speeds).max() <= _FAST + 1e-9
    starts = np.abs(np.diff(np.abs(speeds).max(axis=1), prepend=0.0))
    assert starts[:5].max() <= _RAMP * 0.04 + 1e-9


def test_corners_are_taken_slowly() -> None:
    robot = CLOID_CLASS
    limbs = Limbs(robot, Kinematics(robot), 0.04)
    limbs.start({name: home.copy() for name, home in robot.home.items()})
    first = limbs.joints["left_arm"].copy()
    out, top = first.copy(), 0.04 * np.array(robot.groups["left_arm"].velocity)
    out[0] += 0.5 if first[0] < 0 else -0.5
    skill, seen = limbs.follow([{"left_arm": out}, {"left_arm": first}]), []
    for action in skill:
        seen.append(action["left_arm"] / top)
    speeds = np.diff(seen, axis=0)
    assert np.abs(np.diff(speeds, axis=0)).max() < 2.2 * _RAMP * 0.04
    assert np.abs(speeds).max() > 0.3
