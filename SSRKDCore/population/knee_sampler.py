"""Random knees: a base anatomy, articulated, resized and smoothly deformed, as attenuation volumes and labelled points.

Nothing is meshed: a case point is mapped back to the base anatomy, whose signed distances say which bone it is in. Densities are
closed-form functions of the same distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.drr.signed_distance import signed_distance
from SSRKDCore.grid import Grid
from SSRKDCore.population.anatomies import Anatomy

Array = NDArray[np.float64]

_MARGIN = 9.0
# Distances are clipped at _LIMIT; training points are drawn, and skin follows bone, within _EXACT_REACH of a surface.
_LIMIT = 8.0
_EXACT_REACH = 4.0


@dataclass(frozen=True)
class DistanceField:
    """A bone's signed distance (float32 [z, y, x], mm) on a grid of its own box."""

    values: NDArray[np.float32]
    grid: Grid


def distance_fields(
    anatomy: Anatomy, z_range: tuple[float, float] = (-160.0, 170.0), spacing: float = 1.0
) -> list[DistanceField]:
    """The four bones' signed distances on their own boxes, in the order of the labels, cut to `z_range` mm about the joint."""
    fields = []
    for name in BONE_NAMES:
        surface = anatomy.bones[name]
        low, high = surface.bounds
        low, high = low - _MARGIN, high + _MARGIN
        low[2], high[2] = max(low[2], z_range[0]), min(high[2], z_range[1])
        shape = np.ceil((high - low) / spacing).astype(int) + 1
        grid = Grid(tuple(low), (spacing, spacing, spacing), (int(shape[2]), int(shape[1]), int(shape[0])))
        fields.append(DistanceField(signed_distance(surface, grid, _LIMIT, _EXACT_REACH), grid))
    return fields


@dataclass(frozen=True)
class KneeRanges:
    """How far random knees differ from their base anatomy (standard deviations unless said otherwise; mm, degrees)."""

    size: tuple[float, float] = (0.86, 1.16)
    aspect: float = 0.035
    flexion: tuple[float, float] = (-4.0, 22.0)
    varus: float = 3.0
    axial_rotation: float = 4.0
    joint_gap: float = 0.8
    placement: tuple[float, float, float] = (6.0, 6.0, 8.0)
    leg_rotation: tuple[float, float, float] = (5.0, 4.0, 9.0)
    coarse_deformation: float = 1.5
    fine_deformation: float = 0.45


@dataclass(frozen=True)
class Knee:
    """One random knee.

    Attributes
    ----------
    side: "right" or "left".
    to_bone: (4, 3, 4) affine maps from displaced case points (mm) to the base anatomy, per bone in the order of the labels.
    displacement: (nz, ny, nx, 3) float32 mm, added to case points before `to_bone`.
    displacement_grid: where it is sampled.
    fields: the base anatomy's distances; their values are scaled by `scale` to case millimetres.
    scale: size of the case over the base anatomy.
    """

    side: str
    to_bone: Array
    displacement: NDArray[np.float32]
    displacement_grid: Grid
    fields: list[DistanceField]
    scale: float


