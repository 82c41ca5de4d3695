"""The guide of a plan on the real bone, in the scene: figures, the seated guide, its page, and what takes them away again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planning_steps import SAMPLE
from vtk.util.numpy_support import vtk_to_numpy

#: The real bone lies elsewhere than the planned one, LPS mm: the CT has its own frame.
APART = np.array([7.0, -4.0, 3.0])


def _points(model: Any) -> np.ndarray:
    return vtk_to_numpy(model.GetPolyData().GetPoints().GetData()).astype(float)


def _rows(table: Any) -> dict[str, list[str]]:
    content = table.GetTable()
    columns = range(content.GetNumberOfColumns())
    texts = [
        [content.GetValue(row, column).ToString() for column in columns] for row in range(content.GetNumberOfRows())
    ]
    return {row[0]: row[1:] for row in texts}


def _real_bones(tmp_path: Path) -> Any:
    """The tibia that was planned on, moved: a guide must find its own place there again."""
    import trimesh
    from BiplanarBoneReconLib.scene_bones import segmentationOf

    mesh = trimesh.load(SAMPLE / "tibia.ply", process=False)
    mesh.apply_translation(APART)
    mesh.export(tmp_path / "tibia.ply")
    files = {bone: tmp_path / f"{bone}.ply" for bone in ("femur", "tibia", "fibula", "patella")}
    return segmentationOf(files, "CT", {})


@pytest.fixture
def simulated(planned: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The planned panel after the button was pressed, with few starts and samples."""
    from BiplanarBoneReconLib import panel_simulation
    from BiplanarBoneReconLib.simulation_jobs import simulateJob

    monkeypatch.setattr(panel_simulation, "simulateJob", partial(simulateJob, starts=2, samples=2))
    assert not planned.ui.simulateButton.enabled and not planned.ui.simulationReportButton.enabled
    planned.widget.parameterNode.realBones = _real_bones(tmp_path)
    planned.click("simulateButton")
    planned.waitUntilIdle()
    assert not planned.host.errors
    return planned


def test_a_guide_finds_its_place_on_its_own_bone_elsewhere(simulated: Any, tmp_path: Path) -> None:
    """Figures in table and words, the seated guide where the real bone is; all of it comes back with a saved scene."""
    import slicer
    from BiplanarBoneReconLib.hierarchy import folderOf
    from BiplanarBoneReconLib.scene_plan import planParts, planReport
    from BiplanarBoneReconLib.scene_simulation import simulationReport
    from slicer_host.panel import Panel
    from slicer_host.python_qt import QDesktopServices

    node = simulated.widget.parameterNode
    report = simulationReport(node.planTable)
    assert report["registration"]["translation_mm"] == pytest.approx(np.linalg.norm(APART), abs=0.2)
    guide = report["guide"]
    assert guide["contact"]["contact_percent_within_0.5_mm"] > 95.0
    assert guide["seating_error"]["translation_mm"] < 0.6
    rows = _rows(node.planTable)
    assert float(rows["Guide: face within 0.5 mm of the bone (%)"][-1]) == pytest.approx(
        guide["contact"]["contact_percent_within_0.5_mm"], abs=0.05
    )
    assert float(rows["Guide: seating error (mm)"][-1]) == pytest.approx(
        guide["seating_error"]["translation_mm"], abs=0.005
    )
    assert float(rows["Guide: correction error, frontal (\u00b0)"][-1]) == pytest.approx(
        guide["correction"]["frontal_degrees"], abs=0.005
    )
    assert rows["Wedge (\u00b0)"][1] == f"{planReport(node.planTable)['wedge_degrees']:.2f}"
    text = simulated.ui.simulationLabel.text
    assert f"{guide['contact']['contact_percent_within_0.25_mm']:.0f} % of its face" in text and "Guide on CT" in text
    parts = planParts(node.planTable)
    # RAS: half a turn about z.
    moved = _points(parts["guide_seated"]) - _points(parts["guide"])
    np.testing.assert_allclose(moved.mean(axis=0), APART * [-1, -1, 1], atol=0.6)
    assert folderOf(parts["guide_seated"]) == folderOf(parts["guide"]) == folderOf(node.planTable)
    before = _points(parts["guide_seated"])
    path = tmp_path / "simulated.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    simulated.close()
    simulated.host.clear()
    assert slicer.mrmlScene.ReadFromMRB(str(path))
    again = Panel(simulated.host)
    try:
        assert again.ui.realBonesSelector.currentNode().GetName() == "CT"
        assert again.ui.simulationLabel.text == text
        np.testing.assert_allclose(
            _points(planParts(again.widget.parameterNode.planTable)["guide_seated"]), before, atol=1e-4
        )
        again.click("simulationReportButton")
        page = Path(QDesktopServices.opened.pop())
        assert "contact percent within 0.5 mm" in page.read_text(encoding="utf-8") and str(page) in again.status()
    finally:
        again.close()


