"""`ssrkd calibrate`: the geometry of a real room, from a ball, a ruler, an object with markers, or the two images themselves."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError

if TYPE_CHECKING:
    from SSRKDCore.geometry.calibration.calibration_record import CalibrationRecord
    from SSRKDCore.geometry.rig import Rig
    from SSRKDCore.radiographs.radiograph import Radiograph

HELP = "measure the geometry of a room: ball, ruler, calibration object, or the two images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_subparsers(dest="job", required=True, metavar="JOB")
    ball = jobs.add_parser("ball", help="a ball of known diameter: magnification")
    _image_arguments(ball)
    ball.add_argument("--diameter", type=float, required=True, metavar="MM", help="of the ball")
    ball.add_argument("--tolerance", type=float, default=0.05, metavar="MM", help="standard uncertainty of it (0.05)")
    ball.add_argument("--near", nargs=2, type=float, metavar=("ROW", "COLUMN"), help="a click on the ball")
    _scale_arguments(ball)

    ruler = jobs.add_parser("ruler", help="a ruler: magnification")
    _image_arguments(ruler)
    ruler.add_argument(
        "--ends",
        nargs=4,
        type=float,
        metavar=("ROW", "COLUMN", "ROW", "COLUMN"),
        help="two places on it (with --tick: found where they are left out)",
    )
    known = ruler.add_mutually_exclusive_group(required=True)
    known.add_argument("--length", type=float, metavar="MM", help="between the two ends")
    known.add_argument("--tick", type=float, metavar="MM", help="between neighbouring ticks along the line")
    ruler.add_argument(
        "--tilt", type=float, default=5.0, metavar="DEGREES", help="how far it may be from parallel to the detector (5)"
    )
    _scale_arguments(ruler)

    markers = jobs.add_parser("object", help="markers at known positions, in two or more images: the whole rig")
    markers.add_argument("images", nargs="+", metavar="IMAGE", help="radiographs of the object, AP and lateral first")
    markers.add_argument("--object", required=True, metavar="FILE", help="ssrkd-calibration-object/1: markers in mm")
    markers.add_argument(
        "--picked", nargs="+", metavar="FILE", help="JSON {marker: [row, column]}, one an image: markers picked by hand"
    )
    markers.add_argument("--dark", action="store_true", help="the markers are holes, darker than the object")
    markers.add_argument("--names", nargs="+", metavar="NAME", help="view names, one an image (ap lateral)")
    markers.add_argument("--pixel-spacing", type=float, metavar="MM", help="on the detector (what the files say)")
    markers.add_argument("--source-to-detector", type=float, metavar="MM", help="where no pixel spacing is known")
    markers.add_argument(
        "--transform", metavar="FILE", help="rigid 4x4 matrix, object to LPS, 16 numbers (none: the axes are LPS)"
    )
    markers.add_argument(
        "--center", nargs=3, type=float, metavar=("X", "Y", "Z"), help="of the field of view, LPS (the markers' middle)"
    )
    markers.add_argument("--size", type=float, default=160.0, metavar="MM", help="side of the field of view (160)")
    markers.add_argument(
        "--limit",
        type=float,
        default=3.0,
        metavar="PERCENT",
        help="refuse a magnification in the field of view less certain (95 %%) than this (3)",
    )
    _intensity_argument(markers)
    _output_arguments(markers)

    pair = jobs.add_parser("pair", help="two radiographs without a common frame: the second's pose, from the bones")
    pair.add_argument("--ap", required=True, metavar="FILE", help="AP radiograph, whose frame the rig keeps")
    pair.add_argument("--lateral", required=True, metavar="FILE", help="lateral radiograph, whose pose is estimated")
    pair.add_argument(
        "--rig", metavar="RIG", help="where the views are believed to be: rig.json or a preset (the DICOM tags)"
    )
    pair.add_argument("--side", choices=("right", "left"), help="of the knee (what the files or the rig say)")
    pair.add_argument(
        "--bones", metavar="DIR", help="known surfaces of this knee in the AP view's frame; else the network's"
    )
    pair.add_argument("--model", metavar="MODEL", help="model folder or name (the bundled one)")
    pair.add_argument("--rounds", type=int, default=3, metavar="N", help="reconstruct and fit so many times (3)")
    pair.add_argument(
        "--turn", type=float, default=3.0, metavar="DEGREES", help="how well the second view's turn is believed (3)"
    )
    pair.add_argument("--shift", type=float, default=8.0, metavar="MM", help="how well its position is believed (8)")
    pair.add_argument(
        "--starts", type=int, default=4, metavar="N", help="restarts from poses drawn from that belief (4)"
    )
    pair.add_argument(
        "--height-limit",
        type=float,
        default=3.0,
        metavar="MM",
        help="refuse a height less certain (95 %%) than this (3)",
    )
    pair.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where the network computes (auto)"
    )
    _intensity_argument(pair)
    pair.add_argument(
        "--prepare",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="leave out the collimator's shadow, fill letters and burned-in text first, as `ssrkd reconstruct` does (yes)",
    )
    pair.add_argument("--seed", type=int, default=0, metavar="N", help="of the drawn restarts (0)")
    _output_arguments(pair)
    for job in (ball, ruler, markers, pair):
        job.add_argument("--frame", type=int, metavar="N", help="which image of a multiframe file, counted from 1")


def _intensity_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--intensity",
        choices=("auto", "line_integral", "raw", "presentation"),
        default="auto",
        help="what the pixels of a file mean (auto: what it says)",
    )


def _image_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="radiograph (DICOM, PNG, TIFF, JPEG, NRRD, NIfTI, MHA)")
    _intensity_argument(parser)
    parser.add_argument(
        "--pixel-spacing", type=float, metavar="MM", help="on the detector (what the file or the rig says)"
    )
    parser.add_argument("--source-to-detector", type=float, metavar="MM", help="(what the file or the rig says)")


def _scale_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rig",
        metavar="RIG",
        help="whose view gets this magnification: a rig.json (`ssrkd inspect` writes that of two radiographs), or a preset, "
        "of whose views each then has this image's size",
    )
    parser.add_argument("--side", choices=("right", "left"), help="of a preset's rig (what the file says)")
    parser.add_argument("--view", metavar="NAME", help="which view the image is (what the file says)")
    parser.add_argument(
        "--offset", type=float, metavar="MM", help="by how much it lies nearer the detector than the knee's centre"
    )
    parser.add_argument(
        "--offset-tolerance",
        type=float,
        metavar="MM",
        help="standard uncertainty of that (10 without --offset, else 2)",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=3.0,
        metavar="PERCENT",
        help="refuse a magnification less certain (95 %%) than this (3)",
    )
    _output_arguments(parser, required=False)


def _output_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--out", required=required, metavar="RIG.json", help="the calibrated rig")
    parser.add_argument("--record", metavar="FILE", help="the calibration's record (calibration.json beside --out)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def run(args: argparse.Namespace) -> dict[str, Any]:
    _check_numbers(args)
    _check_output(args)
    job = {"ball": _scale, "ruler": _scale, "object": _object, "pair": _pair}[args.job]
    record, rig, extra = job(args)
    if rig is not None:
        record = replace(record, warnings=[*record.warnings, *_doubts(rig)])
    result = {**record.to_dict(), **extra, "rig": None, "record": None}
    if rig is not None:
        result |= _write(args, rig, record)
    elif args.record is not None:
        result["record"] = _written(Path(args.record), record.to_dict())
    _tell(record, result)
    return result


def _doubts(rig: Rig) -> list[str]:
    """What keeps a reconstruction with this rig from a green light, in sentences."""
    from SSRKDCore.geometry.known_geometry import geometry_doubts

    return [
        f"Not known well enough for millimetres, so a reconstruction is {'not to be used' if doubt.serious else 'amber at best'}: "
        f"{doubt.words}."
        for doubt in geometry_doubts(rig)
    ]


def _scale(args: argparse.Namespace) -> tuple[CalibrationRecord, Rig | None, dict[str, Any]]:
    """A ball or a ruler."""
    from SSRKDCore.geometry.calibration.calibration_record import CalibrationRecord
    from SSRKDCore.geometry.calibration.scale_calibration import OFFSET_TOLERANCE_MM, calibrate_scale
    from SSRKDCore.geometry.dicom_rig import AGREEING, fit_view, stated_side
    from SSRKDCore.geometry.known_geometry import assumed_preset
    from SSRKDCore.geometry.presets import PRESET_NAMES, preset
    from SSRKDCore.geometry.rig import Rig
    from SSRKDCore.radiographs import read_radiograph

    if (args.rig is None) != (args.out is None):
        raise InputError(
            "A calibrated rig needs both --rig (which view gets the magnification) and --out (where to write it)."
        )
    given = None if args.pixel_spacing is None else (args.pixel_spacing, args.pixel_spacing)
    view_name = args.view if args.view in ("ap", "lateral") else None
    radiograph = read_radiograph(args.image, view_name, args.intensity, given, args.frame)
    rig = None
    warnings = list(radiograph.warnings)
    if args.rig in PRESET_NAMES:
        side, words = stated_side([radiograph], args.side)
        warnings += words
        # As in a reconstruction: a preset says distances and angles, and the image how large its detector is.
        pitch = radiograph.detector_pixel_spacing
        size = {} if pitch is None else {"pixel_spacing": pitch, "rows": radiograph.rows, "columns": radiograph.columns}
        rig = assumed_preset(preset(args.rig, side, **size), args.rig)
    elif args.rig is not None:
        rig = Rig.load(args.rig)
    spacing = _square(radiograph.detector_pixel_spacing, args.image)
    distance = args.source_to_detector or (radiograph.geometry.source_to_detector if radiograph.geometry else None)
    known = distance is not None
    name = args.view or radiograph.view
    if rig is not None:
        if name is None:
            raise InputError(f"{args.image} does not say which view it is: add --view.")
        view = rig.view(name)
        if (radiograph.rows, radiograph.columns) != (view.rows, view.columns):
            view, words = fit_view(view, radiograph, "the rig")
            warnings += words
        elif spacing is not None and max(abs(spacing / pitch - 1) for pitch in view.pixel_spacing) > AGREEING:
            warnings.append(
                f"{args.image} has pixels of {spacing:g} mm, and view '{name}' of the rig of {view.pixel_spacing[0]:g} x "
                f"{view.pixel_spacing[1]:g} mm: the image is followed, and the calibrated rig has its pixels."
            )
        rig = _rig_at(rig, view, spacing, distance)
        spacing, distance = _square(rig.view(name).pixel_spacing, args.image), rig.view(name).source_to_detector
    measured, candidates = _measured(args, radiograph, spacing, distance)
    values = measured.to_dict()
    extra = {"candidates": [candidate.to_dict() for candidate in candidates]}
    if rig is not None and name is not None and measured.magnification is not None:
        tolerance = args.offset_tolerance
        if tolerance is None:
            tolerance = OFFSET_TOLERANCE_MM if args.offset is None else 2.0
        found = calibrate_scale(
            rig, name, args.job, args.image, values, measured.magnification, measured.uncertainty_percent, known,
            args.offset, tolerance, args.limit,
        )  # fmt: skip
        record, rig = found.record, found.rig
    else:
        assumed = ["the scale holds in the plane of the measured thing, and nowhere else"]
        if measured.magnification is None:
            assumed.append("no pixel spacing on the detector is known, so that no magnification follows")
        uncertainty = {"scale_percent_standard": measured.uncertainty_percent}
        record, rig = CalibrationRecord(args.job, [args.image], values, uncertainty, assumed), None
    return replace(record, warnings=warnings), rig, extra


def _measured(
    args: argparse.Namespace, radiograph: Radiograph, spacing: float | None, distance: float | None
) -> tuple[Any, list[Any]]:
    if args.job == "ball":
        from SSRKDCore.geometry.calibration.ball import measure_ball

        near = None if args.near is None else (args.near[0], args.near[1])
        return measure_ball(radiograph.pixels, args.diameter, spacing, distance, near, args.tolerance)
    from SSRKDCore.geometry.calibration.ruler import measure_ruler, measure_ticks
    from SSRKDCore.geometry.calibration.ruler_search import measure_found_ruler

    if args.ends is None:
        if args.tick is None:
            raise InputError("A ruler of a known length needs its two --ends; one with ticks is found by --tick.")
        return measure_found_ruler(radiograph.pixels, args.tick, spacing, args.tilt)
    ends = [args.ends[:2], args.ends[2:]]
    if not all(0 <= row < radiograph.rows and 0 <= column < radiograph.columns for row, column in ends):
        raise InputError(
            f"An end of the ruler lies outside the image of {radiograph.rows} x {radiograph.columns} pixels: "
            "give the row and the column of each."
        )
    if args.length is not None:
        return measure_ruler(ends, args.length, spacing, args.tilt), []
    return measure_ticks(radiograph.pixels, ends, args.tick, spacing, args.tilt), []


def _rig_at(rig: Rig, view: Any, spacing: float | None, distance: float | None) -> Rig:
    """The rig whose view has the image's size, its pixel spacing and source-to-detector distance, about the same central ray."""
    from SSRKDCore.geometry.calibration.magnification import rig_with_view
    from SSRKDCore.geometry.calibration.sphere_projection import principal_point
    from SSRKDCore.geometry.presets import central_view

    pitch = (spacing, spacing) if spacing is not None else view.pixel_spacing
    length = distance or view.source_to_detector
    row, column = principal_point(view)
    depth = view.source_to_detector / view.magnification(rig.field_of_view.center)
    import numpy as np

    isocentre = np.array(view.source) + depth * view.normal
    down, across = np.array(view.row_direction), np.array(view.column_direction)
    moved = central_view(
        view.name, view.normal, across, down, depth, length, pitch, view.rows, view.columns, tuple(isocentre)
    )
    middle = ((view.rows - 1) / 2, (view.columns - 1) / 2)
    shift = (middle[0] - row) * pitch[0] * down + (middle[1] - column) * pitch[1] * across
    return rig_with_view(rig, replace(moved, detector_origin=tuple(np.array(moved.detector_origin) + shift)))


