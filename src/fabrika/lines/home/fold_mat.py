"""home/fold-mat-v1: one hand folds a mat in half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabrika._actor import Actor
from fabrika._check import Check, held_to_end
from fabrika._episode import Episode
from fabrika._signals import Array, Signal
from fabrika._task import Task
from fabrika._world import World
from fabrika.lines.home._checks import HOLD, at_rest, position, quality, safety, upright
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
from fabrika.lines.home.fold_expert import READS, tell
from fabrika.sim import CLOID_CLASS, SimWorld, Stage
from fabrika.sim._kitchen import COUNTER_TOP, SHELF_DEPTH, WALL

HORIZON = 20.0  # [s]
FOLDED = 0.15
"""How far from flat on the other half a half may stand that is folded [rad]."""
SLID = 0.06
"""How far the mat may slide as it is folded [m]."""
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
BOARD = 0.10
"""Height of the board that the mat lies on, over the counter [m]: fingers come under its edge."""


def sample(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one scenario's params."""
    x, y = between(rng, 0.44, 0.48), between(rng, 0.02, 0.10)
    half, over = between(rng, 0.15, 0.18), between(rng, 0.065, 0.085)
    mat = {
        "kind": "mat",
        "half": half,
        "over": over,
        "width": between(rng, 0.20, 0.26),
        "depth": 2 * half,
        "height": between(rng, 0.014, 0.020),
        "mass": between(rng, 0.25, 0.45),
        "friction": between(rng, 0.6, 0.9),
        "stiff": between(rng, 0.005, 0.02),
        "rgba": colour(rng),
        "pos": [x, y, COUNTER_TOP + BOARD + 0.001],
        "yaw": between(rng, -0.10, 0.10),
    }
    shelf = {
        "pos": [WALL - SHELF_DEPTH / 2, between(rng, -0.2, 0.2), between(rng, 1.38, 1.45)],
        "width": between(rng, 0.5, 0.7),
    }
    return {
        "things": {"mat": mat, **clutter(rng, ((0.66, 0.60),))},
        "shelf": shelf,
        "table": table(rng),
        "pushes": [] if rng.random() < 0.5 else [push(rng, "mat", mat, (0.2, 4.0), most=0.02)],
        **robot_variation(rng),
    }


def _mat(p: Mapping[str, Any]) -> str:
    """Two soft halves, sewn together along an edge; the right one turns about that.

    The origin is the middle of the edge, at the bottom. The seam turns with friction, as thick
    cloth does, and stays as it is put; what is turned over comes to rest on the other half.
    """
    x, y, h, m = p["width"] / 2, p["half"], p["height"], p["mass"] / 2
    skin = (
        f'solref="0.02 1" solimp="0.7 0.95 0.003" friction="{p["friction"]} 0.005 0.0002" '
        f'rgba="{" ".join(map(str, p["rgba"]))}"'
    )
    size = f"{x} {y / 2 - 0.002} {h / 2}"
    at = " ".join(map(str, p["pos"]))
    return (
        f'<body name="mat" pos="{at}" euler="0 0 {p["yaw"]}">'
        '<joint name="mat" type="free" damping="1e-6"/>'
        f'<geom type="box" size="{size}" pos="0 {y / 2} {h / 2}" mass="{m}" {skin}/>'
        f'<body name="mat_half" pos="0 0 {h}">'
        f'<joint name="mat_fold" type="hinge" axis="-1 0 0" range="-0.3 3.1416" '
        f'damping="0.015" frictionloss="{p["stiff"]}"/>'
        f'<geom type="box" size="{size}" pos="0 {-y / 2} {-h / 2}" mass="{m}" {skin}/>'
        "</body></body>"
    )


def scene(params: Mapping[str, Any], looks: bool) -> Stage:
    """The kitchen corner; a board on the counter, and on it the mat, one edge beyond the board."""
    things = dict(params["things"])
    mat = things.pop("mat")
    made = stage({**params, "things": things}, looks)
    x, half = mat["width"] / 2 + 0.01, mat["half"]
    low, high = mat["over"] - half, half + 0.01
    px, py, _ = mat["pos"]
    board = (
        f'<body name="board" pos="{px} {py} {COUNTER_TOP}" euler="0 0 {mat["yaw"]}">'
        f'<geom name="board" type="box" size="{x} {(high - low) / 2} {BOARD / 2}" '
        f'pos="0 {(high + low) / 2} {BOARD / 2}" rgba="0.72 0.58 0.42 1"/></body>'
    )
    return Stage(assets=made.assets, bodies=made.bodies + board + _mat(mat), visual=made.visual)


