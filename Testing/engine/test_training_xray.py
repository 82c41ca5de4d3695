"""The student: what a step sees, what it loses, and a whole run from cases to a model folder."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from knee_model import shadow_radiographs
from tiny_training import (
    IMAGE,
    TEACHER,
    marked_class,
    tiny_xray,
    use_tiny_networks,
    write_cases,
    write_marked_teacher,
    write_store,
)
from torch import Tensor, nn
from torch.nn import functional
from training_cases import write_knee_case

from SSRKDCore.commands import train as command
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.network_view import network_view
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.json_files import write_json
from SSRKDCore.networks.build import build_network
from SSRKDCore.networks.config import segmenter_config
from SSRKDCore.networks.coordinates import normalised_coordinates
from SSRKDCore.networks.model_folder import Model, ModelInput, load_model, save_model
from SSRKDCore.radiographs.standardise import ROBUST
from SSRKDCore.reconstruction.network_input import prepare_network_input
from SSRKDCore.training.make_samples import prepare_samples
from SSRKDCore.training.sample_settings import SampleSettings
from SSRKDCore.training.sample_store import UNKNOWN_LABEL, SampleStore
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.stage_job import StageJob
from SSRKDCore.training.xray_batches import XrayBatches, project_points, standardised
from SSRKDCore.training.xray_losses import (
    class_weights,
    distillation_loss,
    point_cross_entropy,
    stack_weights,
    stacked_cross_entropy,
    wrong_share,
)
from SSRKDCore.training.xray_stage import HeldOutPoints, XrayStage
from SSRKDCore.training.xray_training import train_xray


@pytest.fixture(scope="module", autouse=True)
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        yield


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cases(tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, cases: Path) -> SampleStore:
    store = write_store(tmp_path_factory.mktemp("samples"), cases)
    write_marked_teacher(store)
    return store


def batches(store: SampleStore, **changes: object) -> XrayBatches:
    settings = tiny_xray(**changes)
    return XrayBatches(store, range(len(store)), settings, settings.steps)


def stage(source: XrayBatches, segmenter: Model | None = None) -> XrayStage:
    return XrayStage(source.settings, source.steps, source.class_counts(), segmenter)


@pytest.fixture(scope="module")
def segmenter(_tiny: None) -> Model:
    torch.manual_seed(4)
    config = segmenter_config("compact")
    model_input = ModelInput(standardisation=dict(ROBUST))
    return Model(build_network(config).eval(), config, "segmenter", "tiny", Path(), {}, model_input)


def test_a_batch_is_labelled_cases_then_unlabelled_ones_with_the_teachers_labels(store: SampleStore) -> None:
    batch = batches(store, labelled_batch=2, unlabelled_batch=1)[3]
    shapes = {name: tuple(value.shape) for name, value in batch.items()}
    assert shapes == {
        "images": (3, 2, 64, 64), "coordinates": (3, 2, 200, 2), "depths": (3, 2, 200), "labels": (3, 200),
        "teacher_features": (3, 64, 60),
    }  # fmt: skip
    assert all(torch.isfinite(value).all() for value in batch.values())
    unlabelled = batches(store, labelled_batch=1, unlabelled_batch=2, distilled="unlabelled")[3]
    assert unlabelled["teacher_features"].shape[0] == 2
    assert unlabelled["labels"].max() <= 4


def test_teacher_features_and_labels_belong_to_the_first_points(store: SampleStore) -> None:
    """The marked features are the points themselves: projected again, they must fall on the batch's coordinates."""
    source = batches(store, labelled_batch=1, unlabelled_batch=1)
    batch = source[0]
    for row, (cases, kind) in enumerate([(source.labelled, 0), (source.unlabelled, 1)]):
        case = cases[source.deal(0, len(cases), stream=kind)]
        points = batch["teacher_features"][row, :3].T[None].double()
        matches = []
        for rig in range(store.rigs_per_case):
            sample = store.read(case, rig)
            matrices, cube = (torch.from_numpy(a)[None] for a in (sample.projections, sample.cube))
            coordinates, depths = project_points(points, matrices, cube, 64)
            # float16 keeps 100 mm to 0.06 mm.
            matches.append(
                float((coordinates[0] - batch["coordinates"][row, :, :60]).abs().max()) < 5e-3
                and float((depths[0] - batch["depths"][row, :, :60]).abs().max()) < 5e-3
            )
            if matches[-1] and kind == 1:
                exact = {
                    tuple(np.float16(p)): c for p, c in zip(sample.points, marked_class(sample.points), strict=True)
                }
                wanted = [exact[tuple(np.float16(p))] for p in points[0].numpy()]
                assert batch["labels"][row, :60].tolist() == wanted
        assert any(matches)


