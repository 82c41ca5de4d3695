"""The axis of a shaft next to the knee: a line through the middles of its cross-sections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.planning.bone_samples import BoneSamples, unit
from SSRKDCore.planning.plane import Plane
from SSRKDCore.planning.surface_rays import section_centre
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# The stretch of shaft, in widths of the bone at the knee from its joint surface: beyond the flare, and inside what a
# knee's field of view of 240 mm shows. Whole bones use the same stretch, or the bow of the shaft would make a difference.
NEAREST, FARTHEST, SHORTEST = 0.9, 1.45, 0.3
# In a smaller field of view the stretch moves into the flare; less than this was not measured (see short_shaft_errors).
LEAST_REACH = 0.87
_SECTIONS = 12
_ITERATIONS, _SETTLED = 4, 1e-12
# How far a section can lie from where the first guess of the axis has it, in widths.
_TILT_MARGIN = 0.35
# A shaft's own surface runs along its axis; what faces along it is the face of a cut, however oblique.
_CUT_FACE_COSINE = 0.5
_CLEAR_OF_CUT_MM = 1.0
# A cut face: normals that lie within 14 degrees of one another, and most of the cross-section just before it.
_FLAT_COSINE, _FLAT_DEPTH_MM, _FLAT_SHARE, _FACES_TRIED = 0.97, 6.0, 0.6, 300
_CUT_DEPTH_MM, _LAYER_MM, _LEAST_CUT_SHARE = 35.0, 2.0, 0.05


@dataclass(frozen=True)
class ShaftAxis:
    """A stretch of a shaft.

    Attributes
    ----------
    near, far: (3,) its ends on the axis, mm; `near` is the one next to the knee.
    reach: distance in mm from the bone's joint surface to where the stretch ends; None where a person gave the ends.
    """

    near: Array
    far: Array
    reach: float | None = None

    @property
    def away(self) -> Array:
        """(3,) unit vector from near to far."""
        return unit(self.far - self.near)


def whole_length(bone: BoneSamples, away: Array) -> float:
    """Distance in mm from the bone's knee end along `away` to where its other end begins to be cut off or to close, at most its reach."""
    height = bone.centres @ away
    start, end = float((bone.points @ away).min()), float(height.max())
    facing = bone.normals @ away > _CUT_FACE_COSINE
    # From the end inwards, as long as layers of bone face along the shaft: the flare that faces so, further in, is no cut.
    depth = end - height[facing]
    areas = np.histogram(depth, np.arange(0.0, _CUT_DEPTH_MM + _LAYER_MM, _LAYER_MM), weights=bone.areas[facing])[0]
    behind = np.flatnonzero(areas <= _LEAST_CUT_SHARE * areas.max())
    cut = _LAYER_MM * float(behind[0] if len(behind) else len(areas))
    return min(end - cut - start - _CLEAR_OF_CUT_MM, bone.reach)


def first_direction(bone: BoneSamples, away: Array, width: float) -> Array:
    """(3,) unit vector to begin with, roughly along the shaft: `away`, or where that shows too little of the shaft the normal of the flat
    face that cuts the bone off, if it shows more. The middle of a short bone lies too much to one side of its joint to tell where its shaft
    points, and along an oblique direction it ends where the cut begins.
    """
    whole = whole_length(bone, away)
    normal = None if whole >= FARTHEST * width else _cut_normal(bone, away)
    return away if normal is None or whole_length(bone, normal) <= whole else normal


def _cut_normal(bone: BoneSamples, away: Array) -> Array | None:
    """(3,) outward unit normal of the flat face that the bone ends with towards `away`; None where it has none."""
    candidates = np.flatnonzero(bone.normals @ away > _CUT_FACE_COSINE)
    if not len(candidates):
        return None
    normals, areas = bone.normals[candidates], bone.areas[candidates]
    tried = normals[np.linspace(0, len(normals) - 1, min(len(normals), _FACES_TRIED)).astype(int)]
    alike_area = ((tried @ normals.T) > _FLAT_COSINE) @ areas
    # The largest first. Along an oblique direction a broad flare has more bone that faces one way than the face of a cut has.
    while alike_area.max() > 0.0:
        seed = tried[np.argmax(alike_area)]
        alike = normals @ seed > _FLAT_COSINE
        normal = unit((areas[alike, None] * normals[alike]).sum(axis=0))
        height, facing = bone.centres @ normal, bone.normals @ normal
        last = height > height.max() - _FLAT_DEPTH_MM
        # By the divergence theorem the faces beyond a plane have the vector area of the cross-section in it.
        flat = float(bone.areas[last & (facing > _FLAT_COSINE)].sum())
        if flat >= _FLAT_SHARE * float((bone.areas * facing)[last].sum()):
            return normal
        alike_area[tried @ seed > _FLAT_COSINE] = 0.0
    return None


def shaft_axis(bone: BoneSamples, away: Array, width: float) -> ShaftAxis | None:
    """The axis of the stretch of shaft next to the knee, or None where the bone ends less than 0.87 widths from its joint surface.

    The stretch is 0.9 to 1.45 widths from the joint surface; a shorter bone has a shorter one, of at least 0.3 widths: where that is
    less than 1.2 widths away it lies in the flare, and the axis is the less certain (short_shaft_errors measures how much).

    Parameters
    ----------
    bone: femur or tibia.
    away: (3,) rough unit vector from the knee along the shaft; the axis is found by iteration from it.
    width: of the bone at the knee, mm.
    """
    surface = _part(
        bone.surface, away, (LEAST_REACH - SHORTEST - _TILT_MARGIN) * width, (FARTHEST + _TILT_MARGIN) * width
    )
    axis: ShaftAxis | None = None
    for _ in range(_ITERATIONS):
        last = min(FARTHEST * width, whole_length(bone, away))
        if last < LEAST_REACH * width:
            return None
        first = min(NEAREST * width, last - SHORTEST * width)
        start = float((bone.surface.vertices @ away).min())
        centres = [
            centre
            for height in np.linspace(first, last, _SECTIONS)
            if (centre := section_centre(surface, Plane((start + height) * away, away))) is not None
        ]
        if len(centres) < 3:
            return None
        middle = np.mean(centres, axis=0)
        direction = np.linalg.svd(np.array(centres) - middle, full_matrices=False)[2][0]
        direction = direction * np.sign(direction @ away)
        along = (np.array(centres) - middle) @ direction
        axis = ShaftAxis(middle + along.min() * direction, middle + along.max() * direction, last)
        if direction @ away > 1.0 - _SETTLED:
            break
        away = direction
    return axis


def _part(surface: Surface, away: Array, low: float, high: float) -> Surface:
    """The triangles that reach into `low` to `high` mm along `away` from a surface's first point."""
    height = surface.vertices @ away
    height = height - height.min()
    faces = surface.faces
    chosen = (height > low)[faces].any(axis=1) & (height < high)[faces].any(axis=1)
    used, faces = np.unique(faces[chosen], return_inverse=True)
    return Surface(surface.vertices[used], faces.reshape(-1, 3))


def settled_axis(
    bone: BoneSamples, away: Array, width: float, near: Array | None, far: Array | None
) -> tuple[ShaftAxis | None, ShaftAxis | None]:
    """The axis as computed, and the one that counts: with `near` and `far` (3,) in place of its ends where a person gave them."""
    computed = shaft_axis(bone, away, width)
    if computed is not None:
        near = computed.near if near is None else near
        far = computed.far if far is None else far
    return computed, None if near is None or far is None else ShaftAxis(near, far)
