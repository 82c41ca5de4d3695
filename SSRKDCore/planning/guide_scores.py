"""Six-step scores from percentages.

Surgeons scored printed guides for fit, stability and accuracy from 1 to 6 by bands of percentages. The bands of that paper are not at
hand: six bands of equal width stand in for them, named here so that the right ones can be put in their place. That 6 is the best is
our assumption too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from SSRKDCore.errors import InputError

#: Lowest percentage of scores 2, 3, 4, 5 and 6.
EQUAL_BANDS_PERCENT = (100 / 6, 200 / 6, 50.0, 400 / 6, 500 / 6)
BANDS_NOTE = (
    "Scores 1 to 6 by bands of percentages that begin at {}. The published bands were not at hand; these are {}, "
    "and that 6 is the best score is our assumption: the scores must not be compared with published ones."
)


@dataclass(frozen=True)
class GuideScores:
    """Scores 1 to 6, 6 the best.

    Attributes
    ----------
    fit: of the contact within 0.5 mm. stability: of the loads resisted. accuracy: of the cut's area within 1 mm of the plan.
    """

    fit: int
    stability: int
    accuracy: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def checked_bands(bands: tuple[float, ...]) -> tuple[float, ...]:
    """Five rising percentages. Raises InputError otherwise."""
    if len(bands) != 5 or not all(0 < band <= 100 for band in bands) or list(bands) != sorted(set(bands)):
        raise InputError("The score bands must be five rising percentages, the lowest of scores 2, 3, 4, 5 and 6.")
    return bands


def score(percent: float, bands: tuple[float, ...] = EQUAL_BANDS_PERCENT) -> int:
    """1 to 6: one more than the number of bands that begin at or below a percentage."""
    return 1 + int(np.searchsorted(bands, percent + 1e-9, side="right"))


def bands_note(bands: tuple[float, ...]) -> str:
    """What a reader of the scores must know."""
    kind = "six bands of equal width" if bands == EQUAL_BANDS_PERCENT else "bands given by the user"
    return BANDS_NOTE.format(", ".join(f"{band:.1f} %" for band in bands), kind)
