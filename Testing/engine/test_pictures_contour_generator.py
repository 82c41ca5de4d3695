"""The edges of a sphere and of a bone on a detector, against geometry done by hand."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from SSRKDCore.geometry.presets import preset
from SSRKDCore.pictures.contour_generator import edges_on_detector, projected_on_detector
from SSRKDCore.surface import Surface
from SSRKDCore.vertex_normals import vertex_normals


def _sphere(radius: float, center: tuple[float, float, float]) -> Surface:
    mesh = trimesh.creation.icosphere(4, radius)
    return Surface(mesh.vertices + center, mesh.faces)


def test_normals_point_outwards() -> None:
    sphere = _sphere(20.0, (1.0, 2.0, 3.0))
    np.testing.assert_allclose(
        vertex_normals(sphere.vertices, sphere.faces), (sphere.vertices - [1, 2, 3]) / 20.0, atol=0.02
    )


@pytest.mark.parametrize("name", ["ap", "lateral"])
def test_a_sphere_has_one_edge_where_its_tangents_meet_the_detector(name: str) -> None:
    view = preset("room", "left").view(name)
    radius = 30.0
    (edge,) = edges_on_detector(_sphere(radius, (0.0, 0.0, 0.0)), view)
    offset = edge - np.array(view.detector_origin)
    np.testing.assert_allclose(offset @ view.normal, 0.0, atol=1e-6)
    # The tangent cone from 1000 mm: half angle asin(r / 1000), a circle about the central ray on the detector at 1150 mm.
    central = np.array(view.source) + view.source_to_detector * view.normal
    expected = view.source_to_detector * np.tan(np.arcsin(radius / 1000.0))
    np.testing.assert_allclose(np.linalg.norm(edge - central, axis=1), expected, rtol=0.005)


def test_what_falls_beside_the_detector_is_not_drawn() -> None:
    view = preset("room", "left").view("ap")
    assert edges_on_detector(_sphere(30.0, (600.0, 0.0, 0.0)), view) == []
    half = edges_on_detector(_sphere(30.0, (187.0, 0.0, 0.0)), view)
    assert half
    for line in half:
        pixels, _ = view.project(line)
        assert pixels.min() >= -0.5 and pixels.max() <= view.columns - 0.5


def test_projection_goes_through_the_source_and_nothing_has_no_edges() -> None:
    view = preset("c_arm", "right").view("lateral")
    point = np.array([[10.0, -5.0, 20.0]])
    on_detector = projected_on_detector(point, view)
    ray, far = point[0] - view.source, on_detector[0] - view.source
    np.testing.assert_allclose(np.cross(ray, far) / np.linalg.norm(far), 0.0, atol=1e-9)
    assert edges_on_detector(Surface.empty(), view) == []
