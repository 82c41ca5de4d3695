"""Simulated radiographs as DX objects: required attributes, line integrals read back, geometry read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.presets import central_view, preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.radiographs.dicom_writer import (
    SMALLEST_STEP,
    patient_orientation,
    positioner_angles,
    quantised,
    view_position,
    write_radiograph_dicom,
)
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.radiographs.real_world_values import line_integral_scale

# PS3.3: attributes of Type 1 (with a value) and Type 2 (may be empty) of the mandatory modules of the DX IOD, A.26.
TYPE_1 = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "PresentationIntentType",
    "ImageLaterality",
    "ImageType",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "PresentationLUTShape",
    "LossyImageCompression",
    "BurnedInAnnotation",
    "ImagerPixelSpacing",
    "PatientOrientation",
)
TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "SeriesNumber",
    "InstanceNumber",
    "Manufacturer",
    "AnatomicRegionSequence",
    "DetectorType",
    "AcquisitionContextSequence",
    "PositionerType",
)


def picture(rows: int, columns: int) -> np.ndarray:
    """Line integrals like a leg's: open field beside it, denser to one corner."""
    y, x = np.mgrid[0:rows, 0:columns]
    leg = np.clip(1.2 - np.abs(x / columns - 0.5) * 3, 0, 1)
    return (leg * (2.5 + 1.5 * y / rows) + 0.2 * leg * x / columns).astype(np.float32)


def small_rig(side: str = "right") -> Rig:
    return preset("room", side, pixel_spacing=(2.0, 1.5), rows=80, columns=90)


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    rig, files = small_rig(), {}
    for view in rig.views:
        files[view.name] = tmp_path / f"{view.name}.dcm"
        write_radiograph_dicom(files[view.name], picture(80, 90), view, rig, "right")
    return files


def test_every_required_attribute(written: dict[str, Path]) -> None:
    for path in written.values():
        dataset = pydicom.dcmread(path)
        for keyword in TYPE_1:
            assert keyword in dataset and dataset[keyword].value not in (None, "", []), keyword
        for keyword in TYPE_2:
            assert keyword in dataset, keyword
        assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.1.1"
        # The DX Image module allows no other values.
        assert (dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType) == (1, 0, "US")
        assert dataset.PixelIntensityRelationship == "LOG" and dataset.PixelIntensityRelationshipSign == -1
        assert "line integral" in dataset.DerivationDescription
        pydicom.dcmread(path).save_as(path.with_suffix(".again"), enforce_file_format=True)
        for element in dataset.iterall():
            if element.VR == "DS":
                values = element.value if element.VM > 1 else [element.value]
                assert all(len(str(value)) <= 16 for value in values), element


def test_geometry_attributes(written: dict[str, Path]) -> None:
    ap, lateral = (pydicom.dcmread(written[name]) for name in ("ap", "lateral"))
    assert list(ap.ImagerPixelSpacing) == [2.0, 1.5]
    assert ap.DistanceSourceToDetector == 1150 and ap.DistanceSourceToPatient == 1000
    assert ap.EstimatedRadiographicMagnificationFactor == pytest.approx(1.15)
    assert (ap.ImageLaterality, ap.BodyPartExamined) == ("R", "KNEE")
    assert list(ap.PatientOrientation) == ["L", "F"] and list(lateral.PatientOrientation) == ["P", "F"]
    assert (ap.ViewPosition, lateral.ViewPosition) == ("AP", "RL"), "a right knee has its lateral side at the detector"
    assert (ap.PositionerPrimaryAngle, lateral.PositionerPrimaryAngle) == (180, -90)
    assert ap.ViewCodeSequence[0].CodeValue == "399348003"


def test_line_integrals_come_back_within_the_quantisation(written: dict[str, Path]) -> None:
    dataset = pydicom.dcmread(written["ap"])
    scale = line_integral_scale(dataset)
    assert scale is not None
    np.testing.assert_allclose(dataset.pixel_array * scale[0] + scale[1], picture(80, 90), atol=scale[0] / 2 * 1.001)
    radiograph = read_radiograph(written["ap"])
    np.testing.assert_allclose(radiograph.pixels, picture(80, 90), atol=1e-4)
    assert (radiograph.view, radiograph.side, radiograph.pixel_spacing) == ("ap", "right", (2.0, 1.5))
    assert radiograph.warnings == ()


