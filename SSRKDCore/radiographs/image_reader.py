"""Radiographs from picture and research image files (PNG, TIFF, JPEG, NRRD, NIfTI, MetaImage)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.file_names import plain_name
from SSRKDCore.meta_image_file import refuse_damaged_meta_data, states_meta_spacing
from SSRKDCore.nrrd_header import check_nrrd_header, states_spacing
from SSRKDCore.radiographs.jpeg_markers import is_whole
from SSRKDCore.radiographs.nifti_reader import read_nifti
from SSRKDCore.radiographs.picture_orientation import jpeg_orientation, png_orientation, turned_upright
from SSRKDCore.radiographs.png_chunks import is_transparent_grey
from SSRKDCore.radiographs.stored_image import MAXIMUM_BYTES, StoredImage, check_size, checked_spacing
from SSRKDCore.radiographs.tiff_checks import check_tiff

IMAGE_IO = {
    "png": "PNGImageIO",
    "tiff": "TIFFImageIO",
    "jpeg": "JPEGImageIO",
    "nrrd": "NrrdImageIO",
    "meta": "MetaImageIO",
}
FORMAT_WORDS = {"png": "PNG", "tiff": "TIFF", "jpeg": "JPEG", "nrrd": "NRRD", "nifti": "NIfTI", "meta": "MetaImage"}
# Pictures for screens state dots per inch of a print, not millimetres on a detector.
WITHOUT_SPACING = ("png", "tiff", "jpeg")
MAXIMUM_FRAMES = 10_000


def read_image(path: Path, kind: str, frame: int | None = None, spacing_counts: bool = True) -> StoredImage:
    """Read one greyscale image.

    Parameters
    ----------
    path: the file.
    kind: a key of FORMAT_WORDS, decided by content (see `SSRKDCore.radiographs.file_kinds`).
    frame: which page or slice, counted from 1, when the file holds several.
    spacing_counts: False where the user says the pixel spacing, so that nothing is taken or refused of what the file says.

    A picture with an EXIF orientation is turned as viewers turn it, with a warning.

    Raises InputError for colour, transparency, volumes without a choice, damaged files, TIFF pages that cannot be read for what they are
    (see `tiff_checks`), and absurd spacings.
    """
    hints = _hints(path, kind)
    frames, spacing = read_nifti(path) if kind == "nifti" else _read_itk(path, kind)
    count, rows, columns = frames.shape
    check_size(str(path), rows, columns)
    steps = [f"read a {FORMAT_WORDS[kind]} image of {rows} x {columns} pixels"]
    warnings: list[str] = []
    if count > 1:
        if frame is None:
            raise InputError(
                f"{path} holds {count} images (it may be a CT volume, not a radiograph): "
                f"choose one of them, frame 1 to {count}."
            )
        steps.append(f"took frame {frame} of {count}")
    if frame is not None and not 1 <= frame <= count:
        raise InputError(f"{path} holds {count} image{'s' if count > 1 else ''}, so frame {frame} does not exist.")
    array, turned = turned_upright(frames[(frame or 1) - 1], hints.orientation)
    if turned is not None:
        steps.append(f"the picture was {turned} (EXIF orientation {hints.orientation})")
        warnings.append(
            f"The file's EXIF orientation ({hints.orientation}) asks for it, so the picture was {turned}, as viewers show it: compare "
            "left and right with the patient."
        )
    warnings.extend(hints.warnings)

    stated: tuple[float, float] | None = None
    if spacing_counts and kind in WITHOUT_SPACING:
        warnings.append(
            f"{FORMAT_WORDS[kind]} files state no pixel spacing in millimetres: sizes come from the rig alone."
        )
    elif spacing_counts and not hints.states_spacing:
        warnings.append("The file states no pixel spacing: sizes come from the rig alone.")
    elif spacing_counts:
        stated = checked_spacing(str(path), spacing, "pixel spacing")
        steps.append(f"pixel spacing {stated[0]:g} x {stated[1]:g} mm (rows, columns), taken at the detector")
    if kind == "jpeg":
        warnings.append("The image was compressed with loss (JPEG): fine structure may be gone.")
    floating = np.issubdtype(array.dtype, np.floating)
    return StoredImage(
        values=array.astype(np.float64),
        full_scale=None if floating else float(np.iinfo(array.dtype).max),
        white_is_low=hints.white_is_zero,
        pixel_spacing=stated,
        steps=tuple(steps),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Hints:
    """What a file says beside its pixels and ITK keeps to itself: EXIF orientation, whether white is 0, whether a spacing is stated."""

    orientation: int = 1
    white_is_zero: bool = False
    states_spacing: bool = True
    warnings: tuple[str, ...] = ()


def _hints(path: Path, kind: str) -> _Hints:
    """Raises InputError for what ITK would read as something else."""
    if kind == "tiff":
        white_is_zero, warnings = check_tiff(path)
        return _Hints(white_is_zero=white_is_zero, warnings=tuple(warnings))
    if kind == "png":
        if is_transparent_grey(path):
            raise InputError(f"{path} has transparency (a second value a pixel): save it as greyscale without.")
        return _Hints(orientation=png_orientation(path))
    if kind == "jpeg":
        if path.stat().st_size > MAXIMUM_BYTES:
            raise InputError(f"{path} is larger than any radiograph: give a single image.")
        content = path.read_bytes()
        # The decoder fills what is missing with grey and calls it a success.
        if not is_whole(content):
            raise _damaged(path, kind)
        return _Hints(orientation=jpeg_orientation(content))
    if kind == "nrrd":
        check_nrrd_header(path)
        return _Hints(states_spacing=states_spacing(path))
    if kind == "meta":
        refuse_damaged_meta_data(path)
        return _Hints(states_spacing=states_meta_spacing(path))
    return _Hints()


def _read_itk(path: Path, kind: str) -> tuple[NDArray[Any], tuple[float, float]]:
    """(frame, row, column) array and (between rows, between columns) spacing by SimpleITK."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO(IMAGE_IO[kind])
    reader.SetFileName(plain_name(path))
    try:
        reader.ReadImageInformation()
        size, channels, pixel_type = reader.GetSize(), reader.GetNumberOfComponents(), reader.GetPixelID()
        spacing = reader.GetSpacing()
    except (RuntimeError, OverflowError, MemoryError) as error:
        raise _damaged(path, kind) from error
    if channels != 1:
        raise InputError(
            f"{path} is a colour image ({channels} values a pixel), not an X-ray measurement: "
            "export the original greyscale image."
        )
    if pixel_type in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise InputError(f"{path} holds complex numbers, not a radiograph: export magnitudes.")
    columns, rows = int(size[0]), int(size[1])
    check_size(str(path), rows, columns)
    count = int(np.prod([int(n) for n in size[2:]], dtype=object)) if len(size) > 2 else 1
    if count > MAXIMUM_FRAMES or count * rows * columns > MAXIMUM_BYTES:
        raise InputError(
            f"{path} is a volume of {columns} x {rows} x {count} voxels, not a radiograph: give a "
            "two-dimensional image."
        )
    try:
        array = sitk.GetArrayFromImage(reader.Execute())
    except (RuntimeError, OverflowError, MemoryError, ValueError, KeyError) as error:
        raise _damaged(path, kind) from error
    if count == 0 or array.size != count * rows * columns:
        raise _damaged(path, kind)
    return array.reshape(count, rows, columns), (float(spacing[1]), float(spacing[0]))


def _damaged(path: Path, kind: str) -> InputError:
    return InputError(f"{path} is a damaged or truncated {FORMAT_WORDS[kind]} file: export it again.")
