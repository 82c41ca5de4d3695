"""What the modes of a shape model cannot span: a smooth deformation of each bone towards the network's surface and the edges.

A Gaussian process over the bone's surface (Luethi et al., IEEE TPAMI 40(8), 2018) moves vertices along their normals; it is observed at
vertices by the network's surface, at apparent contours by edges.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.population.gaussian_process import Scale, low_rank_basis
from SSRKDCore.refinement.joint_fit import DEPENDENT_SURFACE_POINTS
from SSRKDCore.refinement.network_bones import NetworkBone, distances_along_normals
from SSRKDCore.shape_fit.contour_fit import DEPENDENT_POINTS, cauchy_weights
from SSRKDCore.shape_fit.contour_match import grazed_points
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Wider than the shape model's own process (`population.shape_model.SCALES`), whose knees are averages of what it has seen.
_SCALES = (Scale(40.0, 1.0), Scale(12.0, 1.0))
_RANK = 150
_SHARE = 0.995
_ROUNDS = 3
_SURFACE_NOISE_MM = 1.0
_SURFACE_REACH_MM = 8.0
_EDGE_NOISE_MM = 0.6
_EDGE_REACH_MM = 4.0


def deformed(
    surface: Surface,
    chosen: Indices,
    edges: Indices,
    bone: NetworkBone | None,
    images: Sequence[EdgeImage],
    field_of_view: FieldOfView,
) -> Surface:
    """The bone, deformed.

    Parameters
    ----------
    surface: of the fitted shape model, LPS mm.
    chosen: (n,) vertices that are compared with the network's surface.
    edges: (E, 2) of the mesh, see `mesh_edges`.
    bone: what the network saw; None leaves it to the edges.
    images: edges of all views at the finest scale.
    field_of_view: LPS mm.
    """
    basis = low_rank_basis(surface.vertices, _SCALES, _SHARE, _RANK)
    outward = vertex_normals(surface.vertices, surface.faces)
    coefficients: Array = np.zeros(basis.shape[1])
    current = surface
    for _ in range(_ROUNDS):
        rows, distances, weights = _observed(current, basis, outward, chosen, edges, bone, images, field_of_view)
        # Distances are those that are left; what the process explains already is added again.
        wanted = distances + rows @ coefficients
        normal = rows.T @ (weights[:, None] * rows)
        normal[np.diag_indices_from(normal)] += 1.0
        coefficients = np.asarray(np.linalg.solve(normal, rows.T @ (weights * wanted)), dtype=np.float64)
        current = Surface(surface.vertices + (basis @ coefficients)[:, None] * outward, surface.faces)
    return current


def _observed(
    surface: Surface,
    basis: Array,
    outward: Array,
    chosen: Indices,
    edges: Indices,
    bone: NetworkBone | None,
    images: Sequence[EdgeImage],
    field_of_view: FieldOfView,
) -> tuple[Array, Array, Array]:
    """Rows (N, r) on the coefficients, distances (N,) mm and weights (N,) 1/mm^2 of all observations.

    outward: (V, 3) normals along which the process moves vertices.
    """
    rows, distances, weights = [], [], []
    if bone is not None:
        normals = vertex_normals(surface.vertices, surface.faces)[chosen]
        matched, distance = distances_along_normals(
            bone, surface.vertices[chosen], normals, field_of_view, _SURFACE_REACH_MM
        )
        own = chosen[matched]
        rows.append(basis[own] * np.einsum("ij,ij->i", outward[own], normals[matched])[:, None])
        distances.append(distance)
        weights.append(cauchy_weights(distance, _SURFACE_NOISE_MM, DEPENDENT_SURFACE_POINTS))
    for image in images:
        points = grazed_points(surface, edges, np.array(image.view.source), field_of_view)
        distance, strength = image.along_normals(points.positions, points.normals, _EDGE_REACH_MM)
        row = np.zeros((len(distance), basis.shape[1]))
        for vertices, share in ((points.first, 1.0 - points.share), (points.second, points.share)):
            along = np.einsum("ij,ij->i", outward[vertices], points.normals)
            row += basis[vertices] * (share * along)[:, None]
        rows.append(row)
        distances.append(distance)
        weights.append(strength * cauchy_weights(distance, _EDGE_NOISE_MM, DEPENDENT_POINTS))
    return np.concatenate(rows), np.concatenate(distances), np.concatenate(weights)
