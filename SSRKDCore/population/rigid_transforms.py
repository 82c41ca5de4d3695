"""Rotations and translations as 4x4 matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rotation_about(axis: Array, degrees: float, pivot: Array) -> Array:
    """4x4 right-handed rotation by `degrees` about the line through `pivot` (3,) along `axis` (3,), of any length."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(np.deg2rad(degrees) * np.asarray(axis) / np.linalg.norm(axis)).as_matrix()
    transform = np.eye(4)
    transform[:3, :3] = turn
    transform[:3, 3] = pivot - turn @ pivot
    return transform


def translation(shift: Array) -> Array:
    """4x4 translation by (3,) mm."""
    transform = np.eye(4)
    transform[:3, 3] = shift
    return transform
