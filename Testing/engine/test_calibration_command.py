"""`ssrkd calibrate` and the rulers: rig and record are written together or not at all, with what stays assumed in words."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import calibration_scenes as scenes
import numpy as np
import pydicom
import pytest
import SimpleITK

from SSRKDCore.cli import main
from SSRKDCore.commands.calibrate import add_arguments
from SSRKDCore.errors import InputError
from SSRKDCore.geometry import Rig, preset
from SSRKDCore.geometry.calibration.magnification import magnification_at_centre, view_with_magnification
from SSRKDCore.geometry.calibration.pair_trials import told_wrongly
from SSRKDCore.geometry.calibration.pose_parameters import pose_axes, pose_between
from SSRKDCore.geometry.calibration.ruler import measure_ruler, measure_ticks
from SSRKDCore.geometry.view import View
from SSRKDCore.radiographs.dicom_writer import write_radiograph_dicom


def write_image(path: Path, image: np.ndarray, spacing: float = 0.4) -> Path:
    picture = SimpleITK.GetImageFromArray(image.astype(np.float32))
    picture.SetSpacing((spacing, spacing))
    SimpleITK.WriteImage(picture, str(path))
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["calibrate", *(str(word) for word in words), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def ball_image(tmp_path: Path) -> tuple[Path, View]:
    view = scenes.ap_view(300, 320, 940.0)
    image = scenes.with_ball(np.ones((300, 320)), view, [20.0, -15.0, 5.0], 25.4, 1.0, 4.0, 3)
    return write_image(tmp_path / "ball.nrrd", image), view


def test_a_ball_moves_the_view_to_its_magnification(
    ball_image: tuple[Path, View], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, view = ball_image
    rig = tmp_path / "room.json"
    preset("room", "left", rows=300, columns=320).save(rig)
    words = ("ball", image, "--diameter", 25.4, "--intensity", "line_integral", "--view", "ap", "--rig", rig)
    words += ("--offset", -15, "--out", tmp_path / "rig.json")
    code, result = run(capsys, *words)
    assert code == 0
    found = Rig.load(tmp_path / "rig.json")
    assert found.view("ap").magnification([0, 0, 0]) == pytest.approx(1150 / 940, rel=4e-3)
    assert found.view("ap").source_to_detector == pytest.approx(1150)
    assert found.view("lateral") == Rig.load(rig).view("lateral")
    record = json.loads((tmp_path / "calibration.json").read_text())
    assert record["schema"] == "ssrkd-calibration/1"
    assert record["measured"]["magnification"] == pytest.approx(view.magnification([20, -15, 5]), rel=4e-3)
    assert any("source-to-detector distance is 1150 mm" in words for words in record["assumed"])
    assert found.provenance["calibrations"][0]["kind"] == "ball"
    assert result["candidates"][0]["outline"]
    code, result = run(capsys, *words)
    assert code == 2
    assert "exists already" in result["error"]


def test_the_image_of_a_file_with_several_is_chosen_as_its_refusal_says(
    ball_image: tuple[Path, View], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, view = ball_image
    ball = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(image)))
    several = tmp_path / "several.nrrd"
    stack = SimpleITK.GetImageFromArray(np.stack([np.ones_like(ball), ball]))
    stack.SetSpacing((0.4, 0.4, 1.0))
    SimpleITK.WriteImage(stack, str(several))
    words = ("ball", several, "--diameter", 25.4, "--intensity", "line_integral", "--source-to-detector", 1150)
    code, result = run(capsys, *words)
    assert code == 2 and "1 to 2" in result["error"]
    code, result = run(capsys, *words, "--frame", 2)
    assert code == 0
    assert result["measured"]["magnification"] == pytest.approx(view.magnification([20, -15, 5]), rel=4e-3)


def test_rig_and_record_are_two_files_and_appear_together(
    ball_image: tuple[Path, View], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, _ = ball_image
    rig = tmp_path / "room.json"
    preset("room", rows=300, columns=320).save(rig)
    words = (
        "ball",
        image,
        "--diameter",
        25.4,
        "--intensity",
        "line_integral",
        "--view",
        "ap",
        "--rig",
        rig,
        "--offset",
        -15,
    )
    before = set(tmp_path.iterdir())
    for out in (("calibration.json",), ("rig.json", "--record", tmp_path / "rig.json")):
        code, result = run(capsys, *words, "--out", tmp_path / out[0], *out[1:])
        assert code == 2 and "both the rig and the record" in result["error"]
    assert set(tmp_path.iterdir()) == before
    # The rig cannot be written: its temporary file's place is taken.
    (tmp_path / "rig.json.part").mkdir()
    record = tmp_path / "record.json"
    code, result = run(capsys, *words, "--out", tmp_path / "rig.json", "--record", record)
    assert code == 2 and "cannot be written" in result["error"] and not record.exists()
    record.write_text("earlier")
    code, _ = run(capsys, *words, "--out", tmp_path / "rig.json", "--record", record, "--overwrite")
    assert code == 2 and record.read_text() == "earlier"


def test_an_unknown_place_of_the_ball_widens_and_then_refuses(
    ball_image: tuple[Path, View], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, _ = ball_image
    rig = tmp_path / "room.json"
    preset("room", rows=300, columns=320).save(rig)
    words = ("ball", image, "--diameter", 25.4, "--intensity", "line_integral", "--view", "ap", "--rig", rig)
    code, result = run(capsys, *words, "--out", tmp_path / "a.json")
    assert code == 0
    assert 1.9 < result["uncertainty"]["magnification_at_centre_percent_95"] < 2.5
    assert any("lies as far from the detector as the centre" in sentence for sentence in result["assumed"])
    # Written, but more than 2 %: whoever reconstructs with it is told.
    assert any("amber at best" in sentence and "known to 2." in sentence for sentence in result["warnings"])
    code, result = run(
        capsys, *words, "--offset-tolerance", 40, "--out", tmp_path / "b.json", "--record", tmp_path / "b_record.json"
    )
    assert code == 2
    assert "more than 3 %" in result["error"]
    assert not (tmp_path / "b.json").exists()
    assert not (tmp_path / "b_record.json").exists()


@pytest.mark.parametrize(
    ("stated", "given", "used"), [("left", None, "left"), ("right", None, "right"), ("left", "right", "right")]
)
def test_a_presets_rig_is_of_the_knee_that_the_file_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stated: str, given: str | None, used: str
) -> None:
    rig = preset("room", stated, pixel_spacing=(430 / 400,) * 2, rows=400, columns=400)
    image = scenes.with_ball(np.ones((400, 400)), rig.view("ap"), [20.0, -15.0, 5.0], 30.0, 1.0, 4.0, 3)
    write_radiograph_dicom(tmp_path / "ap.dcm", image, rig.view("ap"), rig, stated)
    words = [
        "ball",
        tmp_path / "ap.dcm",
        "--diameter",
        30,
        "--rig",
        "room",
        "--offset",
        -15,
        "--out",
        tmp_path / "rig.json",
    ]
    code, result = run(capsys, *words, *(() if given is None else ("--side", given)))
    assert code == 0, result
    found = Rig.load(tmp_path / "rig.json")
    assert found.provenance["side"] == used
    assert found.view("lateral").source == preset("room", used).view("lateral").source
    assert any("the files say left" in sentence for sentence in result["warnings"]) == (stated != used)


def test_a_presets_detector_is_as_large_as_the_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in a reconstruction with that preset: who has no calibrated rig may have a smaller detector than the preset."""
    rig = preset("room", "left", rows=300, columns=320)
    image = scenes.with_ball(np.ones((300, 320)), rig.view("ap"), [20.0, -15.0, 5.0], 25.4, 1.0, 4.0, 3)
    write_radiograph_dicom(tmp_path / "ap.dcm", image, rig.view("ap"), rig, "left")
    words = ("ball", tmp_path / "ap.dcm", "--diameter", 25.4, "--rig", "room", "--offset", -15)
    code, result = run(capsys, *words, "--out", tmp_path / "rig.json")
    assert code == 0, result
    found = Rig.load(tmp_path / "rig.json")
    assert [(view.rows, view.columns, view.pixel_spacing) for view in found.views] == [(300, 320, (0.4, 0.4))] * 2
    assert found.view("ap").magnification([0, 0, 0]) == pytest.approx(1.15, rel=4e-3)


