"""The commands that the Slicer module runs: inspect, outlines, export, compare with surfaces, and progress as JSON lines."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import trimesh
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

from SSRKDCore.cli import main
from SSRKDCore.geometry.rig import Rig


@pytest.fixture
def sample(repository: Path) -> Path:
    return repository / "Resources" / "SampleCase"


def _json(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict:
    code = main([str(word) for word in words] + ["--json"])
    answer = json.loads(capsys.readouterr().out)
    assert code == answer.get("exit_code", 0)
    return answer


def test_inspect_a_pair(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    pair = (f"--ap={sample / 'ap.dcm'}", f"--lateral={sample / 'lateral.dcm'}")
    report = _json(capsys, "inspect", *pair, f"--rig={sample / 'rig.json'}", f"--out={out}")
    assert report["side"] == "left" and report["separation_degrees"] == pytest.approx(90.0, abs=0.01)
    assert [view["name"] for view in report["views"]] == ["ap", "lateral"]
    for view in report["views"]:
        assert view["magnification"] == pytest.approx(1.15, abs=0.001)
        image = sitk.ReadImage(str(out / view["image"]))
        assert image.GetSize() == (view["columns"], view["rows"], 1)
        assert image.GetSpacing()[:2] == pytest.approx(view["pixel_spacing_mm"][::-1])
    assert Rig.load(out / "rig.json").to_dict() == report["rig"]


@pytest.mark.parametrize("size", ["-5", "nan", "inf"])
def test_inspect_refuses_a_size_that_is_none(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str
) -> None:
    pair = [f"--ap={sample / 'ap.dcm'}", f"--lateral={sample / 'lateral.dcm'}", f"--rig={sample / 'rig.json'}"]
    report = _json(capsys, "inspect", *pair, f"--size={size}", f"--out={tmp_path / 'out'}")
    assert report["exit_code"] == 2 and "give a positive number of mm" in report["error"]


def test_inspect_one_image_has_no_geometry(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = _json(capsys, "inspect", f"--ap={sample / 'ap.dcm'}", f"--out={tmp_path / 'out'}")
    assert report["rig"] is None and "magnification" not in report["views"][0]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"ap.nrrd", "report.json"}
    assert (
        "two radiographs"
        in _json(capsys, "reconstruct", f"--ap={sample / 'ap.dcm'}", f"--out={tmp_path / 'b'}")["error"]
    )


@pytest.mark.parametrize("name", ["../outside", "inner/view", "inner\\view"])
def test_inspect_writes_nothing_beside_its_folder(
    sample: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = _json(capsys, "inspect", f"--view={name}={sample / 'ap.dcm'}", f"--out={tmp_path / 'out'}")
    assert answer["exit_code"] == 2 and "without slashes" in answer["error"]
    assert list(tmp_path.iterdir()) == []


def test_views_of_any_names_must_be_of_one_knee(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = pydicom.dcmread(sample / "lateral.dcm")
    other.PatientID = "someone else"
    other.save_as(tmp_path / "other.dcm")
    for file, words in ((sample / "ap.dcm", "given for both views"), (tmp_path / "other.dcm", "of different patients")):
        views = (f"--view=frontal={sample / 'ap.dcm'}", f"--view=side={file}", f"--rig={sample / 'rig.json'}")
        answer = _json(capsys, "inspect", *views, f"--out={tmp_path / 'out'}")
        assert answer["exit_code"] == 2 and words in answer["error"]
    answer = _json(capsys, "inspect", *views, f"--out={tmp_path / 'out'}", "--allow-different-patients")
    assert any("of different patients" in sentence for sentence in answer["warnings"])


def test_outlines_lie_on_their_detectors(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "outlines.json"
    counts = _json(capsys, "outlines", sample, f"--rig={sample / 'rig.json'}", f"--out={file}")["lines"]
    drawn = json.loads(file.read_text())["views"]
    rig = Rig.load(sample / "rig.json")
    for view in rig.views:
        assert set(drawn[view.name]) == {"femur", "tibia", "fibula", "patella"}
        for bone, lines in drawn[view.name].items():
            assert len(lines) == counts[view.name][bone] > 0
            points = np.concatenate([np.array(line) for line in lines])
            np.testing.assert_allclose((points - view.detector_origin) @ view.normal, 0.0, atol=1e-6)
    written = sorted(tmp_path.iterdir())
    assert (
        "is a folder" in _json(capsys, "outlines", sample, f"--rig={sample / 'rig.json'}", f"--out={tmp_path}")["error"]
    )
    assert sorted(tmp_path.iterdir()) == written
    assert (
        "is not a folder"
        in _json(capsys, "outlines", sample, f"--rig={sample / 'rig.json'}", f"--out={tmp_path / 'no' / 'x.json'}")[
            "error"
        ]
    )


@pytest.mark.parametrize(("frame", "signs"), [("LPS", [1, 1, 1]), ("RAS", [-1, -1, 1])])
def test_export_names_frames_and_reports(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], frame: str, signs: list[int]
) -> None:
    out = tmp_path / "out"
    words = ["--format=stl", "--format=obj", "--format=ply", f"--frame={frame}", "--patient=../A b", "--side=left"]
    report = _json(capsys, "export", sample, f"--out={out}", *words, "--date=2026-02-03", "--triangles=1000")
    for bone, row in report["bones"].items():
        stem = f"A-b_left_{bone}_2026-02-03_{frame}"
        assert row["files"] == [f"{stem}.stl", f"{stem}.obj", f"{stem}.ply"]
        assert row["check"]["problems"] == []
        assert (row["deviation_mm"] > 0) == (row["check"]["triangles"] < row["original_triangles"])
        source = trimesh.load(sample / f"{bone}.ply", process=False)
        for file in row["files"]:
            mesh = trimesh.load(out / file)
            assert mesh.volume == pytest.approx(source.volume, rel=0.05)
            np.testing.assert_allclose(mesh.centroid, source.centroid * signs, atol=0.5)
        header, count = (
            (out / f"{stem}.stl").read_bytes()[:80],
            struct.unpack("<I", (out / f"{stem}.stl").read_bytes()[80:84]),
        )
        assert f"frame {frame}".encode() in header and count[0] == row["check"]["triangles"]
    assert json.loads((out / "export_report.json").read_text())["frame"] == frame


def test_export_keeps_what_is_noted_about_the_surfaces(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    notes = ["Do not use these.", "Left out: H\u00fcfte, \u4e2d."]
    report = _json(capsys, "export", sample, f"--out={out}", *(f"--note={note}" for note in notes))
    assert report["notes"] == json.loads((out / "export_report.json").read_text(encoding="utf-8"))["notes"] == notes
    assert _json(capsys, "export", sample, f"--out={tmp_path / 'b'}", "--check-only")["notes"] == []


def test_export_can_only_check(sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = _json(capsys, "export", sample, f"--out={tmp_path / 'out'}", "--check-only")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["export_report.json"]
    assert all(row["files"] == [] for row in report["bones"].values())
    assert "at least 100" in _json(capsys, "export", sample, f"--out={tmp_path / 'b'}", "--triangles=3")["error"]


def test_compare_writes_coloured_surfaces_and_aligns(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sample's patella, moved by 2 mm towards the toes, against itself."""
    moved = tmp_path / "moved"
    moved.mkdir()
    mesh = trimesh.load(sample / "patella.ply", process=False)
    mesh.vertices += [0, 0, -2.0]
    mesh.export(moved / "patella.ply")
    words = ["--surfaces", "--no-pictures", "--field-of-view=none"]
    plain = _json(capsys, "compare", moved, sample, f"--out={tmp_path / 'plain'}", *words)
    assert plain["bones"]["patella"]["exact_assd_mm"] > 0.5 and plain["alignments"] == {}
    assert plain["surfaces"]["patella"] == {
        "reconstruction": "reconstruction_patella.vtp",
        "reference": "reference_patella.vtp",
    }
    reader = vtkXMLPolyDataReader()
    reader.SetFileName(str(tmp_path / "plain" / "reconstruction_patella.vtp"))
    reader.Update()
    data = reader.GetOutput().GetPointData()
    signed, absolute = (vtk_to_numpy(data.GetArray(name)) for name in ("signed_distance_mm", "absolute_distance_mm"))
    np.testing.assert_allclose(absolute, np.abs(signed))
    top = mesh.vertices[:, 2].argmax()
    # What was the upper pole lies inside the reference now, by no more than the way it went.
    assert -2.2 < signed[top] < -0.1
    histogram = plain["histograms"]["patella"]
    assert sum(histogram["share_of_area"]) == pytest.approx(1.0) and len(histogram["edges_mm"]) == 41
    back = _json(capsys, "compare", moved, sample, f"--out={tmp_path / 'aligned'}", "--align=bone", *words)
    assert back["bones"]["patella"]["exact_assd_mm"] < 0.1
    assert back["alignments"]["patella"]["matrix"][2][3] == pytest.approx(2.0, abs=0.3)


def test_progress_lines(sample: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "SSRKDCore", "export", str(sample), f"--out={tmp_path / 'out'}", "--check-only"]
    done = subprocess.run([*command, "--json", "--progress-lines"], capture_output=True, encoding="utf-8", timeout=120)
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    fractions = [line["progress"] for line in lines]
    assert len(lines) >= 4 and fractions == sorted(fractions) and all(line["words"] for line in lines)
    assert json.loads(done.stdout)["bones"]
