"""How far a case lies from the training's: the Mahalanobis distance with a covariance that is shrunk, since figures outnumber cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SMALL = 1e-9


@dataclass(frozen=True)
class DomainDistance:
    """A normal distribution of feature vectors.

    Attributes
    ----------
    mean, scale: (F,) of the training cases; vectors are centred and divided by these.
    directions: (K, F) principal directions. variances: (K,) along them, shrunk.
    rest: variance in every other direction, shrunk.
    """

    mean: Array
    scale: Array
    directions: Array
    variances: Array
    rest: float

    def distance(self, vector: Array) -> float:
        """Root mean square of the deviations in standard deviations: about 1 for a training case."""
        values = np.clip((np.asarray(vector, dtype=np.float64) - self.mean) / self.scale, -1e3, 1e3)
        along = self.directions @ values
        beside = max(float(values @ values - along @ along), 0.0)
        square = float((along**2 / self.variances).sum()) + beside / self.rest
        return float(np.sqrt(square / len(values)))


def fit_domain(vectors: Array) -> DomainDistance:
    """The distribution of vectors (N, F), N of at least 8.

    The covariance of the scaled vectors is drawn towards a multiple of the identity by the amount that minimises the expected error:
    Ledoit and Wolf, J Multivariate Anal 88, 2004, equations 14 and following.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    count, size = vectors.shape
    if count < 8:
        raise ValueError(f"{count} vectors are too few for a distribution")
    mean = vectors.mean(axis=0)
    scale = np.maximum(vectors.std(axis=0), _SMALL)
    values = (vectors - mean) / scale
    _, singular, directions = np.linalg.svd(values, full_matrices=False)
    eigenvalues = singular**2 / count
    level = float(eigenvalues.sum() / size)
    spread = float((eigenvalues**2).sum() / size - level**2)
    squares = (values**2).sum(axis=1)
    noise = float((squares**2).sum() / count - (eigenvalues**2).sum()) / count / size
    share = min(max(noise / max(spread, _SMALL), 0.0), 1.0)
    kept = eigenvalues > _SMALL
    return DomainDistance(
        mean,
        scale,
        directions[kept],
        (1.0 - share) * eigenvalues[kept] + share * level,
        max(share * level, 1e-3 * level),
    )
