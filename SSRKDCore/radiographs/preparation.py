"""One standard for images of every source: what is no picture of the patient is found, kept from the network, and said.

Collimator, letters, burned-in text, exchanged black and white, clipped areas. An image without any of these comes back as it is, bit by
bit. Exposure needs no step of its own: it adds a constant to line integrals, and `standardise` takes that away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.radiographs.burned_in import burned_in
from SSRKDCore.radiographs.collimation import collimated_border
from SSRKDCore.radiographs.exposed_field import open_field_contrast
from SSRKDCore.radiographs.inpainting import harmonic_fill, nearest_fill
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.saturation import clipped_areas

Mask = NDArray[np.bool_]

#: Clipped bone below this share of the image is not worth a warning.
_NOTABLE_CLIPPING = 0.002
#: Reading has asked the picture already (see `exposed_field`); overruled is only what is this clear, as a share of the grey range.
_CLEARLY_INVERTED = 0.5
#: A collimator that leaves less than this of the image open was not seen right.
_LEAST_OPEN = 0.15


@dataclass(frozen=True)
class Preparation:
    """An image ready to be resampled and standardised.

    Attributes
    ----------
    image: float32 [row, column] line integrals; what the collimator hid repeats the nearest seen pixel.
    coverage: [row, column] bool, False where the collimator hid the patient.
    remarks: what was found and done, in words; empty when nothing was.
    warnings: what of it makes the result less certain.
    clipped: [row, column] bool, where the densest parts were clipped.
    """

    image: NDArray[np.float32]
    coverage: Mask
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]
    clipped: Mask

    @property
    def unchanged(self) -> bool:
        """Whether nothing was found."""
        return not self.remarks


def prepared_for_network(radiograph: Radiograph, unexposed: Mask | None = None) -> Preparation:
    """Find what is no picture of the patient, and take it out.

    Parameters
    ----------
    radiograph: line integrals as read.
    unexposed: [row, column] bool, what reading already found unexposed (and set to 0); None when nothing.

    Returns the image, its coverage and the remarks; see `Preparation`.
    """
    pixels = radiograph.pixels
    remarks: list[str] = []
    warnings: list[str] = []
    known = np.zeros(pixels.shape, dtype=bool) if unexposed is None else unexposed
    shadow = collimated_border(pixels, known)
    # A border that was dense in the file says that black and white are right.
    contrast = None if known.any() else open_field_contrast(pixels)
    looks_exchanged = contrast is not None and contrast < -_CLEARLY_INVERTED
    if looks_exchanged and shadow.any() and not _leg_in_open_field(pixels, shadow):
        # The air of an exchanged image and a collimator about a leg that fills the field look alike.
        shadow = known
        warnings.append(
            "The image's sides are denser than its middle: it is collimated tightly, or its black and white are exchanged. Nothing was "
            "changed: look at it, and say what the intensity is."
        )
    elif looks_exchanged and not shadow.any():
        pixels = (pixels.max() + pixels.min() - pixels).astype(np.float32)
        shadow = collimated_border(pixels, known)
        remarks.append("exchanged black and white: the background at the sides was denser than the leg")
        warnings.append(
            "The image's black and white were exchanged, which the picture showed and the file did not say: "
            "check the photometric interpretation."
        )
    if 1 - _share(shadow) < _LEAST_OPEN:
        shadow = known
        warnings.append("The collimator seemed to cover nearly all of the image, so its edges were not used.")
    if shadow.any():
        remarks.append(f"left out the collimator's shadow ({100 * _share(shadow):.0f} % of the image)")
    glyphs = burned_in(pixels, shadow)
    if glyphs.any():
        remarks.append(
            f"filled letters and burned-in text ({100 * _share(glyphs):.1f} % of the image) from their surroundings"
        )
    clipped = clipped_areas(pixels, shadow | glyphs)
    if _share(clipped) > _NOTABLE_CLIPPING:
        warnings.append(
            f"{100 * _share(clipped):.1f} % of the image is clipped at its densest value, so edges inside bone are lost there: "
            "use the original image if there is one."
        )
    if shadow.any() or glyphs.any():
        # Letters near a blade must not be filled with the blade.
        hidden = nearest_fill(pixels, shadow, block=max(1, max(pixels.shape) // 256))
        pixels = harmonic_fill(hidden, glyphs).astype(np.float32, copy=False)
    return Preparation(pixels, ~shadow, tuple(remarks), tuple(warnings), clipped)


def _share(mask: Mask) -> float:
    """The part of an image that a mask covers."""
    return float(np.count_nonzero(mask) / mask.size)


def _leg_in_open_field(pixels: NDArray[np.float32], shadow: Mask) -> bool:
    """Whether what the collimator leaves open shows a leg that is denser than what lies beside it."""
    contrast = open_field_contrast(pixels, ~shadow)
    return contrast is not None and contrast > 0


def with_preparation(radiograph: Radiograph, unexposed: Mask | None = None) -> Radiograph:
    """The radiograph after `prepared_for_network`, with its remarks among the steps; the same object when nothing was found."""
    made = prepared_for_network(radiograph, unexposed)
    if made.unchanged and not made.warnings:
        return radiograph
    return replace(
        radiograph,
        pixels=made.image,
        coverage=None if made.coverage.all() else made.coverage,
        steps=(*radiograph.steps, *made.remarks),
        warnings=(*radiograph.warnings, *made.warnings),
    )
