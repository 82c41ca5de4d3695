"""Projection X-ray images from DICOM: CR, DX, RF and XA, one frame, in any transfer syntax that a decoder is there for.

The VOI LUT or window is display only (a clipped or bent grey scale) and never changes the pixels here. The photometric
interpretation says which end of the grey scale a screen shows white; it decides nothing about physics, except for
presentation images, where bone is white on the screen (PS3.3 C.7.6.3.1.2, C.8.11.3).
"""

from __future__ import annotations

import logging
import threading
import warnings as python_warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs import dicom_tags as tags
from SSRKDCore.radiographs.dicom_bits import CODESTREAMS, lowest_bit, stored_values
from SSRKDCore.radiographs.dicom_lookup_table import display_turns_round, modality_turns_round, modality_values
from SSRKDCore.radiographs.dicom_padding import padding_of_cells, padding_of_values
from SSRKDCore.radiographs.dicom_spacing import SpacingChoice, choose_spacing
from SSRKDCore.radiographs.jpeg_markers import stated_size
from SSRKDCore.radiographs.radiograph import DicomGeometry
from SSRKDCore.radiographs.real_world_values import line_integral_scale
from SSRKDCore.radiographs.stored_image import StoredImage, check_size
from SSRKDCore.radiographs.view_words import view_from_words

SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "CR",
    "1.2.840.10008.5.1.4.1.1.1.1": "DX",
    "1.2.840.10008.5.1.4.1.1.1.1.1": "DX",
    "1.2.840.10008.5.1.4.1.1.12.1": "XA",
    "1.2.840.10008.5.1.4.1.1.12.1.1": "XA",
    "1.2.840.10008.5.1.4.1.1.12.2": "RF",
    "1.2.840.10008.5.1.4.1.1.12.2.1": "RF",
}
MODALITIES = {"CR": "CR", "DX": "DX", "RG": "DX", "RF": "RF", "XA": "XA"}
DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
MAXIMUM_FILE_BYTES = 4 * 1024**3
CODECS_HINT = "pip install ssrkdcore[dicom-codecs]"


