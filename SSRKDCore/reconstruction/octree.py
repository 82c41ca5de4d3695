"""Evaluating an occupancy field coarse to fine: every label of the dense grid, from a few per cent of its points.

All of it is done where the field computes: labels and logits come to the host once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from SSRKDCore.reconstruction.field_evaluation import FieldEvaluation, LogitField, Progress, SparseOccupancy
from SSRKDCore.reconstruction.grid_level import (
    ALL_NEIGHBOURS,
    FACE_NEIGHBOURS,
    GridLevel,
    largest_around,
    margin,
    mixed_cells,
    over_corners,
)
from SSRKDCore.reconstruction.interpolated_level import InterpolatedLevel

#: Samples per axis of the grid on which the search starts.
START_RESOLUTION = 32
#: Cells are refined this many cells around those whose corners disagree, on the first grid.
DILATION = 1
#: A cell of a coarse grid whose corners agree is refined as well where the smallest logit margin of its corners is
#: below this fraction of the change of the margin across the cell and its neighbours: a surface may hide between the
#: samples there.
HIDDEN_SURFACE_FRACTION = 0.5
CPU = torch.device("cpu")


def _cells_that_may_hide_a_surface(level: GridLevel, logits: Tensor) -> Tensor:
    """(n-1, n-1, n-1) cells of a level, evaluated at all its samples in order, in which the margin is small against its
    change from sample to sample.
    """
    margins = margin(logits, level.labels.view(-1)).view(level.labels.shape)
    smallest, largest = over_corners(margins, torch.minimum), over_corners(margins, torch.maximum)
    return smallest < HIDDEN_SURFACE_FRACTION * largest_around(largest - smallest)


def _around(cells: Tensor) -> Tensor:
    """The cells and those within `DILATION` of them."""
    near = cells.float()
    for _ in range(DILATION):
        near = largest_around(near)
    return near > 0


def _evaluate_cells(
    coarse: GridLevel,
    fine: GridLevel,
    cells: Tensor,
    evaluation: FieldEvaluation,
    share: tuple[float, float],
    last: bool,
    words: str,
) -> None:
    """Evaluate all fine samples in cells of a coarse level, and follow the surfaces until no unknown sample lies across a
    change of label.
    """
    offsets = FACE_NEIGHBOURS if last else ALL_NEIGHBOURS
    wanted = fine.unknown_samples_in(cells, coarse)
    while len(wanted):
        evaluation.evaluate(fine, wanted, share, words)
        wanted = fine.unknown_across(wanted, offsets)
        share = (share[1], share[1])


def _refine(
    coarse: GridLevel, fine: GridLevel, evaluation: FieldEvaluation, share: tuple[float, float], last: bool, words: str
) -> None:
    """Evaluate the fine samples around the surfaces in the mixed cells of a coarse level whose mixed cells have known
    corners.

    The logits are interpolated from the coarse corners first. Evaluated are the ends of all edges at which the labels
    change (on coarser levels the corners of all mixed cells), and every sample whose interpolated margin is below the
    largest error that the interpolation has shown; then, until there is none, unknown samples across a change of label.
    """
    flat = fine.unknown_samples_in(mixed_cells(coarse.labels), coarse)
    if not len(flat):
        return
    samples, logits = evaluation.kept()
    guess = coarse.interpolated(coarse.rows(samples), logits, fine, flat)
    labels, known = fine.labels.view(-1), fine.known.view(-1)
    guessed_labels = guess.argmax(dim=1).to(torch.uint8)
    labels[flat] = guessed_labels
    guessed_margin = margin(guess, guessed_labels)
    del guess, samples, logits

    offsets = FACE_NEIGHBOURS if last else ALL_NEIGHBOURS
    wanted = fine.unknown_across(flat, offsets)
    error = torch.zeros((), device=fine.device)
    while len(wanted):
        place = torch.searchsorted(flat, wanted).clamp_max_(len(flat) - 1)
        before = labels[wanted]
        true_margin = margin(evaluation.evaluate(fine, wanted, share, words), before)
        # How far interpolation was off where it can be checked: between the true margin of the guessed class and the
        # guessed one.
        off = (true_margin - guessed_margin[place]).abs_()
        error = torch.maximum(error, torch.where(flat[place] == wanted, off, 0.0).max())
        doubtful = ~known[flat] & (guessed_margin < error)
        wanted = fine.unknown_across(wanted, offsets, torch.where(doubtful, flat, fine.count**3))
        share = (share[1], share[1])  # what follows is small


def _strides(resolution: int, start_resolution: int) -> list[int]:
    stride = 1
    while resolution / (2 * stride) >= start_resolution:
        stride *= 2
    strides = [stride]
    while strides[-1] > 1:
        strides.append(strides[-1] // 2)
    return strides


@torch.inference_mode()
def evaluate_sparse(
    field: LogitField,
    resolution: int,
    start_resolution: int = START_RESOLUTION,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    device: torch.device = CPU,
    tolerance: float = 0.0,
) -> SparseOccupancy:
    """Classify resolution^3 samples by evaluating only those near the surfaces.

    The search starts on about `start_resolution`^3 samples, all evaluated. Cells whose corners disagree, their
    neighbours, and cells in which a surface may hide are halved, and so on down to the finest grid, where it goes on
    until both ends of every edge across which the label changes were evaluated. The labels are those of the dense
    evaluation unless a part of a bone is so thin that no coarse sample gives a hint of it.

    `field` is asked for indices on `device` and answers there (see `PointSampler.field`).

    With a `tolerance`, in sample spacings, samples are interpolated instead where that is expected to move the surface
    by less (see `interpolated_level`): several times fewer are evaluated, and labels may differ where the surface
    passes that close to a sample. 0 evaluates all.

    Raises Cancelled between blocks when `cancelled()` says so.
    """
    strides = _strides(resolution, start_resolution)
    evaluation = FieldEvaluation(field, device, progress, cancelled)
    # Each level has about four times the samples of the one before.
    weights = np.array([4.0**i for i in range(len(strides))])
    shares = np.concatenate([[0.0], np.cumsum(weights) / weights.sum()])
    words = "finding the bones"

    level = GridLevel(resolution, strides[0], device)
    everywhere = torch.arange(level.count**3, device=device)
    logits = evaluation.evaluate(level, everywhere, (shares[0], shares[1]), words)
    interpolated: InterpolatedLevel | None = None
    for step, stride in enumerate(strides[1:], start=1):
        fine = level.finer(stride)
        share = (float(shares[step]), float(shares[step + 1]))
        last = stride == 1
        if step == 1:
            cells = _around(mixed_cells(level.labels)) | _cells_that_may_hide_a_surface(level, logits)
            if tolerance > 0:
                interpolated = InterpolatedLevel.first(level, fine, cells, evaluation, share, last, words)
            else:
                _evaluate_cells(level, fine, cells, evaluation, share, last, words)
        elif interpolated is not None:
            interpolated = interpolated.finer(fine, evaluation, tolerance, share, last, words)
        else:
            _refine(level, fine, evaluation, share, last, words)
        level = fine
    evaluation.tell(1.0, words)
    return evaluation.result(level)


@torch.inference_mode()
def evaluate_dense(
    field: LogitField,
    resolution: int,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    device: torch.device = CPU,
) -> SparseOccupancy:
    """Classify resolution^3 samples by evaluating all of them; `field` and `device` as in `evaluate_sparse`.

    Only labels are kept on the way; the logits at label changes are evaluated once more, so that memory stays small.
    """
    evaluation = FieldEvaluation(field, device, progress, cancelled)
    level = GridLevel(resolution, 1, device)
    labels = level.labels.view(-1)
    words = "classifying every point"
    for start in range(0, len(labels), evaluation.block_points):
        evaluation.tell(0.95 * start / len(labels), words)
        stop = min(start + evaluation.block_points, len(labels))
        z, y, x = level.unravelled(torch.arange(start, stop, device=device))
        labels[start:stop] = evaluation.ask(z, y, x).argmax(dim=1).to(torch.uint8)
    ends = torch.zeros_like(level.known)
    for axis in range(3):
        length = resolution - 1
        change = level.labels.narrow(axis, 0, length) != level.labels.narrow(axis, 1, length)
        for first in (0, 1):
            ends.narrow(axis, first, length).logical_or_(change)
    evaluation.evaluate(level, torch.nonzero(ends.view(-1))[:, 0], (0.95, 1.0), words)
    evaluation.tell(1.0, words)
    return evaluation.result(level)
