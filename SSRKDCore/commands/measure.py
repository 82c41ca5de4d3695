"""`ssrkd measure`: landmarks, alignment, slope, torsion and patellar height of a leg's bones."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import say

if TYPE_CHECKING:
    from SSRKDCore.planning.landmark_set import LandmarkSet
    from SSRKDCore.planning.measurements import Measurement
    from SSRKDCore.surface import Surface

HELP = "landmarks, alignment, slope and patellar height of a leg's bones"
SCHEMA = "ssrkd-measurements/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bones", metavar="BONES_FOLDER", help="folder of STL, PLY or OBJ files named after the bones, or a .seg.nrrd"
    )
    parser.add_argument("--side", required=True, choices=("right", "left"), help="which leg it is")
    parser.add_argument(
        "--landmarks",
        metavar="FILE",
        help="landmarks set by hand (schema ssrkd-landmarks/1, LPS mm); they replace the computed ones, and the rest follows",
    )
    parser.add_argument(
        "--reference", metavar="FOLDER", help="the true bones: measured as well, and the difference is reported"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="new folder for measurements.json, measurements.csv, landmarks.json and landmarks.png",
    )
    parser.add_argument("--no-pictures", action="store_true", help="figures and tables only")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.json_files import write_json
    from SSRKDCore.output_folder import check_output_folder, complete_folder
    from SSRKDCore.planning.landmark_files import landmarks_to_dict, read_landmarks, write_landmarks
    from SSRKDCore.planning.landmarks import find_landmarks
    from SSRKDCore.planning.leg_bones import read_leg
    from SSRKDCore.planning.measurements import difference, measure, write_measurements
    from SSRKDCore.planning.plausible_ranges import doubts
    from SSRKDCore.planning.reconstruction_error_table import EXPECTED_ERROR_IS, measured_on

    check_output_folder(args.out, args.overwrite)
    given = {} if args.landmarks is None else read_landmarks(args.landmarks, args.side)
    bones = read_leg(args.bones, args.side)
    landmarks = find_landmarks(bones, args.side, given)
    measured = measure(landmarks)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "frame": "LPS",
        "unit": "mm",
        "bones": str(args.bones),
        "side": args.side,
        "landmarks": landmarks_to_dict(landmarks),
        "measurements": {name: item.to_dict() for name, item in measured.items()},
        "expected_error_is": EXPECTED_ERROR_IS,
        "reconstruction_errors_measured_on": measured_on(),
    }
    reference: dict[str, Measurement] | None = None
    true_bones: Mapping[str, Surface] = {}
    true_landmarks: LandmarkSet | None = None
    if args.reference is not None:
        true_bones = read_leg(args.reference, args.side)
        # On the shafts that the bones show: a longer shaft has another axis, and the difference would be that of the fields of view.
        true_landmarks = find_landmarks(true_bones, args.side, reach=landmarks.reach)
        reference = measure(true_landmarks)
        report["reference"] = {
            "bones": str(args.reference),
            "landmarks": landmarks_to_dict(true_landmarks),
            "measurements": {name: item.to_dict() for name, item in reference.items()},
        }
        report["difference"] = {name: difference(item, reference[name]) for name, item in measured.items()}
        report["difference_is"] = "the bones' value minus the reference's"
    warnings = [doubt.message for doubt in doubts(measured)]
    with complete_folder(args.out, args.overwrite) as folder:
        write_landmarks(folder / "landmarks.json", landmarks)
        write_measurements(folder / "measurements.csv", measured, reference)
        pictures = []
        if not args.no_pictures:
            pictures += _draw(folder / "landmarks.png", bones, landmarks, warnings)
            if true_landmarks is not None:
                pictures += _draw(folder / "landmarks_reference.png", true_bones, true_landmarks, warnings)
        report |= {"pictures": pictures, "warnings": warnings}
        write_json(folder / "measurements.json", report)
    _tell(measured, reference, warnings, args.out)
    return report


def _draw(path: Path, bones: Mapping[str, Surface], landmarks: LandmarkSet, warnings: list[str]) -> list[str]:
    from SSRKDCore.pictures.render import RenderingUnavailable
    from SSRKDCore.planning.landmark_views import draw_landmarks

    try:
        draw_landmarks(path, bones, landmarks)
    except RenderingUnavailable as error:
        warnings.append(str(error))
        return []
    return [path.name]


def _tell(
    measured: Mapping[str, Measurement], reference: Mapping[str, Measurement] | None, warnings: list[str], out: str
) -> None:
    from SSRKDCore.planning.measurements import difference
    from SSRKDCore.planning.reconstruction_error_table import EXPECTED_ERROR_IS

    for name, item in measured.items():
        if item.value is None:
            landmark, reason = next(iter(item.missing.items()))
            say(f"{name:<16}      none: no {landmark} ({reason})")
            continue
        error = "?" if item.expected_error is None else f"{item.expected_error:.2f}"
        line = f"{name:<16} {item.value:9.2f} +- {error:<5} {item.unit:<5}"
        if item.short_shaft_error is not None:
            line += f" (short shaft: {item.short_shaft_error:.2f} rms)"
        if reference is not None:
            away = difference(item, reference[name])
            line += (
                " reference: none"
                if away is None
                else f" reference {reference[name].value:8.2f}, difference {away:+.2f}"
            )
        say(line)
    say(f"+-: {EXPECTED_ERROR_IS}; ?: not measured.")
    for warning in warnings:
        say(f"Warning: {warning}")
    say(f"Written to {out}: measurements.json, measurements.csv and landmarks.json (correct it by hand, give it back).")
