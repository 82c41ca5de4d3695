"""The CT teacher: volumes and points that lie where they should, what a step loses, and a whole run from cases to a model folder."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import use_tiny_networks, write_cases, write_store
from torch.nn import functional
from training_cases import write_knee_case

from SSRKDCore.errors import InputError
from SSRKDCore.grid import Grid
from SSRKDCore.networks.coordinates import sample_feature_volume
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.training import ct_batches
from SSRKDCore.training.cross_pseudo import cross_entropy, cross_pseudo_loss, make_peers
from SSRKDCore.training.ct_batches import CtBatches, crop_sides
from SSRKDCore.training.ct_stage import CtStage, HeldOutVolumes, train_ct
from SSRKDCore.training.ct_volume import (
    VOLUME_FOLDER,
    VolumeInput,
    VolumeStore,
    WorkingVolume,
    padded,
    volume_coordinates,
    working_volume,
)
from SSRKDCore.training.presets import ct_preset
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, SampleStore, StoredCase
from SSRKDCore.training.settings import CtTraining, RunSettings
from SSRKDCore.training.stage_job import StageJob

WINDOW = VolumeInput(4.0, -400.0, 500.0)


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    folder = tmp_path_factory.mktemp("ct")
    return write_store(folder / "samples", write_cases(folder / "cases"))


@pytest.fixture(scope="module")
def volumes(store: SampleStore) -> VolumeStore:
    result = VolumeStore(store.folder / VOLUME_FOLDER, WINDOW)
    result.prepare(store.cases)
    return result


def tiny_ct(**changes: object) -> CtTraining:
    fast = {"steps": 6, "warm_up_steps": 2, "points": 150, "voxel_mm": 4.0, "crop_limit": 32, "weight_average": 0.5}
    return ct_preset("compact").changed({**fast, **changes})


def position_volume(grid: Grid) -> np.ndarray:
    """[3, z, y, x]: every voxel's own position (x, y, z) in mm."""
    z, y, x = np.meshgrid(*grid.axes[::-1], indexing="ij")
    return np.stack([x, y, z]).astype(np.float32)


def test_points_are_looked_up_at_their_own_voxels_in_a_padded_volume() -> None:
    grid = Grid((-31.0, 12.0, 100.0), (1.5, 2.0, 2.5), (20, 33, 41))
    points = np.random.default_rng(0).uniform(grid.bounds[0] + 2, grid.bounds[1] - 2, (200, 3))
    fields = np.stack([padded(values) for values in position_volume(grid)])
    assert fields.shape == (3, 32, 48, 48)
    coordinates = torch.from_numpy(volume_coordinates(grid.indices(points), fields.shape[1:]))[None]
    found = sample_feature_volume(torch.from_numpy(fields)[None], coordinates)[0].T.numpy()
    np.testing.assert_allclose(found, points, atol=1e-3)


def test_a_working_volume_keeps_places_and_levels() -> None:
    fine = Grid((-40.0, -30.0, -50.0), (0.8, 1.0, 1.25), (80, 60, 100))
    x, y, z = position_volume(fine)
    made = working_volume(x * 3 + y * 2 - z, fine, VolumeInput(2.0, -400.0, 500.0))
    assert made.grid.spacing == (2.0, 2.0, 2.0)
    np.testing.assert_allclose(made.grid.bounds, fine.bounds, atol=1.0)
    x, y, z = position_volume(made.grid)
    expected = (x * 3 + y * 2 - z + 400) / 900 * 255
    inside = np.s_[2:-2, 2:-2, 2:-2]
    # Linear values survive a symmetric filter; what is left is rounding to whole levels and the sampling of the filter.
    np.testing.assert_allclose(made.values[inside], expected[inside], atol=0.8)
    finer = working_volume(
        np.full((4, 4, 4), 200), Grid((0, 0, 0), (3.0, 3.0, 3.0), (4, 4, 4)), VolumeInput(1.0, -400, 500)
    )
    assert finer.values.shape == (12, 12, 12) and (finer.values == round(600 / 900 * 255)).all()


def test_metal_and_air_end_at_the_window() -> None:
    made = working_volume(
        np.array([[[-3000, 30000]]]), Grid((0, 0, 0), (1, 1, 1), (1, 1, 2)), VolumeInput(1.0, -400, 500)
    )
    assert made.values.tolist() == [[[0, 255]]]


def test_volumes_are_kept_and_made_again_when_the_ct_or_the_window_changes(tmp_path: Path) -> None:
    cases = [StoredCase("knee", "knee.npz", True, write_knee_case(tmp_path / "knee"))]
    folder = tmp_path / "volumes"
    VolumeStore(folder, WINDOW).prepare(cases)
    path = folder / cases[0].file
    before = path.stat().st_mtime_ns
    VolumeStore(folder, WINDOW).prepare(cases)
    assert path.stat().st_mtime_ns == before
    other = VolumeStore(folder, VolumeInput(4.0, 0.0, 500.0))
    other.prepare(cases)
    assert path.stat().st_mtime_ns != before
    assert (other.read(cases[0]).values == 0).mean() > 0.3
    path.write_bytes(b"damaged")
    with pytest.raises(InputError, match="missing or damaged"):
        other.read(cases[0])
    other.prepare(cases)
    assert other.read(cases[0]).values.shape == (42, 33, 33)
    (cases[0].folder / "ct.nrrd").unlink()
    with pytest.raises(InputError, match="ct"):
        other.prepare(cases)


