"""Where on the bone a guide lies: a patch around the cut line, seen along the seating direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from SSRKDCore.errors import InputError
from SSRKDCore.planning.guide_grid import GuideAxes, GuideGrid
from SSRKDCore.planning.guide_parameters import GuideParameters
from SSRKDCore.planning.osteotomy import LATERAL_CLOSING
from SSRKDCore.planning.osteotomy_plan import OsteotomyPlan
from SSRKDCore.planning.surface_rays import ray_hits, section_centre
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_OUTSIDE_MM = 300.0
_NORMALS_WITHIN_MM = 18.0
_LEAST_SHARE = 0.8


@dataclass(frozen=True)
class ContactPatch:
    """The patch in the (u, v) plane of the guide's grid.

    Attributes
    ----------
    outline: [u, v] signed distance in mm to the patch's border, negative inside; the same for every w.
    middle: u of its middle.
    share: of the wanted rectangle that could be used, 0 to 1.
    """

    outline: Array
    middle: float
    share: float


def guide_axes(tibia: Surface, plan: OsteotomyPlan, parameters: GuideParameters) -> GuideAxes:
    """Axes of the guide: origin where the cut meets the antero-medial cortex (antero-lateral for a closing wedge), w the mean
    outward normal there.

    Raises InputError when the cut misses the bone.
    """
    side = 1.0 if plan.parameters.kind == LATERAL_CLOSING else -1.0
    turn = np.radians(parameters.front_degrees)
    outwards = np.cos(turn) * side * plan.axes.lateral + np.sin(turn) * plan.axes.anterior
    normal = plan.cut_plane.normal
    outwards = outwards - (outwards @ normal) * normal
    outwards /= np.linalg.norm(outwards)
    centre = section_centre(tibia, plan.cut_plane)
    hits = np.zeros(0) if centre is None else ray_hits(tibia, centre + _OUTSIDE_MM * outwards, -outwards)
    if centre is None or len(hits) == 0:
        raise InputError("The cut does not meet the bone where the guide should lie: check the plan.")
    origin = centre + (_OUTSIDE_MM - hits[0]) * outwards
    w = _mean_normal(tibia, origin, outwards)
    u = np.cross(normal, w)
    u /= np.linalg.norm(u)
    u = u if u @ plan.axes.anterior > 0 else -u
    v = np.cross(w, u)
    return GuideAxes(origin, u, v if v @ plan.axes.proximal > 0 else -v, w)


def _mean_normal(tibia: Surface, origin: Array, outwards: Array) -> Array:
    corners = tibia.triangles
    areas = 0.5 * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    near = np.linalg.norm(corners.mean(axis=1) - origin, axis=1) < _NORMALS_WITHIN_MM
    chosen = areas[near & (areas @ outwards > 0)]
    mean = chosen.sum(axis=0) if len(chosen) else outwards
    return np.asarray(mean / np.linalg.norm(mean))


def contact_patch(grid: GuideGrid, plan: OsteotomyPlan, parameters: GuideParameters) -> ContactPatch:
    """Grow the patch around the cut line: facing the guide, without undercut, clear of the tubercle and the joint.

    The rectangle of the wanted size takes the place along the cut line where it finds most usable bone; what is not usable is left out.
    Raises InputError when there is too little.
    """
    usable, height = usable_bone(grid, plan, parameters)
    u, v, _ = (axis.ravel() for axis in grid.coordinates())
    half = parameters.width_mm / 2
    across = cut_distance(grid, plan, u, v, height)
    closing = plan.height_mm if plan.lower_plane is not None else 0.0
    rows = (across > -parameters.contact_below_cut_mm - closing) & (across < parameters.contact_above_cut_mm)
    counts = (usable & rows).sum(axis=1).astype(float)
    wanted = rows.sum(axis=1).astype(float)
    window = round(2 * half / grid.spacing) + 1
    inside = np.convolve(counts, np.ones(window), "same") / np.maximum(np.convolve(wanted, np.ones(window), "same"), 1)
    allowed = (u - half >= u[0] + 2) & (u + half <= u[-1] - 2)
    # Of places that are equally good the one next to the wanted direction.
    score = np.where(allowed, inside - 0.002 * np.abs(u), -1.0)
    middle = float(u[int(np.argmax(score))])
    share = float(inside[int(np.argmax(score))])
    if share < _LEAST_SHARE:
        raise InputError(
            f"Only {100 * share:.0f} % of the contact patch finds usable bone: make the guide smaller, or let it lie elsewhere "
            "(front_degrees, tubercle_distance_mm)."
        )
    mask = usable & rows & (np.abs(u - middle) <= half)[:, None]
    mask = _one_piece(mask, u, v, middle)
    mask = _rounded(mask, parameters.corner_radius_mm / grid.spacing)
    return ContactPatch(_signed_distance(mask, grid.spacing), middle, share)


def cut_distance(grid: GuideGrid, plan: OsteotomyPlan, u: Array, v: Array, w: Array) -> Array:
    """[u, v] signed distance in mm to the cut at heights w [u, v]."""
    normal = grid.axes.matrix @ plan.cut_plane.normal
    offset = float((grid.axes.origin - plan.cut_plane.point) @ plan.cut_plane.normal)
    return offset + normal[0] * u[:, None] + normal[1] * v[None, :] + normal[2] * np.nan_to_num(w)


def usable_bone(grid: GuideGrid, plan: OsteotomyPlan, parameters: GuideParameters) -> tuple[NDArray[np.bool_], Array]:
    """[u, v] where the guide may lie, and the height w of the bone there (NaN without bone)."""
    u, v, w = (axis.ravel() for axis in grid.coordinates())
    outside = grid.swept > 0
    # First voxel outside the swept bone, counted from the bone's side.
    index = np.argmax(outside, axis=2)
    hit = outside.any(axis=2) & (index > 0)
    after = np.maximum(index, 1)
    pair = [np.take_along_axis(grid.swept, (after - back)[..., None], axis=2)[..., 0] for back in (0, 1)]
    share = pair[1] / np.where(pair[1] == pair[0], 1.0, pair[1] - pair[0])
    height = np.where(hit, w[0] + grid.spacing * (after - 1 + share), np.nan)
    filled = np.where(hit, height, np.nanmin(height) if hit.any() else 0.0)
    smooth = ndimage.gaussian_filter(filled, 2.0)
    slope = np.hypot(*np.gradient(smooth, grid.spacing))
    facing = slope <= np.tan(np.radians(parameters.steepest_contact_degrees))
    # Where the swept bone is not the bone itself, something above hides it.
    own = np.abs(np.take_along_axis(grid.distance, after[..., None], axis=2)[..., 0] - pair[0]) < 1e-9
    points = grid.axes.patient(np.stack(np.broadcast_arrays(u[:, None], v[None, :], filled), axis=-1))
    tubercle = plan.landmarks["tibial_tubercle"]
    clear = np.linalg.norm(points - tubercle, axis=-1) >= parameters.tubercle_distance_mm
    side = "lateral" if plan.parameters.kind == LATERAL_CLOSING else "medial"
    level = plan.axes.coordinates(plan.landmarks[f"{side}_plateau_centre"])[2]
    below = plan.axes.coordinates(points)[..., 2] <= level - parameters.joint_distance_mm
    usable = hit & facing & own & clear & below
    return np.asarray(ndimage.binary_opening(usable, iterations=2)), height


def _one_piece(mask: NDArray[np.bool_], u: Array, v: Array, middle: float) -> NDArray[np.bool_]:
    """The piece that holds the middle of the cut line, its holes filled."""
    pieces, _ = ndimage.label(mask)
    chosen = pieces[int(np.argmin(np.abs(u - middle))), int(np.argmin(np.abs(v)))]
    if chosen == 0:
        raise InputError(
            "The bone at the middle of the cut is too steep, or too near the tubercle or the joint, for a guide: move it (front_degrees)."
        )
    return np.asarray(ndimage.binary_fill_holes(pieces == chosen))


def _rounded(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Opened by a disc, so that no corner is sharper than its radius (in voxels)."""
    padded = np.pad(mask, 1)
    eroded = ndimage.distance_transform_edt(padded) > radius
    if not eroded.any():
        raise InputError("The contact patch is narrower than its rounded corners: make corner_radius_mm smaller.")
    return np.asarray((ndimage.distance_transform_edt(~eroded) <= radius)[1:-1, 1:-1])


def _signed_distance(mask: NDArray[np.bool_], spacing: float) -> Array:
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    # Half a voxel lies between the last one inside and the border; smoothing takes the steps off it.
    signed = np.where(mask, 0.5 - inside, outside - 0.5)
    return np.asarray(ndimage.gaussian_filter(signed, 1.5) * spacing)
