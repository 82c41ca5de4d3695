"""A measured scale put into a view: the magnification of a ball or ruler moves the source to where it is explained."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View

# Two standard uncertainties hold 95 % of a normal distribution.
COVERAGE_FACTOR = 2.0
#: Above this (95 %) a rig is refused: X-ray magnification wrong by 3 % is what the traffic light must flag.
LIMIT_PERCENT = 3.0


@dataclass(frozen=True)
class CentreMagnification:
    """The magnification at the centre of the field of view.

    Attributes
    ----------
    value: the magnification.
    uncertainty_percent: 95 %, of the measurement, of where the measured thing lies along the beam, and of its tilt.
    depth_mm: of the centre, from the source.
    """

    value: float
    uncertainty_percent: float
    depth_mm: float


def magnification_at_centre(
    magnification: float,
    relative_uncertainty: float,
    source_to_detector: float,
    offset_mm: float,
    offset_tolerance_mm: float,
) -> CentreMagnification:
    """From the depth of a measured ball or ruler to the centre of the knee.

    Parameters
    ----------
    magnification: at the measured thing. relative_uncertainty: its standard uncertainty, as a share.
    source_to_detector: mm.
    offset_mm: by how much the measured thing lies nearer the detector than the centre of the knee.
    offset_tolerance_mm: standard uncertainty of that.
    """
    depth = source_to_detector / magnification - offset_mm
    if not depth > 0:
        raise InputError(f"An offset of {offset_mm:g} mm would put the knee behind the source: correct the offset.")
    deviation = np.hypot(relative_uncertainty * source_to_detector / magnification, offset_tolerance_mm) / depth
    value = source_to_detector / depth
    if value < 1:
        raise InputError(f"An offset of {offset_mm:g} mm would put the knee behind the detector: correct the offset.")
    return CentreMagnification(value, float(100 * COVERAGE_FACTOR * deviation), depth)


def view_with_magnification(view: View, point: ArrayLike, magnification: float) -> View:
    """The view moved along its central ray so that `point` (3,) is magnified as stated; distances inside the view stay.

    A small object at `point` then has the right size; along the image nothing moves for a point on the central ray.
    """
    point = np.asarray(point, dtype=np.float64)
    shift = float(view.normal @ (point - np.array(view.source))) - view.source_to_detector / magnification
    matrix = np.eye(4)
    matrix[:3, 3] = shift * view.normal
    return view.transformed(matrix)


def rig_with_view(rig: Rig, view: View) -> Rig:
    """The rig with the view of that name replaced."""
    rig.view(view.name)
    return replace(rig, views=tuple(view if old.name == view.name else old for old in rig.views))
