"""From measures to a light with reasons, and the reference that they are held against."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk
from knee_model import knee_model, shadow_radiographs
from safetensors.numpy import save
from synthetic_knee import synthetic_knee
from trust_scenes import FEATURES, USUAL_SIZES, outlines, usual_measures, usual_reference
from vtkmodules.util.numpy_support import vtk_to_numpy

from SSRKDCore import cli
from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.cases import load_case
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.outline_distance import OutlineDistance
from SSRKDCore.geometry.presets import preset
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.model_folder import Model, ModelInput, load_model
from SSRKDCore.networks.model_settings import settings_identity
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.refinement import refine as refinement
from SSRKDCore.refinement.view_motion import ViewMotion
from SSRKDCore.trust import assessment, fit_reference
from SSRKDCore.trust.assessment import NOTHING, UNREFINED, Assessment, assess, judged, write_uncertainty
from SSRKDCore.trust.bone_sizes import SIZE_NAMES
from SSRKDCore.trust.case_measures import Encoded
from SSRKDCore.trust.fit_widening import room_records
from SSRKDCore.trust.flags import FLAG_NAMES, Flag, flags_of, light_of
from SSRKDCore.trust.limits import Limit
from SSRKDCore.trust.measure import measure
from SSRKDCore.trust.measured_page import page
from SSRKDCore.trust.measured_tables import tables
from SSRKDCore.trust.reference import (
    LEFT_OUT_PROVENANCE,
    LIMIT_NAMES,
    TrustReference,
    load_reference,
    reference_of,
    save_reference,
)
from SSRKDCore.trust.reliability import binned, write_reliability
from SSRKDCore.trust.stand_ins import exchanged
from SSRKDCore.trust.stated_geometry import Contradiction
from SSRKDCore.trust.view_motion_trials import population_trials
from SSRKDCore.trust.view_scales import ScaleDisagreement

#: What a page says of how it was made.
MADE = {
    "command": "python -m SSRKDCore.trust.measure --model compact",
    "commit": "abc1234",
    "date": "2026-11-30",
    "weights_sha256": "0123456789abcdef",
}


def _sizes(factor: float) -> dict[str, float]:
    return {name: factor * size for name, size in zip(SIZE_NAMES, USUAL_SIZES, strict=True)}


def test_nothing_speaks_against_a_usual_knee() -> None:
    found = judged(usual_measures(), usual_reference(), None, synthetic_knee(4.0))
    assert found.light == "green" and found.reasons == (NOTHING,)
    assert json.loads(json.dumps(found.to_dict()))["light"] == "green"


@pytest.mark.parametrize(
    ("changes", "flag", "light"),
    [
        ({"swapped": True}, "swapped_views", "red"),
        ({"scale": ScaleDisagreement(3.4, 0.0, 1.0, 0.5)}, "magnification", "red"),
        ({"scale": ScaleDisagreement(-2.5, 0.0, 1.0, 0.5)}, "magnification", "amber"),
        ({"scale": ScaleDisagreement(1.8, 0.0, 1.0, 0.5)}, "magnification", "green"),
        ({"scale": ScaleDisagreement(0.0, 4.0, 1.0, 0.5)}, "view_height", "red"),
        ({"scale": ScaleDisagreement(0.0, 2.0, 1.0, 0.5)}, "view_height", "amber"),
        ({"scale": ScaleDisagreement(0.0, 4.0, 1.0, 4.5)}, "view_height", "green"),
        ({"contradiction": Contradiction("ap", "magnification", -4.0)}, "stated_geometry", "red"),
        ({"contradiction": Contradiction("ap", "magnification", 1.0)}, "stated_geometry", "green"),
        ({"missing": ("femur",)}, "missing_bone", "red"),
        ({"missing": ("fibula",)}, "missing_bone", "amber"),
        ({"missing": ("fibula", "patella")}, "not_a_knee", "red"),
        ({"sizes": {**_sizes(1.0), "tibia_width": 20.0, "patella_height": 9.0}}, "not_a_knee", "red"),
        ({"pieces": 0.6}, "not_a_knee", "red"),
        ({"pieces": 0.05}, "not_a_knee", "green"),
        ({"metal_cm2": 12.0}, "implant", "red"),
        ({"metal_cm2": 2.0}, "implant", "amber"),
        ({"one_brightness": 0.42}, "lost_contrast", "red"),
        ({"one_brightness": 0.25}, "lost_contrast", "amber"),
        ({"one_brightness": 0.15}, "lost_contrast", "green"),
        ({"one_brightness": 0.42, "growth_plate": 0.2}, "child", "green"),
        ({"sizes": _sizes(0.7)}, "size", "red"),
        ({"sizes": _sizes(1.2)}, "size", "amber"),
        ({"sizes": _sizes(0.7), "growth_plate": 0.2}, "child", "red"),
        ({"growth_plate": 0.2}, "child", "amber"),
        ({"growth_plate": 0.2, "metal_cm2": 3.0}, "implant", "amber"),
        ({"features": np.full(FEATURES, 9.0)}, "unlike_training", "red"),
        ({"outlines": outlines(2.6)}, "outline", "red"),
        ({"outlines": outlines(None)}, "outline", "red"),
        ({"other_side": True}, "other_side", "amber"),
        ({"terms": {"femur": np.full((2, 6), 5.0)}}, "expected_error", "red"),
        ({"overruled": ("femur",)}, "against_the_network", "amber"),
    ],
)
def test_each_fault_has_its_flag(changes: dict[str, Any], flag: str, light: str) -> None:
    flags = {found.name: found for found in flags_of(usual_measures(**changes), usual_reference())}
    if light == "green":
        assert flag not in flags
        return
    assert flags[flag].light == light
    assert set(flags) <= set(FLAG_NAMES)
    assert all(found.sentence.strip().endswith((".", "?")) for found in flags.values())


def test_metal_is_not_claimed_where_the_leg_may_be_burnt_out() -> None:
    said = {
        share: next(
            flag.sentence
            for flag in flags_of(usual_measures(metal_cm2=47.0, one_brightness=share), usual_reference())
            if flag.name == "implant"
        )
        for share in (0.05, 0.25)
    }
    assert said[0.05].startswith("About 47 cm2 of metal hide the bones")
    assert "of metal hide" not in said[0.25] and "or a leg that is burnt out there" in said[0.25]


NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "flag", "light"),
    [
        ({"scale": ScaleDisagreement(NAN, 0.0, 1.0, 0.5)}, "unchecked_scale", "amber"),
        ({"scale": ScaleDisagreement(0.0, 0.0, NAN, 0.5)}, "unchecked_scale", "amber"),
        ({"scale": ScaleDisagreement(0.0, NAN, 1.0, 0.5)}, "view_height", "amber"),
        ({"scale": ScaleDisagreement(0.0, 0.0, 1.0, NAN)}, "view_height", "amber"),
        ({"motion": ViewMotion(NAN, 0.0, 1.0, 1.0)}, "view_angle", "amber"),
        ({"motion": ViewMotion(0.0, 0.0, NAN, 1.0)}, "view_angle", "amber"),
        ({"motion": ViewMotion(0.0, NAN, 1.0, 1.0)}, "view_roll", "amber"),
        ({"motion": ViewMotion(0.0, 0.0, 1.0, NAN)}, "view_roll", "amber"),
        ({"contradiction": Contradiction("ap", "magnification", NAN)}, "stated_geometry", "red"),
        ({"pieces": NAN}, "not_a_knee", "red"),
        ({"sizes": {**_sizes(1.0), "shaft_width": NAN}}, "not_a_knee", "red"),
        ({"metal_cm2": NAN}, "implant", "red"),
        ({"one_brightness": NAN}, "lost_contrast", "red"),
        ({"growth_plate": NAN}, "child", "amber"),
        ({"features": np.full(FEATURES, NAN)}, "unlike_training", "red"),
        ({"outlines": outlines(NAN)}, "outline", "red"),
        ({"terms": {"femur": np.full((2, 6), NAN)}}, "expected_error", "red"),
        # The bone that is not known must not hide behind one that is.
        ({"terms": {"tibia": np.full((2, 6), 0.5), "femur": np.full((2, 6), NAN)}}, "expected_error", "red"),
    ],
)
def test_what_is_not_a_number_was_not_measured_and_is_never_green(
    changes: dict[str, Any], flag: str, light: str
) -> None:
    measures = usual_measures(**changes)
    found = judged(replace(measures, terms={}), usual_reference(), None, {}) if "terms" not in changes else None
    flags = flags_of(measures, usual_reference())
    assert [(one.name, one.light) for one in flags] == [(flag, light)]
    assert "could not be measured" in flags[0].sentence and "nan" not in flags[0].sentence
    assert found is None or found.light == light


def test_a_limit_that_is_not_a_number_lets_nothing_pass(tmp_path: Path) -> None:
    assert Limit(1.0, NAN, NAN).light(0.5) == "red" and Limit(1.0, 2.0, 3.0).light(NAN) == "red"
    assert [Limit(1.0, 2.0, 3.0).light(value) for value in (2.0, 2.1, 3.0, 3.1)] == ["green", "amber", "amber", "red"]
    usual = usual_reference()
    limits = {**usual.limits, "images": Limit(1.0, NAN, 3.0)}
    for number, broken in enumerate((replace(usual, limits=limits), replace(usual, size_spread=NAN))):
        path = tmp_path / f"{number}.safetensors"
        save_reference(path, broken)
        # The writer leaves null, and whoever edits such a file may leave NaN.
        path.write_bytes(path.read_bytes().replace(b"null", b" NaN"))
        with pytest.raises(InputError, match="not finite"):
            load_reference(path)


def test_without_an_edge_near_the_outlines_it_is_red_with_or_without_a_reference() -> None:
    for mean in (None, NAN):
        flags = flags_of(usual_measures(outlines=outlines(mean)), None)
        assert [(flag.name, flag.light) for flag in flags] == [("outline", "red")]


def test_outlines_of_which_most_lie_near_no_edge_are_not_called_right() -> None:
    """The sample's radiographs at a fiftieth of their contrast: 28 of 2085 places, 0.4 mm off, and nothing known of the others."""
    for share, flagged in ((0.013, True), (0.49, True), (float("nan"), True), (0.51, False), (0.97, False)):
        distance = {"all": {"all": OutlineDistance(0.4, 1.3, 0.1, share, 2085)}}
        for reference in (usual_reference(), None):
            flags = flags_of(usual_measures(outlines=distance), reference)
            assert [(flag.name, flag.light) for flag in flags] == ([("outline", "amber")] if flagged else [])
    far = {"all": {"all": OutlineDistance(9.0, 9.0, 0.1, 0.2, 2085)}}
    assert [flag.light for flag in flags_of(usual_measures(outlines=far), usual_reference())] == ["red"]


