"""The first training: samples, standardisation, augmentation, projection, and that it learns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_population_knees import ball_knee

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.network_view import network_view
from SSRKDCore.geometry.presets import preset
from SSRKDCore.json_files import write_json
from SSRKDCore.networks.coordinates import normalised_coordinates
from SSRKDCore.population.knee_sampler import distance_fields
from SSRKDCore.radiographs.standardise import ROBUST, standardise
from SSRKDCore.training.augmentation import augment, gaussian_blur, standardise_batch
from SSRKDCore.training.simulated_cases import (
    RigRanges,
    SampleSizes,
    load_samples,
    random_views,
    save_samples,
    simulate,
)
from SSRKDCore.training.train_compact import project_points


@pytest.fixture(scope="module")
def samples() -> list[dict[str, np.ndarray]]:
    sizes = SampleSizes(image=256, near_points_per_bone=200, uniform_points=300, voxel=2.5)
    return simulate(distance_fields(ball_knee(), spacing=2.0), np.random.default_rng(0), 2, None, sizes)


def test_samples_have_the_stated_content(samples: list[dict[str, np.ndarray]], tmp_path: Path) -> None:
    for sample in samples:
        assert sample["images"].shape == (2, 256, 256) and np.isfinite(sample["images"]).all()
        assert set(np.unique(sample["labels"])) == {0, 1, 2, 3, 4}
        half = sample["cube"][3] / 2
        assert (np.abs(sample["points"] - sample["cube"][:3]) <= half + 1e-4).all()
        # Near points straddle the surfaces: about half of them inside a bone.
        near = sample["labels"][: int(sample["near"])] > 0
        assert 0.3 < near.mean() < 0.7
    save_samples(tmp_path / "knee000000.npz", samples)
    back = load_samples(tmp_path / "knee000000.npz")
    assert len(back) == 2 and all(np.array_equal(back[1][key], samples[1][key]) for key in samples[1])


def test_bone_projects_to_dense_pixels(samples: list[dict[str, np.ndarray]]) -> None:
    # Points inside the femur fall on pixels with longer paths than points of the cube at large.
    for sample in samples:
        points, labels = sample["points"], sample["labels"]
        for image, matrix in zip(sample["images"].astype(np.float64), sample["projections"], strict=True):
            homogeneous = points @ matrix[:, :3].T + matrix[:, 3]
            pixels = np.rint(homogeneous[:, :2] / homogeneous[:, 2:]).astype(int).clip(0, 255)
            values = image[pixels[:, 0], pixels[:, 1]]
            uniform = np.arange(len(labels)) >= int(sample["near"])
            assert values[labels == 2].mean() > values[uniform & (labels == 0)].mean() * 1.1


def test_random_rigs_stay_within_their_ranges_and_see_the_cube() -> None:
    generator = np.random.default_rng(1)
    separations = []
    for _ in range(60):
        views, cube = random_views(generator, RigRanges(), 64)
        assert 130 <= cube.size <= 215
        for view in views:
            pixels = view.project(cube.corners)[0]
            assert pixels.min() >= -0.5 - 1e-6 and pixels.max() <= 63.5 + 1e-6
            assert 1.04 < view.magnification(cube.center) < 2.01
        separations.append(np.degrees(np.arccos(abs(views[0].normal @ views[1].normal))))
    assert min(separations) > 35 and max(separations) > 80


def test_projection_in_torch_is_the_projection_of_the_views() -> None:
    rig = preset("room", "left")
    views = [network_view(view, rig.field_of_view, 256) for view in rig.views]
    points = np.random.default_rng(0).uniform(-60, 60, (50, 3))
    cube = np.array([*rig.field_of_view.center, rig.field_of_view.size])
    matrices = np.stack([view.projection_matrix for view in views])
    coordinates, depths = project_points(*(torch.from_numpy(a)[None] for a in (points, matrices, cube)), 256)
    for index, view in enumerate(views):
        pixels, depth = view.project(points)
        assert np.allclose(coordinates[0, index].numpy(), normalised_coordinates(pixels, 256, 256))
        assert np.allclose(depths[0, index].numpy(), (depth - view.project(rig.field_of_view.center)[1]) / 80.0)


def test_standardisation_forgets_exposure_and_unit_but_not_shape() -> None:
    image = np.random.default_rng(0).gamma(2.0, 1.0, (64, 64))
    coverage = np.ones((64, 64))
    first = standardise(image, coverage, ROBUST)
    assert np.allclose(standardise(image * 37.0 + 5.0, coverage, ROBUST), first, atol=1e-5)
    assert np.median(first) == pytest.approx(0.0, abs=1e-6) and first.max() <= 4.0
    assert np.ptp(np.percentile(first, [5, 95])) == pytest.approx(2.0, abs=1e-5)
    coverage[:, :10] = 0
    assert (standardise(image, coverage, ROBUST)[:, :10] == 0).all()


def test_training_and_inference_standardise_alike() -> None:
    image = np.random.default_rng(3).gamma(2.0, 1.0, (1, 80, 60)).astype(np.float32)
    coverage = np.ones_like(image)
    coverage[:, :7] = 0
    batch = standardise_batch(torch.from_numpy(image), torch.from_numpy(coverage), 5.0, 95.0, 4.0)
    assert np.allclose(batch[0].numpy(), standardise(image[0], coverage[0], ROBUST), atol=1e-5)


def test_standardisation_refuses_what_it_cannot_do() -> None:
    ones = np.ones((8, 8))
    with pytest.raises(InputError, match="constant"):
        standardise(ones, ones, ROBUST)
    with pytest.raises(InputError, match="sees nothing"):
        standardise(ones, ones * 0, ROBUST)
    with pytest.raises(InputError, match="does not know"):
        standardise(ones, ones, {"method": "magic"})
    assert standardise(ones, ones, {"method": "scale", "factor": 6.0}).max() == 6.0


def test_augmentation_is_seeded_finite_and_keeps_order_of_brightness() -> None:
    ramp = torch.linspace(0.0, 4.0, 64).expand(6, 64, 64).contiguous()
    first, coverage = augment(ramp, torch.Generator().manual_seed(5))
    second, _ = augment(ramp, torch.Generator().manual_seed(5))
    assert torch.equal(first, second) and torch.isfinite(first).all() and not torch.equal(first, ramp)
    assert set(coverage.unique().tolist()) <= {0.0, 1.0}
    columns = first[:, 20:44, :].mean(dim=1)
    assert (columns[:, 48:].mean(dim=1) > columns[:, :16].mean(dim=1)).all()


def test_blur_keeps_the_sum_and_widens_a_point() -> None:
    image = torch.zeros(1, 41, 41)
    image[0, 20, 20] = 1.0
    blurred = gaussian_blur(image, 2.0)
    assert float(blurred.sum()) == pytest.approx(1.0, abs=1e-5)
    position = torch.arange(41.0) - 20
    assert float((blurred[0].sum(dim=0) * position**2).sum()) == pytest.approx(4.0, rel=0.02)


def test_training_learns_checkpoints_and_goes_on(samples: list[dict[str, np.ndarray]], tmp_path: Path) -> None:
    """A few seconds of the real command: the loss falls, and a second call continues from the checkpoint."""
    folder = tmp_path / "samples"
    folder.mkdir()
    for index in range(3):
        save_samples(folder / f"knee{index:06d}.npz", samples)
    settings = {
        "architecture": "compact", "seed": 1, "batch": 1, "points": 256, "learning_rate": 0.003, "weight_decay": 0.0,
        "warm_up_steps": 2, "minutes": 0.12, "average_decay": 0.9, "bfloat16": False, "checkpoint_minutes": 0.05,
    }  # fmt: skip
    steps, losses = [], []
    for minutes in (0.12, 0.2):
        write_json(tmp_path / "config.json", {"training": settings | {"minutes": minutes}})
        command = [sys.executable, "-m", "SSRKDCore.training.train_compact", "--config", str(tmp_path / "config.json")]
        command += ["--samples", str(folder), "--out", str(tmp_path / "run"), "--threads", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
        steps.append(state["step"])
        losses.append(state["loss"])
    assert 0 < steps[0] < steps[1]
    assert losses[1] < 1.5 < np.log(5) + 0.1
