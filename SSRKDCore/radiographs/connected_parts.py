"""Connected parts of a mask, found from its runs: the work grows with the outlines of what is there, not with the image.

Labelling every pixel of a large radiograph for a few letters costs more than all else that is asked of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class ConnectedParts:
    """Parts of a mask in the order in which a reader of its rows meets them.

    Attributes
    ----------
    source: the mask. row, start, stop: (R,) of each run of its pixels, [row, start:stop]; sorted.
    label: (R,) the part that a run belongs to, counted from 0.
    pixels: (N,) pixels of each part. boxes: (N, 2, 2) first and past the last [row, column] of each.
    """

    source: Mask
    row: Indices
    start: Indices
    stop: Indices
    label: Indices
    pixels: Indices
    boxes: Indices

    @property
    def extents(self) -> Indices:
        """(N, 2) rows and columns that each part reaches over."""
        return self.boxes[:, 1] - self.boxes[:, 0]

    def box(self, part: int, margin: int = 0) -> tuple[slice, slice]:
        """The box of a part, wider by `margin` pixels where the image goes on."""
        first = np.maximum(self.boxes[part, 0] - margin, 0)
        last = np.minimum(self.boxes[part, 1] + margin, self.source.shape)
        return slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1]))

    def mask(self, part: int, box: tuple[slice, slice]) -> Mask:
        """A part alone, as a mask of a box that holds it."""
        own = self.label == part
        rows, columns = box
        made = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=bool)
        lines = zip(self.row[own] - rows.start, self.start[own], self.stop[own], strict=True)
        for row, start, stop in lines:
            made[row, start - columns.start : stop - columns.start] = True
        return made

    def together(self, chosen: Mask) -> Mask:
        """The mask of the parts for which `chosen` (N,) is True."""
        # Whichever are fewer pixels are set, or taken away.
        mostly = 2 * self.pixels[chosen].sum() > self.pixels.sum()
        own = chosen[self.label] != mostly
        made = self.source.copy() if mostly else np.zeros(self.source.shape, dtype=bool)
        length = self.stop[own] - self.start[own]
        first = self.row[own] * self.source.shape[1] + self.start[own]
        at = np.arange(length.sum()) + np.repeat(first - np.cumsum(length) + length, length)
        made.reshape(-1)[at] = not mostly
        return made


def connected_parts(mask: Mask, diagonal: bool = False) -> ConnectedParts:
    """The connected parts of a mask [row, column].

    diagonal: whether pixels that only touch at a corner hang together.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    columns = mask.shape[1]
    width = columns + 1
    # Letters and text leave most rows empty, which need no second look.
    filled = np.flatnonzero(mask.any(axis=1))
    line = np.zeros(len(filled) * width + 1, dtype=bool)
    line[1:].reshape(len(filled), width)[:, :columns] = mask if len(filled) == len(mask) else mask[filled]
    ends = np.flatnonzero(line[1:] != line[:-1])
    ends += (filled - np.arange(len(filled))).take(ends // width) * width
    start, stop = ends[::2], ends[1::2]
    count = len(start)
    # Runs of the next row that overlap a run, or touch it at a corner.
    corner = int(diagonal)
    first = np.searchsorted(stop, start + width - corner, side="right")
    behind = np.maximum(np.searchsorted(start, stop + width + corner, side="left"), first)
    offsets = np.concatenate([[0], np.cumsum(behind - first)])
    neighbours = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], behind - first)
    links = csr_matrix((np.ones(len(neighbours), dtype=np.int8), neighbours, offsets), shape=(count, count))
    number, label = connected_components(links, directed=False)
    label = label.astype(np.int64)
    row = start // width
    start, stop = start - row * width, stop - row * width
    pixels = np.bincount(label, stop - start, number).astype(np.int64)
    order = np.argsort(label, kind="stable")
    firsts = np.searchsorted(label[order], np.arange(number))
    boxes = np.zeros((number, 2, 2), dtype=np.int64)
    if number:
        for axis, (low, high) in enumerate(((row, row + 1), (start, stop))):
            boxes[:, 0, axis] = np.minimum.reduceat(low[order], firsts)
            boxes[:, 1, axis] = np.maximum.reduceat(high[order], firsts)
    return ConnectedParts(np.ascontiguousarray(mask), row, start, stop, label, pixels, boxes)
