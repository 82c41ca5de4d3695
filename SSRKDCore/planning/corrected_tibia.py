"""The tibia after an osteotomy: two fragments cut exactly, the distal one turned about the hinge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.planning.mesh_booleans import box, solid, surface_of
from SSRKDCore.planning.osteotomy_plan import OsteotomyPlan
from SSRKDCore.planning.plane import Plane
from SSRKDCore.planning.wedge import opening_gap
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from manifold3d import Manifold

# Two faces that merely touch are no connection: the union is made with this much overlap, mm.
_OVERLAP_MM = 1e-3


@dataclass(frozen=True)
class CorrectedTibia:
    """Closed surfaces, LPS mm.

    Attributes
    ----------
    proximal: the fragment at the joint, where it was.
    distal: the other fragment, where it was (for a biplanar cut with the tubercle).
    distal_moved: the same after the turn.
    wedge: the gap that was opened, or the bone that is removed.
    corrected: both fragments as one surface after the correction.
    """

    proximal: Surface
    distal: Surface
    distal_moved: Surface
    wedge: Surface
    corrected: Surface


def correct_tibia(tibia: Surface, plan: OsteotomyPlan) -> CorrectedTibia:
    """Cut and turn the tibia as planned.

    The cuts run through the whole bone, so that the fragments are closed; the bone between hinge and cortex bends in reality and overlaps
    slightly here. Raises InputError when the surface is no solid or a cut leaves no fragment.
    """
    bone = solid(tibia, "the tibia")
    removed = None
    if plan.ascending_plane is not None:
        proximal, distal = bone.split(_corner(tibia, plan.cut_plane, plan.ascending_plane))
    else:
        proximal, distal = _split(bone, plan.cut_plane)
    if plan.lower_plane is not None:
        removed, distal = _split(distal, plan.lower_plane)
    for fragment, name in ((proximal, "proximal"), (distal, "distal")):
        if fragment.is_empty():
            raise InputError(f"The cuts leave no {name} fragment: check their heights.")
    moved = distal.transform(plan.motion[:3])
    wedge = opening_gap(tibia, plan) if removed is None else surface_of(removed)
    towards_joint = _OVERLAP_MM * plan.cut_plane.normal
    corrected = proximal + moved.translate([float(value) for value in towards_joint])
    return CorrectedTibia(surface_of(proximal), surface_of(distal), surface_of(moved), wedge, surface_of(corrected))


def _corner(tibia: Surface, cut: Plane, ascending: Plane) -> Manifold:
    """The corner above the main and behind the ascending cut, larger than the bone."""
    size = 2 * float(np.linalg.norm(np.diff(tibia.bounds, axis=0)))
    large = box(cut.point, np.eye(3), np.full(3, size))
    above, _ = _split(large, cut)
    return _split(above, ascending)[1]


def _split(bone: Manifold, plane: Plane) -> tuple[Manifold, Manifold]:
    """The part on the positive and the part on the negative side of a plane, both capped."""
    positive, negative = bone.split_by_plane(
        [float(value) for value in plane.normal], float(plane.point @ plane.normal)
    )
    return positive, negative
