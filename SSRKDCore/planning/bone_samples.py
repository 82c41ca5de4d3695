"""A bone's surface as evenly spaced points and small faces: what landmarks are searched on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.surface_sampling import subdivided, triangle_areas
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_SPACING_MM = 3.0
# A landmark that is "the most ... point" is the middle of the last half millimetre: one vertex alone would jump with the meshing.
_EXTREME_DEPTH_MM = 0.5


@dataclass(frozen=True)
class BoneSamples:
    """Small pieces of a bone's surface.

    Attributes
    ----------
    surface: the bone.
    pieces: (N, 3 corners, 3) mm, at most 3 mm long.
    reach: mm from the joint beyond which the shaft is not looked at, infinite for all of it.
    """

    surface: Surface
    pieces: Array
    reach: float = math.inf

    @classmethod
    def of(cls, surface: Surface, reach: float = math.inf) -> BoneSamples:
        """Samples of a surface."""
        return cls(surface, subdivided(surface.triangles, _SPACING_MM), reach)

    @cached_property
    def points(self) -> Array:
        """(P, 3) the bone's vertices and the middles of the pieces."""
        return np.concatenate([self.surface.vertices, self.centres])

    @cached_property
    def centres(self) -> Array:
        """(N, 3) middles of the pieces."""
        return np.asarray(self.pieces.mean(axis=1))

    @cached_property
    def areas(self) -> Array:
        """(N,) mm^2."""
        return triangle_areas(self.pieces)

    @cached_property
    def normals(self) -> Array:
        """(N, 3) outward unit normals."""
        across = np.cross(self.pieces[:, 1] - self.pieces[:, 0], self.pieces[:, 2] - self.pieces[:, 0])
        return np.asarray(across / np.maximum(np.linalg.norm(across, axis=1), 1e-12)[:, None])


def unit(vector: Array) -> Array:
    """A vector (3,) made one long."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))


def across(vector: Array, axis: Array) -> Array:
    """The unit vector of what a vector (3,) has at right angles to a unit vector `axis`."""
    return unit(vector - (vector @ axis) * axis)


def front_of(up: Array, lateral: Array) -> Array:
    """(3,) anterior, from proximal and lateral unit vectors at right angles, of a right leg."""
    return np.asarray(np.cross(up, lateral))


def lateral_of(up: Array, front: Array) -> Array:
    """(3,) lateral, from proximal and anterior unit vectors at right angles, of a right leg."""
    return np.asarray(np.cross(front, up))


def farthest(points: Array, direction: Array, depth: float = _EXTREME_DEPTH_MM) -> Array:
    """(3,) the point of points (N, 3) that lies farthest along a unit vector: the middle of the last `depth` mm, at the height of
    the very last point.
    """
    height = points @ direction
    middle = points[height >= height.max() - depth].mean(axis=0)
    return np.asarray(middle + (height.max() - middle @ direction) * direction)
