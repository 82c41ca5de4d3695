"""Making an image look like those that a network was trained on, without training: its grey values and its fineness.

The grey values follow the training images' distribution by a monotone curve, and the power in each band of spatial frequencies is brought
to theirs by a filter without direction or phase, so that edges stay where they are. What lies within the training images' own spread is
left alone, and what lies outside is brought to its border: an image of the domain stays as it is. The filter is limited: a picture of
something else does not become a knee. After histogram specification (R. C. Gonzalez and R. E. Woods, Digital Image Processing) and
amplitude matching as in Y. Yang and S. Soatto, "FDA: Fourier domain adaptation", CVPR 2020, here of radial means instead of single
coefficients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from SSRKDCore.errors import InputError
from SSRKDCore.json_files import read_json, write_json
from SSRKDCore.radiographs.standardise import ROBUST, standardise

SCHEMA = "ssrkd-style-reference/1"
Array = NDArray[np.float64]
Values = NDArray[np.floating]

#: Shares of pixels whose values are compared, and bands of spatial frequency up to half a cycle a pixel.
_LEVELS = 33
_BANDS = 24
#: Standard deviations of the training images within which nothing is changed.
_USUAL = 2.0
#: How far a band is raised or lowered at most.
_LARGEST_GAIN = 2.0
#: Below so many cycles in an image a band holds the leg's shape, which is not style.
_SHAPE_CYCLES = 6.0
#: The curves of a reference and their lengths, in the order of its fields.
_CURVES = {"values": _LEVELS, "log_power": _BANDS, "values_spread": _LEVELS, "log_power_spread": _BANDS}


@dataclass(frozen=True)
class StyleReference:
    """How the images of a training domain look on the mean, after standardisation, and how far they differ.

    Attributes
    ----------
    size: pixels a side of the images.
    values: (33,) mean values at equally spaced shares of the covered pixels, from the least to the largest.
    log_power: (24,) mean logarithm of the power in bands of equal width up to 0.5 cycles/pixel.
    values_spread, log_power_spread: standard deviations of both over the images.
    images: how many images it is the mean of. source: where they came from, in words.
    """

    size: int
    values: Array
    log_power: Array
    values_spread: Array
    log_power_spread: Array
    images: int
    source: str

    @property
    def fingerprint(self) -> str:
        """Changes when matched images do."""
        words = repr((self.size, _USUAL, [_rounded(getattr(self, name)) for name in _CURVES]))
        return hashlib.sha256(words.encode("ascii")).hexdigest()[:16]

    def save(self, path: str | Path) -> None:
        """Write as JSON (schema ssrkd-style-reference/1)."""
        head = {"schema": SCHEMA, "size": self.size, "images": self.images, "source": self.source}
        write_json(Path(path), {**head, **{name: _rounded(getattr(self, name)) for name in _CURVES}})

    @classmethod
    def load(cls, path: str | Path) -> StyleReference:
        """Read what `save` wrote. Raises InputError for anything else."""
        content: dict[str, Any] = read_json(Path(path), "a style reference")
        if content.get("schema") != SCHEMA:
            raise InputError(
                f"{path} has schema {content.get('schema')!r}, not {SCHEMA!r}: make it with ssrkd style-reference."
            )
        try:
            curves = [np.asarray(content[name], dtype=np.float64) for name in _CURVES]
            values, power, values_spread, power_spread = curves
            images, source = int(content["images"]), str(content["source"])
            found = cls(int(content["size"]), values, power, values_spread, power_spread, images, source)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}): make it again with ssrkd style-reference.") from error
        shapes = [curve.shape for curve in curves] == [(length,) for length in _CURVES.values()]
        if not (
            shapes
            and found.size >= 16
            and all(np.isfinite(curve).all() for curve in curves)
            and (np.diff(found.values) >= 0).all()
            and min(found.values_spread.min(), found.log_power_spread.min()) >= 0
        ):
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
        wanted = np.maximum.accumulate(_within(own, self.values, self.values_spread))
        if not np.array_equal(wanted, own):
            # Flat stretches (much open field of one value) would make the curve ambiguous.
            fine = np.interp(fine, np.maximum.accumulate(own + 1e-6 * np.arange(_LEVELS)), wanted)
        return np.where(seen, fine, 0.0).astype(np.float32)

    def _in_frequency(self, image: Array) -> Array:
        own = log_power(image)
        change = (_within(own, self.log_power, self.log_power_spread) - own) / 2
        if not change.any():
            return image
        gain = np.exp(np.clip(change, -np.log(_LARGEST_GAIN), np.log(_LARGEST_GAIN)))
        rim = self.size // 8
        padded = np.pad(image, rim, mode="reflect")
        frequency = _frequency(padded.shape[0])
        centres = (np.arange(_BANDS) + 0.5) * 0.5 / _BANDS
        wanted = np.interp(frequency, centres, gain)
        start = _SHAPE_CYCLES / self.size
        share = np.clip((frequency - start) / start, 0.0, 1.0)
        spectrum = rfft2(padded) * (1 + share * (wanted - 1))
        return np.asarray(irfft2(spectrum, padded.shape)[rim:-rim, rim:-rim])


def _within(own: Array, mean: Array, spread: Array) -> Array:
    """What an image has, brought into the usual."""
    return np.asarray(np.clip(own, mean - _USUAL * spread, mean + _USUAL * spread))


def _rounded(curve: Array) -> list[float]:
    return [round(float(value), 5) for value in curve]


def log_power(image: Array) -> Array:
    """(24,) mean logarithm of the power of a square image in bands of frequency, the rim faded out by a Hann window."""
    size = image.shape[0]
    fade, inside, band, counts, total = _bands(size)
    power = np.abs(rfft2((image - image.mean()) * fade)) ** 2 / size**2
    sums = np.bincount(band, counts * np.log(power[inside] + 1e-12), minlength=_BANDS)
    return np.asarray(sums / total)


@lru_cache(maxsize=4)
def _bands(size: int) -> tuple[Array, NDArray[np.bool_], NDArray[np.int64], Array, Array]:
    """What images of one size share: the window; and of the spectrum's coefficients which count, their bands and how often they count, and
    how many a band has.
    """
    fade = np.hanning(size)
    frequency = _frequency(size)
    inside = frequency <= 0.5
    band = np.minimum((frequency[inside] / 0.5 * _BANDS).astype(int), _BANDS - 1)
    # Of a real image's spectrum all columns but the first and, of even sizes, the last stand for two.
    twice = np.full(frequency.shape[1], 2.0)
    twice[0] = 1.0
    if size % 2 == 0:
        twice[-1] = 1.0
    counts = np.broadcast_to(twice, frequency.shape)[inside]
    return np.outer(fade, fade), inside, band, counts, np.maximum(np.bincount(band, counts, minlength=_BANDS), 1)


def fitted_style(
    images: Iterable[Values], source: str, progress: Callable[[float, str], None] | None = None, total: int = 0
) -> StyleReference:
    """The statistics of images (S, S) of line integrals, all covered. Raises InputError without images or for several sizes.

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
    mean, spread = (np.mean(values, axis=0), np.mean(powers, axis=0)), (np.std(values, axis=0), np.std(powers, axis=0))
    return StyleReference(size, *mean, *spread, len(values), source)


@lru_cache(maxsize=8)
def _frequency(size: int) -> Array:
    """(size, size // 2 + 1) cycles a pixel of the spectrum of a real image."""
    return np.asarray(np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]))


def _filled(image: Array, seen: NDArray[np.bool_]) -> Array:
    """The image with what is not covered continued from its rim, so that the rim is no edge."""
    from scipy.ndimage import distance_transform_edt

    if seen.all():
        return image
    _, (row, column) = distance_transform_edt(~seen, return_indices=True)
    return np.asarray(image[row, column])
