"""What the volume CNN learns, and its values for a CPU and for the paper's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.standardise import ROBUST
from SSRKDCore.training.presets import xray_preset
from SSRKDCore.training.settings import StageTraining


@dataclass(frozen=True, kw_only=True)
class VolumeTraining(StageTraining):
    """Training of the volume CNN.

    Attributes:
        voxels: along each side of the cube, in and out.
        filters: of the network's first level. levels: how often it halves the volume.
        outside_weight: weight of class 0 ("outside") in the cross entropy; bones weigh 1.
        dice_weight: of the soft Dice loss of the bones beside the cross entropy.
        reprojection_weight: of the unsupervised loss: radiograph against the projection of the predicted bone, for unlabelled cases as
            well where `unlabelled_batch` is above 0; 0 leaves it out.
        vertical_crop: smallest share of the rows that the collimator leaves open; 1 leaves all.
    """

    title: ClassVar[str] = "volume CNN settings"
    voxels: int
    filters: int
    levels: int
    outside_weight: float
    dice_weight: float
    reprojection_weight: float
    vertical_crop: float

    def _check(self) -> None:
        super()._check()
        self._require(1 <= self.levels <= 6, "levels must be 1 to 6")
        self._require(
            8 <= self.voxels <= 256 and self.voxels % 2**self.levels == 0,
            "voxels must be 8 to 256 and a multiple of 2^levels",
        )
        self._require(self.filters >= 4 and self.filters % 4 == 0, "filters must be a multiple of 4")
        self._require(self.outside_weight > 0, "outside_weight must be above 0")
        self._require(self.dice_weight >= 0, "dice_weight must be 0 or more")
        self._require(self.reprojection_weight >= 0, "reprojection_weight must be 0 or more")
        self._require(
            self.unlabelled_batch == 0 or self.reprojection_weight > 0,
            "unlabelled cases teach through the reprojection loss alone: set reprojection_weight, or unlabelled_batch to 0",
        )
        self._share("vertical_crop")

    def input_standardisation(self) -> dict[str, Any]:
        """How images are standardised, as `ModelInput.standardisation` has it."""
        return dict(ROBUST)


_SIZES: dict[str, dict[str, Any]] = {
    "compact": {"voxels": 64, "filters": 8, "levels": 3},
    "paper": {"voxels": 128, "filters": 16, "levels": 4},
}


def volume_preset(name: str) -> VolumeTraining:
    """The settings of a preset: "compact" for a CPU, "paper" for a GPU (128^3 voxels, as published). What both methods share (optimiser,
    learning rate, steps, augmentation) is as the student's preset of that name has it. Raises InputError for another name.
    """
    if name not in _SIZES:
        raise InputError(f"There is no preset {name!r} of the volume CNN: use {' or '.join(_SIZES)}.")
    student = xray_preset(name)
    names = StageTraining.__dataclass_fields__
    shared = {key: value for key, value in student.to_dict().items() if key in names}
    return VolumeTraining.from_dict(
        {
            **shared,
            **_SIZES[name],
            "labelled_batch": student.labelled_batch + student.unlabelled_batch,
            "unlabelled_batch": 0,
            "outside_weight": 1.0,
            "dice_weight": 1.0,
            "reprojection_weight": 0.0,
            "vertical_crop": student.vertical_crop,
        }
    )
