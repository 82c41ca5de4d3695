"""Segments and bones: which segment is which bone, and its surface as a file for the engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from .frames import isMirror, moved, toWorld, turnedAboutZ
from .problems import Problem
from .scene_bones import BONES, SIDE_ATTRIBUTE

_SIDES = ("left", "right")
_TERMINOLOGY = "TerminologyEntry"


def segmentIds(segmentation: Any) -> list[str]:
    """IDs of the segments, in their order."""
    segments = segmentation.GetSegmentation()
    return [segments.GetNthSegmentID(index) for index in range(segments.GetNumberOfSegments())]


def segmentName(segmentation: Any, identifier: str) -> str:
    return str(segmentation.GetSegmentation().GetSegment(identifier).GetName())


def bonesOf(segmentation: Any) -> dict[str, str]:
    """Segment ID by bone, by the words of the names; bones that no segment or more than one names are left out."""
    found: dict[str, list[str]] = {}
    for identifier in segmentIds(segmentation):
        bone = boneInWords(f"{segmentName(segmentation, identifier)} {_typeMeaning(segmentation, identifier)}")
        if bone:
            found.setdefault(bone, []).append(identifier)
    return {bone: found[bone][0] for bone in BONES if len(found.get(bone, [])) == 1}


def matches(reconstruction: Any, reference: Any) -> dict[str, str]:
    """Segment ID of the reference by bone of the reconstruction: by terminology, else by name.

    Where both knees are segmented, the one on the reconstruction's side is taken; where it stays open, the bone is left out, to
    be matched by hand.
    """
    result = {}
    for bone, own in bonesOf(reconstruction).items():
        code = _typeCode(reconstruction, own)
        candidates = [other for other in segmentIds(reference) if code and _typeCode(reference, other) == code]
        if not candidates:
            candidates = [
                other for other in segmentIds(reference) if boneInWords(segmentName(reference, other)) == bone
            ]
        if len(candidates) > 1:
            side = sideOf(reconstruction, own)
            candidates = [other for other in candidates if side and sideOf(reference, other) == side]
        if len(candidates) == 1:
            result[bone] = candidates[0]
    return result


def boneInWords(text: str) -> str | None:
    """The bone that a text names, None where it names none or several."""
    named = [bone for bone in BONES if bone in _words(text)]
    return named[0] if len(named) == 1 else None


def sideInWords(*texts: str) -> str | None:
    """ "left" or "right" as texts name it, None where they name none or both."""
    words = set[str]().union(*map(_words, texts))
    stated = [side for side in _SIDES if side in words]
    return stated[0] if len(stated) == 1 else None


def sideOf(segmentation: Any, identifier: str) -> str | None:
    """ "left" or "right" by the terminology's laterality or the words of the name; None where neither says."""
    parts = _terminology(segmentation, identifier)
    stated = parts[3].split("^")[-1] if len(parts) > 3 else ""
    return sideInWords(segmentName(segmentation, identifier), stated)


def legOf(segmentation: Any, identifier: str) -> str:
    """ "left" or "right" as segmentation or segment state it, the other one under a mirror; "" where neither does."""
    stated = segmentation.GetAttribute(SIDE_ATTRIBUTE) or sideOf(segmentation, identifier) or ""
    return {"left": "right", "right": "left"}.get(stated, "") if isMirror(toWorld(segmentation)) else stated


def writeSurfaces(segmentation: Any, chosen: dict[str, str], folder: Path, fromWorld: np.ndarray | None = None) -> None:
    """Write segments (ID by bone) as closed surfaces, PLY in LPS mm, transforms of the node applied.

    fromWorld: (4, 4) RAS, to the frame that they are wanted in, where that is another than the world. Raises Problem for a segment that
    is gone or empty.
    """
    folder.mkdir(parents=True)
    mirrored = isMirror(toWorld(segmentation))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for bone, identifier in chosen.items():
        if segmentation.GetSegmentation().GetSegment(identifier) is None:
            raise Problem(
                _("{segmentation} no longer has the segment chosen as {bone}: choose it again.").format(
                    segmentation=segmentation.GetName(), bone=bone
                )
            )
        polydata = vtk.vtkPolyData()
        made = logic.GetSegmentClosedSurfaceRepresentation(segmentation, identifier, polydata, True)
        if not made or polydata.GetNumberOfPolys() == 0:
            name = segmentName(segmentation, identifier)
            raise Problem(
                _("The segment {name} of {segmentation} is empty: segment it, or leave the {bone} out.").format(
                    name=name, segmentation=segmentation.GetName(), bone=bone
                )
            )
        _writePly(polydata if fromWorld is None else moved(polydata, fromWorld), folder / f"{bone}.ply", mirrored)


