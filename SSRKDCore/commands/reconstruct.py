"""`ssrkd reconstruct`: two or more radiographs to bone surfaces, a segmentation, a report and a preview."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError
from SSRKDCore.process_memory import keep_freed_memory

if TYPE_CHECKING:
    from SSRKDCore.geometry.rig import Rig
    from SSRKDCore.networks.model_folder import Model
    from SSRKDCore.radiographs.radiograph import Radiograph
    from SSRKDCore.reconstruction.decimation import Decimation
    from SSRKDCore.reconstruction.pipeline import Reconstruction
    from SSRKDCore.trust.assessment import Assessment
    from SSRKDCore.trust.case_measures import Encoded

HELP = "reconstruct femur, tibia, fibula and patella from calibrated radiographs"

#: A bone with fewer triangles than this is no longer a bone.
_FEWEST_TRIANGLES = 100


def add_radiograph_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which radiographs, and how they were taken (shared with `ssrkd inspect`)."""
    images = parser.add_argument_group("radiographs")
    images.add_argument(
        "--ap", metavar="FILE", help="anteroposterior radiograph (DICOM, PNG, TIFF, JPEG, NRRD, NIfTI, MHA)"
    )
    images.add_argument("--lateral", metavar="FILE", help="lateral radiograph")
    images.add_argument(
        "--view",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a further view, or any view, by its name in the rig",
    )
    images.add_argument(
        "--intensity",
        choices=("auto", "line_integral", "raw", "presentation"),
        default="auto",
        help="what the pixel values are (auto: what the file says)",
    )
    images.add_argument(
        "--prepare",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="find and leave out the collimator's shadow, fill letters and burned-in text; an image without any stays as it is (yes)",
    )
    images.add_argument("--frame", type=int, metavar="N", help="which image of a multiframe file, counted from 1")
    for option, what in (
        ("--pixel-spacing", "all images"),
        ("--ap-spacing", "the AP image"),
        ("--lateral-spacing", "the lateral"),
    ):
        images.add_argument(
            option,
            nargs="+",
            type=float,
            metavar="MM",
            help=f"detector pixel size of {what}, mm: one value, or between rows and columns",
        )
    images.add_argument("--side", choices=("right", "left"), help="which knee (what the files say)")
    images.add_argument(
        "--allow-different-patients",
        action="store_true",
        help="accept files whose patient IDs differ (anonymised exports)",
    )
    rig = parser.add_argument_group("geometry")
    rig.add_argument(
        "--rig",
        metavar="RIG",
        help="rig.json, or paper, published, room or c_arm (a rig.json beside the radiographs, else the DICOM tags, else room)",
    )
    rig.add_argument("--size", type=float, metavar="MM", help="side of the reconstructed cube (what the rig says)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_radiograph_arguments(parser)
    work = parser.add_argument_group("reconstruction")
    work.add_argument("--model", metavar="MODEL", help="model folder, or the name of a bundled model")
    work.add_argument(
        "--style",
        metavar="MODEL",
        help="style model that gives real radiographs the look of simulated ones first (none)",
    )
    work.add_argument(
        "--match-style",
        nargs="?",
        const="model",
        metavar="FILE",
        help="match grey values and fineness of what the network reads to the training images: what `ssrkd style-reference` wrote, or "
        "model, also without a value, for what the model's folder brings (no)",
    )
    work.add_argument(
        "--resolution", type=int, default=256, metavar="N", help="samples along a side of the cube, 32 to 512 (256)"
    )
    work.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where the networks run (auto: a GPU where torch sees one)",
    )
    work.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="bfloat16: about twice as fast where the device has it, surfaces differ a little (float32)",
    )
    work.add_argument(
        "--surface-tolerance",
        type=float,
        default=0.0,
        metavar="MM",
        help="interpolate samples where that is expected to move the surface by less: 0.2 evaluates a third of the points (0, none)",
    )
    work.add_argument(
        "--dense", action="store_true", help="evaluate every sample: minutes for the same result, a check"
    )
    work.add_argument(
        "--trust",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="assess the result: traffic light, reasons, uncertainty at every vertex (yes)",
    )
    work.add_argument(
        "--refine",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="where the model brings a shape prior, fit it to the network's bones and the radiographs' edges (yes)",
    )
    work.add_argument("--triangles", type=int, metavar="N", help="at most N triangles a bone")
    work.add_argument(
        "--max-deviation",
        type=float,
        metavar="MM",
        help="with --triangles: keep more where the surface would move by more than this",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for the results; it appears when they are complete"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.output_folder import check_output_folder, complete_folder

    _check(args)
    check_output_folder(args.out, args.overwrite)
    keep_freed_memory()

    from SSRKDCore.networks.model_folder import load_model
    from SSRKDCore.reconstruction.matched_style import load_look
    from SSRKDCore.reconstruction.network_input import xray_config_of
    from SSRKDCore.reconstruction.style_transfer import load_style

    start = time.perf_counter()
    model = load_model(args.model)
    style = load_style(args.style)
    look = load_look(args.match_style, model)
    radiographs, warnings = read_radiographs(args, xray_config_of(model).view_count)
    rig, words = rig_of(args, radiographs)
    warnings += words
    reading = time.perf_counter() - start

    from SSRKDCore.reconstruction.pipeline import reconstruct
    from SSRKDCore.reconstruction.report import reconstruction_report, write_reconstruction
    from SSRKDCore.trust.assessment import write_uncertainty
    from SSRKDCore.trust.case_measures import Encoded

    kept: list[Encoded] = []
    with progress_bar("Reconstructing") as progress:
        result = reconstruct(
            radiographs,
            rig,
            model,
            resolution=args.resolution,
            device=args.device,
            dense=args.dense,
            side=args.side,
            progress=progress,
            style=style,
            refine=args.refine,
            precision=args.precision,
            surface_tolerance_mm=args.surface_tolerance,
            encoded=(lambda given, maps: kept.append(Encoded(given, maps))) if args.trust else None,
            tabled=(lambda tables: kept.append(kept[-1].with_tables(tables))) if args.trust else None,
            look=look,
        )
    assessment = _assessed(args, radiographs, rig, model, result, kept)
    start = time.perf_counter()
    decimations = _decimations(args, result, warnings)
    result.timings["decimate"] = time.perf_counter() - start
    result.timings["read"] = reading
    with complete_folder(args.out, args.overwrite) as folder:
        start = time.perf_counter()
        _write_preview(folder / "preview.png", result, radiographs, rig, decimations, warnings)
        result.timings["preview"] = time.perf_counter() - start
        report = reconstruction_report(result, radiographs, rig, model, warnings, decimations)
        if assessment is not None:
            shown = {name: decimation.surface for name, decimation in decimations.items()}
            files = write_uncertainty(folder, assessment, result.surfaces, shown)
            report["trust"] = {**assessment.to_dict(), "uncertainty_files": files}
        write_reconstruction(folder, result, report, decimations)
    for sentence in report["warnings"]:
        say(f"Warning: {sentence}")
    for name, bone in report["bones"].items():
        if bone["found"]:
            say(f"{name}: {bone['volume_mm3'] / 1000:.1f} cm3, {bone['triangles']} triangles")
    if assessment is not None:
        say(f"Trust: {assessment.light}")
        for sentence in assessment.reasons:
            say(f"  {sentence}")
    say(f"Written: {args.out}")
    return {"folder": str(args.out), **report}


def _assessed(
    args: argparse.Namespace,
    radiographs: list[Radiograph],
    rig: Rig,
    model: Model,
    result: Reconstruction,
    kept: list[Encoded],
) -> Assessment | None:
    """What is thought of the result; None where nobody asks."""
    from SSRKDCore.trust.assessment import assess

    if not args.trust:
        return None
    start = time.perf_counter()
    assessment = assess(radiographs, rig, model, result, kept[-1] if kept else None)
    result.timings["trust"] = time.perf_counter() - start
    return assessment


def _check(args: argparse.Namespace) -> None:
    """Refuse contradictions before anything is read."""
    if args.triangles is not None and args.triangles < _FEWEST_TRIANGLES:
        raise InputError(f"--triangles is {args.triangles}: give at least {_FEWEST_TRIANGLES} a bone.")
    if args.match_style is not None and args.style not in (None, "none"):
        raise InputError("--style and --match-style both change how the images look: leave one of them out.")
    if args.max_deviation is not None and args.triangles is None:
        raise InputError("--max-deviation limits --triangles: give both.")
    _check_length("--max-deviation", args.max_deviation)
    _check_length("--size", args.size)


def _check_length(option: str, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise InputError(f"{option} is {value:g}: give a positive number of mm.")


def read_radiographs(args: argparse.Namespace, fewest: int = 2) -> tuple[list[Radiograph], list[str]]:
    """The radiographs that the arguments name, in the order AP, lateral, others, and the warnings of reading them as a pair.

    Raises InputError where there are fewer than `fewest`.
    """
    import itertools
    from dataclasses import replace
    from functools import partial

    from SSRKDCore.radiographs.pair_checks import check_pair, check_same_knee
    from SSRKDCore.radiographs.radiograph import VIEW_NAMES
    from SSRKDCore.radiographs.reader import read_radiograph
    from SSRKDCore.side_by_side import side_by_side

    files = _files(args, fewest)
    spacings = {name: _spacing(args, name) for name in files}
    reads = []
    for name, path in files.items():
        view = name if name in VIEW_NAMES else None
        reads.append(partial(read_radiograph, path, view, args.intensity, spacings[name], args.frame, args.prepare))
    radiographs = [replace(image, view=name) for name, image in zip(files, side_by_side(reads), strict=True)]
    warnings: list[str] = []
    for pair in itertools.combinations(radiographs, 2):
        by_name = {image.view: image for image in pair}
        if set(by_name) == set(VIEW_NAMES):
            warnings += check_pair(by_name["ap"], by_name["lateral"], args.allow_different_patients)
        else:
            warnings += check_same_knee(*pair, args.allow_different_patients)
    return radiographs, warnings


def _files(args: argparse.Namespace, fewest: int) -> dict[str, str]:
    """Files by view name, from --ap, --lateral and --view."""
    files = {name: path for name, path in (("ap", args.ap), ("lateral", args.lateral)) if path is not None}
    for pair in args.view:
        name, separator, path = pair.partition("=")
        if not (separator and name and path):
            raise InputError(f"--view {pair} is not NAME=FILE: write for example --view oblique=oblique.dcm.")
        # A view's image is written under its name.
        if "/" in name or "\\" in name:
            raise InputError(f"The view name '{name}' names a folder: give a name without slashes.")
        if name in files:
            raise InputError(f"The view '{name}' is given twice: give one file a view.")
        files[name] = path
    if len(files) < fewest:
        if fewest == 1:
            raise InputError("No radiograph is named: give --ap FILE, --lateral FILE or --view NAME=FILE.")
        needed = "two" if fewest == 2 else str(fewest)
        raise InputError(
            f"A reconstruction needs {needed} radiographs: give --ap FILE and --lateral FILE (or --view NAME=FILE)."
        )
    return files


def _spacing(args: argparse.Namespace, view: str) -> tuple[float, float] | None:
    values = {"ap": args.ap_spacing, "lateral": args.lateral_spacing}.get(view) or args.pixel_spacing
    if values is None:
        return None
    if len(values) > 2 or not all(value > 0 for value in values):
        raise InputError(f"The pixel spacing {values} is not one or two positive numbers of mm: correct it.")
    return values[0], values[-1]


def rig_of(args: argparse.Namespace, radiographs: list[Radiograph]) -> tuple[Rig, list[str]]:
    """The rig that the arguments name, fitted to the radiographs, and warnings in words."""
    from SSRKDCore.geometry.dicom_rig import rig_for_radiographs

    _check_length("--size", args.size)
    wanted, words = args.rig, []
    if wanted is None:
        folders = {Path(radiograph.source_path).parent for radiograph in radiographs}
        beside = folders.pop() / "rig.json"
        if not folders and beside.is_file():
            wanted = str(beside)
            words.append(f"The rig is {beside}, found beside the radiographs: give --rig to use another.")
    rig, warnings = rig_for_radiographs(radiographs, wanted, args.size, args.side)
    return rig, words + warnings


def _decimations(args: argparse.Namespace, result: Reconstruction, warnings: list[str]) -> dict[str, Decimation]:
    if args.triangles is None:
        return {}
    from SSRKDCore.reconstruction.decimation import decimated

    found = {}
    for name, surface in result.surfaces.items():
        if surface.is_empty:
            continue
        found[name] = decimated(surface, args.triangles, args.max_deviation)
        if not found[name].reached:
            warnings.append(
                f"The {name} has {len(found[name].surface.faces)} triangles, more than the {args.triangles} asked for: "
                "with fewer it would move too far or open."
            )
    return found


def _write_preview(
    path: Path,
    result: Reconstruction,
    radiographs: list[Radiograph],
    rig: Rig,
    decimations: dict[str, Decimation],
    warnings: list[str],
) -> None:
    from SSRKDCore.pictures.preview import write_preview
    from SSRKDCore.pictures.render import RenderingUnavailable

    shown = {
        name: decimations[name].surface if name in decimations else surface for name, surface in result.surfaces.items()
    }
    images = [radiograph.pixels for radiograph in radiographs]
    try:
        # The side that bones.seg.nrrd has.
        write_preview(path, shown, images, rig.views, rig.field_of_view, result.declared_side or result.side)
    except RenderingUnavailable as error:
        warnings.append(f"There is no preview.png: {error}")
