"""Parts of synthetic CTs against closed forms: the blurred cortex, tubes, the scanner's noise, and the comparison's measurements."""

from __future__ import annotations

import numpy as np
import pytest

from SSRKDCore.grid import Grid
from SSRKDCore.population.bone_density import add_bone, texture_tile
from SSRKDCore.population.bone_distance import DistanceBox
from SSRKDCore.population.painting import paint_tube
from SSRKDCore.population.scanner_noise import with_noise
from SSRKDCore.population.tissue import TissueParameters


@pytest.mark.parametrize("cortex", [0.3, 1.0, 4.0])
def test_a_blurred_cortex_keeps_its_mass(cortex):
    """Blur moves density but adds none: over a flat wall the excess over soft tissue and core is that of the sharp steps."""
    voxel, outside, core = 0.25, 50.0, 200.0
    tissue = TissueParameters(resolution=0.6, cortical_hu=1600.0)
    x = voxel * np.arange(240) - 30.0
    distance = np.broadcast_to(-x, (4, 4, 240)).astype(np.float32).copy()
    volume = np.full(distance.shape, outside, dtype=np.float32)
    deepest, labels = np.zeros_like(volume), np.zeros(volume.shape, np.uint8)
    coarse = np.zeros((4, 4, 82, 7), dtype=np.float32)
    coarse[..., 0] = -(3 * voxel * np.arange(82) - 30.0)
    coarse[..., 1], coarse[..., 2], coarse[..., 3] = cortex, 0.6, core
    tile = np.zeros((96, 96, 96), dtype=np.float32)
    fine = DistanceBox(np.clip(distance, -1.5 * voxel, 1.5 * voxel), (0, 0, 0))
    add_bone(volume, deepest, labels, "tibia", fine, (0, 0, 0), coarse, tile, tissue, voxel, np.random.default_rng(0))
    profile = volume[1, 1]
    excess = ((profile - np.where(x > 0, core, outside)) * voxel).sum()
    # The half voxel in which the wall lies counts as outside or core: a quarter voxel of 150 HU either way.
    assert excess == pytest.approx(cortex * (1600.0 - core), abs=20.0)
    assert (labels[1, 1] == np.where(x > 0, 4, 0)).all()
    peak = profile.max()
    assert peak < 700.0 if cortex < 0.5 else peak > 800.0
    if cortex == 4.0:
        assert peak == pytest.approx(1600.0, abs=10.0)


def test_texture_is_standardised_and_smooth():
    tile = texture_tile(np.random.default_rng(0), 0.9, 0.6)
    assert tile.shape == (96, 96, 96)
    assert abs(tile.mean()) < 1e-4 and tile.std() == pytest.approx(1.0, abs=1e-3)
    along = [float((tile * np.roll(tile, 1, axis)).mean()) for axis in range(3)]
    # Blurred by the scanner, and drawn out along z.
    assert along[2] > 0.3 and along[0] > along[2] + 0.05


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_tubes_hold_their_volume(axis):
    grid = Grid.cube((0.0, 0.0, 0.0), 60.0, 60)
    volume = np.zeros(grid.shape, dtype=np.float32)
    end = np.zeros(3)
    end[axis] = 15.0
    width = np.roll([0.0, 1.0, 0.0], axis)
    paint_tube(volume, grid, -end, end, 6.0, 1000.0, 0.6, 3.0, width)
    # An elliptic cylinder with flat ends of 30 mm; the edge's blur is symmetric but for the curvature of a narrow ellipse.
    assert volume.sum() / 1000.0 == pytest.approx(np.pi * 6.0 * 3.0 * 30.0, rel=0.04)
    # Where it is wide: an ellipse's second moment is a quarter of the half axis squared.
    index = np.argmax(np.abs(width))
    position = grid.axes[index]
    spread = np.moveaxis(volume, 2 - index, 0).sum(axis=(1, 2))
    assert (spread * position**2).sum() / spread.sum() == pytest.approx(6.0**2 / 4, rel=0.1)


