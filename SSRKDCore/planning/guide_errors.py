"""What a wrong seat does to the operation: the cut plane, the hinge and the correction.

The correction is a rotation of the distal fragment about the hinge axis. Of an angle t about an axis with unit direction a, the part in
the frontal plane (LPS y axis) is t |a . y|, that in the sagittal plane (slope, x axis) t |a . x|, for the small angles of an osteotomy.
The surgeon opens the wedge to a planned height h at the far cortex, so a hinge that moved from depth d to d' opens by
2 asin(h / (2 d')) with h = 2 d sin(t / 2). With knee and ankle centres, the change of the tibia's mechanical axis in the frontal plane
is computed by turning the ankle centre itself about either hinge: that is the change of MPTA and, the hip standing still, of HKA. Without
them the frontal part of the rotation stands for it (it is a little larger, since the hinge lies below the joint).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.exact_distances import DistanceToSurface
from SSRKDCore.planning.plane import Plane
from SSRKDCore.population.rigid_transforms import rotation_about
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

CUT_TOLERANCE_MM = 1.0
_SECTION_SPACING_MM = 1.0


@dataclass(frozen=True)
class PlaneError:
    """A seated cut plane against the planned one, inside the bone's cross-section in the planned plane.

    Attributes
    ----------
    angle_degrees: between the planes.
    frontal_degrees: seen along y (LPS); positive where the seated plane's left (+x) side is too high.
    sagittal_degrees: seen along x; positive where its posterior (+y) side is too high.
    largest_mm, mean_mm: distance along the planned normal over the cross-section.
    within_1_mm_percent: share of the cross-section's area where it is at most 1 mm.
    """

    angle_degrees: float
    frontal_degrees: float
    sagittal_degrees: float
    largest_mm: float
    mean_mm: float
    within_1_mm_percent: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class HingeError:
    """A seated guide's cut against the planned hinge axis.

    Attributes
    ----------
    end_distances_mm: from the planned hinge's two ends, where it leaves the bone, to the seated cut plane, signed along its normal.
    angle_degrees: between the planned hinge axis and the seated plane.
    shift_mm: how far the hinge's middle moved with the guide, across the axis.
    """

    end_distances_mm: tuple[float, float]
    angle_degrees: float
    shift_mm: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class CorrectionError:
    """The correction reached, about the hinge that moved with the guide, less the planned one; degrees.

    Attributes
    ----------
    opening_degrees: planned angle about the hinge; opening_reached_degrees: for the same height at the far cortex (an opening wedge).
    frontal_degrees, sagittal_degrees: error of the rotation's size in the frontal plane (MPTA, HKA) and in the sagittal plane (slope).
    mechanical_axis_degrees: error of the change of the tibia's mechanical axis in the frontal plane, None without its ends.
    """

    opening_degrees: float
    opening_reached_degrees: float
    frontal_degrees: float
    sagittal_degrees: float
    mechanical_axis_degrees: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def moved_plane(plane: Plane, motion: Array) -> Plane:
    """A plane after a rigid motion (4, 4)."""
    return Plane(motion[:3, :3] @ plane.point + motion[:3, 3], motion[:3, :3] @ plane.normal)


class CutSection:
    """The cross-section of a bone in a plane: points of its outline (N, 3) and of its area (M, 3), a mm apart."""

    def __init__(self, bone: Surface, plane: Plane) -> None:
        """Raises InputError when the plane does not cut the bone."""
        self.plane = plane
        self.outline = _outline(bone, plane)
        if not len(self.outline):
            raise InputError(
                "The planned cut does not meet the reference bone: check that guide and bone are in one frame."
            )
        across = np.linalg.svd(plane.normal[None])[2][1:]
        flat = (self.outline - plane.point) @ across.T
        axes = [
            np.arange(flat[:, k].min(), flat[:, k].max() + _SECTION_SPACING_MM, _SECTION_SPACING_MM) for k in (0, 1)
        ]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        points = plane.point + grid @ across
        self.area = points[DistanceToSurface(bone).signed(points) < 0]

    def error_of(self, seated: Plane) -> PlaneError:
        """The error of a seated plane."""
        planned = self.plane
        normal = seated.normal if seated.normal @ planned.normal > 0 else -seated.normal
        across = float(normal @ planned.normal)
        outline, area = (((seated.point - points) @ normal) / max(across, 1e-6) for points in (self.outline, self.area))
        return PlaneError(
            float(np.rad2deg(np.arctan2(np.linalg.norm(np.cross(normal, planned.normal)), across))),
            _slope(normal, 0) - _slope(planned.normal, 0),
            _slope(normal, 1) - _slope(planned.normal, 1),
            float(np.abs(outline).max()),
            float(np.abs(area).mean()),
            100.0 * float((np.abs(area) <= CUT_TOLERANCE_MM).mean()),
        )


def _slope(normal: Array, axis: int) -> float:
    """Rise of a plane along x or y, degrees."""
    return float(
        np.rad2deg(np.arctan2(-normal[axis], normal[2]) if normal[2] >= 0 else np.arctan2(normal[axis], -normal[2]))
    )


def _outline(bone: Surface, plane: Plane) -> Array:
    """(N, 3) points where the edges of a bone cross a plane."""
    height = plane.distances(bone.vertices)
    edges = np.concatenate([bone.faces[:, [0, 1]], bone.faces[:, [1, 2]], bone.faces[:, [2, 0]]])
    start, end = height[edges[:, 0]], height[edges[:, 1]]
    crossing = (start >= 0) != (end >= 0)
    share = start[crossing] / (start[crossing] - end[crossing])
    first, second = bone.vertices[edges[crossing, 0]], bone.vertices[edges[crossing, 1]]
    return first + share[:, None] * (second - first)


def hinge_error(hinge: tuple[Array, Array], bone: Surface, seated: Plane, motion: Array) -> HingeError:
    """The error at a planned hinge (point (3,), direction (3,)) of a guide that was moved by `motion` (4, 4) from its designed pose."""
    point, direction = np.asarray(hinge[0]), np.asarray(hinge[1]) / np.linalg.norm(hinge[1])
    ends = _ends_in_bone(point, direction, bone)
    middle = ends.mean(axis=0)
    shift = motion[:3, :3] @ middle + motion[:3, 3] - middle
    distances = seated.distances(ends)
    return HingeError(
        (float(distances[0]), float(distances[1])),
        float(np.rad2deg(np.arcsin(np.clip(abs(direction @ seated.normal), 0, 1)))),
        float(np.linalg.norm(shift - (shift @ direction) * direction)),
    )


def _ends_in_bone(point: Array, direction: Array, bone: Surface) -> Array:
    """(2, 3) first and last point of a line inside a bone, front end (low y) first; the point itself twice where it misses the bone."""
    along = np.arange(-150.0, 150.0, 0.5)
    line = point + along[:, None] * direction
    low, high = bone.bounds
    near = np.flatnonzero(((line > low) & (line < high)).all(axis=1))
    inside = near[DistanceToSurface(bone).signed(line[near]) < 0] if len(near) else near
    if not len(inside):
        return np.stack([point, point])
    ends = line[[inside[0], inside[-1]]]
    return ends[np.argsort(ends[:, 1], kind="stable")]


def correction_error(
    hinge: tuple[Array, Array],
    section: CutSection,
    motion: Array,
    opening_degrees: float,
    knee_and_ankle: tuple[Array, Array] | None = None,
    closing: bool = False,
) -> CorrectionError:
    """The error of the correction.

    Parameters
    ----------
    hinge: planned (point (3,), direction (3,)); the seated guide takes it along by `motion` (4, 4).
    section: of the bone in the planned plane; its far cortex is the outline's farthest point from the hinge.
    opening_degrees: planned opening about the hinge.
    knee_and_ankle: ends of the tibia's mechanical axis (3,), mm, or None.
    closing: a wedge taken out between two guided cuts: its angle is the planned one, and the fragment turns the other way.
    """
    point, direction = np.asarray(hinge[0]), np.asarray(hinge[1]) / np.linalg.norm(hinge[1])
    seated_point, seated = motion[:3, :3] @ point + motion[:3, 3], motion[:3, :3] @ direction
    depths = _distances_from_line(section.outline, point, direction)
    entry = section.outline[int(np.argmax(depths))]
    depth, reached_depth = float(depths.max()), float(_distances_from_line(entry[None], seated_point, seated)[0])
    angle = np.deg2rad(opening_degrees)
    reached = opening_degrees
    if not closing:
        reached = float(np.rad2deg(2 * np.arcsin(np.clip(depth * np.sin(angle / 2) / max(reached_depth, 1e-6), -1, 1))))
    axis = None
    if knee_and_ankle is not None:
        # The distal fragment's far side moves away from the entry's proximal lip, down along the planned normal.
        sign = -np.sign(np.cross(direction, entry - point) @ section.plane.normal) * (-1.0 if closing else 1.0)
        planned = _axis_change(*knee_and_ankle, rotation_about(sign * direction, opening_degrees, point))
        axis = _axis_change(*knee_and_ankle, rotation_about(sign * seated, reached, seated_point)) - planned
    return CorrectionError(
        opening_degrees,
        reached,
        reached * abs(float(seated[1])) - opening_degrees * abs(float(direction[1])),
        reached * abs(float(seated[0])) - opening_degrees * abs(float(direction[0])),
        axis,
    )


def _distances_from_line(points: Array, origin: Array, direction: Array) -> Array:
    return np.linalg.norm(np.cross(points - origin, direction), axis=1)


def _axis_change(knee: Array, ankle: Array, motion: Array) -> float:
    """Size of the turn of the line from knee to ankle in the frontal plane, degrees, when the ankle is moved."""
    moved = motion[:3, :3] @ ankle + motion[:3, 3]
    before, after = (np.arctan2(end[0] - knee[0], knee[2] - end[2]) for end in (ankle, moved))
    return float(abs(np.rad2deg(after - before)))
