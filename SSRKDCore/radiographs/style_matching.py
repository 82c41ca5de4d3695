"""Making an image look like those that a network was trained on, without training: its grey values and its fineness.

The grey values follow the training images' distribution by a monotone curve, and the power in each band of spatial frequencies is brought
to theirs by a filter without direction or phase, so that edges stay where they are. Both are limited: a picture of something else does not
become a knee. After histogram specification (R. C. Gonzalez and R. E. Woods, Digital Image Processing) and amplitude matching as in
Y. Yang and S. Soatto, "FDA: Fourier domain adaptation", CVPR 2020, here of radial means instead of single coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.radiographs.standardise import ROBUST, standardise

SCHEMA = "ssrkd-style/1"
Array = NDArray[np.float64]
Values = NDArray[np.floating]

#: Shares of pixels whose values are compared, and bands of spatial frequency up to half a cycle a pixel.
_LEVELS = 33
_BANDS = 24
#: How much of the way the grey values go, and how far a band is raised or lowered at most.
_VALUE_SHARE = 0.7
_LARGEST_GAIN = 2.0
#: Below so many cycles in an image a band holds the leg's shape, which is not style.
_SHAPE_CYCLES = 6.0


@dataclass(frozen=True)
class StyleReference:
    """How the images of a training domain look on the mean, after standardisation.

    Attributes
    ----------
    size: pixels a side of the images.
    values: (33,) mean values at equally spaced shares of the covered pixels, from the least to the largest.
    log_power: (24,) mean logarithm of the power in bands of equal width up to 0.5 cycles/pixel.
    images: how many images it is the mean of. source: where they came from, in words.
    """

    size: int
    values: Array
    log_power: Array
    images: int
    source: str

    def save(self, path: str | Path) -> None:
        """Write as JSON (schema ssrkd-style/1)."""
        content = {
            "schema": SCHEMA, "size": self.size, "images": self.images, "source": self.source,
            "values": [round(float(v), 5) for v in self.values], "log_power": [round(float(v), 5) for v in self.log_power],
        }  # fmt: skip
        write_json(Path(path), content)

    @classmethod
    def load(cls, path: str | Path) -> StyleReference:
        """Read what `save` wrote. Raises InputError for anything else."""
        content: dict[str, Any] = read_json(Path(path), "a style reference")
        if content.get("schema") != SCHEMA:
            raise InputError(
                f"{path} has schema {content.get('schema')!r}, not {SCHEMA!r}: make it with ssrkd style-reference."
            )
        try:
            values, power = (np.asarray(content[name], dtype=np.float64) for name in ("values", "log_power"))
            found = cls(int(content["size"]), values, power, int(content["images"]), str(content["source"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}): make it again with ssrkd style-reference.") from error
        usable = values.shape == (_LEVELS,) and power.shape == (_BANDS,) and found.size >= 16
        if not usable or not (np.isfinite(values).all() and np.isfinite(power).all() and (np.diff(values) >= 0).all()):
            raise InputError(f"{path} holds no usable statistics: make it again with ssrkd style-reference.")
        return found

    def matched(self, image: Values, coverage: Values) -> NDArray[np.float32]:
        """A network view in this style.

        image: (S, S) line integrals. coverage: (S, S) 0..1. Returns (S, S) float32 on the standardised scale, 0 where nothing is covered.

        Raises InputError for an image of another size or without contrast.
        """
        if image.shape != (self.size, self.size):
            raise InputError(
                f"The style reference is for images of {self.size} pixels a side and the model reads {image.shape[0]}: "
                "make one from this model's samples."
            )
        seen = coverage >= 0.5
        plain = standardise(image, coverage, ROBUST).astype(np.float64)
        fine = self._in_frequency(_filled(plain, seen))
        own = np.quantile(fine[seen], np.linspace(0, 1, _LEVELS))
        # Flat stretches (much open field of one value) would make the curve ambiguous.
        own = np.maximum.accumulate(own + 1e-6 * np.arange(_LEVELS))
        curve = np.interp(fine, own, self.values)
        result = fine + _VALUE_SHARE * (curve - fine)
        return np.where(seen, result, 0.0).astype(np.float32)

    def _in_frequency(self, image: Array) -> Array:
        gain = np.exp(np.clip((self.log_power - log_power(image)) / 2, -np.log(_LARGEST_GAIN), np.log(_LARGEST_GAIN)))
        rim = self.size // 8
        padded = np.pad(image, rim, mode="reflect")
        frequency = _frequency(padded.shape[0])
        centres = (np.arange(_BANDS) + 0.5) * 0.5 / _BANDS
        wanted = np.interp(frequency, centres, gain)
        start = _SHAPE_CYCLES / self.size
        share = np.clip((frequency - start) / start, 0.0, 1.0)
        spectrum = np.fft.fft2(padded) * (1 + share * (wanted - 1))
        return np.asarray(np.fft.ifft2(spectrum).real[rim:-rim, rim:-rim])


def log_power(image: Array) -> Array:
    """(24,) mean logarithm of the power of a square image in bands of frequency, the rim faded out by a Hann window."""
    size = image.shape[0]
    fade = np.hanning(size)
    power = np.abs(np.fft.fft2((image - image.mean()) * np.outer(fade, fade))) ** 2 / size**2
    band = np.minimum((_frequency(size) / 0.5 * _BANDS).astype(int), _BANDS - 1)
    inside = _frequency(size) <= 0.5
    sums = np.bincount(band[inside], np.log(power[inside] + 1e-12), minlength=_BANDS)
    return sums / np.maximum(np.bincount(band[inside], minlength=_BANDS), 1)


def fitted_style(
    images: Iterable[Values], source: str, progress: Callable[[float, str], None] | None = None, total: int = 0
) -> StyleReference:
    """The mean statistics of images (S, S) of line integrals, all covered. Raises InputError without images or for several sizes.

    total: how many images there are, for progress.
    """
    values, powers, size = [], [], None
    for number, image in enumerate(images, start=1):
        if size is not None and image.shape != (size, size):
            raise InputError("The images have different sizes: fit one style for each size.")
        size = image.shape[0]
        plain = standardise(image, np.ones(image.shape), ROBUST).astype(np.float64)
        values.append(np.quantile(plain, np.linspace(0, 1, _LEVELS)))
        powers.append(log_power(plain))
        if progress is not None and total:
            progress(number / total, f"image {number} of {total}")
    if size is None:
        raise InputError("There are no images to fit a style to: name samples of training cases.")
    return StyleReference(size, np.mean(values, axis=0), np.mean(powers, axis=0), len(values), source)


def _frequency(size: int) -> Array:
    along = np.fft.fftfreq(size)
    return np.asarray(np.hypot(along[:, None], along[None, :]))


def _filled(image: Array, seen: NDArray[np.bool_]) -> Array:
    """The image with what is not covered continued from its rim, so that the rim is no edge."""
    from scipy.ndimage import distance_transform_edt

    if seen.all():
        return image
    _, (row, column) = distance_transform_edt(~seen, return_indices=True)
    return np.asarray(image[row, column])
