"""Intervals calibrated on people whom the shape prior has not seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from knee_model import knee_model
from simple_bones import write_simple_anatomy
from synthetic_knee import synthetic_knee
from trust_scenes import room, usual_reference

from SSRKDCore.errors import InputError
from SSRKDCore.networks.model_folder import Model, load_model, surface_correction_path
from SSRKDCore.networks.weights_file import sha256_of
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.refinement.shape_prior import read_shape_prior, shape_prior_of, write_shape_prior
from SSRKDCore.surface import Surface
from SSRKDCore.trust import left_out_people
from SSRKDCore.trust.error_model import held_for_each, interval_factor
from SSRKDCore.trust.left_out_people import calibrated, model_without, people_to_leave_out, scored_heights
from SSRKDCore.trust.reference import LEFT_OUT_PROVENANCE, load_reference, save_reference

# Expected errors of 1 mm everywhere.
_ONE = np.array([1.0, 0, 0, 0, 0, 0, 0])


def _terms(count: int) -> np.ndarray:
    return np.zeros((count, 6))


def test_the_factor_is_the_quantile_over_cases() -> None:
    errors = np.arange(1, 101) / 10.0
    assert interval_factor(_ONE, [_terms(100)], [errors]) == pytest.approx(9.5)
    # What is not known is left out.
    assert interval_factor(_ONE, [_terms(101)], [np.append(errors, np.nan)]) == pytest.approx(9.5)


def test_every_person_counts_the_same_however_many_cases_show_them() -> None:
    small, large = np.full(50, 0.5), np.full(50, 4.0)
    cases = [small] * 30 + [large]
    terms = [_terms(50)] * 31
    assert interval_factor(_ONE, terms, cases) == pytest.approx(0.5)
    assert interval_factor(_ONE, terms, cases, ["ann"] * 30 + ["bob"]) == pytest.approx(4.0)


def test_what_an_interval_holds_for_is_asked_of_each_person_with_the_others_interval() -> None:
    def tenths(largest: float) -> np.ndarray:
        return np.linspace(largest / 100, largest, 100)

    errors, people = [tenths(1.0), tenths(2.0), tenths(2.0), np.full(100, np.nan)], ["ann", "bob", "bob", "eve"]
    terms = [_terms(100)] * 4
    found = held_for_each(_ONE, terms, errors, people)
    # The other's 95 % lie within 1.9 for ann, and within 0.95 for bob, who has 47 of 100 there in either case.
    assert found == {"ann": pytest.approx(1.0), "bob": pytest.approx(0.47)}
    # Nobody's interval is smaller than the population's.
    assert held_for_each(_ONE, terms, errors, people, 1.5)["bob"] == pytest.approx(0.75)
    assert held_for_each(_ONE, terms[1:], errors[1:], people[1:]) == {}


def _record(person: str, error: float, bone: str = "femur") -> dict[str, Any]:
    return {
        "case": f"{person}_R",
        "person": person,
        "rig": "room",
        "terms": {bone: np.zeros((40, 6)).tolist()},
        "errors": {bone: [error] * 39 + [None]},
    }


def test_people_left_out_widen_an_interval_and_never_narrow_it(tmp_path: Path) -> None:
    # `usual_reference` expects 0.5 mm where all terms are 0, and states 2.5 times that.
    reference = usual_reference()
    records = [*(_record(person, 2.0) for person in ("ann", "bob")), *(_record("bob", 0.1, "tibia") for _ in range(2))]
    found = calibrated(reference, records)
    assert found.errors["femur"].factor == pytest.approx(4.0)
    assert found.errors["tibia"].factor == found.errors["patella"].factor == 2.5
    entry = found.provenance[LEFT_OUT_PROVENANCE]
    assert entry["held_for_each"] == {"femur": {"ann": 1.0, "bob": 1.0}, "tibia": {}}
    assert entry["people"] == ["ann", "bob"] and entry["cases"] == 4 and entry["population_factors"]["femur"] == 2.5
    np.testing.assert_array_equal(found.errors["femur"].weights, reference.errors["femur"].weights)
    # Again with other records: from the population's factors, not from the last calibration.
    save_reference(tmp_path / "trust.safetensors", found)
    again = calibrated(load_reference(tmp_path / "trust.safetensors"), [_record("ann", 1.5)])
    assert again.errors["femur"].factor == pytest.approx(3.0)


def test_a_scan_is_scored_up_to_its_flat_end_and_its_flaws() -> None:
    knee = synthetic_knee(3.0)
    femur, tibia = knee["femur"], knee["tibia"]
    top, bottom = femur.bounds[1, 2], tibia.bounds[0, 2]
    assert scored_heights("patella", knee["patella"], None) == (None, None)
    for matrix in (np.eye(4), np.diag([-1.0, 1.0, 1.0, 1.0])):
        assert scored_heights("femur", femur.transformed(matrix), 45.0) == (None, 45.0)
    low, high = scored_heights("tibia", _cut(tibia, bottom + 30.0, np.inf), None)
    assert high is None and low == pytest.approx(bottom + 30.0, abs=1.0)
    low, high = scored_heights("femur", _cut(femur, -np.inf, top - 30.0), 45.0)
    assert low is None and high == pytest.approx(min(45.0, top - 30.0), abs=1.0)


def _cut(surface: Surface, lowest: float, highest: float) -> Surface:
    """A bone that ends flat where it leaves these heights, closed."""
    vertices = surface.vertices.copy()
    vertices[:, 2] = np.clip(vertices[:, 2], lowest, highest)
    return Surface(vertices, surface.faces)


def _with_prior_of(people: list[str], model: Model, folder: Path) -> Model:
    """A model with the bundled prior, said to be of these people."""
    folder.mkdir()
    path = folder / "shape_prior.safetensors"
    bundled = read_shape_prior(load_model().path / path.name)
    bundled.card = {**bundled.card, "people": dict.fromkeys(people, 1.0), "excluded_subjects": []}
    write_shape_prior(bundled, path)
    return replace(
        model, path=folder, card={**model.card, "shape_prior": {"file": path.name, "sha256": sha256_of(path)}}
    )


def test_a_person_is_taken_out_of_the_prior_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, work = tmp_path / "anatomy", tmp_path / "work"
    data.mkdir()
    write_simple_anatomy(data)
    whole = _with_prior_of(["ann", "bob", "cat", "clouthier100"], knee_model(room("right")), tmp_path / "model")
    # A correction goes with the model, whoever is left out.
    (whole.path / "surface_correction.safetensors").write_bytes(b"its errors")
    whole.card["surface_correction"] = {"file": "surface_correction.safetensors", "sha256": "0" * 64}
    without = model_without(whole, "cat", data, work)
    assert without.card["surface_correction"] == whole.card["surface_correction"]
    copied = surface_correction_path(without)
    assert copied is not None and copied.parent != whole.path and copied.read_bytes() == b"its errors"
    prior = shape_prior_of(without)
    assert prior is not None and "cat" not in prior.card["people"] and "bob" in prior.card["people"]
    assert prior.card["excluded_subjects"] == ["cat"]
    assert without.network is whole.network
    # It is kept, and taken from there.
    monkeypatch.setattr(KneeShapeModel, "fit", None)
    assert model_without(whole, "cat", data, work).card == without.card
    # Another model's prior in the same folder is not taken for it.
    (work / "priors" / "cat").rename(work / "priors" / "bob")
    with pytest.raises(InputError, match="other people"):
        model_without(whole, "bob", data, work)
    with pytest.raises(InputError, match="no shape prior"):
        people_to_leave_out(knee_model(room("right")), data)
    with pytest.raises(InputError, match="whole knees of 2 people"):
        people_to_leave_out(whole, data)


def test_those_whom_the_model_is_measured_on_are_never_calibrated_on(shared_data: Path) -> None:
    people = people_to_leave_out(load_model(), shared_data)
    assert people == ["JIA_MRI", "MC22", "SPL_atlas", "pymskt_DESS"]


def test_the_command_refuses_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "compact", "--data", str(tmp_path), "--work", str(tmp_path / "work")]
    assert left_out_people.main(words) == 2
    assert capsys.readouterr().err.startswith("left_out_people: ")
    assert not (tmp_path / "work").exists()
