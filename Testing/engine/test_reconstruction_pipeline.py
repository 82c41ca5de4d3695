"""The whole chain from radiographs to surfaces, with a network that sees a known knee."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from knee_model import knee_model, shadow_radiographs

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.exact_distances import surface_distances
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.reconstruction import pipeline
from SSRKDCore.reconstruction.pipeline import Reconstruction, inferred_side, reconstruct
from SSRKDCore.surface_files import write_surface


@pytest.fixture(scope="module")
def rig() -> Rig:
    return preset("room", rows=200, columns=200, pixel_spacing=(2.15, 2.15))


@pytest.fixture(scope="module")
def model(rig: Rig) -> Model:
    return knee_model(rig)


@pytest.fixture(scope="module")
def result(rig: Rig, model: Model) -> Reconstruction:
    return reconstruct(shadow_radiographs(rig), rig, model, resolution=96, device="cpu")


def test_four_bones_in_their_places(result: Reconstruction, tmp_path: Path) -> None:
    """The knee is a right one: fibula towards -x, patella towards -y, femur above the tibia - in the written files."""
    centers = {}
    for name, surface in result.surfaces.items():
        assert surface.is_closed()
        write_surface(tmp_path / f"{name}.stl", surface)
        mesh = trimesh.load_mesh(tmp_path / f"{name}.stl")
        assert mesh.is_volume
        centers[name] = mesh.center_mass
    assert centers["fibula"][0] < centers["tibia"][0] - 25
    assert centers["patella"][1] < centers["femur"][1] - 25
    assert centers["femur"][2] > 20 > -20 > centers["tibia"][2]
    # The patella is a capsule about (0, -48, 19), seen from two sides: the hull has its centre.
    np.testing.assert_allclose(centers["patella"], [0.0, -48.0, 19.0], atol=1.5)


def test_labels_agree_with_the_surfaces(result: Reconstruction) -> None:
    voxel = np.prod(result.grid.spacing)
    for label, name in enumerate(("patella", "femur", "fibula", "tibia"), start=1):
        volume = np.count_nonzero(result.labels == label) * voxel
        assert result.surfaces[name].volume == pytest.approx(volume, rel=0.05)


def test_what_is_told_about_the_run(result: Reconstruction) -> None:
    assert set(result.timings) == {
        "input",
        "encode",
        "view order",
        "tables",
        "octree",
        "components",
        "surfaces",
        "total",
    }
    assert result.timings["total"] >= result.timings["octree"] > 0
    assert (result.side, result.declared_side, result.device) == ("right", "right", "cpu")
    assert result.model_name == "capsule knee"
    assert result.evaluated_points < 96**3


def test_dense_gives_the_same_labels(rig: Rig, model: Model) -> None:
    images = shadow_radiographs(rig)
    labels = [
        reconstruct(images, rig, model, resolution=64, device="cpu", dense=dense).labels for dense in (True, False)
    ]
    assert (labels[0] > 0).sum() > 1000
    np.testing.assert_array_equal(labels[0], labels[1])


def test_a_tolerance_asks_for_fewer_points_and_moves_the_surface_by_less(rig: Rig, model: Model) -> None:
    images = shadow_radiographs(rig)

    def run(**changes: Any) -> Reconstruction:
        return reconstruct(images, rig, model, resolution=128, device="cpu", check_view_order=False, **changes)

    exact, near = run(), run(surface_tolerance_mm=0.3)
    assert (exact.surface_tolerance_mm, near.surface_tolerance_mm) == (0.0, 0.3)
    assert near.evaluated_points < 0.8 * exact.evaluated_points
    moved = [surface_distances(near.surfaces[name], exact.surfaces[name]).hd95 for name in exact.surfaces]
    assert 0 < max(moved) < 0.3
    assert run(surface_tolerance_mm=0.3, dense=True).surface_tolerance_mm == 0.0
    with pytest.raises(InputError, match="surface tolerance is 0"):
        run(surface_tolerance_mm=0.7)


def test_the_order_of_the_views_does_not_matter(rig: Rig, model: Model, result: Reconstruction) -> None:
    turned = Rig(rig.views[::-1], rig.field_of_view, rig.provenance)
    again = reconstruct(shadow_radiographs(rig)[::-1], turned, model, resolution=96, device="cpu")
    np.testing.assert_array_equal(again.labels, result.labels)


def test_a_side_that_contradicts_the_fibula_is_a_warning(rig: Rig, model: Model) -> None:
    found = reconstruct(shadow_radiographs(rig), rig, model, resolution=48, device="cpu", side="left")
    assert (found.side, found.declared_side) == ("right", "left")
    assert any("right knee" in words and "left" in words for words in found.warnings)


def test_side_from_labels(result: Reconstruction) -> None:
    assert inferred_side(result.labels, result.grid) == "right"
    assert inferred_side(result.labels[:, :, ::-1], result.grid) == "left"
    assert inferred_side(np.where(result.labels == 3, 0, result.labels), result.grid) is None


def _silenced(model: Model, classes: list[int]) -> Model:
    """The model with these classes never winning."""
    import copy

    network = copy.deepcopy(model.network)
    with torch.no_grad():
        network.classifier.layers[-1].bias[classes] -= 1000.0  # type: ignore[union-attr]
    return replace(model, network=network)


def test_an_absent_bone_is_a_warning_and_no_bone_an_error(rig: Rig, model: Model) -> None:
    found = reconstruct(shadow_radiographs(rig), rig, _silenced(model, [1]), resolution=48, device="cpu")
    assert found.surfaces["patella"].is_empty
    assert "The patella was not found." in found.warnings
    with pytest.raises(InputError, match="No bone found"):
        reconstruct(shadow_radiographs(rig), rig, _silenced(model, [1, 2, 3, 4]), resolution=48, device="cpu")


def test_progress_and_cancellation(rig: Rig, model: Model) -> None:
    told: list[tuple[float, str]] = []
    images = shadow_radiographs(rig)
    reconstruct(
        images, rig, model, resolution=64, device="cpu", progress=lambda share, words: told.append((share, words))
    )
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert all(words for _, words in told)
    asked: list[None] = []

    def later() -> bool:
        asked.append(None)
        return len(asked) > 3

    with pytest.raises(Cancelled):
        reconstruct(images, rig, model, resolution=64, device="cpu", cancelled=later)
    assert next(model.network.parameters()).device.type == "cpu"


def test_out_of_memory_is_told_and_survived(rig: Rig, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, attempts = pipeline.PointSampler, []

    class Hungry(sampler):  # type: ignore[misc, valid-type]
        def logits_at(self, points: torch.Tensor) -> torch.Tensor:
            if not attempts:
                attempts.append(self.block_points)
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            attempts.append(self.block_points)
            return super().logits_at(points)

    monkeypatch.setattr(pipeline, "PointSampler", Hungry)
    said: list[str] = []
    found = reconstruct(shadow_radiographs(rig), rig, model, resolution=48, device="cpu", message=said.append)
    assert attempts[1] * 8 == attempts[0]
    assert len(said) == 1 and "smaller" in said[0]
    assert said[0] in found.warnings


@pytest.mark.parametrize("resolution", [0, 31, 513, 64.5, True])
def test_resolutions_out_of_range(rig: Rig, model: Model, resolution: int) -> None:
    with pytest.raises(InputError, match="resolution"):
        reconstruct(shadow_radiographs(rig), rig, model, resolution=resolution)
