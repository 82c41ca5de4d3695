"""Fine-tuning on a site's own radiographs: what is learnt from, what never is, when it stops, and who judges."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import IMAGE, tiny_xray, use_tiny_networks
from toy_domains import expose, odd_curve, plain, write_site
from training_cases import knee_labels, knee_surfaces, write_knee_case

from SSRKDCore import cli
from SSRKDCore.cases import load_case, save_case
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.case_evaluation import CaseResult
from SSRKDCore.evaluation.comparison import BoneComparison
from SSRKDCore.grid import Grid
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.build import build_network
from SSRKDCore.networks.config import ct_config, xray_config
from SSRKDCore.networks.model_folder import Model, ModelInput, load_model, save_model, shape_prior_path
from SSRKDCore.radiographs.standardise import ROBUST
from SSRKDCore.reconstruction.network_input import prepare_network_input
from SSRKDCore.refinement.shape_prior import shape_prior_of
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface, write_surface
from SSRKDCore.training import finetune as finetuning
from SSRKDCore.training.ct_volume import VolumeInput
from SSRKDCore.training.finetune import FinetuneJob, finetune
from SSRKDCore.training.finetune_batches import RadiographBatches, StoppingPoints
from SSRKDCore.training.finetune_comparison import compared, comparison
from SSRKDCore.training.finetune_samples import (
    RadiographSamples,
    known_heights,
    prepare_radiograph_samples,
    radiograph_samples,
    radiographs_of,
)
from SSRKDCore.training.finetune_settings import finetune_settings
from SSRKDCore.training.finetune_split import split_for_finetuning
from SSRKDCore.training.finetune_stage import FinetuneStage, layerwise_groups
from SSRKDCore.training.finetune_stopping import EarlyStopping
from SSRKDCore.training.initial_weights import start_from
from SSRKDCore.training.point_sampling import PointCounts
from SSRKDCore.training.presets import xray_preset
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, SampleStore, write_store
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.stage_job import StageJob
from SSRKDCore.training.xray_training import train_xray

SAMPLES = RadiographSamples(
    fields_of_view=3, image_size=IMAGE, points=PointCounts(near=400, uniform=400, near_mm=14.0, very_near_mm=7.0)
)
RUN = RunSettings(accelerator="cpu", threads=1, progress=False, validation_steps=0, held_out=0)
QUICK = {
    "steps": 24, "learning_rate": 0.01, "layer_decay": 1.0, "warm_up_steps": 2, "weight_average": 0.8, "points": 400,
    "check_steps": 8, "augmentation": False,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        yield


@pytest.fixture(scope="module")
def other_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("sites") / "other", 5, odd_curve)


@pytest.fixture(scope="module")
def first_site(tmp_path_factory: pytest.TempPathFactory, other_site: Path) -> Path:
    """The same knees as of the other site, as the first site shows them."""
    folder = tmp_path_factory.mktemp("sites") / "first"
    shutil.copytree(other_site, folder)
    for case in folder.iterdir():
        expose(case, plain)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, first_site: Path) -> Model:
    """A model that was trained at the first site."""
    folder = tmp_path_factory.mktemp("model")
    store = prepare_radiograph_samples(sorted(first_site.iterdir())[:3], folder / "samples", SAMPLES)
    settings = tiny_xray(
        steps=40, learning_rate=0.01, warm_up_steps=2, unlabelled_batch=0, points=300, pseudo_labels=False,
        distillation=False, augmentation=False, weight_average=0.8,
    )  # fmt: skip
    job = StageJob(store, [0, 1, 2], [], settings, RUN, folder / "run", "first site", "CC0-1.0")
    return load_model(train_xray(job))


@pytest.fixture
def untrained(tmp_path: Path) -> Model:
    torch.manual_seed(5)
    config = xray_config("compact")
    folder = save_model(
        tmp_path / "untrained", build_network(config), config, name="untrained",
        model_input=ModelInput(standardisation=dict(ROBUST)),
    )  # fmt: skip
    return load_model(folder)


def job_of(model: Model, cases: Path, out: Path, **changes) -> FinetuneJob:
    settings = {**QUICK, **changes.pop("settings", {})}
    return FinetuneJob(
        model, sorted(cases.iterdir()), out, settings=settings, samples=SAMPLES, run=RUN, resolution=32, **changes
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder).network.state_dict()


def test_samples_show_what_reconstruction_reads_and_label_the_true_bones(first_site: Path, untrained: Model) -> None:
    for place in sorted(first_site.iterdir())[:2]:
        case = load_case(place)
        samples, seen = radiograph_samples(case, SAMPLES)
        radiographs, rig = radiographs_of(case)
        raw = replace(untrained, input=ModelInput())
        read = prepare_network_input(radiographs, rig, raw)
        np.testing.assert_allclose(samples[0].images, read.images[0, :, 0], atol=2e-3)
        np.testing.assert_allclose(samples[0].projections, [view.projection_matrix for view in read.views])
        assert seen[0].shape == samples[0].images.shape
        assert not np.array_equal(samples[1].cube, samples[0].cube), "further fields of view differ"
        size = 0.92 + 0.02 * int(place.name[-3:])
        for sample in samples:
            points = sample.points[sample.near :].astype(np.float64)
            wanted = np.array([_label_at(point, case.side, size) for point in points[:150]])
            known = sample.labels[sample.near :][:150] != UNKNOWN_LABEL
            agree = wanted[known] == sample.labels[sample.near :][:150][known]
            assert agree.mean() > 0.96 and (wanted[known] > 0).any()


def _label_at(point: np.ndarray, side: str, size: float) -> int:
    return int(knee_labels(Grid(tuple(point), (1.0, 1.0, 1.0), (1, 1, 1)), side, size)[0, 0, 0])


def test_beyond_where_a_reference_is_known_nothing_is_taught(first_site: Path) -> None:
    case = load_case(sorted(first_site.iterdir())[0])
    short = replace(case, reference_extent={"femur": (-200.0, 40.0), "tibia": (-45.0, 200.0)})
    assert known_heights(short, knee_surfaces("right"))[1] == 40.0
    for sample in radiograph_samples(short, SAMPLES)[0]:
        beyond = (sample.points[:, 2] > 40) | (sample.points[:, 2] < -45)
        assert beyond.any() and (sample.labels[beyond] == UNKNOWN_LABEL).all()
        assert (sample.labels[~beyond] != UNKNOWN_LABEL).all()


def test_what_the_detector_did_not_see_is_left_out_as_in_reconstruction(
    first_site: Path, tmp_path: Path, untrained: Model
) -> None:
    case = tmp_path / "narrow"
    shutil.copytree(sorted(first_site.iterdir())[0], case)
    given = load_case(case)
    moved = [
        replace(view, detector_origin=(*view.detector_origin[:2], view.detector_origin[2] + 150.0))
        for view in given.rig.views
    ]
    names = {view.name: path.name for view, path in zip(given.rig.views, given.radiographs.values(), strict=True)}
    references = {name: path.name for name, path in given.reference.items()}
    save_case(
        case,
        given.id,
        given.side,
        replace(given.rig, views=tuple(moved)),
        names,
        "line_integral",
        references,
        "ct.nrrd",
    )
    store = prepare_radiograph_samples([case], tmp_path / "samples", replace(SAMPLES, fields_of_view=1))
    settings = finetune_settings(untrained, False, {"augmentation": False})
    batch = RadiographBatches(store, [0], settings, settings.steps, untrained)[0]
    radiographs, rig = radiographs_of(load_case(case))
    wanted = prepare_network_input(radiographs, rig, untrained).images[0, :, 0]
    assert (wanted == 0).float().mean() > 0.15, "a part of the field of view lies outside the detector"
    np.testing.assert_allclose(batch["images"][0], wanted, atol=0.02)


def test_samples_are_kept_until_a_case_changes_and_other_settings_are_refused(first_site: Path, tmp_path: Path) -> None:
    cases = [tmp_path / "a", tmp_path / "b"]
    for case, source in zip(cases, sorted(first_site.iterdir()), strict=False):
        shutil.copytree(source, case)
    store = prepare_radiograph_samples(cases, tmp_path / "samples", SAMPLES)
    times = [(store.folder / case.file).stat().st_mtime_ns for case in store.cases]
    expose(cases[1], odd_curve)
    again = prepare_radiograph_samples(cases, tmp_path / "samples", SAMPLES)
    changed = [(again.folder / case.file).stat().st_mtime_ns for case in again.cases]
    assert changed[0] == times[0] and changed[1] != times[1] and again.fingerprint != store.fingerprint
    with pytest.raises(InputError, match="another shift_mm"):
        prepare_radiograph_samples(cases, tmp_path / "samples", replace(SAMPLES, shift_mm=1.0))
    with pytest.raises(InputError, match="Two cases have the id"):
        prepare_radiograph_samples([cases[0], cases[0]], tmp_path / "twice", SAMPLES)


def test_a_model_is_started_from_as_it_is_or_with_a_silent_second_channel(untrained: Model) -> None:
    same = build_network(untrained.config)
    start_from(same, untrained)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), untrained.network.parameters(), strict=True))
    two = build_network(replace(untrained.config, input_channels=2)).eval()
    start_from(two, untrained)
    images = torch.randn(1, 2, 1, IMAGE, IMAGE)
    enhanced = torch.cat([torch.randn_like(images), images], dim=2)
    for one, other in zip(two.encode(enhanced)[0], untrained.network.encode(images)[0], strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(InputError, match=r"differs in features \(16 there, 32 now\)"):
        start_from(build_network(replace(untrained.config, features=32)), untrained)
    ct = Model(build_network(ct_config("compact")), ct_config("compact"), "ct", "a CT model", Path(), {}, ModelInput())
    with pytest.raises(InputError, match="of kind ct"):
        start_from(same, ct)
    with pytest.raises(InputError, match="input_channels"):
        start_from(build_network(untrained.config), replace(untrained, config=two.config, network=two))


def test_persons_stay_together_and_the_three_uses_apart(tmp_path: Path) -> None:
    write_knee_case(tmp_path / "first")
    case = load_case(tmp_path / "first")
    names = {name: path.name for name, path in case.radiographs.items()}
    references = {name: path.name for name, path in case.reference.items()}
    folders = []
    for index in range(8):
        folder = shutil.copytree(tmp_path / "first", tmp_path / f"c{index}")
        person = {"subject": f"p{index // 2}"}
        save_case(folder, f"c{index}", case.side, case.rig, names, "line_integral", references, "ct.nrrd", person)
        folders.append(folder)
    split = split_for_finetuning(folders, seed=3)
    uses = [split.training, split.stopping, split.held_out]
    assert sorted(folder for use in uses for folder in use) == sorted(folders)
    persons = [{int(folder.name[1:]) // 2 for folder in use} for use in uses]
    assert [len(found) for found in persons] == [2, 1, 1] and not persons[0] & (persons[1] | persons[2])
    assert split_for_finetuning(folders[::-1], seed=3) == split, "the order in which cases are given does not matter"
    assert any(split_for_finetuning(folders, seed=seed) != split for seed in range(4, 8))
    with pytest.raises(InputError, match="of 4 persons, and 2 are needed to stop"):
        split_for_finetuning(folders, stopping=2, held_out=2)


def test_cases_for_evaluation_only_are_refused_labelled_or_not(tmp_path: Path) -> None:
    folders = [write_knee_case(tmp_path / name) for name in ("a", "b", "c")]
    described = folders[1] / "case.json"
    write_json(described, read_json(described, "a case") | {"provenance": {"evaluate_only": True}})
    with pytest.raises(InputError, match=r"b is for evaluation only"):
        split_for_finetuning(folders)
    with pytest.raises(InputError, match=r"b is for evaluation only"):
        prepare_radiograph_samples([], tmp_path / "samples", SAMPLES, unlabelled=folders)


def test_frozen_parts_keep_their_weights_and_rates_fall_towards_the_image(untrained: Model) -> None:
    settings = finetune_settings(untrained, False, {"frozen": "stem", "layer_decay": 0.5, "learning_rate": 0.8})
    stage = FinetuneStage(settings, np.ones(5), untrained)
    groups = layerwise_groups(dict(stage.network.named_parameters()), settings)
    assert [group["lr"] for group in groups] == [0.8, 0.4, 0.2], "classifier, second hourglass, first hourglass"
    trained = {name for name, parameter in stage.network.named_parameters() if parameter.requires_grad}
    assert not any("stem" in name for name in trained) and any("stages" in name for name in trained)
    everything = FinetuneStage(settings.changed({"frozen": "none"}), np.ones(5), untrained)
    assert len(layerwise_groups(dict(everything.network.named_parameters()), everything.finetuning)) == 4
    classifier = FinetuneStage(settings.changed({"frozen": "encoders"}), np.ones(5), untrained)
    assert {name.split(".")[0] for name, p in classifier.network.named_parameters() if p.requires_grad} == {
        "classifier"
    }


def test_it_improves_on_another_site_and_never_looks_at_what_judges(
    model: Model, other_site: Path, tmp_path: Path
) -> None:
    outcome = finetune(job_of(model, other_site, tmp_path / "run", settings={"steps": 40}))
    stopping = outcome.record["stopping"]
    assert stopping["wrong_at_best"] < 0.9 * stopping["wrong_before"] and stopping["best_step"] > 0
    found = outcome.comparison
    assert found["verdict"] == "better" and outcome.accepted and outcome.folder == tmp_path / "run" / "model"
    split = read_json(tmp_path / "run" / "split.json", "a split")
    assert [len(split[use]) for use in ("training", "stopping", "held_out")] == [3, 1, 1]
    names = {case.folder.name for case in SampleStore(tmp_path / "run" / "samples").cases}
    assert names == {*split["training"], *split["stopping"]}, "no samples of the case that judges were ever made"
    described = read_json(tmp_path / "run" / "training" / "run.json", "a run")
    assert [name.split("-")[-1] for name in described["data"]["labelled"]] == [
        str(int(n[-3:])) for n in split["training"]
    ]
    record = load_model(outcome.folder).card["training"]["finetuning"]
    assert record["initial_model"] == {"name": "first site", "weights_sha256": model.card["weights"]["sha256"]}
    assert record["cases"] == {"training": 3, "stopping": 1, "held_out": 1, "unlabelled": 0}
    assert record["comparison"]["verdict"] == "better" and record["warning"] == ""
    before, after = model.network.state_dict(), weights(outcome.folder)
    assert not any(torch.equal(before[name], after[name]) for name in before if not name.startswith("kd_"))


def test_a_run_that_was_killed_goes_on_to_the_same_weights(
    untrained: Model, other_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "compared", lambda *given, **options: BETTER)
    jobs = [
        job_of(untrained, other_site, tmp_path / name, settings={"steps": 6, "check_steps": 2})
        for name in ("whole", "killed")
    ]
    whole = finetune(jobs[0])
    usual = RadiographBatches.batch

    def killed(self: RadiographBatches, step: int) -> dict[str, torch.Tensor]:
        if step == 5:
            raise RuntimeError("killed")
        return usual(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(RadiographBatches, "batch", killed)
        with pytest.raises(RuntimeError, match="killed"):
            finetune(jobs[1])
    again = finetune(jobs[1])
    one, two = weights(whole.folder), weights(again.folder)
    assert (
        all(torch.equal(one[name], two[name]) for name in one) and whole.record["stopping"] == again.record["stopping"]
    )


_TABLE = {"all": {"exact_assd_mm": {"mean": 1.0}, "failed": 0}}
BETTER = {"verdict": "better", "cases": ["x"], "before": _TABLE, "after": _TABLE}


def test_it_stops_when_nothing_gets_better_and_gives_back_the_best_weights(
    untrained: Model, other_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "compared", lambda *given, **options: BETTER)
    measured = iter([0.5, 0.4, 0.6, 0.4, 0.7, 0.1])
    monkeypatch.setattr(StoppingPoints, "__call__", lambda self, module: {"wrong": next(measured)})
    job = job_of(untrained, other_site, tmp_path / "run", settings={"steps": 12, "check_steps": 1, "patience": 3})
    outcome = finetune(job)
    assert outcome.record["stopping"] == {"wrong_before": 0.5, "wrong_at_best": 0.4, "best_step": 1}
    assert load_model(outcome.folder).card["training"]["budget"]["steps"] == 4
    # The same call again trains no further, and says the same.
    again = finetune(job)
    assert again.record["stopping"] == outcome.record["stopping"]
    only_harm = EarlyStopping(lambda module: {"wrong": 0.5 + 0.1 * module.weight.abs().item()}, 2)
    module = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(module.weight)
    only_harm(module)
    torch.nn.init.ones_(module.weight)
    only_harm(module)
    only_harm(module)
    assert only_harm.exhausted and not only_harm.best_weights["weight"].any(), "the weights before the first step"


def test_a_model_that_got_worse_does_not_take_the_place_of_a_model(
    untrained: Model, other_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "compared", lambda *given, **options: {**BETTER, "verdict": "worse"})
    monkeypatch.setattr(StoppingPoints, "__call__", lambda self, module: {"wrong": 1.0 / (1 + module.global_step)})
    job = job_of(untrained, other_site, tmp_path / "run", settings={"steps": 1, "check_steps": 1, "frozen": "stem"})
    outcome = finetune(job)
    before, after = untrained.network.state_dict(), weights(outcome.folder)
    for name in before:
        frozen = name.startswith("encoders.") and ".stages." not in name
        assert torch.equal(before[name], after[name]) == (frozen or name.startswith("kd_")), name
    assert not outcome.accepted and outcome.folder.name == "worse_model" and not (tmp_path / "run" / "model").exists()
    assert "do not use it" in load_model(outcome.folder).card["training"]["finetuning"]["warning"]
    assert "do not use it" in (outcome.folder / "MODEL_CARD.md").read_text()
    assert read_json(tmp_path / "run" / "comparison.json", "a comparison")["accepted"] is False
    kept = finetune(replace(job, keep_worse=True))
    assert kept.accepted and kept.folder.name == "model" and not (tmp_path / "run" / "worse_model").exists()
    assert "do not use it" in load_model(kept.folder).card["training"]["finetuning"]["warning"]


def result(name: str, **distances: float | None) -> CaseResult:
    bones = {
        bone: BoneComparison(failure="not found") if value is None else BoneComparison(exact_assd_mm=value)
        for bone, value in distances.items()
    }
    return CaseResult(name, "right", 1.0, bones)


@pytest.mark.parametrize(("after", "verdict"), [
    ({"femur": 0.9, "tibia": 1.0}, "better"), ({"femur": 1.0, "tibia": 1.0}, "same"),
    ({"femur": 1.3, "tibia": 0.8}, "worse"), ({"femur": 0.1, "tibia": None}, "worse"),
])  # fmt: skip
def test_a_bone_that_is_no_longer_found_is_worse_whatever_the_others_gain(after: dict, verdict: str) -> None:
    record = comparison([result("a", femur=1.0, tibia=1.0)], [result("a", **after)], 32)
    assert record["verdict"] == verdict
    found = comparison([result("a", femur=1.0, tibia=None)], [result("a", femur=1.0, tibia=5.0)], 32)
    assert found["verdict"] == "better"


def test_unlabelled_cases_are_learnt_from_by_the_teachers_labels_inside_their_ct(
    untrained: Model, other_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "compared", lambda *given, **options: BETTER)
    config = ct_config("compact")
    input = ModelInput(standardisation=VolumeInput(6.0, -400.0, 500.0).to_standardisation())
    folder = save_model(tmp_path / "teacher", build_network(config), config, name="teacher", model_input=input)
    unlabelled = write_knee_case(tmp_path / "unlabelled" / "u", reference=None)
    expose(unlabelled, odd_curve)
    job = job_of(untrained, other_site, tmp_path / "run", settings={"steps": 2, "check_steps": 2})
    outcome = finetune(replace(job, unlabelled=[unlabelled], teacher=load_model(folder)))
    assert outcome.record["cases"]["unlabelled"] == 1
    store = SampleStore(tmp_path / "run" / "samples")
    index = store.labelled.index(False)
    sample = store.read(index, 0)
    assert sample.teacher_logits is not None and (sample.labels == UNKNOWN_LABEL).all()
    assert (np.abs(sample.points) <= np.array([66.1, 66.1, 84.1])).all(), "outside the CT nothing is known"
    with pytest.raises(InputError, match="need the CT teacher"):
        finetune(replace(job, unlabelled=[unlabelled]))
    judge = next(path for path in job.cases if path.name in read_json(tmp_path / "run/split.json", "split")["held_out"])
    with pytest.raises(InputError, match="kept out to judge"):
        finetune(replace(job, unlabelled=[judge], teacher=load_model(folder)))


def test_settings_follow_from_the_model_and_cannot_contradict_it(untrained: Model) -> None:
    settings = finetune_settings(untrained, False)
    assert settings.network == untrained.config and settings.architecture == "of the model" and not settings.enhancement
    assert type(settings).from_dict(settings.to_dict()) == settings
    for changes, words in (
        ({"standardisation": "none"}, "follow from the model"), ({"frozen": "all"}, "frozen must be one of"),
        ({"layer_decay": 1.5}, "layer_decay must be"), ({"rate": 1}, "have no rate"), ({"patience": 0}, "patience must be"),
        ({"augmentation": "physics"}, "augmentation must be"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            finetune_settings(untrained, False, changes)
    with pytest.raises(InputError, match="standardised as"):
        finetune_settings(replace(untrained, input=ModelInput(standardisation={"method": "scale", "factor": 2})), False)
    with pytest.raises(InputError, match="no segmenter folder"):
        finetune_settings(replace(untrained, config=replace(untrained.config, input_channels=2)), False)


def test_the_command_line_trains_and_refuses_what_cannot_be(
    untrained: Model,
    other_site: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finetuning, "compared", lambda *given, **options: {**BETTER, "verdict": "worse"})
    words = ["finetune", str(untrained.path), "--cases", str(other_site)]
    short = ["--steps", "1", "--set", "points=100", "--threads", "1", "--resolution", "32"]
    assert cli.main([*words, "--out", str(tmp_path / "run"), *short]) == 1
    assert "--keep-worse" in capsys.readouterr().out
    for arguments, reason in (
        (["--unlabelled", str(other_site)], "belong together"), (["--held-out", "5"], "add cases"),
        (["--set", "run.threads=1"], "leave run. out"), (["--resolution", "7"], "32 to 512"),
    ):  # fmt: skip
        assert cli.main([*words, "--out", str(tmp_path / "other"), *arguments]) == 2
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_ordinary_training_starts_from_a_model_too_and_another_start_is_another_run(
    untrained: Model, other_site: Path, tmp_path: Path
) -> None:
    store = prepare_radiograph_samples(sorted(other_site.iterdir())[:1], tmp_path / "samples", SAMPLES)
    settings = tiny_xray(
        steps=1, learning_rate=1e-7, warm_up_steps=0, weight_decay=0.0, unlabelled_batch=0, pseudo_labels=False,
        distillation=False,
    )  # fmt: skip
    job = StageJob(store, [0], [], settings, RUN, tmp_path / "run", "went on", "CC0-1.0", initial=untrained)
    folder = train_xray(job)
    for name, value in untrained.network.state_dict().items():
        torch.testing.assert_close(weights(folder)[name], value, atol=1e-5, rtol=0)
    described = read_json(tmp_path / "run" / "run.json", "a run")
    assert described["data"]["initial_model"] == untrained.card["weights"]["sha256"]
    with pytest.raises(InputError, match=r"differs in data\.initial_model"):
        train_xray(replace(job, initial=None))
    shown_otherwise = replace(untrained, input=replace(untrained.input, intensity_scale=2.0))
    with pytest.raises(InputError, match=r"differs in data\.initial_settings"):
        train_xray(replace(job, initial=shown_otherwise))


def test_before_and_after_are_compared_as_they_are_used(untrained: Model) -> None:
    """With the shape prior and the correction that the fine-tuned model's folder will bring, or both without."""
    refined = load_model(None)
    plain = replace(untrained, path=Path(), card={})
    after = finetuning._as_it_will_be(plain, refined)
    assert shape_prior_path(after) == shape_prior_path(refined) is not None and after.network is plain.network
    assert shape_prior_of(after) is shape_prior_of(refined)
    entry = {"file": "surface_correction.safetensors", "sha256": "0" * 64}
    corrected = replace(refined, card={**refined.card, "surface_correction": entry})
    assert finetuning._as_it_will_be(plain, corrected).card["surface_correction"] == entry
    assert finetuning._as_it_will_be(plain, untrained) is plain


