"""Connected regions of a label volume, from runs of equal labels along its rows: far fewer than there are voxels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from SSRKDCore.side_by_side import side_by_side

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class LabelRuns:
    """All runs of a volume in order, and which of them are one region.

    Attributes
    ----------
    shape: (nz, ny, nx) of the volume.
    start, stop: (R,) flat positions of a run's first voxel and of the one after its last; a run stays in one row.
    label: (R,) uint8.
    region: (R,) number of the region, of runs that touch by faces and have one label.
    """

    shape: tuple[int, int, int]
    start: Integers
    stop: Integers
    label: NDArray[np.uint8]
    region: Integers

    @classmethod
    def of(cls, labels: NDArray[np.uint8]) -> LabelRuns:
        """The runs of labels [z, y, x]."""
        nz, ny, nx = labels.shape
        flat = np.ascontiguousarray(labels).reshape(-1)
        begins = np.empty(flat.shape, dtype=bool)
        np.not_equal(flat[1:], flat[:-1], out=begins[1:])
        begins[::nx] = True
        start = np.flatnonzero(begins)
        stop = np.append(start[1:], len(flat))
        label = flat[start]
        rows, planes = np.flatnonzero(start % (ny * nx) < (ny - 1) * nx), np.flatnonzero(start < (nz - 1) * ny * nx)
        pairs = [partial(_touching, start, stop, label, step, runs) for step, runs in ((nx, rows), (ny * nx, planes))]
        first, second = np.concatenate(side_by_side(pairs, torch.get_num_threads()), axis=1)
        graph = coo_matrix((np.ones(len(first), dtype=bool), (first, second)), shape=(len(start),) * 2)
        return cls((nz, ny, nx), start, stop, label, connected_components(graph, directed=False)[1].astype(np.int64))

    def sizes(self) -> Integers:
        """Voxels of every region."""
        return np.bincount(self.region, weights=self.stop - self.start).astype(np.int64)

    def voxels(self, regions: NDArray[np.bool_]) -> tuple[Integers, Integers, Integers]:
        """z, y, x (N,) of all voxels of the regions that are chosen."""
        chosen = regions[self.region]
        length = (self.stop - self.start)[chosen]
        within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        z, y, x = np.unravel_index(np.repeat(self.start[chosen], length) + within, self.shape)
        return z, y, x

    def region_labels(self) -> NDArray[np.uint8]:
        """The label of every region."""
        result = np.zeros(int(self.region.max()) + 1, dtype=np.uint8)
        result[self.region] = self.label
        return result

    def at_the_border(self) -> NDArray[np.bool_]:
        """Whether a region touches a face of the volume, for every region."""
        nz, ny, nx = self.shape
        row, plane = self.start // nx, self.start // (ny * nx)
        outer = (self.start % nx == 0) | (self.stop % nx == 0) | (row % ny == 0) | (row % ny == ny - 1)
        outer |= (plane == 0) | (plane == nz - 1)
        result = np.zeros(int(self.region.max()) + 1, dtype=bool)
        result[self.region[outer]] = True
        return result


def _touching(start: Integers, stop: Integers, label: NDArray[np.uint8], step: int, runs: Integers) -> Integers:
    """(2, P): pairs of runs of one label that lie side by side when the second is moved by so many voxels; `runs` are those that have
    voxels there.
    """
    first = np.searchsorted(stop, start[runs] + step, side="right")
    count = np.searchsorted(start, stop[runs] + step, side="left") - first
    upper = np.repeat(runs, count)
    within = np.arange(len(upper)) - np.repeat(np.cumsum(count) - count, count)
    lower = np.repeat(first, count) + within
    same = label[upper] == label[lower]
    return np.stack([upper[same], lower[same]])