def test_the_worst_flag_gives_the_light_and_comes_first() -> None:
    flags = flags_of(usual_measures(other_side=True, swapped=True), usual_reference())
    assert light_of(flags) == "red" and [flag.name for flag in flags] == ["swapped_views", "other_side"]
    assert light_of([]) == "green"
    amber = Flag("outline", "amber", "Something.")
    assert [light_of([amber] * count) for count in (1, 2, 3)] == ["amber", "amber", "red"]


@pytest.mark.parametrize(
    "scale",
    [
        None,
        ScaleDisagreement(5.0, 5.0, 6.0, 6.0),
        ScaleDisagreement(0.1, 0.0, 6.0, 0.5),
        ScaleDisagreement(1.8, 0.0, 1.5, 0.5),
    ],
)
def test_a_scale_that_the_images_cannot_tell_is_amber_and_said_in_words(scale: ScaleDisagreement | None) -> None:
    flags = flags_of(usual_measures(scale=scale), usual_reference())
    assert [(flag.name, flag.light) for flag in flags] == [("unchecked_scale", "amber")]
    assert "could not be checked" in flags[0].sentence and light_of(flags) == "amber"


def test_a_scale_that_is_wrong_beyond_all_doubt_is_judged_on_poor_images_too() -> None:
    # Known to 6 %.
    flags = flags_of(usual_measures(scale=ScaleDisagreement(-8.0, 0.0, 6.0, 2.0)), usual_reference())
    assert [(flag.name, flag.light) for flag in flags] == [("magnification", "red")]


