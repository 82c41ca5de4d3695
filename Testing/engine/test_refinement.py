"""Refinement: the shape prior's file, the fit to network and edges, and a result that is never worse hidden than said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from baseline_knee import MIRROR, baseline_model, baseline_rig, bone_radiographs
from knee_model import knee_model
from safetensors.numpy import load_file, save_file

from SSRKDCore.anatomy import BONES
from SSRKDCore.cases import save_case
from SSRKDCore.cli import main
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.exact_distances import surface_distances
from SSRKDCore.evaluation.methods import load_method
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.json_files import read_json
from SSRKDCore.networks import model_folder
from SSRKDCore.networks.model_folder import load_model, save_model
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.pipeline import reconstruct
from SSRKDCore.reconstruction.refined_bones import RefinedBones, refined_bones
from SSRKDCore.refinement import shape_prior
from SSRKDCore.refinement.doubted_network import CLEARLY, outline_cost
from SSRKDCore.refinement.local_deformation import deformed
from SSRKDCore.refinement.network_bones import NetworkBone
from SSRKDCore.refinement.refined_volume import RefinedBone, refined_occupancy
from SSRKDCore.refinement.shape_prior import SCHEMA, read_shape_prior, shape_prior_of, write_shape_prior
from SSRKDCore.shape_fit.contour_match import mesh_edges
from SSRKDCore.shape_fit.fitted_knee import FittedKnee
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import write_surface
from SSRKDCore.vertex_normals import vertex_normals

_MODEL = baseline_model()
_GRID = Grid.cube((0.0, 0.0, 0.0), 160.0, 96)
_REFINED = ("patella", "femur", "tibia")


def _true_knee() -> dict[str, Surface]:
    """Bent by 8 degrees, off the middle, and of another shape than the mean."""
    knee = FittedKnee(_MODEL, np.zeros(3), 3)
    step = np.zeros(knee.count)
    step[:6] = 0.03, -0.04, 0.05, 4.0, -3.0, 2.0
    step[6:12] = 0.02, 0.01, -0.02, 0.5, -0.5, 0.5
    step[24:] = 0.02, 1.0, -0.8, 1.0
    return knee.surfaces(knee.start(8.0).moved(step))


def _as_a_network_sees(bones: dict[str, Surface], amplitude_mm: float = 1.5) -> dict[str, Surface]:
    """Too thick or too thin by up to 1.5 mm, in waves: what a network does that nobody doubts."""
    seen = {}
    for name, bone in bones.items():
        normals = vertex_normals(bone.vertices, bone.faces)
        wave = amplitude_mm * np.sin(bone.vertices @ np.array([0.09, 0.07, 0.08]) + 0.5)
        seen[name] = Surface(bone.vertices + wave[:, None] * normals, bone.faces)
    return seen


def _radiographs(bones: dict[str, Surface], rig: Rig, side: str) -> list[Radiograph]:
    return [
        Radiograph(pixels=image, pixel_spacing=view.pixel_spacing, view=view.name, side=side, source_path=view.name)
        for image, view in zip(bone_radiographs(bones, rig), rig.views, strict=True)
    ]


def _error(found: Surface, truth: Surface) -> float:
    return surface_distances(found, truth, FieldOfView((0.0, 0.0, 0.0), 154.0).bounds, 1.0).assd


def _refined(side: str) -> tuple[dict[str, Surface], dict[str, Surface], RefinedBones]:
    """True bones, what the network saw, and the refinement, of a knee of that side."""
    truth = _true_knee()
    seen = _as_a_network_sees(truth)
    if side == "left":
        truth, seen = ({n: s.transformed(MIRROR) for n, s in bones.items()} for bones in (truth, seen))
    rig = baseline_rig(side)
    return truth, seen, refined_bones(seen, _radiographs(truth, rig, side), rig, side, _MODEL, _GRID)


@pytest.fixture(scope="module")
def right() -> tuple[dict[str, Surface], dict[str, Surface], RefinedBones]:
    return _refined("right")


@pytest.mark.parametrize("side", ["right", "left"])
def test_refined_bones_are_nearer_the_truth_than_the_networks(side: str) -> None:
    truth, seen, result = _refined(side)
    assert result.warnings == ()
    for name in _REFINED:
        before, after = _error(seen[name], truth[name]), _error(result.surfaces[name], truth[name])
        assert before > 0.7, name
        assert after < 0.6 * before, name
        between = _error(result.surfaces[name], seen[name])
        assert result.moved_mm[name] == pytest.approx(between, rel=0.3), name


def test_the_fibula_stays_as_the_network_saw_it(
    right: tuple[dict[str, Surface], dict[str, Surface], RefinedBones],
) -> None:
    _, seen, result = right
    assert "fibula" not in result.moved_mm
    assert _error(result.surfaces["fibula"], seen["fibula"]) < 0.2


def test_surfaces_are_closed_apart_and_agree_with_the_labels(
    right: tuple[dict[str, Surface], dict[str, Surface], RefinedBones],
) -> None:
    result = right[2]
    assert result.labels is not None
    voxel = float(np.prod(_GRID.spacing))
    for bone in BONES:
        surface = result.surfaces[bone.name]
        assert surface.is_closed()
        assert surface.volume == pytest.approx(np.count_nonzero(result.labels == bone.label) * voxel, rel=0.03)


def test_a_bone_that_the_network_did_not_find_is_not_invented() -> None:
    truth = _true_knee()
    seen = {**_as_a_network_sees(truth), "patella": Surface.empty()}
    rig = baseline_rig()
    result = refined_bones(seen, _radiographs(truth, rig, "right"), rig, "right", _MODEL, _GRID)
    assert result.surfaces["patella"].is_empty
    assert _error(result.surfaces["femur"], truth["femur"]) < _error(seen["femur"], truth["femur"])


def test_a_bone_of_another_shape_is_kept_and_named() -> None:
    truth = _true_knee()
    seen = _as_a_network_sees(truth)
    tibia = seen["tibia"].vertices
    # A shaft as thick as the plateau is nothing that the model knows.
    factor = 1.0 + 2.0 * np.clip((-tibia[:, 2] - 10.0) / 20.0, 0.0, 1.0)
    seen["tibia"] = Surface(tibia * np.stack([factor, factor, np.ones(len(tibia))], axis=1), seen["tibia"].faces)
    rig = baseline_rig()
    # The radiographs show it too: nothing in them speaks for a knee of the model's.
    images = _radiographs({**truth, "tibia": seen["tibia"]}, rig, "right")
    result = refined_bones(seen, images, rig, "right", _MODEL, _GRID)
    assert any(words.startswith("The tibia is the network's own") for words in result.warnings)
    assert "tibia" not in result.moved_mm and "femur" in result.moved_mm
    assert _error(result.surfaces["tibia"], seen["tibia"]) < 0.3


@pytest.mark.parametrize("side", ["right", "left"])
def test_where_the_radiographs_contradict_the_network_the_edges_decide_and_that_is_said(side: str) -> None:
    """Bones with waves of 4 mm are no knee of the shape model's, and the radiographs show where bones are."""
    truth = _true_knee()
    seen = _as_a_network_sees(truth, 4.0)
    if side == "left":
        truth, seen = ({n: s.transformed(MIRROR) for n, s in bones.items()} for bones in (truth, seen))
    rig = baseline_rig(side)
    result = refined_bones(seen, _radiographs(truth, rig, side), rig, side, _MODEL, _GRID)
    assert {"femur", "tibia", "patella"} <= set(result.overruled)
    for name in result.overruled:
        assert _error(result.surfaces[name], truth[name]) < 0.5 * _error(seen[name], truth[name]), name
        assert result.moved_mm[name] > 1.0, name
    assert any("lie beside the edges" in words and "femur by" in words for words in result.warnings)


