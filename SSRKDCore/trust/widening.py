"""How many times as large errors become where images or bones are unlike the training's.

The strangeness of a case is the distance of its images, or of its bones' sizes where these lie farther, from the training's in units of the
amber limit. Cases beyond 1 are sorted into groups by it, and each group's multiple is the 95 % quantile of error over stated interval:
conformal prediction in groups (Vovk, "Conditional validity of inductive conformal predictors", Machine Learning 92, 2013, section 3, where
they are called Mondrian). Multiples never fall as cases become stranger, and are never below 1, which is what holds for those like the
training's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.trust.error_model import covering_value

Array = NDArray[np.float64]

#: Cases of a group, at least; so many groups, at most.
FEWEST_IN_GROUP = 10
MOST_GROUPS = 4


def fit_widening(strangeness: Sequence[float], scores: Sequence[Sequence[Array]]) -> Array:
    """(K, 2): from which strangeness on errors are how many times as large, both rising; no rows where too few cases are strange.

    Parameters
    ----------
    strangeness: of each case.
    scores: of each case, by bone, errors over half widths of the interval (N,); bones and cases count the same, whatever their N.
    """
    strange = [index for index in np.argsort(strangeness, kind="stable") if strangeness[index] > 1]
    count = min(MOST_GROUPS, len(strange) // FEWEST_IN_GROUP)
    rows: list[tuple[float, float]] = []
    for number, group in enumerate(np.array_split(strange, count) if count else ()):
        first = 1.0 if number == 0 else float(strangeness[group[0]])
        multiple = _covering([scores[index] for index in group])
        rows.append((first, max(multiple, rows[-1][1] if rows else 1.0)))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def widened(widening: Array, strangeness: float) -> float:
    """How many times as large errors are expected to be; `widening` as of `fit_widening`.

    What is not a number may be as strange as anything.
    """
    reached = widening[~(widening[:, 0] > strangeness)]
    return float(reached[-1, 1]) if len(reached) else 1.0


def _covering(cases: Sequence[Sequence[Array]]) -> float:
    """The score that COVERAGE of the vertices do not exceed."""
    parts = [(scores, 1.0 / (len(bones) * len(scores))) for bones in cases for scores in bones if len(scores)]
    weights = np.concatenate([np.full(len(scores), weight) for scores, weight in parts])
    return covering_value(np.concatenate([scores for scores, _ in parts]), weights)
