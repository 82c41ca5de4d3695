"""Where blades of the collimator, or the rim of a round field, kept the X-rays away: found as straight edges, and masked.

A blade casts a straight shadow from one side of the image to the other, denser than what lies within and without structure of its own;
no edge of a leg is straight, sharp and followed by nothing but shadow. Values are line integrals, or grow with them.
"""

from __future__ import annotations

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
        mask |= repeated(_rim(small, block_means(mask, block) > 0), block, values.shape).astype(bool)
    known = block_means(mask, block) > 0
    small = _cut_off(small, known)
    # A blade found first takes away what would spoil the next one's edge.
    blades: list[tuple[int, tuple[float, float], Mask]] = []
    for turns in range(4):
        seen = ~(known | _union([shadow for _, _, shadow in blades], known.shape))
        line = _left_edge(np.rot90(small, turns), np.rot90(seen, turns))
        if line is not None:
            blades.append((turns, line, _shadow(small.shape, turns, line, 1, 0.0)))
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
    low, high = np.percentile(field[seen], (1, 99.5))
    jump = (values[:, 0] + values[:, 1] - values[:, -2] - values[:, -1]) / 2
    return bool(free.any()) and float((jump[free] > _LEAST_JUMP / 2 * (high - low)).mean()) > _STRAIGHT


def _cut_off(small: Values, known: Mask) -> Values:
    rows, columns = (slice(int(_MIDDLE[0] * size), int(np.ceil(_MIDDLE[1] * size))) for size in small.shape)
    middle = small[rows, columns][~known[rows, columns]]
    if not middle.size:
        return small
    low, high = np.percentile(middle, (1, 99))
    return np.minimum(small, high + _HEADROOM * (high - low))


def block_means(values: NDArray[np.generic], block: int) -> NDArray[np.float64]:
    """Means over whole blocks; the last, incomplete ones count what they have."""
    edges = [np.arange(0, size, block) for size in values.shape]
    sums = np.add.reduceat(np.add.reduceat(values.astype(np.float64), edges[0], axis=0), edges[1], axis=1)
    counts = [np.diff(np.append(edge, size)) for edge, size in zip(edges, values.shape, strict=True)]
    return np.asarray(sums / np.outer(*counts))


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
    slope = np.stack(np.gradient(ndimage.gaussian_filter(distance, 2.0)))
    slope /= np.maximum(np.linalg.norm(slope, axis=0), 1e-6)
    row, column = np.indices(small.shape) + slope * (1.3 * reach - distance)
    further = ndimage.map_coordinates(small, (row, column), order=1, mode="nearest")
    dense = (distance <= reach) & (small > further + _RIM_JUMP * (high - low))
    # Grown from the unexposed part, so that bone that comes near the rim stays.
    return np.asarray(ndimage.binary_propagation(unexposed, mask=unexposed | dense))


def _left_edge(field: Values, seen: Mask) -> tuple[float, float] | None:
    """(column at mid-height, columns a row) of a straight edge behind which, to the left, lies shadow; None without one."""
    usable = field[seen]
    if usable.size < 0.2 * field.size:
        return None
    low, high = np.percentile(usable, (1, 99.5))
    if not high > low:
        return None
    rows, columns = field.shape
    part = slice(int(_MIDDLE[0] * rows), int(np.ceil(_MIDDLE[1] * rows)))
    best: tuple[float, float, float] | None = None
    middle = np.arange(rows) - rows / 2 + 0.5
    deepest = int(_DEEPEST * columns)
    for degrees in range(-_LARGEST_TURN_DEGREES, _LARGEST_TURN_DEGREES + 1):
        slope = float(np.tan(np.radians(degrees)))
        place = np.arange(deepest + 8)[None, :] + slope * middle[part, None]
        sheared, inside = _at_columns(field[part], seen[part], place)
        jump = (sheared[:, :-6] + sheared[:, 1:-5] - sheared[:, 5:-1] - sheared[:, 6:]) / 2
        valid = inside[:, :-6] & inside[:, 6:]
        enough = valid.sum(axis=0) >= 0.7 * len(place)
        if not enough.any():
            continue
        ordered = np.sort(np.where(valid, jump, np.inf), axis=0)
        place_of = (valid.sum(axis=0) * _ALONG).astype(int)
        least = np.where(enough, ordered[place_of, np.arange(ordered.shape[1])], -np.inf)
        column = int(least.argmax())
        if best is None or least[column] > best[0]:
            best = float(least[column]), column + 3.5, slope
    if best is None or best[0] < _LEAST_JUMP * (high - low):
        return None
    _, position, slope = best
    outside = (np.arange(columns)[None, :] + 0.5 < position + slope * middle[:, None] - 2) & seen
    within = (np.arange(columns)[None, :] + 0.5 > position + slope * middle[:, None] + 2) & seen
    if outside.sum() < rows or not within.any():
        return None
    shadow = np.percentile(field[outside], (10, 50, 90))
    featureless = shadow[2] - shadow[0] <= _LARGEST_SPREAD * (high - low)
    inner = np.zeros_like(within)
    inner[part, int(_MIDDLE[0] * columns) : int(np.ceil(_MIDDLE[1] * columns))] = True
    dense = shadow[1] >= np.quantile(field[within & inner] if (within & inner).any() else field[within], _DENSER_THAN)
    return (position, slope) if featureless and dense else None


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
