"""A ball of known size gives the magnification at its depth, and something that is merely round gives none."""

from __future__ import annotations

from pathlib import Path

import calibration_scenes as scenes
import numpy as np
import pytest

from SSRKDCore.drr import project
from SSRKDCore.errors import InputError
from SSRKDCore.geometry import Rig
from SSRKDCore.geometry.calibration.ball import FOUND_CONFIDENCE, find_balls, measure_ball
from SSRKDCore.geometry.calibration.sphere_projection import elongation, principal_point, sphere_outline
from SSRKDCore.grid import Grid
from SSRKDCore.radiographs import read_radiograph

DIAMETER = 25.4


@pytest.fixture(scope="module")
def sample(repository: Path) -> tuple[Rig, dict[str, np.ndarray]]:
    folder = repository / "Resources" / "SampleCase"
    images = {view: read_radiograph(folder / f"{view}.dcm").pixels.astype(np.float64) for view in ("ap", "lateral")}
    return Rig.load(folder / "rig.json"), images


@pytest.mark.parametrize("center", [[0.0, 0.0, 0.0], [70.0, -80.0, 55.0], [-60.0, 90.0, -50.0]])
def test_the_outline_is_the_ellipse_on_which_rays_graze_the_sphere(center: list[float]) -> None:
    view = scenes.ap_view()
    ellipse = sphere_outline(view, center, 12.7)
    points = ellipse.points()
    rays = view.pixel_position(points[:, 0], points[:, 1]) - np.array(view.source)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    towards = np.array(center) - np.array(view.source)
    np.testing.assert_allclose(np.sqrt(towards @ towards - (rays @ towards) ** 2), 12.7, atol=1e-8)
    depth = towards @ view.normal
    assert ellipse.minor * 0.4 == pytest.approx(1150 * 12.7 / np.sqrt(depth**2 - 12.7**2), rel=1e-9)
    ratio, angle = elongation(ellipse.row, ellipse.column, ellipse.minor, principal_point(view), 1150 / 0.4)
    assert ratio == pytest.approx(ellipse.major / ellipse.minor, rel=1e-5)
    if ratio > 1.0001:
        assert abs(np.sin(angle - ellipse.angle)) < 0.02


@pytest.mark.parametrize("side", ["ap", "lateral"])
@pytest.mark.parametrize(("depth", "per_mm", "limit"), [(-50.0, 1.0, 4.0), (40.0, 0.2, 1e6)], ids=["metal", "glass"])
def test_a_ball_beside_the_knee_is_found_and_measured(
    sample: tuple[Rig, dict[str, np.ndarray]], side: str, depth: float, per_mm: float, limit: float
) -> None:
    rig, images = sample
    view = rig.view(side)
    across = np.array(view.column_direction)
    center = 62.0 * across * (1 if depth < 0 else -1) + depth * view.normal + np.array([0.0, 0.0, 45.0])
    image = scenes.with_ball(images[side], view, center, DIAMETER, per_mm, limit, 1)
    measured, candidates = measure_ball(image, DIAMETER, 0.4, view.source_to_detector, tolerance_mm=0.0)
    assert measured.magnification == pytest.approx(view.magnification(center), rel=4e-3)
    assert measured.source_to_ball_mm == pytest.approx(1000.0 + depth, rel=4e-3)
    assert measured.uncertainty_percent < 0.5
    expected = sphere_outline(view, center, DIAMETER / 2)
    assert np.hypot(candidates[0].outline.row - expected.row, candidates[0].outline.column - expected.column) < 0.3


def test_no_ball_no_measurement(sample: tuple[Rig, dict[str, np.ndarray]]) -> None:
    for image in sample[1].values():
        for diameter in (25.4, 15.0):
            assert not [
                found for found in find_balls(image, diameter, 0.4, 1150.0) if found.confidence >= FOUND_CONFIDENCE
            ]
        with pytest.raises(InputError, match=r"No ball of 25\.4 mm was found"):
            measure_ball(image, DIAMETER, 0.4, 1150.0)
        # A click on a condyle does not make it a ball.
        with pytest.raises(InputError, match="No ball"):
            measure_ball(image, DIAMETER, 0.4, 1150.0, near=(230.0, 290.0))


