"""What is known about a refined bone at its anchors: vertices of the template, evenly over it, that mean the same on every knee.

Where the network's surface lies beside, how far the surface was moved, and what the radiographs show along its normal; each at the anchor,
and on average over what lies around it on the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.distance import cdist

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.population.template import Template
from SSRKDCore.refinement.network_bones import NetworkBone, distances_along_normals
from SSRKDCore.refinement.seen_images import SeenImage
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Places along the normal at which radiographs are looked at, mm outwards.
STEPS_MM = np.arange(-4.0, 4.01, 0.5)
#: Standard deviations (mm on the template) of what is called around an anchor.
SCALES_MM = (5.0, 10.0, 22.0)
#: Likewise of what an anchor stands for.
_SPREAD_MM = 3.5
#: Views that a description is made for.
VIEWS = 2
#: Numbers of a description: of the anchor, and of each scale.
_OWN = 3 + VIEWS * (len(STEPS_MM) + 3) + 3
_AROUND = 3 + VIEWS * len(STEPS_MM)
FEATURES = _OWN + len(SCALES_MM) * _AROUND
_REACH_MM = 8.0
_SEEN = 0.5
# Weights below this are none: what lies further off than some deviations, or faces another way.
_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class PlacedBone:
    """A refined bone of a right knee with what it was made from.

    Attributes
    ----------
    surface: in the template's vertices, LPS mm. fitted: the shape model's before the local deformation, likewise.
    network: the bone as the network saw it. images: of all views. field_of_view: LPS mm.
    """

    surface: Surface
    fitted: Surface
    network: NetworkBone
    images: Sequence[SeenImage]
    field_of_view: FieldOfView


@dataclass(frozen=True)
class Anchors:
    """Anchors of a bone.

    Attributes
    ----------
    vertices: (A,) of the template. places: (A, 3) where the template has them, mm.
    around: (A, A) for each of SCALES_MM, weights of the others.
    spread: (V, A) what each vertex takes of the anchors; rows sum to 1, or less where no anchor is near.
    """

    vertices: Indices
    places: Array
    around: tuple[NDArray[np.float32], ...]
    spread: NDArray[np.float32]

    @classmethod
    def of(cls, template: Template, vertices: Indices) -> Anchors:
        """Those vertices of a template as anchors."""
        normals = vertex_normals(template.vertices, template.faces)
        places = template.vertices[vertices]
        squared = cdist(template.vertices, places, "sqeuclidean")
        alike = np.clip(normals @ normals[vertices].T, 0.0, None)
        around = tuple(_weights(squared[vertices], alike[vertices], scale) for scale in SCALES_MM)
        spread = _weights(squared, alike, _SPREAD_MM)
        spread /= np.maximum(spread.sum(axis=1, keepdims=True), 1e-2)
        return cls(vertices, places, around, spread)


def chosen_anchors(template: Template, count: int) -> Indices:
    """(count,) vertices of the template, sorted, each the furthest from those before it; the same each time."""
    own = template.vertices[: template.own_count]
    count = min(count, len(own))
    chosen = [int(np.argmax(((own - own.mean(axis=0)) ** 2).sum(axis=1)))]
    nearest = ((own - own[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, ((own - own[chosen[-1]]) ** 2).sum(axis=1))
    return np.sort(np.array(chosen, dtype=np.int64))


def anchor_features(placed: PlacedBone, anchors: Anchors) -> NDArray[np.float32]:
    """(A, FEATURES) of a bone's anchors. Raises ValueError for another number of views than VIEWS."""
    if len(placed.images) != VIEWS:
        raise ValueError(f"{len(placed.images)} views are described as {VIEWS}")
    own = anchors.vertices
    points = placed.surface.vertices[own]
    normals = vertex_normals(placed.surface.vertices, placed.surface.faces)[own]
    beside, distance = distances_along_normals(placed.network, points, normals, placed.field_of_view, _REACH_MM)
    gap = np.zeros(len(own))
    gap[beside] = distance
    moved = np.einsum("ij,ij->i", points - placed.fitted.vertices[own], normals)
    there = np.ones(len(own), dtype=bool)
    described = [gap, beside.astype(np.float64), moved, *normals.T]
    nearby = [(gap, beside), (np.abs(gap), beside), (moved, there)]
    for seen in placed.images:
        profile, level, inside = _profiles(seen, points, normals)
        rays = points - np.array(seen.view.source)
        across = np.abs(np.einsum("ij,ij->i", rays, normals)) / np.linalg.norm(rays, axis=1)
        described += [*profile.T, level, inside.astype(np.float64), across]
        nearby += [(values, inside) for values in profile.T]
    for weights in anchors.around:
        described += _means(weights, nearby)
    return np.stack(described, axis=1).astype(np.float32)


def _profiles(seen: SeenImage, points: Array, normals: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """What an image shows along normals: (N, S) against the point's own pixel, (N,) that one against the bone's mean, both over the
    deviation of the bone's; 0 where the detector did not see all of it, and (N,) where it did."""
    places = points[:, None] + STEPS_MM[None, :, None] * normals[:, None]
    pixels, _ = seen.view.project(places.reshape(-1, 3))
    flat = np.nan_to_num(pixels.T, nan=-10.0)
    shape = (len(points), len(STEPS_MM))
    values = map_coordinates(seen.image.astype(np.float64), flat, order=1, mode="nearest").reshape(shape)
    coverage = map_coordinates(seen.coverage.astype(np.float64), flat, order=1, mode="constant").reshape(shape)
    inside = (coverage >= _SEEN).all(axis=1)
    if not inside.any():
        return np.zeros(shape), np.zeros(len(points)), inside
    spread = float(values[inside].std())
    scale = 1.0 / spread if spread > 0 else 0.0
    middle = values[:, len(STEPS_MM) // 2]
    profile = np.where(inside[:, None], (values - middle[:, None]) * scale, 0.0)
    return profile, np.where(inside, (middle - values[inside].mean()) * scale, 0.0), inside


def _means(weights: NDArray[np.float32], values: Sequence[tuple[Array, NDArray[np.bool_]]]) -> list[Array]:
    """Weighted means of each values (N,) where they are known; 0 where none near is."""
    known = np.stack([there for _, there in values], axis=1).astype(np.float32)
    given = np.stack([value for value, _ in values], axis=1).astype(np.float32)
    sums = weights @ (given * known) / np.maximum(weights @ known, _LEAST_WEIGHT)
    return list(np.asarray(sums, dtype=np.float64).T)


def _weights(squared: Array, alike: Array, scale_mm: float) -> NDArray[np.float32]:
    weights = np.exp(-0.5 * squared / scale_mm**2) * alike
    return np.where(weights > _LEAST_WEIGHT, weights, 0.0).astype(np.float32)
