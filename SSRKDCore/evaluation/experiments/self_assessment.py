"""Self-assessment: whether the distance of projected and seen outlines, which needs no reference, tells the true error."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.cases import Case
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.experiments.framework import Plan, Point, PointResult, given_case
from SSRKDCore.evaluation.experiments.plot import COLORS, MARKERS, foot, new_figure, save_figure
from SSRKDCore.evaluation.experiments.registry import Request
from SSRKDCore.evaluation.experiments.statistics import rank_correlation
from SSRKDCore.evaluation.outline_distance import REACH_MM, outline_distances

MEASURE = "exact_assd_mm"


def plan(request: Request) -> Plan:
    """One point: the cases as they are."""
    notes = (
        "Outline distance: mean over the projected outline's samples in all views of the distance to the steepest fall of the line "
        f"integral within {REACH_MM:g} mm along the outline's normal, in mm at the bone.",
    )
    point = Point("as it is", given_case, settings={"reach_mm": REACH_MM})
    return Plan([point], request.case_sources(), {"": ""}, observe=observe, notes=notes)


def observe(case: Case, answer: CaseAnswer, files: Path) -> Mapping[str, Any]:
    """Outline distances of the answer in the case's own radiographs."""
    from SSRKDCore.radiographs.radiograph import VIEW_NAMES
    from SSRKDCore.radiographs.reader import read_radiograph

    images = {}
    for view in case.rig.views:
        known = view.name if view.name in VIEW_NAMES else None
        images[view.name] = replace(
            read_radiograph(case.radiographs[view.name], known, case.intensity), view=view.name
        ).pixels
    found = outline_distances(answer.surfaces, images, case.rig, answer.field_of_view)
    return {view: {bone: figures.to_dict() for bone, figures in bones.items()} for view, bones in found.items()}


def finish(request: Request, plan: Plan, results: Sequence[PointResult], out: Path, budget: str) -> dict[str, Any]:
    """self_assessment.csv, the scatter plot, and the rank correlations; a case without both figures is counted."""
    rows = [
        (item.result.id, bone, item.observed["all"][bone], getattr(item.result.bones[bone], MEASURE))
        for item in results
        for bone in BONE_NAMES
        if bone in item.observed.get("all", {}) and bone in item.result.bones
    ]
    with (out / "self_assessment.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["case", "bone", "outline_mean_mm", "outline_p95_mm", "outline_signed_mean_mm", "found", MEASURE]
        )
        for case, bone, seen, error in rows:
            figures = (seen["mean_mm"], seen["p95_mm"], seen["signed_mean_mm"], seen["found"], error)
            writer.writerow([case, bone, *("" if value is None else f"{value:.6g}" for value in figures)])
    pairs = {
        bone: [
            (seen["mean_mm"], error)
            for _, name, seen, error in rows
            if name == bone and seen["mean_mm"] is not None and error is not None
        ]
        for bone in BONE_NAMES
    }
    by_case = _by_case(results)
    correlation = {bone: rank_correlation(*_columns(points)) for bone, points in pairs.items()}
    correlation["case"] = rank_correlation(*_columns(by_case))
    _plot(out, pairs, correlation, budget)
    return {
        "rank_correlation_with_exact_assd": correlation,
        "cases_without_both_figures": len({item.result.id for item in results}) - len(by_case),
        "pictures": ["self_assessment.png"],
    }


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def _by_case(results: Sequence[PointResult]) -> list[tuple[float, float]]:
    """A pair a case: outline distance over all bones and views, and the mean error of its bones."""
    found = []
    for item in results:
        seen = item.observed.get("all", {}).get("all", {}).get("mean_mm")
        errors = [value for record in item.result.bones.values() if (value := getattr(record, MEASURE)) is not None]
        if seen is not None and errors:
            found.append((seen, sum(errors) / len(errors)))
    return found


def _plot(
    out: Path, pairs: Mapping[str, Sequence[tuple[float, float]]], correlation: Mapping[str, Any], budget: str
) -> None:
    figure = new_figure(5.8, 5.2)
    axes = figure.subplots()
    for bone, points in pairs.items():
        if points:
            rho = correlation[bone]["spearman"]
            words = f"{bone} ({len(points)}, rank correlation {'-' if rho is None else f'{rho:.2f}'})"
            x, y = _columns(points)
            axes.scatter(x, y, s=18, color=COLORS[bone], marker=MARKERS[bone], label=words, alpha=0.8)
    axes.set_xlabel("distance of projected and seen outline (mm)")
    axes.set_ylabel("true error, exact ASSD (mm)")
    axes.set_xlim(left=0.0)
    axes.set_ylim(bottom=0.0)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if any(pairs.values()):
        figure.legend(loc="outside upper center", ncols=1, fontsize=7.5, frameon=False)
    foot(figure, budget)
    save_figure(figure, out, "self_assessment")
