"""The ascending second cut behind the tubercle, which leaves the tubercle on the distal fragment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.osteotomy import OsteotomyParameters
from SSRKDCore.planning.osteotomy_frame import TibialAxes
from SSRKDCore.planning.plane import Plane
from SSRKDCore.planning.surface_rays import ray_hits, section_segments
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_OUTSIDE_MM = 300.0


def ascending_plane(
    tibia: Surface, cut: Plane, tubercle: Array, axes: TibialAxes, parameters: OsteotomyParameters
) -> Plane:
    """The ascending cut; its normal points to the front, so that the tubercle lies on the positive side.

    It leaves the main cut `tubercle_thickness_mm` behind the front of the bone (below or above the tubercle, measured in the main cut) and
    rises at `ascending_angle_degrees` to the part of the main cut that lies behind it (Lobenhoffer and Agneskirchner, KSSTA 11(3), 2003).

    Raises InputError when the main cut misses the bone there.
    """
    forwards = axes.anterior - (axes.anterior @ cut.normal) * cut.normal
    forwards /= np.linalg.norm(forwards)
    at_tubercle = tubercle - float(cut.distances(tubercle[None])[0]) * cut.normal
    start = at_tubercle + _OUTSIDE_MM * forwards
    hits = ray_hits(tibia, start, -forwards)
    if len(hits) == 0:
        raise InputError(
            "The main cut misses the bone below the tubercle: check the tubercle and the height of the cut."
        )
    corner = start - (hits[0] + parameters.tubercle_thickness_mm) * forwards
    angle = np.radians(parameters.ascending_angle_degrees)
    return Plane(corner, np.sin(angle) * forwards + np.cos(angle) * cut.normal)


def ascending_outline(tibia: Surface, cut: Plane, ascending: Plane) -> Array:
    """(N, 3) points on the outline of the ascending cut, those above the main cut; none where it leaves the bone at once."""
    points = section_segments(tibia, ascending).reshape(-1, 3)
    return np.asarray(points[cut.distances(points) >= 0])
