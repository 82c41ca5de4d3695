"""Intervals on images unlike the training's: wider by as much as errors were larger in rooms that the training never saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_knee import synthetic_knee
from training_cases import write_knee_case
from trust_scenes import FEATURES, usual_measures, usual_reference

from SSRKDCore.errors import InputError
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.training.case_volume import load_case_volume
from SSRKDCore.trust import fit_widening as command
from SSRKDCore.trust import training_observation
from SSRKDCore.trust.assessment import judged
from SSRKDCore.trust.case_measures import CaseMeasures
from SSRKDCore.trust.fit_widening import with_widening
from SSRKDCore.trust.flags import expected_errors, flags_of
from SSRKDCore.trust.other_rooms import ROOMS, exposure_in_another_room, room_observation
from SSRKDCore.trust.reference import WIDENING_PROVENANCE, TrustReference, load_reference, reference_of, save_reference
from SSRKDCore.trust.training_images import exposure_of_volume
from SSRKDCore.trust.widening import FEWEST_IN_GROUP, fit_widening, widened


def _cases(count: int, seed: int) -> tuple[list[float], list[list[np.ndarray]]]:
    """Cases whose errors, in half widths that hold for 95 % of usual ones, are three times as large beyond a strangeness of 1.5."""
    generator = np.random.default_rng(seed)
    strangeness = generator.uniform(0.4, 2.5, count)
    scores = [
        [np.abs(generator.normal(0.0, (3.0 if value > 1.5 else 1.0) / 1.96, 300)) for _ in range(4)]
        for value in strangeness
    ]
    return strangeness.tolist(), scores


def test_the_stated_share_holds_for_new_strange_images_and_usual_ones_are_left_alone() -> None:
    widening = fit_widening(*_cases(160, 1))
    assert widened(widening, 0.7) == widened(widening, 1.0 - 1e-9) == 1.0
    assert widened(widening, 1.2) < 1.6 and widened(widening, 2.4) == pytest.approx(3.0, rel=0.1)
    assert widened(widening, 40.0) == widened(widening, 2.4)
    strangeness, scores = _cases(160, 2)
    for low, high in ((0.4, 1.0), (1.0, 1.5), (1.7, 2.5)):
        held = [
            np.mean([bone <= widened(widening, value) for bone in bones])
            for value, bones in zip(strangeness, scores, strict=True)
            if low < value <= high
        ]
        assert len(held) > 20 and np.mean(held) > 0.94


def test_multiples_never_fall_and_are_never_below_one() -> None:
    generator = np.random.default_rng(0)
    strangeness = np.linspace(1.1, 3.0, 3 * FEWEST_IN_GROUP)
    sizes = np.repeat([0.2, 5.0, 2.0], FEWEST_IN_GROUP)
    widening = fit_widening(strangeness.tolist(), [[size * generator.random(50)] for size in sizes])
    assert len(widening) == 3 and widening[0].tolist() == [1.0, 1.0]
    assert widening[1, 1] == widening[2, 1] == pytest.approx(4.75, rel=0.05)


def test_bones_and_cases_count_the_same_whatever_their_vertices() -> None:
    few, many = np.full(5, 4.0), np.full(5000, 0.5)
    widening = fit_widening([2.0] * FEWEST_IN_GROUP, [[few, many]] * FEWEST_IN_GROUP)
    assert widening.tolist() == [[1.0, 4.0]]


def test_few_strange_cases_teach_nothing() -> None:
    strangeness = [0.5] * 50 + [2.0] * (FEWEST_IN_GROUP - 1)
    assert fit_widening(strangeness, [[np.ones(3)]] * len(strangeness)).shape == (0, 2)


def _record(strangeness: float, error: float) -> dict[str, Any]:
    return {
        "case": "a",
        "room": 0,
        "strangeness": strangeness,
        "terms": {"femur": np.zeros((40, 6)).tolist()},
        "errors": {"femur": [error] * 39 + [None]},
    }


def test_a_reference_keeps_what_widens_it(tmp_path: Path) -> None:
    """Expected 0.5 mm and an interval of 1.25 mm without any terms: an error of 5 mm is four times that."""
    reference = usual_reference()
    records = [_record(1.5, 5.0)] * FEWEST_IN_GROUP + [_record(0.5, 0.1), {"case": "b", "room": 1, "refused": "dark"}]
    found = with_widening(reference, records)
    assert found.widening.tolist() == [[1.0, 4.0]]
    entry = found.provenance[WIDENING_PROVENANCE]
    assert (entry["exposures"], entry["refused"], entry["strange"], entry["strangest"]) == (12, 1, 10, 1.5)
    # Fitting it again starts from the plain intervals.
    assert with_widening(found, records).widening.tolist() == [[1.0, 4.0]]
    save_reference(tmp_path / "trust.safetensors", found)
    assert load_reference(tmp_path / "trust.safetensors").widening.tolist() == [[1.0, 4.0]]
    save_reference(tmp_path / "older.safetensors", reference)
    assert (
        load_reference(tmp_path / "older.safetensors").widened(usual_measures(features=np.full(FEATURES, 9.0))) == 1.0
    )
    with pytest.raises(InputError, match="0 of 1 exposures are unlike the training's"):
        with_widening(reference, [_record(0.5, 0.1)])


def test_strange_images_widen_errors_intervals_and_words_and_usual_ones_do_not() -> None:
    plain = usual_reference()
    reference = replace(plain, widening=np.array([[1.0, 4.0]]))
    terms = {"femur": np.zeros((30, 6))}
    usual, strange = (usual_measures(features=np.full(FEATURES, value), terms=terms) for value in (0.0, 3.0))

    def said(measures: CaseMeasures, by: TrustReference) -> tuple[float, float, str]:
        words = " ".join(flag.sentence for flag in flags_of(measures, by))
        return expected_errors(measures, by)["femur"], by.widened(measures), words

    assert said(usual, reference) == said(usual, plain)
    (wide, multiple, words), (narrow, one, before) = said(strange, reference), said(strange, plain)
    assert (wide, multiple, one) == (pytest.approx(4 * narrow), 4.0, 1.0)
    assert "4.0 times as much as where" in words and "times as much" not in before
    # Bones of no knee on usual images are strange as well.
    sizes = {name: value * (1.6 if number % 2 else 0.7) for number, (name, value) in enumerate(usual.sizes.items())}
    misshapen = replace(usual, sizes=sizes)
    assert reference.widened(misshapen) == 4.0 and reference.strangeness(usual) < 1 < reference.strangeness(misshapen)


def test_the_assessment_states_the_widened_errors() -> None:
    ball = synthetic_knee(4.0)["patella"]
    terms, vertices = {"femur": np.zeros((20, 6))}, {"femur": np.arange(20)}
    reference = replace(usual_reference(), widening=np.array([[1.0, 4.0]]))
    for value, multiple in ((0.0, 1.0), (3.0, 4.0)):
        measures = usual_measures(features=np.full(FEATURES, value), terms=terms, vertices=vertices)
        found = judged(measures, reference, None, {"femur": ball})
        assert found.figures["widened"] == multiple
        assert found.expected["femur"] == pytest.approx(np.full(len(ball.vertices), 0.5 * multiple))
        assert found.interval["femur"] == pytest.approx(2.5 * found.expected["femur"])
        assert found.figures["interval95_mm"]["femur"] == pytest.approx(1.25 * multiple)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_knee_case(tmp_path_factory.mktemp("cases") / "right-knee")


def test_both_views_come_from_one_room_and_bones_and_rig_stay(case: Path) -> None:
    volume = load_case_volume(case)
    plain = exposure_of_volume(volume, np.random.default_rng([5, 0, 1]), False)
    exposure = exposure_in_another_room(volume, 5, 0, 1)
    assert exposure.rig == plain.rig and exposure.side == "right" and exposure.changed
    for before, after in zip(plain.radiographs, exposure.radiographs, strict=True):
        assert after.pixels.shape == before.pixels.shape and np.isfinite(after.pixels).all()
        assert not np.allclose(after.pixels, before.pixels)
        # Another room, and the same leg.
        assert np.corrcoef(after.pixels.ravel(), before.pixels.ravel())[0, 1] > 0.5
    again, other = exposure_in_another_room(volume, 5, 0, 1), exposure_in_another_room(volume, 5, 0, 1 + len(ROOMS))
    assert np.array_equal(again.radiographs[0].pixels, exposure.radiographs[0].pixels)
    assert not np.array_equal(other.radiographs[0].pixels, exposure.radiographs[0].pixels)


def test_an_observation_holds_what_the_fit_needs_of_either_end(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled model, its own reference, and a knee of simple bones: whatever it makes of them, terms and errors belong together."""
    model = load_model(None)
    found = room_observation(case, model, reference_of(model), 5, 0, 1)
    assert (found["case"], found["room"]) == ("right-knee", 1) and found["strangeness"] > 0
    assert set(found["errors"]) <= set(found["terms"]) and found["errors"]
    for bone, errors in found["errors"].items():
        assert found["terms"][bone].shape == (len(errors), 6) and np.isfinite(errors).any()

    def refuse(*_: Any, **__: Any) -> None:
        raise InputError("nothing is seen")

    monkeypatch.setattr(training_observation, "reconstruct", refuse)
    refused = room_observation(case, model, reference_of(model), 5, 0, 1)
    assert refused == {"case": "right-knee", "room": 1, "refused": "nothing is seen"}


