"""DICOM radiographs: what the tags mean for the pixels, and which objects are refused."""

from __future__ import annotations

import logging
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless
from radiograph_files import dicom_radiograph, leg_line_integrals, raw_intensity, save_dicom

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs import Radiograph, dicom_reader, read_radiograph
from SSRKDCore.radiographs.view_words import beam_is_posterior_to_anterior
from SSRKDCore.side_by_side import side_by_side

LEG = leg_line_integrals()
RAW = raw_intensity(LEG)
# Rounding of stored intensities: at the densest path I is about 3000 exp(-4) = 55, half a grey level of which is 0.9 %;
# the open field I0 is known to the same rounding.
ROUNDING = 0.012


def read(tmp_path: Path, dataset: Dataset, **choices: Any) -> Radiograph:
    return read_radiograph(save_dicom(dataset, tmp_path / "image.dcm"), **choices)


def test_linear_intensity_becomes_the_line_integrals_it_came_from(tmp_path: Path) -> None:
    dataset = dicom_radiograph(RAW, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1, bits_stored=12)
    radiograph = read(tmp_path, dataset)
    assert radiograph.pixels.dtype == np.float32
    np.testing.assert_allclose(radiograph.pixels, LEG, atol=ROUNDING)
    assert any("I0 = 3000" in step for step in radiograph.steps)


def test_linear_intensity_of_negative_sign_is_turned_round(tmp_path: Path) -> None:
    stored = (4095 - RAW).astype(np.uint16)
    dataset = dicom_radiograph(
        stored, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=-1, bits_stored=12
    )
    np.testing.assert_allclose(read(tmp_path, dataset).pixels, LEG, atol=ROUNDING)


@pytest.mark.parametrize(
    ("stored", "tags"),
    [
        (RAW, {"PixelIntensityRelationshipSign": 1, "RescaleSlope": "-1", "RescaleIntercept": "4095"}),
        (4095 - RAW, {"PixelIntensityRelationshipSign": -1, "RescaleSlope": "2", "RescaleIntercept": "-100"}),
    ],
    ids=["by the rescale", "before the rescale"],
)
def test_rescaled_intensity_is_turned_round_about_what_no_rays_at_all_gave(
    tmp_path: Path, stored: np.ndarray, tags: dict[str, Any]
) -> None:
    dataset = dicom_radiograph(stored.astype(np.uint16), PixelIntensityRelationship="LIN", bits_stored=12, **tags)
    np.testing.assert_allclose(read(tmp_path, dataset).pixels, LEG, atol=ROUNDING)


def test_for_processing_without_a_sign_finds_its_direction_in_the_open_field(tmp_path: Path) -> None:
    for stored in (RAW, (4095 - RAW).astype(np.uint16)):
        dataset = dicom_radiograph(stored, PresentationIntentType="FOR PROCESSING", bits_stored=12)
        radiograph = read(tmp_path, dataset)
        np.testing.assert_allclose(radiograph.pixels, LEG, atol=ROUNDING)
        assert any("open field" in words for words in radiograph.warnings)


def test_rescaled_line_integrals_are_taken_as_they_are(tmp_path: Path) -> None:
    stored = np.round(LEG / 0.0005).astype(np.uint16)
    dataset = dicom_radiograph(
        stored,
        RescaleSlope="0.0005",
        RescaleIntercept="0",
        DerivationDescription="simulated, line integrals -log(I/I0)",
        PresentationIntentType="FOR PROCESSING",
        PhotometricInterpretation="MONOCHROME1",
    )
    np.testing.assert_allclose(read(tmp_path, dataset).pixels, LEG, atol=0.00026)


def test_logarithmic_values_keep_order_and_open_field(tmp_path: Path) -> None:
    stored = np.round(1000 + 500 * LEG).astype(np.uint16)
    dataset = dicom_radiograph(stored, PixelIntensityRelationship="LOG", PixelIntensityRelationshipSign=-1)
    pixels = read(tmp_path, dataset).pixels
    inside = (pixels > 0) & (pixels < pixels.max())
    # A straight map of line integrals: correlation 1 apart from float32 and rounding.
    assert np.corrcoef(pixels[inside], LEG[inside])[0, 1] > 0.99999
    assert pixels[0, 0] == 0


