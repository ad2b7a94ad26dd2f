"""A MuJoCo world: one robot, one scene, and what sensors would say of them.

The settings were chosen by measured slip as well as speed: 4 ms, elliptic cones, impratio 10,
stiff contacts. See docs/results.md for the slip of held objects at these settings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np

from fabrika._episode import Episode
from fabrika._errors import BrokenWorldError, ContractError
from fabrika._scenario import Scenario
from fabrika._signals import Array, Signal, Signals
from fabrika.sim._guard import Guard
from fabrika.sim._measure import bare_seconds, slip
from fabrika.sim._motors import Motors, draw_sway
from fabrika.sim._pictures import Pictures
from fabrika.sim._pose import rotation_vector
from fabrika.sim._robot import Robot, compile_mjcf
from fabrika.sim._sleep import fall_asleep
from fabrika.sim._touch import Contacts

TIMESTEP = 0.004
"""Physics step [s]."""
TICK = 0.04
"""Control period [s]."""
BLOCK = 5
"""Physics steps between two updates of the servos: 50 Hz."""
_BLOCKS = round(TICK / TIMESTEP) // BLOCK
PICTURE = 128
"""Height and width of a camera signal [px]."""

_OPTION = (
    f'<option timestep="{TIMESTEP}" integrator="implicitfast" solver="Newton" iterations="20" '
    'cone="elliptic" impratio="10" jacobian="sparse"><flag autoreset="disable"{sleep}/></option>'
)
_STATE = int(
    mujoco.mjtState.mjSTATE_TIME
    | mujoco.mjtState.mjSTATE_QPOS
    | mujoco.mjtState.mjSTATE_QVEL
    | mujoco.mjtState.mjSTATE_ACT
    | mujoco.mjtState.mjSTATE_WARMSTART
    | mujoco.mjtState.mjSTATE_CTRL
)
_PALM_NOISE = (0.8, 2.0)
"""Noise of a palm's pose for that of a joint: [m/rad] in place, [rad/rad] in rotation.

What forward kinematics makes of seven noisy joints of this arm, seen as independent.
"""
_LATEST = 12
"""Longest age of a tracked pose, in control periods."""
_REST = 1.0
"""The world ends when the robot has been commanded to rest for this long [s]."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A scene as MJCF: what a task puts around the robot."""

    assets: str
    """Children of ``asset``."""
    bodies: str
    """Children of ``worldbody``."""
    visual: str = ""
    """Children of ``visual``: headlight and the like."""


Told = tuple[Signal, Callable[[Mapping[str, Any]], Array]]
"""A signal without its name, and what it is in a scenario, from its params."""


