"""The SSIM baseline: projection through shells, densities from CTs, and Levenberg-Marquardt fits of the model's own radiographs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from baseline_knee import BONE_PER_MM, MIRROR, TISSUE, baseline_model, baseline_rig

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.drr.attenuation import attenuation_from_hounsfield, linear_attenuation
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.baselines.fit_intensity_model import main as fit_command
from SSRKDCore.evaluation.baselines.intensity_model import (
    SCHEMA,
    VALUE_COUNT,
    IntensityModel,
    shells_of,
    value_slices,
)
from SSRKDCore.evaluation.baselines.intensity_samples import sampled_values
from SSRKDCore.evaluation.baselines.intensity_shells import shell_derivatives, shell_image
from SSRKDCore.evaluation.baselines.ssim import fitted_bones, ssim_method
from SSRKDCore.evaluation.baselines.ssim_fit import IntensityFit
from SSRKDCore.evaluation.baselines.ssim_images import IntensityState, KneeRadiographs
from SSRKDCore.evaluation.baselines.ssm_case import SeenCase, as_right_knee
from SSRKDCore.evaluation.exact_distances import surface_distances
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.grid import Grid
from SSRKDCore.shape_fit.fitted_knee import FittedKnee
from SSRKDCore.surface import Surface

_MODEL = baseline_model()


def _ball(radius: float, middle: tuple[float, float, float]) -> Surface:
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    source = vtkSphereSource()
    source.SetRadius(radius)
    source.SetCenter(*middle)
    source.SetThetaResolution(90)
    source.SetPhiResolution(90)
    source.Update()
    return Surface.from_vtk(source.GetOutput())


def _intensity() -> IntensityModel:
    """A dense shell around a lighter core, alike everywhere, and one mode of density."""
    mean = np.concatenate([
        np.repeat([BONE_PER_MM, 0.6 * BONE_PER_MM, 0.5 * BONE_PER_MM, 0.5 * BONE_PER_MM], (part.stop - part.start) // 4)
        for part in value_slices().values()
    ])  # fmt: skip
    card = {"schema": SCHEMA, "shape_model": _MODEL.sha256()}
    return IntensityModel(mean, 0.1 * mean[None], card)


def test_the_path_through_a_ball_is_its_chord() -> None:
    view = baseline_rig().views[0]
    ball = _ball(30.0, (10.0, -5.0, 20.0))
    image = shell_image(ball.vertices, ball.faces, np.full((len(ball.vertices), 1), 0.5), view)[..., 0]
    rows, columns = np.mgrid[: view.rows, : view.columns]
    rays = view.pixel_position(rows, columns) - np.array(view.source)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    to_middle = np.array([10.0, -5.0, 20.0]) - np.array(view.source)
    off = np.linalg.norm(np.cross(rays, to_middle), axis=-1)
    chord = 2.0 * np.sqrt(np.maximum(30.0**2 - off**2, 0.0))
    well_inside = off < 28.0
    np.testing.assert_allclose(image[well_inside], 0.5 * chord[well_inside], atol=0.15)
    # No pixel between two triangles is missed or counted twice.
    assert np.abs(image[off > 30.5]).max() == 0.0


def test_the_derivative_of_a_shift_is_that_of_finite_differences() -> None:
    view = baseline_rig().views[1]
    ball = _ball(30.0, (10.0, -5.0, 20.0))
    steps = np.full(len(ball.vertices), 0.5)
    shift = np.array([0.0, 1.0, 1.0])
    motions = np.broadcast_to(shift[:, None], (len(ball.vertices), 3, 1))
    found = shell_derivatives(ball.vertices, ball.faces, steps, motions, view)[..., 0]
    there, here = (
        shell_image(ball.vertices + sign * 1e-3 * shift, ball.faces, steps[:, None], view)[..., 0] for sign in (1, -1)
    )
    change = (there - here) / 2e-3
    inner = shell_image(_ball(26.0, (10.0, -5.0, 20.0)).vertices, ball.faces, steps[:, None], view)[..., 0] > 0
    # Exact but for the few rays that cross from one triangle to the next within the step.
    assert np.quantile(np.abs(found[inner] - change[inner]), 0.98) < 2e-3


def test_densities_are_read_off_a_ct() -> None:
    bones = _MODEL.surfaces(_MODEL.pca.mean)
    low = np.min([bone.bounds[0] for bone in bones.values()], axis=0) - 3.0
    high = np.max([bone.bounds[1] for bone in bones.values()], axis=0) + 3.0
    spacing = 3.0
    count = np.ceil((high - low) / spacing).astype(int) + 1
    grid = Grid(tuple(low), (spacing,) * 3, (count[2], count[1], count[0]))
    # Density rises with height alone, so that every shell of a bone shows the same.
    z = grid.axes[2]
    hounsfield = np.broadcast_to((600.0 + 2.0 * z)[:, None, None], grid.shape).astype(np.float32)
    shells = {name: shells_of(_MODEL, name) for name in BONE_NAMES}
    values = sampled_values(bones, hounsfield, grid, _MODEL, shells)
    femur = values[value_slices()["femur"]].reshape(4, -1)
    at_25 = float(attenuation_from_hounsfield(np.array([650.0]))[0]) - linear_attenuation("muscle")
    np.testing.assert_allclose(femur[0, 2], at_25, rtol=0.05)
    assert (np.diff(femur[0]) > 0).all()


def test_a_model_file_comes_back_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "intensity.npz"
    _intensity().save(path)
    np.testing.assert_array_equal(IntensityModel.load(path).mean, _intensity().mean)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        IntensityModel.load(path)
    np.savez(path, card=np.array('{"schema": "another"}'), mean=np.zeros(VALUE_COUNT), modes=np.zeros((1, VALUE_COUNT)))
    with pytest.raises(InputError, match="no intensity model"):
        IntensityModel.load(path)
    np.savez(path, card=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="damaged"):
        IntensityModel.load(path)
    with pytest.raises(InputError, match="does not exist"):
        IntensityModel.load(tmp_path / "absent.npz")


def test_models_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    _MODEL.save(tmp_path / "shape.npz")
    other = _intensity()
    IntensityModel(other.mean, other.modes, {"schema": SCHEMA, "shape_model": "0" * 64}).save(tmp_path / "other.npz")
    with pytest.raises(InputError, match="another shape model"):
        ssim_method(tmp_path / "shape.npz", tmp_path / "other.npz")


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--cases", str(tmp_path), "--shape-model", str(tmp_path / "absent.npz"), "--out"]
    assert fit_command([*arguments, str(tmp_path / "out.npz")]) == 2
    assert "absent.npz does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def _truth() -> tuple[KneeRadiographs, IntensityState]:
    knee = FittedKnee(_MODEL, np.zeros(3), 3)
    step = np.zeros(knee.count)
    step[:6] = 0.03, -0.03, 0.04, 4.0, -3.0, 3.0
    step[6:12] = 0.02, 0.01, -0.02, 0.4, -0.4, 0.6
    step[24:] = 0.02, 1.0, -0.8, 0.8
    state = IntensityState(knee.start(5.0).moved(step), np.ones(2), np.array([0.8]))
    return KneeRadiographs(_MODEL, _intensity(), knee), state


def _fitted(side: str) -> tuple[IntensityFit, dict[str, Surface]]:
    radiographs, state = _truth()
    rig = as_right_knee(baseline_rig(side), side)
    images = tuple((TISSUE + radiographs.line_integrals(state, view)).astype(np.float32) for view in rig.views)
    return fitted_bones(_MODEL, _intensity(), SeenCase(side, rig, images), starts=(0.0,))


@pytest.fixture(scope="module")
def fitted_right() -> tuple[IntensityFit, dict[str, Surface]]:
    return _fitted("right")


def test_every_accepted_step_lowers_the_cost(fitted_right: tuple[IntensityFit, dict[str, Surface]]) -> None:
    fit, _ = fitted_right
    for costs in fit.costs:
        assert all(after < before for before, after in pairwise(costs))
    # It begins at the best of its starts; the silhouettes' fit is one of them and leaves little to gain, but some.
    assert len(fit.costs[0]) > 1


def test_a_knee_of_the_model_is_recovered_from_its_radiographs(
    fitted_right: tuple[IntensityFit, dict[str, Surface]],
) -> None:
    radiographs, state = _truth()
    fit, bones = fitted_right
    truth = radiographs.knee.surfaces(state.knee)
    box = FieldOfView((0.0, 0.0, 0.0), 160.0).bounds
    for name in BONE_NAMES:
        assert surface_distances(bones[name], truth[name], box, 1.0).assd < 0.7, name
    assert fit.correlation > 0.9


def test_a_left_knee_is_the_mirror_image(fitted_right: tuple[IntensityFit, dict[str, Surface]]) -> None:
    _, right = fitted_right
    _, left = _fitted("left")
    for name in BONE_NAMES:
        assert left[name].volume > 0
        assert np.abs(left[name].vertices - right[name].transformed(MIRROR).vertices).max() < 0.05, name


def test_an_image_without_structure_fails_with_a_reason() -> None:
    rig = baseline_rig()
    ramp = (np.linspace(1.0, 2.0, 250)[:, None] * np.ones((1, 250))).astype(np.float32)
    with pytest.raises(InputError, match=r"not like those given|shows nothing|outside the field of view"):
        fitted_bones(_MODEL, _intensity(), SeenCase("right", rig, (ramp, ramp)), starts=(0.0,))
