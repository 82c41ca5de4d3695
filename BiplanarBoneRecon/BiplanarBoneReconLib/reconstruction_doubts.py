"""Why bones are not to be used as they stand: their traffic light, what was changed since they were reconstructed, what stretches them."""

from __future__ import annotations

import json
from typing import Any

from slicer.i18n import tr as _

from .frames import isMirror, keepsSizes, toWorld
from .parameters import BiplanarBoneReconParameterNode, Geometry
from .radiograph_sources import calibratedRig, standingRig
from .reconstructed_shape import motionSince
from .scene_bones import SIDE_ATTRIBUTE, isMadeFrom, radiographsOf
from .texts import REPORT, RIG, attachedJson

_ASKED = "BiplanarBoneRecon.Asked"


def noteAsked(segmentation: Any, geometry: Geometry, rigFile: str) -> None:
    """Note the geometry that was asked for when bones were reconstructed."""
    segmentation.SetAttribute(_ASKED, json.dumps(_geometry(geometry, rigFile)))


def isRed(segmentation: Any) -> bool:
    """Whether the traffic light of reconstructed bones is red."""
    return _light(segmentation) == "red"


def doubtsOf(segmentation: Any) -> list[str]:
    """Why bones are not to be used as they stand in the scene, a sentence each, the gravest first; [] where nothing speaks against it."""
    light = _lightInWords(segmentation) if segmentation.GetNodeReference(REPORT) is not None else ""
    return [*([light] if light else []), *changesOf(segmentation)]


def changesOf(segmentation: Any) -> list[str]:
    """What was changed since bones were reconstructed, whatever is chosen in the panel, a sentence each; [] where nothing was."""
    return [change for change in (geometryChanged(segmentation), shapeChanged(segmentation)) if change]


def shapeChanged(segmentation: Any) -> str:
    """What was done to the shape of bones, as a sentence; "" where it is that which was reconstructed, or that of a CT."""
    above, hardened = toWorld(segmentation), motionSince(segmentation)
    moved = above if above is None or hardened is None else above @ hardened
    if moved is None or not keepsSizes(moved):
        words = _(
            "{bones} is under a transform, or was hardened with one, that bends or stretches it: its sizes are not those of the bones."
        )
    elif isMirror(moved):
        words = _("{bones} is mirrored by a transform: its shape is that of the other leg.")
    elif hardened is None:
        words = _("{bones} was changed since it was reconstructed: what is said of it is of the bones as they were.")
    else:
        return ""
    return words.format(bones=segmentation.GetName())


def choiceChanged(node: BiplanarBoneReconParameterNode) -> str:
    """What is chosen otherwise in section 1 than when the panel's bones were reconstructed, as a sentence; "" where nothing is."""
    bones = node.reconstruction
    if not isMadeFrom(bones, node.apVolume, node.lateralVolume):
        words = _("What is said here is of {bones}, not of the radiographs chosen in section 1: press Reconstruct.")
    elif node.side.value and bones.GetAttribute(SIDE_ATTRIBUTE) not in (node.side.value, None, ""):
        words = _("{bones} was reconstructed for another side than the one chosen in section 1: press Reconstruct.")
    elif _asksOtherwise(node):
        words = _("{bones} was reconstructed in another geometry than the one chosen in section 1: press Reconstruct.")
    else:
        return ""
    return words.format(bones=bones.GetName())


def _asksOtherwise(node: BiplanarBoneReconParameterNode) -> bool:
    if node.geometry is Geometry.SCENE:
        calibrated = calibratedRig(node.apVolume, node.lateralVolume)
        return calibrated is not None and calibrated != attachedJson(node.reconstruction, RIG)
    asked = node.reconstruction.GetAttribute(_ASKED)
    return bool(asked) and json.loads(asked) != _geometry(node.geometry, node.rigFile)


def _geometry(geometry: Geometry, rigFile: str) -> list[str]:
    return [geometry.value, rigFile.strip() if geometry is Geometry.RIG_FILE else ""]


def geometryChanged(segmentation: Any) -> str:
    """That the bones' own radiographs stand elsewhere now, calibrated or in another geometry, as a sentence; "" where they do not."""
    rig, standing = attachedJson(segmentation, RIG), standingRig(*radiographsOf(segmentation))
    if rig is None or standing is None or standing == rig:
        return ""
    words = _(
        "The radiographs of {bones} stand in another geometry now than the one that it was reconstructed in: press Reconstruct."
    )
    return words.format(bones=segmentation.GetName())


def _light(segmentation: Any) -> str:
    return str(((attachedJson(segmentation, REPORT) or {}).get("trust") or {}).get("light") or "")


def _lightInWords(segmentation: Any) -> str:
    words = {
        "green": "",
        "amber": _("The traffic light of {bones} is amber: check it before you use it."),
        "red": _("The traffic light of {bones} is red: do not use it."),
    }.get(_light(segmentation), _("How far {bones} can be trusted was not assessed."))
    return words.format(bones=segmentation.GetName())