def _rotation(degrees: Array) -> Array:
    """Rotation matrix of Euler angles about x, y, z (degrees), applied in that order."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()


def _about(turn: Array, pivot: Array, shift: Array) -> Array:
    transform = np.eye(4)
    transform[:3, :3] = turn
    transform[:3, 3] = pivot - turn @ pivot + shift
    return transform


def _smooth_displacement(generator: np.random.Generator, grid: Grid, ranges: KneeRanges) -> NDArray[np.float32]:
    """Gaussian random displacements at two scales (about 60 and 25 mm), interpolated by cubic splines."""
    from scipy.ndimage import zoom

    total = np.zeros((*grid.shape, 3), dtype=np.float32)
    for wavelength, amplitude in ((60.0, ranges.coarse_deformation), (25.0, ranges.fine_deformation)):
        shape = [max(4, round(count * grid.spacing[0] / wavelength) + 1) for count in grid.shape]
        knots = generator.normal(0.0, amplitude, (*shape, 3))
        factors = [count / size for count, size in zip(grid.shape, shape, strict=True)]
        for axis in range(3):
            total[..., axis] += zoom(knots[..., axis], factors, order=3, mode="nearest", grid_mode=False)[
                : grid.shape[0], : grid.shape[1], : grid.shape[2]
            ]
    return total


def sample_knee(fields: list[DistanceField], generator: np.random.Generator, ranges: KneeRanges | None = None) -> Knee:
    """A random knee from base distance fields (a right knee). The same generator state gives the same knee."""
    ranges = ranges or KneeRanges()
    mirrored = generator.random() < 0.5
    scale = float(np.exp(generator.uniform(*np.log(ranges.size))))
    aspect = np.exp(generator.normal(0.0, ranges.aspect, 3))
    flexion = float(generator.uniform(*ranges.flexion))

    # Joint motion in the base frame (right knee): flexion turns the shin backwards about an axis through the posterior condyles.
    pivot = np.array([0.0, 5.0, 18.0])
    shin_turn = _rotation(
        np.array([-flexion, generator.normal(0, ranges.varus), generator.normal(0, ranges.axial_rotation)])
    )
    shin_shift = generator.normal(0.0, 1.0, 3) * np.array([1.5, 1.5, ranges.joint_gap])
    shin = _about(shin_turn, pivot, shin_shift)
    patella_turn = _rotation(np.array([-0.6 * flexion, *generator.normal(0.0, 4.0, 2)]))
    patella = _about(patella_turn, pivot, generator.normal(0.0, 1.0, 3) * np.array([2.0, 0.8, 4.0]))
    fibula = shin @ _about(
        _rotation(generator.normal(0, 1.0, 3)), np.array([-30.0, 20.0, -30.0]), generator.normal(0, 0.8, 3)
    )
    motion = [patella, np.eye(4), fibula, shin]

    whole = np.eye(4)
    whole[:3, :3] = _rotation(generator.normal(0.0, 1.0, 3) * np.array(ranges.leg_rotation)) @ np.diag(scale * aspect)
    if mirrored:
        whole = np.diag([-1.0, 1.0, 1.0, 1.0]) @ whole
    whole[:3, 3] = generator.normal(0.0, 1.0, 3) * np.array(ranges.placement)
    # Half of the flexion is taken up by the thigh, so that a bent knee stays in the middle of the image.
    thigh_tilt = _about(_rotation(np.array([0.5 * flexion, 0.0, 0.0])), pivot, np.zeros(3))
    to_bone = np.stack([np.linalg.inv(whole @ thigh_tilt @ step)[:3] for step in motion])

    grid = Grid((-150.0, -150.0, -180.0), (10.0, 10.0, 10.0), (37, 31, 31))
    return Knee(
        "left" if mirrored else "right", to_bone, _smooth_displacement(generator, grid, ranges), grid, fields, scale
    )


@numba.njit(cache=True, inline="always")
def _trilinear(volume, z, y, x):  # type: ignore[no-untyped-def]
    iz, iy, ix = int(z), int(y), int(x)
    fz, fy, fx = z - iz, y - iy, x - ix
    c00 = volume[iz, iy, ix] * (1 - fx) + volume[iz, iy, ix + 1] * fx
    c01 = volume[iz, iy + 1, ix] * (1 - fx) + volume[iz, iy + 1, ix + 1] * fx
    c10 = volume[iz + 1, iy, ix] * (1 - fx) + volume[iz + 1, iy, ix + 1] * fx
    c11 = volume[iz + 1, iy + 1, ix] * (1 - fx) + volume[iz + 1, iy + 1, ix + 1] * fx
    return (c00 * (1 - fy) + c01 * fy) * (1 - fz) + (c10 * (1 - fy) + c11 * fy) * fz


@numba.njit(cache=True)
def _distances(points, displacement, origin, step, to_bone, scale, volumes, origins, spacing, result):  # type: ignore[no-untyped-def]
    """Signed distance (mm in the case, clipped to +-8) of each point to each of the four bones."""
    shape = displacement.shape
    for n in range(points.shape[0]):
        gz = min(max((points[n, 2] - origin[2]) / step, 0.0), shape[0] - 1.001)
        gy = min(max((points[n, 1] - origin[1]) / step, 0.0), shape[1] - 1.001)
        gx = min(max((points[n, 0] - origin[0]) / step, 0.0), shape[2] - 1.001)
        x = points[n, 0] + _trilinear(displacement[..., 0], gz, gy, gx)
        y = points[n, 1] + _trilinear(displacement[..., 1], gz, gy, gx)
        z = points[n, 2] + _trilinear(displacement[..., 2], gz, gy, gx)
        for b in range(4):
            volume = volumes[b]
            px = (
                to_bone[b, 0, 0] * x + to_bone[b, 0, 1] * y + to_bone[b, 0, 2] * z + to_bone[b, 0, 3] - origins[b, 0]
            ) / spacing
            py = (
                to_bone[b, 1, 0] * x + to_bone[b, 1, 1] * y + to_bone[b, 1, 2] * z + to_bone[b, 1, 3] - origins[b, 1]
            ) / spacing
            pz = (
                to_bone[b, 2, 0] * x + to_bone[b, 2, 1] * y + to_bone[b, 2, 2] * z + to_bone[b, 2, 3] - origins[b, 2]
            ) / spacing
            if 0 <= px < volume.shape[2] - 1 and 0 <= py < volume.shape[1] - 1 and 0 <= pz < volume.shape[0] - 1:
                value = _trilinear(volume, pz, py, px) * scale
                result[n, b] = min(max(value, -8.0), 8.0)
            else:
                result[n, b] = 8.0


def bone_distances(knee: Knee, points: Array) -> NDArray[np.float32]:
    """(N, 4) signed distances in mm, clipped to +-8, of points (N, 3) in mm to the bones in the order of the labels."""
    result = np.empty((len(points), 4), dtype=np.float32)
    volumes = tuple(field.values for field in knee.fields)
    origins = np.array([field.grid.origin for field in knee.fields])
    _distances(
        np.ascontiguousarray(points, dtype=np.float64), knee.displacement, np.array(knee.displacement_grid.origin),
        knee.displacement_grid.spacing[0], knee.to_bone, knee.scale, volumes, origins, knee.fields[0].grid.spacing[0], result,
    )  # fmt: skip
    return result


def labels_of_distances(distances: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(N,) labels from (N, 4) signed distances: the bone that a point is deepest in, 0 outside all."""
    deepest = distances.argmin(axis=1)
    inside = np.take_along_axis(distances, deepest[:, None], axis=1)[:, 0] < 0
    return np.where(inside, deepest + 1, 0).astype(np.uint8)