def test_half_of_the_points_are_near_surfaces(store: SampleStore) -> None:
    """In labelled cases about half of the near points are in a bone, and few of those anywhere."""
    source = batches(store, labelled_batch=1, unlabelled_batch=0, pseudo_labels=False, distillation=False, steps=20)
    inside = torch.stack([source[step]["labels"][0] > 0 for step in range(20)]).float()
    assert 0.35 < inside[:, :100].mean() < 0.65 and inside[:, 100:].mean() < 0.3


def test_each_case_comes_once_a_pass_and_two_processes_share_a_step(store: SampleStore) -> None:
    source = batches(store, labelled_batch=1)
    dealt = [source.deal(position, 4, stream=0) for position in range(12)]
    assert all(sorted(dealt[first : first + 4]) == [0, 1, 2, 3] for first in (0, 4, 8))
    whole = batches(store, labelled_batch=2, unlabelled_batch=2)[1]
    shares = []
    for rank in (0, 1):
        share = batches(store, labelled_batch=1, unlabelled_batch=1)
        share.rank, share.processes = rank, 2
        shares.append(share[1])
    for name, value in whole.items():
        together = torch.stack([shares[rank][name][kind] for kind in (0, 1) for rank in (0, 1)])
        assert torch.equal(value, together)


def test_a_step_is_the_same_whenever_it_is_asked_for(store: SampleStore) -> None:
    first, second = batches(store), batches(store)
    second[0], second[5]
    assert all(torch.equal(first[2][name], value) for name, value in second[2].items())
    assert not torch.equal(first[2]["images"], first[3]["images"])
    other = batches(store, seed=9)
    assert not torch.equal(first[2]["coordinates"], other[2]["coordinates"])


def test_projection_in_torch_is_the_projection_of_the_views() -> None:
    rig = preset("room", "left")
    views = [network_view(view, rig.field_of_view, 256) for view in rig.views]
    points = np.random.default_rng(0).uniform(-60, 60, (50, 3))
    cube = np.array([*rig.field_of_view.center, rig.field_of_view.size])
    matrices = np.stack([view.projection_matrix for view in views])
    coordinates, depths = project_points(*(torch.from_numpy(a)[None] for a in (points, matrices, cube)), 256)
    for index, view in enumerate(views):
        pixels, depth = view.project(points)
        assert np.allclose(coordinates[0, index].numpy(), normalised_coordinates(pixels, 256, 256))
        half = rig.field_of_view.size / 2
        assert np.allclose(depths[0, index].numpy(), (depth - view.project(rig.field_of_view.center)[1]) / half)


def test_class_and_stack_weights_are_the_released_ones() -> None:
    weights = class_weights(np.array([900, 1, 64, 8, 27]), 1.5, 1 / 3)
    assert weights.tolist() == pytest.approx([1.5, 4.0, 1.0, 2.0, (64 / 27) ** (1 / 3)])
    assert class_weights(np.array([9, 0, 8, 8, 8]), 1.0, 0.0).tolist() == [1.0] * 5
    assert stack_weights(4, 1.5) == pytest.approx([8 / 65, 12 / 65, 18 / 65, 27 / 65])