def build() -> World:
    """The kitchen corner, with the mat and its loose half tracked."""
    return SimWorld(
        CLOID_CLASS,
        scene,
        tracked=("mat", "mat_half"),
        free=("mat", "clutter_0"),
        joints=("mat_fold",),
        told={"mat_sizes": (_SIZES, _sizes)},
        seconds=HORIZON,
    )


def expert() -> Actor:
    """Looks at truth, turns the loose half over, tries again, gives up cleanly."""
    return Narrator("home/fold-expert-v1", READS, tell)


def _sizes(params: Mapping[str, Any]) -> Array:
    """(4,) of the mat: length of a half, what is beyond the board, width, height [m]."""
    mat = params["things"]["mat"]
    return np.array([mat[name] for name in _NAMES], float)


_NAMES = ("half", "over", "width", "height")
_SIZES = Signal(shape=(4,), unit="m", names=_NAMES, truth=True)


def _folded(episode: Episode) -> NDArray[np.bool_]:
    """The loose half lies on the other one, to `FOLDED`."""
    return np.asarray(episode.observations["truth/mat_fold"][:, 0] > np.pi - FOLDED)


def _let_go(episode: Episode) -> NDArray[np.bool_]:
    """No robot presses on anything: the loose half counts as what stands fast, as a door does."""
    force, _, _, squeeze = episode.observations["truth/contact"].T
    return np.asarray((force < 0.05) & (squeeze < 0.05))


def _stays(episode: Episode) -> NDArray[np.bool_]:
    """The mat lies within `SLID` of where it lay, from above, and on its board."""
    moved = position(episode, "mat") - position(episode, "mat")[0]
    level = np.abs(moved[:, 2]) < 0.01
    return np.asarray(level & (np.hypot(moved[:, 0], moved[:, 1]) < SLID))


TASK = Task(
    name="home/fold-mat-v1",
    description="""Fold the mat in half.

    Description: A mat of two soft halves, sewn together along an edge, lies on a board on a
    kitchen counter, one of its edges beyond the board. The robot turns the loose half over. The
    mat bends at its seam only: it is no cloth.

    Randomisation: the mat's place (4 x 8 cm), yaw (6 degrees), size, thickness, mass and friction,
    how stiff its seam is, how far its edge is beyond the board; one thing of six kinds as
    clutter; the robot's start; grip friction 0.6 to 1.2; servo gains, sway and delay; noise, bias,
    latency and dropouts of sensors; lights, colours, textures, camera jitter; in half of the
    scenarios a push on the mat.

    Success: for the last 0.9 s one half lies on the other one within 0.15 rad, the mat lies level
    on the board within 6 cm of where it lay, released, at rest.

    Safety: joint ranges, speeds, torques; no self-collision above 1 N; the robot presses on
    what is fixed with at most 140 N, on things with at most 300 N; penetration at most 6 mm;
    nothing falls faster than 0.8 m/s. Contacts are read every 20 ms.
    """,
    instructions=(
        "fold the mat",
        "fold the mat in half",
        "turn the right half of the mat over onto the left one",
        "take the edge of the mat and fold it over",
        "please fold the mat on the board",
    ),
    held_out_instructions=(
        "could you fold the mat once",
        "lay one half of the mat on the other",
    ),
    horizon=HORIZON,
    policy_reads=(*BODY, "tracker/mat", "tracker/mat_half"),
    camera_reads=(*BODY, "camera/head"),
    sample=sample,
    build=build,
    expert=expert,
    checks=(
        *(
            Check(name=name, kind="goal", measure=held_to_end(holds), unit="s", at_least=HOLD)
            for name, holds in (
                ("folded", _folded),
                ("in-place", _stays),
                ("level", upright("mat", within=0.1)),
                ("released", _let_go),
                ("at-rest", at_rest("mat")),
            )
        ),
        *safety("mat", "clutter_0"),
        *quality(),
    ),
)
