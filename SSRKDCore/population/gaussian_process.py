"""Smooth random deformations: Gaussian processes in low rank (Luethi et al., IEEE TPAMI 40(8), 2018, Gaussian process morphable models).

A deformation is a displacement of every point, its three components independent, with covariance k(x, y) between points x and y: a sum
of squared-exponential kernels of several length scales (their section 3.2). The rank is reduced by the pivoted Cholesky
decomposition (Doelz et al., J Math Imaging Vis 61, 2019), whose error is known as it proceeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """One squared-exponential kernel: s^2 exp(-|x - y|^2 / (2 l^2)).

    Attributes
    ----------
    length: l in mm, over which displacements stay alike.
    amplitude: s in mm, standard deviation of each component of the displacement.
    """

    length: float
    amplitude: float


def covariance(a: Array, b: Array, scales: Sequence[Scale]) -> Array:
    """(N, M) covariance in mm^2 of one displacement component between points a (N, 3) and b (M, 3) in mm."""
    squared = ((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2.0 * a @ b.T).clip(min=0.0)
    total = np.zeros_like(squared)
    for scale in scales:
        total += scale.amplitude**2 * np.exp(squared / (-2.0 * scale.length**2))
    return total


def low_rank_basis(points: Array, scales: Sequence[Scale], share: float = 0.99, rank: int = 1000) -> Array:
    """A basis L (N, r) such that L L^T is close to the covariance of the points.

    Parameters
    ----------
    points: (N, 3) mm.
    scales: the kernels whose sum is meant.
    share: of the total variance that the basis must explain; the decomposition stops there.
    rank: r at most.

    A displacement field is L c with standard normal c (r, 3), one column a component.
    """
    points = np.asarray(points, dtype=np.float64)
    rank = min(rank, len(points))
    variance = np.full(len(points), sum(scale.amplitude**2 for scale in scales))
    total = variance.sum()
    basis = np.zeros((len(points), rank))
    for column in range(rank):
        pivot = int(np.argmax(variance))
        if variance.sum() <= (1.0 - share) * total or variance[pivot] <= 0.0:
            return basis[:, :column]
        row = covariance(points, points[pivot : pivot + 1], scales)[:, 0]
        row -= basis[:, :column] @ basis[pivot, :column]
        basis[:, column] = row / np.sqrt(variance[pivot])
        variance = np.maximum(variance - basis[:, column] ** 2, 0.0)
        variance[pivot] = 0.0
    return basis


def posterior_coefficients(basis: Array, displacements: Array, noise: Array) -> Array:
    """Most probable coefficients (r, 3) given noisy displacements of points: Gaussian process regression in low rank.

    Parameters
    ----------
    basis: (N, r) rows of a low-rank basis at the N observed points.
    displacements: (N, 3) mm.
    noise: (N,) standard deviation in mm of each observation.
    """
    weights = 1.0 / np.asarray(noise) ** 2
    weighted = basis * weights[:, None]
    precision = basis.T @ weighted
    precision[np.diag_indices_from(precision)] += 1.0
    return np.asarray(np.linalg.solve(precision, weighted.T @ displacements), dtype=np.float64)


class LowRankRegression:
    """Regression of displacements on modes and a Gaussian process beside them, with the same noise at every point.

    Parameters
    ----------
    basis: (N, r) rows of a low-rank basis at the observed points; r may be 0.
    modes: (q, N, 3) displacements of the points per standard deviation of each mode; q may be 0.
    noise: standard deviation in mm of each observation.
    """

    def __init__(self, basis: Array, modes: Array, noise: float) -> None:
        self._basis, self._modes = basis, modes
        inner = basis.T @ basis
        inner[np.diag_indices_from(inner)] += noise**2
        self._inverse = np.linalg.inv(inner)
        # Sizes are written out: -1 cannot be told where there is no mode.
        count, points = len(modes), len(basis)
        self._weighted = self._whitened(modes.transpose(1, 2, 0).reshape(points, 3 * count)).reshape(3 * points, count)
        self._normal = modes.reshape(count, 3 * points) @ self._weighted + noise**2 * np.eye(count)

    def _whitened(self, values: Array) -> Array:
        """noise^2 times the inverse covariance of process and noise (Woodbury identity) times values (N, m)."""
        return np.asarray(values - self._basis @ (self._inverse @ (self._basis.T @ values)))

    def solve(self, displacements: Array) -> tuple[Array, Array]:
        """Most probable mode coefficients (q,) and process coefficients (r, 3), given displacements (N, 3) in mm."""
        share = np.asarray(np.linalg.solve(self._normal, self._weighted.T @ displacements.ravel()), dtype=np.float64)
        left = displacements - np.tensordot(share, self._modes, axes=1)
        return share, self._inverse @ (self._basis.T @ left)