@dataclass(frozen=True)
class Tissue:
    """Closed-form densities of one knee: linear attenuation in 1/mm near 60 keV effective, thickness in mm.

    Ranges sampled by `sample_tissue` bracket the values of NIST XCOM (water 0.0206, cortical bone 0.06, adipose 0.018 at 60 keV).
    """

    cortical: float
    trabecular: float
    marrow: float
    soft: float
    fat: float
    shell_epiphysis: float
    shell_shaft: float
    texture: float
    leg_radius: tuple[float, float]
    leg_center: tuple[float, float]
    leg_taper: tuple[float, float]
    skin_fat: float


def sample_tissue(generator: np.random.Generator) -> Tissue:
    """Random densities from osteoporotic to young, and a random leg around them."""
    g = generator
    soft = float(g.uniform(0.0195, 0.0215))
    return Tissue(
        cortical=float(g.uniform(0.038, 0.060)),
        trabecular=float(g.uniform(0.023, 0.031)),
        marrow=float(g.uniform(0.0185, 0.0225)),
        soft=soft,
        fat=float(g.uniform(0.0175, 0.0195)),
        shell_epiphysis=float(g.uniform(0.5, 1.8)),
        shell_shaft=float(g.uniform(2.0, 6.0)),
        texture=float(g.uniform(0.0, 0.0025)),
        leg_radius=(float(g.uniform(52, 80)), float(g.uniform(55, 85))),
        leg_center=(float(g.normal(0, 5)), float(g.normal(6, 6))),
        leg_taper=(float(g.normal(0.0, 0.12)), float(g.normal(0.12, 0.12))),
        skin_fat=float(g.uniform(1.5, 16.0)),
    )


