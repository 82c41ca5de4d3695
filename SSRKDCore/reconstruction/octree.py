"""Evaluating an occupancy field coarse to fine: every label of the dense grid, from a few per cent of its points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import Cancelled

#: Samples per axis of the grid on which the search starts.
START_RESOLUTION = 32
#: Cells are refined this many cells around those whose corners disagree, on the first grid.
DILATION = 1
#: A cell of a coarse grid whose corners agree is refined as well where the smallest logit margin of its corners is
#: below this fraction of the change of the margin across the cell and its neighbours: a surface may hide between the
#: samples there.
HIDDEN_SURFACE_FRACTION = 0.5
#: Points per call of the field, between which progress is told and cancellation is asked.
BLOCK_POINTS = 65536

#: Logits (N, classes) at the grid samples with indices z, y, x, each (N,) int32.
LogitField = Callable[[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]], NDArray[np.float32]]
Labels = NDArray[np.uint8]
Slots = NDArray[np.int32]


@dataclass(frozen=True)
class SparseOccupancy:
    """Labels everywhere, logits where they matter.

    Attributes
    ----------
    labels: (nz, ny, nx) uint8, the class of largest logit at every sample.
    slots: (nz, ny, nx) int32, the row of `logits` of a sample, -1 where no logits are kept. Both ends of every grid
        edge whose labels differ have a row.
    logits: (M, classes) float32.
    evaluated: how many samples the field was asked for.
    """

    labels: Labels
    slots: Slots
    logits: NDArray[np.float32]
    evaluated: int


class _Evaluation:
    """Asks the field block by block, keeps the logits, tells progress and looks for cancellation."""

    def __init__(
        self,
        field: LogitField,
        progress: Callable[[float, str], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> None:
        self.field = field
        self.progress = progress
        self.cancelled = cancelled
        self.evaluated = 0
        self.kept = 0
        self._buffer = np.empty((0, 0), dtype=np.float32)

    @property
    def logits(self) -> NDArray[np.float32]:
        """Kept logits (M, classes) so far."""
        return self._buffer[: self.kept]

    def ask(self, z: NDArray, y: NDArray, x: NDArray) -> NDArray[np.float32]:
        """Logits (N, classes) at these samples of the finest grid."""
        if self.cancelled is not None and self.cancelled():
            raise Cancelled("The reconstruction was cancelled.")
        self.evaluated += len(z)
        return self.field(
            z.astype(np.int32, copy=False), y.astype(np.int32, copy=False), x.astype(np.int32, copy=False)
        )

    def keep(self, logits: NDArray[np.float32]) -> Slots:
        """Store logits and give their rows."""
        needed = self.kept + len(logits)
        if needed > len(self._buffer):
            larger = np.empty((max(needed, 3 * len(self._buffer) // 2), logits.shape[1]), dtype=np.float32)
            if self.kept:
                larger[: self.kept] = self.logits
            self._buffer = larger
        self._buffer[self.kept : needed] = logits
        rows = np.arange(self.kept, needed, dtype=np.int32)
        self.kept = needed
        return rows

    def tell(self, fraction: float, words: str) -> None:
        if self.progress is not None:
            self.progress(min(fraction, 1.0), words)


class _Level:
    """One grid of the pyramid: every `stride`-th sample of the finest grid and the last one, along each axis."""

    def __init__(self, resolution: int, stride: int) -> None:
        self.index = np.arange(0, resolution, stride, dtype=np.int32)
        if self.index[-1] != resolution - 1:
            self.index = np.append(self.index, np.int32(resolution - 1))
        self.count = len(self.index)
        self.labels: Labels = np.zeros((self.count,) * 3, dtype=np.uint8)
        self.slots: Slots = np.full((self.count,) * 3, -1, dtype=np.int32)

    def evaluate(
        self, flat: NDArray[np.int64], evaluation: _Evaluation, share: tuple[float, float], words: str
    ) -> None:
        """Evaluate the samples with these flat positions; set their labels and slots. `share` is the part of the
        progress.
        """
        labels, slots = self.labels.reshape(-1), self.slots.reshape(-1)
        for start in range(0, len(flat), BLOCK_POINTS):
            part = flat[start : start + BLOCK_POINTS]
            evaluation.tell(share[0] + (share[1] - share[0]) * start / len(flat), words)
            z, y, x = (self.index[i] for i in np.unravel_index(part, self.labels.shape))
            logits = evaluation.ask(z, y, x)
            slots[part] = evaluation.keep(logits)
            labels[part] = logits.argmax(axis=1)

    def next(self, resolution: int, stride: int) -> _Level:
        """The finer grid of that stride: known samples carried over, all others labelled as the lower corner of their
        cell.
        """
        finer = _Level(resolution, stride)
        below = np.searchsorted(self.index, finer.index, side="right") - 1
        # Axis by axis, the fastest last: whole planes are copied then.
        finer.labels = self.labels.take(below, axis=2).take(below, axis=1).take(below, axis=0)
        same = np.searchsorted(finer.index, self.index)
        finer.slots[np.ix_(same, same, same)] = self.slots
        return finer


def _pairs(values: NDArray, axis: int, combine: Callable[[NDArray, NDArray], NDArray]) -> NDArray:
    lower = [slice(None)] * 3
    upper = [slice(None)] * 3
    lower[axis], upper[axis] = slice(None, -1), slice(1, None)
    return combine(values[tuple(lower)], values[tuple(upper)])


def _over_corners(values: NDArray, combine: Callable[[NDArray, NDArray], NDArray]) -> NDArray:
    """`combine` (np.minimum, np.maximum, ...) over the eight corners of every cell: (n,)*3 -> (n-1,)*3."""
    for axis in range(3):
        values = _pairs(values, axis, combine)
    return values


def _mixed_cells(labels: Labels) -> NDArray[np.bool_]:
    """(n-1,)*3: cells whose corners do not all have one label."""
    return _over_corners(labels, np.minimum) != _over_corners(labels, np.maximum)


def _dilated(cells: NDArray, combine: Callable[[NDArray, NDArray], NDArray] = np.logical_or) -> NDArray:
    """`combine` over the 3x3x3 cells around each cell."""
    for axis in range(3):
        padding = [(0, 0)] * 3
        padding[axis] = (1, 1)
        padded = np.pad(cells, padding, mode="edge")
        cells = _pairs(_pairs(padded, axis, combine), axis, combine)
    return cells


def _margin(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,): largest logit minus the second largest."""
    two = np.partition(logits, logits.shape[1] - 2, axis=1)[:, -2:]
    return two[:, 1] - two[:, 0]


