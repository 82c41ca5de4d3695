"""Small networks under the name of the compact preset, and a small sample store of real cases: training in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_cases import write_knee_case

from SSRKDCore.networks import config
from SSRKDCore.training.make_samples import prepare_samples
from SSRKDCore.training.point_sampling import PointCounts
from SSRKDCore.training.presets import xray_preset
from SSRKDCore.training.random_rigs import RigRanges
from SSRKDCore.training.sample_settings import SampleSettings
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.settings import XrayTraining

IMAGE = 64
TEACHER = "teacher of the tests"
SAMPLES = SampleSettings(
    seed=3, rigs=2, image_size=IMAGE, rays=1, points=PointCounts(near=400, uniform=400), rig_ranges=RigRanges(cut_share=0.0)
)  # fmt: skip


def use_tiny_networks(patch: pytest.MonkeyPatch) -> None:
    """Until the patch is undone, "compact" is a network of a few thousand weights that reads 64 x 64 pixels."""
    xray = config.XrayNetworkConfig(
        input_size=IMAGE, input_channels=1, view_count=2, separate_encoders=True, stacks=2, features=16, hourglass_depth=1,
        stem_features=4, norm_groups=2, depth_per_view=True, classifier_hidden=(32, 16), kd_features=64, sampling="pixel_centres",
    )  # fmt: skip
    patch.setitem(config._XRAY_PRESETS, "compact", lambda: xray)
    patch.setitem(config._CT_PRESETS, "compact", lambda: config.CtNetworkConfig(1, 2, 64, (16,)))
    patch.setitem(config._SEGMENTER_PRESETS, "compact", lambda: config.SegmenterConfig(1, (4, 8), 2))


def write_cases(folder: Path, labelled: int = 4, unlabelled: int = 2) -> Path:
    """Knees of different sizes, left and right by turns, as case folders with a CT."""
    for index in range(labelled + unlabelled):
        side = ("right", "left")[index % 2]
        reference = "surfaces" if index < labelled else None
        write_knee_case(folder / f"case{index:05d}", side=side, reference=reference, size=0.9 + 0.03 * index)
    return folder


def write_store(folder: Path, cases: Path) -> SampleStore:
    return prepare_samples(sorted(cases.iterdir()), folder, SAMPLES)


def write_marked_teacher(store: SampleStore, cases: Sequence[int] | None = None) -> None:
    """Teacher outputs that tell where they come from: the features are the point in mm, the class follows from its height."""
    for case in range(len(store)) if cases is None else cases:
        outputs = {}
        for rig in range(store.rigs_per_case):
            points = store.read(case, rig, teacher=False).points
            index = np.random.default_rng([case, rig]).permutation(len(points))[:300]
            features = np.zeros((len(index), 64))
            features[:, :3] = points[index]
            outputs[rig] = {"logits": np.eye(5)[marked_class(points)], "features": features, "index": index}
        store.write_teacher(case, outputs, TEACHER)


def marked_class(points: Any) -> Any:
    return (np.floor(points[:, 2] / 20).astype(int)) % 5


def tiny_xray(**changes: Any) -> XrayTraining:
    """The compact student's settings, in float32 and few steps, without enhancement."""
    fast = {"steps": 8, "warm_up_steps": 2, "points": 200, "distillation_points": 60, "enhancement": False}
    return xray_preset("compact").changed({**fast, **changes})