def test_radiographs_that_show_little_of_a_knee_do_not_speak_against_the_network() -> None:
    truth = _true_knee()
    seen = _as_a_network_sees(truth, 4.0)
    rig = baseline_rig()
    images = _radiographs({"patella": truth["patella"]}, rig, "right")
    assert refined_bones(seen, images, rig, "right", _MODEL, _GRID).overruled == ()


def test_a_network_that_agrees_with_the_shape_model_is_never_overruled() -> None:
    truth = _true_knee()
    rig = baseline_rig()
    assert refined_bones(truth, _radiographs(truth, rig, "right"), rig, "right", _MODEL, _GRID).overruled == ()


def test_the_cost_of_an_outline_grows_with_its_distance_from_edges() -> None:
    truth = _true_knee()["femur"]
    rig = baseline_rig()
    images = [
        EdgeImage.of(image.pixels, np.ones(image.pixels.shape), view, 0.8)
        for image, view in zip(_radiographs(_true_knee(), rig, "right"), rig.views, strict=True)
    ]
    edges = mesh_edges(truth.faces, len(truth.vertices))
    field_of_view = FieldOfView((0.0, 0.0, 0.0), 160.0)
    costs = []
    for shift in (0.0, 1.0, 2.0, 3.0):
        moved = Surface(truth.vertices + np.array([shift, shift, 0.0]), truth.faces)
        cost = outline_cost(moved, edges, images, field_of_view)
        assert cost is not None
        costs.append(cost)
    assert costs == sorted(costs) and costs[-1] > costs[0] + CLEARLY
    assert (
        outline_cost(Surface(truth.vertices + np.array([900.0, 0.0, 0.0]), truth.faces), edges, images, field_of_view)
        is None
    )


