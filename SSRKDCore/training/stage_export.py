"""From a finished stage to a model folder with the record of its training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from SSRKDCore.json_files import read_json
from SSRKDCore.networks.config import NetworkConfig
from SSRKDCore.networks.model_folder import Model, ModelInput, save_model
from SSRKDCore.training.checkpoints import RUN_NAME
from SSRKDCore.training.code_version import commit, today
from SSRKDCore.training.runner import StageResult

MODEL_FOLDER = "model"


def training_record(run: Path, result: StageResult) -> dict[str, Any]:
    """What a model says of its training: settings, data, budget, last validation, date and commit.

    Args:
        run: the stage's folder. result: of `run_stage`.
    """
    described = read_json(run / RUN_NAME, "the description of a training run")
    data = {key: len(value) if isinstance(value, list) else value for key, value in described["data"].items()}
    return {
        "stage": described["stage"],
        "settings": described["settings"],
        "data": data,
        "budget": result.budget,
        "validation": result.validation,
        "torch": torch.__version__,
        "commit": commit(),
        "date": today(),
    }


def export_stage(
    run: Path,
    result: StageResult,
    network: nn.Module,
    config: NetworkConfig,
    *,
    name: str,
    model_input: ModelInput,
    licence: str,
    folder: str = MODEL_FOLDER,
    segmenter: Model | None = None,
    shape_prior: Path | None = None,
    surface_correction: Path | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Writes RUN/model, replacing an older one; of several processes the first writes.

    Args:
        run: the stage's folder. result: of `run_stage`, whose module holds the averaged weights.
        network, config: what is exported. name, model_input, licence, segmenter, shape_prior,
            surface_correction: as `save_model` takes them.
        folder: its name in `run`. extra: further entries of the training record.

    Returns:
        The model folder.
    """
    if not result.first:
        return run / folder
    record = {**training_record(run, result), **(extra or {})}
    return save_model(
        run / folder,
        network.eval(),
        config,
        name=name,
        model_input=model_input,
        training=record,
        licence=licence,
        segmenter=segmenter,
        shape_prior=shape_prior,
        surface_correction=surface_correction,
        overwrite=True,
    )
