"""Pictures that say how they are to be shown, or hold something else than the reader would take them for: EXIF, TIFF tags, transparency."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from handmade_files import write_png, write_tiff
from PIL import Image, ImageOps
from radiograph_files import leg_line_integrals, raw_intensity, save_image

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs import read_radiograph

LEG = leg_line_integrals()
RAW = raw_intensity(LEG)
BRIGHT_BONE = np.round(20 + 50 * LEG).astype(np.uint8)
# The middle of the leg, which shows no open field and so not which end of the grey scale is bone.
FILLED = (slice(None), slice(40, 64))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_orientation_says(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"phone.{suffix}"
    Image.fromarray(BRIGHT_BONE).save(path, exif=exif(orientation))
    radiograph = read_radiograph(path)
    # Pillow is the independent reader: it turns the picture as viewers do.
    with Image.open(path) as picture:
        shown = np.asarray(ImageOps.exif_transpose(picture), dtype=float)
    assert radiograph.pixels.shape == shown.shape == ((96, 80) if orientation < 5 else (80, 96))
    assert np.corrcoef(radiograph.pixels.ravel(), shown.ravel())[0, 1] > 0.9999
    told = [words for words in radiograph.warnings if "EXIF orientation" in words]
    assert len(told) == (orientation != 1) and all("compare left and right" in words for words in told)


def test_damaged_exif_data_turn_nothing(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    Image.fromarray(BRIGHT_BONE).save(path, exif=exif(6))
    content = path.read_bytes()
    for damage in (content.replace(b"Exif\0\0MM\0*", b"Exif\0\0MM\0+"), content.replace(b"Exif\0\0", b"Exit\0\0")):
        path.write_bytes(damage)
        assert read_radiograph(path).pixels.shape == (96, 80)


def jpeg_with_preview() -> bytes:
    """A JPEG file whose EXIF data hold a whole JPEG preview, as cameras and export programs write it."""
    noisy = np.random.default_rng(0).integers(0, 250, (288, 240)).astype(np.uint8)
    whole, preview = io.BytesIO(), io.BytesIO()
    Image.fromarray(noisy).save(whole, "JPEG")
    Image.fromarray(BRIGHT_BONE[::4, ::4]).save(preview, "JPEG")
    # An empty first directory, and a second one with the preview's place and length.
    exif_data = b"Exif\0\0II*\0" + struct.pack("<IHIH", 8, 0, 14, 2)
    exif_data += struct.pack("<HHIIHHII", 0x201, 4, 1, 44, 0x202, 4, 1, len(preview.getvalue()))
    exif_data += struct.pack("<I", 0) + preview.getvalue()
    content = whole.getvalue()
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif_data) + 2) + exif_data + content[2:]


@pytest.mark.parametrize("part", [0.4, 0.7, 0.95])
def test_the_end_of_a_preview_is_not_the_end_of_the_picture(tmp_path: Path, part: float) -> None:
    content = jpeg_with_preview()
    path = tmp_path / "cut.jpg"
    path.write_bytes(content)
    assert read_radiograph(path).pixels.shape == (288, 240)
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=r"cut\.jpg is a damaged or truncated JPEG file"):
        read_radiograph(path)


def test_bytes_between_segments_do_not_end_the_picture(tmp_path: Path) -> None:
    path = save_image(BRIGHT_BONE, tmp_path / "padded.jpg")
    content = path.read_bytes()
    tables = content.index(b"\xff\xdb")
    path.write_bytes(content[:tables] + b"\0\0\xff\0\0\xff" + content[tables:])
    assert read_radiograph(path).pixels.shape == (96, 80)


def test_what_a_phone_writes_behind_the_picture_does_not_matter(tmp_path: Path) -> None:
    path = save_image(BRIGHT_BONE, tmp_path / "phone.jpg")
    path.write_bytes(path.read_bytes() + b"a film of the moment before" * 5000)
    assert read_radiograph(path).pixels.shape == (96, 80)


def test_a_tiff_whose_rows_run_upwards_is_shown_upright(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "leg.tif", [RAW], orientations=[4])
    radiograph = read_radiograph(path, intensity="raw")
    np.testing.assert_allclose(radiograph.pixels, LEG[::-1], atol=0.012)
    assert any("rows run upwards" in words for words in radiograph.warnings)


@pytest.mark.parametrize("orientation", [2, 3, 5, 6, 7, 8])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_turned_tiff_is_refused_for_what_it_is(tmp_path: Path, orientation: int, order: str) -> None:
    path = write_tiff(tmp_path / "leg.tif", [RAW], order, orientations=[orientation], big=order == ">")
    with pytest.raises(InputError, match=rf"leg\.tif is stored turned or mirrored \(TIFF orientation {orientation}\)"):
        read_radiograph(path)


@pytest.mark.parametrize(
    ("pages", "tags"),
    [
        ([RAW, RAW[::4, ::4]], {}),
        ([RAW[::4, ::4], RAW], {}),
        ([RAW[::4, ::4], RAW], {"subfile_types": [1, 0]}),
        ([RAW, BRIGHT_BONE], {}),
        ([RAW, RAW // 2], {"subfile_types": [0, 2]}),
        ([RAW, RAW], {"orientations": [1, 4]}),
    ],
    ids=["smaller", "larger", "preview first", "other bits", "only one marked as a page", "one turned"],
)
def test_pages_that_are_not_alike_are_refused(tmp_path: Path, pages: list[np.ndarray], tags: dict) -> None:
    path = write_tiff(tmp_path / "leg.tif", pages, **tags)
    for frame in (1, 2):
        with pytest.raises(InputError, match=r"leg\.tif holds images of different sizes or kinds"):
            read_radiograph(path, intensity="raw", frame=frame)


@pytest.mark.parametrize("kinds", [(0, 0), (2, 2), (0, 1)])
def test_pages_that_are_alike_and_a_preview_behind_are_read(tmp_path: Path, kinds: tuple[int, int]) -> None:
    preview = kinds[1] == 1
    path = write_tiff(tmp_path / "leg.tif", [RAW, RAW[::4, ::4] if preview else RAW // 2], subfile_types=kinds)
    radiograph = read_radiograph(path, intensity="raw", frame=None if preview else 1)
    np.testing.assert_allclose(radiograph.pixels, LEG, atol=0.012)


def test_values_that_the_reader_would_take_for_others_are_refused(tmp_path: Path) -> None:
    transparent = np.stack([RAW, np.full_like(RAW, 65535)], axis=-1)
    with pytest.raises(InputError, match="transparency"):
        read_radiograph(write_tiff(tmp_path / "alpha.tif", [transparent]), intensity="raw")
    for values in (LEG.astype(np.float16), LEG):
        with pytest.raises(InputError, match="in floating point"):
            read_radiograph(write_tiff(tmp_path / "half.tif", [values]))
    packed = np.packbits(BRIGHT_BONE > 100, axis=1)
    with pytest.raises(InputError, match="stores 1 bits a pixel"):
        read_radiograph(write_tiff(tmp_path / "mask.tif", [np.ascontiguousarray(packed)], bits=1))


def test_a_tiff_whose_directories_go_round_is_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "leg.tif", [BRIGHT_BONE])
    content = bytearray(path.read_bytes())
    # The link to the next directory is the file's last word; it leads back to the first.
    content[-4:] = content[4:8]
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"leg\.tif is a damaged or truncated TIFF"):
        read_radiograph(path)


@pytest.mark.parametrize("photometric", [0, 1])
def test_a_tiff_that_shows_0_white_shows_bone_by_low_values(tmp_path: Path, photometric: int) -> None:
    stored = BRIGHT_BONE if photometric == 1 else 255 - BRIGHT_BONE
    path = write_tiff(tmp_path / "leg.tif", [stored[FILLED]], photometric=photometric)
    radiograph = read_radiograph(path)
    assert np.corrcoef(radiograph.pixels.ravel(), LEG[FILLED].ravel())[0, 1] > 0.999
    assert any("Nothing tells whether bone is bright" in words for words in radiograph.warnings)


def test_grey_with_transparency_is_called_so(tmp_path: Path) -> None:
    with_alpha = np.stack([BRIGHT_BONE, np.full_like(BRIGHT_BONE, 255)], axis=-1)
    paths = [
        write_png(tmp_path / "alpha8.png", with_alpha, 4),
        write_png(tmp_path / "alpha16.png", with_alpha.astype(np.uint16) * 257, 4),
        write_png(tmp_path / "key.png", RAW, 0, [(b"tRNS", struct.pack(">H", 3000))]),
    ]
    for path in paths:
        with pytest.raises(InputError, match=rf"{path.name} has transparency .*save it as greyscale"):
            read_radiograph(path)
    np.testing.assert_allclose(
        read_radiograph(write_png(tmp_path / "plain.png", RAW, 0), intensity="raw").pixels, LEG, atol=0.012
    )


@pytest.mark.parametrize("name", ["leg.nrrd", "nan.nrrd", "leg.mha"])
def test_a_spacing_that_is_not_stated_is_not_1_mm(tmp_path: Path, name: str) -> None:
    fields = {
        "leg.nrrd": "NRRD0004\ntype: float\ndimension: 2\nsizes: 80 96\nendian: little\nencoding: raw\n\n",
        "nan.nrrd": "NRRD0004\ntype: float\ndimension: 2\nsizes: 80 96\nspacings: nan nan\nendian: little\nencoding: raw\n\n",
        "leg.mha": "ObjectType = Image\nNDims = 2\nBinaryData = True\nBinaryDataByteOrderMSB = False\nDimSize = 80 96\n"
        "ElementType = MET_FLOAT\nElementDataFile = LOCAL\n",
    }
    path = tmp_path / name
    path.write_bytes(fields[name].encode() + LEG.astype("<f4").tobytes())
    radiograph = read_radiograph(path)
    np.testing.assert_array_equal(radiograph.pixels, LEG.astype(np.float32))
    assert radiograph.pixel_spacing is None and any("no pixel spacing" in words for words in radiograph.warnings)


def test_a_spacing_in_other_units_is_not_taken_for_mm(tmp_path: Path) -> None:
    header = "NRRD0004\ntype: float\ndimension: 2\nspace dimension: 2\nspace directions: (0.02,0) (0,0.03)\n"
    header += 'space units: "cm" "cm"\nsizes: 80 96\nendian: little\nencoding: raw\n\n'
    path = tmp_path / "leg.nrrd"
    path.write_bytes(header.encode() + LEG.astype("<f4").tobytes())
    with pytest.raises(InputError, match=r"leg\.nrrd states its lengths in 'cm'"):
        read_radiograph(path)


def test_damaged_compressed_values_of_a_metaimage_are_refused(tmp_path: Path) -> None:
    noisy = LEG.astype(np.float32) + np.random.default_rng(0).random(LEG.shape).astype(np.float32) / 100
    path = tmp_path / "leg.mha"
    sitk.WriteImage(sitk.GetImageFromArray(noisy), str(path), useCompression=True)
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"leg\.mha is a damaged MetaImage file"):
        read_radiograph(path)
