"""Surfaces of fields known in closed form: place, orientation, closedness, agreement with the labels."""

from __future__ import annotations

from pathlib import Path

import manifold3d
import numpy as np
import pytest
import trimesh
from array_field import tensor_field

from SSRKDCore.grid import Grid
from SSRKDCore.reconstruction.bone_surfaces import bone_surfaces
from SSRKDCore.reconstruction.components import keep_one_piece
from SSRKDCore.reconstruction.field_evaluation import SparseOccupancy
from SSRKDCore.reconstruction.octree import evaluate_dense, evaluate_sparse
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import write_surface

FEMUR = 2


def _occupancy(grid: Grid, depths: dict[int, object], dense: bool = False) -> SparseOccupancy:
    """The field whose logit of a bone is its depth function in mm at points (N, 3), against 0 outside."""

    def field(z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        points = grid.points(z, y, x)
        logits = np.full((len(points), 5), -30.0)
        logits[:, 0] = 0.0
        for label, depth in depths.items():
            logits[:, label] = depth(points)  # type: ignore[operator]
        return np.clip(logits, -30.0, 10.0).astype(np.float32)

    return (evaluate_dense if dense else evaluate_sparse)(tensor_field(field), grid.shape[0])


def _ball(center: tuple[float, float, float], radius: float):  # type: ignore[no-untyped-def]
    return lambda points: radius - np.linalg.norm(points - np.array(center), axis=1)


def _surfaces(grid: Grid, depths: dict[int, object]) -> tuple[dict[str, Surface], np.ndarray]:
    occupancy = _occupancy(grid, depths)
    labels, _ = keep_one_piece(occupancy.labels)
    return bone_surfaces(occupancy, labels, grid), labels


def _assert_sound(surface: Surface) -> None:
    """Closed, manifold, outward and without degenerate triangles, by three independent readers."""
    assert surface.is_closed()
    mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.is_volume
    assert surface.volume > 0
    solid = manifold3d.Manifold(manifold3d.Mesh(surface.vertices.astype(np.float32), surface.faces.astype(np.uint32)))
    assert solid.status() == manifold3d.Error.NoError
    # No volume may be lost in that reading: it would mean overlapping or inverted parts.
    assert solid.volume() == pytest.approx(surface.volume, rel=1e-4)
    assert surface.triangle_areas.min() > 0
    assert len(np.unique(surface.vertices.astype(np.float32), axis=0)) == len(surface.vertices)


def _inside(surface: Surface, grid: Grid) -> np.ndarray:
    """Which samples are inside, from the surface alone: crossings of rays along x, counted by sign."""
    import igl

    z, y, x = np.indices(grid.shape).reshape(3, -1)
    winding = igl.fast_winding_number(surface.vertices, surface.faces, np.ascontiguousarray(grid.points(z, y, x)))
    return (winding > 0.5).reshape(grid.shape)


def test_a_ball_is_where_it_should_be() -> None:
    center, radius = (3.0, -4.0, 5.0), 24.0
    grid = Grid.cube((1.0, 0.0, 2.0), 75.0, 128)
    surface = _surfaces(grid, {FEMUR: _ball(center, radius)})[0]["femur"]
    _assert_sound(surface)
    error = np.linalg.norm(surface.vertices - np.array(center), axis=1) - radius
    # Linear interpolation of a distance over one voxel h errs by at most about h^2 / (8 r) = 0.002 mm; the clearance of the
    # vertices from the samples adds 0.002 h = 0.001 mm.
    assert np.abs(error).max() < 0.005
    assert surface.volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=2e-3)


def test_winding_is_outward_everywhere() -> None:
    center = np.array([3.0, -4.0, 5.0])
    surface = _surfaces(Grid.cube((0.0, 0.0, 0.0), 75.0, 64), {FEMUR: _ball(tuple(center), 20.0)})[0]["femur"]
    corners = surface.triangles
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", normals, corners.mean(axis=1) - center) > 0).all()


def test_closed_at_the_faces_of_the_field_of_view() -> None:
    grid = Grid.cube((10.0, 20.0, 30.0), 64.0, 64)
    # A ball over the corner of the cube with the lowest coordinates.
    low = grid.bounds[0]
    surface = _surfaces(grid, {FEMUR: _ball(tuple(low + 4.0), 21.0)})[0]["femur"]
    _assert_sound(surface)
    np.testing.assert_allclose(surface.bounds[0], low, atol=1e-9)
    on_face = surface.vertices[np.abs(surface.vertices[:, 2] - low[2]) < 1e-9]
    assert len(on_face) > 100


def test_touching_bones_share_their_boundary_and_do_not_overlap() -> None:
    grid = Grid.cube((0.0, 0.0, 0.0), 80.0, 80)
    surfaces, labels = _surfaces(grid, {2: _ball((0.0, 0.0, 12.0), 18.0), 4: _ball((2.0, 0.0, -12.0), 18.0)})
    for name in ("femur", "tibia"):
        _assert_sound(surfaces[name])
    femur, tibia = _inside(surfaces["femur"], grid), _inside(surfaces["tibia"], grid)
    assert not (femur & tibia).any()
    np.testing.assert_array_equal(femur, labels == 2)
    np.testing.assert_array_equal(tibia, labels == 4)