@pytest.mark.parametrize("modality", ["XA", "RF"])
@pytest.mark.parametrize("bone_low", [True, False], ids=["bone low", "bone high"])
def test_logarithmic_fluoroscopy_without_a_sign_is_not_turned_round(
    tmp_path: Path, modality: str, bone_low: bool
) -> None:
    """XA and RF: LOG is proportional to the logarithm of the beam's intensity, and the sign may be left out."""
    stored = np.round(3500 - 500 * LEG if bone_low else 1000 + 500 * LEG).astype(np.uint16)
    radiograph = read(tmp_path, dicom_radiograph(stored, modality, PixelIntensityRelationship="LOG"))
    assert np.corrcoef(radiograph.pixels.ravel(), LEG.ravel())[0, 1] > 0.999
    assert any("seen from the open field" in words for words in radiograph.warnings)
    if bone_low:
        # A leg at the rim of the field shows no direction.
        filled = dicom_radiograph(stored[:, 40:64], modality, PixelIntensityRelationship="LOG")
        assert np.corrcoef(read(tmp_path, filled).pixels.ravel(), LEG[:, 40:64].ravel())[0, 1] > 0.99


def test_fluoroscopy_that_must_state_monochrome2_says_nothing_of_bone_by_it(tmp_path: Path) -> None:
    stored = np.round(3500 - 500 * LEG).astype(np.uint16)
    tags = {"PixelIntensityRelationship": "DISP"}
    radiograph = read(tmp_path, dicom_radiograph(stored, "XA", **tags))
    assert np.corrcoef(radiograph.pixels.ravel(), LEG.ravel())[0, 1] > 0.999
    assert not any("photometric" in words for words in radiograph.warnings)
    filled = read(tmp_path, dicom_radiograph(stored[:, 40:64], "XA", **tags))
    assert any("Nothing tells whether bone is bright or dark" in words for words in filled.warnings)


def test_monochrome1_presentation_shows_the_same_bones_as_monochrome2(tmp_path: Path) -> None:
    display = np.round(200 + 600 * LEG).astype(np.uint16)
    bright = dicom_radiograph(display, "CR", PhotometricInterpretation="MONOCHROME2", bits_stored=12)
    dark = dicom_radiograph(
        (4095 - display).astype(np.uint16), "CR", PhotometricInterpretation="MONOCHROME1", bits_stored=12
    )
    first, second = read(tmp_path, bright), read(tmp_path, dark)
    np.testing.assert_allclose(first.pixels, second.pixels, atol=1e-5)
    assert first.pixels[24, 36] > first.pixels[24, 56] > first.pixels[24, 2] == 0
    assert any("not calibrated" in words for words in first.warnings)


def test_a_picture_that_contradicts_its_photometric_interpretation_is_believed(tmp_path: Path) -> None:
    display = np.round(200 + 600 * LEG).astype(np.uint16)
    wrong = dicom_radiograph(display, "CR", PhotometricInterpretation="MONOCHROME1", bits_stored=12)
    radiograph = read(tmp_path, wrong)
    assert radiograph.pixels[24, 36] > radiograph.pixels[24, 2]
    assert any("the picture was followed" in words for words in radiograph.warnings)


def test_pixel_order_is_never_changed(tmp_path: Path) -> None:
    # A thin "fibula" at the right of the lower half, nowhere else: any flip or transposition moves it.
    radiograph = read(
        tmp_path, dicom_radiograph(RAW, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1)
    )
    excess = radiograph.pixels[70, 54] - radiograph.pixels[30, 54]
    mirrored = radiograph.pixels[70, 25] - radiograph.pixels[30, 25]
    assert radiograph.pixels.shape == (96, 80)
    assert excess > 0.5 > mirrored


def test_modality_lut_sequence_maps_stored_values(tmp_path: Path) -> None:
    # Stored values 10..4009 through a table that undoes a square root.
    stored = (np.round(np.sqrt(RAW.astype(float)) * 60) + 10).astype(np.uint16)
    table = [round((index / 60) ** 2) for index in range(4000)]
    item = Dataset()
    item.add_new(0x00283002, "US", [4000, 10, 16])
    item.ModalityLUTType = "US"
    item.add_new(0x00283006, "US", table)
    dataset = dicom_radiograph(
        stored,
        "RF",
        ModalityLUTSequence=Sequence([item]),
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=1,
    )
    radiograph = read(tmp_path, dataset)
    assert any("Modality LUT (4000 entries)" in step for step in radiograph.steps)
    # A table of whole numbers indexed by a rounded root: about 2 % of the faintest intensity (55 of 3000).
    np.testing.assert_allclose(radiograph.pixels, LEG, atol=0.03)


