"""Apparent contours of the bones, and what their distance from the edges in the radiographs says of a knee's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.shape_fit.fitted_knee import FittedKnee, KneeState
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class ContourPoints:
    """Where the rays of a view graze a bone, on the edges of its mesh.

    first, second: (N,) vertices of the edges; share: (N,) of the way from first to second.
    positions, normals: (N, 3) LPS mm and outward unit normals, perpendicular to the rays.
    """

    first: Indices
    second: Indices
    share: Array
    positions: Array
    normals: Array


def mesh_edges(faces: Indices, own_count: int) -> Indices:
    """(E, 2) edges of a mesh between its first `own_count` vertices (those on the bone, not on the cap of a cut shaft)."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return np.unique(edges[(edges < own_count).all(axis=1)], axis=0)


def template_edges(model: KneeShapeModel) -> dict[str, Indices]:
    """Bone name -> `mesh_edges` of a shape model's template."""
    return {name: mesh_edges(template.faces, template.own_count) for name, template in model.templates.items()}


def grazed_points(surface: Surface, edges: Indices, source: Array, field_of_view: FieldOfView) -> ContourPoints:
    """The apparent contour of a surface from a source (3,), inside the field of view: zeros of ray times normal on mesh edges.

    The same lines as `pictures.contour_generator` draws, with the vertices that carry them.
    """
    normals = vertex_normals(surface.vertices, surface.faces)
    rays = surface.vertices - source
    facing = np.einsum("ij,ij->i", rays / np.linalg.norm(rays, axis=1, keepdims=True), normals)
    crossing = edges[(facing[edges[:, 0]] < 0) != (facing[edges[:, 1]] < 0)]
    first, second = crossing[:, 0], crossing[:, 1]
    share = facing[first] / (facing[first] - facing[second])
    positions = surface.vertices[first] * (1.0 - share[:, None]) + surface.vertices[second] * share[:, None]
    low, high = field_of_view.bounds
    inside = ((positions > low) & (positions < high)).all(axis=1)
    first, second, share, positions = first[inside], second[inside], share[inside], positions[inside]
    mixed = normals[first] * (1.0 - share[:, None]) + normals[second] * share[:, None]
    ray = positions - source
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    mixed -= np.einsum("ij,ij->i", mixed, ray)[:, None] * ray
    mixed /= np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)
    return ContourPoints(first, second, share, positions, mixed)


@dataclass(frozen=True)
class Matches:
    """All contour points of a knee next to edges.

    derivatives: (N, P) mm a unit of each parameter, along the points' normals. distances: (N,) mm to the edge.
    weights: (N,) 0..1. bones: (N,) index in BONE_NAMES.
    """

    derivatives: Array
    distances: Array
    weights: Array
    bones: Indices

    @property
    def matched_share(self) -> float:
        """Share of the contour points that found an edge."""
        return float((self.weights > 0).mean()) if len(self.weights) else 0.0


def matched_contours(
    knee: FittedKnee,
    state: KneeState,
    images: Sequence[EdgeImage],
    edges: Mapping[str, Indices],
    field_of_view: FieldOfView,
    reach_mm: float,
    bones: Sequence[str] = BONE_NAMES,
) -> Matches:
    """Match the apparent contours of bones in all views; a contour point slides along the bone without moving the contour,
    so that to first order only motion along its normal counts."""
    found: list[tuple[Array, Array, Array, Indices]] = []
    surfaces = knee.surfaces(state)
    for name in bones:
        index = BONE_NAMES.index(name)
        for image in images:
            points = grazed_points(surfaces[name], edges[name], np.array(image.view.source), field_of_view)
            distance, weight = image.along_normals(points.positions, points.normals, reach_mm)
            rows = knee.derivative(name, state, points.first, points.second, points.share, points.normals)
            found.append((rows, distance, weight, np.full(len(distance), index)))
    rows, distances, weights, indices = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Matches(rows, distances, weights, indices)
