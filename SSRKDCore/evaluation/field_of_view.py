"""Scoring inside a box only: the field of view, and the part of it that a reference covers.

The rule, for surfaces A and B and a box:

- Samples are taken on the parts of A and of B inside the box, cut exactly at its faces and never capped there.
- A reconstruction is closed at the field of view by flat caps, and some references are too. Those faces are no bone
surface: triangles
  that lie within a margin of a face of the box and along it are left out, as places to measure from and as places to
  measure to. Because a cap made on voxels lies up to half a voxel off the face and has a bevelled rim, samples are
  taken only at least that margin inside the box.
- Distances go to all of the other surface that is left, also where it continues outside the box: a cut there would
make errors up that
  nobody sees.

Limit: where one surface ends at the box and the other runs on obliquely, the closest point may be missing by as much
as the two are displaced along the cut. A reference that ends flat inside the field of view (a short MRI slab) must be
stated as `reference_extent`, or its flat end is scored as if it were bone surface; `flat_shaft_end` finds such ends.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

DEFAULT_MARGIN_MM = 1.0
# Faces of a box are its cut faces when they lie along it to within this angle.
_CUT_FACE_COSINE = float(np.cos(np.radians(30.0)))
# A bone's cut shaft: faces within 30 degrees of the shaft's direction make up most of the last 8 mm's cross-section.
# Measured on the references at hand: cut shafts 0.74 to 0.88, whole bones' ends 0.3.
_FLAT_END_DEPTH_MM = 8.0
_FLAT_END_SHARE = 0.6
_FLAT_SPOT_SHARE = 0.05
_SHAFT_END = {"femur": 1.0, "tibia": -1.0, "fibula": -1.0}


def everywhere() -> Array:
    """A box (2, 3) without limits."""
    return np.array([[-np.inf] * 3, [np.inf] * 3])


def scoring_box(field_of_view: Array | None, extent: tuple[float | None, float | None] | None = None) -> Array:
    """The box (2, 3) in LPS mm in which a bone is scored.

    Parameters
    ----------
    field_of_view: (2, 3) lowest and highest corner in mm, or None for no limit.
    extent: (lowest z, highest z) in mm of what the reference shows of this bone; None leaves an end open.
    """
    box = everywhere() if field_of_view is None else np.array(field_of_view, dtype=np.float64).reshape(2, 3)
    if extent is not None:
        low, high = extent
        if low is not None:
            box[0, 2] = max(box[0, 2], float(low))
        if high is not None:
            box[1, 2] = min(box[1, 2], float(high))
    return box


def inside_by(box: Array, margin: float) -> Array:
    """The box (2, 3) with every face moved inwards by `margin` mm."""
    return np.stack([box[0] + margin, box[1] - margin])


def clipped_triangles(triangles: Array, box: Array) -> Array:
    """The parts of triangles (T, 3, 3) inside a box (2, 3): triangles (S, 3, 3), winding kept, no caps."""
    for axis in range(3):
        if np.isfinite(box[0, axis]):
            triangles = _clipped_by_plane(triangles, triangles[:, :, axis] - box[0, axis])
        if np.isfinite(box[1, axis]):
            triangles = _clipped_by_plane(triangles, box[1, axis] - triangles[:, :, axis])
    return triangles


def _clipped_by_plane(triangles: Array, height: Array) -> Array:
    """The parts of triangles (T, 3, 3) where the corners' signed `height` (T, 3) is not negative."""
    above = height >= 0
    count = above.sum(axis=1)
    parts = [triangles[count == 3]]
    for inside_count in (1, 2):
        chosen = count == inside_count
        corners, heights = triangles[chosen], height[chosen]
        # Turn each triangle so that its odd corner out comes first; the other two follow in the same winding.
        odd = np.argmax(above[chosen] == (inside_count == 1), axis=1)
        turn = (odd[:, None] + np.arange(3)) % 3
        first, second, third = np.moveaxis(np.take_along_axis(corners, turn[:, :, None], axis=1), 1, 0)
        h1, h2, h3 = np.moveaxis(np.take_along_axis(heights, turn, axis=1), 1, 0)
        towards_second = first + (h1 / (h1 - h2))[:, None] * (second - first)
        towards_third = first + (h1 / (h1 - h3))[:, None] * (third - first)
        if inside_count == 1:
            parts.append(np.stack([first, towards_second, towards_third], axis=1))
        else:
            parts.append(np.stack([towards_second, second, third], axis=1))
            parts.append(np.stack([towards_second, third, towards_third], axis=1))
    return np.concatenate(parts)


def cut_faces(surface: Surface, box: Array, margin: float = DEFAULT_MARGIN_MM) -> NDArray[np.bool_]:
    """(F,) True for the triangles that only close the surface at a face of the box.

    These have all corners within `margin` mm of one face of the box (2, 3) and lie along it to within 30 degrees.
    """
    triangles = surface.triangles
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    length = np.linalg.norm(normals, axis=1)
    result = np.zeros(len(triangles), dtype=bool)
    for axis in range(3):
        along = np.abs(normals[:, axis]) >= _CUT_FACE_COSINE * length
        for position in box[:, axis]:
            if np.isfinite(position):
                result |= along & (np.abs(triangles[:, :, axis] - position) <= margin).all(axis=1)
    return result


def without_cut_faces(surface: Surface, box: Array, margin: float = DEFAULT_MARGIN_MM) -> Surface:
    """The surface without the triangles that only close it at the box; vertices stay as they are."""
    if not np.isfinite(box).any():
        return surface
    return Surface(surface.vertices, surface.faces[~cut_faces(surface, box, margin)])


def flat_shaft_end(surface: Surface, bone: str) -> float | None:
    """Where a bone's shaft was cut flat, in mm along z; None when it was not.

    A femur is looked at at its upper end, a tibia or fibula at its lower end, in a frame where z runs along the shaft;
    a cut tilted by up to 30 degrees is found, and the height given is the one to which the whole cross-section exists.
    A patella has no shaft.
    """
    direction = _SHAFT_END.get(bone)
    if direction is None or surface.is_empty:
        return None
    triangles = surface.triangles
    height = direction * triangles[:, :, 2]
    vector_area = direction * 0.5 * np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 2]
    near_end = height.mean(axis=1) >= height.max() - _FLAT_END_DEPTH_MM
    flat = near_end & (vector_area >= _CUT_FACE_COSINE * surface.triangle_areas) & (vector_area > 0)
    # By the divergence theorem the faces beyond a plane have the vector area of the cross-section in it.
    cross_section = vector_area[near_end].sum()
    if cross_section <= 0 or vector_area[flat].sum() < _FLAT_END_SHARE * cross_section:
        return None
    # Nearly all of the flat end lies beyond this height; the rest are flat spots of the shaft itself.
    middle, weight = height[flat].mean(axis=1), vector_area[flat]
    order = np.argsort(middle)
    start = np.searchsorted(np.cumsum(weight[order]), _FLAT_SPOT_SHARE * weight.sum())
    return float(direction * middle[order[start]])