def test_a_tube_without_length_is_a_ball():
    grid = Grid.cube((0.0, 0.0, 0.0), 40.0, 40)
    volume = np.zeros(grid.shape, dtype=np.float32)
    paint_tube(volume, grid, (1.0, -2.0, 3.0), (1.0, -2.0, 3.0), 8.0, 1.0, 0.5)
    assert volume.sum() == pytest.approx(4 / 3 * np.pi * 8.0**3, rel=0.02)
    middle = [
        float((volume.sum(axis=tuple({0, 1, 2} - {2 - i})) * grid.axes[i]).sum() / volume.sum()) for i in range(3)
    ]
    assert middle == pytest.approx([1.0, -2.0, 3.0], abs=0.02)


def test_noise_has_its_deviation_and_cancels_over_areas():
    volume = np.full((40, 120, 110), 100.0, dtype=np.float32)
    noisy = with_noise(volume, 20.0, 0.9, np.random.default_rng(0)).astype(float)
    assert noisy.mean() == pytest.approx(100.0, abs=0.3)
    assert noisy.std() == pytest.approx(20.0, rel=0.03)
    # Its power grows with the frequency from none, where white noise has as much at any.
    power = (np.abs(np.fft.fft2(noisy - 100.0)) ** 2).mean(axis=0)
    frequency = np.hypot(np.fft.fftfreq(120, 0.9)[:, None], np.fft.fftfreq(110, 0.9))
    low, middle = (power[(frequency > a) & (frequency < b)].mean() for a, b in ((0.0, 0.03), (0.2, 0.3)))
    assert low < 0.25 * middle
    assert np.corrcoef(noisy[0].ravel(), noisy[1].ravel())[0, 1] < 0.1


def test_values_are_clipped_to_what_int16_and_a_scanner_hold():
    volume = np.array([[[-3000.0, 60000.0, 12.6]]], dtype=np.float32)
    assert with_noise(volume, 0.0, 1.0, np.random.default_rng(0)).ravel().tolist() == [-1024, 32767, 13]


def leg_of_circles(height: np.ndarray) -> np.ndarray:
    """A CT [z, y, x] of 1 mm: air, a ring of fat of 10 mm, muscle, and a bone with a cortex of 4 mm around marrow."""
    y, x = np.mgrid[-70:71, -70:71]
    radius = np.hypot(x, y)
    ring = np.select([radius < 8, radius < 12, radius < 45, radius < 55], [0.0, 1500.0, 50.0, -100.0], -1000.0)
    return np.broadcast_to(ring, (len(height), *ring.shape)).astype(np.float32)


def test_the_comparison_measures_what_is_there():
    from SSRKDCore.population.ct_realism import measure

    z = np.arange(-140.0, 20.0)
    found = measure(leg_of_circles(z), z, 0.0)
    # Counting pixels of circles of radius 55 and 45 mm.
    assert found["area_mm2"] == pytest.approx(np.pi * 55**2, rel=0.01)
    assert found["fat_share"] == pytest.approx(1 - 45**2 / 55**2, rel=0.02)
    assert found["muscle_median_hu"] == 50.0 and found["fat_median_hu"] == -100.0
    assert found["muscle_local_deviation_hu"] == pytest.approx(0.0, abs=0.1)
    assert sum(found["histogram"]) == pytest.approx(1.0, abs=1e-3)
    profile = found["tibia_profile_hu"]["shaft"]
    assert profile[0] == pytest.approx(50.0) and max(value for value in profile if value is not None) > 1400.0
    assert profile[8] == pytest.approx(0.0, abs=1.0)


def test_the_real_legs_are_told_apart(shared_data):
    from SSRKDCore.population.ct_realism import measure, real_legs

    legs = real_legs(shared_data)
    assert legs["right"][1].bounds[1, 0] <= legs["left"][1].bounds[0, 0] + 1e-6
    part, grid = legs["right"]
    found = measure(part, grid.axes[2], 486.0)
    # Muscle and fat windows of body composition CT.
    assert 30 < found["muscle_median_hu"] < 70 and -120 < found["fat_median_hu"] < -80
    assert found["tibia_profile_hu"]["shaft"][5] > 1200


def test_the_comparison_refuses_early(tmp_path):
    from SSRKDCore.errors import InputError
    from SSRKDCore.population.ct_realism import main

    given = ["--data", str(tmp_path), "--shape-model", str(tmp_path / "none.npz")]
    with pytest.raises(InputError, match="no folder"):
        main([*given, "--out", str(tmp_path / "absent")])
    with pytest.raises(InputError, match="At least two"):
        main([*given, "--out", str(tmp_path), "--cases", "1"])
