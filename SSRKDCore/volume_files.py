"""Volume files by SimpleITK, refused where it would place the voxels elsewhere than the file says.

Its NIfTI reader knows right-angled axes only. Of a file whose sform is sheared, or differs from its qform, it takes the qform or turns
the axes into right angles, and says nothing; programs that follow the sform see the bones elsewhere. It also takes a truncated file for a
whole one, and the voxels of ct.nii for those of a ct.nii.gz beside it.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.file_names import plain_name
from SSRKDCore.meta_image_file import is_meta_image, refuse_damaged_meta_data, states_meta_spacing
from SSRKDCore.nrrd_header import check_nrrd_header, nrrd_fields, states_spacing
from SSRKDCore.radiographs.nifti_reader import MILLIMETRES, read_nifti

if TYPE_CHECKING:
    import SimpleITK

AGREEING_MM = 0.1
"""No voxel may lie farther than this from where the sform places it: less than any bone's error, more than rounding makes of a header."""
_RIGHT_ANGLED = 1e-4
"""Cosine between two axes from which on an axis counts as slanted; only the words of the refusal depend on it."""
_LARGEST_NIFTI_BYTES = 16 * 1024**3


def open_volume(path: Path) -> SimpleITK.ImageFileReader:
    """A SimpleITK reader that has read the header of a volume file; `read_voxels` gives its image.

    Raises InputError, naming the file, for a NIfTI file whose sform is sheared or places a corner of the volume more than `AGREEING_MM`
    from where SimpleITK would, for a damaged NRRD header, for lengths in other units than mm or none at all, and for damaged compressed
    values of a MetaImage; RuntimeError for whatever SimpleITK cannot read.
    """
    import SimpleITK

    check_nrrd_header(path)
    refuse_damaged_meta_data(path)
    if (is_meta_image(path) and not states_meta_spacing(path)) or (nrrd_fields(path) and not states_spacing(path)):
        raise InputError(
            f"{path} does not state the size of its voxels: export the volume again, or add it to the header."
        )
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(plain_name(path))
    # ITK would print its own remarks about a sform; the messages below are the ones to read.
    shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise _sheared(path) from error
        raise
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(shown)
    _check_sform(path, reader)
    return reader


def read_voxels(path: Path, reader: SimpleITK.ImageFileReader) -> SimpleITK.Image:
    """The image whose header `open_volume` has read.

    Raises InputError for a damaged or truncated NIfTI file, RuntimeError for whatever else SimpleITK cannot read.
    """
    import SimpleITK

    single_file = _number(reader, "nifti_type") == 1
    if not single_file or reader.GetNumberOfComponents() != 1:
        return reader.Execute()
    values = read_nifti(path, _LARGEST_NIFTI_BYTES)[0]
    image = SimpleITK.GetImageFromArray(values.reshape(reader.GetSize()[::-1]))
    image.SetOrigin(reader.GetOrigin())
    image.SetSpacing(reader.GetSpacing())
    image.SetDirection(reader.GetDirection())
    return image if image.GetPixelID() == reader.GetPixelID() else SimpleITK.Cast(image, reader.GetPixelID())


def lacks_orientation(path: Path, reader: SimpleITK.ImageFileReader) -> bool:
    """Whether a volume is a NIfTI file with neither a qform nor a sform, or a NRRD file without a space.

    Each program takes the axes of such a file as it likes, some mirrored.
    """
    if _number(reader, "qform_code") == 0 and _number(reader, "sform_code") == 0:
        return True
    fields = nrrd_fields(path)
    return bool(fields) and "space" not in fields


def _check_sform(path: Path, reader: SimpleITK.ImageFileReader) -> None:
    if not (_number(reader, "sform_code") or 0) > 0 or reader.GetDimension() != 3:
        return
    sform = np.array([[float(word) for word in reader.GetMetaData(f"srow_{axis}").split()] for axis in "xyz"])
    # NIfTI is RAS, the engine and SimpleITK are LPS.
    sform = np.diag([-1.0, -1.0, 1.0]) @ sform * MILLIMETRES.get(int(_number(reader, "xyzt_units") or 0) & 7, 1.0)
    corners = np.array(list(product(*((0, count - 1) for count in reader.GetSize()))), dtype=np.float64)
    direction = np.array(reader.GetDirection()).reshape(3, 3)
    read = corners * reader.GetSpacing() @ direction.T + reader.GetOrigin()
    distance = float(np.linalg.norm(corners @ sform[:, :3].T + sform[:, 3] - read, axis=1).max())
    if distance <= AGREEING_MM:
        return
    if _slant(sform[:, :3]) > _RIGHT_ANGLED:
        raise _sheared(path)
    other = "qform" if _number(reader, "qform_code") else "voxel size"
    raise InputError(
        f"{path} states two places for its voxels: its sform and its {other} differ by {distance:.1f} mm; correct the "
        "header where it is wrong, or save the volume as NRRD from the program that shows it rightly."
    )


def _slant(axes: NDArray[np.float64]) -> float:
    """Largest cosine between two of the columns (3, 3) of a matrix; 0 where a column is 0."""
    unit = axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-12)
    return float(np.abs(unit.T @ unit - np.diag(np.diag(unit.T @ unit))).max())


def _sheared(path: Path) -> InputError:
    return InputError(
        f"{path} has a sheared sform (its axes do not meet at right angles), which would be read as right angles: resample the volume to "
        "right-angled axes, and save it as NRRD."
    )


def _number(reader: SimpleITK.ImageFileReader, key: str) -> float | None:
    """A number of a NIfTI header; None in other files and where it is none."""
    try:
        return float(reader.GetMetaData(key)) if reader.HasMetaDataKey(key) else None
    except ValueError:
        return None
