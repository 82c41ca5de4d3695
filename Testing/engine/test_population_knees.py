"""Random knees: distances, labels, densities and surfaces agree, and left is left."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.grid import Grid
from SSRKDCore.population.anatomies import Anatomy, affine_fit
from SSRKDCore.population.knee_sampler import (
    DistanceField,
    KneeRanges,
    attenuation_volume,
    bone_distances,
    distance_fields,
    labels_of_distances,
    sample_knee,
    sample_tissue,
)
from SSRKDCore.population.knee_surfaces import knee_surfaces
from SSRKDCore.surface import Surface


def _ball(center: tuple[float, float, float], radius: float) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return Surface(np.asarray(mesh.vertices) + center, np.asarray(mesh.faces))


def ball_knee() -> Anatomy:
    """A right 'knee' of four balls: femur above, tibia below, patella in front, fibula on the right (lateral) side, LPS."""
    bones = {
        "patella": _ball((0, -40, 30), 12),
        "femur": _ball((0, 0, 35), 30),
        "fibula": _ball((-32, 10, -40), 10),
        "tibia": _ball((2, 0, -32), 28),
    }
    return Anatomy("balls", "balls", {name: bones[name] for name in BONE_NAMES})


@pytest.fixture(scope="module")
def fields() -> list[DistanceField]:
    return distance_fields(ball_knee())


def test_distance_fields_of_balls_are_exact_near_the_surface(fields: list[DistanceField]) -> None:
    # Patella, femur, fibula, tibia of `ball_knee`; the icospheres of 5120 triangles lie up to 0.03 mm inside the balls.
    balls = (((0, -40, 30), 12), ((0, 0, 35), 30), ((-32, 10, -40), 10), ((2, 0, -32), 28))
    for field, (center, radius) in zip(fields, balls, strict=True):
        shape = field.grid.shape
        z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
        points = field.grid.points(z.ravel(), y.ravel(), x.ravel())
        truth = np.linalg.norm(points - np.array(center), axis=1).reshape(shape) - radius
        assert np.abs(field.values - truth)[np.abs(truth) < 3.5].max() < 0.05
        assert (field.values < -2.0)[truth < -4].all() and (field.values > 2.0)[truth > 4].all()


def _still() -> KneeRanges:
    zero = (0.0, 0.0, 0.0)
    return KneeRanges((1.0, 1.0), 0.0, (0.0, 0.0), 0.0, 0.0, 0.0, zero, zero, 0.0, 0.0)


def test_the_same_seed_gives_the_same_knee(fields: list[DistanceField]) -> None:
    points = np.random.default_rng(0).uniform(-60, 60, (500, 3))
    first, second, other = (
        bone_distances(sample_knee(fields, np.random.default_rng(seed)), points) for seed in (3, 3, 4)
    )
    assert np.array_equal(first, second) and not np.array_equal(first, other)


def test_both_sides_come_and_the_fibula_is_lateral_on_each(fields: list[DistanceField]) -> None:
    seen = set()
    grid = Grid.cube((0, 0, 0), 160, 40)
    x = grid.axes[0]
    for seed in range(12):
        knee = sample_knee(fields, np.random.default_rng(seed))
        zz, yy, xx = np.meshgrid(*(axis for axis in grid.axes[::-1]), indexing="ij")
        distances = bone_distances(knee, np.stack([xx.ravel(), yy.ravel(), zz.ravel()], axis=1))
        labels = labels_of_distances(distances).reshape(grid.shape)
        mean_x = {label: x[np.nonzero(labels == label)[2]].mean() for label in (3, 4)}
        # The patient's right is negative x in LPS, and lateral of a right knee is to the right.
        assert (mean_x[3] < mean_x[4]) == (knee.side == "right")
        seen.add(knee.side)
    assert seen == {"right", "left"}


def test_labels_name_the_deepest_bone() -> None:
    distances = np.array([[1, 2, 3, 4], [-1, 2, 2, -3], [5, -2, -1, 5]], dtype=np.float32)
    assert labels_of_distances(distances).tolist() == [0, 4, 2]


def test_surfaces_and_distances_agree(fields: list[DistanceField]) -> None:
    knee = sample_knee(fields, np.random.default_rng(5))
    surfaces = knee_surfaces(knee, Grid.cube((0, 0, 0), 190, 190))
    for index, name in enumerate(BONE_NAMES):
        surface = surfaces[name]
        assert surface.is_closed() and surface.volume > 0
        assert np.abs(bone_distances(knee, surface.vertices)[:, index]).mean() < 0.1


def test_densities_are_where_the_bones_are(fields: list[DistanceField]) -> None:
    generator = np.random.default_rng(1)
    knee = sample_knee(fields, generator, _still())
    tissue = sample_tissue(generator)
    grid = Grid((-99.0, -99.0, -90.0), (1.5, 1.5, 1.5), (120, 132, 132))
    volume = attenuation_volume(knee, tissue, grid, generator)
    assert volume[:, 0, 0].max() == 0.0
    assert volume.max() == pytest.approx(tissue.cortical, rel=0.1)
    centre = np.round(grid.indices(np.array([[0.0, 0.0, 35.0]]))[0]).astype(int)
    assert tissue.marrow * 0.8 < volume[tuple(centre)] < tissue.trabecular * 1.4
    assert tissue.cortical > tissue.trabecular > tissue.fat


def test_affine_fit_finds_a_known_map() -> None:
    generator = np.random.default_rng(2)
    # An asymmetric cloud, so that only one map fits.
    cloud = generator.normal(size=(3000, 3)) * [30, 12, 50] + (generator.normal(size=(3000, 1)) ** 2) * [4, 2, 0]
    turn = np.array([[1.06, 0.05, 0.0], [-0.04, 0.97, 0.03], [0.02, 0.0, 1.1]])
    target = cloud @ turn.T + [3.0, -2.0, 5.0]
    fit = affine_fit(cloud, target, iterations=80)
    moved = cloud @ fit[:3, :3].T + fit[:3, 3]
    assert np.linalg.norm(moved - target, axis=1).mean() < 0.5


def test_real_legs_are_mirrored_to_the_right_and_excluded_by_subject(shared_data) -> None:  # type: ignore[no-untyped-def]
    from SSRKDCore.errors import InputError
    from SSRKDCore.population.anatomies import read_legs

    legs = read_legs(shared_data, ["TLEM2_CT"])
    assert "TLEM2_CT" not in {leg.subject for leg in legs} and len(legs) == 7
    for leg in legs:
        assert leg.bones["fibula"].centroid[0] < leg.bones["tibia"].centroid[0], leg.name
        assert all(surface.volume > 0 for surface in leg.bones.values())
    with pytest.raises(InputError, match="no subject NOBODY"):
        read_legs(shared_data, ["NOBODY"])
