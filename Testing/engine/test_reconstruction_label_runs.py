"""Connected regions from runs, against labelling every voxel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from SSRKDCore.anatomy import BONES
from SSRKDCore.reconstruction.components import keep_one_piece
from SSRKDCore.reconstruction.label_runs import LabelRuns


def _volumes(count: int) -> list[np.ndarray]:
    """Blobs of several labels in boxes of all shapes, some of one voxel along an axis."""
    generator = np.random.default_rng(2)
    volumes = []
    for number in range(count):
        shape = generator.integers(1, 13, 3)
        fields = [
            ndimage.gaussian_filter(generator.standard_normal(shape), 0.2 + number % 5 / 4)
            for _ in range(2 + number % 4)
        ]
        volumes.append(np.argmax(fields, axis=0).astype(np.uint8))
    return volumes


@pytest.mark.parametrize("volume", _volumes(40))
def test_regions_are_those_of_voxels(volume: np.ndarray) -> None:
    runs = LabelRuns.of(volume)
    region = np.zeros(volume.size, dtype=int)
    for first, last, number in zip(runs.start, runs.stop, runs.region, strict=True):
        assert len(np.unique(volume.reshape(-1)[first:last])) == 1
        region[first:last] = number
    region = region.reshape(volume.shape)
    border = np.ones(volume.shape, dtype=bool)
    border[1:-1, 1:-1, 1:-1] = False
    known = 0
    for label in np.unique(volume):
        pieces, count = ndimage.label(volume == label)
        known += count
        for piece in range(1, count + 1):
            (number,) = np.unique(region[pieces == piece])
            assert runs.sizes()[number] == np.count_nonzero(pieces == piece)
            assert runs.region_labels()[number] == label
            assert runs.at_the_border()[number] == border[pieces == piece].any()
            chosen = np.zeros(len(runs.sizes()), dtype=bool)
            chosen[number] = True
            found = np.zeros(volume.shape, dtype=bool)
            found[runs.voxels(chosen)] = True
            np.testing.assert_array_equal(found, pieces == piece)
    assert known == len(runs.sizes())


def test_a_column_of_voxels_is_one_region() -> None:
    volume = np.zeros((5, 4, 6), dtype=np.uint8)
    volume[:, 2, 3] = 7
    runs = LabelRuns.of(volume)
    assert runs.sizes()[runs.region_labels() == 7].tolist() == [5]


@pytest.mark.parametrize("loose", [False, True])
@pytest.mark.parametrize("inside", [0, 3])
def test_cavities_are_filled_unless_they_hold_a_bone(loose: bool, inside: int) -> None:
    z, y, x = np.mgrid[:30, :30, :30] - 14.5
    radius = np.sqrt(z**2 + y**2 + x**2)
    volume = np.where((radius < 12) & (radius > 6), 2, 0).astype(np.uint8)
    if loose:
        volume[0, 0, 0] = 2
    core = radius < 2
    volume[core] = inside
    cleaned, counts = keep_one_piece(volume)
    assert cleaned[0, 0, 0] == 0
    assert (counts["femur"].pieces, counts["femur"].removed_voxels) == ((2, 1) if loose else (1, 0))
    hollow = (radius <= 6) & ~(core & (inside > 0))
    expected = 2 if inside == 0 else 0
    assert (cleaned[hollow] == expected).all()
    assert counts["femur"].filled_voxels == (np.count_nonzero(hollow) if inside == 0 else 0)


def test_no_bone_at_all() -> None:
    cleaned, counts = keep_one_piece(np.zeros((4, 5, 6), dtype=np.uint8))
    assert not cleaned.any() and cleaned.shape == (4, 5, 6)
    assert {count.pieces for count in counts.values()} == {0} and set(counts) == {bone.name for bone in BONES}
