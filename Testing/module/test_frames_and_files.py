"""Millimetres and sides survive: engine to scene, scene to file, file to Slicer and to trimesh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
import vtk
from vtk.util.numpy_support import vtk_to_numpy

SAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleCase"
BONES = ("femur", "tibia", "fibula", "patella")


@pytest.fixture
def truth(slicer_host: Any) -> Any:
    """The sample's true bones as a segmentation node."""
    from BiplanarBoneReconLib.scene_bones import segmentationOf

    return segmentationOf({bone: SAMPLE / f"{bone}.ply" for bone in BONES}, "Truth", {})


def _points(polydata: Any) -> np.ndarray:
    return vtk_to_numpy(polydata.GetPoints().GetData()).astype(float)


def _surface(node: Any, segment: str) -> Any:
    polydata = vtk.vtkPolyData()
    node.GetClosedSurfaceRepresentation(segment, polydata)
    return polydata


def test_lps_becomes_ras_without_a_mirror(truth: Any) -> None:
    source = trimesh.load(SAMPLE / "tibia.ply", process=False)
    polydata = _surface(truth, "tibia")
    np.testing.assert_allclose(_points(polydata), source.vertices * [-1, -1, 1], atol=1e-4)
    mass = vtk.vtkMassProperties()
    mass.SetInputData(polydata)
    assert mass.GetVolume() == pytest.approx(source.volume, rel=1e-3)
    # A left knee: in RAS the fibula lies further to negative x than the tibia.
    assert _points(_surface(truth, "fibula"))[:, 0].mean() < _points(polydata)[:, 0].mean() - 10


@pytest.mark.parametrize(("frame", "signs"), [("LPS", [1, 1, 1]), ("RAS", [-1, -1, 1])])
def test_a_known_point_of_an_exported_stl(truth: Any, tmp_path: Path, frame: str, signs: list[int]) -> None:
    """The tip of the fibula's head, exported and read back by Slicer and by trimesh."""
    import slicer

    from BiplanarBoneRecon import BiplanarBoneReconLogic

    report = BiplanarBoneReconLogic().export(truth, str(tmp_path), ["stl"], frame, patient="M\u00fcller 7")
    folder = Path(report["folder"])
    path = folder / next(name for name in report["bones"]["fibula"]["files"])
    assert path.name.startswith("M\u00fcller-7_fibula_") and path.name.endswith(f"_{frame}.stl")
    assert frame.encode() in path.read_bytes()[:80]
    source = trimesh.load(SAMPLE / "fibula.ply", process=False).vertices
    tip = source[source[:, 2].argmax()]

    mesh = trimesh.load(path)
    assert mesh.is_watertight and mesh.volume > 0
    np.testing.assert_allclose(mesh.vertices[mesh.vertices[:, 2].argmax()], tip * signs, atol=1e-3)

    storage = slicer.vtkMRMLModelStorageNode()
    storage.SetFileName(str(path))
    storage.SetCoordinateSystem(storage.CoordinateSystemLPS if frame == "LPS" else storage.CoordinateSystemRAS)
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    assert storage.ReadData(model)
    points = _points(model.GetPolyData())
    np.testing.assert_allclose(points[points[:, 2].argmax()], tip * [-1, -1, 1], atol=1e-3)
    assert json.loads((folder / "export_report.json").read_text(encoding="utf-8"))["frame"] == frame


