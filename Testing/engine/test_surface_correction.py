"""What refinement leaves wrong: described at anchors, learnt, applied on both sides, kept and refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from baseline_knee import MIRROR, baseline_model, baseline_rig
from baseline_knee import bone_radiographs as radiographs_of
from safetensors.numpy import load_file, save_file
from simple_bones import write_simple_anatomy
from training_cases import write_knee_case

from SSRKDCore.cases import load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.case_evaluation import reference_surfaces
from SSRKDCore.evaluation.exact_distances import signed_distances
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.model_folder import Model, add_surface_correction, load_model
from SSRKDCore.networks.surface_corrector import SurfaceCorrector
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.population.template import Template
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.reconstruction.report import reconstruction_report
from SSRKDCore.refinement.anchor_features import (
    FEATURES,
    SCALES_MM,
    Anchors,
    PlacedBone,
    anchor_features,
    chosen_anchors,
)
from SSRKDCore.refinement.refine import REFINED, Refinement, refine
from SSRKDCore.refinement.shape_prior import shape_prior_of
from SSRKDCore.refinement.surface_correction import (
    LARGEST_MM,
    SCHEMA,
    SurfaceCorrection,
    read_surface_correction,
    surface_correction_of,
    write_surface_correction,
)
from SSRKDCore.surface import Surface
from SSRKDCore.training import correction_examples as examples_module
from SSRKDCore.training import correction_on_people as on_people
from SSRKDCore.training import fit_surface_correction as command
from SSRKDCore.training.correction_examples import Examples
from SSRKDCore.training.correction_training import CorrectionTraining, left_errors, train
from SSRKDCore.training.poorer_priors import poorer_priors
from SSRKDCore.training.test_sets import TestSet
from SSRKDCore.trust.reference import model_identity, reference_of
from SSRKDCore.trust.training_observation import case_images
from SSRKDCore.vertex_normals import vertex_normals

_MODEL = baseline_model()
_GRID = Grid.cube((0.0, 0.0, 0.0), 160.0, 96)
_COUNTS = {"patella": 60, "femur": 90, "fibula": 50, "tibia": 90}
_ANCHORS = {
    name: Anchors.of(template, chosen_anchors(template, _COUNTS[name])) for name, template in _MODEL.templates.items()
}


def _correction(bias_mm: Mapping[str, float]) -> SurfaceCorrection:
    """Says the same everywhere on a bone, whatever it looks like."""
    network = SurfaceCorrector({name: len(_ANCHORS[name].vertices) for name in bias_mm}, FEATURES)
    for name, bias in bias_mm.items():
        corrector = network.bones[name]
        torch.nn.init.zeros_(corrector.layers[-1].weight)
        torch.nn.init.zeros_(corrector.layers[-1].bias)
        torch.nn.init.constant_(corrector.bias.weight, bias)
    return SurfaceCorrection({name: _ANCHORS[name] for name in bias_mm}, network.eval().requires_grad_(False), {})


def _knee(side: str) -> tuple[dict[str, Surface], Rig, list[Radiograph]]:
    """The shape model's mean knee: bones, rig and radiographs."""
    bones = _MODEL.surfaces(_MODEL.pca.mean)
    if side == "left":
        bones = {name: bone.transformed(MIRROR) for name, bone in bones.items()}
    rig = baseline_rig(side)
    images = [
        Radiograph(pixels=image, pixel_spacing=view.pixel_spacing, view=view.name, side=side)
        for image, view in zip(radiographs_of(bones, rig), rig.views, strict=True)
    ]
    return bones, rig, images


def _refined(side: str, correction: SurfaceCorrection | None) -> tuple[Refinement, dict[str, PlacedBone]]:
    bones, rig, images = _knee(side)
    placed: dict[str, PlacedBone] = {}
    found = refine(
        bones, images, rig, side, _MODEL, _GRID, correction=correction, placed=lambda n, b: placed.update({n: b})
    )
    return found, placed


def _volume_mm3(found: Refinement, label: int) -> float:
    return float((found.occupancy.labels == label).sum()) * float(np.prod(_GRID.spacing))


def test_anchors_are_even_and_weights_are_of_what_is_near() -> None:
    template = _MODEL.templates["femur"]
    chosen = chosen_anchors(template, 90)
    assert len(np.unique(chosen)) == 90 and chosen.max() < template.own_count
    places = template.vertices[chosen]
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e3 * np.eye(90)
    nearest = gaps.min(axis=1)
    assert nearest.min() > 0.4 * nearest.max()
    anchors = Anchors.of(template, chosen)
    assert len(anchors.around) == len(SCALES_MM) and anchors.spread.shape == (len(template.vertices), 90)
    sums = anchors.spread.sum(axis=1)
    assert sums.max() < 1.0 + 1e-5 and np.median(sums) > 0.9
    # A vertex takes nothing of an anchor that faces the other way, however near.
    normals = vertex_normals(template.vertices, template.faces)
    assert (anchors.spread[normals @ normals[chosen].T < 0.0] == 0.0).all()


