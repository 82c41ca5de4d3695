"""Style transfer: real radiographs take the look of simulated ones, and their edges stay where they are, or it is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from knee_model import knee_model
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, shift

from SSRKDCore import cli
from SSRKDCore.cases import save_case
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.networks.build import build_network
from SSRKDCore.networks.model_folder import Model, ModelInput, load_model, save_model
from SSRKDCore.networks.style_config import StyleConfig
from SSRKDCore.networks.style_network import StyleNetwork, _on_curves
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.standardise import ROBUST
from SSRKDCore.reconstruction import edge_displacement as edges
from SSRKDCore.reconstruction import precision
from SSRKDCore.reconstruction.edge_displacement import edge_displacement
from SSRKDCore.reconstruction.network_input import prepare_network_input
from SSRKDCore.reconstruction.precision import supported_precisions
from SSRKDCore.reconstruction.style_transfer import load_style, precision_of_style, translated, translation
from SSRKDCore.training import style_settings
from SSRKDCore.training.settings import RunSettings
from SSRKDCore.training.style_images import StyleBatches, StyleImages, style_images
from SSRKDCore.training.style_layout import layouts, most_alike
from SSRKDCore.training.style_look import Look
from SSRKDCore.training.style_losses import (
    PatchCritic,
    fineness_distance,
    patch_contrast,
    restandardised,
    tone_distance,
    unevenness,
)
from SSRKDCore.training.style_settings import StyleTraining, style_preset
from SSRKDCore.training.style_stage import HeldOutLook, StyleStage
from SSRKDCore.training.style_training import AWAY_FOLDER, StyleJob, train_style

SIZE = 64
TINY = StyleConfig(image_size=SIZE, features=8, halvings=4, blocks=1, knots=13, norm_groups=4)
RUN = RunSettings(accelerator="cpu", threads=1, progress=False, validation_steps=0)
Image = NDArray[np.float64]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_settings, "style_config", lambda name: TINY)
    monkeypatch.setitem(style_settings._VALUES["compact"], "crop_size", 0)


def tiny_style(**changes: object) -> StyleTraining:
    fast = {
        "steps": 4,
        "warm_up_steps": 2,
        "patches": 32,
        "weight_average": 0.0,
        "labelled_batch": 2,
        "unlabelled_batch": 2,
    }
    return style_preset("compact").changed({**fast, **changes})


def leg(seed: int, size: int = SIZE) -> Image:
    """A shadow of two long bones and a round one in soft tissue, wherever they happen to be."""
    generator = np.random.default_rng(seed)
    row, column = np.mgrid[:size, :size] / size
    image = 1.2 * np.exp(-(((column - 0.5) / 0.35) ** 4))
    middle, width = generator.uniform(0.4, 0.6), generator.uniform(0.08, 0.13)
    joint = generator.uniform(0.42, 0.58)
    shaft = np.abs(column - middle) < width * (1 + 1.2 * np.exp(-(((row - joint) / 0.12) ** 2)))
    image += generator.uniform(0.9, 1.3) * (shaft & (np.abs(row - joint) > 0.03))
    cap = ((row - joint + 0.12) / 0.09) ** 2 + ((column - middle - 0.18) / 0.05) ** 2 < 1
    return gaussian_filter(image + 0.8 * cap, 0.8)


def real_look(image: Image) -> Image:
    """Another site's curve: dense parts are squeezed together, thin ones pulled apart."""
    return 1.0 - np.exp(-1.0 * image)


def standardised(image: Image) -> NDArray[np.float32]:
    low, middle, high = np.percentile(image, [5, 50, 95])
    return np.clip((image - middle) / ((high - low) / 2), -4, 4).astype(np.float32)


