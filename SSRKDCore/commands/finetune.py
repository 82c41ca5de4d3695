"""`ssrkd finetune`: a model goes on learning from a site's own cases, and is compared before and after."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import progress_bar, say

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model
    from SSRKDCore.training.finetune import FinetuneOutcome

HELP = "fine-tune a model on a site's own radiographs, and compare before and after"

_EXIT_WORSE = 1
_EXIT_CANCELLED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="model folder, or the name of a bundled model")
    parser.add_argument(
        "--cases", required=True, metavar="DIR", help="folder of labelled cases: radiographs, rig, bones"
    )
    parser.add_argument("--unlabelled", metavar="DIR", help="folder of further cases, with a CT in the rig's frame")
    parser.add_argument("--teacher", metavar="MODEL", help="CT model that labels the unlabelled cases")
    parser.add_argument(
        "--samples",
        metavar="DIR",
        help="samples that MODEL was trained on: one case of them in every step, against forgetting",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the run; a run that was ended goes on")
    parser.add_argument("--name", default="", help="what people call the model (MODEL-finetuned)")
    parser.add_argument("--licence", default="", help="licence of the weights (that of MODEL)")
    learning = parser.add_argument_group("learning")
    learning.add_argument("--steps", type=int, metavar="N", help="optimiser steps at most (600)")
    learning.add_argument("--freeze", choices=("none", "stem", "encoders"), help="what keeps its weights (none)")
    learning.add_argument("--patience", type=int, metavar="N", help="looks without a better one that end the run (6)")
    learning.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change another setting of fine-tuning"
    )
    learning.add_argument(
        "--stopping", type=int, default=0, metavar="N", help="persons whose cases say when to stop (a fifth)"
    )
    learning.add_argument(
        "--held-out", type=int, default=0, metavar="N", help="persons whose cases only judge the result (a fifth)"
    )
    learning.add_argument(
        "--keep-worse", action="store_true", help="write OUT/model even if it got worse, with a warning in it"
    )
    how = parser.add_argument_group("how it runs")
    how.add_argument(
        "--resolution", type=int, default=128, metavar="N", help="samples along a side, for the comparison (128)"
    )
    how.add_argument(
        "--device", choices=("cpu", "cuda", "mps"), default="cpu", help="for training and comparison (cpu)"
    )
    how.add_argument("--precision", choices=("32", "bf16-mixed", "16-mixed"), default="32", help="of training (32)")
    how.add_argument("--threads", type=int, default=0, metavar="N", help="of torch; 0 leaves its own choice")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Fine-tunes; returns the comparison and where the model is. The exit code is 1 when it got worse and was not kept."""
    from SSRKDCore.cases import find_cases
    from SSRKDCore.commands.evaluate import check_resolution
    from SSRKDCore.errors import Cancelled, InputError

    check_resolution(args.resolution)
    if (args.unlabelled is None) != (args.teacher is None):
        raise InputError("--unlabelled and --teacher belong together: give both, or neither.")
    cases = find_cases(args.cases)
    unlabelled = find_cases(args.unlabelled) if args.unlabelled else []

    from SSRKDCore.networks.model_folder import load_model
    from SSRKDCore.training.finetune import FinetuneJob, finetune
    from SSRKDCore.training.settings import RunSettings

    accelerator = {"cuda": "gpu"}.get(args.device, args.device)
    job = FinetuneJob(
        load_model(args.model),
        cases,
        Path(args.out),
        unlabelled,
        _teacher(args.teacher),
        None if args.samples is None else Path(args.samples),
        _changes(args),
        run=RunSettings(accelerator=accelerator, precision=args.precision, threads=args.threads),
        stopping=args.stopping,
        held_out=args.held_out,
        resolution=args.resolution,
        device=args.device,
        keep_worse=args.keep_worse,
        name=args.name,
        licence=args.licence,
    )
    try:
        with progress_bar("finetune") as progress:
            outcome = finetune(job, progress)
    except Cancelled as stopped:
        say(str(stopped))
        return {"out": args.out, "stopped": str(stopped), "exit_code": _EXIT_CANCELLED}
    _tell(outcome, args.out)
    return {
        "out": args.out,
        "model": str(outcome.folder),
        "accepted": outcome.accepted,
        "finetuning": outcome.record,
        "exit_code": 0 if outcome.accepted else _EXIT_WORSE,
    }


def _teacher(path: str | None) -> Model | None:
    from SSRKDCore.networks.model_folder import load_model

    return None if path is None else load_model(path)


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that the arguments change; named options win over --set."""
    from SSRKDCore.training.configuration import assigned_values

    values = assigned_values(args.set)
    named = {"steps": args.steps, "frozen": args.freeze, "patience": args.patience}
    return {**values, **{name: value for name, value in named.items() if value is not None}}


def _tell(outcome: FinetuneOutcome, out: str) -> None:
    from SSRKDCore.training.finetune_comparison import comparison_words

    stopping = outcome.record["stopping"]
    say(
        f"Wrong points of the cases that stopped the run: {100 * stopping['wrong_before']:.2f} % before,"
        f" {100 * stopping['wrong_at_best']:.2f} % at step {stopping['best_step']}, whose weights are taken."
    )
    count = len(outcome.comparison["cases"])
    say(f"On {count} held-out case{'' if count == 1 else 's'}, before and after:")
    for line in comparison_words(outcome.comparison):
        say(line)
    verdict = outcome.comparison["verdict"]
    say(f"The model is {'the same' if verdict == 'same' else verdict} on held-out cases. Written to {outcome.folder}.")
    if not outcome.accepted:
        say(
            f"It did not become {Path(out) / 'model'}, because it is worse there; --keep-worse would take it all the same."
        )
