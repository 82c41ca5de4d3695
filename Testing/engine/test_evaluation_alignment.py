"""Rigid alignment finds a known motion again, and never mirrors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from SSRKDCore.evaluation.alignment import aligned, rigid_motion
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
