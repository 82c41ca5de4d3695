"""Where the K-wires of a guide go: two that fix it, parallel to the cut, and one that ends the cut at the hinge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.guide_grid import GuideAxes
from SSRKDCore.planning.guide_model import Wire
from SSRKDCore.planning.guide_parameters import GuideParameters
from SSRKDCore.planning.osteotomy_plan import OsteotomyPlan
from SSRKDCore.planning.plane import Plane
from SSRKDCore.planning.surface_rays import ray_hits
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_OUTSIDE_MM = 60.0


def outwards_in(plane: Plane, axes: GuideAxes) -> Array:
    """(3,) unit vector in a cut's plane, out of the bone: against the way of the saw blade."""
    along = along_cut(plane, axes)
    direction = axes.w - (axes.w @ plane.normal) * plane.normal
    direction -= (direction @ along) * along
    return np.asarray(direction / np.linalg.norm(direction))


def along_cut(plane: Plane, axes: GuideAxes) -> Array:
    """(3,) unit vector in a cut's plane, along the slot: the guide's u, which lies in the upper cut of a closing wedge only."""
    along = axes.u - (axes.u @ plane.normal) * plane.normal
    return np.asarray(along / np.linalg.norm(along))


def guide_wires(
    tibia: Surface, plan: OsteotomyPlan, axes: GuideAxes, middle: float, parameters: GuideParameters
) -> tuple[Wire, ...]:
    """The two fixing wires, below the cut (the lower cut of a closing wedge) and parallel to it, then the wire to the hinge.

    Raises InputError when one misses the bone.
    """
    lowest = plan.lower_plane or plan.cut_plane
    wires = []
    for side in (-1.0, 1.0):
        along = middle + side * parameters.wire_spacing_mm / 2
        entry = _entry(tibia, lowest, axes, along, -parameters.wire_below_cut_mm)
        wires.append(Wire(entry, -outwards_in(lowest, axes), parameters.wire_diameter_mm))
    entry = _entry(tibia, plan.cut_plane, axes, middle, parameters.hinge_wire_above_cut_mm)
    towards = plan.hinge.point - entry
    wires.append(Wire(entry, towards / np.linalg.norm(towards), parameters.wire_diameter_mm))
    return tuple(wires)


def _entry(tibia: Surface, plane: Plane, axes: GuideAxes, along: float, above: float) -> Array:
    """(3,) where a line parallel to a cut meets the bone from outside, `along` u and `above` the cut in mm."""
    outwards = outwards_in(plane, axes)
    in_plane = axes.origin - float(plane.distances(axes.origin[None])[0]) * plane.normal
    start = in_plane + along * along_cut(plane, axes) + above * plane.normal + _OUTSIDE_MM * outwards
    hits = ray_hits(tibia, start, -outwards)
    if len(hits) == 0:
        raise InputError("A K-wire misses the bone: change wire_spacing_mm, wire_below_cut_mm or the cut.")
    return np.asarray(start - hits[0] * outwards)
