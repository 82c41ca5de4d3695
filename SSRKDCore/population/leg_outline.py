"""The skin of a leg and the compartment of its muscles, as radii about a line through the leg.

The bones' own outline and usual sizes of a muscular envelope (read off the cross-sections of the Visible Human and rounded) give
the compartment; subcutaneous fat of varying thickness goes around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter

from SSRKDCore.population.leg_landmarks import LegLandmarks
from SSRKDCore.population.tissue import TissueParameters
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

ANGLES = 120
_SLAB = 4.0
# Height over the joint line (mm, size 1) and there: half axes of the muscular envelope in x and y, shift of the leg's middle against
# the bones' to lateral and to posterior, and what lies between bone and fat in front, at the sides and behind. All mm.
_HEIGHTS = np.array([-150.0, -100.0, -60.0, -25.0, 0.0, 30.0, 60.0, 100.0, 150.0])
_HALF_X = np.array([44.0, 48.0, 48.0, 44.0, 42.0, 44.0, 48.0, 55.0, 62.0])
_HALF_Y = np.array([46.0, 49.0, 48.0, 44.0, 42.0, 44.0, 48.0, 56.0, 64.0])
_TO_LATERAL = np.array([7.0, 7.0, 4.0, 0.0, 0.0, 0.0, 0.0, -1.0, -2.0])
_TO_POSTERIOR = np.array([25.0, 25.0, 21.0, 14.0, 10.0, 9.0, 8.0, 6.0, 4.0])
_IN_FRONT = np.array([2.0, 2.0, 2.0, 3.0, 4.0, 4.0, 6.0, 14.0, 22.0])
_AT_SIDES = np.array([3.0, 3.0, 4.0, 4.0, 5.0, 6.0, 9.0, 14.0, 18.0])
_BEHIND = np.array([14.0, 14.0, 15.0, 15.0, 15.0, 16.0, 16.0, 16.0, 18.0])


@dataclass(frozen=True)
class LegOutline:
    """Outlines of a leg at heights `z` (nz,) mm, about `center` (nz, 2) mm (x, y), at ANGLES even angles from +x towards +y.

    skin, muscle: (nz, ANGLES) radii in mm of the skin and of the fascia under the subcutaneous fat.
    """

    z: Array
    center: Array
    skin: Array
    muscle: Array

    @property
    def bounds(self) -> Array:
        """(2, 2): lowest and highest x, y of the skin in mm."""
        angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
        points = self.center[:, None] + self.skin[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return np.stack([points.min(axis=(0, 1)), points.max(axis=(0, 1))])


def leg_outline(
    bones: Mapping[str, Surface],
    landmarks: LegLandmarks,
    tissue: TissueParameters,
    z: Array,
    generator: np.random.Generator,
) -> LegOutline:
    """The outline of a leg around its bones at heights z (nz,) in mm, evenly spaced and rising.

    No bone pierces the fascia but where it stands out of its neighbourhood by less than a slab of 4 mm.
    """
    levels = np.arange(z[0] - 3 * _SLAB, z[-1] + 4 * _SLAB, _SLAB)
    size = landmarks.size
    height = (levels - landmarks.joint[2]) / size

    def usual(table: Array) -> Array:
        return np.asarray(np.interp(height, _HEIGHTS, table))

    vertices = np.concatenate([bones[name].vertices for name in ("femur", "tibia", "fibula", "patella")])
    # The patellar ligament lifts the skin from the patella to the tuberosity.
    part = np.linspace(0.0, 1.0, 40)[:, None]
    ligament = landmarks.patella_low + part * (landmarks.tuberosity - landmarks.patella_low)
    beside = size * np.array([10.0, 0.0, 0.0])
    vertices = np.concatenate([vertices, ligament - beside, ligament + beside])
    center = _bone_middles(bones, levels)
    center[:, 0] += landmarks.lateral * size * usual(_TO_LATERAL)
    center[:, 1] += size * usual(_TO_POSTERIOR)
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    cosine, sine = np.cos(angle), np.sin(angle)

    front, behind = np.clip(-sine, 0, 1)[None], np.clip(sine, 0, 1)[None]
    between = (
        usual(_IN_FRONT)[:, None] * front**2
        + usual(_BEHIND)[:, None] * behind**2
        + usual(_AT_SIDES)[:, None] * cosine**2
    )
    around_bones = _bone_radii(vertices, levels, center) + size * between
    bulk = tissue.muscle_bulk * size * np.exp(gaussian_filter1d(generator.normal(0, 0.12, len(levels)), 8))
    across, deep = (usual(_HALF_X) * bulk)[:, None], (usual(_HALF_Y) * bulk)[:, None]
    # A superellipse: legs are rounder than boxes and squarer than ellipses.
    envelope = (np.abs(cosine / across) ** 2.3 + np.abs(sine / deep) ** 2.3) ** (-1 / 2.3)
    # A smooth maximum; the mean of powers keeps it from adding where both agree.
    muscle = ((around_bones**10 + envelope**10) / 1.3) ** 0.1
    muscle = np.maximum(muscle, around_bones)

    wave = generator.normal(0.0, 0.12, (2, 4))
    uneven = sum(wave[0, k] * np.cos((k + 1) * angle) + wave[1, k] * np.sin((k + 1) * angle) for k in range(4))
    fat = tissue.fat_thickness * (1.0 + 0.0035 * np.maximum(height, -40.0))[:, None] * (1.0 + uneven)[None]
    # Over the patella and the shin there is less.
    fat = np.maximum(fat * (1.0 - 0.5 * front**3), 1.5)
    muscle, fat = (_smooth(values) for values in (muscle, fat))
    rows = np.array([np.interp(z, levels, column) for column in muscle.T]).T
    outside = np.array([np.interp(z, levels, column) for column in (muscle + fat + tissue.skin_thickness).T]).T
    middle = np.stack([np.interp(z, levels, center[:, axis]) for axis in range(2)], axis=1)
    return LegOutline(z, middle, outside, rows)


def _smooth(radii: Array) -> Array:
    """Radii (nz, ANGLES) blurred by about 12 degrees and 10 mm."""
    return np.asarray(gaussian_filter1d(gaussian_filter1d(radii, 4, axis=1, mode="wrap"), 2.5, axis=0, mode="nearest"))


def _bone_middles(bones: Mapping[str, Surface], levels: Array) -> Array:
    """(nz, 2) smooth line of the middles (x, y) of femur and tibia at heights `levels`."""
    middles = np.full((len(levels), 2), np.nan)
    vertices = np.concatenate([bones[name].vertices for name in ("femur", "tibia")])
    index = np.round((vertices[:, 2] - levels[0]) / _SLAB).astype(int)
    for k in range(len(levels)):
        part = vertices[np.abs(index - k) <= 1]
        if len(part) > 3:
            middles[k] = (part[:, :2].min(axis=0) + part[:, :2].max(axis=0)) / 2
    known = np.isfinite(middles[:, 0])
    for axis in range(2):
        filled = np.interp(levels, levels[known], middles[known, axis])
        middles[:, axis] = gaussian_filter1d(filled, 4, mode="nearest")
    return middles


def _bone_radii(vertices: Array, levels: Array, center: Array) -> Array:
    """(nz, ANGLES) farthest vertex from the middle within about 12 degrees and 8 mm, mm; 0 where there is none."""
    inside = (vertices[:, 2] > levels[0]) & (vertices[:, 2] < levels[-1])
    vertices = vertices[inside]
    row = np.round((vertices[:, 2] - levels[0]) / _SLAB).astype(int)
    offset = vertices[:, :2] - center[row]
    radius = np.hypot(offset[:, 0], offset[:, 1])
    column = np.round(np.arctan2(offset[:, 1], offset[:, 0]) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
    radii = np.zeros((len(levels), ANGLES))
    np.maximum.at(radii, (row, column), radius)
    return np.asarray(maximum_filter(radii, size=(5, 9), mode=("nearest", "wrap")))
