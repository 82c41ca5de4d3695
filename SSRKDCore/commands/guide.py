"""`ssrkd guide`: a printable cutting guide from a planned osteotomy."""

from __future__ import annotations

import argparse
from typing import Any

from SSRKDCore.console import progress_bar, say

HELP = "a cutting guide from a planned osteotomy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from SSRKDCore.planning.guide_parameters import GuideParameters
    from SSRKDCore.planning.named_dimensions import dimension_fields

    parser.add_argument("plan", metavar="PLAN_FOLDER", help="folder that ssrkd plan-hto wrote")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="new folder for guide.stl, contact.ply, guide.json and guide.png"
    )
    for item in dimension_fields(GuideParameters):
        words = f"{item.metadata['words']} [{item.default:g}]"
        parser.add_argument("--" + item.name.replace("_", "-"), type=float, metavar="VALUE", help=words)
    parser.add_argument("--no-pictures", action="store_true", help="guide and figures only")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.output_folder import check_output_folder, complete_folder
    from SSRKDCore.pictures.render import RenderingUnavailable
    from SSRKDCore.planning.guide import make_guide
    from SSRKDCore.planning.guide_check import check_guide
    from SSRKDCore.planning.guide_files import write_guide
    from SSRKDCore.planning.guide_parameters import GuideParameters
    from SSRKDCore.planning.named_dimensions import dimension_fields
    from SSRKDCore.planning.plan_files import read_plan
    from SSRKDCore.planning.plan_picture import BONE, GUIDE, write_plan_picture

    check_output_folder(args.out, args.overwrite)
    names = [item.name for item in dimension_fields(GuideParameters)]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    parameters = GuideParameters(**given)
    plan, tibia = read_plan(args.plan)
    with progress_bar("guide") as progress:
        guide = make_guide(tibia, plan, parameters, progress=progress)
    report = check_guide(guide, tibia)
    with complete_folder(args.out, args.overwrite) as folder:
        content = write_guide(folder, guide, report)
        if not args.no_pictures:
            try:
                write_plan_picture(
                    folder / "guide.png", [(tibia, BONE), (guide.surface, GUIDE)], plan.axes, -guide.seating_direction
                )
            except RenderingUnavailable as error:
                say(str(error))
    lowest, mean, highest = report["contact_gap_mm"]
    say(f"Contact {report['contact_area_mm2']:.0f} mm2, gap {lowest:.2f} to {highest:.2f} mm (mean {mean:.2f})")
    say(f"Thinnest wall {report['thinnest_wall_mm']:.1f} mm, material {report['volume_mm3'] / 1000:.1f} cm3")
    warnings = [f"The guide's mesh is not sound: {problem}." for problem in report["mesh"]["problems"]]
    if report["thinnest_wall_mm"] < parameters.least_wall_mm:
        warnings.append(f"A wall is thinner than {parameters.least_wall_mm:g} mm.")
    for warning in warnings:
        say(f"Warning: {warning}")
    say(f"Written to {args.out}: guide.stl, contact.ply and guide.json, LPS mm.")
    return content | {"warnings": warnings}
