"""How TIGRE describes a cone-beam view, and our views in its terms. Plain numpy: TIGRE itself is not needed.

TIGRE's conventions (its geometry documentation and forward projector): a right-handed world about an origin O; the
source at E (DSO, 0, 0), where E = Rz(alpha) Ry(theta) Rz(psi) is the pose of the gantry; the detector perpendicular
to the gantry's x axis at DSO - DSD, pixel (v, u) at y = (u + 0.5 - nU/2) dU + offU and z = (v + 0.5 - nV/2) dV +
offV, after a rotation Rz(roll) Ry(pitch) Rx(yaw) of the detector about its own centre; the volume axis-aligned with
its centre at offOrigin. Its arrays are ordered [z, y, x] and [v, u], its detector rotation (yaw, pitch, roll).

A view whose rows and columns are perpendicular fits without any detector rotation: the gantry frame takes over the
detector's axes, and detector and volume offsets take up the rest. When that frame would be left-handed, columns are
projected in reverse order and turned round afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from SSRKDCore.geometry.view import View
    from SSRKDCore.grid import Grid

Array = NDArray[np.float64]

_SKEW_TOLERANCE_PIXELS = 0.05


@dataclass(frozen=True)
class TigreGeometry:
    """One projection in TIGRE's terms, lengths in mm, angles in radians.

    Attributes
    ----------
    DSO, DSD: distances from the source to the origin, and to the detector.
    angles: (alpha, theta, psi), Euler angles ZYZ of the gantry.
    volume_shape, volume_spacing, volume_offset: voxels, their size and offOrigin, each [z, y, x].
    detector_shape, detector_spacing, detector_offset: pixels, their pitch and offDetector, each [v, u].
    detector_rotation: rotDetector (yaw, pitch, roll).
    reverse_columns: the projection's columns run against the view's.
    """

    DSO: float
    DSD: float
    angles: tuple[float, float, float]
    volume_shape: tuple[int, int, int]
    volume_spacing: tuple[float, float, float]
    volume_offset: tuple[float, float, float]
    detector_shape: tuple[int, int]
    detector_spacing: tuple[float, float]
    detector_offset: tuple[float, float]
    detector_rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    reverse_columns: bool = False


class NotExpressible(ValueError):
    """TIGRE cannot compute this view of this volume; the message is the reason, a clause."""


def _rotation_about(axis: int, angle: float) -> Array:
    """Right-handed (3, 3) rotation about coordinate axis 0, 1 or 2."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[first, first] = rotation[second, second] = np.cos(angle)
    rotation[first, second], rotation[second, first] = -np.sin(angle), np.sin(angle)
    return rotation


def gantry_rotation(angles: tuple[float, float, float]) -> Array:
    """(3, 3) rotation Rz(alpha) Ry(theta) Rz(psi)."""
    alpha, theta, psi = angles
    return _rotation_about(2, alpha) @ _rotation_about(1, theta) @ _rotation_about(2, psi)


def gantry_angles(rotation: Array) -> tuple[float, float, float]:
    """(alpha, theta, psi) with `gantry_rotation(angles)` equal to a (3, 3) rotation; psi is 0 where only the sum
    counts."""
    theta = float(np.arctan2(np.hypot(rotation[0, 2], rotation[1, 2]), rotation[2, 2]))
    if np.sin(theta) < 1e-9:
        theta = 0.0 if rotation[2, 2] > 0 else np.pi
        alpha = (
            np.arctan2(rotation[1, 0], rotation[0, 0]) if theta == 0.0 else np.arctan2(-rotation[1, 0], -rotation[0, 0])
        )
        return float(alpha), float(theta), 0.0
    return float(np.arctan2(rotation[1, 2], rotation[0, 2])), theta, float(np.arctan2(rotation[2, 1], -rotation[2, 0]))


def source_and_pixels(geometry: TigreGeometry) -> tuple[Array, Array]:
    """Where TIGRE puts the source (3,) and the pixel centres (v, u, 3), in mm as x, y, z from the centre of the
    volume."""
    gantry = gantry_rotation(geometry.angles)
    yaw, pitch, roll = geometry.detector_rotation
    own = _rotation_about(2, roll) @ _rotation_about(1, pitch) @ _rotation_about(0, yaw)
    v, u = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in geometry.detector_shape), indexing="ij")
    flat = np.stack(
        [
            np.zeros_like(u),
            (u + 0.5 - geometry.detector_shape[1] / 2) * geometry.detector_spacing[1],
            (v + 0.5 - geometry.detector_shape[0] / 2) * geometry.detector_spacing[0],
        ],
        axis=-1,
    )
    place = np.array([geometry.DSO - geometry.DSD, geometry.detector_offset[1], geometry.detector_offset[0]])
    volume = np.array(geometry.volume_offset[::-1])
    return gantry @ np.array([geometry.DSO, 0.0, 0.0]) - volume, (flat @ own.T + place) @ gantry.T - volume


def tigre_geometry(view: View, grid: Grid) -> TigreGeometry:
    """A view of a volume in TIGRE's terms.

    Raises NotExpressible when rows and columns of the view are not perpendicular, or when the source or the detector
    reaches into the
    volume: TIGRE sums along the whole line through source and pixel, not only between them.
    """
    row, column = np.array(view.row_direction), np.array(view.column_direction)
    skew = abs(float(row @ column)) * max(view.rows * view.pixel_spacing[0], view.columns * view.pixel_spacing[1]) / 2
    if skew > _SKEW_TOLERANCE_PIXELS * min(view.pixel_spacing):
        raise NotExpressible(f"the rows and columns of view '{view.name}' are not perpendicular")
    normal = view.normal
    corners = np.array(np.meshgrid(*grid.bounds.T, indexing="ij")).reshape(3, -1).T
    depths = (corners - np.array(view.source)) @ normal
    if depths.min() <= 0 or depths.max() >= view.source_to_detector:
        raise NotExpressible(f"the source or the detector of view '{view.name}' reaches into the volume")

    # The gantry's axes: x from the detector to the source, y along the columns, z along the rows, right-handed.
    across = column - (column @ row) * row
    across /= np.linalg.norm(across)
    reverse = float(np.cross(across, row) @ normal) > 0
    across = -across if reverse else across
    gantry = np.stack([np.cross(across, row), across, row], axis=1)
    # TIGRE's origin is ours to choose: on the axis through the source, beside the centre of the volume.
    volume_center = grid.bounds.mean(axis=0)
    source_to_origin = float((volume_center - np.array(view.source)) @ normal)
    origin = np.array(view.source) + source_to_origin * normal
    offset = volume_center - origin
    detector_center = view.pixel_position((view.rows - 1) / 2, (view.columns - 1) / 2) - origin
    nz, ny, nx = grid.shape
    return TigreGeometry(
        DSO=source_to_origin,
        DSD=view.source_to_detector,
        angles=gantry_angles(gantry),
        volume_shape=(nz, ny, nx),
        volume_spacing=(grid.spacing[2], grid.spacing[1], grid.spacing[0]),
        volume_offset=(float(offset[2]), float(offset[1]), float(offset[0])),
        detector_shape=(view.rows, view.columns),
        detector_spacing=view.pixel_spacing,
        detector_offset=(float(detector_center @ row), float(detector_center @ across)),
        reverse_columns=reverse,
    )
