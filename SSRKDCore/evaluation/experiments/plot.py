"""Plots of experiments: the mean error of each bone at each point with its interval, without a display."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.experiments.framework import Plan, Point
from SSRKDCore.evaluation.table_one import ALL_BONES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Table = Mapping[str, Mapping[str, Any]]

# Dark enough for white paper and apart for the colour-blind (Okabe and Ito).
COLORS = {"patella": "#D55E00", "femur": "#000000", "fibula": "#009E73", "tibia": "#0072B2", ALL_BONES: "#777777"}
MARKERS = {"patella": "s", "femur": "o", "fibula": "^", "tibia": "D", ALL_BONES: "_"}
MEASURES = {"exact_assd_mm": "exact ASSD (mm)", "exact_hd95_mm": "exact HD95 (mm)"}
_PANEL_WIDTH, _PANEL_HEIGHT = 5.2, 3.1
#: Names of kinds that have more letters together are written upright; then inches a kind and a letter.
_FITTING_LETTERS, _KIND_WIDTH, _LETTER_HEIGHT = 120, 0.3, 0.055
#: Between the bones of a kind, of the distance between two kinds.
_KIND_SPREAD = 0.15


def check_matplotlib() -> None:
    """Raises InputError where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(
            "Plots need matplotlib, which is not installed: install it with pip install 'ssrkdcore[train]'."
        ) from error


def new_figure(width: float, height: float) -> Figure:
    """A figure of that size in inches that needs no display and leaves matplotlib's global state alone."""
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, out: Path, name: str) -> list[str]:
    """Write the figure as PNG and SVG into a folder; returns the files' names."""
    import matplotlib

    names = [f"{name}.png", f"{name}.svg"]
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(out / names[0])
        figure.savefig(out / names[1], metadata={"Date": None})
    return names


def foot(figure: Figure, words: str) -> None:
    """What the plot rests on, below it."""
    figure.supxlabel(textwrap.fill(words, int(16 * figure.get_figwidth())), fontsize=7.5, color="#444444")


def plot_points(out: Path, plan: Plan, tables: Mapping[str, Table], title: str, budget: str) -> list[str]:
    """plot.png and plot.svg: exact ASSD and HD95 by point, one column a series.

    Parameters
    ----------
    out: folder. plan: the points. tables: point -> `table_one`. title: heading. budget: what the plot rests on, written below.

    Returns the files' names.
    """
    series = list(dict.fromkeys(point.series for point in plan.points))
    shared = [point for point in plan.points if point.series == "" and point.value == 0.0] if len(series) > 1 else []
    columns = [name for name in series if not (shared and name == "")]
    kinds = [point.name for point in plan.points if point.value is None]
    upright = sum(map(len, kinds)) > _FITTING_LETTERS
    width = max(5.6, _PANEL_WIDTH * len(columns), _KIND_WIDTH * len(kinds) if upright else 0.0)
    height = _PANEL_HEIGHT + (_LETTER_HEIGHT * max(map(len, kinds)) if upright else 0.0)
    figure = new_figure(width, height * len(MEASURES) + 0.9)
    panels = figure.subplots(len(MEASURES), len(columns), squeeze=False, sharey="row")
    for column, name in enumerate(columns):
        points = [*shared, *(point for point in plan.points if point.series == name)]
        for row, (measure, words) in enumerate(MEASURES.items()):
            axes = panels[row, column]
            _panel(axes, points, tables, measure, upright)
            axes.set_ylabel(words)
            if row == len(MEASURES) - 1:
                axes.set_xlabel(plan.axes.get(name, name))
    # Only when every panel is drawn: panels of a row share their axis, and a set limit no longer grows.
    for axes in panels[:, 0]:
        axes.set_ylim(bottom=0.0)
    panels[0, 0].legend(fontsize=7, frameon=False, ncols=2)
    figure.suptitle(textwrap.fill(title, int(13 * width)), fontsize=10)
    foot(figure, f"{budget}; bars: 95 % bootstrap over subjects")
    return save_figure(figure, out, "plot")


def _panel(axes: Axes, points: Sequence[Point], tables: Mapping[str, Table], measure: str, upright: bool) -> None:
    amounts = all(point.value is not None for point in points)
    places = [float(point.value) if amounts and point.value is not None else float(i) for i, point in enumerate(points)]
    logarithmic = amounts and min(places) > 0 and max(places) / min(places) > 20
    spread = 0.0 if logarithmic else 0.012 * (max(places) - min(places) or 1.0)
    if not amounts:
        spread = min(spread, _KIND_SPREAD)
    for index, bone in enumerate(BONE_NAMES):
        known = [
            (place + (index - 1.5) * spread, tables[point.name][bone][measure])
            for place, point in zip(places, points, strict=True)
            if tables[point.name].get(bone, {}).get(measure)
        ]
        if not known:
            continue
        x, figures = [place for place, _ in known], [figure for _, figure in known]
        mean = [figure["mean"] for figure in figures]
        below = [figure["mean"] - (figure["mean"] if figure["low"] is None else figure["low"]) for figure in figures]
        above = [(figure["mean"] if figure["high"] is None else figure["high"]) - figure["mean"] for figure in figures]
        axes.errorbar(
            x,
            mean,
            yerr=[[max(v, 0.0) for v in below], [max(v, 0.0) for v in above]],
            color=COLORS[bone],
            marker=MARKERS[bone],
            markersize=4,
            linewidth=1.0 if amounts else 0.0,
            elinewidth=1.0,
            capsize=2,
            label=bone,
        )
    failed = [tables[point.name][ALL_BONES]["failed"] for point in points]
    totals = [count + tables[point.name][ALL_BONES]["scored"] for point, count in zip(points, failed, strict=True)]
    names = [f"{point.value:g}" if amounts else point.name for point in points]
    words = [
        f"{name}\n{count} of {total} failed" if count else name
        for name, count, total in zip(names, failed, totals, strict=True)
    ]
    if logarithmic:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(places, words, fontsize=7.5, rotation=90 if upright and not amounts else 0)
    if not amounts:
        axes.set_xlim(min(places) - 0.5, max(places) + 0.5)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
