"""Batches of fine-tuning: a site's own radiographs, with what the detector did not see left out as in reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.networks.model_folder import Model
from SSRKDCore.training.augmentation import Augmentation, augment, vertical_crop
from SSRKDCore.training.finetune_samples import read_coverage
from SSRKDCore.training.finetune_settings import FinetuneTraining
from SSRKDCore.training.initial_weights import ContinuedBatches
from SSRKDCore.training.sample_store import CaseSample, SampleStore
from SSRKDCore.training.settings import XrayTraining
from SSRKDCore.training.xray_batches import XrayBatches, collate, point_item, standardised
from SSRKDCore.training.xray_stage import HeldOutPoints, XrayStage

#: Real images carry their room's scatter, blur and noise already: less is added than to simulated ones. Guesses.
OWN_IMAGES = Augmentation(
    marker_share=0.1,
    scatter_share=0.2,
    scatter=(0.0, 0.2),
    blur_share=0.3,
    blur=(0.2, 0.8),
    photons=(2e4, 1e6),
    grain_share=0.2,
    shade_share=0.3,
    shade=(0.0, 0.2),
    curve_share=0.3,
    curve_low=(0.0, 0.2),
    curve_high=(0.9, 1.0),
    gamma=(0.75, 1.35),
    contrast_share=0.2,
    contrast=(0.1, 0.6),
    collimation_share=0.2,
    collimation=(0.0, 0.08),
)


class RadiographBatches(ContinuedBatches):
    """`XrayBatches` over the samples of `prepare_radiograph_samples`; only pixels that the detector saw are read.

    Args:
        own: the model's own samples, whose labelled cases stand beside the site's in every step; None where there are none. The others
            as in `ContinuedBatches`.
    """

    def __init__(
        self,
        store: SampleStore,
        cases: Sequence[int],
        settings: FinetuneTraining,
        steps: int,
        initial: Model,
        own: SampleStore | None = None,
    ) -> None:
        super().__init__(store, cases, settings, steps, initial)
        self.labelled_batch = settings.labelled_batch
        self.rehearsed: XrayBatches | None = None
        if own is not None:
            alone = {"labelled_batch": settings.rehearsed_batch, "unlabelled_batch": 0, "pseudo_labels": False}
            labelled = [index for index in range(len(own)) if own.labelled[index]]
            self.rehearsed = XrayBatches(own, labelled, settings.changed(alone), steps)

    def fingerprint(self) -> dict[str, Any]:
        found = super().fingerprint()
        return found if self.rehearsed is None else {**found, "rehearsed": self.rehearsed.fingerprint()["samples"]}

    def batch(self, step: int) -> dict[str, Tensor]:
        found = super().batch(step)
        if self.rehearsed is None:
            return found
        # Labelled cases come first.
        first, beside = self.labelled_batch, self.rehearsed.batch(step)
        return {name: torch.cat([value[:first], beside[name], value[first:]]) for name, value in found.items()}

    def _images(self, sample: CaseSample, generator: torch.Generator, labelled: bool) -> Tensor:
        images, coverage = filled_images(self.store, sample)
        if self.settings.augmentation:
            images, opened = augment(images, generator, OWN_IMAGES)
            coverage = coverage * opened
        if labelled and self.settings.vertical_crop < 1:
            coverage = vertical_crop(coverage, generator, self.settings.vertical_crop, views=len(images))
        return standardised(images, coverage, self.settings)


def filled_images(store: SampleStore, sample: CaseSample) -> tuple[Tensor, Tensor]:
    """Images (V, S, S) and coverage (V, S, S) of a sample; what was not seen has the median of what was, so that blur
    and display curves meet no edge there.
    """
    seen = read_coverage(store, store.case_ids.index(sample.case_id), sample.rig_index)
    images = sample.images.astype(np.float32)
    for image, mask in zip(images, seen, strict=True):
        image[mask == 0] = np.median(image[mask > 0])
    return torch.from_numpy(images), torch.from_numpy(seen.astype(np.float32))


class StoppingPoints(HeldOutPoints):
    """Share of wrong points of the cases that decide when to stop, on plain images and fixed points.

    Args:
        store: of `prepare_radiograph_samples`. cases: indices of labelled cases. settings: of the run.
    """

    def __init__(self, store: SampleStore, cases: list[int], settings: XrayTraining) -> None:
        super().__init__(store, cases, settings)
        self._seed = settings.seed

    def _wrong(self, module: XrayStage, case: int, rig: int) -> Tensor:
        sample = self.store.read(case, rig, teacher=False)
        images, coverage = filled_images(self.store, sample)
        item = point_item(sample, self.settings, False, np.random.default_rng([self._seed, case, rig]))
        item["images"] = standardised(images, coverage, self.settings)
        batch = {name: value.to(module.device) for name, value in collate([item]).items()}
        return _wrong_of_known(module, batch)


def _wrong_of_known(module: XrayStage, batch: dict[str, Tensor]) -> Tensor:
    """(N,) 1 where a point is put into the wrong class; points of which nothing is known count as right."""
    labels: NDArray[np.int64] = batch["labels"][0].cpu().numpy()
    said = module.answer(batch).logits[-1].argmax(dim=1)[0].cpu()
    known = torch.from_numpy(labels < module.network.config.class_count)
    return ((said != torch.from_numpy(labels)) & known).float()