def test_every_case_counts_the_same_and_unknown_points_do_not() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 30, generator=generator)
    labels = torch.randint(0, 5, (2, 30), generator=generator)
    weights = torch.tensor([1.5, 4.0, 1.0, 2.0, 1.3])
    alone = [torch.nn.functional.cross_entropy(logits[i].T, labels[i], weights) for i in (0, 1)]
    assert point_cross_entropy(logits, labels, weights) == pytest.approx(float(sum(alone) / 2), rel=1e-6)
    hidden = labels.clone()
    hidden[:, 20:] = 255
    seen = point_cross_entropy(logits[:, :, :20], labels[:, :20], weights)
    assert point_cross_entropy(logits, hidden, weights) == pytest.approx(float(seen), rel=1e-6)
    stacks = [logits, logits.roll(1, dims=1)]
    singles = [float(point_cross_entropy(stack, labels, weights)) for stack in stacks]
    total = stacked_cross_entropy(stacks, labels, weights, 1.5)
    assert float(total) == pytest.approx((singles[0] + 1.5 * singles[1]) / 2.5, rel=1e-6)
    teacher = torch.zeros(2, 64, 7)
    assert float(distillation_loss([teacher + 1, teacher - 3], teacher)) == pytest.approx(2.0)


def test_points_of_which_nothing_is_known_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    extent = {"femur": (-84.0, 30.0), "tibia": (-25.0, 84.0)}
    whole, cut = (
        write_knee_case(tmp_path / "cases" / "whole"),
        write_knee_case(tmp_path / "cases" / "cut", extent=extent),
    )
    store = prepare_samples([whole, cut], tmp_path / "samples", SampleSettings(rigs=1, image_size=IMAGE, rays=1))
    assert (store.read(1, 0).labels == UNKNOWN_LABEL).mean() > 0.3

    class Knowing:
        """Right about every point that anybody knows."""

        device = torch.device("cpu")

        def answer(self, batch: dict[str, Tensor]) -> SimpleNamespace:
            labels = batch["labels"] * (batch["labels"] != UNKNOWN_LABEL)
            return SimpleNamespace(logits=[functional.one_hot(labels, 5).transpose(1, 2).float()])

    measured = HeldOutPoints(store, [0, 1], tiny_xray())(Knowing())
    assert measured == {"held_out_wrong_near": 0.0, "held_out_wrong_anywhere": 0.0}
    labels = torch.tensor([[0, 2, 1, UNKNOWN_LABEL, UNKNOWN_LABEL, UNKNOWN_LABEL]])
    assert float(wrong_share(functional.one_hot(0 * labels, 5).transpose(1, 2), labels)) == pytest.approx(2 / 3)


def test_the_loss_of_each_row_of_the_ablation_is_its_parts(store: SampleStore) -> None:
    rows = {
        "labelled only": {"pseudo_labels": False, "distillation": False, "unlabelled_batch": 0},
        "+ pseudo labels": {"pseudo_labels": True, "distillation": False},
        "+ distillation": {"pseudo_labels": True, "distillation": True},
        "distillation of both without pseudo labels": {"pseudo_labels": False, "distillation": True},
    }
    for changes in rows.values():
        source = batches(store, **changes)
        student = stage(source).train()
        terms = {name: float(value.detach()) for name, value in student.training_step(source[0], 0).items()}
        w = 0.5 if changes["pseudo_labels"] else 0.0
        expected = (1 - w) * terms["loss_labelled"] + w * terms.get("loss_pseudo", 0.0)
        expected += 0.1 * terms.get("loss_distillation", 0.0)
        assert terms["loss"] == pytest.approx(expected, rel=1e-5)
        assert ("loss_pseudo" in terms) == changes["pseudo_labels"]
        assert ("loss_distillation" in terms) == changes["distillation"]
        # Whatever asks for a gradient gets one, or DDP would wait for it.
        student.training_step(source[0], 0)["loss"].backward()
        assert all((p.grad is not None) == p.requires_grad for p in student.parameters())
        assert student.network.kd_projection.weight.requires_grad == changes["distillation"]


