"""Rigid alignment finds a known motion again, and never mirrors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from SSRKDCore.evaluation.alignment import aligned, alignment_warnings, rigid_motion
from SSRKDCore.evaluation.undetermined_motion import SHIFT, TURN, eigenmotions, undetermined_motions
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_bone_surfaces


def _motion(angle: float, shift: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(angle) * np.array([0.2, 0.5, 0.84])).as_matrix()
    matrix[:3, 3] = shift
    return matrix


@pytest.fixture(scope="module")
def bones(repository: Path) -> dict[str, Surface]:
    return read_bone_surfaces(repository / "Resources" / "SampleCase")


@pytest.mark.parametrize("mode", ["knee", "bone"])
def test_a_moved_knee_comes_back(bones: dict[str, Surface], mode: str) -> None:
    motion = _motion(4.0, (3.0, -2.0, 4.0))
    moved = {name: surface.transformed(motion) for name, surface in bones.items()}
    back, found = aligned(moved, bones, mode)
    assert set(found) == ({"knee"} if mode == "knee" else set(bones))
    for name, surface in back.items():
        difference = np.linalg.norm(surface.vertices - bones[name].vertices, axis=1).mean()
        # A round shaft may slide along and about itself; together the bones hold one another.
        assert difference < (0.2 if mode == "knee" else 3.0), name
    for alignment in found.values():
        assert alignment.residual_mm < 0.3 < alignment.before_mm
    if mode == "knee":
        assert found["knee"].rotation_degrees == pytest.approx(4.0, abs=0.3)


def test_none_moves_nothing(bones: dict[str, Surface]) -> None:
    same, found = aligned(bones, bones, "none")
    assert found == {} and same == bones


def test_a_bone_without_partner_goes_with_the_knee_only(bones: dict[str, Surface]) -> None:
    motion = _motion(0.0, (5.0, 0.0, 0.0))
    moved = {name: surface.transformed(motion) for name, surface in bones.items()}
    partial = {name: surface for name, surface in bones.items() if name != "patella"}
    knee, _ = aligned(moved, partial, "knee")
    single, found = aligned(moved, partial, "bone")
    assert np.abs(knee["patella"].vertices - bones["patella"].vertices).mean() < 0.3
    assert "patella" not in found and single["patella"] is moved["patella"]


def test_a_shaft_that_only_one_shows_does_not_pull(bones: dict[str, Surface]) -> None:
    """The reference lacks the upper third of the femur: what is left decides."""
    femur = bones["femur"]
    limit = np.quantile(femur.vertices[:, 2], 0.67)
    short = Surface(femur.vertices, femur.faces[(femur.triangles[:, :, 2] < limit).all(axis=1)])
    moved = femur.transformed(_motion(0.0, (2.0, 1.0, 0.0)))
    back, _ = aligned({"femur": moved}, {"femur": short}, "bone")
    assert np.linalg.norm(back["femur"].vertices - femur.vertices, axis=1).mean() < 1.0


def test_the_best_motion_is_never_a_mirror() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    matrix = rigid_motion(points, points * [-1, 1, 1])
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1.0)


def _samples(mesh: Any) -> tuple[np.ndarray, np.ndarray]:
    """Points all over a mesh and the unit normals there."""
    points, faces = mesh.sample(6000, return_index=True, seed=3)
    return np.asarray(points), np.asarray(mesh.face_normals[faces])


def _pipe() -> Any:
    """The side of a cylinder, 60 mm long, 10 mm thick in radius, without its ends."""
    trimesh = pytest.importorskip("trimesh")
    rod = trimesh.creation.cylinder(10.0, 60.0, sections=180)
    rod.update_faces(np.abs(rod.face_normals[:, 2]) < 0.5)
    return rod


def test_a_cylinder_does_not_hold_its_axis() -> None:
    turned = _motion(35.0, (10.0, 20.0, 30.0))
    axis = turned[:3, 2]
    found = undetermined_motions(*_samples(_pipe().apply_transform(turned)))
    assert sorted(item.kind for item in found) == [SHIFT, TURN]
    for item in found:
        # 180 flat sides: a turn is not quite free.
        assert item.residual_per_mm < 0.02
        assert abs(item.direction @ axis) > 0.9999


def test_a_sphere_holds_every_shift_and_no_turn() -> None:
    trimesh = pytest.importorskip("trimesh")
    points, normals = _samples(trimesh.creation.icosphere(4, 20.0).apply_translation((100.0, -50.0, 7.0)))
    assert [item.kind for item in undetermined_motions(points, normals)] == [TURN] * 3
    # A shift of 1 mm changes a distance by its cosine with the normal there: squared, a third on average.
    shifts = [item.residual_per_mm for item in eigenmotions(points, normals) if item.kind == SHIFT]
    assert shifts == pytest.approx([3**-0.5] * 3, abs=0.02)


def test_an_l_shape_holds_everything() -> None:
    trimesh = pytest.importorskip("trimesh")
    arms = [trimesh.creation.box((40.0, 10.0, 10.0)), trimesh.creation.box((10.0, 10.0, 30.0))]
    arms[0].apply_translation((20.0, 0.0, 0.0))
    arms[1].apply_translation((5.0, 0.0, 20.0))
    corner = trimesh.boolean.union(arms, engine="manifold").apply_transform(_motion(20.0, (5.0, 5.0, 5.0)))
    points, normals = _samples(corner)
    assert undetermined_motions(points, normals) == ()


def test_a_shaft_that_slid_is_told_and_a_whole_end_is_not(bones: dict[str, Surface]) -> None:
    """The lower part of the fibula, 5 mm too low: most of it is aligned away, or not undone, and the warning says along which way."""
    fibula = bones["fibula"]
    top = fibula.vertices[:, 2].max()
    shaft = Surface(fibula.vertices, fibula.faces[(fibula.triangles[:, :, 2] < top - 30.0).all(axis=1)])
    low = _motion(0.0, (0.0, 0.0, -5.0))
    back, found = aligned({"fibula": shaft.transformed(low)}, {"fibula": shaft}, "bone")
    used = np.unique(shaft.faces)
    left = (back["fibula"].vertices - shaft.vertices)[used, 2].mean()
    assert left < -1.0 and found["fibula"].residual_mm < 0.3
    (motion,) = found["fibula"].undetermined
    assert motion.kind == SHIFT and motion.direction[2] > 0.9
    (warning,) = alignment_warnings(found)
    assert "fibula" in warning and "up or down" in warning and "cannot be trusted" in warning
    assert found["fibula"].to_dict()["undetermined"][0]["kind"] == "shift"
    _, whole = aligned({name: surface.transformed(low) for name, surface in bones.items()}, bones, "bone")
    assert set(whole) == set(bones) and alignment_warnings(whole) == []


def test_what_closes_a_surface_where_the_image_ends_holds_nothing() -> None:
    """A closed cylinder: its flat ends hold it along its length, unless they only are where the field of view ends."""
    trimesh = pytest.importorskip("trimesh")
    rod = trimesh.creation.cylinder(10.0, 20.0, sections=90)
    rod = trimesh.Trimesh(*trimesh.remesh.subdivide_to_size(rod.vertices, rod.faces, 1.5))
    closed = {"patella": Surface(np.asarray(rod.vertices), np.asarray(rod.faces))}
    box = np.array([[-100.0, -100.0, -10.0], [100.0, 100.0, 10.0]])
    _, free = aligned(closed, closed, "bone", box)
    assert sorted(motion.kind for motion in free["patella"].undetermined) == [SHIFT, TURN]
    _, held = aligned(closed, closed, "bone")
    assert [motion.kind for motion in held["patella"].undetermined] == [TURN]
    assert "left to right" not in alignment_warnings(held)[0] and "foot to head" in alignment_warnings(held)[0]
