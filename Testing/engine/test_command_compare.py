"""`ssrkd compare`, from files to files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
import vtk
from leg_shapes import cut_between, moved, rotation, simple_leg
from scipy.spatial import cKDTree
from vtkmodules.util.numpy_support import vtk_to_numpy

from SSRKDCore.cli import main
from SSRKDCore.geometry.presets import preset
from SSRKDCore.grid import Grid
from SSRKDCore.json_files import write_json
from SSRKDCore.segmentation_files import write_segmentation
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import write_surface


def ball(radius: float, center: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    return Surface(mesh.vertices + np.array(center), mesh.faces)


def folder_of(path: Path, suffix: str, **bones: Surface) -> Path:
    path.mkdir()
    for name, surface in bones.items():
        write_surface(path / f"{name}{suffix}", surface)
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["compare", *(str(word) for word in words)])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def test_folders_of_surfaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = folder_of(tmp_path / "ours é", ".stl", femur=ball(21.0), patella=ball(8.0), fibula=ball(4.0))
    truth = folder_of(tmp_path / "truth", ".ply", femur=ball(20.0), patella=ball(8.0), tibia=ball(15.0))
    out = tmp_path / "out"
    code, printed, _ = run(capsys, ours, truth, "--out", out)
    assert code == 0
    assert "femur" in printed and "missing in the reconstruction" in printed
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["schema"] == "ssrkd-comparison/1"
    femur = report["bones"]["femur"]
    # Chords of these meshes lie up to 0.2 mm inside their spheres, alike in both.
    assert femur["exact_assd_mm"] == pytest.approx(1.0, abs=0.03)
    assert femur["dice"] == pytest.approx(2 * 20**3 / (20**3 + 21**3), abs=0.002)
    assert femur["paper_assd_mm"] > femur["exact_assd_mm"]
    assert report["bones"]["patella"]["exact_hd_mm"] < 1e-4
    assert report["bones"]["tibia"]["failure"] == "missing in the reconstruction"
    assert report["not_scored"] == ["fibula"] and "fibula" not in report["bones"]
    assert (report["mean"]["scored"], report["mean"]["failed"]) == (2, 1)
    with (out / "measures.csv").open(encoding="utf-8") as file:
        rows = {row["bone"]: row for row in csv.DictReader(file)}
    assert float(rows["femur"]["exact_hd95_mm"]) == pytest.approx(femur["exact_hd95_mm"], rel=1e-4)
    assert rows["tibia"]["exact_assd_mm"] == "" and rows["tibia"]["failure"].startswith("missing")
    for name, picture in report["pictures"].items():
        assert picture == f"distances_{name}.png"
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    assert set(report["pictures"]) == {"femur", "patella"} or any("picture" in words for words in report["warnings"])


def test_signed_distances_of_every_vertex(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Moved by 3 mm to the patient's left: its left side lies outside the reference (+3), its right side inside
    (-3).
    """
    surface = ball(20.0, (3.0, 0.0, 0.0))
    ours = folder_of(tmp_path / "ours", ".ply", femur=surface)
    truth = folder_of(tmp_path / "truth", ".obj", femur=ball(20.0))
    code, _, _ = run(capsys, ours, truth, "--out", tmp_path / "out", "--no-pictures")
    assert code == 0
    with (tmp_path / "out" / "distances.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(surface.vertices)
    x = np.array([float(row["x_mm"]) for row in rows])
    distances = np.array([float(row["signed_distance_mm"]) for row in rows])
    expected = np.linalg.norm(surface.vertices, axis=1) - 20.0
    np.testing.assert_allclose(x, surface.vertices[:, 0], atol=1e-3)
    np.testing.assert_allclose(distances, expected, atol=0.2)
    assert distances[np.argmax(x)] == pytest.approx(3.0, abs=0.2)
    assert distances[np.argmin(x)] == pytest.approx(-3.0, abs=0.2)


def two_voxels(path: Path, column: int) -> Path:
    labels = np.zeros((5, 6, 9), dtype=np.uint8)
    labels[2, 3, column] = 2
    write_segmentation(path, labels, Grid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), labels.shape))
    return path


