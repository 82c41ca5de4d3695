"""Which pixel spacing of a projection DICOM object counts, in which plane it holds, and what to tell the user.

Two attributes compete. Imager Pixel Spacing (0018,1164) is the pitch at the detector. Pixel Spacing (0028,0030) is
either the same, or calibrated: divided by the magnification of some plane in the patient. PS3.3 10.7.1 names how
by Pixel Spacing Calibration Type: GEOMETRY (from the distances, at a nominal depth of the patient) or FIDUCIAL (from an
object of known size in the image). The calibrated value wins, because it says what a millimetre of the patient is. It
is
no detector pitch, and a rig must not use it as one: see `SSRKDCore.geometry.dicom_rig`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.radiograph import DicomGeometry
from SSRKDCore.radiographs.stored_image import checked_spacing

# Makers round the two attributes differently (0.139 and 0.14 mm): without a stated calibration this is no calibration.
ROUNDING = 0.01
# With a stated calibration type, the values are equal only when they agree to the digits written.
EQUAL = 0.001


@dataclass(frozen=True)
class SpacingChoice:
    """The spacing that wins (mm, between rows then columns), its plane, and the words about it."""

    spacing: tuple[float, float] | None
    plane: str = "detector"
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_spacing(
    path: str,
    stated: DicomGeometry,
    nominal_scanned: tuple[float, float] | None = None,
    aspect: tuple[float, float] | None = None,
) -> SpacingChoice:
    """Choose between the imager's and the calibrated pixel spacing of a projection image.

    Parameters
    ----------
    path: the file, for messages.
    stated: what the object says.
    nominal_scanned: Nominal Scanned Pixel Spacing (0018,2010) of a digitised film, used when nothing else is there.
    aspect: Pixel Aspect Ratio (0028,0034), (between rows, between columns).

    Raises InputError when a stated spacing is absurd, and when there is none and pixels are not square: without a spacing they are taken
    to be.
    """
    choice = _choice(path, stated, nominal_scanned)
    if choice.spacing is None and not _agree((1.0, 1.0), aspect):
        assert aspect is not None
        raise InputError(
            f"{path} states pixels that are not square ({aspect[0]:g} : {aspect[1]:g}, rows : columns) and no pixel spacing: give both "
            "values of the pixel spacing yourself, between rows and between columns."
        )
    return replace(choice, warnings=(*choice.warnings, *aspect_warnings(aspect, choice.spacing)))


def aspect_warnings(aspect: tuple[float, float] | None, spacing: tuple[float, float] | None) -> list[str]:
    """What to tell the user where the spacing (mm) that is used contradicts the shape of a pixel that a file states."""
    if aspect is None or spacing is None or _agree(spacing, aspect):
        return []
    return [
        f"The file states pixels of {aspect[0]:g} : {aspect[1]:g} (rows : columns), and pixels of {spacing[0]:g} x {spacing[1]:g} mm were "
        "taken: one of the two is wrong, and bones are stretched if it is the second."
    ]


def _agree(spacing: tuple[float, float], aspect: tuple[float, float] | None) -> bool:
    return aspect is None or abs(spacing[0] * aspect[1] / (spacing[1] * aspect[0]) - 1.0) <= ROUNDING


def _choice(path: str, stated: DicomGeometry, nominal_scanned: tuple[float, float] | None) -> SpacingChoice:
    imager, pixel = stated.imager_pixel_spacing, stated.pixel_spacing
    if imager is not None:
        imager = checked_spacing(path, imager, "Imager Pixel Spacing")
    if pixel is not None:
        pixel = checked_spacing(path, pixel, "Pixel Spacing")
    calibrated_by = stated.calibration_type

    if pixel is None and imager is None:
        if nominal_scanned is not None:
            scanned = checked_spacing(path, nominal_scanned, "Nominal Scanned Pixel Spacing")
            words = f"pixel spacing {_mm(scanned)} of the scanned film (Nominal Scanned Pixel Spacing)"
            return SpacingChoice(
                scanned, "detector", (words,), (words + ": it holds only if the film was scanned 1:1.",)
            )
        return SpacingChoice(None, warnings=("The file states no pixel spacing: sizes come from the rig alone.",))
    if pixel is None:
        assert imager is not None
        return SpacingChoice(
            imager, "detector", (f"pixel spacing {_mm(imager)} at the detector (Imager Pixel Spacing)",)
        )
    if imager is None:
        if calibrated_by is None:
            words = f"pixel spacing {_mm(pixel)} (Pixel Spacing; no Imager Pixel Spacing, no calibration stated)"
            return SpacingChoice(
                pixel,
                "detector",
                (words,),
                (
                    "The file has a Pixel Spacing but does not say in which plane it holds: it is taken "
                    "at the detector.",
                ),
            )
        words = f"pixel spacing {_mm(pixel)} in the patient ({_how(stated)}); the detector's own spacing is not stated"
        return SpacingChoice(pixel, "object", (words,), (words + ".",))

    ratio = max(abs(pixel[axis] / imager[axis] - 1.0) for axis in (0, 1))
    if ratio <= (EQUAL if calibrated_by else ROUNDING):
        return SpacingChoice(pixel, "detector", (f"pixel spacing {_mm(pixel)} at the detector (not calibrated)",))
    percent = 100.0 * (pixel[0] / imager[0] - 1.0)
    words = (
        f"calibrated pixel spacing {_mm(pixel)} used instead of the detector's {_mm(imager)}: {abs(percent):.1f} % "
        f"{'smaller' if percent < 0 else 'larger'}, {_how(stated)}"
    )
    if percent < 0:
        meaning = f", which places that plane where the image is magnified {imager[0] / pixel[0]:.3f} times"
    else:
        meaning = ". No plane of a patient is magnified less than once, so the pixels were resized after acquisition"
    return SpacingChoice(pixel, "object", (words,), (words[0].upper() + words[1:] + meaning + ".",))


def _mm(spacing: tuple[float, float]) -> str:
    """Both values, or one when they are equal."""
    return f"{spacing[0]:g} mm" if spacing[0] == spacing[1] else f"{spacing[0]:g} x {spacing[1]:g} mm"


def _how(stated: DicomGeometry) -> str:
    """How the calibrated spacing came about, in the user's words."""
    kind = (stated.calibration_type or "").upper()
    if kind == "GEOMETRY":
        words = "computed from the distances for a plane at the patient's nominal depth (GEOMETRY)"
    elif kind == "FIDUCIAL":
        words = "measured on an object of known size in the image, at that object's depth (FIDUCIAL)"
    else:
        words = "by a calibration that the file does not describe, taken to hold in the patient"
    return words + (f", '{stated.calibration_description}'" if stated.calibration_description else "")
