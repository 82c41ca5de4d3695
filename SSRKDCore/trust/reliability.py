"""The reliability plot: how large errors were where they were expected to be large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.evaluation.experiments.plot import COLORS, MARKERS, new_figure, save_figure
from SSRKDCore.trust.measured_tables import vertices_of
from SSRKDCore.trust.reference import TrustReference

Array = NDArray[np.float64]

_BINS = 10


def binned(expected: Array, error: Array) -> tuple[Array, Array, Array]:
    """Mean expected error, mean error, and 95th percentile of the error in ten bins of equally many vertices."""
    order = np.argsort(expected, kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if len(part)]
    return (
        np.array([expected[part].mean() for part in parts]),
        np.array([error[part].mean() for part in parts]),
        np.array([np.quantile(error[part], 0.95) for part in parts]),
    )


def write_reliability(folder: Path, records: Sequence[Mapping[str, Any]], reference: TrustReference) -> list[str]:
    """Write reliability.png and .svg: mean error and its 95th percentile against what was stated, one panel each, a line a bone.

    Raises InputError where matplotlib is missing.
    """
    known = [record for record in records if "vertices" in record]
    figure = new_figure(9.0, 4.2)
    mean, interval = figure.subplots(1, 2)
    largest = [0.5, 0.5]
    for bone in BONE_NAMES:
        parts = vertices_of(bone, known)
        if not parts:
            continue
        expected, error = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        middle, average, high = binned(expected, error)
        style = {"color": COLORS[bone], "marker": MARKERS[bone], "label": bone, "linewidth": 1.2, "markersize": 4}
        mean.plot(middle, average, **style)
        interval.plot(reference.errors[bone].factor * middle, high, **style)
        largest[0] = max(largest[0], middle.max(), average.max())
        largest[1] = max(largest[1], reference.errors[bone].factor * middle.max(), high.max())
    for axes, limit, words in (
        (mean, largest[0], ("expected error (mm)", "mean true error (mm)")),
        (interval, largest[1], ("stated 95 % interval (mm)", "95th percentile of the true error (mm)")),
    ):
        axes.plot([0, limit], [0, limit], color="#777777", linewidth=0.8, linestyle="--")
        axes.set_xlabel(words[0])
        axes.set_ylabel(words[1])
        axes.spines[["top", "right"]].set_visible(False)
    mean.legend(frameon=False)
    return save_figure(figure, folder, "reliability")