def test_a_judge_whose_truth_was_corrected_is_compared_again(model: Model, other_site: Path, tmp_path: Path) -> None:
    case = shutil.copytree(sorted(other_site.iterdir())[0], tmp_path / "case")
    first = compared(model, model, [case], tmp_path / "work", resolution=32)
    assert compared(model, model, [case], tmp_path / "work", resolution=32) == first
    surface = read_surface(case / "femur.ply")
    write_surface(case / "femur.ply", Surface(surface.vertices + np.array([30.0, 0.0, 0.0]), surface.faces))
    again = compared(model, model, [case], tmp_path / "work", resolution=32)
    assert again["before"]["femur"]["exact_assd_mm"] != first["before"]["femur"]["exact_assd_mm"]


def test_errors_weigh_what_they_weighed_in_the_models_own_training(untrained: Model, model: Model) -> None:
    bundled = load_model(None)
    own = bundled.card["training"]["stages"]["xray"]["settings"]
    for given, expected in (
        (bundled, own),
        (model, model.card["training"]["settings"]),
        (untrained, xray_preset("compact").to_dict()),
    ):
        found = finetune_settings(given, False)
        for name in ("near_share", "outside_weight", "class_weight_power", "stack_weight_ratio"):
            assert getattr(found, name) == expected[name], name
    assert finetune_settings(bundled, False, {"outside_weight": 2.0}).outside_weight == 2.0


