"""How well markers determine what a reconstruction needs of a view: magnification, distance, direction, and height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.geometry.calibration.direct_linear_transform import Pinhole
from SSRKDCore.geometry.calibration.view_refinement import MarkerCalibration, derivative, displaced

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ViewUncertainty:
    """95 %, of one view.

    magnification_percent: the largest in the field of view: at its centre, and as far before and behind it along the beam as its side is
        halved. A wrong distance leaves the magnification at the markers right and that before and behind them wrong.
    distance_percent: of the source-to-detector distance over the pixel pitch; 0 where both were given.
    direction_degrees: from the centre to the source, and turn about the beam; the larger.
    height_mm: of where the centre is seen along the rows' direction, in the plane of the centre.
    """

    magnification_percent: float
    distance_percent: float
    direction_degrees: float
    height_mm: float


def view_uncertainty(fit: MarkerCalibration, center: ArrayLike, size: float) -> ViewUncertainty:
    """Uncertainty of a view from the covariance of its fit.

    center: (3,) of the field of view, in the markers' frame, mm. size: its side, mm.

    Few markers tell their own noise poorly: the factor to 95 % is Student's for the fit's degrees of freedom.
    """
    from scipy.stats import t as student

    middle, pinhole = np.asarray(center, dtype=np.float64), fit.pinhole
    towards = pinhole.source - middle
    distance = float(np.linalg.norm(towards))
    beam = -towards / distance
    # Two directions across the beam, near the image's rows and columns.
    across = np.cross(pinhole.axes[0], beam)
    across /= np.linalg.norm(across)
    down = np.cross(beam, across)
    reach = min(size / 2, 0.8 * distance)

    def needed(view: Pinhole) -> Array:
        source = view.source - middle
        scales = [np.log(view.focal[1] / (view.axes[2] @ (along * beam - source))) for along in (0.0, -reach, reach)]
        # Small angles, radians: of the direction to the source, and of the picture of the direction down.
        aside = [float(source @ direction) / distance for direction in (down, across)]
        seen = view.project(np.stack([middle, middle + down]))
        step = (seen[1] - seen[0]) / np.array(view.focal)
        turn = np.arctan2(step[1], step[0])
        depth = float(view.axes[2] @ -source)
        return np.array([*scales, np.log(view.focal[1]), *aside, turn, seen[0, 0] * depth / view.focal[0]])

    deviations = np.sqrt(np.clip(np.diag(fit.covariance), 0.0, None))
    slopes = derivative(lambda step: needed(displaced(pinhole, step)), np.where(deviations > 0, deviations, 1e-9))
    variances = np.diag(slopes @ fit.covariance @ slopes.T)
    wide = float(student.isf(0.025, max(fit.freedom, 1))) * np.sqrt(np.clip(variances, 0.0, None))
    return ViewUncertainty(
        100 * float(wide[:3].max()), 100 * float(wide[3]), float(np.degrees(wide[4:7].max())), float(wide[7])
    )


def stated_distance_error(fit: MarkerCalibration) -> tuple[float, float] | None:
    """By how much of itself (percent) a stated distance is longer than the markers tell, and to what they tell it (99 %); None where none
    was stated, or where it is within that.
    """
    from scipy.stats import t as student

    if fit.told_focal is None:
        return None
    told, deviation = fit.told_focal
    # One number more was estimated than in the fit itself.
    known_to = 100 * float(student.isf(0.005, max(fit.freedom - 1, 1))) * deviation / told
    percent = 100 * (fit.pinhole.focal[1] / told - 1)
    return (percent, known_to) if abs(percent) > known_to else None


def magnification_by_distance(fit: MarkerCalibration, center: ArrayLike, size: float, percent: float) -> float:
    """Percent by which a distance that is wrong by `percent` changes the magnification in the field of view, where markers keep that of
    its middle; center (3,) and size as of `view_uncertainty`.
    """
    distance = float(np.linalg.norm(fit.pinhole.source - np.asarray(center, dtype=np.float64)))
    return abs(percent) * min(size / 2 / distance, 0.8)
