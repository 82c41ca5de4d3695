"""Simulated radiographs as DICOM objects: Digital X-Ray Image Storage - For Processing (PS3.3 A.26).

Sixteen-bit pixels hold line integrals -log(I/I0), higher where less of the beam came through; the scale is a Real World
Value Mapping (see `real_world_values`), so that they can be read back exactly up to the quantisation.
"""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    generate_uid,
)

from SSRKDCore.anatomy import SIDES
from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.real_world_values import line_integral_mapping

if TYPE_CHECKING:
    from SSRKDCore.geometry.rig import Rig
    from SSRKDCore.geometry.view import View

SMALLEST_STEP = 2.0**-14
"""Finest quantisation of a line integral: images whose values span less than 4 are stored with it."""

_LARGEST_STORED = 65535
_OBLIQUE = float(np.sin(np.radians(15.0)))
"""A direction gets a second letter in Patient Orientation when it leans this far towards it."""
_AXIS_LETTERS = (("R", "L"), ("A", "P"), ("F", "H"))
_VIEW_CODES = {
    "AP": ("399348003", "antero-posterior"),
    "PA": ("272479007", "postero-anterior"),
    "LL": ("399173006", "left lateral"),
    "RL": ("399198007", "right lateral"),
}


def patient_orientation(direction: NDArray[np.float64]) -> str:
    """Letters of a direction (3,) in LPS as in Patient Orientation (0020,0020): L, R, P, A, H, F, strongest first."""
    order = np.argsort(-np.abs(direction), kind="stable")
    kept = [axis for axis in order if abs(direction[axis]) >= _OBLIQUE] or [int(order[0])]
    return "".join(_AXIS_LETTERS[axis][int(direction[axis] > 0)] for axis in kept)


def view_position(beam: NDArray[np.float64]) -> str | None:
    """View Position (0018,5101) of a beam direction (3,): AP, PA, LL or RL within 30 degrees, else None.

    LL and RL name the side of the patient that is next to the detector.
    """
    axis = int(np.argmax(np.abs(beam)))
    if abs(beam[axis]) < np.cos(np.radians(30.0)) or axis == 2:
        return None
    return (("RL", "LL"), ("PA", "AP"))[axis][int(beam[axis] > 0)]


def positioner_angles(beam: NDArray[np.float64]) -> tuple[float, float]:
    """Positioner primary and secondary angle in degrees of a unit beam direction (3,), source to detector, LPS.

    PS3.3 C.8.7.5.1.2: primary 0 has the detector before the chest, +90 at the patient's left; secondary +90 at the
    head.
    """
    # Adding 0.0 turns a negative zero, which would make 180 degrees -180, into a plain one.
    x, y, z = (float(value) for value in beam)
    return float(np.degrees(np.arctan2(x + 0.0, -y))), float(np.degrees(np.arcsin(np.clip(z, -1.0, 1.0))))


def write_radiograph_dicom(
    path: str | Path,
    line_integrals: NDArray[np.floating],
    view: View,
    rig: Rig,
    side: str,
    patient_id: str = "SIMULATED",
    patient_name: str = "Simulated^Radiograph",
    study_uid: str | None = None,
    series_uid: str | None = None,
    instance_number: int = 1,
    when: datetime.datetime | None = None,
    description: str = "simulated radiograph",
) -> None:
    """Write one simulated radiograph as a DX For Processing object.

    The tags state distances, spacing, orientation, positioner angles and view; they cannot hold a detector that is
    off the
    central ray or turned in its plane: rig.json beside the image is the geometry that counts.

    Parameters
    ----------
    path: the file to write.
    line_integrals: [row, column] of `view`, finite.
    view, rig: the view and the rig whose field of view it looks at; distances refer to the centre of that.
    side: "right" or "left".
    patient_id, patient_name: as DICOM holds them; the same patient in all views of a case.
    study_uid, series_uid: shared by images that belong together; new ones when None.
    instance_number: number in the series.
    when: date and time of the exposure; now when None.
    description: a few words for Series Description and Derivation Description.

    Raises InputError for NaN, ValueError for an image that does not fit the view or an unknown side.
    """
    if side not in SIDES:
        raise ValueError(f"the side is {side!r}, not one of {SIDES}")
    if line_integrals.shape != (view.rows, view.columns):
        raise ValueError(f"the image is {line_integrals.shape}, the view {(view.rows, view.columns)}")
    if not np.isfinite(line_integrals).all():
        raise InputError(f"The line integrals of view '{view.name}' hold NaN or infinite values: check the volume.")
    stored, slope, intercept = quantised(line_integrals)

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForProcessing
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    _general(dataset, patient_id, patient_name, study_uid, series_uid, instance_number, when, description)
    _anatomy(dataset, side)
    _positioning(dataset, view, rig)
    _image(dataset, stored, slope, intercept, description)
    # In memory first: pydicom's own error of a full disk is a traceback in words.
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    Path(path).write_bytes(content.getvalue())


