"""What a correction is expected to change: alignment, slope, length and the tubercle's height.

Angles are those of `ssrkd measure`, by the same definitions, on the landmarks before and after the correction. The soft tissues are
taken to stay as they are (the joint line's convergence does not change).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.planning.landmark_set import LandmarkSet
from SSRKDCore.planning.measurements import measure
from SSRKDCore.planning.osteotomy_frame import TibialAxes

Array = NDArray[np.float64]

#: Measurement -> the name that its change is kept under.
MEASURED = {
    "MPTA": "mpta_degrees",
    "aMPTA": "anatomical_mpta_degrees",
    "slope_medial": "medial_slope_degrees",
    "slope_lateral": "lateral_slope_degrees",
    "HKA": "hka_degrees",
    "Fujisawa": "fujisawa_percent",
}


@dataclass(frozen=True)
class Change:
    """One figure before and after the correction; the name that it is kept under ends with its unit.

    expected_error: root mean square by which both are expected to be wrong where the bones are a reconstruction (see `Measurement`); None
        where that was not measured. Their difference is the correction itself.
    """

    before: float
    after: float
    expected_error: float | None = None

    @property
    def change(self) -> float:
        return self.after - self.before


def predicted_changes(before: LandmarkSet, after: LandmarkSet, axes: TibialAxes) -> dict[str, Change]:
    """Name -> figure, for all that the landmarks allow.

    The values of MEASURED: see planning/measurement_definitions.py.
    tibial_length_mm: middle of the plateau to the ankle centre; leg_length_mm: hip centre to ankle centre.
    tubercle_height_mm: of the tubercle along the tibia's axis, negative below the plateau: patella and tendon follow it.
    """
    pairs: dict[str, tuple[float, float]] = {}
    errors: dict[str, float | None] = {}
    measured = [measure(landmarks) for landmarks in (before, after)]
    for measurement, name in MEASURED.items():
        values = [found[measurement].value for found in measured]
        if values[0] is not None and values[1] is not None:
            pairs[name] = (values[0], values[1])
            errors[name] = measured[0][measurement].expected_error
    heights = [float(axes.coordinates(landmarks["tibial_tubercle"])[2]) for landmarks in (before, after)]
    pairs["tubercle_height_mm"] = (heights[0], heights[1])
    if "ankle_centre" in before:
        pairs["tibial_length_mm"] = (_distance(axes.origin, before), _distance(axes.origin, after))
    if "ankle_centre" in before and "hip_centre" in before:
        pairs["leg_length_mm"] = (_distance(before["hip_centre"], before), _distance(before["hip_centre"], after))
    return {name: Change(*pair, errors.get(name)) for name, pair in pairs.items()}


def _distance(start: Array, landmarks: LandmarkSet) -> float:
    return float(np.linalg.norm(start - landmarks["ankle_centre"]))