def _square(spacing: tuple[float, float] | None, path: str) -> float | None:
    if spacing is None:
        return None
    if abs(spacing[0] / spacing[1] - 1) > 0.002:
        raise InputError(
            f"{path} has pixels that are not square, in which a ball is no circle: resample it to square pixels."
        )
    return (spacing[0] * spacing[1]) ** 0.5


def _object(args: argparse.Namespace) -> tuple[CalibrationRecord, Rig | None, dict[str, Any]]:
    from SSRKDCore.geometry.calibration.marker_object import MarkerObject
    from SSRKDCore.geometry.calibration.object_rig import ObjectImage, rig_from_object
    from SSRKDCore.geometry.xmalab import read_transform
    from SSRKDCore.json_files import read_json
    from SSRKDCore.radiographs import read_radiograph

    if len(args.images) < 2:
        raise InputError("A rig needs two or more images of the calibration object: add the missing one.")
    names = args.names or ("ap", "lateral", *(f"view{i + 3}" for i in range(len(args.images) - 2)))
    for given, what in ((args.names, "view names"), (args.picked, "files of picked markers")):
        if given is not None and len(given) != len(args.images):
            raise InputError(f"{len(given)} {what} were given for {len(args.images)} images: give one an image.")
    calibration_object = MarkerObject.load(args.object)
    spacing = None if args.pixel_spacing is None else (args.pixel_spacing, args.pixel_spacing)
    images = []
    for index, (path, name) in enumerate(zip(args.images, names, strict=False)):
        radiograph = read_radiograph(path, None, args.intensity, spacing, args.frame)
        picked = None if args.picked is None else read_json(args.picked[index], "a file of picked markers")
        stated = radiograph.geometry.source_to_detector if radiograph.geometry else None
        distance = args.source_to_detector or (None if radiograph.detector_pixel_spacing else stated)
        images.append(ObjectImage(name, path, radiograph.pixels, radiograph.detector_pixel_spacing, distance, picked))
    transform = None if args.transform is None else read_transform(args.transform)
    center = None if args.center is None else tuple(args.center)
    record, rig = rig_from_object(
        images, calibration_object, "dark" if args.dark else "bright", transform, center, args.size, args.limit
    )
    return record, rig, {}


