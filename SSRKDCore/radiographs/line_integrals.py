"""From stored pixel values to line integrals -log(I / I0), by what the values mean.

A line integral is 0 where the beam met nothing and grows with what it met (Beer-Lambert: I = I0 exp(-integral of mu)).
Simulated images hold it, raw detector images give it through the logarithm, and presentation images (what a hospital
archives) only give something that grows with it: their scale here is approximate, and they say so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.radiographs.exposed_field import flat_corners, open_field_contrast
from SSRKDCore.radiographs.radiograph import INTENSITY_KINDS
from SSRKDCore.radiographs.stored_image import StoredImage

# The densest paths through an adult knee: about 12 cm of soft tissue (0.2 / cm at 60 keV) and up to 8 cm of bone.
DENSE_KNEE_LINE_INTEGRAL = 4.0
# exp(-30) of the beam is no photon: nobody's image holds such a line integral, but grey values do.
LARGEST_LINE_INTEGRAL = 30.0
# A detector does not tell less than this fraction of the open beam from nothing.
FAINTEST_TRANSMISSION = 1e-4
OPEN_FIELD_PERCENTILE = 99.5
DISPLAY_PERCENTILES = (1.0, 99.5)
# Largest part of an image that may sit at one extreme value, by what that extreme means.
MOST_DENSE, MOST_OPEN, MOST_OPEN_LINE_INTEGRAL = 0.60, 0.85, 0.97

Values = NDArray[np.floating]


def to_line_integrals(
    path: str, image: StoredImage, intensity: str = "auto"
) -> tuple[NDArray[np.float32], list[str], list[str]]:
    """Convert an image to line integrals.

    Parameters
    ----------
    path: the file, for messages.
    image: stored values and the file's own hints.
    intensity: "line_integral" (taken as they are), "raw" (proportional to transmitted intensity), "presentation"
        (display values), or "auto": what the file says, else floating point within the range of line integrals is
        taken as such and everything else as display values.

    Returns
    -------
    pixels: float32 [row, column].
    steps, warnings: in words.

    Raises InputError for NaN or infinite values, constant and saturated images, and values that cannot be what they are
    said to be.
    """
    if intensity not in INTENSITY_KINDS:
        raise InputError(f"The intensity is '{intensity}', and it must be one of {', '.join(INTENSITY_KINDS)}.")
    values = image.values
    inside = values if image.valid is None else values[image.valid]
    _check_usable(path, values, inside)
    kind, reason = (intensity, "you said so") if intensity != "auto" else _meant(image, inside)
    steps = [f"took the values as {_KIND_WORDS[kind]}, because {reason}"]
    if kind == "line_integral":
        pixels, more_steps, warnings = _as_line_integrals(path, values, inside)
    elif kind == "raw":
        pixels, more_steps, warnings = _from_raw(path, image, inside)
    elif kind == "log":
        bone_high, direction_warnings = _direction(image, image.grows_with_attenuation)
        pixels, more_steps, warnings = _from_scale(path, image, inside, bone_high)
        warnings += direction_warnings
        warnings.append("The file gives logarithmic values without their scale, so densities are approximate.")
    else:
        pixels, more_steps, warnings = _from_presentation(path, image, inside)
    if image.valid is not None:
        pixels = _in_field(image, pixels)
        more_steps.append("set padding to 0 (no signal)")
    return np.ascontiguousarray(pixels, dtype=np.float32), steps + more_steps, warnings


_KIND_WORDS = {
    "line_integral": "line integrals",
    "raw": "transmitted X-ray intensity",
    "log": "logarithmic X-ray intensity",
    "presentation": "display values",
}


def _check_usable(path: str, values: Values, inside: Values) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        raise InputError(
            f"{path} holds {int((~finite).sum())} pixels that are NaN or infinite: repair the image before using it."
        )
    if inside.size == 0:
        raise InputError(f"{path} holds padding only: export the image again.")
    if float(inside.max()) == float(inside.min()):
        raise InputError(
            f"{path} is constant (every pixel is {float(inside.min()):g}), so it shows nothing: choose another image."
        )


def _meant(image: StoredImage, inside: Values) -> tuple[str, str]:
    """The kind of intensity, and why, when the user leaves it to the file."""
    if image.intensity is not None:
        return image.intensity, image.kind_reason
    if image.full_scale is None and float(inside.min()) >= -1.0 and float(inside.max()) <= LARGEST_LINE_INTEGRAL:
        return "line_integral", "they are floating point numbers in the range of line integrals"
    if image.full_scale is not None and image.full_scale <= 255:
        return "presentation", "8-bit images are made for screens"
    return "presentation", "nothing in the file says that they were measured on a physical scale"


def _as_line_integrals(path: str, values: Values, inside: Values) -> tuple[Values, list[str], list[str]]:
    largest = float(inside.max())
    if largest > LARGEST_LINE_INTEGRAL:
        raise InputError(
            f"{path} holds values up to {largest:g}, and no line integral -log(I/I0) is above "
            f"{LARGEST_LINE_INTEGRAL:g}: say that the intensity is raw or presentation."
        )
    _check_saturation(path, inside, dense_is_high=True, most_open=MOST_OPEN_LINE_INTEGRAL)
    warnings = []
    if float(inside.min()) < -0.5:
        warnings.append(
            f"Line integrals go down to {float(inside.min()):.2f}, and below 0 more came out than went in: "
            "check the open-field value."
        )
    return values, [], warnings


def _from_raw(path: str, image: StoredImage, inside: Values) -> tuple[Values, list[str], list[str]]:
    """-log(I / I0), I0 from the open field."""
    steps: list[str] = []
    # What a file says about the direction of display values says nothing about raw ones.
    grows, warnings = _direction(image, image.grows_with_attenuation if image.intensity == "raw" else False)
    if grows:
        top = image.full_scale if image.full_scale is not None else float(inside.max())
        image = replace(image, values=top - image.values)
        steps.append(f"turned the values round (higher values mean less X-rays): {top:g} - value")
    image, inside, words = _without_blades(image, dense_is_high=False)
    steps += words
    values = image.values
    _check_saturation(path, inside, dense_is_high=False, most_open=MOST_OPEN)
    if float(inside.min()) < 0:
        warnings.append("Some intensities are below 0 and were taken as no X-rays at all.")
    brightest = float(inside.max())
    clipped = float((inside == brightest).mean())
    if clipped > 0.01:
        open_field = brightest
        steps.append(
            f"open-field intensity I0 = {open_field:g}, the largest value ({100 * clipped:.0f} % of the image has it: "
            "open field, which may be saturated)"
        )
    else:
        open_field = float(np.percentile(inside, OPEN_FIELD_PERCENTILE))
        steps.append(f"open-field intensity I0 = {open_field:g} (percentile {OPEN_FIELD_PERCENTILE:g} of the image)")
    if open_field <= 0:
        raise InputError(
            f"{path} holds no positive intensity, so it is not raw X-ray intensity: say what the intensity is."
        )
    # Half a grey level is the most that a stored 0 can have been.
    floor = max(
        open_field * FAINTEST_TRANSMISSION, 0.5 if image.full_scale is not None and not _rescaled(image) else 0.0
    )
    pixels = -np.log(np.maximum(values, floor) / open_field)
    steps.append("line integral = -log(I / I0), not below 0")
    return _in_field(image, np.maximum(pixels, 0.0)), steps, warnings


def _direction(image: StoredImage, stated: bool | None) -> tuple[bool, list[str]]:
    """Whether values grow with attenuation: as stated, else as the open field shows, else not; and a warning where nothing is stated."""
    if stated is not None:
        return stated, []
    contrast = open_field_contrast(image.values, image.valid)
    grows = contrast is not None and contrast > 0
    return grows, [
        "The file does not say whether higher values mean more or less X-rays: "
        f"{'less' if grows else 'more'} was {'assumed' if contrast is None else 'seen from the open field'}."
    ]


def _rescaled(image: StoredImage) -> bool:
    return bool(np.any(image.values != np.round(image.values)))


def _from_presentation(path: str, image: StoredImage, inside: Values) -> tuple[Values, list[str], list[str]]:
    """Display values, bone white or bone dark, to an approximate attenuation scale."""
    warnings = []
    declared = image.grows_with_attenuation
    contrast = open_field_contrast(image.values, image.valid)
    seen = None if contrast is None else contrast > 0
    steps = []
    if declared is None and seen is None:
        bone_bright = not image.white_is_low
        warnings.append("Nothing tells whether bone is bright or dark in this image: bright was assumed.")
    elif seen is None:
        bone_bright = bool(declared)
        steps.append(f"bone is {'bright' if bone_bright else 'dark'} (the file says so)")
    else:
        bone_bright = seen
        steps.append(f"bone is {'bright' if seen else 'dark'} (seen from the background at the image's sides)")
        if declared is not None and declared != seen:
            warnings.append(
                "The file's photometric interpretation says that bone has "
                f"{'high' if declared else 'low'} values, and the picture shows the opposite: the picture was followed."
            )
    pixels, more_steps, more_warnings = _from_scale(path, image, inside, bone_bright)
    warnings.append(
        "Display values are not calibrated: they were mapped to an approximate attenuation scale, which "
        "keeps shapes but not densities."
    )
    return pixels, steps + more_steps, warnings + more_warnings


def _from_scale(path: str, image: StoredImage, inside: Values, bone_high: bool) -> tuple[Values, list[str], list[str]]:
    """Straight map of the values to 0 .. DENSE_KNEE_LINE_INTEGRAL: screens show about the logarithm of intensity."""
    image, inside, steps = _without_blades(image, dense_is_high=bone_high)
    _check_saturation(path, inside, dense_is_high=bone_high, most_open=MOST_OPEN)
    sign = 1.0 if bone_high else -1.0
    low, high = (float(v) for v in np.percentile(sign * inside, DISPLAY_PERCENTILES))
    if high <= low:
        low, high = float((sign * inside).min()), float((sign * inside).max())
    scaled = np.clip((sign * image.values - low) / (high - low), 0.0, 1.0)
    words = f"mapped values from {sign * low:g} (open field) to {sign * high:g} (dense bone)"
    steps.append(f"{words} straight onto 0 to {DENSE_KNEE_LINE_INTEGRAL:g}")
    return _in_field(image, DENSE_KNEE_LINE_INTEGRAL * scaled), steps, []


def _without_blades(image: StoredImage, dense_is_high: bool) -> tuple[StoredImage, Values, list[str]]:
    """Mark as invalid what collimator blades or a round field kept from the X-rays; else it would look like metal.

    Returns the image, its valid values, and the step in words.
    """
    valid = np.ones(image.values.shape, dtype=bool) if image.valid is None else image.valid
    inside = image.values[valid]
    blades = flat_corners(image.values, float(inside.max() if dense_is_high else inside.min()))
    part = float(blades.mean())
    if not blades.any() or part > MOST_DENSE or not (valid & ~blades).any():
        return image, inside, []
    valid = valid & ~blades
    words = f"set the unexposed border ({100 * part:.0f} % of the image) to 0 (no signal)"
    return replace(image, valid=valid), image.values[valid], [words]


def _in_field(image: StoredImage, pixels: Values) -> Values:
    return pixels if image.valid is None else np.where(image.valid, pixels, 0.0)


def _check_saturation(path: str, inside: Values, dense_is_high: bool, most_open: float) -> None:
    """Refuse images most of which sits at one extreme: no bone is seen where the detector or the export clipped."""
    low, high = float((inside == inside.min()).mean()), float((inside == inside.max()).mean())
    dense, open_field = (high, low) if dense_is_high else (low, high)
    for fraction, limit, words in ((dense, MOST_DENSE, "densest"), (open_field, most_open, "most exposed")):
        if fraction > limit:
            raise InputError(
                f"{path} is saturated: {100 * fraction:.0f} % of its pixels have the same {words} value, "
                "so the bones are cut off; export the image again without clipping, or say what its intensity is."
            )
