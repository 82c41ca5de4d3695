"""What training a style network is, as settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from SSRKDCore.errors import InputError
from SSRKDCore.networks.style_config import STYLE_PRESETS, StyleConfig, style_config
from SSRKDCore.radiographs.standardise import ROBUST
from SSRKDCore.training.settings import StageTraining


@dataclass(frozen=True, kw_only=True)
class StyleTraining(StageTraining):
    """Settings of the style network.

    `labelled_batch` counts simulated images of a step, `unlabelled_batch` real ones; `augmentation` mirrors both.

    Attributes:
        crop_size: side of the random square crop, pixels; 0 takes the whole image, which alone is standardised as it will be in use.
        matches: a real image stands beside one of so many simulated ones whose layout is most like its own; 0 takes any.
        adversarial_weight: of looking like a simulated image (least squares, Mao et al. 2017).
        tone_weight: of having the grey values of the simulated image beside it (Wasserstein distance).
        fineness_weight: of having its noise and sharpness (the same of the size of fine detail).
        evenness_weight: of doing the same at neighbouring places, so that edges stay where they are.
        contrast_weight: of each place looking most like itself before (patchwise contrast, Park et al. 2020, eq. 5).
        identity_weight: of the same for simulated images, which should not change (eq. 6).
        patches: places of an image that are compared with one another.
        temperature: of that comparison.
    """

    title: ClassVar[str] = "style settings"
    crop_size: int
    matches: int
    adversarial_weight: float
    tone_weight: float
    fineness_weight: float
    evenness_weight: float
    contrast_weight: float
    identity_weight: float
    patches: int
    temperature: float

    def _check(self) -> None:
        super()._check()
        self._require(self.architecture in STYLE_PRESETS, f"architecture must be {' or '.join(STYLE_PRESETS)}")
        self._require(self.steps > 0, "style training counts steps, not epochs")
        self._require(self.unlabelled_batch >= 1, "unlabelled_batch must be 1 or more")
        size = self.network_config()
        self._require(
            self.crop_size == 0 or (16 <= self.crop_size <= size.image_size),
            f"crop_size must be 0, or 16 to {size.image_size}",
        )
        self._require(self.crop_size % size.size_multiple == 0, f"crop_size must be a multiple of {size.size_multiple}")
        self._require(self.contrast_weight > 0, "contrast_weight must be above 0, or nothing keeps edges in place")
        weights = (
            self.adversarial_weight,
            self.tone_weight,
            self.fineness_weight,
            self.evenness_weight,
            self.identity_weight,
        )
        self._require(min(weights) >= 0, "weights of the losses must be 0 or more")
        self._require(self.matches >= 0, "matches must be 0 or more")
        self._require(8 <= self.patches <= 4096, "patches must be 8 to 4096")
        self._require(0 < self.temperature <= 10, "temperature must be above 0, to 10")

    def network_config(self) -> StyleConfig:
        """The architecture."""
        return style_config(self.architecture)

    def input_standardisation(self) -> dict[str, Any]:
        """What `ModelInput.standardisation` of the trained model says."""
        return dict(ROBUST)


_COMMON: dict[str, Any] = {
    "seed": 1,
    "epochs": 0,
    "optimiser": "adamw",
    "momentum": 0.5,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "gradient_clip": 5.0,
    "augmentation": True,
    "adversarial_weight": 1.0,
    "crop_size": 0,
    "matches": 8,
    "tone_weight": 2.0,
    "fineness_weight": 1.0,
    "evenness_weight": 10.0,
    "contrast_weight": 1.0,
    "identity_weight": 1.0,
    "temperature": 0.07,
}
_VALUES: dict[str, dict[str, Any]] = {
    "paper": {
        **_COMMON, "architecture": "paper", "steps": 40000, "labelled_batch": 2, "unlabelled_batch": 2, "learning_rate": 2e-4,
        "warm_up_steps": 500, "weight_average": 0.999, "patches": 256,
    },
    "compact": {
        **_COMMON, "architecture": "compact", "steps": 1200, "labelled_batch": 1, "unlabelled_batch": 1, "learning_rate": 5e-4,
        "warm_up_steps": 50, "weight_average": 0.995, "patches": 128,
    },
}  # fmt: skip


def style_preset(name: str) -> StyleTraining:
    """The settings of a preset, "paper" or "compact". Raises InputError for another name."""
    if name not in _VALUES:
        raise InputError(f"There is no style preset {name!r}: use {' or '.join(_VALUES)}.")
    return StyleTraining.from_dict(_VALUES[name])
