"""What a stated spread is worth: how many times it errors stay below, by how large it is.

Conformal prediction in groups (Vovk, "Conditional validity of inductive conformal predictors", Machine Learning 92, 2013, section 3): cases
are sorted into groups by the spread, and a group's factor is what COVERAGE of its errors, in units of their spreads, do not exceed. Where a
factor would fall as spreads grow, the groups are too few to tell them apart and become one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError

Array = NDArray[np.float64]

COVERAGE = 0.99
#: Below about 1 / (1 - COVERAGE) cases the largest error of all is what is known of the quantile.
FEWEST_IN_GROUP = 150
MOST_GROUPS = 8


def fit_factors(spreads: Array, errors: Array) -> Array:
    """(K, 2): from which spread on errors stay below how many spreads; both rise.

    spreads, errors: (N,) of cases; errors of either sign. Raises InputError for fewer cases than a group needs.
    """
    if len(spreads) < FEWEST_IN_GROUP:
        raise InputError(
            f"{len(spreads)} cases are too few to tell how well something is known: give at least {FEWEST_IN_GROUP}."
        )
    scores = np.abs(errors) / np.maximum(spreads, np.finfo(np.float64).tiny)
    order = np.argsort(spreads, kind="stable")
    groups = np.array_split(order, min(MOST_GROUPS, len(order) // FEWEST_IN_GROUP))
    merged: list[NDArray[np.int64]] = []
    for group in groups:
        merged.append(group)
        while len(merged) > 1 and _covering(scores[merged[-2]]) >= _covering(scores[merged[-1]]):
            merged[-2:] = [np.concatenate(merged[-2:])]
    starts = [0.0, *(float(spreads[group].min()) for group in merged[1:])]
    return np.array([[start, _covering(scores[group])] for start, group in zip(starts, merged, strict=True)])


def known_to(factors: Array, spread: float) -> float:
    """What COVERAGE of the errors with this spread stay below; no number for a spread that is none. factors: of `fit_factors`."""
    reached = factors[~(factors[:, 0] > spread)]
    return float(reached[-1, 1] * spread)


def _covering(scores: Array) -> float:
    place = math.ceil(COVERAGE * (len(scores) + 1))
    return float(np.sort(scores)[min(place, len(scores)) - 1])
