"""From which value on a measure is unusual: limits from cases of the training domain alone, never from what they are to catch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Standard deviations of the logarithm above its mean: one in 200, and one in millions, of good cases if it were normal.
_AMBER, _RED = 2.6, 5.0
# A measure that hardly varies among few cases still varies a little among more.
_LEAST_SPREAD = 0.05
_SMALL = 1e-6


@dataclass(frozen=True)
class Limit:
    """A measure above `amber` is unusual in the training domain, one above `red` unheard of; `typical` is the median."""

    typical: float
    amber: float
    red: float

    def light(self, value: float) -> str:
        """ "green", "amber" or "red". What is not a number was not measured, and is never green: red."""
        return "green" if value <= self.amber else "amber" if value <= self.red else "red"


def quantile_limit(values: Sequence[float]) -> Limit:
    """The limits of a measure that was fitted to nothing and is mostly noise: one good case in 40 is above amber; red is 1.5 times that."""
    known = np.array([value for value in values if value is not None and np.isfinite(value)], dtype=np.float64)
    if len(known) < 4:
        raise ValueError(f"{len(known)} values are too few for a limit")
    amber = float(np.quantile(known, 0.975))
    return Limit(float(np.median(known)), amber, 1.5 * amber)


def fit_limit(values: Sequence[float]) -> Limit:
    """The limits of a positive measure from its values on good cases, by a normal distribution of its logarithm."""
    known = np.array([value for value in values if value is not None and np.isfinite(value)], dtype=np.float64)
    if len(known) < 4:
        raise ValueError(f"{len(known)} values are too few for a limit")
    logarithm = np.log(np.maximum(known, _SMALL))
    middle, spread = float(logarithm.mean()), max(float(logarithm.std(ddof=1)), _LEAST_SPREAD)
    return Limit(
        float(np.median(known)), float(np.exp(middle + _AMBER * spread)), float(np.exp(middle + _RED * spread))
    )