_quiet_lock = threading.Lock()
_quiet_readers: list[object] = []
_quiet_until_the_last = ExitStack()


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep pydicom's remarks about non-conforming values from the user's terminal; ours are the messages they see.

    Both are the process's own, and a pair is read on two threads: the first reader silences them, and the last one brings them back.
    """
    reader = object()
    with _quiet_lock:
        if not _quiet_readers:
            logger = logging.getLogger("pydicom")
            _quiet_until_the_last.callback(logger.setLevel, logger.level)
            _quiet_until_the_last.enter_context(python_warnings.catch_warnings())
            logger.setLevel(logging.CRITICAL)
            python_warnings.simplefilter("ignore")
        _quiet_readers.append(reader)
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_readers.remove(reader)
            if not _quiet_readers:
                _quiet_until_the_last.close()


@_quietly()
def read_dicom(path: Path, frame: int | None = None, spacing_counts: bool = True) -> StoredImage:
    """Read one projection image from a DICOM file.

    Parameters
    ----------
    path: the file, with or without the 128-byte preamble.
    frame: which frame of a multi-frame object, counted from 1 as viewers do.
    spacing_counts: False where the user says the pixel spacing, so that nothing is taken or refused of what the file says.

    Raises InputError for other modalities, colour, missing or truncated pixels, missing decoders, a multi-frame object
    without a choice, statements about bits and sizes that contradict one another, absurd spacings, and pixels that are not square
    without a spacing.
    """
    dataset = _read_dataset(path)
    modality = _modality(path, dataset)
    frame_index, frame_steps = _frame_index(path, dataset, frame)
    rows, columns = tags.integer(dataset, "Rows"), tags.integer(dataset, "Columns")
    if not _has_pixels(dataset) or rows is None or columns is None:
        raise InputError(f"{path} is a DICOM {modality} object without pixels: export the image itself from the PACS.")
    _check_grey(path, dataset)
    check_size(str(path), rows, columns)

    steps = [f"read a DICOM {modality} image of {rows} x {columns} pixels{_transfer_words(dataset)}", *frame_steps]
    notes: list[str] = []
    stored = cells = _decode(path, dataset, frame_index)
    if cells.shape != (rows, columns) or _codestream_size(dataset, frame_index) not in (None, (rows, columns)):
        raise InputError(f"{path} holds pixels of another size than it states: the file is damaged.")
    padding = None
    if cells.dtype.kind in "iu":
        lowest = lowest_bit(path, dataset)
        padding = padding_of_cells(cells, dataset, lowest)
        stored, doubts = stored_values(path, dataset, cells, lowest, padding)
        notes.extend(doubts)
    bits = tags.integer(dataset, "BitsStored") or 16
    signed = tags.integer(dataset, "PixelRepresentation") == 1
    padding = padding_of_values(stored, dataset, padding)
    valid = None if padding is None else ~padding
    if valid is not None:
        steps.append(f"left out {int((~valid).sum())} padding pixels (Pixel Padding Value)")
    scale = _real_world_scale(dataset)
    full_scale: float | None = None
    values: NDArray[np.floating]
    if scale is not None:
        values = stored.astype(np.float64) * scale[0] + scale[1]
        lut_words = f"scaled the stored values to line integrals (Real World Value Mapping, slope {scale[0]:g})"
    else:
        values, lut_words = modality_values(path, stored, dataset, frame_index)
    if scale is None:
        # A negative slope, or a falling table, turns the range round.
        ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        full_scale = float(modality_values(path, np.array(ends), dataset, frame_index)[0].max())
    if lut_words:
        steps.append(lut_words)
    if tags.raw_value(dataset, "VOILUTSequence") is not None or tags.raw_value(dataset, "WindowWidth") is not None:
        steps.append("ignored the display window (VOI LUT): it changes what a screen shows, not what was measured")

    geometry = _geometry(dataset, modality, frame_index)
    scanned = _pair(tags.numbers(dataset, "NominalScannedPixelSpacing"))
    aspect = _aspect(dataset)
    spacing = choose_spacing(str(path), geometry, scanned, aspect) if spacing_counts else SpacingChoice(None)
    steps.extend(spacing.steps)
    notes.extend(spacing.warnings)
    notes.extend(_content_warnings(dataset))
    intensity: str
    grows: bool | None
    if scale is not None:
        intensity, grows, reason = "line_integral", True, "the file maps its values to line integrals"
    else:
        intensity, grows, reason = _meaning(dataset, modality, frame_index, rescaled=bool(lut_words))
    return StoredImage(
        values=values,
        valid=valid,
        intensity=intensity,
        grows_with_attenuation=grows,
        full_scale=full_scale,
        kind_reason=reason,
        pixel_spacing=spacing.spacing,
        spacing_plane=spacing.plane,
        pixel_aspect=aspect,
        view=view_from_words(geometry.view_position),
        side={"R": "right", "L": "left"}.get(geometry.laterality or ""),
        patient_id=tags.text(dataset, "PatientID"),
        steps=tuple(steps),
        warnings=tuple(notes),
        geometry=geometry,
    )


def _read_dataset(path: Path) -> Dataset:
    size = path.stat().st_size
    if size > MAXIMUM_FILE_BYTES:
        raise InputError(f"{path} is {size / 1e9:.1f} GB, too large for a radiograph: export single images.")
    try:
        # A file object, so that no path encoding ever matters.
        with path.open("rb") as stream:
            return pydicom.dcmread(stream, force=True)
    except Exception as error:  # pydicom promises no closed set of exceptions for damaged data
        raise InputError(f"{path} is a damaged or truncated DICOM file: export it again ({_short(error)}).") from error


def _modality(path: Path, dataset: Dataset) -> str:
    sop_class = tags.text(dataset, "SOPClassUID")
    stated = (tags.text(dataset, "Modality") or "").upper()
    if sop_class in SOP_CLASSES:
        if stated in ("CT", "MR", "US", "NM", "PT", "MG"):
            raise InputError(f"{path} is a {stated} image, not a radiograph: give a CR, DX, RF or XA image.")
        return MODALITIES.get(stated, SOP_CLASSES[sop_class])
    if sop_class is None and stated in MODALITIES:
        return MODALITIES[stated]
    if sop_class is None and not stated:
        raise InputError(f"{path} does not say what kind of DICOM object it is: give a CR, DX, RF or XA image.")
    kind = UID(sop_class).name if sop_class else ""
    named = f"{stated} ({kind})" if stated and kind else stated or kind
    raise InputError(f"{path} is a {named} object, not a radiograph: give a CR, DX, RF or XA image.")


def _frame_index(path: Path, dataset: Dataset, frame: int | None) -> tuple[int, list[str]]:
    count = tags.integer(dataset, "NumberOfFrames") or 1
    if count <= 1:
        if frame not in (None, 1):
            raise InputError(f"{path} holds a single image, so frame {frame} does not exist: leave the frame out.")
        return 0, []
    if frame is None:
        raise InputError(f"{path} holds {count} frames: choose one of them, frame 1 to {count}.")
    if not 1 <= frame <= count:
        raise InputError(f"{path} holds {count} frames, so frame {frame} does not exist: choose 1 to {count}.")
    return frame - 1, [f"took frame {frame} of {count}"]


def _has_pixels(dataset: Dataset) -> bool:
    return any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))


def _check_grey(path: Path, dataset: Dataset) -> None:
    photometric = (tags.text(dataset, "PhotometricInterpretation") or "MONOCHROME2").upper()
    if (tags.integer(dataset, "SamplesPerPixel") or 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(
            f"{path} is a colour image ({photometric}), not an X-ray measurement: export the original greyscale image."
        )


def _transfer_words(dataset: Dataset) -> str:
    uid = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    return f" ({UID(uid).name})" if uid is not None and UID(uid).is_transfer_syntax and UID(uid).is_compressed else ""


def _decode(path: Path, dataset: Dataset, frame_index: int) -> NDArray[Any]:
    if getattr(dataset, "file_meta", None) is None or "TransferSyntaxUID" not in dataset.file_meta:
        # Objects without file meta information (bare data sets) say their syntax only by how they could be parsed.
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

        implicit, little = dataset.original_encoding
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    lowest_bit(path, dataset)  # what contradicts itself is refused before decoders speak of it
    try:
        return np.asarray(pixel_array(dataset, index=frame_index, raw=True, correct_unused_bits=False))
    except Exception as error:  # neither pydicom nor the decoders promise a closed set of exceptions
        if "dependencies" in str(error) or ("plugin" in str(error) and "missing" in str(error)):
            raise InputError(
                f"{path} is compressed as {UID(syntax).name} and no decoder for it is installed: {CODECS_HINT}."
            ) from error
        if syntax == JPEGExtended12Bit and (tags.integer(dataset, "BitsStored") or 8) > 8:
            raise InputError(
                f"{path} is compressed as {UID(syntax).name} with more than 8 bits, for which there is no decoder: export it uncompressed."
            ) from error
        raise InputError(
            f"{path} has pixels that cannot be decoded, so it is truncated or damaged: export it again "
            f"({_short(error)})."
        ) from error


def _codestream_size(dataset: Dataset, frame_index: int) -> tuple[int, int] | None:
    """(rows, columns) that a frame's own compressed stream states, or None: pydicom arranges its pixels by the object's instead."""
    if dataset.file_meta.TransferSyntaxUID not in CODESTREAMS:
        return None
    try:
        frames = tags.integer(dataset, "NumberOfFrames") or 1
        return stated_size(get_frame(dataset.PixelData, frame_index, number_of_frames=frames))
    except Exception:  # as for every damaged value: pydicom promises no closed set of exceptions
        return None


def _real_world_scale(dataset: Dataset) -> tuple[float, float] | None:
    try:
        return line_integral_scale(dataset)
    except Exception:  # as for every damaged value: pydicom's converters promise no closed set of exceptions
        return None


def _meaning(dataset: Dataset, modality: str, frame_index: int, rescaled: bool) -> tuple[str, bool | None, str]:
    """What the values mean, from the object's own words: (intensity kind, do they grow with attenuation, reason)."""
    description = " ".join(
        tags.text(dataset, keyword) or "" for keyword in ("DerivationDescription", "ImageComments", "RescaleType")
    ).lower()
    if rescaled and ("line integral" in description or "line_integral" in description):
        return "line_integral", True, "the file says that its values are line integrals"
    intent = (tags.text(dataset, "PresentationIntentType") or "").upper()
    monochrome2 = (tags.text(dataset, "PhotometricInterpretation") or "MONOCHROME2").upper() == "MONOCHROME2"
    # It speaks of values after the display's own table (PS3.3 C.7.6.3.1.2), which may turn them round.
    white_is_high = monochrome2 != display_turns_round(dataset)
    relationship = (tags.text(dataset, "PixelIntensityRelationship", frame_index) or "").upper()
    sign = tags.integer(dataset, "PixelIntensityRelationshipSign", frame_index)
    # The sign speaks of stored values.
    grows = None if sign not in (1, -1) else (sign == -1) != modality_turns_round(dataset, frame_index)
    if intent == "FOR PRESENTATION":
        # Every DX object must state LIN or LOG, also after the processing for screens that made the statement untrue.
        high = white_is_high if grows is None else grows
        return (
            "presentation",
            high,
            f"the file is FOR PRESENTATION and shows bone with {'high' if high else 'low'} values",
        )
    if relationship == "LIN":
        # XA and RF may leave the sign out: their LIN means proportional to the beam's intensity (PS3.3 C.8.7.1.1.2).
        sign_words = "" if grows is None else f", sign {'-1' if grows else '+1'}"
        return "raw", bool(grows), f"the file says that its values are linear in X-ray intensity (LIN{sign_words})"
    if (
        relationship == "LOG"
        and modality in ("XA", "RF")
        and tags.first_item(dataset, "ModalityLUTSequence") is not None
    ):
        # In XA and RF the Modality LUT of a logarithmic image leads back to values linear in intensity.
        return "raw", False, "the file's Modality LUT makes its values linear in X-ray intensity"
    if relationship == "LOG":
        # Without a sign, the screen convention decides: bone is shown white. In XA and RF it does not: their LOG means proportional to the
        # logarithm of the beam's intensity (PS3.3 C.8.7.1.1.2), unless the picture shows that the maker meant the opposite.
        silent = None if modality in ("XA", "RF") else white_is_high
        return "log", silent if grows is None else grows, "the file says that its values are logarithmic (LOG)"
    if intent == "FOR PROCESSING" or tags.text(dataset, "SOPClassUID") == DX_FOR_PROCESSING:
        return "raw", grows, "the file is FOR PROCESSING, and does not say how its values relate to X-ray intensity"
    if modality in ("XA", "RF") and monochrome2:
        # These objects must state MONOCHROME2 (PS3.3 C.8.7.1), whichever way bone is shown.
        return "presentation", grows, f"this {modality} file says nothing of what its values mean"
    words = f"this {modality} file says nothing but that bone has {'high' if white_is_high else 'low'} values"
    return "presentation", white_is_high, words


