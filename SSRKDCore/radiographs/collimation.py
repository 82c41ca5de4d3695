"""Where blades of the collimator, or the rim of a round field, kept the X-rays away: found as straight edges, and masked.

A blade casts a straight shadow from one side of the image to the other, denser than what lies within and without structure of its own;
no edge of a leg is straight, sharp and followed by nothing but shadow. Values are line integrals, or grow with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Values = NDArray[np.floating]
Mask = NDArray[np.bool_]

#: Edges are looked for on a copy with about this many pixels a side.
_WORKING_SIDE = 320
#: Blades are looked for turned by up to this, in steps of a degree.
_LARGEST_TURN_DEGREES = 10
#: The knee is within this middle part of each side. Blades are looked for along it, since other blades hide an edge's ends.
_MIDDLE = (0.3, 0.7)
#: A shadow holds whatever the scatter of the field makes of it: values are cut off this far (share of the middle's range) above the middle.
_HEADROOM = 0.2
#: An edge counts when it is this high, as a share of the grey range, along nine tenths of that part.
_LEAST_JUMP = 0.1
_ALONG = 0.1
#: and so much of that part is seen.
_LEAST_ROWS = 0.7
#: And half as high along this part of all that is seen of it.
_STRAIGHT = 0.8
#: Behind a blade the image differs by at most this share of the grey range (10th to 90th percentile).
_LARGEST_SPREAD = 0.3
#: A shadow is at least as dense as this share of the middle of the image.
_DENSER_THAN = 0.9
#: Nobody closes the collimator farther than this from a side and still shows a knee.
_DEEPEST = 0.45
#: Half-shadow: this share of the image's side, beyond the edge that was found, is masked as well.
_MARGIN = 0.006
#: The soft rim of a round field reaches this far (share of the image's side) into the image.
_RIM = 0.035
#: and is denser than the field inside it by this share of the grey range.
_RIM_JUMP = 0.06


def collimated_border(values: Values, unexposed: Mask | None = None) -> Mask:
    """The shadow of the collimator: [row, column] bool, all False where there is none.

    Parameters
    ----------
    values: [row, column], growing with attenuation.
    unexposed: what the reader already knows to be unexposed (flat corners, padding); its soft rim is added to it.
    """
    mask = np.zeros(values.shape, dtype=bool) if unexposed is None else unexposed.copy()
    block = max(1, int(np.ceil(max(values.shape) / _WORKING_SIDE)))
    small: Values = block_means(values, block)
    if mask.any() and not mask.all():
        mask |= repeated(_rim(small, any_of_block(mask, block)), block, values.shape).astype(bool)
    known = any_of_block(mask, block)
    small = _cut_off(small, known)
    # A blade found first takes away what would spoil the next one's edge.
    blades: list[tuple[int, tuple[float, float], Mask]] = []
    seen = ~known
    greys = _grey_range(small, seen)
    for turns in range(4):
        line = _left_edge(np.rot90(small, turns), np.rot90(seen, turns), greys)
        if line is not None:
            blades.append((turns, line, _shadow(small.shape, turns, line, 1, 0.0)))
            seen &= ~blades[-1][2]
            greys = _grey_range(small, seen)
    for index, (turns, line, _) in enumerate(blades):
        others = [shadow for number, (_, _, shadow) in enumerate(blades) if number != index]
        seen = ~(known | _union(others, known.shape))
        if _is_straight(np.rot90(small, turns), np.rot90(seen, turns), line):
            shadow = _shadow(small.shape, turns, line, block, _MARGIN * max(values.shape))
            mask |= shadow[: values.shape[0], : values.shape[1]]
    return mask


def _union(masks: list[Mask], shape: tuple[int, ...]) -> Mask:
    found = np.zeros(shape, dtype=bool)
    for mask in masks:
        found |= mask
    return found


def _shadow(shape: tuple[int, ...], turns: int, line: tuple[float, float], block: int, margin: float) -> Mask:
    """What lies behind an edge of the small image turned so often, on an image of whole blocks that is not turned."""
    rows, columns = (shape[1], shape[0]) if turns % 2 else shape
    position, slope = line
    row = (np.arange(rows * block) + 0.5) / block
    edge = (position + slope * (row - rows / 2)) * block + margin
    return np.asarray(np.rot90(np.arange(columns * block)[None, :] + 0.5 < edge[:, None], -turns))


def _is_straight(field: Values, seen: Mask, line: tuple[float, float]) -> bool:
    """Whether the image jumps along the whole of an edge that other blades leave free: the outline of a leg bends away from a line."""
    position, slope = line
    row = np.arange(field.shape[0]) - field.shape[0] / 2 + 0.5
    place = position - 3.5 + np.arange(7)[None, :] + slope * row[:, None]
    values, inside = _at_columns(field, seen, place)
    free = inside[:, 0] & inside[:, -1]
    low, high = _grey_range(field, seen)
    jump = (values[:, 0] + values[:, 1] - values[:, -2] - values[:, -1]) / 2
    return bool(free.any()) and float((jump[free] > _LEAST_JUMP / 2 * (high - low)).mean()) > _STRAIGHT


def _cut_off(small: Values, known: Mask) -> Values:
    rows, columns = (_middle_of(size) for size in small.shape)
    middle = small[rows, columns][~known[rows, columns]]
    if not middle.size:
        return small
    low, high = np.percentile(middle, (1, 99))
    return np.minimum(small, high + _HEADROOM * (high - low))


def block_means(values: NDArray[np.generic], block: int) -> NDArray[np.float64]:
    """Means over whole blocks; the last, incomplete ones count what they have."""
    across: list[NDArray[np.float64]] = []
    # Strips side by side are added several times faster than `np.add.reduceat` adds along an axis, in the same order.
    sums: NDArray[Any] = values
    for _ in range(2):
        size = -(-sums.shape[0] // block)
        added = np.zeros((size, sums.shape[1]))
        for first in range(min(block, sums.shape[0])):
            strip = sums[first::block]
            added[: len(strip)] += strip
        across.append(np.diff(np.append(np.arange(0, sums.shape[0], block), sums.shape[0])).astype(np.float64))
        sums = added.T
    return np.ascontiguousarray(sums / np.outer(*across))


def any_of_block(mask: Mask, block: int) -> Mask:
    """Where a block holds a pixel of a mask."""
    found = mask
    for _ in range(2):
        joined = np.zeros((-(-found.shape[0] // block), found.shape[1]), dtype=bool)
        for first in range(min(block, found.shape[0])):
            strip = found[first::block]
            joined[: len(strip)] |= strip
        found = joined.T
    return np.ascontiguousarray(found)


def _grey_range(small: Values, seen: Mask) -> tuple[float, float]:
    """Values that the seen part reaches, but for its extremes; (0, 0) where nothing is seen."""
    return tuple(np.percentile(small[seen], (1, 99.5)).tolist()) if seen.any() else (0.0, 0.0)


def repeated(small: NDArray[np.generic], block: int, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Each pixel of a small image as a block of an image of `shape`."""
    return np.repeat(np.repeat(small, block, axis=0), block, axis=1)[: shape[0], : shape[1]]


