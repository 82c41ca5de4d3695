"""Templates and registration: closest points, similarities, even meshes with flat ends, bones in correspondence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from simple_bones import MIRROR, simple_bone

from SSRKDCore.evaluation.exact_distances import DistanceToSurface
from SSRKDCore.population.closest_points import ClosestPoints, barycentric
from SSRKDCore.population.correspondence import Registration
from SSRKDCore.population.rigid_motion import Similarity, similarity_between
from SSRKDCore.population.template import Template, even_mesh
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface

_END = 150.0


@pytest.fixture(scope="module")
def template() -> Template:
    return even_mesh(simple_bone("femur", end=103.0), 4.0, _END, extruded_from=90.0)


@pytest.fixture(scope="module")
def registration(template: Template) -> Registration:
    return Registration(template)


def _decimated(bone: Surface) -> Surface:
    """The bone with a tenth of its triangles, of very different sizes, as the anatomy folder has them."""
    from vtkmodules.vtkFiltersCore import vtkQuadricDecimation

    decimation = vtkQuadricDecimation()
    decimation.SetInputData(bone.to_vtk())
    decimation.SetTargetReduction(0.9)
    decimation.Update()
    return Surface.from_vtk(decimation.GetOutput())


def test_closest_points_are_those_of_an_independent_search() -> None:
    bone = _decimated(simple_bone("tibia"))
    low, high = bone.bounds
    points = np.random.default_rng(0).uniform(low - 5.0, high + 5.0, (500, 3))
    search = ClosestPoints(bone)
    closest, triangle = search.query(points)
    distance = np.linalg.norm(closest - points, axis=1)
    np.testing.assert_allclose(distance, DistanceToSurface(bone).unsigned(points), atol=2e-2)
    share = barycentric(closest, search.triangles[triangle])
    assert share.min() > -1e-9
    np.testing.assert_allclose(np.einsum("nc,ncx->nx", share, search.triangles[triangle]), closest, atol=1e-9)


def test_a_similarity_is_found_and_never_mirrors() -> None:
    generator = np.random.default_rng(1)
    points = generator.normal(size=(40, 3)) * [10, 20, 40]
    truth = Similarity(
        1.2, Rotation.from_euler("xyz", [20, -30, 100], degrees=True).as_matrix(), np.array([5.0, -7, 9])
    )
    found = similarity_between(points, truth.apply(points))
    np.testing.assert_allclose(found.apply(points), truth.apply(points), atol=1e-9)
    np.testing.assert_allclose(found.inverse().apply(found.apply(points)), points, atol=1e-9)
    mirrored = similarity_between(points, points * [-1, 1, 1])
    assert np.linalg.det(mirrored.rotation) == pytest.approx(1.0)


def test_an_even_mesh_is_closed_flat_ended_and_on_the_bone(template: Template) -> None:
    surface = template.surface
    assert surface.is_closed()
    assert surface.volume > 0
    np.testing.assert_allclose(template.vertices[template.rim, 2], _END)
    np.testing.assert_allclose(template.vertices[template.own_count :, 2], _END)
    assert template.vertices[: template.own_count, 2].max() <= _END + 1e-9
    seen = template.vertices[template.vertices[:, 2] < 85.0]
    # The net follows a signed distance on a lattice of 1.25 mm: a tenth of that at edges of 12 mm radius.
    assert DistanceToSurface(simple_bone("femur")).unsigned(seen).max() < 0.25
    edges = np.linalg.norm(np.diff(surface.triangles[:, [0, 1, 2, 0]], axis=1), axis=2)
    assert np.quantile(edges, 0.01) > 1.0
    assert np.quantile(edges, 0.99) < 8.0


def test_a_bone_is_matched_wherever_it_lies(registration: Registration) -> None:
    turn = Rotation.from_euler("xyz", [4, -6, 8], degrees=True).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, [30, -20, 60]
    bone = simple_bone("femur", 1.1, 1.5).transformed(matrix)
    found = registration.register(bone)
    own = found.vertices[: registration.template.own_count]
    # The last noise level of the registration is 0.3 mm; the shaft's bow was extruded straight in the template.
    assert DistanceToSurface(bone).unsigned(own).mean() < 0.15
    assert found.seen.all()
    assert np.percentile(found.distances, 95) < 0.6


def test_what_a_short_scan_lacks_is_not_seen(registration: Registration) -> None:
    found = registration.register(simple_bone("femur", end=70.0))
    z = found.vertices[: registration.template.own_count, 2]
    seen = found.seen[: registration.template.own_count]
    assert seen[z < 60.0].all()
    assert not seen[z > 70.0].any()
    assert not found.seen[registration.template.own_count :].any()
    assert np.percentile(found.distances, 95) < 0.6


def test_a_flawed_stretch_counts_as_missing(registration: Registration) -> None:
    found = registration.register(simple_bone("femur"), usable_to=50.0)
    own = registration.template.own_count
    assert not found.seen[:own][found.vertices[:own, 2] > 52.0].any()
    assert found.seen[:own][found.vertices[:own, 2] < 48.0].all()


def test_the_other_side_fits_worse(registration: Registration) -> None:
    right = simple_bone("femur")
    matched, mirrored = (registration.register(bone).vertices for bone in (right, right.transformed(MIRROR)))
    width = [(vertices[:, 0].max(), -vertices[:, 0].min()) for vertices in (matched, mirrored)]
    # A rigid start keeps the sides: the mirror image keeps its larger condyle on the other side.
    assert width[0][0] > width[0][1]
    assert width[1][0] < width[1][1]


def test_a_real_femur_is_matched(shared_data: Path) -> None:
    bone = read_surface(shared_data / "femora" / "z035_R.ply")
    draws = np.load(shared_data / "ssm_clouthier" / "clouthier100.npz")
    template = even_mesh(Surface(draws["mean_femur"], draws["faces_femur"]), 3.0, 190.0, 92.0)
    found = Registration(template).register(bone)
    # docs/measured/shape_model.json: a median of 0.1 mm over all femora.
    assert np.median(found.distances) < 0.2
    assert np.percentile(found.distances, 95) < 0.6
    assert found.seen.all()
