"""Pictures from stored states, on a CPU if need be: a model with looks, and no physics."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import mujoco
import numpy as np

from fabrika._errors import ResourceError, UnknownNameError
from fabrika._scenario import Scenario
from fabrika._signals import Array
from fabrika.sim._kitchen import sample_look
from fabrika.sim._robot import compile_mjcf


class Pictures:
    """Renders states of one dressed scenario.

    Vertices dominate on a CPU, so curved surfaces are coarse (see `QUALITY`), and there are
    no shadows and no multisampling.
    """

    def __init__(self, document: Callable[[Mapping[str, Any], bool], str]) -> None:
        self._document = document
        self._dressed: tuple[str, int] | None = None
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}

    def dress(self, scenario: Scenario, look: int = 0) -> None:
        """Compile the model that the cameras see; nothing to do if it is dressed already."""
        if self._dressed == (scenario.id, look):
            return
        self.close()
        params: dict[str, Any] = dict(scenario.params)
        if look:
            params["look"] = sample_look(np.random.default_rng(scenario.seed(f"look {look}")))
        self._model = compile_mjcf(self._document(params, True), scenario.task)
        for camera, offset in params["view"].items():
            self._model.camera(camera).pos += offset
        self._data = mujoco.MjData(self._model)
        self._dressed = (scenario.id, look)

    def picture(self, state: Array, camera: str, height: int, width: int) -> Array:
        """(height, width, 3) uint8 RGB of one state."""
        known = [self._model.camera(i).name for i in range(self._model.ncam)]
        if camera not in known:
            raise UnknownNameError("camera", camera, known)
        # The stored state begins with the time and the positions: all that pictures need.
        self._data.qpos[:] = state[1 : 1 + self._model.nq]
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        renderer = self._renderer(height, width)
        renderer.update_scene(self._data, camera)
        return np.asarray(renderer.render())

    def _renderer(self, height: int, width: int) -> mujoco.Renderer:
        if (height, width) not in self._renderers:
            try:
                renderer = mujoco.Renderer(self._model, height, width)
            except Exception as error:  # every GL backend raises its own kinds
                raise ResourceError(
                    f"no offscreen GL with MUJOCO_GL={os.environ.get('MUJOCO_GL')!r}: {error}. "
                    "On Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri; "
                    "or set MUJOCO_GL=osmesa with libosmesa6."
                ) from error
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                renderer.scene.flags[flag] = False
            self._renderers[height, width] = renderer
        return self._renderers[height, width]

    def close(self) -> None:
        """Free the GL contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
        self._dressed = None


def visual(ambient: float) -> str:
    """The ``visual`` section: coarse curves, no shadows, a soft headlight."""
    return (
        '<global offwidth="1280" offheight="960"/>'
        '<quality numslices="12" numstacks="6" numquads="2" shadowsize="0" offsamples="0"/>'
        f'<headlight ambient="{ambient} {ambient} {ambient}" diffuse="0.15 0.15 0.15" '
        'specular="0 0 0"/><map znear="0.02" zfar="20"/>'
    )
