"""What a robot is to Fabrika: an MJCF model, named groups of joints, and their limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import mujoco
import numpy as np

from fabrika._errors import ContractError
from fabrika._signals import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Joints that are commanded together: one entry of an action."""

    actuators: tuple[str, ...]
    """Position actuators, in the order of the action's entries."""
    names: tuple[str, ...]
    """One name per entry, as datasets show it."""
    unit: str
    low: tuple[float, ...]
    """Lowest position [unit]."""
    high: tuple[float, ...]
    """Highest position [unit]."""
    velocity: tuple[float, ...]
    """Largest speed [unit/s]: commands are slowed down to it, motion is checked against it."""
    acceleration: float
    """Largest change of commanded speed [unit/s2]: the controller smooths what asks for more."""
    torque: tuple[float, ...]
    """Largest joint torque [Nm] or force [N]; the actuator's ``forcerange``."""
    home: tuple[float, ...]
    """Position at the start of an episode [unit]."""
    hand: bool = False
    """Fingers: they hold what they have closed around (see `fabrika.sim.SimWorld`)."""
    closes: int = 1
    """Of fingers: 1 if a larger position is more closed, -1 if it is more open."""


@dataclass(frozen=True, kw_only=True)
class Pinch:
    """How a hand takes something low from above, between its fingertips; in the palm's frame."""

    open: tuple[float, ...]
    """Fingers' positions on the way down."""
    closed: tuple[float, ...]
    """Fingers' positions that they are sent to, to hold."""
    down: tuple[float, float, float]
    """Unit vector that points down when the hand comes from above."""
    across: tuple[float, float, float]
    """Unit vector along which the fingertips close; level then."""
    at: tuple[float, float, float]
    """Where the middle of what it takes lies, between the open fingertips [m]."""
    below: float
    """How far the open fingertips reach below that point [m]."""
    above: float
    """How far what is taken may rise above that point before it meets the palm [m]."""
    span: float
    """Thickest thing that it takes [m]."""
    twin: bool = False
    """Whether it is the same the other way round, as a gripper of two equal fingers is."""
    narrow: tuple[float, ...] = ()
    """Fingers' positions on the way to something thin, with little room behind it; as `open` if
    they are not said."""


Face = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Middle of a flat side [m], and the unit vector out of it, in the palm's frame."""


@dataclass(frozen=True, kw_only=True)
class Flat:
    """What a hand presses on the side of a thing with that two hands carry."""

    fingers: tuple[float, ...]
    """Fingers' positions then."""
    face: Face


@dataclass(frozen=True, kw_only=True)
class Hand:
    """One hand: where its palm and its fingertips are."""

    palm: str
    """Body whose frame is the palm's: x distal, z along the palm's normal, origin at its centre."""
    fingers: str
    """Group that drives the fingers."""
    arm: str
    """Group that carries the hand."""
    touch: tuple[str, ...]
    """Touch sensors of the fingertips, thumb first."""
    open: tuple[float, ...] = ()
    """Fingers' positions when ready to grasp."""
    closed: tuple[float, ...] = ()
    """Fingers' positions that they are sent to, to hold."""
    releases: tuple[tuple[float, ...], ...] = ()
    """Fingers' positions on the way from closed to open, if some have to open first."""
    slim: tuple[tuple[float, ...], ...] = ()
    """Open, closed, and on the way back, where a wall leaves a thumb no room behind a thing."""
    pocket: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where what is held touches the palm, in the palm's frame [m]."""
    thumb: tuple[float, float, float] = (0.0, 1.0, 0.0)
    """Unit vector in the palm's frame that points up when the hand holds something upright."""
    approach: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """Unit vector in the palm's frame along which the hand moves onto a thing: the palm's normal
    of a hand that wraps around it, x of a gripper whose two fingers close along y."""
    span: float = 0.1
    """Thickest thing that it holds [m]."""
    hook: tuple[float, ...] = ()
    """Fingers' positions that pull at a bar; empty if it cannot."""
    hook_open: tuple[float, ...] = ()
    """Fingers' positions on the way to a bar."""
    bar: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where a bar that it pulls lies, in the palm's frame [m]: along y, the panel beyond it."""
    point: tuple[float, ...] = ()
    """Fingers' positions to press a button; empty if it cannot."""
    tip: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What then presses, in the palm's frame; it points along x [m]."""
    faces: tuple[Face, ...] = ()
    """Where the closed hand is flat, and pushes; none if it cannot."""
    flat: Flat | None = None
    """How it presses on one side of what two hands carry; None if it cannot."""
    pinch: Pinch | None = None
    """How it takes things from above; None if it cannot."""
    bounds: tuple[float, float, float] = (-0.05, 0.15, 0.05)
    """How far the open hand goes from its palm's origin: back and forth along x, and to both
    sides along y [m]."""
    postures: tuple[tuple[float, ...], ...] = ()
    """Arm's positions that spare joints are drawn to when it reaches, the usual one first."""
    far: tuple[tuple[float, ...], ...] = ()
    """Those for what lies deep, where the usual ones reach nothing."""
    wide: tuple[tuple[float, ...], ...] = ()
    """Those with the elbow far out, for what two hands carry."""
    rest: tuple[float, ...] = ()
    """Arm's positions when it has nothing to do: close to the body, above the furniture."""


