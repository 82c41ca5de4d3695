"""Planning in the scene: landmarks that can be corrected, a cut that can be dragged, and what comes of it as files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
import vtk
from planning_steps import SAMPLE, SET_BY_HAND, choose_bones, index_of, set_landmark
from vtk.util.numpy_support import vtk_to_numpy


@pytest.fixture
def panel(slicer_host: Any) -> Iterator[Any]:
    from slicer_host.panel import Panel

    opened = Panel(slicer_host)
    yield opened
    opened.close()


def _wait(panel: Any, reached: Callable[[], bool], seconds: float = 240.0) -> None:
    """Let events go on, with the pause after a drag, until something has come of it."""
    end = time.monotonic() + seconds
    while not (reached() and panel.widget.isIdle):
        assert time.monotonic() < end, panel.status()
        panel.process()
        time.sleep(0.01)


def _cells(table: Any) -> dict[str, list[str]]:
    """Rows by their first column."""
    content = table.GetTable()
    return {
        content.GetValue(row, 0).ToString(): [
            content.GetValue(row, column).ToString() for column in range(1, content.GetNumberOfColumns())
        ]
        for row in range(content.GetNumberOfRows())
    }


def _points(model: Any) -> np.ndarray:
    return vtk_to_numpy(model.GetPolyData().GetPoints().GetData()).astype(float)


def test_landmarks_stand_on_the_bones_and_say_what_is_missing(panel: Any) -> None:
    import slicer

    bones = choose_bones(panel)
    panel.click("measureButton")
    panel.waitUntilIdle()
    node = panel.widget.parameterNode
    landmarks = node.landmarks
    pole = landmarks.GetNthControlPointPositionVector(index_of(landmarks, "patella_superior_pole"))
    patella = vtk.vtkPolyData()
    slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentClosedSurfaceRepresentation(bones, "patella", patella, False)
    distance = vtk.vtkImplicitPolyDataDistance()
    distance.SetInput(patella)
    # The pole stands at the height of the very last point, in the middle of the last 2 mm.
    assert abs(distance.EvaluateFunction(list(pole))) < 2.0
    # A left knee in RAS: lateral is negative.
    lateral, medial = (
        landmarks.GetNthControlPointPositionVector(index_of(landmarks, f"{side}_epicondyle"))[0]
        for side in ("lateral", "medial")
    )
    assert lateral < medial - 50
    hip = index_of(landmarks, "hip_centre")
    assert landmarks.GetNthControlPointPositionStatus(hip) == landmarks.PositionUndefined
    assert "not in the field of view" in landmarks.GetNthControlPointDescription(hip)
    cells = _cells(node.measurements)
    assert float(cells["Caton_Deschamps"][0]) > 0.5
    assert cells["HKA"][0] == cells["HKA"][2] == "" and "no hip centre" in cells["HKA"][4]
    assert "tibial tubercle" in cells["Insall_Salvati"][4]
    # How wrong a figure may be stands beside it.
    assert float(cells["Caton_Deschamps"][2]) > 0.0
    panel.click("planButton")
    panel.waitUntilIdle()
    for place in ("Tibial tubercle: ", "Upper end of the tibia's shaft", "Lower end of the tibia's shaft"):
        assert place in panel.host.errors[-1][0]
    assert "Hip" not in panel.host.errors[-1][0]
    assert node.cutPlane is None


def _places(panel: Any) -> list[str]:
    """Landmarks that the panel asks for now, by the buttons that can be seen."""
    from BiplanarBoneReconLib.landmark_places import PLACEABLE

    names = {name: "".join(word.capitalize() for word in name.split("_")) for name in PLACEABLE}
    shown = [name for name, words in names.items() if getattr(panel.ui, f"place{words}Button").visible]
    assert shown == [name for name, words in names.items() if getattr(panel.ui, f"where{words}Label").visible]
    return shown


def test_what_a_plan_needs_is_placed_with_a_click_each(panel: Any) -> None:
    """Plan is pressed at once: the bones are measured, the rest is asked for by name and place, and each is set where the next click is."""
    import slicer
    from BiplanarBoneReconLib.parameters import Target
    from BiplanarBoneReconLib.scene_landmarks import givenLandmarks

    panel.ui.planSection.collapsed = False
    choose_bones(panel)
    assert _places(panel) == []
    panel.click("planButton")
    panel.waitUntilIdle()
    node = panel.widget.parameterNode
    assert "Lower end of the tibia's shaft axis" in panel.host.errors.pop()[0]
    assert _places(panel) == list(SET_BY_HAND)
    assert "the tibia ends too near below the tubercle" in panel.ui.whereTibialTubercleLabel.text
    node.target = Target.HKA
    assert _places(panel) == [*SET_BY_HAND, "hip_centre", "ankle_centre"]
    assert "Place it only where another image" in panel.ui.whereHipCentreLabel.text
    node.target = Target.ANGLE
    node.followDrags = False
    application = slicer.app.applicationLogic()
    layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    for number, (name, position) in enumerate(SET_BY_HAND.items()):
        words = "".join(word.capitalize() for word in name.split("_"))
        panel.click(f"place{words}Button")
        assert application.GetInteractionNode().GetCurrentInteractionMode() == slicer.vtkMRMLInteractionNode.Place
        assert not application.GetInteractionNode().GetPlaceModePersistence()
        assert application.GetSelectionNode().GetActivePlaceNodeID() == node.landmarks.GetID()
        assert node.landmarks.GetControlPointPlacementStartIndex() == index_of(node.landmarks, name)
        if name != "tibial_tubercle":
            # The slices stand at the height where the bone is cut across, inside the bone.
            assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView
            assert -73.0 < _axialHeight() < -50.0
        set_landmark(node.landmarks, name, position)
        assert _places(panel) == list(SET_BY_HAND)[number + 1 :]
    panel.click("planButton")
    panel.waitUntilIdle()
    assert not panel.host.errors and set(givenLandmarks(node.landmarks)) == set(SET_BY_HAND)
    # The shaft that was clicked is short: the panel says what that costs, as the engine says it.
    assert "set by hand" in panel.ui.planLabel.text and "degrees" in panel.ui.planLabel.text


def test_the_bones_are_seen_where_landmarks_are_placed(panel: Any) -> None:
    """Also after a comparison, which keeps them out of its own two views."""
    from BiplanarBoneReconLib import layouts

    display = choose_bones(panel).GetDisplayNode()
    compared = [layouts.RECONSTRUCTION_VIEW, layouts.REFERENCE_VIEW]
    layouts.show(layouts.RADIOGRAPHS_LAYOUT)
    layouts.show(layouts.COMPARISON_LAYOUT)
    layouts.keepOut(display, compared)
    panel.click("measureButton")
    panel.waitUntilIdle()
    assert display.GetVisibility() and display.IsDisplayableInView(layouts.viewNode(layouts.PLAN_VIEW).GetID())
    panel.click("placeTibialShaftDistalButton")
    assert display.IsDisplayableInView(layouts.viewNode("Red").GetID())
    assert not any(display.IsDisplayableInView(layouts.viewNode(name).GetID()) for name in compared)


def _axialHeight() -> float:
    import slicer

    axial = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    return float(axial.GetSliceToRAS().GetElement(2, 3))


def test_a_landmark_that_is_moved_takes_the_measurements_along(planned: Any) -> None:
    node = planned.widget.parameterNode
    before = _cells(node.measurements)
    tubercle = SET_BY_HAND["tibial_tubercle"]
    set_landmark(node.landmarks, "tibial_tubercle", (tubercle[0], tubercle[1], tubercle[2] - 10.0))
    _wait(planned, lambda: _cells(node.measurements)["Insall_Salvati"][0] != before["Insall_Salvati"][0])
    after = _cells(node.measurements)
    assert float(after["Insall_Salvati"][0]) > float(before["Insall_Salvati"][0]) + 0.1
    assert "tibial tubercle" in after["Insall_Salvati"][3]
    found = node.landmarks.GetNthControlPointPositionVector(index_of(node.landmarks, "tibial_tubercle"))
    np.testing.assert_allclose(list(found), [-tubercle[0], -tubercle[1], tubercle[2] - 10.0], atol=1e-6)
    # The plan hangs on the tubercle too, and a guide of the plan before does not fit any more.
    from BiplanarBoneReconLib.scene_plan import planParts, planReport

    assert planReport(node.planTable)["landmarks"]["tibial_tubercle"][2] == pytest.approx(tubercle[2] - 10.0)
    assert "guide" not in planParts(node.planTable) and "No guide" in planned.ui.planLabel.text
    assert not planned.host.errors


def test_what_is_dragged_while_the_engine_is_at_work_is_not_lost(planned: Any) -> None:
    """A second landmark and the plane are moved before the first answer has come: the next answer has all three."""
    from BiplanarBoneReconLib.scene_landmarks import landmarkReport
    from BiplanarBoneReconLib.scene_plan import cutPlane, planReport

    node = planned.widget.parameterNode
    first, second = (
        (*SET_BY_HAND[name][:2], SET_BY_HAND[name][2] - 2.0) for name in ("tibial_tubercle", "tibial_shaft_distal")
    )
    set_landmark(node.landmarks, "tibial_tubercle", first)
    end = time.monotonic() + 60
    while planned.widget.isIdle:
        assert time.monotonic() < end
        planned.process()
    set_landmark(node.landmarks, "tibial_shaft_distal", second)
    origin = [0.0] * 3
    node.cutPlane.GetOriginWorld(origin)
    node.cutPlane.SetOriginWorld(origin[0], origin[1], origin[2] - 2.0)
    wanted = cutPlane(node.cutPlane)
    _wait(planned, lambda: node.cutByHand and node.planTable is not None and not _unfinished(node))
    given = landmarkReport(node.landmarks)["landmarks"]
    assert given["landmarks"]["tibial_tubercle"] == pytest.approx(first)
    assert given["landmarks"]["tibial_shaft_distal"] == pytest.approx(second)
    plan = planReport(node.planTable)
    assert plan["landmarks"]["tibial_shaft_distal"] == pytest.approx(second)
    normal = np.array(plan["cut_plane"]["normal"])
    assert abs((np.array(plan["entry"]) - wanted[:3]) @ normal) < 0.01


def _unfinished(node: Any) -> bool:
    from BiplanarBoneReconLib.scene_landmarks import wasCorrected
    from BiplanarBoneReconLib.scene_plan import wasDragged

    return wasCorrected(node.landmarks) or wasDragged(node.cutPlane)


def test_a_dragged_plane_is_the_new_cut(planned: Any) -> None:
    """Lowered by 3 mm and turned by 4 degrees about the front: the cut lies in it, and stays where the hand left it."""
    from BiplanarBoneReconLib.scene_plan import cutPlane, planReport

    node = planned.widget.parameterNode
    before = planReport(node.planTable)
    origin, normal = [0.0] * 3, [0.0] * 3
    node.cutPlane.GetOriginWorld(origin)
    node.cutPlane.GetNormalWorld(normal)
    turn = vtk.vtkTransform()
    turn.RotateWXYZ(4.0, 0.0, 1.0, 0.0)
    node.cutPlane.SetOriginWorld(origin[0], origin[1], origin[2] - 3.0)
    node.cutPlane.SetNormalWorld(turn.TransformVector(normal))
    wanted = cutPlane(node.cutPlane)
    _wait(planned, lambda: planReport(node.planTable)["entry"] != before["entry"])
    plan = planReport(node.planTable)
    assert node.cutByHand and planned.ui.cutByHandCheckBox.checked
    assert cutPlane(node.cutPlane) == pytest.approx(wanted)
    direction = np.array(plan["cut_plane"]["normal"])
    assert abs(direction @ wanted[3:]) == pytest.approx(1.0, abs=1e-5)
    for point in (plan["cut_plane"]["point"], plan["entry"]):
        assert abs((np.array(point) - wanted[:3]) @ direction) < 0.01
    assert plan["height_mm"] != pytest.approx(before["height_mm"], abs=0.05)
    assert f"{plan['height_mm']:.1f} mm" in planned.ui.planLabel.text
    # Back to the usual cut.
    planned.ui.cutByHandCheckBox.checked = False
    planned.click("planButton")
    planned.waitUntilIdle()
    assert not planned.host.errors
    assert planReport(node.planTable)["entry"] == pytest.approx(before["entry"], abs=1e-3)


def test_an_impossible_drag_is_told_without_a_dialogue(planned: Any) -> None:
    from BiplanarBoneReconLib.scene_plan import cutPlane, planReport

    node = planned.widget.parameterNode
    before = planReport(node.planTable)
    node.cutPlane.SetNormalWorld(1.0, 0.0, 0.0)
    _wait(planned, lambda: "runs along the tibia" in planned.status())
    assert not planned.host.errors
    assert planReport(node.planTable) == before
    # Nothing is tried again until somebody moves it on.
    for _ in range(100):
        planned.process()
        time.sleep(0.01)
    assert planned.widget.isIdle and node.cutByHand
    # The way back: the usual cut takes the plane with it.
    planned.ui.cutByHandCheckBox.checked = False
    planned.click("planButton")
    planned.waitUntilIdle()
    assert not planned.host.errors
    assert planReport(node.planTable)["entry"] == pytest.approx(before["entry"], abs=1e-3)
    assert abs(cutPlane(node.cutPlane)[5]) > 0.5


def test_nothing_follows_where_it_is_not_wanted(planned: Any) -> None:
    planned.ui.followDragsCheckBox.checked = False
    planned.widget.parameterNode.cutPlane.SetOriginWorld(0.0, 0.0, 0.0)
    for _ in range(100):
        planned.process()
        time.sleep(0.01)
    assert planned.widget.isIdle and not planned.status()


def test_a_saved_plan_reopens_without_loss(planned: Any) -> None:
    """Read back: nodes, references, models, folder, and a plane and landmarks that count as not moved."""
    from BiplanarBoneReconLib.hierarchy import folderOf
    from BiplanarBoneReconLib.scene_landmarks import givenLandmarks, wasCorrected
    from BiplanarBoneReconLib.scene_plan import planParts, planReport, wasDragged

    node = planned.widget.parameterNode
    assert not wasCorrected(node.landmarks) and not wasDragged(node.cutPlane)
    given = givenLandmarks(node.landmarks)
    assert set(given) == set(SET_BY_HAND)
    for name, position in SET_BY_HAND.items():
        assert given[name] == pytest.approx(position, abs=1e-4)
    plan = planReport(node.planTable)
    assert plan["wedge_degrees"] == pytest.approx(8.0)
    assert float(_cells(node.planTable)["Height at the cortex (mm)"][1]) == pytest.approx(plan["height_mm"], abs=0.01)
    parts = planParts(node.planTable)
    assert list(parts) == ["proximal", "distal", "distal_moved", "wedge", "corrected", "guide"]
    folders = {folderOf(item) for item in (*parts.values(), node.landmarks, node.measurements, node.cutPlane)}
    assert len(folders) == 1 and None not in folders
    assert planned.ui.plannedSelector.currentNode().GetName() == "Sample reference"
    assert "Wedge 8.0" in planned.ui.planLabel.text and "No guide" not in planned.ui.planLabel.text
    # A ratio with the digits that tell a high patella from a usual one.
    ratio = float(_cells(node.measurements)["Insall_Salvati"][0])
    assert f"Insall Salvati {ratio:.2f} ratio" in planned.ui.planLabel.text
    # The wedge is the gap between both fragments: it reaches the hinge and opens medially, to the right of a left knee's hinge.
    hinge = np.array(plan["hinge"]["point"]) * [-1, -1, 1]
    wedge = _points(parts["wedge"])
    # Medial is +x of RAS on a left knee.
    assert wedge[:, 0].max() > hinge[0] + 20
    assert np.linalg.norm(wedge - hinge, axis=1).min() < 15
    origin = [0.0] * 3
    node.cutPlane.GetOriginWorld(origin)
    normal = np.array(plan["cut_plane"]["normal"]) * [-1, -1, 1]
    assert abs((np.array(origin) - hinge) @ normal) < 0.01


def test_axes_are_lines_between_their_landmarks(planned: Any) -> None:
    import slicer
    from BiplanarBoneReconLib.scene_landmarks import AXIS_ATTRIBUTE

    lines = {
        line.GetAttribute(AXIS_ATTRIBUTE): line
        for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode"))
        if (line := slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLMarkupsLineNode"))
    }
    assert set(lines) == {"Shaft of the femur", "Shaft of the tibia", "Distal condyles", "Plateau"}
    shaft = lines["Shaft of the tibia"]
    for index, name in enumerate(("tibial_shaft_proximal", "tibial_shaft_distal")):
        end = np.array(SET_BY_HAND[name]) * [-1, -1, 1]
        np.testing.assert_allclose(list(shaft.GetNthControlPointPositionVector(index)), end, atol=1e-4)
    assert shaft.GetLocked()


def test_the_plan_is_exported_beside_the_bones_in_lps(planned: Any, tmp_path: Path) -> None:
    from BiplanarBoneReconLib.scene_plan import planParts, planReport

    node, ui = planned.widget.parameterNode, planned.ui
    ui.planCheckBox.checked = True
    ui.limitTrianglesCheckBox.checked = True
    ui.trianglesSpinBox.value = 2000
    ui.exportFolderEdit.text = str(tmp_path)
    planned.click("exportButton")
    planned.waitUntilIdle()
    assert not planned.host.errors
    (folder,) = tmp_path.iterdir()
    report = json.loads((folder / "export_report.json").read_text(encoding="utf-8"))
    assert {*planParts(node.planTable)} < {*report["bones"]} and report["frame"] == "LPS"
    guide = trimesh.load(folder / report["bones"]["guide"]["files"][0])
    np.testing.assert_allclose(
        guide.bounds, [_bound * [-1, -1, 1] for _bound in _turned(planParts(node.planTable)["guide"])], atol=1e-3
    )
    assert guide.is_watertight and report["bones"]["guide"]["deviation_mm"] == 0.0
    # The guide lies on the medial side of the tibia, which is negative x of a left knee in LPS.
    assert guide.centroid[0] < planReport(node.planTable)["hinge"]["point"][0] - 15
    assert report["bones"]["femur"]["check"]["triangles"] <= 2000


def _turned(model: Any) -> list[np.ndarray]:
    """Lowest and highest corner of a model in LPS order, in RAS numbers."""
    points = _points(model)
    low, high = points.min(axis=0), points.max(axis=0)
    return [np.array([high[0], high[1], low[2]]), np.array([low[0], low[1], high[2]])]


def test_what_planning_needs_is_said(panel: Any, planned_scene: Path) -> None:
    from BiplanarBoneReconLib.problems import Problem
    from BiplanarBoneReconLib.scene_bones import SIDE_ATTRIBUTE

    from BiplanarBoneRecon import BiplanarBoneReconLogic

    assert not panel.ui.measureButton.enabled and not panel.ui.planButton.enabled
    bones = choose_bones(panel)
    logic = BiplanarBoneReconLogic()
    with pytest.raises(Problem, match="Choose the bones"):
        logic.measure(None)
    with pytest.raises(Problem, match="of the other leg"):
        logic.measure(bones, side="right")
    bones.RemoveAttribute(SIDE_ATTRIBUTE)
    with pytest.raises(Problem, match="Choose the side"):
        logic.measure(bones)
    bones.GetSegmentation().RemoveSegment("tibia")
    with pytest.raises(Problem, match="no segment named tibia"):
        logic.plan(bones, side="left", target="angle", value=8.0)


def test_planning_asks_for_its_own_package(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from BiplanarBoneReconLib import dependencies

    absent = dependencies.Package("manifold3d", "no_such_manifold", "manifold3d>=3.0", 4.0)
    monkeypatch.setattr(dependencies, "packages", lambda planning: [absent] if planning else [])
    monkeypatch.setattr(planned.host, "confirm", False)
    planned.click("planButton")
    assert "manifold3d, about 4 MB" in planned.host.confirmations[0]
    assert planned.widget.isIdle


def test_other_bones_have_their_own_landmarks(planned: Any) -> None:
    """The same knee under another name: nothing that was set by hand on the first one is taken over."""
    import slicer
    from BiplanarBoneReconLib.scene_landmarks import givenLandmarks
    from BiplanarBoneReconLib.scene_plan import PART_ATTRIBUTE

    node = planned.widget.parameterNode
    first = node.landmarks.GetID()
    choose_bones(planned).SetName("Other")
    planned.click("measureButton")
    planned.waitUntilIdle()
    assert not planned.host.errors
    assert givenLandmarks(node.landmarks) == {}
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 1
    assert slicer.mrmlScene.GetNodeByID(first) is None or node.landmarks.GetID() == first
    assert node.cutPlane is None and node.planTable is None and not node.cutByHand
    models = slicer.util.getNodesByClass("vtkMRMLModelNode")
    assert not [model for model in models if model.GetAttribute(PART_ATTRIBUTE)]


def test_a_plan_whose_plane_is_deleted_starts_afresh(planned: Any) -> None:
    from BiplanarBoneReconLib.scene_plan import cutPlane, planReport

    node = planned.widget.parameterNode
    planned.host.scene.RemoveNode(node.cutPlane)
    planned.process()
    assert node.cutPlane is None and not planned.ui.cutByHandCheckBox.enabled
    planned.click("planButton")
    planned.waitUntilIdle()
    assert not planned.host.errors
    plan = planReport(node.planTable)
    assert cutPlane(node.cutPlane)[3:] == pytest.approx(plan["cut_plane"]["normal"], abs=1e-5)
    middle = (np.array(plan["hinge"]["point"]) + plan["entry"]) / 2
    assert cutPlane(node.cutPlane)[:3] == pytest.approx(middle, abs=1e-3)
    assert planned.ui.cutByHandCheckBox.enabled and not node.cutByHand


def _other_leg(panel: Any) -> Any:
    """The same bones as those of another patient's right knee."""
    from BiplanarBoneReconLib.scene_bones import SIDE_ATTRIBUTE

    node = panel.widget.parameterNode
    first = node.planned
    other = choose_bones(panel)
    other.SetName("Other knee")
    other.SetAttribute(SIDE_ATTRIBUTE, "right")
    node.planned = node.exported = first
    panel.process()
    return other


