"""Tissue in and about the joint of a synthetic CT: cartilage, menisci, capsule, ligaments, tendons, vessels and a fabella.

Where bones face each other is read off their distances. Thicknesses are round figures for adults: cartilage about 2.3 mm on either side,
a patellar ligament of 28 x 5 mm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray

from SSRKDCore.grid import Grid
from SSRKDCore.population.bone_distance import COARSENING, DistanceBox
from SSRKDCore.population.leg_landmarks import LegLandmarks
from SSRKDCore.population.painting import paint_tube
from SSRKDCore.population.soft_tissue import between
from SSRKDCore.population.tissue import TissueParameters

JOINT_REACH = 45.0
"""Half the height in mm (size 1) about the joint line over which the joint's own tissues are drawn."""

Array = NDArray[np.float64]
_CAPSULE_HU = 55.0
_VESSEL_HU = 45.0
_LIGAMENT_HU = 70.0


@numba.njit(cache=True, inline="always")
def _at(values, z, y, x, coarsening, start):  # type: ignore[no-untyped-def]
    """A coarse field at a fine voxel; 14 outside its box."""
    gz, gy, gx = z / coarsening - start[0], y / coarsening - start[1], x / coarsening - start[2]
    iz, iy, ix = math.floor(gz), math.floor(gy), math.floor(gx)
    if (
        iz < 0
        or iy < 0
        or ix < 0
        or iz >= values.shape[0] - 1
        or iy >= values.shape[1] - 1
        or ix >= values.shape[2] - 1
    ):
        return 14.0
    return between(values, iz, iy, ix, gz - iz, gy - iy, gx - ix)


@numba.njit(cache=True, error_model="numpy")
def _joint_tissue(  # type: ignore[no-untyped-def]
    volume, z_first, z_last, coarsening, patella, femur, tibia, starts, plateau, half_width, size, origin, spacing, hu
):
    """Cartilage, menisci and capsule over the slices from `z_first` to `z_last`; distances [z, y, x] on the coarse grid."""
    cartilage, meniscus, capsule = hu
    middle, half_height = (z_first + z_last) / 2.0, max((z_last - z_first) / 2.0, 1.0)
    for z in range(z_first, z_last):
        fade = min(2.5 * (1.0 - abs(z - middle) / half_height), 1.0)
        for y in range(volume.shape[1]):
            for x in range(volume.shape[2]):
                if volume[z, y, x] < -500.0:
                    continue
                d_f = _at(femur, z, y, x, coarsening, starts[1])
                d_t = _at(tibia, z, y, x, coarsening, starts[2])
                d_p = _at(patella, z, y, x, coarsening, starts[0])
                nearest = min(d_f, d_t, d_p)
                if nearest < -3.0 or nearest > 9.0:
                    continue
                value = volume[z, y, x]
                # The capsule and synovium hug the bones around the joint.
                weight = min(max(1.2 - nearest / 5.0, 0.0), 0.9) * fade
                value += weight * (capsule - value)
                px = (origin[0] + x * spacing[0] - plateau[0]) / half_width
                py = (origin[1] + y * spacing[1] - plateau[1]) / half_width
                # Two rings on the plateau's compartments, open towards the notch.
                ring = math.sqrt((abs(px) - 0.45) ** 2 + py * py)
                if d_f + d_t < 13.0 * size and ring > 0.22 and abs(px) > 0.18:
                    weight = min(max((8.0 * size - max(d_f, d_t)) / 1.0, 0.0), 1.0)
                    weight *= min(max((ring - 0.22) / 0.05, 0.0), 1.0)
                    value += weight * (meniscus - value)
                thickness = 2.3 * size
                faced = min(max((10.0 * size - max(d_f, min(d_t, d_p))) / 2.0, 0.0), 1.0)
                layer = min(max((thickness - min(d_f, d_t, d_p)) / 0.6 + 0.5, 0.0), 1.0)
                value += faced * layer * (cartilage - value)
                volume[z, y, x] = value


