"""Soft tissue of a synthetic CT: skin, subcutaneous fat, and muscles with fat between them.

Muscles are the cells of a weighted Voronoi diagram in the unit disc that the fascia's outline is mapped to; their places were read
off anatomical cross-sections of the leg and rounded. In a CT the gaps between the cells are the fat planes that one sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from SSRKDCore.grid import Grid
from SSRKDCore.population.bone_density import normal_step
from SSRKDCore.population.leg_landmarks import LegLandmarks
from SSRKDCore.population.leg_outline import LegOutline
from SSRKDCore.population.tissue import TissueParameters

Array = NDArray[np.float64]

AIR_HU = -1000.0
# Soft tissue changes over millimetres, and more slowly along the leg: steps in voxels of the CT along z, y and x.
STEPS = (4, 2, 2)
# Height over the joint line (mm, size 1) -> to lateral, to posterior, radius, in radii of the fascia.
_MUSCLES: dict[str, dict[float, tuple[float, float, float]]] = {
    "vastus lateralis": {150: (0.6, -0.2, 0.5), 60: (0.62, -0.3, 0.35), 35: (0.6, -0.35, 0.15), 20: (0.6, -0.35, 0)},
    "vastus medialis": {150: (-0.55, -0.3, 0.45), 60: (-0.6, -0.25, 0.42), 25: (-0.6, -0.3, 0.25), 10: (-0.6, -0.3, 0)},
    "rectus femoris": {150: (0.05, -0.72, 0.32), 90: (0.03, -0.75, 0.2), 60: (0, -0.8, 0)},
    "vastus intermedius": {150: (0.0, -0.35, 0.35), 70: (0, -0.6, 0.3), 50: (0, -0.65, 0)},
    "biceps femoris": {150: (0.42, 0.55, 0.36), 60: (0.55, 0.5, 0.3), 0: (0.75, 0.35, 0.15), -30: (0.8, 0.2, 0)},
    "semitendinosus": {150: (-0.05, 0.72, 0.28), 60: (-0.25, 0.75, 0.18), 0: (-0.55, 0.7, 0.09), -40: (-0.8, 0.3, 0)},
    "semimembranosus": {150: (-0.38, 0.58, 0.36), 60: (-0.4, 0.6, 0.33), 0: (-0.5, 0.58, 0.2), -25: (-0.5, 0.5, 0)},
    "adductor": {150: (-0.45, 0.18, 0.32), 70: (-0.5, 0.2, 0.15), 50: (-0.5, 0.2, 0)},
    "sartorius": {150: (-0.78, 0.18, 0.2), 60: (-0.78, 0.3, 0.2), 0: (-0.82, 0.35, 0.14), -40: (-0.8, 0.1, 0)},
    "gracilis": {150: (-0.7, 0.48, 0.18), 60: (-0.62, 0.58, 0.13), 0: (-0.7, 0.55, 0.09), -40: (-0.8, 0.2, 0)},
    "medial gastrocnemius": {30: (-0.25, 0.5, 0), 10: (-0.28, 0.58, 0.25), -60: (-0.4, 0.62, 0.42), -150: (-0.42, 0.58, 0.42)},
    "lateral gastrocnemius": {30: (0.35, 0.5, 0), 10: (0.35, 0.58, 0.25), -60: (0.45, 0.6, 0.38), -150: (0.42, 0.62, 0.36)},
    "soleus": {-20: (0.3, 0.3, 0), -60: (0.15, 0.4, 0.35), -150: (0.0, 0.35, 0.5)},
    "popliteus": {-10: (0.2, 0.2, 0), -30: (-0.05, 0.25, 0.25), -60: (-0.2, 0.2, 0.25), -90: (-0.3, 0.2, 0)},
    "tibialis anterior": {-20: (0.5, -0.3, 0), -60: (0.48, -0.42, 0.35), -150: (0.35, -0.58, 0.35)},
    "extensor digitorum": {-25: (0.65, -0.15, 0), -60: (0.66, -0.18, 0.24), -150: (0.62, -0.35, 0.26)},
    "peroneus": {-25: (0.75, 0.1, 0), -60: (0.76, 0.12, 0.27), -150: (0.76, 0.05, 0.28)},
    "tibialis posterior": {-50: (0.1, 0.1, 0), -80: (0.1, 0.08, 0.28), -150: (0.1, -0.1, 0.3)},
    "flexor digitorum": {-60: (-0.4, 0.15, 0), -90: (-0.45, 0.08, 0.2), -150: (-0.48, 0.0, 0.24)},
}  # fmt: skip


@dataclass(frozen=True)
class SoftFields:
    """Depth under the skin in mm (negative outside) and share of muscle 0..1, float32 [z, y, x] on a coarser `grid`."""

    depth: NDArray[np.float32]
    muscle: NDArray[np.float32]
    grid: Grid


def soft_grid(grid: Grid) -> Grid:
    """The grid of STEPS times the spacing that starts at the same voxel and reaches beyond the last one."""
    shape = [-(-(count - 1) // step) + 2 for count, step in zip(grid.shape, STEPS, strict=True)]
    spacing = [step * size for step, size in zip(STEPS[::-1], grid.spacing, strict=True)]
    return Grid(grid.origin, (spacing[0], spacing[1], spacing[2]), (shape[0], shape[1], shape[2]))


@numba.njit(cache=True, error_model="numpy")
def _fields(x, y, center, skin, fascia, lateral, muscles, gap, noise, depth, share):  # type: ignore[no-untyped-def]
    """Fill `depth` and `share` [z, y, x]; `muscles` (nz, count, 3) as in the table, radius 0 for none."""
    count = skin.shape[1]
    for k in range(depth.shape[0]):
        for j in range(y.shape[0]):
            for i in range(x.shape[0]):
                dx, dy = x[i] - center[k, 0], y[j] - center[k, 1]
                radius = math.sqrt(dx * dx + dy * dy)
                angle = math.atan2(dy, dx) / (2 * math.pi) * count
                first = math.floor(angle)
                part = angle - first
                a, b = first % count, (first + 1) % count
                outer = skin[k, a] * (1 - part) + skin[k, b] * part
                inner = fascia[k, a] * (1 - part) + fascia[k, b] * part
                # To first order the distance to a polar curve is the radial one over its slope.
                slope = (skin[k, b] - skin[k, a]) * count / (2 * math.pi) / outer
                depth[k, j, i] = (outer - radius) / math.sqrt(1.0 + slope * slope)
                share[k, j, i] = 0.0
                if radius > inner + 2.0:
                    continue
                u, v = lateral * dx / inner, dy / inner
                best, second, size = 9.0, 9.0, 0.3
                for m in range(muscles.shape[1]):
                    reach = muscles[k, m, 2]
                    if reach <= 0.02:
                        continue
                    away = math.sqrt((u - muscles[k, m, 0]) ** 2 + (v - muscles[k, m, 1]) ** 2) / reach
                    if away < best:
                        best, second, size = away, best, reach
                    elif away < second:
                        second = away
                # In mm: to the edge of the cell, of the muscle's reach, and of the fascia.
                cell = (second - best) / 2.0 * size * inner - gap / 2.0 * (1.0 + 0.5 * noise[k, j, i])
                belly = (1.8 - best) * size * inner
                edge = min(cell, belly, inner - radius - 0.5)
                share[k, j, i] = min(max(edge / 1.5 + 0.5, 0.0), 1.0)


def soft_fields(
    outline: LegOutline,
    landmarks: LegLandmarks,
    tissue: TissueParameters,
    grid: Grid,
    generator: np.random.Generator,
) -> SoftFields:
    """Skin depth and muscle on `grid` (from `soft_grid`), whose heights are those of `outline`."""
    x, y, z = grid.axes
    height = (z - landmarks.joint[2]) / landmarks.size
    muscles = np.zeros((len(z), len(_MUSCLES), 3))
    for index, knots in enumerate(_MUSCLES.values()):
        levels = sorted(knots)
        values = np.array([knots[level] for level in levels]) + generator.normal(0.0, 0.02, 3) * [1, 1, 0.5]
        # A muscle of the thigh ends at its lowest knot, one of the calf at its highest, where its radius is none.
        values[[knots[level][2] == 0 for level in levels], 2] = 0.0
        for column in range(3):
            muscles[:, index, column] = np.interp(height, levels, values[:, column])
    noise = gaussian_filter(generator.standard_normal(grid.shape, dtype=np.float32), (3.0, 2.0, 2.0))
    noise /= max(float(noise.std()), 1e-9)
    depth, share = np.empty(grid.shape, np.float32), np.empty(grid.shape, np.float32)
    _fields(
        x, y, outline.center, outline.skin, outline.muscle, landmarks.lateral, muscles, tissue.intermuscular_gap, noise,
        depth, share,
    )  # fmt: skip
    streaks = gaussian_filter(generator.standard_normal(grid.shape, dtype=np.float32), (2.0, 0.7, 0.7))
    streaks *= np.float32(1.0 / max(float(streaks.std()), 1e-9))
    share *= np.clip(1.0 - tissue.infiltration * (1.0 + streaks), 0.0, 1.0)
    # Septa run through the fat.
    share += 0.1 * np.clip(streaks - 0.5, 0.0, 3.0) * (1.0 - share)
    return SoftFields(depth, share, grid)


@numba.njit(cache=True, inline="always")
def between(values, iz, iy, ix, tz, ty, tx):  # type: ignore[no-untyped-def]
    """Trilinear interpolation between the eight values from [iz, iy, ix] on."""
    c00 = values[iz, iy, ix] * (1 - tx) + values[iz, iy, ix + 1] * tx
    c01 = values[iz, iy + 1, ix] * (1 - tx) + values[iz, iy + 1, ix + 1] * tx
    c10 = values[iz + 1, iy, ix] * (1 - tx) + values[iz + 1, iy, ix + 1] * tx
    c11 = values[iz + 1, iy + 1, ix] * (1 - tx) + values[iz + 1, iy + 1, ix + 1] * tx
    return (c00 * (1 - ty) + c01 * ty) * (1 - tz) + (c10 * (1 - ty) + c11 * ty) * tz


@numba.njit(cache=True, error_model="numpy")
def _fill(volume, depth, share, steps, air, skin, fat, muscle, skin_thickness, blur):  # type: ignore[no-untyped-def]
    """Fill `volume` [z, y, x] with air, skin, fat and muscle."""
    for z in range(volume.shape[0]):
        iz, tz = z // steps[0], (z % steps[0]) / steps[0]
        for y in range(volume.shape[1]):
            iy, ty = y // steps[1], (y % steps[1]) / steps[1]
            for x in range(volume.shape[2]):
                ix, tx = x // steps[2], (x % steps[2]) / steps[2]
                under = between(depth, iz, iy, ix, tz, ty, tx)
                if under < -3.0 * blur:
                    volume[z, y, x] = air
                    continue
                value = fat
                if under < 3.0 * blur + skin_thickness:
                    value = air + (skin - air) * normal_step(under / blur)
                    value += (fat - skin) * normal_step((under - skin_thickness) / blur)
                elif under > skin_thickness + 1.0:
                    value = fat + (muscle - fat) * between(share, iz, iy, ix, tz, ty, tx)
                volume[z, y, x] = value


def fill_soft_tissue(volume: NDArray[np.float32], fields: SoftFields, tissue: TissueParameters) -> None:
    """Fill `volume` [z, y, x] with air, skin, fat and muscle in HU; `fields` are on the `soft_grid` of its grid."""
    _fill(
        volume, fields.depth, fields.muscle, np.array(STEPS), AIR_HU, tissue.skin_hu, tissue.fat_hu, tissue.muscle_hu,
        tissue.skin_thickness, tissue.resolution,
    )  # fmt: skip
