"""Exact distances against values known by hand and against libigl and trimesh."""

from __future__ import annotations

from pathlib import Path

import igl
import numpy as np
import pytest
import trimesh

from SSRKDCore.evaluation.exact_distances import (
    DistanceToSurface,
    EmptySurface,
    signed_distances,
    surface_distances,
    weighted_percentile,
)
from SSRKDCore.evaluation.surface_sampling import sampled, subdivided, triangle_areas
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface


def surface_of(mesh: trimesh.Trimesh) -> Surface:
    return Surface(mesh.vertices, mesh.faces)


def sphere(radius: float, subdivisions: int = 5) -> Surface:
    return surface_of(trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius))


def cube(size: float, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Surface:
    return moved(surface_of(trimesh.creation.box((size, size, size))), shift)


def moved(surface: Surface, shift: tuple[float, float, float]) -> Surface:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return surface.transformed(matrix)


def test_concentric_spheres_lie_the_difference_of_their_radii_apart() -> None:
    result = surface_distances(sphere(20.0), sphere(23.0))
    # The chords of these meshes (20,480 triangles) lie up to 0.012 mm inside their spheres.
    assert result.assd == pytest.approx(3.0, abs=0.01)
    assert result.hd == pytest.approx(3.0, abs=0.02)
    assert result.hd95 == pytest.approx(3.0, abs=0.02)
    assert result.mean_a_to_b == pytest.approx(3.0, abs=0.01)
    assert result.mean_b_to_a == pytest.approx(3.0, abs=0.01)


def test_shifted_cubes_as_computed_by_hand() -> None:
    """Cubes of side L = 10 shifted by s = 3 along x.

    From A to B: the left face (area L^2) is 3 from B's left face, so it adds 3 L^2. The right face lies inside B, 3
    from B's left face but also min(y, z distance to B's sides), so its points at depth q from the nearest side (the
    perimeter at that depth is 4 (L - 2 q)) are min(3, q) away: the integral of min(3, q) 4 (10 - 2q) dq over 0..5 is
    72 + 48 - 0 = 156. The four side faces lie in the planes of B's sides: the strip before B is 3 - x away, (3^2 / 2)
    L each, so 4 * 45 = 180, and 0 beyond. In all (300 + 156 + 180) / 600 = 1.06.
    """
    depth = np.linspace(0, 5, 200_001)
    right_face = np.trapezoid(np.minimum(3.0, depth) * 4 * (10 - 2 * depth), depth)
    assert right_face == pytest.approx(156.0, abs=1e-3)
    expected = (300 + right_face + 180) / 600
    result = surface_distances(cube(10.0), cube(10.0, (3.0, 0.0, 0.0)))
    # The distance has creases that the samples (0.43 mm) resolve to their square.
    assert result.assd == pytest.approx(expected, abs=0.001)
    assert result.hd == pytest.approx(3.0, abs=1e-9)
    # 1 / 6 of the area (the left face) is exactly 3 away: more than 5 %.
    assert result.hd95 == pytest.approx(3.0, abs=1e-9)


def test_parallel_squares_far_beyond_each_other() -> None:
    """Open surfaces: a square and one of half its side, centred 2 mm above it. Downwards every point is 2 away;
    upwards a
    corner is farthest, sqrt(2^2 + 2.5^2 + 2.5^2)."""
    corners = np.array([[-5, -5, 0], [5, -5, 0], [5, 5, 0], [-5, 5, 0]], dtype=float)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    large, small = Surface(corners, faces), Surface(corners / 2 + [0, 0, 2], faces)
    result = surface_distances(large, small)
    assert result.mean_b_to_a == pytest.approx(2.0, abs=1e-12)
    assert result.hd == pytest.approx(np.sqrt(4 + 12.5), abs=1e-9)
    # The directed mean upwards by direct integration over a fine grid of the square.
    line = (np.arange(2000) + 0.5) / 200 - 5
    beyond = np.maximum(np.abs(line) - 2.5, 0)
    upwards = np.sqrt(4 + beyond[:, None] ** 2 + beyond[None] ** 2).mean()
    assert result.mean_a_to_b == pytest.approx(upwards, abs=1.5e-3)
    # Pooled over area: the large square counts four times as much.
    assert result.assd == pytest.approx((100 * upwards + 25 * 2.0) / 125, abs=1.5e-3)


def test_identical_surfaces_are_zero_apart() -> None:
    result = surface_distances(sphere(20.0, 4), sphere(20.0, 4))
    assert result.assd < 1e-9
    assert result.hd < 1e-9


def test_averages_weigh_area_not_triangles() -> None:
    """One half of a plate is cut into many triangles; that must not change the mean distance to a slanted plane."""
    coarse = surface_of(trimesh.creation.box((20.0, 10.0, 1.0)))
    right = coarse.triangles.mean(axis=1)[:, 0] > 0
    pieces = np.concatenate([coarse.triangles[~right], subdivided(coarse.triangles[right], 0.7)])
    uneven = Surface(pieces.reshape(-1, 3), np.arange(3 * len(pieces)).reshape(-1, 3))
    slanted = Surface(np.array([[-40, -40, 12], [40, -40, 28], [40, 40, 28], [-40, 40, 12.0]]), [[0, 1, 2], [0, 2, 3]])
    even = surface_distances(coarse, slanted).mean_a_to_b
    assert surface_distances(uneven, slanted).mean_a_to_b == pytest.approx(even, abs=1e-6)


def test_symmetric_scales_and_rigid_motions() -> None:
    a = surface_of(trimesh.creation.icosphere(subdivisions=3, radius=9.0))
    b = surface_of(trimesh.creation.box((14.0, 17.0, 12.0)))
    result = surface_distances(a, b)
    swapped = surface_distances(b, a)
    assert (swapped.assd, swapped.hd, swapped.hd95) == pytest.approx((result.assd, result.hd, result.hd95), abs=1e-9)
    assert swapped.mean_a_to_b == pytest.approx(result.mean_b_to_a, abs=1e-9)
    motion = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3])
    motion[:3, 3] = [100, -50, 30]
    turned = surface_distances(a.transformed(motion), b.transformed(motion))
    # The same triangles are cut in the same way: only rounding differs (edges of equal length may be cut in another
    # order).
    assert turned.assd == pytest.approx(result.assd, rel=1e-4)
    assert turned.hd == pytest.approx(result.hd, abs=0.006)
    larger = surface_distances(a.transformed(np.diag([2, 2, 2, 1.0])), b.transformed(np.diag([2, 2, 2, 1.0])))
    assert larger.assd == pytest.approx(2 * result.assd, rel=1e-3)
    assert larger.hd == pytest.approx(2 * result.hd, abs=0.012)


