"""The gaps between a guide in a pose and the bone, and how a step of the guide changes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.surface_sampling import sampled
from SSRKDCore.planning.bone_field import REACH_MM, ExactBoneDistance, GridBoneDistance
from SSRKDCore.planning.guide_contacts import GuideContacts, Pose
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_BONE_SPACING_MM = 2.0
# What the grid's interpolation can be wrong by.
_GRID_DOUBT_MM = 0.35
# A point of the bone further than this behind the patch belongs to another part of the bone.
_BEHIND_PATCH_MM = 2.0


@dataclass(frozen=True)
class Gaps:
    """Gaps of a guide in one pose. A step is (6,): a translation in mm and a rotation vector times the patch's radius.

    Attributes
    ----------
    mean_mm: mean of the patch's gap over its area.
    slope: (6,) its change with a step.
    gaps: (N,) mm, those of the whole guide that are small enough to matter.
    rows: (N, 6) their changes with a step.
    """

    mean_mm: float
    slope: Array
    gaps: Array
    rows: Array

    @property
    def depth_mm(self) -> float:
        """Deepest penetration, 0 where there is none."""
        return float(max(0.0, -self.gaps.min(initial=0.0)))


def wrench_rows(points: Array, normals: Array, pivot: Array, radius: float) -> Array:
    """(N, 6) change of the gap at points (N, 3) for a step of the body, for outward normals (N, 3) of the other body."""
    return np.hstack([normals, np.cross(points - pivot, normals) / radius])


class BoneNearGuide:
    """A reference bone prepared for one guide: distances on a grid around it, exact ones, and the bone's own points there."""

    def __init__(self, bone: Surface, contacts: GuideContacts, reach_mm: float = 12.0) -> None:
        """Prepare a closed bone for every pose within `reach_mm` of the designed one. Raises InputError for a bone without area."""
        if bone.is_empty:
            raise InputError("The reference bone has no triangles: give its surface.")
        low, high = contacts.patch.bounds[0] - reach_mm, contacts.patch.bounds[1] + reach_mm
        self.exact = ExactBoneDistance(bone)
        self.grid = GridBoneDistance(bone, np.stack([low, high]))
        corners = bone.triangles
        near = np.all((corners.max(axis=1) > low) & (corners.min(axis=1) < high), axis=1)
        corners = corners[near]
        large = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1) > _BONE_SPACING_MM
        tiles = sampled(corners[large], _BONE_SPACING_MM).points if large.any() else np.zeros((0, 3))
        self.points = np.concatenate([np.unique(corners.reshape(-1, 3), axis=0), tiles])

    def fast_gaps(self, contacts: GuideContacts, pose: Pose) -> Gaps:
        """Gaps by the grid, of the guide's points alone; those of 3 mm and more are flat."""
        places = pose.place(np.concatenate([contacts.points, contacts.body]), contacts.centre)
        gaps, normals = self.grid.signed(places)
        rows = wrench_rows(places, normals, contacts.centre + pose.shift, contacts.radius)
        near = gaps < REACH_MM - 1e-6
        rows[~near] = 0.0
        count, weights = len(contacts.points), contacts.areas / contacts.areas.sum()
        return Gaps(float(weights @ gaps[:count]), weights @ rows[:count], gaps[near], rows[near])

    def exact_gaps(self, contacts: GuideContacts, pose: Pose, within: float) -> Gaps:
        """Exact gaps, those below `within` mm from both sides: points of the guide to the bone, points of the bone to the patch."""
        pivot = contacts.centre + pose.shift
        places = pose.place(contacts.points, contacts.centre)
        gaps, normals = self.exact.signed(places)
        weights = contacts.areas / contacts.areas.sum()
        rows = wrench_rows(places, normals, pivot, contacts.radius)
        near = gaps < within
        others = [self._body_gaps(contacts, pose, within), self._bone_gaps(contacts, pose, within)]
        return Gaps(
            float(weights @ gaps),
            weights @ rows,
            np.concatenate([gaps[near]] + [found[1] for found in others]),
            np.concatenate(
                [rows[near]] + [wrench_rows(found[0], found[2], pivot, contacts.radius) for found in others]
            ),
        )

    def touching(self, contacts: GuideContacts, pose: Pose, within: float) -> tuple[Array, Array, Array]:
        """Places (N, 3), exact gaps (N,) below `within` mm and the bone's outward normals (N, 3), from both sides."""
        places = pose.place(contacts.points, contacts.centre)
        gaps, normals = self.exact.signed(places)
        near = gaps < within
        found = [(places[near], gaps[near], normals[near])]
        found += [self._body_gaps(contacts, pose, within), self._bone_gaps(contacts, pose, within)]
        places, gaps, normals = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return places, gaps, normals

    def _body_gaps(self, contacts: GuideContacts, pose: Pose, within: float) -> tuple[Array, Array, Array]:
        places = pose.place(contacts.body, contacts.centre)
        rough, _ = self.grid.signed(places)
        places = places[rough < within + _GRID_DOUBT_MM]
        if not len(places):
            return places, np.zeros(0), places
        gaps, normals = self.exact.signed(places)
        near = gaps < within
        return places[near], gaps[near], normals[near]

    def _bone_gaps(self, contacts: GuideContacts, pose: Pose, within: float) -> tuple[Array, Array, Array]:
        """Of the bone's points to the patch; beyond its rim, where the patch has no side, nothing is said."""
        designed = (self.points - contacts.centre - pose.shift) @ pose.rotation + contacts.centre
        low, high = contacts.patch.bounds[0] - within - 0.1, contacts.patch.bounds[1] + within + 0.1
        inside = np.flatnonzero(np.all((designed > low) & (designed < high), axis=1))
        if not len(inside):
            return np.zeros((0, 3)), np.zeros(0), np.zeros((0, 3))
        gaps, patch_normals, on_rim = contacts.exact_patch.signed_with_rim(designed[inside])
        near = (gaps > -_BEHIND_PATCH_MM) & (gaps < within) & ~on_rim
        # From the guide's side the gap grows against the patch's normal.
        return self.points[inside[near]], gaps[near], -patch_normals[near] @ pose.rotation.T
