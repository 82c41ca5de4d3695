"""The volume CNN: where a radiograph comes to lie in the cube, what is learnt, and a run from samples to bones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import SAMPLES, use_tiny_networks, write_cases, write_store
from training_cases import knee_surfaces

from SSRKDCore.cases import load_case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.baselines import train_volume_cnn as train_volume_cnn_command
from SSRKDCore.evaluation.baselines import volume_cnn_training
from SSRKDCore.evaluation.baselines.back_projection import back_projected, cube_points, projected
from SSRKDCore.evaluation.baselines.volume_batches import standardised
from SSRKDCore.evaluation.baselines.volume_cnn import surfaces_of_logits, volume_cnn_method, volume_logits
from SSRKDCore.evaluation.baselines.volume_cnn_training import VolumeStage, reprojection_loss, train_volume_cnn
from SSRKDCore.evaluation.baselines.volume_losses import soft_dice_loss, voxel_cross_entropy
from SSRKDCore.evaluation.baselines.volume_model import VolumeModel, load_volume_model
from SSRKDCore.evaluation.baselines.volume_network import VolumeNetwork
from SSRKDCore.evaluation.baselines.volume_settings import VolumeTraining, volume_preset
from SSRKDCore.evaluation.baselines.voxel_labels import VoxelLabels
from SSRKDCore.evaluation.case_evaluation import evaluate_case
from SSRKDCore.evaluation.experiments.variants import write_variant
from SSRKDCore.evaluation.experiments.view_samples import room_of_sample
from SSRKDCore.geometry.network_view import network_view
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.json_files import write_json
from SSRKDCore.radiographs.reader import read_radiograph
from SSRKDCore.training.case_volume import load_case_volume
from SSRKDCore.training.sample_store import SampleStore
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.stage_job import StageJob

VOXELS = 32


def tiny(**changes: object) -> VolumeTraining:
    fast = {
        "voxels": 16, "filters": 4, "levels": 2, "epochs": 0, "steps": 30, "warm_up_steps": 3, "labelled_batch": 2,
        "learning_rate": 0.02, "weight_average": 0.0, "augmentation": False,
    }  # fmt: skip
    return volume_preset("compact").changed({**fast, **changes})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        cases = write_cases(tmp_path_factory.mktemp("cases"), labelled=2, unlabelled=1)
        return write_store(tmp_path_factory.mktemp("samples"), cases)


def job(store: SampleStore, out: Path, settings: VolumeTraining, **run: object) -> StageJob:
    how = replace(RunSettings(accelerator="cpu", threads=1, log_steps=1, progress=False, held_out=0), **run)
    return StageJob(store, range(len(store)), [], settings, how, out, "tiny volume CNN", "none")


def rig_tensors(side: str, size: int) -> tuple:
    rig = preset("room", side)
    views = [network_view(view, rig.field_of_view, size) for view in rig.views]
    projections = torch.from_numpy(np.stack([view.projection_matrix for view in views]))[None]
    cube = torch.tensor([[*rig.field_of_view.center, rig.field_of_view.size]], dtype=torch.float64)
    return rig, views, projections, cube


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_voxel_shows_what_its_ray_meets_on_each_detector(side: str) -> None:
    _, views, projections, cube = rig_tensors(side, 96)
    generator = np.random.default_rng(1)
    # A plane through the pixels, different for each view, is interpolated without error.
    slopes = generator.normal(size=(2, 3))
    row, column = np.meshgrid(np.arange(96.0), np.arange(96.0), indexing="ij")
    images = np.stack([a + b * row / 96 + c * column / 96 for a, b, c in slopes])[None]
    volume = back_projected(torch.from_numpy(images), projections, cube, 96)[0]
    points = cube_points(cube, 96)[0].numpy()
    for index in generator.integers(len(points), size=100):
        z, y, x = np.unravel_index(index, (96, 96, 96))
        low = cube[0, :3].numpy() - cube[0, 3].item() / 2
        centre = low + (np.array([x, y, z]) + 0.5) * cube[0, 3].item() / 96
        assert points[index] == pytest.approx(centre, abs=1e-9)
        for view, (a, b, c), found in zip(views, slopes, volume, strict=True):
            # Independent of any projection matrix: where the line from the source through the centre meets the plane.
            source, origin = np.array(view.source), np.array(view.detector_origin)
            normal = np.cross(view.column_direction, view.row_direction)
            hit = source + (centre - source) * (normal @ (origin - source)) / (normal @ (centre - source))
            r = (hit - origin) @ np.array(view.row_direction) / view.pixel_spacing[0]
            k = (hit - origin) @ np.array(view.column_direction) / view.pixel_spacing[1]
            if 0 <= r <= 95 and 0 <= k <= 95:
                assert float(found[z, y, x]) == pytest.approx(a + b * r / 96 + c * k / 96, abs=1e-9)


def test_a_sphere_off_the_middle_comes_back_to_its_place() -> None:
    _, views, projections, cube = rig_tensors("right", 128)
    centre = cube[0, :3].numpy() + np.array([31.0, -17.0, 44.0])
    images = []
    for view in views:
        rows, columns = np.meshgrid(np.arange(128), np.arange(128), indexing="ij")
        rays = view.pixel_position(rows, columns) - np.array(view.source)
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        to_centre = centre - np.array(view.source)
        images.append((np.linalg.norm(np.cross(rays, to_centre), axis=-1) < 12.0).astype(np.float64))
    volume = back_projected(torch.from_numpy(np.stack(images))[None], projections, cube, 64)[0]
    both = (volume.prod(dim=0) > 0.5).numpy().reshape(-1)
    points = cube_points(cube, 64)[0].numpy()
    assert np.linalg.norm(points[both].mean(axis=0) - centre) < 0.5
    near = np.linalg.norm(points - centre, axis=1) < 9.0
    assert both[near].all()
    assert not both[np.linalg.norm(points - centre, axis=1) > 12.0 * np.sqrt(3)].any()


def test_a_projected_ball_has_the_chords_of_a_ball() -> None:
    _, views, projections, cube = rig_tensors("right", 64)
    centre, radius = cube[0, :3].numpy() + np.array([12.0, -20.0, 25.0]), 30.0
    distance = np.linalg.norm(cube_points(cube, 64)[0].numpy() - centre, axis=1)
    volume = torch.from_numpy((distance < radius).astype(np.float32)).view(1, 64, 64, 64)
    shadows = projected(volume, projections, cube, 64, 64)[0].numpy()
    for view, shadow in zip(views, shadows, strict=True):
        rows, columns = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
        rays = view.pixel_position(rows, columns) - np.array(view.source)
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        off = np.linalg.norm(np.cross(rays, centre - np.array(view.source)), axis=-1)
        chord = 2 * np.sqrt(np.clip(radius**2 - off**2, 0, None))
        assert np.abs(shadow - chord).mean() < 0.5
        middle = off < radius / 2
        assert shadow[middle].mean() == pytest.approx(chord[middle].mean(), rel=0.02)


def test_voxel_labels_are_those_of_the_bones_and_end_with_the_ct(store: SampleStore) -> None:
    labels = VoxelLabels(store, VOXELS)
    labels.prepare([0, 1])
    sample = store.read(0, 1, teacher=False)
    found = labels.read(0, 1).reshape(-1)
    points = cube_points(torch.from_numpy(sample.cube)[None], VOXELS)[0].numpy()
    scanned = (points[:, 2] >= sample.scanned[0]) & (points[:, 2] <= sample.scanned[1])
    assert set(np.unique(found)) == {0, 1, 2, 3, 4} and not found[~scanned].any()
    # The case is a right knee: its fibula lies on the patient's right (-x) of its tibia, its patella in front (-y) of its femur.
    middle = [points[found == label].mean(axis=0) for label in (1, 2, 3, 4)]
    assert middle[2][0] < middle[3][0] - 10 and middle[0][1] < middle[1][1] - 10
    volume = (found == 1).sum() * (sample.cube[3] / VOXELS) ** 3
    case = load_case(store.cases[0].folder)
    assert case.side == "right"
    assert volume == pytest.approx(knee_surfaces("right", 0.9)["patella"].volume, rel=0.15)


def test_a_stopped_preparation_keeps_what_it_has(store: SampleStore) -> None:
    labels = VoxelLabels(store, 8)
    answers = iter([False, True])
    with pytest.raises(Cancelled):
        labels.prepare([0, 1], cancelled=lambda: next(answers))
    made = labels.folder / store.cases[0].file
    before = made.stat().st_mtime_ns
    labels.prepare([0, 1])
    assert made.stat().st_mtime_ns == before and labels.read(1, 0).shape == (8, 8, 8)
    # Half a file, as a full disk or a power cut leaves it, is no archive.
    made.write_bytes(made.read_bytes()[: made.stat().st_size // 2])
    with pytest.raises(InputError, match="damaged"):
        labels.read(0, 0)
    labels.prepare([0, 1])
    assert labels.read(0, 0).shape == (8, 8, 8)


def test_unknown_voxels_teach_nothing() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 4, 4, 4, requires_grad=True)
    labels = torch.randint(0, 5, (2, 4, 4, 4))
    labels[:, :, :, 2:] = 255
    (voxel_cross_entropy(logits, labels, 0.5) + soft_dice_loss(logits, labels)).backward()
    assert logits.grad is not None
    assert not logits.grad[..., 2:].any() and logits.grad[..., :2].abs().sum() > 0


def test_a_perfect_answer_has_no_dice_loss() -> None:
    labels = torch.randint(0, 5, (1, 6, 6, 6), generator=torch.Generator().manual_seed(1))
    logits = 100.0 * torch.nn.functional.one_hot(labels, 5).movedim(-1, 1).float()
    assert float(soft_dice_loss(logits, labels)) == pytest.approx(0.0, abs=1e-5)
    assert float(soft_dice_loss(logits.flip(1), labels)) > 0.5


def test_the_reprojection_loss_prefers_bone_where_the_radiographs_have_it() -> None:
    _, _, projections, cube = rig_tensors("right", 32)
    distance = np.linalg.norm(
        cube_points(cube, 32)[0].numpy() - (cube[0, :3].numpy() + np.array([20.0, 5.0, -15.0])), axis=1
    )
    bone = torch.from_numpy((distance < 25).astype(np.float32)).view(1, 32, 32, 32)
    batch = {"images": projected(bone, projections, cube, 32, 32), "projections": projections, "cubes": cube}

    def loss(where: torch.Tensor) -> float:
        logits = torch.full((1, 5, 32, 32, 32), -30.0)
        logits[:, 0], logits[:, 1] = 20 - where * 40, where * 40 - 20
        return float(reprojection_loss(logits, batch))

    assert loss(bone) < 0.05 < 0.5 < loss(bone.flip(3))


def test_surfaces_of_logits_lie_where_the_logits_say() -> None:
    rig, _, _, cube = rig_tensors("left", 32)
    centre, radius = cube[0, :3].numpy() + np.array([22.0, -13.0, 31.0]), 24.0
    distance = np.linalg.norm(cube_points(cube, 48)[0].numpy() - centre, axis=1)
    logits = torch.full((5, 48**3), -50.0)
    logits[0], logits[4] = torch.from_numpy(distance - radius), torch.from_numpy(radius - distance)
    surfaces, grid = surfaces_of_logits(logits.view(5, 48, 48, 48), rig, 64)
    assert [name for name, surface in surfaces.items() if not surface.is_empty] == ["tibia"]
    away = np.linalg.norm(surfaces["tibia"].vertices - centre, axis=1)
    assert np.abs(away - radius).max() < 0.3 and surfaces["tibia"].volume > 0 and grid.shape == (64, 64, 64)


def as_sampled(store: SampleStore, case: int, out: Path) -> Path:
    """A case folder whose rig and radiographs are those of the case's first sample."""
    sample = store.read(case, 0, teacher=False)
    volume = load_case_volume(store.cases[case].folder, None, SAMPLES.voxel_mm)
    room = room_of_sample(sample, volume, SAMPLES, 0)
    views = tuple(with_pixels_of_a_radiograph(view) for view in room.views)
    images = {view.name: image.astype(np.float32) for view, image in zip(views, sample.images, strict=True)}
    return write_variant(out, volume.case, images, Rig(views, room.cube), {})


