"""Landmarks of the fibula: its head, and its end at the ankle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.planning.bone_samples import BoneSamples, farthest
from SSRKDCore.planning.landmark_collector import LandmarkCollector
from SSRKDCore.planning.plane import Plane
from SSRKDCore.planning.surface_rays import section_centre
from SSRKDCore.planning.tibial_plateau import Plateau

Array = NDArray[np.float64]

# In widths of the plateau: the head's tip lies 5 to 20 mm below the joint.
_LOWEST_HEAD = 0.6


def find_fibula_landmarks(
    fibula: BoneSamples, plateau: Plateau | None, up: Array, collector: LandmarkCollector
) -> None:
    """Find the tips of the fibular head and of the lateral malleolus, and the middle of the section at the plafond's height between
    them, and put them into `collector`.

    Parameters
    ----------
    plateau: the tibia's, None without a tibia.
    up: (3,) unit vector, proximal.
    """
    head = farthest(fibula.points, up)
    if plateau is not None and (plateau.middle - head) @ up > _LOWEST_HEAD * plateau.width:
        collector.lack("the fibula's upper end is not in the surface", "fibular_head")
    else:
        collector.place("fibular_head", head)
    ankle = collector.get("ankle_centre")
    if ankle is None:
        collector.lack("the ankle is not in the field of view", "lateral_malleolus", "fibula_at_plafond")
        return
    tip = farthest(fibula.points, -up)
    if (ankle - tip) @ up < 0:
        collector.lack("the fibula ends above the ankle", "lateral_malleolus", "fibula_at_plafond")
        return
    collector.place("lateral_malleolus", tip)
    section = section_centre(fibula.surface, Plane(ankle, up))
    if section is None:
        collector.lack("the fibula has no section at the height of the plafond", "fibula_at_plafond")
    else:
        collector.place("fibula_at_plafond", section)