def quantised(line_integrals: NDArray[np.floating]) -> tuple[NDArray[np.uint16], float, float]:
    """(stored values, slope, intercept) with line integral = slope x stored + intercept to within half a slope.

    Values below 0 (noise) are kept.
    """
    values = np.asarray(line_integrals, dtype=np.float64)
    intercept = min(0.0, float(values.min()))
    slope = max(SMALLEST_STEP, (float(values.max()) - intercept) / _LARGEST_STORED)
    stored = np.clip(np.rint((values - intercept) / slope), 0, _LARGEST_STORED).astype(np.uint16)
    return stored, slope, intercept


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters (VR DS)."""
    return f"{value:.10g}"


def _general(
    dataset: FileDataset,
    patient_id: str,
    patient_name: str,
    study_uid: str | None,
    series_uid: str | None,
    instance_number: int,
    when: datetime.datetime | None,
    description: str,
) -> None:
    """SOP Common, Patient, General Study, Series, Equipment and Image modules."""
    when = when or datetime.datetime.now()
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = DigitalXRayImageStorageForProcessing
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID = patient_name, patient_id
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study_uid or generate_uid(), series_uid or generate_uid()
    dataset.StudyDate, dataset.StudyTime = date, time
    dataset.ContentDate, dataset.ContentTime = date, time
    dataset.AcquisitionDate, dataset.AcquisitionTime = date, time
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "1", "", ""
    dataset.Modality, dataset.PresentationIntentType = "DX", "FOR PROCESSING"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.AcquisitionNumber = 1, instance_number, instance_number
    dataset.SeriesDescription = description[:64]
    dataset.Manufacturer, dataset.ManufacturerModelName = "SSRKDCore", "digitally reconstructed radiograph"
    dataset.AcquisitionContextSequence = Sequence()


def _anatomy(dataset: FileDataset, side: str) -> None:
    """DX Anatomy Imaged module."""
    dataset.BodyPartExamined = "KNEE"
    dataset.ImageLaterality = side[0].upper()
    dataset.AnatomicRegionSequence = Sequence([_code("72696002", "SCT", "Knee")])


def _positioning(dataset: FileDataset, view: View, rig: Rig) -> None:
    """DX Detector and DX Positioning modules."""
    normal = view.normal
    to_object = float((np.array(rig.field_of_view.center) - np.array(view.source)) @ normal)
    dataset.DetectorType, dataset.DetectorDescription = "DIRECT", "ideal detector (simulated)"
    dataset.ImagerPixelSpacing = [_decimal(spacing) for spacing in view.pixel_spacing]
    dataset.PatientOrientation = [
        patient_orientation(np.array(view.column_direction)),
        patient_orientation(np.array(view.row_direction)),
    ]
    dataset.PositionerType = "NONE"
    primary, secondary = positioner_angles(normal)
    dataset.PositionerPrimaryAngle, dataset.PositionerSecondaryAngle = _decimal(primary), _decimal(secondary)
    dataset.DistanceSourceToDetector = _decimal(view.source_to_detector)
    if to_object > 0:
        dataset.DistanceSourceToPatient = _decimal(to_object)
        dataset.EstimatedRadiographicMagnificationFactor = _decimal(view.source_to_detector / to_object)
    position = view_position(normal)
    if position is not None:
        dataset.ViewPosition = position
        code, meaning = _VIEW_CODES[position]
        item = _code(code, "SCT", meaning)
        item.ViewModifierCodeSequence = Sequence()
        dataset.ViewCodeSequence = Sequence([item])


def _image(dataset: FileDataset, stored: NDArray[np.uint16], slope: float, intercept: float, description: str) -> None:
    """Image Pixel, DX Image and Real World Value Mapping."""
    dataset.ImageType = ["DERIVED", "PRIMARY", ""]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    # -1: higher pixel values mean less X-ray intensity.
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LOG", -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.LossyImageCompression, dataset.BurnedInAnnotation = "00", "NO"
    scale = f"line integral -log(I/I0) = {slope:.9g} x stored value + {intercept:.9g}"
    dataset.DerivationDescription = f"{description}; {scale}"[:1024]
    dataset.ImageComments = scale
    dataset.RealWorldValueMappingSequence = Sequence([line_integral_mapping(slope, intercept, 0, _LARGEST_STORED)])
    dataset.PixelData = np.ascontiguousarray(stored, dtype="<u2").tobytes()