def test_other_readers_see_the_same_pixels(written: dict[str, Path]) -> None:
    import SimpleITK

    image = SimpleITK.ReadImage(str(written["lateral"]))
    stored = pydicom.dcmread(written["lateral"]).pixel_array
    np.testing.assert_array_equal(np.squeeze(SimpleITK.GetArrayFromImage(image)), stored)
    np.testing.assert_allclose(image.GetSpacing()[:2], (1.5, 2.0))


def test_the_tags_give_the_rig_back(written: dict[str, Path]) -> None:
    from SSRKDCore.geometry.dicom_rig import rig_from_dicom

    rig, _ = rig_from_dicom([read_radiograph(written[name]) for name in ("ap", "lateral")])
    for found, view in zip(rig.views, small_rig().views, strict=True):
        np.testing.assert_allclose(found.projection_matrix, view.projection_matrix, atol=1e-6, rtol=1e-6)


def test_quantisation() -> None:
    values = np.array([[-0.3, 0.0], [1.0, 3.0]])
    stored, slope, intercept = quantised(values)
    assert slope == SMALLEST_STEP and intercept == -0.3
    np.testing.assert_allclose(stored * slope + intercept, values, atol=slope / 2)
    stored, slope, intercept = quantised(np.array([[0.0, 11.5]]))
    assert stored.max() == 65535 and slope * 65535 == pytest.approx(11.5)


@pytest.mark.parametrize(
    ("beam", "angles", "position"),
    [
        ((0, -1, 0), (0, 0), "PA"),
        ((1, 0, 0), (90, 0), "LL"),
        ((-1, 0, 0), (-90, 0), "RL"),
        ((0, 1, 0), (180, 0), "AP"),
        ((0, 0, 1), (0, 90), None),
        ((np.sqrt(0.5), np.sqrt(0.5), 0), (135, 0), None),
    ],
)
def test_angles_and_names_of_beams(beam: tuple[float, ...], angles: tuple[float, float], position: str | None) -> None:
    """PS3.3 C.8.7.5.1.2: the detector before the chest is 0, at the patient's left +90, at the head +90 (secondary)."""
    found = positioner_angles(np.array(beam, dtype=float))
    assert found[1] == pytest.approx(angles[1], abs=1e-9)
    if abs(angles[1]) < 90:
        assert np.cos(np.radians(found[0] - angles[0])) == pytest.approx(1)
    assert view_position(np.array(beam, dtype=float)) == position


def test_oblique_directions_have_two_letters() -> None:
    assert patient_orientation(np.array([0.8, 0.6, 0.0])) == "LP"
    assert patient_orientation(np.array([-0.1, 0.1, 0.99])) == "H"
    assert patient_orientation(np.array([0.3, 0.3, -0.9])) == "FLP"


def test_what_cannot_be_written(tmp_path: Path) -> None:
    rig = small_rig()
    view = rig.views[0]
    bad = picture(80, 90)
    bad[3, 4] = np.nan
    with pytest.raises(InputError, match="NaN"):
        write_radiograph_dicom(tmp_path / "a.dcm", bad, view, rig, "right")
    with pytest.raises(ValueError, match="80"):
        write_radiograph_dicom(tmp_path / "a.dcm", picture(90, 80), view, rig, "right")
    with pytest.raises(ValueError, match="side"):
        write_radiograph_dicom(tmp_path / "a.dcm", picture(80, 90), view, rig, "both")
    assert not list(tmp_path.iterdir())


def test_oblique_view_without_a_name_is_still_valid(tmp_path: Path) -> None:
    beam = np.array([1.0, 1.0, 0.3]) / np.linalg.norm([1.0, 1.0, 0.3])
    across = np.cross(beam, [0, 0, 1.0]) / np.linalg.norm(np.cross(beam, [0, 0, 1.0]))
    view = central_view("oblique", beam, across, np.cross(beam, across), 700, 1000, (1.0, 1.0), 40, 50)
    rig = Rig((view, *small_rig().views), small_rig().field_of_view)
    write_radiograph_dicom(tmp_path / "oblique.dcm", picture(40, 50), view, rig, "left")
    dataset = pydicom.dcmread(tmp_path / "oblique.dcm")
    assert "ViewPosition" not in dataset and "ViewCodeSequence" not in dataset
    assert dataset.PositionerPrimaryAngle == pytest.approx(135) and dataset.ImageLaterality == "L"