def _cells_that_may_hide_a_surface(level: _Level, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(n-1,)*3 cells of a fully evaluated level in which the margin is small against its change from sample to
    sample.
    """
    margin = _margin(logits)[level.slots]
    smallest, largest = _over_corners(margin, np.minimum), _over_corners(margin, np.maximum)
    change = _dilated(largest - smallest, np.maximum)
    return smallest < HIDDEN_SURFACE_FRACTION * change


def _samples_in(cells: NDArray[np.bool_], coarse: _Level, fine: _Level) -> NDArray[np.bool_]:
    """Samples of the fine grid that lie in the chosen cells of the coarse grid, rims included."""
    last_cell = coarse.count - 2
    lower = np.clip(np.searchsorted(coarse.index, fine.index, side="left") - 1, 0, last_cell)
    upper = np.clip(np.searchsorted(coarse.index, fine.index, side="right") - 1, 0, last_cell)
    for axis in range(3):
        cells = np.take(cells, lower, axis=axis) | np.take(cells, upper, axis=axis)
    return cells


_FACE_NEIGHBOURS = [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, -1), (0, -1, 0), (-1, 0, 0)]
_ALL_NEIGHBOURS = [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) != (0, 0, 0)]


def _unknown_across(level: _Level, flat: NDArray[np.int64], offsets: list[tuple[int, int, int]]) -> NDArray[np.int64]:
    """Samples without logits that differ in label from one of the given samples next to them, and given ones next to
    such.
    """
    labels, slots = level.labels.reshape(-1), level.slots.reshape(-1)
    n = level.count
    z, y, x = np.unravel_index(flat, level.labels.shape)
    own = labels.take(flat)
    found = np.zeros(labels.shape, dtype=bool)
    for dz, dy, dx in offsets:
        inside = np.ones(len(flat), dtype=bool)
        for position, step in ((z, dz), (y, dy), (x, dx)):
            if step:
                inside &= position < n - 1 if step > 0 else position > 0
        away = (dz * n + dy) * n + dx
        beside = np.flatnonzero(inside)
        across = flat[beside[labels.take(flat[beside] + away) != own[beside]]]
        found[across] = True
        found[across + away] = True
    candidates = np.flatnonzero(found)
    return candidates[slots.take(candidates) < 0]


def _interpolated(
    coarse: _Level, fine: _Level, flat: NDArray[np.int64], logits: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Logits (N, classes) at fine samples inside cells whose corners are all known: trilinear between the corners."""
    below = np.minimum(np.searchsorted(coarse.index, fine.index, side="right") - 1, coarse.count - 2)
    fraction = ((fine.index - coarse.index[below]) / (coarse.index[below + 1] - coarse.index[below])).astype(np.float32)
    lower = np.unravel_index(flat, fine.labels.shape)
    result = np.zeros((len(flat), logits.shape[1]), dtype=np.float32)
    for corner in range(8):
        steps = (corner >> 2 & 1, corner >> 1 & 1, corner & 1)
        weight = np.ones(len(flat), dtype=np.float32)
        for position, step in zip(lower, steps, strict=True):
            weight *= fraction[position] if step else 1.0 - fraction[position]
        used = np.flatnonzero(weight)
        z, y, x = (below.take(position.take(used)) + step for position, step in zip(lower, steps, strict=True))
        rows = coarse.slots.reshape(-1).take((z * coarse.count + y) * coarse.count + x)
        result[used] += weight[used, None] * logits.take(rows, axis=0)
    return result


def _refine(
    coarse: _Level, fine: _Level, evaluation: _Evaluation, share: tuple[float, float], last: bool, words: str
) -> None:
    """Evaluate the fine samples around the surfaces in the mixed cells of a coarse level whose mixed cells have known
    corners.

    The logits are interpolated from the coarse corners first. Evaluated are the ends of all edges at which the labels
    change (on coarser levels the corners of all mixed cells), and every sample whose interpolated margin is below the
    largest error that the interpolation has shown; then, until there is none, unknown samples across a change of label.
    """
    chosen = _samples_in(_mixed_cells(coarse.labels), coarse, fine)
    flat = np.flatnonzero(chosen.reshape(-1) & (fine.slots.reshape(-1) < 0))
    del chosen
    if not len(flat):
        return
    guess = _interpolated(coarse, fine, flat, evaluation.logits)
    labels, slots = fine.labels.reshape(-1), fine.slots.reshape(-1)
    labels[flat] = guess.argmax(axis=1)
    margin = _margin(guess)
    del guess

    offsets = _FACE_NEIGHBOURS if last else _ALL_NEIGHBOURS
    wanted = _unknown_across(fine, flat, offsets)
    error = 0.0
    while len(wanted):
        place = np.minimum(np.searchsorted(flat, wanted), len(flat) - 1)
        guessed = flat[place] == wanted
        before = labels[wanted].copy()
        fine.evaluate(wanted, evaluation, share, words)
        # How far interpolation was off where it can be checked: between the true margin of the guessed class and the
        # guessed one.
        checked = wanted[guessed]
        logits = evaluation.logits[slots[checked]]
        of_guess = np.take_along_axis(logits, before[guessed, None].astype(np.int64), axis=1)[:, 0]
        others = logits.copy()
        np.put_along_axis(others, before[guessed, None].astype(np.int64), -np.inf, axis=1)
        off = np.abs(of_guess - others.max(axis=1) - margin[place[guessed]])
        error = max(error, float(off.max(initial=0.0)))
        doubtful = flat[(slots[flat] < 0) & (margin < error)]
        wanted = np.union1d(doubtful, _unknown_across(fine, wanted, offsets))
        share = (share[1], share[1])  # what follows is small


def _strides(resolution: int, start_resolution: int) -> list[int]:
    stride = 1
    while resolution / (2 * stride) >= start_resolution:
        stride *= 2
    strides = [stride]
    while strides[-1] > 1:
        strides.append(strides[-1] // 2)
    return strides


def evaluate_sparse(
    field: LogitField,
    resolution: int,
    start_resolution: int = START_RESOLUTION,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SparseOccupancy:
    """Classify resolution^3 samples by evaluating only those near the surfaces.

    The search starts on about `start_resolution`^3 samples, all evaluated. Cells whose corners disagree, their
    neighbours, and cells in which a surface may hide are halved, and so on down to the finest grid, where it goes on
    until both ends of every edge across which the label changes were evaluated. The labels are those of the dense
    evaluation unless a part of a bone is so thin that no coarse sample gives a hint of it.

    Raises Cancelled between blocks when `cancelled()` says so.
    """
    strides = _strides(resolution, start_resolution)
    evaluation = _Evaluation(field, progress, cancelled)
    # Each level has about four times the samples of the one before.
    weights = np.array([4.0**i for i in range(len(strides))])
    shares = np.concatenate([[0.0], np.cumsum(weights) / weights.sum()])
    words = "finding the bones"

    level = _Level(resolution, strides[0])
    level.evaluate(np.arange(level.labels.size), evaluation, (shares[0], shares[1]), words)
    for step, stride in enumerate(strides[1:], start=1):
        fine = level.next(resolution, stride)
        share = (float(shares[step]), float(shares[step + 1]))
        last = stride == 1
        if step == 1:
            cells = _mixed_cells(level.labels)
            for _ in range(DILATION):
                cells = _dilated(cells)
            cells |= _cells_that_may_hide_a_surface(level, evaluation.logits)
            wanted = np.flatnonzero(_samples_in(cells, level, fine).reshape(-1) & (fine.slots.reshape(-1) < 0))
            fine.evaluate(wanted, evaluation, share, words)
            _close(fine, wanted, evaluation, _FACE_NEIGHBOURS if last else _ALL_NEIGHBOURS, share[1], words)
        else:
            _refine(level, fine, evaluation, share, last, words)
        level = fine
    evaluation.tell(1.0, words)
    return SparseOccupancy(level.labels, level.slots, evaluation.logits, evaluation.evaluated)


def _close(
    level: _Level,
    flat: NDArray[np.int64],
    evaluation: _Evaluation,
    offsets: list[tuple[int, int, int]],
    fraction: float,
    words: str,
) -> None:
    """Follow the surfaces from the given evaluated samples until no unknown sample lies across a change of label."""
    wanted = _unknown_across(level, flat, offsets)
    while len(wanted):
        level.evaluate(wanted, evaluation, (fraction, fraction), words)
        wanted = _unknown_across(level, wanted, offsets)


def evaluate_dense(
    field: LogitField,
    resolution: int,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SparseOccupancy:
    """Classify resolution^3 samples by evaluating all of them.

    Only labels are kept on the way; the logits at label changes are evaluated once more, so that memory stays small.
    """
    evaluation = _Evaluation(field, progress, cancelled)
    level = _Level(resolution, 1)
    labels = level.labels.reshape(-1)
    words = "classifying every point"
    for start in range(0, labels.size, BLOCK_POINTS):
        evaluation.tell(0.95 * start / labels.size, words)
        stop = min(start + BLOCK_POINTS, labels.size)
        z, y, x = np.unravel_index(np.arange(start, stop), level.labels.shape)
        labels[start:stop] = evaluation.ask(z, y, x).argmax(axis=1)
    ends = np.zeros(level.labels.shape, dtype=bool)
    for axis in range(3):
        change = _pairs(level.labels, axis, np.not_equal)
        lower = [slice(None)] * 3
        upper = [slice(None)] * 3
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        ends[tuple(lower)] |= change
        ends[tuple(upper)] |= change
    level.evaluate(np.flatnonzero(ends), evaluation, (0.95, 1.0), words)
    evaluation.tell(1.0, words)
    return SparseOccupancy(level.labels, level.slots, evaluation.logits, evaluation.evaluated)
