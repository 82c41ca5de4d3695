"""The picture of the comparison of synthetic CTs with a real one: histogram, profiles, and radiographs simulated from both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.attenuation import attenuation_from_hounsfield
from SSRKDCore.drr.siddon import line_integrals
from SSRKDCore.geometry.presets import preset
from SSRKDCore.grid import Grid
from SSRKDCore.population.ct_realism import BANDS, random_ct
from SSRKDCore.population.shape_model import KneeShapeModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PIXELS, _PIXEL_MM = 300, 1.0


def _radiographs(
    hounsfield: NDArray[np.floating] | NDArray[np.integer], grid: Grid, side: str
) -> list[NDArray[np.float32]]:
    """AP and lateral line integrals of a CT, centred on its box."""
    rig = preset("room", side, (_PIXEL_MM, _PIXEL_MM), _PIXELS, _PIXELS)
    rig = rig.translated(grid.bounds.mean(axis=0) - np.array(rig.field_of_view.center))
    attenuation = attenuation_from_hounsfield(hounsfield)
    return [line_integrals(attenuation, grid, view) for view in rig.views]


def _curves(axes: Axes, x: NDArray[np.floating], real: dict[str, Any], spread: Any, title: str) -> None:
    """Both real legs, and the median and 5 to 95 % of the synthetic ones."""
    known = np.array([[np.nan] * 3 if one is None else one for one in spread], dtype=float)
    axes.fill_between(x, known[:, 0], known[:, 2], color="tab:blue", alpha=0.25, label="synthetic, 5 to 95 %")
    axes.plot(x, known[:, 1], color="tab:blue", label="synthetic, median")
    for style, (leg, values) in zip(("-", "--"), real.items(), strict=True):
        drawn = [np.nan if value is None else value for value in values]
        axes.plot(x, drawn, color="black", linestyle=style, linewidth=1, label=f"real, {leg}")
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)


def write_picture(
    path: Path, report: dict[str, Any], real: tuple[NDArray[np.float32], Grid], model: KneeShapeModel, seed: int
) -> None:
    """Draw a report of `ct_realism.compare`, and radiographs of the real right leg and of synthetic knees, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 7.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 6)
    legs, spread = report["real_legs"], report["synthetic_percentiles_5_50_95"]
    first, last, step = report["histogram_edges_hu"]
    hu = np.arange(first + step / 2, last, step)
    _curves(axes[0, 0], hu, {k: v["histogram"] for k, v in legs.items()}, spread["histogram"], "HU in the leg, share")
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylim(1e-5, 1)
    axes[0, 0].legend(fontsize=6)
    for panel, name in zip(axes[0, 1:], BANDS, strict=True):
        profiles = {leg: values["tibia_profile_hu"].get(name, []) for leg, values in legs.items()}
        depths = np.array(report["profile_depths_mm"])
        _curves(panel, depths, profiles, spread["tibia_profile_hu"][name], f"tibia, {name}: HU by depth, mm")

    pictures: list[tuple[str, NDArray[np.floating] | NDArray[np.integer], Grid, str]] = [
        ("real", real[0], real[1], "right")
    ]
    for index in range(2):
        ct = random_ct(model, seed + index)
        pictures.append((f"synthetic, seed {seed + index}", ct.hounsfield, ct.grid, ct.provenance["side"]))
    for index in range(3):
        ct = random_ct(model, seed + index, whole=True)
        pictures.append((f"synthetic, whole, seed {seed + index}", ct.hounsfield, ct.grid, ct.provenance["side"]))
    for column, (title, hounsfield, grid, side) in enumerate(pictures):
        for row, image in enumerate(_radiographs(hounsfield, grid, side), start=1):
            axes[row, column].imshow(image, cmap="gray", vmin=0, vmax=5)
            axes[row, column].set_title(f"{title}, {side}: {('AP', 'lateral')[row - 1]}", fontsize=8)
            axes[row, column].axis("off")
    # The file's name ends otherwise than in .png until it is whole.
    beside = path.with_name(path.name + ".part")
    figure.savefig(beside, dpi=80, format="png")
    beside.replace(path)
