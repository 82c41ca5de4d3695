"""`ssrkd shape-model`: a statistical shape model of the knee from a folder of bone surfaces."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError

_CANCELLED = 130

HELP = "fit a statistical shape model of the knee to a folder of bone surfaces"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the anatomy folder: manifest.json and what it lists"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="MODEL.npz", help="the model file to write")
    parser.add_argument(
        "--exclude", nargs="+", default=[], metavar="SUBJECT", help="people of whom nothing is used (both sides)"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="REPORT.json",
        help="also measure compactness, generalisation (each person left out once; minutes) and specificity",
    )
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="keep registrations here, and go on from those kept by an earlier run"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Fits and writes the model, and measures it if asked to; returns what was done. Interrupted while measuring, the exit code is 130."""
    if args.out.suffix != ".npz":
        raise InputError(f"{args.out} is not a model file name: end it with .npz.")
    for path in (args.out, args.report):
        if path is not None and path.exists() and not args.overwrite:
            raise InputError(f"{path} exists already: choose another file, or add --overwrite to replace it.")
        if path is not None and path.is_dir():
            raise InputError(f"{path} is a folder: name a file.")

    from SSRKDCore.json_files import write_json
    from SSRKDCore.population.bone_sources import read_bone_sources
    from SSRKDCore.population.knee_correspondences import find_correspondences
    from SSRKDCore.population.shape_model import KneeShapeModel
    from SSRKDCore.population.shape_quality import quality_report, registration_distances

    with progress_bar("Fitting") as progress:
        found = find_correspondences(
            args.data, args.exclude, args.work, lambda done, words: progress(0.9 * done, words)
        )
        model = KneeShapeModel.of_correspondences(found)
        model.card["excluded_subjects"] = sorted(set(args.exclude))
        model.save(args.out)
    for bone, distances in registration_distances(found).items():
        say(f"{bone:<8} {distances['bones']:3d} bones registered, mean distance {distances['mean']:.2f} mm")
    result: dict[str, Any] = {"model": str(args.out), "sha256": model.sha256(), **model.card}
    if args.report is not None:
        sources = read_bone_sources(args.data, args.exclude)
        try:
            with progress_bar("Measuring") as progress:
                report = quality_report(found, sources, progress=progress)
        except KeyboardInterrupt:
            say(
                f"Interrupted: {args.out} is written, and {args.report} is not; measure it by the same command with --overwrite."
            )
            return {**result, "interrupted": True, "exit_code": _CANCELLED}
        report["model"]["excluded_subjects"] = sorted(set(args.exclude))
        args.report.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.report, report)
        for bone, means in report["generalisation"]["means"].items():
            words = ", ".join(f"{name.replace('_', ' ')} {figures['assd']:.2f} mm" for name, figures in means.items())
            say(f"{bone:<8} of a person left out: {words}")
        result["report"] = str(args.report)
    say(f"Written: {args.out} ({model.card['knees']} knees, {model.card['modes']} modes)")
    return result
