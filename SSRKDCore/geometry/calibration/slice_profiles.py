"""Whether slices through both X-ray sources weaken both images alike: a check of a rig that needs neither bones nor a network.

Epipolar consistency (Aichert et al., "Epipolar consistency in transmission imaging", IEEE Trans Med Imaging 34, 2015): summed along the
line in which a plane through both sources meets a detector, line integrals of both images show the same profile over the height. Here the
profiles' slopes are brought to the best correlation by a scale and a shift of one against the other, so that neither the unit of the images
nor the soft tissue that a detector cuts off matters, as both change slowly with height. A view that is turned mixes slices, so turns show
too, as a scale and a shift that are not there. Only images near to line integrals are told by this; a low correlation says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.epipolar_rows import rows_of_both
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View

Array = NDArray[np.float64]

_STEP_MM = 0.5
_ACROSS_MM = 1.0
_BLUR_MM = 0.8
_TREND_MM = 15.0
_SCALES = np.arange(-0.14, 0.1401, 0.004)
_SHIFTS_MM = np.arange(-8.0, 8.01, 0.25)
_FEWEST_MM = 40.0
_SEEN_SHARE = 0.98
# Of the heights: a scale or a turn moves what lies further out into what one image does not show.
_INNER = 0.85


@dataclass(frozen=True)
class ProfileMatch:
    """Where two views' profiles agree best.

    Attributes
    ----------
    percent: by how much the second view magnifies more than the rig says, where the first is right.
    shift_mm: by how much the second view shows the leg higher than the rig says, in mm at the field of view's centre.
    correlation: of the two profiles after scale and shift, at most 1.
    """

    percent: float
    shift_mm: float
    correlation: float


def profile_match(
    images: Sequence[NDArray[np.floating]], views: Sequence[View], field_of_view: FieldOfView
) -> ProfileMatch | None:
    """Scale and shift between two views along the height; None where the images share too few heights.

    Parameters
    ----------
    images: of the two views, line integrals or anything that grows with them [row, column].
    views: the two, LPS mm, the leg along z.
    field_of_view: heights are taken at its centre, over its side.
    """
    heights, rows = _rows(images, views, field_of_view)
    return match_of_rows(rows, heights)


def profile_slopes(
    images: Sequence[NDArray[np.floating]], views: Sequence[View], field_of_view: FieldOfView, blur_mm: float
) -> tuple[Array, Array] | None:
    """Slopes of both profiles at the same heights, each (H,) about 0 and of unit length; None where the images share too few of them.

    H depends on the field of view alone: heights that an image does not show take what their neighbours have. Parameters as of
    `profile_match`; blur_mm: of the profiles.
    """
    heights, rows = _rows(images, views, field_of_view)
    profiles = [_profile(part) for part in rows]
    inner = np.abs(heights) < _INNER * np.abs(heights).max()
    found = []
    for profile in profiles:
        known = np.flatnonzero(np.isfinite(profile))
        if not len(known) or np.ptp(heights[known]) < _FEWEST_MM:
            return None
        slope = _slopes(np.interp(heights, heights[known], profile[known]), blur_mm)[inner]
        slope = slope - slope.mean()
        length = float(np.linalg.norm(slope))
        if length <= 0:
            return None
        found.append(slope / length)
    return found[0], found[1]


def _rows(
    images: Sequence[NDArray[np.floating]], views: Sequence[View], field_of_view: FieldOfView
) -> tuple[Array, list[NDArray[np.float32]]]:
    """Heights (H,) over the field of view, mm from its centre, and both images' rows (H, W) of these."""
    half = field_of_view.size / 2
    heights = np.arange(-half, half + _STEP_MM / 2, _STEP_MM)
    across = np.arange(-1.5 * half, 1.5 * half + _ACROSS_MM / 2, _ACROSS_MM)
    return heights, rows_of_both(images, views, np.array(field_of_view.center), heights, across)


def match_of_rows(rows: Sequence[NDArray[np.floating]], heights: Array) -> ProfileMatch | None:
    """`profile_match` of the two images as rows (H, W) of the same slices, NaN outside, at heights (H,) in mm; see `epipolar_rows`."""
    profiles = [_profile(part) for part in rows]
    known = np.flatnonzero(np.isfinite(profiles[0]) & np.isfinite(profiles[1]))
    if not len(known) or np.ptp(heights[known]) < _FEWEST_MM or len(known) < known[-1] - known[0]:
        return None
    fine = np.arange(heights[known[0]], heights[known[-1]] + _STEP_MM / 2, _STEP_MM)
    first, second = (_slopes(np.interp(fine, heights[known], profile[known])) for profile in profiles)
    if not (first.std() > 0 and second.std() > 0):
        return None
    return _best(fine, first, second)


def _profile(rows: NDArray[np.floating]) -> Array:
    """(H,) mean of each row; NaN where the image does not show it."""
    shown = np.isfinite(rows)
    # The same columns for every height: a rim that only some heights reach would be a step.
    columns = shown.mean(axis=0) > _SEEN_SHARE * shown.mean(axis=0).max()
    profile = np.full(len(rows), np.nan)
    if columns.any():
        seen = rows[:, columns].astype(np.float64)
        whole = shown[:, columns].mean(axis=1) > _SEEN_SHARE
        profile[whole] = np.nanmean(seen[whole], axis=1)
    return profile


def _slopes(profile: Array, blur_mm: float = _BLUR_MM) -> Array:
    """Slope over the height, without what changes slowly."""
    from scipy.ndimage import gaussian_filter1d

    slope = gaussian_filter1d(profile, blur_mm / _STEP_MM, order=1)
    return np.asarray(slope - gaussian_filter1d(slope, _TREND_MM / _STEP_MM))


def _best(heights: Array, first: Array, second: Array) -> ProfileMatch:
    inner = np.abs(heights) < _INNER * np.abs(heights).max()
    reference = first[inner] - first[inner].mean()
    reference /= np.linalg.norm(reference)
    # All of them: a peak can be narrower than two steps.
    table = np.empty((len(_SCALES), len(_SHIFTS_MM)))
    for index, share in enumerate(_SCALES):
        moved = np.interp(heights[inner][None, :] * (1 + share) + _SHIFTS_MM[:, None], heights, second)
        moved -= moved.mean(axis=1, keepdims=True)
        table[index] = moved @ reference / np.maximum(np.linalg.norm(moved, axis=1), 1e-12)
    row, column = (int(index) for index in np.unravel_index(table.argmax(), table.shape))
    scale = _SCALES[row] + _vertex(table[:, column], row) * (_SCALES[1] - _SCALES[0])
    shift = _SHIFTS_MM[column] + _vertex(table[row], column) * (_SHIFTS_MM[1] - _SHIFTS_MM[0])
    return ProfileMatch(100.0 * float(scale), float(shift), float(table[row, column]))


def _vertex(values: Array, index: int) -> float:
    """Where between samples the parabola through the largest one and its neighbours is highest, -0.5 to 0.5."""
    if not 0 < index < len(values) - 1:
        return 0.0
    before, here, after = values[index - 1 : index + 2]
    bend = before - 2 * here + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0
