"""The real .ui on a real scene: every control, the whole job, saved scenes, and what can go wrong in between."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ONE_A_LINE = {"enabled", "text"}


@pytest.fixture
def panel(slicer_host: Any) -> Iterator[Any]:
    from slicer_host.panel import Panel

    opened = Panel(slicer_host)
    yield opened
    opened.close()


@pytest.fixture
def finished_panel(finished: Any, panel: Any) -> Any:
    """The panel on the scene that was reconstructed, compared, saved and read back."""
    panel.widget.initializeParameterNode()
    panel.process()
    return panel


def test_an_empty_scene_offers_only_what_can_be_done(panel: Any) -> None:
    enabled = {
        name for name, widget in vars(panel.ui).items() if widget.className() == "QPushButton" and widget.enabled
    }
    assert enabled == {
        "loadApButton",
        "loadLateralButton",
        "sampleButton",
        "modelButton",
        "exportFolderButton",
    }


def test_every_choice_is_a_parameter_and_every_parameter_a_choice(panel: Any, repository: Path) -> None:
    tree = ElementTree.parse(repository / "BiplanarBoneRecon" / "Resources" / "UI" / "BiplanarBoneRecon.ui")
    named = [item.findtext("string") for item in tree.iter("property") if item.get("name") == "SlicerParameterName"]
    by_hand = {"matchFemur", "matchTibia", "matchFibula", "matchPatella"}
    # What the section makes in the scene, and finds again there.
    by_hand |= {"landmarks", "measurements", "cutPlane", "planTable"}
    assert len(named) == len(set(named))
    assert set(named) | by_hand == set(panel.widget.parameterNode._fields)


def test_every_control_changes_its_parameter_and_follows_it(panel: Any) -> None:
    node = panel.widget.parameterNode
    from BiplanarBoneReconLib.parameters import (
        Alignment,
        BoneColors,
        CalibrationTarget,
        Device,
        DistanceKind,
        Frame,
        Geometry,
        Osteotomy,
        Resolution,
        Side,
        Target,
        View,
    )

    for box, name, kind in (
        ("sideComboBox", "side", Side),
        ("geometryComboBox", "geometry", Geometry),
        ("resolutionComboBox", "resolution", Resolution),
        ("deviceComboBox", "device", Device),
        ("boneColorsComboBox", "boneColors", BoneColors),
        ("alignmentComboBox", "alignment", Alignment),
        ("distanceKindComboBox", "distanceKind", DistanceKind),
        ("exportFrameComboBox", "exportFrame", Frame),
        ("calibrationTargetComboBox", "calibrationTarget", CalibrationTarget),
        ("calibrationViewComboBox", "calibrationView", View),
        ("osteotomyComboBox", "osteotomy", Osteotomy),
        ("targetComboBox", "target", Target),
    ):
        widget = getattr(panel.ui, box)
        assert widget.count == len(kind)
        for index, choice in enumerate(kind):
            widget.currentIndex = index
            assert getattr(node, name) is choice
            assert widget.itemText(index) == choice.label()
        setattr(node, name, next(iter(kind)))
        assert widget.currentIndex == 0
    for edit, name in (
        ("rigFileEdit", "rigFile"),
        ("modelEdit", "modelFolder"),
        ("exportFolderEdit", "exportFolder"),
        ("patientIdEdit", "patientId"),
    ):
        getattr(panel.ui, edit).text = "\u00fc 1"
        assert getattr(node, name) == "\u00fc 1"
    for check, name in (
        ("refineCheckBox", "refine"),
        ("prepareCheckBox", "prepare"),
        ("targetOffsetCheckBox", "calibrationOffsetKnown"),
        ("stlCheckBox", "exportStl"),
        ("objCheckBox", "exportObj"),
        ("plyCheckBox", "exportPly"),
        ("sceneCheckBox", "exportScene"),
        ("limitTrianglesCheckBox", "limitTriangles"),
        ("planCheckBox", "exportPlan"),
        ("biplanarCheckBox", "biplanar"),
        ("followDragsCheckBox", "followDrags"),
        ("cutByHandCheckBox", "cutByHand"),
    ):
        before = getattr(node, name)
        getattr(panel.ui, check).checked = not before
        assert getattr(node, name) is not before
    for spin, name, value in (
        ("distanceRangeSpinBox", "distanceRange", 7.5),
        ("trianglesSpinBox", "triangles", 5000),
        ("ballDiameterSpinBox", "ballDiameter", 30.0),
        ("tickSpacingSpinBox", "tickSpacing", 5.0),
        ("rulerLengthSpinBox", "rulerLength", 150.0),
        ("targetOffsetSpinBox", "calibrationOffset", -15.0),
        ("turnKnownSpinBox", "turnKnownTo", 4.5),
        ("shiftKnownSpinBox", "shiftKnownTo", 12.0),
        ("boneColorsRangeSpinBox", "boneColorsRange", 4.5),
        ("fujisawaSpinBox", "fujisawa", 55.0),
        ("hipKneeAnkleSpinBox", "hipKneeAnkle", 182.0),
        ("wedgeAngleSpinBox", "wedgeAngle", 9.5),
    ):
        getattr(panel.ui, spin).value = value
        assert getattr(node, name) == value
    for index, choice in enumerate(Target):
        node.target = choice
        assert panel.ui.targetStack.currentIndex == index


def test_the_rig_file_is_asked_for_only_where_it_is_used(panel: Any) -> None:
    from BiplanarBoneReconLib.parameters import Geometry

    assert not panel.ui.rigFileEdit.enabled
    panel.widget.parameterNode.geometry = Geometry.RIG_FILE
    assert panel.ui.rigFileEdit.enabled and panel.ui.rigFileButton.enabled
    panel.answer("/somewhere/rig.json", "/a/model", "/a/folder")
    for button in ("rigFileButton", "modelButton", "exportFolderButton"):
        panel.click(button)
    node = panel.widget.parameterNode
    assert (node.rigFile, node.modelFolder, node.exportFolder) == ("/somewhere/rig.json", "/a/model", "/a/folder")


def test_a_saved_scene_reopens_where_it_was_left(finished_panel: Any) -> None:
    node, ui = finished_panel.widget.parameterNode, finished_panel.ui
    assert node.resolution.value == 128
    assert ui.apSelector.currentNode().GetID() == node.apVolume.GetID()
    assert ui.reconstructionSelector.currentNode().GetName() == "Bones left"
    assert ui.referenceSelector.currentNode().GetName() == "Sample reference"
    assert [ui.matchFemurComboBox.itemText(ui.matchFemurComboBox.currentIndex), node.matchFemur] == ["Femur", "femur"]
    for button in ("inspectButton", "reconstructButton", "compareButton", "showComparisonButton", "checkMeshButton"):
        assert getattr(ui, button).enabled, button


def test_the_result_is_four_coded_bones_with_the_radiographs(finished_panel: Any) -> None:
    import slicer
    import vtk
    from BiplanarBoneReconLib.hierarchy import folderOf
    from BiplanarBoneReconLib.segments import sideOf

    node = finished_panel.widget.parameterNode
    segments = node.reconstruction.GetSegmentation()
    codes = {}
    for index in range(segments.GetNumberOfSegments()):
        tag = vtk.reference("")
        assert segments.GetNthSegment(index).GetTag("TerminologyEntry", tag)
        codes[segments.GetNthSegment(index).GetName()] = str(tag).split("~")[2].split("^")[1]
        assert sideOf(node.reconstruction, segments.GetNthSegmentID(index)) == "left"
    assert codes == {"Femur": "71341001", "Tibia": "12611008", "Fibula": "87342007", "Patella": "64234005"}
    folder = folderOf(node.reconstruction)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert hierarchy.GetItemName(folder) == "Sample knee (left)"
    assert folder == folderOf(node.apVolume) == folderOf(node.lateralVolume)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2


def test_the_comparison_has_figures_colours_and_a_legend(finished_panel: Any) -> None:
    import slicer
    from BiplanarBoneReconLib import layouts
    from BiplanarBoneReconLib.scene_comparison import coloredModels, comparisonReport, summaries
    from vtk.util.numpy_support import vtk_to_numpy

    (summary,) = summaries()
    report = comparisonReport(summary)
    assert set(report["bones"]) == {"femur", "tibia", "fibula", "patella"}
    table = summary.GetTable()
    for row, (bone, figures) in enumerate(report["bones"].items()):
        assert table.GetValue(row, 0).ToString() == bone.capitalize()
        assert float(table.GetValueByName(row, "ASSD (mm)").ToString()) == pytest.approx(
            figures["exact_assd_mm"], abs=1e-3
        )
        # The bundled model is a first one: this says "the same bone, in place", not "accurate".
        assert figures["exact_assd_mm"] < 4.0
    models = coloredModels()
    assert len(models) == 8
    for model in models:
        distances = vtk_to_numpy(model.GetPolyData().GetPointData().GetArray("signed_distance_mm"))
        bone, surface = (
            model.GetAttribute("BiplanarBoneRecon.Bone"),
            model.GetAttribute("BiplanarBoneRecon.ComparedSurface"),
        )
        import numpy as np

        key = {"reconstruction": "reconstruction_to_reference", "reference": "reference_to_reconstruction"}[surface]
        # Vertices are not spread evenly, so the mean over them is near the mean over the area, not equal to it.
        assert np.nanmean(np.abs(distances)) == pytest.approx(report["bones"][bone][f"exact_mean_{key}_mm"], rel=0.5)
        display = model.GetDisplayNode()
        assert display.GetScalarVisibility() and display.GetScalarRange() == (-3.0, 3.0)
        view = {"reconstruction": layouts.RECONSTRUCTION_VIEW, "reference": layouts.REFERENCE_VIEW}[surface]
        assert [slicer.mrmlScene.GetNodeByID(i).GetLayoutName() for i in display.GetViewNodeIDs()] == [view]
    legends = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode")
    assert legends == 2
    chart = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    assert chart.GetNumberOfPlotSeriesNodes() == 4
    for index in range(4):
        series = chart.GetNthPlotSeriesNode(index)
        column = series.GetTableNode().GetTable().GetColumnByName(series.GetYColumnName())
        # A saved scene keeps six significant digits of a table: each share is off by at most 5e-6 of itself.
        assert sum(column.GetValue(i) for i in range(column.GetNumberOfValues())) == pytest.approx(100.0, abs=5e-4)


def test_colours_follow_kind_and_range(finished_panel: Any) -> None:
    from BiplanarBoneReconLib.parameters import DistanceKind
    from BiplanarBoneReconLib.scene_comparison import coloredModels

    finished_panel.ui.distanceKindComboBox.currentIndex = list(DistanceKind).index(DistanceKind.ABSOLUTE)
    finished_panel.ui.distanceRangeSpinBox.value = 5.0
    finished_panel.process()
    for model in coloredModels():
        display = model.GetDisplayNode()
        assert display.GetActiveScalarName() == "absolute_distance_mm"
        assert display.GetScalarRange() == (0.0, 5.0)


def test_csv_of_the_comparison(finished_panel: Any, tmp_path: Path) -> None:
    import csv

    from BiplanarBoneReconLib.scene_comparison import comparisonReport, summaries

    path = tmp_path / "Abst\u00e4nde.csv"
    finished_panel.answer(str(path))
    finished_panel.click("saveCsvButton")
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    report = comparisonReport(summaries()[0])
    assert {row["bone"] for row in rows} == set(report["bones"])
    for row in rows:
        assert float(row["exact_hd_mm"]) == pytest.approx(report["bones"][row["bone"]]["exact_hd_mm"], rel=1e-4)
    finished_panel.answer(str(tmp_path / "no folder" / "x.csv"))
    finished_panel.click("saveCsvButton")
    assert "choose another place" in finished_panel.host.errors[-1][0]


def test_a_match_by_hand_is_used(finished_panel: Any) -> None:
    node, ui = finished_panel.widget.parameterNode, finished_panel.ui
    ui.matchFemurComboBox.currentIndex = 0
    assert node.matchFemur == ""
    for bone in ("Tibia", "Fibula", "Patella"):
        getattr(ui, f"match{bone}ComboBox").currentIndex = 0
    assert not ui.compareButton.enabled
    ui.matchPatellaComboBox.currentIndex = 4
    assert node.matchPatella == "patella" and ui.compareButton.enabled


def _transform(matrix: Any) -> Any:
    import slicer

    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix)
    return transform


def test_a_knee_that_was_moved_as_a_whole_is_measured_as_before(finished_panel: Any) -> None:
    """The field of view goes with the reconstruction that it belongs to; the coloured surfaces stand where the bones stand now."""
    import slicer
    import vtk
    from BiplanarBoneReconLib.scene_comparison import coloredModels, comparisonReport, summaries

    node, ui = finished_panel.widget.parameterNode, finished_panel.ui
    before = comparisonReport(summaries()[0])["bones"]
    for bone in ("Femur", "Tibia", "Fibula"):
        getattr(ui, f"match{bone}ComboBox").currentIndex = 0
    turn = vtk.vtkTransform()
    turn.Translate(80.0, 10.0, -5.0)
    turn.RotateWXYZ(30.0, 1.0, 2.0, 3.0)
    transform = _transform(turn.GetMatrix())
    for segmentation in (node.reconstruction, node.reference):
        segmentation.SetAndObserveTransformNodeID(transform.GetID())
    finished_panel.click("compareButton")
    finished_panel.waitUntilIdle()
    assert not finished_panel.host.errors
    after = comparisonReport(summaries()[0])["bones"]["patella"]
    for name in ("exact_assd_mm", "exact_hd_mm", "dice"):
        assert after[name] == pytest.approx(before["patella"][name], abs=2e-3), name
    patella = vtk.vtkPolyData()
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.GetSegmentClosedSurfaceRepresentation(node.reconstruction, "patella", patella, True)
    (model,) = (
        item for item in coloredModels() if item.GetAttribute("BiplanarBoneRecon.ComparedSurface") == "reconstruction"
    )
    assert model.GetPolyData().GetBounds() == pytest.approx(patella.GetBounds(), abs=1e-3)
    stretch = vtk.vtkMatrix4x4()
    stretch.SetElement(0, 0, 1.05)
    node.reconstruction.SetAndObserveTransformNodeID(_transform(stretch).GetID())
    finished_panel.click("compareButton")
    assert "its field of view cannot follow" in finished_panel.host.errors.pop()[0]


def _second_reference(side: str) -> Any:
    from BiplanarBoneReconLib.scene_bones import SIDE_ATTRIBUTE, segmentationOf

    folder = Path(__file__).resolve().parents[2] / "Resources" / "SampleCase"
    bones = segmentationOf(
        {bone: folder / f"{bone}.ply" for bone in ("femur", "tibia", "fibula", "patella")}, "Other CT", {}
    )
    bones.SetAttribute(SIDE_ATTRIBUTE, side)
    return bones


def test_figures_stand_beside_what_they_were_measured_on_only(finished_panel: Any) -> None:
    """Also in a scene that was saved and read back."""
    import vtk
    from BiplanarBoneReconLib.parameters import Alignment
    from BiplanarBoneReconLib.scene_comparison import comparisonReport, summaries

    node, ui = finished_panel.widget.parameterNode, finished_panel.ui
    first = node.reference
    figure = f"{comparisonReport(summaries()[0])['bones']['femur']['exact_assd_mm']:.2f}"
    assert figure in ui.comparisonLabel.text

    def is_another_one() -> bool:
        finished_panel.process()
        words = "is another one (Bones left against Sample reference)" in ui.comparisonLabel.text
        assert words is (figure not in ui.comparisonLabel.text)
        return words

    node.reference = _second_reference("left")
    assert is_another_one()
    node.reference = first
    assert not is_another_one()
    node.alignment = Alignment.KNEE
    assert is_another_one()
    node.alignment = Alignment.NONE
    ui.matchFemurComboBox.currentIndex = 0
    assert is_another_one()
    ui.matchFemurComboBox.currentIndex = 1
    first.SetAndObserveTransformNodeID(_transform(vtk.vtkMatrix4x4()).GetID())
    finished_panel.widget.update()
    assert not is_another_one()
    first.GetParentTransformNode().SetMatrixTransformToParent(_shifted())
    finished_panel.widget.update()
    assert is_another_one()


def _shifted() -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 5.0)
    return matrix


def test_a_left_knee_is_not_compared_with_a_right_one(finished_panel: Any) -> None:
    """Unless a mirror makes it a left one."""
    import vtk
    from BiplanarBoneReconLib.comparison_jobs import compareJob

    node = finished_panel.widget.parameterNode
    node.reference = _second_reference("right")
    finished_panel.process()
    finished_panel.click("compareButton")
    assert "are of different legs" in finished_panel.host.errors.pop()[0]
    mirror = vtk.vtkMatrix4x4()
    mirror.SetElement(0, 0, -1.0)
    node.reference.SetAndObserveTransformNodeID(_transform(mirror).GetID())
    compareJob(node.reconstruction, node.reference, {"femur": "femur"})


def test_aligned_comparison_and_its_residual(finished_panel: Any) -> None:
    """The reference is moved by 5 mm; aligning finds that again. One bone, to be quick: the patella, which is all in the field of view
    (a piece of fibular shaft fits as well a little higher up)."""
    import slicer
    import vtk
    from BiplanarBoneReconLib.parameters import Alignment
    from BiplanarBoneReconLib.scene_comparison import comparisonReport, summaries

    node, ui = finished_panel.widget.parameterNode, finished_panel.ui
    for bone in ("Femur", "Tibia", "Fibula"):
        getattr(ui, f"match{bone}ComboBox").currentIndex = 0
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(2, 3, 5.0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(shift)
    node.reference.SetAndObserveTransformNodeID(transform.GetID())
    node.alignment = Alignment.BONE
    finished_panel.click("compareButton")
    finished_panel.waitUntilIdle()
    assert not finished_panel.host.errors
    (summary,) = summaries()
    report = comparisonReport(summary)
    assert set(report["bones"]) == {"patella"}
    motion = report["alignments"]["patella"]
    assert motion["matrix"][2][3] == pytest.approx(5.0, abs=1.5)
    assert motion["residual_mm"] < motion["before_mm"]
    assert "residual" in ui.comparisonLabel.text


def test_what_an_alignment_cannot_hold_is_told(finished_panel: Any, tmp_path: Path) -> None:
    """A rod as the fibula, 5 mm too low: aligned by itself, the shift is gone, and the panel says that it cannot be trusted."""
    import trimesh
    from BiplanarBoneReconLib.parameters import Alignment
    from BiplanarBoneReconLib.scene_bones import segmentationOf

    rods = {}
    for name, low in (("Rod", 0.0), ("Rod in the CT", 5.0)):
        rod = trimesh.creation.cylinder(6.0, 200.0, sections=32)
        rod = trimesh.Trimesh(*trimesh.remesh.subdivide_to_size(rod.vertices, rod.faces, 6.0))
        rod.apply_translation((0.0, 0.0, low))
        file = tmp_path / f"{name}.ply"
        rod.export(file)
        none = tmp_path / "none.ply"
        rods[name] = segmentationOf({"femur": none, "tibia": none, "fibula": file, "patella": none}, name, {})
    node = finished_panel.widget.parameterNode
    node.reconstruction, node.reference = rods.values()
    node.alignment = Alignment.BONE
    finished_panel.click("compareButton")
    finished_panel.waitUntilIdle()
    assert not finished_panel.host.errors
    text = finished_panel.ui.comparisonLabel.text
    assert "The shape of the fibula does not determine a shift along" in text and "mainly up or down" in text
    assert "distances along it cannot be trusted" in text and "a turn about" in text


def test_pressed_twice_and_cancelled(finished_panel: Any) -> None:
    import slicer

    before = slicer.mrmlScene.GetNumberOfNodes()
    finished_panel.click("reconstructButton")
    assert not finished_panel.ui.reconstructButton.enabled
    finished_panel.widget._sections[1]._onReconstruct()
    assert "still at work" in finished_panel.status()
    finished_panel.click("cancelButton")
    finished_panel.waitUntilIdle()
    assert finished_panel.status() == "Cancelled. The scene is as it was."
    assert not finished_panel.host.errors
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert finished_panel.ui.reconstructButton.enabled


@pytest.mark.parametrize(("refine", "prepare"), [(True, False), (False, True)])
def test_the_engine_is_told_to_refine_and_to_prepare(
    finished_panel: Any, engine_does: Any, tmp_path: Path, refine: bool, prepare: bool
) -> None:
    """Both boxes as options of the engine, whatever it then makes of them."""
    import json

    told = tmp_path / "told.json"
    engine_does(f"import json, sys; json.dump(sys.argv[1:], open({str(told)!r}, 'w')); sys.exit(2)")
    finished_panel.ui.refineCheckBox.checked = refine
    finished_panel.ui.prepareCheckBox.checked = prepare
    finished_panel.click("reconstructButton")
    finished_panel.waitUntilIdle()
    words = json.loads(told.read_text())
    assert words[words.index("reconstruct")] == "reconstruct"
    assert ("--refine" in words, "--no-refine" in words) == (refine, not refine)
    assert ("--prepare" in words, "--no-prepare" in words) == (prepare, not prepare)


@pytest.mark.parametrize(
    ("trust", "words"),
    [
        (None, "not assessed"),
        ({"light": "green", "reasons": []}, "green"),
        ({"light": "red", "reasons": ["The views are swapped <here>."]}, "The views are swapped &lt;here&gt;."),
    ],
)
def test_the_traffic_light_and_its_reasons(finished_panel: Any, trust: dict[str, Any] | None, words: str) -> None:
    """From the report in the scene, so that a reopened scene shows it too."""
    import json

    from BiplanarBoneReconLib.texts import REPORT

    node = finished_panel.widget.parameterNode
    text = node.reconstruction.GetNodeReference(REPORT)
    report = json.loads(text.GetText())
    report.pop("trust", None)
    text.SetText(json.dumps(report if trust is None else {**report, "trust": trust}))
    finished_panel.widget.update()
    assert words in finished_panel.ui.trustLabel.text


def _edges_seen() -> set[str]:
    import slicer

    models = slicer.util.getNodesByClass("vtkMRMLModelNode")
    edges = [model for model in models if model.GetAttribute("BiplanarBoneRecon.OutlineOf")]
    return {model.GetName() for model in edges if model.GetDisplayNode().GetVisibility()}


def test_a_result_is_told_of_its_own_radiographs_only(finished_panel: Any) -> None:
    """Another pair is chosen: the old light says whose it is, and the old edges do not lie over the new images."""
    from BiplanarBoneReconLib.parameters import Geometry, Side

    node, ui = finished_panel.widget.parameterNode, finished_panel.ui
    first = node.apVolume, node.lateralVolume
    assert "Femur" in ui.reconstructionLabel.text and "Trust" in ui.trustLabel.text
    assert "Bones left" not in ui.trustLabel.text
    assert len(_edges_seen()) == 8
    node.side = Side.RIGHT
    finished_panel.click("sampleButton")
    finished_panel.waitUntilIdle()
    assert not finished_panel.host.errors
    assert "Side: left" in ui.understoodLabel.text
    assert "is of Bones left, not of the radiographs chosen" in ui.trustLabel.text
    assert _edges_seen() == set()
    node.geometry = Geometry.ROOM
    assert ui.understoodLabel.text == ""
    node.geometry = Geometry.FILES
    node.apVolume, node.lateralVolume = first
    finished_panel.process()
    assert "Bones left" not in ui.trustLabel.text
    finished_panel.click("inspectButton")
    finished_panel.waitUntilIdle()
    assert len(_edges_seen()) == 8
    node.reconstruction = node.reference
    finished_panel.process()
    assert ui.trustLabel.text == "" and ui.reconstructionLabel.text == ""


def test_a_mesh_report_is_of_the_bones_that_are_chosen(finished_panel: Any) -> None:
    node, ui = finished_panel.widget.parameterNode, finished_panel.ui
    finished_panel.click("checkMeshButton")
    finished_panel.waitUntilIdle()
    assert "triangles" in ui.exportLabel.text
    node.exported = node.reference
    finished_panel.process()
    assert ui.exportLabel.text == ""


def test_a_module_that_is_left_while_the_sample_loads(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from BiplanarBoneReconLib import panel_radiographs

    def left(place: bool) -> Any:
        nodes = load(place=place)
        panel.widget.exit()
        return nodes

    load = panel_radiographs.loadSample
    monkeypatch.setattr(panel_radiographs, "loadSample", left)
    panel.click("sampleButton")
    panel.waitUntilIdle()
    assert panel.widget.parameterNode.apVolume is not None and "Side: left" in panel.ui.understoodLabel.text


def test_the_patient_id_is_that_of_the_bones(finished_panel: Any) -> None:
    """Bones of a second patient are not exported under the ID of the first, read or typed; a pseudonym stays with its patient."""
    from BiplanarBoneReconLib.scene_bones import PATIENT_ATTRIBUTE
    from BiplanarBoneReconLib.texts import REPORT, attachJson

    node = finished_panel.widget.parameterNode
    assert node.patientId == "sample-knee"
    node.patientId = "pseudonym"
    finished_panel.process()
    assert node.patientId == "pseudonym"
    first = node.exported
    for patient in ("B-2", None):
        other = _second_reference("left")
        attachJson(other, REPORT, "Reconstruction report", {})
        if patient is not None:
            other.SetAttribute(PATIENT_ATTRIBUTE, patient)
        node.exported = other
        finished_panel.process()
        assert finished_panel.ui.patientIdEdit.text == (patient or "")
    node.exported = first
    finished_panel.process()
    assert node.patientId == "sample-knee"


def test_radiographs_of_a_second_patient_before_anything_is_reconstructed(panel: Any) -> None:
    """The ID that was read from the first pair does not stay for the bones of the second."""
    from BiplanarBoneReconLib.patient import readPatient
    from BiplanarBoneReconLib.scene_bones import PATIENT_ATTRIBUTE
    from BiplanarBoneReconLib.texts import REPORT, attachJson

    node = panel.widget.parameterNode
    readPatient(node, "A-1")
    readPatient(node, "B-2")
    bones = _second_reference("left")
    attachJson(bones, REPORT, "Reconstruction report", {})
    bones.SetAttribute(PATIENT_ATTRIBUTE, "B-2")
    node.exported = bones
    panel.process()
    assert node.patientId == "B-2"


def test_a_scene_closed_while_the_engine_runs(finished_panel: Any) -> None:
    finished_panel.click("reconstructButton")
    finished_panel.host.scene.Clear(False)
    finished_panel.host.addDefaultNodes()
    finished_panel.waitUntilIdle()
    assert "The scene was closed" in finished_panel.host.errors[-1][0]
    assert finished_panel.host.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert not finished_panel.ui.reconstructButton.enabled


def test_deleted_inputs_disable_what_needs_them(finished_panel: Any) -> None:
    node = finished_panel.widget.parameterNode
    finished_panel.host.scene.RemoveNode(node.reconstruction)
    finished_panel.process()
    assert not finished_panel.ui.compareButton.enabled and not finished_panel.ui.exportButton.enabled
    finished_panel.host.scene.RemoveNode(node.lateralVolume)
    finished_panel.process()
    assert not finished_panel.ui.reconstructButton.enabled


def test_export_from_the_panel(finished_panel: Any, tmp_path: Path) -> None:
    """Every format, with fewer triangles and the scene; the report says how far the surface moved."""
    import json

    import trimesh

    ui = finished_panel.ui
    ui.patientIdEdit.text = "P/1 \u00e9"
    for box in ("objCheckBox", "plyCheckBox", "sceneCheckBox", "limitTrianglesCheckBox"):
        getattr(ui, box).checked = True
    ui.trianglesSpinBox.value = 3000
    for missing in (str(tmp_path / "missing"), "~nobody-of-this-name/knees"):
        ui.exportFolderEdit.text = missing
        finished_panel.click("exportButton")
        assert "choose one that exists" in finished_panel.host.errors.pop()[0]
    ui.exportFolderEdit.text = str(tmp_path)
    finished_panel.click("exportButton")
    finished_panel.waitUntilIdle()
    assert not finished_panel.host.errors
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("P-1-\u00e9_left_") and folder.name.endswith("_LPS")
    names = sorted(path.name for path in folder.iterdir())
    assert sum(name.endswith(".stl") for name in names) == 4 and sum(name.endswith(".obj") for name in names) == 4
    assert f"{folder.name}.mrb" in names
    report = json.loads((folder / "export_report.json").read_text(encoding="utf-8"))
    for bone, row in report["bones"].items():
        assert row["check"]["closed"] and row["check"]["manifold"] and row["check"]["self_intersections"] == 0
        stl, ply = (next(name for name in row["files"] if name.endswith(suffix)) for suffix in (".stl", ".ply"))
        mesh = trimesh.load(folder / stl)
        assert mesh.is_watertight and len(mesh.faces) == row["check"]["triangles"]
        assert trimesh.load(folder / ply).volume == pytest.approx(mesh.volume, rel=1e-3)
        if row["check"]["triangles"] < row["original_triangles"]:
            assert 0 < row["deviation_mm"] < 5.0
            assert f"{row['deviation_mm']:.3f} mm" in ui.exportLabel.text, bone
    assert "All meshes are sound" in finished_panel.status()


@pytest.mark.parametrize(
    ("button", "package"),
    [
        ("compareButton", "trimesh"),
        ("checkMeshButton", "trimesh"),
        ("loadApButton", "pydicom"),
        ("sampleButton", "pydicom"),
        ("inspectButton", "pydicom"),
        ("detectTargetButton", "pydicom"),
    ],
)
def test_packages_are_asked_for_by_every_section(
    finished_panel: Any, monkeypatch: pytest.MonkeyPatch, button: str, package: str
) -> None:
    """A scene is reopened on another computer: nothing was reconstructed there, and nothing installed."""
    from BiplanarBoneReconLib import dependencies

    absent = [dependencies.Package(name, f"no_such_{name}", name, 4.0) for name in ("torch", "trimesh", "pydicom")]
    monkeypatch.setattr(dependencies, "packages", lambda planning: absent)
    monkeypatch.setattr(finished_panel.host, "confirm", False)
    finished_panel.click(button)
    # For what is done here only: torch is large, and no use to a surface.
    (question,) = finished_panel.host.confirmations
    assert [name for name in ("torch", "trimesh", "pydicom") if name in question] == [package]
    assert finished_panel.widget.isIdle


def test_packages_are_asked_for_once_and_a_no_is_accepted(finished_panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from BiplanarBoneReconLib import dependencies

    absent = dependencies.Package("torch", "no_such_torch", "torch>=2.4", 865.0)
    monkeypatch.setattr(dependencies, "packages", lambda planning: [absent])
    monkeypatch.setattr(finished_panel.host, "confirm", False)
    finished_panel.click("reconstructButton")
    assert "torch, about 865 MB" in finished_panel.host.confirmations[0] and len(finished_panel.host.confirmations) == 1
    assert finished_panel.ui.reconstructButton.enabled
    monkeypatch.setattr(finished_panel.host, "confirm", True)
    finished_panel.click("reconstructButton")
    assert "install it in the Extensions Manager" in finished_panel.host.errors[-1][0]


def test_nothing_is_installed_where_everything_is_there(slicer_host: Any) -> None:
    from BiplanarBoneReconLib.dependencies import missingPackages, packages

    assert {package.name for package in packages()} >= {"torch", "numba"}
    assert {package.name for package in packages(planning=True)} > {package.name for package in packages()}
    assert missingPackages(planning=True) == []


def test_an_old_package_counts_as_missing(slicer_host: Any) -> None:
    from BiplanarBoneReconLib.dependencies import Package

    assert Package("numpy", "numpy", "numpy>=999", 1.0).isMissing
    assert not Package("numpy", "numpy", "numpy>=1", 1.0).isMissing


def test_the_module_registers_sample_data(slicer_host: Any) -> None:
    import slicer

    from BiplanarBoneRecon import BiplanarBoneRecon

    slicer.app.startup.clear()
    module = BiplanarBoneRecon(SimpleNamespace())
    assert module.parent.title and module.parent.categories == ["Orthopedics"]
    for signature, function in slicer.app.startup:
        assert signature == "startupCompleted()"
        function()
    (source,) = slicer_host.sampleSources
    assert source["category"] == "BiplanarBoneRecon" and Path(source["thumbnailFileName"]).is_file()
    nodes = source["customDownloader"](None)
    assert [node.GetClassName() for node in nodes] == ["vtkMRMLScalarVolumeNode"] * 2 + ["vtkMRMLSegmentationNode"]


def test_the_module_s_own_self_test(slicer_host: Any) -> None:
    """BiplanarBoneReconTest, as Slicer's self-test runs it: the whole job through the logic alone."""
    from BiplanarBoneRecon import BiplanarBoneReconTest

    BiplanarBoneReconTest().runTest()
