"""The engine's process and its jobs: progress, answers, crashes, cancelling, and a scene that stays as it was."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleCase"


def _run(cancelAfter: float | None = None) -> Any:
    """Run the process to its end; its outcome and what it told."""
    import slicer
    from BiplanarBoneReconLib.engine_process import EngineProcess

    process, told, outcomes = EngineProcess(), [], []
    process.progress.connect(lambda fraction, words: told.append((fraction, words)))
    process.finished.connect(outcomes.append)
    process.start(["anything"])
    begin = time.monotonic()
    while not outcomes:
        process.wait(20)
        slicer.app.processEvents()
        if cancelAfter is not None and told:
            process.cancel()
        assert time.monotonic() - begin < 60
    slicer.app.processEvents()
    assert len(outcomes) == 1
    return outcomes[0], told


def test_progress_answer_and_log(engine_does: Callable[[str], None]) -> None:
    engine_does(
        "import sys\n"
        'print(\'{"progress": 0.5, "words": "halb \\\\u00e4"}\', file=sys.stderr)\n'
        "print('a note', file=sys.stderr)\n"
        'print(\'{"folder": "x"}\')\n'
        "print('{\"progress\": bad', file=sys.stderr)"
    )
    outcome, told = _run()
    assert outcome.succeeded and outcome.result == {"folder": "x"}
    assert told == [(0.5, "halb \u00e4")]
    assert outcome.log.splitlines() == ["a note", '{"progress": bad']


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('print(\'{"error": "Give two.", "exit_code": 2}\'); raise SystemExit(2)', "Give two."),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended unexpectedly"),
        ("raise MemoryError('no room')", "out of memory: choose a lower resolution"),
        ("raise RuntimeError('CUDA out of memory. Tried to allocate')", "out of memory"),
        ("raise ValueError('a bug')", "exit code 1"),
        ("print('[1, 2'); raise SystemExit(3)", "exit code 3"),
    ],
)
def test_failures_are_told_in_words(engine_does: Callable[[str], None], code: str, words: str) -> None:
    engine_does(code)
    outcome, _ = _run()
    assert not outcome.succeeded and words in outcome.message
    if "a bug" in code:
        assert "ValueError: a bug" in outcome.log


def test_a_python_that_is_not_there(monkeypatch: pytest.MonkeyPatch, slicer_host: Any) -> None:
    from BiplanarBoneReconLib import engine_process

    monkeypatch.setattr(engine_process, "pythonExecutable", lambda: "/no/such/python")
    outcome, _ = _run()
    assert not outcome.succeeded and "could not be started" in outcome.message


def test_cancel_stops_even_a_deaf_engine(engine_does: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    from BiplanarBoneReconLib import engine_process

    monkeypatch.setattr(engine_process, "_GRACE_MS", 200)
    engine_does(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        'print(\'{"progress": 0.1, "words": "busy"}\', file=sys.stderr, flush=True)\n'
        "time.sleep(120)"
    )
    outcome, _ = _run(cancelAfter=0.0)
    assert outcome.cancelled and outcome.message == "Cancelled. The scene is as it was."


def _volume(name: str, shape: tuple[int, int, int] = (1, 40, 30)) -> Any:
    import numpy as np
    import slicer

    values = np.random.default_rng(1).random(shape)
    return slicer.util.addVolumeFromArray(values, np.eye(4), name)


@pytest.mark.parametrize("case", ["no ap", "no lateral", "twice", "a CT", "no image"])
def test_what_is_no_pair_is_refused_before_anything_runs(scene: Any, case: str) -> None:
    import slicer

    from BiplanarBoneRecon import BiplanarBoneReconLogic, Problem

    ap, lateral = _volume("AP"), _volume("LAT")
    if case == "a CT":
        lateral = _volume("CT", (20, 40, 30))
    if case == "no image":
        ap = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    pair = {"no ap": (None, lateral), "no lateral": (ap, None), "twice": (ap, ap)}.get(case, (ap, lateral))
    words = {
        "no ap": "Choose the AP radiograph",
        "no lateral": "Choose the lateral radiograph",
        "twice": "chosen for both views",
        "a CT": "not a radiograph",
        "no image": "holds no image",
    }[case]
    before = scene.GetNumberOfNodes()
    with pytest.raises(Problem, match=words):
        BiplanarBoneReconLogic().reconstruct(*pair)
    assert scene.GetNumberOfNodes() == before
    assert not list(Path(slicer.app.temporaryPath).glob("BiplanarBoneRecon-*"))


def test_a_script_reconstructs_as_the_panel_does(scene: Any, engine_does: Any, tmp_path: Path) -> None:
    """Unless it is told otherwise: images are prepared, bones are refined."""
    from BiplanarBoneRecon import BiplanarBoneReconLogic, Problem

    told = tmp_path / "told.json"
    engine_does(f"import json, sys; json.dump(sys.argv[1:], open({str(told)!r}, 'w')); sys.exit(2)")
    with pytest.raises(Problem):
        BiplanarBoneReconLogic().reconstruct(_volume("AP"), _volume("LAT"))
    words = json.loads(told.read_text())
    assert "--refine" in words and "--prepare" in words


def test_sides_that_differ_are_the_engine_s_to_notice(scene: Any, tmp_path: Path) -> None:
    """Two DICOM files of different knees, in a folder with a name of other letters."""
    import pydicom
    import slicer

    from BiplanarBoneRecon import BiplanarBoneReconLogic, Problem

    folder = tmp_path / "\u041f\u0430\u0446\u0438\u0435\u043d\u0442 \u4e2d"
    folder.mkdir()
    for view, side in (("ap", "L"), ("lateral", "R")):
        dataset = pydicom.dcmread(SAMPLE / f"{view}.dcm")
        dataset.ImageLaterality = side
        dataset.save_as(folder / f"{view}.dcm")
    logic = BiplanarBoneReconLogic()
    ap, lateral = (logic.loadRadiograph(str(folder / f"{view}.dcm"), view) for view in ("ap", "lateral"))
    assert ap.GetImageData().GetDimensions() == (500, 500, 1)
    before = scene.GetNumberOfNodes()
    with pytest.raises(Problem, match="give two radiographs of one knee"):
        logic.inspect(ap, lateral)
    assert scene.GetNumberOfNodes() == before
    assert not list(Path(slicer.app.temporaryPath).glob("BiplanarBoneRecon-*"))


def _job(place: Callable[..., Any], nodes: Any = ()) -> Any:
    from BiplanarBoneReconLib.engine_job import EngineJob, Step

    return EngineJob([Step(lambda folder: ["x"])], place, nodes)


@pytest.fixture
def waiting_engine(engine_does: Callable[[str], None], tmp_path: Path) -> Path:
    """An engine that works until a file appears, and answers {}."""
    go = tmp_path / "go"
    engine_does(f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.02)\nprint('{{}}')")
    return go


def test_a_scene_that_is_closed_meanwhile_gets_nothing(waiting_engine: Path, scene: Any) -> None:
    from BiplanarBoneReconLib.problems import Problem

    placed = []
    job = _job(lambda *results: placed.append(results))
    job.start()
    scene.Clear(False)
    with pytest.raises(Problem, match="The scene was closed"):
        job.wait()
    assert not placed


def test_a_node_that_is_deleted_meanwhile_is_named(waiting_engine: Path, scene: Any) -> None:
    from BiplanarBoneReconLib.problems import Problem

    node = _volume("AP")
    job = _job(lambda *results: scene.AddNewNodeByClass("vtkMRMLModelNode"), [("The AP radiograph", node)])
    job.start()
    scene.RemoveNode(node)
    waiting_engine.touch()
    before = scene.GetNumberOfNodes()
    with pytest.raises(Problem, match="The AP radiograph was removed"):
        job.wait()
    assert scene.GetNumberOfNodes() == before


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError(28, "No space left on device", "x.stl")])
def test_a_result_that_cannot_be_placed_leaves_nothing_behind(
    waiting_engine: Path, scene: Any, error: Exception
) -> None:
    from BiplanarBoneReconLib.hierarchy import newFolder, put
    from BiplanarBoneReconLib.problems import Problem

    def place(*_: Any) -> None:
        model = scene.AddNewNodeByClass("vtkMRMLModelNode")
        model.CreateDefaultDisplayNodes()
        put(model, newFolder("half"))
        raise error

    import slicer

    waiting_engine.touch()

    def items() -> int:
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene).GetNumberOfItems()

    before = (scene.GetNumberOfNodes(), items())
    job = _job(place)
    job.start()
    with pytest.raises(Problem, match="as it was" if isinstance(error, RuntimeError) else "free some space"):
        job.wait()
    assert (scene.GetNumberOfNodes(), items()) == before


def test_a_temporary_folder_that_cannot_be_made(scene: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import slicer

    from BiplanarBoneRecon import BiplanarBoneReconLogic, Problem

    blocked = tmp_path / "a file"
    blocked.touch()
    monkeypatch.setattr(slicer.app, "temporaryPath", str(blocked / "inside"))
    with pytest.raises(Problem, match="choose another temporary folder"):
        BiplanarBoneReconLogic().loadRadiograph(str(SAMPLE / "ap.dcm"), "ap")


@pytest.mark.skipif(sys.platform == "win32" or not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_while_the_engine_writes(engine_does: Callable[[str], None], scene: Any) -> None:
    """The engine's own words for a full disk come through."""
    engine_does(
        "import sys, json\n"
        "try:\n"
        "    f = open('/dev/full', 'w'); f.write('x'); f.flush()\n"
        "except OSError as error:\n"
        "    print(json.dumps({'error': f'cannot be written ({error.strerror}): free some space'})); sys.exit(2)"
    )
    outcome, _ = _run()
    assert "free some space" in outcome.message


