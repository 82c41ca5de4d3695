"""The student from samples to a model folder."""

from __future__ import annotations

from pathlib import Path

from SSRKDCore.training.initial_weights import ContinuedBatches, start_from
from SSRKDCore.training.progress_pictures import ProgressPictures
from SSRKDCore.training.runner import Validation, run_stage
from SSRKDCore.training.settings import XrayTraining
from SSRKDCore.training.stage_export import export_stage
from SSRKDCore.training.stage_job import StageJob
from SSRKDCore.training.xray_batches import XrayBatches
from SSRKDCore.training.xray_stage import HeldOutPoints, XrayStage


def train_xray(job: StageJob) -> Path:
    """Trains the student of a job, or goes on with it; returns the model folder. Raises as `run_stage` does."""
    settings = job.settings
    assert isinstance(settings, XrayTraining)
    unlabelled = len(job.unlabelled) if settings.uses_unlabelled else 0
    steps = settings.step_count(len(job.labelled), unlabelled, job.run.processes)
    batches = _batches(job, settings, steps)
    stage = XrayStage(settings, steps, batches.class_counts(), job.segmenter)
    if job.initial is not None:
        start_from(stage.network, job.initial)
    result = run_stage(stage, batches, job.run, job.out, _validation(job, settings))
    return export_stage(
        job.out,
        result,
        stage.network,
        stage.network.config,
        name=job.name,
        model_input=stage.model_input,
        licence=job.licence,
        segmenter=job.segmenter if settings.enhancement else None,
    )


def _batches(job: StageJob, settings: XrayTraining, steps: int) -> XrayBatches:
    """The batches; another initial model makes another run."""
    if job.initial is None:
        return XrayBatches(job.store, job.training, settings, steps)
    return ContinuedBatches(job.store, job.training, settings, steps, job.initial)


def _validation(job: StageJob, settings: XrayTraining) -> Validation | None:
    """Wrong points of the held-out cases, and a picture of the first of them; None without any."""
    if not job.held_out:
        return None
    points = HeldOutPoints(job.store, list(job.held_out), settings)
    pictures = ProgressPictures(job.out / "pictures", job.store.cases[job.held_out[0]].folder)

    def measure(stage: XrayStage) -> dict[str, float]:
        pictures(stage)
        return points(stage)

    return measure
