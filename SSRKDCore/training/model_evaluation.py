"""`ssrkd evaluate` over several sets of cases, and the table of what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from SSRKDCore import cli
from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json
from SSRKDCore.training.test_sets import TestSet

MEASURES = ("exact_assd_mm", "exact_hd_mm", "exact_hd95_mm", "dice", "paper_assd_mm", "paper_hd_mm")
_HEADINGS = ("exact ASSD mm", "exact HD mm", "exact HD95 mm", "Dice", "paper-protocol ASSD mm", "paper-protocol HD mm")


def evaluate_sets(
    model: Path, sets: Sequence[TestSet], out: Path, resolution: int = 256, refine: bool = True
) -> dict[str, dict[str, Any]]:
    """The report of `ssrkd evaluate` on each set, by the set's name. Raises InputError when one could not be evaluated at all."""
    reports = {}
    for test_set in sets:
        target = out / test_set.folder.name
        code = cli.main(
            ["evaluate", "--model", str(model), "--cases", str(test_set.folder), "--resolution", str(resolution),
             "--out", str(target), "--overwrite", "--refine" if refine else "--no-refine"]
        )  # fmt: skip
        if code:
            raise InputError(f"{test_set.folder} could not be evaluated: see the message above.")
        reports[test_set.name] = read_json(target / "report.json", "an evaluation report")
    return reports


def bone_rows(report: Mapping[str, Any], bone: str) -> tuple[list[dict[str, Any]], int]:
    """The scored records of a bone over the cases of a report, and how many failed."""
    rows = [case["bones"][bone] for case in report["cases"].values() if bone in case["bones"]]
    scored = [row for row in rows if row.get("failure") is None]
    return scored, len(rows) - len(scored)


def summary(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By bone: how many were scored and failed, the mean of each measure, and the worst exact ASSD and HD."""
    found: dict[str, dict[str, Any]] = {}
    for bone in BONE_NAMES:
        scored, failed = bone_rows(report, bone)
        if not scored and not failed:
            continue
        entry: dict[str, Any] = {"scored": len(scored), "failed": failed}
        for measure in MEASURES:
            values = [row[measure] for row in scored if row.get(measure) is not None]
            entry[measure] = sum(values) / len(values) if values else None
        for measure in ("exact_assd_mm", "paper_assd_mm"):
            entry[f"worst_{measure}"] = max((row[measure] for row in scored), default=None)
        found[bone] = entry
    return found


def mean_over_bones(report: Mapping[str, Any], measure: str) -> float | None:
    """The mean of a measure over the bones' means; None when a bone was never found, for a mean without it would flatter."""
    values = [entry[measure] for entry in summary(report).values()]
    if not values or any(value is None for value in values):
        return None
    return float(sum(values) / len(values))


def measured_table(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table: a row for each set and bone, means, and the worst case of both average distances."""
    lines = [
        "| cases | bone | n | " + " | ".join(_HEADINGS) + " | worst exact ASSD mm | worst paper-protocol ASSD mm |",
        "|---" * (len(_HEADINGS) + 5) + "|",
    ]
    for name, report in reports.items():
        for bone, entry in summary(report).items():
            total = entry["scored"] + entry["failed"]
            count = str(total) if not entry["failed"] else f"{entry['scored']} of {total}"
            figures = [entry[measure] for measure in (*MEASURES, "worst_exact_assd_mm", "worst_paper_assd_mm")]
            cells = ("-" if figure is None else f"{figure:.2f}" for figure in figures)
            lines.append(f"| {name} | {bone} | {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
