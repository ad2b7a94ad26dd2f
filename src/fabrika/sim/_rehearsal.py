"""An expert's own model of robot and scene: it is asked what a posture would touch, and how deep.

It is built from what the expert was told, not from the world, and nothing in it ever moves by
physics: bodies are put where they are said to be, and contacts are looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from fabrika._errors import ContractError, UnknownNameError
from fabrika._signals import Array
from fabrika.sim._robot import Robot, compile_mjcf, driven_joints


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
    """Robot and scene, to be put into postures. ``bodies``: MJCF children of ``worldbody``."""

    def __init__(self, robot: Robot, bodies: str) -> None:
        if "<worldbody>" not in robot.mjcf:
            raise ContractError(f"the MJCF of {robot.name!r} has no <worldbody> section.")
        text = robot.mjcf.replace("<worldbody>", f"<worldbody>{bodies}", 1)
        self._model = m = compile_mjcf(text, f"{robot.name}, rehearsing")
        self._data = mujoco.MjData(m)
        root = m.body(robot.root).id
        self._mine = np.asarray(m.body_rootid) == root
        hands = [m.body(hand.palm).id for hand in robot.hands.values()]
        self._hand = np.array([_hand_of(m, body, hands) for body in range(m.nbody)])
        self._joints = {
            name: [driven_joints(m, m.actuator(actuator).id) for actuator in group.actuators]
            for name, group in robot.groups.items()
        }
        self.pose({name: np.array(group.home) for name, group in robot.groups.items()})

    def pose(self, joints: Mapping[str, Array]) -> None:
        """Put groups of the robot where they are given; the others stay."""
        for name, values in joints.items():
            if name not in self._joints:
                raise UnknownNameError("group", name, self._joints)
            for (moved, share), value in zip(self._joints[name], values, strict=True):
                for joint in moved:
                    self._data.qpos[self._model.jnt_qposadr[joint]] = share * value

    def put(self, body: str, position: Array, rotation: Array) -> None:
        """Put a free body there: (3,) [m] in the world, (3, 3)."""
        address = int(self._model.joint(body).qposadr[0])
        quaternion = np.empty(4)
        mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(rotation).ravel())
        self._data.qpos[address : address + 7] = [*position, *quaternion]

    def touches(self, *, deeper: float = 0.0, ignore: Collection[str] = ()) -> list[Touch]:
        """All that the robot touches, itself included, in this posture; deepest first.

        ``deeper`` than so much [m]: a negative one asks for a margin. ``ignore``: bodies that may
        be touched, such as what a hand is about to hold. Fingers of one hand may touch.
        """
        self._model.geom_margin[:] = max(0.0, -deeper)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_collision(self._model, self._data)
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


def _hand_of(model: mujoco.MjModel, body: int, palms: list[int]) -> int:
    """Number of the hand that a body is part of; -1 if none."""
    while body:
        if body in palms:
            return palms.index(body)
        body = int(model.body_parentid[body])
    return -1
