"""Normals at vertices, against VTK's and a definition by sums."""

from __future__ import annotations

import numpy as np
from synthetic_knee import synthetic_knee
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkFiltersCore import vtkPolyDataNormals

from SSRKDCore.vertex_normals import vertex_normals


def test_normals_are_the_mean_of_the_areas_around_and_point_outwards() -> None:
    for surface in synthetic_knee(3.0).values():
        found = vertex_normals(surface.vertices, surface.faces)
        corners = surface.triangles
        areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sums = np.zeros_like(surface.vertices)
        for corner in range(3):
            np.add.at(sums, surface.faces[:, corner], areas)
        np.testing.assert_allclose(found, sums / np.linalg.norm(sums, axis=1, keepdims=True), atol=1e-12)
        # VTK weights triangles alike: the same but where they differ in size.
        filtered = vtkPolyDataNormals()
        filtered.SetInputData(surface.to_vtk())
        filtered.SplittingOff()
        filtered.ConsistencyOff()
        filtered.Update()
        other = vtk_to_numpy(filtered.GetOutput().GetPointData().GetNormals())
        assert np.median((found * other).sum(axis=1)) > 0.99


def test_a_mirrored_surface_with_turned_triangles_has_mirrored_normals() -> None:
    femur = synthetic_knee(3.0)["femur"]
    mirror = np.array([-1.0, 1.0, 1.0])
    found = vertex_normals(femur.vertices * mirror, femur.faces[:, ::-1])
    np.testing.assert_allclose(found, vertex_normals(femur.vertices, femur.faces) * mirror, atol=1e-12)


def test_other_types_and_orders_in_memory_and_vertices_of_no_triangle() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], dtype=np.float32)
    found = vertex_normals(np.asfortranarray(vertices), np.array([[0, 1, 2]], dtype=np.int32))
    np.testing.assert_array_equal(found, [[0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]])
