"""Batches of the segmenter: augmented, standardised radiographs, and where bone casts its shadow on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from SSRKDCore.training.augmentation import standardise_batch, vertical_crop
from SSRKDCore.training.case_batches import CaseBatches
from SSRKDCore.training.changed_images import changed_images
from SSRKDCore.training.cross_pseudo import UNLABELLED
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, CaseSample, SampleStore
from SSRKDCore.training.settings import SegmenterTraining

_LABELLED, _UNLABELLED, _RIG, _IMAGE, _CROP = range(5)


class SegmenterBatches(CaseBatches):
    """What a step of the segmenter sees.

    Items of a batch (B images of S pixels a side): images (B, 1, S, S) as the network reads them; labels (B, S, S), 1 where bone casts
    its shadow and 255 where the collimator is closed, since nothing can be learnt there. "unlabelled_images" are those of cases
    without a reference.

    Args:
        store: the samples. cases: indices of the cases to train on.
        settings: what is learnt. steps: of the run.

    Raises:
        InputError: there are no cases of a kind that the settings need.
    """

    def __init__(self, store: SampleStore, cases: Sequence[int], settings: SegmenterTraining, steps: int) -> None:
        super().__init__(store, cases, settings.seed, steps, settings.unlabelled_batch > 0)
        self.settings = settings
        self.views = len(store.read(self.labelled[0], 0, teacher=False).images)

    def batch(self, step: int) -> dict[str, Tensor]:
        images, labels = self._part(self.labelled, _LABELLED, self.settings.labelled_batch, step)
        parts = {"images": images, "labels": labels}
        if self.settings.unlabelled_batch:
            images, _ = self._part(self.unlabelled, _UNLABELLED, self.settings.unlabelled_batch, step)
            parts[UNLABELLED + "images"] = images
        return parts

    def _part(self, cases: Sequence[int], kind: int, share: int, step: int) -> tuple[Tensor, Tensor]:
        items = [self._item(cases, kind, position) for position in self.positions(step, share)]
        images, labels = zip(*items, strict=True)
        return torch.stack(images), torch.stack(labels)

    def _item(self, cases: Sequence[int], kind: int, position: int) -> tuple[Tensor, Tensor]:
        """One image (1, S, S) and its labels (S, S); each view of a case is an item of its own."""
        card = self.deal(position, len(cases) * self.views, stream=kind)
        case, view = cases[card // self.views], card % self.views
        rig = int(self.generator(_RIG, kind, position).integers(self.store.rigs_per_case))
        sample = self.store.read(case, rig, teacher=False)
        randomness = self.torch_generator(_IMAGE, kind, position)
        image, coverage = changed_images(sample, slice(view, view + 1), self.settings.augmentation, randomness)
        coverage = vertical_crop(coverage, randomness, self.settings.vertical_crop)
        image = standardised(image, coverage, self.settings)
        labels = labels_of(sample, view, coverage[0])
        return _cropped_and_flipped(image, labels, self.settings, self.generator(_CROP, kind, position))


def standardised(images: Tensor, coverage: Tensor, settings: SegmenterTraining) -> Tensor:
    """Images (N, S, S) as the network reads them; 0 where nothing was covered."""
    how = settings.input_standardisation()
    if not how:
        return images * (coverage >= 0.5)
    return standardise_batch(images, coverage, how["low_percentile"], how["high_percentile"], how["limit"])


def labels_of(sample: CaseSample, view: int, coverage: Tensor) -> Tensor:
    """(S, S) int64: 1 bone, 0 none, 255 unknown (no reference, or not covered)."""
    if sample.bone_masks is None:
        return torch.full(coverage.shape, UNKNOWN_LABEL)
    masks = torch.from_numpy(sample.bone_masks[view].astype(np.int64))
    return masks.where(coverage >= 0.5, UNKNOWN_LABEL)


def _cropped_and_flipped(
    image: Tensor, labels: Tensor, settings: SegmenterTraining, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A random crop of an image (1, S, S) and its labels (S, S), mirrored at random; images smaller than the crop are padded with 0."""
    size = settings.crop_size
    if size:
        rows, columns = labels.shape
        room = [0, max(0, size - columns), 0, max(0, size - rows)]
        image, labels = functional.pad(image, room), functional.pad(labels, room, value=UNKNOWN_LABEL)
        top, left = (int(generator.integers(side - size + 1)) for side in labels.shape)
        image, labels = (part[..., top : top + size, left : left + size] for part in (image, labels))
    if settings.flips:
        for axis in (-2, -1):
            if generator.random() < 0.5:
                image, labels = image.flip(axis), labels.flip(axis)
    return image, labels
