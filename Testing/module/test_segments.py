"""Which segment is which bone: by terminology, else by name, else by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk

_ENTRY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure~{type}~{side}"
    "~Anatomic codes - DICOM master list~^^~^^"
)
FEMUR, TIBIA = "SCT^71341001^Femur", "SCT^12611008^Tibia"
LEFT, RIGHT = "SCT^7771000^Left", "SCT^24028007^Right"


def _segmentation(rows: list[tuple[str, str | None, str]]) -> Any:
    """Segments (name, type, side), each a small sphere; ID s0, s1, ..."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    for index, (name, kind, side) in enumerate(rows):
        sphere = vtk.vtkSphereSource()
        sphere.SetCenter(20.0 * index, 0, 0)
        sphere.Update()
        segment = slicer.vtkSegment()
        segment.SetName(name)
        if kind:
            segment.SetTag("TerminologyEntry", _ENTRY.format(type=kind, side=side or "^^"))
        segment.AddRepresentation("Closed surface", sphere.GetOutput())
        node.GetSegmentation().AddSegment(segment, f"s{index}")
    return node


@pytest.fixture
def own(scene: Any) -> Any:
    return _segmentation([("Femur", FEMUR, LEFT), ("Tibia", TIBIA, LEFT)])


def test_terminology_wins_over_names(own: Any) -> None:
    from BiplanarBoneReconLib.segments import matches

    other = _segmentation([("Segment_1", TIBIA, ""), ("Segment_2", FEMUR, ""), ("old femur", None, "")])
    assert matches(own, other) == {"femur": "s1", "tibia": "s0"}


def test_names_in_words(own: Any) -> None:
    from BiplanarBoneReconLib.segments import matches

    other = _segmentation([("Tibia_L bone", None, ""), ("FEMUR left", None, ""), ("femoral head", None, "")])
    assert matches(own, other) == {"femur": "s1", "tibia": "s0"}


def test_the_other_knee_is_not_taken(own: Any) -> None:
    from BiplanarBoneReconLib.segments import matches

    other = _segmentation(
        [("femur right", None, ""), ("femur left", None, ""), ("a", TIBIA, RIGHT), ("b", TIBIA, LEFT)]
    )
    assert matches(own, other) == {"femur": "s1", "tibia": "s3"}


def test_what_is_ambiguous_is_left_to_the_user(own: Any) -> None:
    from BiplanarBoneReconLib.segments import matches

    other = _segmentation([("femur 1", None, ""), ("femur 2", None, ""), ("implant", None, "")])
    assert matches(own, other) == {}


def test_an_empty_segment_is_named(own: Any, tmp_path: Path) -> None:
    import slicer
    from BiplanarBoneReconLib.problems import Problem
    from BiplanarBoneReconLib.segments import writeSurfaces

    own.GetSegmentation().AddEmptySegment("nothing", "Patella")
    with pytest.raises(Problem, match=r"The segment Patella of .* is empty"):
        writeSurfaces(own, {"patella": "nothing"}, tmp_path / "bones")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLModelNode") == 0


def test_a_label_map_is_written_where_its_voxels_are(scene: Any, tmp_path: Path) -> None:
    """A CT's segmentation is a label map; writing its surface leaves it one."""
    import slicer
    import trimesh
    from BiplanarBoneReconLib.segments import writeSurfaces

    labels = np.zeros((40, 30, 20), dtype=np.uint8)
    labels[10:30, 5:25, 4:16] = 1
    ijk_to_ras = np.array([[-2.0, 0, 0, 15], [0, -1.0, 0, 40], [0, 0, 1.5, -9], [0, 0, 0, 1]])
    volume = slicer.util.addVolumeFromArray(labels, ijk_to_ras, "labels", "vtkMRMLLabelMapVolumeNode")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(volume, node)
    segment = node.GetSegmentation().GetNthSegmentID(0)
    writeSurfaces(node, {"femur": segment}, tmp_path / "bones")
    box = trimesh.load(tmp_path / "bones" / "femur.ply", process=False)
    # Middle of the voxels: i 9.5, j 14.5, k 19.5 -> RAS (-4, 25.5, 20.25) -> LPS (4, -25.5, 20.25).
    np.testing.assert_allclose(box.bounds.mean(axis=0), [4.0, -25.5, 20.25], atol=0.1)
    np.testing.assert_allclose(np.ptp(box.bounds, axis=0), [24.0, 20.0, 30.0], atol=2.0)
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
