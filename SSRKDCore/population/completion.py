"""Bones of which only a part was seen, made whole: shafts that stop short, holes, flawed stretches.

The most probable shape given the part that was seen, under a model of the whole bones of the population and a Gaussian process beside them
(posterior shape models: Albrecht et al., Med Image Anal 17(8), 2013). Mean, modes and kernels are smooth across the border, so
the completed shape is as well; a principal component analysis with single vertices missing would step there, since two
neighbours would be learnt from different people.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.population.gaussian_process import LowRankRegression, Scale, low_rank_basis

Array = NDArray[np.float64]

# How far a bone may leave the span of the few whole ones; generous, because what was seen decides.
SCALES = (Scale(120.0, 3.0), Scale(45.0, 1.5), Scale(20.0, 0.8), Scale(9.0, 0.3))
_SHARE, _RANK = 0.9999, 900
_NOISE = 0.15
# A bone with a few holes is still a whole one to learn from.
_WHOLE = 0.97
_MODES = 12


def completed(shapes: Array, seen: NDArray[np.bool_], weights: Array, reference: Array) -> Array:
    """Shapes of one bone with every vertex.

    Parameters
    ----------
    shapes: (N, V, 3) mm, aligned to one another; what was not seen may hold anything finite.
    seen: (N, V).
    weights: (N,) how many people each counts as.
    reference: (V, 3) mm, where the kernels measure distances.

    Returns (N, V, 3): what was seen, unchanged, and the most probable rest. Raises ValueError when no bone is whole.
    """
    whole = np.flatnonzero(seen.mean(axis=1) >= _WHOLE)
    if not len(whole):
        raise ValueError("no bone is whole")
    basis = low_rank_basis(reference, SCALES, _SHARE, _RANK)
    result = shapes.copy()
    # Holes of whole bones first, so that mean and modes are free of what was not seen.
    mean = np.average(shapes[whole], axis=0, weights=weights[whole])
    for rows in _alike(seen, whole):
        result[rows] = _posterior(result[rows], seen[rows[0]], mean, np.zeros((0, *mean.shape)), basis)
    mean, modes = _modes(result[whole], weights[whole])
    rest = np.setdiff1d(np.arange(len(shapes)), whole)
    for rows in _alike(seen, rest):
        result[rows] = _posterior(shapes[rows], seen[rows[0]], mean, modes, basis)
    return result


def _alike(seen: NDArray[np.bool_], rows: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
    """The rows in sets that show the same vertices."""
    if not len(rows):
        return []
    which = np.unique(np.packbits(seen[rows], axis=1), axis=0, return_inverse=True)[1].ravel()
    return [rows[which == index] for index in range(which.max() + 1)]


def _modes(shapes: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted mean (V, 3) and modes (q, V, 3), each as long as its standard deviation."""
    share = weights / weights.sum()
    mean = np.tensordot(share, shapes, axes=1)
    data = ((shapes - mean) * np.sqrt(share)[:, None, None]).reshape(len(shapes), -1)
    _, spread, directions = np.linalg.svd(data, full_matrices=False)
    count = min(_MODES, int((spread > 1e-6 * spread[0]).sum())) if len(shapes) > 1 else 0
    return mean, (spread[:count, None] * directions[:count]).reshape(count, *mean.shape)


def _posterior(shapes: Array, seen: NDArray[np.bool_], mean: Array, modes: Array, basis: Array) -> Array:
    """Shapes (n, V, 3) that show the same vertices, the rest replaced by its most probable place."""
    if seen.all():
        return shapes
    regression = LowRankRegression(basis[seen], modes[:, seen], _NOISE)
    result = shapes.copy()
    for row, shape in enumerate(shapes):
        share, coefficients = regression.solve(shape[seen] - mean[seen])
        expected = mean + np.tensordot(share, modes, axes=1) + basis @ coefficients
        result[row][~seen] = expected[~seen]
    return result