def test_display_window_changes_nothing(tmp_path: Path) -> None:
    tags: dict[str, Any] = {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1}
    plain = read(tmp_path, dicom_radiograph(RAW, **tags))
    windowed = read(tmp_path, dicom_radiograph(RAW, WindowCenter="300", WindowWidth="100", **tags))
    np.testing.assert_array_equal(plain.pixels, windowed.pixels)
    assert any("VOI LUT" in step for step in windowed.steps)


def test_padding_is_no_signal_and_no_open_field(tmp_path: Path) -> None:
    stored = RAW.copy()
    stored[:10] = 60000
    tags: dict[str, Any] = {
        "PixelIntensityRelationship": "LIN",
        "PixelIntensityRelationshipSign": 1,
        "PixelPaddingValue": 60000,
    }
    radiograph = read(tmp_path, dicom_radiograph(stored, **tags))
    assert (radiograph.pixels[:10] == 0).all()
    np.testing.assert_allclose(radiograph.pixels[10:], LEG[10:], atol=ROUNDING)


def test_signed_values_and_old_overlays_in_unused_bits(tmp_path: Path) -> None:
    signed = (RAW.astype(np.int32) - 2000).astype(np.int16)
    dataset = dicom_radiograph(
        signed,
        RescaleSlope="1",
        RescaleIntercept="2000",
        PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=1,
    )
    np.testing.assert_allclose(read(tmp_path, dataset).pixels, LEG, atol=ROUNDING)
    overlaid = RAW.copy()
    overlaid[5:20, 5:20] |= 1 << 14
    dataset = dicom_radiograph(
        overlaid, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1, bits_stored=12
    )
    np.testing.assert_allclose(read(tmp_path, dataset).pixels, LEG, atol=ROUNDING)


def test_one_frame_of_many_must_be_chosen(tmp_path: Path) -> None:
    frames = np.stack([RAW // 4, RAW, RAW // 2])
    dataset = dicom_radiograph(
        frames,
        "XA",
        PixelIntensityRelationship="LIN",
        PositionerPrimaryAngle="10",
        PositionerPrimaryAngleIncrement=["0", "5", "10"],
    )
    path = save_dicom(dataset, tmp_path / "run.dcm")
    with pytest.raises(InputError, match=r"run\.dcm holds 3 frames: choose one of them, frame 1 to 3"):
        read_radiograph(path)
    with pytest.raises(InputError, match="frame 4 does not exist"):
        read_radiograph(path, frame=4)
    radiograph = read_radiograph(path, frame=2)
    np.testing.assert_allclose(radiograph.pixels, LEG, atol=ROUNDING)
    assert any("I0 = 3000" in step for step in radiograph.steps)
    assert radiograph.geometry is not None and radiograph.geometry.primary_angle == 15.0


def test_each_frame_of_an_enhanced_object_has_its_own_scale_and_direction(tmp_path: Path) -> None:
    dataset = dicom_radiograph(np.stack([RAW, (4095 - RAW).astype(np.uint16), RAW]), "XA", bits_stored=12)
    groups = []
    for slope, intercept, sign in (("1", "0", 1), ("1", "0", -1), ("-1", "4095", 1)):
        properties, scale, group = Dataset(), Dataset(), Dataset()
        properties.PixelIntensityRelationship, properties.PixelIntensityRelationshipSign = "LIN", sign
        scale.RescaleSlope, scale.RescaleIntercept = slope, intercept
        group.FramePixelDataPropertiesSequence = Sequence([properties])
        group.PixelValueTransformationSequence = Sequence([scale])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    path = save_dicom(dataset, tmp_path / "run.dcm")
    for frame in (1, 2, 3):
        np.testing.assert_allclose(read_radiograph(path, frame=frame).pixels, LEG, atol=ROUNDING)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=["RLE", "JPEG2000", "JPEG-LS"])
def test_lossless_compression_gives_the_same_pixels(tmp_path: Path, syntax: str) -> None:
    tags: dict[str, Any] = {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1, "bits_stored": 12}
    plain = read(tmp_path, dicom_radiograph(RAW, **tags))
    dataset = dicom_radiograph(RAW, **tags)
    try:
        dataset.compress(syntax, RAW, generate_instance_uid=False)
    except RuntimeError as error:
        # Only JPEG-LS may lack an encoder here; gdcm then makes the file.
        if syntax != JPEGLSLossless:
            raise
        compressed = gdcm_compressed(tmp_path, dicom_radiograph(RAW, **tags))
        assert "pyjpegls" in str(error)
    else:
        compressed = save_dicom(dataset, tmp_path / "compressed.dcm")
    radiograph = read_radiograph(compressed)
    np.testing.assert_array_equal(radiograph.pixels, plain.pixels)
    assert any("JPEG" in step or "RLE" in step for step in radiograph.steps)


def gdcm_compressed(tmp_path: Path, dataset: Dataset, syntax: str = "JPEGLSLossless") -> Path:
    """Compress a file with gdcm, which encodes what pydicom alone cannot."""
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(save_dicom(dataset, tmp_path / "plain.dcm")))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "gdcm.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return tmp_path / "gdcm.dcm"


