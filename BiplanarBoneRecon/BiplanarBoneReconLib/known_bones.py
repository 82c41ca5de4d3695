"""Bones of this knee's CT that are in the scene already: a segmentation, or models that are named after the bones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from .frames import isMirror, toWorld
from .hierarchy import folderOf
from .problems import Problem
from .scene_bones import BONES
from .segments import boneInWords, bonesOf, legOf, segmentName, sideInWords, writeModel, writeSurfaces
from .texts import REPORT

#: What this module has made has attributes that begin so: coloured, planned or projected bones are not those of a CT.
_OURS = "BiplanarBoneRecon."


def knownNames(node: Any) -> dict[str, str]:
    """Name in the scene, of a segment or of a model, by bone."""
    if node.IsA("vtkMRMLSegmentationNode"):
        return {bone: segmentName(node, identifier) for bone, identifier in bonesOf(node).items()}
    return {bone: model.GetName() for bone, model in _models(node).items()}


def knownPlaces(node: Any) -> tuple[Any, ...]:
    """What changes when other bones are chosen, or these are moved; () for None."""
    if node is None:
        return ()
    nodes = [node] if node.IsA("vtkMRMLSegmentationNode") else list(_models(node).values())
    return tuple((item.GetID(), *_bounds(item)) for item in nodes)


def checkKnownBones(node: Any, side: str) -> None:
    """Raise Problem unless a node can be the bones of a CT of this knee. side: "right", "left", or "" where it is not said."""
    name = node.GetName()
    isSegmentation = node.IsA("vtkMRMLSegmentationNode")
    if node.GetNodeReferenceID(REPORT) if isSegmentation else _isOurs(node):
        raise Problem(
            _(
                "{node} was made from radiographs by this module, and such bones fit a wrong position too: choose bones of a CT, or none."
            ).format(node=name)
        )
    if not knownNames(node):
        raise Problem(
            _(
                "{node} has no bone named femur, tibia, fibula or patella: name the bones, or choose another node."
            ).format(node=name)
        )
    leg = _leg(node)
    if side and leg and leg != side:
        raise Problem(
            _(
                "{node} is of a {leg} knee, and a {side} one is chosen in the panel: choose bones of the same leg."
            ).format(node=name, leg=leg, side=side)
        )


def writeKnownBones(node: Any, folder: Path) -> None:
    """Write the bones as PLY, LPS mm, transforms applied. Raises Problem for one that is empty."""
    if node.IsA("vtkMRMLSegmentationNode"):
        writeSurfaces(node, bonesOf(node), folder)
        return
    folder.mkdir(parents=True)
    for bone, model in _models(node).items():
        writeModel(model, folder / f"{bone}.ply")


def _models(chosen: Any) -> dict[str, Any]:
    """The chosen model and those beside it in its folder, by bone; bones that more than one is named after are left out."""
    scene, kind = slicer.mrmlScene, "vtkMRMLModelNode"
    folder = folderOf(chosen)
    found: dict[str, list[Any]] = {}
    for index in range(scene.GetNumberOfNodesByClass(kind)):
        node = scene.GetNthNodeByClass(index, kind)
        bone = boneInWords(node.GetName())
        if bone is None or node.GetHideFromEditors() or _isOurs(node) or node.GetPolyData() is None:
            continue
        if node is chosen or folderOf(node) == folder:
            found.setdefault(bone, []).append(node)
    own = boneInWords(chosen.GetName())
    if own is not None:
        found[own] = [chosen]
    return {bone: found[bone][0] for bone in BONES if len(found.get(bone, [])) == 1}


def _isOurs(node: Any) -> bool:
    return any(str(name).startswith(_OURS) for name in node.GetAttributeNames() or ())


def _leg(node: Any) -> str:
    if node.IsA("vtkMRMLSegmentationNode"):
        return legOf(node, next(iter(bonesOf(node).values())))
    stated = sideInWords(*knownNames(node).values()) or ""
    return {"left": "right", "right": "left"}.get(stated, "") if isMirror(toWorld(node)) else stated


def _bounds(node: Any) -> list[float]:
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return bounds
