"""A recorded episode to look at: what there is, where it is at each observation, what touches.

Everything is worked out again from the recorded state alone, so that any observation can be asked
for in any order. All positions and forces are in the world frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from fabrika._episode import Episode
from fabrika._errors import ContractError, UsageError
from fabrika._signals import Array
from fabrika._world import World
from fabrika.sim._robot import compile_mjcf
from fabrika.sim._world import _STATE, SimWorld

_KINDS = {
    int(mujoco.mjtGeom.mjGEOM_PLANE): "plane",
    int(mujoco.mjtGeom.mjGEOM_SPHERE): "sphere",
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): "capsule",
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID): "ellipsoid",
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): "cylinder",
    int(mujoco.mjtGeom.mjGEOM_BOX): "box",
    int(mujoco.mjtGeom.mjGEOM_MESH): "mesh",
}
_FIRST_HIDDEN_GROUP = 3
"""MuJoCo's own pictures leave out geoms of this group and above."""
_ENDLESS = 10.0
"""Half the extent that is drawn of a plane without an end [m]."""
_MOVED = 0.02
"""A body that moves by more belongs to what a viewer should see [m]."""
_FIELD = 45.0
"""Angle of view that everything which moves must fit into [degrees]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solid:
    """One geom: a shape at a place in the frame of its body."""

    body: int
    """Row of `Playback.poses`."""
    kind: str
    """plane, sphere, capsule, ellipsoid, cylinder, box or mesh; normals and axes are z."""
    size: Array
    """(3,) half sizes as MuJoCo has them [m]; of a mesh nothing."""
    position: Array
    """(3,) in the body's frame [m]."""
    wxyz: Array
    """(4,) rotation into the body's frame: a unit quaternion."""
    rgba: Array
    """(4,) from 0 to 1; of a texture its mean."""
    seen: bool
    """Part of pictures."""
    collides: bool
    """Can touch something."""
    vertices: Array
    """(V, 3) of a mesh [m]; else none."""
    faces: Array
    """(F, 3) of a mesh; else none."""


class Playback:
    """One episode of a `SimWorld`, observation by observation.

    The world is reset to the episode's scenario once; afterwards it may be used for something else.
    """

    def __init__(self, world: World, episode: Episode) -> None:
        """Raises `UsageError` for a world that is none of MuJoCo's."""
        world, self._states = require_simulated(world), episode.states
        scenario = episode.scenario
        world.reset(scenario)  # with the friction and gains that the scenario drew
        self._model = world._model
        self._data = mujoco.MjData(self._model)
        self._size = mujoco.mj_stateSize(self._model, _STATE)
        self._looks = compile_mjcf(world._document(scenario.params, True), scenario.task)
        self._posed = mujoco.MjData(self._looks)
        self.times: Array = episode.times
        """(T + 1,) time stamps [s]."""
        self.solids = tuple(_solid(self._looks, index) for index in range(self._looks.ngeom))
        """All geoms, those that only collide and those that are only seen too."""
        self.eye, self.target = self._view(world)
        """Where a person best stands (3,) and looks (3,) [m]."""

    def poses(self, frame: int) -> tuple[Array, Array]:
        """(B, 3) positions [m] and (B, 4) unit quaternions of all bodies at an observation."""
        model, data = self._looks, self._posed
        data.qpos[:] = self._states[frame, 1 : 1 + model.nq]
        mujoco.mj_kinematics(model, data)
        return data.xpos.copy(), data.xquat.copy()

    def contacts(self, frame: int) -> tuple[Array, Array]:
        """(C, 3) points that touch [m], and (C, 3) the force there [N], at an observation.

        The force is the one on the body of the two that can move; if both can, on the second.
        What sleeps is woken: it presses on what it lies on.
        """
        model, data = self._model, self._data
        mujoco.mj_setState(model, data, self._states[frame, : self._size], _STATE)
        mujoco.mj_forward(model, data)
        points, forces = np.zeros((data.ncon, 3)), np.zeros((data.ncon, 3))
        wrench = np.zeros(6)
        for index in range(data.ncon):
            contact = data.contact[index]
            mujoco.mj_contactForce(model, data, index, wrench)
            second = model.geom_bodyid[contact.geom[1]]
            sign = 1.0 if model.body_weldid[second] else -1.0
            points[index] = contact.pos
            forces[index] = sign * wrench[:3] @ contact.frame.reshape(3, 3)
        return points, forces

    def _view(self, world: SimWorld) -> tuple[Array, Array]:
        """In the direction of the camera for people, so far away that all that moves is in view."""
        places = np.stack([self.poses(frame)[0] for frame in self._sample()])
        root = self._looks.body(world.robot.root).id
        ours = np.asarray(self._looks.body_rootid) == root
        moving = (np.ptp(places, axis=0) > _MOVED).any(axis=1)
        shown = places[:, ours | moving].reshape(-1, 3)
        low, high = shown.min(axis=0), shown.max(axis=0)
        target = (low + high) / 2
        away = np.array([-1.0, -1.0, 0.8])
        names = [self._looks.camera(index).name for index in range(self._looks.ncam)]
        if "scene" in names:
            self.poses(0)
            mujoco.mj_camlight(self._looks, self._posed)
            turn = self._posed.cam_xmat[self._looks.camera("scene").id].reshape(3, 3)
            away = turn[:, 2]  # a camera looks against its z axis
        far = float(np.linalg.norm(high - low)) / 2 / np.sin(np.radians(_FIELD / 2))
        return target + far * away / np.linalg.norm(away), target

    def _sample(self) -> Array:
        """A few observations that stand for all."""
        return np.unique(np.linspace(0, len(self.times) - 1, 16).astype(int))


