"""Batches of the CT teacher: crops of working volumes, and points in them.

The points are those of the sample store, so that the teacher learns where it will be asked: near surfaces and anywhere in the field
of view of a random rig.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from SSRKDCore.errors import InputError
from SSRKDCore.networks.vnet import SIZE_MULTIPLE
from SSRKDCore.training.case_batches import CaseBatches
from SSRKDCore.training.cross_pseudo import UNLABELLED
from SSRKDCore.training.ct_volume import VolumeStore, WorkingVolume, as_network_input, padded, volume_coordinates
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, CaseSample, SampleStore
from SSRKDCore.training.settings import CtTraining

Array = NDArray[np.float64]

_LABELLED, _UNLABELLED, _ITEM = range(3)
#: Sides of a crop in multiples: batch normalisation needs more than one voxel where the V-Net is coarsest.
_FEWEST = 2
# Of the values 0..1. Guesses of how scanners differ: at the published window 27 HU of noise, 27 HU of offset, 5 % of gain.
_NOISE, _OFFSET, _GAIN = 0.03, 0.03, 0.05


class _Item(NamedTuple):
    """A case of a batch: its volume, its points' continuous voxel indices (N, 3) [z, y, x], labels (N,), and which are near a surface."""

    volume: WorkingVolume
    indices: Array
    labels: NDArray[np.uint8]
    near: NDArray[np.bool_]
    generator: np.random.Generator


class CtBatches(CaseBatches):
    """What a step of the teacher sees.

    Items of a batch (B cases, N points): volumes [B, 1, D, H, W] 0..1; coordinates [B, 3, N] as `CtReconstructionNetwork` wants them;
    labels [B, N]. Names that begin with "unlabelled_" are those of the unlabelled cases, which have no labels.

    Args:
        store: the samples. volumes: the cases' working volumes, prepared. cases: indices of the cases to train on.
        settings: what is learnt. steps: of the run.

    Raises:
        InputError: there are no cases of a kind that the settings need.
    """

    def __init__(
        self, store: SampleStore, volumes: VolumeStore, cases: Sequence[int], settings: CtTraining, steps: int
    ) -> None:
        super().__init__(store, cases, settings.seed, steps, settings.unlabelled_batch > 0)
        self.volumes = volumes
        self.settings = settings

    def batch(self, step: int) -> dict[str, Tensor]:
        parts = self._part(self.labelled, _LABELLED, self.settings.labelled_batch, step)
        if self.settings.unlabelled_batch:
            others = self._part(self.unlabelled, _UNLABELLED, self.settings.unlabelled_batch, step)
            parts |= {UNLABELLED + name: value for name, value in others.items() if name != "labels"}
        return parts

    def _part(self, cases: Sequence[int], kind: int, share: int, step: int) -> dict[str, Tensor]:
        items = [self._item(cases, kind, position) for position in self.positions(step, share)]
        sides = crop_sides([item.volume for item in items], self.settings)
        crops = [random_crop(item, sides, self.settings) for item in items]
        volumes, coordinates, labels = (np.stack(column) for column in zip(*crops, strict=True))
        return {
            "volumes": torch.from_numpy(volumes[:, None]),
            "coordinates": torch.from_numpy(coordinates),
            "labels": torch.from_numpy(labels.astype(np.int64)),
        }

    def _item(self, cases: Sequence[int], kind: int, position: int) -> _Item:
        generator = self.generator(_ITEM, kind, position)
        case = cases[self.deal(position, len(cases), stream=kind)]
        sample = self.store.read(case, int(generator.integers(self.store.rigs_per_case)), teacher=False)
        volume = self.volumes.read(self.store.cases[case])
        indices, usable = usable_points(sample, volume, known=kind == _LABELLED)
        if not usable.any():
            raise InputError(
                f"The case {self.store.case_ids[case]} has no point inside its CT: correct the field of view of its rig, or leave it out."
            )
        near = np.arange(len(usable)) < sample.near
        return _Item(volume, indices[usable], sample.labels[usable], near[usable], generator)


