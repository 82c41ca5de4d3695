"""One grid of the coarse-to-fine search, as tensors on one device, and what can be said of its cells and samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from SSRKDCore.reconstruction.large_arrays import zeros

FACE_NEIGHBOURS = [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, -1), (0, -1, 0), (-1, 0, 0)]
ALL_NEIGHBOURS = [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if (i, j, k) != (0, 0, 0)]


#: Up to so many samples their neighbours are sorted; the marks of a whole grid are read for more.
_FEW = 4096
#: Samples that are handled at once on a CPU: what is computed of them stays in its cache.
_BLOCK = 65536
#: Planes of a grid whose neighbours are looked at in one piece on a CPU.
_PLANES = 32


class GridLevel:
    """Every `stride`-th sample of the finest grid and the last one, along each axis: n samples.

    Attributes
    ----------
    index: (n,) where these samples lie along an axis of the finest grid; on the host.
    labels: (n, n, n) uint8, evaluated or guessed.
    known: (n, n, n) bool, whether a sample was evaluated.
    steps_together, samples_together, planes_together: directions to neighbours, samples, and planes of the grid that are looked at in one
        piece: few on a CPU, whose cache holds them, all on a GPU.
    """

    def __init__(self, resolution: int, stride: int, device: torch.device) -> None:
        self.resolution = resolution
        self.stride = stride
        self.device = device
        self.index: NDArray[np.int64] = np.arange(0, resolution, stride)
        if self.index[-1] != resolution - 1:
            self.index = np.append(self.index, resolution - 1)
        self.count = len(self.index)
        self.labels = zeros((self.count,) * 3, torch.uint8, device)
        self.known = zeros((self.count,) * 3, torch.bool, device)
        # A CPU's cache holds what belongs to one step to a neighbour; a GPU takes all at once.
        self.steps_together = 1 if device.type == "cpu" else len(ALL_NEIGHBOURS)
        self.samples_together = _BLOCK if device.type == "cpu" else self.count**3
        self.planes_together = min(_PLANES, self.count) if device.type == "cpu" else self.count
        # Whole words of eight, with at least one place more than there are samples.
        self._marks = zeros(((self.count**3 // 8 + 1) * 8,), torch.bool, device)

    def on_device(self, values: NDArray) -> Tensor:
        """A table along one axis, made on the host, where this level is."""
        return torch.from_numpy(values).to(self.device)

    def unravelled(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Positions z, y, x (N,) on this level of flat ones."""
        rows = flat // self.count
        return rows // self.count, rows % self.count, flat % self.count

    def in_finest(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Indices z, y, x (N,) into the finest grid of samples of this level."""
        z, y, x = self.unravelled(flat)
        if self.stride == 1:
            return z, y, x
        index = self.on_device(self.index)
        return index[z], index[y], index[x]

    def rows(self, samples: Tensor) -> Tensor:
        """(n, n, n) int32: which of the kept `samples`, flat positions (M,) in the finest grid that all are on this
        level, a sample of this level is; 0 as well where it is none.
        """
        rows = zeros((self.count**3,), torch.int32, self.device)
        rows[self.positions(samples)] = torch.arange(len(samples), dtype=torch.int32, device=self.device)
        return rows.view((self.count,) * 3)

    def positions(self, samples: Tensor) -> Tensor:
        """Flat positions (M,) on this level of flat positions in the finest grid that all are on this level."""
        if self.stride == 1:
            return samples
        own = np.zeros(self.resolution, dtype=np.int64)
        own[self.index] = np.arange(self.count)
        along = self.on_device(own)
        rest = samples // self.resolution
        z, y, x = along[rest // self.resolution], along[rest % self.resolution], along[samples % self.resolution]
        return (z * self.count + y) * self.count + x

    def finer(self, stride: int) -> GridLevel:
        """The grid of that stride: known samples carried over, all others labelled as the lower corner of their cell."""
        finer = GridLevel(self.resolution, stride, self.device)
        below = self.on_device(np.searchsorted(self.index, finer.index, side="right") - 1)
        # Axis by axis, the fastest last: whole planes are copied then.
        planes = self.labels.index_select(2, below).index_select(1, below)
        torch.index_select(planes, 0, below, out=finer.labels)
        same = finer.on_device(np.searchsorted(finer.index, self.index))
        z, y, x = self.unravelled(torch.nonzero(self.known.view(-1))[:, 0])
        carried = (same[z] * finer.count + same[y]) * finer.count + same[x]
        finer.known.view(-1).index_fill_(0, carried, True)
        return finer

    def unknown_samples_in(self, cells: Tensor, coarse: GridLevel) -> Tensor:
        """Flat positions, rising, of the samples without logits that lie in the chosen cells (m-1, m-1, m-1) of a
        coarser grid, rims included.
        """
        corner = np.searchsorted(self.index, coarse.index)
        steps = torch.arange(int(np.diff(corner).max()) + 1, device=self.device)[:, None]
        first, last = self.on_device(corner[:-1]), self.on_device(corner[1:])
        planes, rows, columns = (torch.minimum(first[i] + steps, last[i]) for i in torch.nonzero(cells).unbind(1))
        lines = (planes[:, None] * self.count + rows) * self.count
        self._marks.index_fill_(0, (lines[:, :, None] + columns).view(-1), True)
        return self._unknown_marked()

    def unknown_across(self, flat: Tensor, offsets: list[tuple[int, int, int]], more: Tensor | None = None) -> Tensor:
        """Flat positions, rising, of samples without logits that differ in label from one of the given samples next to
        them, of given ones next to such, and of `more` (positions; `count`**3 stands for none).
        """
        # The place after the last sample takes what is not meant: no number of matches is needed on the host.
        if more is not None:
            self._marks.index_fill_(0, more, True)
        for part in flat.split(self.samples_together):
            self._mark_across(part, offsets)
        return self._unknown_marked()

    def _mark_across(self, flat: Tensor, offsets: list[tuple[int, int, int]]) -> None:
        """Mark the samples that differ in label from one of the given samples next to them, and given ones next to such."""
        labels, size = self.labels.view(-1), self.count**3
        own = labels.index_select(0, flat)
        # One bit for each face of the grid on which a sample lies, and the faces that a step would cross.
        rim = torch.zeros_like(own)
        for axis, place in enumerate(self.unravelled(flat)):
            rim |= (place == 0).to(torch.uint8) << axis
            rim |= (place == self.count - 1).to(torch.uint8) << (3 + axis)
        crossed = [sum(1 << (axis + 3 * (step > 0)) for axis, step in enumerate(offset) if step) for offset in offsets]
        away = [(offset[0] * self.count + offset[1]) * self.count + offset[2] for offset in offsets]
        forbidden = torch.tensor(crossed, dtype=torch.uint8, device=self.device)[:, None]
        distances = torch.tensor(away, device=self.device)[:, None]
        together = min(self.steps_together, len(offsets))
        beside_change = torch.zeros_like(flat, dtype=torch.bool)
        for step in range(0, len(offsets), together):
            neighbour = flat + distances[step : step + together]
            across = labels.index_select(0, neighbour.clamp(0, size - 1).view(-1)).view_as(neighbour) != own
            across &= (rim & forbidden[step : step + together]) == 0
            beside_change |= across[0] if together == 1 else across.any(dim=0)
            self._marks.index_fill_(0, torch.where(across, neighbour, size).view(-1), True)
        self._marks.index_fill_(0, torch.where(beside_change, flat, size), True)

    def neighbours(self, flat: Tensor, offsets: list[tuple[int, int, int]]) -> Iterator[Tensor]:
        """For each offset the flat positions (N,) of the samples there; where the grid ends, of the given samples themselves."""
        last = self.count - 1
        steps = []
        for stride, place in zip((self.count**2, self.count, 1), self.unravelled(flat), strict=True):
            steps.append({-1: torch.where(place > 0, -stride, 0), 1: torch.where(place < last, stride, 0)})
        for offset in offsets:
            moved = flat
            for axis, step in enumerate(offset):
                if step:
                    moved = moved + steps[axis][step]
            yield moved

    def beside_change(self, flat: Tensor, offsets: list[tuple[int, int, int]]) -> Tensor:
        """(N,): whether a sample differs in label from one of those next to it."""
        labels = self.labels.view(-1)
        own, found = labels[flat], torch.zeros_like(flat, dtype=torch.bool)
        for neighbour in self.neighbours(flat, offsets):
            found |= labels[neighbour] != own
        return found

    def unknown_around(self, flat: Tensor) -> Tensor:
        """Flat positions, rising, of the samples without logits among the 26 around each."""
        if len(flat) < _FEW:
            found = torch.cat([flat[:0], *self.neighbours(flat, ALL_NEIGHBOURS)]).unique()
            return found[~self.known.view(-1)[found]]
        for neighbour in self.neighbours(flat, ALL_NEIGHBOURS):
            self._marks.index_fill_(0, neighbour, True)
        return self._unknown_marked()

    def cell(self, fine: GridLevel, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The cells z, y, x (N,) of this level in which samples of a finer one lie, on a rim those above it."""
        below = self.on_device(self._below(fine))
        z, y, x = (below.index_select(0, place) for place in fine.unravelled(flat))
        return z, y, x

    def _below(self, fine: GridLevel) -> NDArray[np.int64]:
        """Along an axis, in which cell of this level each sample of a finer one lies."""
        return np.minimum(np.searchsorted(self.index, fine.index, side="right") - 1, self.count - 2)

    def _unknown_marked(self) -> Tensor:
        """Flat positions, rising, of the marked samples without logits; removes all marks."""
        size = self.count**3
        self._marks[size:] = False
        words = self._marks.view(torch.int64)
        touched = torch.nonzero(words)[:, 0]
        samples = (touched[:, None] * 8 + torch.arange(8, device=self.device)).view(-1)
        wanted = self._marks.index_select(0, samples)
        wanted &= ~self.known.view(-1).index_select(0, samples.clamp(max=size - 1))
        words.index_fill_(0, touched, 0)
        return samples[wanted]

    def interpolated(self, rows: Tensor, logits: Tensor, fine: GridLevel, flat: Tensor) -> Tensor:
        """Logits (N, classes) at samples of a finer grid inside cells of this one whose corners are all known: trilinear
        between the corners, whose logits are at `rows` (n, n, n) of `logits` (M, classes).
        """
        result = torch.empty((len(flat), logits.shape[1]), device=self.device)
        for part, into in zip(flat.split(self.samples_together), result.split(self.samples_together), strict=True):
            into.copy_(self._interpolated(rows, logits, fine, part))
        return result

    def _interpolated(self, rows: Tensor, logits: Tensor, fine: GridLevel, flat: Tensor) -> Tensor:
        below = self._below(fine)
        fraction = (fine.index - self.index[below]) / (self.index[below + 1] - self.index[below])
        first, share = self.on_device(below), self.on_device(fraction.astype(np.float32))
        position = fine.unravelled(flat)
        corner = [first.index_select(0, place) for place in position]
        part = [share.index_select(0, place) for place in position]
        lowest = (corner[0] * self.count + corner[1]) * self.count + corner[2]
        rows = rows.view(-1)
        taps = torch.empty((len(flat), 8), dtype=torch.int32, device=self.device)
        weights = torch.empty((len(flat), 8), dtype=torch.float32, device=self.device)
        for number in range(8):
            steps = (number >> 2 & 1, number >> 1 & 1, number & 1)
            away = (steps[0] * self.count + steps[1]) * self.count + steps[2]
            # A corner of no weight may be unknown: any row does.
            taps[:, number] = rows.index_select(0, lowest + away)
            shares = [value if step else 1.0 - value for value, step in zip(part, steps, strict=True)]
            weights[:, number] = shares[0] * shares[1] * shares[2]
        return functional.embedding_bag(taps, logits, per_sample_weights=weights, mode="sum")


def over_corners(values: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`combine` (torch.minimum, torch.maximum, ...) over the eight corners of every cell: (n, n, n) -> (n-1, n-1, n-1)."""
    for axis in range(3):
        length = values.shape[axis] - 1
        values = combine(values.narrow(axis, 0, length), values.narrow(axis, 1, length))
    return values


def mixed_cells(labels: Tensor) -> Tensor:
    """(n-1, n-1, n-1) bool: cells whose corners do not all have one label."""
    return over_corners(labels, torch.minimum) != over_corners(labels, torch.maximum)


def largest_around(values: Tensor) -> Tensor:
    """The largest of the 3x3x3 values around each."""
    for axis in range(3):
        length, largest = values.shape[axis] - 1, values.clone()
        for first, second in ((0, 1), (1, 0)):
            part = largest.narrow(axis, first, length)
            torch.maximum(part, values.narrow(axis, second, length), out=part)
        values = largest
    return values


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,): logit of the given class (N,) minus the largest other one, of logits (N, classes)."""
    column = labels.long()[:, None]
    others = logits.scatter(1, column, -torch.inf)
    return logits.gather(1, column)[:, 0] - others.amax(dim=1)
