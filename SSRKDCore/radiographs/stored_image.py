"""What every file reader hands on: stored pixels and what the file says about them, before any physics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.radiograph import DicomGeometry

MAXIMUM_SIDE = 20_000
MAXIMUM_BYTES = 2 * 1024**3
MINIMUM_SIDE = 16
SPACING_LIMITS_MM = (0.01, 5.0)


@dataclass(frozen=True)
class StoredImage:
    """Pixels as a file stores them (after a DICOM Modality LUT), and the hints that decide what they mean.

    Attributes
    ----------
    values: float32 or float64 [row, column].
    valid: bool [row, column], False where the file marks padding; None when everything is image.
    intensity: what the file says the values are: "line_integral", "raw", "log", "presentation", or None if it is
        silent.
    grows_with_attenuation: True when the file says that higher values mean more attenuation, False for less, None
        silent.
    full_scale: the largest value that the storage can hold, after a DICOM rescale or Modality LUT, or None for floating point.
    kind_reason: why `intensity` was chosen, in words.
    pixel_aspect: what the file states of a pixel's shape, (between rows, between columns) in any unit, or None.
    white_is_low: True when a screen shows low values white; it decides only where nothing tells how bone is shown.
    """

    values: NDArray[np.floating]
    valid: NDArray[np.bool_] | None = None
    intensity: str | None = None
    grows_with_attenuation: bool | None = None
    full_scale: float | None = None
    kind_reason: str = ""
    pixel_spacing: tuple[float, float] | None = None
    spacing_plane: str = "detector"
    pixel_aspect: tuple[float, float] | None = None
    view: str | None = None
    side: str | None = None
    patient_id: str | None = None
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    geometry: DicomGeometry | None = None
    white_is_low: bool = False


def check_size(path: str, rows: int, columns: int, bytes_per_pixel: int = 4) -> None:
    """Raise InputError for images that are empty, tiny, or larger than any radiograph."""
    if rows < MINIMUM_SIDE or columns < MINIMUM_SIDE:
        raise InputError(f"{path} holds {rows} x {columns} pixels, too few for a radiograph: give the original image.")
    if rows > MAXIMUM_SIDE or columns > MAXIMUM_SIDE or rows * columns * bytes_per_pixel > MAXIMUM_BYTES:
        raise InputError(
            f"{path} says it holds {rows} x {columns} pixels, more than any radiograph "
            f"(at most {MAXIMUM_SIDE} a side): the file is damaged or is not a radiograph."
        )


def checked_spacing(path: str, spacing: tuple[float, float], what: str) -> tuple[float, float]:
    """Return a (between rows, between columns) spacing in mm, or raise InputError when it cannot be one."""
    low, high = SPACING_LIMITS_MM
    if not all(np.isfinite(value) and low <= value <= high for value in spacing):
        raise InputError(
            f"{path} states a {what} of {spacing[0]:g} x {spacing[1]:g} mm, which no radiograph has "
            f"({low:g} to {high:g} mm): correct the file or give the spacing yourself."
        )
    return float(spacing[0]), float(spacing[1])