def test_two_voxels_2_mm_apart_in_segmentations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = two_voxels(tmp_path / "a.seg.nrrd", 3), two_voxels(tmp_path / "b.seg.nrrd", 5)
    code, printed, _ = run(capsys, first, second, "--out", tmp_path / "out", "--no-pictures", "--json")
    assert code == 0
    femur = json.loads(printed)["bones"]["femur"]
    assert femur["exact_mean_reconstruction_to_reference_mm"] == pytest.approx(1.5, abs=1e-6)
    assert femur["exact_mean_reference_to_reconstruction_mm"] == pytest.approx(1.5, abs=1e-6)
    assert femur["exact_hd_mm"] == pytest.approx(2.0, abs=1e-6)
    assert femur["dice"] == 0.0


def test_dice_of_label_volumes_counts_their_own_voxels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Voxels of 0.7 mm do not tile 0.5 mm ones, yet the overlap 6 of 8 must be exact."""
    grid = Grid((0.0, 0.0, 0.0), (0.7, 0.7, 0.7), (4, 5, 12))
    paths = []
    for start in (1, 3):
        labels = np.zeros(grid.shape, dtype=np.uint8)
        labels[1:3, 1:4, start : start + 8] = 4
        (tmp_path / str(start)).mkdir()
        paths.append(tmp_path / str(start))
        write_segmentation(paths[-1] / "bones.seg.nrrd", labels, grid)
    code, printed, _ = run(capsys, *paths, "--out", tmp_path / "out", "--no-pictures", "--json")
    assert code == 0
    assert json.loads(printed)["bones"]["tibia"]["dice"] == pytest.approx(0.75, abs=1e-12)


def test_field_of_view_from_the_report_or_a_rig(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tubes = [trimesh.creation.cylinder(radius=r, height=h, sections=96) for r, h in ((11.0, 160.0), (10.0, 400.0))]
    ours = folder_of(tmp_path / "ours", ".stl", femur=Surface(tubes[0].vertices, tubes[0].faces))
    truth = folder_of(tmp_path / "truth", ".stl", femur=Surface(tubes[1].vertices, tubes[1].faces))
    rig = preset("room", field_of_view_size=160.0)
    write_json(ours / "report.json", {"rig": rig.to_dict(), "voxel_size_mm": 0.625})
    rig.save(tmp_path / "rig.json")

    def femur(*more: object) -> dict[str, float]:
        out = tmp_path / "out"
        code, printed, _ = run(capsys, ours, truth, "--out", out, "--overwrite", "--no-pictures", "--json", *more)
        assert code == 0
        return dict(json.loads(printed)["bones"]["femur"])

    # 96 sides: chords lie up to 0.006 mm inside.
    assert femur()["exact_hd_mm"] == pytest.approx(1.0, abs=0.02)
    assert femur("--field-of-view", tmp_path / "rig.json")["exact_hd_mm"] == pytest.approx(1.0, abs=0.02)
    assert femur("--field-of-view", "none")["exact_hd_mm"] > 100.0


def test_another_frame_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = folder_of(tmp_path / "ours", ".stl", femur=ball(20.0, (60.0, 80.0, 0.0)))
    truth = folder_of(tmp_path / "truth", ".stl", femur=ball(20.0, (-60.0, -80.0, 0.0)))
    code, printed, _ = run(capsys, ours, truth, "--out", tmp_path / "out", "--no-pictures")
    assert code == 0 and "RAS" in printed


@pytest.mark.parametrize("what", ["missing", "no bones", "damaged", "report", "two segmentations", "exists"])
def test_bad_input_is_one_sentence_and_nothing_is_written(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = folder_of(tmp_path / "ours", ".stl", femur=ball(5.0))
    truth = folder_of(tmp_path / "truth", ".stl", femur=ball(5.0))
    out = tmp_path / "out"
    if what == "missing":
        truth = tmp_path / "nowhere"
    elif what == "no bones":
        truth = tmp_path / "empty"
        truth.mkdir()
    elif what == "damaged":
        (truth / "femur.stl").write_bytes((truth / "femur.stl").read_bytes()[:200])
    elif what == "report":
        write_json(ours / "report.json", {"rig": {"field_of_view": {"center": [0, 0], "size": "large"}}})
    elif what == "two segmentations":
        (truth / "femur.stl").unlink()
        two_voxels(truth / "a.seg.nrrd", 3)
        two_voxels(truth / "b.seg.nrrd", 3)
    else:
        out.mkdir()
    code, _, error = run(capsys, ours, truth, "--out", out, "--no-pictures")
    assert code == 2
    assert error.startswith("ssrkd: ") and error.strip().count("\n") == 0
    assert not out.exists() or not any(out.iterdir())


def test_the_field_of_view_is_that_of_the_reconstruction_wherever_the_reference_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same knee, cut by the field of view, beside the whole one in another frame: aligned, nothing differs that was reconstructed."""
    pytest.importorskip("manifold3d")
    cube = preset("room", "right", field_of_view_size=120.0)
    cube.save(tmp_path / "rig.json")
    whole = {
        name: bone for name, bone in simple_leg("right", 8.0, 3.0, 2.0, knee_only=True).items() if "fib" not in name
    }
    ours = folder_of(
        tmp_path / "ours", ".ply", **{name: cut_between(bone, -60.0, 60.0) for name, bone in whole.items()}
    )
    moves = {}
    for name, motion in (
        ("same", moved(np.eye(3))),
        ("moved", moved(rotation((1, 0.3, 0.2), 8.0), (60.0, -40.0, 50.0))),
    ):
        truth = folder_of(tmp_path / name, ".ply", **{bone: s.transformed(motion) for bone, s in whole.items()})
        words = ("--align", "knee", "--field-of-view", tmp_path / "rig.json", "--no-pictures", "--surfaces")
        code, _, error = run(capsys, ours, truth, "--out", tmp_path / f"{name}-out", *words)
        assert code == 0, error
        report = json.loads((tmp_path / f"{name}-out" / "report.json").read_text(encoding="utf-8"))
        moves[name] = report["bones"]
        # The written surfaces stand beside one another in the reference's frame, whatever frame distances were taken in.
        both = [vtp_points(tmp_path / f"{name}-out" / f"{side}_tibia.vtp") for side in ("reconstruction", "reference")]
        assert cKDTree(both[1]).query(both[0])[0].max() < 12.0 and np.allclose(
            both[1], whole["tibia"].transformed(motion).vertices, atol=1e-3
        )
    for bone, found in moves["moved"].items():
        for measure in ("exact_assd_mm", "exact_hd_mm"):
            assert found[measure] == pytest.approx(moves["same"][bone][measure], abs=0.1), (bone, measure)
        assert found["exact_hd_mm"] < 1.0