def test_a_model_that_does_not_say_how_volumes_are_prepared_is_no_teacher() -> None:
    assert VolumeInput.from_standardisation(WINDOW.to_standardisation()) == WINDOW
    for values in ({}, {"method": "robust"}, {**WINDOW.to_standardisation(), "window_low": 900}):
        with pytest.raises(InputError, match="ssrkd train ct"):
            VolumeInput.from_standardisation(values)


@pytest.mark.parametrize("flips", [False, True])
def test_crops_and_flips_move_points_with_their_voxels(flips: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value of the volume says which of four slabs along an axis it is in: so must the points' labels."""
    grid = Grid((-80.0, -60.0, -90.0), (4.0, 4.0, 4.0), (50, 31, 40))
    settings = tiny_ct(flips=flips, augmentation=False, points=300)
    generator = np.random.default_rng(5)
    for axis, name in enumerate("zyx"):
        indices = generator.uniform(0, np.array(grid.shape) - 1, (3000, 3))
        slab = np.arange(grid.shape[axis]) // 4
        values = np.broadcast_to(
            (slab * 16).astype(np.uint8).reshape([-1 if a == axis else 1 for a in range(3)]), grid.shape
        )
        # Points between two slabs would be between two values.
        whole = np.rint(indices[:, axis]).astype(int)
        indices[:, axis] = whole
        item = ct_batches._Item(
            WorkingVolume(values, grid), indices, slab[whole].astype(np.uint8), np.arange(3000) < 900, generator
        )
        for _ in range(6):
            image, coordinates, labels = ct_batches.random_crop(item, (16, 16, 32), settings)
            assert image.shape == (16, 16, 32) and coordinates.shape == (3, 300)
            assert np.abs(coordinates).max() <= 1
            looked_up = sample_feature_volume(torch.from_numpy(image)[None, None], torch.from_numpy(coordinates)[None])
            np.testing.assert_allclose(looked_up[0, 0] * 255 / 16, labels, atol=1e-3, err_msg=name)


def test_half_of_the_points_are_near_and_those_beyond_a_cut_are_left_out(
    store: SampleStore, volumes: VolumeStore
) -> None:
    sample = store.read(0, 0)
    volume = volumes.read(store.cases[0])
    _, usable = ct_batches.usable_points(sample, volume, known=True)
    low, high = volume.box
    np.testing.assert_array_equal(usable, ((sample.points >= low) & (sample.points <= high)).all(axis=1))
    assert usable[: sample.near].all() and not usable.all()
    cut = replace(sample, scanned=np.array([-10.0, 20.0]), labels=np.where(np.arange(800) < 100, 255, sample.labels))
    _, usable = ct_batches.usable_points(cut, volume, known=True)
    kept = sample.points[usable]
    assert usable[100:].any() and not usable[:100].any()
    assert kept[:, 2].min() >= -10 and kept[:, 2].max() <= 20
    _, unlabelled = ct_batches.usable_points(cut, volume, known=False)
    assert unlabelled[:100].any()


def test_a_step_depends_on_its_number_alone_and_sees_labelled_and_unlabelled_cases(
    store: SampleStore, volumes: VolumeStore
) -> None:
    settings = tiny_ct(labelled_batch=2, unlabelled_batch=1)
    batches = CtBatches(store, volumes, range(len(store)), settings, 6)
    first, again = batches[3], CtBatches(store, volumes, range(len(store)), settings, 6)[3]
    assert sorted(first) == ["coordinates", "labels", "unlabelled_coordinates", "unlabelled_volumes", "volumes"]
    assert first["volumes"].shape == (2, 1, 32, 32, 32) and first["unlabelled_volumes"].shape[0] == 1
    assert first["labels"].max() <= 4 and first["coordinates"].shape == (2, 3, 150)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["volumes"], batches[4]["volumes"])
    assert len(set(batches.fingerprint()["labelled"])) == 4 and len(batches.fingerprint()["unlabelled"]) == 2
    counts = batches.class_counts()
    assert counts[0] > counts[1:].max() > 0
    with pytest.raises(InputError, match="no unlabelled case"):
        CtBatches(store, volumes, [0, 1], settings, 6)
    with pytest.raises(InputError, match="no labelled case"):
        CtBatches(store, volumes, [4, 5], settings, 6)


def test_crops_take_the_share_of_the_side_that_was_asked_for() -> None:
    volume = WorkingVolume(np.zeros((140, 90, 60), np.uint8), Grid((0, 0, 0), (2, 2, 2), (140, 90, 60)))
    assert crop_sides([volume], tiny_ct(crop_share=0.5, crop_limit=0)) == (80, 48, 32)
    assert crop_sides([volume], tiny_ct(crop_share=1.0, crop_limit=64)) == (64, 64, 64)
    assert crop_sides([volume], tiny_ct(crop_share=0.01, crop_limit=40)) == (32, 32, 32)


