"""home/carry-tray-v1: both hands carry a tray with a can on it to the table."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabrika._actor import Actor
from fabrika._check import Check, held_to_end
from fabrika._episode import Episode
from fabrika._task import Task
from fabrika._world import World
from fabrika.lines.home._checks import (
    HOLD,
    at_rest,
    position,
    quality,
    released,
    safety,
    upright,
)
from fabrika.lines.home._narrator import Narrator
from fabrika.lines.home._variation import (
    between,
    clutter,
    colour,
    push,
    robot_variation,
    stage,
    table,
)
from fabrika.lines.home.tray_expert import READS, tell
from fabrika.sim import CLOID_CLASS, SimWorld
from fabrika.sim._kitchen import COUNTER_TOP, SHELF_DEPTH, TABLE_SIZE, WALL
from fabrika.sim._pose import quaternion_rotation

HORIZON = 19.0  # [s]
BODY = (
    "hand/left",
    "hand/right",
    "joint/base",
    "joint/left_arm",
    "joint/left_hand",
    "joint/lift",
    "joint/right_arm",
    "joint/right_hand",
    "touch/left",
    "touch/right",
)
"""What the robot feels of itself, for policies."""


def sample(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one scenario's params."""
    x, y = between(rng, 0.46, 0.51), between(rng, -0.07, 0.07)
    mass = between(rng, 0.20, 0.40)
    tray = {
        "kind": "tray",
        "width": between(rng, 0.46, 0.50),
        "depth": between(rng, 0.28, 0.32),
        "bar": between(rng, 0.006, 0.008),
        "mass": between(rng, 1.0, 1.5),
        "friction": between(rng, 0.4, 0.9),
        "rgba": colour(rng),
        "pos": [x, y, COUNTER_TOP + 0.001],
        "yaw": between(rng, -0.12, 0.12),
    }
    can = {
        "kind": "can",
        "radius": between(rng, 0.030, 0.036),
        "height": between(rng, 0.10, 0.125),
        "mass": mass,
        "friction": between(rng, 0.5, 0.9),
        "rgba": colour(rng),
        "pos": [x + between(rng, -0.05, 0.05), y + between(rng, -0.04, 0.04), COUNTER_TOP + 0.0125],
        "yaw": between(rng, -3.14, 3.14),
    }
    shelf = {
        "pos": [WALL - SHELF_DEPTH / 2, between(rng, -0.2, 0.2), between(rng, 1.38, 1.45)],
        "width": between(rng, 0.5, 0.7),
    }
    return {
        "things": {"tray": tray, "can": can, **clutter(rng, ((0.62, 0.60),))},
        "shelf": shelf,
        "table": table(rng),
        "pushes": [] if rng.random() < 0.5 else [push(rng, "can", can, (0.2, 6.0), most=0.012)],
        **robot_variation(rng),
    }


def build() -> World:
    """The kitchen corner, with the tray, the can and the table tracked."""
    return SimWorld(
        CLOID_CLASS,
        stage,
        tracked=("tray", "can", "table"),
        free=("tray", "can", "clutter_0"),
        seconds=HORIZON,
    )


def expert() -> Actor:
    """Looks at truth, grasps both bars, regrasps once, gives up cleanly."""
    return Narrator("home/tray-expert-v1", READS, tell)


def _placed(episode: Episode) -> NDArray[np.bool_]:
    """The tray's bottom is on the table: its centre well inside, within 1 cm of the top."""
    offset = position(episode, "tray") - position(episode, "table")
    inside = (np.abs(offset[:, 0]) < TABLE_SIZE[0] / 2 - 0.12) & (
        np.abs(offset[:, 1]) < TABLE_SIZE[1] / 2 - 0.18
    )
    return np.asarray(inside & (np.abs(offset[:, 2]) < 0.01))


def _carried(episode: Episode) -> NDArray[np.bool_]:
    """The can is within the tray's rim, standing on its floor."""
    offset = position(episode, "can") - position(episode, "tray")
    turn = quaternion_rotation(episode.observations["truth/tray"][:, 3:7])
    local = np.einsum("tji,tj->ti", turn, offset)
    width, depth = episode.observations["truth/size"][0, 0]
    inside = (np.abs(local[:, 0]) < depth / 2) & (np.abs(local[:, 1]) < width / 2)
    return np.asarray(inside & (np.abs(local[:, 2] - 0.01) < 0.01))


def _slide(episode: Episode) -> float:
    """How far the can moved on the tray, start to end [m]."""
    offset = position(episode, "can") - position(episode, "tray")
    turn = quaternion_rotation(episode.observations["truth/tray"][:, 3:7])
    local = np.einsum("tji,tj->ti", turn, offset)
    return float(np.linalg.norm(local[-1] - local[0]))


TASK = Task(
    name="home/carry-tray-v1",
    description="""Carry the tray with the can to the table.

    Description: A tray with two raised bars stands on a kitchen counter, a can on it. With both
    hands the robot takes the bars, lifts, drives sideways and puts the tray down on the table.

    Randomisation: the tray's place (5 x 14 cm), yaw (7 degrees), size, bar, mass and friction;
    the can's place on it (10 x 8 cm), size, mass and friction; the table's place and height
    (0.68 to 0.76 m); one thing of six kinds as clutter; the robot's start; grip friction 0.6 to
    1.2; servo gains, sway and delay; noise, bias, latency and dropouts of sensors; lights, colours,
    textures, camera jitter; in half of the scenarios a push on the can.

    Success: for the last 0.9 s the tray is on the table, level within 0.1 rad, released, at
    rest; the can stands upright on the tray.

    Safety: joint ranges, speeds, torques; no self-collision above 1 N; the robot presses on
    what is fixed with at most 140 N, on things with at most 300 N; penetration at most 6 mm;
    nothing falls faster than 0.8 m/s. Contacts are read every 20 ms.
    """,
    instructions=(
        "carry the tray to the table",
        "take the tray with both hands and put it on the table",
        "bring the tray over to the table",
        "lift the tray, carry it to the table and put it down",
        "move the tray from the counter to the table, keep the can upright",
        "the tray with the can belongs on the table",
        "please serve the tray at the table",
    ),
    held_out_instructions=(
        "please carry the tray over to the table",
        "use both hands to bring the tray to the table",
        "put the tray down on the table without spilling the can",
    ),
    horizon=HORIZON,
    policy_reads=(*BODY, "tracker/can", "tracker/table", "tracker/tray"),
    camera_reads=(*BODY, "camera/head"),
    sample=sample,
    build=build,
    expert=expert,
    checks=(
        *(
            Check(name=name, kind="goal", measure=held_to_end(holds), unit="s", at_least=HOLD)
            for name, holds in (
                ("placed", _placed),
                ("level", upright("tray", within=0.1)),
                ("can-upright", upright("can")),
                ("can-on-tray", _carried),
                ("released", released(0, 1)),
                ("at-rest", at_rest("tray")),
                ("can-at-rest", at_rest("can")),
            )
        ),
        *safety("tray", "can", "clutter_0"),
        *quality((("can-slide", _slide, "m"),)),
    ),
)