def require_simulated(world: World) -> SimWorld:
    """The world as one of MuJoCo's. Raises `UsageError` if it is another."""
    if isinstance(world, SimWorld):
        return world
    raise UsageError(
        f"{type(world).__name__} is no world of MuJoCo's, and only those have a scene to open. "
        "`fabrika show` makes a video and plots of an episode of any world with cameras."
    )


def _solid(model: mujoco.MjModel, index: int) -> Solid:
    kind = int(model.geom_type[index])
    if kind not in _KINDS:
        raise ContractError(
            f"geom {model.geom(index).name!r} is a {mujoco.mjtGeom(kind).name}, which cannot be "
            f"shown. Shapes that can: {', '.join(sorted(_KINDS.values()))}."
        )
    size = np.array(model.geom_size[index], float)
    if _KINDS[kind] == "plane":
        size[:2] = np.where(size[:2] > 0, size[:2], _ENDLESS)
    vertices, faces = np.zeros((0, 3)), np.zeros((0, 3), int)
    if _KINDS[kind] == "mesh":
        mesh = model.mesh(int(model.geom_dataid[index]))
        first, count = int(mesh.vertadr[0]), int(mesh.vertnum[0])
        vertices = np.array(model.mesh_vert[first : first + count], float)
        first, count = int(mesh.faceadr[0]), int(mesh.facenum[0])
        faces = np.array(model.mesh_face[first : first + count], int)
    return Solid(
        body=int(model.geom_bodyid[index]),
        kind=_KINDS[kind],
        size=size,
        position=np.array(model.geom_pos[index], float),
        wxyz=np.array(model.geom_quat[index], float),
        rgba=_colour(model, index),
        seen=int(model.geom_group[index]) < _FIRST_HIDDEN_GROUP,
        collides=bool(model.geom_contype[index] or model.geom_conaffinity[index]),
        vertices=vertices,
        faces=faces,
    )


def _colour(model: mujoco.MjModel, index: int) -> Array:
    """(4,) the geom's colour, or its material's times the mean of its texture."""
    material = int(model.geom_matid[index])
    if material < 0:
        return np.array(model.geom_rgba[index], float)
    rgba = np.array(model.mat_rgba[material], float)
    texture = int(model.mat_texid[material, int(mujoco.mjtTextureRole.mjTEXROLE_RGB)])
    if texture >= 0:
        first, channels = int(model.tex_adr[texture]), int(model.tex_nchannel[texture])
        texels = int(model.tex_height[texture]) * int(model.tex_width[texture])
        data = np.asarray(model.tex_data[first : first + texels * channels])
        rgba[:3] *= data.reshape(texels, channels)[:, :3].mean(axis=0) / 255.0
    return rgba
