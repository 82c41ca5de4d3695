"""Scores of a reader study as tables and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SSRKDCore.evaluation.reader_study.answers import GradedModel
from SSRKDCore.evaluation.reader_study.shown_bones import VERSIONS
from SSRKDCore.evaluation.reader_study.wording import GRADES, SCALES

#: From the lowest to the highest grade; readable by the colour-blind and in grey.
_COLOURS = ("#b35806", "#fdb863", "#b2abd2", "#542788")


def write_grades(path: str | Path, graded: Sequence[GradedModel]) -> None:
    """Write one row a reader and model, unblinded; an open grade is empty."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["reader", "code", "case", "version", *SCALES, "seconds", "comment"])
        for item in graded:
            grades = ("" if item.grades[scale] is None else item.grades[scale] for scale in SCALES)
            writer.writerow(
                [item.reader, item.code, item.case, item.version, *grades, f"{item.seconds:.3f}", item.comment]
            )


def write_summary(path: str | Path, scores: Mapping[str, Any]) -> None:
    """Write one row a scale, version and reader, "all" for all readers together."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["scale", "version", "reader", "grades", "mean", "deviation", *(f"grade_{grade}" for grade in GRADES)]
        )
        for scale, found in scores["scales"].items():
            for reader, summaries in {"all": found["overall"], **found["by_reader"]}.items():
                for version, summary in summaries.items():
                    figures = (
                        "" if summary[name] is None else f"{summary[name]:.6g}" for name in ("mean", "deviation")
                    )
                    writer.writerow([scale, version, reader, summary["grades"], *figures, *summary["counts"].values()])


def write_plot(path: str | Path, scores: Mapping[str, Any], wording: Mapping[str, Any]) -> None:
    """Draw how often each grade was given, for each scale and version, with mean, deviation, and the paired test."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = {scale["id"]: scale["name"] for scale in wording["scales"]}
    figure = Figure(figsize=(9, 1.2 + 1.35 * len(SCALES)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(SCALES), 1, sharex=True, squeeze=False)[:, 0]
    for axis, scale in zip(axes, SCALES, strict=True):
        found = scores["scales"][scale]
        labels = []
        for place, version in enumerate(VERSIONS):
            summary = found["overall"][version]
            left = 0.0
            for grade, colour in zip(GRADES, _COLOURS, strict=True):
                share = 100 * summary["counts"][str(grade)] / max(summary["grades"], 1)
                axis.barh(
                    place, share, left=left, color=colour, height=0.7, label=f"grade {grade}" if place == 0 else None
                )
                left += share
            labels.append(f"{version}\n{_figures(summary)}")
        axis.set_yticks(range(len(VERSIONS)), labels)
        axis.invert_yaxis()
        axis.set_xlim(0, 100)
        axis.set_title(f"{names[scale]}: {_test_words(found['paired_test'])}", fontsize=10, loc="left")
    axes[-1].set_xlabel("share of grades, %")
    handles, words = axes[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper center", ncols=len(GRADES), frameon=False)
    readers, cases = len(scores["readers"]), len(scores["cases"])
    figure.supxlabel(f"{readers} readers, {cases} cases; 1 not usable to 4 indistinguishable", fontsize=9)
    figure.savefig(path, dpi=130)


def _figures(summary: Mapping[str, Any]) -> str:
    if summary["mean"] is None:
        return "no grade"
    deviation = "" if summary["deviation"] is None else f" ± {summary['deviation']:.2f}"
    return f"{summary['mean']:.2f}{deviation} (n = {summary['grades']})"


def _test_words(test: Mapping[str, Any]) -> str:
    if test["p"] is None:
        return "no case has both versions graded"
    effect = "" if test["effect"] is None else f", effect {test['effect']:+.2f}"
    return f"difference {test['mean_difference']:+.2f}, p = {test['p']:.3g} (Holm {test['p_holm']:.3g}){effect}, {test['cases']} cases"
