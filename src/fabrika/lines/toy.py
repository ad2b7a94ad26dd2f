"""The smallest whole task: a point on a table is steered to a disc. NumPy only, milliseconds.

It exists so that every part of Fabrika can be tried, and tested, without a physics engine.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabrika._actor import Scripted, Story
from fabrika._check import Check, at_end, held_to_end
from fabrika._episode import Episode
from fabrika._errors import BrokenWorldError, UnknownNameError
from fabrika._scenario import Scenario
from fabrika._signals import Array, Signal, Signals
from fabrika._task import Task
from fabrika._world import World

DT = 0.05
"""Control period [s]."""
RADIUS = 0.05
"""Radius of the disc to be reached [m]."""
ARENA = 1.0
"""The slide cannot be commanded farther than this from the centre [m]."""
STIFFNESS, DAMPING, FORCE = 25.0, 11.0, 6.0
"""The servo of the slide: [N/m], [N s/m], limit [N]."""
REACH, FAST = 2.0, 5.0
"""Farther [m] and faster [m/s] than the slide can be: what is beyond has diverged."""
PIXELS = 32
"""Height and width of the picture that an actor may read."""

_AXES = ("x", "y")
_CLIP: dict[str, Any] = {"shape": (2,), "names": _AXES}


class ReachWorld:
    """A mass on a table with drag, moved by a servo of limited force and pushed once.

    State: tick, position xy [m], velocity xy [m/s]. All positions are in the table's frame.
    """

    dt = DT
    observes: Mapping[str, Signal] = {
        "joint/position": Signal(unit="m", low=-REACH, high=REACH, **_CLIP),
        "joint/velocity": Signal(unit="m/s", low=-FAST, high=FAST, **_CLIP),
        "tracker/target": Signal(unit="m", low=-REACH, high=REACH, **_CLIP),
        "camera/head": Signal(shape=(PIXELS, PIXELS, 3), dtype="uint8", unit="1", low=0, high=255),
        "truth/position": Signal(unit="m", truth=True, **_CLIP),
        "truth/velocity": Signal(unit="m/s", truth=True, **_CLIP),
        "truth/target": Signal(unit="m", truth=True, **_CLIP),
    }
    acts: Mapping[str, Signal] = {
        "slide": Signal(unit="m", dtype="float32", low=-ARENA, high=ARENA, **_CLIP)
    }
    cameras: Sequence[str] = ("head", "scene")
    warnings: Sequence[str] = ()

    def __init__(self) -> None:
        self._scenario: Scenario | None = None
        self._dressed: tuple[Scenario, int] | None = None

    @property
    def time(self) -> float:
        """Time since `reset` [s]."""
        return self._tick * DT

    @property
    def executed(self) -> Signals:
        """The last command, drawn back into the arena."""
        return {"slide": self._executed}

    def reset(self, scenario: Scenario) -> None:
        """Start the scenario."""
        self.restore(scenario, np.array([0.0, *_pair(scenario, "start"), 0.0, 0.0]))

    def restore(self, scenario: Scenario, state: Array) -> None:
        """Continue the scenario from a state."""
        params = scenario.params
        self._scenario = scenario
        self._mass, self._drag = _number(params["mass"]), _number(params["drag"])
        self._noise, self._push_at = _number(params["noise"]), _number(params["push_at"])
        self._target, self._push = _pair(scenario, "target"), _pair(scenario, "push")
        self._seed = scenario.seed("sensor")
        self._tick = int(state[0])
        self._position, self._velocity = np.array(state[1:3]), np.array(state[3:5])
        self._executed = np.array(self._position)

    def state(self) -> Array:
        """(5,) tick, position, velocity."""
        return np.array([self._tick, *self._position, *self._velocity])

    def observe(self, names: Collection[str]) -> Signals:
        """The named signals now. The noise depends on scenario and tick alone."""
        # A counter-based generator, so that a restored world hears the same noise.
        rng = np.random.Generator(np.random.Philox(key=self._seed, counter=self._tick))
        noise = self._noise * rng.standard_normal(6)
        now = {
            "joint/position": self._position + noise[:2],
            "joint/velocity": self._velocity + noise[2:4],
            "tracker/target": self._target + noise[4:],
            "truth/position": self._position,
            "truth/velocity": self._velocity,
            "truth/target": self._target,
        }
        if "camera/head" in names and self._scenario is not None:
            picture = _draw(self._scenario, 0, self.state(), "head", PIXELS, PIXELS)
            now["camera/head"] = picture
        return {name: now[name] for name in names}

    def step(self, action: Signals) -> bool:
        """Move for one control period; it never ends by itself."""
        command = np.asarray(action["slide"], np.float64)
        self._executed = command * min(1.0, ARENA / max(float(np.hypot(*command)), 1e-9))
        force = STIFFNESS * (self._executed - self._position) - DAMPING * self._velocity
        force *= min(1.0, FORCE / max(float(np.hypot(*force)), 1e-9))
        if self._tick == round(self._push_at / DT):
            self._velocity = self._velocity + self._push / self._mass
        self._velocity = self._velocity + DT * (force - self._drag * self._velocity) / self._mass
        self._position = self._position + DT * self._velocity
        self._tick += 1
        away, fast = np.abs(self._position).max(), np.abs(self._velocity).max()
        if not (away <= REACH and fast <= FAST):  # so written, NaN is caught as well
            where = f"the point at {self.time:.2f} s is at {self._position} m, {self._velocity} m/s"
            raise BrokenWorldError(f"{where}: it can reach {REACH:g} m and {FAST:g} m/s.")
        return False

    def dress(self, scenario: Scenario, look: int = 0) -> None:
        """Prepare the pictures of one scenario; the world itself goes on undisturbed."""
        self._dressed = (scenario, look)

    def picture(self, state: Array, camera: str, height: int, width: int) -> Array:
        """(height, width, 3) uint8 RGB: "head" rides on the mass, "scene" sees the table."""
        if camera not in self.cameras:
            raise UnknownNameError("camera", camera, self.cameras)
        if self._dressed is None:
            raise BrokenWorldError("call dress(scenario) before picture(...).")
        return _draw(*self._dressed, state, camera, height, width)

    def close(self) -> None:
        """Nothing is held."""


def _number(value: Any) -> float:
    return float(value)


def _pair(scenario: Scenario, name: str) -> Array:
    return np.array(scenario.params[name], np.float64)


def _draw(
    scenario: Scenario, look: int, state: Array, camera: str, height: int, width: int
) -> Array:
    """The table from above: ground, disc and mass, each in a colour drawn for this look."""
    rng = np.random.default_rng([scenario.seed("look"), look])
    ground, disc, mass = rng.integers((20, 120, 120), (100, 255, 255), (3, 3)).T.astype(np.uint8)
    centre, half = (state[1:3], 0.6) if camera == "head" else (np.zeros(2), 1.3)
    x = centre[0] + np.linspace(-half, half, width)[None, :]
    y = centre[1] - np.linspace(-half, half, height)[:, None]
    target = _pair(scenario, "target")
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = ground
    picture[np.hypot(x - target[0], y - target[1]) <= 2 * RADIUS] = disc
    picture[np.hypot(x - state[1], y - state[2]) <= RADIUS] = mass
    return picture


def _sample(rng: np.random.Generator) -> dict[str, Any]:
    def place(low: float, high: float) -> list[float]:
        radius, angle = rng.uniform(low, high), rng.uniform(-np.pi, np.pi)
        return [float(radius * np.cos(angle)), float(radius * np.sin(angle))]

    return {
        "start": place(0.0, 0.15),
        "target": place(0.4, 1.08),
        "mass": float(rng.uniform(0.7, 1.4)),
        "drag": float(rng.uniform(0.1, 0.6)),
        "noise": float(rng.uniform(0.001, 0.006)),
        "push": place(0.0, 0.4),
        "push_at": float(rng.uniform(0.2, 2.0)),
    }


def _reach(seen: Signals, rng: np.random.Generator) -> Story:
    """Go towards the disc at a walking pace, looking all the time."""
    if float(np.hypot(*seen["truth/target"])) > ARENA + RADIUS:
        yield {"slide": seen["truth/position"]}
        return "out-of-reach"
    while True:
        gap = seen["truth/target"] - seen["truth/position"]
        stride = min(1.0, 0.25 / max(float(np.hypot(*gap)), 1e-9))
        seen = yield {"slide": seen["truth/position"] + stride * gap}


def _expert() -> Scripted:
    return Scripted("expert", ("truth/position", "truth/target"), _reach)


def _near(episode: Episode) -> NDArray[np.bool_]:
    gap = episode.observations["truth/position"] - episode.observations["truth/target"]
    return np.asarray(np.hypot(gap[:, 0], gap[:, 1]) <= RADIUS)


def _speed(episode: Episode) -> Array:
    velocity = episode.observations["truth/velocity"]
    return np.asarray(np.hypot(velocity[:, 0], velocity[:, 1]))


def _path(episode: Episode) -> float:
    steps = np.diff(episode.observations["truth/position"], axis=0)
    return float(np.linalg.norm(steps, axis=1).sum())


def _world() -> World:
    return ReachWorld()


TASK = Task(
    name="toy/reach-v1",
    description="""A point on a table is steered to a disc and stays there.

Description: a mass on a table follows a servo of limited force; it is to rest on the disc.

Randomisation: start, place of the disc, mass, drag, sensor noise, and one push. A few discs
lie farther out than the slide can go: no actor can pass there.

Success: within 5 cm of the disc's centre for the last 0.5 s, and at rest at the end.

Safety: never faster than 1.5 m/s.""",
    instructions=("move to the disc", "go to the disc and stay there", "reach the coloured disc"),
    held_out_instructions=("drive onto the disc", "stop on top of the disc"),
    horizon=4.0,
    sample=_sample,
    build=_world,
    expert=_expert,
    checks=(
        Check(
            name="speed", kind="safety", unit="m/s", at_most=1.5, measure=lambda e: _speed(e).max()
        ),
        Check(name="on-disc", kind="goal", unit="s", at_least=0.5, measure=held_to_end(_near)),
        Check(
            name="at-rest",
            kind="goal",
            unit="1",
            at_least=1.0,
            measure=at_end(lambda e: _speed(e) < 0.1),
        ),
        Check(name="path", kind="quality", unit="m", measure=_path),
    ),
    policy_reads=("joint/position", "joint/velocity", "tracker/target"),
    camera_reads=("joint/position", "joint/velocity", "camera/head"),
)
