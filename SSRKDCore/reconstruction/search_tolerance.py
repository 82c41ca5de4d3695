"""By how much a search may let a surface be off where it interpolates instead of asking the network."""

from __future__ import annotations

from SSRKDCore.errors import InputError

#: In mm. More would be seen beside the errors of a good reconstruction.
MOST_TOLERANCE_MM = 0.5


def checked_tolerance(millimetres: float) -> float:
    """The tolerance itself, in mm; InputError unless it is from 0 (evaluate everywhere) to `MOST_TOLERANCE_MM`."""
    if not 0 <= millimetres <= MOST_TOLERANCE_MM:
        raise InputError(f"The surface tolerance is {millimetres:g} mm: use 0 (exact) to {MOST_TOLERANCE_MM:g}.")
    return millimetres
