"""A calibration ball in a radiograph: found, measured, and turned into a magnification.

A ball of known size fixes the scale of the image at its own depth, and with the source-to-detector distance that depth. It says
nothing of what lies nearer or farther along the rays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.circle_votes import Circle, bright_circles
from SSRKDCore.geometry.calibration.sphere_profile import SphereShadow, fit_sphere_shadow
from SSRKDCore.geometry.calibration.sphere_projection import Ellipse, magnification_of_outline

DIAMETER_LIMITS_MM = (2.0, 80.0)
# Nothing in a patient is magnified more: the same limit as for DICOM tags.
LARGEST_MAGNIFICATION = 3.0
#: A candidate of at least this confidence counts as found without a click; see docs/calibration.md for what was measured.
FOUND_CONFIDENCE = 0.6
#: Beside a click less is asked for: the user says that a ball is there.
CLICKED_CONFIDENCE = 0.35
DEFAULT_TOLERANCE_MM = 0.05
_LARGEST_ELONGATION = 1.08
_CANDIDATES = 4
# Condyles, patella and skin show less of a circle's rim; fitting them would take most of the time.
_LEAST_RIM = 0.7
_LEAST_RIM_CLICKED = 0.5


@dataclass(frozen=True)
class BallCandidate:
    """Something round in the image.

    Attributes
    ----------
    outline: its ellipse, pixels.
    confidence: 0..1, the share of the rim that is seen as an edge, times the share of the image there that a ball's shadow
        explains beyond a smooth background.
    rim_seen, explained: these two shares.
    shadow: the fit.
    """

    outline: Ellipse
    confidence: float
    rim_seen: float
    explained: float
    shadow: SphereShadow

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; pixels as [row, column]."""
        return {
            "center": [self.outline.row, self.outline.column],
            "half_axes_px": [self.outline.minor, self.outline.major],
            "angle_degrees": float(np.degrees(self.outline.angle)),
            "outline": self.outline.points().round(3).tolist(),
            "confidence": self.confidence,
            "rim_seen": self.rim_seen,
            "explained": self.explained,
        }


@dataclass(frozen=True)
class BallMeasurement:
    """What a ball says.

    Attributes
    ----------
    ball: the candidate that was measured.
    diameter_mm: of the ball.
    pixel_size_mm: of a pixel in the plane of the ball's centre.
    magnification: at that plane, or None without the detector's pixel spacing.
    source_to_ball_mm: along the detector's normal, or None without spacing and source-to-detector distance.
    uncertainty_percent: standard uncertainty of the pixel size and of the magnification: rim and the ball's own tolerance.
    residual: robust standard deviation of the image about the model, line integral.
    residual_percent: the same, of the ball's own shadow.
    """

    ball: BallCandidate
    diameter_mm: float
    pixel_size_mm: float
    magnification: float | None
    source_to_ball_mm: float | None
    uncertainty_percent: float
    residual: float
    residual_percent: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "diameter_mm": self.diameter_mm,
            "ball": self.ball.to_dict(),
            "pixel_size_at_ball_mm": self.pixel_size_mm,
            "magnification": self.magnification,
            "source_to_ball_mm": self.source_to_ball_mm,
            "uncertainty_percent": self.uncertainty_percent,
            "residual": self.residual,
            "residual_percent": self.residual_percent,
        }


def find_balls(
    image: NDArray[np.floating],
    diameter_mm: float,
    pixel_spacing: float | None = None,
    source_to_detector: float | None = None,
    near: tuple[float, float] | None = None,
) -> list[BallCandidate]:
    """Candidates for a ball, the most confident first; an empty list when nothing round is there.

    Parameters
    ----------
    image: (rows, columns) line integrals (dense is bright), square pixels.
    diameter_mm: of the ball.
    pixel_spacing: mm on the detector; None looks for balls of any size from 1 to 12 % of the image's width.
    source_to_detector: mm; with it and the spacing the outline must be the ellipse that a ball has at that place of a
        detector whose central ray meets the middle of the image.
    near: (row, column) of a click on or beside the ball.

    Raises InputError for impossible numbers.
    """
    _check(image, diameter_mm, pixel_spacing, source_to_detector, near)
    radii = _radii(image, diameter_mm, pixel_spacing)
    focal = source_to_detector / pixel_spacing if source_to_detector and pixel_spacing else None
    principal = ((image.shape[0] - 1) / 2, (image.shape[1] - 1) / 2) if focal else None
    circles = bright_circles(image, radii, near, count=_CANDIDATES)
    least = _LEAST_RIM if near is None else _LEAST_RIM_CLICKED
    candidates = [_candidate(image, circle, principal, focal) for circle in circles if circle.rim_seen >= least]
    kept = [
        found for found in candidates if found is not None and radii[0] * 0.9 <= found.outline.minor <= radii[1] * 1.1
    ]
    return sorted(kept, key=lambda found: -found.confidence)


