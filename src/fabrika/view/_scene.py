"""The scene as viser shows it: shapes that hang on bodies, and arrows where they touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import trimesh
import viser
import viser.transforms

from fabrika._signals import Array

_PRESSED = (255, 92, 20)
"""Colour of contacts."""
_FEELER = (40, 130, 255)
"""Colour of collision shapes."""
_LEAST = 0.05
"""Contacts with less force are not shown [N]."""
_STILL = 1e-5
"""What moves by less is where it was [m], or by half of it in a quaternion [rad]."""


class Shape(Protocol):
    """One shape in the frame of its body; see `fabrika.sim.Solid`."""

    @property
    def body(self) -> int:
        """Which body."""

    @property
    def kind(self) -> str:
        """plane, sphere, capsule, ellipsoid, cylinder, box or mesh."""

    @property
    def size(self) -> Array:
        """(3,) half sizes [m]."""

    @property
    def position(self) -> Array:
        """(3,) in the body's frame [m]."""

    @property
    def wxyz(self) -> Array:
        """(4,) unit quaternion into the body's frame."""

    @property
    def rgba(self) -> Array:
        """(4,) from 0 to 1."""

    @property
    def seen(self) -> bool:
        """Part of pictures."""

    @property
    def collides(self) -> bool:
        """Can touch something."""

    @property
    def vertices(self) -> Array:
        """(V, 3) of a mesh [m]."""

    @property
    def faces(self) -> Array:
        """(F, 3) of a mesh."""


class Film(Protocol):
    """Where everything is at each observation of an episode; see `fabrika.sim.Playback`."""

    @property
    def times(self) -> Array:
        """(T + 1,) [s]."""

    @property
    def solids(self) -> Sequence[Shape]:
        """All that can be seen or touched."""

    @property
    def eye(self) -> Array:
        """(3,) where the viewer stands [m]."""

    @property
    def target(self) -> Array:
        """(3,) where the viewer looks [m]."""

    def poses(self, frame: int) -> tuple[Array, Array]:
        """(B, 3) positions [m] and (B, 4) unit quaternions of all bodies."""

    def contacts(self, frame: int) -> tuple[Array, Array]:
        """(C, 3) points [m] and (C, 3) forces [N]."""


