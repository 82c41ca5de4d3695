"""The ankle's end of the tibia: plafond and medial malleolus, where they are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.planning.bone_samples import BoneSamples, farthest

Array = NDArray[np.float64]

_LEAST_LENGTH_WIDTHS = 3.2
_END_MM = 30.0
_FACING = 0.8
# A cut is a plane; a plafond is hollow, and the malleolus stands beyond it.
_FLAT_MM = 0.4
_LEVEL_MM = 5.0
_LEAST_MALLEOLUS_MM, _LARGEST_MALLEOLUS_MM = 4.0, 25.0
_LEAST_AREA_MM2 = 250.0
# The malleolus ends in two colliculi of nearly one height: its tip is the middle of both.
_TIP_DEPTH_MM = 4.0


@dataclass(frozen=True)
class Plafond:
    """centre: (3,) middle of the plafond's joint surface; malleolus: (3,) tip of the medial malleolus. LPS mm."""

    centre: Array
    malleolus: Array


def find_plafond(tibia: BoneSamples, up: Array, width: float) -> Plafond | str:
    """The ankle's end of a tibia, or in words why there is none.

    Parameters
    ----------
    tibia: its samples.
    up: (3,) unit vector along the shaft.
    width: of the plateau, mm.
    """
    length = float(np.ptp(tibia.points @ up))
    if length < _LEAST_LENGTH_WIDTHS * width:
        return f"the tibia ends {length:.0f} mm below the joint: the ankle is not in the field of view"
    height = tibia.centres @ up
    chosen = (height < height.min() + _END_MM) & (tibia.normals @ -up > _FACING)
    heights, areas = height[chosen], tibia.areas[chosen]
    if areas.sum() < _LEAST_AREA_MM2:
        return "the tibia's lower end has no joint surface that faces downwards"
    tip = farthest(tibia.points, -up, _TIP_DEPTH_MM)
    # The plafond is the level with the most area; the malleolus' tip has little.
    counts, edges = np.histogram(heights, bins=np.arange(heights.min(), heights.max() + 4.0, 2.0), weights=areas)
    level = edges[np.argmax(counts)] + 1.0
    part = chosen & (np.abs(height - level) < _LEVEL_MM)
    points, weights = tibia.centres[part], tibia.areas[part]
    centre = np.average(points, axis=0, weights=weights)
    spread = np.linalg.svd((points - centre) * np.sqrt(weights / weights.sum())[:, None], full_matrices=False)[1]
    beyond = float((centre - tip) @ up)
    if spread[2] < _FLAT_MM or not _LEAST_MALLEOLUS_MM < beyond < _LARGEST_MALLEOLUS_MM:
        return "the tibia's lower end is cut off: it has no plafond with a malleolus beyond it"
    return Plafond(centre, tip)
