"""Teacher outputs: each beside its own point, none beyond what a rig saw, written once, resumed after a stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import SAMPLES, use_tiny_networks, write_cases
from torch import Tensor, nn

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.grid import Grid
from SSRKDCore.networks.config import ct_config, segmenter_config
from SSRKDCore.networks.ct_network import CtReconstructionNetwork
from SSRKDCore.networks.model_folder import Model, ModelInput
from SSRKDCore.networks.unet import UNet
from SSRKDCore.training.ct_volume import VOLUME_FOLDER, VolumeInput, VolumeStore, WorkingVolume
from SSRKDCore.training.make_samples import prepare_samples
from SSRKDCore.training.random_rigs import RigRanges
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.teacher_outputs import point_answers, spread, write_teacher_outputs

WINDOW = VolumeInput(4.0, -400.0, 500.0)


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        yield


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cases(tmp_path_factory.mktemp("teacher") / "cases", 2, 1)


@pytest.fixture
def store(cases: Path, tmp_path: Path) -> SampleStore:
    """Every rig sees a CT that is cut short."""
    settings = replace(SAMPLES, rig_ranges=RigRanges(cut_share=1.0, cut_distance=(20.0, 40.0)))
    return prepare_samples(sorted(cases.iterdir()), tmp_path / "samples", settings)


class _Echo(nn.Module):
    """A network whose features are the CT's own values and positions, so that what comes out tells where it was looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.calls = 0

    def encode(self, volumes: Tensor) -> list[Tensor]:
        self.calls += 1
        steps = [torch.arange(n, dtype=torch.float32) for n in volumes.shape[2:]]
        return [torch.cat([volumes, torch.stack(torch.meshgrid(*steps, indexing="ij"))[None]], dim=1)]

    def point_features(self, feature_volume: Tensor, coordinates: Tensor) -> Tensor:
        return CtReconstructionNetwork.point_features(self, feature_volume, coordinates)  # type: ignore[arg-type]

    def classifier(self, features: Tensor) -> Tensor:
        bone = (features[:, :1] - 0.7) * 100
        return torch.cat([-bone, bone, bone - 1, bone - 1, bone - 1], dim=1)


def echo_teacher(sha256: str = "1" * 64) -> Model:
    return Model(
        _Echo().eval(), ct_config("compact"), "ct", "echo", Path(), {"weights": {"sha256": sha256}},
        ModelInput(standardisation=WINDOW.to_standardisation()),
    )  # fmt: skip


def test_answers_belong_to_their_points_and_the_ct_is_windowed() -> None:
    grid = Grid((-30.0, 10.0, 5.0), (4.0, 4.0, 4.0), (20, 17, 35))
    values = np.random.default_rng(0).integers(0, 256, grid.shape, dtype=np.uint8)
    nz, ny, nx = (np.random.default_rng(1).integers(0, n, 50) for n in grid.shape)
    logits, features = point_answers(_Echo(), WorkingVolume(values, grid), grid.points(nz, ny, nx))
    assert logits.shape == (50, 5) and features.shape == (50, 4)
    np.testing.assert_allclose(features[:, 1:], np.stack([nz, ny, nx], axis=1), atol=1e-3)
    np.testing.assert_allclose(features[:, 0], values[nz, ny, nx] / 255, atol=1e-3)
    outside, _ = point_answers(_Echo(), WorkingVolume(values, grid), np.array([[-500.0, 10.0, 5.0]]))
    np.testing.assert_allclose(outside[0, 1], (values[0, 0, 0] / 255 - 0.7) * 100, atol=1e-2)


