"""From what is known at a vertex to the error in mm that is to be expected there, and the interval that holds it.

The expected absolute error is a non-negative combination of the terms of `vertex_terms`, fitted by least squares for each bone. The
interval is a multiple of it, the multiple being the quantile of error over expectation on cases that the fit did not see: split conformal
prediction with a scaled score (Lei et al., "Distribution-free predictive inference for regression", J Am Stat Assoc 113, 2018, section
5.2). Vertices of one knee are no independent draws: the interval holds over vertices of the average knee of the same kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.trust.vertex_terms import TERM_NAMES

Array = NDArray[np.float64]

COVERAGE = 0.95
_LEAST_MM = 0.05
_LARGEST_ERROR_MM = 15.0


@dataclass(frozen=True)
class ErrorModel:
    """weights: (7,) of 1 and the terms, none negative. factor: expected error to the 95 % interval's half width."""

    weights: Array
    factor: float

    def expected(self, terms: Array) -> Array:
        """(N,) expected absolute error in mm from terms (N, 6)."""
        return np.maximum(self.weights[0] + terms @ self.weights[1:], _LEAST_MM)

    def interval(self, terms: Array) -> Array:
        """(N,) mm: 95 % of the true surface is expected within this distance of the vertex."""
        return self.factor * self.expected(terms)


def fit_error_model(
    terms: Sequence[Array], errors: Sequence[Array], other_terms: Sequence[Array], other_errors: Sequence[Array]
) -> ErrorModel:
    """One bone's model.

    Parameters
    ----------
    terms, errors: of the cases to fit, one array each: (N, 6), and (N,) absolute errors in mm. Each case counts the same.
    other_terms, other_errors: of other cases, for the interval's factor.
    """
    from scipy.optimize import nnls

    matrix, target, weight = _stacked(terms, errors)
    matrix = np.concatenate([np.ones((len(matrix), 1)), matrix], axis=1)
    root = np.sqrt(weight)
    weights, _ = nnls(matrix * root[:, None], np.minimum(target, _LARGEST_ERROR_MM) * root)
    model = ErrorModel(weights, 1.0)
    held, found, counts = _stacked(other_terms, other_errors)
    score = found / model.expected(held)
    order = np.argsort(score)
    share = np.cumsum(counts[order]) / counts.sum()
    place = min(int(np.searchsorted(share, COVERAGE)), len(order) - 1)
    return ErrorModel(weights, float(score[order[place]]))


def _stacked(terms: Sequence[Array], errors: Sequence[Array]) -> tuple[Array, Array, Array]:
    known = [np.isfinite(values) for values in errors]
    pairs = [(t[k], e[k]) for t, e, k in zip(terms, errors, known, strict=True) if k.any()]
    if not pairs:
        return np.zeros((1, len(TERM_NAMES))), np.ones(1), np.ones(1)
    weight = np.concatenate([np.full(len(e), 1.0 / len(e)) for _, e in pairs])
    return np.concatenate([t for t, _ in pairs]), np.concatenate([e for _, e in pairs]), weight