def _geometry(dataset: Dataset, modality: str, frame_index: int) -> DicomGeometry:
    def angle(keyword: str) -> float | None:
        value = tags.number(dataset, keyword, frame_index)
        increments = tags.numbers(dataset, keyword + "Increment")
        if value is not None and increments is not None and frame_index < len(increments):
            value += increments[frame_index]
        return value

    view = tags.text(dataset, "ViewPosition")
    code = tags.first_item(dataset, "ViewCodeSequence")
    if view is None and code is not None:
        view = tags.text(code, "CodeMeaning")
    orientation = (tags.text(dataset, "PatientOrientation") or "").split("\\")
    cosines = tags.numbers(dataset, "ImageOrientationPatient", frame_index)
    laterality = tags.text(dataset, "ImageLaterality") or tags.text(dataset, "Laterality")
    if laterality is None:
        laterality = tags.text(dataset, "FrameLaterality", frame_index)
    return DicomGeometry(
        modality=modality,
        source_to_detector=_positive(tags.number(dataset, "DistanceSourceToDetector", frame_index)),
        source_to_patient=_positive(tags.number(dataset, "DistanceSourceToPatient", frame_index)),
        primary_angle=angle("PositionerPrimaryAngle"),
        secondary_angle=angle("PositionerSecondaryAngle"),
        positioner_type=tags.text(dataset, "PositionerType"),
        imager_pixel_spacing=_pair(tags.numbers(dataset, "ImagerPixelSpacing", frame_index)),
        pixel_spacing=_pair(tags.numbers(dataset, "PixelSpacing", frame_index)),
        calibration_type=tags.text(dataset, "PixelSpacingCalibrationType"),
        calibration_description=tags.text(dataset, "PixelSpacingCalibrationDescription"),
        estimated_magnification=_positive(
            tags.number(dataset, "EstimatedRadiographicMagnificationFactor", frame_index)
        ),
        view_position=view,
        laterality=laterality.upper()[:1] if laterality else None,
        patient_orientation=(orientation[0], orientation[1]) if len(orientation) == 2 and all(orientation) else None,
        image_orientation=cosines if cosines is not None and len(cosines) == 6 and np.isfinite(cosines).all() else None,
    )


