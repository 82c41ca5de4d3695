"""A CT in Hounsfield units of a knee of which only the bones' surfaces are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.grid import Grid
from SSRKDCore.population.bone_density import add_bone, bone_fields, texture_tile
from SSRKDCore.population.bone_distance import coarse_box, coarse_grid, fine_box
from SSRKDCore.population.joint_tissue import JOINT_REACH, add_joint_tissue, add_tendons_and_vessels
from SSRKDCore.population.leg_landmarks import find_landmarks
from SSRKDCore.population.leg_outline import leg_outline
from SSRKDCore.population.metal import add_metal
from SSRKDCore.population.osteophytes import with_osteophytes
from SSRKDCore.population.scanner_noise import with_noise
from SSRKDCore.population.soft_tissue import fill_soft_tissue, soft_fields, soft_grid
from SSRKDCore.population.tissue import TissueParameters
from SSRKDCore.surface import Surface

DEFAULT_VOXEL_MM = 0.9
DEFAULT_REACH_MM = 140.0
"""Half the height of the box about the joint line."""
_AIR_MARGIN_MM = 8.0
_VOXEL_RANGE_MM = (0.3, 3.0)
_LEAST_HEIGHT_MM = 30.0


@dataclass(frozen=True)
class SyntheticCt:
    """A synthetic CT with its truth.

    Attributes
    ----------
    hounsfield: int16 [z, y, x].
    labels: uint8 [z, y, x], 0 outside, 1..4 the bones: of the bone that a voxel's centre lies deepest in.
    grid: where both are, LPS mm.
    bones: the surfaces that the labels describe, by name (with osteophytes), LPS mm; they reach beyond the box.
    provenance: how it was made, for JSON.
    """

    hounsfield: NDArray[np.int16]
    labels: NDArray[np.uint8]
    grid: Grid
    bones: dict[str, Surface]
    provenance: dict[str, Any]


def synthetic_ct(
    bones: Mapping[str, Surface],
    side: str,
    tissue: TissueParameters,
    generator: np.random.Generator,
    voxel_mm: float = DEFAULT_VOXEL_MM,
    z_range: tuple[float, float] | None = None,
) -> SyntheticCt:
    """A CT of one knee: bones as given, everything else made up by `tissue` and the generator (same state, same CT).

    Parameters
    ----------
    bones: the four bones, closed surfaces, LPS mm, leg roughly along z.
    side: "right" or "left".
    tissue: densities, habitus, wear, metal and scanner.
    voxel_mm: spacing along all axes.
    z_range: lowest and highest z in mm of the box; 140 mm below and above the joint line when None. Cut down in any case to where
        every shaft is whole: inside the box no bone ends but at the joint.

    The box holds the leg's skin with some air around it in x and y. Labels are 0 in soft tissue, cartilage, menisci, a fabella and
    calcified vessels; metal has the label of the bone it lies in (see the module metal).

    Raises InputError for a lacking bone, a wrong side, impossible voxels, or bones that are too short for a CT.
    """
    if not _VOXEL_RANGE_MM[0] <= voxel_mm <= _VOXEL_RANGE_MM[1]:
        low, high = _VOXEL_RANGE_MM
        raise InputError(f"Voxels of {voxel_mm:g} mm were asked for: give {low:g} to {high:g} mm.")
    landmarks = find_landmarks(bones, side)
    grown = with_osteophytes(bones, landmarks, tissue, generator)
    joint_z = float(landmarks.joint[2])
    low, high = z_range or (joint_z - DEFAULT_REACH_MM, joint_z + DEFAULT_REACH_MM)
    low, high = max(low, landmarks.z_limits[0] + voxel_mm), min(high, landmarks.z_limits[1] - voxel_mm)
    if high - low < _LEAST_HEIGHT_MM:
        raise InputError(
            f"Only {max(high - low, 0.0):.0f} mm of the leg's height can be shown: give longer bones or a wider z range."
        )
    z = np.arange(low + voxel_mm / 2, high, voxel_mm)

    # The outline is known where the soft tissue's coarser slices will be, which reach a little beyond the box.
    outline_z = z[0] + 4 * voxel_mm * np.arange(-(-(len(z) - 1) // 4) + 2)
    outline = leg_outline(grown, landmarks, tissue, outline_z, generator)
    corner = outline.bounds[0] - _AIR_MARGIN_MM
    nx, ny = (int(n) for n in np.ceil((outline.bounds[1] + _AIR_MARGIN_MM - corner) / voxel_mm))
    grid = Grid((corner[0], corner[1], float(z[0])), (voxel_mm,) * 3, (len(z), ny, nx))

    volume = np.empty(grid.shape, dtype=np.float32)
    fill_soft_tissue(volume, soft_fields(outline, landmarks, tissue, soft_grid(grid), generator), tissue)
    add_tendons_and_vessels(volume, grid, landmarks, tissue, generator)
    coarse = coarse_grid(grid)
    reach = (JOINT_REACH + 3.0) * landmarks.size
    boxes = {name: coarse_box(grown[name], coarse, (joint_z - reach, joint_z + reach)) for name in BONE_NAMES}
    add_joint_tissue(volume, grid, boxes, landmarks, tissue)

    labels, deepest = np.zeros(grid.shape, dtype=np.uint8), np.zeros(grid.shape, dtype=np.float32)
    texture = texture_tile(generator, voxel_mm, tissue.resolution)
    for name in BONE_NAMES:
        fields = bone_fields(name, boxes, coarse, landmarks, tissue, generator)
        fine = fine_box(grown[name], grid)
        add_bone(volume, deepest, labels, name, fine, boxes[name].start, fields, texture, tissue, voxel_mm, generator)
    metal = add_metal(volume, grid, grown, boxes, landmarks, tissue, generator)
    provenance = {
        "made_by": "synthetic CT from bone surfaces",
        "side": side,
        "voxel_mm": voxel_mm,
        "tissue": tissue.to_dict(),
        "metal": metal,
        "joint_mm": landmarks.joint.tolist(),
    }
    return SyntheticCt(with_noise(volume, tissue.noise_hu, voxel_mm, generator), labels, grid, grown, provenance)