def test_jpeg_lossless_gives_the_same_pixels(tmp_path: Path) -> None:
    tags: dict[str, Any] = {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1}
    plain = read(tmp_path, dicom_radiograph(RAW, **tags))
    compressed = gdcm_compressed(tmp_path, dicom_radiograph(RAW, **tags), "JPEGLosslessProcess14_1")
    np.testing.assert_array_equal(read_radiograph(compressed).pixels, plain.pixels)


def test_a_missing_decoder_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_decoder(*_: object, **__: object) -> None:
        raise RuntimeError(
            "Unable to decompress 'JPEG 2000' because all plugins are missing dependencies:\n\tgdcm - ..."
        )

    dataset = dicom_radiograph(RAW)
    dataset.compress(JPEG2000Lossless, RAW, generate_instance_uid=False)
    monkeypatch.setattr(dicom_reader, "pixel_array", no_decoder)
    with pytest.raises(InputError, match=r"JPEG 2000.*pip install ssrkdcore\[dicom-codecs\]"):
        read(tmp_path, dataset)


def test_what_the_file_says_is_kept(tmp_path: Path) -> None:
    dataset = dicom_radiograph(
        RAW,
        ImageLaterality="L",
        ViewPosition="LL",
        PatientOrientation=["P", "F"],
        DistanceSourceToDetector="1150",
        DistanceSourceToPatient="1000",
        EstimatedRadiographicMagnificationFactor="1.15",
        ImagerPixelSpacing=["0.2", "0.1"],
    )
    radiograph = read(tmp_path, dataset)
    assert (radiograph.side, radiograph.view, radiograph.patient_id) == ("left", "lateral", "P1")
    assert radiograph.pixel_spacing == (0.2, 0.1) and radiograph.spacing_plane == "detector"
    geometry = radiograph.geometry
    assert geometry is not None
    assert (geometry.source_to_detector, geometry.source_to_patient, geometry.estimated_magnification) == (
        1150,
        1000,
        1.15,
    )
    assert geometry.patient_orientation == ("P", "F") and geometry.modality == "DX"


def test_a_view_that_contradicts_the_file_is_warned_about(tmp_path: Path) -> None:
    radiograph = read(tmp_path, dicom_radiograph(RAW, ViewPosition="AP"), view="lateral")
    assert radiograph.view == "lateral" and any("swapped" in words for words in radiograph.warnings)


@pytest.mark.parametrize(
    ("position", "view"),
    [("BILATERAL AP", "ap"), ("BILATERAL", None), ("AP_UNILATERAL", "ap"), ("UNILATERAL LAT", "lateral"), ("LAT", "lateral")],
)  # fmt: skip
def test_words_for_both_knees_are_no_lateral_view(tmp_path: Path, position: str, view: str | None) -> None:
    assert read(tmp_path, dicom_radiograph(RAW, ViewPosition=position)).view == view


def test_a_frontal_beam_of_both_knees_keeps_its_direction() -> None:
    assert beam_is_posterior_to_anterior("BILATERAL PA") and beam_is_posterior_to_anterior("postero_anterior")
    assert not beam_is_posterior_to_anterior("BILATERAL AP")


