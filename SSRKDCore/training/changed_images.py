"""The images of a case as the stages on radiographs learn from them: as they are, or changed as the setting `augmentation` says."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from SSRKDCore.training.augmentation import augment
from SSRKDCore.training.domain_randomisation import randomise_domain
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, CaseSample
from SSRKDCore.training.settings import MIXED, PHYSICS


def changed_images(
    sample: CaseSample, views: slice, augmentation: bool | str, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images of a sample and where they were exposed.

    Parameters
    ----------
    sample: line integrals of one case and rig. views: which of its views.
    augmentation: see `settings.StageTraining`. generator: source of all randomness.

    Returns images (V, S, S) float32, not yet standardised, and coverage (V, S, S), 1 where the collimator is open.
    """
    images = torch.from_numpy(sample.images[views].astype(np.float32))
    if augmentation == MIXED:
        augmentation = PHYSICS if float(torch.rand((), generator=generator)) < 0.5 else True
    if augmentation == PHYSICS:
        masks = known_bone(sample, views)
        return randomise_domain(images, generator, float(sample.cube[3]) / images.shape[-1], masks)
    return augment(images, generator) if augmentation else (images, torch.ones_like(images))


def known_bone(sample: CaseSample, views: slice) -> Tensor | None:
    """(V, S, S) where rays meet bone; None where not all of it is known, so that it is told from the image, as in unlabelled cases."""
    if sample.bone_masks is None or (sample.bone_masks[views] == UNKNOWN_LABEL).any():
        return None
    return torch.from_numpy(sample.bone_masks[views])
