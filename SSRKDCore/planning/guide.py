"""A patient-specific cutting guide from a planned osteotomy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.exact_distances import DistanceToSurface
from SSRKDCore.planning.contact_patch import contact_patch, guide_axes
from SSRKDCore.planning.guide_body import guide_body, openings
from SSRKDCore.planning.guide_grid import GuideAxes, GuideGrid, guide_grid, surface_of_field
from SSRKDCore.planning.guide_model import Guide
from SSRKDCore.planning.guide_parameters import GuideParameters
from SSRKDCore.planning.guide_wires import guide_wires
from SSRKDCore.planning.mesh_booleans import solid, surface_of
from SSRKDCore.planning.osteotomy_plan import OsteotomyPlan
from SSRKDCore.reconstruction.mesh_check import self_intersections
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

#: Contact is what lies within this of the designed clearance, mm.
CONTACT_TOLERANCE_MM = 0.02
_SIMPLIFY_MM = (0.005, 0.002, 0.01)
_LIFTING_ROUNDS = 8
_LEAST_COSINE = 0.4
_STILL_MM = 0.01
_CRUMB_SHARE = 1e-3
_BEHIND_BONE_MM = 22.0
_MARGIN_MM = 6.0
_SEARCH_MM = 16.0


def make_guide(
    tibia: Surface,
    plan: OsteotomyPlan,
    parameters: GuideParameters | None = None,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Guide:
    """Design the guide on the bone that the osteotomy was planned on.

    The guide is made of distance fields on a grid, so that its edges are rounded and nothing of it lies within bone, slot or
    hole: the mesh of an intersection of fields lies inside it. Its contact side is then moved onto the exact offset of the bone.
    The bone with all that lies behind it in the seating direction is kept free: no undercut.

    Parameters
    ----------
    tibia: closed surface, LPS mm.
    plan: the osteotomy.
    parameters: the guide's dimensions.
    progress: called with a fraction 0..1 and words; cancelled: asked between the steps, and raises Cancelled when true.

    Raises InputError when the surface is open, when the bone has no room for the guide, and when the result would not be one closed piece.
    """
    parameters = parameters or GuideParameters()

    def step(fraction: float, words: str) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled("guide stopped")
        if progress is not None:
            progress(fraction, words)

    solid(tibia, "the tibia")
    step(0.0, "measuring the bone")
    axes = guide_axes(tibia, plan, parameters)
    low, high = _extent(plan, parameters)
    bone = DistanceToSurface(_nearby(tibia, axes, low, high))
    grid = guide_grid(bone, axes, low, high, parameters.voxel_mm, parameters.clearance_mm)
    step(0.5, "placing the contact patch")
    patch = contact_patch(grid, plan, parameters)
    cuts = [plan.cut_plane] + ([plan.lower_plane] if plan.lower_plane is not None else [])
    wires = guide_wires(tibia, plan, axes, patch.middle, parameters)
    _check_room(plan, parameters)
    step(0.6, "shaping the body")
    body = guide_body(grid, patch, cuts, wires, parameters)
    material = np.maximum(body, -openings(grid, patch, cuts, wires, parameters))
    step(0.8, "making its surface")
    rough = surface_of_field(np.maximum(material, parameters.clearance_mm - grid.swept), grid)
    surface = _one_piece(_on_offset(rough, bone, grid, material, parameters.clearance_mm))
    step(0.9, "finding the contact")
    return Guide(
        surface,
        _contact(surface, bone, parameters.clearance_mm, -axes.w),
        parameters.clearance_mm,
        plan.cut_plane,
        parameters.slot_thickness_mm,
        wires,
        -axes.w,
        (plan.hinge.point, plan.hinge.direction),
        parameters.to_dict() | {"wedge_degrees": float(plan.wedge_degrees)},
        plan.lower_plane,
    )


def _extent(plan: OsteotomyPlan, parameters: GuideParameters) -> tuple[Array, Array]:
    """(3,) lowest and highest u, v, w of the grid."""
    half = parameters.width_mm / 2 + _SEARCH_MM
    closing = plan.height_mm if plan.lower_plane is not None else 0.0
    top = max(parameters.guiding_depth_mm, parameters.wire_guiding_length_mm, parameters.thickness_mm) + _MARGIN_MM
    low = [-half, -parameters.contact_below_cut_mm - closing - _MARGIN_MM, -_BEHIND_BONE_MM]
    return np.array(low), np.array([half, parameters.contact_above_cut_mm + _MARGIN_MM, top])


def _nearby(tibia: Surface, axes: GuideAxes, low: Array, high: Array) -> Surface:
    """The triangles of the bone that can be the nearest ones of a point of the grid."""
    local = axes.local(tibia.vertices)
    reach = 2 * _BEHIND_BONE_MM
    near = np.all(np.logical_and(local > low - reach, local < high + reach), axis=1)
    return Surface(tibia.vertices, tibia.faces[near[tibia.faces].any(axis=1)])


def _check_room(plan: OsteotomyPlan, parameters: GuideParameters) -> None:
    wall = plan.height_mm - parameters.slot_thickness_mm
    if plan.lower_plane is not None and wall < parameters.least_wall_mm:
        raise InputError(
            f"The two slots of the closing wedge leave a wall of {max(wall, 0):.1f} mm between them: the wedge is too small for one guide."
        )


def _on_offset(
    surface: Surface, bone: DistanceToSurface, grid: GuideGrid, material: Array, clearance: float
) -> Surface:
    """The surface with its contact side moved onto the offset of the bone, where it is off by more than a hundredth of a mm."""
    vertices = surface.vertices.copy()
    index = ((grid.axes.local(vertices) - grid.start) / grid.spacing).T
    near = np.flatnonzero(
        ndimage.map_coordinates(grid.distance, index, order=1, mode="nearest") < clearance + grid.spacing
    )
    within = ndimage.map_coordinates(material, index[:, near], order=1, mode="nearest") < -0.3 * grid.spacing
    gradient = np.stack(list(np.gradient(grid.distance, grid.spacing)), axis=-1)
    for _ in range(3):
        distance = bone.signed(vertices[near])
        off = distance - clearance
        moved = (off < -_STILL_MM) | (within & (off > _STILL_MM) & (off < 0.5 * grid.spacing))
        place = ((grid.axes.local(vertices[near]) - grid.start) / grid.spacing).T
        slope = np.stack(
            [ndimage.map_coordinates(gradient[..., i], place, order=1, mode="nearest") for i in range(3)], axis=1
        )
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
        # Along the seating direction alone: so the contact side cannot fold over itself, however rough the bone is.
        way = np.where(moved, -off, 0.0) / np.maximum(slope[:, 2], _LEAST_COSINE)
        vertices[near] += np.clip(way, -grid.spacing, grid.spacing)[:, None] * grid.axes.w
    return _off_ridges(Surface(vertices, surface.faces), near, grid.axes.w, bone, clearance)


def _off_ridges(
    surface: Surface, near: NDArray[np.int64], outwards: Array, bone: DistanceToSurface, clearance: float
) -> Surface:
    """The surface with the triangles lifted that bridge a sharp ridge of the bone and would touch it in their middle."""
    vertices = surface.vertices.copy()
    close = np.zeros(len(vertices), dtype=bool)
    close[near] = True
    faces = surface.faces[close[surface.faces].any(axis=1)]
    for _ in range(_LIFTING_ROUNDS):
        lacking = clearance - _STILL_MM - bone.signed(vertices[faces].mean(axis=1))
        low = lacking > 0
        if not low.any():
            break
        lift = np.zeros(len(vertices))
        np.maximum.at(lift, faces[low].ravel(), np.repeat(lacking[low], 3))
        vertices += lift[:, None] * outwards
        faces = faces[np.isin(faces, faces[low]).any(axis=1)]
    return Surface(vertices, surface.faces)


def _one_piece(surface: Surface) -> Surface:
    """The guide without crumbs, in as many triangles as it needs. Raises InputError when it falls to pieces."""
    pieces = sorted(solid(surface, "the guide").decompose(), key=lambda piece: -piece.volume())
    if sum(piece.volume() for piece in pieces[1:]) > _CRUMB_SHARE * pieces[0].volume():
        raise InputError("The guide falls to pieces: give its slot thicker walls or a smaller width.")
    best, fewest = Surface.empty(), -1
    for tolerance in _SIMPLIFY_MM:
        found = surface_of(pieces[0].simplify(tolerance))
        # Rounded as STL will round it, so that what is checked is what is written.
        candidate = Surface(found.vertices.astype(np.float32), found.faces)
        crossing = len(self_intersections(candidate))
        if fewest < 0 or crossing < fewest:
            best, fewest = candidate, crossing
        if fewest == 0:
            break
    return best


def _contact(surface: Surface, bone: DistanceToSurface, clearance: float, seating: Array) -> Surface:
    """The triangles that lie on the bone's offset, as an open patch."""
    distance = bone.signed(surface.vertices)
    near = np.abs(distance - clearance) <= CONTACT_TOLERANCE_MM
    corners = surface.triangles
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middle = np.abs(bone.signed(corners.mean(axis=1)) - clearance) <= 2 * CONTACT_TOLERANCE_MM
    faces = surface.faces[near[surface.faces].all(axis=1) & middle & (normals @ seating > 0)]
    if len(faces) == 0:
        raise InputError("The guide does not touch the bone anywhere: check the plan.")
    kept, index = np.unique(faces, return_inverse=True)
    return Surface(surface.vertices[kept], index.reshape(-1, 3))
