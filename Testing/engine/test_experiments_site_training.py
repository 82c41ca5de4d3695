"""What site B trains itself: cases of its own, a style network and a fine-tuned student, each resumable and described."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_training import tiny_xray, use_tiny_networks, write_cases, write_store
from toy_domains import odd_curve, write_site
from training_cases import write_knee_case

from SSRKDCore.cases import load_case
from SSRKDCore.drr.projector import project
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments import given_model_sites, site_training, two_sites
from SSRKDCore.evaluation.experiments.given_model_sites import NETWORK_ALONE, given_model_points
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.second_site import SITES
from SSRKDCore.evaluation.experiments.site_training import finetuned_site, site_cases, site_seed, translated_site
from SSRKDCore.evaluation.experiments.sources import CaseSource, Source, checked_case
from SSRKDCore.evaluation.experiments.training_points import TrainingPlace, TrainingPoint, train_point
from SSRKDCore.evaluation.experiments.two_sites import POINTS
from SSRKDCore.evaluation.experiments.variants import write_variant
from SSRKDCore.evaluation.methods import Method
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.networks.style_config import StyleConfig
from SSRKDCore.training import style_settings
from SSRKDCore.training.recipe import Recipe, Workplace
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.stage_job import StageJob
from SSRKDCore.training.style_training import AWAY_FOLDER, REJECTED_FOLDER
from SSRKDCore.training.xray_training import train_xray

KNEES = 4


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        style = StyleConfig(image_size=64, features=8, halvings=4, blocks=1, knots=13, norm_groups=4)
        patch.setattr(style_settings, "style_config", lambda name: style)
        patch.setitem(style_settings._VALUES["compact"], "crop_size", 0)
        patch.setattr(site_training, "STYLE_STEPS", 3)
        patch.setattr(site_training, "FINETUNE_STEPS", 4)
        patch.setattr(site_training, "LABELLED_KNEES", 3)
        yield


@pytest.fixture(scope="module")
def knees(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(write_site(tmp_path_factory.mktemp("knees") / "site", KNEES).iterdir())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> TrainingPlace:
    work = Workplace(tmp_path_factory.mktemp("work"))
    write_cases(work.population, labelled=3, unlabelled=1)
    write_store(work.samples, work.population)
    recipe = Recipe(
        Path("recipe.json"), {"seed": 2026, "test_seed": 70707}, {"preset": "compact", "run": {"threads": 1}}
    )
    return TrainingPlace(recipe, work, work.root / "training", steps=4, resolution=32, device="cpu")


@pytest.fixture(scope="module")
def student(place: TrainingPlace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from SSRKDCore.training.sample_store import SampleStore

    settings = tiny_xray(
        steps=4, unlabelled_batch=0, pseudo_labels=False, distillation=False, augmentation=False, points=200
    )
    run = RunSettings(accelerator="cpu", threads=1, progress=False, validation_steps=0, held_out=0)
    store = SampleStore(place.work.samples)
    return train_xray(StageJob(store, [0, 1, 2], [], settings, run, tmp_path_factory.mktemp("run"), "plain", "CC0-1.0"))


made: list[str] = []


def shown_by_site_b(source: Source, folder: Path, seed: int) -> Path:
    """Another curve; left and right of an image stay where they are."""
    made.append(source.id)
    given = checked_case(source)
    rig = given.case.rig
    finer = Rig(tuple(view.resampled(108, 108) for view in rig.views), rig.field_of_view, rig.provenance)
    shown = project(given.exposed.volume, given.exposed.grid, finer)
    images = {name: odd_curve(image) for name, image in shown.items()}
    return write_variant(folder, given.case, images, finer, {"site": "B"})


@pytest.fixture(scope="module")
def site(knees: list[Path], place: TrainingPlace) -> list[Path]:
    return site_cases(knees, place.out / "site-b" / "cases", 0, shown_by_site_b)


def test_site_bs_cases_are_the_same_knees_and_are_made_once(
    site: list[Path], knees: list[Path], place: TrainingPlace
) -> None:
    assert [folder.name for folder in site] == [folder.name for folder in knees]
    for folder, knee in zip(site, knees, strict=True):
        case, given = load_case(folder), load_case(knee)
        assert (case.id, case.side, case.provenance["site"]) == (given.id, given.side, "B")
        assert case.reference is not None and case.ct is None
    before = len(made)
    again = site_cases(knees, place.out / "site-b" / "cases", 0, shown_by_site_b)
    assert again == site and len(made) == before


def test_a_case_that_was_half_made_is_made_again(knees: list[Path], tmp_path: Path) -> None:
    left = tmp_path / f".unfinished-{knees[0].name}"
    left.mkdir()
    (left / "view0.nrrd").write_bytes(b"half")
    found = site_cases(knees[:1], tmp_path, 0, shown_by_site_b)
    assert load_case(found[0]).radiographs and not left.exists()


def test_test_cases_are_never_trained_on(knees: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of site B's own knees"):
        site_cases(knees, tmp_path, 0, shown_by_site_b, [CaseSource(knees[2])])
    assert not (tmp_path / knees[2].name).exists()


def test_other_knees_of_a_test_cases_person_are_never_trained_on(tmp_path: Path) -> None:
    own = [write_knee_case(tmp_path / name, provenance={"subject": who}) for name, who in (("a", "ann"), ("b", "bob"))]
    test = CaseSource(write_knee_case(tmp_path / "other-leg", provenance={"subject": "bob"}))
    with pytest.raises(InputError, match="is of bob, of whom a test case is"):
        site_cases(own[1:], tmp_path / "out", 0, shown_by_site_b, [test])
    assert not (tmp_path / "out" / own[1].name).exists()


def test_site_bs_knees_have_a_seed_of_their_own(place: TrainingPlace) -> None:
    assert site_seed(place) == 70708


def test_the_style_network_is_trained_described_and_found_again(site: list[Path], place: TrainingPlace) -> None:
    first = translated_site(place, site)
    assert load_model(first.folder).kind == "style"
    assert set(first.settings["cases"]) == {folder.name for folder in site}
    assert first.settings["training"]["steps"] == 3 and len(first.settings["weights"]) == 64
    assert "on the radiographs of 1 other knees of site B and 3 of site A; on 3 held-out knees" in first.words
    assert ("moved edges" in first.words) == (first.folder.name == REJECTED_FOLDER)
    assert ("less like the simulated" in first.words) == (first.folder.name == AWAY_FOLDER)
    assert translated_site(place, site) == first


def test_the_student_goes_on_from_site_bs_labelled_cases_and_is_found_again(
    site: list[Path], place: TrainingPlace, student: Path
) -> None:
    first = finetuned_site(place, load_model(student), site)
    tuned, plain = (load_model(folder).network.state_dict() for folder in (first.folder, student))
    assert set(tuned) == set(plain)
    assert set(first.settings["cases"]) == {folder.name for folder in site[:3]}
    assert first.settings["changes"] == {"steps": 4} and first.settings["student"] != ""
    assert "3 labelled other knees of site B (1 to learn from, 1 to stop, 1 to compare)" in first.words
    again = finetuned_site(place, load_model(student), site)
    assert again == first
    for name, value in load_model(again.folder).network.state_dict().items():
        assert np.array_equal(value, tuned[name])


def test_the_experiment_has_a_point_for_each_remedy() -> None:
    by_name = {point.name: point for point in POINTS}
    assert len(by_name) == len(POINTS)
    assert by_name["A on B, translated"].translate and by_name["A on B, fine-tuned"].finetune
    for point in POINTS:
        # Each remedy of the plain student is alone, so that its effect is its own.
        alone = [point.prepare, point.match, point.translate, point.finetune]
        assert sum(alone) <= 1 or point.augmentation is not False
        assert point.at_b or not any(alone)


def test_a_given_model_has_each_remedy_at_each_site_with_and_without_refinement() -> None:
    points = given_model_points(refined=True)
    names = [point.name for point in points]
    assert len(set(names)) == len(names) and names[0] == "A on A, plain"
    assert {f"{name}{NETWORK_ALONE}" for name in names[: len(names) // 2]} == set(names[len(names) // 2 :])
    assert all(point.refine != point.name.endswith(NETWORK_ALONE) for point in points)
    for site in SITES:
        remedies = {point.name for point in points if point.site == site and point.refine}
        words = ("plain", "prepared", "matched", "prepared and matched", "translated", "fine-tuned")
        assert remedies == {f"A on {site}, {remedy}" for remedy in words}
        # What fine-tuning forgets is seen at home.
        assert f"A on A, fine-tuned at {site}" in names
    without = given_model_points(refined=False)
    assert not any(point.refine or point.name.endswith(NETWORK_ALONE) for point in without)
    assert [point.name for point in without] == names[: len(names) // 2]


def test_a_given_model_takes_the_students_place_and_no_student_is_trained(
    site: list[Path], knees: list[Path], place: TrainingPlace, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_model_sites, "load_rtk", lambda: None)
    monkeypatch.setattr(given_model_sites, "site_maker", lambda site: shown_by_site_b)
    monkeypatch.setattr(given_model_sites, "site_knees", lambda *given: site)
    monkeypatch.setattr(two_sites, "train_point", lambda *given: pytest.fail("a student was trained"))
    model = load_model(student)
    wanted = ["A on A, plain", "A on C, translated", "A on A, fine-tuned at C", "A on C, fine-tuned", "A on B, matched"]
    given = {"student": Method("student", lambda case, progress: pytest.fail("not asked"), {}, model=model)}
    request = Request(knees[0], methods=given, points=wanted, training=replace(place, steps=0))
    made = two_sites.plan(request)
    by_name = {point.name: point for point in made.points}
    assert set(by_name) == set(wanted) and all(point.method is not None for point in made.points)
    assert by_name["A on A, plain"].settings["site"] == "A"
    assert by_name["A on C, translated"].settings["site"] == SITES["C"].settings
    assert by_name["A on C, translated"].settings["translate"]["training"]["steps"] == 3
    tuned = by_name["A on C, fine-tuned"].settings["finetune"]
    assert tuned == by_name["A on A, fine-tuned at C"].settings["finetune"] and len(tuned["rehearsed"]) == 16
    assert by_name["A on B, matched"].settings["match"] and not by_name["A on A, plain"].settings["match"]
    words = " ".join(made.notes)
    assert "the model 'plain' on 3 labelled other knees of site C" in words and "beside site A's samples" in words
    assert (place.out / "style-c").is_dir() and (place.out / "fine-tuned-c").is_dir()


def test_students_need_steps(place: TrainingPlace) -> None:
    with pytest.raises(InputError, match="at least 1 step"):
        train_point(replace(place, steps=0), TrainingPoint("plain", 1, 0))