def usable_points(sample: CaseSample, volume: WorkingVolume, known: bool) -> tuple[Array, NDArray[np.bool_]]:
    """Continuous voxel indices (N, 3) [z, y, x] of a sample's points, and which of them (N,) the teacher can learn from.

    Those inside the CT as the rig saw it: beyond a cut the label says "outside", and the whole CT goes on. known: only
    points whose label is known.
    """
    points = sample.points.astype(np.float64)
    low, high = volume.box
    usable: NDArray[np.bool_] = ((points >= low) & (points <= high)).all(axis=1)
    usable &= (points[:, 2] >= sample.scanned[0]) & (points[:, 2] <= sample.scanned[1])
    if known:
        usable &= sample.labels != UNKNOWN_LABEL
    return volume.grid.indices(points), usable


def crop_sides(volumes: Sequence[WorkingVolume], settings: CtTraining) -> tuple[int, int, int]:
    """Sides in voxels [z, y, x] of the crops of a batch: the share of its largest volume, in the multiples that the V-Net needs."""
    largest = np.max([volume.values.shape for volume in volumes], axis=0)
    limit = settings.crop_limit // SIZE_MULTIPLE if settings.crop_limit else largest.max()
    steps = [min(math.ceil(side * settings.crop_share / SIZE_MULTIPLE), limit) for side in largest]
    z, y, x = (int(max(count, _FEWEST)) * SIZE_MULTIPLE for count in steps)
    return z, y, x


def random_crop(
    item: _Item, sides: tuple[int, int, int], settings: CtTraining
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """A crop [z, y, x] 0..1 with some point of the case in it, network coordinates (3, N) of points of the crop, and their labels (N,).

    Flips along rows and columns are harmless as far as sides go, since labels name bones and not sides.
    """
    generator = item.generator
    values = padded(item.volume.values, sides)
    focus = item.indices[generator.integers(len(item.indices))]
    room = np.array(values.shape) - sides
    nearest = np.clip(np.ceil(focus).astype(int) - np.array(sides) + 1, 0, room)
    farthest = np.clip(np.floor(focus).astype(int), nearest, room)
    start = generator.integers(nearest, farthest, endpoint=True)
    crop = values[tuple(slice(first, first + side) for first, side in zip(start, sides, strict=True))]
    indices = item.indices - start
    # Half a voxel beyond the outer centres is still the crop's, but the network would see zeros there.
    inside = ((indices >= 0) & (indices <= np.array(sides) - 1)).all(axis=1)
    if not inside.any():
        # The focus lies in the outer half voxel of the CT.
        inside[np.abs(indices - (focus - start)).sum(axis=1).argmin()] = True
    chosen = _drawn(np.flatnonzero(inside), item.near, settings, generator)
    indices = np.clip(indices[chosen], 0, np.array(sides) - 1)
    image = as_network_input(crop)
    if settings.augmentation:
        image = _as_another_scanner(image, generator)
    if settings.flips:
        for axis in (1, 2):
            if generator.random() < 0.5:
                image = np.flip(image, axis)
                indices[:, axis] = sides[axis] - 1 - indices[:, axis]
    return np.ascontiguousarray(image), volume_coordinates(indices, sides), item.labels[chosen]


def _drawn(
    inside: NDArray[np.int64], near: NDArray[np.bool_], settings: CtTraining, generator: np.random.Generator
) -> NDArray[np.int64]:
    """`points` of the indices `inside`, with replacement, `near_share` of them near surfaces where there are any."""
    close, far = inside[near[inside]], inside[~near[inside]]
    if not len(close) or not len(far):
        close = far = inside
    count = round(settings.points * settings.near_share)
    draws = [(close, count), (far, settings.points - count)]
    return np.concatenate([group[generator.integers(len(group), size=size)] for group, size in draws])


def _as_another_scanner(image: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Noise, offset and gain of a volume 0..1; it stays in that range."""
    noise = generator.standard_normal(image.shape, dtype=np.float32) * np.float32(generator.uniform(0, _NOISE))
    gain, offset = generator.uniform(1 - _GAIN, 1 + _GAIN), generator.uniform(-_OFFSET, _OFFSET)
    return np.clip(image * np.float32(gain) + np.float32(offset) + noise, 0, 1)
