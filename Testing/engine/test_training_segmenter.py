"""The segmenter: what a step sees and loses, and a whole run from samples to a model that enhances radiographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import IMAGE, use_tiny_networks, write_cases, write_store
from torch import Tensor
from training_cases import write_knee_case

from SSRKDCore.errors import InputError
from SSRKDCore.networks.model_folder import load_model
from SSRKDCore.radiographs.standardise import ROBUST, standardise
from SSRKDCore.training.make_samples import prepare_samples
from SSRKDCore.training.presets import segmenter_preset
from SSRKDCore.training.sample_settings import SampleSettings
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, SampleStore
from SSRKDCore.training.segmenter_batches import SegmenterBatches, _cropped_and_flipped
from SSRKDCore.training.segmenter_stage import HeldOutSilhouettes, SegmenterStage, soft_dice_loss, train_segmenter
from SSRKDCore.training.settings import RunSettings, SegmenterTraining
from SSRKDCore.training.stage_job import StageJob


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    folder = tmp_path_factory.mktemp("segmenter")
    return write_store(folder / "samples", write_cases(folder / "cases", 4, 1))


def tiny_segmenter(**changes: object) -> SegmenterTraining:
    fast = {"steps": 6, "warm_up_steps": 2, "labelled_batch": 2, "unlabelled_batch": 2}
    return segmenter_preset("compact").changed({**fast, **changes})


PLAIN = {"augmentation": False, "vertical_crop": 1.0, "flips": False}


def test_plain_images_are_standardised_as_reconstruction_does_and_lie_under_their_masks(store: SampleStore) -> None:
    batches = SegmenterBatches(store, range(5), tiny_segmenter(**PLAIN), 40)
    found = set()
    for step in range(20):
        batch = batches[step]
        for image, labels in zip(batch["images"], batch["labels"], strict=True):
            for case in range(4):
                for rig in range(store.rigs_per_case):
                    sample = store.read(case, rig)
                    for view in (0, 1):
                        plain = sample.images[view].astype(np.float32)
                        ready = standardise(plain, np.ones_like(plain), ROBUST)
                        if np.allclose(image[0], ready, atol=1e-4):
                            found.add((case, rig, view))
                            assert sample.bone_masks is not None
                            np.testing.assert_array_equal(labels, sample.bone_masks[view])
    # Forty items are five passes over four cases in two views; which rig shows them is drawn each time.
    assert {(case, view) for case, _, view in found} == {(case, view) for case in range(4) for view in (0, 1)}


def test_what_the_collimator_hides_is_neither_shown_nor_learnt(store: SampleStore) -> None:
    settings = tiny_segmenter(augmentation=False, flips=False, vertical_crop=0.3)
    batch = SegmenterBatches(store, range(5), settings, 6)[0]
    hidden = batch["labels"] == UNKNOWN_LABEL
    assert hidden.any() and not hidden.all()
    assert (hidden == hidden[:, :, :1]).all(), "whole rows are hidden"
    assert not batch["images"][:, 0][hidden].any() and batch["images"][:, 0][~hidden].any()


def test_crops_and_flips_move_labels_with_the_image() -> None:
    image = torch.arange(40 * 30, dtype=torch.float32).reshape(1, 40, 30) + 1
    labels = image[0].long()
    generator = np.random.default_rng(1)
    seen = set()
    for _ in range(30):
        part, marks = _cropped_and_flipped(image, labels, tiny_segmenter(crop_size=16, flips=True), generator)
        assert part.shape == (1, 16, 16)
        np.testing.assert_array_equal(part[0], marks)
        seen.add((int(torch.sign(marks[0, 1] - marks[0, 0])), int(torch.sign(marks[1, 0] - marks[0, 0]))))
    assert len(seen) == 4, "every combination of flips comes up"
    part, marks = _cropped_and_flipped(image, labels, tiny_segmenter(crop_size=36, flips=False), generator)
    assert part.shape == (1, 36, 36) and (marks[:, 30:] == UNKNOWN_LABEL).all() and not part[0, :, 30:].any()


def test_the_dice_loss_is_that_of_the_known_pixels() -> None:
    labels = torch.zeros(1, 10, 10, dtype=torch.int64)
    labels[0, :5] = 1
    labels[0, :, 5:] = UNKNOWN_LABEL
    bone = 80.0 * (labels == 1) - 40.0
    right = torch.stack([-bone, bone], dim=1)
    assert float(soft_dice_loss(right, labels)) == pytest.approx(0, abs=1e-5)
    everywhere = torch.stack([torch.full((1, 10, 10), -40.0), torch.full((1, 10, 10), 40.0)], dim=1)
    # 25 pixels of bone and 50 claimed: 1 - (2 x 25 + 1) / (75 + 1).
    assert float(soft_dice_loss(everywhere, labels)) == pytest.approx(1 - 51 / 76, abs=1e-5)
    nothing = torch.zeros(1, 10, 10, dtype=torch.int64)
    assert float(soft_dice_loss(torch.stack([nothing + 40.0, nothing - 40.0], dim=1), nothing)) == pytest.approx(
        0, abs=1e-5
    )


def test_what_the_reference_does_not_show_counts_neither_way(tmp_path: Path) -> None:
    extent = {"femur": (-84.0, 31.0), "tibia": (-31.0, 84.0)}
    case = write_knee_case(tmp_path / "knee", extent=extent)
    store = prepare_samples([case], tmp_path / "samples", SampleSettings(rigs=1, image_size=IMAGE, rays=1))
    masks = store.read(0, 0).bone_masks
    assert masks is not None and (masks == UNKNOWN_LABEL).any()

    class Eager:
        """Bone wherever it is, and wherever it may be."""

        device, peers = torch.device("cpu"), (None,)

        def heads(self, peer: object, part: object) -> list[Tensor]:
            return [torch.stack([torch.zeros(masks.shape), torch.from_numpy(masks > 0) * 2.0 - 1.0], dim=1)]

    assert HeldOutSilhouettes(store, [0], tiny_segmenter())(Eager()) == {"held_out_dice": 1.0}


def test_steps_repeat_and_lacking_cases_are_refused(store: SampleStore) -> None:
    settings = tiny_segmenter()
    one, two = (SegmenterBatches(store, range(5), settings, 6) for _ in range(2))
    assert sorted(one[2]) == ["images", "labels", "unlabelled_images"]
    assert one[2]["images"].shape == (2, 1, IMAGE, IMAGE)
    assert all(torch.equal(one[2][name], two[2][name]) for name in one[2])
    assert not torch.equal(one[2]["images"], one[3]["images"])
    with pytest.raises(InputError, match="no unlabelled case"):
        SegmenterBatches(store, range(4), settings, 6)
    with pytest.raises(InputError, match="no labelled case"):
        SegmenterBatches(store, [4], settings, 6)
    alone = tiny_segmenter(peers=1, unlabelled_batch=0)
    stage = SegmenterStage(alone, 6).train()
    assert len(stage.peers) == 1
    terms = stage.training_step(SegmenterBatches(store, range(4), alone, 6)[0], 0)
    assert sorted(terms) == ["loss", "loss_labelled", "wrong"] and torch.isfinite(terms["loss"])


def test_cross_pseudo_supervision_grows_along_the_run(store: SampleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_segmenter(dice_weight=0.0)
    batch = SegmenterBatches(store, range(5), settings, 6)[0]
    shares = []
    for step in (0, 3, 6):
        monkeypatch.setattr(SegmenterStage, "global_step", step)
        terms = SegmenterStage(settings, 6).train().training_step(batch, 0)
        shares.append(float((terms["loss"] - 2 * terms["loss_labelled"]) / terms["loss_cross"]))
    np.testing.assert_allclose(shares, [0.1 * np.exp(-5), 0.1 * np.exp(-1.25), 0.1], rtol=1e-2)


def test_a_run_gives_a_segmenter_that_finds_bone(store: SampleStore, tmp_path: Path) -> None:
    settings = tiny_segmenter(steps=60, learning_rate=0.02, warm_up_steps=4, weight_average=0.8, augmentation=False)
    run = RunSettings(accelerator="cpu", threads=1, progress=False, validation_steps=0)
    folder = train_segmenter(
        StageJob(store, [0, 1, 2, 4], [3], settings, run, tmp_path / "run", "bone finder", "CC0-1.0")
    )
    model, other = load_model(folder), load_model(tmp_path / "run" / "peer_b")
    assert model.kind == "segmenter" and model.standardisation == ROBUST and model.card["licence"] == "CC0-1.0"
    assert any(
        not torch.equal(a, b) for a, b in zip(model.network.parameters(), other.network.parameters(), strict=True)
    )
    fresh = HeldOutSilhouettes(store, [3], settings)(SegmenterStage(settings, 40).eval())["held_out_dice"]
    measured = model.card["training"]["validation"]["held_out_dice"]
    assert measured > max(0.7, fresh)
    assert HeldOutSilhouettes(store, [4], settings)(SegmenterStage(settings, 40).eval()) == {}


def test_a_run_that_was_killed_goes_on_to_the_same_weights(
    store: SampleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peers, their cross pseudo weight and their batches: all of it follows from the step."""
    run = RunSettings(accelerator="cpu", threads=1, progress=False, validation_steps=0, checkpoint_steps=2)
    jobs = [
        StageJob(store, range(5), [], tiny_segmenter(), run, tmp_path / name, "bone finder", "CC0-1.0")
        for name in ("whole", "killed")
    ]
    train_segmenter(jobs[0])
    usual = SegmenterBatches.batch

    def killed(self: SegmenterBatches, step: int) -> dict[str, torch.Tensor]:
        if step == 5:
            raise RuntimeError("killed")
        return usual(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(SegmenterBatches, "batch", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train_segmenter(jobs[1])
    train_segmenter(jobs[1])
    for folder in ("model", "peer_b"):
        one, two = (load_model(job.out / folder).network.state_dict() for job in jobs)
        assert all(torch.equal(one[name], two[name]) for name in one)