def test_a_shaft_ends_where_the_network_saw_it_end() -> None:
    truth = _true_knee()
    seen = _as_a_network_sees(truth)
    tibia = seen["tibia"]
    cut = Surface(np.column_stack([tibia.vertices[:, :2], np.maximum(tibia.vertices[:, 2], -45.0)]), tibia.faces)
    rig = baseline_rig()
    result = refined_bones({**seen, "tibia": cut}, _radiographs(truth, rig, "right"), rig, "right", _MODEL, _GRID)
    lowest = result.surfaces["tibia"].vertices[:, 2].min()
    assert lowest == pytest.approx(-45.0, abs=_GRID.spacing[2])
    assert result.surfaces["tibia"].is_closed()


def test_without_a_side_or_without_edges_the_networks_bones_stay_and_the_reason_is_said() -> None:
    truth = _true_knee()
    rig = baseline_rig()
    images = _radiographs(truth, rig, "right")
    unknown = refined_bones(truth, images, rig, None, _MODEL, _GRID)
    assert unknown.labels is None and "side is unknown" in unknown.warnings[0]
    blank = [replace(image, pixels=np.full_like(image.pixels, 2.0)) for image in images]
    nothing = refined_bones(truth, blank, rig, "right", _MODEL, _GRID)
    assert nothing.labels is None and "no edges" in nothing.warnings[0]


def test_bones_far_from_any_knee_are_left_alone() -> None:
    rig = baseline_rig()
    truth = _true_knee()
    point = Surface(1e-3 * truth["patella"].vertices + 70.0, truth["patella"].faces)
    result = refined_bones({"patella": point}, _radiographs(truth, rig, "right"), rig, "right", _MODEL, _GRID)
    assert result.labels is None
    assert "network's own" in result.warnings[0]


def test_a_thin_bone_that_is_too_thin_everywhere_is_inflated() -> None:
    """Displacements of opposite sides of a shaft point away from one another, and still belong together."""
    thin = _MODEL.surfaces(_MODEL.pca.mean)["fibula"]
    normals = vertex_normals(thin.vertices, thin.faces)
    thick = Surface(thin.vertices + 1.2 * normals, thin.faces)
    everywhere = np.arange(len(thin.vertices))
    result = deformed(
        thin,
        everywhere,
        mesh_edges(thin.faces, len(thin.vertices)),
        NetworkBone.of(thick),
        (),
        FieldOfView((0, 0, 0), 160.0),
    )
    assert _error(result, thick) < 0.3 * _error(thin, thick)


def test_a_sample_belongs_to_the_bone_that_it_lies_deeper_in() -> None:
    patella = _MODEL.surfaces(_MODEL.pca.mean)["patella"]
    centred = Surface(patella.vertices - patella.vertices.mean(axis=0), patella.faces)
    grid = Grid.cube((0.0, 0.0, 0.0), 100.0, 80)
    # Mirror images of one another, so that the plane between them is where both are as deep.
    one = Surface(centred.vertices - [8.0, 0.0, 0.0], centred.faces)
    up = np.array([0.0, 0.0, 1.0])
    bones = {
        name: RefinedBone(bone, up, float("inf"))
        for name, bone in {"femur": one, "tibia": one.transformed(MIRROR)}.items()
    }
    labels = refined_occupancy(bones, grid).labels
    x = grid.axes[0]
    femur, tibia = (labels == {bone.name: bone.label for bone in BONES}[name] for name in ("femur", "tibia"))
    assert one.vertices[:, 0].max() > 3.0
    assert np.flatnonzero(femur.any(axis=(0, 1))).max() == np.flatnonzero(x < 0).max()
    assert np.flatnonzero(tibia.any(axis=(0, 1))).min() == np.flatnonzero(x > 0).min()


def test_the_priors_file_gives_the_same_knees(tmp_path: Path) -> None:
    path = tmp_path / "shape_prior.safetensors"
    write_shape_prior(_MODEL, path)
    read = read_shape_prior(path)
    coefficients = np.array([1.5, -2.0, 0.7])
    expected = _MODEL.surfaces(_MODEL.vector(coefficients))
    for name, surface in read.surfaces(read.vector(coefficients)).items():
        assert np.abs(surface.vertices - expected[name].vertices).max() < 0.02, name
        np.testing.assert_array_equal(surface.faces, expected[name].faces)