def _rim(small: Values, unexposed: Mask) -> Mask:
    """The soft rim beside the unexposed part: pixels that are denser than what lies a little farther inside the field."""
    distance = ndimage.distance_transform_edt(~unexposed)
    reach = max(3.0, _RIM * max(small.shape))
    inner = distance > 2 * reach
    if not inner.any():
        return unexposed
    low, high = np.percentile(small[inner], (2, 98))
    near = (distance <= reach) & ~unexposed
    slope = np.stack([along[near] for along in np.gradient(ndimage.gaussian_filter(distance, 2.0))])
    slope /= np.maximum(np.linalg.norm(slope, axis=0), 1e-6)
    further_in = np.stack(np.nonzero(near)) + slope * (1.3 * reach - distance[near])
    further = ndimage.map_coordinates(small, further_in, order=1, mode="nearest")
    dense = np.zeros_like(unexposed)
    dense[near] = small[near] > further + _RIM_JUMP * (high - low)
    # Grown from the unexposed part, so that bone that comes near the rim stays.
    return np.asarray(ndimage.binary_propagation(unexposed, mask=unexposed | dense))


def _left_edge(field: Values, seen: Mask, greys: tuple[float, float]) -> tuple[float, float] | None:
    """(column at mid-height, columns a row) of a straight edge behind which, to the left, lies shadow; None without one.

    greys: lowest and highest value of what is seen, see `_grey_range`.
    """
    low, high = greys
    if np.count_nonzero(seen) < 0.2 * field.size or not high > low:
        return None
    found = _sharpest_line(field, seen, _LEAST_JUMP * (high - low))
    if found is None:
        return None
    position, slope = found
    rows, columns = field.shape
    part = _middle_of(rows)
    middle = np.arange(rows) - rows / 2 + 0.5
    outside = (np.arange(columns)[None, :] + 0.5 < position + slope * middle[:, None] - 2) & seen
    within = (np.arange(columns)[None, :] + 0.5 > position + slope * middle[:, None] + 2) & seen
    if outside.sum() < rows or not within.any():
        return None
    shadow = np.percentile(field[outside], (10, 50, 90))
    featureless = shadow[2] - shadow[0] <= _LARGEST_SPREAD * (high - low)
    inner = np.zeros_like(within)
    inner[part, _middle_of(columns)] = True
    dense = shadow[1] >= np.quantile(field[within & inner] if (within & inner).any() else field[within], _DENSER_THAN)
    return (position, slope) if featureless and dense else None


