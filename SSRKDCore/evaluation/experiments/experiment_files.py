"""What an experiment leaves behind: results.csv, table.csv, differences.csv, plots and report.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from SSRKDCore.evaluation.case_evaluation import CaseResult
from SSRKDCore.evaluation.comparison import MEASURE_EXPLANATIONS, BoneComparison
from SSRKDCore.evaluation.experiments.framework import SCHEMA, Plan, PointResult, given_case
from SSRKDCore.evaluation.experiments.plot import plot_points
from SSRKDCore.evaluation.experiments.registry import EXPERIMENTS, Finish, Request
from SSRKDCore.evaluation.table_one import TABLE_WORDS, differences_to_first, table_one
from SSRKDCore.evaluation.tables import write_differences, write_measures, write_table_one
from SSRKDCore.json_files import write_json
from SSRKDCore.training.code_version import commit, today


def result_rows(results: Sequence[CaseResult]) -> list[tuple[dict[str, str], BoneComparison]]:
    """A row for each case and bone; a case without any record gives one row with its reason."""
    rows: list[tuple[dict[str, str], BoneComparison]] = []
    for result in results:
        given = {"case": result.id, "subject": result.subject_name, "side": result.side or ""}
        rows += [({**given, "bone": name}, record) for name, record in result.bones.items()]
        if not result.bones:
            rows.append(({**given, "bone": ""}, BoneComparison(failure=result.failure)))
    return rows


def budget_words(plan: Plan, results: Sequence[PointResult], method: str, resolution: int, seed: int) -> str:
    """What every number of the experiment rests on."""
    subjects = len({item.result.subject_name for item in results})
    # Cases that are taken as they are may hold real radiographs.
    given = all(point.make is given_case for point in plan.points)
    radiographs = "the cases' own radiographs" if given else "simulated radiographs"
    return (
        f"cases: {len(plan.sources)} of {subjects} subjects, the same at every point; {resolution} samples along the cube; {method}; "
        f"{radiographs}; seed {seed}"
    )


def write_experiment(
    out: Path,
    name: str,
    request: Request,
    plan: Plan,
    results: Sequence[PointResult],
    settings: Mapping[str, Any],
    method: str,
    command: str,
    finish: Finish | None,
) -> dict[str, Any]:
    """Write all files of a finished experiment into its folder; returns the content of report.json.

    Parameters
    ----------
    out: the run's folder. name: the experiment's. plan, results: of `run_plan`. settings: those of the run. method: in words. command:
    what was called, for readers. finish: makes the experiment's own pictures in place of the usual plot.
    """
    by_point: dict[str, list[CaseResult]] = {point.name: [] for point in plan.points}
    for item in results:
        by_point[item.point].append(item.result)
    tables = {point: table_one(found, request.seed) for point, found in by_point.items()}
    budget = budget_words(plan, results, method, int(settings["resolution"]), request.seed)
    rows = [
        ({"point": point, **given}, record) for point, found in by_point.items() for given, record in result_rows(found)
    ]
    write_measures(out / "results.csv", rows)
    write_table_one(out / "table.csv", tables, "point")
    first, *others = by_point
    differences = {point: differences_to_first(by_point[first], by_point[point], request.seed) for point in others}
    if differences:
        write_differences(out / "differences.csv", differences, "point")
    title = EXPERIMENTS[name][1] if name in EXPERIMENTS else name
    if finish is None:
        extra: dict[str, Any] = {"pictures": plot_points(out, plan, tables, title, budget)[:1]}
    else:
        extra = finish(request, plan, results, out, budget)
    report = {
        "schema": SCHEMA,
        "experiment": name,
        "title": title,
        "command": command,
        "commit": commit(),
        "date": today(),
        "unit": "mm",
        "budget": budget,
        "notes": list(plan.notes),
        "settings": dict(settings),
        "tables": tables,
        "table_words": TABLE_WORDS,
        "differences_to": first if differences else None,
        "differences": {
            point: {
                bone: {measure: None if found is None else asdict(found) for measure, found in measures.items()}
                for bone, measures in bones.items()
            }
            for point, bones in differences.items()
        },
        "failures": [
            {"point": item.point, "case": item.result.id, "reason": item.result.failure}
            for item in results
            if item.result.failure is not None
        ],
        "observed_failures": [
            {"point": item.point, "case": item.result.id, "reason": item.observed["failure"]}
            for item in results
            if "failure" in item.observed
        ],
        "measures": MEASURE_EXPLANATIONS,
        **extra,
    }
    write_json(out / "report.json", report)
    return report
