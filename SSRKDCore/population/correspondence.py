"""Correspondence: a template bent onto a bone, so that vertex i lies at the same place of every bone.

Registration by Gaussian process regression with closest points (Luethi et al., IEEE TPAMI 40(8), 2018, section 4): the bent
template is template + L c with a low-rank basis L of smooth deformations of several scales; closest points are taken as noisy observations,
whose noise falls from millimetres to the residual that rough sources deserve. Being a smooth deformation it makes no creases, and where a
source says nothing (a shaft that stops short) it says which vertices were not seen instead of guessing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.population.closest_points import ClosestPoints
from SSRKDCore.population.gaussian_process import Scale, low_rank_basis, posterior_coefficients
from SSRKDCore.population.rigid_motion import Similarity, closest_point_alignment
from SSRKDCore.population.template import Template
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]

# From the bending of a whole shaft to the edge of a facet. Amplitudes are generous: how far a bone may differ is
# learnt afterwards, from what was seen.
SCALES = (Scale(120.0, 6.0), Scale(45.0, 4.0), Scale(20.0, 2.0), Scale(9.0, 0.8))
_NOISE = np.geomspace(3.0, 0.3, 24)
# Says that kept registrations are of another method; to be raised with every change that moves vertices.
METHOD = 2
_RANK = 900
_VARIANCE_SHARE = 0.9999
# Closest points whose normals differ by more than 60 degrees belong to another side of the bone.
_NORMAL_AGREEMENT = 0.5
# A cut end is blunt: its faces and those next to it are no bone surface.
_END_MARGIN = 4.0
_FLAT = 0.9
# What every source shows of a long bone, mm from the joint line.
_NEAR_JOINT = 60.0


@dataclass(frozen=True)
class Correspondence:
    """A template bent onto one bone.

    Attributes
    ----------
    vertices: (V, 3) mm, in the bone's own frame.
    seen: (V,) whether the source has surface there.
    distances: (N,) mm between the seen part and the source, both ways, at the vertices of each.
    """

    vertices: Array
    seen: NDArray[np.bool_]
    distances: Array


class Registration:
    """Bends one template onto bones; the basis of deformations is made once, when the first bone needs it."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self._own = np.arange(len(template.vertices)) < template.own_count

    @cached_property
    def _basis(self) -> Array:
        return low_rank_basis(self.template.vertices, SCALES, _VARIANCE_SHARE, _RANK)

    def register(self, bone: Surface, usable_to: float = np.inf) -> Correspondence:
        """The template bent onto `bone` (same side; axes as the template's to within some 20 degrees; any place).

        `usable_to`: distance in mm from the joint line (along z, template frame) beyond which the bone is taken as missing.
        """
        motion = placed_on(self.template, bone)
        target = bone.transformed(similarity_matrix(motion.inverse()))
        closest = ClosestPoints(target)
        low, high = surface_extent(target, self.template, usable_to)
        blunt = end_triangles(closest, low, high)
        vertices = self.template.vertices
        for noise in _NOISE:
            vertices = self._step(vertices, closest, blunt, low, high, float(noise))
        vertices = self.template.with_flat_end(vertices)
        seen = self._own & (vertices[:, 2] > low) & (vertices[:, 2] < high)
        if len(self.template.rim) and seen[self.template.rim].all():
            seen |= ~self._own
        distances = self._distances(vertices, seen, target, closest, low, high)
        return Correspondence(motion.apply(vertices), seen, distances * motion.scale)

    def _step(
        self, vertices: Array, closest: ClosestPoints, blunt: NDArray[np.bool_], low: float, high: float, noise: float
    ) -> Array:
        """One round: closest points, then the most probable deformation."""
        normals = vertex_normals(vertices, self.template.faces)
        found, triangle = closest.query(vertices)
        gap = np.linalg.norm(found - vertices, axis=1)
        agrees = np.einsum("ij,ij->i", normals, closest.normals[triangle]) > _NORMAL_AGREEMENT
        used = (
            self._own
            & agrees
            & ~blunt[triangle]
            & (found[:, 2] > low)
            & (found[:, 2] < high)
            & (gap < 6.0 * noise + 6.0)
        )
        displacement = found - self.template.vertices
        deviation = np.full(len(vertices), noise)
        # The flat end stays in its plane, however the shaft is bent.
        rim = self.template.rim
        rows = np.concatenate([np.flatnonzero(used), rim])
        observed = np.concatenate([displacement[used], np.where([True, True, False], displacement[rim], 0.0)])
        sure = np.concatenate([deviation[used], np.where(used[rim], noise, 10.0)])
        coefficients = posterior_coefficients(self._basis[rows], observed, sure)
        return self.template.vertices + self._basis @ coefficients

    def _distances(
        self, vertices: Array, seen: NDArray[np.bool_], target: Surface, closest: ClosestPoints, low: float, high: float
    ) -> Array:
        own = seen & self._own
        forth = np.linalg.norm(closest.query(vertices[own])[0] - vertices[own], axis=1)
        lowest, highest = vertices[own, 2].min(), vertices[own, 2].max()
        z = target.vertices[:, 2]
        whole = not len(self.template.rim)
        inside = (z > max(low, lowest - 2.0)) & (z < min(high, highest + 2.0)) if not whole else np.ones(len(z), bool)
        if not whole:
            end = self.template.vertices[self.template.rim[0], 2]
            inside &= (z < min(high, end - 2.0)) if end > 0 else (z > max(low, end + 2.0))
        points = target.vertices[inside]
        back = np.linalg.norm(ClosestPoints(Surface(vertices, self.template.faces)).query(points)[0] - points, axis=1)
        return np.concatenate([forth, back])