def _pair(args: argparse.Namespace) -> tuple[CalibrationRecord, Rig | None, dict[str, Any]]:
    from SSRKDCore.geometry.calibration.calibration_record import calibrated_rig
    from SSRKDCore.geometry.calibration.pair_record import pair_record
    from SSRKDCore.geometry.dicom_rig import rig_for_radiographs
    from SSRKDCore.radiographs import check_pair, read_radiograph

    radiographs = [
        read_radiograph(path, view, args.intensity, frame=args.frame, prepare=args.prepare)
        for path, view in ((args.ap, "ap"), (args.lateral, "lateral"))
    ]
    # Anonymised exports name each file's patient anew: that alone does not refuse a pair.
    warnings = [sentence for radiograph in radiographs for sentence in radiograph.warnings]
    warnings += check_pair(*radiographs, allow_different_patients=True)
    rig, words = rig_for_radiographs(radiographs, args.rig, side=args.side)
    warnings += words
    with progress_bar("Calibrating") as progress:
        if args.bones is not None:
            from SSRKDCore.evaluation.bone_sets import read_bones
            from SSRKDCore.geometry.calibration.relative_pose import relative_pose

            images = {view.name: radiograph.pixels for view, radiograph in zip(rig.views, radiographs, strict=True)}
            bones = read_bones(args.bones, smooth_labels=True).surfaces
            found = relative_pose(
                bones,
                images,
                rig,
                args.turn,
                args.shift,
                True,
                args.starts,
                args.seed,
                args.height_limit,
                progress=progress,
            )
        else:
            from SSRKDCore.geometry.calibration.pose_rounds import pose_by_reconstruction
            from SSRKDCore.networks.model_folder import load_model

            found = pose_by_reconstruction(
                radiographs, rig, load_model(args.model), args.rounds, device=args.device, turn_sd=args.turn,
                shift_sd=args.shift, starts=args.starts, seed=args.seed, height_limit_mm=args.height_limit, progress=progress,
                side=args.side,
            )  # fmt: skip
    record = pair_record(found, [args.ap, args.lateral], warnings)
    return record, calibrated_rig(found.rig, record), {}


