"""Whether two views agree in scale and height: a wrong magnification of one of them.

Every plane through both X-ray sources cuts the same slice out of the leg in both views, and what lies in the slice weakens both beams:
epipolar consistency (Aichert et al., "Epipolar consistency in transmission imaging", IEEE Trans Med Imaging 34, 2015). Summed along the
line in which such a plane meets a detector, both images show the same profile over the height. Here the profiles' slopes are brought to
the best correlation by a scale and a shift of one against the other, so that neither the unit of the images nor the soft tissue that a
detector cuts off matters, as both change slowly with height. The images alone are asked: a reconstruction adapts to what it is given.

How well the scale is known follows from how fast the correlation falls beside its best value: were what the profiles do not share noise
that is alike over 4 mm, a scale and shift of correlation r would have a likelihood proportional to (1 - r^2)^(-n/2) over n pieces of 4 mm
(the profile likelihood of a linear model; Davison, Statistical Models, 2003, section 8.2). Its spread counts second places as well.

A common scale of both views is in principle not seen here: it is the same pair of pictures as of a larger person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View

Array = NDArray[np.float64]

_STEP_MM = 0.5
_ACROSS_MM = 1.0
_BLUR_MM = 0.8
_TREND_MM = 15.0
_SCALES = np.arange(-0.14, 0.1401, 0.004)
_REACH_MM = 8.0
_FEWEST_HEIGHTS = 80
_ALIKE_MM = 4.0
_SMALLEST = 1e-9


@dataclass(frozen=True)
class ScaleDisagreement:
    """What one view's heights say about the other's.

    Attributes
    ----------
    percent: by how much the second view magnifies more than the rig says, where the first is right.
    shift_mm: by how much the second view shows the leg higher than the rig says, in mm at the field of view's centre.
    correlation: of the two profiles after scale and shift, at most 1.
    spread_percent: root mean square distance of `percent` from the scales that the profiles allow for, each by its likelihood.
    """

    percent: float
    shift_mm: float
    correlation: float
    spread_percent: float


def scale_disagreement(
    images: Sequence[NDArray[np.floating]], views: Sequence[View], field_of_view: FieldOfView
) -> ScaleDisagreement | None:
    """Scale and shift between two views along the height; None where the images share too few heights.

    Parameters
    ----------
    images: of the two views, line integrals or anything that grows with them [row, column].
    views: the two, LPS mm, the leg along z.
    field_of_view: heights are taken at its centre, over its side.
    """
    heights = np.arange(-field_of_view.size / 2, field_of_view.size / 2 + _STEP_MM / 2, _STEP_MM)
    profiles = [
        _profile(image, view, other, heights, field_of_view)
        for image, view, other in zip(images, views, reversed(views), strict=True)
    ]
    known = np.flatnonzero(np.isfinite(profiles[0]) & np.isfinite(profiles[1]))
    if len(known) < _FEWEST_HEIGHTS or len(known) < known[-1] - known[0]:
        return None
    part = slice(known[0], known[-1] + 1)
    first, second = (_slopes(profile[part]) for profile in profiles)
    if not (first.std() > 0 and second.std() > 0):
        return None
    return _best(heights[part], first, second)


def _profile(image: NDArray[np.floating], view: View, other: View, heights: Array, field_of_view: FieldOfView) -> Array:
    """(H,) mean of the image along the epipolar line of each height; NaN where it leaves the image."""
    from scipy.ndimage import map_coordinates

    center, source = np.array(field_of_view.center), np.array(view.source)
    across = np.cross(view.normal, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    half = 0.75 * field_of_view.size
    width = np.arange(-half, half + _ACROSS_MM / 2, _ACROSS_MM)
    # Points in the plane through the centre, across the beam, that lie in the plane through both sources and the height on the axis.
    axis_points = center + heights[:, None] * np.array([0.0, 0.0, 1.0])
    normals = np.cross(axis_points - source, np.array(other.source) - source)
    with np.errstate(divide="ignore", invalid="ignore"):
        rise = -(normals @ across) / normals[:, 2]
    points = axis_points[:, None] + width[None, :, None] * (across + rise[:, None, None] * np.array([0.0, 0.0, 1.0]))
    pixels, _ = view.project(points)
    limits = np.array(image.shape) - 1
    inside = np.asarray(((pixels >= 0) & (pixels <= limits)).all(axis=2))
    values = map_coordinates(image, np.moveaxis(np.clip(pixels, 0, limits), 2, 0), output=np.float64, order=1)
    # The same columns for every height: a rim that only some heights reach would be a step.
    columns = inside.mean(axis=0) > 0.98
    if not columns.any():
        return np.full(len(heights), np.nan)
    whole = inside[:, columns].mean(axis=1) > 0.98
    return np.where(whole, values[:, columns].mean(axis=1), np.nan)


def _slopes(profile: Array) -> Array:
    """Slope over the height, without what changes slowly."""
    from scipy.ndimage import gaussian_filter1d

    slope = gaussian_filter1d(profile, _BLUR_MM / _STEP_MM, order=1)
    return np.asarray(slope - gaussian_filter1d(slope, _TREND_MM / _STEP_MM))


def _best(heights: Array, first: Array, second: Array) -> ScaleDisagreement:
    shifts = np.arange(-_REACH_MM, _REACH_MM + 0.1, 0.25)
    inner = np.abs(heights) < np.abs(heights).max() * 0.85
    reference = first[inner] - first[inner].mean()
    reference /= np.linalg.norm(reference)
    table = np.empty((len(_SCALES), len(shifts)))
    for index, share in enumerate(_SCALES):
        moved = np.interp(heights[inner][None, :] * (1 + share) + shifts[:, None], heights, second)
        moved -= moved.mean(axis=1, keepdims=True)
        table[index] = moved @ reference / np.maximum(np.linalg.norm(moved, axis=1), 1e-12)
    row, column = (int(index) for index in np.unravel_index(table.argmax(), table.shape))
    scale = _SCALES[row] + _vertex(table[:, column], row) * (_SCALES[1] - _SCALES[0])
    shift = shifts[column] + _vertex(table[row], column) * 0.25
    pieces = np.ptp(heights[inner]) / _ALIKE_MM
    spread = 100.0 * _spread(table, pieces, float(scale))
    return ScaleDisagreement(100.0 * float(scale), float(shift), float(table[row, column]), spread)


def _spread(table: Array, pieces: float, scale: float) -> float:
    """Root mean square distance of a scale from those of a table of correlations (scale, shift), each by its likelihood."""
    logarithm = -0.5 * pieces * np.log(np.maximum(1.0 - np.maximum(table, 0.0) ** 2, _SMALLEST))
    likelihood = np.exp(logarithm - logarithm.max()).sum(axis=1)
    square = float((likelihood * (_SCALES - scale) ** 2).sum() / likelihood.sum())
    # Between two scales of the table nothing is known of the likelihood.
    return float(np.sqrt(square + (_SCALES[1] - _SCALES[0]) ** 2 / 12.0))


def _vertex(values: Array, index: int) -> float:
    """Where between samples the parabola through the largest one and its neighbours is highest, -0.5 to 0.5."""
    if not 0 < index < len(values) - 1:
        return 0.0
    before, here, after = values[index - 1 : index + 2]
    bend = before - 2 * here + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
