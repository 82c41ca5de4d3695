"""How DICOM objects store their values (bits, tables, padding, compressed streams), and statements that contradict one another."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)
from radiograph_files import dicom_radiograph, leg_line_integrals, raw_intensity, save_dicom

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs import Radiograph, read_radiograph

LEG = leg_line_integrals()
RAW = raw_intensity(LEG)
LINEAR: dict[str, Any] = {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1}
# As in test_radiographs_dicom: half a grey level of the faintest intensity, and that of the open field.
ROUNDING = 0.012
# The middle of the leg, which shows no open field and so not which end of the grey scale is bone.
FILLED = (slice(None), slice(40, 64))


def read(tmp_path: Path, dataset: Dataset, **choices: Any) -> Radiograph:
    return read_radiograph(save_dicom(dataset, tmp_path / "image.dcm"), **choices)


def shifted(stored: np.ndarray, high_bit: int, **tags: Any) -> Dataset:
    """An object of 12 bits a value below a high bit of 16."""
    dataset = dicom_radiograph((stored << (high_bit - 11)).astype(stored.dtype), bits_stored=12, **LINEAR, **tags)
    dataset.HighBit = high_bit
    return dataset


@pytest.mark.parametrize("high_bit", [11, 13, 15])
@pytest.mark.parametrize("compressed", [False, True])
def test_values_are_taken_from_below_the_high_bit(tmp_path: Path, high_bit: int, compressed: bool) -> None:
    dataset = shifted(RAW, high_bit)
    if compressed:
        # The encoder takes whole cells only where they are said to be full.
        dataset.BitsStored = 16
        dataset.compress(RLELossless, (RAW << (high_bit - 11)).astype(np.uint16), generate_instance_uid=False)
        dataset.BitsStored = 12
    np.testing.assert_allclose(read(tmp_path, dataset).pixels, LEG, atol=ROUNDING)


def test_signed_values_below_a_high_bit_keep_their_sign(tmp_path: Path) -> None:
    # 12 bits with a sign reach from -2048 to 2047; the open field of 2000 + 2000 fits.
    stored = (raw_intensity(LEG, 4000.0).astype(int) - 2000).astype(np.int16)
    dataset = shifted(stored, 15, RescaleSlope="1", RescaleIntercept="2000")
    np.testing.assert_allclose(read(tmp_path, dataset).pixels, LEG, atol=ROUNDING)


def test_an_overlay_below_the_values_is_no_value_and_anything_else_is_a_contradiction(tmp_path: Path) -> None:
    dataset = shifted(RAW, 15)
    cells = (RAW << 4).astype(np.uint16)
    cells[5:20, 5:20] |= 1 << 2
    dataset.PixelData = cells.tobytes()
    with pytest.raises(InputError, match=r"begin at bit 4 \(High Bit\), and has values below it"):
        read(tmp_path, dataset)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 2)
    np.testing.assert_allclose(read(tmp_path, dataset).pixels, LEG, atol=ROUNDING)
    # A wrong High Bit over values that lie in the lowest bits.
    wrong = dicom_radiograph(RAW, bits_stored=12, **LINEAR)
    wrong.HighBit = 15
    with pytest.raises(InputError, match="High Bit"):
        read(tmp_path, wrong)


def too_few_bits(stored: np.ndarray, **tags: Any) -> Dataset:
    """An object that says 12 bits of whatever its cells hold."""
    return dicom_radiograph(stored, bits_stored=12, **LINEAR, **tags)


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
def test_values_larger_than_the_stated_bits_are_refused_instead_of_beginning_again_at_nothing(
    tmp_path: Path, syntax: str | None
) -> None:
    stored = raw_intensity(LEG, 6000.0)
    dataset = too_few_bits(stored)
    if syntax is not None:
        # The encoder takes whole cells only where they are said to be full.
        dataset.BitsStored = 16
        dataset.compress(syntax, stored, generate_instance_uid=False)
        dataset.BitsStored = 12
    with pytest.raises(InputError, match=r"says that its values have 12 bits \(Bits Stored\), and has larger values"):
        read(tmp_path, dataset)


def test_larger_values_are_refused_in_the_other_byte_order_too(tmp_path: Path) -> None:
    for open_field, refused in ((3000.0, False), (6000.0, True)):
        stored = raw_intensity(LEG, open_field)
        dataset = too_few_bits(stored)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dataset.PixelData = stored.astype(">u2").tobytes()
        dataset["PixelData"].VR = "OW"
        path = tmp_path / "image.dcm"
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
        if refused:
            with pytest.raises(InputError, match="has larger values as well"):
                read_radiograph(path)
        else:
            np.testing.assert_allclose(read_radiograph(path).pixels, LEG, atol=ROUNDING)


@pytest.mark.parametrize("bit", [12, 14])
def test_an_overlay_above_the_values_is_no_value_and_is_told_unless_the_file_tells_of_it(
    tmp_path: Path, bit: int
) -> None:
    cells = RAW.copy()
    cells[5:20, 5:60] |= 1 << bit
    dataset = too_few_bits(cells)
    silent = read(tmp_path, dataset)
    np.testing.assert_allclose(silent.pixels, LEG, atol=ROUNDING)
    assert any("something above the 12 bits of a value" in words for words in silent.warnings)
    dataset.add_new(0x60020100, "US", 16)
    dataset.add_new(0x60020102, "US", bit)
    stated = read(tmp_path, dataset)
    np.testing.assert_allclose(stated.pixels, LEG, atol=ROUNDING)
    assert not any("something above" in words for words in stated.warnings)


def test_values_that_all_lie_above_the_stated_bits_are_no_overlay(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has larger values as well"):
        read(tmp_path, too_few_bits((RAW | 1 << 12).astype(np.uint16)))


def test_padding_may_be_larger_than_the_stated_bits(tmp_path: Path) -> None:
    cells = RAW.copy()
    cells[:10] = 65535
    radiograph = read(tmp_path, too_few_bits(cells, PixelPaddingValue=65535))
    words = f"left out {10 * RAW.shape[1]} padding pixels (Pixel Padding Value)"
    assert words in radiograph.steps
    np.testing.assert_allclose(radiograph.pixels[10:], LEG[10:], atol=ROUNDING)
    # 4095 is what is left of it in 12 bits, and is a value.
    cells[50, 40] = 4095
    assert words in read(tmp_path, too_few_bits(cells, PixelPaddingValue=65535)).steps


def test_the_sign_may_fill_the_bits_above_or_none_of_them(tmp_path: Path) -> None:
    stored = (raw_intensity(LEG, 4000.0).astype(int) - 2000).astype(np.int16)
    rescale = {"RescaleSlope": "1", "RescaleIntercept": "2000"}
    filled = read(tmp_path, too_few_bits(stored, **rescale))
    np.testing.assert_allclose(filled.pixels, LEG, atol=ROUNDING)
    assert not any("taken as negative" in words for words in filled.warnings)
    # A writer that means values up to 4095 and states a sign by mistake makes the same file.
    bare = (stored & 0x0FFF).astype(np.int16)
    unfilled = read(tmp_path, too_few_bits(bare, **rescale))
    np.testing.assert_allclose(unfilled.pixels, LEG, atol=ROUNDING)
    assert any("Values of 2048 and more are taken as negative" in words for words in unfilled.warnings)
    both = stored.copy()
    both[0] = bare[0]
    larger = stored.copy()
    larger[0] = 2048 + stored[0]
    for wrong in (both, larger):
        with pytest.raises(InputError, match="has larger values as well"):
            read(tmp_path, too_few_bits(wrong, **rescale))


@pytest.mark.parametrize(
    ("allocated", "stored", "high"), [(16, 12, 16), (16, 12, 200), (16, 12, 10), (16, 12, 0), (16, 17, 16), (8, 12, 11)]
)
def test_bits_that_cannot_be_are_refused_in_words(tmp_path: Path, allocated: int, stored: int, high: int) -> None:
    dataset = dicom_radiograph(RAW, bits_stored=12, **LINEAR)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, stored, high
    words = rf"image\.dcm says that its values have {stored} bits of which bit {high} is the highest, in cells of {allocated}"
    with pytest.raises(InputError, match=words):
        read(tmp_path, dataset)


def test_an_absent_high_bit_is_the_usual_one(tmp_path: Path) -> None:
    dataset = dicom_radiograph(RAW, bits_stored=12, **LINEAR)
    del dataset.HighBit
    np.testing.assert_allclose(read(tmp_path, dataset).pixels, LEG, atol=ROUNDING)


def compressed(stored: np.ndarray, **tags: Any) -> Dataset:
    dataset = dicom_radiograph(stored, bits_stored=12, **LINEAR, **tags)
    dataset.compress(JPEG2000Lossless, stored, generate_instance_uid=False)
    return dataset


def test_a_stream_whose_values_are_said_to_begin_elsewhere_is_refused(tmp_path: Path) -> None:
    dataset = compressed(RAW)
    dataset.HighBit = 15
    with pytest.raises(InputError, match="compressed and says that its values begin at bit 4"):
        read(tmp_path, dataset)


def test_a_stream_with_rows_and_columns_exchanged_is_refused(tmp_path: Path) -> None:
    dataset = compressed(RAW)
    dataset.Rows, dataset.Columns = dataset.Columns, dataset.Rows
    with pytest.raises(InputError, match=r"image\.dcm holds pixels of another size than it states"):
        read(tmp_path, dataset)


def baseline(stored: np.ndarray, syntax: str = JPEGBaseline8Bit) -> Dataset:
    stream = io.BytesIO()
    Image.fromarray(stored).save(stream, "JPEG", quality=95)
    dataset = dicom_radiograph(stored, "CR")
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    return dataset


def test_a_stream_that_always_loses_is_told_though_no_tag_says_so(tmp_path: Path) -> None:
    picture = np.round(20 + 50 * LEG).astype(np.uint8)
    assert any("with loss" in words for words in read(tmp_path, baseline(picture)).warnings)
    assert not any("with loss" in words for words in read(tmp_path, compressed(RAW)).warnings)


def test_a_kind_of_stream_without_a_decoder_is_not_called_damage(tmp_path: Path) -> None:
    dataset = baseline(np.round(20 + 50 * LEG).astype(np.uint8), JPEGExtended12Bit)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    with pytest.raises(InputError, match=r"JPEG Extended .*more than 8 bits.*export it uncompressed"):
        read(tmp_path, dataset)


def test_a_cut_stream_is_refused(tmp_path: Path) -> None:
    dataset = compressed(RAW)
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([stream[: len(stream) // 4 * 2]])
    dataset["PixelData"].is_undefined_length = True
    with pytest.raises(InputError, match=r"image\.dcm.*(truncated|damaged)"):
        read(tmp_path, dataset)


@pytest.mark.parametrize(
    ("kind", "vr", "value"), [(np.int16, "US", 65536 - 900), (np.int16, "SS", -900), (np.uint16, "SS", 60000 - 65536)]
)
def test_padding_is_found_whether_its_sign_was_written_rightly_or_not(
    tmp_path: Path, kind: type, vr: str, value: int
) -> None:
    signed = kind is np.int16
    stored = (RAW.astype(int) - 2000 if signed else RAW).astype(kind)
    # Neither end of the scale, which the reader would leave out as a blade or take for the open field.
    pad = -900 if signed else 60000
    stored[:10] = pad
    rescale = {"RescaleSlope": "1", "RescaleIntercept": "2000"} if signed else {}
    dataset = dicom_radiograph(stored, **LINEAR, **rescale)
    dataset.add_new("PixelPaddingValue", vr, value)
    radiograph = read(tmp_path, dataset)
    assert any("padding pixels" in words for words in radiograph.steps)
    assert (radiograph.pixels[:10] == 0).all()
    assert np.median(np.abs(radiograph.pixels[10:] - LEG[10:])) < ROUNDING


def table_item(table: np.ndarray, vr: str = "US", order: str = "<", first: int = 0) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(table) % 65536, first, 16])
    item.add_new("LUTData", vr, table.astype(order + "u2").tobytes() if vr == "OW" else [int(entry) for entry in table])
    return item


def modality_item(table: np.ndarray, **how: Any) -> Dataset:
    item = table_item(table, **how)
    item.ModalityLUTType = "US"
    return item


def test_a_table_in_an_object_of_the_other_byte_order(tmp_path: Path) -> None:
    # Stored values 0..4095 through a table that undoes a square root.
    stored = np.round(np.sqrt(RAW.astype(float)) * 60).astype(np.uint16)
    table = np.round((np.arange(4096) / 60) ** 2)
    dataset = dicom_radiograph(stored, "RF", PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1)
    dataset.ModalityLUTSequence = Sequence([modality_item(table, vr="OW", order=">")])
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = stored.astype(">u2").tobytes()
    dataset["PixelData"].VR = "OW"
    path = tmp_path / "image.dcm"
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    # A table of whole numbers indexed by a rounded root: about 2 % of the faintest intensity.
    np.testing.assert_allclose(read_radiograph(path).pixels, LEG, atol=0.03)


def test_a_long_table_for_signed_values(tmp_path: Path) -> None:
    table = np.minimum(np.arange(40000), 4095)
    item = modality_item(table)
    signed = dicom_radiograph(RAW.astype(np.int16), "RF", ModalityLUTSequence=Sequence([item]), **LINEAR)
    signed.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    # In implicit VR the count reads as -25536, since the pixels have a sign.
    np.testing.assert_allclose(read(tmp_path, signed).pixels, LEG, atol=ROUNDING)


@pytest.mark.parametrize("falls", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_falling_modality_lut_turns_round_what_the_sign_says_of_stored_values(
    tmp_path: Path, falls: bool, sign: int
) -> None:
    stored = RAW if sign == 1 else (4095 - RAW).astype(np.uint16)
    table = np.arange(4096)[:: -1 if falls else 1]
    dataset = dicom_radiograph(
        stored,
        "RF",
        bits_stored=12,
        ModalityLUTSequence=Sequence([modality_item(table)]),
        PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=sign,
    )
    np.testing.assert_allclose(read(tmp_path, dataset).pixels, LEG, atol=ROUNDING)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("falls", [False, True])
def test_the_photometric_interpretation_speaks_of_values_after_the_voi_lut(
    tmp_path: Path, photometric: str, falls: bool
) -> None:
    display = np.round(200 + 600 * LEG).astype(np.uint16)[FILLED]
    bone_low = (photometric == "MONOCHROME1") != falls
    stored = (4095 - display if bone_low else display).astype(np.uint16)
    item = table_item(np.arange(4096)[:: -1 if falls else 1])
    dataset = dicom_radiograph(
        stored, "CR", bits_stored=12, PhotometricInterpretation=photometric, VOILUTSequence=Sequence([item])
    )
    radiograph = read(tmp_path, dataset)
    assert np.corrcoef(radiograph.pixels.ravel(), LEG[FILLED].ravel())[0, 1] > 0.999


def test_a_damaged_voi_lut_is_passed_over(tmp_path: Path) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    dataset = dicom_radiograph(RAW, VOILUTSequence=Sequence([item]), **LINEAR)
    np.testing.assert_allclose(read(tmp_path, dataset).pixels, LEG, atol=ROUNDING)
