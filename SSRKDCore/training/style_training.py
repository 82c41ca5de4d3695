"""The style network from two sets of images to a model folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from SSRKDCore.errors import InputError
from SSRKDCore.reconstruction.edge_displacement import LARGEST_LOST_SHARE, LARGEST_SHIFT
from SSRKDCore.training.accepted_model import put_in_place
from SSRKDCore.training.runner import run_stage
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.stage_export import MODEL_FOLDER, export_stage
from SSRKDCore.training.style_images import Progress, StyleBatches, StyleImages, style_images
from SSRKDCore.training.style_settings import StyleTraining
from SSRKDCore.training.style_stage import HeldOutLook, StyleStage

REJECTED_FOLDER = "moves_edges"
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
    folder: of the model; OUT/model, or OUT/moves_edges when it moved edges of held-out images.
    accepted: whether the folder is OUT/model. measures: of the held-out images, see `HeldOutLook`.
    """

    folder: Path
    accepted: bool
    measures: dict[str, float]


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
    accepted = measures["edge_shift_pixels"] <= LARGEST_SHIFT and measures["edge_lost_share"] <= LARGEST_LOST_SHARE
    folder = MODEL_FOLDER if accepted else REJECTED_FOLDER
    images: dict[str, Any] = {
        "simulated": len(simulated.images), "real": len(learnt.images), "held_out": len(held_out.images)
    }  # fmt: skip
    if not accepted:
        images["warning"] = "This network moved edges of held-out images: do not use it before reconstruction."
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
    written = put_in_place(written, job.out / folder, (MODEL_FOLDER, REJECTED_FOLDER))
    return StyleOutcome(written, accepted, measures)


def _split(real: StyleImages, held_out: int) -> tuple[StyleImages, StyleImages]:
    """Images of the cases to learn from, and of the last `held_out` cases by name."""
    cases = sorted(set(real.cases))
    if not 1 <= held_out < len(cases):
        raise InputError(
            f"There are {len(cases)} real cases and {held_out} were to be held out: hold out one or more, and leave one to"
            " learn from."
        )
    kept_out = np.isin(real.cases, cases[-held_out:])
    return real.part(~kept_out), real.part(kept_out)
