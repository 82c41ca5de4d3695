"""`ssrkd prepare`: a user's own CT, with or without a segmentation, as a case."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.anatomy import SIDES
from SSRKDCore.console import progress_bar, say

if TYPE_CHECKING:
    from SSRKDCore.drr.noise import NoiseModel

HELP = "make a case of your own CT, with or without a segmentation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("ct", type=Path, metavar="CT", help="CT in Hounsfield units: DICOM folder, NRRD, NIfTI or MHA")
    parser.add_argument(
        "segmentation",
        type=Path,
        nargs="?",
        metavar="SEGMENTATION",
        help="its bones: Slicer's .seg.nrrd, or a label map with --segments; without it the case is unlabelled",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the case folder to write")
    parser.add_argument("--side", choices=SIDES, help="which knee it is (seen from a segmented fibula)")
    parser.add_argument("--leg", choices=SIDES, help="which leg to keep of a CT that shows both")
    parser.add_argument(
        "--center",
        nargs=3,
        type=float,
        metavar=("X", "Y", "Z"),
        help="centre of the knee in mm, LPS (found when not given)",
    )
    parser.add_argument(
        "--segments",
        nargs="+",
        default=[],
        metavar="BONE=SEGMENT",
        help="which segment is which bone, by name, ID or label value, where names or codes do not tell: femur=Segment_1",
    )
    parser.add_argument("--series", metavar="SERIES", help="number, description or UID of one of several DICOM series")
    parser.add_argument("--id", metavar="ID", help="the case's id (default: the name of its folder)")
    parser.add_argument(
        "--rig",
        default="room",
        metavar="RIG",
        help="rig of the radiographs: a rig.json, or paper, room (default), c_arm, published",
    )
    parser.add_argument(
        "--noise", default="radiograph", metavar="NAME", help="radiograph (default), low_dose, published, or none"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (0)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Checks and writes the case; returns what was done."""
    from SSRKDCore.errors import InputError
    from SSRKDCore.output_folder import check_output_folder
    from SSRKDCore.population.user_segmentation import parse_assignments

    check_output_folder(args.out, args.overwrite)
    if args.seed < 0:
        raise InputError(f"--seed is {args.seed}: it must not be negative.")
    segments = parse_assignments(args.segments)
    if segments and args.segmentation is None:
        raise InputError("--segments names segments of a segmentation, and none is given: add it after the CT.")

    from SSRKDCore.population.knee_choice import PrepareOptions
    from SSRKDCore.population.prepared_case import prepare_case

    options = PrepareOptions(
        args.side,
        args.leg,
        tuple(args.center) if args.center else None,
        segments,
        args.series,
        args.rig,
        _noise(args.noise),
        args.seed,
        args.id,
    )
    with progress_bar("prepare") as progress:
        prepared = prepare_case(args.ct, args.segmentation, args.out, options, args.overwrite, progress)
    for words in prepared.warnings:
        say(f"Warning: {words}")
    bones = ", ".join(prepared.reference) or "none (unlabelled)"
    say(f"Written: {args.out} ({prepared.side} knee, {len(prepared.radiographs)} views, bones: {bones})")
    return {
        "case": str(args.out),
        "side": prepared.side,
        "reference": list(prepared.reference),
        "radiographs": dict(prepared.radiographs),
        "field_of_view_center": list(prepared.center),
        "warnings": list(prepared.warnings),
    }


def _noise(name: str) -> NoiseModel | None:
    from SSRKDCore.drr.noise import noise_preset

    return None if name == "none" else noise_preset(name)
