"""The record of a relative pose, in words that say which directions the images do not tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from SSRKDCore.geometry.calibration.calibration_record import CalibrationRecord
from SSRKDCore.geometry.calibration.magnification import COVERAGE_FACTOR
from SSRKDCore.geometry.calibration.pose_estimate import RelativePose
from SSRKDCore.geometry.calibration.pose_parameters import POSE_NAMES

_WORDS = {
    "turn_about_beam": "the second view's turn about its own beam",
    "turn_about_columns": "the second view's turn about its columns' direction",
    "turn_about_rows": "the angle between the two beams, about the rows' direction",
    "shift_along_beam": "the second view's distance along its beam (its magnification)",
    "shift_along_columns": "the second view's position along its columns (the knee's depth in the first view)",
    "shift_along_rows": "the second view's height",
}

# A turn about the beam that is no small error of how the rig was told.
_NOTICEABLE_TURN_DEGREES = 2.5

_BONES = {
    "reconstructed": "the bones' shape is the network's own reconstruction, open to errors of each bone",
    "shape_model": "the knee is shaped like those that the model's shape prior knows: a deformed one can pass for a turned view",
}


def pair_record(pose: RelativePose, images: Sequence[str | Path], warnings: Sequence[str]) -> CalibrationRecord:
    """The record of a pose between two images."""
    sd = pose.standard_uncertainty
    assumed = []
    for index, name in enumerate(POSE_NAMES):
        stem, unit = name.rsplit("_", 1)
        if name in pose.unknown:
            assumed.append(
                f"{_WORDS[stem]}: the images do not tell it, the rig's value is kept to {COVERAGE_FACTOR * sd[index]:.1f} "
                f"{unit} (95 %)"
            )
    assumed.append("the first view, both source-to-detector distances and pixel spacings are those of the rig")
    assumed.append("the knee did not bend between the two radiographs")
    if pose.bones in _BONES:
        assumed.append(_BONES[pose.bones])
    return CalibrationRecord(
        "pair",
        [str(path) for path in images],
        pose.to_dict(),
        {f"{name}_95": float(COVERAGE_FACTOR * value) for name, value in zip(POSE_NAMES, sd, strict=True)},
        assumed,
        [*warnings, *_bent(pose)],
    )


def _bent(pose: RelativePose) -> list[str]:
    """A sentence where the pose may be that of a knee which bent between the radiographs (docs/measured/bent_knees)."""
    index = POSE_NAMES.index("turn_about_beam_degrees")
    turn, known_to = abs(float(pose.pose[index])), COVERAGE_FACTOR * float(pose.standard_uncertainty[index])
    if turn < max(_NOTICEABLE_TURN_DEGREES, known_to):
        return []
    return [
        f"The second view is turned about its beam by {turn:.1f} degrees against the rig ({known_to:.1f} at 95 %): its detector was tilted "
        "or the leg leant over, or the knee was bent further between the exposures, by some three times as much, which looks alike. Of a "
        "bent knee believe each bone more than how the bones lie to one another."
    ]
