"""A ruler's ticks found in a radiograph: a strip of the image that is periodic along itself, and nothing but a strip.

Strips along both sides of the image, turned by up to some degrees, are cut into windows; a window's share of energy in one period and its
harmonics says how much of it is ticks. Windows in a row that agree make a ruler. An anti-scatter grid is as regular, but fills the image.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.ball import LARGEST_MAGNIFICATION
from SSRKDCore.geometry.calibration.ruler import (
    LEAST_PERIODS,
    SHORTEST_PERIOD_PX,
    RulerMeasurement,
    measure_ticks,
    ticks_between,
)

Array = NDArray[np.float64]

#: A candidate of at least this confidence counts as found.
FOUND_CONFIDENCE = 0.5
_SLOPES = np.tan(np.radians(np.arange(-12.0, 13.0, 3.0)))
_BAND_PX, _STEP_PX = 5, 3
_WINDOW_PERIODS, _FEWEST_PERIODS = 12, 8
_PERIODIC = 0.6
# Contrast of ticks over the image's own noise between neighbouring pixels.
_LEAST_CONTRAST = 3.0
# A grid is periodic in more of the strips of one direction than a ruler is wide.
_MOST_STRIPS = 0.3
_SAME_PERIOD = 0.04
_CANDIDATES = 4


@dataclass(frozen=True)
class RulerCandidate:
    """ends: (2, 2) [row, column] of the line that crosses the ticks. confidence: 0..1, share of the profile that is ticks. measured: the
    scale there."""

    ends: Array
    confidence: float
    measured: RulerMeasurement

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "ends": self.ends.tolist(),
            "confidence": self.confidence,
            "ticks": self.measured.ticks,
            "pixel_size_at_ruler_mm": self.measured.pixel_size_mm,
        }


def find_rulers(
    image: NDArray[np.floating], tick_mm: float, pixel_spacing: float | None = None, tilt_degrees: float = 5.0
) -> list[RulerCandidate]:
    """Rows of ticks, the most confident first; an empty list when there are none.

    Parameters
    ----------
    image: (rows, columns) line integrals, square pixels.
    tick_mm: distance of neighbouring ticks. pixel_spacing: mm on the detector; None looks for periods up to an eighth of the image.
    tilt_degrees: as in `measure_ticks`.
    """
    values = np.asarray(image, dtype=np.float64)
    periods = _periods(values, tick_mm, pixel_spacing)
    found: list[RulerCandidate] = []
    for turned in (False, True):
        oriented = values.T if turned else values
        lines = [
            ends for slope in _SLOPES for part in _octaves(periods) for ends in _runs(oriented, float(slope), part)
        ]
        for ends in lines:
            candidate = _measured(values, ends[:, ::-1] if turned else ends, tick_mm, pixel_spacing, tilt_degrees)
            if candidate is not None:
                found.append(candidate)
    found.sort(key=lambda candidate: -candidate.confidence * float(np.sqrt(candidate.measured.ticks or 0.0)))
    kept: list[RulerCandidate] = []
    for candidate in found:
        if not any(_overlap(candidate, other) for other in kept):
            kept.append(candidate)
    return kept[:_CANDIDATES]


def measure_found_ruler(
    image: NDArray[np.floating], tick_mm: float, pixel_spacing: float | None = None, tilt_degrees: float = 5.0
) -> tuple[RulerMeasurement, list[RulerCandidate]]:
    """Find the ruler and measure its scale; see `find_rulers`.

    Returns the measurement and all candidates, the measured one first.
    Raises InputError when none is confident enough, or several contradict one another.
    """
    candidates = find_rulers(image, tick_mm, pixel_spacing, tilt_degrees)
    sure = [candidate for candidate in candidates if candidate.confidence >= FOUND_CONFIDENCE]
    if not sure:
        raise InputError(
            f"No ruler with ticks {tick_mm:g} mm apart was found in the image: mark two places along it with --ends, or use a ball."
        )
    sizes = [candidate.measured.pixel_size_mm for candidate in sure]
    if max(sizes) / min(sizes) > 1 + _SAME_PERIOD:
        raise InputError(
            f"{len(sure)} rows of ticks were found, and they contradict one another: mark the ruler with --ends."
        )
    return sure[0].measured, [*sure, *(candidate for candidate in candidates if candidate not in sure)]


def _periods(values: Array, tick_mm: float, pixel_spacing: float | None) -> tuple[float, float]:
    """Shortest and longest distance of ticks in pixels."""
    if not 0.2 <= tick_mm <= 100:
        raise InputError(f"Ticks {tick_mm:g} mm apart cannot be looked for: give 0.2 to 100 mm.")
    longest = max(values.shape) / _FEWEST_PERIODS
    if pixel_spacing is None:
        return SHORTEST_PERIOD_PX, longest
    low = 0.97 * tick_mm / pixel_spacing
    if low * LARGEST_MAGNIFICATION < SHORTEST_PERIOD_PX:
        raise InputError(
            f"Ticks {tick_mm:g} mm apart are finer than the image shows: use coarser ones or a finer image."
        )
    if low > longest:
        raise InputError(f"Ticks {tick_mm:g} mm apart leave too few of them in the image: use finer ones, or --ends.")
    return max(low, SHORTEST_PERIOD_PX), min(LARGEST_MAGNIFICATION * low, longest)


def _octaves(periods: tuple[float, float]) -> list[tuple[float, float]]:
    """The range of periods in parts of at most a factor of two: a window is as long as a number of its longest."""
    count = max(1, int(np.ceil(np.log2(periods[1] / periods[0]) - 1e-9)))
    limits = periods[0] * (periods[1] / periods[0]) ** (np.arange(count + 1) / count)
    return [(float(low), float(high)) for low, high in itertools.pairwise(limits)]


def _runs(oriented: Array, slope: float, periods: tuple[float, float]) -> list[Array]:
    """Ends (2, 2) [row, column] of rows of ticks along lines column = start + slope * row."""
    from scipy.ndimage import gaussian_filter1d, uniform_filter1d

    rows, columns = oriented.shape
    if rows < _FEWEST_PERIODS * periods[0]:
        return []
    shift = np.rint(slope * (np.arange(rows) - rows / 2)).astype(int)
    at = np.arange(columns) + shift[:, None]
    inside = (at >= 0) & (at < columns)
    sheared = np.take_along_axis(oriented, np.clip(at, 0, columns - 1), axis=1)
    strips = uniform_filter1d(sheared, _BAND_PX, axis=1)[:, ::_STEP_PX]
    strips = strips - gaussian_filter1d(strips, periods[1], axis=0, mode="nearest")
    whole = inside[:, ::_STEP_PX]
    length = int(min(max(_WINDOW_PERIODS * periods[1], 64), rows))
    noise = 1.4826 * float(np.median(np.abs(np.diff(oriented, axis=0)))) / np.sqrt(_BAND_PX)
    starts = np.unique(
        np.linspace(0, rows - length, max(1, int(np.ceil(2 * (rows - length) / length)) + 1)).astype(int)
    )
    share, frequency = np.zeros((2, len(starts), strips.shape[1]))
    for index, start in enumerate(starts):
        part = slice(start, start + length)
        share[index], frequency[index] = _periodic(strips[part], periods, noise)
        share[index, ~whole[part].all(axis=0)] = 0.0
    periodic = share > _PERIODIC
    if periodic.mean(axis=1).max() > _MOST_STRIPS:
        return []
    ends = []
    for strip in _best_strips(np.where(periodic, share, 0.0).sum(axis=0)):
        windows = np.flatnonzero(periodic[:, strip])
        middle = float(np.median(frequency[windows, strip]))
        agreeing = windows[np.abs(frequency[windows, strip] / middle - 1) < _SAME_PERIOD]
        if not len(agreeing):
            continue
        top, bottom = int(starts[agreeing[0]]), int(starts[agreeing[-1]]) + length - 1
        column = strip * _STEP_PX
        ends.append(np.array([[row, column + shift[row]] for row in (top, bottom)], dtype=np.float64))
    return ends


def _periodic(strips: Array, periods: tuple[float, float], noise: float) -> tuple[Array, Array]:
    """(share, frequency) of each column of (length, N): how much of its energy is in one frequency and its harmonics, ticks a pixel."""
    length = len(strips)
    tapered = strips * np.hanning(length)[:, None]
    power = np.abs(np.fft.rfft(tapered, 2 * length, axis=0)) ** 2
    frequencies = np.fft.rfftfreq(2 * length)
    # A Hann window spreads a line over this many bins of the doubled transform.
    around = 4
    low, high = (int(np.searchsorted(frequencies, 1 / period)) for period in periods[::-1])
    low = max(low, around)
    high = max(high, low + 1)
    sums = np.apply_along_axis(np.convolve, 0, power, np.ones(2 * around + 1), mode="same")
    columns = np.arange(power.shape[1])
    best = low + power[low:high].argmax(axis=0)
    # Narrow ticks have harmonics as strong as the period itself; the lowest one that is nearly as strong is the period.
    for divisor in (3, 2):
        lower = np.rint(best / divisor).astype(int)
        usable = (lower >= low) & (power[lower, columns] > 0.4 * power[best, columns])
        best = np.where(usable, lower, best)
    total = np.zeros(power.shape[1])
    for harmonic in range(1, 5):
        place = np.minimum(harmonic * best, len(power) - 1)
        total += np.where(harmonic * best < len(power), sums[place, columns], 0.0)
    share = np.minimum(total / np.maximum(power.sum(axis=0), 1e-30), 1.0)
    amplitude = strips.std(axis=0)
    return np.where(amplitude > _LEAST_CONTRAST * noise, share, 0.0), frequencies[best]


def _best_strips(scores: Array) -> list[int]:
    """Columns whose score is the largest among their neighbours, the best first."""
    from scipy.ndimage import maximum_filter1d

    peaks = np.flatnonzero((scores > 0) & (scores == maximum_filter1d(scores, 9)))
    return [int(strip) for strip in peaks[np.argsort(-scores[peaks])][:_CANDIDATES]]


def _measured(
    values: Array, ends: Array, tick_mm: float, pixel_spacing: float | None, tilt_degrees: float
) -> RulerCandidate | None:
    """The ticks along a line, or None where it does not measure."""
    margin = _BAND_PX
    ends = np.clip(ends, margin, np.array(values.shape) - 1 - margin)
    try:
        measured = measure_ticks(values, ends, tick_mm, pixel_spacing, tilt_degrees)
        # The windows that found the ticks reach beyond the ruler.
        ends = ticks_between(values, ends, measured.pixel_size_mm / tick_mm)
        measured = measure_ticks(values, ends, tick_mm, pixel_spacing, tilt_degrees)
    except InputError:
        return None
    if measured.periodic_share is None or (measured.ticks or 0.0) < LEAST_PERIODS or (measured.residual or 0.0) > 1.5:
        return None
    return RulerCandidate(ends, measured.periodic_share, measured)


def _overlap(one: RulerCandidate, other: RulerCandidate) -> bool:
    """Whether two lines run along the same ruler: the middle of one lies near the other."""
    direction = other.ends[1] - other.ends[0]
    length = float(np.linalg.norm(direction))
    off = one.ends.mean(axis=0) - other.ends[0]
    along = float(off @ direction) / length
    across = abs(float(off[0] * direction[1] - off[1] * direction[0])) / length
    return -0.1 * length < along < 1.1 * length and across < 0.15 * length
