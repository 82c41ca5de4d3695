"""A view from points in space and their images: the direct linear transform.

Abdel-Aziz and Karara (1971); normalised after Hartley, "In defense of the eight-point algorithm", IEEE TPAMI 19(6), 1997;
decomposed after Hartley and Zisserman, Multiple View Geometry, 2nd edition, chapters 6 and 7. Image coordinates are
[row, column]; an image may be seen from the tube or from the detector, so that the axes of the decomposed view may be left-handed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.marker_object import check_spread
from SSRKDCore.geometry.view import View

Array = NDArray[np.float64]

# Singular value of the second smallest direction over the largest: below, more than one view explains the points.
_LEAST_SECOND = 1e-9


@dataclass(frozen=True)
class Pinhole:
    """A projection in parts: (row, column, 1) w = K R (X - source).

    Attributes
    ----------
    source: (3,) mm.
    axes: (3, 3) orthonormal rows: direction of growing rows, of growing columns, and away from the source.
    focal: source-to-detector distance in pixels, along (rows, columns).
    principal: (row, column) of the foot of the central ray.
    skew: by which rows shear with columns, pixels; 0 on a real detector.
    """

    source: Array
    axes: Array
    focal: tuple[float, float]
    principal: tuple[float, float]
    skew: float = 0.0

    @property
    def matrix(self) -> Array:
        """(3, 4) P."""
        camera = np.array(
            [[self.focal[0], self.skew, self.principal[0]], [0, self.focal[1], self.principal[1]], [0, 0, 1]]
        )
        turned = camera @ self.axes
        return np.concatenate([turned, -(turned @ self.source)[:, None]], axis=1)

    def project(self, points: ArrayLike) -> Array:
        """(N, 2) [row, column] of points (N, 3)."""
        homogeneous = (np.asarray(points, dtype=np.float64) - self.source) @ self.matrix[:, :3].T
        return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:])

    def view(self, name: str, source_to_detector: float, rows: int, columns: int) -> View:
        """The view with the detector at that distance (mm): its pitch is the distance over the focal length."""
        pitch = (source_to_detector / self.focal[0], source_to_detector / self.focal[1])
        down, across, away = self.axes
        first = self.source + source_to_detector * away
        first = first - self.principal[0] * pitch[0] * down - self.principal[1] * pitch[1] * across
        return View(name, tuple(self.source), tuple(first), tuple(across), tuple(down), pitch, rows, columns)


def projection_matrix(points: ArrayLike, pixels: ArrayLike) -> Array:
    """The (3, 4) matrix P with (row, column, 1) w = P (x, y, z, 1), up to scale, by least squares of the algebraic error.

    Parameters
    ----------
    points: (N, 3) mm, N >= 6, not in one plane.
    pixels: (N, 2) [row, column].

    Raises InputError when the points are too few or leave the matrix open.
    """
    points, pixels = np.asarray(points, dtype=np.float64), np.asarray(pixels, dtype=np.float64)
    check_spread(points, "The calibration object")
    space, image = _normalisation(points), _normalisation(pixels)
    normal_points = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ space.T
    normal_pixels = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ image.T
    zero = np.zeros_like(normal_points)
    rows = np.concatenate(
        [
            np.concatenate([normal_points, zero, -normal_pixels[:, :1] * normal_points], axis=1),
            np.concatenate([zero, normal_points, -normal_pixels[:, 1:2] * normal_points], axis=1),
        ]
    )
    _, values, vectors = np.linalg.svd(rows)
    if values[10] < _LEAST_SECOND * values[0]:
        raise InputError(
            "The markers leave the view open (they lie on a special curve): use more of them, more spread out."
        )
    return np.asarray(np.linalg.solve(image, vectors[-1].reshape(3, 4)) @ space)


def decomposed(matrix: ArrayLike, points: ArrayLike) -> Pinhole:
    """Source, axes, focal length and principal point of a (3, 4) projection that sees `points` (N, 3) in front of the source."""
    from scipy.linalg import rq

    matrix = np.asarray(matrix, dtype=np.float64)
    square = matrix[:, :3]
    if np.linalg.matrix_rank(square) < 3:
        raise InputError("The markers' images fit only a view from infinity: check the picked positions.")
    source = -np.linalg.solve(square, matrix[:, 3])
    camera, axes = rq(square)
    signs = np.diag(np.where(np.diag(camera) < 0, -1.0, 1.0))
    camera, axes = camera @ signs, signs @ axes
    # The matrix is known up to a factor of either sign; what was imaged lies before the source.
    if float(np.median((np.asarray(points, dtype=np.float64) - source) @ axes[2])) < 0:
        axes = -axes
    camera = camera / camera[2, 2]
    return Pinhole(
        source,
        axes,
        (float(camera[0, 0]), float(camera[1, 1])),
        (float(camera[0, 2]), float(camera[1, 2])),
        float(camera[0, 1]),
    )


def _normalisation(points: Array) -> Array:
    """Homogeneous matrix that brings points (N, D) to mean 0 and root mean square distance sqrt(D)."""
    count = points.shape[1]
    mean = points.mean(axis=0)
    spread = float(np.sqrt(((points - mean) ** 2).sum(axis=1).mean()))
    if not spread > 0:
        raise InputError("All markers were picked at one place: pick each marker at its own.")
    scale = np.sqrt(count) / spread
    matrix = np.diag([scale] * count + [1.0])
    matrix[:count, count] = -scale * mean
    return matrix