def with_pixels_of_a_radiograph(view: View) -> View:
    """The same rays through a detector nearer to the source, with pixels of at most 4.5 mm: files may state no more than 5 mm."""
    share = min(1.0, 4.5 / max(view.pixel_spacing))
    source, origin = np.array(view.source), np.array(view.detector_origin)
    x, y, z = source + share * (origin - source)
    rows, columns = view.pixel_spacing
    return replace(view, detector_origin=(x, y, z), pixel_spacing=(share * rows, share * columns))


def _loss(out: Path) -> list[float]:
    header, *lines = (out / "log.csv").read_text().splitlines()
    column = header.split(",").index("loss")
    return [float(line.split(",")[column]) for line in lines if line.split(",")[column]]


def test_the_network_reads_of_a_case_what_training_lays_back(store: SampleStore, tmp_path: Path) -> None:
    """Files, rig, resampling and standardisation on the way to an answer give the very volume that training makes of the sample."""
    settings = tiny(voxels=64)
    torch.manual_seed(0)
    model = VolumeModel(VolumeNetwork(2, 4, 2).eval(), 2, 64, settings.input_standardisation(), "random", tmp_path)
    for case in (0, 1):
        sample = store.read(case, 0, teacher=False)
        images = torch.from_numpy(sample.images).float()
        images = standardised(images, torch.ones_like(images), settings.input_standardisation())
        cube, projections = torch.from_numpy(sample.cube)[None], torch.from_numpy(sample.projections)[None]
        with torch.inference_mode():
            expected = model.network(back_projected(images[None], projections, cube, 64))[0]
        seen = load_case(as_sampled(store, case, tmp_path / f"case{case}"))
        pixels = [read_radiograph(seen.radiographs[v.name], v.name, seen.intensity).pixels for v in seen.rig.views]
        found = volume_logits(model, pixels, seen.rig, torch.device("cpu"))
        assert float((found - expected).abs().max()) < 1e-3 * float(expected.std()), case