def _sharpest_line(field: Values, seen: Mask, least: float) -> tuple[float, float] | None:
    """(column at mid-height, columns a row) of the line along which the field falls the most to the right, nine tenths of it by `least`.

    None where it falls so much along no line. The field is looked at in the middle of its rows, its lines left of `_DEEPEST`.
    """
    rows, columns = field.shape
    if columns < 8:
        return None
    part = _middle_of(rows)
    slopes = np.tan(np.radians(np.arange(-_LARGEST_TURN_DEGREES, _LARGEST_TURN_DEGREES + 1)))
    moved = slopes[:, None] * (np.arange(rows) - rows / 2 + 0.5)[part]
    whole = np.floor(moved).astype(int)
    share = (moved - whole)[:, :, None]
    # Interpolation is linear: the jumps are taken once, and sheared. Beyond the sides, and across what is hidden, there are none.
    margin = int(np.abs(whole).max()) + 1
    wide = int(_DEEPEST * columns) + 2
    jump = np.zeros((len(whole[0]), 2 * margin + wide))
    known = np.zeros(jump.shape, dtype=bool)
    count = min(columns - 6, margin + wide)
    values, free = field[part, : count + 6], seen[part, : count + 6]
    own = slice(margin, margin + count)
    jump[:, own] = (values[:, :-6] + values[:, 1:-5] - values[:, 5:-1] - values[:, 6:]) / 2
    known[:, own] = free[:, :-6] & free[:, 6:]
    # Most columns have no line of any direction near them: too few of their rows fall enough anywhere within a turn's reach.
    falls = np.cumsum(np.pad(known & (jump >= least), ((0, 0), (1, 0))), axis=1)
    reached = (falls[:, 2 * margin + 1 :] > falls[:, : -2 * margin - 1]).sum(axis=0)
    near = np.flatnonzero(reached >= (1 - _ALONG) * _LEAST_ROWS * len(jump))
    if not near.size:
        return None
    at = near + margin + whole[:, :, None]
    line = np.arange(len(jump))[None, :, None]
    valid = known[line, at] & known[line, at + 1]
    sheared = jump[line, at] * (1 - share) + jump[line, at + 1] * share
    rows_seen = valid.sum(axis=1)
    allowed = (rows_seen * _ALONG).astype(int)
    low = (valid & (sheared < least)).sum(axis=1)
    turn, column = np.nonzero((rows_seen >= _LEAST_ROWS * len(jump)) & (low <= allowed))
    if not turn.size:
        return None
    ordered = np.sort(np.where(valid[turn, :, column], sheared[turn, :, column], np.inf), axis=1)
    best = int(ordered[np.arange(len(turn)), allowed[turn, column]].argmax())
    return float(near[column[best]] + 3.5), float(slopes[turn[best]])


def _middle_of(size: int) -> slice:
    return slice(int(_MIDDLE[0] * size), int(np.ceil(_MIDDLE[1] * size)))


def _at_columns(field: Values, seen: Mask, place: Values) -> tuple[Values, Mask]:
    """The field at fractional columns (rows, K) of each row, and where that lies in the seen image."""
    first = np.floor(place).astype(int)
    share = place - first
    columns = field.shape[1]
    inside = (first >= 0) & (first < columns - 1)
    first = np.clip(first, 0, columns - 2)
    line = np.arange(field.shape[0])[:, None]
    values = field[line, first] * (1 - share) + field[line, first + 1] * share
    return values, inside & seen[line, first] & seen[line, first + 1]
