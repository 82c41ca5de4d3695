"""The rounded body of a guide as a field on its grid: negative inside, about mm near its surface.

Rounded unions and intersections keep the exact circular fillet where two distance fields meet at a right angle (as in constructive solid
geometry with distance fields: Ricci, Computer Journal 16(2), 1973, with circular blends).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.planning.contact_patch import ContactPatch
from SSRKDCore.planning.guide_grid import GuideGrid
from SSRKDCore.planning.guide_model import Wire
from SSRKDCore.planning.guide_parameters import GuideParameters
from SSRKDCore.planning.guide_wires import outwards_in
from SSRKDCore.planning.plane import Plane

Array = NDArray[np.float64]


def guide_body(
    grid: GuideGrid, patch: ContactPatch, cuts: Sequence[Plane], wires: Sequence[Wire], parameters: GuideParameters
) -> Array:
    """[u, v, w] field of the body without slots and holes, before the bone is taken off: a shell of even thickness over the patch, a block
    around each cut and a tube around each wire, joined with fillets.
    """
    radius = parameters.edge_radius_mm
    shell = rounded_intersection(
        [patch.outline[:, :, None], grid.swept - (parameters.clearance_mm + parameters.thickness_mm)], radius
    )
    parts = [_block(grid, patch, cut, parameters) for cut in cuts] + [_tube(grid, wire, parameters) for wire in wires]
    return reduce(lambda one, other: rounded_union(one, other, parameters.fillet_mm), parts, shell)


def openings(
    grid: GuideGrid, patch: ContactPatch, cuts: Sequence[Plane], wires: Sequence[Wire], parameters: GuideParameters
) -> Array:
    """[u, v, w] field of the slots and holes, which run through: negative inside."""
    u, _, _ = grid.coordinates()
    end = np.abs(u - patch.middle) - parameters.slot_width_mm / 2
    slots = [np.maximum(np.abs(_in_cut(grid, cut)[0]) - parameters.slot_thickness_mm / 2, end) for cut in cuts]
    # Flat pieces between the grid's points stand in a round hole by this much.
    sag = grid.spacing**2 / (4 * parameters.hole_diameter_mm)
    holes = [_radial(grid, wire)[0] - (parameters.hole_diameter_mm / 2 + sag) for wire in wires]
    return reduce(np.minimum, slots + holes)


def rounded_intersection(fields: Sequence[Array], radius: float) -> Array:
    """The intersection with its outer edges rounded."""
    beyond = sum(np.maximum(field + radius, 0.0) ** 2 for field in fields)
    inside = reduce(np.maximum, fields)
    return np.asarray(np.minimum(inside + radius, 0.0) + np.sqrt(beyond) - radius)


def rounded_union(one: Array, other: Array, radius: float) -> Array:
    """The union with its inner edges filled by a fillet."""
    within = np.sqrt(np.maximum(radius - one, 0.0) ** 2 + np.maximum(radius - other, 0.0) ** 2)
    return np.asarray(np.maximum(np.minimum(one, other), radius) - within)


def block_top(grid: GuideGrid, patch: ContactPatch, cut: Plane, parameters: GuideParameters) -> float:
    """mm along the blade's way, from the guide's origin outwards, at which the block around a slot ends: everywhere at least
    the guiding depth away from the bone.
    """
    u, _, _ = grid.coordinates()
    across, along = _in_cut(grid, cut)
    half = parameters.slot_width_mm / 2
    at_bone = (
        (np.abs(across) <= grid.spacing) & (grid.swept < parameters.clearance_mm) & (np.abs(u - patch.middle) <= half)
    )
    highest = float(along[at_bone].max()) if at_bone.any() else 0.0
    return highest + parameters.guiding_depth_mm


def _in_cut(grid: GuideGrid, cut: Plane) -> tuple[Array, Array]:
    """Distance to a cut, and way along the blade's direction outwards, of every voxel in mm."""
    across = _affine(grid, cut.normal, float((grid.axes.origin - cut.point) @ cut.normal))
    return across, _affine(grid, outwards_in(cut, grid.axes), 0.0)


def _block(grid: GuideGrid, patch: ContactPatch, cut: Plane, parameters: GuideParameters) -> Array:
    u, _, _ = grid.coordinates()
    across, along = _in_cut(grid, cut)
    wall = parameters.slot_wall_mm
    return rounded_intersection(
        [
            np.abs(across) - (parameters.slot_thickness_mm / 2 + wall),
            np.abs(u - patch.middle) - (parameters.slot_width_mm / 2 + wall),
            along - block_top(grid, patch, cut, parameters),
        ],
        parameters.edge_radius_mm,
    )


def _tube(grid: GuideGrid, wire: Wire, parameters: GuideParameters) -> Array:
    radius = parameters.hole_diameter_mm / 2 + parameters.wire_wall_mm
    radial, along = _radial(grid, wire)
    ends = np.maximum(along - parameters.wire_guiding_length_mm, -along - 2 * radius)
    return rounded_intersection([radial - radius, ends], parameters.edge_radius_mm)


def _radial(grid: GuideGrid, wire: Wire) -> tuple[Array, Array]:
    """Distance of every voxel to a wire's axis, and its way outwards from the bone, in mm."""
    start = grid.axes.matrix @ (grid.axes.origin - wire.entry)
    along = _affine(grid, -wire.direction, float(-(grid.axes.origin - wire.entry) @ wire.direction))
    u, v, w = grid.coordinates()
    square = (u + start[0]) ** 2 + (v + start[1]) ** 2 + (w + start[2]) ** 2
    return np.sqrt(np.maximum(square - along**2, 0.0)), along


def _affine(grid: GuideGrid, direction: Array, offset: float) -> Array:
    u, v, w = grid.coordinates()
    part = grid.axes.matrix @ direction
    return np.asarray(offset + part[0] * u + part[1] * v + part[2] * w)