def test_a_killed_engine_is_not_a_cancelled_one(waiting_engine: Path, scene: Any) -> None:
    from BiplanarBoneReconLib.problems import Problem

    job = _job(lambda *_: None)
    job.start()
    process = job._process._process
    process.waitForStarted(5000)
    os.kill(process.processId(), signal.SIGKILL)
    with pytest.raises(Problem, match="ended unexpectedly"):
        job.wait()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device", "rig.json"), ValueError("no rig")])
def test_what_fails_between_two_steps_ends_the_job(
    scene: Any, engine_does: Callable[[str], None], error: Exception
) -> None:
    """A full disk, or an answer that cannot be used: the panel must not say for ever that the engine is at work."""
    import slicer
    from BiplanarBoneReconLib.engine_job import EngineJob, Step

    def second(folder: Path) -> list[str]:
        raise error

    engine_does("print('{}')")
    failed: list[Any] = []
    job = EngineJob([Step(lambda folder: ["first"]), Step(second)], lambda *_: None)
    job.failed.connect(failed.append)
    job.start()
    begin = time.monotonic()
    while job.isRunning:
        slicer.app.processEvents()
        assert time.monotonic() - begin < 30
    (problem,) = failed
    assert ("No space left" if isinstance(error, OSError) else "no rig") in str(problem)
    assert not list(Path(slicer.app.temporaryPath).glob("BiplanarBoneRecon-*"))


