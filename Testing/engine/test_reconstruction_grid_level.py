"""One grid of the search against definitions written out sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from SSRKDCore.reconstruction.grid_level import ALL_NEIGHBOURS, FACE_NEIGHBOURS, GridLevel, mixed_cells

CPU = torch.device("cpu")


def _level(resolution: int, stride: int, seed: int) -> GridLevel:
    """A level with random labels, a third of whose samples are known."""
    generator = np.random.default_rng(seed)
    level = GridLevel(resolution, stride, CPU)
    shape = tuple(level.labels.shape)
    level.labels = torch.from_numpy(generator.choice(5, shape, p=(0.8, 0.05, 0.05, 0.05, 0.05)).astype(np.uint8))
    level.known = torch.from_numpy(generator.random(shape) < 0.3)
    return level


@pytest.mark.parametrize("steps_together", [1, 26])
@pytest.mark.parametrize("offsets", [FACE_NEIGHBOURS, ALL_NEIGHBOURS])
def test_samples_across_a_change_of_label(offsets: list[tuple[int, int, int]], steps_together: int) -> None:
    """A CPU looks one step after the other, a GPU in all directions at once: both must find the same."""
    level = _level(9, 1, 1)
    level.steps_together = steps_together
    labels, known = level.labels.numpy(), level.known.numpy()
    given = np.sort(np.random.default_rng(2).choice(9**3, 200, replace=False))
    more = np.array([5, 9**3, 700])
    expected = {int(flat) for flat in more[more < 9**3] if not known.reshape(-1)[flat]}
    for place in zip(*np.unravel_index(given, labels.shape), strict=True):
        for offset in offsets:
            other = tuple(int(a + b) for a, b in zip(place, offset, strict=True))
            if all(0 <= part < 9 for part in other) and labels[other] != labels[place]:
                ends = (place, other)
                expected |= {int(np.ravel_multi_index(end, labels.shape)) for end in ends if not known[end]}
    found = level.unknown_across(torch.from_numpy(given), offsets, torch.from_numpy(more))
    assert found.tolist() == sorted(expected)
    # The marks of one question must not be seen in the next.
    assert level.unknown_across(torch.zeros(0, dtype=torch.int64), offsets).tolist() == []


@pytest.mark.parametrize("resolution", [13, 14, 15, 16])
def test_samples_in_chosen_cells(resolution: int) -> None:
    """The last cell of a coarse grid is narrower where the stride does not divide the grid."""
    coarse, fine = GridLevel(resolution, 4, CPU), _level(resolution, 2, 3)
    cells = np.random.default_rng(resolution).random((coarse.count - 1,) * 3) < 0.3
    inside = np.zeros(fine.labels.shape, dtype=bool)
    for cell in np.argwhere(cells):
        spans = [(fine.index >= coarse.index[i]) & (fine.index <= coarse.index[i + 1]) for i in cell]
        inside |= spans[0][:, None, None] & spans[1][:, None] & spans[2]
    expected = np.flatnonzero(inside & ~fine.known.numpy())
    assert fine.unknown_samples_in(torch.from_numpy(cells), coarse).tolist() == expected.tolist()
    assert len(expected) > 5


@pytest.mark.parametrize("resolution", [13, 15, 16])
def test_the_finer_grid_carries_over_what_is_known(resolution: int) -> None:
    coarse = _level(resolution, 4, 4)
    fine = coarse.finer(2)
    for z, y, x in np.ndindex(*fine.labels.shape):
        at = tuple(fine.index[[z, y, x]])
        cell = tuple(int(np.searchsorted(coarse.index, value, side="right")) - 1 for value in at)
        assert fine.labels[z, y, x] == coarse.labels[cell]
        on_coarse = all(value in coarse.index for value in at)
        assert bool(fine.known[z, y, x]) == (on_coarse and bool(coarse.known[cell]))


@pytest.mark.parametrize("resolution", [13, 15, 16])
def test_interpolation_is_exact_for_what_is_linear(resolution: int) -> None:
    coarse, fine = GridLevel(resolution, 4, CPU), GridLevel(resolution, 2, CPU)
    slopes = torch.tensor([[1.0, -2.0, 0.5], [0.25, 0.0, 3.0]])

    def logits(level: GridLevel) -> tuple[torch.Tensor, torch.Tensor]:
        places = torch.stack(level.in_finest(torch.arange(level.count**3)), dim=1)
        return (places[:, 0] * resolution + places[:, 1]) * resolution + places[:, 2], places.float() @ slopes.t()

    samples, known = logits(coarse)
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    everywhere = torch.arange(fine.count**3)
    found = coarse.interpolated(coarse.rows(samples[order]), known[order], fine, everywhere)
    torch.testing.assert_close(found, logits(fine)[1], atol=1e-4, rtol=0)


def test_cells_with_two_labels() -> None:
    labels = torch.zeros((4, 4, 4), dtype=torch.uint8)
    labels[3, 3, 3] = 2
    mixed = mixed_cells(labels)
    assert mixed.nonzero().tolist() == [[2, 2, 2]]
