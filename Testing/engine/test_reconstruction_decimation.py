"""Decimation to a budget: still closed, and the deviation is the true one."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from SSRKDCore.reconstruction.decimation import decimated, largest_deviation
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
