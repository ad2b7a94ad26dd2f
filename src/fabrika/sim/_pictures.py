"""Pictures from stored states, on a CPU if need be: a model with looks, and no physics."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any

import mujoco
import numpy as np

from fabrika._errors import ResourceError, UnknownNameError, UsageError
from fabrika._scenario import Scenario
from fabrika._signals import Array
from fabrika.sim._decor import Ornament, add_decor, draw_decor
from fabrika.sim._finishes import furnish, weave
from fabrika.sim._kitchen import sample_look
from fabrika.sim._robot import compile_mjcf

_SHIFT, _TURN = 0.006, 0.012
"""How far a look moves a camera along each axis [m], and turns it about each [rad]."""


@cache
def _offscreen() -> Any:
    """The process's one offscreen GL context: EGL, or OSMesa if MUJOCO_GL asks for it."""
    wanted = os.environ.get("MUJOCO_GL", "egl").lower()
    # Threads of Mesa's software renderer cost more than they give on small pictures.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        if wanted == "osmesa":
            from mujoco.osmesa import GLContext
        elif wanted == "egl":
            from mujoco.egl import GLContext
        else:
            raise UsageError(f"MUJOCO_GL={wanted!r}: pictures are made offscreen; egl or osmesa.")
        context = GLContext(64, 64)
        context.make_current()
    except UsageError:
        raise
    except Exception as error:  # every GL backend raises its own kinds
        raise ResourceError(
            f"no offscreen GL ({wanted}): {error}. On Debian or Ubuntu: apt-get install libegl1 "
            "libgl1-mesa-dri; or install libosmesa6 and set MUJOCO_GL=osmesa."
        ) from error
    return context