@numba.njit(parallel=True, cache=True)
def _attenuation(distances, x, y, z, noise, mu, leg, result):  # type: ignore[no-untyped-def]
    """Fill `result` [z, y, x] from `distances` [z, y, x, 4]; see `attenuation_volume`."""
    cortical, trabecular, marrow, soft, fat, shell_epiphysis, shell_shaft, texture, ramp, skin_fat = mu
    radius_x, radius_y, center_x, center_y, taper, bulge = leg
    noise_shape = noise.shape
    for i in numba.prange(z.shape[0]):
        for j in range(y.shape[0]):
            for k in range(x.shape[0]):
                level = z[i] / 100.0
                grow = 1.0 + taper * level + bulge * level * level
                rx, ry = radius_x * grow, radius_y * grow
                radial = np.sqrt(((x[k] - center_x) / rx) ** 2 + ((y[j] - center_y - 6.0 * level) / ry) ** 2)
                nearest, bone = 8.0, -1
                for b in range(4):
                    if distances[i, j, k, b] < nearest:
                        nearest, bone = distances[i, j, k, b], b
                # Skin follows a bone that would stick out of the ellipse (the patella of a thin leg).
                depth = max((1.0 - radial) * min(rx, ry), min(skin_fat + 3.0, 7.5) - nearest)
                outer = min(max(depth / ramp + 0.5, 0.0), 1.0)
                inner = min(max((depth - skin_fat) / 3.0 + 0.5, 0.0), 1.0)
                grain = noise[i % noise_shape[0], j % noise_shape[1], k % noise_shape[2]]
                value = outer * (fat + inner * (soft - fat)) * (1.0 + 0.03 * grain)
                inside = min(max(0.5 - nearest / ramp, 0.0), 1.0)
                if inside > 0.0:
                    shaft = min(max((abs(z[i]) - 25.0) / 60.0, 0.0), 1.0)
                    if bone == 0:
                        shaft = 0.15
                    if bone == 2:
                        shaft = min(0.6, shaft + 0.15)
                    thickness = shell_epiphysis + shaft * (shell_shaft - shell_epiphysis)
                    core = min(max((-nearest - thickness) / 1.2 + 0.5, 0.0), 1.0)
                    filling = trabecular + shaft * (marrow - trabecular) + texture * grain
                    material = cortical + core * (filling - cortical)
                    value = value * (1.0 - inside) + inside * material
                result[i, j, k] = value


def attenuation_volume(knee: Knee, tissue: Tissue, grid: Grid, generator: np.random.Generator) -> NDArray[np.float32]:
    """Linear attenuation (1/mm) of a knee on a grid, float32 [z, y, x].

    Cortical shell (thin at the joint, thick along the shaft) around trabecular bone and marrow with texture, soft tissue and
    subcutaneous fat in a tapered elliptic leg, air outside; every boundary is a ramp of one voxel.
    """
    x, y, z = grid.axes
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    points = np.stack([xx.ravel(), yy.ravel(), zz.ravel()], axis=1)
    distances = bone_distances(knee, points).reshape(*grid.shape, 4)
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(generator.normal(size=(48, 48, 48)), generator.uniform(0.8, 2.0), mode="wrap")
    noise = (noise / noise.std()).astype(np.float32)
    mu = np.array([
        tissue.cortical, tissue.trabecular, tissue.marrow, tissue.soft, tissue.fat,
        tissue.shell_epiphysis, tissue.shell_shaft, tissue.texture, grid.spacing[0], tissue.skin_fat,
    ])  # fmt: skip
    leg = np.array([*tissue.leg_radius, *tissue.leg_center, *tissue.leg_taper])
    result = np.empty(grid.shape, dtype=np.float32)
    _attenuation(distances, x, y, z, noise, mu, leg, result)
    return result
