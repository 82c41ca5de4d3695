"""Are these the bones of one leg, in millimetres, in one frame, and of the side that is said? From how they lie to one another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from SSRKDCore.errors import InputError
from SSRKDCore.planning.bone_samples import BoneSamples
from SSRKDCore.planning.landmark_collector import LandmarkCollector
from SSRKDCore.planning.tibial_plateau import Plateau

Array = NDArray[np.float64]

# What a field of view shows of a femur or tibia is longer, and no whole one is so long.
_SHORTEST_MM, _LONGEST_MM = 40.0, 700.0
# Joint spaces of MRI bones look up to 6 mm wide.
_GAPS_MM = {("femur", "tibia"): 15.0, ("tibia", "fibula"): 15.0, ("femur", "patella"): 30.0}
# Bones of one segmentation may lie in each other by a voxel or two.
_OVERLAP_MM, _OVERLAPPING_POINTS, _FACING_AWAY, _NEIGHBOURS = 6.0, 20, 0.8, 12
_THINNED = 20000
# The notch stands over the middle of the plateau, in widths of that.
_BESIDE = 0.35
# The tibia's shaft lies in front of the middle of its plateau, by 0.09 to 0.18 widths in the bones at hand; behind it none does.
_SHAFT_BEHIND = 0.03
# The medial joint surface is deeper than the lateral one, by 0.04 widths and more in the bones at hand.
_DEEPER = 0.02
# The fibula's head lies below the joint, the patella above it.
_FIBULA_ABOVE_MM = 15.0


def check_one_frame(samples: Mapping[str, BoneSamples]) -> None:
    """Raise InputError for bones that are not as large as bones in millimetres, that lie too far from one another to be of one leg in one
    frame, or that lie in each other.
    """
    for name in ("femur", "tibia"):
        if name in samples:
            length = float(np.ptp(samples[name].surface.vertices, axis=0).max())
            if not _SHORTEST_MM < length < _LONGEST_MM:
                raise InputError(f"The {name} measures {length:.3g} mm: give a knee in millimetres.")
    for (first, second), limit in _GAPS_MM.items():
        if first not in samples or second not in samples:
            continue
        tree = cKDTree(samples[first].points)
        points = samples[second].points[:: 1 + len(samples[second].points) // _THINNED]
        gap = float(tree.query(points)[0].min())
        if gap > limit:
            raise InputError(
                f"The {first} and the {second} lie {gap:.0f} mm apart, and no more than {limit:.0f} mm can be of one leg: give bones of "
                "one leg in one frame."
            )
    if "femur" in samples and "tibia" in samples:
        _check_overlap(samples["femur"], samples["tibia"])


def _check_overlap(femur: BoneSamples, tibia: BoneSamples) -> None:
    points = femur.points[:: 1 + len(femur.points) // _THINNED]
    distance, index = cKDTree(tibia.centres).query(points, _NEIGHBOURS)
    # Seen from inside, the nearest part of a surface faces away; from outside, beside an edge, it stands across. Small pieces of a rough
    # surface face anywhere: several are asked.
    facing = (tibia.normals[index] * tibia.areas[index][..., None]).sum(axis=1)
    facing /= np.maximum(np.linalg.norm(facing, axis=1), 1e-12)[:, None]
    outwards = ((points - tibia.centres[index[:, 0]]) * facing).sum(axis=1)
    if ((outwards < -_FACING_AWAY * distance[:, 0]) & (distance[:, 0] > _OVERLAP_MM)).sum() >= _OVERLAPPING_POINTS:
        raise InputError(
            f"The femur lies more than {_OVERLAP_MM:.0f} mm deep in the tibia: give bones of one leg in one frame."
        )


def check_tibia_faces_front(collector: LandmarkCollector, plateau: Plateau) -> None:
    """Raise InputError for a right tibia whose shaft lies behind its plateau: its front was taken for its back."""
    shaft = collector.get("tibial_shaft_proximal")
    if shaft is None or collector.is_given("tibial_shaft_proximal"):
        return
    middle = 0.5 * (plateau.medial + plateau.outer)
    if (shaft - middle) @ plateau.front < -_SHAFT_BEHIND * plateau.width:
        raise InputError(
            "The tibia's shaft lies behind its plateau, as if its front were its back: the bones are in another frame than LPS (RAS?), or "
            "fibula and patella are exchanged. Convert or rename them."
        )


def check_side_by_shape(collector: LandmarkCollector, plateau: Plateau, side: str) -> None:
    """Raise InputError for a tibia without a fibula, taken for a right one, that is shaped like the other side's: its medial joint
    surface is the less deep one, and its tubercle does not lie lateral of the middle. side: for the message.
    """
    ends = {name: place for name in _RIMS if (place := collector.get(name)) is not None}
    if len(ends) < len(_RIMS) or any(collector.is_given(name) for name in _RIMS):
        return
    medial, lateral = (
        float(np.linalg.norm(np.subtract(ends[f"{name}_plateau_anterior"], ends[f"{name}_plateau_posterior"])))
        for name in ("medial", "lateral")
    )
    tubercle = collector.get("tibial_tubercle")
    middle = 0.5 * (plateau.medial + plateau.outer)
    outwards = tubercle is not None and (tubercle - middle) @ plateau.lateral > 0.0
    if medial - lateral < -_DEEPER * plateau.width and not outwards:
        other = "left" if side == "right" else "right"
        raise InputError(
            f"The tibia is shaped like that of a {other} leg, and there is no fibula that shows that it is a {side} one: correct the side, "
            "or give the fibula."
        )


_RIMS = tuple(f"{name}_plateau_{end}" for name in ("medial", "lateral") for end in ("anterior", "posterior"))


def check_fibula_below(fibula: BoneSamples, plateau: Plateau) -> None:
    """Raise InputError for a fibula that reaches above the joint: another bone, or one of another frame."""
    above = float(((fibula.points - plateau.middle) @ plateau.up).max())
    if above > _FIBULA_ABOVE_MM:
        raise InputError(
            f"The fibula reaches {above:.0f} mm above the tibia's joint surface: it is another bone (exchanged with the patella?), or lies "
            "in another frame."
        )


def check_above_each_other(collector: LandmarkCollector, plateau: Plateau) -> None:
    """Raise InputError for a femur and a tibia that lie beside each other."""
    notch = collector.get("intercondylar_notch")
    if notch is None:
        return
    beside = float(abs((notch - plateau.middle) @ plateau.lateral))
    if beside > _BESIDE * plateau.width:
        raise InputError(
            f"The femur and the tibia lie {beside:.0f} mm beside each other: give bones of one leg in one frame."
        )
