"""From what is known at a vertex to the error in mm that is to be expected there, and the interval that holds it.

The expected absolute error is a non-negative combination of the terms of `vertex_terms`, fitted by least squares for each bone. The
interval is a multiple of it, the multiple being the quantile of error over expectation on cases that the fit did not see: split conformal
prediction with a scaled score (Lei et al., "Distribution-free predictive inference for regression", J Am Stat Assoc 113, 2018, section
5.2). Vertices of one knee are no independent draws, and neither are knees of one person: scores are pooled over people, each counting the
same (Dunn, Wasserman and Ramdas, "Distribution-free prediction sets for two-layer hierarchical models", J Am Stat Assoc 118, 2023, pooling
of distribution functions), so that the interval holds over vertices of the average person of the same kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.trust.vertex_terms import LARGEST_MM, TERM_NAMES

Array = NDArray[np.float64]

COVERAGE = 0.95
_LEAST_MM = 0.05
# A term for which a network has to encode its images again, which can cost as much as the reconstruction did, has to be worth this much
# of the squared error that is left without it.
_COSTLY = ("exposure",)
_WORTH = 0.01
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


def noticeable(weights: Array) -> NDArray[np.bool_]:
    """(6,) which terms can move an expected error by _LEAST_MM at all; weights (7,) as of an `ErrorModel`.

    The others are not worth measuring: some ask a network to encode its images again.
    """
    return np.asarray(weights[1:] * LARGEST_MM > _LEAST_MM)


def fit_error_model(
    terms: Sequence[Array], errors: Sequence[Array], other_terms: Sequence[Array], other_errors: Sequence[Array]
) -> ErrorModel:
    """One bone's model.

    Parameters
    ----------
    terms, errors: of the cases to fit, one array each: (N, 6), and (N,) absolute errors in mm. Each case counts the same.
    other_terms, other_errors: of other cases, for the interval's factor.

    A term that is costly to measure is left out where the fit is nearly as good without it.
    """
    from scipy.optimize import nnls

    matrix, target, weight = _stacked(terms, errors)
    matrix = np.concatenate([np.ones((len(matrix), 1)), matrix], axis=1)
    root = np.sqrt(weight)
    wanted = np.minimum(target, _LARGEST_ERROR_MM) * root
    weights, residual = nnls(matrix * root[:, None], wanted)
    cheap = np.array([name not in _COSTLY for name in ("1", *TERM_NAMES)])
    without, left = nnls(matrix * (root[:, None] * cheap), wanted)
    if left**2 * (1 - _WORTH) <= residual**2:
        weights = without * cheap
    weights[1:] *= noticeable(weights)
    return ErrorModel(weights, interval_factor(weights, other_terms, other_errors))


def interval_factor(
    weights: Array, terms: Sequence[Array], errors: Sequence[Array], people: Sequence[str] | None = None
) -> float:
    """The multiple of the expected error that COVERAGE of the errors stay below.

    Parameters
    ----------
    weights: of an `ErrorModel`.
    terms, errors: one array a case, (N, 6) and (N,) absolute errors in mm, NaN where unknown; none of those that the weights fit.
    people: whose knee each case shows; every person counts the same. None takes each case for another person's.
    """
    model = ErrorModel(weights, 1.0)
    names = [str(index) for index in range(len(terms))] if people is None else list(people)
    known = [name for name, values in zip(names, errors, strict=True) if np.isfinite(values).any()]
    shares = [1.0 / known.count(name) for name in known]
    held, found, counts = _stacked(terms, errors, shares)
    return covering_value(found / model.expected(held), counts)


def held_for_each(
    weights: Array, terms: Sequence[Array], errors: Sequence[Array], people: Sequence[str], least: float = 0.0
) -> dict[str, float]:
    """By person the share of the known errors within the interval that is calibrated on the other people: what to expect of a stranger.

    weights, terms, errors, people: as of `interval_factor`. least: no factor is below it.

    Empty with fewer than two people whose errors are known.
    """
    model = ErrorModel(weights, 1.0)
    scores: dict[str, list[Array]] = {}
    for name, part, values in zip(people, terms, errors, strict=True):
        known = np.isfinite(values)
        if known.any():
            scores.setdefault(name, []).append(values[known] / model.expected(part[known]))
    found = {}
    for name in scores if len(scores) > 1 else ():
        others = [index for index, person in enumerate(people) if person != name]
        factor = interval_factor(
            weights, [terms[i] for i in others], [errors[i] for i in others], [people[i] for i in others]
        )
        factor = max(least, factor)
        found[name] = float(np.mean([(values <= factor).mean() for values in scores[name]]))
    return found


def covering_value(values: Array, weights: Array) -> float:
    """The one of the values (N,) that COVERAGE of them, by their weights (N,), do not exceed."""
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    return float(values[order[min(int(np.searchsorted(share, COVERAGE)), len(order) - 1)]])


def _stacked(
    terms: Sequence[Array], errors: Sequence[Array], shares: Sequence[float] | None = None
) -> tuple[Array, Array, Array]:
    """Terms, errors and weights of all vertices with a known error; `shares`: what each case with any counts in all, 1 without."""
    known = [np.isfinite(values) for values in errors]
    pairs = [(t[k], e[k]) for t, e, k in zip(terms, errors, known, strict=True) if k.any()]
    if not pairs:
        return np.zeros((1, len(TERM_NAMES))), np.ones(1), np.ones(1)
    weight = np.concatenate(
        [np.full(len(e), share / len(e)) for (_, e), share in zip(pairs, shares or [1.0] * len(pairs), strict=True)]
    )
    return np.concatenate([t for t, _ in pairs]), np.concatenate([e for _, e in pairs]), weight
