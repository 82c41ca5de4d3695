"""Connected regions of a label volume, from runs of equal labels along its rows: far fewer than there are voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

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
        # Every row begins with a run of its own.
        first_of_row = np.append(np.flatnonzero(start % nx == 0), len(start))
        return cls((nz, ny, nx), start, stop, label, _regions(stop, label, first_of_row, ny, nx))

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


@numba.njit(cache=True)
def _root(above, run):  # type: ignore[no-untyped-def]
    """The run that stands for a run's region; the way there is halved for the next who asks."""
    while above[run] != run:
        above[run] = above[above[run]]
        run = above[run]
    return run


@numba.njit(cache=True)
def _regions(stop, label, first_of_row, ny, nx):  # type: ignore[no-untyped-def]
    """(R,) int64: numbers of the regions of runs that touch by faces and have one label, in the order of their first runs.

    Runs fill their rows, so that those of two rows side by side meet one after the other, as when sorted lists are merged.
    """
    count, rows = len(stop), len(first_of_row) - 1
    above = np.arange(count)
    for row in range(rows):
        for to_next_plane in (False, True):
            step = ny if to_next_plane else 1
            other = row + step
            if other >= rows or (not to_next_plane and other % ny == 0):
                continue
            here, there = first_of_row[row], first_of_row[other]
            while here < first_of_row[row + 1] and there < first_of_row[other + 1]:
                if label[here] == label[there]:
                    one, two = _root(above, here), _root(above, there)
                    if one < two:
                        above[two] = one
                    else:
                        above[one] = two
                end_here, end_there = stop[here] + step * nx, stop[there]
                if end_here <= end_there:
                    here += 1
                if end_there <= end_here:
                    there += 1
    region = np.empty(count, np.int64)
    found = 0
    for run in range(count):
        root = _root(above, run)
        if root == run:
            region[run] = found
            found += 1
        else:
            region[run] = region[root]
    return region
