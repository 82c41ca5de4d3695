"""The one way in: any radiograph file to a `Radiograph`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.dicom_spacing import aspect_warnings
from SSRKDCore.radiographs.exposed_field import flat_corners
from SSRKDCore.radiographs.file_kinds import file_kind
from SSRKDCore.radiographs.line_integrals import to_line_integrals
from SSRKDCore.radiographs.radiograph import INTENSITY_KINDS, VIEW_NAMES, Radiograph
from SSRKDCore.radiographs.stored_image import StoredImage, checked_spacing

#: Which end of the stored values is dense is asked of about so many pixels a side.
_SAMPLES_A_SIDE = 512


def read_radiograph(
    path: str | Path,
    view: str | None = None,
    intensity: str = "auto",
    pixel_spacing: tuple[float, float] | None = None,
    frame: int | None = None,
    prepare: bool = False,
) -> Radiograph:
    """Read a radiograph as line integrals.

    The file's kind is decided by its content, not by its name. Rows and columns stay in the order of the file, and
    nothing is flipped or turned but pictures that say how they are to be shown (EXIF orientation), with a warning.

    Parameters
    ----------
    path: a DICOM (CR, DX, RF, XA), PNG, TIFF, JPEG, NRRD, NIfTI or MetaImage file.
    view: "ap" or "lateral"; None takes what a DICOM file says.
    intensity: "auto", "line_integral", "raw" or "presentation"; see `line_integrals.to_line_integrals`.
    pixel_spacing: mm on the detector (between rows, between columns); replaces what the file says.
    frame: which image of a file that holds several, counted from 1.
    prepare: find and take out the collimator's shadow, letters and exchanged black and white (see `preparation`).

    Raises InputError, naming the file and what to do, for everything that cannot be used.
    """
    if view is not None and view not in VIEW_NAMES:
        raise InputError(f"The view is '{view}', and it must be ap or lateral.")
    if intensity not in INTENSITY_KINDS:
        raise InputError(f"The intensity is '{intensity}', and it must be one of {', '.join(INTENSITY_KINDS)}.")
    if pixel_spacing is not None:
        if len(pixel_spacing) != 2 or not all(math.isfinite(value) for value in pixel_spacing):
            raise InputError("The pixel spacing must be two numbers in mm: between rows, between columns.")
        given = float(pixel_spacing[0]), float(pixel_spacing[1])
        pixel_spacing = checked_spacing("Your input", given, "pixel spacing")
    path = Path(path)
    image = _read_stored(path, frame, spacing_counts=pixel_spacing is None)
    pixels, conversion_steps, conversion_warnings = to_line_integrals(str(path), image, intensity)
    steps, warnings = [*image.steps, *conversion_steps], [*image.warnings, *conversion_warnings]
    spacing, plane = image.pixel_spacing, image.spacing_plane
    if pixel_spacing is not None:
        spacing, plane = pixel_spacing, "detector"
        steps.append(f"pixel spacing {spacing[0]:g} x {spacing[1]:g} mm at the detector, as you gave it")
        warnings.extend(aspect_warnings(image.pixel_aspect, spacing))
    if view is not None and image.view is not None and view != image.view:
        stated = image.geometry.view_position if image.geometry else image.view
        warnings.append(
            f"{path} is used as the {view} view, but the file says that its view is {stated}: are the two "
            "images swapped?"
        )
    found = Radiograph(
        pixels=pixels,
        pixel_spacing=spacing,
        spacing_plane=plane,
        view=view or image.view,
        side=image.side,
        patient_id=image.patient_id,
        steps=tuple(steps),
        warnings=tuple(warnings),
        geometry=image.geometry,
        source_path=str(path),
    )
    if not prepare:
        return found
    from SSRKDCore.radiographs.preparation import with_preparation

    return with_preparation(found, _unexposed(image, pixels))


def _read_stored(path: Path, frame: int | None, spacing_counts: bool) -> StoredImage:
    kind = file_kind(path)
    if kind == "dicom":
        from SSRKDCore.radiographs.dicom_reader import read_dicom

        return read_dicom(path, frame, spacing_counts)
    from SSRKDCore.radiographs.image_reader import read_image

    return read_image(path, kind, frame, spacing_counts)


def _unexposed(image: StoredImage, pixels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Padding, and the flat corners that were set to 0 as unexposed: [row, column] bool."""
    padding = np.zeros(pixels.shape, dtype=bool) if image.valid is None else ~image.valid
    inside = image.values if image.valid is None else image.values[image.valid]
    # The open field may fill corners as well; what the conversion set to 0 although its value lies beyond the dense end was a blade.
    sample = (slice(None, None, max(1, max(pixels.shape) // _SAMPLES_A_SIDE)),) * 2
    if padding[sample].all():
        sample = (slice(None), slice(None))
    stored, line_integrals = image.values[sample][~padding[sample]], pixels[sample][~padding[sample]]
    dense = stored[line_integrals >= np.percentile(line_integrals, 95)]
    high_is_dense = float(np.median(dense)) > float(np.median(stored))
    return padding | flat_corners(image.values, float(inside.max() if high_is_dense else inside.min()))
