"""Poses: nine numbers a pose, rotations as matrices. Metres, radians; frames are the caller's."""

from __future__ import annotations

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
    """(3, 3) rotation by a vector (axis times angle) [rad]: Rodrigues' formula."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)


def vector_of(rotation: Array) -> Array:
    """(3,) axis times angle [rad] of a rotation; exact but at half turns, where the sign is free."""
    cosine = np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0)
    angle = float(np.arccos(cosine))
    skew = np.array(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    if angle < 1e-9:
        return skew / 2.0
    if np.pi - angle < 1e-6:
        axis = np.sqrt(np.maximum((np.diag(rotation) + 1.0) / 2.0, 0.0))
        lead = int(np.argmax(axis))
        axis = (rotation[lead] + np.eye(3)[lead]) / (2.0 * axis[lead])
        return angle * axis
    return angle * skew / (2.0 * np.sin(angle))


def yaw_rotation(yaw: float) -> Array:
    """(3, 3) rotation about z [rad]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def quaternion_rotation(quaternion: Array) -> Array:
    """(..., 3, 3) rotations of quaternions (..., 4), w first, of unit length."""
    w, x, y, z = np.moveaxis(quaternion, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))
