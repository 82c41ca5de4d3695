"""A leg's X-ray attenuation from its bone surfaces alone: cortical shell, cancellous core, marrow, soft tissue around.

Closed-form densities, for radiographs of anatomy that has no CT. Frame: LPS mm with the leg along z, as in a
straight-leg CT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from SSRKDCore.drr.attenuation import DEFAULT_ENERGY_KEV, linear_attenuation
from SSRKDCore.drr.signed_distance import signed_distance
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.grid import Grid
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Which end of a bone is at the knee, in z: the femur's lower, the others' upper; the patella is all epiphysis.
_KNEE_END = {"femur": "low", "tibia": "high", "fibula": "high"}


@dataclass(frozen=True)
class LegTissue:
    """What the tissues are like. Lengths in mm.

    Cortical thickness and trabecular bone change smoothly from the joint end to the shaft. The defaults are round figures
    for adults, not measurements of a population: metaphyseal cortex about 1 mm, femoral and tibial shafts 4 to 6 mm,
    fibula about 2.5 mm, a fifth of the volume of cancellous bone at the knee trabeculae and the rest yellow marrow.

    Attributes
    ----------
    epiphysis_cortex: thickness of the shell at the joint end.
    shaft_cortex: thickness of the shell in the shaft, by bone.
    shaft_start, shaft_full: distance from the joint end at which the shaft begins, and from which it is fully shaft.
    trabecular_fraction: volume of trabecular bone over volume, at the joint end.
    shaft_trabecular_fraction: the same in the shaft.
    sides_margin, front_margin, back_margin: soft tissue between the bones and the skin at the joint line.
    thigh_growth, calf_growth: added on the back, per mm away from the joint line, up to `growth_limit`.
    fat_thickness, skin_thickness: layers under the surface.
    outline_exponent: shape of a cross-section: 2 an ellipse, more a rounded box.
    energy_kev: effective photon energy of the beam.
    """

    epiphysis_cortex: float = 1.0
    shaft_cortex: Mapping[str, float] | None = None
    shaft_start: float = 30.0
    shaft_full: float = 110.0
    trabecular_fraction: float = 0.20
    shaft_trabecular_fraction: float = 0.02
    sides_margin: float = 15.0
    front_margin: float = 9.0
    back_margin: float = 32.0
    thigh_growth: float = 0.25
    calf_growth: float = 0.20
    growth_limit: float = 25.0
    fat_thickness: float = 6.0
    skin_thickness: float = 1.5
    outline_exponent: float = 2.3
    energy_kev: float = DEFAULT_ENERGY_KEV

    def shaft_cortex_of(self, bone: str) -> float:
        """Thickness of the shaft's cortex in mm of a bone."""
        usual = {"femur": 5.5, "tibia": 4.5, "fibula": 2.5, "patella": self.epiphysis_cortex}
        return float({**usual, **(self.shaft_cortex or {})}[bone])


def _smooth_step(value: Array) -> Array:
    """0 below 0, 1 above 1, smooth between."""
    value = np.clip(value, 0.0, 1.0)
    return np.asarray(value * value * (3.0 - 2.0 * value))


def _shaft_share(bone: str, surface: Surface, z: Array, tissue: LegTissue) -> Array:
    """(nz,) 0 at the joint end of a bone, 1 in its shaft."""
    if bone not in _KNEE_END:
        return np.zeros_like(z)
    low, high = surface.bounds[:, 2]
    away = z - low if _KNEE_END[bone] == "low" else high - z
    return _smooth_step((away - tissue.shaft_start) / max(tissue.shaft_full - tissue.shaft_start, 1e-6))


def leg_outline(surfaces: Mapping[str, Surface], z: Array, tissue: LegTissue) -> tuple[Array, Array]:
    """Centre (nz, 2) and half axes (nz, 2), x and y in mm, of the skin's outline at heights z (nz,) in mm."""
    points = np.concatenate([surface.vertices for surface in surfaces.values()])
    step = 2.0
    levels = np.arange(points[:, 2].min(), points[:, 2].max() + step, step)
    low, high = np.full((len(levels), 2), np.nan), np.full((len(levels), 2), np.nan)
    bins = np.clip(((points[:, 2] - levels[0]) / step).astype(int), 0, len(levels) - 1)
    for index in np.unique(bins):
        low[index], high[index] = points[bins == index, :2].min(axis=0), points[bins == index, :2].max(axis=0)
    known = np.isfinite(low[:, 0])
    # Smooth outwards: the widest within 12 mm, then blurred, so that no bone pierces the skin.
    center, half = np.empty((len(z), 2)), np.empty((len(z), 2))
    bounds = []
    for values, sign in ((low, -1.0), (high, 1.0)):
        for axis in (0, 1):
            filled = sign * np.interp(levels, levels[known], values[known, axis])
            width = int(12 / step)
            padded = np.pad(filled, width, mode="edge")
            widest = np.lib.stride_tricks.sliding_window_view(padded, 2 * width + 1).max(axis=1)
            bounds.append(np.interp(z, levels, sign * gaussian_filter1d(widest, 12 / step, mode="nearest")))
    joint = _joint_line(surfaces)
    growth = np.where(z > joint, tissue.thigh_growth * (z - joint), tissue.calf_growth * (joint - z))
    growth = tissue.growth_limit * np.tanh(np.maximum(growth, 0.0) / tissue.growth_limit)
    x_low, x_high = bounds[0] - tissue.sides_margin - growth / 2, bounds[2] + tissue.sides_margin + growth / 2
    y_low, y_high = bounds[1] - tissue.front_margin - growth / 2, bounds[3] + tissue.back_margin + growth
    center[:, 0], half[:, 0] = (x_low + x_high) / 2, (x_high - x_low) / 2
    center[:, 1], half[:, 1] = (y_low + y_high) / 2, (y_high - y_low) / 2
    return center, half


