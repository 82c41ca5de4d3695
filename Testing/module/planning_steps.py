"""What a user does to plan on the bundled sample: its field of view ends below the tubercle, so three landmarks are set by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vtk

SAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleCase"
BONES = ("femur", "tibia", "fibula", "patella")

#: LPS mm: the most prominent point in front of the tibia, and two middles of its shaft.
SET_BY_HAND = {
    "tibial_tubercle": (-6.0, -36.9, -46.0),
    "tibial_shaft_proximal": (-13.0, -14.5, -56.0),
    "tibial_shaft_distal": (-14.5, -14.0, -70.0),
}


def choose_bones(panel: Any) -> Any:
    """The sample's true bones as a segmentation of a left knee, chosen for planning, with the wedge's angle as the target."""
    from BiplanarBoneReconLib.parameters import Target
    from BiplanarBoneReconLib.scene_bones import SIDE_ATTRIBUTE, segmentationOf

    bones = segmentationOf({bone: SAMPLE / f"{bone}.ply" for bone in BONES}, "Sample reference", {})
    bones.SetAttribute(SIDE_ATTRIBUTE, "left")
    node = panel.widget.parameterNode
    node.planned, node.exported = bones, bones
    node.target = Target.ANGLE
    node.wedgeAngle = 8.0
    panel.process()
    return bones


def index_of(landmarks: Any, name: str) -> int:
    """Number of a landmark in the list."""
    labels = [landmarks.GetNthControlPointLabel(index) for index in range(landmarks.GetNumberOfControlPoints())]
    return labels.index(name.replace("_", " "))


def set_landmark(landmarks: Any, name: str, lps: tuple[float, float, float]) -> None:
    """Put a landmark where a click would, in Slicer's axes."""
    landmarks.SetNthControlPointPositionWorld(index_of(landmarks, name), -lps[0], -lps[1], lps[2])


def set_what_the_image_lacks(panel: Any) -> None:
    """The three landmarks, one after the other; the plan that follows waits for no drag."""
    landmarks = panel.widget.parameterNode.landmarks
    for name, position in SET_BY_HAND.items():
        set_landmark(landmarks, name, position)


def place_in_sections(panel: Any) -> None:
    """What a user does on a reconstruction: press Place, and click the tubercle in 3D and the middle of the bone in the axial slices."""
    import slicer
    from BiplanarBoneReconLib.segments import bonesOf

    node = panel.widget.parameterNode
    tibia = vtk.vtkPolyData()
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.GetSegmentClosedSurfaceRepresentation(node.planned, bonesOf(node.planned)["tibia"], tibia, False)
    panel.click("placeTibialTubercleButton")
    set_landmark(node.landmarks, "tibial_tubercle", SET_BY_HAND["tibial_tubercle"])
    for name, button in (
        ("tibial_shaft_proximal", "placeTibialShaftProximalButton"),
        ("tibial_shaft_distal", "placeTibialShaftDistalButton"),
    ):
        panel.waitUntilIdle()
        panel.click(button)
        axial = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode")
        x, y, z = _middle_of_section(tibia, axial.GetSliceToRAS().GetElement(2, 3))
        set_landmark(node.landmarks, name, (-x, -y, z))
    panel.waitUntilIdle()


def _middle_of_section(bone: Any, height: float) -> tuple[float, float, float]:
    """RAS mm, the middle of the bounds of a bone's axial section."""
    plane, cutter = vtk.vtkPlane(), vtk.vtkCutter()
    plane.SetOrigin(0.0, 0.0, height)
    cutter.SetCutFunction(plane)
    cutter.SetInputData(bone)
    cutter.Update()
    bounds = cutter.GetOutput().GetBounds()
    return (bounds[0] + bounds[1]) / 2, (bounds[2] + bounds[3]) / 2, height
