"""The mesh check finds each fault that was made on purpose, and none in a sound mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from SSRKDCore.reconstruction.mesh_check import check_mesh, self_intersections, unsound_vertices
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface


def _of(mesh: trimesh.Trimesh) -> Surface:
    return Surface(mesh.vertices, mesh.faces)


@pytest.fixture(scope="module")
def sphere() -> Surface:
    return _of(trimesh.creation.icosphere(3, 10.0))


def _joined(*surfaces: Surface) -> Surface:
    offsets = np.cumsum([0, *(len(surface.vertices) for surface in surfaces[:-1])])
    return Surface(
        np.concatenate([surface.vertices for surface in surfaces]),
        np.concatenate([surface.faces + offset for surface, offset in zip(surfaces, offsets, strict=True)]),
    )


def _moved(surface: Surface, x: float) -> Surface:
    return Surface(surface.vertices + np.array([x, 0.0, 0.0]), surface.faces)


@pytest.mark.parametrize("bone", ["femur", "patella"])
def test_a_bone_is_sound(repository: Path, bone: str) -> None:
    check = check_mesh(read_surface(repository / "Resources" / "SampleCase" / f"{bone}.ply"))
    assert check.problems == [] and check.closed and check.manifold


def test_a_missing_triangle(sphere: Surface) -> None:
    check = check_mesh(Surface(sphere.vertices, sphere.faces[1:]))
    assert check.open_edges == 3 and not check.closed and check.problems == ["it has 3 open edges"]


def test_a_doubled_triangle_and_a_turned_one(sphere: Surface) -> None:
    doubled = Surface(sphere.vertices, np.concatenate([sphere.faces, sphere.faces[:1]]))
    assert check_mesh(doubled).non_manifold_edges == 3
    turned = sphere.faces.copy()
    turned[0] = turned[0, ::-1]
    check = check_mesh(Surface(sphere.vertices, turned))
    assert check.non_manifold_edges == 3 and check.open_edges == 0 and not check.closed


def test_two_spheres_that_touch_in_a_vertex(sphere: Surface) -> None:
    both = _joined(sphere, _moved(sphere, 20.0))
    right = int(np.argmax(sphere.vertices[:, 0]))
    left = len(sphere.vertices) + int(np.argmin(sphere.vertices[:, 0]))
    vertices = both.vertices.copy()
    vertices[left] = vertices[right]
    welded = Surface(vertices, np.where(both.faces == left, right, both.faces))
    assert check_mesh(welded).non_manifold_vertices == 1
    assert check_mesh(both).non_manifold_vertices == 0


def test_spheres_that_cut_through_one_another(sphere: Surface) -> None:
    # Turned, so that the two do not meet edge on edge as mirror images do.
    turn = trimesh.transformations.rotation_matrix(0.4, [1.0, 2.0, 3.0])
    other = sphere.transformed(turn)
    apart, through = _joined(sphere, _moved(other, 25.0)), _joined(sphere, _moved(other, 10.0))
    assert check_mesh(apart).self_intersections == 0
    pairs = self_intersections(through)
    assert len(pairs) > 20
    first = pairs < len(sphere.faces)
    assert (first.sum(axis=1) == 1).all()
    # The cut is the circle of radius sqrt(75) in the plane x = 5; triangles there are about 1.5 mm wide.
    centers = through.triangles.mean(axis=1)[pairs.ravel()]
    assert np.abs(centers[:, 0] - 5.0).max() < 2.0
    np.testing.assert_allclose(np.linalg.norm(centers[:, 1:], axis=1), np.sqrt(75.0), atol=1.5)
    # A frame that is turned and shuffled finds the same.
    order = np.random.default_rng(3).permutation(len(through.faces))
    shuffled = Surface(through.vertices[:, [2, 0, 1]], through.faces[order])
    assert len(self_intersections(shuffled)) == len(pairs)


def test_a_dent_pushed_through_the_other_side(sphere: Surface) -> None:
    vertices = sphere.vertices.copy()
    vertices[np.argmax(vertices[:, 2])] = [0.3, 0.2, -15.0]
    check = check_mesh(Surface(vertices, sphere.faces))
    assert check.closed and check.self_intersections > 0


def test_inside_out_flat_and_empty(sphere: Surface) -> None:
    assert check_mesh(Surface(sphere.vertices, sphere.faces[:, ::-1])).problems == ["it is inside out"]
    flat = Surface(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]]))
    assert check_mesh(flat).degenerate_triangles == 1
    empty = check_mesh(Surface.empty())
    assert not empty.closed and empty.problems == ["it has no triangles"]


@pytest.fixture
def cube() -> Surface:
    """Ten millimetres a side, two triangles a face."""
    return _of(trimesh.creation.box((10.0, 10.0, 10.0)))


def test_contact_in_a_plane_along_an_edge_and_in_a_corner(cube: Surface) -> None:
    assert check_mesh(cube).problems == []
    for offset, meets in (
        ((10.0, 3.0, 2.0), True),  # faces of the two overlap in the plane x = 5
        ((10.0, 10.0, 2.0), True),  # an edge lies on an edge
        ((10.0, 10.0, 10.0), True),  # a corner lies on a corner
        ((10.0, 3.0, 0.0), True),
        ((10.001, 3.0, 2.0), False),
        ((10.001, 10.0, 10.0), False),
        ((0.0, 0.0, 10.001), False),
    ):
        both = _joined(cube, Surface(cube.vertices + np.array(offset), cube.faces))
        assert check_mesh(both).closed
        assert (check_mesh(both).self_intersections > 0) == meets, offset


def test_an_edge_across_an_edge(cube: Surface) -> None:
    # Turned by 45 degrees about x, an edge of the upper cube lies across an edge of the lower one, and no corner on anything.
    tilted = cube.transformed(trimesh.transformations.rotation_matrix(np.pi / 4, [1.0, 0.0, 0.0]))
    other = cube.transformed(trimesh.transformations.rotation_matrix(np.pi / 4, [0.0, 1.0, 0.0]))
    for gap, meets in ((0.0, True), (1e-3, False), (-1e-3, True)):
        raised = Surface(other.vertices + np.array([0.5, 1.0, 10.0 * np.sqrt(2.0) + gap]), other.faces)
        assert (len(self_intersections(_joined(tilted, raised))) > 0) == meets, gap


def test_mirror_images_that_meet_edge_on_edge(sphere: Surface) -> None:
    mirrored = sphere.transformed(np.diag([-1.0, 1.0, 1.0, 1.0]))
    through = _joined(sphere, Surface(mirrored.vertices + np.array([10.0, 0.0, 0.0]), mirrored.faces))
    assert len(self_intersections(through)) > 20


def test_neighbours_folded_onto_one_another() -> None:
    # A pyramid whose apex lies in the plane of its base: two sides cover the base, the flat roof of the others is no fault.
    base = np.array([[0.0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0], [2, 1, 0], [2, 2, -3]])
    lid = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [1, 0, 5], [2, 1, 5], [3, 2, 5], [0, 3, 5]])
    assert check_mesh(Surface(base, lid)).problems == []
    folded = base.copy()
    folded[4] = [2, -1, 0]
    pairs = self_intersections(Surface(folded, lid))
    assert {(0, 1), (0, 3), (0, 2)} <= {tuple(pair) for pair in pairs}
    # Folded up by a ten-thousandth it covers nothing any more.
    folded[4] = [2, -1, -1e-3]
    assert (0, 1) not in {tuple(pair) for pair in self_intersections(Surface(folded, lid))}


def test_a_flat_cut_of_many_triangles_is_sound_in_any_pose() -> None:
    mesh = trimesh.creation.cylinder(radius=15.0, height=60.0, sections=64).subdivide().subdivide()
    for angle in (0.0, 0.3, 1.1):
        turn = trimesh.transformations.rotation_matrix(angle, [1.0, 2.0, 3.0])
        turn[:3, 3] = [120.0, -80.0, 300.0]
        assert check_mesh(_of(mesh).transformed(turn)).problems == []


def test_unsound_vertices_are_named(sphere: Surface) -> None:
    assert len(unsound_vertices(sphere)) == 0
    assert set(unsound_vertices(Surface(sphere.vertices, sphere.faces[1:]))) == set(sphere.faces[0])
