"""CT volumes in Hounsfield units from NRRD, NIfTI, MetaImage or a folder of DICOM slices, axis-aligned in LPS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.file_names import plain_name
from SSRKDCore.grid import Grid
from SSRKDCore.volume_files import lacks_orientation, open_volume, read_voxels

if TYPE_CHECKING:
    import SimpleITK

SUFFIXES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
AIR_HU = -1000.0
MAXIMUM_VOXELS = 1_500_000_000
SPACING_LIMITS_MM = (0.02, 20.0)

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""Row and column direction where a header says none, as ITK reads it."""
_ALIGNED = 1e-4
"""Direction cosines this close to 0 or 1 count as axis-aligned: 0.3 mm over 3 m."""
_UNEVEN = 0.02
"""Slice positions may differ by this part of the spacing before slices count as missing."""
_SHEARED = 0.002
"""Slices may be shifted along their own plane by this part of the way across them: 0.6 mm over 300 mm, as stored positions are rounded."""


def is_volume_file(path: Path) -> bool:
    """Whether the name is that of a volume file that `read_ct` reads."""
    return path.name.lower().endswith(SUFFIXES)


def volume_name(path: Path) -> str:
    """What a volume is called: its file's name without the suffix (a date's points are none), or its folder's name."""
    lengths = [len(suffix) for suffix in SUFFIXES if path.name.lower().endswith(suffix)]
    if path.is_dir() or not lengths:
        return path.name
    return path.name[: -max(lengths)] or path.name


def read_ct(path: str | Path) -> tuple[NDArray[np.float32], Grid, list[str]]:
    """Read a CT volume.

    A volume whose axes lie along LPS, in any order and sense, is reordered; an oblique one is resampled (linear, air
    outside) to an axis-aligned grid of the same spacing.

    Returns the values float32 [z, y, x], their grid (LPS mm), and warnings in words.

    Raises InputError when the path is missing, empty, unreadable, in colour, of other than three dimensions, too large,
    has absurd spacing or a NIfTI header that contradicts itself (see `volume_files`), or is a folder without exactly one
    complete DICOM series.
    """
    path = Path(path)
    warnings: list[str] = []
    if path.is_dir():
        image = _read_series(path)
    elif not path.exists():
        raise InputError(f"{path} does not exist: check the path.")
    elif not is_volume_file(path):
        raise InputError(f"{path} is not a volume file: use {', '.join(SUFFIXES)}, or a folder of DICOM slices.")
    elif path.stat().st_size == 0:
        raise InputError(f"{path} is empty: export the volume again.")
    else:
        image, words = _read_file(path)
        warnings += words
    values, grid, words = _standardised(path, image)
    return values, grid, warnings + words


def _read_file(path: Path) -> tuple[SimpleITK.Image, list[str]]:
    try:
        reader = open_volume(path)
        _check_header(
            path, reader.GetDimension(), reader.GetNumberOfComponents(), reader.GetSize(), reader.GetSpacing()
        )
        image = read_voxels(path, reader)
    except RuntimeError as error:
        raise InputError(f"{path} is damaged or not a volume ({_last_line(error)}): export it again.") from error
    if not lacks_orientation(path, reader):
        return image, []
    return image, [
        f"{path} does not say how its axes lie in the patient: they were taken to run to the left, to posterior and upwards, so compare "
        "sides with the scan."
    ]


def _read_series(folder: Path) -> SimpleITK.Image:
    import SimpleITK

    # ITK would print its own remark about a folder without DICOM; the message below is the one to read.
    shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        identifiers = SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(plain_name(folder))
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)
    if not identifiers:
        empty = not any(folder.iterdir())
        raise InputError(
            f"{folder} is empty: name a folder of DICOM slices or of bone surfaces."
            if empty
            else f"{folder} holds neither bone surfaces (femur.stl, tibia.ply, ...) nor DICOM slices: name one that does."
        )
    if len(identifiers) > 1:
        raise InputError(
            f"{folder} holds {len(identifiers)} DICOM series: put the slices of one CT into a folder of their own."
        )
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), identifiers[0])
    if len(files) > 1:
        _check_slices(folder, files)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([plain_name(file) for file in files])
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(
            f"{folder} holds DICOM slices that cannot be read ({_last_line(error)}): export them again."
        ) from error
    _check_header(
        folder, image.GetDimension(), image.GetNumberOfComponentsPerPixel(), image.GetSize(), image.GetSpacing()
    )
    return image


