"""The knee of a shape model next to given bone surfaces: how well the model can show bones that it has not seen.

Modes and Gaussian process are shared by the bones; place and size of each bone are free, since they say nothing about its shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.population.closest_points import ClosestPoints
from SSRKDCore.population.correspondence import end_triangles, placed_on, similarity_matrix, surface_extent
from SSRKDCore.population.gaussian_process import LowRankRegression
from SSRKDCore.population.rigid_motion import Similarity, similarity_between
from SSRKDCore.population.template import Template
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

if TYPE_CHECKING:
    from SSRKDCore.population.shape_model import KneeShapeModel

Array = NDArray[np.float64]

_NOISE = np.geomspace(2.0, 0.2, 12)
_NORMAL_AGREEMENT = 0.5


@dataclass(frozen=True)
class FittedBone:
    """A bone of the model next to a given one, both in the model's own frame of that bone, at the given bone's size (mm).

    `extent`: heights between which the given surface is bone (a cut end is not).
    """

    fitted: Surface
    given: Surface
    extent: tuple[float, float]


class _Part:
    """One bone during the fit."""

    def __init__(self, name: str, model: KneeShapeModel, bone: Surface, mean: Array, gaussian_process: bool) -> None:
        self.name = name
        self.template = Template(mean, model.templates[name].faces, model.templates[name].rim)
        self.start = placed_on(self.template, bone)
        self.target = bone.transformed(similarity_matrix(self.start.inverse()))
        self.closest = ClosestPoints(self.target)
        self.extent = surface_extent(self.target, self.template, np.inf)
        self.blunt = end_triangles(self.closest, *self.extent)
        self.motion = Similarity(1.0, np.eye(3), np.zeros(3))
        self.shape = mean
        part = model.features.slices[name]
        # Modes and displacements are told in the knee's directions, where the Gaussian process is the same for all bones.
        self.to_knee = np.linalg.inv(model.to_shape(name))
        self.modes = model.pca.modes[:, part].reshape(len(model.pca.modes), -1, 3) @ self.to_knee.T
        self.basis = model.basis[name] if gaussian_process else model.basis[name][:, :0]

    def matched(self) -> tuple[NDArray[np.bool_], Array]:
        """Which vertices have a partner, and the partners (V, 3) in the shape's frame; moves the bone closer first."""
        faces = self.template.faces
        for _ in range(2):
            placed = self.motion.apply(self.shape)
            found, triangle = self.closest.query(placed)
            used = (
                np.einsum("ij,ij->i", vertex_normals(placed, faces), self.closest.normals[triangle]) > _NORMAL_AGREEMENT
            )
            used &= ~self.blunt[triangle] & (found[:, 2] > self.extent[0]) & (found[:, 2] < self.extent[1])
            used[self.template.own_count :] = False
            self.motion = similarity_between(self.shape[used], found[used])
        return used, self.motion.inverse().apply(found)


def fit_to_surfaces(
    model: KneeShapeModel, bones: Mapping[str, Surface], gaussian_process: bool = True
) -> dict[str, FittedBone]:
    """The model's most probable bones next to given ones.

    Parameters
    ----------
    model: the shape model.
    bones: bone name -> surface of a right knee, LPS mm, in any place; shafts may stop short.
    gaussian_process: whether the Gaussian process may help the modes.
    """
    mean = model.features.shapes(model.pca.mean)
    parts = [_Part(name, model, bones[name], mean[name], gaussian_process) for name in bones]
    for noise in _NOISE:
        matches = [part.matched() for part in parts]
        displacement = [
            (partners[used] - mean[part.name][used]) @ part.to_knee.T
            for part, (used, partners) in zip(parts, matches, strict=True)
        ]
        regression = LowRankRegression(
            np.concatenate([part.basis[used] for part, (used, _) in zip(parts, matches, strict=True)]),
            np.concatenate([part.modes[:, used] for part, (used, _) in zip(parts, matches, strict=True)], axis=1),
            float(noise),
        )
        share, coefficients = regression.solve(np.concatenate(displacement))
        vector = model.pca.mean + share @ model.pca.modes
        shapes = model.shapes(vector, coefficients if gaussian_process else None)
        for part in parts:
            part.shape = shapes[part.name]
    return {part.name: _result(part) for part in parts}


def _result(part: _Part) -> FittedBone:
    scale = part.start.scale
    bigger = np.diag([scale, scale, scale, 1.0])
    fitted = Surface(scale * part.motion.apply(part.shape), part.template.faces)
    low, high = part.extent
    return FittedBone(fitted, part.target.transformed(bigger), (scale * low, scale * high))
