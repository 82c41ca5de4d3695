"""What is no picture of the patient is found and taken out; an image of the patient alone comes back bit by bit."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from SSRKDCore.commands.reconstruct import add_radiograph_arguments, read_radiographs
from SSRKDCore.drr.clutter import blade_openness
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.radiographs import read_radiograph
from SSRKDCore.radiographs.burned_in import burned_in
from SSRKDCore.radiographs.collimation import collimated_border
from SSRKDCore.radiographs.inpainting import harmonic_fill, nearest_fill
from SSRKDCore.radiographs.preparation import prepared_for_network, with_preparation
from SSRKDCore.radiographs.presentation_curve import PresentationCurve
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.saturation import clipped_areas

SAMPLE = Path(__file__).resolve().parents[2] / "Resources" / "SampleCase"
SIZE = 400


def leg(noise: float = 0.01) -> np.ndarray:
    """An upright leg with two bones, line integrals, noisy, its right side wider than its left."""
    row, column = np.indices((SIZE, SIZE)) - np.array([190.0, 190.0])[:, None, None]
    soft = 2.0 * np.sqrt(np.clip(1 - (column / (85 + 25 * np.exp(-((row / 60) ** 2)))) ** 2, 0, None))
    bones = sum(
        height * np.sqrt(np.clip(1 - ((column - place) / width) ** 2, 0, None))
        for place, width, height in ((-20, 35, 1.0), (55, 12, 0.5))
    )
    image = soft + bones
    image[180:190] -= 0.7 * np.asarray(bones)[180:190]
    return (image + noise * np.random.default_rng(1).standard_normal(image.shape)).astype(np.float32)


def collimated(image: np.ndarray, sides: tuple[float, ...], turn: float) -> tuple[np.ndarray, np.ndarray]:
    """The image behind blades with some scatter below them, and where they are open."""
    openness = blade_openness(
        torch.zeros(1, SIZE, SIZE), torch.tensor([sides]), torch.tensor([turn]), torch.tensor([0.006])
    )[0].numpy()
    veil = 0.03 * ndimage.gaussian_filter(np.exp(-image), 30)
    return -np.log(np.exp(-image) * openness + veil).astype(np.float32), openness > 0.5


@pytest.mark.parametrize("image", [leg(), leg(0.0)], ids=["noisy", "noiseless"])
def test_a_clean_image_stays_as_it_is(image: np.ndarray) -> None:
    made = prepared_for_network(Radiograph(image))
    assert made.image is image and made.coverage.all() and made.unchanged and not made.warnings
    radiograph = Radiograph(image)
    assert with_preparation(radiograph) is radiograph


@pytest.mark.parametrize("view", ["ap", "lateral"])
def test_the_bundled_sample_is_read_bit_by_bit_alike(view: str) -> None:
    plain, prepared = (read_radiograph(SAMPLE / f"{view}.dcm", view, prepare=prepare) for prepare in (False, True))
    assert np.array_equal(plain.pixels, prepared.pixels) and prepared.coverage is None and plain.steps == prepared.steps


@pytest.mark.parametrize(
    ("sides", "turn"),
    [
        ((0.1, 0.12, 0.1, 0.08), 0.0),
        ((0.15, 0.0, 0.0, 0.0), 0.05),
        ((0.0, 0.0, 0.2, 0.2), -0.06),
        ((0.25, 0.2, 0.25, 0.2), 0.03),
    ],
)
def test_blades_are_found_within_a_few_pixels(sides: tuple[float, ...], turn: float) -> None:
    image, is_open = collimated(leg(), sides, turn)
    shadow = collimated_border(image)
    # Nothing of the shadow stays in, and no more than a rim of the open field is lost.
    assert (shadow | is_open)[6:-6, 6:-6].mean() > 0.995
    assert (shadow & ndimage.binary_erosion(is_open, iterations=7, border_value=1)).mean() < 0.01
    made = prepared_for_network(Radiograph(image))
    assert np.array_equal(made.image[made.coverage], image[made.coverage])
    assert "collimator" in made.remarks[0]


def test_a_round_field_loses_its_rim(tmp_path: Path) -> None:
    row, column = np.indices((SIZE, SIZE))
    radius = np.hypot(row - SIZE / 2, column - SIZE / 2)
    signal = np.exp(-leg(0.0)) * np.clip((190 - radius) / 8, 0, 1)
    stored = np.round(250 * signal).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(stored), str(tmp_path / "round.tif"))
    found = read_radiograph(tmp_path / "round.tif", intensity="raw", prepare=True)
    assert found.coverage is not None
    assert not found.coverage[radius > 192].any() and found.coverage[radius < 165].mean() > 0.99


@pytest.mark.parametrize(("words", "prepared"), [([], True), (["--prepare"], True), (["--no-prepare"], False)])
def test_commands_prepare_unless_they_are_told_not_to(tmp_path: Path, words: list[str], prepared: bool) -> None:
    image, is_open = collimated(leg(), (0.15, 0.12, 0.1, 0.1), 0.0)
    files = [tmp_path / f"{view}.tif" for view in ("ap", "lateral")]
    stored = np.round(6e4 * np.exp(-image)).clip(0, 65535).astype(np.uint16)
    for number, path in enumerate(files):
        sitk.WriteImage(sitk.GetImageFromArray(stored + np.uint16(number)), str(path))
    parser = argparse.ArgumentParser()
    add_radiograph_arguments(parser)
    given = ["--ap", str(files[0]), "--lateral", str(files[1]), "--intensity", "raw", "--pixel-spacing", "0.5"]
    radiographs, _ = read_radiographs(parser.parse_args([*given, *words]))
    for radiograph in radiographs:
        assert (radiograph.coverage is not None) == prepared
        if radiograph.coverage is not None:
            assert (radiograph.coverage == is_open).mean() > 0.97


def letter(image: np.ndarray, row: int, column: int, value: float, stroke: int = 4) -> np.ndarray:
    """Where an L of 40 pixels is drawn."""
    mask = np.zeros(image.shape, dtype=bool)
    mask[row : row + 40, column : column + stroke] = True
    mask[row + 40 - stroke : row + 40, column : column + 24] = True
    image[mask] = value
    return mask


def test_a_lead_letter_beside_the_leg_is_filled() -> None:
    clean = leg()
    image = clean.copy()
    mask = letter(image, 60, 330, 2.5)
    found = burned_in(image)
    assert found[mask].all() and found.sum() < 3 * mask.sum()
    made = prepared_for_network(Radiograph(image))
    assert np.abs(made.image - clean)[mask].max() < 0.1 and made.coverage.all()


def test_burned_in_text_is_filled_and_bone_and_metal_are_not() -> None:
    image = leg()
    text = np.zeros(image.shape, dtype=bool)
    for column in (6, 14, 22, 30):
        text[6:16, column : column + 2] = True
    metal = np.zeros(image.shape, dtype=bool)
    metal[100:300, 165:169] = True
    metal[290:296, 150:185] = True
    image[text | metal] = 11.0
    found = burned_in(image)
    assert found[text].all() and not found[metal].any()
    assert not burned_in(leg()).any()


def test_clipped_bone_is_known_and_said() -> None:
    image = np.minimum(leg(), 2.4)
    assert clipped_areas(image).sum() > 0.9 * (image == image.max()).sum()
    made = prepared_for_network(Radiograph(image))
    assert made.clipped.any() and "clipped" in made.warnings[0] and np.array_equal(made.image, image)


def test_exchanged_black_and_white_is_seen() -> None:
    clean = read_radiograph(SAMPLE / "ap.dcm", "ap").pixels
    made = prepared_for_network(Radiograph((3.0 - clean).astype(np.float32)))
    assert "black and white" in made.remarks[0] and made.warnings
    assert np.corrcoef(made.image.ravel(), clean.ravel())[0, 1] > 0.999


def test_what_may_be_air_or_a_blade_is_left_alone_and_said() -> None:
    image = (3.0 - leg()).astype(np.float32)
    made = prepared_for_network(Radiograph(image))
    assert made.image is image and made.coverage.all() and "look at it" in made.warnings[0]


@pytest.mark.parametrize("inverted", [False, True])
def test_a_display_image_is_read_with_bone_bright(tmp_path: Path, inverted: bool) -> None:
    clean = leg()
    stored = PresentationCurve(inverted=inverted).applied(clean).astype(np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(stored), str(tmp_path / "shown.png"))
    found = read_radiograph(tmp_path / "shown.png", prepare=True)
    assert np.corrcoef(found.pixels.ravel(), clean.ravel())[0, 1] > 0.95


def test_fills_continue_a_slope_and_repeat_the_nearest() -> None:
    row, column = np.indices((40, 40)).astype(float)
    slope = 0.3 * row - 0.2 * column
    hidden = np.zeros((40, 40), dtype=bool)
    hidden[10:20, 12:15] = hidden[30:33, 5:30] = True
    assert harmonic_fill(np.where(hidden, 99.0, slope), hidden) == pytest.approx(slope, abs=1e-9)
    rim = np.zeros((40, 40), dtype=bool)
    rim[:, :7] = True
    assert (nearest_fill(np.where(rim, 99.0, 1.0), rim, block=4) == 1.0).all()
    with pytest.raises(ValueError, match="nothing"):
        harmonic_fill(slope, np.ones_like(hidden))


def test_the_network_does_not_look_at_the_shadow() -> None:
    from SSRKDCore.reconstruction.network_input import resampled_radiograph, target_view

    rig: Rig = preset("room", rows=SIZE, columns=SIZE, pixel_spacing=(1.0, 1.0))
    view = rig.views[0]
    target = target_view(view, rig, 64)
    hidden = np.ones((SIZE, SIZE), dtype=bool)
    hidden[:, : SIZE // 2] = False
    _, whole = resampled_radiograph(Radiograph(leg()), view, target, "an image")
    _, half = resampled_radiograph(Radiograph(leg(), coverage=hidden), view, target, "an image")
    assert whole.min() > 0.99 and half[:, :30].max() < 0.01 and half[:, 34:].min() > 0.99
