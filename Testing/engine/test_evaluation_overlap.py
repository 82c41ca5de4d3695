"""Dice on voxelised surfaces and label volumes."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from SSRKDCore.evaluation.exact_distances import surface_distances
from SSRKDCore.evaluation.field_of_view import everywhere
from SSRKDCore.evaluation.label_surfaces import label_surface, surfaces_of_segmentation
from SSRKDCore.evaluation.overlap import (
    NoEnclosedVolume,
    common_grid,
    dice,
    encloses_volume,
    surface_dice,
    voxelized,
)
from SSRKDCore.grid import Grid
from SSRKDCore.segmentation_files import write_segmentation
from SSRKDCore.surface import Surface


def box(extents: tuple[float, float, float], shift: tuple[float, float, float] = (0, 0, 0)) -> Surface:
    mesh = trimesh.creation.box(extents)
    return Surface(mesh.vertices + np.array(shift), mesh.faces)


def test_dice_of_masks_by_hand() -> None:
    a, b = np.zeros((2, 3, 4), dtype=bool), np.zeros((2, 3, 4), dtype=bool)
    a[0, 0, :3] = True
    b[0, 0, 1:] = True
    assert dice(a, b) == pytest.approx(2 * 2 / 6)
    assert dice(a, a) == 1.0
    assert dice(a, ~a) == 0.0
    assert dice(np.zeros_like(a), np.zeros_like(a)) == 1.0
    with pytest.raises(ValueError, match="same grid"):
        dice(a, b[:1])


def test_dice_of_shifted_boxes_is_exact() -> None:
    # Faces on voxel boundaries: overlap 7 of 10.
    assert surface_dice(box((10, 6, 8)), box((10, 6, 8), (3, 0, 0)), everywhere()) == pytest.approx(0.7, abs=1e-12)
    assert surface_dice(box((10, 6, 8)), box((10, 6, 8), (0, 0, 2)), everywhere()) == pytest.approx(0.75, abs=1e-12)
    assert surface_dice(box((2, 2, 2)), box((2, 2, 2), (9, 0, 0)), everywhere()) == 0.0


def test_dice_of_concentric_spheres() -> None:
    small, large = (trimesh.creation.icosphere(subdivisions=4, radius=radius) for radius in (18.0, 20.0))
    surfaces = [Surface(mesh.vertices, mesh.faces) for mesh in (small, large)]
    expected = 2 * 18.0**3 / (18.0**3 + 20.0**3)
    # 0.5 mm voxels on spheres of this size: far below a thousandth.
    assert surface_dice(*surfaces, everywhere()) == pytest.approx(expected, abs=1e-3)
    # Only one half counts inside the box; the ratio stays.
    half = np.array([[-50.0, -50.0, 0.0], [50.0, 50.0, 50.0]])
    assert surface_dice(*surfaces, half) == pytest.approx(expected, abs=1e-3)


def test_voxels_are_inside_exactly_where_the_shape_is() -> None:
    """An asymmetric box in an anisotropic grid: axes and directions must not be mixed up."""
    grid = Grid((-3.0, 10.0, 100.0), (0.5, 1.0, 2.0), (9, 14, 20))
    low, high = np.array([-1.3, 12.2, 103.0]), np.array([2.2, 17.7, 113.0])
    mesh = trimesh.creation.box(bounds=[low, high])
    inside = voxelized(Surface(mesh.vertices, mesh.faces), grid)
    x, y, z = grid.axes
    expected = (
        ((z > low[2]) & (z < high[2]))[:, None, None]
        & ((y > low[1]) & (y < high[1]))[None, :, None]
        & ((x > low[0]) & (x < high[0]))[None, None, :]
    )
    np.testing.assert_array_equal(inside, expected)
    # Winding does not matter.
    np.testing.assert_array_equal(voxelized(Surface(mesh.vertices, mesh.faces[:, ::-1]), grid), expected)


def test_voxelized_volume_of_an_oblique_shape() -> None:
    mesh = trimesh.creation.torus(20.0, 6.0)
    mesh.apply_transform(trimesh.transformations.rotation_matrix(0.6, [1, 2, 3]))
    surface = Surface(mesh.vertices, mesh.faces)
    grid = common_grid([surface], everywhere(), 0.5)
    assert grid is not None
    assert np.count_nonzero(voxelized(surface, grid)) * 0.125 == pytest.approx(surface.volume, rel=2e-3)


def test_open_surfaces_have_no_dice() -> None:
    closed = box((4, 4, 4))
    opened = Surface(closed.vertices, closed.faces[:-1])
    assert encloses_volume(closed) and not encloses_volume(opened) and not encloses_volume(Surface.empty())
    with pytest.raises(NoEnclosedVolume, match="second surface"):
        surface_dice(closed, opened, everywhere())
    with pytest.raises(NoEnclosedVolume, match="not closed"):
        voxelized(opened, Grid((0, 0, 0), (1, 1, 1), (2, 2, 2)))


def test_common_grid_voxels_lie_inside_the_box() -> None:
    grid = common_grid([box((40, 40, 40))], np.array([[-3.2, -9.0, -1.0], [5.0, 9.0, 1.0]]), 0.5)
    assert grid is not None
    np.testing.assert_allclose(grid.bounds, [[-3.0, -9.0, -1.0], [5.0, 9.0, 1.0]])
    assert common_grid([box((4, 4, 4))], np.array([[10.0] * 3, [20.0] * 3])) is None
    assert common_grid([Surface.empty()], everywhere()) is None


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 2.0, 3.0)])
def test_two_voxels_2_mm_apart(spacing: tuple[float, float, float]) -> None:
    """Single voxels, 1 mm wide along x, with centres 2 mm apart along x.

    Each surface is a voxel's six faces. From one to the other the far face is 2 away, the near face 1, and the four
    sides rise evenly from 1 to 2: on average 1.5 whatever the voxel measures along y and z. So the averages are 1.5
    and 1.5 and the Hausdorff distance is 2.
    """
    grid = Grid((-7.0, 3.0, 40.0), spacing, (6, 7, 9))
    surfaces = []
    for column in (3, 5):
        labels = np.zeros(grid.shape, dtype=np.uint8)
        labels[2, 4, column] = 1
        surfaces.append(label_surface(labels, grid, 1))
    result = surface_distances(*surfaces)
    assert result.mean_a_to_b == pytest.approx(1.5, abs=1e-9)
    assert result.mean_b_to_a == pytest.approx(1.5, abs=1e-9)
    assert result.assd == pytest.approx(1.5, abs=1e-9)
    assert result.hd == pytest.approx(2.0, abs=1e-9)
    assert surface_dice(*surfaces, everywhere()) == 0.0


def test_voxel_faces_bound_the_voxels() -> None:
    """An asymmetric block in an anisotropic grid: place, size, outward winding; also voxels that only touch along an
    edge.
    """
    grid = Grid((10.0, -20.0, 5.0), (0.5, 1.0, 2.0), (5, 6, 7))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[1:3, 2:5, 0:4] = 4
    surface = label_surface(labels, grid, 4)
    np.testing.assert_allclose(surface.bounds, [[9.75, -18.5, 6.0], [11.75, -15.5, 10.0]])
    assert surface.volume == pytest.approx(2.0 * 3.0 * 4.0)
    assert surface.is_closed()
    np.testing.assert_array_equal(voxelized(surface, grid), labels == 4)
    assert label_surface(labels, grid, 3).is_empty
    labels[:] = 0
    labels[1, 1, 1] = labels[2, 2, 1] = 1
    touching = label_surface(labels, grid, 1)
    assert encloses_volume(touching)
    np.testing.assert_array_equal(voxelized(touching, grid), labels == 1)


def test_smooth_label_surface_is_closer_to_the_shape() -> None:
    grid = Grid.cube((0.0, 0.0, 0.0), 30.0, 30)
    x, y, z = grid.axes
    labels = (x[None, None] ** 2 + y[None, :, None] ** 2 + z[:, None, None] ** 2 < 12.0**2).astype(np.uint8)
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=12.0)
    truth = Surface(mesh.vertices, mesh.faces)
    rough, smooth = (label_surface(labels, grid, 1, smooth) for smooth in (False, True))
    assert smooth.volume == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03)
    rough_error, smooth_error = (surface_distances(item, truth).assd for item in (rough, smooth))
    # Voxels of 1 mm: faces are about 0.25 mm off, relaxed ones much less.
    assert 0.15 < rough_error < 0.35
    assert smooth_error < 0.6 * rough_error


def test_segmentation_gives_the_bones_it_has(tmp_path) -> None:
    grid = Grid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (4, 5, 6))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[1:3, 1:3, 1:5] = 2
    labels[3, 4, 5] = 1
    path = tmp_path / "bones.seg.nrrd"
    write_segmentation(path, labels, grid)
    surfaces = surfaces_of_segmentation(path)
    assert set(surfaces) == {"femur", "patella"}
    assert surfaces["femur"].volume == pytest.approx(16.0)
    assert surfaces["patella"].volume == pytest.approx(1.0)