def _joint_line(surfaces: Mapping[str, Surface]) -> float:
    """Height of the knee's joint line in mm: between femur and tibia where both are there, else the knee end of what
    is."""
    ends = [
        float(surface.bounds[0 if _KNEE_END[name] == "low" else 1, 2])
        for name, surface in surfaces.items()
        if name in ("femur", "tibia")
    ]
    if ends:
        return float(np.mean(ends))
    return float(np.mean([surface.bounds[:, 2].mean() for surface in surfaces.values()]))


def _soft_tissue(grid: Grid, center: Array, half: Array, tissue: LegTissue) -> NDArray[np.float32]:
    """Attenuation in 1/mm of muscle, fat, skin and air, with ramps one voxel wide between them."""
    x, y, _ = grid.axes
    muscle, fat, water = (linear_attenuation(name, tissue.energy_kev) for name in ("muscle", "fat", "water"))
    # Skin lies between water and muscle in attenuation; NIST tabulates no skin.
    skin = (muscle + water) / 2 * 1.03
    width = float(max(grid.spacing[:2]))
    volume = np.empty(grid.shape, dtype=np.float32)
    power = tissue.outline_exponent
    for index in range(grid.shape[0]):
        across = np.abs((x - center[index, 0]) / half[index, 0]) ** power
        deep = np.abs((y - center[index, 1]) / half[index, 1]) ** power
        level = (across[None, :] + deep[:, None]) ** (1 / power)
        depth = ((1.0 - level) * half[index].min()).astype(np.float32)
        inside = [
            np.clip((depth - edge) / width + 0.5, 0.0, 1.0)
            for edge in (0.0, tissue.skin_thickness, tissue.skin_thickness + tissue.fat_thickness)
        ]
        volume[index] = inside[0] * skin + inside[1] * (fat - skin) + inside[2] * (muscle - fat)
    return volume


def leg_attenuation(
    surfaces: Mapping[str, Surface],
    grid: Grid,
    tissue: LegTissue | None = None,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> NDArray[np.float32]:
    """Linear attenuation in 1/mm of a leg on a grid, float32 [z, y, x].

    Parameters
    ----------
    surfaces: bone name (femur, tibia, fibula, patella; some may lack) -> closed surface, LPS mm, leg along z.
    grid: voxels; the partial volume at a bone's surface is a ramp one voxel wide about it.
    tissue: densities and thicknesses; the defaults of LegTissue when None.

    Raises InputError when there is no bone or an unknown one, Cancelled.
    """
    tissue = tissue or LegTissue()
    bones = {name: surface for name, surface in surfaces.items() if not surface.is_empty}
    if not bones:
        raise InputError(
            "There is no bone surface, so no leg can be simulated: give at least one of femur, tibia, fibula and patella."
        )
    unknown = set(bones) - {*_KNEE_END, "patella"}
    if unknown:
        raise InputError(
            f"'{sorted(unknown)[0]}' is no bone of this model: name surfaces femur, tibia, fibula or patella."
        )
    z = grid.axes[2]
    volume = _soft_tissue(grid, *leg_outline(bones, z, tissue), tissue)
    cortical, marrow = (
        linear_attenuation("cortical bone", tissue.energy_kev),
        linear_attenuation("fat", tissue.energy_kev),
    )
    width = float(np.mean(grid.spacing))
    for index, (name, surface) in enumerate(bones.items()):
        if cancelled is not None and cancelled():
            raise Cancelled("The simulation was cancelled.")
        if progress is not None:
            progress(index / len(bones), f"Filling the {name}")
        share = _shaft_share(name, surface, z, tissue)
        thickness = tissue.epiphysis_cortex + share * (tissue.shaft_cortex_of(name) - tissue.epiphysis_cortex)
        fraction = tissue.trabecular_fraction + share * (tissue.shaft_trabecular_fraction - tissue.trabecular_fraction)
        core = fraction * cortical + (1.0 - fraction) * marrow
        distance = signed_distance(surface, grid, limit=float(thickness.max()) + width)
        for k in range(grid.shape[0]):
            if distance[k].min() > width / 2:
                continue
            bone = np.clip(0.5 - distance[k] / width, 0.0, 1.0)
            shell = np.clip(0.5 + (thickness[k] + distance[k]) / width, 0.0, 1.0)
            volume[k] += bone * (core[k] + shell * (cortical - core[k]) - volume[k])
    if progress is not None:
        progress(1.0, "Filled the bones")
    return volume
