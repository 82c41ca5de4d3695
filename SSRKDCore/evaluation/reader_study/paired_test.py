"""Do both versions get the same grades? Wilcoxon's signed rank test on case means, exact also with ties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class PairedTest:
    """Result of a paired comparison.

    Attributes
    ----------
    cases: pairs given.
    different: pairs whose two values differ; only these bear on the test (Wilcoxon 1945).
    mean_difference: mean of the differences; None without pairs.
    p: two-sided, exact under random exchange of the two values within each pair; None without pairs.
    effect: matched-pairs rank-biserial correlation (D. S. Kerby, Comprehensive Psychology 3, 2014), -1 to 1; None where no pair differs.
    """

    cases: int
    different: int
    mean_difference: float | None
    p: float | None
    effect: float | None


def signed_rank_test(differences: ArrayLike) -> PairedTest:
    """Wilcoxon's signed rank test (Biometrics Bulletin 1, 1945) of differences, one a case.

    Ties get their mean rank, and the null distribution is that of these very ranks under all 2^n signs, counted by
    adding one rank after the other; the tables for ranks without ties would be wrong for grades.
    """
    from scipy.stats import rankdata

    given = np.asarray(differences, dtype=np.float64)
    # Means of grades that are equal may differ by rounding.
    values = np.round(given, 9)
    values = values[values != 0]
    mean = float(given.mean()) if given.size else None
    if values.size == 0:
        return PairedTest(given.size, 0, mean, 1.0 if given.size else None, None)
    # Twice the rank is a whole number, also for ties.
    ranks = np.rint(2 * rankdata(np.abs(values))).astype(int)
    positive, total = int(ranks[values > 0].sum()), int(ranks.sum())
    chance = np.zeros(total + 1)
    chance[0] = 1.0
    for rank in ranks:
        shifted = np.zeros_like(chance)
        shifted[rank:] = chance[: total + 1 - rank]
        chance = (chance + shifted) / 2
    tail = min(positive, total - positive)
    p = min(1.0, 2 * float(chance[: tail + 1].sum()))
    return PairedTest(given.size, values.size, mean, p, (2 * positive - total) / total)


def holm(ps: list[float | None]) -> list[float | None]:
    """p values adjusted for their number (S. Holm, Scandinavian Journal of Statistics 6, 1979); None stays None."""
    known = sorted((p, index) for index, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    largest = 0.0
    for place, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - place) * p))
        adjusted[index] = largest
    return adjusted
