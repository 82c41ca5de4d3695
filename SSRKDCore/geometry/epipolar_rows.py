"""Two views' images resampled so that rows of the same number show the same slice of the leg.

Every plane through both X-ray sources cuts one slice out of the body, and meets each detector in a line (its epipolar line). With one line
a row, about as many millimetres apart as slices are where they meet the leg, what shows in one image at a height must show in the
other at that height, whatever the body is: a wrong scale or height of one view stretches or shifts its rows against the other's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.view import View

Array = NDArray[np.float64]

STEP_MM = 1.0
#: Where rows and columns lie about the field of view's centre, mm: more than a knee radiograph shows.
HEIGHTS_MM = np.arange(-96.0, 96.1, STEP_MM)
ACROSS_MM = np.arange(-112.0, 112.1, STEP_MM)


def epipolar_rows(
    image: NDArray[np.floating],
    view: View,
    other: View,
    center: Array,
    heights: Array = HEIGHTS_MM,
    across: Array = ACROSS_MM,
) -> NDArray[np.float32]:
    """(H, W) float32: the image along the epipolar lines of two views, NaN where it does not reach or a line cannot be told.

    Parameters
    ----------
    image: of `view`, [row, column]. view, other: the two, LPS mm, the leg along z.
    center: (3,) of the field of view. heights: (H,) mm from the centre, upwards, at which the planes cut the body's long axis through it.
    across: (W,) mm from that axis, across the beam, in the plane through the centre.
    """
    from scipy.ndimage import map_coordinates

    points = _points(view, other, center, heights, across)
    with np.errstate(invalid="ignore"):
        pixels, _ = view.project(points)
    factor = _reduction(view, center)
    values = _reduced(image, factor)
    row, column = np.moveaxis((pixels - (factor - 1) / 2) / factor, 2, 0)
    last_row, last_column = (size - 1 for size in values.shape)
    outside = ~((row >= 0) & (row <= last_row) & (column >= 0) & (column <= last_column))
    row[outside] = column[outside] = 0.0
    sampled: NDArray[np.float32] = map_coordinates(values, [row, column], output=np.float32, order=1)
    sampled[outside] = np.nan
    return sampled


def rows_of_both(
    images: Sequence[NDArray[np.floating]],
    views: Sequence[View],
    center: Array,
    heights: Array = HEIGHTS_MM,
    across: Array = ACROSS_MM,
) -> list[NDArray[np.float32]]:
    """`epipolar_rows` (H, W) of the images [row, column] of two views, each with the other; parameters as there."""
    return [
        epipolar_rows(image, view, other, center, heights, across)
        for image, view, other in zip(images, views, reversed(views), strict=True)
    ]


def _points(view: View, other: View, center: Array, heights: Array, across: Array) -> Array:
    """(H, W, 3) points of the plane through the centre and across the beam, each row in the plane through both sources and its height."""
    source, up = np.array(view.source), np.array([0.0, 0.0, 1.0])
    on_axis = center + heights[:, None] * up
    # A view along the leg, or sources above one another, have no such rows: nothing of their image is shown.
    with np.errstate(divide="ignore", invalid="ignore"):
        sideways = np.cross(view.normal, up)
        sideways /= np.linalg.norm(sideways)
        normals = np.cross(on_axis - source, np.array(other.source) - source)
        rise = -(normals @ sideways) / normals[:, 2]
        return np.asarray(on_axis[:, None] + across[None, :, None] * (sideways + rise[:, None, None] * up))


def _reduction(view: View, center: Array) -> int:
    """How many pixels along each side are averaged to come to about the sampling's step in the body."""
    depth = float(view.normal @ (center - np.array(view.source)))
    pixel_mm = max(view.pixel_spacing) * depth / view.source_to_detector
    return max(1, int(STEP_MM / pixel_mm)) if pixel_mm > 0 else 1


def _reduced(image: NDArray[np.floating], factor: int) -> NDArray[np.float32]:
    """Means of blocks of pixels; what is left over at the far sides is dropped."""
    values = np.asarray(image, dtype=np.float32)
    if factor == 1:
        return values
    rows, columns = (size // factor for size in values.shape)
    if not rows or not columns:
        return values[:1, :1]
    total = np.zeros((rows, columns), dtype=np.float32)
    # One addition a pixel of the block: quicker than a mean over two short axes.
    for place in np.ndindex(factor, factor):
        total += values[place[0] : rows * factor : factor, place[1] : columns * factor : factor]
    total /= factor**2
    return total
