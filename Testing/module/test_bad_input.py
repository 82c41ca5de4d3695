"""Bad input, a full disk and impatience: each ends in words that say what to do, and the scene is as it was."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import vtk

SAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleCase"
BONES = ("femur", "tibia", "fibula", "patella")


@pytest.fixture
def truth(slicer_host: Any) -> Any:
    """The sample's true bones as a segmentation node."""
    from BiplanarBoneReconLib.scene_bones import segmentationOf

    return segmentationOf({bone: SAMPLE / f"{bone}.ply" for bone in BONES}, "Truth", {})


@pytest.fixture
def logic(slicer_host: Any) -> Any:
    from BiplanarBoneRecon import BiplanarBoneReconLogic

    return BiplanarBoneReconLogic()


def _state() -> tuple[list[str], int]:
    """IDs of every node, and the number of items in the subject hierarchy."""
    import slicer

    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]
    return nodes, slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene).GetNumberOfItems()


@contextmanager
def refused(words: str) -> Iterator[None]:
    """What runs inside is refused in these words; nothing is left in the scene or in the temporary folder."""
    import slicer
    from BiplanarBoneReconLib.problems import Problem

    before = _state()
    with pytest.raises(Problem, match=words):
        yield
    assert _state() == before
    assert not list(Path(slicer.app.temporaryPath).glob("BiplanarBoneRecon-*"))


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_file_of_the_wrong_modality(logic: Any, tmp_path: Path, modality: str) -> None:
    import pydicom

    dataset = pydicom.dcmread(SAMPLE / "ap.dcm")
    dataset.Modality = modality
    path = tmp_path / "Sch\u00e4del.dcm"
    dataset.save_as(path)
    with refused(modality):
        logic.loadRadiograph(str(path), "ap")


def test_a_file_that_is_no_image(logic: Any, tmp_path: Path) -> None:
    path = tmp_path / "letter.dcm"
    path.write_text("Dear colleague")
    with refused("letter.dcm"):
        logic.loadRadiograph(str(path), "ap")


def test_a_reference_without_a_matching_segment(logic: Any, truth: Any) -> None:
    import slicer
    from BiplanarBoneReconLib.scene_bones import segmentationOf

    reference = segmentationOf({bone: SAMPLE / f"{bone}.ply" for bone in BONES}, "Implant", {})
    for index in range(4):
        reference.GetSegmentation().GetNthSegment(index).SetName(f"part {index}")
    slicer.app.processEvents()
    with refused("No segment of Implant is matched .* choose the segments by hand"):
        logic.compare(truth, reference)
    with refused("chosen as reconstruction and as reference"):
        logic.compare(truth, truth)
    with refused("Choose the reference segmentation"):
        logic.compare(truth, None)
    with refused("name the segments after the bones"):
        logic.export(reference, "/anywhere")


def test_an_empty_segment(logic: Any, truth: Any, tmp_path: Path) -> None:
    import slicer

    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Half done")
    other.GetSegmentation().SetSourceRepresentationName("Closed surface")
    other.GetSegmentation().AddEmptySegment("femur", "Femur")
    with refused("The segment Femur of Half done is empty"):
        logic.compare(truth, other)
    with refused("The segment Femur of Half done is empty"):
        logic.export(other, str(tmp_path))
    assert not list(tmp_path.iterdir())


def _twoSteps(told: list[str], at: str, cancel: Callable[[], None]) -> Any:
    """A job of two steps; `cancel` is called at the moment of that name."""
    from BiplanarBoneReconLib.engine_job import EngineJob, Step

    def step(name: str) -> Callable[[Path], list[str]]:
        def arguments(folder: Path) -> list[str]:
            told.append(name)
            if at == f"before the {name}":
                cancel()
            return [name]

        return arguments

    def prepare(folder: Path) -> None:
        if at == "before anything":
            cancel()

    job = EngineJob([Step(step("first")), Step(step("second"))], lambda *_: told.append("placed"), prepare=prepare)

    def progress(fraction: float, words: str) -> None:
        if (at == "early in the first" and fraction < 0.5) or (at == "late in the second" and fraction > 0.5):
            cancel()

    job.progress.connect(progress)
    return job


