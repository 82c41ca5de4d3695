"""Bone in a synthetic CT: cortical shell, trabecular core, marrow and subchondral plates, as the scanner would show them.

The profile across a surface is that of G. M. Treece et al., "High resolution cortical bone thickness measurement from clinical CT
data", Medical Image Analysis 14, 2010: steps of density (outside, cortex, core) blurred by the scanner's point spread, which for a
Gaussian is a sum of normal distribution functions of the signed distance; so no volume has to be filtered. Thickness and density along
the bones are tables, read off the tibiae of the Visible Human Female (see ct_realism) and carried over to the other bones; trabecular
texture is noise with a power-law spectrum, after E. Abadi et al., IEEE TRPMS 3(1), 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from SSRKDCore.anatomy import bone
from SSRKDCore.grid import Grid
from SSRKDCore.population.bone_distance import COARSENING, FINE_VOXELS, DistanceBox
from SSRKDCore.population.leg_landmarks import LegLandmarks
from SSRKDCore.population.tissue import TissueParameters

Array = NDArray[np.float64]

# Along the bone from its knee end (mm, size 1): thickness of the cortex (mm), trabecular density in the core as a share of
# TissueParameters.trabecular_hu, and what is added to that share next to the cortex. The patella has one value.
_ALONG = {
    "femur": np.array([0.0, 15.0, 35.0, 55.0, 80.0, 115.0, 150.0]),
    "tibia": np.array([0.0, 10.0, 22.0, 38.0, 58.0, 85.0, 130.0]),
    "fibula": np.array([0.0, 8.0, 18.0, 30.0, 45.0, 70.0, 130.0]),
    "patella": np.array([0.0]),
}
_CORTEX = {
    "femur": np.array([0.3, 0.3, 0.5, 1.0, 2.2, 4.4, 5.6]),
    "tibia": np.array([0.2, 0.2, 0.35, 1.1, 1.9, 2.9, 4.1]),
    "fibula": np.array([0.3, 0.35, 0.5, 1.0, 1.7, 2.2, 2.4]),
    "patella": np.array([0.6]),
}
_CORE = {
    "femur": np.array([1.0, 0.9, 0.55, 0.3, 0.12, 0.03, 0.0]),
    "tibia": np.array([0.85, 0.8, 0.4, 0.22, 0.2, 0.06, 0.0]),
    "fibula": np.array([0.6, 0.5, 0.3, 0.15, 0.08, 0.03, 0.0]),
    "patella": np.array([1.15]),
}
_RIM = {
    "femur": np.array([0.1, 0.2, 0.45, 0.6, 0.7, 0.65, 0.45]),
    "tibia": np.array([0.1, 0.25, 0.6, 0.75, 0.8, 0.7, 0.45]),
    "fibula": np.array([0.2, 0.3, 0.5, 0.5, 0.4, 0.3, 0.2]),
    "patella": np.array([0.3]),
}
# Side on which the shaft's cortex is thicker, as a factor of y over the distance from the axis: the linea aspera, the shin's crest.
_THICKER_BEHIND = {"femur": 0.25, "tibia": -0.3, "fibula": 0.0, "patella": -0.3}
_ARTICULATES = {
    "patella": ("femur",),
    "femur": ("tibia", "patella"),
    "tibia": ("femur",),
    "fibula": (),
}
# Depths in mm over which the denser bone under the cortex, and that under a joint surface, fall to 1/e.
_RIM_DEPTH, _SUBCHONDRAL_DEPTH = 4.0, 6.5
_FIELDS = 7
_TEXTURE_SIZE = 96


def texture_tile(generator: np.random.Generator, voxel: float, blur: float) -> NDArray[np.float32]:
    """Periodic trabecular texture, float32 [z, y, x], mean 0 and deviation 1, for voxels of `voxel` mm.

    The power spectrum falls with the frequency to the 3, from 1/6 per mm upwards, and further by the scanner's point spread of
    deviation `blur` mm; the pattern is drawn out along z, as the
    trabeculae of the condyles are.
    """
    from scipy.fft import irfftn, rfftn

    shape = (_TEXTURE_SIZE,) * 3
    white = generator.standard_normal(shape, dtype=np.float32)
    fz, fy = (np.fft.fftfreq(_TEXTURE_SIZE, voxel).astype(np.float32) for _ in range(2))
    fx = np.fft.rfftfreq(_TEXTURE_SIZE, voxel).astype(np.float32)
    frequency = np.sqrt((1.8 * fz[:, None, None]) ** 2 + fy[:, None] ** 2 + fx**2)
    amplitude = np.maximum(frequency, 1.0 / 6.0) ** np.float32(-1.5)
    plain = fz[:, None, None] ** 2 + fy[:, None] ** 2 + fx**2
    amplitude *= np.exp(np.float32(-2.0 * (np.pi * blur) ** 2) * plain)
    amplitude[0, 0, 0] = 0.0
    tile = irfftn(rfftn(white) * amplitude, s=shape)
    return np.ascontiguousarray(tile / tile.std(), dtype=np.float32)


def bone_fields(
    name: str,
    boxes: Mapping[str, DistanceBox],
    coarse: Grid,
    landmarks: LegLandmarks,
    tissue: TissueParameters,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """What a bone is made of, float32 [z, y, x, field], on the part of the coarse grid of its own distance box.

    Fields: signed distance mm, cortex mm, blur of its inner side mm, core HU, HU added under the cortex, texture HU, HU added
    under a joint surface.
    """
    box = boxes[name]
    part = coarse.points(*(np.array([first]) for first in box.start))[0]
    nz, ny, nx = box.values.shape
    x, y, z = (part[i] + coarse.spacing[i] * np.arange(n) for i, n in enumerate((nx, ny, nz)))
    size = landmarks.size
    if name in landmarks.axes:
        axis = landmarks.axes[name]
        offset = [x[None, None] - axis.end[0], y[None, :, None] - axis.end[1], z[:, None, None] - axis.end[2]]
        along = sum(part * direction for part, direction in zip(offset, axis.direction, strict=True))
        behind = offset[1] - along * axis.direction[1]
        radius = np.sqrt(np.maximum(sum(part**2 for part in offset) - along**2, 1.0))
    else:
        middle = (landmarks.patella_low + landmarks.patella_high) / 2
        along = np.zeros(box.values.shape)
        behind = np.broadcast_to(y[None, :, None] - middle[1], box.values.shape)
        radius = np.full(box.values.shape, 10.0 * size)

    def table(values: Array) -> Array:
        return np.asarray(np.interp(along / size, _ALONG[name], values))

    uneven = gaussian_filter(generator.standard_normal(box.values.shape), 20.0 / 2.7 / 2)
    uneven = uneven / max(float(uneven.std()), 1e-9)
    shaft = np.ones_like(along) if name == "patella" else np.clip((along / size - 30.0) / 60.0, 0.0, 1.0)
    thicker = 1.0 + _THICKER_BEHIND[name] * shaft * np.clip(behind / radius, -1.0, 1.0)
    cortex = table(_CORTEX[name]) * size * tissue.cortical_thickness * thicker * np.exp(0.12 * uneven)
    core, rim = table(_CORE[name]), table(_RIM[name])
    subchondral = tissue.subchondral_hu * _under_cartilage(name, boxes)
    blur = np.sqrt(tissue.resolution**2 + (tissue.endosteal_width * shaft * np.clip(cortex / 4.0, 0.0, 1.0)) ** 2)
    fields = np.empty((nz, ny, nx, _FIELDS), dtype=np.float32)
    fields[..., 0] = box.values
    fields[..., 1] = cortex * (1.0 + 0.5 * subchondral / 500.0)
    fields[..., 2] = blur
    fields[..., 3] = tissue.marrow_hu + core * tissue.trabecular_hu * np.exp(0.15 * uneven)
    fields[..., 4] = rim * tissue.trabecular_hu
    fields[..., 5] = tissue.texture * tissue.trabecular_hu * np.minimum(core + 0.6 * rim, 1.2)
    fields[..., 6] = subchondral
    return fields


def _under_cartilage(name: str, boxes: Mapping[str, DistanceBox]) -> Array:
    """1 in a bone under where another articulates with it (gap below 5 mm), 0 elsewhere (above 9 mm), on the bone's coarse box."""
    box = boxes[name]
    result = np.zeros(box.values.shape)
    for other in _ARTICULATES[name]:
        apart = np.full(box.values.shape, np.inf)
        there = boxes[other]
        low = [max(a, b) for a, b in zip(box.start, there.start, strict=True)]
        high = [
            min(a + n, b + m)
            for a, n, b, m in zip(box.start, box.values.shape, there.start, there.values.shape, strict=True)
        ]
        if min(last - first for first, last in zip(low, high, strict=True)) <= 0:
            continue
        mine = tuple(slice(f - s, t - s) for f, t, s in zip(low, high, box.start, strict=True))
        theirs = tuple(slice(f - s, t - s) for f, t, s in zip(low, high, there.start, strict=True))
        apart[mine] = there.values[theirs]
        gap = apart + np.minimum(box.values, 0.0)
        result = np.maximum(result, np.clip((9.0 - gap) / 4.0, 0.0, 1.0))
    return result


