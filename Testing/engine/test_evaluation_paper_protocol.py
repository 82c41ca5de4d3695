"""The paper's point-to-point protocol: what it measures, and its floor."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from SSRKDCore.evaluation.exact_distances import EmptySurface, surface_distances
from SSRKDCore.evaluation.paper_protocol import POINT_COUNT, evenly_sampled_points, paper_distances
from SSRKDCore.surface import Surface


def sphere(radius: float) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    return Surface(mesh.vertices, mesh.faces)


def test_point_count_is_the_papers() -> None:
    assert POINT_COUNT == 16_348


def test_identical_surfaces_have_the_floor_of_random_points() -> None:
    """For points of density rho, the nearest of an independent sample is 0.5 / sqrt(rho) away on average (Clark and
    Evans 1954).
    """
    surface = sphere(40.0)
    result = paper_distances(surface, surface)
    floor = 0.5 * np.sqrt(surface.area / POINT_COUNT)
    assert result.assd == pytest.approx(floor, rel=0.03)
    assert result.assd > 0.5
    assert surface_distances(surface, surface).assd < 1e-9


def test_far_surfaces_lose_the_floor_in_quadrature() -> None:
    result = paper_distances(sphere(40.0), sphere(45.0))
    # Points lie h = 0.6 mm beside the foot of the perpendicular: sqrt(25 + h^2), about 0.04 mm more than 5.
    assert result.assd == pytest.approx(5.04, abs=0.03)
    assert 5.0 < result.hd < 5.8


def test_the_same_call_gives_the_same_figures_and_another_seed_others() -> None:
    a, b = sphere(10.0), sphere(12.0)
    assert paper_distances(a, b) == paper_distances(a, b)
    assert paper_distances(a, b) != paper_distances(a, b, seed=1)


def test_points_are_spread_by_area() -> None:
    """Squares of areas 1 and 3, the larger in many more triangles: a quarter and three quarters of the points."""
    small = np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 0]]], dtype=float)
    strips = [[[x, 0, 5], [x + 0.1, 0, 5], [x + 0.1, 1, 5]] for x in np.arange(30) / 10]
    strips += [[[x, 0, 5], [x + 0.1, 1, 5], [x, 1, 5]] for x in np.arange(30) / 10]
    points = evenly_sampled_points(np.concatenate([small, np.array(strips)]), 4000, np.random.default_rng(0))
    on_small = points[:, 2] < 2.5
    # Binomial: standard deviation 27.
    assert abs(on_small.sum() - 1000) <= 110
    # Uniform inside: mean (0.5, 0.5) with a standard error of 0.009, also in single triangles.
    np.testing.assert_allclose(points[on_small, :2].mean(axis=0), [0.5, 0.5], atol=0.04)
    np.testing.assert_allclose(points[~on_small, :2].mean(axis=0), [1.5, 0.5], atol=0.06)


def test_only_the_box_is_sampled() -> None:
    """Two tubes, 2 mm apart in radius inside the box and unlike outside it."""
    tube = trimesh.creation.cylinder(radius=10.0, height=200.0, sections=256)
    short = trimesh.creation.cylinder(radius=12.0, height=40.0, sections=256)
    a, b = Surface(tube.vertices, tube.faces), Surface(short.vertices, short.faces)
    box = np.array([[-20.0] * 3, [20.0] * 3])
    inside = paper_distances(b, a, box)
    assert inside.assd == pytest.approx(2.0, abs=0.05)
    assert inside.hd < 3.0
    assert paper_distances(b, a).hd > 50.0


def test_empty_surfaces_are_refused() -> None:
    with pytest.raises(EmptySurface, match="no area"):
        paper_distances(Surface.empty(), sphere(1.0))
