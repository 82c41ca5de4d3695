"""A rig that was only assumed, or calibrated poorly, says so, and costs the reconstruction its green light."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trust_scenes import usual_measures, usual_reference

from SSRKDCore.cli import main
from SSRKDCore.geometry import Rig, preset
from SSRKDCore.geometry.calibration.calibration_record import CalibrationRecord, calibrated_rig
from SSRKDCore.geometry.dicom_rig import rig_for_radiographs
from SSRKDCore.geometry.known_geometry import assumed_preset, geometry_doubts, scale_is_calibrated
from SSRKDCore.geometry.presets import PRESET_NAMES
from SSRKDCore.radiographs.radiograph import DicomGeometry, Radiograph
from SSRKDCore.trust.flags import UNCERTAIN_GEOMETRY, flags_of, light_of
from SSRKDCore.trust.stated_geometry import largest_contradiction


def words(rig: Rig) -> list[str]:
    return [doubt.words for doubt in geometry_doubts(rig)]


def ball(view: str, percent: float) -> CalibrationRecord:
    return CalibrationRecord("ball", ["x.dcm"], {"view": view}, {"magnification_at_centre_percent_95": percent}, [])


def pair(height: float, turn: float = 1.0) -> CalibrationRecord:
    uncertainty = {"shift_along_rows_mm_95": height, "turn_about_rows_degrees_95": turn, "shift_along_beam_mm_95": 12.0}
    return CalibrationRecord("pair", ["a.dcm", "b.dcm"], {}, uncertainty, [])


def cage(**stated: float) -> CalibrationRecord:
    return CalibrationRecord(
        "object", ["a.dcm", "b.dcm"], {}, {f"{name}_95": value for name, value in stated.items()}, []
    )


def radiographs(**stated: float) -> list[Radiograph]:
    geometry = DicomGeometry("DX", **stated) if stated else None  # type: ignore[arg-type]
    spacing = (0.4, 0.4) if stated else None
    pixels = np.zeros((400, 400), np.float32)
    return [Radiograph(pixels, spacing, view=view, side="left", geometry=geometry) for view in ("ap", "lateral")]


def test_a_rig_from_a_file_that_says_nothing_is_believed(repository: Path) -> None:
    assert geometry_doubts(preset("room")) == []
    assert geometry_doubts(Rig.load(repository / "Resources" / "SampleCase" / "rig.json")) == []


def test_a_preset_that_stands_for_an_unmeasured_room_is_doubted() -> None:
    for rig in (None, "room"):
        found, _ = rig_for_radiographs(radiographs(), rig)
        assert words(found) == ["distances and angles are those of the preset 'room', which nobody measured"]


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_a_preset_is_doubted_by_its_name_and_as_a_file(name: str, tmp_path: Path) -> None:
    model = preset(name)
    size = (model.views[0].rows, model.views[0].columns)
    images = [replace(image, pixels=np.zeros(size, np.float32)) for image in radiographs()]
    assert main(["rig", "preset", name, "--side", "left", "--out", str(tmp_path / "rig.json")]) == 0
    for given in (name, tmp_path / "rig.json"):
        found, _ = rig_for_radiographs(images, given)
        assert words(found) == [f"distances and angles are those of the preset '{name}', which nobody measured"]


def test_tags_settle_what_they_state() -> None:
    tags = {"source_to_detector": 1150.0, "source_to_patient": 1000.0}
    found, _ = rig_for_radiographs(radiographs(**tags))
    assert words(found) == [
        "the files' angles are missing or not used, and the views are taken to be exact standard views"
    ]
    images = [
        replace(image, geometry=replace(image.geometry, primary_angle=angle))
        for image, angle in zip(radiographs(**tags), (180.0, 90.0), strict=True)
        if image.geometry is not None
    ]
    found, _ = rig_for_radiographs(images)
    assert words(found) == []
    found, _ = rig_for_radiographs(radiographs(source_to_detector=1150.0))
    assert any("does not state its distance from the source to the patient" in sentence for sentence in words(found))
    # A calibrated pixel spacing is the scale at the bone, whatever the distances.
    scaled = [replace(image, spacing_plane="object") for image in radiographs(source_to_detector=1150.0)]
    assert len(words(rig_for_radiographs(scaled)[0])) == 1


def test_a_calibration_settles_what_it_measures_and_no_more() -> None:
    rig = assumed_preset(preset("room"), "room")
    one = calibrated_rig(rig, ball("ap", 1.0))
    assert len(words(one)) == 1 and scale_is_calibrated(one, "ap") and not scale_is_calibrated(one, "lateral")
    both = calibrated_rig(one, ball("lateral", 1.0))
    # The angle between the views is still that of the preset.
    assert len(words(both)) == 1
    assert words(calibrated_rig(both, pair(1.0))) == []
    assert words(calibrated_rig(rig, CalibrationRecord("object", [], {}, {}, []))) == []


@pytest.mark.parametrize(
    ("record", "part", "serious"),
    [
        (ball("ap", 1.9), None, False),
        (ball("ap", 2.5), "magnification of view 'ap' is known to 2.5 %", False),
        (ball("ap", 3.5), "known to 3.5 %", True),
        (pair(1.4), None, False),
        (pair(2.2), "height open by 2.2 mm", False),
        (pair(3.3), "height open by 3.3 mm", True),
        (pair(1.0, 5.0), "direction open by 5.0 degrees", False),
        (cage(ap_magnification_percent=1.9, lateral_height_mm=1.4, lateral_direction_degrees=2.9), None, False),
        (cage(ap_magnification_percent=2.5), "magnification of view 'ap' open by 2.5 %", False),
        (cage(lateral_magnification_percent=3.5), "magnification of view 'lateral' open by 3.5 %", True),
        (cage(lateral_height_mm=2.2), "height of view 'lateral' open by 2.2 mm", False),
        (cage(lateral_direction_degrees=4.0), "direction of view 'lateral' open by 4.0 degrees", False),
    ],
)
def test_a_poor_calibration_is_doubted(record: CalibrationRecord, part: str | None, serious: bool) -> None:
    doubts = geometry_doubts(calibrated_rig(preset("room"), record))
    assert [doubt.serious for doubt in doubts] == ([] if part is None else [serious])
    if part is not None:
        assert part in doubts[0].words


def test_a_better_calibration_stands_in_place_of_a_poor_one() -> None:
    rig = calibrated_rig(calibrated_rig(preset("room"), ball("ap", 3.5)), ball("ap", 0.8))
    assert words(rig) == []


def test_what_is_measured_after_an_object_stands_in_place_of_its_figures() -> None:
    rig = calibrated_rig(preset("room"), cage(ap_magnification_percent=2.5, lateral_height_mm=2.2))
    assert len(words(rig)) == 2
    assert len(words(calibrated_rig(rig, ball("ap", 0.8)))) == 1
    assert words(calibrated_rig(calibrated_rig(rig, ball("ap", 0.8)), pair(1.0))) == []
    # An object places all views anew.
    assert words(calibrated_rig(calibrated_rig(preset("room"), ball("ap", 3.5)), cage())) == []


@pytest.mark.parametrize(
    "value", [None, 3, "ball", [1, {"kind": ["x"], "view": {}}, {"uncertainty": 5, "kind": "ball"}], {"kind": 1}]
)
def test_provenance_is_free_form(value: object) -> None:
    rig = replace(preset("room"), provenance={"calibrations": value, "assumed": value})
    assert all(doubt.words is not None for doubt in geometry_doubts(rig))
    calibrated = calibrated_rig(rig, ball("ap", 1.0))
    assert calibrated.provenance["calibrations"][-1]["kind"] == "ball" and scale_is_calibrated(calibrated, "ap")


def test_the_doubt_reaches_the_light_through_the_files(tmp_path: Path) -> None:
    """What `calibrate pair` writes is read by `reconstruct`, and is amber or red with the reason, and no third amber."""
    path = tmp_path / "rig.json"
    calibrated_rig(preset("room"), pair(2.2)).save(path)
    rig, _ = rig_for_radiographs([replace(r, pixels=np.zeros((1075, 1075), np.float32)) for r in radiographs()], path)
    flags = flags_of(replace(usual_measures(), doubts=tuple(geometry_doubts(rig))), usual_reference())
    (flag,) = (flag for flag in flags if flag.name == UNCERTAIN_GEOMETRY)
    assert [other.name for other in flags] == [UNCERTAIN_GEOMETRY]
    assert flag.light == "amber" and "height open by 2.2 mm" in flag.sentence and "Calibrate" in flag.sentence
    assert light_of([flag, flag, flag]) == "amber"


def test_a_placed_view_s_distances_are_still_held_against_the_tags() -> None:
    images = radiographs(source_to_detector=1000.0)
    rig = preset("room", "left", rows=400, columns=400)
    for record, percent in ((pair(1.0), 15.0), (CalibrationRecord("object", [], {}, {}, []), 0.0)):
        found = largest_contradiction(images, calibrated_rig(rig, record))
        assert found is not None and found.percent == pytest.approx(percent)
