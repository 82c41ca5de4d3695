"""The style network from two sets of images to a model folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.reconstruction.edge_displacement import LARGEST_LOST_SHARE, LARGEST_SHIFT
from SSRKDCore.reconstruction.style_transfer import REFUSED_ENTRY
from SSRKDCore.training.accepted_model import put_in_place
from SSRKDCore.training.runner import run_stage
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.stage_export import MODEL_FOLDER, export_stage
from SSRKDCore.training.style_images import Progress, StyleBatches, StyleImages, style_images
from SSRKDCore.training.style_settings import StyleTraining
from SSRKDCore.training.style_stage import HeldOutLook, StyleStage
from SSRKDCore.training.whole_persons import last_persons

REJECTED_FOLDER = "moves_edges"
#: Where a network goes that keeps edges and makes images less like the simulated ones.
AWAY_FOLDER = "looks_away"
#: Less than this is no difference in look, standard deviations of the simulated images.
_SAME_LOOK = 0.005
_LICENCE = "see the licences of the images that it was trained on"


@dataclass(frozen=True)
class StyleJob:
    """What is learnt from which images.

    Attributes
    ----------
    real: folder of cases with real radiographs (no truth is needed). simulated: folder of cases with simulated ones, or
        a sample store. out: the run's folder.
    settings: what is learnt. run: on what and how. held_out: real cases that training does not see; at least one.
    name, licence: of the model that comes out.
    """

    real: Path
    simulated: Path
    out: Path
    settings: StyleTraining
    run: RunSettings = field(default_factory=lambda: RunSettings(accelerator="cpu"))
    held_out: int = 1
    name: str = "style"
    licence: str = _LICENCE


@dataclass(frozen=True)
class StyleOutcome:
    """What came out.

    Attributes
    ----------
    folder: of the model; OUT/model, or OUT/moves_edges when it moved edges of held-out images, or OUT/looks_away when it made them less
        like the simulated ones.
    refusal: why the folder is not OUT/model, one sentence; empty where it is. measures: of the held-out images, see `HeldOutLook`.
    """

    folder: Path
    refusal: str
    measures: dict[str, float]

    @property
    def accepted(self) -> bool:
        """Whether the folder is OUT/model."""
        return not self.refusal


def train_style(
    job: StyleJob, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None
) -> StyleOutcome:
    """Train a style network, or go on with it where an earlier call was stopped.

    Raises InputError when there are too few images or settings do not fit; Cancelled, with what was done kept.
    """
    cache = job.out / "images"
    simulated = style_images(job.simulated, cache / "simulated.npz", job.settings, progress, cancelled)
    real = style_images(job.real, cache / "real.npz", job.settings, progress, cancelled)
    learnt, held_out = _split(real, job.held_out)
    batches = StyleBatches(simulated, learnt, job.settings)
    stage = StyleStage(job.settings)
    run = replace(job.run, held_out=job.held_out)
    result = run_stage(stage, batches, run, job.out / "training", HeldOutLook(simulated, held_out))
    measures = dict(result.validation)
    folder, refusal = _judged(measures)
    images: dict[str, Any] = {
        "simulated": len(simulated.images), "real": len(learnt.images), "held_out": len(held_out.images)
    }  # fmt: skip
    if refusal:
        images[REFUSED_ENTRY] = refusal
    written = export_stage(
        job.out / "training",
        result,
        result.module.network,
        job.settings.network_config(),
        name=job.name,
        model_input=stage.model_input,
        licence=job.licence,
        extra={"images": images},
        folder=folder,
    )
    written = put_in_place(written, job.out / folder, (MODEL_FOLDER, REJECTED_FOLDER, AWAY_FOLDER))
    return StyleOutcome(written, refusal, measures)


def _judged(measures: Mapping[str, float]) -> tuple[str, str]:
    """The folder's name, and why the network must not be used, or nothing."""
    if measures["edge_shift_pixels"] > LARGEST_SHIFT or measures["edge_lost_share"] > LARGEST_LOST_SHARE:
        return REJECTED_FOLDER, (
            f"it moved edges of held-out images by up to {measures['edge_shift_pixels']:.1f} pixels and changed"
            f" {100 * measures['edge_lost_share']:.0f} % of them beyond recognition"
        )
    before, after = measures["look_distance_before"], measures["look_distance"]
    if after > before + _SAME_LOOK:
        return AWAY_FOLDER, (
            f"it made held-out images less like the simulated ones: their distance went from {before:.3f} to {after:.3f}"
        )
    return MODEL_FOLDER, ""


def _split(real: StyleImages, held_out: int) -> tuple[StyleImages, StyleImages]:
    """Images of the cases to learn from, and of the last `held_out` cases by name, with all that show the same persons."""
    cases = sorted(set(real.cases))
    if not 1 <= held_out < len(cases):
        raise InputError(
            f"There are {len(cases)} real cases and {held_out} were to be held out: hold out one or more, and leave one to"
            " learn from."
        )
    persons = real.person_of_case
    owners = [persons[name] for name in cases]
    apart = last_persons(owners, held_out)
    if apart == set(owners):
        raise InputError(
            f"There are real cases of {len(apart)} persons, and to hold out {held_out} of the {len(cases)} cases takes all of them, since a"
            " person's cases stay together: hold out fewer, or add cases of other persons."
        )
    kept_out = np.isin(real.cases, [name for name, owner in zip(cases, owners, strict=True) if owner in apart])
    return real.part(~kept_out), real.part(kept_out)
