"""`ssrkd rig`: make rigs from XMALab calibrations and presets, and say in words what a rig is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import say

if TYPE_CHECKING:
    from SSRKDCore.geometry.rig import Rig

HELP = "make a rig.json from an XMALab calibration or a preset, or describe one in words"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")

    xmalab = jobs.add_parser("xmalab", help="from XMALab (MayaCam 2.0) camera files")
    xmalab.add_argument("cameras", nargs="+", metavar="CAMERA", help="two or more MayaCam 2.0 text files")
    xmalab.add_argument(
        "--center", nargs=3, type=float, required=True, metavar=("X", "Y", "Z"), help="centre of the knee, mm, LPS"
    )
    xmalab.add_argument("--size", type=float, default=160.0, metavar="MM", help="side of the field of view (160)")
    xmalab.add_argument("--transform", metavar="FILE", help="rigid 4x4 matrix, calibration world to LPS, 16 numbers")
    xmalab.add_argument("--names", nargs="+", metavar="NAME", help="view names, one a camera (ap lateral)")
    xmalab.add_argument("--out", required=True, metavar="RIG.json", help="the file to write")
    xmalab.add_argument("--overwrite", action="store_true", help="replace an existing file")

    named = jobs.add_parser("preset", help="write a named preset as a file")
    named.add_argument("name", metavar="NAME", help="paper, published, room or c_arm")
    named.add_argument("--side", choices=("right", "left"), default="right", help="which knee it is for (right)")
    named.add_argument("--size", type=float, metavar="MM", help="side of the field of view (the preset's)")
    named.add_argument("--out", required=True, metavar="RIG.json", help="the file to write")
    named.add_argument("--overwrite", action="store_true", help="replace an existing file")

    show = jobs.add_parser("show", help="describe a rig in words")
    show.add_argument("rig", metavar="RIG", help="a rig.json file or a preset's name")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.geometry.rig import Rig

    if args.job == "show":
        from SSRKDCore.geometry.presets import PRESET_NAMES, preset

        return _describe(preset(args.rig) if args.rig in PRESET_NAMES else Rig.load(args.rig))
    return _write(_xmalab(args) if args.job == "xmalab" else _preset(args), args.out, args.overwrite)


def _xmalab(args: argparse.Namespace) -> Rig:
    from SSRKDCore.errors import InputError
    from SSRKDCore.geometry.field_of_view import FieldOfView
    from SSRKDCore.geometry.xmalab import read_transform, rig_from_xmalab

    transform = read_transform(args.transform) if args.transform else None
    if not args.size > 0:
        raise InputError(f"The field of view is {args.size:g} mm wide: give a positive size in mm.")
    if transform is None:
        say("No --transform: the calibration's axes are taken as LPS, so anatomical directions may be wrong.")
    return rig_from_xmalab(args.cameras, FieldOfView(tuple(args.center), args.size), transform, names=args.names)


def _preset(args: argparse.Namespace) -> Rig:
    from SSRKDCore.errors import InputError
    from SSRKDCore.geometry.known_geometry import assumed_preset
    from SSRKDCore.geometry.presets import preset

    if args.size is not None and not args.size > 0:
        raise InputError(f"The field of view is {args.size:g} mm wide: give a positive size in mm.")
    # A file's geometry is believed, and nobody measured this one.
    return assumed_preset(preset(args.name, args.side, field_of_view_size=args.size), args.name)


def _write(rig: Rig, out: str, overwrite: bool) -> dict[str, Any]:
    from SSRKDCore.errors import InputError

    path = Path(out)
    if path.is_dir():
        raise InputError(f"{path} is a folder: name the rig.json file to write.")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already: choose another name or add --overwrite.")
    description = _describe(rig)
    try:
        rig.save(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): choose another place.") from error
    say(f"Written: {path}")
    return {"rig": str(path), **description}


def _describe(rig: Rig) -> dict[str, Any]:
    """Say, and return, distances, magnification, angles and coverage."""
    warnings = rig.check()
    cube = rig.field_of_view
    x, y, z = cube.center
    say(f"Field of view: a cube of {cube.size:g} mm about ({x:.1f}, {y:.1f}, {z:.1f}) mm, LPS.")
    views = []
    for view in rig.views:
        magnification = view.magnification(cube.center)
        row_mm, column_mm = view.pixel_spacing
        facts = {
            "name": view.name,
            "source_to_detector_mm": view.source_to_detector,
            "source_to_center_mm": view.source_to_detector / magnification,
            "magnification": magnification,
            "rows": view.rows,
            "columns": view.columns,
            "pixel_spacing_mm": [row_mm, column_mm],
            "pixel_spacing_at_center_mm": [row_mm / magnification, column_mm / magnification],
            "coverage": rig.coverage(view),
        }
        views.append(facts)
        say(
            f"View {view.name}: source to detector {view.source_to_detector:.1f} mm, to the centre of the "
            "field of view "
            f"{view.source_to_detector / magnification:.1f} mm, magnification {magnification:.3f}."
        )
        say(
            f"  {view.rows} x {view.columns} pixels of {row_mm:.4f} x {column_mm:.4f} mm "
            f"({row_mm / magnification:.4f} x {column_mm / magnification:.4f} mm at the centre); "
            f"sees {100 * rig.coverage(view):.0f} % of the field of view."
        )
    separations = []
    for first in range(len(rig.views)):
        for second in range(first + 1, len(rig.views)):
            angle = rig.separation_degrees(first, second)
            separations.append({"views": [rig.views[first].name, rig.views[second].name], "degrees": angle})
            say(f"Views {rig.views[first].name} and {rig.views[second].name} are {angle:.1f} degrees apart.")
    for words in warnings:
        say(f"Warning: {words}")
    return {
        "field_of_view": {"center": list(cube.center), "size": cube.size},
        "views": views,
        "separations": separations,
        "warnings": warnings,
    }
