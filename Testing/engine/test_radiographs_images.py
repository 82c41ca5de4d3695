"""Radiographs from picture and research image files, and the files that are none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from radiograph_files import leg_line_integrals, raw_intensity, save_image

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs import read_radiograph

LEG = leg_line_integrals()
RAW = raw_intensity(LEG)
BRIGHT_BONE = np.round(20 + 50 * LEG).astype(np.uint8)
# Grey levels are 1/50 of a line integral apart; the map onto 0..4 stretches that by about 4 / 3.5.
GREY_LEVEL = 0.03


@pytest.mark.parametrize("name", ["leg.nrrd", "leg.nii", "leg.nii.gz", "leg.mha"])
def test_floating_point_line_integrals_come_back_exactly_with_their_spacing(tmp_path: Path, name: str) -> None:
    path = save_image(LEG.astype(np.float32), tmp_path / name, spacing=(0.25, 0.5))
    radiograph = read_radiograph(path, view="ap")
    np.testing.assert_array_equal(radiograph.pixels, LEG.astype(np.float32))
    assert radiograph.pixel_spacing == (0.5, 0.25)
    assert (radiograph.view, radiograph.side, radiograph.geometry) == ("ap", None, None)
    assert any("line integrals" in step for step in radiograph.steps)


def test_a_volume_of_one_slice_is_a_radiograph(tmp_path: Path) -> None:
    path = save_image(LEG[None].astype(np.float32), tmp_path / "leg.nii.gz", spacing=(0.25, 0.5, 3.0))
    radiograph = read_radiograph(path)
    assert radiograph.pixels.shape == LEG.shape and radiograph.pixel_spacing == (0.5, 0.25)


@pytest.mark.parametrize("name", ["leg.png", "leg.tif"])
def test_sixteen_bit_raw_pictures_give_line_integrals(tmp_path: Path, name: str) -> None:
    radiograph = read_radiograph(save_image(RAW, tmp_path / name), intensity="raw")
    # Half a grey level of the faintest intensity, 0.5 / 55, and that of the open field.
    np.testing.assert_allclose(radiograph.pixels, LEG, atol=0.012)
    assert radiograph.pixel_spacing is None and any("no pixel spacing" in words for words in radiograph.warnings)


def test_raw_intensity_of_a_saturated_open_field(tmp_path: Path) -> None:
    clipped = np.minimum(raw_intensity(LEG, 8000.0), 4095).astype(np.uint16)
    radiograph = read_radiograph(save_image(clipped, tmp_path / "leg.png"), intensity="raw")
    expected = np.maximum(LEG - np.log(8000 / 4095), 0)
    np.testing.assert_allclose(radiograph.pixels, expected, atol=0.006)
    assert any("may be saturated" in step for step in radiograph.steps)


@pytest.mark.parametrize("stored", [BRIGHT_BONE, 255 - BRIGHT_BONE], ids=["bone bright", "bone dark"])
def test_eight_bit_pictures_show_bone_dense_either_way(tmp_path: Path, stored: np.ndarray) -> None:
    radiograph = read_radiograph(save_image(stored, tmp_path / "leg.png"))
    assert np.corrcoef(radiograph.pixels.ravel(), LEG.ravel())[0, 1] > 0.999
    assert radiograph.pixels[48, 0] == 0 and radiograph.pixels.max() == 4.0
    assert any("8-bit" in step for step in radiograph.steps)
    assert any("not calibrated" in words for words in radiograph.warnings)


def test_jpeg_is_read_and_its_loss_mentioned(tmp_path: Path) -> None:
    radiograph = read_radiograph(save_image(BRIGHT_BONE, tmp_path / "leg.jpg"))
    assert np.corrcoef(radiograph.pixels.ravel(), LEG.ravel())[0, 1] > 0.995
    assert any("with loss" in words for words in radiograph.warnings)


@pytest.mark.parametrize("name", ["leg.png", "leg.tif", "leg.nrrd", "leg.nii", "leg.mha", "leg.jpg"])
def test_pixel_order_is_that_of_the_file(tmp_path: Path, name: str) -> None:
    # Brighter in the lower right quarter only: a flip or a transposition moves it.
    picture = BRIGHT_BONE.copy()
    picture[60:90, 50:60] = 250
    pixels = read_radiograph(save_image(picture, tmp_path / name), intensity="presentation").pixels
    assert pixels.shape == (96, 80)
    assert pixels[75, 55] > 3.8 and max(pixels[75, 25], pixels[20, 55], pixels[20, 25]) < 3.7


def test_content_decides_what_a_file_is(tmp_path: Path) -> None:
    png = save_image(BRIGHT_BONE, tmp_path / "leg.png")
    for name in ("leg", "leg.jpg", "leg.dcm", "leg.nrrd"):
        shutil.copy(png, tmp_path / name)
        assert "PNG" in read_radiograph(tmp_path / name).steps[0]
    nrrd = save_image(LEG.astype(np.float32), tmp_path / "real.nrrd", spacing=(0.3, 0.3))
    shutil.copy(nrrd, tmp_path / "image.png")
    assert read_radiograph(tmp_path / "image.png").pixel_spacing == (0.3, 0.3)
    nifti = save_image(LEG.astype(np.float32), tmp_path / "real.nii.gz", spacing=(0.3, 0.3))
    shutil.copy(nifti, tmp_path / "image.bin")
    assert read_radiograph(tmp_path / "image.bin").pixels.shape == LEG.shape


def test_spaces_and_other_alphabets_in_paths(tmp_path: Path) -> None:
    folder = tmp_path / "Ärzte und 患者"
    folder.mkdir()
    for name in ("knie links ö.png", "膝.nrrd", "колено.tif", "γόνατο 1.nii.gz", "ركبة.mha", "è.jpg"):
        assert read_radiograph(save_image(BRIGHT_BONE, folder / name)).pixels.shape == (96, 80)


def colour(tmp_path: Path, name: str) -> Path:
    return save_image(np.stack([BRIGHT_BONE] * 3, axis=-1), tmp_path / name, vector=True)


@pytest.mark.parametrize("name", ["leg.png", "leg.jpg", "leg.tif"])
def test_colour_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} is a colour image \(3 values a pixel\)"):
        read_radiograph(colour(tmp_path, name))


def test_a_volume_needs_a_choice(tmp_path: Path) -> None:
    path = save_image(np.stack([LEG, 2 * LEG]).astype(np.float32), tmp_path / "ct.nrrd")
    with pytest.raises(InputError, match="holds 2 images"):
        read_radiograph(path)
    np.testing.assert_allclose(read_radiograph(path, frame=2).pixels, 2 * LEG, rtol=1e-6)
    with pytest.raises(InputError, match="frame 3 does not exist"):
        read_radiograph(path, frame=3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    values = LEG.astype(np.float32)
    values[3, 4] = bad
    with pytest.raises(InputError, match=r"leg\.nrrd holds 1 pixels that are NaN or infinite"):
        read_radiograph(save_image(values, tmp_path / "leg.nrrd"))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_constant_pictures_are_refused(tmp_path: Path, value: int) -> None:
    with pytest.raises(InputError, match="constant"):
        read_radiograph(save_image(np.full((64, 64), value, np.uint8), tmp_path / "flat.png"))


def test_saturated_pictures_are_refused(tmp_path: Path) -> None:
    white = np.where(LEG > 0.2, 255, 0).astype(np.uint8)
    with pytest.raises(InputError, match="saturated"):
        read_radiograph(save_image(white, tmp_path / "white.png"))
    underexposed = np.where(LEG > 0.2, 0, RAW).astype(np.uint16)
    with pytest.raises(InputError, match="saturated"):
        read_radiograph(save_image(underexposed, tmp_path / "dark.png"), intensity="raw")


def test_a_thin_leg_in_a_wide_open_field_is_not_saturated(tmp_path: Path) -> None:
    wide = np.zeros((96, 400), np.float32)
    wide[:, 160:240] = LEG
    np.testing.assert_array_equal(read_radiograph(save_image(wide, tmp_path / "wide.nrrd")).pixels, wide)


def test_grey_values_are_no_line_integrals(tmp_path: Path) -> None:
    path = save_image(BRIGHT_BONE.astype(np.float32), tmp_path / "grey.nrrd")
    with pytest.raises(InputError, match="no line integral"):
        read_radiograph(path, intensity="line_integral")
    assert any("not calibrated" in words for words in read_radiograph(path).warnings)


@pytest.mark.parametrize("spacing", [(0.001, 0.001), (25.0, 25.0)])
def test_absurd_spacing_is_refused(tmp_path: Path, spacing: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="which no radiograph has"):
        read_radiograph(save_image(LEG.astype(np.float32), tmp_path / "leg.nrrd", spacing=spacing))


@pytest.mark.parametrize("spacing", [(0.0, 0.1), (float("nan"), 0.1), (0.1, float("inf")), (-0.1, 0.1)])
def test_the_users_spacing_is_checked_too(tmp_path: Path, spacing: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="pixel spacing"):
        read_radiograph(save_image(BRIGHT_BONE, tmp_path / "leg.png"), pixel_spacing=spacing)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "notes.png").write_text("not an image " * 50)
    (tmp_path / "bone.stl").write_bytes(b"solid bone\n" + bytes(500))
    cases = [
        (tmp_path / "absent.dcm", r"absent\.dcm does not exist"),
        (tmp_path / "empty.dcm", r"empty\.dcm is empty"),
        (tmp_path, "is a folder"),
        (tmp_path / "notes.png", r"notes\.png: it is no image"),
        (tmp_path / "bone.stl", "surface, not a radiograph"),
        (tmp_path / ("x" * 300), "cannot be read"),
    ]
    for path, words in cases:
        with pytest.raises(InputError, match=words):
            read_radiograph(path)


@pytest.mark.parametrize("name", ["leg.png", "leg.jpg", "leg.tif", "leg.nrrd", "leg.nii", "leg.nii.gz", "leg.mha"])
def test_truncated_files_are_refused(tmp_path: Path, name: str) -> None:
    noisy = np.random.default_rng(0).integers(0, 250, (96, 80)).astype(np.uint8)
    path = save_image(noisy, tmp_path / name)
    whole = path.read_bytes()
    for part in (0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            read_radiograph(path)


def test_wrong_words_are_named(tmp_path: Path) -> None:
    path = save_image(BRIGHT_BONE, tmp_path / "leg.png")
    with pytest.raises(InputError, match="view is 'side'"):
        read_radiograph(path, view="side")
    with pytest.raises(InputError, match="intensity is 'bright'"):
        read_radiograph(path, intensity="bright")


def test_unexposed_corners_are_no_signal_and_fool_nobody(tmp_path: Path) -> None:
    # A round field, black outside, as an image intensifier gives it; bone dark inside.
    row, column = np.mgrid[0:96, 0:80]
    outside = ((row - 47.5) / 47.5) ** 2 + ((column - 39.5) / 39.5) ** 2 > 1
    stored = np.where(outside, 0, 250 - 55 * LEG).astype(np.uint8)
    for intensity in ("auto", "raw"):
        radiograph = read_radiograph(save_image(stored, tmp_path / "round.png"), intensity=intensity)
        assert (radiograph.pixels[outside] == 0).all()
        assert radiograph.pixels[24, 36] > radiograph.pixels[24, 60] > radiograph.pixels[48, 1]
        assert any("unexposed border" in step for step in radiograph.steps)
    # Bone bright, white blades above and below, exported as a picture.
    collimated = BRIGHT_BONE.copy()
    collimated[:8] = collimated[-8:] = 255
    radiograph = read_radiograph(save_image(collimated, tmp_path / "blades.png"))
    assert (radiograph.pixels[:8] == 0).all() and radiograph.pixels[24, 36] > radiograph.pixels[24, 2]


def test_real_radiographs_show_bone_dark_and_are_read_so(shared_data: Path) -> None:
    # Four images of a flexed knee: 8 bit, dark is dense, round field (see their README).
    for path in sorted((shared_data / "xray_autoscoper").glob("*.tif")):
        radiograph = read_radiograph(path)
        assert radiograph.pixels.shape == (1760, 1760)
        assert any("bone is dark" in step for step in radiograph.steps), path.name
        assert radiograph.pixels[0, 0] == 0
