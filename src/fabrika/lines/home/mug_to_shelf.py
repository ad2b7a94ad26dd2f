"""home/mug-to-shelf-v1: one hand takes the mug by friction and stands it on the shelf."""

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
from fabrika.lines.home.mug_expert import READS, tell
from fabrika.sim import CLOID_CLASS, SimWorld
from fabrika.sim._kitchen import COUNTER_TOP, SHELF_DEPTH, WALL

HORIZON = 15.0  # [s]
BODY = (
    "hand/right",
    "joint/base",
    "joint/lift",
    "joint/right_arm",
    "joint/right_hand",
    "touch/right",
)
"""What the robot feels of itself, for policies: only the right arm has work to do."""


def sample(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one scenario's params."""
    mass = between(rng, 0.22, 0.40)
    mug = {
        "kind": "mug",
        "radius": between(rng, 0.036, 0.043),
        "height": between(rng, 0.088, 0.105),
        "mass": mass,
        "friction": between(rng, 0.4, 0.9),
        "rgba": colour(rng),
        "pos": [between(rng, 0.39, 0.50), between(rng, -0.32, -0.12), COUNTER_TOP + 0.001],
        "yaw": between(rng, 0.70, 2.09),
    }
    shelf = {
        "pos": [WALL - SHELF_DEPTH / 2, between(rng, -0.26, -0.06), between(rng, 1.08, 1.18)],
        "width": between(rng, 0.5, 0.7),
    }
    aside = ((0.44, 0.33), (0.62, 0.60))[int(rng.integers(2))]
    return {
        "things": {"mug": mug, **clutter(rng, (aside,))},
        "shelf": shelf,
        "table": table(rng),
        "pushes": [] if rng.random() < 0.5 else [push(rng, "mug", mug, (0.2, 1.5), most=0.03)],
        **robot_variation(rng),
    }


def build() -> World:
    """The kitchen corner, with the mug and the shelf tracked."""
    return SimWorld(
        CLOID_CLASS,
        stage,
        tracked=("mug", "shelf"),
        free=("mug", "clutter_0"),
        seconds=HORIZON,
    )


def expert() -> Actor:
    """Looks at truth, grasps from the side, regrasps once, gives up cleanly."""
    return Narrator("home/mug-expert-v1", READS, tell)


def _placed(episode: Episode) -> NDArray[np.bool_]:
    """The mug's bottom is on the shelf: 2 cm inside its rectangle, within 1 cm of its top."""
    offset = position(episode, "mug") - position(episode, "shelf")
    width = float(episode.scenario.params["shelf"]["width"])
    inside = (np.abs(offset[:, 0]) < SHELF_DEPTH / 2 - 0.02) & (
        np.abs(offset[:, 1]) < width / 2 - 0.02
    )
    return np.asarray(inside & (np.abs(offset[:, 2]) < 0.01))


TASK = Task(
    name="home/mug-to-shelf-v1",
    description="""Stand the mug on the wall shelf.

    Description: The robot stands before a kitchen counter with a mug and clutter on it. With its
    right hand it takes the mug and stands it on the wall shelf; the expert grasps from the side.
    Nothing holds the mug but contact and friction.

    Randomisation: the mug's place (11 x 20 cm), yaw (handle from 50 degrees right to
    30 degrees left of pointing left), size, mass, friction and colour; the shelf's place,
    height (1.08 to 1.18 m) and width; one thing of six kinds as clutter; the robot's start
    (3 cm, 4 cm, 3 degrees); grip friction 0.6 to 1.2; servo gains, sway and delay; noise, bias,
    latency and dropouts of sensors; lights, colours, textures, camera jitter; in half of the
    scenarios a push on the mug.

    Success: for the last 0.9 s the mug stands on the shelf, upright within 0.15 rad, released by
    the hand, at rest.

    Safety: joint ranges, speeds, torques; no self-collision above 1 N; the robot presses on
    what is fixed with at most 140 N, on things with at most 300 N; penetration at most 6 mm;
    nothing falls faster than 0.8 m/s. Contacts are read every 20 ms.
    """,
    instructions=(
        "put the mug on the shelf",
        "place the mug on the wall shelf",
        "take the mug from the counter and stand it on the shelf",
        "pick up the mug and set it on the shelf",
        "move the mug from the counter to the shelf",
        "the mug belongs on the shelf, please put it there",
        "grab the cup and put it up on the shelf",
    ),
    held_out_instructions=(
        "please stand the mug on the shelf",
        "lift the mug off the counter and put it onto the shelf",
        "could you put the cup on the wall shelf",
    ),
    horizon=HORIZON,
    policy_reads=(*BODY, "tracker/mug", "tracker/shelf"),
    camera_reads=(*BODY, "camera/head", "camera/right_wrist"),
    sample=sample,
    build=build,
    expert=expert,
    checks=(
        *(
            Check(name=name, kind="goal", measure=held_to_end(holds), unit="s", at_least=HOLD)
            for name, holds in (
                ("placed", _placed),
                ("upright", upright("mug")),
                ("released", released(0)),
                ("at-rest", at_rest("mug")),
            )
        ),
        *safety("mug", "clutter_0"),
        *quality(),
    ),
)