@pytest.mark.parametrize(
    ("part", "warned"),
    [("LEFT KNEE", False), ("KNEES", False), ("LEG", False), ("", False), ("HAND", True), ("ELBOW", True)],
)
def test_another_body_part_is_warned_about_and_every_knee_is_one(tmp_path: Path, part: str, warned: bool) -> None:
    words = read(tmp_path, dicom_radiograph(RAW, BodyPartExamined=part)).warnings
    assert any("not a knee" in sentence for sentence in words) == warned


def colour() -> Dataset:
    dataset = dicom_radiograph(np.zeros((96, 240), np.uint8))
    dataset.Columns, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 80, 3, "RGB"
    dataset.PlanarConfiguration = 0
    return dataset


def of_modality(modality: str, sop_class: str) -> Dataset:
    dataset = dicom_radiograph(RAW, Modality=modality, SOPClassUID=sop_class)
    dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    return dataset


def without_pixels() -> Dataset:
    dataset = dicom_radiograph(RAW)
    del dataset.PixelData
    return dataset


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (colour(), "colour image"),
        (without_pixels(), "without pixels"),
        (of_modality("CT", "1.2.840.10008.5.1.4.1.1.2"), "is a CT .*not a radiograph"),
        (of_modality("MR", "1.2.840.10008.5.1.4.1.1.4"), "is a MR .*not a radiograph"),
        (of_modality("US", "1.2.840.10008.5.1.4.1.1.6.1"), "is a US .*not a radiograph"),
        (of_modality("OT", "1.2.840.10008.5.1.4.1.1.7"), "Secondary Capture"),
        (dicom_radiograph(RAW, ImagerPixelSpacing=["0", "0"]), "Imager Pixel Spacing of 0 x 0 mm"),
        (dicom_radiograph(RAW, ImagerPixelSpacing=["143", "143"]), "143 x 143 mm"),
        (dicom_radiograph(RAW, PixelSpacing=["-0.1", "0.1"]), "which no radiograph has"),
        (dicom_radiograph(np.full((96, 80), 7, np.uint16)), "constant"),
        (dicom_radiograph(np.zeros((96, 80), np.uint16), PixelPaddingValue=0), "padding only"),
        (dicom_radiograph(np.where(LEG > 0.5, 4095, RAW).astype(np.uint16)), "saturated"),
        (dicom_radiograph(RAW, RescaleSlope="0"), "rescale slope of 0"),
        (dicom_radiograph(RAW[:4, :4]), "too few"),
    ],
)
def test_unusable_objects_are_refused_with_the_reason(tmp_path: Path, dataset: Dataset, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path, dataset)
    assert "image.dcm" in str(caught.value)


def test_missing_spacing_is_a_warning_and_the_users_spacing_replaces_it(tmp_path: Path) -> None:
    path = save_dicom(dicom_radiograph(RAW), tmp_path / "image.dcm")
    radiograph = read_radiograph(path)
    assert radiograph.pixel_spacing is None and any("no pixel spacing" in words for words in radiograph.warnings)
    given = read_radiograph(path, pixel_spacing=(0.2, 0.25))
    assert given.pixel_spacing == (0.2, 0.25) and given.spacing_plane == "detector"
    assert not any("no pixel spacing" in words for words in given.warnings)


def test_truncated_pixels_are_refused(tmp_path: Path) -> None:
    path = save_dicom(dicom_radiograph(RAW), tmp_path / "cut.dcm")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"cut\.dcm.*(truncated|damaged)"):
        read_radiograph(path)


def test_reading_on_several_threads_leaves_warnings_and_logging_as_they_were(tmp_path: Path) -> None:
    path = save_dicom(dicom_radiograph(RAW), tmp_path / "image.dcm")
    before = list(warnings.filters), logging.getLogger("pydicom").level
    for _ in range(40):
        side_by_side([partial(read_radiograph, path)] * 4)
        assert (list(warnings.filters), logging.getLogger("pydicom").level) == before


def test_a_bare_data_set_without_preamble_is_read(tmp_path: Path) -> None:
    dataset = dicom_radiograph(RAW, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1)
    whole = save_dicom(dataset, tmp_path / "whole.dcm").read_bytes()
    meta_length = int.from_bytes(whole[140:144], "little")
    (tmp_path / "bare").write_bytes(whole[144 + meta_length :])
    np.testing.assert_allclose(read_radiograph(tmp_path / "bare").pixels, LEG, atol=ROUNDING)