def _check_numbers(args: argparse.Namespace) -> None:
    # No limit refuses what is no number.
    for name, value in vars(args).items():
        if any(
            isinstance(number, float) and math.isnan(number)
            for number in (value if isinstance(value, list) else [value])
        ):
            raise InputError(f"--{name.replace('_', '-')} is not a number: correct it.")
    if getattr(args, "seed", 0) < 0:
        raise InputError(f"--seed is {args.seed}: give 0 or more.")


def _check_output(args: argparse.Namespace) -> None:
    record = _record_path(args)
    if args.out is not None and record is not None and record.resolve() == Path(args.out).resolve():
        raise InputError(f"{args.out} would hold both the rig and the record: give one of them another name.")
    for path in (args.out, _record_path(args)):
        if path is not None and Path(path).is_dir():
            raise InputError(f"{path} is a folder: name the file to write.")
        if path is not None and Path(path).exists() and not args.overwrite:
            raise InputError(f"{path} exists already: choose another name or add --overwrite.")
        if path is not None and not Path(path).resolve().parent.is_dir():
            raise InputError(f"{Path(path).resolve().parent} is not a folder: make it, or choose another place.")


def _record_path(args: argparse.Namespace) -> Path | None:
    if args.record is not None:
        return Path(args.record)
    return None if args.out is None else Path(args.out).with_name("calibration.json")


