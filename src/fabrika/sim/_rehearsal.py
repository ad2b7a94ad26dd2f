"""An expert's own model of robot and scene: it is asked what a posture would touch, and how deep.

It is built from what the expert was told, not from the world, and nothing in it ever moves by
physics: bodies are put where they are said to be, and contacts are looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from fabrika._errors import ContractError, UnknownNameError
from fabrika._signals import Array
from fabrika.sim._robot import Robot, compile_mjcf, driven_joints

_ALL = 0xFFFF
_ALL_HANDS = 1000
"""Number of a hand that stands for all of them."""
_SELF = 0.004
"""What has to stay free between parts of the robot [m]: its own joints are known well."""


@dataclass(frozen=True, slots=True)
class Touch:
    """A part of the robot that would touch something."""

    part: str
    """Body of the robot."""
    other: str
    """The other body: of the scene, or of the robot."""
    depth: float
    """How deep [m]."""


class Rehearsal:
    """Robot and scene, to be put into postures. ``bodies``: MJCF children of ``worldbody``.

    Only what the robot touches is looked for, and what a thing touches that it holds: what the
    scene's bodies do to one another costs nothing.
    """

    def __init__(self, robot: Robot, bodies: str) -> None:
        if "<worldbody>" not in robot.mjcf:
            raise ContractError(f"the MJCF of {robot.name!r} has no <worldbody> section.")
        text = robot.mjcf.replace("<worldbody>", f"<worldbody>{bodies}", 1)
        self._model = m = compile_mjcf(text, f"{robot.name}, rehearsing")
        self._data = mujoco.MjData(m)
        self._root, self._drives = robot.root, robot.drives
        root = m.body(robot.root).id
        self._mine = np.asarray(m.body_rootid) == root
        self._palms = {side: m.body(hand.palm).id for side, hand in robot.hands.items()}
        hands = list(self._palms.values())
        self._hand = np.array([_hand_of(m, body, hands) for body in range(m.nbody)])
        # What is held may lie against the wrist, whose links follow the palm.
        self._near = self._hand.copy()
        for palm in hands:
            wrist = int(m.body_parentid[palm])
            self._near[[wrist, int(m.body_parentid[wrist])]] = self._hand[palm]
        self._body = np.asarray(m.geom_bodyid)
        foreign = ~self._mine[self._body]
        m.geom_contype[foreign], m.geom_conaffinity[foreign] = 0, _ALL
        self._held: dict[str, tuple[int, int, Array, Array]] = {}
        # Looked up thousands of times an episode: bodies and joints by name, groups by address.
        self._bodies = {m.body(body).name: body for body in range(m.nbody)}
        self._addresses = {m.joint(j).name: int(m.jnt_qposadr[j]) for j in range(m.njnt)}
        self._groups = {name: _moved(m, group.actuators) for name, group in robot.groups.items()}
        self._qpos, self._turns = self._data.qpos, self._data.xmat.reshape(-1, 3, 3)
        self.pose({name: np.array(group.home) for name, group in robot.groups.items()})

    def pose(self, joints: Mapping[str, Array]) -> None:
        """Put groups of the robot where they are given; the others stay."""
        for name, values in joints.items():
            if name not in self._groups:
                raise UnknownNameError("group", name, self._groups)
            addresses, shares, actuators = self._groups[name]
            self._qpos[addresses] = shares * values[actuators]

    def stand(self, position: Array, rotation: Array) -> None:
        """Put the robot itself, if it does not drive, there: (3,) [m] in the world, (3, 3)."""
        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(rotation).ravel())
        root = self._bodies[self._root]
        self._model.body_pos[root], self._model.body_quat[root] = position, quaternion

    def put(self, body: str, position: Array, rotation: Array) -> None:
        """Put a free body there: (3,) [m] in the world, (3, 3)."""
        address = self._addresses[body]
        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(rotation).ravel())
        self._qpos[address : address + 3] = position
        self._qpos[address + 3 : address + 7] = quaternion

    def move(self, joint: str, at: float) -> None:
        """Put a door, a drawer or a lid where it is said to be [rad or m]."""
        self._qpos[self._addresses[joint]] = at

    def hold(self, body: str, side: str, position: Array, rotation: Array) -> None:
        """From now on a free body goes with a palm, there in its frame: (3,) [m], (3, 3).

        What it touches, the robot touches. What two hands hold goes with the last, and may touch
        both.
        """
        address, palm = self._addresses[body], self._palms[side]
        both = body in self._held and self._held[body][1] != palm
        self._held[body] = address, palm, position.copy(), rotation.copy()
        self._own(body, self._hand[palm])
        if both:
            self._near[self._bodies[body]] = _ALL_HANDS

    def let_go(self, *bodies: str) -> None:
        """These go with a palm no more; nothing does if none is named."""
        for body in bodies or tuple(self._held):
            self._own(body, -1)
            self._held.pop(body, None)

    def _own(self, body: str, hand: int) -> None:
        index = self._bodies[body]
        self._mine[index], self._hand[index], self._near[index] = hand >= 0, hand, hand
        geoms = self._body == index
        self._model.geom_contype[geoms] = 1 if hand >= 0 else 0

    def palm(self, side: str) -> tuple[Array, Array]:
        """Where a palm is in this posture: (3,) [m] in the world, (3, 3)."""
        mujoco.mj_kinematics(self._model, self._data)
        body = self._palms[side]
        return self._data.xpos[body].copy(), self._data.xmat[body].reshape(3, 3).copy()

    def clear(
        self,
        margin: float,
        near: Mapping[str, float] | None = None,
        own: float = _SELF,
        *,
        wide: bool = False,
    ) -> bool:
        """True if in this posture the robot, and what it holds, keeps off all else.

        By ``margin`` [m], from bodies in ``near`` by what it says; less than zero lets them
        overlap by so much. From itself by ``own`` at most. ``wide``: off what lies flat beside a
        link as well, for a robot that drives; else that is not seen until their boxes overlap.
        """
        limits = np.full(self._model.nbody, margin)
        for name, limit in (near or {}).items():
            limits[self._bodies[name]] = limit
        self._collide(max(margin, own), wide=wide)
        contact = self._data.contact
        if not len(contact.dist):
            return True
        one, two = self._body[contact.geom].T
        both = self._mine[one] & self._mine[two]
        limit = np.minimum(limits[one], limits[two])
        limit = np.where(both, np.minimum(limit, own), limit)
        a, b = self._near[one], self._near[two]
        same = both & (((a == b) & (a >= 0)) | (a + b > _ALL_HANDS - 1))
        return not ((contact.dist < limit) & ~same).any()

    def _collide(self, margin: float, *, wide: bool = False) -> None:
        """Look for contacts within the margin [m]."""
        m, d = self._model, self._data
        # A hand that sets flat things down from where it drove to would find no place if wide.
        around = margin if wide or not self._drives else 0.0
        if m.geom_margin[0] != margin or m.body_margin[0] != around:
            m.geom_margin[:], m.body_margin[:] = margin, around
        mujoco.mj_kinematics(m, d)
        if self._held:
            for address, palm, position, rotation in self._held.values():
                turn = d.xmat[palm].reshape(3, 3)
                d.qpos[address : address + 3] = d.xpos[palm] + turn @ position
                quaternion = np.empty(4)
                mujoco.mju_mat2Quat(quaternion, (turn @ rotation).ravel())
                d.qpos[address + 3 : address + 7] = quaternion
            mujoco.mj_kinematics(m, d)
        mujoco.mj_comPos(m, d)
        mujoco.mj_collision(m, d)

    def touches(self, *, deeper: float = 0.0, ignore: Collection[str] = ()) -> list[Touch]:
        """All that the robot touches, itself included, in this posture; deepest first.

        ``deeper`` than so much [m]: a negative one asks for a margin. ``ignore``: bodies that may
        be touched, such as what a hand is about to hold. Fingers of one hand may touch.
        """
        self._collide(max(0.0, -deeper))
        found = [touch for touch in self._contacts() if touch.depth > deeper]
        kept = (t for t in found if t.other not in ignore and t.part not in ignore)
        return sorted(kept, key=lambda touch: -touch.depth)

    def _contacts(self) -> Iterator[Touch]:
        m = self._model
        for contact in self._data.contact:
            one, two = (int(m.geom_bodyid[geom]) for geom in contact.geom)
            if not self._mine[one]:
                one, two = two, one
            same_hand = self._hand[one] == self._hand[two] >= 0
            if self._mine[one] and not same_hand:
                yield Touch(m.body(one).name, m.body(two).name, -float(contact.dist))


def _moved(model: mujoco.MjModel, actuators: Sequence[str]) -> tuple[Array, Array, Array]:
    """Of each joint that position actuators move: its address, its share, which moves it."""
    found = [
        (int(model.jnt_qposadr[joint]), share, index)
        for index, actuator in enumerate(actuators)
        for joints, share in [driven_joints(model, model.actuator(actuator).id)]
        for joint in joints
    ]
    addresses, shares, indices = zip(*found, strict=True)
    return np.array(addresses), np.array(shares), np.array(indices)


def _hand_of(model: mujoco.MjModel, body: int, palms: list[int]) -> int:
    """Number of the hand that a body is part of; -1 if none."""
    while body:
        if body in palms:
            return palms.index(body)
        body = int(model.body_parentid[body])
    return -1