class Pictures:
    """Renders states of one dressed scenario.

    Vertices dominate on a CPU, so curved surfaces are coarse (see `visual`), and there are
    no shadows and no multisampling.
    """

    def __init__(self, document: Callable[[Mapping[str, Any], bool], str]) -> None:
        self._document = document
        self._dressed: tuple[str, int] | None = None
        self._decor: list[Ornament] = []
        self._context: mujoco.MjrContext | None = None
        self._size = (0, 0)

    def dress(self, scenario: Scenario, look: int = 0) -> None:
        """Compile the model that the cameras see; nothing to do if it is dressed already."""
        if self._dressed == (scenario.id, look):
            return
        self.close()
        params, rng = dict(scenario.params), np.random.default_rng(scenario.seed(f"look {look}"))
        if look:
            params["look"] = sample_look(rng)
        # By itself: what a look draws beside it does not depend on what a room has.
        finishing = np.random.default_rng(scenario.seed(f"finishes {look}"))
        if look and "fixtures" in params:
            params |= furnish(finishing, params, scenario.instruction)
        self._model = compile_mjcf(self._document(params, True), scenario.task)
        weave(finishing, self._model)
        for camera, offset in params["view"].items():
            if look:
                offset = rng.uniform(-_SHIFT, _SHIFT, 3)
                _turn(self._model.camera(camera).quat, rng.uniform(-_TURN, _TURN, 3))
            self._model.camera(camera).pos += offset
        self._data = mujoco.MjData(self._model)
        mujoco.mj_kinematics(self._model, self._data)
        self._decor = draw_decor(rng, self._model, self._data) if look else []
        self._paint = _paint(self._model)
        self._scene = mujoco.MjvScene(self._model, 1000)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = False
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._cameras = {self._model.camera(i).name: i for i in range(self._model.ncam)}
        self._dressed = (scenario.id, look)

    def picture(self, state: Array, camera: str, height: int, width: int) -> Array:
        """(height, width, 3) uint8 RGB of one state."""
        pixels = np.empty((height, width, 3), np.uint8)
        self._draw(state, camera, pixels, None)
        return np.ascontiguousarray(pixels[::-1])  # GL counts rows from the bottom

    def depth(self, state: Array, camera: str, height: int, width: int) -> Array:
        """(height, width, 1) uint16 distance along the camera's axis [mm]; 0 beyond 65 m."""
        buffer = np.empty((height, width), np.float32)
        self._draw(state, camera, None, buffer)
        extent, clip = self._model.stat.extent, self._model.vis.map
        near, far = clip.znear * extent, clip.zfar * extent
        # The depth buffer holds (1 / near - 1 / z) / (1 / near - 1 / far).
        metres = near / (1.0 - buffer.astype(float) * (1.0 - near / far))
        millimetres = np.where(metres < 65.0, 1000.0 * metres, 0.0).round()
        return np.ascontiguousarray(millimetres[::-1, :, None].astype(np.uint16))

    def segmentation(self, state: Array, camera: str, height: int, width: int) -> Array:
        """(height, width, 3) uint8 colour of the body that is seen, see `bodies`; black is none.

        Decoration is not seen: what it covers is.
        """
        pixels = np.empty((height, width, 3), np.uint8)
        flags = (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR)
        for flag in flags:
            self._scene.flags[flag] = True
        try:
            self._draw(state, camera, pixels, None)
        finally:
            for flag in flags:
                self._scene.flags[flag] = False
        paint = np.zeros((self._scene.ngeom + 1, 3), np.uint8)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                paint[geom.segid + 1] = self._paint[geom.objid]
        # What is drawn is each geom's number in the scene, plus one, as a colour.
        numbers = pixels[::-1].astype(np.int64) @ np.array([1, 1 << 8, 1 << 16])
        return np.ascontiguousarray(paint[numbers])

    def bodies(self) -> dict[str, tuple[int, int, int]]:
        """The colour of each body of the dressed scenario; equal names have equal colours."""
        model = self._model
        names = {_named(model, int(body)) for body in set(model.geom_bodyid.tolist())}
        return {name: _colour(name) for name in sorted(names)}

    def _draw(self, state: Array, camera: str, pixels: Array | None, depth: Array | None) -> None:
        """Render one state, and read back what there is room for."""
        if camera not in self._cameras:
            raise UnknownNameError("camera", camera, self._cameras)
        model, data = self._model, self._data
        # The stored state begins with the time and the positions: all that pictures need.
        data.qpos[:] = state[1 : 1 + model.nq]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        height, width = (depth if pixels is None else pixels).shape[:2]  # type: ignore[union-attr]
        context = self._framebuffer(height, width)
        self._camera.fixedcamid = self._cameras[camera]
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(
            model, data, self._option, None, self._camera, everything, self._scene
        )
        if not self._scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT]:
            add_decor(self._scene, self._decor)
        rectangle = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(rectangle, self._scene, context)
        mujoco.mjr_readPixels(pixels, depth, rectangle, context)

    def _framebuffer(self, height: int, width: int) -> mujoco.MjrContext:
        """The model on the GPU (or its stand-in), with a framebuffer of this size."""
        _offscreen().make_current()
        if self._context is None or self._size != (height, width):
            if self._context is not None:
                self._context.free()
            look = self._model.vis.global_
            look.offheight, look.offwidth = height, width
            self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
            self._size = (height, width)
        # Each time: another world of this process may have bound its own meanwhile.
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        return self._context

    def close(self) -> None:
        """Free what the pictures hold."""
        if self._context is not None:
            _offscreen().make_current()
            self._context.free()
        self._context, self._dressed = None, None


def _turn(quat: Array, by: Array) -> None:
    """Turn a camera's frame, in place, by a rotation vector in its own axes [rad]."""
    angle, turned, small = float(np.linalg.norm(by)), np.empty(4), np.empty(4)
    mujoco.mju_axisAngle2Quat(small, by / max(angle, 1e-12), angle)
    mujoco.mju_mulQuat(turned, quat, small)
    quat[:] = turned


def _colour(name: str) -> tuple[int, int, int]:
    """A colour that follows from a name alone, and is not black."""
    red, green, blue = sha256(name.encode()).digest()[:3]
    return red, green, max(blue, 1)


def _named(model: mujoco.MjModel, body: int) -> str:
    """The name of a body, or of the first that bears it and has one."""
    while body and not model.body(body).name:
        body = int(model.body_parentid[body])
    return str(model.body(body).name)


def _paint(model: mujoco.MjModel) -> Array:
    """(geoms, 3) uint8 colour of each geom's body."""
    bodies = model.geom_bodyid.tolist()
    colours = {body: _colour(_named(model, body)) for body in set(bodies)}
    return np.array([colours[body] for body in bodies], np.uint8)


def visual(ambient: float, diffuse: float = 0.15) -> str:
    """The ``visual`` section: coarse curves, no shadows, a soft headlight."""
    return (
        '<quality numslices="10" numstacks="6" numquads="2" shadowsize="0" offsamples="0"/>'
        f'<headlight ambient="{ambient} {ambient} {ambient}" '
        f'diffuse="{diffuse} {diffuse} {diffuse}" '
        'specular="0 0 0"/><map znear="0.02" zfar="20"/>'
    )
