"""The SSM baseline: parameters and their derivatives, contours, and fits of knees that the model itself made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from baseline_knee import MIRROR, baseline_model, baseline_rig, bone_radiographs

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.cases import load_case, save_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.baselines.ssm import fitted_bones, ssm_method
from SSRKDCore.evaluation.baselines.ssm_case import SeenCase, as_right_knee
from SSRKDCore.evaluation.case_evaluation import evaluate_case
from SSRKDCore.evaluation.exact_distances import surface_distances
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.shape_fit.contour_match import grazed_points, mesh_edges
from SSRKDCore.shape_fit.fitted_knee import FittedKnee, KneeState
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage
from SSRKDCore.surface import Surface

_MODEL = baseline_model()


def _true_state(knee: FittedKnee) -> KneeState:
    """Bent by 6 degrees, 7 mm from the middle, each bone a little out of its place, and of another shape."""
    step = np.zeros(knee.count)
    step[:6] = 0.04, -0.05, 0.06, 5.0, -4.0, 3.0
    step[6:12] = 0.02, 0.01, -0.03, 0.5, -0.5, 0.8
    step[18:24] = 0.03, 0.02, -0.02, 1.0, -1.0, 2.0
    step[24:] = 0.03, 1.2, -0.8, 1.0
    return knee.start(6.0).moved(step)


def _true_knee() -> dict[str, Surface]:
    knee = FittedKnee(_MODEL, np.zeros(3), 3)
    return knee.surfaces(_true_state(knee))


def _error(found: Surface, truth: Surface) -> float:
    box = FieldOfView((0.0, 0.0, 0.0), 160.0).bounds
    return surface_distances(found, truth, box, 1.0).assd


def test_the_start_is_the_models_mean_knee() -> None:
    knee = FittedKnee(_MODEL, np.array([3.0, 4.0, 5.0]), 3)
    expected = _MODEL.surfaces(_MODEL.pca.mean)
    for name, vertices in knee.vertices(knee.start(0.0)).items():
        np.testing.assert_allclose(vertices, expected[name].vertices + np.array([3.0, 4.0, 5.0]), atol=1e-9)


def test_bending_moves_the_foot_backwards_and_keeps_the_femur_half() -> None:
    knee = FittedKnee(_MODEL, np.zeros(3), 0)
    straight, bent = knee.vertices(knee.start(0.0)), knee.vertices(knee.start(30.0))
    foot = np.argmin(straight["tibia"][:, 2])
    hip = np.argmax(straight["femur"][:, 2])
    assert bent["tibia"][foot, 1] > straight["tibia"][foot, 1] + 20.0
    assert bent["femur"][hip, 1] > straight["femur"][hip, 1] + 20.0


def test_derivatives_are_those_of_finite_differences() -> None:
    knee = FittedKnee(_MODEL, np.zeros(3), 3)
    state = _true_state(knee)
    generator = np.random.default_rng(2)
    for name in BONE_NAMES:
        count = len(_MODEL.templates[name].vertices)
        first, second = generator.integers(0, count, (2, 20))
        share, directions = generator.random(20), generator.normal(size=(20, 3))
        found = knee.derivative(name, state, first, second, share, directions)
        for parameter in range(knee.count):
            step = np.zeros(knee.count)
            step[parameter] = 1e-5
            there, here = (knee.vertices(state.moved(sign * step))[name] for sign in (1.0, -1.0))
            change = (there - here) / 2e-5
            points = change[first] * (1.0 - share[:, None]) + change[second] * share[:, None]
            np.testing.assert_allclose(found[:, parameter], (points * directions).sum(axis=1), atol=2e-4)


def test_the_contour_of_a_ball_is_the_circle_that_rays_graze() -> None:
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    source = vtkSphereSource()
    source.SetRadius(20.0)
    source.SetThetaResolution(60)
    source.SetPhiResolution(60)
    source.Update()
    ball = Surface.from_vtk(source.GetOutput())
    focus = np.array([0.0, -1000.0, 0.0])
    points = grazed_points(ball, mesh_edges(ball.faces, len(ball.vertices)), focus, FieldOfView((0, 0, 0), 100.0))
    rays = points.positions - focus
    assert len(points.positions) > 60
    np.testing.assert_allclose(np.einsum("ij,ij->i", rays, points.normals), 0.0, atol=1e-9)
    # Tangent points lie at a height r^2 / d in front of the middle.
    np.testing.assert_allclose(points.positions[:, 1], -(20.0**2) / 1000.0, atol=0.15)


def test_edges_are_found_along_normals_in_millimetres_at_the_bone() -> None:
    rig = baseline_rig()
    truth = _true_knee()
    image = bone_radiographs(truth, rig)[0]
    view = rig.views[0]
    edge_image = EdgeImage.of(image, np.ones(image.shape), view, 1.0)
    femur, template = truth["femur"], _MODEL.templates["femur"]
    points = grazed_points(
        femur, mesh_edges(template.faces, template.own_count), np.array(view.source), FieldOfView((0, 0, 0), 140.0)
    )
    distance, weight = edge_image.along_normals(points.positions, points.normals, 8.0)
    assert (weight > 0).mean() > 0.8
    # The steepest place lies under the rim, within a pixel (1 mm at the bone).
    assert -1.0 < np.median(distance[weight > 0]) < 0.3
    # From further in, the same edge is found; nearer places are preferred, so its distance is a little short.
    within, _ = edge_image.along_normals(points.positions - 3.0 * points.normals, points.normals, 8.0)
    assert 1.5 < np.median(within[weight > 0]) < 3.0


@pytest.fixture(scope="module")
def fitted_right() -> dict[str, Surface]:
    rig = baseline_rig()
    fit, bones = fitted_bones(_MODEL, SeenCase("right", rig, bone_radiographs(_true_knee(), rig)), starts=(0.0,))
    assert fit.matched_share > 0.8
    return bones


def test_a_knee_of_the_model_is_recovered_from_its_silhouettes(fitted_right: dict[str, Surface]) -> None:
    truth = _true_knee()
    knee = FittedKnee(_MODEL, np.zeros(3), 3)
    start = knee.surfaces(knee.start(0.0))
    for name in BONE_NAMES:
        assert _error(start[name], truth[name]) > 2.0
        assert _error(fitted_right[name], truth[name]) < 0.6, name


def test_a_left_knee_is_the_mirror_image(fitted_right: dict[str, Surface]) -> None:
    mirrored = {name: bone.transformed(MIRROR) for name, bone in _true_knee().items()}
    rig = baseline_rig("left")
    seen = SeenCase("left", as_right_knee(rig, "left"), bone_radiographs(mirrored, rig))
    _, bones = fitted_bones(_MODEL, seen, starts=(0.0,))
    for name in BONE_NAMES:
        assert bones[name].volume > 0
        expected = fitted_right[name].transformed(MIRROR)
        assert np.abs(bones[name].vertices - expected.vertices).max() < 0.05, name


def _written_case(folder: Path, images: tuple[np.ndarray, ...]) -> Path:
    folder.mkdir()
    rig = baseline_rig()
    names = {view.name: f"{view.name}.nrrd" for view in rig.views}
    for view, image in zip(rig.views, images, strict=True):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image), str(folder / names[view.name]))
    save_case(folder, "toy", "right", rig, names, "line_integral")
    return folder


def _blank(shape: tuple[int, ...]) -> np.ndarray:
    return (2.0 + 0.005 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


def test_a_blank_radiograph_fails_with_a_reason(tmp_path: Path) -> None:
    _MODEL.save(tmp_path / "model.npz")
    images = bone_radiographs(_true_knee(), baseline_rig())
    folder = _written_case(tmp_path / "case", (images[0], _blank(images[1].shape)))
    job = ssm_method(tmp_path / "model.npz")
    with pytest.raises(InputError, match=r"lateral.*blank"):
        job(load_case(folder), lambda fraction, words: None)


def test_noise_without_bone_fails_with_a_reason() -> None:
    rig = baseline_rig()
    rows = np.linspace(1.0, 2.0, 250)[:, None] * np.ones((1, 250))
    smooth = rows.astype(np.float32)
    with pytest.raises(InputError, match=r"contours lie on edges|outside the field of view"):
        fitted_bones(_MODEL, SeenCase("right", rig, (smooth, smooth)), starts=(0.0,))


def test_a_fit_can_be_cancelled(tmp_path: Path) -> None:
    _MODEL.save(tmp_path / "model.npz")
    folder = _written_case(tmp_path / "case", bone_radiographs(_true_knee(), baseline_rig()))
    job = ssm_method(tmp_path / "model.npz", cancelled=lambda: True)
    with pytest.raises(Cancelled):
        job(load_case(folder), lambda fraction, words: None)


def test_a_model_of_another_kind_is_no_segmenter(tmp_path: Path, repository: Path) -> None:
    _MODEL.save(tmp_path / "model.npz")
    with pytest.raises(InputError, match="segmenter"):
        ssm_method(tmp_path / "model.npz", repository / "Resources" / "Models" / "compact")


def test_a_simulated_real_shape_is_nearer_than_the_mean_knee(repository: Path) -> None:
    path = repository / "training-runs" / "compact" / "shape_model.npz"
    if not path.is_file():
        pytest.skip("the shape model of `make model` is absent: training-runs/compact/shape_model.npz")
    sample = repository / "Resources" / "SampleCase"
    result = evaluate_case(sample, ssm_method(path, starts=(0.0,)))
    assert result.failure is None
    case = load_case(sample)
    seen = SeenCase(case.side, as_right_knee(case.rig, case.side), ())
    knee = FittedKnee(KneeShapeModel.load(path), np.array(seen.field_of_view.center), 0)
    mean = seen.given_back(knee.surfaces(knee.start(0.0)))
    before = evaluate_case(sample, lambda case, progress: CaseAnswer(mean, case.rig.field_of_view))
    for name in ("femur", "tibia"):
        found, start = result.bones[name].exact_assd_mm, before.bones[name].exact_assd_mm
        assert found is not None and start is not None and found < 0.5 * start