def test_training_learns_and_its_model_reconstructs_a_case(store: SampleStore, tmp_path: Path) -> None:
    model = train_volume_cnn(job(store, tmp_path / "run", tiny(steps=240, filters=8)))
    losses = _loss(tmp_path / "run")
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:5])
    loaded = load_volume_model(model)
    assert loaded.views == 2 and loaded.voxels == 16
    # What it was trained on, a right and a left knee, it gives back in its place: on average no surface is off by one of its voxels.
    for case in (0, 1):
        folder = as_sampled(store, case, tmp_path / f"case{case}")
        result = evaluate_case(folder, volume_cnn_method(model, 32, "cpu"))
        assert result.failure is None
        for bone in ("femur", "tibia"):
            error = result.bones[bone].exact_assd_mm
            assert error is not None and error < load_case(folder).rig.field_of_view.size / loaded.voxels, (case, bone)
    # The case's own radiographs show nothing, which their reader refuses.
    with pytest.raises(InputError, match="shows nothing"):
        volume_cnn_method(model, 32, "cpu")(load_case(store.cases[0].folder), lambda fraction, words: None)


def test_a_run_that_was_stopped_ends_with_the_same_weights(store: SampleStore, tmp_path: Path, monkeypatch) -> None:
    settings = tiny(steps=6, augmentation=True, unlabelled_batch=1, reprojection_weight=0.2, weight_average=0.9)
    whole = train_volume_cnn(job(store, tmp_path / "whole", settings, checkpoint_steps=3))

    class Stop(Exception):
        pass

    step = VolumeStage.training_step

    def stops(self: VolumeStage, batch: dict, index: int) -> dict:
        if self.trainer.global_step == 4:
            raise Stop
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(VolumeStage, "training_step", stops)
        with pytest.raises(Stop):
            train_volume_cnn(job(store, tmp_path / "stopped", settings, checkpoint_steps=3))
    resumed = train_volume_cnn(job(store, tmp_path / "stopped", settings, checkpoint_steps=3))
    first, second = (load_volume_model(folder).network.state_dict() for folder in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(InputError, match="another training run"):
        train_volume_cnn(job(store, tmp_path / "stopped", tiny(steps=7)))


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="multiple of 2"):
        tiny(voxels=18)
    with pytest.raises(InputError, match="reprojection"):
        tiny(unlabelled_batch=1)
    with pytest.raises(InputError, match=r"volume_cnn\.json"):
        volume_cnn_method(tmp_path, 64, "cpu")


def test_the_command_changes_what_is_learnt_and_how_it_runs(
    store: SampleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[StageJob] = []
    monkeypatch.setattr(volume_cnn_training, "train_volume_cnn", lambda job: given.append(job) or tmp_path / "model")
    config = tmp_path / "config.json"
    write_json(config, {"volume_cnn": {"voxels": 16}, "run": {"held_out": 0, "log_steps": 7}})
    words = ["--samples", str(store.folder), "--config", str(config), "--out", str(tmp_path / "run")]
    assert (
        train_volume_cnn_command.main([*words, "--set", "steps=5", "--set", "epochs=0", "--set", "run.held_out=1"]) == 0
    )
    (found,) = given
    assert found.settings.steps == 5 and found.settings.voxels == 16
    assert found.run.held_out == 1 and found.run.log_steps == 7
    assert len(found.held_out) == 1 and not set(found.held_out) & set(found.training)
    capsys.readouterr()
    for wrong in ("run.nothing=1", "nothing=1", "run.held_out", "run.held_out=-1"):
        assert train_volume_cnn_command.main([*words, "--set", wrong]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert len(given) == 1
