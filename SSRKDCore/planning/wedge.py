"""The gap of an opening wedge as a closed surface."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.mesh_booleans import solid
from SSRKDCore.planning.osteotomy_plan import OsteotomyPlan
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Outline points this near the hinge axis lie on it: the clipping works on a fine integer grid.
_ON_AXIS_MM = 1e-5
_FAR_MM = 1000.0


def opening_gap(tibia: Surface, plan: OsteotomyPlan) -> Surface:
    """The space between the two faces of the main cut after opening, from the hinge to the cortex.

    Its sides run straight from each point of the cut's outline to where the turn takes it. Behind an ascending cut only; the
    gap of that one is not part of it. Raises InputError when the cut does not reach the hinge.
    """
    import manifold3d

    across = np.cross(plan.hinge.direction, plan.cut_plane.normal)
    across *= 1.0 if (plan.entry - plan.hinge.point) @ across > 0 else -1.0
    axes = np.stack([across, np.cross(plan.cut_plane.normal, across), plan.cut_plane.normal])
    flat = solid(tibia, "the tibia").transform(np.column_stack([axes, -axes @ plan.hinge.point])).slice(0.0)
    kept = flat ^ manifold3d.CrossSection([_half_plane(1.0, 0.0, 0.0)])
    if plan.ascending_plane is not None:
        normal = axes @ plan.ascending_plane.normal
        offset = float((plan.ascending_plane.point - plan.hinge.point) @ plan.ascending_plane.normal)
        kept = kept ^ manifold3d.CrossSection([_half_plane(-normal[0], -normal[1], -offset)])
    if kept.is_empty():
        raise InputError("The cut opens no bone: check the entry and the ascending cut.")
    return _hinged(kept, plan, axes)


def _half_plane(a: float, b: float, offset: float) -> Array:
    """(4, 2) a large square, counter-clockwise, of points with a x + b y >= offset."""
    normal = np.array([a, b]) / np.hypot(a, b)
    along = np.array([-normal[1], normal[0]])
    start = normal * offset / np.hypot(a, b)
    corners = [(0, 1), (0, -1), (1, -1), (1, 1)]
    return np.array([start + _FAR_MM * (out * normal + side * along) for out, side in corners])


def _hinged(outline: Any, plan: OsteotomyPlan, axes: Array) -> Surface:
    """The outline and its turned copy, joined along the cortex and meeting at the axis."""
    mesh = outline.extrude(1.0).to_mesh64()
    points = np.asarray(mesh.vert_properties)[:, :3]
    on_axis = points[:, 0] < _ON_AXIS_MM
    flat = np.where(on_axis, 0.0, points[:, 0])[:, None] * axes[0] + points[:, 1:2] * axes[1]
    start = plan.hinge.point + flat
    motion = plan.motion
    turned = start @ motion[:3, :3].T + motion[:3, 3]
    vertices = np.where((points[:, 2] > 0.5)[:, None], start, turned)
    # Both copies of a point on the axis are one vertex, and what lay between them vanishes.
    keys = np.column_stack([points[:, :2], np.where(on_axis, 2.0, points[:, 2])])
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    faces = index.reshape(-1)[np.asarray(mesh.tri_verts).astype(np.int64)]
    proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    surface = Surface(vertices[first], faces[proper])
    return surface if surface.volume > 0 else Surface(surface.vertices, surface.faces[:, ::-1])
