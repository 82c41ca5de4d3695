"""Batches of the student: augmented, standardised radiographs with labelled or pseudo-labelled points of half the cases each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.errors import InputError
from SSRKDCore.networks.coordinates import normalised_coordinates
from SSRKDCore.training.augmentation import standardise_batch, vertical_crop
from SSRKDCore.training.case_batches import CaseBatches
from SSRKDCore.training.changed_images import changed_images
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, CaseSample, SampleStore
from SSRKDCore.training.settings import XrayTraining

_LABELLED, _UNLABELLED, _RIG, _POINTS, _IMAGES = range(5)


def project_points(points: Tensor, projections: Tensor, cube: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Normalised coordinates (B, V, N, 2) and relative depths (B, V, N) of points, in the precision of the arguments.

    Args:
        points: (B, N, 3) LPS mm. projections: (B, V, 3, 4), mm -> (row w, column w, w). cube: (B, 4), centre and size, mm.
        size: side of a network view, pixels.
    """
    homogeneous = torch.einsum("bvij,bnj->bvni", projections[..., :3], points) + projections[:, :, None, :, 3]
    depth = homogeneous[..., 2]
    pixels = homogeneous[..., :2] / depth[..., None]
    center_depth = torch.einsum("bvj,bj->bv", projections[:, :, 2, :3], cube[:, :3]) + projections[:, :, 2, 3]
    relative = (depth - center_depth[..., None]) / (cube[:, 3] / 2)[:, None, None]
    return normalised_coordinates(pixels, size, size), relative


class XrayBatches(CaseBatches):
    """What a step of the student sees: `labelled_batch` labelled cases, then `unlabelled_batch` unlabelled ones.

    Items of a batch (B cases, V views, S pixels, N points, the first D of which carry teacher features):
    images (B, V, S, S) standardised; coordinates (B, V, N, 2); depths (B, V, N); labels (B, N), the teacher's for
    unlabelled cases; with distillation, teacher_features (K, F, D) of the last K cases.

    Args:
        store: the samples. cases: indices of the cases to train on; which are labelled, the store says.
        settings: what is learnt. steps: of the run.

    Raises:
        InputError: there are no cases of a kind that the settings need, or a case lacks the teacher's outputs.
    """

    def __init__(self, store: SampleStore, cases: Sequence[int], settings: XrayTraining, steps: int) -> None:
        super().__init__(
            store,
            cases,
            settings.seed,
            steps,
            settings.uses_unlabelled,
            "switch pseudo_labels off and set distilled to both (or distillation off)",
        )
        self.settings = settings
        self.teachers = _teachers(store, self._taught_cases())
        self._check_first_sample()

    def _taught_cases(self) -> list[int]:
        if not self.settings.needs_teacher:
            return []
        both = self.settings.distillation and self.settings.distilled == "both"
        return [*(self.labelled if both else []), *self.unlabelled]

    def _check_first_sample(self) -> None:
        config = self.settings.network_config()
        size = config.input_size
        found = self.store.read(self.labelled[0], 0, teacher=False).images.shape
        if found[1:] != (size, size):
            raise InputError(
                f"The samples in {self.store.folder} have images of {found[1]} x {found[2]} pixels and the network"
                f" {self.settings.architecture!r} reads {size} x {size}: make the samples again at that size."
            )
        taught = self._taught_cases()
        if self.settings.distillation and taught:
            features = self.store.read(taught[0], 0).teacher_features
            width = 0 if features is None else features.shape[1]
            if width != config.kd_features:
                raise InputError(
                    f"The teacher's features are {width} numbers a point and the student compares {config.kd_features}:"
                    " use a teacher of the same preset."
                )

    def fingerprint(self) -> dict[str, Any]:
        return {**super().fingerprint(), "teachers": self.teachers}

    def batch(self, step: int) -> dict[str, Tensor]:
        settings = self.settings
        items = [
            self._item(self.labelled, _LABELLED, position) for position in self.positions(step, settings.labelled_batch)
        ]
        if settings.uses_unlabelled:
            positions = self.positions(step, settings.unlabelled_batch)
            items += [self._item(self.unlabelled, _UNLABELLED, position) for position in positions]
        return collate(items)

    def _item(self, cases: Sequence[int], kind: int, position: int) -> dict[str, Tensor]:
        generator = self.generator(_POINTS, kind, position)
        case = cases[self.deal(position, len(cases), stream=kind)]
        rig = int(self.generator(_RIG, kind, position).integers(self.store.rigs_per_case))
        labelled = kind == _LABELLED
        taught = self.settings.distillation and (not labelled or self.settings.distilled == "both")
        sample = self.store.read(case, rig, teacher=taught or not labelled)
        images = self._images(sample, self.torch_generator(_IMAGES, kind, position), labelled)
        return {"images": images, **point_item(sample, self.settings, taught, generator)}

    def _images(self, sample: CaseSample, generator: torch.Generator, labelled: bool) -> Tensor:
        """Standardised images (V, S, S), augmented where the settings say so."""
        images, coverage = changed_images(sample, slice(None), self.settings.augmentation, generator)
        if labelled and self.settings.vertical_crop < 1:
            coverage = vertical_crop(coverage, generator, self.settings.vertical_crop, views=len(images))
        return standardised(images, coverage, self.settings)


