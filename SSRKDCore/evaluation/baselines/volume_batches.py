"""Batches of the volume CNN: the student's radiographs, laid back into their cubes, and voxel labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.baselines.back_projection import back_projected
from SSRKDCore.evaluation.baselines.volume_settings import VolumeTraining
from SSRKDCore.evaluation.baselines.voxel_labels import VoxelLabels
from SSRKDCore.training.augmentation import augment, standardise_batch, vertical_crop
from SSRKDCore.training.case_batches import CaseBatches
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.xray_batches import collate

_LABELLED, _UNLABELLED, _RIG, _IMAGES = range(4)


class VolumeBatches(CaseBatches):
    """What a step sees: `labelled_batch` labelled cases, then `unlabelled_batch` unlabelled ones.

    Items of a batch (B cases, V views, S pixels, G voxels): volumes (B, V, G, G, G); labels (L, G, G, G) of the first L cases; and, with
    the reprojection loss, images (B, V, S, S), projections (B, V, 3, 4) and cubes (B, 4).

    Args:
        store: the samples. labels: of its labelled cases. cases: indices of the cases to train on.
        settings: what is learnt. steps: of the run.

    Raises:
        InputError: there are no cases of a kind that the settings need.
    """

    def __init__(
        self, store: SampleStore, labels: VoxelLabels, cases: Sequence[int], settings: VolumeTraining, steps: int
    ) -> None:
        super().__init__(store, cases, settings.seed, steps, settings.unlabelled_batch > 0)
        self.voxel_labels = labels
        self.settings = settings
        self.views = len(store.read(self.labelled[0], 0, teacher=False).images)

    def fingerprint(self) -> dict[str, Any]:
        return {**super().fingerprint(), "views": self.views}

    def batch(self, step: int) -> dict[str, Tensor]:
        settings = self.settings
        items = [self._item(self.labelled, _LABELLED, p) for p in self.positions(step, settings.labelled_batch)]
        if settings.unlabelled_batch:
            items += [
                self._item(self.unlabelled, _UNLABELLED, p) for p in self.positions(step, settings.unlabelled_batch)
            ]
        return collate(items)

    def _item(self, cases: Sequence[int], kind: int, position: int) -> dict[str, Tensor]:
        settings = self.settings
        case = cases[self.deal(position, len(cases), stream=kind)]
        rig = int(self.generator(_RIG, kind, position).integers(self.store.rigs_per_case))
        sample = self.store.read(case, rig, teacher=False)
        if len(sample.images) != self.views:
            raise InputError(f"{self.store.folder} holds cases of different numbers of views: make the samples again.")
        generator = self.torch_generator(_IMAGES, kind, position)
        images = torch.from_numpy(sample.images.astype(np.float32))
        coverage = torch.ones_like(images)
        if settings.augmentation:
            images, coverage = augment(images, generator)
        if settings.vertical_crop < 1:
            coverage = vertical_crop(coverage, generator, settings.vertical_crop, views=len(images))
        images = standardised(images, coverage, settings.input_standardisation())
        projections, cube = torch.from_numpy(sample.projections), torch.from_numpy(sample.cube)
        item = {"volumes": back_projected(images[None], projections[None], cube[None], settings.voxels)[0]}
        if settings.reprojection_weight > 0:
            item |= {"images": images, "projections": projections, "cubes": cube}
        if kind == _LABELLED:
            item["labels"] = torch.from_numpy(self.voxel_labels.read(case, rig).astype(np.int64))
        return item


def standardised(images: Tensor, coverage: Tensor, how: dict[str, Any]) -> Tensor:
    """Images (N, S, S) as the network reads them; 0 where nothing was covered."""
    return standardise_batch(images, coverage, how["low_percentile"], how["high_percentile"], how["limit"])
