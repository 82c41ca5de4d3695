"""How well each place of the reconstructed bones is known: surfaces with the engine's uncertainty, coloured in the module's 3D view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from . import layouts
from .color_legend import addLegend, removeLegend
from .distance_colors import colorNode, scalarRange
from .frames import turnedAboutZ
from .parameters import BoneColors, DistanceKind
from .reconstructed_shape import motionSince
from .scene_bones import BONES

BONE_ATTRIBUTE = "BiplanarBoneRecon.UncertaintyOfBone"
_OWNER = "BiplanarBoneRecon.UncertaintyOf"


def addUncertainty(folder: Path, report: dict[str, Any], segmentation: Any) -> list[Any]:
    """The files with uncertainty of a result folder (LPS mm) as hidden models; returns them, none where the model brings no assessment."""
    files = (report.get("trust") or {}).get("uncertainty_files") or {}
    nodes = []
    for bone in BONES:
        if bone not in files:
            continue
        reader = vtk.vtkXMLPolyDataReader()
        reader.SetFileName(str(folder / files[bone]))
        reader.Update()
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", f"{bone.capitalize()} uncertainty")
        node.SetAndObservePolyData(_withNormals(turnedAboutZ(reader.GetOutput())))
        node.SetAttribute(BONE_ATTRIBUTE, bone)
        node.SetNodeReferenceID(_OWNER, segmentation.GetID())
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetVisibility(False)
        nodes.append(node)
    return nodes


def uncertaintyModels(segmentation: Any) -> list[Any]:
    """The models with the uncertainty of a segmentation's bones; none where these are not as they were reconstructed."""
    if segmentation is None:
        return []
    # What was said of bones that somebody has changed since is not said of these.
    if not np.array_equal(motionSince(segmentation), np.eye(4)):
        return []
    return [node for node in _models() if node.GetNodeReference(_OWNER) is segmentation]


def hasUncertainty(segmentation: Any) -> bool:
    """Whether the engine said how well the bones of a segmentation are known."""
    return bool(uncertaintyModels(segmentation))


def colorBones(segmentation: Any, kind: BoneColors, reach: float) -> bool:
    """Colour the bones of a segmentation in the module's 3D view; every other segmentation gets its plain colours back there.

    kind: by what; PLAIN for the segments' own colours. reach: mm at the top of the scale. Returns whether the bones have an uncertainty.
    """
    chosen = uncertaintyModels(segmentation)
    colored = chosen if kind is not BoneColors.PLAIN else []
    if colored and layouts.viewNode(layouts.KNEE_VIEW) is None:
        layouts.show(layouts.RADIOGRAPHS_LAYOUT)
    for node in _models():
        removeLegend(node)
        if node not in colored:
            node.GetDisplayNode().SetVisibility(False)
        owner = node.GetNodeReference(_OWNER)
        if owner is not None and not (colored and owner is segmentation):
            layouts.letIn(owner.GetDisplayNode(), [layouts.KNEE_VIEW])
    for node in colored:
        _color(node, segmentation, kind, reach)
    if colored:
        layouts.keepOut(segmentation.GetDisplayNode(), [layouts.KNEE_VIEW])
        addLegend(colored[0], _titles()[kind], [layouts.KNEE_VIEW], "%.2f")
    return bool(chosen)


def _color(node: Any, segmentation: Any, kind: BoneColors, reach: float) -> None:
    transform = segmentation.GetParentTransformNode()
    node.SetAndObserveTransformNodeID(None if transform is None else transform.GetID())
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(colorNode(DistanceKind.ABSOLUTE).GetID())
    display.SetActiveScalar(kind.value, vtk.vtkAssignAttribute.POINT_DATA)
    display.SetScalarRangeFlag(display.UseManualScalarRange)
    display.SetScalarRange(*scalarRange(DistanceKind.ABSOLUTE, reach))
    display.SetScalarVisibility(True)
    layouts.restrictTo(display, [layouts.KNEE_VIEW])
    display.SetVisibility(True)


def _titles() -> dict[BoneColors, str]:
    return {BoneColors.INTERVAL: _("95 % interval:\n\u00b1 mm"), BoneColors.EXPECTED: _("Expected\nerror (mm)")}


def _withNormals(polydata: Any) -> Any:
    """The same points, with normals for smooth shading."""
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(polydata)
    normals.SplittingOff()
    normals.Update()
    return normals.GetOutput()


def _models() -> list[Any]:
    scene = slicer.mrmlScene
    nodes = [
        scene.GetNthNodeByClass(index, "vtkMRMLModelNode")
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLModelNode"))
    ]
    # Those without a display node cannot be shown any more.
    return [node for node in nodes if node.GetAttribute(BONE_ATTRIBUTE) and node.GetDisplayNode() is not None]
