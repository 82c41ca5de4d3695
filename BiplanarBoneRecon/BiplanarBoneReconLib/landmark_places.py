"""Landmarks that a plan needs and the image may not show: which are missing, where they are, and placing them with one click in a view."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from . import layouts
from .parameters import Target
from .scene_landmarks import indexOf, landmarkReport

#: What a knee's image may lack; everything else that a plan needs is on the joint itself.
TUBERCLE, SHAFT_PROXIMAL, SHAFT_DISTAL = "tibial_tubercle", "tibial_shaft_proximal", "tibial_shaft_distal"
HIP, ANKLE = "hip_centre", "ankle_centre"
PLACEABLE = (TUBERCLE, SHAFT_PROXIMAL, SHAFT_DISTAL, HIP, ANKLE)
#: Heights above the tibia's lower end, mm, at which the slices are opened: clear of the cut, and apart from one another.
_HEIGHT_MM = {SHAFT_PROXIMAL: 18.0, SHAFT_DISTAL: 4.0}


def missingForPlan(landmarks: Any, target: Target) -> list[str]:
    """Names of the landmarks without which the engine cannot plan towards a target; [] without a list. An ankle's centre stands in for the
    shaft, whose two ends give the tibia's axis where there is none.
    """
    if landmarks is None:
        return []
    lacking = [name for name in PLACEABLE if not _isPlaced(landmarks, name)]
    if target is Target.ANGLE:
        lacking = [name for name in lacking if name not in (HIP, ANKLE)]
    if _isPlaced(landmarks, ANKLE):
        lacking = [name for name in lacking if name not in (SHAFT_PROXIMAL, SHAFT_DISTAL)]
    return lacking


def whereInWords(name: str) -> str:
    """Where a landmark is, for a person who places it."""
    return {
        TUBERCLE: _(
            "Tibial tubercle: the most prominent point in front of the tibia, where the patellar tendon ends, some 3 to 5 cm below the "
            "joint. Click on the bone in the 3D view."
        ),
        SHAFT_PROXIMAL: _(
            "Upper end of the tibia's shaft axis: the middle of the bone's section in the axial (red) slice, which opens at its height."
        ),
        SHAFT_DISTAL: _(
            "Lower end of the tibia's shaft axis: the middle of the bone's section in the axial (red) slice, which opens near the bone's "
            "lower end."
        ),
        HIP: _(
            "Hip centre: not in a knee's image. Place it only where another image in this scene shows the femoral head; else plan the "
            "wedge itself."
        ),
        ANKLE: _(
            "Ankle centre: not in a knee's image. Place it only where another image in this scene shows the plafond; else plan the wedge "
            "itself."
        ),
    }[name]


def reasonOf(landmarks: Any, name: str) -> str:
    """Why the engine could not find it, in the engine's words; "" where it does not say."""
    return str(landmarkReport(landmarks).get("landmarks", {}).get("missing", {}).get(name, ""))


def startPlacing(landmarks: Any, name: str, segmentation: Any, tibia: str) -> None:
    """Let the next click in a view set one landmark; for the shaft's ends the slices open at their height first.

    segmentation, tibia: the bones, and the ID of the tibia's segment.
    """
    if name in _HEIGHT_MM and tibia:
        bounds = [0.0] * 6
        segmentation.GetSegmentation().GetSegment(tibia).GetBounds(bounds)
        middle = [(bounds[0] + bounds[1]) / 2, (bounds[2] + bounds[3]) / 2, bounds[4] + _HEIGHT_MM[name]]
        layouts.showSlicesAt(segmentation, middle)
    landmarks.SetControlPointPlacementStartIndex(indexOf(landmarks, name))
    selection = slicer.app.applicationLogic().GetSelectionNode()
    selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
    selection.SetActivePlaceNodeID(landmarks.GetID())
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SwitchToSinglePlaceMode()


def _isPlaced(landmarks: Any, name: str) -> bool:
    index = indexOf(landmarks, name)
    return index >= 0 and landmarks.GetNthControlPointPositionStatus(index) == landmarks.PositionDefined