def writeModel(node: Any, file: Path) -> None:
    """Write a model as PLY in LPS mm, transforms of the node applied. Raises Problem for an empty one."""
    polydata = vtk.vtkPolyData()
    if node.GetPolyData() is None or node.GetPolyData().GetNumberOfPolys() == 0:
        raise Problem(_("{model} is empty: plan again, or leave the plan out.").format(model=node.GetName()))
    polydata.DeepCopy(node.GetPolyData())
    if node.GetParentTransformNode() is not None:
        transform = vtk.vtkGeneralTransform()
        node.GetParentTransformNode().GetTransformToWorld(transform)
        transformed = vtk.vtkTransformPolyDataFilter()
        transformed.SetTransform(transform)
        transformed.SetInputData(polydata)
        transformed.Update()
        polydata = transformed.GetOutput()
    _writePly(polydata, file, isMirror(toWorld(node)))


def _writePly(polydata: Any, file: Path, mirrored: bool) -> None:
    """Polydata in RAS as triangles in LPS. mirrored: its triangles face inwards now. Raises Problem when it cannot be written."""
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(turnedAboutZ(polydata))
    triangles.PassLinesOff()
    triangles.PassVertsOff()
    bare = vtk.vtkCleanPolyData()
    # Points at one place, such as those of a surface with sharp edges, become one again; nothing else is changed.
    bare.SetInputConnection(triangles.GetOutputPort())
    bare.ToleranceIsAbsoluteOn()
    bare.SetAbsoluteTolerance(0.0)
    outward = vtk.vtkReverseSense()
    outward.SetInputConnection(bare.GetOutputPort())
    outward.SetReverseCells(mirrored)
    outward.Update()
    shape = vtk.vtkPolyData()
    shape.SetPoints(outward.GetOutput().GetPoints())
    shape.SetPolys(outward.GetOutput().GetPolys())
    writer = vtk.vtkPLYWriter()
    writer.SetFileTypeToBinary()
    writer.SetFileName(str(file))
    writer.SetInputData(shape)
    if writer.Write() != 1 or not _isWhole(file, shape):
        raise Problem(_("{folder} cannot be written: free some space on this disk.").format(folder=file.parent))


def _isWhole(file: Path, polydata: Any) -> bool:
    """Whether a binary PLY holds every point and triangle: VTK's writer does not notice a full disk."""
    content = file.read_bytes()
    end = content.find(b"end_header\n")
    # Three float32 a point; a count and three int32 a triangle.
    wanted = 12 * polydata.GetNumberOfPoints() + 13 * polydata.GetNumberOfPolys()
    return end >= 0 and len(content) == end + len(b"end_header\n") + wanted


def _terminology(segmentation: Any, identifier: str) -> list[str]:
    """Parts of Slicer's terminology entry: context, category, type, modifier, ..."""
    tag = vtk.reference("")
    segment = segmentation.GetSegmentation().GetSegment(identifier)
    return str(tag).split("~") if segment.GetTag(_TERMINOLOGY, tag) else []


def _typeCode(segmentation: Any, identifier: str) -> str | None:
    """Scheme and code of the segment's type, None for a mere "Tissue" or nothing."""
    parts = _terminology(segmentation, identifier)
    type_ = parts[2].split("^") if len(parts) > 2 else []
    return "^".join(type_[:2]) if len(type_) == 3 and boneInWords(type_[2]) else None


def _typeMeaning(segmentation: Any, identifier: str) -> str:
    parts = _terminology(segmentation, identifier)
    return parts[2].split("^")[-1] if len(parts) > 2 else ""


def _words(text: str) -> set[str]:
    return set(re.split(r"[^a-z]+", text.lower()))