def test_a_plan_is_shown_and_exported_with_its_own_bones_only(planned: Any, tmp_path: Path) -> None:
    """Two knees in one scene: the guide of one is not written beside the other under that patient's name."""
    node, ui = planned.widget.parameterNode, planned.ui
    other = _other_leg(planned)
    assert "Wedge 8.0" in ui.planLabel.text and ui.planCheckBox.enabled
    node.planned = node.exported = other
    node.exportPlan = True
    node.exportFolder = str(tmp_path)
    planned.process()
    assert ui.planLabel.text == "" and not ui.planCheckBox.enabled and not ui.simulateButton.enabled
    planned.click("exportButton")
    planned.waitUntilIdle()
    assert not planned.host.errors
    (folder,) = tmp_path.iterdir()
    assert {path.name.split("_")[1] for path in folder.glob("*.stl")} == {"femur", "tibia", "fibula", "patella"}


def test_a_drag_leaves_landmarks_of_other_bones_alone(planned: Any) -> None:
    """Bones are chosen that have no landmarks yet: those of the first knee are not lost when one of them is moved."""
    node = planned.widget.parameterNode
    first = node.landmarks.GetID()
    node.planned = _other_leg(planned)
    set_landmark(node.landmarks, "tibial_tubercle", (-6.0, -36.9, -50.0))
    for _ in range(100):
        planned.process()
        time.sleep(0.01)
    assert planned.widget.isIdle and node.landmarks.GetID() == first and node.planTable is not None


