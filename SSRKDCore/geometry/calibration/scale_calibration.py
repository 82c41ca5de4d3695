"""From the scale that a ball or ruler gives to a rig, with what is still assumed said in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.calibration_record import CalibrationRecord, calibrated_rig
from SSRKDCore.geometry.calibration.magnification import (
    LIMIT_PERCENT,
    CentreMagnification,
    magnification_at_centre,
    rig_with_view,
    view_with_magnification,
)
from SSRKDCore.geometry.rig import Rig

#: Standard uncertainty of how much nearer the detector a ball or ruler lies than the centre of the knee, when nobody measured it.
OFFSET_TOLERANCE_MM = 10.0


@dataclass(frozen=True)
class ScaleCalibration:
    """rig: with the view at its measured magnification. centre: that magnification. record: of all of it."""

    rig: Rig
    centre: CentreMagnification
    record: CalibrationRecord


def calibrate_scale(
    rig: Rig,
    view_name: str,
    kind: str,
    image_name: str,
    measured: Mapping[str, Any],
    magnification: float,
    uncertainty_percent: float,
    source_to_detector_known: bool,
    offset_mm: float | None = None,
    offset_tolerance_mm: float = OFFSET_TOLERANCE_MM,
    limit_percent: float = LIMIT_PERCENT,
) -> ScaleCalibration:
    """Put a measured magnification into a view of a rig.

    Parameters
    ----------
    rig, view_name: where; the view's source-to-detector distance and pixel spacing are kept.
    kind: "ball" or "ruler". image_name: file. measured: its values, for the record.
    magnification, uncertainty_percent: at the measured thing, standard uncertainty.
    source_to_detector_known: False says in words that the rig's distance is an assumption.
    offset_mm: by how much the thing lies nearer the detector than the knee's centre; None assumes 0 and says so.
    offset_tolerance_mm: standard uncertainty of that.
    limit_percent: a magnification that is less certain (95 %) is refused.
    """
    view = rig.view(view_name)
    centre = magnification_at_centre(
        magnification, uncertainty_percent / 100, view.source_to_detector, offset_mm or 0.0, offset_tolerance_mm
    )
    if centre.uncertainty_percent > limit_percent:
        raise InputError(
            f"The magnification of view '{view_name}' is uncertain by {centre.uncertainty_percent:.1f} % (95 %), more than "
            f"{limit_percent:g} %: measure how much nearer the detector the {kind} lies than the knee, or accept more with --limit."
        )
    assumed = [
        "the central ray, the direction of the beam and the position of the knee in the image are those of the rig",
        "the pixel spacing on the detector is right",
    ]
    if offset_mm is None:
        assumed.append(
            f"the {kind} lies as far from the detector as the centre of the knee, to {offset_tolerance_mm:g} mm (one standard deviation)"
        )
    if not source_to_detector_known:
        assumed.append(
            f"the source-to-detector distance is {view.source_to_detector:g} mm: the magnification does not depend on it, "
            "how it changes with depth does"
        )
    record = CalibrationRecord(
        kind,
        [image_name],
        {
            **measured,
            "view": view_name,
            "source_to_detector_mm": view.source_to_detector,
            "magnification_at_centre": centre.value,
            "source_to_centre_mm": centre.depth_mm,
            "offset_mm": offset_mm or 0.0,
        },
        {
            "measured_magnification_percent_standard": uncertainty_percent,
            "magnification_at_centre_percent_95": centre.uncertainty_percent,
        },
        assumed,
    )
    moved = view_with_magnification(view, rig.field_of_view.center, centre.value)
    return ScaleCalibration(calibrated_rig(rig_with_view(rig, moved), record), centre, record)
