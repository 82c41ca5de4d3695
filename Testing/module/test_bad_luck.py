"""What can go wrong beside the bones themselves: names that are too long, a second run that fails, a second patient meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def panel(slicer_host: Any, finished: Any) -> Iterator[Any]:
    """The panel on the scene that was reconstructed, compared, saved and read back."""
    from slicer_host.panel import Panel

    opened = Panel(slicer_host)
    yield opened
    opened.close()


def _told(panel: Any, button: str) -> str:
    """What is said of a job that fails."""
    panel.process()
    panel.click(button)
    panel.waitUntilIdle()
    ((words, _),) = panel.host.errors
    panel.host.errors.clear()
    assert words in panel.status() and panel.widget.isIdle
    return str(words)


@pytest.mark.parametrize("patient", ["P" * 101, "\u4e2d" * 40])
def test_a_patient_id_that_no_file_name_holds(panel: Any, tmp_path: Path, patient: str) -> None:
    node = panel.widget.parameterNode
    node.exportFolder, node.patientId = str(tmp_path), patient
    assert "The patient ID is too long" in _told(panel, "exportButton")
    assert list(tmp_path.iterdir()) == []
    node.patientId = "P" * 100
    panel.process()
    panel.click("exportButton")
    panel.waitUntilIdle()
    assert not panel.host.errors and len(list(tmp_path.rglob("*.stl"))) == 4


def test_a_folder_whose_name_is_too_long(panel: Any, tmp_path: Path) -> None:
    panel.widget.parameterNode.exportFolder = str(tmp_path / ("x" * 300))
    assert "is not a folder" in _told(panel, "exportButton")


def test_a_folder_that_cannot_be_looked_into(panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drive of the network that went away between choosing it and pressing the button: said, and nothing runs."""
    from BiplanarBoneReconLib import export_jobs

    def gone(*_: Any) -> Path:
        raise OSError(121, "Remote I/O error", "/net/patients")

    monkeypatch.setattr(export_jobs, "exportFolder", gone)
    panel.widget.parameterNode.exportFolder = str(tmp_path)
    assert "/net/patients cannot be written or read (Remote I/O error)" in _told(panel, "exportButton")


def test_an_export_that_fails_leaves_no_words_of_the_one_before(panel: Any, tmp_path: Path) -> None:
    node = panel.widget.parameterNode
    node.exportFolder = str(tmp_path)
    panel.process()
    panel.click("exportButton")
    panel.waitUntilIdle()
    assert str(tmp_path) in panel.ui.exportLabel.text
    node.exportFolder = str(tmp_path / "gone")
    _told(panel, "exportButton")
    assert panel.ui.exportLabel.text == ""


def test_a_patient_who_was_left_meanwhile_gives_no_name_to_the_next(
    panel: Any, engine_does: Callable[[str], None]
) -> None:
    """Other radiographs are chosen while these are looked at: their patient's ID is not that of what is exported next."""
    node = panel.widget.parameterNode
    node.patientId = ""
    node.exported = node.reference
    panel.process()
    from BiplanarBoneReconLib.texts import RIG, attachedJson

    report = {
        "views": [],
        "separation_degrees": 90.0,
        "side": "left",
        "warnings": [],
        "rig": attachedJson(node.apVolume, RIG),
        "patient_id": "of the first",
    }
    engine_does(f"import json\nprint(json.dumps({report!r}))")
    panel.click("inspectButton")
    node.lateralVolume = None
    panel.waitUntilIdle()
    assert not panel.host.errors, panel.host.errors
    assert node.patientId == "" and panel.ui.understoodLabel.text == ""


def test_a_panel_whose_choices_are_removed_makes_new_ones(panel: Any) -> None:
    import slicer

    slicer.mrmlScene.RemoveNode(panel.widget.parameterNode.parameterNode)
    panel.process()
    assert panel.widget.parameterNode.reconstruction is None and panel.ui.trustLabel.text == ""
    bones = slicer.util.getNode("Bones left")
    panel.ui.exportedSelector.setCurrentNode(bones)
    panel.process()
    assert panel.widget.logic.getParameterNode().exported is bones and panel.ui.checkMeshButton.enabled


def test_display_nodes_that_are_removed_alone_stop_nothing(panel: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Of the bones, their edges, their uncertainty and the comparison: what cannot be shown is left out."""
    import slicer

    node = panel.widget.parameterNode
    for kind in ("vtkMRMLModelNode", "vtkMRMLSegmentationNode"):
        for item in slicer.util.getNodesByClass(kind):
            if item.GetDisplayNode() is not None:
                slicer.mrmlScene.RemoveNode(item.GetDisplayNode())
    panel.process()
    panel.widget.update()
    assert "Trust" in panel.ui.trustLabel.text and not panel.ui.boneColorsComboBox.enabled
    panel.click("inspectButton")
    panel.waitUntilIdle()
    assert "Geometry" in panel.ui.understoodLabel.text
    panel.ui.showComparisonButton.click()
    panel.click("compareButton")
    panel.waitUntilIdle()
    assert "ASSD" in panel.ui.comparisonLabel.text
    slicer.mrmlScene.RemoveNode(node.reconstruction)
    panel.process()
    assert panel.ui.trustLabel.text == "" and not panel.host.errors, panel.host.errors
    # What fails where Qt or VTK calls is told there only.
    assert "Traceback" not in capfd.readouterr().err
