"""The tibial plateau: its two joint surfaces, told from the rest of the bone by where they face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.bone_samples import BoneSamples, across, farthest, front_of, unit

Array = NDArray[np.float64]

# Faces within 37 degrees of the plateau's normal, not far above (eminence) or below (rim) its plane, are joint surface.
_FACING = 0.8
_ABOVE_MM, _BELOW_MM = 5.0, 8.0
# In widths of the plateau: half the intercondylar area, where neither joint surface is; half the strip that a profile is taken from.
_INTERCONDYLAR, _STRIP = 0.14, 0.05
_CENTRE_RADIUS = 0.1
_ITERATIONS = 5


@dataclass(frozen=True)
class Plateau:
    """The plateau of a right leg.

    Attributes
    ----------
    up: (3,) unit vector along the tibia's shaft, proximal.
    lateral: (3,) unit vector from the medial to the lateral centre, at right angles to up.
    normal: (3,) unit vector of the plane through both joint surfaces.
    medial, outer: (3,) centres of the medial and lateral joint surface, on the surface.
    middle: (3,) middle between the medial and lateral edges in that plane.
    width: from edge to edge, mm.
    """

    up: Array
    lateral: Array
    normal: Array
    medial: Array
    outer: Array
    middle: Array
    width: float

    @property
    def front(self) -> Array:
        """(3,) anterior."""
        return front_of(self.up, self.lateral)

    def above(self, points: Array) -> Array:
        """(N,) mm of points (N, 3) above the plane."""
        return np.asarray((points - self.middle) @ self.normal)


def find_plateau(tibia: BoneSamples, up: Array, lateral: Array, centres: tuple[Array | None, Array | None]) -> Plateau:
    """Find the joint surfaces. `centres`: given medial and lateral centres (3,), which then fix `lateral`.

    Raises InputError where the tibia's upper end has no two surfaces that face upwards.
    """
    height = tibia.centres @ up
    top = (height > height.max() - 25.0) & (tibia.normals @ up > _FACING)
    normal, level = up, float(np.average(height[top], weights=tibia.areas[top])) if top.any() else 0.0
    medial = outer = np.zeros(3)
    width = middle = 0.0
    for _ in range(_ITERATIONS):
        above = tibia.centres @ normal - level
        position = tibia.centres @ lateral
        rim = (above > -1.5 * _BELOW_MM) & (above < _ABOVE_MM)
        if not rim.any():
            raise InputError("The tibia's upper end is no plateau: give a tibia with its joint surface.")
        width, middle = float(np.ptp(position[rim])), float(0.5 * (position[rim].min() + position[rim].max()))
        surface = (tibia.normals @ normal > _FACING) & (above > -_BELOW_MM) & (above < _ABOVE_MM)
        found = []
        for sign in (-1.0, 1.0):
            half = surface & (sign * (position - middle) > _INTERCONDYLAR * width)
            if tibia.areas[half].sum() < 0.02 * width**2:
                raise InputError("The tibia's upper end has no two joint surfaces: give a tibia with its plateau.")
            found.append(half)
        both = found[0] | found[1]
        normal, level = _fitted_plane(tibia.centres[both], tibia.areas[both], up)
        medial, outer = (
            given if given is not None else _centre(tibia.centres[half], tibia.areas[half], normal, width)
            for half, given in zip(found, centres, strict=True)
        )
        lateral = across(outer - medial, up)
    # The middle between the edges, at the height of the plane and the depth of the centres.
    centre = 0.5 * (medial + outer)
    centre = centre + (middle - centre @ lateral) * lateral
    centre = centre + (level - centre @ normal) / (up @ normal) * up
    return Plateau(up, lateral, normal, medial, outer, centre, width)


def _fitted_plane(points: Array, weights: Array, up: Array) -> tuple[Array, float]:
    """Unit normal (3,) towards `up` and height along it of the plane through points, least squares."""
    middle = np.average(points, axis=0, weights=weights)
    normal = np.linalg.svd((points - middle) * np.sqrt(weights)[:, None], full_matrices=False)[2][2]
    normal = normal * np.sign(normal @ up)
    # A plateau's slope is at most some 25 degrees; a plane beyond that went astray on scattered faces.
    return (normal, float(middle @ normal)) if normal @ up > 0.85 else (up, float(middle @ up))


def _centre(points: Array, areas: Array, normal: Array, width: float) -> Array:
    """(3,) the middle of a joint surface's area, at the mean height of the surface around it."""
    middle = np.average(points, axis=0, weights=areas)
    offset = points - middle
    flat = np.linalg.norm(offset - (offset @ normal)[:, None] * normal, axis=1)
    near = flat < _CENTRE_RADIUS * width
    if not near.any():
        return np.asarray(middle)
    return np.asarray(middle + np.average(offset[near] @ normal, weights=areas[near]) * normal)


def sagittal_rims(tibia: BoneSamples, plateau: Plateau, centre: Array) -> tuple[Array, Array]:
    """(3,) anterior and (3,) posterior point of a joint surface's sagittal profile through its centre.

    The highest points of the profile's first and last quarter, each above the line through both: the peaks of the anterior and
    posterior rim (Hashemi et al., J Bone Joint Surg Am 90, 2008).
    """
    front = across(plateau.front, plateau.normal)
    above = plateau.above(tibia.centres)
    chosen = (
        (np.abs((tibia.centres - centre) @ plateau.lateral) < _STRIP * plateau.width)
        & (tibia.normals @ plateau.normal > 0.6)
        & (np.abs(above) < 1.5 * _BELOW_MM)
        & (np.abs((tibia.centres - centre) @ front) < 0.5 * plateau.width)
    )
    points = tibia.centres[chosen]
    depth = points @ front
    if len(points) < 8 or np.ptp(depth) < 0.2 * plateau.width:
        raise InputError("A joint surface of the tibia is too small for a slope: give a whole plateau.")
    low, high = np.percentile(depth, [1, 99])
    first = points[depth > high - 0.25 * (high - low)]
    last = points[depth < low + 0.25 * (high - low)]
    height = plateau.normal
    for _ in range(6):
        anterior = _farthest_in_strip(first, height, centre, plateau.lateral)
        posterior = _farthest_in_strip(last, height, centre, plateau.lateral)
        line = unit(anterior - posterior)
        height = unit(np.cross(line, plateau.lateral) * np.sign(np.cross(line, plateau.lateral) @ plateau.up))
    return anterior, posterior


def _farthest_in_strip(points: Array, direction: Array, centre: Array, lateral: Array) -> Array:
    """(3,) the farthest point of a strip of points (N, 3) along a unit vector, moved sideways into the plane through `centre`."""
    found = farthest(points, direction, 1.0)
    return np.asarray(found + ((centre - found) @ lateral) * lateral)