def _check_slices(folder: Path, files: tuple[str, ...]) -> None:
    """Refuse slices of other modalities, and gaps and shifts that a regular grid would hide."""
    import pydicom

    positions = []
    tags = ["Modality", "ImagePositionPatient", "ImageOrientationPatient"]
    for name in files:
        try:
            header = pydicom.dcmread(name, stop_before_pixels=True, specific_tags=tags)
            modality = str(header.get("Modality", "CT"))
            positions.append(np.array([float(value) for value in header.ImagePositionPatient]))
            row, column = np.array([float(v) for v in header.get("ImageOrientationPatient", _AXIAL)]).reshape(2, 3)
        except (AttributeError, TypeError, ValueError, OSError, pydicom.errors.InvalidDicomError) as error:
            raise InputError(
                f"{name} says no slice position, so it is no CT slice: remove it from the folder."
            ) from error
        if modality != "CT":
            raise InputError(f"{folder} holds {modality} images, not a CT: a CT in Hounsfield units is needed.")
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    usual = float(np.median(steps))
    if usual <= 0 or float(np.abs(steps / usual - 1).max()) > _UNEVEN:
        raise InputError(
            f"{folder} lacks slices (distances from {steps.min():.2f} to {steps.max():.2f} mm): export the whole CT."
        )
    way = positions[-1] - positions[0]
    across = float(abs(way @ np.cross(row, column)))
    along = float(np.hypot(way @ row, way @ column))
    if along > _SHEARED * across:
        raise InputError(
            f"{folder} was scanned with a tilted gantry: its slices are shifted against one another by {along:.1f} mm over "
            f"{across:.0f} mm; load it in 3D Slicer with the acquisition geometry regularised, harden the transform, and export it as NRRD."
        )


def _check_header(
    path: Path, dimension: int, components: int, size: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    if components != 1:
        raise InputError(
            f"{path} has {components} values a voxel (colour or vectors): a CT in Hounsfield units is needed."
        )
    if dimension != 3 or min(size) < 2:
        shape = " x ".join(str(n) for n in size)
        raise InputError(f"{path} is no volume ({shape} voxels): a three-dimensional CT is needed.")
    if float(np.prod(np.array(size, dtype=np.float64))) > MAXIMUM_VOXELS:
        raise InputError(f"{path} has more than {MAXIMUM_VOXELS:.1e} voxels: crop it to the knee.")
    low, high = SPACING_LIMITS_MM
    if not all(low <= step <= high for step in spacing):
        words = " x ".join(f"{step:g}" for step in spacing)
        raise InputError(f"{path} has a voxel size of {words} mm, outside {low:g} to {high:g} mm: correct its header.")


def _standardised(path: Path, image: SimpleITK.Image) -> tuple[NDArray[np.float32], Grid, list[str]]:
    """Values and grid of an image with its axes along LPS."""
    import SimpleITK

    warnings = []
    image = SimpleITK.DICOMOrient(image, "LPS")
    direction = np.array(image.GetDirection()).reshape(3, 3)
    if float(np.abs(direction - np.eye(3)).max()) > _ALIGNED:
        warnings.append(f"{path} is oblique to the patient's axes and was resampled to an axis-aligned grid.")
        image = _axis_aligned(image, direction)
    values: NDArray[Any] = SimpleITK.GetArrayViewFromImage(image)
    if values.dtype.kind == "f" and not np.isfinite([values.min(), values.max()]).all():
        raise InputError(f"{path} holds NaN or infinite values: replace them by {AIR_HU:g} HU (air).")
    nz, ny, nx = values.shape
    return values.astype(np.float32), Grid(image.GetOrigin(), image.GetSpacing(), (nz, ny, nx)), warnings


def _axis_aligned(image: SimpleITK.Image, direction: NDArray[np.float64]) -> SimpleITK.Image:
    import SimpleITK

    size, spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    corners = np.array(np.meshgrid(*([0, n - 1] for n in size), indexing="ij")).reshape(3, -1).T
    places = corners * spacing @ direction.T + np.array(image.GetOrigin())
    first, last = places.min(axis=0), places.max(axis=0)
    counts = [int(n) for n in np.ceil((last - first) / spacing) + 1]
    return SimpleITK.Resample(
        image, counts, SimpleITK.Transform(3, SimpleITK.sitkIdentity), SimpleITK.sitkLinear, first.tolist(), spacing.tolist(),
        np.eye(3).ravel().tolist(), AIR_HU, SimpleITK.sitkFloat32,
    )  # fmt: skip


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1][:120].rstrip(".") if lines else type(error).__name__
