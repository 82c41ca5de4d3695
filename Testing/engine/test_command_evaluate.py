"""`ssrkd evaluate`: a model on a folder of cases; a broken case costs only itself."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from knee_model import knee_model, shadow_radiographs

from SSRKDCore.cases import Case, save_case
from SSRKDCore.cli import main
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.case_evaluation import evaluate_case, evaluate_cases
from SSRKDCore.evaluation.evaluation_run import UnfinishedEvaluation
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks import model_folder
from SSRKDCore.networks.model_folder import ModelInput
from SSRKDCore.reconstruction.pipeline import Reconstruction, reconstruct
from SSRKDCore.surface_files import write_surface

RESOLUTION = 64
SHIFT = (0.0, 2.0, 0.0)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return preset("room", rows=160, columns=160, pixel_spacing=(2.7, 2.7))


@pytest.fixture(scope="module")
def knee(rig: Rig) -> Reconstruction:
    """What the test model sees in any radiographs of this rig."""
    return reconstruct(shadow_radiographs(rig), rig, knee_model(rig), resolution=RESOLUTION, device="cpu")


@pytest.fixture(autouse=True)
def _model(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
    monkeypatch.setattr(model_folder, "load_model", lambda name=None: knee_model(rig))


def as_answer(knee: Reconstruction) -> CaseAnswer:
    return CaseAnswer(knee.surfaces, knee.field_of_view, max(knee.grid.spacing))


def make_case(folder: Path, rig: Rig, knee: Reconstruction, bones: tuple[str, ...], shift: tuple[float, ...]) -> Path:
    """A case whose reference is the model's own answer, moved by `shift` mm."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for view in rig.views:
        image = sitk.GetImageFromArray(generator.random((view.rows, view.columns)).astype(np.float32))
        image.SetSpacing((view.pixel_spacing[1], view.pixel_spacing[0]))
        sitk.WriteImage(image, str(folder / f"{view.name}.nrrd"))
    motion = np.eye(4)
    motion[:3, 3] = shift
    for name in bones:
        write_surface(folder / f"{name}.ply", knee.surfaces[name].transformed(motion))
    images = {view.name: f"{view.name}.nrrd" for view in rig.views}
    save_case(
        folder, folder.name, "right", rig, images, "line_integral", {name: f"{name}.ply" for name in bones} or None
    )
    return folder


def evaluate(*words: object) -> int:
    return main(["evaluate", "--resolution", str(RESOLUTION), "--device", "cpu", *(str(word) for word in words)])


