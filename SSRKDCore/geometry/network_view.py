"""The part of a detector that a network looks at: the field of view, upright, at a fixed number of pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Array = NDArray[np.float64]


def network_view(view: View, field_of_view: FieldOfView, size: int) -> View:
    """The square view of `size` x `size` pixels that a network receives in place of the whole radiograph.

    It lies in the plane of the detector, is centred on the projection of the field of view's centre, and is just large enough that all
    eight corners of the cube fall inside. Its image axes are those of the detector, swapped or turned so that rows run downwards
    (towards -z) and columns along the larger of +x and +y: an AP view shows the patient's left on the right, a lateral view posterior
    on the right, whichever side the source is on. Directions are chosen, nothing is mirrored: the projection stays exact.

    Parameters
    ----------
    view: a calibrated view, LPS mm.
    field_of_view: the cube.
    size: pixels per side.
    """
    axes = [
        (np.array(view.row_direction), view.pixel_spacing[0]),
        (np.array(view.column_direction), view.pixel_spacing[1]),
    ]
    down, across = (axes[1], axes[0]) if abs(axes[1][0][2]) > abs(axes[0][0][2]) else (axes[0], axes[1])
    row_direction = -down[0] if down[0][2] > 0 else down[0]
    horizontal = across[0][:2]
    column_direction = -across[0] if horizontal[np.argmax(np.abs(horizontal))] < 0 else across[0]

    pixels, _ = view.project(np.concatenate([field_of_view.corners, [field_of_view.center]]))
    positions = view.pixel_position(pixels[:, 0], pixels[:, 1])
    center = positions[-1]
    offsets = (positions[:-1] - center) @ np.stack([row_direction, column_direction], axis=1)
    half_width = float(np.abs(offsets).max())
    spacing = 2 * half_width / size
    first = center - (half_width - spacing / 2) * (row_direction + column_direction)
    return replace(
        view,
        detector_origin=tuple(first),
        column_direction=tuple(column_direction),
        row_direction=tuple(row_direction),
        pixel_spacing=(spacing, spacing),
        rows=size,
        columns=size,
    )


def _resampling_matrix(first: float, step: float, count: int, source_count: int) -> csr_matrix:
    """(count, source_count) weights of a triangle filter: linear interpolation, or an area-like average when shrinking.

    Output sample i sits at source index `first + i * step`. Rows of samples outside the source sum to 0, at its rim to less than 1.
    """
    from scipy.sparse import csr_matrix

    width = max(1.0, abs(step))
    positions = first + step * np.arange(count)
    # Each sample sees a few pixels: of a large image the weights that are 0 would be nearly all.
    reach = np.arange(-int(np.ceil(width)) - 1, int(np.ceil(width)) + 2)
    pixels = np.floor(positions).astype(np.int64)[:, None] + reach[None, :]
    weights = np.clip(1.0 - np.abs(positions[:, None] - pixels) / width, 0.0, None)
    # Normalised by what the filter would collect on an unbounded detector, so that the rim fades to "no signal".
    weights /= weights.sum(axis=1, keepdims=True)
    seen = (pixels >= 0) & (pixels < source_count) & (weights > 0)
    ends = np.concatenate([[0], np.cumsum(np.count_nonzero(seen, axis=1))])
    return csr_matrix((weights[seen], pixels[seen], ends), shape=(count, source_count))


def resample_to_view(
    image: NDArray[np.floating], view: View, target: View
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Resample a radiograph to a view in the same detector plane with parallel axes (see `network_view`).

    Parameters
    ----------
    image: (rows, columns) of `view`.
    view: the radiograph's view.
    target: a view of the same source and plane whose axes are those of `view`, swapped or turned.

    Returns
    -------
    resampled: (target.rows, target.columns) float32; 0 outside the detector.
    coverage: the same shape, 0..1: how much of each pixel's neighbourhood the detector saw.

    Raises ValueError when the image does not have the view's size, or the two views are not in one plane with parallel axes.
    """
    if image.shape != (view.rows, view.columns):
        raise ValueError(f"the image is {image.shape}, the view {(view.rows, view.columns)}")
    axes = np.stack([view.row_direction, view.column_direction])
    turn = axes @ np.stack([target.row_direction, target.column_direction]).T
    if (
        not np.allclose(np.abs(turn).round(6).sum(axis=0), 1.0)
        or abs((np.array(target.detector_origin) - np.array(view.detector_origin)) @ view.normal)
        > 1e-6 * view.source_to_detector
    ):
        raise ValueError("the target view is not in the detector's plane with parallel axes")
    swapped = abs(turn[0, 1]) > 0.5
    start = (np.array(target.detector_origin) - np.array(view.detector_origin)) @ axes.T / np.array(view.pixel_spacing)
    target_axis = (1, 0) if swapped else (0, 1)
    counts = (target.rows, target.columns)
    matrices = []
    for source_axis in (0, 1):
        along = target_axis[source_axis]
        sign = np.sign(turn[source_axis, along])
        step = sign * target.pixel_spacing[along] / view.pixel_spacing[source_axis]
        matrices.append(_resampling_matrix(start[source_axis], step, counts[along], image.shape[source_axis]))
    down, across = matrices
    resampled = (across @ (down @ image.astype(np.float64)).T).T
    coverage = np.outer(down.sum(axis=1), across.sum(axis=1))
    if swapped:
        resampled, coverage = resampled.T, coverage.T
    return np.ascontiguousarray(resampled, dtype=np.float32), np.ascontiguousarray(coverage, dtype=np.float32)