def test_the_maximum_is_found_between_samples() -> None:
    """A lone spike: its tip, a vertex, is the farthest point however coarse the samples are."""
    base = surface_of(trimesh.creation.box((40.0, 40.0, 40.0)))
    vertices = np.vstack([base.vertices, [20.0, 3.0, 3.0], [20.0, 3.4, 3.0], [20.0, 3.0, 3.4], [29.0, 3.1, 3.1]])
    n = len(base.vertices)
    spike = Surface(vertices, np.vstack([base.faces, [[n, n + 1, n + 3], [n + 1, n + 2, n + 3], [n + 2, n, n + 3]]]))
    assert surface_distances(spike, base).hd == pytest.approx(9.0, abs=1e-9)


def test_signs_are_positive_outside_whatever_the_blocks() -> None:
    target = sphere(10.0, 4)
    points = np.random.default_rng(1).normal(size=(6000, 3))
    points *= np.random.default_rng(2).uniform(5, 15, size=(6000, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
    radius = np.linalg.norm(points, axis=1)
    # 6000 points go to threads, 100 do not; chords of this mesh lie up to 0.025 mm inside the sphere.
    np.testing.assert_allclose(signed_distances(points, target), radius - 10.0, atol=0.03)
    field = DistanceToSurface(target)
    np.testing.assert_allclose(field.signed(points)[:100], field.signed(points[:100]), atol=1e-12)
    assert len(field.signed(np.zeros((0, 3)))) == 0


def test_distances_equal_libigls_on_bones(shared_data: Path) -> None:
    femur = read_surface(shared_data / "legs" / "TLEM2_CT_R" / "patella.ply")
    other = read_surface(shared_data / "legs" / "ICL_MRI_R" / "patella.ply")
    samples = sampled(femur.triangles, 2.5)
    squared, _, _ = igl.point_mesh_squared_distance(samples.points, other.vertices, other.faces)[:3]
    ours = DistanceToSurface(other).unsigned(samples.points)
    np.testing.assert_allclose(ours, np.sqrt(squared), atol=1e-9)
    # The same mean from another sampling (uniformly random) and another library: its standard error is about 0.005 mm.
    points, _ = trimesh.sample.sample_surface(trimesh.Trimesh(femur.vertices, femur.faces), 60_000, seed=3)
    squared, _, _ = igl.point_mesh_squared_distance(np.asarray(points), other.vertices, other.faces)[:3]
    result = surface_distances(femur, other)
    assert result.mean_a_to_b == pytest.approx(np.sqrt(squared).mean(), abs=0.03)
    # libigl's Hausdorff distance goes between vertices of one and triangles of the other: a lower bound, close on
    # dense meshes.
    vertices = max(
        np.sqrt(igl.point_mesh_squared_distance(p.vertices, q.vertices, q.faces)[0]).max()
        for p, q in ((femur, other), (other, femur))
    )
    assert vertices - 1e-9 <= result.hd <= vertices + 0.1


def test_distances_equal_trimeshs() -> None:
    target = trimesh.creation.torus(10.0, 3.0, major_sections=16, minor_sections=10)
    points = np.random.default_rng(4).uniform(-15, 15, size=(200, 3))
    count = len(target.faces)
    every = trimesh.triangles.closest_point(
        np.tile(target.triangles, (len(points), 1, 1)), np.repeat(points, count, axis=0)
    )
    expected = np.linalg.norm(every.reshape(len(points), count, 3) - points[:, None], axis=2).min(axis=1)
    np.testing.assert_allclose(DistanceToSurface(surface_of(target)).unsigned(points), expected, atol=1e-9)


def test_subdivision_keeps_area_and_winding() -> None:
    triangles = surface_of(trimesh.creation.box((30.0, 4.0, 0.5))).triangles
    small = subdivided(triangles, 1.0)
    assert triangle_areas(small).sum() == pytest.approx(triangle_areas(triangles).sum(), rel=1e-12)
    edges = np.linalg.norm(np.roll(small, -1, axis=1) - small, axis=2)
    # Rows and columns are at most 1 mm apart, so a diagonal measures at most twice that.
    assert edges.max() <= 2.0
    # A uniform split of these slivers by their longest edge would make more than 10,000.
    assert len(small) < 1000
    # Divergence theorem: the small triangles enclose the same volume, with its sign, only if every one keeps its
    # winding.
    volume = np.einsum("ij,ij->i", small[:, 0], np.cross(small[:, 1], small[:, 2])).sum() / 6
    assert volume == pytest.approx(60.0, rel=1e-12)


def test_weighted_percentile() -> None:
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([0.05, 0.45, 0.5])
    assert weighted_percentile(values, weights, 0.95) == 2.0
    assert weighted_percentile(values, weights, 0.96) == 3.0
    assert weighted_percentile(values, weights, 0.2) == 1.0


def test_surfaces_without_area_are_refused() -> None:
    line = Surface(np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0.0]]), [[0, 1, 2]])
    for nothing in (Surface.empty(), line):
        with pytest.raises(EmptySurface, match="no area"):
            surface_distances(nothing, cube(1.0))
        with pytest.raises(EmptySurface, match="no area"):
            surface_distances(cube(1.0), nothing)


def test_triangles_without_area_do_not_disturb() -> None:
    box = cube(10.0)
    with_sliver = Surface(box.vertices, np.vstack([box.faces, [[0, 0, 1], [2, 2, 2]]]))
    plain, same = surface_distances(box, cube(12.0)), surface_distances(with_sliver, cube(12.0))
    assert same.assd == pytest.approx(plain.assd, abs=1e-12)
