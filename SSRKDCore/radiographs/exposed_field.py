"""Which part of an image the X-rays reached, and which way its values run, seen from the picture itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.radiographs.connected_parts import connected_parts

Values = NDArray[np.floating]
Mask = NDArray[np.bool_]

# A collimator or the round edge of an image intensifier covers at least this part of an image, and two corners.
SMALLEST_MASK, MASKED_CORNERS = 0.01, 2
# How clearly the sides of the field must differ from its middle (as a part of the grey range) before they decide.
CLEAR_CONTRAST = 0.2
# When the two directions of an image contradict each other, one must be this many times clearer.
DECIDEDLY = 2.0


def flat_corners(values: Values, extreme: float) -> Mask:
    """Pixels of exactly the value `extreme` that hang together with the image's corners: [row, column] bool.

    All False unless they reach two corners and cover 1 % of the image: blades, shutters and round fields do.
    """
    nowhere = np.zeros(values.shape, dtype=bool)
    rows, columns = values.shape
    corners = {(row, column) for row in (0, rows - 1) for column in (0, columns - 1)}
    # Most images are answered by their corners.
    if sum(bool(values[row, column] == extreme) for row in (0, -1) for column in (0, -1)) < MASKED_CORNERS:
        return nowhere
    parts = connected_parts(values == extreme)
    found = np.zeros(len(parts.pixels), dtype=bool)
    for row, column in corners:
        here = (parts.row == row) & (parts.start <= column) & (column < parts.stop)
        found[parts.label[here]] = True
    return parts.together(found) if parts.pixels[found].sum() >= SMALLEST_MASK * values.size else nowhere


def open_field_contrast(values: Values, valid: Mask | None = None) -> float | None:
    """How much higher the middle of a leg is than what lies beside it, as a part of the grey range; None when unclear.

    A leg crosses a radiograph of a knee from top to bottom (or from side to side), so open field or skin lies at the two
    other sides of the exposed field, and the middle is leg. Positive: values grow with attenuation. Flat corners, black or
    white, are left out: they are blades, or open field beyond what the storage holds, and say nothing by themselves.

    Parameters
    ----------
    values: [row, column].
    valid: False where the file marks padding; None when everything is image.
    """
    stride = max(1, min(values.shape) // 256)
    small = values[::stride, ::stride].astype(np.float64)
    inside = np.ones(small.shape, dtype=bool) if valid is None else valid[::stride, ::stride].copy()
    if not inside.any():
        return None
    for extreme in (float(small[inside].min()), float(small[inside].max())):
        inside &= ~flat_corners(small, extreme)
    if float(inside.mean()) < 0.05:
        return None
    low, high = np.percentile(small[inside], (2, 98))
    if not high > low:
        return None
    votes = []
    for turned in (False, True):
        field, seen = (small.T, inside.T) if turned else (small, inside)
        contrasts = _side_contrasts(field, seen, float(high - low))
        if contrasts is not None and (min(contrasts) > CLEAR_CONTRAST or max(contrasts) < -CLEAR_CONTRAST):
            votes.append(sum(contrasts) / 2)
    if not votes:
        return None
    votes.sort(key=abs, reverse=True)
    # A leg that crosses the field one way outweighs what happens along it; two equally clear answers are none.
    contradicted = len(votes) == 2 and votes[0] * votes[1] < 0 and abs(votes[0]) < DECIDEDLY * abs(votes[1])
    return None if contradicted else votes[0]


def _side_contrasts(field: Values, seen: Mask, grey_range: float) -> tuple[float, float] | None:
    """(middle - left side, middle - right side) over the grey range, in the middle half of the rows.

    Each side is a twelfth of a row's seen part, a fiftieth in from its edge, where blades and round fields cast half-shadow.
    """
    sides: list[list[Values]] = [[], []]
    middle: list[Values] = []
    rows = np.flatnonzero(seen.any(axis=1))
    quarter = rows.size // 4
    for row in rows[quarter : rows.size - quarter]:
        line, line_seen = field[row], seen[row]
        columns = np.flatnonzero(line_seen)
        if columns.size < 12:
            continue
        rim = columns.size // 50
        first, last = int(columns[rim]), int(columns[-1 - rim]) + 1
        width = max(1, (last - first) // 12)
        sides[0].append(line[first : first + width])
        sides[1].append(line[last - width : last])
        third = (last - first) // 3
        middle.append(line[first + third : last - third])
    if not middle:
        return None
    value = float(np.median(np.concatenate(middle)))
    left, right = ((value - float(np.median(np.concatenate(side)))) / grey_range for side in sides)
    return left, right