def _write(args: argparse.Namespace, rig: Rig, record: CalibrationRecord) -> dict[str, Any]:
    rig.check()
    path = _record_path(args)
    assert path is not None
    earlier = path.read_bytes() if path.is_file() else None
    written = _written(path, record.to_dict())
    try:
        return {"record": written, "rig": _written(Path(args.out), rig.to_dict())}
    except BaseException:
        # Both appear together or not at all.
        if earlier is None:
            path.unlink()
        else:
            path.write_bytes(earlier)
        raise


def _written(path: Path, value: Any) -> str:
    from SSRKDCore.json_files import write_json

    try:
        write_json(path, value)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): choose another place.") from error
    return str(path)


def _tell(record: CalibrationRecord, result: dict[str, Any]) -> None:
    for name in (
        "magnification",
        "pixel_size_at_ball_mm",
        "pixel_size_at_ruler_mm",
        "source_to_ball_mm",
        "magnification_at_centre",
    ):
        if record.measured.get(name) is not None:
            say(f"{name.replace('_', ' ')}: {record.measured[name]:.4f}")
    for name, value in record.uncertainty.items():
        say(f"Uncertainty, {name.replace('_', ' ')}: {value:.3g}")
    for words in record.assumed:
        say(f"Assumed: {words}.")
    for words in record.warnings:
        say(f"Warning: {words}")
    for name in ("rig", "record"):
        if result[name]:
            say(f"Written: {result[name]}")