def test_the_models_own_samples_stand_beside_the_sites_in_every_step(
    first_site: Path, other_site: Path, model: Model, tmp_path: Path
) -> None:
    own = prepare_radiograph_samples(sorted(first_site.iterdir())[:2], tmp_path / "own", SAMPLES)
    store = prepare_radiograph_samples(sorted(other_site.iterdir())[3:], tmp_path / "site", SAMPLES)
    settings = finetune_settings(model, False, QUICK, rehearsed=True)
    alone = finetune_settings(model, False, QUICK)
    both, without = (
        RadiographBatches(store, [0, 1], chosen, 4, model, beside)
        for chosen, beside in ((settings, own), (alone, None))
    )
    batch, plain_batch = both[2], without[2]
    assert batch["images"].shape[0] == 2 and plain_batch["images"].shape[0] == 1
    assert torch.equal(batch["images"][0], plain_batch["images"][0])
    shown = [own.read(case, rig, teacher=False).images.astype(np.float32) for case in range(2) for rig in range(3)]
    beside = batch["images"][1].numpy()
    likeness = [np.corrcoef(beside.ravel(), images.ravel())[0, 1] for images in shown]
    assert max(likeness) > 0.99, "plain images of the model's own samples, but for standardisation"
    assert both.fingerprint()["rehearsed"] == own.fingerprint and "rehearsed" not in without.fingerprint()
    stage = FinetuneStage(settings, both.class_counts(), model)
    assert stage.training_step(batch, 0)["loss"].isfinite() and stage.xray.labelled_batch == 2
    for changes, rehearsed in (({"rehearsed_batch": 1}, False), ({"rehearsed_batch": 0}, True)):
        with pytest.raises(InputError, match="belong together"):
            finetune_settings(model, False, changes, rehearsed)