def standardised(images: Tensor, coverage: Tensor, settings: XrayTraining) -> Tensor:
    """Images (N, S, S) as the network reads them but for the intensity scale; 0 where nothing was covered."""
    how = settings.input_standardisation()
    if not how:
        return images * (coverage >= 0.5)
    return standardise_batch(images, coverage, how["low_percentile"], how["high_percentile"], how["limit"])


def point_item(
    sample: CaseSample, settings: XrayTraining, taught: bool, generator: np.random.Generator
) -> dict[str, Tensor]:
    """The points of one case: coordinates (V, N, 2), depths (V, N), labels (N,), teacher_features (F, D) if `taught`."""
    chosen = np.empty(0, np.int64)
    features: dict[str, Tensor] = {}
    if taught:
        assert sample.teacher_index is not None and sample.teacher_features is not None
        rows = _drawn(sample.teacher_index < sample.near, settings.distillation_points, settings.near_share, generator)
        chosen = sample.teacher_index[rows]
        features["teacher_features"] = torch.from_numpy(sample.teacher_features[rows].astype(np.float32).T.copy())
    near = np.arange(len(sample.points)) < sample.near
    others = _drawn(near, settings.points - len(chosen), settings.near_share, generator)
    chosen = np.concatenate([chosen, others])
    labels = sample.labels[chosen]
    unknown = labels == UNKNOWN_LABEL
    if unknown.any() and sample.teacher_logits is not None:
        labels = np.where(unknown, sample.teacher_logits[chosen].argmax(axis=1), labels)
    size = sample.images.shape[-1]
    coordinates, depths = project_points(
        torch.from_numpy(sample.points[chosen].astype(np.float64))[None],
        torch.from_numpy(sample.projections)[None],
        torch.from_numpy(sample.cube)[None],
        size,
    )
    return {
        "coordinates": coordinates[0].float(),
        "depths": depths[0].float(),
        "labels": torch.from_numpy(labels.astype(np.int64)),
        **features,
    }


def collate(items: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Items stacked along a new first axis; what only the last items have is stacked over those."""
    names = list(dict.fromkeys(name for item in items for name in item))
    return {name: torch.stack([item[name] for item in items if name in item]) for name in names}


def _drawn(near: NDArray[np.bool_], count: int, near_share: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """`count` indices, with replacement, `near_share` of them from where `near` is true; from all where a kind lacks."""
    close, far = np.flatnonzero(near), np.flatnonzero(~near)
    if not len(close) or not len(far):
        close = far = np.arange(len(near))
    wanted = round(count * near_share)
    return np.concatenate(
        [
            close[generator.integers(len(close), size=wanted)],
            far[generator.integers(len(far), size=count - wanted)],
        ]
    )


def _teachers(store: SampleStore, cases: Sequence[int]) -> list[str]:
    """The names of the teachers whose outputs lie beside the samples. Raises InputError when a case has none."""
    names = set()
    for case in cases:
        name = store.teacher_name(case)
        if name is None:
            raise InputError(
                f"The case {store.case_ids[case]} has no teacher outputs beside its samples in {store.folder}: name the"
                " CT model by --teacher, which writes them."
            )
        names.add(name)
    return sorted(names)