def test_a_left_knee_is_described_as_the_right_one_that_it_mirrors() -> None:
    (_, right), (_, left) = _refined("right", None), _refined("left", None)
    assert set(right) == set(left) == set(_ANCHORS)
    for name, bone in right.items():
        first, second = (anchor_features(one, _ANCHORS[name]) for one in (bone, left[name]))
        assert first.shape == (_COUNTS[name], FEATURES) and np.isfinite(first).all()
        assert first.std(axis=0).max() > 0.1
        assert np.abs(first - second).max() < 0.05, name


def test_what_lies_beside_the_network_is_described_as_a_distance() -> None:
    _, placed = _refined("right", None)
    bone = placed["femur"]
    normals = vertex_normals(bone.surface.vertices, bone.surface.faces)
    inwards = replace(bone, surface=Surface(bone.surface.vertices - 1.0 * normals, bone.surface.faces))
    before, after = (anchor_features(one, _ANCHORS["femur"]) for one in (bone, inwards))
    seen = (before[:, 1] == 1) & (after[:, 1] == 1)
    assert seen.sum() > 40
    assert np.median((after - before)[seen, 0]) == pytest.approx(1.0, abs=0.15)
    assert np.median((after - before)[:, 2]) == pytest.approx(-1.0, abs=0.05)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_bone_moves_outwards_by_what_is_expected_and_others_stay(side: str) -> None:
    plain, placed = _refined(side, None)
    moved, _ = _refined(side, _correction({"femur": 0.8}))
    areas = {}
    for label in (1, 2, 3, 4):
        before, after = _volume_mm3(plain, label), _volume_mm3(moved, label)
        areas[label] = after - before
    changed = [label for label, difference in areas.items() if abs(difference) > 1500.0]
    assert len(changed) == 1 and areas[changed[0]] > 0
    bone = placed["femur"]
    surface = _correction({"femur": 0.8}).corrected("femur", bone)
    outwards = np.einsum(
        "ij,ij->i",
        surface.vertices - bone.surface.vertices,
        vertex_normals(bone.surface.vertices, bone.surface.faces),
    )
    assert np.median(outwards) == pytest.approx(0.8, abs=0.02) and outwards.min() >= -1e-6
    assert _correction({"femur": 0.8}).corrected("tibia", placed["tibia"]) is placed["tibia"].surface


def test_no_place_is_moved_further_than_the_limit_and_other_views_are_left_alone() -> None:
    _, placed = _refined("right", None)
    bone = placed["patella"]
    far = _correction({"patella": 50.0}).corrected("patella", bone)
    assert np.abs(far.vertices - bone.surface.vertices).max() < LARGEST_MM * 1.01
    one_view = replace(bone, images=bone.images[:1])
    assert _correction({"patella": 1.0}).corrected("patella", one_view) is bone.surface
    with pytest.raises(ValueError, match="1 views"):
        anchor_features(one_view, _ANCHORS["patella"])


def _examples(count: int, seed: int) -> dict[str, Examples]:
    """Errors of which a share is told by one feature, a share belongs to the place, and a share is noise."""
    generator = np.random.default_rng(seed)
    described = generator.normal(size=(count, 60, FEATURES)).astype(np.float16)
    place = np.sin(np.arange(60))
    errors = 0.5 * described[:, :, 7].astype(np.float32) + 0.6 * place + 0.1 * generator.normal(size=(count, 60))
    errors[:, :5] = np.nan
    looks = np.array(["plain", "usual room"])[np.arange(count) % 2]
    cases = np.array([f"case{index // 2}" for index in range(count)])
    return {"patella": Examples(described, errors.astype(np.float32), looks, cases)}


def test_what_can_be_learnt_is_learnt_and_holds_on_other_knees() -> None:
    network = train(_examples(200, 0), CorrectionTraining(steps=300, batch=1024))
    left = left_errors(network, _examples(40, 1))["patella"]
    assert set(left) == {"plain", "usual room", "all"} and left["all"]["exposures"] == 40
    assert left["all"]["after_mm"] < 0.5 * left["all"]["before_mm"]
    again = train(_examples(200, 0), CorrectionTraining(steps=300, batch=1024))
    for one, other in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(Cancelled):
        train(_examples(4, 0), CorrectionTraining(steps=2), cancelled=lambda: True)
    nothing = {"patella": replace(_examples(4, 0)["patella"], errors_mm=np.full((4, 60), np.nan, np.float32))}
    with pytest.raises(InputError, match="No case shows a patella"):
        train(nothing, CorrectionTraining(steps=2))


