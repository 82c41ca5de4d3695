"""`ssrkd measure`, from files to files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from leg_shapes import HIP, labelled, simple_leg

from SSRKDCore.anatomy import bone as anatomy_of
from SSRKDCore.cli import main
from SSRKDCore.json_files import write_json
from SSRKDCore.segmentation_files import write_segmentation
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import write_surface


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["measure", *(str(word) for word in words)])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    found = []
    for name, varus in (("ours", 2.0), ("truth", 4.0)):
        folder = tmp_path_factory.mktemp("bones") / name
        folder.mkdir()
        for bone, surface in simple_leg("left", 6.0, varus, 2.0, knee_only=True).items():
            write_surface(folder / f"{bone}.ply", surface)
        found.append(folder)
    return found[0], found[1]


def test_measurements_landmarks_pictures_and_the_difference_to_a_reference(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code, printed, error = run(capsys, folders[0], "--side", "left", "--reference", folders[1], "--out", out)
    assert code == 0, error
    assert "aMPTA" in printed and "none: no hip_centre" in printed
    report = json.loads((out / "measurements.json").read_text(encoding="utf-8"))
    assert report["schema"] == "ssrkd-measurements/1" and report["frame"] == "LPS"
    assert report["measurements"]["aMPTA"]["value"] == pytest.approx(88.0, abs=0.5)
    assert report["difference"]["aMPTA"] == pytest.approx(2.0, abs=0.4)
    assert report["measurements"]["HKA"]["value"] is None and report["measurements"]["HKA"]["missing"]["hip_centre"]
    with (out / "measurements.csv").open(encoding="utf-8") as file:
        rows = {row["measurement"]: row for row in csv.DictReader(file)}
    assert float(rows["aMPTA"]["difference"]) == pytest.approx(report["difference"]["aMPTA"], abs=1e-4)
    assert rows["HKA"]["value"] == "" and "ankle_centre" in rows["HKA"]["missing"]
    for picture in report["pictures"]:
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    assert len(report["pictures"]) == 2 or report["warnings"]


def test_a_segmentation_measures_like_the_surfaces(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a voxel of the tibia lies loose, higher than its plateau."""
    bones = simple_leg("left", 6.0, 2.0, 2.0, knee_only=True)
    labels, grid = labelled(bones)
    labels[-1, 0, 0] = anatomy_of("tibia").label
    folder = tmp_path / "labels"
    folder.mkdir()
    write_segmentation(folder / "bones.seg.nrrd", labels, grid, "left")
    words = ("--side", "left", "--reference", folders[0], "--no-pictures")
    for index, path in enumerate((folder, folder / "bones.seg.nrrd")):
        code, _, error = run(capsys, path, *words, "--out", tmp_path / f"out{index}")
        assert code == 0, error
        report = json.loads((tmp_path / f"out{index}" / "measurements.json").read_text(encoding="utf-8"))
        for name in ("aMPTA", "aLDFA", "slope_medial", "slope_lateral", "JLCA"):
            assert abs(report["difference"][name]) < 0.7, name


def test_landmarks_corrected_by_hand_are_taken_back(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (folders[0], "--side", "left", "--no-pictures")
    assert run(capsys, *words, "--out", tmp_path / "first")[0] == 0
    edited = json.loads((tmp_path / "first" / "landmarks.json").read_text(encoding="utf-8"))
    assert edited["given"] == [] and "hip_centre" in edited["missing"]
    edited["landmarks"]["hip_centre"] = [-HIP[0], HIP[1], HIP[2]]
    edited["given"] = ["hip_centre"]
    write_json(tmp_path / "edited.json", edited)
    code, _, _ = run(capsys, *words, "--landmarks", tmp_path / "edited.json", "--out", tmp_path / "second")
    assert code == 0
    report = json.loads((tmp_path / "second" / "measurements.json").read_text(encoding="utf-8"))
    assert report["measurements"]["mLDFA"]["value"] == pytest.approx(88.3, abs=0.6)
    assert report["measurements"]["mLDFA"]["given"] == ["hip_centre"]
    assert report["landmarks"]["given"] == ["hip_centre"]


@pytest.mark.parametrize(
    "what",
    [
        "other side",
        "open",
        "schema",
        "frame",
        "coordinates",
        "huge",
        "unknown name",
        "given in a list",
        "one pole",
        "exists",
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    what: str, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bones, side, out, extra = folders[0], "left", tmp_path / "out", []
    landmarks = {"schema": "ssrkd-landmarks/1", "frame": "LPS", "unit": "mm", "side": "left", "landmarks": {}}
    if what == "other side":
        side = "right"
    elif what == "open":
        bones = tmp_path / "open"
        bones.mkdir()
        tibia = simple_leg("left", knee_only=True)["tibia"]
        write_surface(bones / "tibia.ply", Surface(tibia.vertices, tibia.faces[:-5]))
    elif what == "exists":
        out.mkdir()
    else:
        landmarks |= {
            "schema": {"schema": "ssrkd-landmarks/9"},
            "frame": {"frame": "RAS"},
            "coordinates": {"landmarks": {"hip_centre": [0, "a", 1]}},
            "huge": {"landmarks": {"hip_centre": [10**400, 0, 1]}},
            "unknown name": {"landmarks": {"nose": [0, 0, 0]}},
            "given in a list": {"landmarks": {"hip_centre": [0, 0, 400]}, "given": [["hip_centre"]]},
            "one pole": {"landmarks": {f"patella_{end}_pole": [0, -48, 38] for end in ("inferior", "superior")}},
        }[what]
        write_json(tmp_path / "landmarks.json", landmarks)
        extra = ["--landmarks", tmp_path / "landmarks.json"]
    code, _, error = run(capsys, bones, "--side", side, "--out", out, "--no-pictures", *extra)
    assert code == 2
    assert error.startswith("ssrkd: ") and error.strip().count("\n") == 0
    assert not out.exists() or not any(out.iterdir())
