"""Scattered radiation on a simulated radiograph: a broad veil of what the object has scattered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.view import View

SPREAD_MM = 30.0
_BEHIND_OBJECT = 0.3


def with_scatter(
    line_integrals: NDArray[np.floating], view: View, ratio: float, spread_mm: float = SPREAD_MM
) -> NDArray[np.float32]:
    """Line integrals as read where scattered photons are counted as well, float32 [row, column].

    A ray of line integral p scatters about p exp(-p) of its photons once on its way (B. Ohnesorge et al., European Radiology 9, 1999);
    they reach the detector spread widely, here by a Gaussian of `spread_mm` on the detector. The amount is set so that, on the mean over
    the pixels behind the object (p above 0.3), scattered photons are `ratio` times the primary ones.

    Parameters
    ----------
    line_integrals: of the primary photons, before noise. view: whose image it is. ratio: scatter to primary, 0 or more: for a knee about
    0.2 to 0.6 with and 0.7 to 1.5 without an anti-scatter grid, by thickness and field (a guess from phantom measurements of extremities).
    """
    from scipy.ndimage import gaussian_filter

    p = np.maximum(np.asarray(line_integrals, dtype=np.float64), 0.0)
    primary = np.exp(-p)
    behind = p > _BEHIND_OBJECT
    if ratio <= 0 or not behind.any():
        return np.asarray(line_integrals, dtype=np.float32)
    # Photons that leave the image are lost.
    veil = gaussian_filter(p * primary, [spread_mm / spacing for spacing in view.pixel_spacing], mode="constant")
    veil *= ratio / float((veil[behind] / primary[behind]).mean())
    return (-np.log(np.exp(-np.asarray(line_integrals, dtype=np.float64)) + veil)).astype(np.float32)
