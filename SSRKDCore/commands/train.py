"""`ssrkd train`: one of the three stages of SSR-KD on cases, to a model folder."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SSRKDCore.console import progress_bar, say

if TYPE_CHECKING:
    from SSRKDCore.networks.model_folder import Model
    from SSRKDCore.training.configuration import Configuration
    from SSRKDCore.training.sample_store import SampleStore
    from SSRKDCore.training.stage_job import StageJob

_EXIT_CANCELLED = 130
_LICENCE = "see the licences of the cases that it was trained on"
#: Points of a rig that carry teacher features, at least; a step draws from them.
_FEATURE_POINTS = 2048
_RUN_OPTIONS = ("accelerator", "devices", "nodes", "precision", "threads", "tensorboard")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stage", choices=("segmenter", "ct", "xray"), help="bone masks, CT teacher, or X-ray student")
    parser.add_argument("--cases", metavar="DIR", help="folder of cases; those with a reference are labelled")
    parser.add_argument("--unlabelled", metavar="DIR", help="folder of further cases, whose references are not used")
    parser.add_argument("--samples", metavar="DIR", help="folder of their samples, made if needed (OUT/samples)")
    parser.add_argument("--teacher", metavar="MODEL", help="xray: CT model that labels and is imitated")
    parser.add_argument("--segmenter", metavar="MODEL", help="xray: segmenter model for the bone-enhanced image")
    parser.add_argument("--initial", metavar="MODEL", help="xray: model of the same architecture to start from")
    parser.add_argument("--config", metavar="FILE", help="JSON: a preset, and what differs from it")
    parser.add_argument("--preset", choices=("paper", "compact"), help="wins over that of --config (compact)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting of the stage, or run.NAME of the run",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the run; the model is DIR/model")
    parser.add_argument("--name", help="what people call the model (PRESET-STAGE)")
    parser.add_argument("--licence", default=_LICENCE, help="licence of the weights, for the model card")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that make samples (all cores)")
    parser.add_argument("--prepare-only", action="store_true", help="make samples and teacher outputs, then stop")
    group = parser.add_argument_group("how it runs", "these win over --config")
    group.add_argument(
        "--accelerator", choices=("auto", "cpu", "gpu", "mps"), help="what it runs on (compact: cpu, paper: auto)"
    )
    group.add_argument("--devices", type=int, metavar="N", help="GPUs, or CPU processes, of this computer (1)")
    group.add_argument("--nodes", type=int, metavar="N", help="computers, each started by torchrun (1)")
    group.add_argument(
        "--precision",
        choices=("32", "bf16-mixed", "16-mixed"),
        help="of the arithmetic (compact: bf16-mixed, paper: 32)",
    )
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads of each process; 0 leaves torch's choice (compact: 1, paper: 0)",
    )
    group.add_argument("--tensorboard", action="store_const", const=True, help="write TensorBoard's files too")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from SSRKDCore.console import set_quiet
    from SSRKDCore.errors import Cancelled
    from SSRKDCore.training.configuration import configuration

    if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))):
        set_quiet(True)  # The first process speaks for all.
    given = {name: getattr(args, name) for name in _RUN_OPTIONS if getattr(args, name) is not None}
    file = Path(args.config) if args.config else None
    wanted = configuration(args.stage, file, args.preset, args.set, given)
    job = _job(args, wanted)
    if args.prepare_only:
        say(f"Samples are ready in {job.store.folder}.")
        return {"stage": args.stage, "samples": str(job.store.folder), "cases": len(job.store)}
    try:
        model = _train(args.stage, job)
    except Cancelled as stopped:
        say(str(stopped))
        return {"stage": args.stage, "out": args.out, "stopped": str(stopped), "exit_code": _EXIT_CANCELLED}
    say(f"Written to {model}.")
    return {"stage": args.stage, "out": args.out, "model": str(model)}


def _job(args: argparse.Namespace, wanted: Configuration) -> StageJob:
    from SSRKDCore.networks.model_folder import load_model
    from SSRKDCore.training.stage_job import StageJob, split_cases

    models: dict[str, Model] = {}
    for kind in ("teacher", "segmenter"):
        if getattr(args, kind):
            models[kind] = _of_kind(load_model(getattr(args, kind)), "ct" if kind == "teacher" else kind)
    store = _store(args, wanted)
    training, held_out = split_cases(store, wanted.run.held_out)
    job = StageJob(
        store, training, held_out, wanted.training, wanted.run, Path(args.out),
        args.name or f"{wanted.preset}-{args.stage}", args.licence, models.get("teacher"), models.get("segmenter"),
        _initial(args),
    )  # fmt: skip
    if args.stage == "xray" and _may_prepare():
        _write_teacher_outputs(job)
    return job


def _initial(args: argparse.Namespace) -> Model | None:
    from SSRKDCore.errors import InputError
    from SSRKDCore.networks.model_folder import load_model

    if args.initial is None:
        return None
    if args.stage != "xray":
        raise InputError(f"Only the stage xray starts from another model: leave --initial out for {args.stage}.")
    return _of_kind(load_model(args.initial), "xray")


def _of_kind(model: Model, kind: str) -> Model:
    from SSRKDCore.errors import InputError

    if model.kind != kind:
        raise InputError(f"{model.path} is a model of kind {model.kind}, not {kind}: name another model folder.")
    return model


def _may_prepare() -> bool:
    """Whether this process may write samples: not where several were started at once."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1 and int(os.environ.get("LOCAL_RANK", "0")) == 0


def _store(args: argparse.Namespace, wanted: Configuration) -> SampleStore:
    from SSRKDCore.cases import find_cases
    from SSRKDCore.errors import InputError
    from SSRKDCore.networks.config import xray_config
    from SSRKDCore.training.make_samples import prepare_samples
    from SSRKDCore.training.sample_settings import SampleSettings
    from SSRKDCore.training.sample_store import SampleStore

    folder = Path(args.samples) if args.samples else Path(args.out) / "samples"
    if args.cases is None or not _may_prepare():
        if args.cases is None and args.samples is None:
            raise InputError("There is nothing to train on: name --cases, or --samples that were made earlier.")
        return SampleStore(folder)
    settings = SampleSettings(image_size=xray_config(wanted.training.architecture).input_size).changed(wanted.samples)
    unlabelled = find_cases(args.unlabelled) if args.unlabelled else []
    with progress_bar("samples") as progress:
        return prepare_samples(find_cases(args.cases), folder, settings, args.workers, progress, unlabelled=unlabelled)


def _write_teacher_outputs(job: StageJob) -> None:
    """The teacher's outputs at the points of the cases that the student learns from, unless they are there."""
    from SSRKDCore.training.settings import XrayTraining
    from SSRKDCore.training.teacher_outputs import write_teacher_outputs

    assert isinstance(job.settings, XrayTraining)
    if job.teacher is None or not job.settings.needs_teacher:
        return
    import torch

    if torch.cuda.is_available() and job.run.accelerator in ("auto", "gpu"):
        job.teacher.network.cuda()
    with progress_bar("teacher") as progress:
        points = max(_FEATURE_POINTS, job.settings.distillation_points)
        write_teacher_outputs(job.teacher, job.training, job.store, progress, points)


def _train(stage: str, job: StageJob) -> Path:
    if stage == "segmenter":
        from SSRKDCore.training.segmenter_stage import train_segmenter

        return train_segmenter(job)
    if stage == "ct":
        from SSRKDCore.training.ct_stage import train_ct

        return train_ct(job)
    from SSRKDCore.training.xray_training import train_xray

    return train_xray(job)