def add_joint_tissue(
    volume: NDArray[np.float32],
    grid: Grid,
    boxes: Mapping[str, DistanceBox],
    landmarks: LegLandmarks,
    tissue: TissueParameters,
) -> None:
    """Draw cartilage, menisci and the capsule over the soft tissue in `volume` [z, y, x] (HU); `boxes` are on the coarse grid."""
    reach = JOINT_REACH * landmarks.size
    z = grid.axes[2]
    first, last = np.searchsorted(z, [landmarks.joint[2] - reach, landmarks.joint[2] + reach])
    names = ("patella", "femur", "tibia")
    _joint_tissue(
        volume, int(first), int(last), float(COARSENING), boxes["patella"].values, boxes["femur"].values, boxes["tibia"].values,
        np.array([boxes[name].start for name in names]), landmarks.joint, landmarks.half_width, landmarks.size,
        np.array(grid.origin), np.array(grid.spacing), (tissue.cartilage_hu, tissue.meniscus_hu, _CAPSULE_HU),
    )  # fmt: skip


def add_tendons_and_vessels(
    volume: NDArray[np.float32],
    grid: Grid,
    landmarks: LegLandmarks,
    tissue: TissueParameters,
    generator: np.random.Generator,
) -> None:
    """Draw the extensor's tendons, the ligaments and the popliteal vessels over `volume` [z, y, x] (HU), before the bones.

    Calcified vessels and a fabella are as dense as bone and no part of any label.
    """
    size, lateral, blur = landmarks.size, landmarks.lateral, max(tissue.resolution, 0.4)

    def away(to_lateral: float, backwards: float, up: float) -> Array:
        """A step in mm of a knee of size 1."""
        return size * np.array([lateral * to_lateral, backwards, up])

    def tube(start: Array, end: Array, half_width: float, value: float, half_thickness: float | None = None) -> None:
        thickness = None if half_thickness is None else half_thickness * size
        paint_tube(volume, grid, start, end, half_width * size, value, blur, thickness)

    tendon, joint = tissue.tendon_hu, landmarks.joint
    # The extensor: patellar ligament from the lower pole, quadriceps tendon from the upper one.
    low, high = landmarks.patella_low, landmarks.patella_high
    tube(low + away(0, -2, 3), landmarks.tuberosity + away(0, -1.5, 0), 14.0, tendon, 2.6)
    tube(high + away(0, 1, -2), high + 55 * size * landmarks.axes["femur"].direction, 15.0, tendon, 3.5)
    # Cruciates in the notch; the lateral collateral from the epicondyle to the fibula.
    tube(joint + away(6, 12, 12), joint + away(-2, -8, -2), 4.5, _LIGAMENT_HU)
    tube(joint + away(-6, 2, 12), joint + away(0, 24, -8), 5.0, _LIGAMENT_HU)
    tube(joint + away(landmarks.half_width / size - 1, 8, 22), landmarks.fibula_top, 2.3, tendon)
    # Behind the shafts and the joint, so that a bent knee's vessels bend with it.
    thigh, shin = (landmarks.axes[name] for name in ("femur", "tibia"))
    popliteal = [
        thigh.end + 90 * size * thigh.direction + away(-2, 20, 0),
        joint + away(2, 32, 22),
        joint + away(2, 32, -22),
        shin.end + 75 * size * shin.direction + away(2, 24, 0),
    ]
    for start, end in pairwise(popliteal):
        tube(start, end, 3.5, _VESSEL_HU)
        tube(start + away(5, 5, 0), end + away(5, 5, 0), 4.5, _VESSEL_HU)
        for _ in range(round(12 * tissue.vessel_calcification)):
            at = start + generator.random() * (end - start)
            angle = generator.uniform(0, 2 * np.pi)
            spot = at + away(3.3 * np.cos(angle), 3.3 * np.sin(angle), 0.0)
            length = generator.uniform(0.5, 5.0) * (end - start) / np.linalg.norm(end - start)
            tube(spot, spot + length, generator.uniform(0.4, 1.1), generator.uniform(250.0, 900.0))
    if tissue.fabella:
        place = joint + away(20, 33 + generator.uniform(-3, 3), 18)
        dense = 250.0 + 0.8 * tissue.trabecular_hu
        tube(place, place + away(0, 0, 3), generator.uniform(2.5, 4.5), dense, 2.2)
