"""What touches what, and how hard: read from the engine's contacts."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np


class Contacts:
    """Reads the contacts of one model: the worst of each kind, and who bears whom."""

    def __init__(
        self, model: mujoco.MjModel, root: int, palms: Sequence[int], free: Sequence[int]
    ) -> None:
        """``root``: the robot's body; ``palms``: one body a hand; ``free``: bodies of things."""
        bodies = np.asarray(model.geom_bodyid)
        self.is_robot = np.asarray(model.body_rootid)[bodies] == root
        hand = np.zeros(model.ngeom, int)
        for index, palm in enumerate(palms, 1):
            hand[[palm in _chain(model, int(body)) for body in bodies]] = index
        owner = np.full(model.nbody, -1)
        owner[list(free)] = np.arange(len(free))
        # A dozen contacts are read faster one by one, from plain lists, than by array.
        self._robot: list[bool] = self.is_robot.tolist()
        self._hand: list[int] = hand.tolist()
        self._owner: list[int] = owner[bodies].tolist()
        self._count = len(free)

    def read(self, data: mujoco.MjData) -> tuple[list[float], list[list[float]]]:
        """(4,) contact at its worst, (free, 2) support of each free body.

        Contact: force of the robot on what is fixed, and on itself [N]; penetration [m]; force
        of the robot on things [N]. Support: normal force [N] on a body from things, from robots.
        Fingers of one hand may press on each other: a fist is no collision.
        """
        fixed = own = depth = squeeze = 0.0
        support = [[0.0, 0.0] for _ in range(self._count)]
        if data.ncon:
            contact, forces = data.contact, data.efc_force.tolist()
            robot, hand, owner = self._robot, self._hand, self._owner
            depth = max(0.0, -min(contact.dist.tolist()))
            pairs = zip(contact.geom.tolist(), contact.efc_address.tolist(), strict=True)
            for (one, two), address in pairs:
                if address < 0:
                    continue
                # With elliptic cones the first row of a contact is its normal force.
                force = forces[address]
                robots = robot[one] + robot[two]
                if owner[one] >= 0 or owner[two] >= 0:
                    squeeze = max(squeeze, force) if robots else squeeze
                    if owner[one] >= 0:
                        support[owner[one]][robot[two]] += force
                    if owner[two] >= 0:
                        support[owner[two]][robot[one]] += force
                elif robots == 1:
                    fixed = max(fixed, force)
                elif robots == 2 and not (hand[one] == hand[two] > 0):
                    own = max(own, force)
        return [fixed, own, depth, squeeze], support


def _chain(model: mujoco.MjModel, body: int) -> set[int]:
    """A body and all that it hangs on."""
    chain = {body}
    while body:
        body = int(model.body_parentid[body])
        chain.add(body)
    return chain
