"""Agreement between readers.

Krippendorff's alpha with the ordinal difference (K. Krippendorff, Content Analysis, 4th edition, 2018, chapter 12)
takes grades as the ordered words that they are, any number of readers, and grades that are missing: 1 is perfect
agreement, 0 that of chance, below 0 is worse than chance. ICC(2,1), two-way random effects, absolute agreement, single
reader (P. E. Shrout and J. L. Fleiss, Psychological Bulletin 86, 1979), is what radiology papers report; it takes grades
as numbers and needs every reader on every model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def krippendorff_alpha(grades: ArrayLike) -> float | None:
    """Ordinal alpha of (readers, models) grades, NaN where one is missing.

    None where it is not defined: no model has two grades, or all grades are one and the same, so that nothing could disagree.
    """
    table = np.asarray(grades, dtype=np.float64)
    known = np.isfinite(table)
    table, known = (part[:, known.sum(axis=0) >= 2] for part in (table, known))
    values = np.unique(table[known])
    if len(values) < 2:
        return None
    counts = np.stack([(table == value).sum(axis=0) for value in values], axis=1).astype(np.float64)
    per_model = counts.sum(axis=1)
    # Pairs of grades within a model, each model weighted by its number of readers.
    pairs = (counts.T / (per_model - 1)) @ counts - np.diag((counts / (per_model - 1)[:, None]).sum(axis=0))
    totals = counts.sum(axis=0)
    expected = np.outer(totals, totals) - np.diag(totals)
    difference = _ordinal_difference(totals)
    disagreement, chance = (pairs * difference).sum(), (expected * difference).sum()
    return float(1.0 - (totals.sum() - 1) * disagreement / chance)


def _ordinal_difference(totals: Array) -> Array:
    """Squared number of grades given between two values, their own counted half."""
    middles = np.cumsum(totals) - totals / 2
    return np.asarray((middles[:, None] - middles[None, :]) ** 2)


def icc_2_1(grades: ArrayLike) -> float | None:
    """ICC(2,1) of (readers, models) grades; models that lack a grade (NaN) are left out.

    None with fewer than two readers or models, or where no grade differs from another.
    """
    table = np.asarray(grades, dtype=np.float64)
    table = table[:, np.isfinite(table).all(axis=0)]
    readers, models = table.shape
    if readers < 2 or models < 2:
        return None
    grand = table.mean()
    between_models = readers * ((table.mean(axis=0) - grand) ** 2).sum() / (models - 1)
    between_readers = models * ((table.mean(axis=1) - grand) ** 2).sum() / (readers - 1)
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + grand
    error = (rest**2).sum() / ((models - 1) * (readers - 1))
    scale = between_models + (readers - 1) * error + readers * (between_readers - error) / models
    # Grades that are all alike leave rounding only.
    return None if scale < 1e-12 else float((between_models - error) / scale)