def placed_on(template: Template, bone: Surface) -> Similarity:
    """Similarity from the template's frame to the bone's, found on the part near the joint (of a bone with a shaft)."""
    own = np.arange(len(template.vertices)) < template.own_count
    near = own & (np.abs(template.vertices[:, 2]) < _NEAR_JOINT) if len(template.rim) else own
    side = _joint_side(template)
    offset = _joint_center(bone, side) - _joint_center(template.surface, side)
    start = Similarity(1.0, np.eye(3), offset)
    points, normals = template.vertices[near], vertex_normals(template.vertices, template.faces)[near]
    closest = ClosestPoints(bone)
    rough = closest_point_alignment(points[::4], normals[::4], closest, start, scaled=False)
    return closest_point_alignment(points[::2], normals[::2], closest, rough)


def similarity_matrix(motion: Similarity) -> Array:
    """The 4x4 matrix of a similarity."""
    matrix = np.eye(4)
    matrix[:3, :3] = motion.scale * motion.rotation
    matrix[:3, 3] = motion.translation
    return matrix


def _joint_side(template: Template) -> int:
    """-1 when the joint is at the lower end (femur), +1 at the upper (tibia, fibula), 0 for a bone without a shaft."""
    return 0 if not len(template.rim) else int(-np.sign(template.vertices[template.rim[0], 2]))


def _joint_center(surface: Surface, side: int, reach: float = 40.0) -> Array:
    """Middle of the vertices' box within `reach` mm of the joint end: it does not depend on where a shaft stops."""
    z = surface.vertices[:, 2]
    near = np.ones(len(z), bool) if side == 0 else (z < z.min() + reach if side < 0 else z > z.max() - reach)
    points = surface.vertices[near]
    return 0.5 * (points.min(axis=0) + points.max(axis=0))


def surface_extent(target: Surface, template: Template, usable_to: float) -> tuple[float, float]:
    """Heights in mm between which the target is bone surface (infinite towards the joint)."""
    side = _joint_side(template)
    if side == 0:
        return -np.inf, np.inf
    low, high = target.bounds[:, 2]
    if side < 0:
        return -np.inf, min(high - _END_MARGIN, usable_to)
    return max(low + _END_MARGIN, -usable_to), np.inf


def end_triangles(closest: ClosestPoints, low: float, high: float) -> NDArray[np.bool_]:
    """Which triangles of the target are those of a cut end: level, and at or beyond the last height that counts."""
    level = np.abs(closest.normals[:, 2]) > _FLAT
    z = closest.triangles[..., 2]
    return level & ((z.max(axis=1) > high) | (z.min(axis=1) < low))
