"""Which pixel spacing wins, in which plane it holds, and what the user is told: cases with numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from radiograph_files import dicom_radiograph, leg_line_integrals, raw_intensity, save_dicom

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs import Radiograph, read_radiograph

RAW = raw_intensity(leg_line_integrals())


def read(tmp_path: Path, **attributes: Any) -> Radiograph:
    return read_radiograph(save_dicom(dicom_radiograph(RAW, **attributes), tmp_path / "image.dcm"))


def test_imager_spacing_alone_is_the_detectors(tmp_path: Path) -> None:
    radiograph = read(tmp_path, ImagerPixelSpacing=["0.143", "0.143"])
    assert radiograph.pixel_spacing == (0.143, 0.143)
    assert radiograph.spacing_plane == "detector"
    assert radiograph.detector_pixel_spacing == (0.143, 0.143)
    assert radiograph.calibrated_magnification is None


def test_equal_spacings_are_the_detectors_and_need_no_explanation(tmp_path: Path) -> None:
    radiograph = read(tmp_path, ImagerPixelSpacing=["0.2", "0.2"], PixelSpacing=["0.2", "0.2"])
    assert (radiograph.pixel_spacing, radiograph.spacing_plane) == ((0.2, 0.2), "detector")
    assert not any("spacing" in words for words in radiograph.warnings)


def test_different_rounding_is_no_calibration(tmp_path: Path) -> None:
    radiograph = read(tmp_path, ImagerPixelSpacing=["0.139", "0.139"], PixelSpacing=["0.14", "0.14"])
    assert (radiograph.pixel_spacing, radiograph.spacing_plane) == ((0.14, 0.14), "detector")


@pytest.mark.parametrize(("kind", "words"), [("GEOMETRY", "nominal depth"), ("FIDUCIAL", "object of known size")])
def test_calibrated_spacing_wins_and_is_explained(tmp_path: Path, kind: str, words: str) -> None:
    # A 25 mm ball measured as 28.75 mm on the detector: magnification 1.15, so 0.2 mm of detector are 0.1739 mm of
    # knee.
    radiograph = read(
        tmp_path,
        ImagerPixelSpacing=["0.23", "0.23"],
        PixelSpacing=["0.2", "0.2"],
        PixelSpacingCalibrationType=kind,
        PixelSpacingCalibrationDescription="25 mm ball",
    )
    assert (radiograph.pixel_spacing, radiograph.spacing_plane) == ((0.2, 0.2), "object")
    assert radiograph.detector_pixel_spacing == (0.23, 0.23)
    assert radiograph.calibrated_magnification == pytest.approx(1.15, rel=1e-12)
    explained = [text for text in radiograph.warnings if "Calibrated pixel spacing" in text]
    assert len(explained) == 1
    # 0.2 / 0.23 = 0.8696: 13.0 % smaller.
    for part in ("0.2 mm", "0.23 mm", "13.0 % smaller", words, "25 mm ball", "magnified 1.150 times"):
        assert part in explained[0]
    assert any("calibrated" in step for step in radiograph.steps)


def test_a_stated_calibration_of_half_a_percent_counts(tmp_path: Path) -> None:
    spacing: dict[str, Any] = {"ImagerPixelSpacing": ["0.2", "0.2"], "PixelSpacing": ["0.199", "0.199"]}
    assert read(tmp_path, **spacing).spacing_plane == "detector"
    assert read(tmp_path, PixelSpacingCalibrationType="GEOMETRY", **spacing).spacing_plane == "object"


def test_calibrated_spacing_larger_than_the_detectors_says_that_pixels_were_resized(tmp_path: Path) -> None:
    radiograph = read(tmp_path, ImagerPixelSpacing=["0.1", "0.1"], PixelSpacing=["0.18", "0.18"])
    assert (radiograph.pixel_spacing, radiograph.spacing_plane) == ((0.18, 0.18), "object")
    assert any("80.0 % larger" in words and "resized" in words for words in radiograph.warnings)


def test_pixel_spacing_alone_is_at_the_detector_unless_it_is_calibrated(tmp_path: Path) -> None:
    plain = read(tmp_path, PixelSpacing=["0.16", "0.16"])
    assert plain.spacing_plane == "detector" and any("taken at the detector" in words for words in plain.warnings)
    fiducial = read(tmp_path, PixelSpacing=["0.16", "0.16"], PixelSpacingCalibrationType="FIDUCIAL")
    assert fiducial.spacing_plane == "object" and fiducial.detector_pixel_spacing is None


def test_a_scanned_films_spacing_is_the_last_resort(tmp_path: Path) -> None:
    radiograph = read(tmp_path, NominalScannedPixelSpacing=["0.17", "0.17"])
    assert radiograph.pixel_spacing == (0.17, 0.17)
    assert any("film" in words for words in radiograph.warnings)


@pytest.mark.parametrize(
    "tags",
    [
        {"ImagerPixelSpacing": ["0", "0"]},
        {"ImagerPixelSpacing": ["0.2", "0.2"], "PixelSpacing": ["0.174", "0.174"], "PixelSpacingCalibrationType": "FIDUCIAL"},
    ],
    ids=["absurd", "calibrated"],
)  # fmt: skip
def test_the_users_spacing_stands_in_for_whatever_the_file_says(tmp_path: Path, tags: dict[str, Any]) -> None:
    path = save_dicom(dicom_radiograph(RAW, **tags), tmp_path / "image.dcm")
    radiograph = read_radiograph(path, pixel_spacing=(0.15, 0.15))
    assert (radiograph.pixel_spacing, radiograph.spacing_plane) == ((0.15, 0.15), "detector")
    assert [words for words in (*radiograph.steps, *radiograph.warnings) if "spacing" in words] == [
        "pixel spacing 0.15 x 0.15 mm at the detector, as you gave it"
    ]


def test_pixels_that_are_not_square_need_a_spacing(tmp_path: Path) -> None:
    path = save_dicom(dicom_radiograph(RAW, PixelAspectRatio=["2", "1"]), tmp_path / "image.dcm")
    with pytest.raises(
        InputError, match=r"image\.dcm states pixels that are not square \(2 : 1, rows : columns\).*both values"
    ):
        read_radiograph(path)
    assert not any("2 : 1" in words for words in read_radiograph(path, pixel_spacing=(0.4, 0.2)).warnings)
    # One number for both, as a shell's user gives it.
    assert any(
        "2 : 1" in words and "0.2 x 0.2 mm" in words
        for words in read_radiograph(path, pixel_spacing=(0.2, 0.2)).warnings
    )


@pytest.mark.parametrize("ratio", [["1", "1"], ["1000", "1000"], ["0", "0"], ["1"]])
def test_square_pixels_and_ratios_that_say_nothing_need_none(tmp_path: Path, ratio: list[str]) -> None:
    radiograph = read(tmp_path, PixelAspectRatio=ratio)
    assert radiograph.pixel_spacing is None and not any(" : " in words for words in radiograph.warnings)


def test_a_spacing_decides_over_an_aspect_ratio_and_a_contradiction_is_told(tmp_path: Path) -> None:
    agreeing = read(tmp_path, PixelAspectRatio=["2", "1"], ImagerPixelSpacing=["0.4", "0.2"])
    assert agreeing.pixel_spacing == (0.4, 0.2) and not any("2 : 1" in words for words in agreeing.warnings)
    other = read(tmp_path, PixelAspectRatio=["2", "1"], ImagerPixelSpacing=["0.2", "0.2"])
    assert other.pixel_spacing == (0.2, 0.2) and any("one of the two is wrong" in words for words in other.warnings)