def test_a_scale_that_is_not_known_is_none_of_three_unusual_things() -> None:
    unknown, amber = Flag("unchecked_scale", "amber", "Unknown."), Flag("outline", "amber", "Something.")
    assert light_of([unknown, amber, amber]) == "amber" and light_of([unknown, amber, amber, amber]) == "red"


def test_screws_are_not_taken_for_growth_plates() -> None:
    flags = [flag.name for flag in flags_of(usual_measures(growth_plate=0.3, metal_cm2=0.5), usual_reference())]
    assert "child" not in flags


def test_a_reference_survives_its_file(tmp_path: Path) -> None:
    reference, path = usual_reference(), tmp_path / "trust.safetensors"
    save_reference(path, reference)
    again = load_reference(path)
    measures = usual_measures(features=np.linspace(-2, 2, FEATURES))
    assert again.images.distance(measures.features) == pytest.approx(
        reference.images.distance(measures.features), rel=1e-4
    )
    assert again.limits == reference.limits and again.provenance == reference.provenance
    np.testing.assert_array_equal(again.errors["tibia"].weights, reference.errors["tibia"].weights)
    assert [item.name for item in tmp_path.iterdir()] == ["trust.safetensors"]


@pytest.mark.parametrize(
    "content", [b"", b"no safetensors", save({"x": np.zeros(2)}), save({"x": np.zeros(2)}, {"reference": "{}"})]
)
def test_damaged_references_are_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trust.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="fit_reference"):
        load_reference(path)