def _content_warnings(dataset: Dataset) -> Iterator[str]:
    body_part = (tags.text(dataset, "BodyPartExamined") or "").upper()
    # LEFT KNEE, KNEES, KNEE_AP: makers say more than the standard's terms.
    if "KNEE" not in body_part and body_part not in (
        "",
        "LEG",
        "EXTREMITY",
        "FEMUR",
        "TIBIA",
        "THIGH",
        "LOWERLEG",
        "LOWEREXTREMITY",
        "LOWER LEG",
        "LOWER EXTREMITY",
        "PATELLA",
        "FIBULA",
        "LOWER LIMB",
        "LOWERLIMB",
    ):
        yield f"The file says that it shows {body_part}, not a knee."
    if (tags.text(dataset, "LossyImageCompression") or "") == "01" or (
        dataset.file_meta.TransferSyntaxUID in (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
    ):
        yield "The image was compressed with loss: fine structure may be gone."


def _pair(values: tuple[float, ...] | None) -> tuple[float, float] | None:
    """(between rows, between columns); one value alone means both."""
    if not values:
        return None
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def _aspect(dataset: Dataset) -> tuple[float, float] | None:
    """Pixel Aspect Ratio (0028,0034): (between rows, between columns), or None where it states none."""
    values = tags.numbers(dataset, "PixelAspectRatio")
    if values is None or len(values) != 2 or not np.isfinite(values).all() or min(values) <= 0:
        return None
    return values[0], values[1]


def _positive(value: float | None) -> float | None:
    """Distances and factors of 0 are how some makers say that they do not know."""
    return value if value is not None and value > 0 else None


def _short(error: Exception) -> str:
    """The first line of an error, kept short: decoders add pages."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:120].rstrip(".")
