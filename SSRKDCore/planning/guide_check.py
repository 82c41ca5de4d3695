"""Is a guide fit to be printed and used? Its mesh, its distance to the bone, its walls, and whether it comes off without a hook."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.exact_distances import DistanceToSurface, weighted_percentile
from SSRKDCore.planning.guide_model import Guide
from SSRKDCore.reconstruction.mesh_check import check_mesh
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_LIFTS_MM = (0.5, 1.0, 2.0, 4.0, 8.0)
#: Two sides of a wall face away from one another at least this much; at an edge they do not.
_OPPOSITE_COSINE = -0.7
_RAYS = 4000


def check_guide(guide: Guide, tibia: Surface) -> dict[str, Any]:
    """Figures by name.

    mesh: the check of planning's surfaces (reconstruction/mesh_check.py).
    contact_area_mm2, contact_gap_mm: [lowest, mean, highest] distance of the contact patch to the bone.
    least_gap_mm: of the whole guide to the bone; least_gap_lifted_mm: the same while it is drawn off against its seating direction.
    thinnest_wall_mm: 1st percentile, by area, of the way through the material from a sample of its triangles; volume_mm3: material.
    """
    bone = DistanceToSurface(tibia)
    areas = guide.contact.triangle_areas
    gaps = bone.signed(guide.contact.triangles.mean(axis=1))
    points = np.concatenate([guide.surface.vertices, guide.surface.triangles.mean(axis=1)])
    gap = bone.signed(points)
    near = points[gap < 2.0]
    lifted = [float(bone.signed(near - lift * guide.seating_direction).min()) for lift in _LIFTS_MM]
    return {
        "mesh": check_mesh(guide.surface).to_dict(),
        "contact_area_mm2": guide.contact.area,
        "contact_gap_mm": [float(gaps.min()), float(gaps @ areas / areas.sum()), float(gaps.max())],
        "least_gap_mm": float(gap.min()),
        "least_gap_lifted_mm": min(lifted),
        "thinnest_wall_mm": thinnest_wall(guide.surface),
        "volume_mm3": guide.surface.volume,
    }


def thinnest_wall(surface: Surface) -> float:
    """1st percentile, by area, of the thickness in mm: from a triangle's centre inwards to the other side, where that faces away."""
    from vtkmodules.vtkCommonCore import mutable
    from vtkmodules.vtkCommonDataModel import vtkStaticCellLocator

    locator = vtkStaticCellLocator()
    locator.SetDataSet(surface.to_vtk())
    locator.BuildLocator()
    corners = surface.triangles
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = 0.5 * np.linalg.norm(normals, axis=1)
    normals /= np.maximum(2 * areas, 1e-12)[:, None]
    reach = float(np.linalg.norm(np.diff(surface.bounds, axis=0)))
    found, weights = [], []
    share: Any = mutable(0.0)
    part: Any = mutable(0)
    cell: Any = mutable(0)
    place, weight = [0.0] * 3, [0.0] * 3
    for index in range(0, len(corners), max(1, len(corners) // _RAYS)):
        start = corners[index].mean(axis=0) - 1e-4 * normals[index]
        end = start - reach * normals[index]
        hit = locator.IntersectWithLine(start, end, 1e-9, share, place, weight, part, cell)
        if hit and normals[index] @ normals[int(cell)] < _OPPOSITE_COSINE:
            found.append(float(share) * reach)
            weights.append(areas[index])
    return weighted_percentile(np.array(found), np.array(weights), 0.01) if found else 0.0