def test_good_and_broken_cases(
    tmp_path: Path, rig: Rig, knee: Reconstruction, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases é"
    make_case(cases / "exact", rig, knee, ("femur", "tibia", "fibula", "patella"), (0.0, 0.0, 0.0))
    make_case(cases / "moved", rig, knee, ("femur", "patella"), SHIFT)
    broken = make_case(cases / "broken", rig, knee, ("femur", "tibia"), (0.0, 0.0, 0.0))
    (broken / "lateral.nrrd").write_bytes(b"not an image")
    make_case(cases / "no_reference", rig, knee, (), SHIFT)
    unreadable = cases / "unreadable"
    unreadable.mkdir()
    (unreadable / "case.json").write_text("{", encoding="utf-8")
    out = tmp_path / "out"
    assert evaluate("--cases", cases, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "2 cases scored, 3 failed" in printed
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["schema"] == "ssrkd-evaluation/1"
    assert report["model"]["name"] == "capsule knee" and report["resolution"] == RESOLUTION
    assert set(report["cases"]) == {"exact", "moved", "broken", "no_reference", "unreadable"}

    exact = report["cases"]["exact"]
    assert exact["failure"] is None and exact["side"] == "right" and exact["seconds"] > 0
    assert list(exact["bones"]) == ["patella", "femur", "fibula", "tibia"]
    for bone in exact["bones"].values():
        # The reference went through float32 PLY and comes back on itself.
        assert bone["exact_hd_mm"] < 1e-3
        assert bone["dice"] == pytest.approx(1.0, abs=2e-3)
        assert bone["paper_assd_mm"] > 0.1

    moved = report["cases"]["moved"]["bones"]
    assert list(moved) == ["patella", "femur"]
    # A closed bone wholly inside the view, moved by 2 mm: at some point exactly that far, nowhere farther.
    assert moved["patella"]["exact_hd_mm"] == pytest.approx(2.0, abs=0.05)
    assert 0.6 < moved["patella"]["exact_assd_mm"] < 1.6
    assert 0.5 < moved["femur"]["exact_assd_mm"] < 1.9

    assert "lateral.nrrd" in report["cases"]["broken"]["failure"]
    assert set(report["cases"]["broken"]["bones"]) == {"femur", "tibia"}
    assert all("failed" in bone["failure"] for bone in report["cases"]["broken"]["bones"].values())
    assert "no reference" in report["cases"]["no_reference"]["failure"]
    assert "case.json" in report["cases"]["unreadable"]["failure"]

    means = report["means"]
    assert means["patella"]["exact_assd_mm"] == pytest.approx(
        (exact["bones"]["patella"]["exact_assd_mm"] + moved["patella"]["exact_assd_mm"]) / 2
    )
    assert (means["femur"]["scored"], means["femur"]["failed"]) == (2, 1)
    assert (means["fibula"]["scored"], means["fibula"]["failed"]) == (1, 0)
    assert means["all"]["scored"] == 6
    with (out / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["bone"] for row in rows if row["case"] == "moved"] == ["patella", "femur"]
    assert next(row for row in rows if row["case"] == "unreadable")["failure"]


def test_cases_that_their_record_calls_unlabelled_are_left_out_and_counted(
    tmp_path: Path, rig: Rig, knee: Reconstruction, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases"
    make_case(cases / "case00000", rig, knee, ("patella",), SHIFT)
    for name in ("unlabelled00000", "unlabelled00001"):
        folder = make_case(cases / name, rig, knee, (), SHIFT)
        content = read_json(folder / "case.json", "a case")
        write_json(folder / "case.json", {**content, "provenance": {"kind": "unlabelled"}})
    failed = {"case00001": "no room", "unlabelled00002": "no room"}
    write_json(cases / "population.json", {"schema": "ssrkd-population/1", "failed": failed})
    assert evaluate("--cases", cases, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "1 cases scored, 1 failed" in printed and "2 unlabelled cases are not scored." in printed
    report = read_json(tmp_path / "out" / "report.json", "a report")
    assert set(report["cases"]) == {"case00000", "case00001"} and report["cases_unlabelled"] == 2
    assert evaluate("--cases", cases / "unlabelled00000", "--out", tmp_path / "none") == 2
    assert "unlabelled" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_one_case_as_folder_and_json(
    tmp_path: Path, rig: Rig, knee: Reconstruction, capsys: pytest.CaptureFixture[str]
) -> None:
    case = make_case(tmp_path / "single", rig, knee, ("patella",), SHIFT)
    assert evaluate("--cases", case, "--out", tmp_path / "out", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["cases"]["single"]["bones"]["patella"]["exact_hd_mm"] == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("what", ["no cases", "missing", "resolution", "exists"])
def test_bad_input_ends_with_2(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases, out = tmp_path / "cases", tmp_path / "out"
    words: list[object] = []
    if what != "missing":
        cases.mkdir()
    if what == "resolution":
        (cases / "case.json").write_text("{}", encoding="utf-8")
        words = ["--resolution", 7]
    if what == "exists":
        out.mkdir()
    assert evaluate("--cases", cases, "--out", out, *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("ssrkd: ") and error.strip().count("\n") == 0
    assert not out.exists() or not any(out.iterdir())


def test_a_crash_in_one_case_is_its_failure_and_cancelling_is_not(
    tmp_path: Path, rig: Rig, knee: Reconstruction
) -> None:
    first = make_case(tmp_path / "a", rig, knee, ("patella",), SHIFT)
    second = make_case(tmp_path / "b", rig, knee, ("patella",), SHIFT)

    def crash(case: object, progress: object) -> CaseAnswer:
        raise RuntimeError("out of something")

    result = evaluate_case(first, crash)
    assert result.failure == "RuntimeError: out of something"
    assert result.bones["patella"].failure == "the case failed: RuntimeError: out of something"

    def cancel(case: object, progress: object) -> CaseAnswer:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        evaluate_case(first, cancel)
    fractions: list[float] = []
    results = evaluate_cases(
        [first, second], lambda case, progress: as_answer(knee), progress=lambda f, words: fractions.append(f)
    )
    assert [result.failure for result in results] == [None, None]
    assert fractions == sorted(fractions) and fractions[:2] == [0.0, 0.5]
    with pytest.raises(Cancelled):
        evaluate_cases([first], lambda case, progress: as_answer(knee), cancelled=lambda: True)


def test_equal_ids_do_not_hide_one_another(tmp_path: Path, rig: Rig, knee: Reconstruction) -> None:
    folders = [make_case(tmp_path / name, rig, knee, ("patella",), SHIFT) for name in ("a", "b")]
    for folder in folders:
        content = read_json(folder / "case.json", "a case")
        write_json(folder / "case.json", {**content, "id": "same"})
    results = evaluate_cases(folders, lambda case, progress: as_answer(knee))
    assert [result.id for result in results] == ["same", "same (b)"]


@pytest.mark.parametrize("entry", ["shape_prior", "surface_correction", "input"])
def test_a_run_does_not_go_on_with_what_another_refinement_gave(
    entry: str,
    tmp_path: Path,
    rig: Rig,
    knee: Reconstruction,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The weights are the same, and the bones are not."""
    from SSRKDCore.evaluation import case_evaluation

    for name in ("a", "b"):
        make_case(tmp_path / "cases" / name, rig, knee, ("patella",), SHIFT)
    refined = {"shape_prior": {"sha256": "1"}, "surface_correction": {"sha256": "1"}}
    current = [refined]

    def model(name: object = None) -> object:
        plain = knee_model(rig)
        card = {**plain.card, **current[0]}
        return replace(plain, card=card, input=ModelInput(2.0 if "input" in card else 1.0))

    def reconstruction(*given: object, **named: object) -> object:
        def run(case: Case, progress: object) -> CaseAnswer:
            if case.id == "b" and current == [refined]:
                raise Cancelled("stop")
            return as_answer(knee)

        return run

    monkeypatch.setattr(model_folder, "load_model", model)
    monkeypatch.setattr(case_evaluation, "case_reconstruction", reconstruction)
    words = ("--cases", tmp_path / "cases", "--out", tmp_path / "out")
    assert evaluate(*words) == 130
    current[0] = {**refined, entry: {"sha256": "2"}}
    assert evaluate(*words) == 2
    assert "other settings (model)" in capsys.readouterr().err
    # Without refinement a run of its own is begun.
    assert evaluate("--no-refine", "--cases", tmp_path / "cases", "--out", tmp_path / "plain") == 0


@pytest.mark.parametrize("changed", ["patella.ply", "ap.nrrd", "rig.json"])
def test_a_run_does_not_go_on_with_a_case_that_was_corrected(
    changed: str, tmp_path: Path, rig: Rig, knee: Reconstruction
) -> None:
    """A corrected surface or rig leaves case.json as it was."""
    first, second = (make_case(tmp_path / name, rig, knee, ("patella",), SHIFT) for name in ("a", "b"))
    unfinished = UnfinishedEvaluation(tmp_path / "out", [first, second], {})

    def stopped(case: Case, progress: object) -> CaseAnswer:
        if case.id == "b":
            raise Cancelled("stop")
        return as_answer(knee)

    with pytest.raises(Cancelled):
        unfinished.run(stopped)
    assert UnfinishedEvaluation(tmp_path / "out", [first, second], {}).done == 1
    if changed == "rig.json":
        content = read_json(first / changed, "a rig")
        content["field_of_view"]["size"] += 1.0
        write_json(first / changed, content)
    elif changed == "patella.ply":
        write_surface(first / changed, knee.surfaces["patella"])
    else:
        sitk.WriteImage(sitk.ReadImage(str(first / changed)) + 1.0, str(first / changed))
    with pytest.raises(InputError, match=r"other settings \(cases\)"):
        UnfinishedEvaluation(tmp_path / "out", [first, second], {})


def test_a_reference_cut_inside_the_view_is_stated_or_trimmed(tmp_path: Path, rig: Rig, knee: Reconstruction) -> None:
    """A tibia whose reference ends flat 20 mm above the bottom of the field of view."""
    from SSRKDCore.evaluation.field_of_view import clipped_triangles
    from SSRKDCore.surface import Surface

    end = float(knee.field_of_view.bounds[0, 2]) + 20.0
    whole = knee.surfaces["tibia"]
    box = np.array([[-1e3, -1e3, end], [1e3, 1e3, 1e3]])
    parts = clipped_triangles(whole.triangles, box)
    vertices = parts.reshape(-1, 3)
    rim = vertices[np.abs(vertices[:, 2] - end) < 1e-6]
    # The flat end: a fan over the rim, whose middle it contains.
    around = rim[np.argsort(np.arctan2(rim[:, 1] - rim[:, 1].mean(), rim[:, 0] - rim[:, 0].mean()))]
    middle = around.mean(axis=0)
    fan = np.stack([np.tile(middle, (len(around), 1)), np.roll(around, -1, axis=0), around], axis=1)
    soup = np.concatenate([parts, fan])
    case = make_case(tmp_path / "case", rig, knee, ("tibia",), (0.0, 0.0, 0.0))
    write_surface(case / "tibia.ply", Surface(soup.reshape(-1, 3), np.arange(3 * len(soup)).reshape(-1, 3)))

    plain = evaluate_case(case, lambda case, progress: as_answer(knee))
    assert any("ends flat" in words and "reference_extent" in words for words in plain.warnings)
    assert (plain.bones["tibia"].exact_hd_mm or 0) > 8.0
    trimmed = evaluate_case(case, lambda case, progress: as_answer(knee), trim_cut_references=True)
    assert (trimmed.bones["tibia"].exact_hd_mm or 99) < 0.01
    assert any("not scored" in words for words in trimmed.warnings)
    content = read_json(case / "case.json", "a case")
    write_json(case / "case.json", {**content, "reference_extent": {"tibia": [end, 500.0]}})
    stated = evaluate_case(case, lambda case, progress: as_answer(knee))
    assert (stated.bones["tibia"].exact_hd_mm or 99) < 0.01
    assert not any("ends flat" in words for words in stated.warnings)
