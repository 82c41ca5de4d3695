"""`ssrkd reconstruct`, from files to files."""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import trimesh
from knee_model import knee_model

from SSRKDCore.commands import reconstruct as command
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks import model_folder
from SSRKDCore.pictures import preview
from SSRKDCore.reconstruction import pipeline
from SSRKDCore.segmentation_files import read_segmentation

FILES = {"patella.stl", "femur.stl", "fibula.stl", "tibia.stl", "bones.seg.nrrd", "report.json"}


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    rig = preset("room", rows=200, columns=200, pixel_spacing=(2.15, 2.15))
    monkeypatch.setattr(model_folder, "load_model", lambda name=None: knee_model(rig))
    return rig


@pytest.fixture
def case(tmp_path: Path, rig: Rig) -> Path:
    """A folder with two radiographs, in a path with a space and a letter outside ASCII."""
    folder = tmp_path / "knie rechts é"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for view in rig.views:
        pixels = generator.random((view.rows, view.columns)) * np.linspace(0.5, 3.0, view.columns)
        image = sitk.GetImageFromArray(pixels.astype(np.float32))
        image.SetSpacing((view.pixel_spacing[1], view.pixel_spacing[0]))
        sitk.WriteImage(image, str(folder / f"{view.name}.nrrd"))
    return folder


def _run(*words: Any) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def _standard(case: Path, out: Path, *more: Any) -> dict[str, Any]:
    return _run(
        "--ap", case / "ap.nrrd", "--lateral", case / "lateral.nrrd", "--intensity", "line_integral", "--side", "right",
        "--resolution", 64, "--device", "cpu", "--out", out, *more,
    )  # fmt: skip


def test_everything_is_written(case: Path, tmp_path: Path, rig: Rig) -> None:
    out = tmp_path / "results é"
    rig.save(tmp_path / "rig.json")
    result = _standard(case, out, "--rig", tmp_path / "rig.json")
    written = {path.name for path in out.iterdir()}
    assert written >= FILES
    assert "preview.png" in written or any("preview" in words for words in result["warnings"])
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["schema"] == "ssrkd-report/1"
    assert "not a medical device" in report["limits"]
    expected = hashlib.sha256((case / "ap.nrrd").read_bytes()).hexdigest()
    assert report["inputs"][0]["file"] == "ap.nrrd" and report["inputs"][0]["sha256"] == expected
    assert report["side"] == {"declared": "right", "inferred": "right"}
    assert report["model"]["name"] == "capsule knee"
    assert (report["precision"], report["surface_tolerance_mm"]) == ("float32", 0.0)
    assert report["timings_s"]["total"] > 0
    labels, grid, _ = read_segmentation(out / "bones.seg.nrrd")
    assert grid.shape == (64, 64, 64)
    for label, name in enumerate(("patella", "femur", "fibula", "tibia"), start=1):
        mesh = trimesh.load_mesh(out / f"{name}.stl")
        bone = report["bones"][name]
        assert mesh.is_volume and bone["closed"]
        assert mesh.volume == pytest.approx(bone["volume_mm3"], rel=1e-4)
        assert len(mesh.faces) == bone["triangles"]
        np.testing.assert_allclose(mesh.bounds, bone["bounds_mm"], atol=1e-3)
        # The segmentation lies where the surface lies (a mirrored one would not), to well below a voxel of 2.5 mm.
        z, y, x = np.nonzero(labels == label)
        np.testing.assert_allclose(grid.points(z, y, x).mean(axis=0), mesh.center_mass, atol=1.0)


