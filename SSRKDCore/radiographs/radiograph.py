"""One X-ray image as the engine uses it, and the geometry that a DICOM object states about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VIEW_NAMES = ("ap", "lateral")
INTENSITY_KINDS = ("auto", "line_integral", "raw", "presentation")


@dataclass(frozen=True)
class DicomGeometry:
    """What a DICOM object says about how it was taken; None where it says nothing.

    Distances and spacings are millimetres, angles degrees. Spacings are (between rows, between columns), as in DICOM.

    Attributes
    ----------
    modality: CR, DX, RF or XA.
    source_to_detector: Distance Source to Detector (0018,1110).
    source_to_patient: Distance Source to Patient (0018,1111): to the isocentre for XA and RF; for CR and DX some
        makers write the distance to the table top.
    primary_angle: Positioner Primary Angle (0018,1510) of the chosen frame: 0 with the detector before the chest,
        +90 with the detector at the patient's left (LAO), -90 at the right (RAO). PS3.3 C.8.7.5.1.2.
    secondary_angle: Positioner Secondary Angle (0018,1511): +90 with the detector at the head (cranial).
    positioner_type: Positioner Type (0018,1508): CARM, COLUMN, ...
    imager_pixel_spacing: Imager Pixel Spacing (0018,1164), at the detector.
    pixel_spacing: Pixel Spacing (0028,0030), calibrated when it differs from the imager's.
    calibration_type: Pixel Spacing Calibration Type (0028,0A02): GEOMETRY or FIDUCIAL.
    calibration_description: Pixel Spacing Calibration Description (0028,0A04).
    estimated_magnification: Estimated Radiographic Magnification Factor (0018,1114).
    view_position: View Position (0018,5101) or, without it, the meaning of the View Code (0054,0220).
    laterality: Image Laterality (0020,0062) or Laterality (0020,0060): R, L, U or B.
    patient_orientation: Patient Orientation (0020,0020): the patient directions along which (columns, rows) grow,
        for example ("L", "F").
    image_orientation: Image Orientation (Patient) (0020,0037), six cosines, rare in projection images.
    """

    modality: str
    source_to_detector: float | None = None
    source_to_patient: float | None = None
    primary_angle: float | None = None
    secondary_angle: float | None = None
    positioner_type: str | None = None
    imager_pixel_spacing: tuple[float, float] | None = None
    pixel_spacing: tuple[float, float] | None = None
    calibration_type: str | None = None
    calibration_description: str | None = None
    estimated_magnification: float | None = None
    view_position: str | None = None
    laterality: str | None = None
    patient_orientation: tuple[str, str] | None = None
    image_orientation: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Radiograph:
    """An X-ray image of line integrals.

    Attributes
    ----------
    pixels: float32 [row, column], line integrals -log(I / I0): 0 where the beam met nothing, larger where it met more.
    pixel_spacing: (between rows, between columns) in mm, the spacing that wins, or None when the file states none.
    spacing_plane: the plane in which `pixel_spacing` holds: "detector" (the detector's own pitch) or "object" (a plane
        through the patient, where the pitch is the detector's divided by the magnification). Only a calibrated DICOM
        Pixel Spacing is "object"; `geometry.imager_pixel_spacing` then keeps the detector's pitch where it is known.
    view: "ap", "lateral" or None.
    side: "right", "left" or None.
    patient_id: as the file states it, or None.
    steps: what was done to the stored pixels, in words and in order.
    warnings: what the user should know before trusting the result.
    geometry: what a DICOM object states about the acquisition; None for other files.
    source_path: the file.
    coverage: bool [row, column], False where the collimator hid the patient (see `preparation`); None when nothing is hidden.
    """

    pixels: NDArray[np.float32]
    pixel_spacing: tuple[float, float] | None = None
    spacing_plane: str = "detector"
    view: str | None = None
    side: str | None = None
    patient_id: str | None = None
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    geometry: DicomGeometry | None = None
    source_path: str = ""
    coverage: NDArray[np.bool_] | None = None

    @property
    def rows(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def columns(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def detector_pixel_spacing(self) -> tuple[float, float] | None:
        """(between rows, between columns) in mm on the detector, or None where only a calibrated spacing is known."""
        if self.spacing_plane == "detector":
            return self.pixel_spacing
        return self.geometry.imager_pixel_spacing if self.geometry is not None else None

    @property
    def calibrated_magnification(self) -> float | None:
        """Detector pitch over calibrated pitch (geometric mean of both axes), or None where not both are known."""
        detector = self.detector_pixel_spacing
        if self.spacing_plane != "object" or detector is None or self.pixel_spacing is None:
            return None
        return float(np.sqrt(detector[0] * detector[1] / (self.pixel_spacing[0] * self.pixel_spacing[1])))