def _loaded(folder: Path) -> tuple[Any, Any]:
    """The sample's pair, copied into a folder and read from there."""
    import shutil

    from BiplanarBoneRecon import BiplanarBoneReconLogic

    folder.mkdir()
    for view in ("ap", "lateral"):
        shutil.copy(SAMPLE / f"{view}.dcm", folder)
    logic = BiplanarBoneReconLogic()
    return logic.loadRadiograph(str(folder / "ap.dcm"), "ap"), logic.loadRadiograph(
        str(folder / "lateral.dcm"), "lateral"
    )


def test_a_file_that_was_replaced_is_not_read_in_place_of_the_radiograph(scene: Any, tmp_path: Path) -> None:
    """Another patient's disc with the same names: the engine gets what the scene shows."""
    import pydicom

    from BiplanarBoneRecon import BiplanarBoneReconLogic

    ap, lateral = _loaded(tmp_path / "disc")
    for view in ("ap", "lateral"):
        path = tmp_path / "disc" / f"{view}.dcm"
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "another patient"
        dataset.save_as(path)
    report = BiplanarBoneReconLogic().inspect(ap, lateral, side="left", geometry="room")
    assert report["patient_id"] is None
    assert all(Path(view["source_path"]).suffix == ".nrrd" for view in report["views"])


def test_a_pair_without_its_files_does_not_count_as_calibrated(scene: Any, tmp_path: Path) -> None:
    """It stands in the preset that was chosen; that it is kept as a rig makes it no calibration. A transform above it is left behind."""
    import slicer
    import vtk

    from BiplanarBoneRecon import BiplanarBoneReconLogic

    ap, lateral = _loaded(tmp_path / "pair")
    logic = BiplanarBoneReconLogic()
    assert logic.inspect(ap, lateral, side="left", geometry="room")["geometry"] == "Geometry: preset room."
    before, after = [0.0] * 6, [0.0] * 6
    ap.GetRASBounds(before)
    for view in ("ap", "lateral"):
        (tmp_path / "pair" / f"{view}.dcm").unlink()
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(0, 3, 40.0)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(shift)
    ap.SetAndObserveTransformNodeID(transform.GetID())
    assert "as the radiographs stand in this scene" in logic.inspect(ap, lateral, side="left")["geometry"]
    ap.GetRASBounds(after)
    assert after == pytest.approx(before, abs=1e-3)
