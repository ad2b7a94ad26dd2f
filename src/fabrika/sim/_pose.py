"""Poses: nine numbers a pose, rotations as matrices. Metres, radians; frames are the caller's."""

from __future__ import annotations

from math import acos, atan2, cos, sin, sqrt
from typing import Any

import numpy as np

from fabrika._signals import Array


def pose9(position: Array, rotation: Array) -> Array:
    """(9,) position and the first two columns of the rotation.

    Six numbers are the fewest in which rotation is continuous (Zhou et al., "On the continuity
    of rotation representations in neural networks", CVPR 2019).
    """
    return np.concatenate([position, rotation[:, 0], rotation[:, 1]])


def split9(pose: Array) -> tuple[Array, Array]:
    """Position (3,) and rotation (3, 3) of nine numbers; the rotation is made orthonormal."""
    x = pose[3:6] / np.linalg.norm(pose[3:6])
    y = pose[6:9] - x * (x @ pose[6:9])
    y = y / np.linalg.norm(y)
    return pose[:3], np.stack([x, y, np.cross(x, y)], axis=1)


def rotation_vector(vector: Array) -> Array:
    """(..., 3, 3) rotations by vectors (..., 3), axis times angle [rad]: Rodrigues' formula."""
    angle = np.sqrt((vector * vector).sum(axis=-1))[..., None, None]
    cross = np.zeros((*vector.shape[:-1], 3, 3))
    cross[..., 2, 1], cross[..., 0, 2], cross[..., 1, 0] = np.moveaxis(vector, -1, 0)
    cross -= np.swapaxes(cross, -1, -2).copy()
    # numpy.sinc is sin(pi x) / (pi x): both factors stay exact as the angle goes to zero.
    first, second = np.sinc(angle / np.pi), 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.asarray(np.eye(3) + first * cross + second * (cross @ cross))


def turn_by(vector: Array) -> Array:
    """(3, 3) rotation by one vector (3,): `rotation_vector` without its overhead."""
    x, y, z = vector.tolist()
    angle = sqrt(x * x + y * y + z * z)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z, s, c = x / angle, y / angle, z / angle, sin(angle), cos(angle)
    k = 1.0 - c
    return np.array(
        [
            [c + x * x * k, x * y * k - z * s, x * z * k + y * s],
            [y * x * k + z * s, c + y * y * k, y * z * k - x * s],
            [z * x * k - y * s, z * y * k + x * s, c + z * z * k],
        ]
    )


def vector_of(rotation: Array) -> Array:
    """(3,) axis times angle [rad] of a rotation; at half turns its sign is free."""
    (a, b, c), (d, e, f), (g, h, i) = rotation.tolist()
    angle = acos(min(1.0, max(-1.0, (a + e + i - 1.0) / 2.0)))
    skew = np.array([h - f, c - g, d - b])
    if angle < 1e-9:
        return skew / 2.0
    if np.pi - angle < 1e-6:
        axis = np.sqrt(np.maximum((np.diag(rotation) + 1.0) / 2.0, 0.0))
        lead = int(np.argmax(axis))
        axis = (rotation[lead] + np.eye(3)[lead]) / (2.0 * axis[lead])
        return np.asarray(angle * axis)
    return np.asarray(angle * skew / (2.0 * sin(angle)))


def across(one: Array, other: Array) -> Array:
    """(3,) cross product of two vectors: ``numpy.cross`` without its overhead."""
    (a, b, c), (d, e, f) = one.tolist(), other.tolist()
    return np.array([b * f - c * e, c * d - a * f, a * e - b * d])


def towards(one: Array, other: Array) -> Array:
    """(3,) vector about which a unit vector is turned into another, by its length [rad]."""
    axis = across(one, other)
    sine = float(np.linalg.norm(axis))
    return axis * (atan2(sine, float(one @ other)) / max(sine, 1e-9))


def yaw_rotation(yaw: float) -> Array:
    """(3, 3) rotation about z [rad]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rotation_of(quaternion: Array) -> Array:
    """(3, 3) rotation of one unit quaternion (4,), w first: `quaternion_rotation` made short."""
    return np.array(_rows(*quaternion.tolist()))


def quaternion_rotation(quaternion: Array) -> Array:
    """(..., 3, 3) rotations of quaternions (..., 4), w first, of unit length."""
    rows = _rows(*np.moveaxis(quaternion, -1, 0))
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def _rows(w: Any, x: Any, y: Any, z: Any) -> list[list[Any]]:
    """The rotation matrix of a unit quaternion, of numbers or of arrays."""
    return [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
