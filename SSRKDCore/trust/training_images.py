"""Radiographs of training cases as a user would give them: a random room about the CT, and training's own changes to images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.surface import Surface
from SSRKDCore.training.augmentation import Augmentation, augment
from SSRKDCore.training.case_volume import CaseVolume, load_case_volume
from SSRKDCore.training.random_rigs import RigRanges, random_rig

#: Pixels along the side of the field of view, and how much wider than that the images are: the leg from skin to skin.
FIELD_PIXELS = 320
WIDER = 1.4
# Short scans are no property of radiographs, and a collimator's edge is read from the file, not seen.
_RANGES = RigRanges(cut_share=0.0, narrow_share=0.1)
_CHANGES = Augmentation(collimation_share=0.0)


@dataclass(frozen=True)
class TrainingExposure:
    """radiographs: of two views; rig: theirs; bones: the truth, LPS mm; side: "right" or "left"; changed: whether the images were."""

    radiographs: tuple[Radiograph, ...]
    rig: Rig
    bones: dict[str, Surface]
    side: str
    changed: bool


def training_exposure(folder: Path, generator: np.random.Generator, changed: bool) -> TrainingExposure:
    """One exposure of a training case in a random room (`training.random_rigs`).

    Parameters
    ----------
    folder: a case with a CT and a reference.
    generator: all randomness.
    changed: True applies `training.augmentation` with its own shares; False leaves the line integrals as they are.

    Raises InputError for a case that cannot be trained on.
    """
    volume = load_case_volume(folder, True)
    return exposure_of_volume(volume, generator, changed)


def exposure_of_volume(volume: CaseVolume, generator: np.random.Generator, changed: bool) -> TrainingExposure:
    """`training_exposure` of a case that is in memory."""
    room = random_rig(generator, _RANGES, FIELD_PIXELS, volume.center)
    room = replace(room, views=(_wider(room.views[0]), _wider(room.views[1])))
    images = volume.radiographs(room)
    if changed:
        images = _changed(images, generator)
    rig = Rig(room.views, room.cube, {"source": "random room"})
    radiographs = tuple(
        Radiograph(pixels=image, pixel_spacing=view.pixel_spacing, view=view.name, side=volume.case.side)
        for image, view in zip(images, room.views, strict=True)
    )
    return TrainingExposure(radiographs, rig, dict(volume.bones or {}), volume.case.side, changed)


def _wider(view: View) -> View:
    """The view with more pixels of the same size on every side."""
    margin = round((WIDER - 1.0) / 2 * view.rows)
    first = view.pixel_position(-margin, -margin)
    return replace(view, detector_origin=tuple(first), rows=view.rows + 2 * margin, columns=view.columns + 2 * margin)


def _changed(images: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    source = torch.Generator().manual_seed(int(generator.integers(2**31)))
    changed, _ = augment(torch.from_numpy(images), source, _CHANGES)
    return changed.numpy()
