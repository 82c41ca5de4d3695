"""`ssrkd plan-hto`: a high tibial osteotomy from bone surfaces: hinge, cuts, wedge, the corrected tibia and what changes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import say

if TYPE_CHECKING:
    from SSRKDCore.planning.correction_target import CorrectionTarget
    from SSRKDCore.planning.osteotomy_plan import OsteotomyPlan
    from SSRKDCore.planning.plane import Plane

HELP = "plan a high tibial osteotomy and correct the tibia"
_FROM_PLANE = ("hinge_below_plateau_mm", "entry_below_plateau_mm", "hinge_tilt_degrees")
_OF_SECOND_CUT = ("ascending_angle_degrees", "tubercle_thickness_mm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from SSRKDCore.planning.named_dimensions import dimension_fields
    from SSRKDCore.planning.osteotomy import KINDS, MEDIAL_OPENING, OsteotomyParameters
    from SSRKDCore.planning.osteotomy_warnings import WarningLimits

    parser.add_argument(
        "bones", metavar="BONES_FOLDER", help="folder of STL, PLY or OBJ files named after the bones, or a .seg.nrrd"
    )
    parser.add_argument("--side", required=True, choices=("right", "left"), help="which leg it is")
    parser.add_argument(
        "--landmarks",
        metavar="FILE",
        help="landmarks set by hand, such as hip and ankle centre (schema ssrkd-landmarks/1)",
    )
    parser.add_argument(
        "--type", choices=KINDS, default=MEDIAL_OPENING, help="kind of osteotomy (default: %(default)s)"
    )
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--target-fujisawa",
        type=float,
        metavar="PERCENT",
        help="where the mechanical axis shall cross the plateau, from medial (default: 62.5)",
    )
    target.add_argument("--target-hka", type=float, metavar="DEGREES", help="hip-knee-ankle angle, above 180 valgus")
    target.add_argument(
        "--angle", type=float, metavar="DEGREES", help="the wedge angle itself; needs no hip or ankle centre"
    )
    parser.add_argument(
        "--cut-plane",
        type=float,
        nargs=6,
        metavar=("X", "Y", "Z", "NX", "NY", "NZ"),
        help="a main cut set by hand: a point of it and its normal (LPS mm); heights and tilt of the hinge and the entry follow from it",
    )
    parser.add_argument("--uniplanar", action="store_true", help="no ascending second cut behind the tubercle")
    for kind in (OsteotomyParameters, WarningLimits):
        for item in dimension_fields(kind):
            words = item.metadata["words"].replace("%", "%%")
            shown = "" if item.default is None else f" [{item.default:g}]"
            parser.add_argument("--" + item.name.replace("_", "-"), type=float, metavar="VALUE", help=words + shown)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="new folder for plan.json, surfaces (STL) and plan.png"
    )
    parser.add_argument("--no-pictures", action="store_true", help="plan and surfaces only")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.errors import InputError
    from SSRKDCore.output_folder import check_output_folder, complete_folder
    from SSRKDCore.pictures.render import RenderingUnavailable
    from SSRKDCore.planning.corrected_tibia import correct_tibia
    from SSRKDCore.planning.hand_cut import parameters_of_cut
    from SSRKDCore.planning.landmark_files import read_landmarks
    from SSRKDCore.planning.landmarks import find_landmarks
    from SSRKDCore.planning.leg_bones import read_leg
    from SSRKDCore.planning.named_dimensions import dimension_fields
    from SSRKDCore.planning.osteotomy import MEDIAL_OPENING, OsteotomyParameters
    from SSRKDCore.planning.osteotomy_plan import plan_osteotomy
    from SSRKDCore.planning.osteotomy_warnings import WarningLimits
    from SSRKDCore.planning.plan_files import write_plan
    from SSRKDCore.planning.plan_picture import BONE, DISTAL, WEDGE, write_plan_picture

    check_output_folder(args.out, args.overwrite)

    def given(kind: Any) -> dict[str, float]:
        names = [item.name for item in dimension_fields(kind)]
        return {name: getattr(args, name) for name in names if getattr(args, name) is not None}

    biplanar = args.type == MEDIAL_OPENING and not args.uniplanar
    _check_used(args, biplanar)
    parameters = OsteotomyParameters.usual(args.type, biplanar=biplanar, **given(OsteotomyParameters))
    limits, target = WarningLimits(**given(WarningLimits)), _target(args)
    by_hand = {} if args.landmarks is None else read_landmarks(args.landmarks, args.side)
    bones = read_leg(args.bones, args.side)
    if "tibia" not in bones:
        raise InputError(f"{args.bones} holds no tibia: an osteotomy of it needs one.")
    landmarks = find_landmarks(bones, args.side, by_hand)
    if args.cut_plane is not None:
        parameters = parameters_of_cut(bones["tibia"], landmarks, _plane(args.cut_plane), parameters)
    plan = plan_osteotomy(bones["tibia"], landmarks, parameters, target, limits)
    parts = correct_tibia(bones["tibia"], plan)
    with complete_folder(args.out, args.overwrite) as folder:
        content = write_plan(folder, plan, bones["tibia"], parts)
        if not args.no_pictures:
            shown = [(parts.proximal, BONE), (parts.distal_moved, DISTAL)]
            shown += [(parts.wedge, WEDGE)] if plan.lower_plane is None else []
            try:
                write_plan_picture(folder / "plan.png", shown, plan.axes)
            except RenderingUnavailable as error:
                say(str(error))
    _tell(plan, args.out)
    return content


def _check_used(args: argparse.Namespace, biplanar: bool) -> None:
    """Raise InputError for a dimension that the plan would not have."""
    from SSRKDCore.errors import InputError

    unused = {} if args.cut_plane is None else dict.fromkeys(_FROM_PLANE, "follows from --cut-plane")
    unused |= {} if biplanar else dict.fromkeys(_OF_SECOND_CUT, "is of the ascending second cut, and there is none")
    for name, reason in unused.items():
        if getattr(args, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} {reason}: leave it out.")


def _plane(numbers: list[float]) -> Plane:
    from SSRKDCore.errors import InputError
    from SSRKDCore.planning.plane import Plane

    try:
        return Plane(numbers[:3], numbers[3:])  # type: ignore[arg-type]
    except ValueError as error:
        raise InputError("--cut-plane needs six finite numbers, and a normal that has a length.") from error


def _target(args: argparse.Namespace) -> CorrectionTarget:
    from SSRKDCore.planning.correction_target import ANGLE, FUJISAWA, HKA, CorrectionTarget

    for kind, value in ((FUJISAWA, args.target_fujisawa), (HKA, args.target_hka), (ANGLE, args.angle)):
        if value is not None:
            return CorrectionTarget(kind, value)
    return CorrectionTarget()


def _tell(plan: OsteotomyPlan, out: str) -> None:
    from SSRKDCore.planning.reconstruction_error_table import EXPECTED_ERROR_IS

    say(f"{plan.parameters.kind}: {plan.wedge_degrees:.1f} degrees, {plan.height_mm:.1f} mm at the cortex")
    for name, change in plan.changes.items():
        error = "" if change.expected_error is None else f" +- {change.expected_error:.1f}"
        say(f"  {name:<24} {change.before:8.1f} -> {change.after:8.1f}  ({change.change:+.1f}){error}")
    if any(change.expected_error is not None for change in plan.changes.values()):
        say(f"  +-: {EXPECTED_ERROR_IS}")
    for warning in plan.warnings:
        say(f"Warning: {warning.message}")
    say(f"Written to {out}: plan.json and the surfaces before and after, LPS mm.")