def _of_anchors(anchors: Mapping[str, Anchors]) -> dict[str, Examples]:
    """One exposure of a person, everywhere 1 mm too far in."""
    found = {}
    for name, of_bone in anchors.items():
        count = len(of_bone.vertices)
        described = np.zeros((1, count, FEATURES), np.float16)
        found[name] = Examples(described, np.ones((1, count), np.float32), np.array(["ann"]), np.array(["ann_R"]))
    return found


def _written(folder: Path) -> Path:
    path = folder / "surface_correction.safetensors"
    write_surface_correction(path, _correction({"femur": 0.8, "tibia": -0.3}))
    return path


def test_the_file_gives_the_same_correction(tmp_path: Path) -> None:
    read = read_surface_correction(_written(tmp_path), _MODEL.templates)
    assert set(read.anchors) == {"femur", "tibia"} and read.card["schema"] == SCHEMA
    described = np.zeros((_COUNTS["tibia"], FEATURES), np.float32)
    np.testing.assert_allclose(read.errors_mm("tibia", described), -0.3, atol=1e-3)
    np.testing.assert_array_equal(read.anchors["femur"].vertices, _ANCHORS["femur"].vertices)
    assert not list(tmp_path.glob(".*"))


def test_damaged_and_foreign_corrections_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "surface_correction.safetensors"
    with pytest.raises(InputError, match="does not exist"):
        read_surface_correction(path, _MODEL.templates)
    whole = _written(tmp_path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        read_surface_correction(path, _MODEL.templates)
    path.write_bytes(whole)
    arrays, card = load_file(path), {"card": json.dumps({"schema": SCHEMA})}
    for name, values in {
        "femur.vertices": arrays["femur.vertices"] + 10**6,
        "femur.places": arrays["femur.places"] + 1.0,
        "bones.femur.bias.weight": np.full_like(arrays["bones.femur.bias.weight"], np.nan),
        "bones.femur.usual": arrays["bones.femur.usual"][:-1],
    }.items():
        save_file({**arrays, name: values}, path, card)
        with pytest.raises(InputError, match="damaged, or of another shape prior"):
            read_surface_correction(path, _MODEL.templates)
    save_file(arrays, path, {"card": json.dumps({"schema": "something-else/1"})})
    with pytest.raises(InputError, match="no surface correction of this version"):
        read_surface_correction(path, _MODEL.templates)
    path.write_bytes(whole)
    template = _MODEL.templates["femur"]
    other = {**_MODEL.templates, "femur": Template(template.vertices * 1.01, template.faces, template.rim)}
    with pytest.raises(InputError, match="of another shape prior"):
        read_surface_correction(path, other)


def test_poorer_priors_lack_people_and_keep_the_meshes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "anatomy"
    data.mkdir()
    write_simple_anatomy(data)
    whole = KneeShapeModel.fit(data, ["cat"], tmp_path / "work" / "registrations")
    with pytest.raises(InputError, match="of too few"):
        poorer_priors(whole, REFINED, data, 1, tmp_path / "work", 0)
    whole.card.update(people={"ann": 2.0, "bob": 1.0, "cat": 1.0, "clouthier100": 1.0}, excluded_subjects=[])
    found = poorer_priors(whole, REFINED, data, 2, tmp_path / "work", 0)
    assert len(found) == 2
    for prior in found:
        out = set(prior.card["excluded_subjects"])
        assert out and out < {"ann", "bob", "cat"} and not out & set(prior.card["people"])
        for name in REFINED:
            np.testing.assert_allclose(
                prior.templates[name].vertices, whole.templates[name].vertices, rtol=0.0, atol=1e-2
            )
    # They are kept, and taken from there.
    lacking = [prior.card["excluded_subjects"] for prior in found]

    def refused(*given: object) -> None:
        raise InputError("No whole fibula is left.")

    monkeypatch.setattr(KneeShapeModel, "fit", refused)
    again = poorer_priors(whole, REFINED, data, 2, tmp_path / "work", 0)
    assert [prior.card["excluded_subjects"] for prior in again] == lacking
    with pytest.raises(InputError, match="Only 0 of 10 choices"):
        poorer_priors(whole, REFINED, data, 2, tmp_path / "other", 0)


def _bundled_with_a_correction(folder: Path, bias_mm: float = 0.5) -> Path:
    """A copy of the bundled model whose femurs are moved outwards everywhere."""
    shutil.copytree(load_model().path, folder)
    prior = shape_prior_of(load_model(folder))
    assert prior is not None
    anchors = Anchors.of(prior.templates["femur"], chosen_anchors(prior.templates["femur"], _COUNTS["femur"]))
    correction = replace(_correction({"femur": bias_mm}), anchors={"femur": anchors})
    source = folder.parent / f"{folder.name}.safetensors"
    write_surface_correction(source, correction)
    add_surface_correction(folder, source)
    return folder


def test_a_model_folder_brings_its_correction_and_no_other(tmp_path: Path) -> None:
    one, other = (load_model(_bundled_with_a_correction(tmp_path / str(bias), bias)) for bias in (0.5, 0.6))
    prior = shape_prior_of(one)
    assert prior is not None
    found = surface_correction_of(one, prior.templates)
    assert found is not None and surface_correction_of(one, prior.templates) is found
    assert surface_correction_of(other, prior.templates) is not found
    # A prior of other templates in the same folder: what was read for the one before is not taken for it.
    changed = replace(one, card={**one.card, "shape_prior": {**one.card["shape_prior"], "sha256": "0" * 64}})
    moved = {name: replace(template, vertices=template.vertices + 1.0) for name, template in prior.templates.items()}
    surface_correction_of(one, prior.templates)
    with pytest.raises(InputError, match="another shape prior"):
        surface_correction_of(changed, moved)
    # Trust belongs to the surfaces that it was fitted to.
    assert model_identity(one) != model_identity(other)
    with pytest.raises(InputError, match="another surface correction"):
        reference_of(one)
    without = replace(one, card={key: value for key, value in one.card.items() if key != "surface_correction"})
    assert surface_correction_of(without, prior.templates) is None
    with (one.path / "surface_correction.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match=r"not the surface correction.*--no-refine"):
        surface_correction_of(load_model(one.path), prior.templates)


def test_the_program_learns_from_cases_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(load_model().path, folder)
    cases = tmp_path / "cases"
    for index in range(2):
        write_knee_case(cases / f"case{index}", side=("right", "left")[index])
    bundled = shape_prior_of(load_model(folder))
    monkeypatch.setattr(command, "poorer_priors", lambda *given: [bundled])
    monkeypatch.setattr(command, "people_examples", lambda model, anchors, *given: _of_anchors(anchors))
    words = [
        "--model",
        str(folder),
        "--cases",
        str(cases),
        "--data",
        str(tmp_path),
        "--work",
        str(tmp_path / "work"),
        "--exposures",
        "1",
    ]
    assert command.main([*words, "--steps", "3"]) == 2
    assert "2 cases are too few" in capsys.readouterr().err
    monkeypatch.setattr(command, "FEWEST_CASES", 2)
    monkeypatch.setattr(command, "_HELD_OUT", 2)
    assert command.main([*words, "--steps", "3"]) == 0
    assert "femur" in capsys.readouterr().out
    model = load_model(folder)
    prior = shape_prior_of(model)
    assert prior is not None
    found = surface_correction_of(model, prior.templates)
    assert found is not None and found.card["training"]["cases"] == 1 and found.card["held_out"]["cases"] == 1
    told = found.card["people_left_out_of_the_prior"]["errors_at_anchors"]
    assert set(told) == set(REFINED) and told["tibia"]["ann"]["before_mm"] == 1.0
    # Examples are kept: nothing is reconstructed again.
    first = read_json(folder / "model.json", "a model description")["surface_correction"]["sha256"]
    monkeypatch.setattr(examples_module, "reconstruct", None)
    assert command.main([*words, "--steps", "3"]) == 0
    again = read_json(folder / "model.json", "a model description")["surface_correction"]["sha256"]
    assert load_model(folder).card["surface_correction"]["sha256"] == again and len(first) == len(again)


def test_held_out_cases_are_of_other_persons(tmp_path: Path) -> None:
    def held_out(*subjects: str | None) -> set[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return command._held_out([_named_case(folder / f"case{i:02}", name) for i, name in enumerate(subjects)])

    # Without persons every sixth case, as ever.
    assert held_out(*[None] * 13) == {"case05", "case11"}
    # Fay is the sixth person, and has a leg among the first cases' persons' others.
    assert held_out("ann", "bob", "cid", "dan", "eve", "fay", "gus", "ann", "fay", "bob") == {"case05", "case08"}
    assert held_out("ann", "bob", "ann", "bob") == {"case01", "case03"}
    with pytest.raises(InputError, match="All cases are of one person"):
        held_out("ann", "ann", "ann")


def _named_case(folder: Path, subject: str | None) -> Path:
    return write_knee_case(folder, provenance={} if subject is None else {"subject": subject})


def test_examples_of_a_model_with_other_settings_are_not_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(load_model().path, folder)
    cases = tmp_path / "cases"
    for index in range(2):
        write_knee_case(cases / f"case{index}")
    kept: list[Path] = []

    def stop(*given: object) -> None:
        kept.append(Path(str(given[5])))
        raise InputError("Stop here.")

    monkeypatch.setattr(command, "poorer_priors", lambda *given: [])
    monkeypatch.setattr(command, "correction_examples", stop)
    monkeypatch.setattr(command, "FEWEST_CASES", 2)
    for scale in (1.0, 1.0, 2.0):
        value = read_json(folder / "model.json", "a model description")
        value["input"]["intensity_scale"] = scale
        write_json(folder / "model.json", value)
        with pytest.raises(InputError, match="Stop here"):
            command.fit_surface_correction(folder, cases, tmp_path, tmp_path / "work")
    assert kept[0] == kept[1] != kept[2]


def test_people_are_described_with_a_prior_without_them_and_scored_where_their_bones_are_known(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model()
    prior = shape_prior_of(model)
    assert prior is not None
    shutil.copytree(repository / "Resources" / "SampleCase", tmp_path / "legs" / "ann_L")
    without: list[str] = []

    def left_out(given: Model, person: str, *rest: object) -> Model:
        without.append(person)
        return given

    monkeypatch.setattr(on_people, "people_to_leave_out", lambda *given: ["ann"])
    monkeypatch.setattr(on_people, "model_without", left_out)
    monkeypatch.setattr(on_people, "read_bone_sources", lambda data: [])
    monkeypatch.setattr(on_people, "unseen_legs", lambda *given: [TestSet("legs", tmp_path / "legs")])
    anchors = {"tibia": Anchors.of(prior.templates["tibia"], chosen_anchors(prior.templates["tibia"], 90))}
    found = on_people.people_examples(model, anchors, tmp_path, tmp_path / "work")
    assert without == ["ann"] and set(found) == {"tibia"}
    given = found["tibia"]
    assert given.looks.tolist() == ["ann"] and given.described.shape == (1, 90, FEATURES)
    known = np.isfinite(given.errors_mm)
    assert 0.3 < known.mean() < 1.0 and np.abs(given.errors_mm[known]).mean() < 1.5
    # Errors are signed: a truth 2 mm further out on all sides is 2 mm further out than before.
    truth = reference_surfaces(load_case(tmp_path / "legs" / "ann_L"))["tibia"]
    thick = Surface(truth.vertices + 2.0 * vertex_normals(truth.vertices, truth.faces), truth.faces)
    monkeypatch.setattr(on_people, "reference_surfaces", lambda case: {"tibia": thick})
    further = on_people.people_examples(model, anchors, tmp_path, tmp_path / "work")["tibia"].errors_mm
    assert np.nanmedian(further - given.errors_mm) == pytest.approx(2.0, abs=0.3)


def test_the_whole_chain_corrects_what_is_refined(repository: Path, tmp_path: Path) -> None:
    """The sample is a left knee: its femur grows by what the correction says, and what it does not speak of stays."""
    case = load_case(repository / "Resources" / "SampleCase")
    model = load_model(_bundled_with_a_correction(tmp_path / "model"))
    without = replace(model, card={key: value for key, value in model.card.items() if key != "surface_correction"})
    corrected, plain = (
        reconstruct(case_images(case), case.rig, one, resolution=96, device="cpu", side=case.side)
        for one in (model, without)
    )
    assert "femur" in corrected.moved_mm
    assert corrected.corrected_mm == {"femur": pytest.approx(0.5, abs=0.05)} and plain.corrected_mm == {}
    told = reconstruction_report(corrected, case_images(case), case.rig, model)["refinement"]
    assert told["mean_correction_mm"] == corrected.corrected_mm
    gap = signed_distances(corrected.surfaces["femur"].vertices, plain.surfaces["femur"])
    assert np.median(gap) == pytest.approx(0.5, abs=0.1)
    for name in ("tibia", "fibula"):
        here, there = (result.surfaces[name].volume for result in (corrected, plain))
        assert here == pytest.approx(there, rel=0.01)
    # Without refinement there is nothing to correct.
    alone, network = (
        reconstruct(case_images(case), case.rig, one, resolution=64, device="cpu", side=case.side, refine=False)
        for one in (model, without)
    )
    np.testing.assert_array_equal(alone.labels, network.labels)
