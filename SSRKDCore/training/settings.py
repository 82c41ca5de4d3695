"""What a training run is, as frozen settings with a strict dictionary form: nothing about how it is carried out.

`SegmenterTraining`, `CtTraining` and `XrayTraining` say what is learnt (they make a run what it is: change one and it is
another run); `RunSettings` says on what and how it runs. Their values for the paper and for a CPU are in `presets`.
No torch is needed here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from SSRKDCore.networks.config import (
    PRESETS as NETWORKS,
)
from SSRKDCore.networks.config import (
    CtNetworkConfig,
    SegmenterConfig,
    XrayNetworkConfig,
    ct_config,
    segmenter_config,
    xray_config,
)
from SSRKDCore.radiographs.standardise import ROBUST
from SSRKDCore.training.run_settings import RunSettings
from SSRKDCore.training.settings_form import Settings

__all__ = ["CtTraining", "RunSettings", "SegmenterTraining", "StageTraining", "XrayTraining"]

OPTIMISERS = ("sgd", "adamw")
#: "quarters": times 0.1 after each quarter of the run, as released; "cosine": warm-up, then half a cosine to 1 %.
SCHEDULES = ("quarters", "cosine")
#: Which cases of a batch are compared with the teacher's features.
DISTILLED = ("unlabelled", "both")
#: The augmentation that exposes images anew, with physics behind every change.
PHYSICS = "physics"
#: Half of the cases (images, for the segmenter) by `PHYSICS`, half by the milder changes: many rooms, without unlearning a good one.
MIXED = "mixed"
STANDARDISATIONS = ("robust", "none")


@dataclass(frozen=True, kw_only=True)
class StageTraining(Settings):
    """What the three stages share.

    Attributes:
        architecture: the preset of the network: "paper", "published" or "compact".
        seed: of the initial weights and of everything that is drawn.
        epochs: passes over the larger of the labelled and unlabelled cases; 0 where `steps` says how long.
        steps: optimiser steps; 0 where `epochs` says how long.
        labelled_batch: labelled cases in a step of one process (images for the segmenter).
        unlabelled_batch: unlabelled ones; 0 uses none.
        optimiser: "sgd" or "adamw".
        learning_rate: its largest value.
        momentum: of SGD; AdamW uses its own 0.9 and 0.999.
        weight_decay: as the optimiser defines it.
        schedule: "quarters" or "cosine", see `SCHEDULES`.
        warm_up_steps: steps in which the learning rate rises linearly from 0.
        gradient_clip: largest norm of the gradient over all parameters; 0 does not limit it.
        weight_average: decay of the moving average of the weights (what is exported); 0 keeps none.
        augmentation: random blur, scatter, noise, display curve and collimation of images (noise of volumes); "physics" (images only)
            exposes them anew instead, see `domain_randomisation`; "mixed" does either by chance.
    """

    #: What `augmentation` may be.
    augmentations: ClassVar[tuple[bool | str, ...]] = (False, True)
    architecture: str
    seed: int
    epochs: int
    steps: int
    labelled_batch: int
    unlabelled_batch: int
    optimiser: str
    learning_rate: float
    momentum: float
    weight_decay: float
    schedule: str
    warm_up_steps: int
    gradient_clip: float
    weight_average: float
    augmentation: bool | str

    def _check(self) -> None:
        self._one_of("architecture", NETWORKS)
        self._one_of("optimiser", OPTIMISERS)
        self._one_of("schedule", SCHEDULES)
        words = ", ".join(str(value).lower() for value in self.augmentations)
        self._require(self.augmentation in self.augmentations, f"augmentation must be one of {words}")
        self._require(0 <= self.seed < 2**63, "seed must be 0 or more")
        self._require((self.epochs > 0) != (self.steps > 0), "one of epochs and steps must be positive, the other 0")
        self._require(min(self.epochs, self.steps) >= 0, "epochs and steps cannot be negative")
        self._require(self.labelled_batch >= 1, "labelled_batch must be 1 or more")
        self._require(self.unlabelled_batch >= 0, "unlabelled_batch must be 0 or more")
        self._require(0 < self.learning_rate < 100, "learning_rate must be above 0")
        self._require(0 <= self.momentum < 1, "momentum must be 0 to below 1")
        self._require(0 <= self.weight_decay < 1, "weight_decay must be 0 to below 1")
        self._require(self.warm_up_steps >= 0, "warm_up_steps must be 0 or more")
        self._require(self.gradient_clip >= 0, "gradient_clip must be 0 or more")
        self._require(0 <= self.weight_average < 1, "weight_average must be 0 to below 1")

    def step_count(self, labelled: int, unlabelled: int = 0, processes: int = 1) -> int:
        """Optimiser steps of the run.

        Args:
            labelled, unlabelled: how many items (cases, or images) of each there are.
            processes: how many processes share a step.
        """
        if self.steps:
            return self.steps
        counts = [(labelled, self.labelled_batch), (unlabelled, self.unlabelled_batch)]
        return self.epochs * max(math.ceil(items / (batch * processes)) for items, batch in counts if batch)


@dataclass(frozen=True, kw_only=True)
class _WithPeers(StageTraining):
    """Stages in which two networks may teach each other.

    Attributes:
        peers: 2 trains two networks, 1 a single one (which cannot learn from unlabelled cases).
        cross_pseudo_weight: of cross pseudo supervision (Chen et al. 2021), reached at the end of the run: it is ramped
            up by exp(-5 (1 - t)^2) over t = 0..1 (Laine and Aila 2017).
        cross_pseudo_on_labelled: the peers teach each other on labelled cases too (at half the weight, as released).
    """

    peers: int
    cross_pseudo_weight: float
    cross_pseudo_on_labelled: bool

    def _check(self) -> None:
        super()._check()
        self._require(self.peers in (1, 2), "peers must be 1 or 2")
        self._require(self.cross_pseudo_weight >= 0, "cross_pseudo_weight must be 0 or more")
        self._require(
            self.peers == 2 or self.unlabelled_batch == 0, "a single network learns nothing from unlabelled_batch"
        )

    def cross_pseudo_weight_at(self, step: int, steps: int) -> float:
        """The weight at `step` of `steps`."""
        remaining = 1.0 - min(1.0, step / max(1, steps))
        return self.cross_pseudo_weight * math.exp(-5.0 * remaining**2)


@dataclass(frozen=True, kw_only=True)
class SegmenterTraining(_WithPeers):
    """Bone masks on radiographs (U-Net).

    Attributes:
        crop_size: side of the random square crop, pixels; 0 takes the whole image.
        flips: mirror images left-right and up-down at random (bone or not knows no side).
        dice_weight: of the soft Dice loss beside the cross entropy.
        vertical_crop: smallest share of the rows that the collimator leaves open; 1 leaves all.
        standardisation: "robust" or "none", see `radiographs.standardise`.
    """

    title: ClassVar[str] = "segmenter settings"
    augmentations: ClassVar[tuple[bool | str, ...]] = (False, True, PHYSICS, MIXED)
    crop_size: int
    flips: bool
    dice_weight: float
    vertical_crop: float
    standardisation: str

    def _check(self) -> None:
        super()._check()
        self._one_of("standardisation", STANDARDISATIONS)
        self._require(self.crop_size >= 0, "crop_size must be 0 or more")
        self._require(self.dice_weight >= 0, "dice_weight must be 0 or more")
        self._share("vertical_crop")

    def network_config(self) -> SegmenterConfig:
        """The architecture."""
        return segmenter_config(self.architecture)

    def input_standardisation(self) -> dict[str, Any]:
        """What `ModelInput.standardisation` of the trained model says."""
        return dict(ROBUST) if self.standardisation == "robust" else {}


@dataclass(frozen=True, kw_only=True)
class _WithPoints(StageTraining):
    """Stages that classify points.

    Attributes:
        points: of a case in a step.
        near_share: share of them near surfaces, the others anywhere.
        outside_weight: weight of class 0 ("outside") in the cross entropy.
        class_weight_power: a bone weighs (largest count of a bone / its count) to this power; 0 weighs bones alike.
    """

    points: int
    near_share: float
    outside_weight: float
    class_weight_power: float

    def _check(self) -> None:
        super()._check()
        self._require(self.points >= 1, "points must be 1 or more")
        self._require(self.outside_weight > 0, "outside_weight must be above 0")
        self._require(0 <= self.class_weight_power <= 1, "class_weight_power must be 0 to 1")
        self._share("near_share")


@dataclass(frozen=True, kw_only=True)
class CtTraining(_WithPeers, _WithPoints):
    """The teacher: CT volume to bones (V-Net).

    Attributes:
        voxel_mm: working voxel to which volumes are resampled.
        window_low, window_high: HU that become 0 and 1.
        crop_share: side of the random crop, as a share of the volume's side along each axis.
        crop_limit: most voxels along a side of the crop; 0 does not limit it.
        flips: mirror crops along rows and columns at random; labels name bones, not sides, so that they stay right.
    """

    title: ClassVar[str] = "CT settings"
    voxel_mm: float
    window_low: float
    window_high: float
    crop_share: float
    crop_limit: int
    flips: bool

    def _check(self) -> None:
        super()._check()
        self._require(0.2 <= self.voxel_mm <= 10, "voxel_mm must be 0.2 to 10")
        self._require(self.window_low < self.window_high, "window_low must be below window_high")
        self._require(0 < self.crop_share <= 1, "crop_share must be above 0, to 1")
        self._require(self.crop_limit >= 0, "crop_limit must be 0 or more")

    def network_config(self) -> CtNetworkConfig:
        """The architecture."""
        return ct_config(self.architecture)


@dataclass(frozen=True, kw_only=True)
class XrayTraining(_WithPoints):
    """The student: radiographs to bones (stacked hourglasses).

    The four rows of the ablation are `pseudo_labels`, `distillation` and `enhancement` switched on one after another.

    Attributes:
        stack_weight_ratio: the loss of hourglass k weighs this to the power k (over the sum of the weights).
        pseudo_labels: learn from the teacher's labels of unlabelled cases.
        pseudo_weight: their weight w; labelled cases weigh 1 - w (1 without pseudo labels), as released.
        distillation: imitate the teacher's features by a learned 1x1 map (`kd_projection`), L1.
        distillation_weight: of that.
        distilled: "unlabelled" cases only, as released, or "both".
        distillation_points: how many of `points` carry teacher features in a case.
        enhancement: read the bone-enhanced image beside the plain one (two input channels); needs a segmenter.
        background_weight: of what the segmenter calls background in the enhanced image.
        intensity_scale: factor on the standardised image, last of all.
        vertical_crop: smallest share of the rows that the collimator leaves open; 1 leaves all.
        standardisation: "robust" or "none", see `radiographs.standardise`.
        channels_last: keep 2D weights with channels fastest: same numbers, faster on a CPU and with mixed precision.
    """

    title: ClassVar[str] = "X-ray settings"
    augmentations: ClassVar[tuple[bool | str, ...]] = (False, True, PHYSICS, MIXED)
    stack_weight_ratio: float
    pseudo_labels: bool
    pseudo_weight: float
    distillation: bool
    distillation_weight: float
    distilled: str
    distillation_points: int
    enhancement: bool
    background_weight: float
    intensity_scale: float
    vertical_crop: float
    standardisation: str
    channels_last: bool

    def _check(self) -> None:
        super()._check()
        self._one_of("distilled", DISTILLED)
        self._one_of("standardisation", STANDARDISATIONS)
        self._share("background_weight", "vertical_crop")
        self._require(self.stack_weight_ratio > 0, "stack_weight_ratio must be above 0")
        self._require(0 < self.pseudo_weight < 1, "pseudo_weight must be between 0 and 1")
        self._require(self.distillation_weight >= 0, "distillation_weight must be 0 or more")
        self._require(1 <= self.distillation_points <= self.points, "distillation_points must be 1 to points")
        self._require(self.intensity_scale > 0, "intensity_scale must be above 0")
        uses_unlabelled = self.pseudo_labels or (self.distillation and self.distilled == "unlabelled")
        self._require(
            self.unlabelled_batch > 0 or not uses_unlabelled,
            "pseudo labels, and distillation on unlabelled cases, need an unlabelled_batch of 1 or more",
        )

    def network_config(self) -> XrayNetworkConfig:
        """The architecture, with two input channels if and only if there is enhancement."""
        return replace(xray_config(self.architecture), input_channels=2 if self.enhancement else 1)

    def input_standardisation(self) -> dict[str, Any]:
        """What `ModelInput.standardisation` of the trained model says."""
        return dict(ROBUST) if self.standardisation == "robust" else {}

    @property
    def needs_teacher(self) -> bool:
        """Whether the teacher's outputs must lie beside the samples."""
        return self.pseudo_labels or self.distillation

    @property
    def uses_unlabelled(self) -> bool:
        """Whether unlabelled cases take part in a step."""
        return self.unlabelled_batch > 0 and self.needs_teacher