def test_pixels_that_contradict_the_rigs_are_those_of_the_image(
    ball_image: tuple[Path, View], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, _ = ball_image
    preset("room", pixel_spacing=(0.3, 0.3), rows=300, columns=320).save(tmp_path / "room.json")
    words = ("ball", image, "--diameter", 25.4, "--intensity", "line_integral", "--view", "ap", "--offset", -15)
    code, result = run(capsys, *words, "--rig", tmp_path / "room.json", "--out", tmp_path / "rig.json")
    assert code == 0, result
    assert Rig.load(tmp_path / "rig.json").view("ap").pixel_spacing == (0.4, 0.4)
    assert any("pixels of 0.4 mm" in words and "the image is followed" in words for words in result["warnings"])
    assert not any("the rig is followed" in words for words in result["warnings"])


def test_a_rig_whose_pixels_are_not_square_gives_no_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preset("room", pixel_spacing=(0.4, 0.32), rows=300, columns=320).save(tmp_path / "room.json")
    picture = np.random.default_rng(0).integers(0, 60000, (300, 320)).astype(np.uint16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(picture), str(tmp_path / "image.png"))
    words = ("ruler", tmp_path / "image.png", "--ends", 10, 20, 10, 300, "--length", 80, "--view", "ap")
    code, result = run(capsys, *words, "--rig", tmp_path / "room.json", "--out", tmp_path / "rig.json")
    assert code == 2 and "pixels that are not square" in result["error"]


@pytest.mark.parametrize("option", ["--offset-tolerance", "--limit", "--diameter", "--offset"])
def test_what_is_no_number_is_refused_by_its_name(
    ball_image: tuple[Path, View], tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    words = ("ball", ball_image[0], "--diameter", 25.4, "--intensity", "line_integral", "--view", "ap", "--offset", -15)
    preset("room", rows=300, columns=320).save(tmp_path / "room.json")
    code, result = run(capsys, *words, "--rig", tmp_path / "room.json", "--out", tmp_path / "rig.json", option, "nan")
    assert code == 2 and result["error"] == f"{option} is not a number: correct it."
    assert not (tmp_path / "rig.json").exists()


def test_nothing_found_is_an_error_and_not_a_guess(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write_image(tmp_path / "flat.nrrd", np.random.default_rng(0).normal(1, 0.05, (200, 200)))
    code, result = run(capsys, "ball", image, "--diameter", 25.4, "--intensity", "line_integral")
    assert code == 2
    assert "No ball of 25.4 mm was found" in result["error"]
    code, result = run(capsys, "ruler", image, "--ends", 100, 20, 100, 180, "--tick", 5, "--intensity", "line_integral")
    assert code == 2
    assert "No ticks were seen" in result["error"]


def test_a_ruler_is_found_by_its_ticks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, columns = np.mgrid[:260, :200]
    # Ticks of 5 mm, magnified 1.25 times, in pixels of 0.4 mm.
    lead = (np.abs(columns - 60) < 12) & (np.abs((rows / 15.625) % 1 - 0.5) < 0.1) & (rows > 20) & (rows < 240)
    pixels = 1 + 0.5 * lead + np.random.default_rng(0).normal(0, 0.01, rows.shape)
    image = write_image(tmp_path / "ruler.nrrd", pixels)
    code, result = run(capsys, "ruler", image, "--tick", 5, "--intensity", "line_integral", "--tilt", 0)
    assert code == 0, result
    assert result["measured"]["magnification"] == pytest.approx(1.25, rel=4e-3)
    (candidate,) = result["candidates"]
    assert all(abs(column - 60) < 12 for _, column in candidate["ends"]) and candidate["confidence"] > 0.5
    code, result = run(capsys, "ruler", image, "--length", 50, "--intensity", "line_integral")
    assert code == 2
    assert "needs its two --ends" in result["error"]


@pytest.mark.parametrize(
    ("ends", "length", "words"),
    [
        ((20, 10, 20, 250), 80, "outside the image of 260 x 200 pixels"),
        ((-5, 10, 90, 10), 30, "outside the image"),
        ((float("nan"), 10, 90, 10), 30, "--ends is not a number"),
        ((20, 10, 220, 10), 20, "seen 4.000 times its size, and nothing in a patient"),
        ((20, 10, 220, 10), 90, "seen 0.889 times its size, and nothing is seen smaller"),
    ],
)
def test_ends_that_no_ruler_has_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ends: tuple[float, ...], length: float, words: str
) -> None:
    image = write_image(tmp_path / "ruler.nrrd", np.random.default_rng(0).normal(1, 0.05, (260, 200)))
    code, result = run(capsys, "ruler", image, "--ends", *ends, "--length", length, "--intensity", "line_integral")
    assert code == 2 and words in result["error"]


def test_an_object_in_two_images_gives_the_rig(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    markers = scenes.marker_cage()
    rig = preset("c_arm", rows=800, columns=800)
    content = {"schema": "ssrkd-calibration-object/1", "unit": "mm", "markers": markers, "diameter": 4.0}
    (tmp_path / "object.json").write_text(json.dumps(content))
    images = []
    for view in rig.views:
        image = np.random.default_rng(0).normal(1.0, 0.02, (view.rows, view.columns))
        for point in markers.values():
            image += 0.3 * scenes.sphere_chords(view, point, 2.0)
        images.append(write_image(tmp_path / f"{view.name}.nrrd", image, 0.3))
    words = ("object", *images, "--object", tmp_path / "object.json", "--intensity", "line_integral", "--size", 120)
    code, result = run(capsys, *words, "--out", tmp_path / "rig.json")
    assert code == 0, result
    found = Rig.load(tmp_path / "rig.json")
    points = np.array(list(markers.values()))
    for view in rig.views:
        error = found.view(view.name).project(points)[0] - view.project(points)[0]
        assert np.abs(error).max() < 0.2
        assert found.view(view.name).magnification([0, 0, 0]) == pytest.approx(view.magnification([0, 0, 0]), rel=5e-3)
    assert found.separation_degrees() == pytest.approx(90, abs=0.3)
    assert all(view["rms_mm"] < 0.05 for view in result["measured"]["views"])
    assert any("axes are LPS" in sentence for sentence in result["assumed"])


def test_a_rig_whose_markers_leave_too_much_open_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    markers = scenes.marker_cage()
    (tmp_path / "object.json").write_text(
        json.dumps({"schema": "ssrkd-calibration-object/1", "unit": "mm", "markers": markers, "diameter": 4.0})
    )
    words: list[object] = ["object", "--object", tmp_path / "object.json", "--intensity", "line_integral", "--picked"]
    generator = np.random.default_rng(0)
    rig, images = preset("room", rows=700, columns=700), []
    for view in rig.views:
        places = view.project(list(markers.values()))[0] + generator.normal(0, 1.0, (len(markers), 2))
        path = tmp_path / f"{view.name}.json"
        path.write_text(json.dumps(dict(zip(markers, places.tolist(), strict=True))))
        words.append(path)
        images.append(write_image(tmp_path / f"{view.name}.nrrd", generator.normal(1, 0.02, (700, 700))))
    words += ["--size", 120, "--out", tmp_path / "rig.json"]
    code, result = run(capsys, words[0], *images, *words[1:], "--limit", 0.1)
    assert code == 2 and "leave the magnification of view 'ap' open by" in result["error"]
    assert not (tmp_path / "rig.json").exists() and not (tmp_path / "calibration.json").exists()
    code, result = run(capsys, words[0], *images, *words[1:])
    assert code == 0, result
    assert 1 < result["uncertainty"]["lateral_distance_percent_95"] < 15
    assert any("source-to-detector distance to" in sentence for sentence in result["warnings"])


def test_every_option_says_what_it_is_for() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    (jobs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    bare = [f"{job} {action.dest}" for job, own in jobs.choices.items() for action in own._actions if not action.help]
    assert bare == []


def test_the_ends_of_a_ruler_give_its_scale() -> None:
    measured = measure_ruler([[10.0, 10.0], [310.0, 410.0]], 100.0, 0.25)
    assert measured.pixel_size_mm == pytest.approx(0.2)
    assert measured.magnification == pytest.approx(1.25)
    assert measured.uncertainty_percent == pytest.approx(
        100 * np.hypot(np.sqrt(2) / 500, 1 - np.cos(np.radians(5))), rel=1e-6
    )
    with pytest.raises(InputError, match=r"seen 0\.833 times"):
        measure_ruler([[10.0, 10.0], [310.0, 410.0]], 150.0, 0.25)
    with pytest.raises(InputError, match="too close"):
        measure_ruler([[10.0, 10.0], [12.0, 12.0]], 100.0)


@pytest.mark.parametrize("angle", [0.0, 90.0, 33.0])
@pytest.mark.parametrize("bend", [0.0, 0.02])
def test_ticks_are_measured_along_any_line(angle: float, bend: float) -> None:
    direction = np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    start = np.array([40.0, 40.0])
    ends = np.array([start, start + 290 * direction])
    rows, columns = np.meshgrid(np.arange(370), np.arange(370), indexing="ij")
    along = (rows - start[0]) * direction[0] + (columns - start[1]) * direction[1]
    # Ticks 1 mm apart, 12.5 pixels in the middle; their distance grows by `bend` from end to end.
    number = (along - 145 - bend / 2 / 290 * (along - 145) ** 2) / 12.5
    image = 1.0 + 0.3 * (np.cos(2 * np.pi * number) > 0.7) + np.random.default_rng(1).normal(0, 0.05, rows.shape)
    measured = measure_ticks(image, ends, 1.0, 0.1, tilt_degrees=0.0)
    assert measured.pixel_size_mm == pytest.approx(1 / 12.5, rel=2e-3)
    assert measured.magnification == pytest.approx(1.25, rel=2e-3)
    assert measured.scale_change_percent == pytest.approx(100 * bend, abs=0.8)
    assert measured.uncertainty_percent < 0.5


def test_a_magnification_put_into_a_view_is_the_one_at_the_centre() -> None:
    view = preset("room", "left").view("lateral")
    moved = view_with_magnification(view, [3.0, -4.0, 5.0], 1.31)
    assert moved.magnification([3.0, -4.0, 5.0]) == pytest.approx(1.31, rel=1e-12)
    assert moved.source_to_detector == pytest.approx(view.source_to_detector)
    np.testing.assert_allclose(np.cross(np.array(moved.source) - np.array(view.source), view.normal), 0, atol=1e-9)
    centre = magnification_at_centre(1.25, 0.0, 1000.0, 20.0, 7.8)
    assert centre.depth_mm == pytest.approx(780)
    assert centre.value == pytest.approx(1000 / 780)
    assert centre.uncertainty_percent == pytest.approx(2.0)


def test_two_radiographs_that_are_no_pair_are_not_placed(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = repository / "Resources" / "SampleCase"
    other = pydicom.dcmread(sample / "lateral.dcm")
    other.ImageLaterality = "R"
    other.save_as(tmp_path / "right.dcm")
    for lateral, words in ((sample / "ap.dcm", "given for both views"), (tmp_path / "right.dcm", "a right one")):
        pair = ("pair", "--ap", sample / "ap.dcm", "--lateral", lateral, "--rig", sample / "rig.json", "--starts", 0)
        code, result = run(capsys, *pair, "--bones", sample, "--out", tmp_path / "rig.json")
        assert code == 2 and words in result["error"]
    code, result = run(capsys, *pair, "--bones", sample, "--out", tmp_path / "rig.json", "--seed", -1)
    assert code == 2 and "--seed is -1" in result["error"]


@pytest.mark.parametrize(
    ("options", "bones", "assumed"),
    [
        (("--rounds", 1), "shape_model", "a deformed one can pass for a turned view"),
        (("--bones", "SAMPLE"), "known", None),
    ],
)
def test_the_record_of_a_pair_says_whose_shape_the_bones_were_taken_to_have(
    repository: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[object, ...],
    bones: str,
    assumed: str | None,
) -> None:
    sample = repository / "Resources" / "SampleCase"
    rig = Rig.load(sample / "rig.json")
    told = tmp_path / "told.json"
    told_wrongly(rig, np.array([4.0, 0.0, 0.0, 0.0, 0.0, 6.0])).save(told)
    words = ("pair", "--ap", sample / "ap.dcm", "--lateral", sample / "lateral.dcm", "--rig", told, "--starts", 0)
    given = [sample if option == "SAMPLE" else option for option in options]
    code, result = run(capsys, *words, *given, "--device", "cpu", "--out", tmp_path / "rig.json")
    assert code == 0, result
    record = json.loads((tmp_path / "calibration.json").read_text())
    assert record["measured"]["bones"] == result["measured"]["bones"] == bones
    shaped = [sentence for sentence in record["assumed"] if "shape" in sentence]
    assert (shaped == []) if assumed is None else (len(shaped) == 1 and assumed in shaped[0])
    # The height that was told 6 mm wrongly is back, within what is said of it, and the rig says where it came from.
    pose = record["measured"]["pose"]["shift_along_rows_mm"]
    assert pose["from_the_images"] and record["uncertainty"]["shift_along_rows_mm_95"] < 3.0
    found = Rig.load(tmp_path / "rig.json")
    axes, center = pose_axes(Rig.load(told).views[1]), np.array(rig.field_of_view.center)
    left = pose_between(found.views[1], rig.views[1], axes, center)
    assert abs(left[5]) < record["uncertainty"]["shift_along_rows_mm_95"]
    assert abs(left[0]) < record["uncertainty"]["turn_about_beam_degrees_95"]
    assert found.provenance["calibrations"][-1]["kind"] == "pair"
    # So large a turn about the beam would look the same if the knee had been bent instead.
    assert sum("the knee was bent further between the exposures" in sentence for sentence in record["warnings"]) == 1
