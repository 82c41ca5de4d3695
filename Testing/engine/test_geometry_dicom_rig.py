"""Rigs from DICOM tags, presets and files: known distances, known directions, known pixel pitches."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from SSRKDCore.commands import rig as rig_command
from SSRKDCore.errors import InputError
from SSRKDCore.geometry import Rig, preset
from SSRKDCore.geometry.dicom_directions import beam_from_angles, image_axes
from SSRKDCore.geometry.dicom_rig import fit_view, rig_for_radiographs, rig_from_dicom
from SSRKDCore.radiographs import DicomGeometry, Radiograph, read_radiograph
from SSRKDCore.radiographs.dicom_writer import write_radiograph_dicom

PIXELS = np.random.default_rng(0).random((300, 200)).astype(np.float32)
ROOM: dict[str, Any] = {"source_to_detector": 1200.0, "source_to_patient": 1000.0}
AP: dict[str, Any] = {"view_position": "AP", "patient_orientation": ("L", "F")}
LATERAL: dict[str, Any] = {"view_position": "ML", "patient_orientation": ("P", "F")}


def radiograph(
    view: str | None,
    spacing: tuple[float, float] = (1.0, 1.5),
    plane: str = "detector",
    side: str = "right",
    modality: str = "DX",
    **tags: Any,
) -> Radiograph:
    if plane == "detector" and "imager_pixel_spacing" not in tags:
        tags["imager_pixel_spacing"] = spacing
    geometry = DicomGeometry(modality, pixel_spacing=spacing, **tags)
    return Radiograph(PIXELS, spacing, plane, view, side, geometry=geometry, source_path=f"{view}.dcm")


def image_file(
    view: str | None, spacing: tuple[float, float] | None = None, shape: tuple[int, int] = (300, 200)
) -> Radiograph:
    return Radiograph(np.resize(PIXELS, shape), spacing, view=view, source_path=f"{view}.png")


def test_beams_of_positioner_angles() -> None:
    # Detector before the chest, at the left (LAO), at the right (RAO), behind; LAO 45; 30 cranial.
    expected = {
        (0, 0): (0, -1, 0),
        (90, 0): (1, 0, 0),
        (-90, 0): (-1, 0, 0),
        (180, 0): (0, 1, 0),
        (45, 0): (np.sqrt(0.5), -np.sqrt(0.5), 0),
        (0, 30): (0, -np.cos(np.pi / 6), 0.5),
        (0, -90): (0, 0, -1),
    }
    for (primary, secondary), beam in expected.items():
        np.testing.assert_allclose(beam_from_angles(primary, secondary), beam, atol=1e-12)


def test_a_full_set_of_tags_gives_the_rig_without_warnings() -> None:
    pair = [
        radiograph("ap", **ROOM, **AP, primary_angle=180.0),
        radiograph("lateral", **ROOM, **LATERAL, primary_angle=-90.0),
    ]
    rig, warnings = rig_from_dicom(pair, 150.0)
    assert warnings == []
    assert rig.field_of_view.center == (0, 0, 0) and rig.field_of_view.size == 150
    ap, lateral = rig.views
    np.testing.assert_allclose(ap.source, (0, -1000, 0), atol=1e-9)
    np.testing.assert_allclose(lateral.source, (1000, 0, 0), atol=1e-9)
    for view in rig.views:
        assert view.source_to_detector == pytest.approx(1200) and view.pixel_spacing == (1.0, 1.5)
        assert (view.rows, view.columns) == (300, 200)
        np.testing.assert_allclose(view.project([0, 0, 0])[0], (149.5, 99.5), atol=1e-9)
        assert view.magnification((0, 0, 0)) == pytest.approx(1.2)
    # 10 mm to the patient's left, 20 mm up: 12 mm / 1.5 mm columns right, 24 mm / 1 mm rows up.
    np.testing.assert_allclose(ap.project([10, 0, 20])[0], (149.5 - 24, 99.5 + 8), atol=1e-9)
    # 10 mm to posterior goes right in the lateral image.
    np.testing.assert_allclose(lateral.project([0, 10, 20])[0], (149.5 - 24, 99.5 + 8), atol=1e-9)
    assert rig.separation_degrees() == pytest.approx(90)


def test_oblique_angles_are_kept() -> None:
    pair = [radiograph("ap", **ROOM, modality="XA", primary_angle=-10.0, secondary_angle=5.0)]
    pair.append(radiograph("lateral", **ROOM, modality="XA", primary_angle=62.0))
    rig, warnings = rig_from_dicom(pair)
    assert rig.separation_degrees() == pytest.approx(
        np.degrees(np.arccos(np.cos(np.radians(5)) * np.cos(np.radians(72)))), abs=1e-9
    )
    np.testing.assert_allclose(
        -np.array(rig.views[1].source) / 1000, (np.sin(np.radians(62)), -np.cos(np.radians(62)), 0), atol=1e-12
    )
    # LAO picture, seen from the detector: the spine (posterior) and the patient's left are on the right.
    assert rig.views[1].project([0, 10, 0])[0][1] > 99.5 and rig.views[1].project([10, 0, 0])[0][1] > 99.5
    assert sum("Patient Orientation" in words for words in warnings) == 2


def test_without_angles_the_views_are_standard_ones() -> None:
    rig, warnings = rig_from_dicom([radiograph("ap", **ROOM, **AP), radiograph("lateral", **ROOM, **LATERAL)])
    np.testing.assert_allclose(rig.view("ap").source, (0, -1000, 0), atol=1e-9)
    np.testing.assert_allclose(rig.view("lateral").source, (1000, 0, 0), atol=1e-9)
    assert any("do not state the positioner angles" in words for words in warnings)


@pytest.mark.parametrize(
    ("side", "position", "source_x"),
    [
        ("right", "ML", 1000),
        ("left", "ML", -1000),
        ("right", "LM", -1000),
        ("left", "LL", -1000),
        ("left", "RL", 1000),
        ("left", "medio-lateral", -1000),
    ],
)
def test_the_lateral_beam_follows_the_side_and_the_position(side: str, position: str, source_x: float) -> None:
    lateral = radiograph("lateral", side=side, **ROOM, view_position=position, patient_orientation=("P", "F"))
    rig, _ = rig_from_dicom([radiograph("ap", side=side, **ROOM, **AP), lateral])
    assert rig.view("lateral").source[0] == pytest.approx(source_x)
    assert rig.view("lateral").project([0, 10, 0])[0][1] > 99.5


def test_pa_turns_the_beam_and_patient_orientation_turns_the_image() -> None:
    ap = radiograph("ap", **ROOM, view_position="PA", patient_orientation=("R", "F"))
    lateral = radiograph("lateral", **ROOM, view_position="ML", patient_orientation=("F", "A"))
    rig, warnings = rig_from_dicom([ap, lateral])
    assert rig.view("ap").source[1] == pytest.approx(1000)
    assert rig.view("ap").project([10, 0, 0])[0][1] < 99.5
    # Lying on its side: columns run to the feet, rows to anterior.
    pixel = rig.view("lateral").project([0, -10, -20])[0]
    assert pixel[0] > 149.5 and pixel[1] > 99.5
    assert not any("Patient Orientation" in words for words in warnings)


def test_image_axes_refuse_orientations_that_cannot_be() -> None:
    beam = np.array([0.0, 1.0, 0.0])
    column, row, warning = image_axes(DicomGeometry("DX", patient_orientation=("P", "F")), beam)
    assert warning is not None and "does not fit" in warning
    np.testing.assert_allclose([column, row], [(1, 0, 0), (0, 0, -1)], atol=1e-12)


@pytest.mark.parametrize("angles", [(0.0, 3.0), (None, 90.0), (0.0, 180.0)])
def test_angles_that_cannot_be_common_are_not_used(angles: tuple[float | None, float]) -> None:
    pair = [
        radiograph("ap", **ROOM, **AP, primary_angle=angles[0]),
        radiograph("lateral", **ROOM, **LATERAL, primary_angle=angles[1]),
    ]
    rig, warnings = rig_from_dicom(pair)
    assert rig.separation_degrees() == pytest.approx(90)
    assert any("90 degrees apart" in words for words in warnings)


def test_angles_of_a_tube_on_a_column_are_not_those_of_a_c_arm() -> None:
    # 0 degrees would be a beam from behind.
    pair = [
        radiograph(view, **ROOM, patient_orientation=orientation, primary_angle=angle, positioner_type="COLUMN")
        for view, orientation, angle in (("ap", ("L", "F"), 0.0), ("lateral", ("P", "F"), 90.0))
    ]
    rig, warnings = rig_from_dicom(pair)
    np.testing.assert_allclose(rig.view("ap").normal, [0, 1, 0], atol=1e-12)
    assert any("angles" in words for words in warnings)
    assert [entry["of"] for entry in rig.provenance["assumed"]] == ["angles"]


def test_angles_that_contradict_the_views_are_not_used() -> None:
    # An AP image has its detector behind the patient: primary angle 180, not 0.
    pair = [
        radiograph("ap", **ROOM, **AP, primary_angle=0.0),
        radiograph("lateral", **ROOM, **LATERAL, primary_angle=-90.0),
    ]
    rig, warnings = rig_from_dicom(pair)
    assert rig.view("ap").source[1] == pytest.approx(-1000)
    assert any("contradict" in words for words in warnings)


def test_calibrated_spacing_with_the_detectors_places_the_knee() -> None:
    # 0.23 mm of detector are 0.2 mm of knee: magnification 1.15, so the knee is at 1150 / 1.15 = 1000 mm, not at 1100.
    tags: dict[str, Any] = {
        "source_to_detector": 1150.0,
        "source_to_patient": 1050.0,
        "imager_pixel_spacing": (0.23, 0.23),
    }
    pair = [
        radiograph("ap", (0.2, 0.2), "object", **tags, **AP, primary_angle=180.0),
        radiograph("lateral", (0.2, 0.2), "object", **tags, **LATERAL, primary_angle=-90.0),
    ]
    rig, warnings = rig_from_dicom(pair, 60.0)
    for view in rig.views:
        assert view.pixel_spacing == (0.23, 0.23)
        assert view.magnification((0, 0, 0)) == pytest.approx(1.15)
        assert np.linalg.norm(view.source) == pytest.approx(1000)
    # What the calibration promises: 10 mm of knee are 10 / 0.2 = 50 pixels.
    assert rig.view("ap").project([10, 0, 0])[0][1] - 99.5 == pytest.approx(50)
    assert sum("calibration is followed" in words for words in warnings) == 2


def test_calibrated_spacing_alone_gives_the_detectors_from_the_distances() -> None:
    tags: dict[str, Any] = {"source_to_detector": 1200.0, "source_to_patient": 1000.0}
    pair = [
        radiograph("ap", (0.2, 0.25), "object", **tags, **AP),
        radiograph("lateral", (0.2, 0.25), "object", **tags, **LATERAL),
    ]
    rig, _ = rig_from_dicom(pair, 50.0)
    assert rig.view("ap").pixel_spacing == pytest.approx((0.24, 0.3))
    assert rig.view("ap").project([10, 0, 0])[0][1] - 99.5 == pytest.approx(40)


def test_an_impossible_calibration_uses_the_calibrated_spacing_only() -> None:
    tags: dict[str, Any] = {**ROOM, "imager_pixel_spacing": (0.1, 0.1)}
    pair = [
        radiograph("ap", (0.2, 0.2), "object", **tags, **AP),
        radiograph("lateral", (0.2, 0.2), "object", **tags, **LATERAL),
    ]
    rig, warnings = rig_from_dicom(pair, 40.0)
    assert rig.view("ap").pixel_spacing == pytest.approx((0.24, 0.24))
    assert any("impossible" in words for words in warnings)


def test_missing_tags_come_from_the_preset_each_with_a_warning() -> None:
    room = preset("room")
    pair = [radiograph("ap", **AP), radiograph("lateral", **LATERAL)]
    pair = [replace(r, pixel_spacing=None, geometry=replace(r.geometry, imager_pixel_spacing=None)) for r in pair]
    rig, warnings = rig_from_dicom(pair)
    for view, model in zip(rig.views, room.views, strict=True):
        assert view.source_to_detector == pytest.approx(model.source_to_detector)
        np.testing.assert_allclose(view.source, model.source, atol=1e-9)
        # 430 mm over 200 columns.
        assert view.pixel_spacing == pytest.approx((2.15, 2.15))
    for words in ("no source-to-detector", "does not state the distance", "no pixel spacing", "positioner angles"):
        assert any(words in warning for warning in warnings), words


def test_magnification_stands_in_for_the_distance_to_the_patient() -> None:
    pair = [
        radiograph(v, source_to_detector=1200.0, estimated_magnification=1.25, **t)
        for v, t in (("ap", AP), ("lateral", LATERAL))
    ]
    rig, _ = rig_from_dicom(pair)
    assert np.linalg.norm(rig.view("ap").source) == pytest.approx(960)


def test_a_table_top_distance_does_not_push_the_knee_through_the_detector() -> None:
    pair = [
        radiograph(v, source_to_detector=1150.0, source_to_patient=1120.0, **t)
        for v, t in (("ap", AP), ("lateral", LATERAL))
    ]
    rig, warnings = rig_from_dicom(pair, 160.0)
    assert np.linalg.norm(rig.view("ap").source) == pytest.approx(1000)
    assert any("table top" in words for words in warnings)
    assert not any("through the detector" in words for words in rig.check())


@pytest.mark.parametrize("to_patient", [None, 1000.0, 1090.0])
def test_the_cube_that_is_asked_for_moves_no_knee(to_patient: float | None) -> None:
    tags = {"source_to_detector": 1150.0, "source_to_patient": to_patient}
    pair = [radiograph("ap", **tags, **AP), radiograph("lateral", **tags, **LATERAL)]
    usual, small, large = (rig_from_dicom(pair, size)[0].views for size in (None, 100.0, 320.0))
    assert usual == small == large


@pytest.mark.parametrize(
    "tags", [{"source_to_detector": 12.0}, {"source_to_detector": 1200.0, "source_to_patient": 5.0}]
)
def test_unbelievable_distances_are_not_used(tags: dict[str, Any]) -> None:
    rig, warnings = rig_from_dicom([radiograph("ap", **tags, **AP), radiograph("lateral", **tags, **LATERAL)])
    assert any("not believed" in words for words in warnings)
    assert 1.0 < rig.view("ap").magnification((0, 0, 0)) < 1.3


def test_pictures_take_everything_from_the_room() -> None:
    rig, warnings = rig_for_radiographs([image_file("ap"), image_file("lateral")])
    assert rig.provenance["preset"] == "room"
    assert any("preset 'room' is assumed" in words for words in warnings)
    assert (rig.view("ap").rows, rig.view("ap").columns) == (300, 200)


def test_a_named_preset_takes_the_images_spacing_and_size() -> None:
    rig, warnings = rig_for_radiographs([image_file("ap", (1.0, 1.5)), image_file("lateral")], "c_arm", side="left")
    ap, lateral = rig.views
    assert ap.source_to_detector == pytest.approx(1000) and np.linalg.norm(ap.source) == pytest.approx(600)
    assert ap.pixel_spacing == (1.0, 1.5) and lateral.pixel_spacing == (1.5, 1.5)
    assert lateral.source[0] == pytest.approx(-600)
    assert sum("no pixel spacing" in words for words in warnings) == 1


def test_a_preset_is_followed_against_the_files_distance_with_a_warning() -> None:
    pair = [radiograph("ap", **ROOM, **AP), radiograph("lateral", **ROOM, **LATERAL)]
    rig, warnings = rig_for_radiographs(pair, "c_arm")
    assert rig.view("ap").source_to_detector == pytest.approx(1000)
    assert sum("the preset is used" in words for words in warnings) == 2


def test_images_turn_as_their_files_say_in_a_preset_too() -> None:
    flipped = radiograph("lateral", **{**LATERAL, "patient_orientation": ("A", "F")})
    rig, _ = rig_for_radiographs([radiograph("ap", **AP), flipped], "room")
    assert rig.view("lateral").project([0, -10, 0])[0][1] > 99.5


def test_a_rig_file_is_matched_by_name_whatever_the_order(tmp_path: Path) -> None:
    model = preset("room", rows=300, columns=200, pixel_spacing=(1.0, 1.5))
    model.save(tmp_path / "rig.json")
    rig, warnings = rig_for_radiographs([image_file("lateral"), image_file("ap")], tmp_path / "rig.json")
    assert [view.name for view in rig.views] == ["lateral", "ap"] and warnings == []
    assert rig.views[1] == model.view("ap")
    assert rig_for_radiographs([image_file("ap"), image_file("lateral")], model)[0].views == model.views


@pytest.mark.parametrize(
    ("made_for", "side", "knee"),
    [("right", None, "left"), ("left", None, None), ("right", "right", None), ("left", "right", "right")],
)
def test_a_rig_of_the_other_knee_is_warned_about(made_for: str, side: str | None, knee: str | None) -> None:
    pair = [radiograph("ap", side="left"), radiograph("lateral", side="left")]
    rig = preset("room", made_for, pixel_spacing=(1.0, 1.5), rows=300, columns=200)
    said = [words for words in rig_for_radiographs(pair, rig, side=side)[1] if "was made for" in words]
    assert len(said) == (knee is not None)
    assert all(f"a {knee} knee, and the rig was made for a {made_for} one" in words for words in said)


def test_views_of_other_names_are_matched_by_order() -> None:
    model = preset("room", rows=300, columns=200, pixel_spacing=(1.0, 1.5))
    cameras = Rig(tuple(replace(v, name=f"cam{i}") for i, v in enumerate(model.views)), model.field_of_view)
    rig, warnings = rig_for_radiographs([image_file("ap"), image_file("lateral")], cameras)
    assert rig.views == cameras.views and any("by their order" in words for words in warnings)


def test_a_view_of_the_right_name_is_not_given_to_another_radiograph() -> None:
    model = preset("room", rows=300, columns=200, pixel_spacing=(1.0, 1.5))
    frontal, lateral = replace(model.view("ap"), name="frontal"), model.view("lateral")
    rig, warnings = rig_for_radiographs(
        [image_file("ap"), image_file("lateral")], Rig((lateral, frontal), model.field_of_view)
    )
    assert rig.views == (frontal, lateral)
    assert any("frontal: ap.png, lateral: lateral.png" in words for words in warnings)


def test_down_sampled_images_keep_the_detector() -> None:
    view = preset("room", rows=600, columns=400, pixel_spacing=(0.5, 0.75)).view("ap")
    fitted, warnings = fit_view(view, image_file("ap", (1.0, 1.5)))
    assert fitted.pixel_spacing == pytest.approx((1.0, 1.5)) and len(warnings) == 1
    # The middle of the first of the large pixels is the corner between four small ones.
    np.testing.assert_allclose(fitted.pixel_position(0, 0), view.pixel_position(0.5, 0.5), atol=1e-9)


def test_cropped_and_foreign_images_are_refused() -> None:
    view = preset("room", rows=600, columns=400, pixel_spacing=(0.5, 0.75)).view("ap")
    with pytest.raises(InputError, match=r"ap\.png has 300 x 200 pixels, and view 'ap'"):
        fit_view(view, image_file("ap", (0.5, 0.75)))
    with pytest.raises(InputError, match="uncropped"):
        fit_view(view, image_file("ap", None, (300, 300)))
    same_size, warnings = fit_view(preset("room", rows=300, columns=200).view("ap"), image_file("ap", (0.2, 0.2)))
    assert same_size.pixel_spacing == (0.4, 0.4) and any("the rig is followed" in words for words in warnings)


def test_wrong_requests_are_named(tmp_path: Path) -> None:
    pair = [image_file("ap"), image_file("lateral")]
    with pytest.raises(InputError, match="rooom"):
        rig_for_radiographs(pair, "rooom")
    with pytest.raises(InputError, match="two or more"):
        rig_for_radiographs(pair[:1])
    with pytest.raises(InputError, match=r"absent\.json"):
        rig_for_radiographs(pair, tmp_path / "absent.json")
    with pytest.raises(InputError, match="both ap views"):
        rig_for_radiographs([pair[0], pair[0]])
    with pytest.raises(InputError, match="right or left"):
        rig_for_radiographs(pair, side="both")
    for size in (-5.0, 0.0, float("inf"), float("nan")):
        for rig in (None, "room", preset("room", rows=300, columns=200)):
            with pytest.raises(InputError, match="positive size"):
                rig_for_radiographs(pair, rig, size)


@pytest.mark.parametrize("source", ["tags", "room", "rig"])
def test_a_side_that_contradicts_the_files_is_told_whatever_the_geometry_comes_from(source: str) -> None:
    pair = [radiograph("ap", **ROOM, **AP), radiograph("lateral", **ROOM, **LATERAL)]
    rig = {"tags": None, "room": "room", "rig": rig_from_dicom(pair)[0]}[source]
    told = "You said left knee, and the files say right."
    assert told in rig_for_radiographs(pair, rig, side="left")[1]
    assert told not in rig_for_radiographs(pair, rig, side="right")[1]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["room", "c_arm"])
def test_written_radiographs_give_their_rig_back(tmp_path: Path, name: str, side: str) -> None:
    model = preset(name, side, pixel_spacing=(2.0, 2.5), rows=120, columns=90)
    images = []
    for index, view in enumerate(model.views):
        line_integrals = np.random.default_rng(index).uniform(0, 4, (120, 90)).astype(np.float32)
        path = tmp_path / f"{view.name}.dcm"
        write_radiograph_dicom(path, line_integrals, view, model, side, "P1")
        images.append(read_radiograph(path))
        # Stored in steps of 2**-14, so exact to half of one.
        np.testing.assert_allclose(images[-1].pixels, line_integrals, atol=2.0**-15 + 1e-6)
        assert (images[-1].view, images[-1].side, images[-1].pixel_spacing) == (view.name, side, (2.0, 2.5))
    rig, warnings = rig_from_dicom(images, model.field_of_view.size)
    assert warnings == [] and rig.field_of_view == model.field_of_view
    points = np.random.default_rng(5).uniform(-60, 60, (40, 3))
    for found, view in zip(rig.views, model.views, strict=True):
        # DICOM decimal strings hold ten digits: 1e-7 of 1000 mm at most.
        np.testing.assert_allclose(found.project(points)[0], view.project(points)[0], atol=1e-6)


def run_rig(*words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    rig_command.add_arguments(parser)
    return rig_command.run(parser.parse_args(words))


def test_the_rig_command_writes_presets_and_describes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mein rig ä.json"
    run_rig("preset", "paper", "--side", "left", "--out", str(out))
    assert Rig.load(out).provenance["side"] == "left"
    with pytest.raises(InputError, match="exists already"):
        run_rig("preset", "paper", "--out", str(out))
    capsys.readouterr()
    facts = run_rig("show", str(out))
    assert facts["views"][0]["magnification"] == pytest.approx(2.0)
    assert facts["views"][0]["pixel_spacing_at_center_mm"] == pytest.approx([0.2875, 0.2875])
    assert facts["separations"][0]["degrees"] == pytest.approx(90.0)
    words = capsys.readouterr().out
    assert "source to detector 2000.0 mm" in words and "90.0 degrees apart" in words and "magnification 2.000" in words


def test_the_rig_command_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    for words, reason in (
        (("show", str(tmp_path / "absent.json")), "cannot be read"),
        (("preset", "hall", "--out", str(tmp_path / "x.json")), "no rig preset 'hall'"),
        (("preset", "room", "--size", "-3", "--out", str(tmp_path / "x.json")), "positive size"),
        (("preset", "room", "--size", "inf", "--out", str(tmp_path / "x.json")), "positive size"),
        (("preset", "room", "--out", str(tmp_path)), "is a folder"),
        (("preset", "room", "--out", str(tmp_path / "no" / "x.json")), "cannot be written"),
    ):
        with pytest.raises(InputError, match=reason):
            run_rig(*words)
    assert list(tmp_path.iterdir()) == []