def test_outputs_lie_beside_their_points_and_nothing_is_beyond_a_cut(store: SampleStore) -> None:
    write_teacher_outputs(echo_teacher(), range(len(store)), store, feature_points=200)
    volumes = VolumeStore(store.folder / VOLUME_FOLDER, WINDOW)
    beyond_any = False
    for case in range(len(store)):
        volume = volumes.read(store.cases[case])
        for rig in range(store.rigs_per_case):
            sample = store.read(case, rig)
            assert sample.teacher_logits is not None and sample.teacher_index is not None
            assert sample.teacher_features is not None and sample.teacher_features.shape == (200, 4)
            low, high = volume.box
            seen = ((sample.points >= low) & (sample.points <= high)).all(axis=1)
            seen &= (sample.points[:, 2] >= sample.scanned[0]) & (sample.points[:, 2] <= sample.scanned[1])
            assert not seen.all()
            assert (sample.teacher_logits[~seen].argmax(axis=1) == 0).all()
            assert np.isfinite(sample.teacher_logits).all()
            assert seen[sample.teacher_index].all() and len(set(sample.teacher_index.tolist())) == 200
            indices = volume.grid.indices(sample.points[sample.teacher_index].astype(np.float64))
            # float16 holds indices of some tens to 0.02; half a voxel at the rim is judged as the edge.
            np.testing.assert_allclose(sample.teacher_features[:, 1:], np.clip(indices, 0, None), atol=0.55)
            middle = ((indices > 0) & (indices < np.array(volume.grid.shape) - 1)).all(axis=1)
            np.testing.assert_allclose(sample.teacher_features[middle, 1:], indices[middle], atol=0.03)
            near = sample.teacher_index < sample.near
            assert near.any() and not near.all()
            # Dense points of the CT beyond the cut would be bone to this teacher.
            everything, _ = point_answers(echo_teacher().network, volume, sample.points)
            beyond_any |= bool((everything[~seen].argmax(axis=1) > 0).any())
    assert beyond_any


def test_each_case_is_asked_once_and_a_stopped_run_goes_on(store: SampleStore) -> None:
    teacher = echo_teacher()
    asked = teacher.network

    def stop(fraction: float, words: str) -> None:
        if fraction > 0.5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        write_teacher_outputs(teacher, range(len(store)), store, stop, 100)
    assert asked.calls == 2
    steps: list[float] = []
    write_teacher_outputs(teacher, range(len(store)), store, lambda fraction, words: steps.append(fraction), 100)
    assert asked.calls == 3 and steps == pytest.approx([1 / 3, 2 / 3, 1])
    write_teacher_outputs(teacher, range(len(store)), store, feature_points=100)
    assert asked.calls == 3
    other = echo_teacher("2" * 64)
    write_teacher_outputs(other, [0], store, feature_points=100)
    assert other.network.calls == 1, "another teacher's outputs are not taken for this one's"
    assert store.teacher_name(0) != store.teacher_name(1)


def test_only_a_teacher_that_says_how_it_reads_a_ct_is_taken(store: SampleStore) -> None:
    imported = replace(echo_teacher(), input=ModelInput())
    with pytest.raises(InputError, match="ssrkd train ct"):
        write_teacher_outputs(imported, [0], store)
    segmenter = Model(
        UNet(segmenter_config("compact")), segmenter_config("compact"), "segmenter", "s", Path(), {}, ModelInput()
    )
    with pytest.raises(InputError, match="of kind segmenter"):
        write_teacher_outputs(segmenter, [0], store)


def test_a_real_network_gives_the_features_that_the_student_imitates(store: SampleStore) -> None:
    torch.manual_seed(0)
    network: Any = CtReconstructionNetwork(ct_config("compact")).eval()
    teacher = replace(echo_teacher(), network=network)
    write_teacher_outputs(teacher, [2], store, feature_points=50)
    sample = store.read(2, 1)
    assert sample.teacher_features is not None and sample.teacher_features.shape == (50, 64)
    assert sample.teacher_logits is not None and len(sample.teacher_logits) == len(sample.points)


def test_points_that_carry_features_are_spread_over_all() -> None:
    assert spread(np.array([3, 5]), 10).tolist() == [3, 5]
    chosen = spread(np.arange(100, 1100), 200)
    assert len(set(chosen.tolist())) == 200 and chosen[0] == 100 and chosen[-1] == 1099
    assert abs((chosen < 600).mean() - 0.5) < 0.02
