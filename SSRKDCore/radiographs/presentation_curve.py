"""Display values as a maker's processing makes them of line integrals: a sigmoid curve, local contrast, and whole grey levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class PresentationCurve:
    """How an image is made for a screen.

    Attributes
    ----------
    centre: line integral shown in the middle of the grey range. width: line integrals between a tenth and nine tenths of it: the slope of
        a sigmoid, as the VOI LUT Function SIGMOID of DICOM PS3.3 C.11.2.1.3.1 has it.
    local_contrast: how much of the difference to a blurred copy (by a twentieth of the image's side) is added.
    bits: of a grey value. inverted: bone dark.
    """

    centre: float = 2.0
    width: float = 3.0
    local_contrast: float = 0.4
    bits: int = 12
    inverted: bool = False

    def applied(self, line_integrals: NDArray[np.floating]) -> NDArray[np.float32]:
        """Whole grey values 0 .. 2^bits - 1 as float32, of line integrals [row, column]."""
        values = np.asarray(line_integrals, dtype=np.float64)
        if self.local_contrast:
            values = values + self.local_contrast * (values - ndimage.gaussian_filter(values, max(values.shape) / 20))
        # ln(9): from a tenth to nine tenths of a logistic curve are 2 ln(9) of its scale.
        shown = 1 / (1 + np.exp(-(values - self.centre) * 2 * np.log(9) / self.width))
        if self.inverted:
            shown = 1 - shown
        return np.round(shown * (2**self.bits - 1)).astype(np.float32)
