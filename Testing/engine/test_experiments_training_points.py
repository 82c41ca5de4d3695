"""Experiments that train: which cases a point has, what its views are, and a small curve from samples to a report."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tiny_training import SAMPLES, use_tiny_networks, write_cases, write_store
from training_cases import write_knee_case

from SSRKDCore.cli import main
from SSRKDCore.drr.projector import project
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.case_evaluation import case_reconstruction, evaluate_case
from SSRKDCore.evaluation.experiments.case_subsets import linked_store, nested_cases
from SSRKDCore.evaluation.experiments.learning_curves import labelled_points, parts_points, unlabelled_points
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.sources import CaseSource
from SSRKDCore.evaluation.experiments.training_points import TrainingPlace
from SSRKDCore.evaluation.experiments.variants import write_variant
from SSRKDCore.evaluation.experiments.view_counts import ManyViewTraining, case_of_views, rig_of_views
from SSRKDCore.evaluation.experiments.view_samples import store_of_views
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.training.presets import xray_preset
from SSRKDCore.training.recipe import Recipe, Workplace
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.sample_store import write_store as write_store_file
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.stage_job import StageJob
from SSRKDCore.training.xray_training import train_xray


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        yield


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, _tiny: None) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("work"))
    write_cases(place.population, labelled=2, unlabelled=1)
    write_store(place.samples, place.population)
    return place


def place_at(work: Workplace, out: Path, **changes: object) -> TrainingPlace:
    recipe = Recipe(Path("recipe.json"), {}, {"preset": "compact"})
    return TrainingPlace(recipe, work, out, **{"steps": 4, **changes})  # type: ignore[arg-type]


def seen_in_coarse_room(folder: Path) -> CaseSource:
    """A case that no sample is made of, with radiographs of few pixels."""
    given = CaseSource(write_knee_case(folder / "raw", id="unseen", size=0.95))
    room = preset("room", "right", pixel_spacing=(5.0, 5.0), rows=80, columns=80)
    rig = Rig(room.views, FieldOfView((0.0, 0.0, 0.0), 120.0), room.provenance)
    images = project(given.exposed.volume, given.exposed.grid, rig)
    return CaseSource(write_variant(folder / "unseen", given.case, images, rig, {}))


def listed(folder: Path, labelled: int, unlabelled: int) -> SampleStore:
    """A store that names cases without having any."""
    cases = [
        {"id": f"case{i}", "file": f"case{i}.npz", "labelled": i < labelled, "folder": "nowhere"}
        for i in range(labelled + unlabelled)
    ]
    folder.mkdir()
    write_store_file(folder, {}, 1, cases)
    return SampleStore(folder)


def test_fewer_cases_are_always_part_of_more(tmp_path: Path) -> None:
    store = listed(tmp_path / "store", 90, 40)
    chosen = [set(nested_cases(store, count, 10, seed=3)) for count in (7, 14, 28, 42, 70)]
    labelled = [{case for case in cases if store.labelled[case]} for cases in chosen]
    assert [len(cases) for cases in labelled] == [7, 14, 28, 42, 70]
    assert all(small < large for small, large in pairwise(labelled))
    # The unlabelled ones do not change with the number of labelled ones.
    assert len({frozenset(a - b) for a, b in zip(chosen, labelled, strict=True)}) == 1
    assert nested_cases(store, 7, 10, seed=3) == sorted(chosen[0]) != nested_cases(store, 7, 10, seed=4)
    with pytest.raises(InputError, match="90 labelled cases"):
        nested_cases(store, 91, 0, seed=3)


def test_the_choice_does_not_depend_on_the_order_of_the_store(tmp_path: Path) -> None:
    store = listed(tmp_path / "store", 20, 0)
    turned = tmp_path / "turned"
    turned.mkdir()
    cases = [{"id": c.id, "file": c.file, "labelled": c.labelled, "folder": c.folder} for c in reversed(store.cases)]
    write_store_file(turned, {}, 1, cases)
    other = SampleStore(turned)
    names = [{s.case_ids[case] for case in nested_cases(s, 6, 0, seed=1)} for s in (store, other)]
    assert names[0] == names[1]


def test_a_linked_store_reads_the_same_samples_and_keeps_its_own_teacher(work: Workplace, tmp_path: Path) -> None:
    store = SampleStore(work.samples)
    linked = linked_store(store, [1], tmp_path / "part")
    assert np.array_equal(linked.read(0, 1).points, store.read(1, 1).points)
    count = len(store.read(1, 0).points)
    output = {"logits": np.zeros((count, 5)), "features": np.zeros((2, 64)), "index": np.arange(2)}
    linked.write_teacher(0, {0: output, 1: output}, "mine")
    assert linked.teacher_name(0) == "mine" and store.teacher_name(1) is None
    again = linked_store(linked, [0], tmp_path / "of part")
    assert again.teacher_name(0) == "mine"
    again.write_teacher(0, {0: output, 1: output}, "another's")
    assert again.teacher_name(0) == "another's" and linked.teacher_name(0) == "mine"
    assert linked_store(store, [1], tmp_path / "part").fingerprint == linked.fingerprint
    with pytest.raises(InputError, match="other samples"):
        linked_store(store, [0], tmp_path / "part")


def test_all_points_have_one_budget(work: Workplace, tmp_path: Path) -> None:
    place = place_at(work, tmp_path)
    points = [*labelled_points(place), *unlabelled_points(place), *parts_points(place)]
    for point in points:
        changed = xray_preset("compact").changed(point.changes)
        assert changed.labelled_batch + changed.unlabelled_batch == place.batch
        assert changed.uses_unlabelled == (point.unlabelled > 0)
    parts = [(p.changes["distillation"], p.changes["enhancement"], p.unlabelled > 0) for p in parts_points(place)]
    assert parts == [(True, True, True), (True, True, False), (False, True, True), (True, False, True)]
    assert "4 steps of 2 cases" in place.budget


def test_a_curve_is_trained_measured_and_not_repeated(
    work: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test").mkdir()
    seen_in_coarse_room(tmp_path).folder.rename(tmp_path / "test" / "unseen")
    fast = {"steps": 3, "warm_up_steps": 1, "epochs": 0}
    write_json(
        tmp_path / "recipe.json",
        {
            "population": {
                "excluded_subjects": [], "labelled": 2, "unlabelled": 1, "seed": 0, "voxel_mm": 3.0, "metal_share": 0.0,
                "test_cases": 1, "test_seed": 1, "correction_cases": 1, "correction_seed": 2,
            },
            "preset": "compact",
            "samples": {},
            "segmenter": {**fast, "labelled_batch": 1},
            "ct": {**fast, "voxel_mm": 6.0, "points": 100, "crop_limit": 32},
            "xray": {"warm_up_steps": 1, "points": 100, "distillation_points": 50},
            "run": {"precision": "32", "threads": 1, "progress": False},
        },
    )  # fmt: skip

    def run(*more: object) -> int:
        words = [
            "experiment", "learning-curve-labelled", "--config", tmp_path / "recipe.json", "--work", work.root,
            "--cases", tmp_path / "test", "--labelled", 1, 2, "--unlabelled", 1, "--resolution", 32, "--device", "cpu",
            "--out", tmp_path / "out", *more,
        ]  # fmt: skip
        return main([str(word) for word in words])

    # Nothing is trained for a point that is not wanted, nor where the test cases are missing.
    assert run("--steps", 4, "--points", "3 labelled") == 2
    assert "no point '3 labelled'" in capsys.readouterr().err and not (tmp_path / "out" / "training").exists()
    assert run("--steps", 4) == 0, capsys.readouterr().err
    report = read_json(tmp_path / "out" / "report.json", "a report")
    assert list(report["tables"]) == ["1 labelled", "2 labelled"]
    assert "every student 4 steps of 2 cases" in report["budget"]
    assert "--labelled 1 2" in report["command"] and "--steps 4" in report["command"]
    for name in ("table.csv", "results.csv", "plot.png"):
        assert (tmp_path / "out" / name).is_file()
    # Each point's helpers saw its own labelled cases and no others.
    helpers = tmp_path / "out" / "training" / "helpers"
    data = [read_json(helpers / f"{n}-labelled/ct/run.json", "a run")["data"]["labelled"] for n in (1, 2)]
    assert len(data[0]) == 1 and set(data[0]) < set(data[1])
    results = (tmp_path / "out" / "results.jsonl").read_bytes()
    assert run("--steps", 4) == 0
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == results
    capsys.readouterr()
    assert run("--steps", 5) == 2
    assert "another training run" in capsys.readouterr().err


def test_a_training_case_cannot_be_a_test_case(work: Workplace, tmp_path: Path) -> None:
    from SSRKDCore.evaluation.experiments.training_points import trained_plan

    shutil.copytree(work.population / "case00000", tmp_path / "test" / "case00000")
    with pytest.raises(InputError, match="among the training samples"):
        trained_plan(Request(tmp_path / "test", training=place_at(work, tmp_path / "out")), [], {})


def test_nor_can_another_knee_of_a_person_who_was_trained_on(tmp_path: Path) -> None:
    from SSRKDCore.evaluation.experiments.training_points import refuse_known_cases

    place = place_at(Workplace(tmp_path / "work"), tmp_path / "out")
    place.work.samples.mkdir(parents=True)
    known = {"id": "left leg", "file": "x.npz", "labelled": True, "folder": "nowhere", "subject": "ann"}
    write_store_file(place.work.samples, {}, 1, [known])
    legs = {name: write_knee_case(tmp_path / name, provenance={"subject": name}) for name in ("ann", "bob")}
    refuse_known_cases(place, [CaseSource(legs["bob"])])
    with pytest.raises(InputError, match="is a knee of ann, of whom another is among the training samples"):
        refuse_known_cases(place, [CaseSource(legs["ann"])])


@pytest.mark.parametrize("count", [1, 4])
def test_samples_of_more_views_keep_their_points_and_train(work: Workplace, tmp_path: Path, count: int) -> None:
    store = SampleStore(work.samples)
    one = linked_store(store, [0], tmp_path / "one")
    samples = store_of_views(one, count, tmp_path / "views")
    before, after = one.read(0, 0), samples.read(0, 0)
    assert after.images.shape == (count, SAMPLES.image_size, SAMPLES.image_size)
    assert np.array_equal(before.points, after.points) and np.array_equal(before.labels, after.labels)
    shared = min(2, count)
    assert np.array_equal(before.images[:shared], after.images[:shared])
    # Bone is bright: rays that meet it have larger line integrals than the others, in the views that were added too.
    assert after.bone_masks is not None and len(after.bone_masks) == count
    for image, mask in zip(after.images.astype(float), after.bone_masks, strict=True):
        assert image[mask == 1].mean() > 1.5 * image[mask == 0].mean()
    plain = {"steps": 2, "warm_up_steps": 1, "points": 100, "distillation_points": 50, "enhancement": False}
    alone = {**plain, "labelled_batch": 1, "unlabelled_batch": 0, "pseudo_labels": False, "distillation": False}
    settings = ManyViewTraining.from_dict({**xray_preset("compact").changed(alone).to_dict(), "views": count})
    how = RunSettings(accelerator="cpu", threads=1, progress=False, held_out=0)
    model = train_xray(StageJob(samples, [0], [], settings, how, tmp_path / "run", "views", "none"))
    assert read_json(model / "model.json", "a model")["architecture"]["view_count"] == count
    # A case of that many views goes through its files, its rig and the network; so few steps need not find a bone.
    given = seen_in_coarse_room(tmp_path)
    method = case_reconstruction(load_model(model), 32, "cpu")
    result = evaluate_case(case_of_views(count)(given, tmp_path / "case", 0), method)
    assert result.failure is None or "No bone" in result.failure
    refused = evaluate_case(given.folder, method)
    assert refused.failure is not None and f"reads {count} views and the rig has 2" in refused.failure


def test_the_added_views_of_a_rig_look_from_between_the_two() -> None:
    rig = rig_of_views(preset("room", "left"), 4)
    assert [view.name for view in rig.views][:2] == [view.name for view in preset("room", "left").views]
    assert rig.separation_degrees(0, 2) == pytest.approx(45.0, abs=1.0)
    assert rig.separation_degrees(0, 3) == pytest.approx(45.0, abs=1.0)
    assert rig.separation_degrees(2, 3) == pytest.approx(90.0, abs=1.0)
