"""The settings of the three stages by name: `paper` (as published) and `compact` (for a CPU).

Every value of `paper` is the paper's (Lin et al. 2025, arXiv 2508.13947) or, where it is silent, that of the authors'
released training; what could not be taken over as it is, and where `compact` differs and why, is in docs/training.md.
"""

from __future__ import annotations

from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.training.settings import CtTraining, RunSettings, SegmenterTraining, StageTraining, XrayTraining

PRESETS = ("paper", "compact")
STAGES: dict[str, type[StageTraining]] = {
    "segmenter": SegmenterTraining,
    "ct": CtTraining,
    "xray": XrayTraining,
}

_PAPER: dict[str, Any] = {
    "architecture": "paper",
    "seed": 1,
    "epochs": 400,
    "steps": 0,
    "optimiser": "sgd",
    "learning_rate": 0.01,
    "momentum": 0.98,
    "weight_decay": 3e-4,
    "schedule": "quarters",
    "warm_up_steps": 0,
    "gradient_clip": 0.0,
    "weight_average": 0.0,
    "augmentation": False,
}
_COMPACT: dict[str, Any] = {
    "architecture": "compact",
    "seed": 1,
    "epochs": 0,
    "optimiser": "adamw",
    "momentum": 0.0,
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warm_up_steps": 200,
    "gradient_clip": 1.0,
    "weight_average": 0.998,
    "augmentation": True,
}
_POINTS = {"near_share": 0.5, "outside_weight": 1.5, "class_weight_power": 1 / 3}
_XRAY = {
    "stack_weight_ratio": 1.5,
    "pseudo_labels": True,
    "pseudo_weight": 0.5,
    "distillation": True,
    "distillation_weight": 0.1,
    "enhancement": True,
    "background_weight": 0.5,
    "standardisation": "robust",
    "channels_last": True,
}
_CROSS_PSEUDO = {"peers": 2, "cross_pseudo_weight": 0.1}

_VALUES: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {
        "segmenter": {
            **_PAPER,
            **_CROSS_PSEUDO,
            "labelled_batch": 8,
            "unlabelled_batch": 8,
            "cross_pseudo_on_labelled": False,
            "crop_size": 384,
            "flips": True,
            "dice_weight": 0.0,
            "vertical_crop": 1.0,
            "standardisation": "robust",
        },
        "ct": {
            **_PAPER,
            **_CROSS_PSEUDO,
            **_POINTS,
            "labelled_batch": 3,
            "unlabelled_batch": 3,
            "cross_pseudo_on_labelled": True,
            "points": 5000,
            "voxel_mm": 1.0,
            "window_low": -400.0,
            "window_high": 500.0,
            "crop_share": 0.5,
            "crop_limit": 0,
            "flips": True,
        },
        "xray": {
            **_PAPER,
            **_POINTS,
            **_XRAY,
            "labelled_batch": 2,
            "unlabelled_batch": 2,
            "points": 5000,
            "vertical_crop": 0.7,
            "distilled": "unlabelled",
            "distillation_points": 5000,
            "intensity_scale": 1.0,
        },
    },
    "compact": {
        "segmenter": {
            **_COMPACT,
            **_CROSS_PSEUDO,
            "steps": 2000,
            "learning_rate": 0.002,
            "labelled_batch": 4,
            "unlabelled_batch": 4,
            "cross_pseudo_on_labelled": False,
            "crop_size": 0,
            "flips": True,
            "dice_weight": 0.5,
            "vertical_crop": 1.0,
            "standardisation": "robust",
        },
        "ct": {
            **_COMPACT,
            **_CROSS_PSEUDO,
            **_POINTS,
            "steps": 1500,
            "learning_rate": 0.002,
            "labelled_batch": 1,
            "unlabelled_batch": 1,
            "cross_pseudo_on_labelled": False,
            "points": 4096,
            "voxel_mm": 2.0,
            "window_low": -400.0,
            "window_high": 500.0,
            "crop_share": 0.5,
            "crop_limit": 64,
            "flips": True,
        },
        "xray": {
            **_COMPACT,
            **_POINTS,
            **_XRAY,
            "steps": 6000,
            "learning_rate": 0.0015,
            "labelled_batch": 1,
            "unlabelled_batch": 1,
            "points": 4096,
            "vertical_crop": 1.0,
            "distilled": "both",
            "distillation_points": 1024,
            "intensity_scale": 1.0,
        },
    },
}


def training_preset(stage: str, name: str) -> StageTraining:
    """The settings of a stage ("segmenter", "ct", "xray") by the name of a preset. Raises InputError for another name."""
    if stage not in STAGES:
        raise InputError(f"There is no training stage {stage!r}: use {', '.join(STAGES)}.")
    if name not in PRESETS:
        raise InputError(f"There is no training preset {name!r}: use {' or '.join(PRESETS)}.")
    return STAGES[stage].from_dict(_VALUES[name][stage])


def segmenter_preset(name: str) -> SegmenterTraining:
    """`training_preset` of the segmenter."""
    return SegmenterTraining.from_dict(training_preset("segmenter", name).to_dict())


def ct_preset(name: str) -> CtTraining:
    """`training_preset` of the CT teacher."""
    return CtTraining.from_dict(training_preset("ct", name).to_dict())


def xray_preset(name: str) -> XrayTraining:
    """`training_preset` of the student."""
    return XrayTraining.from_dict(training_preset("xray", name).to_dict())


def run_preset(name: str) -> RunSettings:
    """How a preset runs: `paper` on a GPU where there is one, in float32, `compact` on one CPU core in mixed precision."""
    if name not in PRESETS:
        raise InputError(f"There is no training preset {name!r}: use {' or '.join(PRESETS)}.")
    if name == "paper":
        return RunSettings(loader_workers=2, checkpoint_minutes=10.0)
    return RunSettings(accelerator="cpu", precision="bf16-mixed", threads=1)
