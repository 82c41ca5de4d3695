"""What a number of cases says of a method: mean, spread, worst case, and intervals by bootstrap over subjects.

Two legs of one person are alike, so persons are drawn and not cases (a cluster bootstrap: Field and Welsh, J R Stat Soc B 69, 2007).
Intervals are percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), which are somewhat too
narrow for few subjects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 4000
CONFIDENCE = 0.95
INTERVAL_WORDS = f"95 % percentile intervals of the mean, bootstrap over subjects, {RESAMPLES} resamples"


@dataclass(frozen=True)
class Summary:
    """Figures of one measure over cases.

    Attributes
    ----------
    mean, sd: over the values; `sd` is the sample standard deviation, None for a single value.
    worst: the value farthest in the bad direction.
    low, high: ends of the 95 % interval of the mean; None where all values belong to one subject.
    count, subjects: how many values there are, and of how many subjects.
    """

    mean: float
    sd: float | None
    worst: float
    low: float | None
    high: float | None
    count: int
    subjects: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def subject_interval(
    values: Sequence[float] | Array, subjects: Sequence[str], seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """95 % percentile interval (low, high) of the mean of `values`; None where there are fewer than two subjects.

    Subjects are drawn with replacement, each with all its values.

    Parameters
    ----------
    values: (N,) finite. subjects: (N,) whose they are. seed: the same seed gives the same interval. resamples: how often is drawn.
    """
    names, owner = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    if len(names) < 2:
        return None
    sums = np.bincount(owner, weights=np.asarray(values, dtype=np.float64))
    counts = np.bincount(owner).astype(np.float64)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=resamples)
    means = (drawn @ sums) / (drawn @ counts)
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(means, [tail, 100.0 - tail])
    return float(low), float(high)


def summary(
    values: Sequence[float], subjects: Sequence[str], higher_is_better: bool = False, seed: int = 0
) -> Summary | None:
    """Figures of one measure; None without any value. See `subject_interval` for values, subjects and seed."""
    if not len(values):
        return None
    numbers = np.asarray(values, dtype=np.float64)
    interval = subject_interval(numbers, subjects, seed)
    low, high = interval if interval is not None else (None, None)
    return Summary(
        float(numbers.mean()),
        float(numbers.std(ddof=1)) if len(numbers) > 1 else None,
        float(numbers.min() if higher_is_better else numbers.max()),
        low,
        high,
        len(numbers),
        len(set(subjects)),
    )


@dataclass(frozen=True)
class PairedDifference:
    """Mean of (other minus first) over the cases that both have, its 95 % interval, and how many pairs there are or lack."""

    mean: float
    low: float | None
    high: float | None
    pairs: int
    unpaired: int


def paired_difference(
    first: Mapping[str, float], other: Mapping[str, float], subjects: Mapping[str, str], seed: int = 0
) -> PairedDifference | None:
    """Difference of two methods on the same cases, by case; None where no case has both.

    Parameters
    ----------
    first, other: case -> value; a case that failed is absent. subjects: case -> subject. seed: of the bootstrap over subjects.
    """
    both = sorted(set(first) & set(other))
    if not both:
        return None
    differences = np.array([other[case] - first[case] for case in both])
    interval = subject_interval(differences, [subjects[case] for case in both], seed)
    low, high = interval if interval is not None else (None, None)
    return PairedDifference(float(differences.mean()), low, high, len(both), len(set(first) | set(other)) - len(both))


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> dict[str, float | int | None]:
    """Spearman's rank correlation with its two-sided p value and the number of pairs; None below three pairs or without variation."""
    from scipy.stats import spearmanr

    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    known = np.isfinite(first) & np.isfinite(second)
    first, second = first[known], second[known]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return {"spearman": None, "p": None, "pairs": len(first)}
    found = spearmanr(first, second)
    return {"spearman": float(found.statistic), "p": float(found.pvalue), "pairs": len(first)}