def test_a_transformed_segmentation_is_exported_where_it_is_shown(truth: Any, tmp_path: Path) -> None:
    import slicer
    from BiplanarBoneReconLib.segments import writeSurfaces

    shift = vtk.vtkMatrix4x4()
    shift.SetElement(0, 3, 12.0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(shift)
    truth.SetAndObserveTransformNodeID(transform.GetID())
    writeSurfaces(truth, {"patella": "patella"}, tmp_path / "bones")
    moved = trimesh.load(tmp_path / "bones" / "patella.ply", process=False)
    source = trimesh.load(SAMPLE / "patella.ply", process=False)
    # 12 mm to the patient's right are -12 mm in LPS.
    np.testing.assert_allclose(moved.centroid, source.centroid - [12, 0, 0], atol=0.01)


def test_bones_under_a_mirror_face_outwards(truth: Any, tmp_path: Path) -> None:
    """The other leg's CT as a reference: turned inside out, its signed distances would have the wrong colours."""
    import slicer
    from BiplanarBoneReconLib.segments import writeModel, writeSurfaces

    mirror = vtk.vtkMatrix4x4()
    mirror.SetElement(0, 0, -1.0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(mirror)
    truth.SetAndObserveTransformNodeID(transform.GetID())
    writeSurfaces(truth, {"patella": "patella"}, tmp_path / "bones")
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    model.SetAndObservePolyData(_surface(truth, "patella"))
    model.SetAndObserveTransformNodeID(transform.GetID())
    writeModel(model, tmp_path / "model.ply")
    source = trimesh.load(SAMPLE / "patella.ply", process=False)
    for file in (tmp_path / "bones" / "patella.ply", tmp_path / "model.ply"):
        mesh = trimesh.load(file, process=False)
        np.testing.assert_allclose(mesh.centroid, source.centroid * [-1, 1, 1], atol=0.01)
        assert mesh.volume == pytest.approx(source.volume, rel=1e-3)


def test_radiographs_stand_on_their_detectors(finished: Any) -> None:
    """The corner pixels of each volume lie where the rig says, and slices show the image as it is stored."""
    from BiplanarBoneReconLib.frames import imageToRAS, sliceToRAS

    rig = json.loads((SAMPLE / "rig.json").read_text())
    for view, node in zip(rig["views"], (finished.apVolume, finished.lateralVolume), strict=True):
        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        columns, rows, slices = node.GetImageData().GetDimensions()
        assert (columns, rows, slices) == (view["columns"], view["rows"], 1)
        last = np.array(matrix.MultiplyPoint([columns - 1, rows - 1, 0, 1]))[:3]
        expected = (
            np.array(view["detector_origin"])
            + np.array(view["column_direction"]) * (columns - 1) * view["pixel_spacing"][1]
            + np.array(view["row_direction"]) * (rows - 1) * view["pixel_spacing"][0]
        )
        np.testing.assert_allclose(last, expected * [-1, -1, 1], atol=1e-3)
        across, down = imageToRAS(view)[:3, 0], imageToRAS(view)[:3, 1]
        shown = sliceToRAS(view)
        assert shown[:3, 0] @ across > 0 and shown[:3, 1] @ down < 0
        assert np.linalg.det(shown[:3, :3]) == pytest.approx(1.0)


def test_edges_lie_on_the_detectors_and_around_the_bones_shadow(finished: Any) -> None:
    """Projected back by hand: each edge point lies on a ray that grazes the bone."""
    import slicer

    rig = json.loads((SAMPLE / "rig.json").read_text())
    views = {view["name"]: view for view in rig["views"]}
    scene = slicer.mrmlScene
    edges = [
        node
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLModelNode"))
        if (node := scene.GetNthNodeByClass(index, "vtkMRMLModelNode")).GetAttribute("BiplanarBoneRecon.OutlineOf")
    ]
    assert {node.GetAttribute("BiplanarBoneRecon.OutlineOf") for node in edges} == {"ap", "lateral"}
    fibula = next(node for node in edges if node.GetName() == "Fibula edges, ap")
    view = views["ap"]
    source = np.array(view["source"]) * [-1, -1, 1]
    points = _points(fibula.GetPolyData())
    normal = np.cross(view["column_direction"], view["row_direction"]) * [-1, -1, 1]
    origin = np.array(view["detector_origin"]) * [-1, -1, 1]
    np.testing.assert_allclose((points - origin) @ normal, 0.0, atol=1e-2)
    implicit = vtk.vtkImplicitPolyDataDistance()
    implicit.SetInput(_surface(finished.reconstruction, "fibula"))
    for point in points[:: max(1, len(points) // 20)]:
        ray = source + (point - source) * np.linspace(0.8, 0.95, 400)[:, None]
        nearest = min(implicit.EvaluateFunction(*position) for position in ray)
        # A ray that grazes comes near and hardly goes in; the surface's triangles are about 1 mm wide here.
        assert -1.0 < nearest < 0.5