@pytest.mark.parametrize(
    "at",
    ["before anything", "before the first", "early in the first", "before the second", "late in the second", "at once"],
)
def test_cancel_at_any_moment(scene: Any, engine_does: Callable[[str], None], at: str) -> None:
    """The engine tells its progress and ends at once, so that the last word is read when it is gone already."""
    from BiplanarBoneReconLib.problems import Cancelled

    engine_does(
        "import sys\n"
        'for done in (0.1, 0.9): print(\'{"progress": %s, "words": "busy"}\' % done, file=sys.stderr, flush=True)\n'
        "print('{}')"
    )
    told: list[str] = []
    jobs: list[Any] = []
    job = _twoSteps(told, at, lambda: jobs[0].cancel())
    jobs.append(job)
    with pytest.raises(Cancelled, match=r"^Cancelled\. The scene is as it was"):
        job.start()
        if at == "at once":
            job.cancel()
        job.wait()
    assert not job.isRunning and job.value is None
    assert "placed" not in told
    assert ("second" in told) == ("second" in at)


def test_a_panel_that_is_closed_while_the_engine_runs(slicer_host: Any) -> None:
    """Slicer reloads the module, or quits: the engine is stopped and nobody is told."""
    from slicer_host.panel import Panel

    panel = Panel(slicer_host)
    panel.click("sampleButton")
    panel.waitUntilIdle()
    panel.click("reconstructButton")
    job = panel.widget._job
    panel.widget.tellProblem = None
    panel.close()
    from BiplanarBoneReconLib.problems import Problem

    with pytest.raises(Problem, match="Cancelled"):
        job.wait()
    assert not slicer_host.errors


def test_half_a_sample_is_no_sample(slicer_host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from BiplanarBoneReconLib import sample_data

    folder = tmp_path / "SampleCase"
    shutil.copytree(SAMPLE, folder)
    (folder / "lateral.dcm").write_bytes(b"cut short")
    monkeypatch.setattr(sample_data, "sampleCaseFolder", lambda: folder)
    sample_data.slicer.app.processEvents()
    with refused("lateral.dcm"):
        sample_data.loadSample()


@contextmanager
def _disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond this size, in this process and the engine's: writes fail as they do on a full disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize(
    ("size", "formats", "scene"),
    [
        pytest.param(20_000, ["stl"], False, id="our own files for the engine"),
        # A bone takes 150 kB on its way to the engine and 360 kB as OBJ, the scene 750 kB.
        pytest.param(300_000, ["obj"], False, id="the engine's files"),
        pytest.param(300_000, [], True, id="the scene"),
    ],
)
def test_a_disk_that_fills_up_during_an_export(
    logic: Any, truth: Any, tmp_path: Path, size: int, formats: list[str], scene: bool
) -> None:
    """Half an export is none: no folder is left behind."""
    logic.getParameterNode()
    with _disk_of(size), refused("cannot be written"):
        logic.export(truth, str(tmp_path), formats, scene=scene)
    assert not list(tmp_path.iterdir())


def test_no_internet_when_packages_are_missing(slicer_host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import ModuleType

    from BiplanarBoneReconLib import dependencies

    def pip_install(requirements: list[str], requester: str) -> None:
        raise RuntimeError("Could not find a version: connection refused")

    packaging = ModuleType("slicer.packaging")
    packaging.pip_install = pip_install  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    absent = dependencies.Package("numba", "no_such_numba", "numba>=0.60", 1.0)
    with refused("check the internet connection"):
        dependencies.install([absent])


def test_a_saved_scene_keeps_every_choice(slicer_host: Any, logic: Any, truth: Any, tmp_path: Path) -> None:
    """Each field of the parameter node, away from its default, through a .mrb in a folder with letters of other tongues."""
    import enum

    import numpy as np
    import slicer

    node = logic.getParameterNode()
    wanted: dict[str, Any] = {}
    for name, field in node._fields.items():
        if field.isNode:
            if issubclass(slicer.vtkMRMLSegmentationNode, field.type):
                value = truth
            elif issubclass(field.type, slicer.vtkMRMLVolumeNode):
                value = slicer.util.addVolumeFromArray(np.ones((1, 4, 5)), np.eye(4), f"image {name}")
            else:
                value = slicer.mrmlScene.AddNewNodeByClass(field.type.__name__, f"node {name}")
            wanted[name] = value.GetName()
        elif issubclass(field.type, enum.Enum):
            wanted[name] = value = list(field.type)[-1]
        elif field.type is bool:
            wanted[name] = value = not field.default
        elif field.type is str:
            wanted[name] = value = f"\u00e4\u4e2d {name}"
        else:
            wanted[name] = value = field.type(field.default + 1)
        setattr(node, name, value)
    path = tmp_path / "\u6b63\u9762 \u00d8" / "choices.mrb"
    path.parent.mkdir()
    assert slicer_host.scene.WriteToMRB(str(path))
    slicer_host.clear()
    assert slicer_host.scene.ReadFromMRB(str(path))
    read = logic.getParameterNode()
    for name, value in wanted.items():
        found = getattr(read, name)
        assert (found.GetName() if isinstance(found, vtk.vtkObject) else found) == value, name
