"""Which simulated images show nearly what a real one shows, so that looks are compared and not knees.

How much air, soft tissue and bone a standardised image holds decides its grey values more than the room that made it: two knees of one
room differ by more than one knee in two rooms. Real images are therefore learnt from, and judged, beside simulated ones of their own
layout, as S. R. Richter et al., "Enhancing photorealism enhancement", IEEE TPAMI 2023, match the patches that their critic sees.
"""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

_CELLS = 32


def layouts(images: NDArray[Any]) -> NDArray[np.float64]:
    """(N, C) unit vectors of images (N, S, S): the ranks of their grey values, averaged over at most 32 x 32 cells.

    No curve of tones changes ranks, and noise averages out. The product of two vectors is Spearman's correlation.
    """
    count, side = images.shape[:2]
    cells = gcd(side, _CELLS)
    coarse = images.astype(np.float64).reshape(count, cells, side // cells, cells, side // cells).mean(axis=(2, 4))
    ranks = rankdata(coarse.reshape(count, -1), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    return np.asarray(ranks / np.maximum(np.linalg.norm(ranks, axis=1, keepdims=True), 1e-12))


def most_alike(images: NDArray[Any], others: NDArray[Any], count: int) -> NDArray[np.int64]:
    """(N, K) indices of the images among `others` (M, S, S) whose layouts are most like those of `images` (N, S, S), best first.

    K is `count`, or M where there are fewer.
    """
    likeness = layouts(images) @ layouts(others).T
    return np.argsort(-likeness, axis=1, kind="stable")[:, :count]
