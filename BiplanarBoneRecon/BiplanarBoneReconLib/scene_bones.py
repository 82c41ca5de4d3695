"""The reconstructed bones in the scene: a segmentation with closed surfaces, and their edges over the radiographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from .frames import turnedAboutZ
from .problems import Problem
from .texts import REPORT

BONES = ("femur", "tibia", "fibula", "patella")
SIDE_ATTRIBUTE = "BiplanarBoneRecon.Side"
PATIENT_ATTRIBUTE = "BiplanarBoneRecon.PatientId"
OUTLINE_ATTRIBUTE = "BiplanarBoneRecon.OutlineOf"
#: Role under which reconstructed bones refer to their radiographs, followed by the view, and edges to their bones.
_RADIOGRAPH, _BONES_OF_EDGES = "BiplanarBoneRecon.Radiograph.", "BiplanarBoneRecon.EdgesOf"
_LINE_WIDTH = 2
#: Of the edges over a radiograph: the segments' own colours are pale, and hardly seen on grey.
_EDGE_COLORS = {
    "femur": (1.00, 0.86, 0.10),
    "tibia": (0.25, 0.62, 1.00),
    "fibula": (0.20, 0.92, 0.35),
    "patella": (1.00, 0.42, 0.08),
}
_CLOSED_SURFACE = "Closed surface"


def addSegmentation(folder: Path, name: str) -> Any:
    """The result folder of `ssrkd reconstruct` as a segmentation node.

    Names, colours and SNOMED CT codes come from bones.seg.nrrd, shapes from the STL files: these are the exact surfaces, which
    a label map would only approximate.
    """
    described = slicer.vtkMRMLSegmentationNode()
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(folder / "bones.seg.nrrd"))
    slicer.mrmlScene.AddNode(described)
    try:
        if not storage.ReadData(described):
            raise Problem(
                _("The engine's segmentation cannot be read: free some space on the disk and reconstruct again.")
            )
        segments = described.GetSegmentation()
        templates = {
            segments.GetNthSegment(index).GetName(): segments.GetNthSegment(index)
            for index in range(segments.GetNumberOfSegments())
        }
        return segmentationOf({bone: folder / f"{bone}.stl" for bone in BONES}, name, templates)
    finally:
        slicer.mrmlScene.RemoveNode(described)


def segmentationOf(files: dict[str, Path], name: str, templates: dict[str, Any]) -> Any:
    """A segmentation node of surface files (LPS mm) by bone; files that do not exist are left out.

    `templates`: a segment by bone, whose colour and terminology are taken over.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", slicer.mrmlScene.GenerateUniqueName(name))
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(_CLOSED_SURFACE)
    for bone in BONES:
        if not files[bone].is_file():
            continue
        segment = slicer.vtkSegment()
        segment.SetName(bone.capitalize())
        template = templates.get(bone)
        if template is not None:
            segment.SetColor(template.GetColor())
            tag = vtk.reference("")
            if template.GetTag("TerminologyEntry", tag):
                segment.SetTag("TerminologyEntry", str(tag))
        segment.AddRepresentation(_CLOSED_SURFACE, readSurface(files[bone]))
        segmentation.AddSegment(segment, bone)
    node.CreateDefaultDisplayNodes()
    return node


def readSurface(path: Path) -> Any:
    """An STL or PLY file of the engine (LPS) as polydata in RAS."""
    reader = vtk.vtkSTLReader() if path.suffix == ".stl" else vtk.vtkPLYReader()
    reader.SetFileName(str(path))
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(reader.GetOutputPort())
    normals.SplittingOff()
    normals.Update()
    return turnedAboutZ(normals.GetOutput())


def madeFrom(segmentation: Any, ap: Any, lateral: Any) -> None:
    """Note the radiographs that bones were reconstructed from."""
    for view, node in (("ap", ap), ("lateral", lateral)):
        segmentation.SetNodeReferenceID(_RADIOGRAPH + view, node.GetID())


