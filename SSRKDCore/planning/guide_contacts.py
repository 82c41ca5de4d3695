"""The points of a guide that can touch the bone, and where they lie in a pose."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.surface_sampling import sampled, subdivided, triangle_areas
from SSRKDCore.planning.bone_field import ExactBoneDistance
from SSRKDCore.planning.guide_model import Guide
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

PATCH_SPACING_MM = 1.5
_BODY_SPACING_MM = 1.5
# The body's own copy of the patch is not counted twice.
_BODY_OFF_PATCH_MM = 0.02
# Corners nearer than this to each other are one.
_SAME_CORNER_MM = 1e-4


@dataclass(frozen=True)
class GuideContacts:
    """Where a guide can touch, in its designed pose (LPS mm).

    Attributes
    ----------
    patch: the contact patch, normals pointing at the bone.
    points: (P, 3) corners of small triangles that tile the patch, with the share `areas` (P,) of its area in mm^2 that each stands
        for, and unit `normals` (P, 3) towards the bone.
    body: (B, 3) points of the rest of the guide's surface.
    centre: (3,) area-weighted centre of the patch: rotations turn about it.
    direction: (3,) unit seating direction.
    radius: root mean square distance of the patch from its centre, mm: turns radians into mm.
    """

    patch: Surface
    points: Array
    areas: Array
    normals: Array
    body: Array
    centre: Array
    direction: Array
    radius: float

    @cached_property
    def vertex_normals(self) -> Array:
        """(V, 3) area-weighted unit normals of the patch at its vertices, towards the bone."""
        sums = np.zeros_like(self.patch.vertices)
        np.add.at(sums, self.patch.faces.ravel(), np.repeat(face_normals(self.patch), 3, axis=0))
        return _unit(sums)

    @cached_property
    def exact_patch(self) -> ExactBoneDistance:
        """Exact distance to the patch, positive on the bone's side."""
        return ExactBoneDistance(self.patch)


def guide_contacts(guide: Guide) -> GuideContacts:
    """The contact points of a guide.

    Raises InputError when the patch is empty, or its normals do not look along the seating direction.
    """
    if guide.contact.is_empty or guide.contact.area <= 0:
        raise InputError("The guide has no contact patch: make the guide again.")
    direction = np.asarray(guide.seating_direction, dtype=np.float64)
    length = float(np.linalg.norm(direction))
    if direction.shape != (3,) or not np.isfinite(length) or length == 0:
        raise InputError("The guide's seating direction is no direction: make the guide again.")
    direction = direction / length
    points, areas, normals = _tiled(guide.contact)
    if areas @ (normals @ direction) <= 0:
        raise InputError(
            "The guide is pushed away from the bone: its contact patch looks against its seating direction; turn one of them."
        )
    centre = areas @ points / areas.sum()
    radius = float(np.sqrt(areas @ ((points - centre) ** 2).sum(axis=1) / areas.sum()))
    return GuideContacts(guide.contact, points, areas, normals, _body(guide), centre, direction, radius)


def _tiled(patch: Surface) -> tuple[Array, Array, Array]:
    """Corners (P, 3) of small triangles that tile a patch, the area (P,) that each stands for, and unit normals (P, 3)."""
    tiles = subdivided(patch.triangles[patch.triangle_areas > 0], PATCH_SPACING_MM)
    corners = tiles.reshape(-1, 3)
    _, first, corner = np.unique(np.round(corners / _SAME_CORNER_MM), axis=0, return_index=True, return_inverse=True)
    corner = corner.reshape(-1)
    areas = np.bincount(corner, np.repeat(triangle_areas(tiles) / 3, 3)).astype(np.float64)
    sums = np.zeros((len(first), 3))
    np.add.at(sums, corner, np.repeat(_across(tiles), 3, axis=0))
    return corners[first], areas, _unit(sums)


def _body(guide: Guide) -> Array:
    """(B, 3) points of the body apart from the patch."""
    if guide.surface.is_empty:
        return np.zeros((0, 3))
    used = guide.surface.triangles[triangle_areas(guide.surface.triangles) > 0]
    points = np.concatenate([used.reshape(-1, 3), sampled(used, _BODY_SPACING_MM).points])
    distance, _ = ExactBoneDistance(guide.contact).signed(points)
    points = points[np.abs(distance) > _BODY_OFF_PATCH_MM]
    # One point a cell, so that a fine mesh does not cost more than a coarse one.
    return points[np.unique(np.floor(points / _BODY_SPACING_MM), axis=0, return_index=True)[1]]


@dataclass(frozen=True)
class Pose:
    """Where a guide lies: turned about the centre of its patch, then moved.

    Attributes
    ----------
    rotation: (3, 3).
    shift: (3,) mm, of the patch's centre.
    """

    rotation: Array = field(default_factory=lambda: np.eye(3))
    shift: Array = field(default_factory=lambda: np.zeros(3))

    def moved(self, step: Array, radius: float) -> Pose:
        """After a step (6,): a translation in mm, and a rotation vector times `radius` mm."""
        from scipy.spatial.transform import Rotation

        return Pose(Rotation.from_rotvec(step[3:] / radius).as_matrix() @ self.rotation, self.shift + step[:3])

    def place(self, points: Array, centre: Array) -> Array:
        """Points (N, 3) of the designed guide in this pose."""
        return (points - centre) @ self.rotation.T + centre + self.shift

    def matrix(self, centre: Array) -> Array:
        """(4, 4) motion from the designed pose."""
        motion = np.eye(4)
        motion[:3, :3] = self.rotation
        motion[:3, 3] = centre + self.shift - self.rotation @ centre
        return motion

    @property
    def rotation_vector(self) -> Array:
        """(3,) radians."""
        from scipy.spatial.transform import Rotation

        return np.asarray(Rotation.from_matrix(self.rotation).as_rotvec())

    @property
    def rotation_degrees(self) -> float:
        """The angle it turns through."""
        return float(np.rad2deg(np.linalg.norm(self.rotation_vector)))


def face_normals(surface: Surface) -> Array:
    """(F, 3) normals of a surface's triangles, twice their area long."""
    return _across(surface.triangles)


def _across(triangles: Array) -> Array:
    return np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
