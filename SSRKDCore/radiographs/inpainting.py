"""Filling parts of an image from what surrounds them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.radiographs.collimation import any_of_block, repeated
from SSRKDCore.radiographs.connected_parts import connected_parts


def harmonic_fill(values: NDArray[np.floating], hidden: NDArray[np.bool_]) -> NDArray[np.floating]:
    """The image with its hidden pixels replaced by the solution of Laplace's equation with the seen pixels about them.

    The fill has no edges of its own and continues a linear slope exactly; the border of the image reflects.

    values, hidden: [row, column]. Returns the type of the values. Raises ValueError when nothing is seen.
    """
    filled = values.copy()
    if hidden.all():
        raise ValueError("nothing of the image is seen")
    # Each connected part is a system of its own, and a small one.
    parts = connected_parts(hidden)
    for part in range(len(parts.pixels)):
        wide = parts.box(part, 1)
        filled[wide] = _solved(filled[wide].astype(np.float64), parts.mask(part, wide))
    return filled


def _solved(values: NDArray[np.float64], hidden: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`harmonic_fill` of a part of the image; hidden pixels of other parts must not touch this one's."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import spsolve

    filled = values.copy()
    number = np.full(values.shape, -1)
    number[hidden] = np.arange(int(hidden.sum()))
    at = np.argwhere(hidden)
    own = np.arange(len(at))
    rows, columns, weights = [own], [own], [np.zeros(len(at))]
    known = np.zeros(len(at))
    degree = np.zeros(len(at))
    for step in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        other = at + step
        inside = np.asarray(((other >= 0) & (other < values.shape)).all(axis=1))
        row, column = np.where(inside[:, None], other, at).T
        degree += inside
        neighbour = number[row, column]
        coupled = inside & (neighbour >= 0)
        rows.append(own[coupled])
        columns.append(neighbour[coupled])
        weights.append(-np.ones(int(coupled.sum())))
        seen = inside & (neighbour < 0)
        known[seen] += filled[row[seen], column[seen]]
    weights[0] = degree
    system = csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))))
    filled[hidden] = spsolve(system.tocsc(), known)
    return filled


def nearest_fill(values: NDArray[np.floating], hidden: NDArray[np.bool_], block: int = 1) -> NDArray[np.floating]:
    """The image with each hidden pixel replaced by (the mean of) the nearest seen block of pixels; for parts that nobody looks at."""
    from scipy.ndimage import distance_transform_edt

    if not hidden.any() or hidden.all():
        return values
    _, (row, column) = distance_transform_edt(~any_of_block(~hidden, block), return_indices=True)
    wanted = any_of_block(hidden, block)
    # Of all blocks only the nearest ones are looked into: those along the rim of what is seen.
    nearest, place = np.unique((row * row.shape[1] + column)[wanted], return_inverse=True)
    first = np.stack(np.divmod(nearest, row.shape[1]), axis=1) * block
    rows, columns = (first[:, axis, None] + np.arange(block) for axis in (0, 1))
    # The last blocks may not be whole.
    inside = (rows < len(values))[:, :, None] & (columns < values.shape[1])[:, None, :]
    at = np.minimum(rows, len(values) - 1)[:, :, None], np.minimum(columns, values.shape[1] - 1)[:, None, :]
    counted = inside & ~hidden[at]
    means = np.where(counted, values[at], 0.0).sum(axis=(1, 2)) / counted.sum(axis=(1, 2))
    small = np.zeros(wanted.shape, dtype=values.dtype)
    small[wanted] = means[place]
    return np.where(hidden, repeated(small, block, values.shape), values)
