"""What was found or planned on bones: which bones they are, and whether it still fits them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .frames import toWorld
from .label_maps import voxelsOf
from .segments import bonesOf

#: Role under which what was found on bones refers to their segmentation.
_BONES = "BiplanarBoneRecon.Bones"
_STOOD = "BiplanarBoneRecon.BonesStood"
#: A saved scene rounds positions.
_SAME_MM = 0.02


def belongTo(node: Any, segmentation: Any) -> None:
    """Note that a node was made from bones as they stand now."""
    node.SetNodeReferenceID(_BONES, segmentation.GetID())
    node.SetAttribute(_STOOD, json.dumps(placeOf(segmentation, node)))


def isOf(node: Any, segmentation: Any) -> bool:
    """Whether a node was made from these bones; None is of no bones."""
    if node is None or segmentation is None:
        return False
    return bool(node.GetNodeReferenceID(_BONES) == segmentation.GetID())


def bonesBehind(node: Any) -> Any:
    """The segmentation that a node was made from, None where it is gone."""
    return node.GetNodeReference(_BONES)


def fitsStill(node: Any, segmentation: Any) -> bool:
    """Whether the bones of a node stand to it as they did when it was made, and have their shape."""
    stood = node.GetAttribute(_STOOD)
    return stood is None or samePlace(json.loads(stood), placeOf(segmentation, node))


def samePlace(then: list[float], now: list[float]) -> bool:
    """Whether bones stand at one place, and have one shape, by two answers of `placeOf`."""
    return len(then) == len(now) and bool(np.allclose(then, now, rtol=0.0, atol=_SAME_MM))


def placeOf(segmentation: Any, node: Any = None) -> list[float]:
    """Numbers that change when bones are moved (against a node, where one is given) or changed: transform, bounds of each surface, voxels
    of each label."""
    bones = toWorld(segmentation)
    own = toWorld(node) if node is not None and node.IsA("vtkMRMLTransformableNode") else np.eye(4)
    if bones is None or own is None:
        # Under a transform that bends them, where they end is what can be said of their place.
        numbers = [0.0] * 6
        segmentation.GetRASBounds(numbers)
    else:
        numbers = [float(value) for value in (np.linalg.inv(own) @ bones).ravel()]
    segments = segmentation.GetSegmentation()
    kind = segments.GetSourceRepresentationName()
    for identifier in bonesOf(segmentation).values():
        segment = segments.GetSegment(identifier)
        shape = segment.GetRepresentation(kind)
        if kind == "Closed surface":
            numbers += shape.GetBounds()
        elif shape is not None and shape.IsA("vtkImageData"):
            numbers += voxelsOf(shape, segment.GetLabelValue())
    return numbers
