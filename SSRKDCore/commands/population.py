"""`ssrkd population`: synthetic training cases from a shape model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SSRKDCore.console import progress_bar, say

HELP = "make synthetic cases from a shape model: CT, true bones, rig and radiographs"

_CANCELLED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--shape-model", type=Path, required=True, metavar="FILE", help="what `ssrkd shape-model` wrote (.npz)"
    )
    parser.add_argument("--cases", type=int, required=True, metavar="N", help="how many cases there shall be")
    parser.add_argument("--seed", type=int, required=True, metavar="S", help="case i depends on this and on i only")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the cases; a run that was ended goes on"
    )
    parser.add_argument(
        "--unlabelled", type=int, default=0, metavar="N", help="as many cases more without their true bones (0)"
    )
    parser.add_argument(
        "--rig",
        default="room",
        metavar="PRESET",
        help="rig of the radiographs: paper, room (default), c_arm",
    )
    parser.add_argument(
        "--no-radiographs",
        action="store_true",
        help="thumbnails only in place of the radiographs: training takes its own from the CT",
    )
    parser.add_argument("--voxel", type=float, default=0.9, metavar="MM", help="voxel size of the CT (0.9)")
    parser.add_argument(
        "--metal-share", type=float, default=0.08, metavar="X", help="part of the knees with metal, 0 to 1 (0.08)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask scheduler whose workers make the cases, such as tcp://host:8786; they must see the same files, and "
        "each worker process makes one case at a time",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Makes the cases that are missing; exit code 1 when some failed, 130 when it was interrupted."""
    from SSRKDCore.errors import InputError
    from SSRKDCore.population.population_record import POPULATION_FILE
    from SSRKDCore.population.population_run import write_population
    from SSRKDCore.population.synthetic_case import PopulationSettings

    if args.workers is not None and args.workers < 1:
        raise InputError(f"--workers is {args.workers}: use at least 1.")
    if args.workers is not None and args.scheduler is not None:
        raise InputError("--workers are processes of this machine and --scheduler is a cluster: leave one of them out.")
    settings = PopulationSettings(args.seed, args.rig, not args.no_radiographs, args.voxel, args.metal_share)
    try:
        with progress_bar("population") as progress:
            report = write_population(
                args.shape_model,
                args.out,
                args.cases,
                settings,
                args.unlabelled,
                args.workers,
                args.scheduler,
                progress,
            )
    except KeyboardInterrupt:
        say(f"Interrupted: the cases in {args.out} are whole; run the same command again to make the others.")
        return {"out": str(args.out), "interrupted": True, "exit_code": _CANCELLED}
    for name, reason in report.failed.items():
        say(f"{name} failed: {reason}")
    say(
        f"{args.out}: {len(report.written)} cases written, {len(report.kept)} kept, {len(report.failed)} failed "
        f"(see {POPULATION_FILE})."
    )
    return {
        "out": str(args.out),
        "written": list(report.written),
        "kept": list(report.kept),
        "failed": report.failed,
        "exit_code": 1 if report.failed else 0,
    }
