"""One X-ray view: a point source and a flat detector, in LPS millimetres."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.errors import InputError

Array = NDArray[np.float64]
Triple = tuple[float, float, float]

_DIRECTION_TOLERANCE = 1e-3
_MAXIMUM_PIXELS = 20_000


def _triple(value: ArrayLike, what: str, name: str) -> Triple:
    array = np.asarray(value, dtype=np.float64)
    if array.shape != (3,) or not np.isfinite(array).all():
        raise InputError(f"View '{name}': {what} must be three finite numbers [x, y, z] in mm: correct the rig.")
    return float(array[0]), float(array[1]), float(array[2])


@dataclass(frozen=True)
class View:
    """A calibrated cone-beam view: a 3x4 projection with units.

    Attributes
    ----------
    name: "ap", "lateral", or any other word; unique in a rig.
    source: X-ray focal spot (x, y, z), LPS mm.
    detector_origin: centre of pixel [0, 0], LPS mm.
    column_direction: unit vector along which the column index grows.
    row_direction: unit vector along which the row index grows, perpendicular to `column_direction`.
    pixel_spacing: mm on the detector (between rows, between columns).
    rows, columns: size of the image.

    Raises InputError for numbers that describe no usable view.
    """

    name: str
    source: Triple
    detector_origin: Triple
    column_direction: Triple
    row_direction: Triple
    pixel_spacing: tuple[float, float]
    rows: int
    columns: int

    def __post_init__(self) -> None:
        name = self.name
        if not isinstance(name, str) or not name or len(name) > 64:
            raise InputError("A view needs a name of 1 to 64 characters: correct the rig.")
        for field in ("source", "detector_origin", "column_direction", "row_direction"):
            object.__setattr__(self, field, _triple(getattr(self, field), field, name))
        spacing = np.asarray(self.pixel_spacing, dtype=np.float64)
        if spacing.shape != (2,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
            raise InputError(f"View '{name}': pixel_spacing must be two positive numbers in mm: correct the rig.")
        object.__setattr__(self, "pixel_spacing", (float(spacing[0]), float(spacing[1])))
        for field in ("rows", "columns"):
            count = getattr(self, field)
            if isinstance(count, bool) or int(count) != count or not 1 <= count <= _MAXIMUM_PIXELS:
                raise InputError(
                    f"View '{name}': {field} must be a whole number from 1 to {_MAXIMUM_PIXELS}: correct the rig."
                )
            object.__setattr__(self, field, int(count))
        column, row = np.array(self.column_direction), np.array(self.row_direction)
        lengths = np.linalg.norm(column), np.linalg.norm(row)
        if max(abs(length - 1) for length in lengths) > _DIRECTION_TOLERANCE:
            raise InputError(
                f"View '{name}': column_direction and row_direction must be unit vectors: correct the rig."
            )
        column, row = column / lengths[0], row / lengths[1]
        if abs(column @ row) > _DIRECTION_TOLERANCE:
            raise InputError(
                f"View '{name}': column_direction and row_direction must be perpendicular: correct the rig."
            )
        object.__setattr__(self, "column_direction", tuple(float(v) for v in column))
        object.__setattr__(self, "row_direction", tuple(float(v) for v in row))
        if self.source_to_detector < 1.0:
            raise InputError(f"View '{name}': the source lies on the detector: correct the rig.")

    @property
    def normal(self) -> Array:
        """(3,) unit normal of the detector, pointing from the source towards it."""
        normal = np.cross(self.column_direction, self.row_direction)
        normal /= np.linalg.norm(normal)
        towards = np.array(self.detector_origin) - np.array(self.source)
        return -normal if normal @ towards < 0 else normal

    @property
    def source_to_detector(self) -> float:
        """Distance in mm from the source to the detector plane, along its normal."""
        return float(self.normal @ (np.array(self.detector_origin) - np.array(self.source)))

    @property
    def projection_matrix(self) -> Array:
        """(3, 4) matrix: (x, y, z, 1) in mm -> (row * w, column * w, w); w is the depth in mm along the detector normal."""
        source = np.array(self.source)
        normal = self.normal
        distance = self.source_to_detector
        to_origin = np.array(self.detector_origin) - source
        lines = []
        for direction, spacing in (
            (self.row_direction, self.pixel_spacing[0]),
            (self.column_direction, self.pixel_spacing[1]),
        ):
            # Point X meets the detector at source + (X - source) * distance / w; its offset from the first pixel, along the axis:
            axis = np.array(direction)
            lines.append((distance * axis - (to_origin @ axis) * normal) / spacing)
        lines.append(normal)
        rotation = np.stack(lines)
        return np.concatenate([rotation, -(rotation @ source)[:, None]], axis=1)

    def project(self, points: ArrayLike) -> tuple[Array, Array]:
        """Where points fall on the image.

        Parameters
        ----------
        points: (..., 3) in mm, LPS.

        Returns
        -------
        pixels: (..., 2) as [row, column], whole numbers at pixel centres; NaN for points at or behind the source.
        depth: (...,) mm from the source along the detector normal.
        """
        points = np.asarray(points, dtype=np.float64)
        matrix = self.projection_matrix
        homogeneous = points @ matrix[:, :3].T + matrix[:, 3]
        depth = homogeneous[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = homogeneous[..., :2] / np.where(depth > 0, depth, np.nan)[..., None]
        return pixels, depth

    def pixel_position(self, rows: ArrayLike, columns: ArrayLike) -> Array:
        """(..., 3) positions in mm of the (possibly fractional) pixels at `rows`, `columns` (...,)."""
        rows, columns = np.asarray(rows, dtype=np.float64), np.asarray(columns, dtype=np.float64)
        down = rows[..., None] * (self.pixel_spacing[0] * np.array(self.row_direction))
        across = columns[..., None] * (self.pixel_spacing[1] * np.array(self.column_direction))
        return np.asarray(np.array(self.detector_origin) + down + across)

    def magnification(self, point: ArrayLike) -> float:
        """Size on the detector over size at `point` (3,), for a small object parallel to the detector."""
        depth = float(self.normal @ (np.asarray(point, dtype=np.float64) - np.array(self.source)))
        if depth <= 0:
            raise InputError(
                f"View '{self.name}': the point {np.asarray(point).tolist()} lies behind the source: correct the rig."
            )
        return self.source_to_detector / depth

    def cropped(self, first_row: int, first_column: int, rows: int, columns: int) -> View:
        """The view of a part of the image that starts at pixel [first_row, first_column]."""
        x, y, z = self.pixel_position(first_row, first_column)
        return replace(self, detector_origin=(float(x), float(y), float(z)), rows=rows, columns=columns)

    def resampled(self, rows: int, columns: int) -> View:
        """The same detector area covered by another number of pixels."""
        spacing = (self.pixel_spacing[0] * self.rows / rows, self.pixel_spacing[1] * self.columns / columns)
        first_row = (spacing[0] / self.pixel_spacing[0] - 1) / 2
        first_column = (spacing[1] / self.pixel_spacing[1] - 1) / 2
        x, y, z = self.pixel_position(first_row, first_column)
        return replace(
            self, detector_origin=(float(x), float(y), float(z)), pixel_spacing=spacing, rows=rows, columns=columns
        )

    def with_larger_pixels(self, factor: float) -> View:
        """The view of an image whose pixels are taken for `factor` times as large, about the image's middle."""
        middle = self.pixel_position((self.rows - 1) / 2, (self.columns - 1) / 2)
        x, y, z = middle + factor * (np.array(self.detector_origin) - middle)
        spacing = (self.pixel_spacing[0] * factor, self.pixel_spacing[1] * factor)
        return replace(self, detector_origin=(float(x), float(y), float(z)), pixel_spacing=spacing)

    def transformed(self, matrix: ArrayLike) -> View:
        """The view moved by a rigid 4x4 matrix, or mirrored by one of determinant -1; the image array stays as it is."""
        transform = np.asarray(matrix, dtype=np.float64)
        turn, shift = transform[:3, :3], transform[:3, 3]

        def point(value: Triple) -> Triple:
            return _triple(turn @ np.array(value) + shift, "point", self.name)

        def direction(value: Triple) -> Triple:
            return _triple(turn @ np.array(value), "direction", self.name)

        return replace(
            self,
            source=point(self.source),
            detector_origin=point(self.detector_origin),
            column_direction=direction(self.column_direction),
            row_direction=direction(self.row_direction),
        )
