"""Exact line integrals through a voxel volume on the CPU: Siddon's algorithm, one ray a pixel.

R. L. Siddon, "Fast calculation of the exact radiological path for a three-dimensional CT array", Medical Physics
12(2), 1985, in the incremental form of F. Jacobs et al., "A fast algorithm to calculate the exact radiological path
through a pixel or voxel space", CIT 6(1), 1998. The position of every plane is computed from its index, not by adding
up steps, so that no error builds up along a ray.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numba
import numpy as np

from SSRKDCore.errors import Cancelled, InputError

if TYPE_CHECKING:
    from SSRKDCore.geometry.view import View
    from SSRKDCore.grid import Grid

ROWS_PER_BLOCK = 64
"""Rows traced between two looks at `cancelled`."""

# numba's work-queue threads may not be entered by two Python threads at once.
_KERNEL_LOCK = threading.Lock()


@numba.njit(cache=True, inline="always")
def _first_index(position: float, count: int) -> int:
    """The voxel along one axis that holds a position given in voxel units, kept inside the volume against rounding."""
    return min(max(math.floor(position), 0), count - 1)


@numba.njit(cache=True)
def _trace(volume, corner, spacing, source, target):  # type: ignore[no-untyped-def]
    """The sum of value x length over the voxels between `source` and `target` (x, y, z in mm), in float64.

    `corner` is the outer corner of voxel [0, 0, 0]. A voxel owns its lower faces, so that a ray that runs exactly in
    the plane between two voxels is counted once.
    """
    count_z, count_y, count_x = volume.shape
    # In voxel units, where the planes of each axis are the integers 0..count.
    start_x = (source[0] - corner[0]) / spacing[0]
    start_y = (source[1] - corner[1]) / spacing[1]
    start_z = (source[2] - corner[2]) / spacing[2]
    step_x = (target[0] - source[0]) / spacing[0]
    step_y = (target[1] - source[1]) / spacing[1]
    step_z = (target[2] - source[2]) / spacing[2]
    length = math.sqrt((target[0] - source[0]) ** 2 + (target[1] - source[1]) ** 2 + (target[2] - source[2]) ** 2)
    # A component this small moves the ray by less than a millionth of a voxel over its whole length: parallel to the
    # planes.
    parallel = 1e-9

    enter = 0.0
    leave = 1.0
    if abs(step_x) < parallel:
        if start_x < 0.0 or start_x >= count_x:
            return 0.0
    else:
        first = -start_x / step_x
        last = (count_x - start_x) / step_x
        enter = max(enter, min(first, last))
        leave = min(leave, max(first, last))
    if abs(step_y) < parallel:
        if start_y < 0.0 or start_y >= count_y:
            return 0.0
    else:
        first = -start_y / step_y
        last = (count_y - start_y) / step_y
        enter = max(enter, min(first, last))
        leave = min(leave, max(first, last))
    if abs(step_z) < parallel:
        if start_z < 0.0 or start_z >= count_z:
            return 0.0
    else:
        first = -start_z / step_z
        last = (count_z - start_z) / step_z
        enter = max(enter, min(first, last))
        leave = min(leave, max(first, last))
    if enter >= leave:
        return 0.0

    x = _first_index(start_x + enter * step_x, count_x)
    y = _first_index(start_y + enter * step_y, count_y)
    z = _first_index(start_z + enter * step_z, count_z)

    # For each axis: where along the ray the next plane lies, as plane index x `scale` + `base`.
    move_x, base_x, scale_x, next_x = 0, 0.0, 0.0, math.inf
    if abs(step_x) >= parallel:
        scale_x = 1.0 / step_x
        base_x = -start_x * scale_x
        move_x = 1 if step_x > 0.0 else -1
        if step_x > 0.0:
            base_x += scale_x
        next_x = x * scale_x + base_x
    move_y, base_y, scale_y, next_y = 0, 0.0, 0.0, math.inf
    if abs(step_y) >= parallel:
        scale_y = 1.0 / step_y
        base_y = -start_y * scale_y
        move_y = 1 if step_y > 0.0 else -1
        if step_y > 0.0:
            base_y += scale_y
        next_y = y * scale_y + base_y
    move_z, base_z, scale_z, next_z = 0, 0.0, 0.0, math.inf
    if abs(step_z) >= parallel:
        scale_z = 1.0 / step_z
        base_z = -start_z * scale_z
        move_z = 1 if step_z > 0.0 else -1
        if step_z > 0.0:
            base_z += scale_z
        next_z = z * scale_z + base_z

    total = 0.0
    here = enter
    while here < leave:
        value = volume[z, y, x]
        if next_x <= next_y and next_x <= next_z:
            there = next_x
            x += move_x
            next_x = x * scale_x + base_x
        elif next_y <= next_z:
            there = next_y
            y += move_y
            next_y = y * scale_y + base_y
        else:
            there = next_z
            z += move_z
            next_z = z * scale_z + base_z
        # Rounding at the entry can put the first plane a hair behind the ray: that voxel has no length.
        if there > here:
            total += value * (min(there, leave) - here)
            here = there
        if x < 0 or y < 0 or z < 0 or x >= count_x or y >= count_y or z >= count_z:
            break
    return total * length


@numba.njit(parallel=True, cache=True)
def _trace_rows(  # type: ignore[no-untyped-def]
    volume, corner, spacing, source, detector_origin, per_row, per_column, first_row, image
):
    """Fill `image` with the line integrals of the rows that start at `first_row`."""
    rows, columns = image.shape
    for row in numba.prange(rows):
        target = np.empty(3)
        for column in range(columns):
            for axis in range(3):
                target[axis] = detector_origin[axis] + (first_row + row) * per_row[axis] + column * per_column[axis]
            image[row, column] = _trace(volume, corner, spacing, source, target)


def checked_volume(volume: np.ndarray, grid: Grid) -> np.ndarray:
    """The volume as contiguous float32 [z, y, x], refused with an InputError where it does not fit the grid or is not
    finite."""
    if volume.ndim != 3 or tuple(volume.shape) != tuple(grid.shape):
        raise InputError(
            f"The volume has shape {tuple(volume.shape)} but its grid says {tuple(grid.shape)} ([z, y, x]): give the grid of this volume."
        )
    if volume.size == 0:
        raise InputError("The volume has no voxels: there is nothing to project.")
    volume = np.ascontiguousarray(volume, dtype=np.float32)
    # min and max pass NaN on, and need no temporary array of the volume's size.
    if not (np.isfinite(volume.min()) and np.isfinite(volume.max())):
        raise InputError(
            "The volume holds NaN or infinite values: replace them (for example by air) before projecting it."
        )
    return volume


def line_integrals(
    volume: np.ndarray,
    grid: Grid,
    view: View,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> np.ndarray:
    """The line integral of the volume along the ray from the view's source to each pixel centre.

    volume: [z, y, x], any quantity per millimetre (linear attenuation in 1/mm gives -log(I/I0)); constant within a
        voxel and zero
    outside the grid. grid: where its voxels are, LPS mm. view: any cone-beam view; source or detector may lie inside
    the volume. Returns float32 [rows, columns]; each ray is summed in float64.

    Raises InputError for a volume that does not fit its grid or holds NaN, Cancelled when `cancelled()` says so.
    """
    volume = checked_volume(volume, grid)
    spacing = np.asarray(grid.spacing, dtype=np.float64)
    corner = np.asarray(grid.origin, dtype=np.float64) - spacing / 2.0
    source = np.asarray(view.source, dtype=np.float64)
    detector_origin = np.asarray(view.detector_origin, dtype=np.float64)
    # The row index grows along the row direction, the column index along the column direction.
    per_row = np.asarray(view.row_direction, dtype=np.float64) * view.pixel_spacing[0]
    per_column = np.asarray(view.column_direction, dtype=np.float64) * view.pixel_spacing[1]
    image = np.zeros((view.rows, view.columns), dtype=np.float32)
    for first_row in range(0, view.rows, ROWS_PER_BLOCK):
        if cancelled is not None and cancelled():
            raise Cancelled("The projection was cancelled.")
        block = image[first_row : first_row + ROWS_PER_BLOCK]
        with _KERNEL_LOCK:
            _trace_rows(volume, corner, spacing, source, detector_origin, per_row, per_column, first_row, block)
        if progress is not None:
            progress(min(1.0, (first_row + ROWS_PER_BLOCK) / view.rows), f"Tracing rays of view {view.name}")
    return image