def test_a_reference_of_other_weights_is_refused(tmp_path: Path) -> None:
    rig = preset("room", "right", (2.0, 2.0), 215, 215)
    model = replace(knee_model(rig), path=tmp_path)
    with pytest.raises(InputError, match="brings no"):
        reference_of(model)
    save_reference(tmp_path / "trust.safetensors", replace(usual_reference(), model_sha256="1" * 64))
    with pytest.raises(InputError, match="other weights"):
        reference_of(model)
    save_reference(tmp_path / "trust.safetensors", usual_reference())
    assert reference_of(model).provenance == {"command": "a test"}
    # A shape prior changes the surfaces, so what was fitted without it no longer holds.
    refined = replace(model, card={**model.card, "shape_prior": {"sha256": "2" * 64}})
    with pytest.raises(InputError, match="shape prior"):
        reference_of(refined)
    corrected = replace(model, card={**model.card, "surface_correction": {"sha256": "3" * 64}})
    with pytest.raises(InputError, match="surface correction"):
        reference_of(corrected)


def test_a_reference_of_other_settings_is_refused(tmp_path: Path) -> None:
    rig = preset("room", "right", (2.0, 2.0), 215, 215)
    model = replace(knee_model(rig), path=tmp_path)
    usual = replace(model, input=ModelInput(standardisation={"method": "robust", "limit": 4.0}))
    save_reference(tmp_path / "trust.safetensors", replace(usual_reference(), settings_sha256=settings_identity(usual)))
    assert reference_of(usual).settings_sha256 == settings_identity(usual)
    same = replace(usual, input=ModelInput(standardisation={"limit": 4, "method": "robust"}))
    assert reference_of(same).model_sha256 == "0" * 64, "the same numbers, written otherwise"
    others = [
        replace(usual, input=replace(usual.input, intensity_scale=2.0)),
        replace(usual, input=replace(usual.input, background_weight=0.1)),
        replace(usual, input=ModelInput(standardisation={"method": "robust", "limit": 3.0})),
        replace(usual, config=replace(usual.config, sampling="published")),
        replace(usual, config=replace(usual.config, input_size=256)),
        replace(usual, segmenter=knee_model(rig)),
    ]
    for other in others:
        with pytest.raises(InputError, match="fitted with other settings"):
            reference_of(other)


