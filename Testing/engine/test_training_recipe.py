"""The recipe of the shipped model, the ablation's rows, and the card: every figure from a record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.model_folder import SURFACE_CORRECTION_NAME, add_surface_correction
from SSRKDCore.training import publish as publishing
from SSRKDCore.training.ablation import rows
from SSRKDCore.training.configuration import configuration
from SSRKDCore.training.model_evaluation import mean_over_bones, measured_table, summary
from SSRKDCore.training.publish import companions_of, sources
from SSRKDCore.training.recipe import STAGES, Recipe, Workplace, read_recipe, train
from SSRKDCore.training.settings import XrayTraining
from SSRKDCore.training.shipped_card import ShippedModel, card_of
from SSRKDCore.training.test_sets import unseen_legs

CONFIGURATIONS = ("compact",)


def _record(assd: float | None) -> dict[str, Any]:
    if assd is None:
        return {"failure": "was not found"}
    return {
        "exact_assd_mm": assd, "exact_hd_mm": 5 * assd, "exact_hd95_mm": 3 * assd, "dice": 0.9, "paper_assd_mm": assd + 0.3,
        "paper_hd_mm": 6 * assd, "failure": None,
    }  # fmt: skip


def _report(**bones: list[float | None]) -> dict[str, Any]:
    count = max(len(values) for values in bones.values())
    cases = {
        f"case{index}": {"bones": {name: _record(values[index]) for name, values in bones.items()}}
        for index in range(count)
    }
    return {"cases": cases}


def test_a_summary_counts_failures_and_keeps_the_worst_case() -> None:
    found = summary(_report(femur=[0.5, 0.7, None], tibia=[1.0, 1.0, 1.0]))
    assert found["femur"]["scored"] == 2 and found["femur"]["failed"] == 1
    assert found["femur"]["exact_assd_mm"] == pytest.approx(0.6)
    assert found["femur"]["worst_exact_assd_mm"] == 0.7 and found["femur"]["worst_paper_assd_mm"] == pytest.approx(1.0)
    assert "patella" not in found


def test_a_bone_that_was_never_found_leaves_no_flattering_mean() -> None:
    assert mean_over_bones(_report(femur=[0.5], tibia=[0.7]), "exact_assd_mm") == pytest.approx(0.6)
    report = _report(femur=[0.5], fibula=[None])
    assert mean_over_bones(report, "exact_assd_mm") is None
    table = measured_table({"set": report})
    assert "| set | fibula | 0 of 1 | - |" in table and "| set | femur | 1 | 0.50 |" in table


def test_the_rows_of_the_ablation_differ_in_their_parts_and_not_in_their_budget() -> None:
    found = rows(4)
    assert list(found) == ["labelled only", "+ pseudo labels", "+ distillation", "+ enhancement"]
    switches = [(row["pseudo_labels"], row["distillation"], row["enhancement"]) for row in found.values()]
    assert switches == [(False, False, False), (True, False, False), (True, True, False), (True, True, True)]
    assert {row["labelled_batch"] + row["unlabelled_batch"] for row in found.values()} == {4}
    for row in found.values():
        assert isinstance(
            configuration("xray", assignments=[f"{k}={json.dumps(v)}" for k, v in row.items()]).training, XrayTraining
        )


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_recipes_of_the_repository_can_be_read(repository: Path, name: str, tmp_path: Path) -> None:
    recipe = read_recipe(repository / "configs" / f"{name}.json")
    assert {"TLEM2_CT", "ICL_MRI"} <= set(recipe.population["excluded_subjects"])
    assert recipe.population["seed"] != recipe.population["test_seed"] and recipe.population["test_cases"] >= 40
    write_json(tmp_path / "training.json", dict(recipe.training))
    for stage in STAGES:
        assert configuration(stage, tmp_path / "training.json").training.step_count(10, 10) > 0
    changes = [f"{name}={json.dumps(value)}" for name, value in recipe.many_rooms.items()]
    assert configuration("xray", tmp_path / "training.json", assignments=changes).training.step_count(10, 10) > 0


def test_a_recipe_that_is_half_said_is_refused(repository: Path, tmp_path: Path) -> None:
    values = read_json(repository / "configs" / "compact.json", "a recipe")
    del values["population"]["seed"]
    write_json(tmp_path / "half.json", values)
    with pytest.raises(InputError, match="population must hold"):
        read_recipe(tmp_path / "half.json")


def test_the_student_goes_on_in_many_rooms_after_the_three_stages(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = read_json(repository / "configs" / "compact.json", "a recipe")
    values["many_rooms"] = {"steps": 7, "augmentation": "mixed"}
    write_json(tmp_path / "recipe.json", values)
    recipe = read_recipe(tmp_path / "recipe.json")
    assert recipe.runs == (*STAGES, "many_rooms")
    asked: list[list[str]] = []

    def trained(*words: object) -> None:
        asked.append([str(word) for word in words])
        folder = Path(asked[-1][asked[-1].index("--out") + 1]) / "model"
        folder.mkdir(parents=True)
        write_json(folder / "model.json", {})

    monkeypatch.setattr("SSRKDCore.training.recipe.run_command", trained)
    place = Workplace(tmp_path)
    train(recipe, place)
    assert [words[1] for words in asked] == ["segmenter", "ct", "xray", "xray"]
    last = asked[-1]
    assert last[last.index("--initial") + 1] == str(place.model("xray")) and "--initial" not in asked[-2]
    assert {"steps=7", 'augmentation="mixed"'} <= set(last) and last[-1] == str(place.run("many_rooms"))
    train(recipe, place)
    assert len(asked) == 4, "what is trained is kept"


def test_without_such_a_section_the_student_of_the_three_stages_is_the_model(tmp_path: Path, repository: Path) -> None:
    values = read_json(repository / "configs" / "compact.json", "a recipe")
    values.pop("many_rooms", None)
    write_json(tmp_path / "recipe.json", values)
    assert read_recipe(tmp_path / "recipe.json").runs == STAGES
    write_json(tmp_path / "recipe.json", {**values, "many_rooms": "yes"})
    with pytest.raises(InputError, match="many_rooms must be an object"):
        read_recipe(tmp_path / "recipe.json")


def test_an_unseen_subject_must_have_a_leg(tmp_path: Path) -> None:
    (tmp_path / "legs").mkdir()
    write_json(tmp_path / "manifest.json", {"items": []})
    with pytest.raises(InputError, match="no leg of ICL_MRI"):
        unseen_legs(tmp_path, ["ICL_MRI"], tmp_path / "out")


def test_sources_leave_out_the_excluded_and_what_is_for_evaluation(tmp_path: Path) -> None:
    def item(name: str, subject: str, use: str) -> dict[str, str]:
        return {"id": name, "subject": subject, "suggested_use": use, "source_repository": "a/b", "licence": "MIT"}

    items = [item("kept", "A", "train"), item("out", "B", "train"), item("oai", "C", "evaluate_only")]
    write_json(tmp_path / "manifest.json", {"items": items})
    assert sources(tmp_path, ["B"]) == {"a/b": {"licence": "MIT", "items": ["kept"]}}


def test_companions_of_another_model_are_both_there_or_refused(repository: Path, tmp_path: Path) -> None:
    bundled = repository / "Resources" / "Models" / "compact"
    found = companions_of(bundled)
    assert found.shape_prior.is_file() and found.style_reference.is_file() and found.shape_prior.parent == bundled
    (tmp_path / found.shape_prior.name).write_bytes(b"")
    with pytest.raises(InputError, match=f"{found.style_reference.name} is missing"):
        companions_of(tmp_path)


def _errors(before: float, after: float) -> dict[str, Any]:
    return {"exposures": 2, "before_mm": before, "after_mm": after}


_CORRECTION: dict[str, Any] = {
    "command": "python -m fit", "commit": "ccc9999", "date": "2026-01-04",
    "priors": {"count": 8, "people_left_out_share": [0.4, 0.75]}, "training": {"cases": 10, "exposures": 3},
    "held_out": {"cases": 2, "errors_at_anchors": {
        "patella": {"plain": _errors(0.611, 0.419), "all": _errors(1.0, 0.9)},
        "femur": {"plain": _errors(0.632, 0.512), "usual room": _errors(0.773, 0.647), "all": _errors(0.7, 0.6)},
    }},
    "people_left_out_of_the_prior": {"errors_at_anchors": {
        "patella": {"B_person": _errors(0.703, 0.582), "all": _errors(0.703, 0.582)},
        "femur": {"B_person": _errors(0.625, 0.631), "all": _errors(0.625, 0.631)},
    }},
}  # fmt: skip


def test_the_card_says_its_figures_and_their_origin(repository: Path) -> None:
    recipe = read_recipe(repository / "configs" / "compact.json")
    record = {"budget": {"steps": 1234, "seconds": 660.0, "device": "cpu"}}
    training = {
        "date": "2026-01-02",
        "commit": "abc1234",
        "remark": "by hand.",
        "stages": dict.fromkeys(STAGES, record),
    }
    ablation = {
        "steps": 77, "cases_in_a_step": 2, "labelled_cases": 5, "unlabelled_cases": 6, "command": "make ablation", "commit": "def",
        "date": "2026-01-03", "measured_on": ["unseen legs, room"],
        "rows": {
            "labelled only": {"exact_assd_mm": {"unseen legs, room": 1.5}},
            "+ pseudo labels": {"exact_assd_mm": {"unseen legs, room": None}},
        },
    }  # fmt: skip
    shipped = ShippedModel(
        "compact", Recipe(Path("configs/compact.json"), recipe.population, {}), training,
        {"synthetic, room": _report(femur=[0.41, 0.55])}, {"synthetic, room": _report(femur=[0.71, 0.85])},
        {"a/b": {"licence": "CC BY-NC 4.0", "items": ["x", "y"]}}, ablation, _CORRECTION,
    )  # fmt: skip
    text = " ".join(card_of(shipped).split())
    for words in (
        "not a medical device", "| synthetic, room | femur | 2 | 0.48 |", "| xray | 1234 | 11 | cpu |", "abc1234", "by hand.",
        "a/b: CC BY-NC 4.0 (2 items)", "| labelled only | 1.50 |", "a bone was not found", "TLEM2_CT, ICL_MRI",
        "| synthetic, room | 0.78 | 0.48 |", "is not recorded for this copy", "Children, casts, severe deformity",
        "from 10 synthetic knees more, 3 exposures each, refined with 8 shape priors that lack 40 to 75 % of the people", "ccc9999",
        "| cases | patella | femur |", "| 2 held-out knees, plain | 0.61, 0.42 | 0.63, 0.51 |",
        "| 2 held-out knees, usual room | - | 0.77, 0.65 |", "| left out of the prior: B_person | 0.70, 0.58 | 0.62, 0.63 |",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("last", "words", "unseen"),
    [
        (True, "many_rooms: changed in grey values, blur and noise.", "Children, casts, severe"),
        ("mixed", "many_rooms: half of them exposed anew by physics", "Casts: as simulated shells only."),
        ("physics", "many_rooms: exposed anew by physics.", "Casts: as simulated shells only."),
    ],
)
def test_the_card_says_how_training_images_looked(repository: Path, last: bool | str, words: str, unseen: str) -> None:
    looks = {"segmenter": False, "ct": True, "xray": True, "many_rooms": last}
    stages = {run: {"settings": {"augmentation": value}} for run, value in looks.items()}
    training = {"date": "2026-01-02", "commit": "abc1234", "remark": "by hand.", "stages": stages}
    recipe = read_recipe(repository / "configs" / "compact.json")
    text = " ".join(card_of(ShippedModel("compact", recipe, training, {}, {}, {}, None)).split())
    assert "segmenter: as they are; xray: changed in grey values, blur and noise; " in text and "ct:" not in text
    assert words in text and unseen in text and "brings no surface correction" in text


def test_a_correction_is_taken_from_a_folder_of_the_same_model_and_learnt_for_any_other(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = repository / "Resources" / "Models" / "compact"
    recipe, place = read_recipe(repository / "configs" / "compact.json"), Workplace(tmp_path / "work")
    learnt: list[Path] = []
    monkeypatch.setattr(publishing, "make_correction_population", lambda *given: None)
    monkeypatch.setattr(publishing, "fit_surface_correction", lambda folder, *given: learnt.append(folder))
    same, saved = (Path(shutil.copytree(bundled, tmp_path / name)) for name in ("same", "saved"))
    (tmp_path / "correction").write_bytes(b"its errors")
    add_surface_correction(same, tmp_path / "correction")
    given = companions_of(bundled)
    data = tmp_path / "anatomy"
    taken = publishing.with_correction(given, same, recipe, place, data, saved)
    assert taken.surface_correction == same / SURFACE_CORRECTION_NAME and not learnt
    # Another shape prior makes other surfaces; no folder brings none.
    description = read_json(saved / "model.json", "a model description")
    description["shape_prior"]["sha256"] = "0" * 64
    write_json(saved / "model.json", description)
    for source in (same, None):
        made = publishing.with_correction(given, source, recipe, place, data, saved)
        assert made.surface_correction == saved / SURFACE_CORRECTION_NAME
    assert learnt == [saved, saved]