@numba.njit(cache=True, inline="always")
def normal_step(value):  # type: ignore[no-untyped-def]
    """The normal distribution function; 0 and 1 beyond three deviations."""
    if value <= -3.0:
        return 0.0
    if value >= 3.0:
        return 1.0
    return 0.5 * (1.0 + math.erf(value * 0.7071067811865476))


@numba.njit(cache=True, error_model="numpy")
def _add_bone(  # type: ignore[no-untyped-def]
    volume,
    deepest,
    labels,
    label,
    fine,
    start,
    reach,
    fields,
    coarse_start,
    coarsening,
    texture,
    shift,
    cortical,
    blur,
    decays,
):
    """Put a bone over what `volume` [z, y, x] holds, and its label where it is the bone that a voxel lies deepest in."""
    size = texture.shape[0]
    field = np.empty(fields.shape[3])
    for k in range(fine.shape[0]):
        gz = (start[0] + k) / coarsening - coarse_start[0]
        for j in range(fine.shape[1]):
            gy = (start[1] + j) / coarsening - coarse_start[1]
            for i in range(fine.shape[2]):
                distance = fine[k, j, i]
                z, y, x = start[0] + k, start[1] + j, start[2] + i
                if distance < 0.0 and distance < deepest[z, y, x]:
                    labels[z, y, x] = label
                    deepest[z, y, x] = distance
                gx = (start[2] + i) / coarsening - coarse_start[2]
                iz = min(max(int(gz), 0), fields.shape[0] - 2)
                iy = min(max(int(gy), 0), fields.shape[1] - 2)
                ix = min(max(int(gx), 0), fields.shape[2] - 2)
                tz, ty, tx = gz - iz, gy - iy, gx - ix
                for f in range(fields.shape[3]):
                    if f == 1:
                        # Beyond the exact band the coarse distance takes over.
                        if distance >= reach:
                            distance = max(field[0], reach)
                            if distance >= 3.0 * blur:
                                break
                        elif distance <= -reach:
                            distance = min(field[0], -reach)
                    c00 = fields[iz, iy, ix, f] * (1 - tx) + fields[iz, iy, ix + 1, f] * tx
                    c01 = fields[iz, iy + 1, ix, f] * (1 - tx) + fields[iz, iy + 1, ix + 1, f] * tx
                    c10 = fields[iz + 1, iy, ix, f] * (1 - tx) + fields[iz + 1, iy, ix + 1, f] * tx
                    c11 = fields[iz + 1, iy + 1, ix, f] * (1 - tx) + fields[iz + 1, iy + 1, ix + 1, f] * tx
                    field[f] = (c00 * (1 - ty) + c01 * ty) * (1 - tz) + (c10 * (1 - ty) + c11 * ty) * tz
                if distance >= 3.0 * blur:
                    continue
                grain = texture[(z + shift[0]) % size, (y + shift[1]) % size, (x + shift[2]) % size]
                under = max(-distance - field[1], 0.0)
                core = field[3] + field[4] * math.exp(-under / decays[0]) + field[5] * grain
                core += field[6] * math.exp(-under / decays[1])
                shell = cortical * (1.0 + 0.02 * grain)
                # Steps from outside to cortex and from cortex to core, each blurred: a cortex thinner than the blur only tints.
                outer = normal_step(-distance / blur)
                inner = min(normal_step((-distance - field[1]) / field[2]), outer)
                volume[z, y, x] += outer * (shell - volume[z, y, x]) + inner * (core - shell)


def add_bone(
    volume: NDArray[np.float32],
    deepest: NDArray[np.float32],
    labels: NDArray[np.uint8],
    name: str,
    fine: DistanceBox,
    coarse_start: tuple[int, int, int],
    fields: NDArray[np.float32],
    texture: NDArray[np.float32],
    tissue: TissueParameters,
    voxel: float,
    generator: np.random.Generator,
) -> None:
    """Add a bone to `volume` (HU), `labels` and `deepest` (distance to the bone that a voxel is in; 0 where in none), all [z, y, x].

    fine: its distances on that grid; fields: from `bone_fields`, on the coarse grid from voxel `coarse_start` (z, y, x).
    """
    shift = generator.integers(0, _TEXTURE_SIZE, 3)
    _add_bone(
        volume, deepest, labels, bone(name).label, fine.values, np.array(fine.start), FINE_VOXELS * voxel * (1.0 - 1e-5),
        fields, np.array(coarse_start), float(COARSENING), texture, shift, tissue.cortical_hu, tissue.resolution,
        (_RIM_DEPTH, _SUBCHONDRAL_DEPTH),
    )  # fmt: skip