def test_the_command_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two cases in six rooms; the third exposure fails once."""
    for name in ("a", "b", "unlabelled-c"):
        (tmp_path / "cases" / name).mkdir(parents=True)
        (tmp_path / "cases" / name / "case.json").write_text("{}")
    asked: list[tuple[str, int]] = []

    def observed(folder: Path, model: Any, reference: Any, seed: int, index: int, room: int) -> dict[str, Any]:
        if (folder.name, room) == ("a", 1) and asked.count(("a", 1)) == 0:
            asked.append(("a", 1))
            raise KeyboardInterrupt
        asked.append((folder.name, room))
        return _record(1.5, 5.0)

    model = type("model", (), {"path": tmp_path, "name": "toy"})()
    monkeypatch.setattr(command, "load_model", lambda name: model)
    monkeypatch.setattr(command, "reference_of", lambda model: usual_reference())
    monkeypatch.setattr(command, "room_observation", observed)
    words = ["--model", "toy", "--cases", str(tmp_path / "cases"), "--rooms", "6", "--work", str(tmp_path / "work")]
    assert command.main(words) == 130 and not (tmp_path / "trust.safetensors").exists()
    assert command.main(words) == 0
    assert asked == [("a", 0), ("b", 0), ("a", 1), *[(name, room) for room in range(1, 6) for name in ("a", "b")]]
    assert load_reference(tmp_path / "trust.safetensors").widening.tolist() == [[1.0, 4.0]]
    assert "errors are 4.00 times as large" in capsys.readouterr().out
    assert command.main([*words, "--count", "0"]) == 2
