"""What shows inside the shadow of a bone and belongs in no adult knee: metal, open growth plates; and whether bones stand out at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Share of the bright pixels that are nearly as bright as the brightest: knees without metal reach 0.45, implants exceed 0.85.
_METAL_SHARE = 0.7
# How near to the brightest is meant, as a share of the range of greys; and more of a network view than any implant of the knee covers.
_NEARLY_AS_BRIGHT = 0.1
_MOST_OF_VIEW = 1 / 3
_STEP_MM = 0.5
_PLATE_MM = (8.0, 34.0)
_INNER_SHARE = 0.62
# The bone's end and a little beside it, where its edges are; and what counts as its contrast.
_WHOLE_SHARE, _FINE_MM = 1.09, 8.0
_TREND_MM = 10.0
_BLUR_MM = 0.7
_FEWEST_COLUMNS = 40


class BrightParts(NamedTuple):
    """What is bright in a network view.

    Attributes
    ----------
    one_brightness: share of the image within a tenth of the range of greys of its brightest part. Usual knees reach 0.09
        (docs/measured/trust). Where bones hardly stand out of the leg, burnt out or by a steep display curve, it is the leg's own share.
    metal_cm2: area of metal at the depth of the field of view's centre; 0 where there is none to speak of, and where more is of one
        brightness than an implant covers.
    """

    one_brightness: float
    metal_cm2: float


def bright_parts(image: NDArray[np.floating], view: View, field_of_view: FieldOfView) -> BrightParts:
    """What is bright in a standardised network view (S, S), seen in `view`.

    Metal stands out with a steep edge: what is bright at all is nearly as bright as the brightest. In bone the brightness rises inwards,
    so that its bright part shrinks as one asks for more.
    """
    values = np.asarray(image)
    low, middle, top = np.quantile(values, [0.02, 0.5, 0.998])
    if not top > low:
        return BrightParts(1.0, 0.0)
    alike = float(np.mean(values >= top - _NEARLY_AS_BRIGHT * (top - low)))
    if not top > middle or alike > _MOST_OF_VIEW:
        return BrightParts(alike, 0.0)
    relative = (values - middle) / (top - middle)
    bright, brightest, metal = (int(np.count_nonzero(relative >= level)) for level in (0.35, 0.75, 0.5))
    if brightest < _METAL_SHARE * bright:
        return BrightParts(alike, 0.0)
    depth = float(view.normal @ (np.array(field_of_view.center) - np.array(view.source)))
    magnification = view.source_to_detector / depth
    return BrightParts(alike, metal * view.pixel_spacing[0] * view.pixel_spacing[1] / magnification**2 / 100.0)


def growth_plate_contrast(
    image: NDArray[np.floating], view: View, field_of_view: FieldOfView, surfaces: Mapping[str, Surface]
) -> float | None:
    """How much darker a band across the end of femur or tibia is than the bone above and below it, in units of the image's contrast there.

    Per column of the bone's inner part the deepest notch, 1 to 4 mm wide, between 8 and 34 mm from the joint; of the columns the median;
    over the root mean square of what is finer than 8 mm across the whole bone's end and its edges, so that a display curve, local contrast
    and noise, which deepen every notch, count in both. Of the two bones the larger. None where neither bone is there.

    Parameters
    ----------
    image: a standardised network view, seen about from the front. view: its view. surfaces: the reconstruction, LPS mm.
    """
    found = []
    for name, sign in (("femur", 1.0), ("tibia", -1.0)):
        surface = surfaces.get(name)
        if surface is not None and len(surface.vertices) > 100:
            depth = _notch(np.asarray(image, dtype=np.float64), view, field_of_view, surface.vertices, sign)
            if depth is not None:
                found.append(depth)
    return max(found) if found else None


def _notch(image: Array, view: View, field_of_view: FieldOfView, vertices: Array, sign: float) -> float | None:
    from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

    joint = float((sign * vertices[:, 2]).min())
    heights = joint + np.arange(_PLATE_MM[0] - _TREND_MM, _PLATE_MM[1] + _TREND_MM, _STEP_MM)
    end = vertices[sign * vertices[:, 2] < joint + _PLATE_MM[1]]
    low, high = np.quantile(end[:, 0], [0.02, 0.98])
    half = _INNER_SHARE * (high - low) / 2
    whole = _WHOLE_SHARE * (high - low) / 2
    across = np.arange(-whole, whole, _STEP_MM)
    depth = float(np.median(end[:, 1]))
    x, height = np.meshgrid((low + high) / 2 + across, heights, indexing="ij")
    points = np.stack([x, np.full_like(x, depth), sign * height], axis=-1)
    pixels, _ = view.project(points)
    inside = ((pixels >= 0) & (pixels <= np.array(image.shape) - 1)).all(axis=2)
    inside &= np.abs(points[..., 2] - field_of_view.center[2]) < field_of_view.size / 2
    columns = inside.all(axis=1) & (np.abs(across) < half)
    if columns.sum() < _FEWEST_COLUMNS:
        return None
    patch = map_coordinates(image, np.moveaxis(pixels, 2, 0), order=1, mode="nearest")
    contrast = float(np.sqrt(np.mean((patch - gaussian_filter(patch, _FINE_MM / _STEP_MM))[inside] ** 2)))
    if not contrast > 0:
        return None
    smooth = gaussian_filter1d(patch[columns], _BLUR_MM / _STEP_MM, axis=1)
    # Darker than what lies 3 to 4 mm to either side: a notch, not a slope or a step.
    shift = round(3.5 / _STEP_MM)
    sides = np.minimum(np.roll(smooth, shift, axis=1), np.roll(smooth, -shift, axis=1))
    window = slice(round(_TREND_MM / _STEP_MM), -round(_TREND_MM / _STEP_MM))
    return float(np.median((sides - smooth)[:, window].max(axis=1))) / contrast
