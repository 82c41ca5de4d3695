"""Decimation to a budget: still closed, and the deviation is the true one."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.ndimage import gaussian_filter, label
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

from SSRKDCore.reconstruction.decimation import decimated, largest_deviation
from SSRKDCore.reconstruction.mesh_check import check_mesh
from SSRKDCore.surface import Surface


def _ball(subdivisions: int, radius: float = 20.0) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return Surface(mesh.vertices + np.array([5.0, -3.0, 40.0]), mesh.faces)


def _dumbbell() -> Surface:
    """Two balls joined by a thin neck: a shape that careless decimation pinches."""
    mesh = trimesh.creation.capsule(height=40.0, radius=1.2, count=[48, 48])
    return Surface(mesh.vertices, mesh.faces)


@pytest.mark.parametrize("surface", [_ball(5), _dumbbell()], ids=["ball", "thin"])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_budget_is_met_and_the_surface_stays_sound(surface: Surface, share: float) -> None:
    budget = int(len(surface.faces) * share)
    result = decimated(surface, budget)
    assert result.reached
    assert 0.8 * budget < len(result.surface.faces) <= budget
    mesh = trimesh.Trimesh(result.surface.vertices, result.surface.faces, process=False)
    assert result.surface.is_closed() and mesh.is_volume
    assert result.surface.triangle_areas.min() > 0
    assert result.surface.volume == pytest.approx(surface.volume, rel=0.03)


def test_deviation_is_that_of_an_independent_reader() -> None:
    surface = _ball(5)
    result = decimated(surface, 1000)
    coarse = trimesh.Trimesh(result.surface.vertices, result.surface.faces, process=False)
    distance = np.abs(trimesh.proximity.closest_point_naive(coarse, surface.vertices[::40])[1])
    assert 0.01 < distance.max() <= result.deviation_mm + 1e-6
    assert result.deviation_mm < 1.0


def test_deviation_of_concentric_balls_both_ways() -> None:
    # Vertices of both lie on spheres 1 mm apart; triangles of the finer ball sag by less than 0.02 mm.
    assert largest_deviation(_ball(5, 20.0), _ball(5, 21.0)) == pytest.approx(1.0, abs=0.05)
    # A spike on one surface is seen only from that surface: the measure must look both ways.
    flat = _ball(4)
    vertices = flat.vertices.copy()
    top = vertices[:, 2].argmax()
    vertices[top, 2] += 7.0
    spiked = Surface(vertices, flat.faces)
    assert largest_deviation(flat, spiked) == pytest.approx(7.0, abs=0.2)
    assert largest_deviation(spiked, flat) == pytest.approx(7.0, abs=0.2)


def test_a_maximum_deviation_stops_earlier() -> None:
    surface = _ball(5)
    free = decimated(surface, 200)
    limited = decimated(surface, 200, max_deviation_mm=0.05)
    assert free.deviation_mm > 0.05 >= limited.deviation_mm > 0
    assert not limited.reached
    assert 200 < len(limited.surface.faces) < len(surface.faces)
    assert limited.surface.is_closed()


def test_a_budget_that_is_met_already_changes_nothing() -> None:
    surface = _ball(3)
    result = decimated(surface, 10**6)
    assert result.surface is surface
    assert result.deviation_mm == 0.0
    assert result.reached


@pytest.fixture(scope="module")
def frayed() -> Surface:
    """A ball whose surface noise frays into pits, spikes, bridges and tunnels, as an uncertain network's does."""
    z, y, x = np.mgrid[-1:1:48j, -1:1:48j, -1:1:48j]
    noise = gaussian_filter(np.random.default_rng(5).normal(size=x.shape), 0.9)
    field = 0.75 - np.sqrt(x * x + y * y + z * z) + 0.35 * noise / noise.std() * 0.6
    parts, _ = label(field > 0)
    field[(parts != parts[24, 24, 24]) & (parts > 0)] = -0.05
    field[[0, -1], :, :] = field[:, [0, -1], :] = field[:, :, [0, -1]] = -1.0
    image = vtkImageData()
    image.SetDimensions(48, 48, 48)
    image.GetPointData().SetScalars(numpy_to_vtk(field.ravel(), deep=True))
    contour = vtkFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, 0.0)
    contour.ComputeNormalsOff()
    contour.Update()
    surface = Surface.from_vtk(contour.GetOutput())
    return surface if surface.volume > 0 else Surface(surface.vertices, surface.faces[:, ::-1])


def _euler_characteristic(surface: Surface) -> int:
    return len(surface.vertices) - len(surface.faces) // 2


def test_a_frayed_surface_meets_the_budget_and_keeps_its_handles(frayed: Surface) -> None:
    assert check_mesh(frayed).problems == []
    assert _euler_characteristic(frayed) < -20, "the shape should have many handles"
    budget = len(frayed.faces) // 3
    result = decimated(frayed, budget)
    check = check_mesh(result.surface)
    assert result.reached and check.triangles <= budget
    assert check.closed and check.manifold and check.outward and check.degenerate_triangles == 0
    assert check.self_intersections == 0
    assert _euler_characteristic(result.surface) == _euler_characteristic(frayed)
    assert 0 < result.deviation_mm < 2.0
    assert result.deviation_mm == pytest.approx(largest_deviation(frayed, result.surface))


def test_what_the_shape_does_not_allow_is_said(frayed: Surface) -> None:
    result = decimated(frayed, 100)
    assert not result.reached and 100 < len(result.surface.faces) < len(frayed.faces)
    check = check_mesh(result.surface)
    assert check.closed and check.manifold


def test_an_open_edge_stays_where_it_is() -> None:
    ball = _ball(4)
    holed = Surface(ball.vertices, ball.faces[10:])
    result = decimated(holed, 800)
    assert result.reached
    before, after = check_mesh(holed), check_mesh(result.surface)
    assert after.open_edges == before.open_edges > 0 and after.non_manifold_edges == before.non_manifold_edges == 0


def test_the_same_surface_every_time() -> None:
    first, second = (decimated(_dumbbell(), 700).surface for _ in range(2))
    np.testing.assert_array_equal(first.vertices, second.vertices)
    np.testing.assert_array_equal(first.faces, second.faces)


def test_vertices_are_those_that_a_file_holds() -> None:
    vertices = decimated(_ball(4), 500).surface.vertices
    np.testing.assert_array_equal(vertices, vertices.astype(np.float32))