def measure_ball(
    image: NDArray[np.floating],
    diameter_mm: float,
    pixel_spacing: float | None = None,
    source_to_detector: float | None = None,
    near: tuple[float, float] | None = None,
    tolerance_mm: float = DEFAULT_TOLERANCE_MM,
) -> tuple[BallMeasurement, list[BallCandidate]]:
    """Find the ball and measure the image's scale at its depth; see `find_balls` for the parameters.

    tolerance_mm: standard uncertainty of the ball's own diameter.

    Returns the measurement and all candidates, the measured one first.
    Raises InputError when no candidate is confident enough, or two are and neither was clicked.
    """
    if not 0 <= tolerance_mm < diameter_mm / 2:
        raise InputError(f"The tolerance of the ball's diameter is {tolerance_mm:g} mm: give one below its radius.")
    candidates = find_balls(image, diameter_mm, pixel_spacing, source_to_detector, near)
    least = FOUND_CONFIDENCE if near is None else CLICKED_CONFIDENCE
    found = [candidate for candidate in candidates if candidate.confidence >= least]
    if not found:
        where = "the image" if near is None else f"row {near[0]:g}, column {near[1]:g}"
        what = "click on the ball, or calibrate in another way" if near is None else "click on the ball's middle"
        raise InputError(f"No ball of {diameter_mm:g} mm was found in {where}: check the diameter, {what}.")
    if near is None and len(found) > 1:
        raise InputError(
            f"{len(found)} balls of about {diameter_mm:g} mm were found: click on the one to measure, or say where it is."
        )
    ball = found[0]
    spacing = pixel_spacing if pixel_spacing is not None else 1.0
    scale = magnification_of_outline(
        ball.outline.minor * spacing, diameter_mm / 2, source_to_detector if pixel_spacing is not None else None
    )
    magnification = scale if pixel_spacing is not None else None
    if magnification is not None and magnification < 1:
        raise InputError(
            f"The ball is seen {magnification:.3f} times its size, and nothing is seen smaller than it is: "
            "check the diameter and the pixel spacing on the detector."
        )
    relative = float(np.hypot(ball.shadow.minor_sd / ball.outline.minor, tolerance_mm / diameter_mm))
    measurement = BallMeasurement(
        ball,
        diameter_mm,
        spacing / scale,
        magnification,
        None if magnification is None or source_to_detector is None else source_to_detector / magnification,
        100 * relative,
        ball.shadow.residual,
        100 * ball.shadow.residual / ball.shadow.amplitude,
    )
    return measurement, candidates


def _candidate(
    image: NDArray[np.floating], circle: Circle, principal: tuple[float, float] | None, focal: float | None
) -> BallCandidate | None:
    shadow = fit_sphere_shadow(image, circle.row, circle.column, circle.radius, principal, focal)
    if shadow is None or shadow.ellipse.major > _LARGEST_ELONGATION * shadow.ellipse.minor:
        return None
    confidence = circle.rim_seen * shadow.explained
    return BallCandidate(shadow.ellipse, confidence, circle.rim_seen, shadow.explained, shadow)


def _radii(image: NDArray[np.floating], diameter_mm: float, pixel_spacing: float | None) -> tuple[float, float]:
    """Smallest and largest radius in pixels."""
    width = float(min(image.shape))
    if pixel_spacing is None:
        return max(4.0, 0.005 * width), 0.06 * width
    radius = diameter_mm / 2 / pixel_spacing
    if radius < 4.0:
        raise InputError(
            f"A ball of {diameter_mm:g} mm spans only {2 * radius:.1f} pixels of {pixel_spacing:g} mm: "
            "use a larger ball or a finer image."
        )
    return 0.97 * radius, min(LARGEST_MAGNIFICATION * radius, width / 2)


def _check(
    image: NDArray[np.floating],
    diameter_mm: float,
    pixel_spacing: float | None,
    source_to_detector: float | None,
    near: tuple[float, float] | None,
) -> None:
    low, high = DIAMETER_LIMITS_MM
    if not low <= diameter_mm <= high:
        raise InputError(f"The ball's diameter is {diameter_mm:g} mm: it must be from {low:g} to {high:g} mm.")
    if pixel_spacing is not None and not 0.01 <= pixel_spacing <= 5.0:
        raise InputError(f"The pixel spacing is {pixel_spacing:g} mm: it must be from 0.01 to 5 mm.")
    if source_to_detector is not None and not 300.0 <= source_to_detector <= 6000.0:
        raise InputError(f"The source-to-detector distance is {source_to_detector:g} mm: it must be 300 to 6000 mm.")
    if near is not None and not (0 <= near[0] < image.shape[0] and 0 <= near[1] < image.shape[1]):
        raise InputError(
            f"Row {near[0]:g}, column {near[1]:g} lies outside the image of {image.shape[0]} x {image.shape[1]} pixels: "
            "click on the ball."
        )