def test_who_judges_must_not_be_among_the_models_own_samples(other_site: Path, model: Model, tmp_path: Path) -> None:
    prepare_radiograph_samples(sorted(other_site.iterdir()), tmp_path / "own", SAMPLES)
    with pytest.raises(InputError, match="among the model's own samples"):
        finetune(job_of(model, other_site, tmp_path / "run", own_samples=tmp_path / "own"))
    assert not (tmp_path / "run").exists()


def test_nor_may_another_knee_of_who_judges(tmp_path: Path) -> None:
    folders = [write_knee_case(tmp_path / name, provenance={"subject": f"p{name}"}) for name in ("a", "b", "c")]
    split = split_for_finetuning(folders)
    judge = split.held_out[0]
    for subject, refused in ((f"p{judge.name}", True), ("somebody else", False)):
        listed = {"id": "other leg", "file": "x.npz", "labelled": True, "folder": "nowhere", "subject": subject}
        place = tmp_path / subject
        place.mkdir()
        write_store(place, {}, 1, [listed])
        if not refused:
            finetuning._check_apart(split, [], SampleStore(place))
            continue
        with pytest.raises(
            InputError, match=f"is a knee of {subject}, of whom another is among the model's own samples"
        ):
            finetuning._check_apart(split, [], SampleStore(place))