class Scene:
    """The nodes of one film. `show` sends what changed since the last observation shown."""

    def __init__(self, server: viser.ViserServer, film: Film) -> None:
        self._server, self._film = server, film
        self._bodies = {
            body: server.scene.add_frame(f"/bodies/{body}", show_axes=False)
            for body in sorted({solid.body for solid in film.solids})
        }
        self._sent: Array | None = None
        self._looks = self._add("looks", [s for s in film.solids if s.seen and s.rgba[3] > 0])
        self._feelers = self._add("collision", [s for s in film.solids if s.collides])
        self.show_collision(False)
        self._arrows: viser.ArrowsHandle | None = None
        self._light()

    def _light(self) -> None:
        """A lamp over the viewer's shoulder, light from all around, and the eye."""
        scene, camera = self._server.scene, self._server.initial_camera
        scene.configure_environment_map("apartment", environment_intensity=0.45)
        scene.configure_default_lights(False)
        x, y, _ = self._film.eye - self._film.target
        back = np.array([x - 0.6 * y, y + 0.6 * x, 0.0]) / max(float(np.hypot(x, y)), 1e-6)
        # It shines from there towards the origin of the world, as the sun does.
        lamp = 1.2 * back + np.array([0.0, 0.0, 3.0])
        self.lamp = scene.add_light_directional(
            "/lamp", position=lamp, intensity=1.7, cast_shadow=True
        )
        camera.position, camera.look_at = self._film.eye, self._film.target
        camera.fov = np.radians(50.0)

    def _add(self, kind: str, solids: Sequence[Shape]) -> list[viser.MeshHandle]:
        """One node for all shapes of one body that have one colour."""
        alike: dict[tuple[int, tuple[float, ...], str], list[trimesh.Trimesh]] = {}
        bare = kind == "collision"
        for solid in solids:
            colour = tuple(np.round(solid.rgba, 4).tolist())
            key = solid.body, () if bare else colour, _surface(solid)
            alike.setdefault(key, []).append(mesh_of(solid))
        nodes = []
        for number, ((body, rgba, surface), meshes) in enumerate(alike.items()):
            whole: Any = trimesh.util.concatenate(meshes)
            nodes.append(
                self._server.scene.add_mesh_simple(
                    f"/bodies/{body}/{kind}_{number}",
                    whole.vertices,
                    whole.faces,
                    color=_FEELER if bare else np.array(rgba[:3]),
                    opacity=rgba[3] if rgba and rgba[3] < 1 else None,
                    wireframe=bare,
                    flat_shading=not bare and surface != "smooth",
                    cast_shadow=not bare and surface != "plane",
                )
            )
        return nodes

    def show(self, frame: int, contacts: bool) -> tuple[int, float]:
        """Show an observation; the number of contacts and the largest force [N], if asked for."""
        places = self._film.poses(frame)
        points, forces = self._film.contacts(frame) if contacts else (np.zeros((0, 3)),) * 2
        strength = np.linalg.norm(forces, axis=1)
        pressed = strength > _LEAST
        with self._server.atomic():
            self._move(*places)
            self._point(points[pressed], forces[pressed], strength[pressed])
        return int(pressed.sum()), float(strength.max(initial=0.0))

    def show_collision(self, wanted: bool) -> None:
        """The shapes that touch, instead of those that pictures show."""
        for node in self._feelers:
            node.visible = wanted
        for node in self._looks:
            node.visible = not wanted

    def _move(self, positions: Array, turns: Array) -> None:
        """Send the poses of bodies that moved since theirs was sent."""
        places = np.concatenate((positions, turns), axis=1)
        if self._sent is None:
            self._sent = np.full_like(places, np.inf)
        moved = np.abs(places - self._sent).max(axis=1) > _STILL
        for body, node in self._bodies.items():
            if moved[body]:
                node.position, node.wxyz = positions[body], turns[body]
        self._sent[moved] = places[moved]

    def _point(self, points: Array, forces: Array, strength: Array) -> None:
        """Arrows along the forces. A tenth of a newton and a hundred can both be seen."""
        if self._arrows is not None:
            self._arrows.remove()
            self._arrows = None
        if not len(points):
            return
        length = 0.04 + 0.06 * np.log10(1.0 + strength)
        ahead = forces / strength[:, None] * length[:, None]
        self._arrows = self._server.scene.add_arrows(
            "/contacts",
            np.stack([points, points + ahead], axis=1),
            _PRESSED,
            shaft_radius=0.004,
            head_radius=0.01,
            head_length=0.024,
        )


def _surface(solid: Shape) -> str:
    """How light falls on it. Walls are planes: no wall may shade the room."""
    if solid.kind == "plane":
        return "plane"
    return "smooth" if solid.kind in ("sphere", "capsule", "ellipsoid") else "flat"


def mesh_of(solid: Shape) -> trimesh.Trimesh:
    """The surface of a shape, in the frame of its body [m]."""
    x, y, z = solid.size.tolist()
    if solid.kind == "plane":
        corners = [[-x, -y, 0.0], [x, -y, 0.0], [x, y, 0.0], [-x, y, 0.0]]
        mesh = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)
    elif solid.kind == "box":
        mesh = trimesh.creation.box(extents=(2 * x, 2 * y, 2 * z))
    elif solid.kind == "cylinder":
        mesh = trimesh.creation.cylinder(radius=x, height=2 * y, sections=40)
    elif solid.kind == "capsule":
        mesh = trimesh.creation.capsule(radius=x, height=2 * y, count=(14, 12))
    elif solid.kind == "mesh":
        mesh = trimesh.Trimesh(solid.vertices, solid.faces, process=False)
    else:
        mesh = trimesh.creation.icosphere(subdivisions=3)
        mesh.apply_scale((x, x, x) if solid.kind == "sphere" else (x, y, z))
    place = np.eye(4)
    place[:3, :3] = viser.transforms.SO3(solid.wxyz).as_matrix()
    place[:3, 3] = solid.position
    mesh.apply_transform(place)
    return mesh
