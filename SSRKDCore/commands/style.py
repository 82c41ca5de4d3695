"""`ssrkd style`: train a network that gives real radiographs the look of simulated ones, or look at what it does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SSRKDCore.console import progress_bar, say

HELP = "train a style model on real and simulated radiographs, or apply one"

_EXIT_REJECTED = 1
_EXIT_CANCELLED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    jobs = parser.add_subparsers(dest="job", metavar="JOB", required=True)
    train = jobs.add_parser("train", help="real and simulated radiographs, of different knees -> style model")
    train.add_argument(
        "--real", required=True, metavar="DIR", help="folder of cases with real radiographs; no truth is needed"
    )
    train.add_argument(
        "--simulated", required=True, metavar="DIR", help="folder of cases with simulated radiographs, or of samples"
    )
    train.add_argument("--out", required=True, metavar="DIR", help="folder of the run; a run that was ended goes on")
    train.add_argument(
        "--preset", choices=("paper", "compact"), default="compact", help="size of network and run (compact)"
    )
    train.add_argument("--steps", type=int, metavar="N", help="optimiser steps (the preset's)")
    train.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change another setting")
    train.add_argument("--held-out", type=int, default=1, metavar="N", help="real cases that judge the result (1)")
    train.add_argument("--name", default="style", help="what people call the model (style)")
    train.add_argument("--device", choices=("cpu", "cuda", "mps"), default="cpu", help="for training (cpu)")
    train.add_argument("--precision", choices=("32", "bf16-mixed"), default="32", help="of training (32)")
    train.add_argument("--threads", type=int, default=0, metavar="N", help="of torch; 0 leaves its own choice")
    apply = jobs.add_parser("apply", help="translate the radiographs of cases: pictures, and how far edges moved")
    apply.add_argument("model", metavar="MODEL", help="style model folder")
    apply.add_argument("--cases", required=True, metavar="DIR", help="folder of cases, or one case")
    apply.add_argument("--out", required=True, metavar="DIR", help="new folder for the pictures and report.json")
    apply.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Trains or applies; the exit code is 1 when edges moved, or training made images less like simulated ones."""
    return _train(args) if args.job == "train" else _apply(args)


def _train(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.errors import Cancelled
    from SSRKDCore.training.configuration import assigned_values
    from SSRKDCore.training.settings import RunSettings
    from SSRKDCore.training.style_settings import style_preset
    from SSRKDCore.training.style_training import StyleJob, train_style

    changes = assigned_values(args.set) | ({} if args.steps is None else {"steps": args.steps})
    accelerator = {"cuda": "gpu"}.get(args.device, args.device)
    job = StyleJob(
        Path(args.real),
        Path(args.simulated),
        Path(args.out),
        style_preset(args.preset).changed(changes),
        RunSettings(accelerator=accelerator, precision=args.precision, threads=args.threads),
        args.held_out,
        args.name,
    )
    try:
        with progress_bar("style") as progress:
            outcome = train_style(job, progress)
    except Cancelled as stopped:
        say(str(stopped))
        return {"out": args.out, "stopped": str(stopped), "exit_code": _EXIT_CANCELLED}
    found = outcome.measures
    say(
        f"Held-out real images: distance from simulated ones of their layout {found['look_distance_before']:.3f} ->"
        f" {found['look_distance']:.3f} standard deviations of these; edges moved by up to"
        f" {found['edge_shift_pixels']:.2f} pixels, {100 * found['edge_lost_share']:.0f} % changed beyond recognition."
    )
    words = "" if outcome.accepted else f", not to be used before reconstruction: {outcome.refusal}"
    say(f"Written to {outcome.folder}{words}.")
    return {
        "out": args.out,
        "model": str(outcome.folder),
        "accepted": outcome.accepted,
        "held_out": found,
        "exit_code": 0 if outcome.accepted else _EXIT_REJECTED,
    }


def _apply(args: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    from SSRKDCore.cases import find_cases, load_case
    from SSRKDCore.errors import InputError
    from SSRKDCore.json_files import write_json
    from SSRKDCore.output_folder import check_output_folder, complete_folder
    from SSRKDCore.reconstruction.style_transfer import load_style, style_config_of, translation
    from SSRKDCore.training.finetune_samples import network_images, radiographs_of
    from SSRKDCore.training.style_images import standardised_image
    from SSRKDCore.training.style_pictures import write_before_and_after

    check_output_folder(args.out, args.overwrite)
    style = load_style(args.model)
    if style is None:
        raise InputError("The word none is no style model: name a model folder.")
    views: list[dict[str, Any]] = []
    with complete_folder(args.out, args.overwrite) as folder, progress_bar("style") as progress:
        found = find_cases(args.cases)
        for index, place in enumerate(found):
            progress(index / len(found), place.name)
            case = load_case(place)
            images, seen, _ = network_images(*radiographs_of(case), style_config_of(style).image_size)
            for view, (image, mask) in enumerate(zip(images, seen, strict=True)):
                before = standardised_image(image, mask, style.standardisation, place)
                after, moved = translation(before, mask.astype("float32"), style)
                picture = f"{place.name}-{view}.png"
                write_before_and_after(folder / picture, before, after)
                views.append({"case": case.id, "view": view, "picture": picture, "kept": moved.kept, **asdict(moved)})
        write_json(folder / "report.json", {"schema": "ssrkd-style/1", "model": style.name, "views": views})
    moved_views = [view for view in views if not view["kept"]]
    say(f"{len(views)} radiographs translated, {len(moved_views)} of them with moved edges. Written to {args.out}.")
    return {"out": args.out, "views": views, "exit_code": _EXIT_REJECTED if moved_views else 0}
