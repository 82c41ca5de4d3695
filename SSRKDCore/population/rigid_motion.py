"""Rigid and similarity maps between corresponding and uncorresponding point sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.population.closest_points import ClosestPoints

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation.

    Attributes
    ----------
    scale: positive.
    rotation: (3, 3), determinant +1: sides are never swapped.
    translation: (3,) mm.
    """

    scale: float
    rotation: Array
    translation: Array

    def apply(self, points: Array) -> Array:
        """Points (..., 3) mapped."""
        return self.scale * points @ self.rotation.T + self.translation

    def inverse(self) -> Similarity:
        """The map back."""
        rotation = self.rotation.T
        return Similarity(1.0 / self.scale, rotation, -(rotation @ self.translation) / self.scale)


def similarity_between(source: Array, target: Array, scaled: bool = True) -> Similarity:
    """The similarity that brings points (N, 3) next to their partners (N, 3), least squares (Umeyama, IEEE TPAMI 13(4), 1991).

    Without `scaled` the scale is 1.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    u, spread, vt = np.linalg.svd(a.T @ b)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    rotation = vt.T @ np.diag(sign) @ u.T
    scale = float((spread * sign).sum() / (a**2).sum()) if scaled else 1.0
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


def closest_point_alignment(
    moving: Array, normals: Array, target: ClosestPoints, start: Similarity, scaled: bool = True, iterations: int = 60
) -> Similarity:
    """Iterative closest points (Besl and McKay, IEEE TPAMI 14(2), 1992), trimmed to the closest 85 % with agreeing normals.

    Parameters
    ----------
    moving, normals: (N, 3) points in mm and outward unit normals of the moving surface.
    target: the surface to reach.
    start: where to start from.
    scaled: whether size is found as well.
    """
    motion = start
    for _ in range(iterations):
        placed = motion.apply(moving)
        closest, triangle = target.query(placed)
        agreeing = np.einsum("ij,ij->i", normals @ motion.rotation.T, target.normals[triangle]) > 0.5
        distance = np.linalg.norm(closest - placed, axis=1)
        used = agreeing & (distance <= np.quantile(distance[agreeing], 0.85))
        update = similarity_between(moving[used], closest[used], scaled)
        step = np.abs(update.apply(moving) - placed).max()
        motion = update
        if step < 0.01:
            break
    return motion
