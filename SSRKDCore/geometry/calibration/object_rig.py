"""A rig from radiographs of one calibration object that stands still: detect, match, fit each view, and put them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.calibration_record import CalibrationRecord, calibrated_rig
from SSRKDCore.geometry.calibration.marker_detection import DetectedMarker, detect_markers, marker_near
from SSRKDCore.geometry.calibration.marker_matching import match_markers
from SSRKDCore.geometry.calibration.marker_object import MarkerObject
from SSRKDCore.geometry.calibration.object_uncertainty import (
    ViewUncertainty,
    magnification_by_distance,
    stated_distance_error,
    view_uncertainty,
)
from SSRKDCore.geometry.calibration.view_refinement import MarkerCalibration, view_from_markers
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.known_geometry import HEIGHT_MM, MAGNIFICATION_PERCENT, TURN_DEGREES
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.xmalab import rigid_matrix

Array = NDArray[np.float64]

#: Reprojection worse than this (root mean square, mm at the markers) is no calibration.
RESIDUAL_LIMIT_MM = 1.0
#: Markers that scatter by more pixels than this (one standard deviation) were not picked where they are.
NOISE_LIMIT_PX = 4.0
# A distance known less well than this (95 %) is worth a word, even where it hardly changes the magnification.
_DISTANCE_PERCENT = 3.0
_UNIT_WORDS = {"percent": "%", "degrees": "degrees", "mm": "mm"}
_PICKED_RADIUS_PX = 5.0
_LARGEST_MAGNIFICATION = 3.0


@dataclass(frozen=True)
class ObjectImage:
    """A radiograph of the object.

    name: of the view. path: file. pixels: line integrals. pixel_spacing: mm on the detector, or None. source_to_detector: mm or None.
    picked: marker name -> [row, column], or None to detect and match.
    """

    name: str
    path: str
    pixels: NDArray[np.floating]
    pixel_spacing: tuple[float, float] | None
    source_to_detector: float | None
    picked: Mapping[str, Any] | None = None


def rig_from_object(
    images: Sequence[ObjectImage],
    calibration_object: MarkerObject,
    polarity: str = "bright",
    object_to_lps: ArrayLike | None = None,
    center: tuple[float, float, float] | None = None,
    size: float = 160.0,
    limit_percent: float = MAGNIFICATION_PERCENT[1],
) -> tuple[CalibrationRecord, Rig]:
    """The rig of two or more views of one object.

    Parameters
    ----------
    polarity: "bright" (beads) or "dark" (holes).
    object_to_lps: rigid (4, 4), mm; None takes the object's axes as LPS.
    center: of the field of view, LPS; None takes the middle of the markers. size: its side, mm.
    limit_percent: a magnification in the field of view that is less certain (95 %) is refused.

    Raises InputError when markers are not found, not told apart, fit no view to RESIDUAL_LIMIT_MM, or leave magnification, direction or
    height more open than a reconstruction can stand (the red limits of `known_geometry`).
    """
    to_lps = rigid_matrix(object_to_lps, "The object-to-LPS transform")
    fits = [calibrated_view(image, calibration_object, polarity) for image in images]
    middle = to_lps[:3, :3] @ calibration_object.points.mean(axis=0) + to_lps[:3, 3]
    cube = FieldOfView(center or (float(middle[0]), float(middle[1]), float(middle[2])), size)
    rig = Rig(tuple(fit.view.transformed(to_lps) for fit in fits), cube, {"from": "calibration object"})
    warnings = rig.check()
    assumed = []
    if object_to_lps is None:
        assumed.append("the object's axes are LPS; anatomical directions may be wrong")
    for fit, image in zip(fits, images, strict=True):
        if image.pixel_spacing is None:
            assumed.append(
                f"the source-to-detector distance of view '{fit.view.name}' is {fit.view.source_to_detector:g} mm"
            )
        elif image.source_to_detector is None:
            assumed.append(f"the pixel spacing of view '{fit.view.name}' is right; its distance follows from it")
        else:
            assumed.append(f"the pixel spacing and the source-to-detector distance of view '{fit.view.name}' are right")
        if fit.outliers:
            warnings.append(
                f"View '{fit.view.name}': {', '.join(fit.outliers)} lie elsewhere than the object says and were left out."
            )
    in_object = to_lps[:3, :3].T @ (np.array(cube.center) - to_lps[:3, 3])
    known = [view_uncertainty(fit, in_object, size) for fit in fits]
    for index, fit in enumerate(fits):
        error = stated_distance_error(fit)
        if error is None:
            continue
        percent, known_to = error
        change = magnification_by_distance(fit, in_object, size, abs(percent) + known_to)
        magnification = known[index].magnification_percent + change
        known[index] = replace(
            known[index], magnification_percent=magnification, distance_percent=abs(percent) + known_to
        )
        warnings.append(
            f"View '{fit.view.name}': the stated source-to-detector distance is {abs(percent):.1f} % "
            f"{'longer' if percent > 0 else 'shorter'} than the markers tell (known to {known_to:.1f} %), which changes the magnification "
            f"in the field of view by up to {change:.1f} %: check it and the pixel spacing, or leave the distance out."
        )
    uncertainty = {f"{fit.view.name}_noise_px": fit.noise_px for fit in fits}
    uncertainty |= {f"{fit.view.name}_residual_mm": fit.to_dict()["rms_mm"] for fit in fits}
    uncertainty |= _stated([fit.view.name for fit in fits], known)
    for fit, image, own in zip(fits, images, known, strict=True):
        _check_known(image, fit.view.name, uncertainty, limit_percent)
        if fit.told_focal is None and own.distance_percent > _DISTANCE_PERCENT:
            warnings.append(
                f"View '{fit.view.name}': the markers tell its source-to-detector distance to {own.distance_percent:.1f} % only (95 %); "
                f"the magnification in the field of view is known to {own.magnification_percent:.1f} %."
            )
    measured = {"views": [fit.to_dict() for fit in fits]}
    record = CalibrationRecord("object", [image.path for image in images], measured, uncertainty, assumed, warnings)
    return record, calibrated_rig(rig, record)


def _stated(names: Sequence[str], known: Sequence[ViewUncertainty]) -> dict[str, float]:
    """Name with unit -> 95 %; direction and height of each view but the first are relative to the first's."""
    first = known[0]
    stated = {}
    for index, (name, own) in enumerate(zip(names, known, strict=True)):
        stated[f"{name}_magnification_percent_95"] = own.magnification_percent
        stated[f"{name}_distance_percent_95"] = own.distance_percent
        if index:
            stated[f"{name}_direction_degrees_95"] = float(np.hypot(first.direction_degrees, own.direction_degrees))
            stated[f"{name}_height_mm_95"] = float(np.hypot(first.height_mm, own.height_mm))
    return stated


