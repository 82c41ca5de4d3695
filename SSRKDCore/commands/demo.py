"""`ssrkd demo`: the main job on the bundled sample, and how far it is from the truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SSRKDCore.cases import load_case
from SSRKDCore.console import progress_bar, say
from SSRKDCore.output_folder import check_output_folder

HELP = "run the main job on the bundled sample"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the results go."""
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="result folder (demo)")
    parser.add_argument("--model", metavar="M", help="model folder or name (the bundled model)")
    parser.add_argument(
        "--resolution", type=int, default=256, metavar="N", help="samples along each side of the cube (256)"
    )
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or mps (auto)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing result folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Reconstruct the sample case into `--out` and compare with its reference; returns both reports."""
    from SSRKDCore.commands import reconstruct
    from SSRKDCore.resource_files import sample_case_folder

    check_output_folder(args.out, args.overwrite)
    case = load_case(sample_case_folder())
    parser = argparse.ArgumentParser()
    reconstruct.add_arguments(parser)
    words = [f"--{name}={path}" for name, path in case.radiographs.items()]
    words += [
        f"--rig={case.folder / 'rig.json'}",
        f"--side={case.side}",
        f"--intensity={case.intensity}",
        f"--out={args.out}",
    ]
    words += [f"--resolution={args.resolution}", f"--device={args.device}"]
    if args.model:
        words.append(f"--model={args.model}")
    if args.overwrite:
        words.append("--overwrite")
    say(f"Sample case {case.id}: {case.provenance.get('description', '')}")
    report = reconstruct.run(parser.parse_args(words))

    from SSRKDCore.evaluation.case_evaluation import reference_surfaces
    from SSRKDCore.evaluation.comparison import compare
    from SSRKDCore.surface_files import read_bone_surfaces

    with progress_bar("Measuring"):
        measured = compare(read_bone_surfaces(args.out), reference_surfaces(case), case.rig.field_of_view)
    say("Error against the sample's true bones (exact: point to triangle; Dice of the voxelised bones):")
    for name, row in measured.items():
        if row.failure is not None:
            say(f"  {name:8} {row.failure}")
        else:
            dice = "-" if row.dice is None else f"{row.dice:.3f}"
            say(f"  {name:8} ASSD {row.exact_assd_mm:.2f} mm, HD {row.exact_hd_mm:.2f} mm, Dice {dice}")
    say(f"Look at {args.out / 'preview.png'}, and load {args.out / 'bones.seg.nrrd'} in 3D Slicer.")
    return {"reconstruction": report, "comparison": {name: row.to_dict() for name, row in measured.items()}}
