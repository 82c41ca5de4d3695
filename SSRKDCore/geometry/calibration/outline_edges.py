"""Contours of bones in two views, and the image edges next to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from SSRKDCore.shape_fit.silhouette_edges import EdgeImage

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Enough points for a contour; more would only repeat what their neighbours say.
_MOST_POINTS = 400


@dataclass(frozen=True)
class ContourEdges:
    """One bone's contour in one view.

    view, bone: indices. points, normals: (N, 3) LPS mm, and outward unit normals perpendicular to the rays. distance: (N,) mm to the
    edge, positive outwards, 0 where none was found. weight: (N,) 0..1, 0 where none was found.
    """

    view: int
    bone: int
    points: Array
    normals: Array
    distance: Array
    weight: Array


@dataclass(frozen=True)
class OutlineEdges:
    """All contours."""

    parts: tuple[ContourEdges, ...]

    @property
    def distance(self) -> Array:
        return np.concatenate([part.distance for part in self.parts]) if self.parts else np.zeros(0)

    @property
    def weight(self) -> Array:
        return np.concatenate([part.weight for part in self.parts]) if self.parts else np.zeros(0)

    @property
    def matched(self) -> float:
        """Share of the points that found an edge."""
        return float((self.weight > 0).mean()) if len(self.weight) else 0.0

    def mean_distances(self) -> tuple[float, float]:
        """Mean distance in mm, weighted by the edges' strength, in the first and the second view; NaN without edges."""
        means = []
        for view in (0, 1):
            parts = [part for part in self.parts if part.view == view]
            weight = sum(float(part.weight.sum()) for part in parts)
            total = sum(float((part.weight * np.abs(part.distance)).sum()) for part in parts)
            means.append(total / weight if weight > 0 else float("nan"))
        return means[0], means[1]


def mesh_edge_table(surface: Surface) -> Indices:
    """(E, 2) vertices of each edge of a surface."""
    from SSRKDCore.shape_fit.contour_match import mesh_edges

    return mesh_edges(surface.faces, len(surface.vertices))


def outline_edges(
    surfaces: Mapping[str, Surface],
    table: Mapping[str, Indices],
    views: Sequence[View],
    images: Sequence[EdgeImage],
    reach_mm: float,
    field_of_view: FieldOfView,
) -> OutlineEdges:
    """Contours of all bones in all views, and the nearest edges within `reach_mm` along their normals.

    images: one a view, at one scale; their own views are replaced by `views`.
    """
    from SSRKDCore.shape_fit.contour_match import grazed_points

    parts = []
    # The faces of the field of view cut the bones: a cut is no contour.
    inner = FieldOfView(field_of_view.center, field_of_view.size - 6.0)
    for place, (view, image) in enumerate(zip(views, images, strict=True)):
        seen = replace(image, view=view)
        for bone, (name, surface) in enumerate(surfaces.items()):
            contour = grazed_points(surface, table[name], np.array(view.source), inner)
            step = max(1, len(contour.positions) // _MOST_POINTS)
            points, normals = contour.positions[::step], contour.normals[::step]
            if not len(points):
                continue
            distance, weight = seen.along_normals(points, normals, reach_mm)
            parts.append(ContourEdges(place, bone, points, normals, distance, weight))
    return OutlineEdges(tuple(parts))
