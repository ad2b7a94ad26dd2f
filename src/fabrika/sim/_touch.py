"""What touches what, and how hard: read from the engine's contacts."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from fabrika._signals import Array


class Contacts:
    """Reads the contacts of one model: the worst of each kind, and who bears whom."""

    def __init__(
        self, model: mujoco.MjModel, root: int, palms: Sequence[int], free: Sequence[int]
    ) -> None:
        """``root``: the robot's body; ``palms``: one body a hand; ``free``: bodies of things."""
        self._bodies = np.asarray(model.geom_bodyid)
        self.is_robot = np.asarray(model.body_rootid)[self._bodies] == root
        self._hand = np.zeros(model.ngeom, int)
        for index, palm in enumerate(palms, 1):
            self._hand[[palm in _chain(model, int(body)) for body in self._bodies]] = index
        self._owner = np.full(model.nbody, -1)
        self._owner[list(free)] = np.arange(len(free))
        self._count = len(free)

    def read(self, data: mujoco.MjData) -> tuple[Array, Array]:
        """(4,) contact at its worst, (free, 2) support of each free body.

        Contact: force of the robot on what is fixed, and on itself [N]; penetration [m]; force
        of the robot on things [N]. Support: normal force [N] on a body from things, from robots.
        Fingers of one hand may press on each other: a fist is no collision.
        """
        if not data.ncon:
            return np.zeros(4), np.zeros((self._count, 2))
        contact = data.contact
        geom, address = np.asarray(contact.geom), np.asarray(contact.efc_address)
        # With elliptic cones the first row of a contact is its normal force.
        force = np.where(address >= 0, data.efc_force[np.maximum(address, 0)], 0.0)
        robot, hand = self.is_robot[geom], self._hand[geom]
        owner = self._owner[self._bodies[geom]]
        one, both = robot.any(axis=1), robot.all(axis=1)
        fist = (hand[:, 0] == hand[:, 1]) & (hand[:, 0] > 0)
        loose = (owner >= 0).any(axis=1)
        worst = np.array(
            [
                (force * (one & ~both & ~loose)).max(),
                (force * (both & ~fist)).max(),
                max(0.0, -float(contact.dist.min())),
                (force * (one & loose)).max(),
            ]
        )
        support = np.zeros(2 * self._count)
        for column in (0, 1):
            mine = owner[:, column] >= 0
            cell = 2 * owner[mine, column] + robot[mine, 1 - column]
            support += np.bincount(cell, force[mine], support.size)
        return worst, support.reshape(-1, 2)


def _chain(model: mujoco.MjModel, body: int) -> set[int]:
    """A body and all that it hangs on."""
    chain = {body}
    while body:
        body = int(model.body_parentid[body])
        chain.add(body)
    return chain
