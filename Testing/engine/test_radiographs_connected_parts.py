"""Parts found from runs are those that labelling every pixel finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from SSRKDCore.radiographs.connected_parts import connected_parts


@pytest.mark.parametrize("diagonal", [False, True])
def test_parts_boxes_and_masks_are_those_of_labelling(diagonal: bool) -> None:
    generator = np.random.default_rng(0)
    for _ in range(60):
        mask = generator.random(tuple(generator.integers(1, 50, 2))) < generator.random()
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)) if diagonal else None)
        parts = connected_parts(mask, diagonal)
        assert len(parts.pixels) == count
        assert np.array_equal(parts.pixels, np.bincount(labels.ravel(), minlength=count + 1)[1:])
        for part, box in enumerate(ndimage.find_objects(labels)):
            assert parts.box(part) == box
            assert np.array_equal(parts.mask(part, box), labels[box] == part + 1)
        chosen = generator.random(count) < 0.5
        assert np.array_equal(parts.together(chosen), np.concatenate([[False], chosen])[labels])


def test_a_wider_box_ends_with_the_image_and_nothing_wraps_around_its_sides() -> None:
    mask = np.zeros((5, 7), dtype=bool)
    mask[1, 6] = mask[2, 0] = True
    parts = connected_parts(mask, diagonal=True)
    assert len(parts.pixels) == 2
    assert parts.box(0, 3) == (slice(0, 5), slice(3, 7))
    assert connected_parts(np.zeros((4, 4), dtype=bool)).boxes.shape == (0, 2, 2)
