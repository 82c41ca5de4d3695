"""`ssrkd evaluate`: a model on a folder of cases, scored bone by bone."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import progress_bar, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from SSRKDCore.evaluation.case_evaluation import CaseResult

HELP = "reconstruct a folder of cases and measure the errors against their references"

# Measures in the table for people, with their headings (mm but for Dice).
_COLUMNS = {
    "exact_assd_mm": "exact ASSD",
    "exact_hd95_mm": "exact HD95",
    "exact_hd_mm": "exact HD",
    "dice": "Dice",
    "paper_assd_mm": "paper ASSD",
    "paper_hd_mm": "paper HD",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="MODEL", help="model folder, or the name of a bundled model (default: the shipped model)"
    )
    parser.add_argument(
        "--cases", required=True, metavar="DIR", help="folder of cases (folders with a case.json), or one case"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder for report.json and results.csv")
    parser.add_argument(
        "--resolution", type=int, default=256, metavar="N", help="samples along a side of the cube, 32 to 512 (256)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument(
        "--trim-cut-references",
        action="store_true",
        help="do not score what lies beyond the flat end of a reference that was cut inside the field of view",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.cases import find_cases
    from SSRKDCore.output_folder import check_output_folder, complete_folder

    check_output_folder(args.out, args.overwrite)
    folders = find_cases(args.cases)
    _check_resolution(args.resolution)

    from SSRKDCore.evaluation.case_evaluation import case_reconstruction, evaluate_cases, evaluation_report
    from SSRKDCore.evaluation.tables import write_measures
    from SSRKDCore.json_files import write_json
    from SSRKDCore.networks.model_folder import load_model

    model = load_model(args.model)
    with progress_bar("evaluate") as progress:
        job = case_reconstruction(model, args.resolution, args.device)
        results = evaluate_cases(folders, job, args.trim_cut_references, progress)
    description = {"name": model.name, "path": str(model.path), "weights": model.card.get("weights")}
    report = evaluation_report(results, description, args.resolution)
    with complete_folder(args.out, args.overwrite) as folder:
        write_measures(folder / "results.csv", _rows(results))
        write_json(folder / "report.json", report)
    _tell(results, report, args.out)
    return report


def _check_resolution(resolution: int) -> None:
    from SSRKDCore.errors import InputError
    from SSRKDCore.reconstruction.pipeline import RESOLUTIONS

    low, high = RESOLUTIONS
    if not low <= resolution <= high:
        raise InputError(f"The resolution is {resolution}: use a whole number from {low} to {high}.")


def _rows(results: Sequence[CaseResult]) -> list[tuple[dict[str, str], Any]]:
    """A row for each case and bone; a case without any record gives one row with its reason."""
    from SSRKDCore.evaluation.comparison import BoneComparison

    rows: list[tuple[dict[str, str], Any]] = []
    for result in results:
        given = {"case": result.id, "side": result.side or ""}
        rows += [({**given, "bone": name}, record) for name, record in result.bones.items()]
        if not result.bones:
            rows.append(({**given, "bone": ""}, BoneComparison(failure=result.failure)))
    return rows


def _tell(results: Sequence[CaseResult], report: dict[str, Any], out: str) -> None:
    for result in results:
        if result.failure is not None:
            say(f"{result.id} failed: {result.failure}")
        for warning in result.warnings:
            say(f"{result.id}: {warning}")
    say(f"{'mean of':<8}" + "".join(f"{words:>12}" for words in _COLUMNS.values()) + f"{'scored':>9}{'failed':>8}")
    for name, mean in report["means"].items():
        figures = ("-" if mean[measure] is None else f"{mean[measure]:.3f}" for measure in _COLUMNS)
        say(f"{name:<8}" + "".join(f"{figure:>12}" for figure in figures) + f"{mean['scored']:9d}{mean['failed']:8d}")
    say(f"{report['cases_scored']} cases scored, {report['cases_failed']} failed.")
    say(f"Written to {out}: report.json and results.csv.")
