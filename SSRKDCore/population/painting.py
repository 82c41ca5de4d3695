"""Drawing tubes and balls into a volume in HU, with edges blurred as the scanner blurs them."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.grid import Grid
from SSRKDCore.population.bone_density import normal_step


@numba.njit(cache=True, error_model="numpy")
def _paint_tube(volume, origin, spacing, start, end, width_along, half_width, half_thickness, value, blur):  # type: ignore[no-untyped-def]
    """See `paint_tube`; the ellipse's distance is scaled to first order."""
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    flat = half_width != half_thickness
    largest = max(half_width, half_thickness) + 3.0 * blur
    for axis in range(3):
        first, last = min(start[axis], end[axis]) - largest, max(start[axis], end[axis]) + largest
        low[axis] = max(0, math.ceil((first - origin[axis]) / spacing[axis]))
        high[axis] = min(volume.shape[2 - axis] - 1, math.floor((last - origin[axis]) / spacing[axis]))
    axis_vector = end - start
    length = math.sqrt(np.dot(axis_vector, axis_vector))
    unit = axis_vector / max(length, 1e-9)
    point = np.empty(3)
    for z in range(low[2], high[2] + 1):
        point[2] = origin[2] + z * spacing[2]
        for y in range(low[1], high[1] + 1):
            point[1] = origin[1] + y * spacing[1]
            for x in range(low[0], high[0] + 1):
                point[0] = origin[0] + x * spacing[0]
                offset = point - start
                along = np.dot(offset, unit)
                beyond = max(-along, along - length)
                nearest = min(max(along, 0.0), length)
                rest = offset - nearest * unit
                across = np.dot(rest, width_along)
                squared = np.dot(rest, rest) - across * across
                if beyond > 0.0 and flat:
                    # A flat tube ends flat; a round one ends in half a ball.
                    squared -= beyond * beyond
                other = math.sqrt(max(squared, 0.0))
                level = math.sqrt((across / half_width) ** 2 + (other / half_thickness) ** 2)
                if level > 1e-9:
                    slope = math.sqrt((across / half_width**2) ** 2 + (other / half_thickness**2) ** 2) / level
                    distance = (level - 1.0) / slope
                else:
                    distance = -min(half_width, half_thickness)
                if flat:
                    distance = max(distance, beyond)
                if distance < 3.0 * blur:
                    volume[z, y, x] += normal_step(-distance / blur) * (value - volume[z, y, x])


def paint_tube(
    volume: NDArray[np.float32],
    grid: Grid,
    start: ArrayLike,
    end: ArrayLike,
    half_width: float,
    value: float,
    blur: float,
    half_thickness: float | None = None,
    width_along: ArrayLike = (1.0, 0.0, 0.0),
) -> None:
    """Paint a straight tube of elliptic section over `volume` [z, y, x], in place.

    start, end: (3,) mm; the same point twice gives a ball. half_width along `width_along`, half_thickness across it (round when None),
    mm. value: HU. blur: standard deviation of its edge in mm.
    """
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    direction = last - first
    length = float(np.linalg.norm(direction))
    width = np.asarray(width_along, dtype=np.float64)
    if length > 0:
        width = width - (width @ direction) / length**2 * direction
    width = width / max(float(np.linalg.norm(width)), 1e-9)
    thickness = half_width if half_thickness is None else half_thickness
    _paint_tube(
        volume, np.array(grid.origin), np.array(grid.spacing), first, last, width, float(half_width), float(thickness),
        float(value), float(blur),
    )  # fmt: skip
