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
        "--style", metavar="MODEL", help="style model that gives radiographs the look of simulated ones first (none)"
    )
    parser.add_argument(
        "--cases", required=True, metavar="DIR", help="folder of cases (folders with a case.json), or one case"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="new folder for report.json, results.csv and table.csv"
    )
    parser.add_argument(
        "--resolution", type=int, default=256, metavar="N", help="samples along a side of the cube, 32 to 512 (256)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where the networks run (auto: a GPU where torch sees one)",
    )
    parser.add_argument(
        "--refine",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="refine bones where the model brings a shape prior (yes)",
    )
    parser.add_argument(
        "--prepare",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="leave out the collimator's shadow and fill letters in the radiographs, as `ssrkd reconstruct` does (yes)",
    )
    parser.add_argument(
        "--trim-cut-references",
        action="store_true",
        help="do not score what lies beyond the flat end of a reference that was cut inside the field of view",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap behind the intervals (0)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluates the cases that an ended run has not; returns the content of report.json."""
    from SSRKDCore.cases import find_cases
    from SSRKDCore.errors import InputError
    from SSRKDCore.output_folder import check_output_folder

    check_output_folder(args.out, args.overwrite)
    found = find_cases(args.cases)
    check_resolution(args.resolution)
    if args.seed < 0:
        raise InputError(f"The seed is {args.seed}: it must not be negative.")

    from SSRKDCore.evaluation.case_evaluation import case_reconstruction
    from SSRKDCore.evaluation.evaluation_run import UnfinishedEvaluation, missing_cases, scored_folders
    from SSRKDCore.networks.model_folder import SHAPE_PRIOR_ENTRY, SURFACE_CORRECTION_ENTRY, load_model
    from SSRKDCore.networks.model_settings import settings_identity
    from SSRKDCore.reconstruction.style_transfer import load_style

    folders, unlabelled = scored_folders(found)
    if not folders:
        raise InputError(f"All cases of {args.cases} are unlabelled, so nothing can be scored: name labelled cases.")
    model = load_model(args.model)
    description = {"name": model.name, "path": str(model.path), "weights": model.card.get("weights")}
    style = load_style(args.style)
    if style is not None:
        description["style"] = {"name": style.name, "weights": style.card.get("weights")}
    description["refined"] = bool(args.refine and model.card.get("shape_prior"))
    description["prepared"] = args.prepare
    refined_by = {
        entry: model.card[entry]
        for entry in (SHAPE_PRIOR_ENTRY, SURFACE_CORRECTION_ENTRY)
        if description["refined"] and entry in model.card
    }
    settings = {
        "model": description | refined_by | {"settings": settings_identity(model)},
        "resolution": args.resolution,
        "trim_cut_references": args.trim_cut_references,
    }
    unfinished = UnfinishedEvaluation(args.out, folders, settings)
    if unfinished.done:
        say(f"{unfinished.done} of {len(folders)} cases are evaluated already.")
    with progress_bar("evaluate") as progress:
        job = case_reconstruction(
            model, args.resolution, args.device, style=style, prepare=args.prepare, refine=args.refine
        )
        results = unfinished.run(job, args.trim_cut_references, progress)
    results += missing_cases(args.cases)
    report = _write(args, results, description, unlabelled)
    unfinished.remove()
    _tell(results, report, args.out)
    return report


def _write(
    args: argparse.Namespace, results: Sequence[CaseResult], description: dict[str, Any], unlabelled: int
) -> dict[str, Any]:
    """Write the folder; returns the content of report.json."""
    from SSRKDCore.evaluation.case_evaluation import evaluation_report
    from SSRKDCore.evaluation.experiments.experiment_files import result_rows
    from SSRKDCore.evaluation.table_one import TABLE_WORDS, table_one
    from SSRKDCore.evaluation.tables import write_measures, write_table_one
    from SSRKDCore.json_files import write_json
    from SSRKDCore.output_folder import complete_folder

    table = table_one(results, args.seed)
    report = {
        **evaluation_report(results, description, args.resolution),
        "cases_unlabelled": unlabelled,
        "command": _command(args),
        "seed": args.seed,
        "table": table,
        "table_words": TABLE_WORDS,
    }
    with complete_folder(args.out, args.overwrite) as folder:
        write_measures(folder / "results.csv", result_rows(results))
        write_table_one(folder / "table.csv", {"": table}, "")
        write_json(folder / "report.json", report)
    return report


def _command(args: argparse.Namespace) -> str:
    """The command line that makes the same results."""
    import shlex

    words = ["ssrkd", "evaluate"]
    for option in ("model", "style", "cases", "out", "resolution", "seed"):
        if getattr(args, option) is not None:
            words += [f"--{option}", str(getattr(args, option))]
    return shlex.join(
        [
            *words,
            *(["--trim-cut-references"] if args.trim_cut_references else []),
            *([] if args.refine else ["--no-refine"]),
            *([] if args.prepare else ["--no-prepare"]),
        ]
    )


def check_resolution(resolution: int) -> None:
    """Raises InputError for samples along the cube that no model can be asked for."""
    from SSRKDCore.errors import InputError
    from SSRKDCore.reconstruction.pipeline import RESOLUTIONS

    low, high = RESOLUTIONS
    if not low <= resolution <= high:
        raise InputError(f"The resolution is {resolution}: use a whole number from {low} to {high}.")


def _tell(results: Sequence[CaseResult], report: dict[str, Any], out: str) -> None:
    from SSRKDCore.evaluation.evaluation_run import unlabelled_words

    for result in results:
        if result.failure is not None:
            say(f"{result.id} failed: {result.failure}")
        for warning in result.warnings:
            say(f"{result.id}: {warning}")
    say(f"{'mean of':<8}" + "".join(f"{words:>12}" for words in _COLUMNS.values()) + f"{'scored':>9}{'failed':>8}")
    for name, row in report["table"].items():
        figures = ("-" if row[measure] is None else f"{row[measure]['mean']:.3f}" for measure in _COLUMNS)
        say(f"{name:<8}" + "".join(f"{figure:>12}" for figure in figures) + f"{row['scored']:9d}{row['failed']:8d}")
    say(f"{report['cases_scored']} cases scored, {report['cases_failed']} failed.")
    if report["cases_unlabelled"]:
        say(unlabelled_words(report["cases_unlabelled"]))
    say(f"Written to {out}: report.json, results.csv and table.csv (with deviations, worst cases and intervals).")
