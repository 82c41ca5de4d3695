"""Small radiograph files of every kind, made by the tests themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    XRayAngiographicImageStorage,
    XRayRadiofluoroscopicImageStorage,
    generate_uid,
)

SOP_CLASSES = {
    "CR": ComputedRadiographyImageStorage,
    "DX": DigitalXRayImageStorageForPresentation,
    "XA": XRayAngiographicImageStorage,
    "RF": XRayRadiofluoroscopicImageStorage,
}


def leg_line_integrals(rows: int = 96, columns: int = 80) -> NDArray[np.float64]:
    """A leg from top to bottom with open field at both sides; asymmetric left to right and top to bottom.

    0 beside the leg, about 2.4 in soft tissue, up to about 4 in the wide "femur" (upper half, left of the middle) and
    in the thin "fibula" (lower half, right).
    """
    row, column = np.mgrid[0:rows, 0:columns].astype(float)
    x = (column + 0.5) / columns
    y = (row + 0.5) / rows
    leg = 2.4 * np.sqrt(np.clip(1 - ((x - 0.5) / 0.34) ** 2, 0, None))
    femur = 1.5 * np.clip(1 - ((x - 0.45) / 0.14) ** 2, 0, None) * (y < 0.5)
    tibia = 1.2 * np.clip(1 - ((x - 0.45) / 0.1) ** 2, 0, None) * (y >= 0.55)
    fibula = 0.8 * np.clip(1 - ((x - 0.68) / 0.03) ** 2, 0, None) * (y > 0.6)
    return leg + femur + tibia + fibula


def dicom_radiograph(
    stored: NDArray[Any], modality: str = "DX", bits_stored: int | None = None, **attributes: Any
) -> FileDataset:
    """A projection X-ray object of stored values [row, column] or [frame, row, column]; attributes by DICOM keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SOP_CLASSES[modality]
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = SOP_CLASSES[modality]
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = modality
    dataset.PatientID = "P1"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        dataset.NumberOfFrames = stored.shape[0]
    dataset.BitsAllocated = stored.dtype.itemsize * 8
    dataset.BitsStored = bits_stored or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def save_dicom(dataset: Dataset, path: Path) -> Path:
    """Write a DICOM file and return its path."""
    dataset.save_as(path, enforce_file_format=True)
    return path


def save_image(array: NDArray[Any], path: Path, spacing: tuple[float, ...] | None = None, vector: bool = False) -> Path:
    """Write an array [row, column], [slice, row, column] or [row, column, colour]; spacing is x, y(, z)."""
    image = sitk.GetImageFromArray(array, isVector=vector)
    if spacing is not None:
        image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))
    return path


def raw_intensity(line_integrals: NDArray[np.float64], open_field: float = 3000.0) -> NDArray[np.uint16]:
    """What a linear detector stores: I0 exp(-line integral), rounded."""
    return np.round(open_field * np.exp(-line_integrals)).astype(np.uint16)