def test_two_knees_have_a_plan_each(planned: Any) -> None:
    """By script: the plan of the second takes nothing of the first one's."""
    from BiplanarBoneReconLib.bones_owner import bonesBehind
    from BiplanarBoneReconLib.panel_plan import nodesOf
    from BiplanarBoneReconLib.plan_jobs import PlanNodes
    from BiplanarBoneReconLib.scene_landmarks import landmarkReport
    from BiplanarBoneReconLib.scene_plan import planOf, planParts

    from BiplanarBoneRecon import BiplanarBoneReconLogic

    node = planned.widget.parameterNode
    first, bones = nodesOf(node), node.planned
    before = {name: _points(model) for name, model in planParts(first.table).items()}
    second = choose_bones(planned)
    logic = BiplanarBoneReconLogic()
    found = logic.measure(second)
    for name, position in landmarkReport(first.landmarks)["landmarks"]["landmarks"].items():
        set_landmark(found.landmarks, name, tuple(position))
    plan = logic.plan(second, nodes=PlanNodes(found.landmarks, found.measurements), target="angle", value=5.0)
    assert plan.table.GetID() != first.table.GetID() and bonesBehind(plan.table) is second
    assert planOf(bones).GetID() == first.table.GetID() and planOf(second).GetID() == plan.table.GetID()
    for name, model in planParts(first.table).items():
        np.testing.assert_array_equal(_points(model), before[name])
    assert "guide" not in planParts(plan.table) and "wedge" in planParts(plan.table)