def test_a_changed_plan_has_no_simulated_guide(simulated: Any) -> None:
    from BiplanarBoneReconLib.scene_plan import planParts
    from BiplanarBoneReconLib.scene_simulation import simulationReport

    node = simulated.widget.parameterNode
    node.wedgeAngle = 9.0
    simulated.click("planButton")
    simulated.waitUntilIdle()
    assert not simulated.host.errors
    assert simulationReport(node.planTable) == {} and not {"guide", "guide_seated"} & set(planParts(node.planTable))
    assert simulated.ui.simulationLabel.text == "" and not simulated.ui.simulationReportButton.enabled
    assert not [name for name in _rows(node.planTable) if name.startswith("Guide")]


def test_cancel_leaves_the_plan_as_it_was(planned: Any, tmp_path: Path) -> None:
    from BiplanarBoneReconLib.scene_plan import planParts

    node = planned.widget.parameterNode
    node.realBones = _real_bones(tmp_path)
    rows, parts = _rows(node.planTable), list(planParts(node.planTable))
    planned.click("simulateButton")
    planned.click("cancelButton")
    planned.waitUntilIdle()
    assert "as it was" in planned.status()
    assert _rows(node.planTable) == rows and list(planParts(node.planTable)) == parts


def test_what_a_simulation_needs_is_said(planned: Any, tmp_path: Path) -> None:
    import slicer
    from BiplanarBoneReconLib.hierarchy import folderOf, itemOf
    from BiplanarBoneReconLib.panel_plan import nodesOf
    from BiplanarBoneReconLib.plan_jobs import PlanNodes
    from BiplanarBoneReconLib.problems import Problem
    from BiplanarBoneReconLib.scene_bones import SIDE_ATTRIBUTE

    from BiplanarBoneRecon import BiplanarBoneReconLogic

    node = planned.widget.parameterNode
    logic, nodes, real = BiplanarBoneReconLogic(), nodesOf(node), _real_bones(tmp_path)
    with pytest.raises(Problem, match="no plan yet"):
        logic.simulateGuide(node.planned, PlanNodes(), real)
    with pytest.raises(Problem, match="Choose the real bones"):
        logic.simulateGuide(node.planned, nodes, None)
    with pytest.raises(Problem, match="is what the guide was planned on"):
        logic.simulateGuide(node.planned, nodes, node.planned)
    with pytest.raises(Problem, match="made on other bones"):
        logic.simulateGuide(real, nodes, node.planned)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item, folder = itemOf(nodes.table), folderOf(nodes.table)
    hierarchy.SetItemParent(item, hierarchy.GetSceneItemID())
    with pytest.raises(Problem, match="taken out of its folder"):
        logic.simulateGuide(node.planned, nodes, real)
    hierarchy.SetItemParent(item, folder)
    real.SetAttribute(SIDE_ATTRIBUTE, "right")
    with pytest.raises(Problem, match="of the other leg"):
        logic.simulateGuide(node.planned, nodes, real)
    real.SetAttribute(SIDE_ATTRIBUTE, "left")
    real.GetSegmentation().RemoveSegment("tibia")
    with pytest.raises(Problem, match="no segment named tibia"):
        logic.simulateGuide(node.planned, nodes, real)