def test_the_bundled_reference_holds_for_the_bundled_settings_alone(tmp_path: Path) -> None:
    folder = shutil.copytree(load_model().path, tmp_path / "compact")
    assert reference_of(load_model(folder)).settings_sha256 == "", "it was written before settings were recorded"
    for place, section, name, value in (
        (folder, "input", "intensity_scale", 1.5),
        (folder, "architecture", "input_size", 128),
        (folder / "segmenter", "input", "intensity_scale", 0.5),
    ):
        path = place / "model.json"
        before = read_json(path, "a model description")
        write_json(path, {**before, section: {**before[section], name: value}})
        with pytest.raises(InputError, match="fitted with other settings"):
            reference_of(load_model(folder))
        write_json(path, before)
    assert reference_of(load_model(folder)).limits


def test_without_a_reference_it_is_amber_at_best_and_a_failure_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = preset("room", "right", (2.0, 2.0), 215, 215)
    model, radiographs = knee_model(rig), shadow_radiographs(rig)
    kept: list[Encoded] = []
    result = reconstruct(radiographs, rig, model, 48, "cpu", encoded=lambda g, f: kept.append(Encoded(g, f)))
    found = assess(radiographs, rig, model, result, kept[0])
    assert found.light in ("amber", "red") and "not compared with the training" in found.reasons[-1]
    assert found.interval == {}
    assert assess(radiographs, rig, model, result, None).light == "red"

    def broken(*arguments: Any) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(assessment, "case_measures", broken)
    found = assess(radiographs, rig, model, result, kept[0])
    assert found.light == "red" and "out of luck" in found.reasons[0]


def test_uncertainty_goes_with_the_surface(tmp_path: Path) -> None:
    knee = synthetic_knee(4.0)
    measures = usual_measures(
        vertices={"femur": np.array([0, 50, 100])}, terms={"femur": np.diag([1.0, 2.0, 3.0]) @ np.full((3, 6), 1.0)}
    )
    found = judged(measures, usual_reference(), None, knee)
    assert len(found.expected["femur"]) == len(knee["femur"].vertices)
    np.testing.assert_allclose(found.interval["femur"], 2.5 * found.expected["femur"])
    assert write_uncertainty(tmp_path, found, knee) == {"femur": "femur_uncertainty.vtp"}
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(tmp_path / "femur_uncertainty.vtp"))
    reader.Update()
    data = reader.GetOutput()
    np.testing.assert_allclose(vtk_to_numpy(data.GetPoints().GetData()), knee["femur"].vertices, atol=1e-3)
    values = vtk_to_numpy(data.GetPointData().GetArray("interval95_mm"))
    np.testing.assert_allclose(values, found.interval["femur"], rtol=1e-5)
    assert write_uncertainty(tmp_path, Assessment("red", ("x",)), knee) == {}


