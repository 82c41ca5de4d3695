"""`ssrkd radiograph`: simulated radiographs of a CT or of a leg's bone surfaces, as a case folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.anatomy import SIDES
from SSRKDCore.console import progress_bar, say
from SSRKDCore.errors import InputError
from SSRKDCore.output_folder import check_output_folder, complete_folder

if TYPE_CHECKING:
    from SSRKDCore.drr.noise import NoiseModel
    from SSRKDCore.drr.simulated_case import Progress, Subject
    from SSRKDCore.geometry.rig import Rig

HELP = "simulate radiographs of a CT or of a leg's bone surfaces"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "subject",
        type=Path,
        metavar="VOLUME|LEG",
        help="a CT in Hounsfield units (NRRD, NIfTI, MHA, or a folder of DICOM slices), or a folder with femur, tibia, "
        "fibula and patella surfaces (STL, PLY, OBJ; LPS mm)",
    )
    parser.add_argument("--rig", required=True, metavar="RIG", help="a rig.json, or paper, published, room or c_arm")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the case folder to write")
    parser.add_argument(
        "--side",
        choices=SIDES,
        help="which knee (seen from the fibula of a leg; else right is assumed, with a warning)",
    )
    parser.add_argument(
        "--center",
        nargs=3,
        type=float,
        metavar=("X", "Y", "Z"),
        help="move the rig so that its field of view has this centre (mm, LPS); default for presets: the knee of a leg, "
        "the middle of a CT",
    )
    parser.add_argument(
        "--crop",
        type=float,
        metavar="MM",
        help="leave out what of a CT is further than half of this from the centre in x and y (the other leg)",
    )
    parser.add_argument(
        "--noise", default="radiograph", metavar="NAME", help="radiograph (default), low_dose, published, or none"
    )
    parser.add_argument("--photons", type=float, metavar="N", help="photons that reach an open pixel")
    parser.add_argument(
        "--electronic-noise", type=float, metavar="S", help="read-out noise, standard deviation in photons"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (0)")
    parser.add_argument("--energy", type=float, default=60.0, metavar="KEV", help="effective energy of the beam (60)")
    parser.add_argument("--voxel", type=float, default=0.6, metavar="MM", help="voxel size for a leg (0.6)")
    parser.add_argument("--backend", default="auto", choices=("auto", "siddon", "tigre"), help="projector (auto)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Simulates and writes the case; returns what was done."""
    check_output_folder(args.out, args.overwrite)
    noise = _noise(args)
    _check_numbers(args)

    from SSRKDCore.drr.simulated_case import simulate_images, write_case

    with progress_bar("Simulating") as progress:
        subject, rig, side, warnings = _subject(args, _between(progress, 0.0, 0.5))
        warnings += rig.check()
        simulated = simulate_images(subject, rig, noise, args.seed, args.backend, _between(progress, 0.5, 0.95))
        with complete_folder(args.out, args.overwrite) as folder:
            files = write_case(folder, subject, rig, side, simulated, noise, args.seed)
    warnings += list(subject.warnings)
    for words in warnings:
        say(f"Warning: {words}")
    if simulated.message:
        say(simulated.message)
    ranges = {name: [float(image.min()), float(image.max())] for name, image in simulated.images.items()}
    for name, (low, high) in ranges.items():
        say(f"{files[name]}: line integrals from {low:.2f} to {high:.2f}")
    say(f"Written: {args.out} ({side} knee, {len(files)} views)")
    return {
        "case": str(args.out),
        "side": side,
        "radiographs": files,
        "line_integral_range": ranges,
        "field_of_view_center": list(rig.field_of_view.center),
        "reference": sorted(subject.surfaces),
        "backend": simulated.backend,
        "backend_message": simulated.message,
        "warnings": warnings,
    }


def _subject(args: argparse.Namespace, progress: Progress) -> tuple[Subject, Rig, str, list[str]]:
    """What is exposed, the rig placed about it, its side, and warnings."""
    from SSRKDCore.surface_files import find_bone_files

    path: Path = args.subject
    center = tuple(args.center) if args.center else None
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path.")
    name = path.resolve().name
    if path.is_dir() and find_bone_files(path):
        from SSRKDCore.drr.bone_phantom import LegTissue
        from SSRKDCore.drr.simulated_case import knee_center, leg_side, leg_subject, placed_rig
        from SSRKDCore.surface_files import read_bone_surfaces

        surfaces = read_bone_surfaces(path)
        side, warnings = leg_side(surfaces, name, args.side)
        rig = placed_rig(args.rig, side, center, knee_center(surfaces))
        tissue = LegTissue(energy_kev=args.energy)
        return leg_subject(name, surfaces, rig, tissue, args.voxel, progress), rig, side, warnings

    from SSRKDCore.drr.simulated_case import assumed_side, cropped, ct_subject, placed_rig
    from SSRKDCore.drr.volume_reader import read_ct, volume_name

    hounsfield, grid, volume_warnings = read_ct(path)
    progress(0.5, f"Read {name}")
    side, warnings = (args.side, []) if args.side else assumed_side(name)
    middle = grid.bounds.mean(axis=0)
    rig = placed_rig(args.rig, side, center, (float(middle[0]), float(middle[1]), float(middle[2])))
    if args.crop is not None:
        hounsfield, grid = cropped(hounsfield, grid, rig.field_of_view.center, args.crop)
    subject = ct_subject(volume_name(path.resolve()), hounsfield, grid, args.energy, tuple(volume_warnings))
    progress(1.0, "Computed attenuation")
    return subject, rig, side, warnings


def _noise(args: argparse.Namespace) -> NoiseModel | None:
    """The noise that the arguments describe."""
    from dataclasses import replace

    from SSRKDCore.drr.noise import noise_preset

    given = {
        name: value
        for name, value in (("photons", args.photons), ("electronic_sigma", args.electronic_noise))
        if value is not None
    }
    if args.noise == "none":
        if given:
            raise InputError("--noise none leaves no room for --photons and --electronic-noise: leave one of them out.")
        return None
    return replace(noise_preset(args.noise), **given)


def _check_numbers(args: argparse.Namespace) -> None:
    import math

    from SSRKDCore.drr.attenuation import linear_attenuation

    if args.crop is not None and not 20.0 <= args.crop <= 2000.0:
        raise InputError(f"--crop is {args.crop:g} mm: it must be from 20 to 2000 mm.")
    if not 0.1 <= args.voxel <= 5.0:
        raise InputError(f"--voxel is {args.voxel:g} mm: it must be from 0.1 to 5 mm.")
    if args.seed < 0:
        raise InputError(f"--seed is {args.seed}: it must not be negative.")
    if args.center and not all(math.isfinite(value) for value in args.center):
        raise InputError("--center needs three finite numbers in mm.")
    linear_attenuation("water", args.energy)


def _between(progress: Progress, low: float, high: float) -> Progress:
    """Progress of one part of the work."""
    return lambda fraction, words: progress(low + (high - low) * fraction, words)
