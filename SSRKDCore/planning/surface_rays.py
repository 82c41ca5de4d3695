"""Where straight lines and planes meet a surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.planning.plane import Plane
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_SAME_PLACE_MM = 1e-7


def ray_hits(surface: Surface, start: Array, direction: Array) -> Array:
    """Sorted distances (N,) in mm from `start` (3,) along the unit vector `direction` (3,) at which a ray meets the surface.

    Moeller and Trumbore, Journal of Graphics Tools 2(1), 1997, on all triangles at once. Hits at the same place (a ray through an
    edge of two triangles) count once.
    """
    corner = surface.vertices[surface.faces[:, 0]]
    first = surface.vertices[surface.faces[:, 1]] - corner
    second = surface.vertices[surface.faces[:, 2]] - corner
    across = np.cross(direction, second)
    determinant = np.einsum("ij,ij->i", first, across)
    usable = np.abs(determinant) > 1e-14
    inverse = 1.0 / np.where(usable, determinant, 1.0)
    offset = start - corner
    u = np.einsum("ij,ij->i", offset, across) * inverse
    turned = np.cross(offset, first)
    v = turned @ direction * inverse
    distance = np.einsum("ij,ij->i", second, turned) * inverse
    # A ray exactly through an edge must not slip between the two triangles.
    slack = 1e-9
    hit = usable & (u >= -slack) & (v >= -slack) & (u + v <= 1 + slack) & (distance > 0)
    found = np.sort(distance[hit])
    return found[np.concatenate([[True], np.diff(found) > _SAME_PLACE_MM])] if len(found) else found


def section_segments(surface: Surface, plane: Plane) -> Array:
    """(S, 2, 3) pieces of the outline in which a plane cuts a surface, in no order; each runs with the bone on its left, seen against the
    plane's normal.
    """
    height = plane.distances(surface.vertices)
    # A vertex exactly in the plane counts as above, so that every crossed triangle has two crossed edges.
    above = height >= 0
    faces = surface.faces[above[surface.faces].any(axis=1) & ~above[surface.faces].all(axis=1)]
    start, end = np.zeros((2, len(faces), 3))
    for one, other in ((0, 1), (1, 2), (2, 0)):
        a, b = faces[:, one], faces[:, other]
        crossed = above[a] != above[b]
        share = np.where(crossed, height[a], 0.0) / np.where(crossed, height[a] - height[b], 1.0)
        point = surface.vertices[a] + share[:, None] * (surface.vertices[b] - surface.vertices[a])
        falling = crossed & above[a]
        start[falling], end[crossed & ~above[a]] = point[falling], point[crossed & ~above[a]]
    return np.stack([start, end], axis=1)


def section_centre(surface: Surface, plane: Plane) -> Array | None:
    """(3,) centroid of the area in which a plane cuts a closed surface; None where they do not meet.

    Not the middle of the outline's length: that moves towards whichever side is rough, on a bone that is smooth on the others.
    """
    segments = section_segments(surface, plane)
    if not len(segments):
        return None
    middle = segments.mean(axis=(0, 1))
    start, end = segments[:, 0] - middle, segments[:, 1] - middle
    areas = 0.5 * np.cross(start, end) @ plane.normal
    if areas.sum() <= 0:
        return None
    return np.asarray(middle + ((start + end) / 3.0 * areas[:, None]).sum(axis=0) / areas.sum())