def _records(count: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(5)
    records = []
    for index in range(count):
        terms = {bone: generator.uniform(0, 2, (50, 6)) for bone in BONE_NAMES}
        records.append(
            {
                "case": f"case{index}",
                "features": generator.normal(size=(3, 10)).tolist(),
                "sizes": (np.array(USUAL_SIZES) * np.exp(generator.normal(0, 0.05, 12))).tolist(),
                "changed": index % 2 == 1,
                "metal": "none",
                "growth_plate": 0.03,
                "outline": float(generator.uniform(0.9, 1.2)),
                "terms": {bone: part.tolist() for bone, part in terms.items()},
                "errors": {bone: (0.2 + part[:, 1]).tolist() for bone, part in terms.items()},
            }
        )
    records[3]["sizes"][4] = None
    return records


def test_the_fit_says_what_is_usual() -> None:
    reference = fit_reference.reference_from(_records(30), "a" * 64, {})
    assert set(reference.limits) == set(LIMIT_NAMES) and set(reference.errors) == set(BONE_NAMES)
    np.testing.assert_allclose(reference.errors["femur"].weights, [0.2, 0, 1, 0, 0, 0, 0], atol=0.02)
    assert reference.size_spread == pytest.approx(0.05 / np.sqrt(6), rel=0.4)


def test_the_fit_judges_by_nobody_whom_it_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _records(30)
    seen: list[tuple[set[str], set[str]]] = []
    usual = fit_reference._error_model

    def noted(bone: str, fitted: Any, others: Any) -> Any:
        seen.append(({record["case"] for record in fitted}, {record["case"] for record in others}))
        return usual(bone, fitted, others)

    monkeypatch.setattr(fit_reference, "_error_model", noted)
    fit_reference.reference_from(plain, "a" * 64, {})
    assert seen[0][1] == {f"case{index}" for index in range(30) if index // 2 % 3 == 2}
    # The legs of ann stand far apart in the list: the first decides for all.
    of_ann = [{**record, **({"subject": "ann"} if index in (1, 4, 28) else {})} for index, record in enumerate(plain)]
    fit_reference.reference_from(of_ann, "a" * 64, {})
    assert {"case1", "case4", "case28"} <= seen[-1][0] and not seen[-1][0] & seen[-1][1]


@pytest.mark.parametrize("held_out_only", [False, True])
def test_of_a_bone_whose_errors_no_case_shows_nothing_is_stated(tmp_path: Path, held_out_only: bool) -> None:
    records = _records(30)
    for index, record in enumerate(records):
        if not held_out_only or index // 2 % 3 == 2:
            record["errors"].pop("fibula")
    save_reference(tmp_path / "trust.safetensors", fit_reference.reference_from(records, "a" * 64, {}))
    reference = load_reference(tmp_path / "trust.safetensors")
    assert set(reference.errors) == set(BONE_NAMES) - {"fibula"}
    both = {name: np.zeros((2, 6)) for name in ("femur", "fibula")}
    measures = usual_measures(features=np.zeros(10), terms=both, vertices={name: np.array([0, 1]) for name in both})
    found = judged(measures, reference, None, synthetic_knee(4.0))
    assert found.light != "green" and "No error is stated of the fibula" in found.reasons[-1]
    assert set(found.interval) == set(found.figures["interval95_mm"]) == {"femur"}


def test_the_commands_refuse_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit_reference.main(["--model", "compact", "--cases", str(tmp_path), "--work", str(tmp_path / "w")]) == 2
    assert "holds no case" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_tables_count_flags_and_coverage(tmp_path: Path) -> None:
    reference = usual_reference()
    good = [
        {
            "kind": "good",
            "light": "green",
            "flags": {} if level < 3.0 else {"lost_contrast": "red"},
            "one_brightness": 0.15 * level,
            "expected_mm": {"femur": level},
            "error_mm": {"femur": 0.8 * level},
            "vertices": {"femur": {"expected": [level] * 4, "error": [0.1, level, 2.4 * level, 2.6 * level]}},
        }
        for level in (1.0, 2.0, 3.0)
    ]
    bad = [
        {"kind": "hand", "light": "red", "flags": {"not_a_knee": "red"}},
        {"kind": "hand", "light": "amber", "flags": {}},
    ]
    found = tables([*good, *bad], reference)
    assert found["coverage"]["femur"]["coverage"] == pytest.approx(0.75)
    assert found["rank_correlation"]["femur"]["spearman"] == pytest.approx(1.0)
    assert found["kinds"]["hand"]["lights"] == {"green": 0, "amber": 1, "red": 1}
    assert found["kinds"]["hand"]["flags"] == {"not_a_knee": 1}
    assert found["true_error_by_light"]["green"] == {"cases": 3, "mean_mm": pytest.approx(1.6)}
    assert found["brightness"]["largest_unflagged"] == pytest.approx(0.3)
    assert found["brightness"]["red"] == 1 and found["brightness"]["worst_bone_mm"] == pytest.approx([2.4, 2.4])
    assert "vertices" not in found["cases"][0]
    assert found["coverage_by_group"] == {"": {"cases": 3, "femur": pytest.approx(0.75)}}
    assert found["coverage"]["femur"]["coverage_of_population_factor"] is None
    entry = {
        LEFT_OUT_PROVENANCE: {
            "people": ["ann", "bob"],
            "cases": 6,
            "population_factors": {"femur": 1.0},
            "left_out_factors": {"femur": 2.5},
        }
    }
    calibrated = tables([{**record, "group": "room"} for record in good], replace(reference, provenance=entry))
    assert calibrated["coverage"]["femur"]["coverage_of_population_factor"] == pytest.approx(0.5)
    assert "| room | 3 | 75.0 % |" in page(calibrated, MADE) and "| femur | 3 | 75.0 % | 50.0 % |" in page(
        calibrated, MADE
    )
    assert "2 people left out" in page(calibrated, MADE) and "femur 1.00 and 2.50" in page(calibrated, MADE)
    assert "left out of the calibration too" not in page(calibrated, MADE)
    entry[LEFT_OUT_PROVENANCE]["held_for_each"] = {"femur": {"ann": 0.99, "bob": 0.84}, "tibia": {}}
    told = tables([{**record, "group": "room"} for record in good], replace(reference, provenance=entry))
    assert "| femur | 91.5 % | 84.0 % (bob) |" in page(told, MADE) and "| tibia |" not in page(told, MADE)
    text = page(found, MADE)
    assert "`python -m SSRKDCore.trust.measure --model compact`, 2026-11-30, commit abc1234, weights 01234567." in text
    assert "| hand | 2 | 0 | 1 | 1 | not_a_knee 1 |" in text and "| femur | 3 | 75.0 % | - |" in text
    middle, mean, high = binned(np.arange(100.0), np.arange(100.0))
    assert len(middle) == 10 and (high > mean).all() and mean == pytest.approx(middle)
    assert set(write_reliability(tmp_path, good, reference)) == {"reliability.png", "reliability.svg"}


def test_the_bundled_model_brings_a_reference_that_knows_the_sample(repository: Path) -> None:
    case = load_case(repository / "Resources" / "SampleCase")
    model = load_model()
    assert reference_of(model).limits["outline"].typical > 0
    radiographs = [read_radiograph(case.radiographs[view.name], None, case.intensity) for view in case.rig.views]
    found = []
    for images in (radiographs, exchanged(radiographs)):
        kept: list[Encoded] = []
        result = reconstruct(
            images, case.rig, model, 64, "cpu", encoded=lambda g, f, kept=kept: kept.append(Encoded(g, f))
        )
        found.append(assess(images, case.rig, model, result, kept[0]))
    assert "failed" not in found[0].figures and found[0].light != "red", found[0].reasons
    assert set(found[0].interval) == set(BONE_NAMES)
    assert found[1].light == "red" and found[1].figures["flags"]["swapped_views"] == "red"


def test_no_errors_are_stated_of_bones_that_were_not_refined_as_those_of_the_fit_were(repository: Path) -> None:
    found = judged(usual_measures(), usual_reference(), None, synthetic_knee(4.0), unrefined=True)
    assert found.light == "amber" and found.reasons == (UNREFINED,)
    case, model = load_case(repository / "Resources" / "SampleCase"), load_model()
    images = [read_radiograph(case.radiographs[view.name], None, case.intensity) for view in case.rig.views]
    kept: list[Encoded] = []
    result = reconstruct(
        images, case.rig, model, 48, "cpu", refine=False, encoded=lambda given, maps: kept.append(Encoded(given, maps))
    )
    found = assess(images, case.rig, model, result, kept[0])
    assert found.light != "green" and found.reasons[-1] == UNREFINED
    assert not found.expected and not found.interval
    assert not {"expected_error_mm", "interval95_mm"} & set(found.figures) and "measures" in found.figures


def test_no_error_is_stated_of_the_one_bone_that_stayed_as_the_network_saw_it(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = {name: np.full((2, 6), 0.5) for name in ("femur", "tibia")}
    measures = usual_measures(terms=terms, vertices={name: np.array([0, 1]) for name in terms})
    found = judged(measures, usual_reference(), None, synthetic_knee(4.0), unrefined_bones=["femur"])
    assert found.light == "amber" and found.reasons[0].startswith("The femur is the network's own")
    assert set(found.expected) == set(found.interval) == set(found.figures["interval95_mm"]) == {"tibia"}
    # Of the sample's network femur 77 % of the vertices lay within the interval of a refined one.
    monkeypatch.setattr(refinement, "LARGEST_MEAN_MOVE_MM", 1.2)
    case, model = load_case(repository / "Resources" / "SampleCase"), load_model()
    images = [read_radiograph(case.radiographs[view.name], None, case.intensity) for view in case.rig.views]
    kept: list[Encoded] = []
    result = reconstruct(
        images, case.rig, model, 48, "cpu", encoded=lambda given, maps: kept.append(Encoded(given, maps))
    )
    assert "femur" not in result.moved_mm and "tibia" in result.moved_mm
    found = assess(images, case.rig, model, result, kept[0])
    assert found.light != "green" and "The femur is the network's own" in found.reasons[-1]
    assert set(found.interval) == set(found.figures["expected_error_mm"]) == {"patella", "fibula", "tibia"}


def test_the_command_tells_its_trust_unless_told_not_to(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = repository / "Resources" / "SampleCase"
    words = ["reconstruct", "--ap", sample / "ap.dcm", "--lateral", sample / "lateral.dcm", "--resolution", 48]
    assert cli.main([*map(str, words), "--triangles", "2000", "--out", str(tmp_path / "judged")]) == 0
    report = json.loads((tmp_path / "judged" / "report.json").read_text(encoding="utf-8"))
    trust = report["trust"]
    assert trust["light"] in ("green", "amber", "red") and trust["reasons"] and report["timings_s"]["trust"] > 0
    assert f"Trust: {trust['light']}" in capsys.readouterr().out
    assert all((tmp_path / "judged" / name).is_file() for name in trust["uncertainty_files"].values())
    # The files' surfaces are the ones that were written, of as many triangles as asked for.
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(tmp_path / "judged" / "femur_uncertainty.vtp"))
    reader.Update()
    assert reader.GetOutput().GetNumberOfPolys() == report["bones"]["femur"]["triangles"] <= 2000
    assert cli.main([*map(str, words), "--no-trust", "--out", str(tmp_path / "plain")]) == 0
    assert "trust" not in json.loads((tmp_path / "plain" / "report.json").read_text(encoding="utf-8"))
    assert not list((tmp_path / "plain").glob("*_uncertainty.vtp"))


def test_what_was_measured_with_other_settings_of_a_model_is_not_gone_on_from(tmp_path: Path) -> None:
    """The weights are the same, and the reference was fitted again."""
    model = load_model()
    other = replace(model, input=replace(model.input, intensity_scale=2.0))
    first, second = (replace(usual_reference(), settings_sha256=settings_identity(given)) for given in (model, other))
    jobs: dict[str, Callable[[Model, TrustReference], object]] = {
        "measure": lambda given, reference: measure(given, reference, [], None, tmp_path / "measure", 0, 0),
        "widening": lambda given, reference: room_records(given, reference, [], 1, tmp_path / "widening"),
        "turns": lambda given, reference: population_trials(given, [], tmp_path / "turns", 0),
    }
    for job in jobs.values():
        job(model, first)
        job(model, first)
        with pytest.raises(InputError, match=r"run with other settings \(settings\)"):
            job(other, second)
