"""The two radiographs of a case as a reader sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.cases import Case
from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.radiograph import VIEW_NAMES
from SSRKDCore.radiographs.reader import read_radiograph

#: Names of the two radiographs, keys of the wording.
RADIOGRAPHS = ("ap", "lateral")
LONGEST_SIDE = 720
_WINDOW_PERCENT = (1.0, 99.7)


def radiograph_pictures(case: Case) -> list[NDArray[np.uint8]]:
    """AP and lateral radiograph as grey pictures [row, column], bones bright, the longest side LONGEST_SIDE pixels at most.

    Raises InputError when the case has no such views, or a file cannot be used.
    """
    views = {view.name: view for view in case.rig.views}
    absent = [name for name in RADIOGRAPHS if name not in views]
    if absent:
        raise InputError(
            f"Case {case.id} has no view named {' or '.join(absent)}, and a reader sees an AP and a lateral radiograph: leave the case out."
        )
    pictures = []
    for name in RADIOGRAPHS:
        known = name if name in VIEW_NAMES else None
        radiograph = read_radiograph(case.radiographs[name], known, case.intensity)
        pictures.append(windowed(radiograph.pixels, views[name].pixel_spacing))
    return pictures


def windowed(pixels: NDArray[np.float32], spacing: tuple[float, float]) -> NDArray[np.uint8]:
    """Line integrals [row, column] with pixels of `spacing` mm (between rows, columns) as a grey picture with square pixels."""
    from scipy.ndimage import zoom

    values = np.nan_to_num(np.asarray(pixels, dtype=np.float64))
    extent = np.array(values.shape) * np.array(spacing)
    scale = min(LONGEST_SIDE / extent.max(), 1 / min(spacing))
    # Averaging whole blocks first keeps fine noise from aliasing.
    block = [max(1, int(1 / (scale * step))) for step in spacing]
    rows, columns = values.shape[0] // block[0], values.shape[1] // block[1]
    values = values[: rows * block[0], : columns * block[1]]
    values = values.reshape(rows, block[0], columns, block[1]).mean(axis=(1, 3))
    wanted = np.maximum(np.round(extent * scale), 1)
    values = zoom(values, wanted / np.array(values.shape), order=1, mode="nearest", grid_mode=True)
    low, high = np.percentile(values, _WINDOW_PERCENT)
    return np.asarray(np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255).round().astype(np.uint8)