def _shift(millimetres: float) -> Any:
    import slicer

    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, millimetres)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix)
    return transform


def test_bones_that_were_moved_have_left_their_plan(planned: Any, tmp_path: Path) -> None:
    """The guide of where they were is neither exported beside them nor seated, and landmarks set by hand are not used elsewhere."""
    from BiplanarBoneReconLib.scene_bones import segmentationOf

    node, ui = planned.widget.parameterNode, planned.ui
    files = {bone: SAMPLE / f"{bone}.ply" for bone in ("femur", "tibia", "fibula", "patella")}
    node.realBones = segmentationOf(files, "CT", {})
    shift = _shift(30.0)
    node.planned.SetAndObserveTransformNodeID(shift.GetID())
    _wait(planned, lambda: "moved or changed since this plan" in ui.planLabel.text, 10.0)
    node.exportPlan = True
    node.exportFolder = str(tmp_path)
    planned.process()
    for button in ("exportButton", "simulateButton"):
        planned.click(button)
        assert "moved or changed since this plan" in planned.host.errors.pop()[0]
    planned.click("planButton")
    assert "landmarks and cut were set by hand" in planned.host.errors.pop()[0]
    assert not list(tmp_path.iterdir())
    # Hardened, the transform is gone, and the bones are elsewhere all the same.
    node.planned.HardenTransform()
    planned.widget.update()
    assert "moved or changed since this plan" in ui.planLabel.text


