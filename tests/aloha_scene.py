"""ALOHA before a table-top with one thing: a story that picks it up and puts it down again."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from math import cos, pi, sin
from typing import Any

import numpy as np

from fabrika import Scenario, Scripted
from fabrika.sim import Kinematics, Limbs, SimWorld, Stage, aloha, body_in_base, thing
from fabrika.sim._aloha import HEIGHT, POCKET
from fabrika.sim._pose import quaternion_rotation

SECONDS = 20.0
OPEN, CLOSED = 0.066, 0.0
READY = np.array([0.0, -0.5, 0.7, 0.0, 1.37, 0.0])
"""The gripper points straight down, 0.27 m beside the middle of the table and 0.15 m above it."""
LIFT = 0.10
THINGS = {
    "block": {"kind": "box", "depth": 0.04, "width": 0.04, "height": 0.04},
    "can": {"kind": "can", "radius": 0.026, "height": 0.10},
}


def scenario(side: str, kind: str, index: int) -> Scenario:
    """A thing on the side of one arm: place, yaw, mass, friction, servos and delay are random."""
    rng = np.random.default_rng([index, side == "left", kind == "can"])
    sign = 1.0 if side == "left" else -1.0
    x, y = rng.uniform(-0.20, 0.20), sign * rng.uniform(0.02, 0.26)
    item = THINGS[kind] | {
        "pos": [x, y, HEIGHT + 0.001],
        "yaw": rng.uniform(-pi, pi),
        "mass": rng.uniform(0.05, 0.35),
        "friction": rng.uniform(0.4, 0.9),
        "rgba": [0.8, 0.3, 0.2, 1.0],
    }
    params = {
        "start": [0.0, 0.0, 0.0],
        "grip": rng.uniform(0.6, 1.2),
        "gain": rng.uniform(0.92, 1.08, 14).tolist(),
        "delay": int(rng.integers(0, 2)),
        "sway": rng.uniform(0.001, 0.003),
        "noise": {
            "joint": 0.0005, "touch": 0.05, "position": 0.001, "bias": 0.001, "rotation": 0.003,
            "latency": 1, "dropout": 0.0,
        },
        "pushes": [],
        "view": {},
        "things": {"thing": item},
    }  # fmt: skip
    return Scenario(task="test/aloha", split="train", index=index, params=params)


def stage(params: Mapping[str, Any], looks: bool) -> Stage:
    """A floor, a table-top, the thing."""
    bits = 'contype="32" conaffinity="31"'
    return Stage(
        assets="",
        bodies=f'<body name="floor"><geom type="plane" size="3 3 1" {bits}/></body>'
        f'<body name="table" pos="0 0 {HEIGHT}"><geom type="box" size="0.38 0.36 0.01" '
        f'pos="0 0 -0.01" rgba=".8 .7 .6 1" {bits}/></body>'
        + thing("thing", params["things"]["thing"], looks),
    )


def world() -> SimWorld:
    return SimWorld(aloha(), stage, tracked=("thing",), free=("thing",), seconds=SECONDS)


def down(side: str, yaw: float) -> np.ndarray:
    """Rotation of a palm that points down, its closing axis turned by ``yaw`` from the x axis."""
    across = np.array([cos(yaw), sin(yaw), 0.0]) * (1.0 if side == "left" else -1.0)
    distal = np.array([0.0, 0.0, -1.0])
    return np.stack([distal, across, np.cross(distal, across)], axis=1)


def grip_yaw(kind: str, side: str, place: np.ndarray, turn: np.ndarray) -> float:
    """Yaw of the closing axis: what is easy for the arm; of a block, across two of its faces."""
    sign = 1.0 if side == "left" else -1.0
    x, y = sign * place[0], 0.469 - sign * place[1]  # from the arm's base, ahead of it
    easy = float(np.arctan2(x, y))
    if kind == "can":
        return easy
    own = float(np.arctan2(turn[1, 0], turn[0, 0]))
    return easy + (own - easy + pi / 4) % (pi / 2) - pi / 4


def pick_and_place(side: str, kind: str) -> Scripted:
    """Moves above the thing, opens, descends, closes, lifts, holds, puts it down, lets go."""
    robot = aloha()
    kinematics = Kinematics(robot)

    def story(first: Any, rng: Any) -> Generator[Any, Any, None]:
        limbs = Limbs(robot, kinematics, SimWorld.dt)
        limbs.start(first)
        place, turn = body_in_base(first, "thing")
        middle = THINGS[kind]["height"] * (0.5 if kind == "block" else 0.6)  # type: ignore[operator]
        rotation = down(side, grip_yaw(kind, side, place, turn))
        grip = place + [0.0, 0.0, middle + 0.003] - rotation @ np.array(POCKET)
        above = grip + [0.0, 0.0, LIFT]
        yield from limbs.shape((side,), np.array([OPEN]), seconds=0.6)
        ready = kinematics.palm({f"{side}_arm": READY}, side)
        yield from limbs.move({side: ready})
        yield from limbs.move({side: (above, rotation)})
        yield from limbs.move({side: (grip, rotation)}, speed=0.12)
        yield from limbs.wait(0.3)
        yield from limbs.shape((side,), np.array([CLOSED]), seconds=0.8)
        yield from limbs.wait(0.4)
        yield from limbs.move({side: (above, rotation)}, speed=0.15)
        # A world ends after a second's rest: so it holds still for less, and carries it about.
        for aside in (0.04, -0.04, 0.0):
            yield from limbs.move({side: (above + [aside, 0.0, 0.0], rotation)}, speed=0.08)
            yield from limbs.wait(0.6)
        yield from limbs.move({side: (grip, rotation)}, speed=0.10)
        yield from limbs.wait(0.3)
        yield from limbs.shape((side,), np.array([OPEN]), seconds=0.8)
        yield from limbs.move({side: (above, rotation)}, speed=0.15)
        yield from limbs.wait(0.5)

    return Scripted("pick and place", {"truth/base", "truth/thing"}, story)


def in_palm(seen: Mapping[str, np.ndarray], side: str) -> np.ndarray:
    """(T + 1, 3) place of the thing in the palm's frame [m]."""
    base, palm, body = seen["truth/base"], seen[f"truth/palm_{side}"], seen["truth/thing"]
    x, y = palm[:, 3:6], palm[:, 6:9]
    turn = np.stack([x, y, np.cross(x, y)], axis=2)
    local = np.einsum("tji,tj->ti", base[:, :3, :3], body[:, :3] - base[:, :3, 3]) - palm[:, :3]
    return np.asarray(np.einsum("tji,tj->ti", turn, local))


def upright(seen: Mapping[str, np.ndarray]) -> float:
    """How far the thing is tilted at the end [rad]."""
    return float(np.arccos(np.clip(quaternion_rotation(seen["truth/thing"][-1, 3:7])[2, 2], -1, 1)))