def _check_known(image: ObjectImage, name: str, stated: Mapping[str, float], limit_percent: float) -> None:
    for quantity, unit, limit in (
        ("magnification", "percent", limit_percent),
        ("direction", "degrees", TURN_DEGREES[1]),
        ("height", "mm", HEIGHT_MM[1]),
    ):
        value = stated.get(f"{name}_{quantity}_{unit}_95", 0.0)
        if not value <= limit:
            raise InputError(
                f"The markers in {image.path} leave the {quantity} of view '{name}' open by {value:.1f} {_UNIT_WORDS[unit]} (95 %), more "
                f"than {limit:g}: let the image show more of them, farther apart in depth, or check which marker is which."
            )


def calibrated_view(image: ObjectImage, calibration_object: MarkerObject, polarity: str) -> MarkerCalibration:
    """The view of one image, in the object's frame."""
    markers, pixels = (
        _picked(image, calibration_object, polarity) if image.picked else _found(image, calibration_object, polarity)
    )
    rows, columns = image.pixels.shape
    fit = view_from_markers(
        image.name,
        calibration_object.points[markers],
        pixels,
        rows,
        columns,
        image.pixel_spacing,
        image.source_to_detector,
        tuple(calibration_object.names[i] for i in markers),
    )
    residual = float(fit.to_dict()["rms_mm"])
    if residual > RESIDUAL_LIMIT_MM:
        raise InputError(
            f"The markers in {image.path} lie {residual:.2f} mm from where any view has them, more than {RESIDUAL_LIMIT_MM:g} mm: "
            "check the object's file and which marker is which."
        )
    if fit.noise_px > NOISE_LIMIT_PX:
        raise InputError(
            f"The markers in {image.path} scatter by {fit.noise_px:.1f} pixels about where a view has them, more than {NOISE_LIMIT_PX:g}: "
            "check the object's file and which marker is which."
        )
    return fit