def test_unknown_labels_teach_nothing_and_every_case_counts_the_same() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 40, generator=generator, requires_grad=True)
    labels = torch.randint(0, 3, (2, 40), generator=generator)
    labels[0, 5:] = UNKNOWN_LABEL
    weights = torch.tensor([1.5, 1.0, 2.0])
    expected = [
        functional.cross_entropy(logits[i : i + 1], labels[i : i + 1], weights, ignore_index=255) for i in (0, 1)
    ]
    loss = cross_entropy([logits, logits], labels, weights)
    torch.testing.assert_close(loss, torch.stack(expected).mean())
    loss.backward()
    assert logits.grad is not None and not logits.grad[0, :, 5:].any() and logits.grad[0, :, :5].any()
    assert float(cross_entropy([logits.detach()], torch.full((2, 40), UNKNOWN_LABEL), weights)) == 0


def test_each_peer_learns_from_the_other_and_not_from_itself() -> None:
    """Sure and opposite peers: the gradient pulls each towards the other's class; peers that agree are left alone."""
    first = torch.tensor([[[4.0], [-4.0]]], requires_grad=True)
    second = torch.tensor([[[-4.0], [4.0]]], requires_grad=True)
    loss = cross_pseudo_loss([[first], [second]], torch.ones(2))
    loss.backward()
    assert loss.item() == pytest.approx(16.0, abs=0.01)
    assert first.grad is not None and second.grad is not None
    assert first.grad[0, 1, 0] < -0.9 and second.grad[0, 0, 0] < -0.9
    assert float(cross_pseudo_loss([[first], [first]], torch.ones(2))) < 0.01


def test_peers_start_from_different_weights() -> None:
    peers = make_peers(lambda: torch.nn.Conv2d(3, 4, 3), 2)
    assert len(peers) == 2 and not torch.equal(peers[0].weight, peers[1].weight)
    assert len(make_peers(lambda: torch.nn.Conv2d(3, 4, 3), 1)) == 1


def test_the_loss_has_its_parts_with_their_weights(
    store: SampleStore, volumes: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_ct(cross_pseudo_weight=0.1)
    batches = CtBatches(store, volumes, range(6), settings, 6)
    for on_labelled in (False, True):
        stage = CtStage(settings.changed({"cross_pseudo_on_labelled": on_labelled}), 6, batches.class_counts()).train()
        monkeypatch.setattr(CtStage, "global_step", 6)
        batch = batches[0]
        labelled, unlabelled = [
            [
                stage.heads(peer, {"volumes": batch[f"{part}volumes"], "coordinates": batch[f"{part}coordinates"]})
                for peer in stage.peers
            ]
            for part in ("", "unlabelled_")
        ]
        assert all(len(heads) == 4 for heads in labelled)
        supervised = sum(cross_entropy(heads, batch["labels"], stage.class_weights) for heads in labelled)
        cross = [cross_pseudo_loss(part, stage.class_weights) for part in (labelled, unlabelled)]
        expected = supervised + (0.05 * (cross[0] + cross[1]) if on_labelled else 0.1 * cross[1])
        torch.testing.assert_close(stage.training_step(batch, 0)["loss"], expected, rtol=1e-4, atol=1e-4)


def test_a_run_learns_writes_both_peers_and_measures_whole_volumes(store: SampleStore, tmp_path: Path) -> None:
    run = RunSettings(accelerator="cpu", threads=1, progress=False, validation_steps=0, log_steps=1)
    settings = tiny_ct(steps=12, learning_rate=0.01, warm_up_steps=1, weight_average=0.8)
    job = StageJob(store, [0, 1, 2, 4, 5], [3], settings, run, tmp_path / "run", "teacher", "CC0-1.0")
    model = load_model(train_ct(job))
    other = load_model(tmp_path / "run" / "peer_b")
    assert model.kind == "ct" and model.name == "teacher" and other.name == "teacher, peer B"
    assert VolumeInput.from_standardisation(model.standardisation) == WINDOW
    assert any(
        not torch.equal(a, b) for a, b in zip(model.network.parameters(), other.network.parameters(), strict=True)
    )
    with (tmp_path / "run" / "log.csv").open() as file:
        losses = [float(row["loss_labelled"]) for row in csv.DictReader(file) if row["loss_labelled"]]
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    measured = model.card["training"]["validation"]
    # Of a few hundred points anywhere, none may lie in the patella: then its Dice is left out.
    assert {"held_out_wrong_near", "held_out_dice_femur", "held_out_dice_tibia"} <= set(measured)
    again = HeldOutVolumes(store, VolumeStore(store.folder / VOLUME_FOLDER, WINDOW), [3])
    stage = CtStage(settings, 12, np.ones(5)).eval()
    stage.peers[0] = model.network
    assert again(stage) == pytest.approx(measured)
    truth = np.eye(5)[store.read(3, 0).labels]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("SSRKDCore.training.ct_stage.point_answers", lambda *_: (truth, None))
        perfect = again(stage)
    assert perfect.pop("held_out_wrong_near") == 0 and set(perfect.values()) == {1.0}