@pytest.mark.parametrize(
    ("distance", "center"), [(1000.0, [20.0, 0, 10]), (800.0, [-35.0, 0, 20]), (600.0, [25.0, 30, -15])]
)
def test_magnifications_of_a_ball_traced_by_the_projector(distance: float, center: list[float]) -> None:
    view = scenes.ap_view(360, 400, distance, 1150.0)
    # Voxels finer than the pixels at the ball, or both grids would beat.
    spacing, count = 0.25, 88
    axis = (np.arange(count) - (count - 1) / 2) * spacing
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    # The share of a voxel inside the ball, to first order, so that voxels leave no steps.
    inside = np.clip((10.0 - np.sqrt(x**2 + y**2 + z**2)) / spacing + 0.5, 0.0, 1.0)
    origin = tuple(np.array(center) + axis[0])
    image = project((0.15 * inside).astype(np.float32), Grid(origin, (spacing,) * 3, inside.shape), view, "siddon")
    noisy = image + 0.5 + np.random.default_rng(0).normal(0, 0.01, image.shape)
    measured, _ = measure_ball(noisy, 20.0, 0.4, 1150.0, tolerance_mm=0.0)
    assert measured.magnification == pytest.approx(view.magnification(center), rel=3e-3)


def test_the_stated_uncertainty_is_that_of_repeated_exposures() -> None:
    view = scenes.ap_view(220, 220)
    center = [10.0, -30.0, 5.0]
    true = view.magnification(center)
    clean = scenes.with_ball(np.ones((220, 220)), view, center, DIAMETER, 0.3, 5.0, 0)
    generator = np.random.default_rng(4)
    errors, stated = [], []
    for _ in range(12):
        measured, _ = measure_ball(
            clean + generator.normal(0, 0.15, clean.shape), DIAMETER, 0.4, 1150.0, tolerance_mm=0.0
        )
        assert measured.magnification is not None
        errors.append(100 * (measured.magnification / true - 1))
        stated.append(measured.uncertainty_percent)
    # 12 draws give a standard deviation to about 20 %.
    assert 0.4 < np.std(errors, ddof=1) / np.mean(stated) < 1.8
    assert abs(np.mean(errors)) < 0.15


def test_without_spacing_the_scale_is_known_and_the_magnification_is_not() -> None:
    view = scenes.ap_view(300, 300)
    image = scenes.with_ball(np.ones((300, 300)), view, [0.0, 0.0, 0.0], 10.0, 1.0, 4.0, 2)
    measured, _ = measure_ball(image, 10.0, tolerance_mm=0.0)
    assert measured.magnification is None
    assert measured.pixel_size_mm == pytest.approx(0.4 / 1.15, rel=6e-3)


def test_a_click_chooses_between_two_balls() -> None:
    view = scenes.ap_view(400, 400)
    image = np.ones((400, 400))
    for x, depth, seed in ((-40.0, 0.0, 1), (40.0, -100.0, 2)):
        image = scenes.with_ball(image, view, [x, depth, 0.0], DIAMETER, 1.0, 4.0, seed)
    with pytest.raises(InputError, match="2 balls"):
        measure_ball(image, DIAMETER, 0.4, 1150.0)
    right = view.project([40.0, -100.0, 0.0])[0]
    measured, _ = measure_ball(image, DIAMETER, 0.4, 1150.0, near=(right[0] + 8, right[1] - 6))
    assert measured.magnification == pytest.approx(1150 / 900, rel=4e-3)


@pytest.mark.parametrize(
    ("diameter", "spacing", "distance", "near", "words"),
    [
        (0.5, 0.4, None, None, "diameter"),
        (25.4, -1.0, None, None, "pixel spacing"),
        (25.4, 0.4, 12.0, None, "source-to-detector"),
        (25.4, 0.4, None, (900.0, 3.0), "outside the image"),
        (2.0, 0.4, None, None, "pixels"),
    ],
)
def test_impossible_numbers_are_refused(
    diameter: float, spacing: float, distance: float | None, near: tuple[float, float] | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        find_balls(np.ones((200, 200)), diameter, spacing, distance, near)
