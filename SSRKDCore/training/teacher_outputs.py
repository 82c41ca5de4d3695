"""What the CT teacher says of the points of the sample store: class scores, and features that the student imitates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from SSRKDCore.errors import InputError
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.training.ct_batches import usable_points
from SSRKDCore.training.ct_volume import (
    VOLUME_FOLDER,
    VolumeInput,
    VolumeStore,
    WorkingVolume,
    as_network_input,
    padded,
    volume_coordinates,
)
from SSRKDCore.training.sample_store import CaseSample, SampleStore

#: Class scores of a point that is certainly outside: likelihood 1 - 4e-5 by softmax, and far from the largest float16.
_CERTAIN = 10.0


class VolumeFeatures:
    """A CT network's view of one volume; points are looked up in it.

    network: in eval mode, on its device. volume: what it reads.
    """

    def __init__(self, network: nn.Module, volume: WorkingVolume) -> None:
        self.network = network
        self.grid = volume.grid
        values = padded(volume.values)
        self.shape = values.shape
        self.device = next(network.parameters()).device
        with torch.inference_mode():
            image = torch.from_numpy(as_network_input(values))[None, None].to(self.device)
            self.features = network.encode(image)[-1]  # type: ignore[operator]  # of nn.Module

    @torch.inference_mode()
    def __call__(self, points: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Class scores (N, C) and features (N, F) of points (N, 3) in LPS mm; those outside the CT are judged as its nearest edge."""
        last = np.array(self.grid.shape) - 1
        indices = np.clip(self.grid.indices(points.astype(np.float64)), 0, last)
        coordinates = torch.from_numpy(volume_coordinates(indices, self.shape))[None].to(self.device)
        features = self.network.point_features(self.features, coordinates)  # type: ignore[operator]
        logits = self.network.classifier(features)  # type: ignore[operator]
        return logits[0].T.float().cpu().numpy(), features[0].T.float().cpu().numpy()


def point_answers(
    network: nn.Module, volume: WorkingVolume, points: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Class scores (N, C) and features (N, F) of points (N, 3) in LPS mm, by a CT network in eval mode."""
    return VolumeFeatures(network, volume)(points)


def write_teacher_outputs(
    teacher: Model,
    cases: Sequence[int],
    store: SampleStore,
    progress: Callable[[float, str], None] | None = None,
    feature_points: int = 2048,
) -> None:
    """Write the teacher's outputs for the cases that have none of this teacher yet; a call that was stopped goes on.

    Args:
        teacher: a model of kind "ct" that `ssrkd train ct` made, on the device that shall be used.
        cases: indices of cases of the store. store: the samples; working volumes are kept in its folder.
        progress: called with the fraction done and words; it may raise Cancelled.
        feature_points: points of a rig that carry features; the share of near ones is that among all points.

    Raises:
        InputError: the model is of another kind, or a case's CT cannot be read.
    """
    if teacher.kind != "ct":
        raise InputError(
            f"The model {teacher.name} is of kind {teacher.kind}, and the teacher is one of kind ct: name another."
        )
    volumes = VolumeStore(store.folder / VOLUME_FOLDER, VolumeInput.from_standardisation(teacher.standardisation))
    name = teacher_identity(teacher, feature_points)
    for done, index in enumerate(cases):
        if store.teacher_name(index) != name:
            _write_case(teacher, index, store, volumes, name, feature_points)
        if progress is not None:
            progress((done + 1) / len(cases), f"Teacher, case {done + 1} of {len(cases)}")


def _write_case(
    teacher: Model, index: int, store: SampleStore, volumes: VolumeStore, name: str, feature_points: int
) -> None:
    volumes.prepare([store.cases[index]])
    volume = volumes.read(store.cases[index])
    looked_up = VolumeFeatures(teacher.network, volume)
    outputs = {
        rig: _outputs(looked_up, volume, store.read(index, rig, teacher=False), feature_points)
        for rig in range(store.rigs_per_case)
    }
    store.write_teacher(index, outputs, name)


def teacher_identity(teacher: Model, feature_points: int) -> str:
    """What tells a teacher's outputs from another's: its name, the hash of its weights, and how many points carry features."""
    sha256 = str(teacher.card.get("weights", {}).get("sha256", ""))
    return f"{teacher.name} {sha256[:16]} {feature_points}"


def _outputs(
    looked_up: VolumeFeatures, volume: WorkingVolume, sample: CaseSample, feature_points: int
) -> dict[str, NDArray[Any]]:
    """Class scores and features of one rig's points: beyond what the rig's CT shows there is no bone, and nothing to imitate."""
    logits, features = looked_up(sample.points)
    _, seen = usable_points(sample, volume, known=False)
    logits[~seen] = -_CERTAIN
    logits[~seen, 0] = _CERTAIN
    index = spread(np.flatnonzero(seen), feature_points)
    return {"logits": logits, "features": features[index], "index": index}


def spread(candidates: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of the candidates (all, where there are fewer) at equal steps: points of a kind lie in random order, so it is a fair draw."""
    if len(candidates) <= count:
        return candidates
    return candidates[np.linspace(0, len(candidates) - 1, count).round().astype(np.int64)]