def test_any_labels_give_sound_surfaces_that_agree_with_them() -> None:
    """Noise has every configuration of a cell, the ambiguous ones included."""
    generator = np.random.default_rng(7)
    values = generator.standard_normal((24, 24, 24, 5)).astype(np.float32)
    values[..., 2] += 1.2  # so that one piece percolates
    grid = Grid.cube((0.0, 0.0, 0.0), 24.0, 24)
    occupancy = evaluate_dense(tensor_field(lambda z, y, x: values[z, y, x]), 24)
    labels, counts = keep_one_piece(occupancy.labels)
    assert counts["femur"].removed_voxels > 0
    surface = bone_surfaces(occupancy, labels, grid)["femur"]
    assert len(surface.faces) > 5000
    _assert_sound(surface)
    np.testing.assert_array_equal(_inside(surface, grid), labels == FEMUR)


def test_equal_logits_at_neighbouring_samples_do_not_break_the_surface() -> None:
    values = np.zeros((16, 16, 16, 5), dtype=np.float32)
    values[4:12, 4:12, 4:12, 0] = -1.0  # four bones tie inside; the first of them, the patella, has the label
    grid = Grid.cube((0.0, 0.0, 0.0), 16.0, 16)
    occupancy = evaluate_dense(tensor_field(lambda z, y, x: values[z, y, x]), 16)
    surface = bone_surfaces(occupancy, keep_one_piece(occupancy.labels)[0], grid)["patella"]
    assert surface.is_empty or surface.is_closed()


def test_where_logits_are_infinite_a_vertex_lies_in_the_middle_of_its_edge() -> None:
    values = np.zeros((12, 12, 12, 5), dtype=np.float32)
    values[4:8, 4:8, 4:8, FEMUR] = np.inf
    values[..., 0] = np.where(values[..., FEMUR] > 0, 0.0, np.inf)
    grid = Grid.cube((0.0, 0.0, 0.0), 12.0, 12)
    occupancy = evaluate_dense(tensor_field(lambda z, y, x: values[z, y, x]), 12)
    surface = bone_surfaces(occupancy, keep_one_piece(occupancy.labels)[0], grid)["femur"]
    _assert_sound(surface)
    halves = 2 * (surface.vertices - np.array(grid.origin)) / np.array(grid.spacing)
    np.testing.assert_allclose(halves, np.rint(halves), atol=1e-9)


def test_left_and_right_survive_from_the_field_to_the_file(tmp_path: Path) -> None:
    """A body with a knob towards +x, one towards -y and a longer one towards +z, none of which mirrors into another."""
    bodies = [
        _ball((0.0, 0.0, 0.0), 10.0),
        _ball((14.0, 0.0, 0.0), 6.0),
        _ball((0.0, -13.0, 0.0), 5.0),
        _ball((0.0, 0.0, 22.0), 13.0),
    ]
    grid = Grid.cube((2.0, 1.0, 3.0), 90.0, 90)
    surface = _surfaces(grid, {FEMUR: lambda points: np.max([body(points) for body in bodies], axis=0)})[0]["femur"]
    path = tmp_path / "femur.stl"
    write_surface(path, surface)
    mesh = trimesh.load_mesh(path)
    assert mesh.is_watertight
    np.testing.assert_allclose(mesh.bounds, [[-13.0, -18.0, -10.0], [20.0, 13.0, 35.0]], atol=0.1)


def test_one_piece_without_cavities() -> None:
    grid = Grid.cube((0.0, 0.0, 0.0), 80.0, 80)
    shell = lambda points: 4.0 - np.abs(np.linalg.norm(points, axis=1) - 20.0)  # noqa: E731 - a hollow ball
    crumb = _ball((34.0, 34.0, 34.0), 4.0)
    occupancy = _occupancy(grid, {FEMUR: lambda points: np.maximum(shell(points), crumb(points))})
    labels, counts = keep_one_piece(occupancy.labels)
    # A ball of radius r has about 4/3 pi r^3 samples of 1 mm.
    assert counts["femur"].pieces == 2
    assert counts["femur"].removed_voxels == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.1)
    assert counts["femur"].filled_voxels == pytest.approx(4 / 3 * np.pi * 16**3, rel=0.02)
    surface = bone_surfaces(occupancy, labels, grid)["femur"]
    _assert_sound(surface)
    assert trimesh.Trimesh(surface.vertices, surface.faces, process=False).body_count == 1
    assert surface.volume == pytest.approx(4 / 3 * np.pi * 24**3, rel=0.01)


def test_a_cavity_that_holds_another_bone_stays_open() -> None:
    grid = Grid.cube((0.0, 0.0, 0.0), 80.0, 80)
    shell = lambda points: 4.0 - np.abs(np.linalg.norm(points, axis=1) - 20.0)  # noqa: E731 - a hollow ball
    occupancy = _occupancy(grid, {FEMUR: shell, 4: _ball((0.0, 0.0, 0.0), 8.0)})
    labels, counts = keep_one_piece(occupancy.labels)
    assert counts["femur"].filled_voxels == 0
    assert (labels == 4).sum() == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.05)


def test_absent_bones_have_empty_surfaces() -> None:
    surfaces, _ = _surfaces(Grid.cube((0.0, 0.0, 0.0), 60.0, 40), {FEMUR: _ball((0.0, 0.0, 0.0), 10.0)})
    assert [name for name, surface in surfaces.items() if surface.is_empty] == ["patella", "fibula", "tibia"]
