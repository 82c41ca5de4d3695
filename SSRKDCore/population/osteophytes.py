"""Marginal osteophytes: bony lips at the edges of joint surfaces, as bumps of the bones' surfaces.

They grow where osteoarthritis has them (the rims of the plateau and of the condyles, the poles and sides of the patella), so that labels,
surfaces and CT show the same bone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from SSRKDCore.population.leg_landmarks import LegLandmarks
from SSRKDCore.population.tissue import TissueParameters
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]

_SHARE = {"femur": 0.42, "tibia": 0.38, "patella": 0.2}
_CLEARANCE = 1.0


def _margin(name: str, vertices: Array, normals: Array, landmarks: LegLandmarks) -> NDArray[np.bool_]:
    """(V,) which vertices lie where a bone's osteophytes grow."""
    size, joint, half = landmarks.size, landmarks.joint, landmarks.half_width
    offset = vertices - joint
    sideways = np.abs(normals[:, 2]) < 0.75
    if name == "tibia":
        rim = np.hypot(offset[:, 0] / half, offset[:, 1] / (0.62 * half)) > 0.8
        return np.asarray(rim & sideways & (offset[:, 2] > -11 * size) & (offset[:, 2] < 1 * size))
    if name == "femur":
        rim = np.abs(offset[:, 0]) > 0.72 * half
        return np.asarray(rim & (offset[:, 2] < 32 * size) & (np.abs(normals[:, 0]) < 0.9))
    middle = (landmarks.patella_low + landmarks.patella_high) / 2
    edge = np.abs(normals[:, 1]) < 0.6
    return np.asarray(edge & (vertices[:, 1] > middle[1] - 4 * size))


def with_osteophytes(
    bones: Mapping[str, Surface], landmarks: LegLandmarks, tissue: TissueParameters, generator: np.random.Generator
) -> dict[str, Surface]:
    """The bones with `tissue.osteophytes` bumps of up to `tissue.osteophyte_height` mm; without any, the same surfaces.

    No bump brings a vertex nearer to another bone than 1 mm, nor nearer than it was where it was nearer. Faces stay the same.
    """
    result = dict(bones)
    if tissue.osteophytes <= 0 or tissue.osteophyte_height <= 0:
        return result
    names = list(_SHARE)
    chosen = generator.choice(names, tissue.osteophytes, p=list(_SHARE.values()))
    for name in names:
        count = int((chosen == name).sum())
        surface = result[name]
        normals = vertex_normals(surface.vertices, surface.faces)
        seeds = np.flatnonzero(_margin(name, surface.vertices, normals, landmarks))
        if not count or not len(seeds):
            continue
        moved = np.zeros_like(surface.vertices)
        for seed in generator.choice(seeds, count):
            width = generator.uniform(2.5, 5.0) * landmarks.size
            height = generator.uniform(0.3, 1.0) * tissue.osteophyte_height * landmarks.size
            squared = ((surface.vertices - surface.vertices[seed]) ** 2).sum(axis=1)
            # Along the seed's own normal, so that the bump is a lip and not a thickening all around.
            moved += height * np.exp(-squared / (2 * width**2))[:, None] * normals[seed]
        others = cKDTree(np.concatenate([other.vertices for key, other in result.items() if key != name]))
        touched = np.flatnonzero(np.linalg.norm(moved, axis=1) > 0.01)
        apart = others.query(surface.vertices[touched])[0]
        length = np.linalg.norm(moved[touched], axis=1)
        limit = np.maximum(apart - _CLEARANCE, 0.0)
        moved[touched] *= np.minimum(1.0, limit / length)[:, None]
        result[name] = Surface(surface.vertices + moved, surface.faces)
    return result