def _found(image: ObjectImage, calibration_object: MarkerObject, polarity: str) -> tuple[NDArray[np.int64], Array]:
    discs = detect_markers(
        image.pixels, _radii(image, calibration_object), polarity, most=2 * len(calibration_object.points) + 6
    )
    places = np.array([[disc.row, disc.column] for disc in discs], dtype=np.float64).reshape(-1, 2)
    ratio = 1.0 if image.pixel_spacing is None else image.pixel_spacing[0] / image.pixel_spacing[1]
    matching = match_markers(calibration_object.points, places, ratio)
    return matching.markers, places[matching.discs]


def _picked(image: ObjectImage, calibration_object: MarkerObject, polarity: str) -> tuple[NDArray[np.int64], Array]:
    """Markers picked by hand, each moved to the middle of the disc there, if one is there."""
    markers: list[int] = []
    picked: list[tuple[float, float]] = []
    low, high = _radii(image, calibration_object)
    radius = float(np.sqrt(low * high)) if calibration_object.diameter_mm else _PICKED_RADIUS_PX
    for name, place in (image.picked or {}).items():
        if name not in calibration_object.names:
            raise InputError(
                f"The calibration object has no marker '{name}': correct the picked markers of {image.path}."
            )
        if not (isinstance(place, Sequence) and len(place) == 2 and all(isinstance(v, int | float) for v in place)):
            raise InputError(f"Marker '{name}' of {image.path} must be picked as [row, column]: correct it.")
        rows, columns = image.pixels.shape
        if not (-0.5 <= place[0] <= rows - 0.5 and -0.5 <= place[1] <= columns - 0.5):
            raise InputError(
                f"Marker '{name}' is picked outside {image.path} with its {rows} x {columns} pixels: give [row, column]."
            )
        picked.append((float(place[0]), float(place[1])))
        markers.append(calibration_object.names.index(name))
    found = [_disc_at(image, row, column, radius, polarity) for row, column in picked]
    if 2 * sum(disc is not None for disc in found) < len(picked):
        exchanged = [_disc_at(image, column, row, radius, polarity) for row, column in picked]
        # A view of exchanged axes fits them as well as the right one: no residual would tell.
        if 2 * sum(disc is not None for disc in exchanged) >= len(picked):
            raise InputError(
                f"The markers picked in {image.path} lie on its discs only with row and column exchanged: give [row, column]."
            )
    places = [place if disc is None else (disc.row, disc.column) for place, disc in zip(picked, found, strict=True)]
    return np.array(markers, dtype=np.int64), np.array(places, dtype=np.float64)


def _disc_at(image: ObjectImage, row: float, column: float, radius: float, polarity: str) -> DetectedMarker | None:
    """The disc on which a place lies, or None."""
    seen = marker_near(image.pixels, row, column, radius, polarity)
    near = seen is not None and seen.contrast > 3 and np.hypot(seen.row - row, seen.column - column) <= 1.5 * radius
    return seen if near else None


def _radii(image: ObjectImage, calibration_object: MarkerObject) -> tuple[float, float]:
    """Smallest and largest radius of a marker in pixels."""
    width = float(min(image.pixels.shape))
    if calibration_object.diameter_mm is None or image.pixel_spacing is None:
        return max(2.0, 0.004 * width), 0.02 * width
    radius = calibration_object.diameter_mm / 2 / image.pixel_spacing[1]
    return 0.9 * radius, _LARGEST_MAGNIFICATION * radius