def radiographsOf(segmentation: Any) -> tuple[Any, Any]:
    """The AP and the lateral radiograph that bones were reconstructed from; None for one that is gone."""
    return segmentation.GetNodeReference(_RADIOGRAPH + "ap"), segmentation.GetNodeReference(_RADIOGRAPH + "lateral")


def isMadeFrom(segmentation: Any, ap: Any, lateral: Any) -> bool:
    """Whether bones were reconstructed from these radiographs."""
    pair = (("ap", ap), ("lateral", lateral))
    return all(
        node is not None and segmentation.GetNodeReferenceID(_RADIOGRAPH + view) == node.GetID() for view, node in pair
    )


def showOnly(segmentation: Any) -> None:
    """Show these bones with their edges, and no others that were reconstructed: they would lie between the same radiographs.

    None for none at all. Segmentations of a CT stay as they are.
    """
    scene, kind = slicer.mrmlScene, "vtkMRMLSegmentationNode"
    for index in range(scene.GetNumberOfNodesByClass(kind)):
        node = scene.GetNthNodeByClass(index, kind)
        if node.GetNodeReferenceID(REPORT):
            _setShown(node, node is segmentation)
    showEdgesOf(segmentation)


def showEdgesOf(segmentation: Any) -> None:
    """Show the edges of these bones and no others; None for none at all."""
    scene, kind = slicer.mrmlScene, "vtkMRMLModelNode"
    for index in range(scene.GetNumberOfNodesByClass(kind)):
        node = scene.GetNthNodeByClass(index, kind)
        if node.GetAttribute(OUTLINE_ATTRIBUTE):
            own = segmentation is not None and node.GetNodeReferenceID(_BONES_OF_EDGES) == segmentation.GetID()
            _setShown(node, own)


def hideEdgesWithoutBones() -> None:
    """Hide edges whose bones are gone: they would be taken for those of others."""
    scene, kind = slicer.mrmlScene, "vtkMRMLModelNode"
    for index in range(scene.GetNumberOfNodesByClass(kind)):
        node = scene.GetNthNodeByClass(index, kind)
        if node.GetAttribute(OUTLINE_ATTRIBUTE) and node.GetNodeReference(_BONES_OF_EDGES) is None:
            _setShown(node, False)


def _setShown(node: Any, shown: bool) -> None:
    # Somebody may have removed how it is shown alone.
    if node.GetDisplayNode() is not None:
        node.GetDisplayNode().SetVisibility(shown)


def addOutlines(path: Path, segmentation: Any) -> list[Any]:
    """The edges of bones of outlines.json as line models on the detectors, one a bone and view; returns them."""
    nodes = []
    views = json.loads(path.read_text(encoding="utf-8"))["views"]
    for view, bones in views.items():
        for bone, lines in bones.items():
            if not lines:
                continue
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", f"{bone.capitalize()} edges, {view}")
            node.SetAndObservePolyData(turnedAboutZ(_polylines(lines)))
            node.SetAttribute(OUTLINE_ATTRIBUTE, view)
            node.SetNodeReferenceID(_BONES_OF_EDGES, segmentation.GetID())
            node.CreateDefaultDisplayNodes()
            display = node.GetDisplayNode()
            display.SetColor(_EDGE_COLORS[bone])
            display.SetLineWidth(_LINE_WIDTH)
            display.SetLighting(False)
            display.SetVisibility2D(True)
            display.SetSliceDisplayModeToProjection()
            display.SetSliceIntersectionThickness(_LINE_WIDTH)
            nodes.append(node)
    return nodes


def _polylines(lines: list[list[list[float]]]) -> Any:
    points, cells = vtk.vtkPoints(), vtk.vtkCellArray()
    for line in lines:
        cells.InsertNextCell(len(line))
        for position in line:
            cells.InsertCellPoint(points.InsertNextPoint(position))
    polydata = vtk.vtkPolyData()
    polydata.SetPoints(points)
    polydata.SetLines(cells)
    return polydata