def test_a_plan_that_was_moved_with_its_bones_fits_them(planned: Any, tmp_path: Path) -> None:
    """A whole branch under a transform: the models are exported where the bones are, and a new plan is not moved twice."""
    from BiplanarBoneReconLib.scene_plan import planParts

    node = planned.widget.parameterNode
    node.followDrags = False
    shift = _shift(30.0).GetID()
    for item in (node.planned, node.landmarks, node.cutPlane, *planParts(node.planTable).values()):
        item.SetAndObserveTransformNodeID(shift)
    tibia, corrected = [0.0] * 6, [0.0] * 6
    planParts(node.planTable)["corrected"].GetRASBounds(corrected)
    planned.click("planButton")
    planned.waitUntilIdle()
    assert not planned.host.errors
    planParts(node.planTable)["corrected"].GetRASBounds(tibia)
    assert tibia == pytest.approx(corrected, abs=0.5)


def test_a_plan_of_other_landmarks_says_so(planned: Any, tmp_path: Path) -> None:
    """Moved and measured again without planning: the plan and the guide that stand are those of the old landmarks."""
    node, ui = planned.widget.parameterNode, planned.ui
    node.followDrags = False
    x, y, z = SET_BY_HAND["tibial_tubercle"]
    set_landmark(node.landmarks, "tibial_tubercle", (x, y, z - 10.0))
    planned.click("measureButton")
    planned.waitUntilIdle()
    assert not planned.host.errors
    assert "landmarks were changed since this plan" in ui.planLabel.text
    node.exportPlan = True
    node.exportFolder = str(tmp_path)
    planned.process()
    planned.click("exportButton")
    assert "landmarks were changed since this plan" in planned.host.errors.pop()[0]
    planned.click("planButton")
    planned.waitUntilIdle()
    assert not planned.host.errors and "since this plan" not in ui.planLabel.text
    planned.host.scene.RemoveNode(node.landmarks)
    planned.click("measureButton")
    planned.waitUntilIdle()
    assert not planned.host.errors and "landmarks were changed since this plan" in ui.planLabel.text


def test_a_mirror_makes_a_left_knee_a_right_one(panel: Any, tmp_path: Path) -> None:
    """Landmarks, measurements and file names are those of the leg that stands there; valgus stays valgus."""
    import slicer
    from BiplanarBoneReconLib.scene_landmarks import landmarkReport

    from BiplanarBoneRecon import BiplanarBoneReconLogic

    logic = BiplanarBoneReconLogic()
    bones = choose_bones(panel)
    left = landmarkReport(logic.measure(bones).landmarks)
    mirror = vtk.vtkMatrix4x4()
    mirror.SetElement(0, 0, -1.0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(mirror)
    bones.SetAndObserveTransformNodeID(transform.GetID())
    right = landmarkReport(logic.measure(bones).landmarks)
    assert (left["landmarks"]["side"], right["landmarks"]["side"]) == ("left", "right")
    assert right["measurements"]["aLDFA"]["value"] == pytest.approx(left["measurements"]["aLDFA"]["value"], abs=0.2)
    report = logic.export(bones, str(tmp_path), ["stl"])
    assert report["side"] == "right" and report["bones"]["femur"]["files"][0].startswith("right_femur_")