@dataclass(frozen=True, kw_only=True)
class Neck:
    """A head that turns about an upright axis, then nods."""

    group: str
    """Group of two joints [rad]: pan, to the left, and tilt, downwards."""
    at: tuple[float, float, float]
    """Where it nods about, in the base frame while the torso is at zero [m]; a lift raises it."""


@dataclass(frozen=True, kw_only=True)
class Robot:
    """A robot: its model, what can be commanded, and its limits."""

    name: str
    mjcf: str
    """A complete MJCF document of the robot alone, with actuators and touch sensors."""
    root: str
    """Body that stands on the floor; scenes place it."""
    base: str
    """Body whose frame is "the robot's base frame" in every signal."""
    groups: Mapping[str, Group]
    hands: Mapping[str, Hand]
    cameras: tuple[str, ...]
    depths: tuple[str, ...] = ()
    """Those of the cameras that measure depth as well."""
    torso: tuple[str, ...] = field(default=())
    """Groups that move both hands (a lift, a waist); kinematics shares them."""
    neck: Neck | None = None
    """What looks at what is worked on; None if the cameras stand fixed."""
    effort: float = 1.0
    """Share of its torque that an arm never needs on a free way: more is resistance, to which an
    expert gives way; 1 if free ways take all of it."""
    works_at: tuple[float, float] = (0.5, 0.0)
    """Of a robot that does not drive: over which point of the floor the middle of its workplace
    belongs, in the root's frame [m]."""
    assumptions: tuple[str, ...] = ()
    """What is not public, or not measured, about the model: in plain words."""

    def compile(self) -> mujoco.MjModel:
        """The model of the robot alone. Raises `ContractError` where MuJoCo refuses it."""
        return compile_mjcf(self.mjcf, self.name)

    @property
    def drives(self) -> bool:
        """Whether it has a base that goes about: a group "base" of x, y and yaw."""
        return "base" in self.groups

    @cached_property
    def home(self) -> dict[str, Array]:
        """The home position of every group."""
        return {name: np.array(group.home) for name, group in self.groups.items()}


def compile_mjcf(text: str, name: str) -> mujoco.MjModel:
    """Compile MJCF text; a malformed one raises `ContractError` that names it."""
    try:
        return mujoco.MjModel.from_xml_string(text)
    except ValueError as error:
        raise ContractError(f"the MJCF of {name!r} does not compile: {error}") from error


def driven_joints(model: mujoco.MjModel, actuator: int) -> tuple[list[int], float]:
    """The joints that a position actuator moves, and their position for each unit of its own.

    One joint, or those of its tendon, which share its length equally.
    """
    target = int(model.actuator_trnid[actuator, 0])
    if model.actuator_trntype[actuator] != mujoco.mjtTrn.mjTRN_TENDON:
        return [target], 1.0
    wraps = slice(model.tendon_adr[target], model.tendon_adr[target] + model.tendon_num[target])
    return model.wrap_objid[wraps].tolist(), 1.0 / float(model.wrap_prm[wraps].sum())


def clamp(values: Array, low: Array | float, high: Array | float) -> Array:
    """``numpy.clip`` without its overhead, which is most of it for a dozen joints."""
    return np.asarray(np.minimum(np.maximum(values, low), high))
