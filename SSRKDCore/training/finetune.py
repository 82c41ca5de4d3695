"""Fine-tuning: from a model and a site's own cases to a model that is no worse there, or to a plain word that it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from SSRKDCore.cases import load_case
from SSRKDCore.errors import InputError
from SSRKDCore.json_files import write_json
from SSRKDCore.networks.model_folder import (
    SHAPE_PRIOR_ENTRY,
    SURFACE_CORRECTION_ENTRY,
    Model,
    shape_prior_path,
    surface_correction_path,
)
from SSRKDCore.training.accepted_model import put_in_place
from SSRKDCore.training.finetune_batches import RadiographBatches, StoppingPoints
from SSRKDCore.training.finetune_comparison import WORSE, compared
from SSRKDCore.training.finetune_samples import RadiographSamples, prepare_radiograph_samples
from SSRKDCore.training.finetune_settings import FinetuneTraining, finetune_settings
from SSRKDCore.training.finetune_split import FinetuneSplit, split_for_finetuning
from SSRKDCore.training.finetune_stage import FinetuneStage
from SSRKDCore.training.finetune_stopping import EarlyStopping
from SSRKDCore.training.initial_weights import weights_sha256
from SSRKDCore.training.runner import StageResult, run_stage
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.stage_export import MODEL_FOLDER, export_stage
from SSRKDCore.training.teacher_outputs import write_teacher_outputs
from SSRKDCore.training.whole_persons import person_of

REJECTED_FOLDER = "worse_model"
COMPARISON_FILE = "comparison.json"
SPLIT_FILE = "split.json"
#: Without distillation the features of the teacher are not read.
_FEATURE_POINTS = 1

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class FinetuneJob:
    """What is fine-tuned on what.

    Attributes
    ----------
    model: of kind xray, from a model folder. cases: folders of labelled cases. out: the run's folder.
    unlabelled: folders of cases with a CT and no labels, which `teacher` (of kind ct) labels.
    own_samples: store of the model's own training, whose labelled cases are rehearsed beside the site's; None where there is none.
    settings: changes of `finetune_settings`. samples: what is made of the radiographs; its image size is the model's.
    run: on what and how. stopping, held_out: persons, see `split_for_finetuning`.
    resolution, device: of the comparison. keep_worse: a model that got worse still becomes OUT/model, with a warning.
    name, licence: of the model that comes out; empty takes those of the model.
    """

    model: Model
    cases: Sequence[Path]
    out: Path
    unlabelled: Sequence[Path] = ()
    teacher: Model | None = None
    own_samples: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    samples: RadiographSamples = field(default_factory=RadiographSamples)
    run: RunSettings = field(default_factory=lambda: RunSettings(accelerator="cpu"))
    stopping: int = 0
    held_out: int = 0
    resolution: int = 128
    device: str = "cpu"
    keep_worse: bool = False
    name: str = ""
    licence: str = ""


@dataclass(frozen=True)
class FinetuneOutcome:
    """What came out.

    Attributes
    ----------
    folder: of the model; OUT/model, or OUT/worse_model when it is worse and was not to be kept.
    comparison: content of comparison.json. accepted: whether the folder is OUT/model.
    record: what the model's training record says of the fine-tuning.
    """

    folder: Path
    comparison: dict[str, Any]
    accepted: bool
    record: dict[str, Any]


def finetune(
    job: FinetuneJob, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None
) -> FinetuneOutcome:
    """Fine-tune a model, or go on with it where an earlier call was stopped; see `docs/real_images.md`.

    Raises InputError when cases or settings do not fit; Cancelled, with what was done kept.
    """
    own = None if job.own_samples is None else SampleStore(job.own_samples)
    settings = finetune_settings(job.model, bool(job.unlabelled), job.settings, own is not None)
    if job.unlabelled and job.teacher is None:
        raise InputError("Unlabelled cases need the CT teacher that labels them: name it, or leave them out.")
    if job.run.processes > 1:
        raise InputError("Fine-tuning runs in one process: set devices and nodes to 1.")
    split = split_for_finetuning(job.cases, job.stopping, job.held_out, settings.seed)
    _check_apart(split, job.unlabelled, own)
    store = _store(job, settings, split, progress, cancelled)
    write_json(job.out / SPLIT_FILE, split.to_dict())
    result, stopping = _trained(job, settings, split, store, own)
    after = _as_it_will_be(result.module.model(job.name or f"{job.model.name}-finetuned"), job.model)
    record = compared(
        job.model,
        after,
        split.held_out,
        job.out / "evaluations",
        resolution=job.resolution,
        device=job.device,
        seed=settings.seed,
        progress=progress,
        cancelled=cancelled,
    )
    return _written(job, settings, split, result, stopping, record)


def _as_it_will_be(model: Model, origin: Model) -> Model:
    """The model with what its folder will bring for refinement, so that both are compared as they are used: refined, or not."""
    if shape_prior_path(origin) is None:
        return model
    beside = {key: origin.card[key] for key in (SHAPE_PRIOR_ENTRY, SURFACE_CORRECTION_ENTRY) if key in origin.card}
    return replace(model, path=origin.path, card=beside)


def _check_apart(split: FinetuneSplit, unlabelled: Sequence[Path], own: SampleStore | None) -> None:
    """The cases that judge must not be learnt from, not even through their CT."""
    judges = {person_of(load_case(folder)) for folder in (*split.held_out, *split.stopping)}
    for folder in unlabelled:
        person = person_of(load_case(folder))
        if person in judges:
            raise InputError(
                f"{folder} is a knee of {person}, who is kept out to judge the result: leave it out of the unlabelled"
                " cases."
            )
    if own is None:
        return
    ids, persons = set(own.case_ids), {case.person for case in own.cases}
    for folder in (*split.held_out, *split.stopping):
        case = load_case(folder)
        if case.id in ids:
            raise InputError(
                f"{folder} is among the model's own samples: leave it out of the cases, or the samples out."
            )
        if person_of(case) in persons:
            raise InputError(
                f"{folder} is a knee of {person_of(case)}, of whom another is among the model's own samples: leave it out of the cases,"
                " or the samples out."
            )


def _store(
    job: FinetuneJob,
    settings: FinetuneTraining,
    split: FinetuneSplit,
    progress: Progress | None,
    cancelled: Callable[[], bool] | None,
) -> SampleStore:
    """Samples of the cases that are learnt from and of those that stop the run; held-out cases are never sampled."""
    samples = replace(job.samples, image_size=settings.network.input_size)
    store = prepare_radiograph_samples(
        [*split.training, *split.stopping],
        job.out / "samples",
        samples,
        unlabelled=job.unlabelled,
        progress=progress,
        cancelled=cancelled,
    )
    if job.teacher is not None and job.unlabelled:
        unlabelled = [index for index in range(len(store)) if not store.labelled[index]]
        write_teacher_outputs(job.teacher, unlabelled, store, progress, _FEATURE_POINTS)
    return store


def _trained(
    job: FinetuneJob, settings: FinetuneTraining, split: FinetuneSplit, store: SampleStore, own: SampleStore | None
) -> tuple[StageResult, EarlyStopping]:
    count = len(split.training)
    stopping_cases = list(range(count, count + len(split.stopping)))
    learnt = [index for index in range(len(store)) if index not in stopping_cases]
    batches = RadiographBatches(store, learnt, settings, settings.steps, job.model, own)
    stage = FinetuneStage(settings, batches.class_counts(), job.model)
    stopping = EarlyStopping(StoppingPoints(store, stopping_cases, settings), settings.patience)
    run = replace(job.run, validation_steps=settings.check_steps, checkpoint_steps=settings.check_steps, held_out=0)
    result = run_stage(stage, batches, run, job.out / "training", stopping, [stopping])
    stage.load_state_dict(stopping.best_weights)
    return result, stopping


def _written(
    job: FinetuneJob,
    settings: FinetuneTraining,
    split: FinetuneSplit,
    result: StageResult,
    stopping: EarlyStopping,
    record: dict[str, Any],
) -> FinetuneOutcome:
    worse = record["verdict"] == WORSE
    accepted = not worse or job.keep_worse
    folder = MODEL_FOLDER if accepted else REJECTED_FOLDER
    finetuned = {
        "initial_model": {"name": job.model.name, "weights_sha256": weights_sha256(job.model)},
        "initial_training": job.model.card.get("training", {}),
        "cases": {use: len(names) for use, names in split.to_dict().items()} | {"unlabelled": len(job.unlabelled)},
        "rehearsed": job.own_samples is not None,
        "stopping": stopping.record(),
        "comparison": _short(record),
        "warning": _WORSE_WORDS if worse else "",
    }
    written = export_stage(
        job.out / "training",
        result,
        result.module.network,
        settings.network,
        name=job.name or f"{job.model.name}-finetuned",
        model_input=job.model.input,
        licence=job.licence or str(job.model.card.get("licence", "see the model that it was made from")),
        segmenter=job.model.segmenter if settings.enhancement else None,
        shape_prior=shape_prior_path(job.model),
        surface_correction=surface_correction_path(job.model),
        extra={"finetuning": finetuned},
        folder=folder,
    )
    written = put_in_place(written, job.out / folder, (MODEL_FOLDER, REJECTED_FOLDER))
    write_json(job.out / COMPARISON_FILE, {**record, "model_folder": folder, "accepted": accepted})
    return FinetuneOutcome(written, record, accepted, finetuned)


_WORSE_WORDS = "On held-out cases this model is worse than the one that it was made from: do not use it in its place."


def _short(record: Mapping[str, Any]) -> dict[str, Any]:
    """Verdict, and mean exact ASSD and failures before and after by bone."""
    measure = "exact_assd_mm"
    return {
        "verdict": record["verdict"],
        "cases": len(record["cases"]),
        **{
            when: {
                bone: {measure: None if row[measure] is None else row[measure]["mean"], "failed": row["failed"]}
                for bone, row in record[when].items()
            }
            for when in ("before", "after")
        },
    }
