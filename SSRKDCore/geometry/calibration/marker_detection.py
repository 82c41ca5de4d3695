"""Small round markers (beads, drilled holes) in a radiograph, found and centred to a fraction of a pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError

Array = NDArray[np.float64]

POLARITIES = ("bright", "dark")
_SCALE_STEP = 1.3
_SMALLEST_RADIUS_PX = 1.5
_LEAST_CONTRAST = 6.0
_LEAST_ROUNDNESS = 0.6
_CENTRING_ROUNDS = 8
# Share of a marker's surroundings that must lie on the image.
_LEAST_RING = 0.4


@dataclass(frozen=True)
class DetectedMarker:
    """A disc: centre [row, column] and radius in pixels, contrast over the spread of its surroundings, and roundness 0..1 (ratio of the
    second moments along its thin and its long axis)."""

    row: float
    column: float
    radius: float
    contrast: float
    roundness: float


def detect_markers(
    image: NDArray[np.floating], radii: tuple[float, float], polarity: str = "bright", most: int = 60
) -> list[DetectedMarker]:
    """Discs of a size, the clearest first.

    Parameters
    ----------
    image: (rows, columns) line integrals: metal beads are bright, holes dark.
    radii: smallest and largest radius in pixels.
    polarity: "bright" or "dark".
    most: at most so many.

    The scale-normalised Laplacian of a Gaussian is extreme in the middle of a disc of radius sigma * sqrt(2) (T. Lindeberg, IJCV 30(2),
    1998); the centre is that of the disc's weight above a plane fitted to the surroundings.
    """
    from scipy.ndimage import gaussian_laplace, maximum_filter

    if polarity not in POLARITIES:
        raise InputError(f"The markers' polarity is '{polarity}': it must be one of {', '.join(POLARITIES)}.")
    low, high = radii
    if not (np.isfinite([low, high]).all() and high >= _SMALLEST_RADIUS_PX and low <= high):
        raise InputError("The markers are smaller than 3 pixels: use a finer image or larger markers.")
    values = np.asarray(image, dtype=np.float64) * (1.0 if polarity == "bright" else -1.0)
    low = max(low, _SMALLEST_RADIUS_PX)
    scales = low * _SCALE_STEP ** np.arange(int(np.ceil(np.log(high / low) / np.log(_SCALE_STEP) - 1e-9)) + 1)
    responses = np.stack([-((radius**2) / 2) * gaussian_laplace(values, radius / np.sqrt(2)) for radius in scales])
    peaks = (responses == maximum_filter(responses, size=(3, 3, 3))) & (responses > 0)
    where = np.argwhere(peaks)[np.argsort(-responses[peaks])][: 8 * most]
    found: list[DetectedMarker] = []
    for layer, row, column in where:
        marker = _centred(values, float(row), float(column), float(scales[layer]))
        if marker is None or marker.contrast < _LEAST_CONTRAST or marker.roundness < _LEAST_ROUNDNESS:
            continue
        if all(np.hypot(marker.row - other.row, marker.column - other.column) > other.radius for other in found):
            found.append(marker)
    return sorted(found, key=lambda marker: -marker.contrast)[:most]


def marker_near(
    image: NDArray[np.floating], row: float, column: float, radius: float, polarity: str
) -> DetectedMarker | None:
    """The marker of about that radius (pixels) at a picked place, or None when none is there."""
    values = np.asarray(image, dtype=np.float64) * (1.0 if polarity == "bright" else -1.0)
    return _centred(values, row, column, radius)


def _centred(values: Array, row: float, column: float, radius: float) -> DetectedMarker | None:
    outer = 2.0 * radius + 1.0
    limits = np.array(values.shape)
    for _ in range(_CENTRING_ROUNDS):
        place = np.array([row, column])
        # Near a border the window shrinks evenly, so that what is cut off on one side does not pull the centre to the other.
        reach = min(1.45 * radius + 1.0, float(np.min([place + 0.5, limits - 0.5 - place])))
        if reach < radius + 0.5:
            return None
        first = np.maximum(np.floor(place - outer), 0).astype(int)
        last = np.minimum(np.ceil(place + outer) + 1, limits).astype(int)
        patch = values[first[0] : last[0], first[1] : last[1]]
        rows, columns = np.meshgrid(
            *(np.arange(*ends, dtype=np.float64) for ends in zip(first, last, strict=True)), indexing="ij"
        )
        off = np.hypot(rows - row, columns - column)
        ring = (off > 1.45 * radius + 0.5) & (off <= outer)
        if ring.sum() < _LEAST_RING * np.pi * (outer**2 - (1.45 * radius + 0.5) ** 2):
            return None
        plane = np.stack([np.ones(ring.sum()), rows[ring] - row, columns[ring] - column], axis=1)
        solved = np.linalg.lstsq(plane, patch[ring], rcond=None)[0]
        above = patch - solved[0] - solved[1] * (rows - row) - solved[2] * (columns - column)
        # A soft rim: a pixel that enters or leaves the window must not make the centre jump.
        window = np.clip(reach - off, 0.0, 1.0)
        weight = np.clip(above, 0.0, None) * window
        total = float(weight.sum())
        if total <= 0:
            return None
        new_row, new_column = float((weight * rows).sum() / total), float((weight * columns).sum() / total)
        moved = np.hypot(new_row - row, new_column - column)
        row, column = new_row, new_column
        if moved < 1e-4:
            break
    spread = 1.4826 * float(np.median(np.abs(above[ring] - np.median(above[ring]))))
    height = float(np.median(above[off < 0.6 * radius])) if (off < 0.6 * radius).any() else float(above.max())
    down, across = rows - row, columns - column
    moments = (
        np.array([[(weight * down**2).sum(), (weight * down * across).sum()], [0.0, (weight * across**2).sum()]])
        / total
    )
    thin, long = np.linalg.eigvalsh(moments, UPLO="U")
    contrast = height / max(spread, 1e-9)
    # The second moment of a uniform disc is radius^2 / 4 along each axis.
    return DetectedMarker(
        row, column, float(np.sqrt(2 * max(thin + long, 0.0))), contrast, float(thin / max(long, 1e-12))
    )