def test_the_preview_has_the_side_of_the_segmentation(
    case: Path, tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that say one side of bones that look like the other's: R in one picture and left in one file would be the worst of it."""
    seen: list[str | None] = []
    monkeypatch.setattr(preview, "write_preview", lambda *given: seen.append(given[-1]))
    read = command.read_radiographs

    def of_the_other_side(*given: Any) -> Any:
        radiographs, warnings = read(*given)
        return [replace(radiograph, side="left") for radiograph in radiographs], warnings

    monkeypatch.setattr(command, "read_radiographs", of_the_other_side)
    images = ["--ap", case / "ap.nrrd", "--lateral", case / "lateral.nrrd", "--intensity", "line_integral"]
    report = _run(
        *images, "--rig", "room", "--resolution", 64, "--device", "cpu", "--no-trust", "--out", tmp_path / "out"
    )
    assert report["side"] == {"declared": "left", "inferred": "right"}
    tags = sitk.ReadImage(str(tmp_path / "out" / "bones.seg.nrrd")).GetMetaData("Segment0_Tags")
    assert seen == ["left"] and "^Left" in tags


def test_triangle_budget(case: Path, tmp_path: Path, rig: Rig) -> None:
    rig.save(tmp_path / "rig.json")
    result = _standard(case, tmp_path / "out", "--rig", tmp_path / "rig.json", "--triangles", 500)
    for name, bone in result["bones"].items():
        mesh = trimesh.load_mesh(tmp_path / "out" / f"{name}.stl")
        assert len(mesh.faces) == bone["triangles"] <= 500
        assert mesh.is_volume
        assert 0 < bone["decimation_deviation_mm"] < 5


def test_a_rig_beside_the_radiographs_is_used_and_said(case: Path, tmp_path: Path, rig: Rig) -> None:
    rig.save(case / "rig.json")
    result = _standard(case, tmp_path / "out")
    assert any("found beside the radiographs" in words for words in result["warnings"])
    assert result["rig"]["views"][0]["source"] == list(rig.views[0].source)


def test_views_by_name(case: Path, tmp_path: Path, rig: Rig) -> None:
    rig.save(tmp_path / "rig.json")
    result = _run(
        "--view", f"lateral={case / 'lateral.nrrd'}", "--view", f"ap={case / 'ap.nrrd'}", "--rig", tmp_path / "rig.json",
        "--intensity", "line_integral", "--resolution", 48, "--device", "cpu", "--out", tmp_path / "out",
    )  # fmt: skip
    assert {entry["view"]: entry["file"] for entry in result["inputs"]} == {"ap": "ap.nrrd", "lateral": "lateral.nrrd"}
    assert result["bones"]["femur"]["found"]


def test_an_existing_folder_is_kept_unless_overwritten(case: Path, tmp_path: Path, rig: Rig) -> None:
    rig.save(case / "rig.json")
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        _standard(case, out)
    assert (out / "precious.txt").read_text() == "mine"
    _standard(case, out, "--overwrite")
    assert {path.name for path in out.iterdir()} >= FILES
    assert not (out / "precious.txt").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_nothing_is_left_of_an_interrupted_run(
    case: Path, tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    from SSRKDCore.reconstruction import report

    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr(report, "write_segmentation", fail)
    rig.save(case / "rig.json")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises((KeyboardInterrupt, InputError)):
        _standard(case, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_ctrl_c_during_the_reconstruction_leaves_nothing(
    case: Path, tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "reconstruct", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _standard(case, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--triangles", 3], "at least"),
        (["--max-deviation", 0.1], "give both"),
        (["--ap-spacing", 0], "pixel spacing"),
        (["--pixel-spacing", 1, 2, 3], "pixel spacing"),
        (["--view", "oblique"], "NAME=FILE"),
        (["--view", "ap=x.dcm"], "twice"),
        (["--size", -1], "positive"),
        (["--size", "inf"], "positive"),
        (["--resolution", 8], "resolution"),
        (["--rig", "nowhere"], "rig"),
    ],
)
def test_contradictions_are_refused(case: Path, tmp_path: Path, rig: Rig, more: list[Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        _standard(case, tmp_path / "out", *more)
    assert not (tmp_path / "out").exists()


def test_missing_files_and_missing_views(case: Path, tmp_path: Path, rig: Rig) -> None:
    with pytest.raises(InputError, match="two radiographs"):
        _run("--ap", case / "ap.nrrd", "--out", tmp_path / "out")
    with pytest.raises(InputError, match=r"absent\.nrrd"):
        _run("--ap", case / "absent.nrrd", "--lateral", case / "lateral.nrrd", "--out", tmp_path / "out")
    with pytest.raises(InputError, match="both views"):
        _run(
            "--ap",
            case / "ap.nrrd",
            "--lateral",
            case / "ap.nrrd",
            "--intensity",
            "line_integral",
            "--out",
            tmp_path / "out",
        )