def vtp_points(path: Path) -> np.ndarray:
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(path))
    reader.Update()
    return vtk_to_numpy(reader.GetOutput().GetPoints().GetData()).astype(float)


def test_a_round_piece_that_may_have_slid_is_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rod, 5 mm too low and aligned by itself; a ball holds every shift, but no turn."""
    rod = trimesh.creation.cylinder(6.0, 200.0, sections=32)
    rod = trimesh.Trimesh(*trimesh.remesh.subdivide_to_size(rod.vertices, rod.faces, 6.0))
    surface = Surface(np.asarray(rod.vertices), np.asarray(rod.faces))
    low = Surface(surface.vertices - [0.0, 0.0, 5.0], surface.faces)
    ours = folder_of(tmp_path / "ours", ".ply", fibula=low, patella=ball(8.0, (40.0, 0.0, 0.0)))
    truth = folder_of(tmp_path / "truth", ".ply", fibula=surface, patella=ball(8.0, (40.0, 0.0, 0.0)))
    out = tmp_path / "out"
    code, printed, told = run(capsys, ours, truth, "--out", out, "--no-pictures", "--align", "bone")
    assert code == 0
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    motions = {name: [item["kind"] for item in found["undetermined"]] for name, found in report["alignments"].items()}
    assert sorted(motions["fibula"]) == ["shift", "turn"] and motions["patella"] == ["turn"] * 3
    shift = next(words for words in report["warnings"] if "fibula does not determine a shift" in words)
    assert "mainly up or down" in shift and shift in printed + told
    run(capsys, ours, truth, "--out", out, "--no-pictures", "--overwrite")
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["warnings"] == []