def standardised_where(image: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    low, middle, high = np.percentile(image[seen], [5, 50, 95])
    return np.where(seen, np.clip((image - middle) / ((high - low) / 2), -4, 4), 0.0)


def look(real: bool, count: int, first: int = 0) -> StyleImages:
    images = [leg(seed) for seed in range(first, first + count)]
    images = [standardised(real_look(image) if real else image) for image in images]
    stack = np.stack(images)
    cases = tuple(f"case{first + index}" for index in range(count))
    return StyleImages(stack.astype(np.float16), np.ones(stack.shape, dtype=bool), cases, f"{real} {first} {count}")


def model_of(network: torch.nn.Module) -> Model:
    card = {"weights": {"sha256": "0" * 64}}
    return Model(network.eval(), TINY, "style", "tiny style", Path(), card, ModelInput(standardisation=dict(ROBUST)))


class Moves(torch.nn.Module):
    """Stands where a style network does, and moves the image by whole pixels."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.roll(images, self.pixels, dims=3)


@pytest.mark.parametrize("change", [
    real_look, lambda image: 3 - image, lambda image: image**2,
    lambda image: image + np.random.default_rng(0).normal(0, 0.02, image.shape),
    lambda image: gaussian_filter(image, 0.7), lambda image: image + np.linspace(0, 1, SIZE)[:, None],
])  # fmt: skip
def test_tones_contrast_noise_and_shading_move_no_edge(change) -> None:
    found = edge_displacement(leg(3), change(leg(3)))
    assert found.kept and found.typical < 0.3 and found.points > 100


@pytest.mark.parametrize(("rows", "columns"), [(0.0, 1.0), (0.0, -1.0), (0.0, -2.0)])
def test_a_shift_is_measured_across_the_edges_and_refused(rows: float, columns: float) -> None:
    found = edge_displacement(leg(3), shift(leg(3), (rows, columns), order=3, mode="nearest"))
    assert found.largest == pytest.approx(abs(columns), rel=0.25)
    assert not found.kept


def test_a_warp_of_one_part_a_bone_that_vanished_and_one_that_was_made_up_are_refused() -> None:
    row, column = np.mgrid[:SIZE, :SIZE].astype(float)
    bump = 1.5 * np.exp(-(((row - 16) / 8) ** 2))
    warped = map_coordinates(leg(3), [row, column + bump], order=3, mode="nearest")
    found = edge_displacement(leg(3), warped)
    # The part that moved did so by 0 to 1.5 pixels, and most of the image did not.
    assert not found.kept and 0.5 < found.largest < 1.5 and found.typical < 0.1
    soft = 1.2 * np.exp(-(((np.mgrid[:SIZE, :SIZE][1] / SIZE - 0.5) / 0.35) ** 4))
    assert edge_displacement(leg(3), soft).lost_share > 0.3
    assert edge_displacement(soft, leg(3)).lost_share > 0.3


def test_where_there_is_no_edge_or_nothing_was_seen_nothing_moved() -> None:
    assert edge_displacement(np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))).kept
    blind = np.zeros((SIZE, SIZE), dtype=bool)
    assert edge_displacement(leg(1), leg(2), blind).points == 0


def test_an_untrained_network_changes_nothing_and_odd_sizes_are_refused() -> None:
    network = StyleNetwork(TINY).eval()
    image = torch.randn(2, 1, SIZE, SIZE)
    assert torch.equal(network(image), image)
    assert len(network.levels(image)) == len(network.level_widths())
    assert [level.shape[1] for level in network.levels(image)] == network.level_widths()
    with pytest.raises(ValueError, match="multiples of 16"):
        network(torch.zeros(1, 1, 60, 64))
    with pytest.raises(InputError, match="image_size must be"):
        StyleConfig(image_size=63, features=8, halvings=4, blocks=1, knots=13, norm_groups=4)


def test_the_critic_learns_nothing_from_the_translator_and_contrast_knows_a_place_by_itself() -> None:
    critic = PatchCritic()
    images = torch.randn(1, 1, SIZE, SIZE, requires_grad=True)
    critic.frozen(images).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in critic.parameters())
    assert torch.equal(critic.frozen(images), critic(images))
    places = torch.nn.functional.normalize(torch.randn(2, 20, 16), dim=-1)
    right = patch_contrast([places], [places], 0.07)
    assert right < 0.1 < patch_contrast([places], [places.roll(1, dims=1)], 0.07)


def test_steps_repeat_and_show_only_the_images_given() -> None:
    simulated, real = look(False, 3), look(True, 2, first=10)
    one, two = (StyleBatches(simulated, real, tiny_style(crop_size=32)) for _ in range(2))
    assert one[1]["real"].shape == (2, 1, 32, 32)
    assert all(torch.equal(one[1][name], two[1][name]) for name in one[1])
    plain = StyleBatches(simulated, real, tiny_style(augmentation=False))
    shown = {plain[step]["real"][index].numpy().tobytes() for step in range(3) for index in range(2)}
    assert shown == {image.astype(np.float32)[None].tobytes() for image in real.images}


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: object):
    looks = {"simulated": look(False, 12), "real": look(True, 12, first=100)}
    monkeypatch.setattr("SSRKDCore.training.style_training.style_images", lambda source, *rest: looks[source.name])
    job = StyleJob(Path("real"), Path("simulated"), folder, tiny_style(**changes), RUN, held_out=4)
    return train_style(job)


def test_a_trained_network_brings_the_tones_of_unseen_images_to_the_simulated_and_keeps_edges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = trained(tmp_path, monkeypatch, steps=100, learning_rate=8e-4, weight_average=0.8)
    found = outcome.measures
    assert found["look_distance"] < 0.5 * found["look_distance_before"]
    assert found["edge_shift_pixels"] <= 0.5 and outcome.accepted
    style = load_style(str(outcome.folder))
    assert style is not None and style.card["training"]["images"] == {"simulated": 12, "real": 8, "held_out": 4}
    unseen = look(True, 1, first=500).images[0].astype(np.float32)
    wanted = standardised(leg(500))
    result = translated(unseen, np.ones_like(unseen), style, "a radiograph")
    assert np.abs(result - wanted).mean() < 0.7 * np.abs(unseen - wanted).mean()


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("SSRKDCore.training.style_training.HeldOutLook", lambda *given: lambda module: KEPT)
    monkeypatch.setattr("test_style_transfer.RUN", replace(RUN, checkpoint_steps=2), raising=True)
    whole = trained(tmp_path / "whole", monkeypatch, steps=6)
    usual = StyleBatches.batch

    def killed(self: StyleBatches, step: int) -> dict[str, torch.Tensor]:
        if step == 5:
            raise RuntimeError("killed")
        return usual(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(StyleBatches, "batch", killed)
        with pytest.raises(RuntimeError, match="killed"):
            trained(tmp_path / "killed", monkeypatch, steps=6)
    again = trained(tmp_path / "killed", monkeypatch, steps=6)
    one, two = (load_model(outcome.folder).network.state_dict() for outcome in (whole, again))
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(InputError, match=r"another training run, which differs in settings\.tone_weight"):
        trained(tmp_path / "killed", monkeypatch, steps=6, tone_weight=1.0)


KEPT = {"look_distance_before": 1.0, "look_distance": 0.5, "edge_shift_pixels": 0.1, "edge_lost_share": 0.0}


def test_a_network_that_moves_edges_gets_no_model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = {**KEPT, "edge_shift_pixels": 0.6}
    monkeypatch.setattr("SSRKDCore.training.style_training.HeldOutLook", lambda *given: lambda module: moved)
    outcome = trained(tmp_path, monkeypatch, steps=2)
    assert not outcome.accepted and outcome.folder.name == "moves_edges" and not (tmp_path / "model").exists()
    assert "moved edges" in load_model(outcome.folder).card["training"]["images"]["refused"]


def test_a_network_that_makes_images_less_like_simulated_ones_is_refused_and_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {**KEPT, "look_distance": 1.1}
    monkeypatch.setattr("SSRKDCore.training.style_training.HeldOutLook", lambda *given: lambda module: away)
    outcome = trained(tmp_path, monkeypatch, steps=2)
    assert not outcome.accepted and outcome.folder.name == AWAY_FOLDER and not (tmp_path / "model").exists()
    assert "from 1.000 to 1.100" in outcome.refusal
    with pytest.raises(InputError, match=r"is not to be used, for it made held-out images less like .* --style none"):
        load_style(str(outcome.folder))


def test_the_measure_of_look_is_zero_for_the_same_images_and_counts_the_difference_otherwise() -> None:
    simulated, real = look(False, 3), look(True, 3)
    stage = StyleStage(tiny_style()).eval()
    same = HeldOutLook(simulated, simulated)(stage)
    assert same["look_distance"] == pytest.approx(0, abs=1e-3) and same["edge_shift_pixels"] < 0.02
    found = HeldOutLook(simulated, real)(stage)
    assert found["look_distance"] == found["look_distance_before"] > 0.3


def test_other_knees_of_the_same_look_are_nearer_than_the_same_knees_of_another() -> None:
    simulated = look(False, 60)
    measure = Look(simulated)
    seen = np.ones((12, SIZE, SIZE), dtype=bool)

    def distance(images: NDArray[np.floating]) -> float:
        return measure.distance(images, seen, measure.beside(images))

    home, away = (look(real, 12, first=200).images for real in (False, True))
    noisy = home + np.random.default_rng(0).normal(0, 0.05, home.shape)
    assert distance(home) < 0.5 * distance(away) and distance(home) < 0.5 * distance(noisy)


def test_layout_knows_a_knee_by_its_shape_whatever_its_tones_and_noise() -> None:
    images = look(False, 8).images.astype(np.float64)
    shown = real_look(images + 3) + np.random.default_rng(1).normal(0, 0.001, images.shape)
    assert np.array_equal(most_alike(shown, images, 1)[:, 0], np.arange(8))
    assert most_alike(shown, images, 20).shape == (8, 8)
    # A left knee is not taken for the right one.
    assert not np.array_equal(most_alike(shown[:, :, ::-1], images, 1)[:, 0], np.arange(8))
    assert np.linalg.norm(layouts(images), axis=1) == pytest.approx(1)


def test_a_real_image_stands_beside_simulated_ones_of_its_layout_in_the_same_place() -> None:
    simulated, real = look(False, 6), look(True, 6)
    settings = tiny_style(matches=1, labelled_batch=2, unlabelled_batch=1, crop_size=32)
    batches = StyleBatches(simulated, real, settings)
    for step in range(4):
        batch = batches[step]
        for partner in batch["simulated"]:
            pair = np.stack([batch["real"][0].numpy().ravel(), partner.numpy().ravel()])
            assert np.corrcoef(pair)[0, 1] > 0.95


def test_grey_values_and_noise_are_told_apart_and_standardisation_is_that_of_reading() -> None:
    images = torch.from_numpy(look(False, 2).images.astype(np.float32))[:, None]
    noisy = images + 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert tone_distance(images, images) == 0 == fineness_distance(images, images)
    assert tone_distance(images + 0.25, images) == pytest.approx(0.25, abs=1e-5)
    assert fineness_distance(images + 0.25, images) < 0.01 < 0.5 < fineness_distance(noisy, images)
    expected = standardised(images[0, 0].numpy().astype(np.float64) ** 3)
    whole = torch.ones(images.shape, dtype=torch.bool)
    found = restandardised(images**3, whole, ROBUST)[0, 0].numpy()
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_collimator_before_a_real_image_is_put_before_what_stands_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated, real = look(False, 4), look(True, 2, first=10)
    seen = np.ones_like(real.seen)
    seen[:, :, :20] = False
    images = np.stack(
        [standardised_where(image.astype(np.float64), mask) for image, mask in zip(real.images, seen, strict=True)]
    )
    shut = replace(real, images=images.astype(np.float16), seen=seen)
    settings = tiny_style(augmentation=False)
    batch = StyleBatches(simulated, shut, settings)[0]
    assert not batch["seen"][:, :, :, :20].any() and batch["seen"][:, :, :, 20:].all()
    stage, shown = StyleStage(settings), []
    monkeypatch.setattr(stage.critic, "forward", lambda given: (shown.append(given.detach()), given)[1])
    assert stage.training_step(batch, 0)["loss"].isfinite()
    for given in shown:
        assert not given[:, :, :, :20].any(), "nothing behind the collimator"
        for image in given[:, 0, :, 20:].numpy():
            low, middle, high = np.percentile(image, [5, 50, 95])
            assert middle == pytest.approx(0, abs=1e-2) and high - low == pytest.approx(2, abs=2e-2)


def test_doing_the_same_everywhere_is_even_and_a_step_counts_by_its_height() -> None:
    chosen = torch.full((1, 3, 4, 4), 0.7)
    assert unevenness(chosen) == 0
    chosen[:, :, :, 2:] += 0.3
    assert unevenness(chosen) == pytest.approx(0.1), "one of three neighbours along the rows differs"
    network = StyleNetwork(TINY).eval()
    assert network.chosen(torch.zeros(2, 1, SIZE, SIZE)).shape == (2, TINY.knots + 2, 4, 4)


@pytest.fixture
def room() -> Rig:
    return preset("room", "right", pixel_spacing=(4.0, 4.0), rows=100, columns=100)


def radiographs_in(rig: Rig) -> list[Radiograph]:
    images = [leg(seed, 100).astype(np.float32) for seed in (1, 2)]
    return [
        Radiograph(image, view.pixel_spacing, view.name, side="right", source_path=f"{view.name}.nrrd")
        for image, view in zip(images, rig.views, strict=True)
    ]


def test_reconstruction_reads_the_translated_image_and_none_leaves_it_as_it_is(room: Rig) -> None:
    reader = replace(knee_model(room), input=ModelInput(standardisation=dict(ROBUST)))
    radiographs = radiographs_in(room)
    plain = prepare_network_input(radiographs, room, reader).images
    untrained = model_of(build_network(TINY))
    assert torch.equal(prepare_network_input(radiographs, room, reader, untrained).images, plain)
    steeper = build_network(TINY)
    with torch.no_grad():
        # 0.5 more everywhere, which standardisation takes away again, and half of what is below -0.5 away.
        steeper.choice.bias[: TINY.knots] = 0.5 - 0.5 * (torch.linspace(-3, 3, TINY.knots) + 0.5).clamp(max=0)
    seen = prepare_network_input(radiographs, room, reader, model_of(steeper)).images
    for before, after in zip(plain[0, :, -1].numpy(), seen[0, :, -1].numpy(), strict=True):
        inside = (before != 0) & (np.abs(before) < 3)
        # The network looks at 64 pixels and the reader at 128: what it adds is brought to the reader's size.
        bent = before - 0.5 * np.minimum(before + 0.5, 0)
        wanted = standardised_where(bent, before != 0)
        difference = np.abs(after[inside] - wanted[inside])
        assert difference.mean() < 0.01 and np.abs(after[inside] - before[inside]).mean() > 0.03
    assert not seen[plain == 0].any(), "what the detector did not see stays empty"
    with pytest.raises(
        InputError, match=r"ap\.nrrd: the style model 'tiny style' moved edges by up to .* --style none"
    ):
        prepare_network_input(radiographs, room, reader, model_of(Moves(4)))
    with pytest.raises(InputError, match="standardise images in different ways"):
        prepare_network_input(radiographs, room, knee_model(room), untrained)
    with pytest.raises(InputError, match="of kind xray, not style"):
        prepare_network_input(radiographs, room, reader, reader)


def test_the_correction_of_another_size_does_not_move_the_image() -> None:
    network = build_network(TINY)
    with torch.no_grad():
        network.choice.bias[:] = torch.linspace(-0.3, 0.3, len(network.choice.bias))
    image = standardised(leg(7, 150))
    result, moved = translation(image, np.ones_like(image), model_of(network))
    assert result.shape == image.shape and moved.kept and np.abs(result - image).max() > 0.1


@pytest.mark.skipif(
    "bfloat16" not in supported_precisions(torch.device("cpu")), reason="this processor has no bfloat16"
)
def test_a_network_that_looks_in_bfloat16_does_about_the_same(room: Rig) -> None:
    generator = torch.Generator().manual_seed(4)
    network = build_network(TINY)
    with torch.no_grad():
        network.choice.weight[:] = 0.01 * torch.randn(network.choice.weight.shape, generator=generator)
    style = model_of(network)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    image = standardised(leg(7, 150))
    (exact, _), (rounded, _) = (
        translation(image, np.ones_like(image), style, precision) for precision in (torch.float32, torch.bfloat16)
    )
    change, difference = np.abs(exact - image).mean(), np.abs(exact - rounded).mean()
    assert 0 < difference < 0.05 * change
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert precision_of_style(style, "bfloat16") == torch.bfloat16
    # What is reconstructed in bfloat16 is translated so, too.
    reader = replace(knee_model(room), input=ModelInput(standardisation=dict(ROBUST)))
    images = {
        name: prepare_network_input(radiographs_in(room), room, reader, style, precision=name).images
        for name in ("float32", "bfloat16")
    }
    assert 0 < float((images["float32"] - images["bfloat16"]).abs().mean()) < 0.05 * change


def test_a_device_without_bfloat16_looks_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_has_bfloat16", lambda device: False)
    assert precision_of_style(model_of(build_network(TINY)), "bfloat16") == torch.float32


def test_the_value_of_a_curve_is_the_sum_of_its_knots_by_their_nearness() -> None:
    generator = torch.Generator().manual_seed(0)
    curves = torch.randn(2, 13, 5, 6, generator=generator, requires_grad=True)
    tones = 4 * torch.rand(2, 1, 5, 6, generator=generator) - 2
    tones[0, 0, 0] = torch.tensor([-3.0, 3.0, -9.0, 9.0, 0.0, 0.25])
    images = tones.requires_grad_()
    knots = torch.linspace(-3, 3, 13)[None, :, None, None]
    nearness = (1 - (images.clamp(-3, 3) - knots).abs() / 0.5).clamp(min=0)
    wanted = (nearness * curves).sum(dim=1, keepdim=True)
    found = _on_curves(images, curves)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    by_curves = [torch.autograd.grad(value.square().sum(), curves, retain_graph=True)[0] for value in (found, wanted)]
    torch.testing.assert_close(*by_curves, rtol=0, atol=1e-4)
    # At the knots themselves a broken line has no slope.
    between = ((images.detach() / 0.5) % 1 > 1e-3) & (images.detach().abs() < 3)
    by_tones = [torch.autograd.grad(value.sum(), images, retain_graph=True)[0][between] for value in (found, wanted)]
    torch.testing.assert_close(*by_tones, rtol=0, atol=1e-4)


def write_case(folder: Path, seed: int, rig: Rig, change=lambda image: image) -> None:
    folder.mkdir(parents=True)
    names = {}
    for index, view in enumerate(rig.views):
        names[view.name] = f"{view.name}.nrrd"
        image = change(leg(seed + 50 * index, 100)).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(image), str(folder / names[view.name]))
    save_case(folder, folder.name, "right", rig, names, "line_integral")


def test_from_the_command_line_real_and_simulated_cases_give_a_model_and_pictures(tmp_path: Path, room: Rig) -> None:
    for index in range(2):
        write_case(tmp_path / "simulated" / f"s{index}", index, room)
        write_case(tmp_path / "real" / f"r{index}", 10 + index, room, real_look)
    words = [
        "--real",
        str(tmp_path / "real"),
        "--simulated",
        str(tmp_path / "simulated"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert cli.main(["style", "train", *words, "--steps", "2", "--threads", "1"]) == 0
    style = load_model(tmp_path / "run" / "model")
    assert style.kind == "style" and style.standardisation == ROBUST
    assert style.card["training"]["images"] == {"simulated": 4, "real": 2, "held_out": 2}
    out = tmp_path / "pictures"
    applied = ["style", "apply", str(tmp_path / "run" / "model"), "--cases", str(tmp_path / "real"), "--out", str(out)]
    assert cli.main(applied) == 0
    assert sorted(path.name for path in out.glob("*.png")) == ["r0-0.png", "r0-1.png", "r1-0.png", "r1-1.png"]
    assert (out / "report.json").is_file()
    assert cli.main(["style", "train", *words, "--held-out", "2", "--steps", "2"]) == 2
    assert cli.main([*applied[:2], str(tmp_path / "real"), *applied[3:], "--overwrite"]) == 2


def test_changed_cases_are_read_again_and_bad_ones_refused(tmp_path: Path, room: Rig) -> None:
    write_case(tmp_path / "cases" / "a", 1, room)
    first = style_images(tmp_path / "cases", tmp_path / "kept.npz", tiny_style())
    again = style_images(tmp_path / "cases", tmp_path / "kept.npz", tiny_style())
    assert first.content == again.content and np.array_equal(first.images, again.images) and again.cases == ("a", "a")
    write_case(tmp_path / "cases" / "b", 2, room)
    both = style_images(tmp_path / "cases", tmp_path / "kept.npz", tiny_style())
    assert both.cases == ("a", "a", "b", "b")
    # The same number of bytes, and what was calibrated again, count as well.
    shutil.rmtree(tmp_path / "cases" / "b")
    write_case(tmp_path / "cases" / "b", 7, room)
    other = style_images(tmp_path / "cases", tmp_path / "kept.npz", tiny_style())
    assert other.content != both.content and not np.array_equal(other.images[2:], both.images[2:])
    larger = replace(room, field_of_view=replace(room.field_of_view, size=1.3 * room.field_of_view.size))
    larger.save(tmp_path / "cases" / "a" / "rig.json")
    moved = style_images(tmp_path / "cases", tmp_path / "kept.npz", tiny_style())
    assert not np.array_equal(moved.images[:2], other.images[:2])
    write_case(tmp_path / "cases" / "c", 3, room, lambda image: 0 * image)
    with pytest.raises(InputError, match=r"c.ap\.nrrd is constant"):
        style_images(tmp_path / "cases", tmp_path / "kept.npz", tiny_style())
    described = tmp_path / "cases" / "c" / "case.json"
    write_json(described, read_json(described, "a case") | {"provenance": {"evaluate_only": True}})
    with pytest.raises(InputError, match=r"c is for evaluation only"):
        style_images(tmp_path / "cases", tmp_path / "kept.npz", tiny_style())


@pytest.mark.parametrize(("changes", "words"), [
    ({"contrast_weight": 0.0}, "nothing keeps edges in place"), ({"crop_size": 40}, "multiple of 16"),
    ({"architecture": "published"}, "architecture must be"), ({"unlabelled_batch": 0}, "unlabelled_batch must be"),
    ({"patches": 2}, "patches must be"), ({"steps": 0, "epochs": 3}, "counts steps"),
])  # fmt: skip
def test_settings_that_do_not_hold_together_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tiny_style(**changes)


def test_a_saved_style_model_says_the_same_and_none_is_no_model(tmp_path: Path) -> None:
    network = build_network(TINY)
    with torch.no_grad():
        network.choice.bias[:] = 0.2
    folder = save_model(tmp_path / "style", network.eval(), TINY, name="a style", licence="CC0-1.0")
    loaded = load_style(str(folder))
    assert loaded is not None
    image = torch.randn(1, 1, SIZE, SIZE)
    assert torch.equal(loaded.network(image), network(image))
    assert load_style(None) is None and load_style("none") is None
    with pytest.raises(InputError, match="no model folder"):
        load_style(str(tmp_path / "nothing"))


def test_all_places_along_a_profile_are_compared_as_one_alone_would_be() -> None:
    """One product for all places against the definition, place by place."""
    generator = np.random.default_rng(0)
    length, places = len(edges._PROFILE), 33
    own, _ = edges._unit(generator.normal(size=(50, length)))
    far = generator.normal(2.0, 1.0, (50, length + places - 1))
    likeness, strengths = edges._likeness(own, far)
    for place in range(places):
        part, strength = edges._unit(far[:, place : place + length])
        np.testing.assert_allclose(strengths[:, place], strength, rtol=1e-9)
        np.testing.assert_allclose(likeness[:, place], np.abs((own * part).sum(axis=1)), atol=1e-9)