def test_damaged_and_foreign_priors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "shape_prior.safetensors"
    with pytest.raises(InputError, match="does not exist"):
        read_shape_prior(path)
    write_shape_prior(_MODEL, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        read_shape_prior(path)
    path.write_bytes(whole)
    arrays = load_file(path)
    card = {"card": json.dumps({"schema": SCHEMA})}
    save_file({**arrays, "femur.faces": arrays["femur.faces"] + 10**6}, path, card)
    with pytest.raises(InputError, match="damaged"):
        read_shape_prior(path)
    save_file({**arrays, "mean": np.full_like(arrays["mean"], np.nan)}, path, card)
    with pytest.raises(InputError, match="damaged"):
        read_shape_prior(path)
    save_file(arrays, path, {"card": json.dumps({"schema": "something-else/1"})})
    with pytest.raises(InputError, match="no shape prior of this version"):
        read_shape_prior(path)


def _model_folder(tmp_path: Path, prior: bool) -> Path:
    network = knee_model(baseline_rig())
    path = tmp_path / "prior.safetensors"
    write_shape_prior(_MODEL, path)
    return save_model(
        tmp_path / "model", network.network, network.config, name="toy", shape_prior=path if prior else None
    )


def test_a_model_folder_brings_its_prior_and_no_other(tmp_path: Path) -> None:
    folder = _model_folder(tmp_path, prior=True)
    prior = shape_prior_of(load_model(folder))
    assert prior is not None and len(prior.pca.modes) == 3
    with (folder / "shape_prior.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match=r"not the shape prior.*--no-refine"):
        shape_prior_of(load_model(folder))


def test_another_thread_that_reads_another_prior_takes_none_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TakenOver(dict):  # type: ignore[type-arg]
        def __setitem__(self, key: object, value: object) -> None:
            super().__setitem__(key, value)
            self.clear()

    monkeypatch.setattr(shape_prior, "_read", TakenOver())
    found = shape_prior_of(load_model(_model_folder(tmp_path, prior=True)))
    assert found is not None and len(found.pca.modes) == 3


def test_a_folder_without_prior_is_not_refined(tmp_path: Path) -> None:
    assert shape_prior_of(load_model(_model_folder(tmp_path, prior=False))) is None


def test_the_whole_chain_refines_only_when_asked(tmp_path: Path) -> None:
    """The toy network sees a knee of capsules whatever it is shown, so that refinement has to say what it did with it."""
    rig = baseline_rig()
    model = knee_model(rig)
    folder = _model_folder(tmp_path, prior=True)
    model = replace(model, path=folder, card=load_model(folder).card)
    images = _radiographs(_true_knee(), rig, "right")
    plain = reconstruct(images, rig, model, resolution=64, device="cpu", refine=False)
    assert plain.moved_mm == {} and plain.network_surfaces is None and "refine" not in plain.timings
    asked = reconstruct(images, rig, model, resolution=64, device="cpu")
    assert asked.timings["refine"] > 0
    told = [words for words in asked.warnings if "without refinement" in words]
    found = [name for name in _REFINED if not asked.surfaces[name].is_empty]
    assert len(asked.moved_mm) + len(told) >= 1
    if asked.moved_mm:
        assert asked.network_surfaces is not None
        found += [name for name in ("fibula",) if name in asked.moved_mm]
        assert len(asked.moved_mm) + len(told) == len(found)
        for name in asked.moved_mm:
            assert not np.array_equal(asked.surfaces[name].vertices, asked.network_surfaces[name].vertices)


def test_methods_and_reports_say_whether_bones_were_refined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _model_folder(tmp_path, prior=True)
    refined, alone = (load_method(kind, str(folder), 64, "cpu") for kind in ("model", "network"))
    assert refined.settings["shape_prior"] == load_model(folder).card["shape_prior"]
    assert "shape_prior" not in alone.settings and alone.name == f"{refined.name}, network alone"

    rig = baseline_rig()
    network = knee_model(rig)
    seeing = replace(network, path=folder, card=load_model(folder).card)
    monkeypatch.setattr(model_folder, "load_model", lambda name=None: seeing)
    truth = _true_knee()
    case = tmp_path / "cases" / "knee"
    case.mkdir(parents=True)
    for view, image in zip(rig.views, bone_radiographs(truth, rig), strict=True):
        sitk.WriteImage(sitk.GetImageFromArray(image), str(case / f"{view.name}.nrrd"))
    for name, bone in truth.items():
        write_surface(case / f"{name}.ply", bone)
    names = {view.name: f"{view.name}.nrrd" for view in rig.views}
    save_case(case, "knee", "right", rig, names, "line_integral", {name: f"{name}.ply" for name in truth})

    reports = {}
    for choice in ("--refine", "--no-refine"):
        out = tmp_path / choice
        words = ["evaluate", "--cases", str(case.parent), "--out", str(out), "--resolution", "64", "--device", "cpu"]
        assert main([*words, choice]) == 0
        reports[choice] = read_json(out / "report.json", "a report")
    assert [reports[choice]["model"]["refined"] for choice in reports] == [True, False]
    assert all(report["model"]["prepared"] for report in reports.values())
    assert "--no-refine" in reports["--no-refine"]["command"]
    errors = [report["cases"]["knee"]["bones"]["femur"]["exact_assd_mm"] for report in reports.values()]
    assert errors[0] != errors[1]