class SimWorld:
    """One robot in one scene that the scenario's params describe.

    ``stage`` turns params into a `Stage`, for physics or (``looks=True``) for cameras.
    ``tracked`` are bodies that the object tracker reports; ``free`` are the free bodies whose
    truth is recorded, ``joints`` those of doors, drawers and the like; ``told`` is truth that
    follows from the params, such as where furniture stands. With ``sleep`` things at
    rest cost nothing until something touches them; asleep, they press on nothing. Params that
    every scenario has: ``start`` (x, y, yaw of the robot), ``grip`` (friction of the hands),
    ``gain`` (of all servos), ``delay`` (of commands, in 20 ms), ``sway`` (of the arms' servos),
    ``noise`` (see `robot_variation` of the home line), ``pushes``, ``view`` (camera jitter),
    ``things`` (their kinds and sizes).

    What is sensed lags the state by one physics step, as MuJoCo computes positions and forces
    at the start of a step; right after `restore`, poses and contacts do not.
    """

    dt = TICK
    warnings: Sequence[str] = ()

    def __init__(
        self,
        robot: Robot,
        stage: Callable[[Mapping[str, Any], bool], Stage],
        *,
        tracked: tuple[str, ...],
        free: tuple[str, ...],
        seconds: float,
        joints: tuple[str, ...] = (),
        told: Mapping[str, Told] | None = None,
        sleep: bool = False,
    ) -> None:
        self.robot, self._stage, self._tracked, self._free = robot, stage, tracked, free
        self._moved, self._told, self._sleep = joints, dict(told or {}), sleep
        self._ticks = round(seconds / TICK) + 1
        self.acts = {
            name: Signal(
                shape=(len(g.names),),
                dtype="float32",
                unit=g.unit,
                low=min(g.low),
                high=max(g.high),
                names=g.names,
            )
            for name, g in robot.groups.items()
        }
        self.observes = self._declare()
        self.executed: Signals = {}
        self.pictures = Pictures(self._document)
        """Depth and segmentation are there, too, once a scenario is dressed."""

    # -- what there is -------------------------------------------------------------------

    def _declare(self) -> dict[str, Signal]:
        """Every signal: the robot's own, the tracker's, the cameras', and the truth."""
        pose = Signal(shape=(9,), unit="m,1", names=("x", "y", "z", *(f"r{i}" for i in range(6))))
        signals = {
            f"joint/{name}": Signal(shape=(len(g.names),), unit=g.unit, names=g.names)
            for name, g in self.robot.groups.items()
        }
        for side, hand in self.robot.hands.items():
            signals[f"touch/{side}"] = Signal(shape=(len(hand.touch),), unit="N", names=hand.touch)
            signals[f"hand/{side}"] = pose
        signals |= {f"tracker/{name}": pose for name in self._tracked}
        eye = Signal(shape=(PICTURE, PICTURE, 3), dtype="uint8", unit="1")
        signals |= {f"camera/{name}": eye for name in self.robot.cameras}
        ranging = Signal(shape=(PICTURE, PICTURE, 1), dtype="uint16", unit="mm")
        signals |= {f"depth/{name}": ranging for name in self.robot.depths}
        groups = tuple(self.robot.groups)
        ratio = Signal(shape=(len(groups),), unit="1", names=groups, truth=True)
        signals |= {
            "truth/base": Signal(shape=(4, 4), unit="m,1", truth=True),
            "truth/velocity": ratio,
            "truth/torque": ratio,
            "truth/overrun": Signal(
                shape=(len(groups),), unit="rad or m", names=groups, truth=True
            ),
            "truth/contact": Signal(
                shape=(4,),
                unit="N,N,m,N",
                names=("force", "self_force", "penetration", "squeeze"),
                truth=True,
            ),
            "truth/support": Signal(shape=(len(self._free), 2), unit="N", truth=True),
            "truth/size": Signal(shape=(len(self._free), 2), unit="m", truth=True),
        }
        body = Signal(shape=(13,), unit="m,1,m/s,rad/s", truth=True)
        signals |= {f"truth/{name}": body for name in self._free}
        fixed = [name for name in self._tracked if name not in self._free]
        signals |= {f"truth/{name}": body for name in fixed}
        moved = Signal(shape=(2,), unit="rad or m, per s", names=("at", "speed"), truth=True)
        signals |= {f"truth/{name}": moved for name in self._moved}
        signals |= {f"truth/{name}": signal for name, (signal, _) in self._told.items()}
        true_pose = replace(pose, truth=True)
        signals |= {f"truth/palm_{side}": true_pose for side in self.robot.hands}
        return signals

    @property
    def time(self) -> float:
        """Time since `reset` [s]."""
        return self._tick * TICK

    @property
    def cameras(self) -> tuple[str, ...]:
        """The robot's cameras, and "scene" for people."""
        return (*self.robot.cameras, "scene")

    # -- start and continue --------------------------------------------------------------

    def _document(self, params: Mapping[str, Any], looks: bool) -> str:
        """The whole world as one MJCF document: the robot's, with the scene put into it."""
        x, y, yaw = params["start"]
        stage = self._stage(params, looks)
        sleep = ' sleep="enable"' if self._sleep else ""
        text = self.robot.mjcf
        for before, after in (
            (
                "<default>",
                f"{_OPTION.format(sleep=sleep)}<visual>{stage.visual}</visual>"
                f"<asset>{stage.assets}</asset><default>",
            ),
            ("<worldbody>", f"<worldbody>{stage.bodies}"),
        ):
            if before not in text:
                raise ContractError(f"the MJCF of {self.robot.name!r} has no {before} section.")
            text = text.replace(before, after, 1)
        root = f'name="{self.robot.root}"'
        return text.replace(root, f'{root} pos="{x} {y} 0" euler="0 0 {yaw}"', 1)

    def reset(self, scenario: Scenario) -> None:
        """Compile and start the scenario."""
        params = scenario.params
        self._params: Mapping[str, Any] = params
        self._scenario = scenario
        self._model = compile_mjcf(self._document(params, False), scenario.task)
        self._data = mujoco.MjData(self._model)
        self._bind()
        self._draw(scenario)
        rng = np.random.default_rng(scenario.seed("sway"))
        sway = draw_sway(self.robot, rng, params["sway"], self._ticks, TICK)
        self._motors = Motors(self.robot, self._model, self._data, params, sway, _BLOCKS)
        self._tick, self._still = 0, 0
        self._rates = np.zeros((2, len(self.robot.groups)))
        self._history = np.zeros((_LATEST, len(self._tracked), 9))
        self._forward()
        self._history[:] = self._poses[len(self._palms) :]
        self._guard = Guard(
            self._model,
            self._data,
            scenario.id,
            root=self._model.body(self.robot.root).id,
            period=TICK,
            push=sum(float(np.linalg.norm(push["force"])) for push in params["pushes"]),
        )
        self._guard.start()

    def restore(self, scenario: Scenario, state: Array) -> None:
        """Continue the scenario from a state."""
        self.reset(scenario)
        size = mujoco.mj_stateSize(self._model, _STATE)
        mujoco.mj_setState(self._model, self._data, state[:size], _STATE)
        self._forward()
        self._guard.start(fresh=False)
        # mj_forward overwrites the warm start that the next step must begin from, and what the
        # fingers felt.
        mujoco.mj_setState(self._model, self._data, state[:size], _STATE)
        rest = state[size:]
        if self._sleep:
            fall_asleep(self._model, self._data, rest[: self._model.ntree].astype(int))
            rest = rest[self._model.ntree :]
        self._tick, self._still = int(rest[0]), int(rest[1])
        rest = self._motors.restore(rest[2:])
        count = self._rates.size
        self._rates = rest[:count].reshape(self._rates.shape).copy()
        self._history[:] = rest[count:].reshape(self._history.shape)

    def state(self) -> Array:
        """(S,) physics state, servo memory and tracker history."""
        physics = np.empty(mujoco.mj_stateSize(self._model, _STATE))
        mujoco.mj_getState(self._model, self._data, physics, _STATE)
        asleep = self._data.tree_asleep if self._sleep else ()
        ours = asleep, (self._tick, self._still), self._motors.state(), self._rates, self._history
        return np.concatenate((physics, *ours), axis=None)

    def close(self) -> None:
        """Give back the GL context."""
        self.pictures.close()

    def _bind(self) -> None:
        """Look names up once."""
        m = self._model
        self._base = m.body(self.robot.base).id
        self._palms = {s: m.body(h.palm).id for s, h in self.robot.hands.items()}
        self._touch = {
            s: np.array([m.sensor(t).adr[0] for t in h.touch]) for s, h in self.robot.hands.items()
        }
        self._bodies = {n: m.body(n).id for n in dict.fromkeys((*self._tracked, *self._free))}
        root = m.body(self.robot.root).id
        free = [self._bodies[name] for name in self._free]
        self._contacts = Contacts(m, root, list(self._palms.values()), free)
        things = [self._params["things"][name] for name in self._free]
        seen = [*self._palms.values(), *(self._bodies[name] for name in self._tracked)]
        self._sensed = np.array(seen)
        self._poses = np.empty((len(seen), 9))
        # Views into the engine's memory, which stays where it is.
        self._xpos, self._xmat = self._data.xpos, self._data.xmat.reshape(-1, 3, 3)
        self._sizes: Array = np.array([_size(t) for t in things], float)
        self._facts = {name: tell(self._params) for name, (_, tell) in self._told.items()}
        self._twist6 = np.zeros(6)
        friction = float(self._params["grip"])
        skin = self._contacts.is_robot & (np.asarray(m.geom_priority) == 1)
        m.geom_friction[skin, 0] = friction

    def _draw(self, scenario: Scenario) -> None:
        """Draw every sensor's noise for the whole episode, so that asking changes nothing."""
        noise = scenario.params["noise"]
        rng = np.random.default_rng(scenario.seed("sensors"))
        joints = sum(len(g.names) for g in self.robot.groups.values())
        shape = (self._ticks + 1, joints)
        self._joint_noise = rng.normal(0, noise["joint"], shape)
        self._touch_noise = rng.normal(
            0, noise["touch"], (self._ticks + 1, len(self.robot.hands), 8)
        )
        sides = (self._ticks + 1, len(self.robot.hands), 3)
        place, turn = (noise["joint"] * share for share in _PALM_NOISE)
        felt, twisted = rng.normal(0, place, sides), rng.normal(0, turn, sides)
        count = len(self._tracked)
        bias = rng.normal(0, noise["bias"], (count, 3))
        each = (self._ticks + 1, count, 3)
        offset, twist = (
            bias + rng.normal(0, noise["position"], each),
            rng.normal(0, noise["rotation"], each),
        )
        lost = rng.random((self._ticks + 1, count)) < noise["dropout"]
        age = np.full(count, int(noise["latency"]))
        self._age = np.empty((self._ticks + 1, count), int)
        for tick in range(self._ticks + 1):
            age = np.where(lost[tick], np.minimum(age + 1, _LATEST - 1), int(noise["latency"]))
            self._age[tick] = np.minimum(age, tick)
        # The tracker's noise is that of the moment it saw: (ticks + 1, palms + tracked, ...).
        seen = np.arange(self._ticks + 1)[:, None] - self._age, np.arange(count)
        self._offset = np.concatenate([felt, offset[seen]], axis=1)
        self._twist = rotation_vector(np.concatenate([twisted, twist[seen]], axis=1))

    def _forward(self) -> None:
        """Work out all that follows from the state."""
        try:
            mujoco.mj_forward(self._model, self._data)
        except mujoco.FatalError as error:
            raise self._fatal(error) from error
        self._see()
        self._worst, self._support = self._contacts.read(self._data)

    def _fatal(self, error: Exception) -> BrokenWorldError:
        """What MuJoCo gave up with, in its own words: a full stack, say."""
        words = str(error).partition("\n")[0]
        when = f"at {self._data.time:.3f} s" if self._data.time else "at its start"
        return BrokenWorldError(f"scenario {self._scenario.id} {when}: MuJoCo gave up: {words}.")

    # -- act -----------------------------------------------------------------------------

    @np.errstate(all="ignore")  # numbers that are none are the guard's to report
    def step(self, action: Signals, controls: list[Array] | None = None) -> bool:
        """One control period: blocks of servo update and physics.

        ``controls`` collects what the servos were told in each block, if a list is given.
        """
        d = self._data
        self.executed = self._motors.command(action, TICK)
        self._worst = [0.0] * 4
        for block in range(_BLOCKS):
            self._motors.servo(block)
            self._push(self._tick * TICK + block * TICK / _BLOCKS)
            if controls is not None:
                controls.append(d.ctrl.copy())
            self._advance(first=not block)
            self._motors.load(block)
            worst, self._support = self._contacts.read(d)
            self._worst = [max(pair) for pair in zip(self._worst, worst, strict=True)]
            self._guard.contacts(worst[2])
        self._rates = self._motors.worst()
        self._guard.last(self._motors.work(TICK))
        self._tick += 1
        self._see()
        self._history[1:] = self._history[:-1]
        self._history[0] = self._poses[len(self._palms) :]
        self._still = 0 if self._motors.moving() or self._tick * TICK < 1.5 else self._still + 1
        return self._still * TICK >= _REST

    def _advance(self, first: bool) -> None:
        """One block of physics; the contacts of the period's first state are looked at."""
        try:
            if first:
                mujoco.mj_step(self._model, self._data)
                self._guard.first()
            mujoco.mj_step(self._model, self._data, nstep=BLOCK - first)
        except mujoco.FatalError as error:
            raise self._fatal(error) from error

    def _push(self, now: float) -> None:
        """Apply the pushes: forces [N] at a height over a thing's bottom, else at its middle."""
        d = self._data
        for push in self._params["pushes"]:
            inside = push["time"] <= now < push["time"] + push["seconds"]
            force, body = np.array(push["force"]) * inside, self._bodies[push["thing"]]
            d.xfrc_applied[body, :3] = force
            if "height" in push:
                up = d.xmat[body].reshape(3, 3)[:, 2]
                arm = d.xpos[body] + push["height"] * up - d.xipos[body]
                d.xfrc_applied[body, 3:] = np.cross(arm, force)

    # -- sense ---------------------------------------------------------------------------

    def _see(self) -> None:
        """Work out the (palms + tracked, 9) true poses in the base frame."""
        place, axes = self._xpos[self._sensed], self._xmat[self._sensed]
        turn = self._xmat[self._base]
        self._poses[:, :3] = (place - self._xpos[self._base]) @ turn
        self._poses[:, 3:6], self._poses[:, 6:] = axes[:, :, 0] @ turn, axes[:, :, 1] @ turn

    def _feel(self) -> None:
        """Work out what joints, palms and the tracker report: late, noisy, held where lost."""
        tick, palms = self._tick, len(self._palms)
        self._joints = self._motors.positions() + self._joint_noise[tick]
        past = self._history[self._age[tick], np.arange(len(self._tracked))]
        true = np.concatenate((self._poses[:palms], past))
        axes = true[:, 3:].reshape(-1, 2, 3) @ self._twist[tick].transpose(0, 2, 1)
        self._felt = np.concatenate((true[:, :3] + self._offset[tick], axes.reshape(-1, 6)), axis=1)

    def observe(self, names: Collection[str]) -> Signals:
        """The named signals. Poses are x, y, z [m] and the first two columns of the rotation."""
        self._feel()
        return {name: self._observe(name) for name in names}

    def _observe(self, name: str) -> Array:
        kind, _, what = name.partition("/")
        if kind == "joint":
            return self._motors.pick(what, self._joints)
        if kind == "touch":
            side = list(self.robot.hands).index(what)
            force = self._data.sensordata[self._touch[what]]
            noise = self._touch_noise[self._tick, side, : len(force)]
            return np.asarray(np.maximum(force + noise, 0.0))
        if kind == "hand":
            return np.asarray(self._felt[list(self.robot.hands).index(what)])
        if kind == "tracker":
            return np.asarray(self._felt[len(self._palms) + self._tracked.index(what)])
        if kind == "camera":
            self.pictures.dress(self._scenario, 0)
            return self.pictures.picture(self.state(), what, PICTURE, PICTURE)
        if kind == "depth":
            self.pictures.dress(self._scenario, 0)
            return self.pictures.depth(self.state(), what, PICTURE, PICTURE)
        return self._true(what)

    def _true(self, what: str) -> Array:
        """Simulator truth by name."""
        d = self._data
        if what in self._bodies:
            body = self._bodies[what]
            mujoco.mj_objectVelocity(
                self._model, d, mujoco.mjtObj.mjOBJ_XBODY, body, self._twist6, 0
            )
            turning, moving = self._twist6[:3], self._twist6[3:]
            return np.concatenate([d.xpos[body], d.xquat[body], moving, turning])
        if what in self._told:
            return self._facts[what]
        if what in self._moved:
            joint = d.joint(what)
            return np.concatenate([joint.qpos, joint.qvel])
        if what == "base":
            pose = np.eye(4)
            pose[:3, :3] = d.xmat[self._base].reshape(3, 3)
            pose[:3, 3] = d.xpos[self._base]
            return pose
        if what in ("velocity", "torque"):
            return np.asarray(self._rates[int(what == "torque")])
        if what == "overrun":
            return self._motors.overrun()
        if what.startswith("palm_"):
            return np.array(self._poses[list(self._palms).index(what.removeprefix("palm_"))])
        if what == "size":
            return self._sizes
        if what == "contact":
            return np.array(self._worst)
        return np.array(self._support).reshape(len(self._free), 2)

    # -- measurements --------------------------------------------------------------------

    def slip(self, episode: Episode) -> dict[str, float]:
        """How far each held thing moved in the hand while it was held [m], by its name."""
        return slip(episode, self._free, tuple(self.robot.hands))

    def raw_step_seconds(self, episode: Episode) -> Array:
        """Wall seconds of bare ``mj_step`` on the same model from the same start and controls.

        One number for each of its calls; two calls a control period.
        """
        self.reset(episode.scenario)
        bare = mujoco.MjData(self._model)
        mujoco.mj_copyData(bare, self._model, self._data)
        controls: list[Array] = []
        for tick in range(episode.length):
            self.step({name: values[tick] for name, values in episode.actions.items()}, controls)
        return bare_seconds(self._model, bare, controls, BLOCK)

    # -- pictures ------------------------------------------------------------------------

    def dress(self, scenario: Scenario, look: int = 0) -> None:
        """Prepare the pictures of one scenario; look 0 is its own."""
        self.pictures.dress(scenario, look)

    def picture(self, state: Array, camera: str, height: int, width: int) -> Array:
        """(height, width, 3) uint8 RGB of a state of the dressed scenario."""
        return self.pictures.picture(state, camera, height, width)


def _size(thing: Mapping[str, Any]) -> tuple[float, float]:
    """Radius and height of a thing, or width and depth of a flat one [m]."""
    if "width" in thing:
        return thing["width"], thing.get("depth", thing.get("length", 0.0))
    return thing["radius"], thing.get("height", 2 * thing["radius"])