class _AboveMedian(nn.Module):
    """A segmenter that calls the brighter half of a standardised image bone."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([0.5 * images, images], dim=1)


def test_training_enhances_images_exactly_as_reconstruction_does(segmenter: Model, store: SampleStore) -> None:
    source = batches(store, enhancement=True, background_weight=0.3, intensity_scale=2.0)
    student = stage(source, replace(segmenter, network=_AboveMedian()))
    room = preset("room", rows=64, columns=64, pixel_spacing=(6.0, 6.0))
    views = tuple(network_view(view, room.field_of_view, 64) for view in room.views)
    rig = Rig(views, room.field_of_view)
    prepared = prepare_network_input(shadow_radiographs(rig), rig, student.model())
    images = torch.from_numpy(np.stack([radiograph.pixels for radiograph in shadow_radiographs(rig)]))
    plain = standardised(images, torch.ones_like(images), source.settings)
    ours = student.network_images(plain[None])
    assert ours.shape == (1, 2, 2, 64, 64)
    # The two standardisations round differently, so a pixel on the segmenter's edge may fall on the other side.
    assert float(((ours - prepared.images).abs() > 1e-4).float().mean()) < 1e-3
    ratio = (ours[:, :, 0] / ours[:, :, 1])[ours[:, :, 1].abs() > 0.1]
    assert ratio.round(decimals=3).unique().tolist() == pytest.approx([0.3, 1.0])


def test_what_the_student_needs_is_asked_for_by_name(store: SampleStore, segmenter: Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--segmenter"):
        stage(batches(store, enhancement=True))
    with pytest.raises(InputError, match="standardised"):
        stage(batches(store, enhancement=True, standardisation="none"), segmenter)
    copied = shutil.copytree(store.folder, tmp_path / "samples", ignore=shutil.ignore_patterns("*.teacher.npz"))
    untaught = SampleStore(copied)
    with pytest.raises(InputError, match=r"case0000\d has no teacher outputs.*--teacher"):
        batches(untaught)
    assert batches(untaught, pseudo_labels=False, distillation=False).fingerprint()["teachers"] == []
    with pytest.raises(InputError, match="no unlabelled case"):
        XrayBatches(store, [0, 1], tiny_xray(), 8)
    with pytest.raises(InputError, match="no labelled case"):
        XrayBatches(store, [4, 5], tiny_xray(), 8)
    with pytest.raises(InputError, match="64 x 64 pixels and the network 'paper' reads 512"):
        batches(store, architecture="paper")
    assert batches(store).fingerprint()["teachers"] == [TEACHER]


def _run(arguments: list[str]) -> dict:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def test_the_command_trains_a_student_that_reconstruction_can_load(
    store: SampleStore, segmenter: Model, tmp_path: Path
) -> None:
    """Real cases, real samples, all options on; the loss falls, and the folder holds what was done."""
    save_model(tmp_path / "segmenter", segmenter.network, segmenter.config, name="tiny", model_input=segmenter.input)
    write_json(
        tmp_path / "config.json",
        {
            "preset": "compact",
            "xray": {"steps": 40, "points": 300, "distillation_points": 100, "warm_up_steps": 5, "learning_rate": 0.01},
            "run": {"held_out": 1, "log_steps": 5, "validation_steps": 0, "progress": False, "precision": "32"},
        },
    )
    out = tmp_path / "run"
    arguments = ["xray", "--samples", str(store.folder), "--segmenter", str(tmp_path / "segmenter"), "--out", str(out)]
    arguments += ["--config", str(tmp_path / "config.json"), "--set", "weight_average=0.9", "--threads", "1"]
    result = _run([*arguments, "--licence", "CC0-1.0"])
    model = load_model(result["model"])
    assert model.kind == "xray" and model.segmenter is not None and model.config.input_channels == 2
    assert model.standardisation == ROBUST and model.card["licence"] == "CC0-1.0"
    training = model.card["training"]
    assert training["budget"]["steps"] == 40 and training["settings"]["weight_average"] == 0.9
    assert training["data"]["labelled"] == 3 and training["data"]["unlabelled"] == 2
    assert set(training["validation"]) == {"held_out_wrong_near", "held_out_wrong_anywhere"}
    rows = [line.split(",") for line in (out / "log.csv").read_text().splitlines()]
    losses = [float(row[rows[0].index("loss_labelled")]) for row in rows[1:] if row[rows[0].index("loss_labelled")]]
    assert losses[-1] < 0.8 * losses[0]
    pictures = sorted((out / "pictures").glob("*.png"))
    assert [path.name for path in pictures] == ["step_00000040.png"]
    # The same command on a finished run writes the same weights again.
    weights = model.card["weights"]["sha256"]
    assert load_model(_run([*arguments, "--licence", "CC0-1.0"])["model"]).card["weights"]["sha256"] == weights


def test_a_run_goes_on_only_with_the_segmenter_that_it_began_with(
    store: SampleStore, segmenter: Model, tmp_path: Path
) -> None:
    torch.manual_seed(9)
    other = replace(segmenter, network=build_network(segmenter.config).eval())
    settings = tiny_xray(enhancement=True, steps=2, warm_up_steps=1)
    run = RunSettings(accelerator="cpu", threads=1, progress=False, validation_steps=0, held_out=0)
    job = StageJob(store, range(len(store)), [], settings, run, tmp_path / "run", "tiny", "CC0-1.0", None, segmenter)
    train_xray(job)
    with pytest.raises(InputError, match=r"differs in models\.segmenter"):
        train_xray(replace(job, segmenter=other))
    train_xray(job)


def test_the_command_makes_samples_of_cases_and_keeps_bad_input_out(cases: Path, tmp_path: Path) -> None:
    for name in ("case00000", "case00001", "case00005"):
        shutil.copytree(cases / name, tmp_path / "cases" / name)
    write_json(
        tmp_path / "config.json",
        {"samples": {"image_size": 64, "rigs": 1, "rays": 1, "points": {"near": 50, "uniform": 50}}},
    )
    arguments = ["xray", "--cases", str(tmp_path / "cases"), "--out", str(tmp_path / "run"), "--workers", "1"]
    arguments += ["--set", "run.held_out=1"]
    result = _run([*arguments, "--config", str(tmp_path / "config.json"), "--prepare-only"])
    assert result["cases"] == 3 and SampleStore(tmp_path / "run" / "samples").rigs_per_case == 1
    assert not (tmp_path / "run" / "run.json").exists()
    with pytest.raises(InputError, match="nothing to train on"):
        _run(["xray", "--out", str(tmp_path / "other")])
    with pytest.raises(InputError, match="X-ray settings have no stepz"):
        _run([*arguments, "--set", "stepz=3"])


def test_a_picture_that_cannot_be_made_does_not_end_training(store: SampleStore, tmp_path: Path, capsys) -> None:
    from SSRKDCore.training.progress_pictures import ProgressPictures

    pictures = ProgressPictures(tmp_path / "pictures", tmp_path / "absent")
    student = stage(batches(store))
    assert pictures(student) is None and pictures(student) is None
    assert capsys.readouterr().out.count("No pictures of the progress") == 1


def test_bfloat16_stays_close_to_float32(store: SampleStore) -> None:
    source = batches(store)
    student = stage(source).train()
    exact = student.training_step(source[0], 0)["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = student.training_step(source[0], 0)["loss"]
    assert rounded.dtype == torch.float32
    assert float(rounded.detach()) == pytest.approx(float(exact.detach()), rel=0.03)
