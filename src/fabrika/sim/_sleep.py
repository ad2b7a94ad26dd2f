"""Sleep that can be stored: MuJoCo's state leaves out who sleeps, and so would a restored world.

A *tree* is a body on a joint of its own with all that hangs on it. ``tree_asleep`` says of each
whether it sleeps (0 or more) or how long it has been nearly at rest (below 0); everything else
that the engine keeps about sleep follows from it. A test compares what is written here with what
the engine has, and a restored world with the one that went on, bit by bit.
"""

from __future__ import annotations

import mujoco
import numpy as np

from fabrika._signals import Array

_STATIC, _ASLEEP, _AWAKE = -1, 0, 1


def fall_asleep(model: mujoco.MjModel, data: mujoco.MjData, asleep: Array) -> None:
    """Put trees to sleep as ``asleep`` (ntree,) has it, in data where all poses are worked out."""
    for name, values in sleep_fields(model, asleep).items():
        if isinstance(values, int):
            setattr(data, name, values)
        else:
            getattr(data, name)[: len(values)] = values


def sleep_fields(model: mujoco.MjModel, asleep: Array) -> dict[str, Array | int]:
    """Fields of ``mjData`` that follow from ``tree_asleep`` (ntree,)."""
    awake = (asleep < 0).astype(int)
    tree = np.asarray(model.body_treeid)
    bodies = np.where(tree < 0, _STATIC, awake[tree] if len(awake) else _AWAKE)
    moving = np.flatnonzero(bodies != _ASLEEP)
    parents = np.flatnonzero(bodies[np.asarray(model.body_parentid)] != _ASLEEP)
    parents = parents[parents > 0]
    dofs = np.flatnonzero(awake[np.asarray(model.dof_treeid)])
    return {
        "tree_asleep": asleep,
        "tree_awake": awake,
        "ntree_awake": int(awake.sum()),
        "body_awake": bodies,
        "body_awake_ind": moving,
        "nbody_awake": len(moving),
        "parent_awake_ind": parents,
        "nparent_awake": len(parents),
        "dof_awake_ind": dofs,
        "nv_awake": len(dofs),
    }
