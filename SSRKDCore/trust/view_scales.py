"""Whether two views agree in scale and height: a wrong magnification of one of them.

What lies in one slice of the leg shows in one row of each image, if the views' geometry is right (`epipolar_rows`). Two measures say by
which scale and shift one view's rows lie off the other's. Line integrals of a slice are the same in both (`slice_profiles`): exact,
and true of few images as they are stored. A network that was trained on knees in many rooms (`networks/height_matching.py`,
`fit_view_scales.py`) knows slices by how they look. Whichever knows better on these images is believed. The images alone are asked: a
reconstruction adapts to what it is given.

A common scale of both views is in principle not seen here: it is the same pair of pictures as of a larger person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.geometry.calibration.slice_profiles import match_of_rows
from SSRKDCore.geometry.epipolar_rows import HEIGHTS_MM, rows_of_both
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.trust.known_spreads import known_to

#: Rows (mm of the leg) that both images must show, and the columns of a row that make it shown.
_FEWEST_ROWS = 60
_FEWEST_COLUMNS = 40


@dataclass(frozen=True)
class ScaleDisagreement:
    """What one view's heights say about the other's.

    Attributes
    ----------
    percent: by how much the second view magnifies more than the rig says, where the first is right.
    shift_mm: by how much the second view shows the leg higher than the rig says, in mm at the field of view's centre.
    known_to_percent, known_to_mm: what the errors of either stay below for 99 % of pairs of views that are as unsure, found on knees that
        the network was not trained on.
    """

    percent: float
    shift_mm: float
    known_to_percent: float
    known_to_mm: float


def scale_disagreement(
    images: Sequence[NDArray[np.floating]], views: Sequence[View], field_of_view: FieldOfView
) -> ScaleDisagreement | None:
    """Scale and shift between two views along the height; None where the images share too few heights, or show nothing.

    Parameters
    ----------
    images: of the two views, line integrals or anything that grows with them [row, column].
    views: the two, LPS mm, the leg along z.
    field_of_view: heights are taken from its centre, over its side.

    Raises InputError where the package lacks the network.
    """
    from SSRKDCore.trust.view_scale_matcher import bundled_matcher, match, profile_spread

    rows = rows_of_both(images, views, np.array(field_of_view.center))
    # Beyond it a detector's edge, or the end of a scan, cuts slices at other places in either view.
    for part in rows:
        part[np.abs(HEIGHTS_MM) > field_of_view.size / 2] = np.nan
    shown = np.logical_and(*(np.isfinite(part).sum(axis=1) >= _FEWEST_COLUMNS for part in rows))
    if shown.sum() < _FEWEST_ROWS or not all(np.nanstd(part) > 0 for part in rows):
        return None
    matcher = bundled_matcher()
    found = match(matcher.network, *(torch.from_numpy(part)[None] for part in rows))
    scale = [(100.0 * known_to(matcher.scale_factors, float(found.scale_spread[0])), 100.0 * float(found.scale[0]))]
    shift = [(known_to(matcher.shift_factors, float(found.shift_spread_mm[0])), float(found.shift_mm[0]))]
    profiles = match_of_rows(rows, HEIGHTS_MM)
    if profiles is not None:
        spread = profile_spread(profiles.correlation)
        scale.append((100.0 * known_to(matcher.profile_scale_factors, spread), profiles.percent))
        shift.append((known_to(matcher.profile_shift_factors, spread), profiles.shift_mm))
    (known_to_percent, percent), (known_to_mm, shift_mm) = min(scale), min(shift)
    return ScaleDisagreement(percent, shift_mm, known_to_percent, known_to_mm)
