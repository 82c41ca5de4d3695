"""The network's bones as data for a fit: which of their points is next to a point of a shape model's bone, and how far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Cosine between the normals of two points of which one may be the other: not the far side of a thin wall.
_ALIKE = 0.3
# Faces of the field of view cut the bones: what lies within this distance (mm) of them is no surface of a bone.
_CUT_MM = 3.0


@dataclass(frozen=True)
class NetworkBone:
    """One bone as the network saw it: vertices (V, 3) LPS mm, their outward unit normals (V, 3), and a search tree."""

    vertices: Array
    normals: Array
    tree: cKDTree

    @classmethod
    def of(cls, surface: Surface) -> NetworkBone:
        """From a surface as fine as the network's volume, LPS mm; vertices stand for the surface between them."""
        return cls(surface.vertices, vertex_normals(surface.vertices, surface.faces), cKDTree(surface.vertices))


def network_bones(surfaces: Mapping[str, Surface]) -> dict[str, NetworkBone]:
    """Bones that the network found, by name."""
    return {name: NetworkBone.of(surface) for name, surface in surfaces.items() if not surface.is_empty}


def distances_along_normals(
    bone: NetworkBone, points: Array, normals: Array, field_of_view: FieldOfView, reach_mm: float
) -> tuple[NDArray[np.bool_], Array]:
    """How far points have to move along their normals to reach the network's surface.

    Parameters
    ----------
    points, normals: (N, 3) LPS mm, and outward unit normals.
    reach_mm: further surface is none.

    Returns
    -------
    matched: (N,) which points have surface next to them, inside the field of view, that faces the same way.
    distance: (M,) mm of those, positive outwards.
    """
    low, high = field_of_view.bounds
    low, high = low + _CUT_MM, high - _CUT_MM
    inside = ((points > low) & (points < high)).all(axis=1)
    matched = np.zeros(len(points), dtype=bool)
    rows = np.flatnonzero(inside)
    if not len(rows):
        return matched, np.zeros(0)
    gap, nearest = bone.tree.query(points[rows], distance_upper_bound=reach_mm)
    found = np.isfinite(gap)
    rows, nearest = rows[found], nearest[found]
    closest = bone.vertices[nearest]
    alike = np.einsum("ij,ij->i", bone.normals[nearest], normals[rows]) > _ALIKE
    alike &= ((closest > low) & (closest < high)).all(axis=1)
    rows = rows[alike]
    matched[rows] = True
    return matched, np.einsum("ij,ij->i", closest[alike] - points[rows], normals[rows])
