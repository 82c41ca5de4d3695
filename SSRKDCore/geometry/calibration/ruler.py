"""A ruler in a radiograph: two marked ends, or its ticks along a line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.ball import LARGEST_MAGNIFICATION

Array = NDArray[np.float64]

#: Standard uncertainty of a click on a ruler's end, pixels.
CLICK_PX = 1.0
_BAND_PX = 4
_SAMPLES_PER_PX = 2
#: Fewer ticks are no ruler, and ticks nearer to one another are not told apart.
LEAST_PERIODS = 5
SHORTEST_PERIOD_PX = 3.0
# So many ticks in a row may be hidden on a ruler.
_MOST_HIDDEN = 4
# Correlation with the usual tick, and height over its height, of another.
_TICK_LIKENESS, _TICK_HEIGHT = 0.7, 0.3
# Share of the profile's variance that the ticks must explain.
_LEAST_PERIODIC = 0.3


@dataclass(frozen=True)
class RulerMeasurement:
    """The scale that a ruler gives in its own plane.

    Attributes
    ----------
    ends: (2, 2) [row, column].
    length_mm: between the ends, on the ruler.
    pixel_size_mm: of a pixel at the ruler, half way along it.
    magnification: or None without the detector's pixel spacing.
    uncertainty_percent: standard uncertainty, the ruler's unknown tilt included.
    scale_change_percent: by how much the ticks' distance grows from the first to the second end (a ruler tilted towards the
        detector); None for two ends alone.
    ticks: how many tick distances were seen; None for two ends alone.
    residual: how far single ticks lie from the fitted ones, pixels (root mean square); None for two ends alone.
    periodic_share: share (0..1) of what varies along the line that is ticks; None for two ends alone.
    """

    ends: Array
    length_mm: float
    pixel_size_mm: float
    magnification: float | None
    uncertainty_percent: float
    scale_change_percent: float | None = None
    ticks: float | None = None
    residual: float | None = None
    periodic_share: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "ends": self.ends.tolist(),
            "length_mm": self.length_mm,
            "pixel_size_at_ruler_mm": self.pixel_size_mm,
            "magnification": self.magnification,
            "uncertainty_percent": self.uncertainty_percent,
            "scale_change_percent": self.scale_change_percent,
            "ticks": self.ticks,
            "residual_px": self.residual,
            "periodic_share": self.periodic_share,
        }


def measure_ruler(
    ends: ArrayLike,
    length_mm: float,
    pixel_spacing: float | None = None,
    tilt_degrees: float = 5.0,
    click_px: float = CLICK_PX,
) -> RulerMeasurement:
    """The scale from two clicked ends of a known length.

    Parameters
    ----------
    ends: (2, 2) [row, column]. length_mm: between them. pixel_spacing: mm on the detector, square pixels.
    tilt_degrees: how far the ruler may be from parallel to the detector; a tilted ruler looks shorter, by its cosine.
    click_px: standard uncertainty of a click.
    """
    ends = np.asarray(ends, dtype=np.float64)
    pixels = float(np.linalg.norm(ends[1] - ends[0])) if ends.shape == (2, 2) else float("nan")
    if not (np.isfinite(pixels) and pixels >= 20 * click_px):
        raise InputError("The ruler's ends are too close together to measure with: mark two places farther apart.")
    _check_numbers(length_mm, tilt_degrees)
    relative = np.hypot(np.sqrt(2) * click_px / pixels, _tilt(tilt_degrees))
    size = length_mm / pixels
    return RulerMeasurement(ends, length_mm, size, _magnification(size, pixel_spacing), float(100 * relative))


def measure_ticks(
    image: NDArray[np.floating],
    ends: ArrayLike,
    tick_mm: float,
    pixel_spacing: float | None = None,
    tilt_degrees: float = 5.0,
) -> RulerMeasurement:
    """The scale from the ticks between two places on a ruler, wherever exactly these two are.

    Parameters
    ----------
    image: (rows, columns), ticks brighter or darker than the ruler.
    ends: (2, 2) [row, column]; the line between them crosses the ticks.
    tick_mm: distance of neighbouring ticks.

    The period is that of the strongest periodic part of the profile along the line; phases fitted in short pieces then give the
    period's precision, its change along the ruler (perspective of a tilted ruler), and the residual.
    Raises InputError when no ticks are seen.
    """
    ends = np.asarray(ends, dtype=np.float64)
    if ends.shape != (2, 2) or not np.isfinite(ends).all():
        raise InputError("A line along the ruler needs two places, each a row and a column: mark them.")
    _check_numbers(tick_mm, tilt_degrees)
    profile, length = _profile(image, ends)
    frequency, share = _strongest(profile)
    if frequency is None or share < _LEAST_PERIODIC:
        raise InputError(
            f"No ticks were seen along the line ({100 * share:.0f} % of it is periodic): draw the line across the ticks, or "
            "mark two ends of a known length."
        )
    count = frequency * length
    places, phases, weights = _phases(profile, frequency)
    # Phase (in ticks) over place: its slope corrects the frequency, its curvature is the change of scale.
    system = np.stack([np.ones_like(places), places, places**2], axis=1)
    bend = len(places) >= 5
    used = system if bend else system[:, :2]
    root = np.sqrt(weights)
    solved, *_ = np.linalg.lstsq(used * root[:, None], phases * root, rcond=None)
    left = phases - used @ solved
    residual = float(np.sqrt((weights * left**2).sum() / weights.sum()))
    slope = float(solved[1])
    per_pixel = frequency + slope
    change = -2 * float(solved[2]) * length / per_pixel if bend else 0.0
    if not per_pixel > 0:
        raise InputError("The ticks along the line are not regular: mark two ends of a known length instead.")
    covariance = np.linalg.pinv((used * root[:, None]).T @ (used * root[:, None])) * residual**2 * weights.max()
    relative = float(np.sqrt(max(covariance[1, 1], 0.0))) / per_pixel
    size = tick_mm * per_pixel
    return RulerMeasurement(
        ends,
        tick_mm * per_pixel * length,
        size,
        _magnification(size, pixel_spacing),
        float(100 * np.hypot(relative, _tilt(tilt_degrees))),
        100 * change,
        float(count),
        residual / per_pixel,
        share,
    )


def ticks_between(image: NDArray[np.floating], ends: ArrayLike, per_pixel: float) -> Array:
    """(2, 2) [row, column]: the first and the last tick on a line.

    ends: (2, 2) of a line that crosses the ticks and may go on beyond them. per_pixel: ticks a pixel along it.

    A tick is what looks like most of the others. A few in a row that a bone hides do not end the ruler. Without any ticks the line is
    returned as it is.
    """
    ends = np.asarray(ends, dtype=np.float64)
    profile, length = _profile(image, ends)
    position = np.arange(len(profile)) / _SAMPLES_PER_PX
    wave = np.exp(-2j * np.pi * per_pixel * position)
    strength = np.abs(np.convolve(profile * wave, np.hanning(round(6 * _SAMPLES_PER_PX / per_pixel)), mode="same"))
    strong = strength >= 0.5 * strength.max()
    phase = -float(np.angle((profile * wave)[strong].sum())) / (2 * np.pi)
    places = (np.arange(int(np.ceil(0.7 - phase)), length * per_pixel - 0.7 - phase) + phase) / per_pixel
    typical = np.interp(places, position, strong) > 0.5
    if typical.sum() < LEAST_PERIODS:
        return ends
    # (shifts, ticks, samples) around each place, without a slope; ticks of a tilted ruler may lie a little beside.
    within = np.linspace(-0.5, 0.5, max(8, round(_SAMPLES_PER_PX / per_pixel)), endpoint=False)
    shifts = np.linspace(-0.2, 0.2, 5)
    parts = np.interp((places[:, None] + (shifts[:, None, None] + within) / per_pixel), position, profile)
    slope = np.stack([np.ones_like(within), within], axis=1)
    parts = parts - parts @ np.linalg.pinv(slope).T @ slope.T
    usual = np.median(parts[2][typical], axis=0)
    size = float(np.linalg.norm(usual))
    likeness = parts @ usual / np.maximum(np.linalg.norm(parts, axis=2) * size, 1e-30)
    best = likeness.max(axis=0)
    height = (parts @ usual).max(axis=0) / max(size**2, 1e-30)
    seen = np.flatnonzero((best > _TICK_LIKENESS) & (height > _TICK_HEIGHT))
    if not len(seen):
        return ends
    apart = np.flatnonzero(np.diff(seen) > _MOST_HIDDEN)
    firsts, lasts = seen[np.append(0, apart + 1)], seen[np.append(apart, len(seen) - 1)]
    longest = int((lasts - firsts).argmax())
    along = (ends[1] - ends[0]) / length
    return np.stack([ends[0] + places[tick] * along for tick in (firsts[longest], lasts[longest])])


def _check_numbers(length_mm: float, tilt_degrees: float) -> None:
    if not 0.2 <= length_mm <= 2000:
        raise InputError(f"A ruler's length of {length_mm:g} mm cannot be used: give 0.2 to 2000 mm.")
    if not 0 <= tilt_degrees <= 30:
        raise InputError(
            f"The ruler's tilt is {tilt_degrees:g} degrees: give 0 to 30, or hold it parallel to the detector."
        )


def _tilt(tilt_degrees: float) -> float:
    """Share by which a ruler tilted up to so far looks shorter."""
    return float(1 - np.cos(np.radians(tilt_degrees)))


def _magnification(size: float, pixel_spacing: float | None) -> float | None:
    if pixel_spacing is None:
        return None
    value = pixel_spacing / size
    if not 1 <= value <= LARGEST_MAGNIFICATION:
        why = "nothing is seen smaller than it is" if value < 1 else "nothing in a patient is seen so large"
        raise InputError(
            f"The ruler is seen {value:.3f} times its size, and {why}: check its length and the pixel spacing on the detector."
        )
    return value


def _profile(image: NDArray[np.floating], ends: Array) -> tuple[Array, float]:
    """Values along the line, averaged over a band across it, without slow changes; and its length in pixels."""
    from scipy.ndimage import gaussian_filter1d, map_coordinates

    length = float(np.linalg.norm(ends[1] - ends[0]))
    if not length >= LEAST_PERIODS * SHORTEST_PERIOD_PX:
        raise InputError("The line along the ruler is too short to see ticks: draw a longer one.")
    along = (ends[1] - ends[0]) / length
    across = np.array([-along[1], along[0]])
    steps = np.arange(0.0, length, 1 / _SAMPLES_PER_PX)
    places = ends[0] + steps[:, None, None] * along + np.arange(-_BAND_PX, _BAND_PX + 1)[None, :, None] * across
    if places.min() < 0 or (places > np.array(image.shape) - 1).any():
        raise InputError("The line along the ruler leaves the image: draw it inside.")
    values = map_coordinates(np.asarray(image, dtype=np.float64), np.moveaxis(places, 2, 0), order=1).mean(axis=1)
    return values - gaussian_filter1d(values, len(values) / (2 * LEAST_PERIODS), mode="nearest"), length


def _strongest(profile: Array) -> tuple[float | None, float]:
    """(ticks a pixel, share of the variance that is periodic with it), harmonics counted with their fundamental."""
    count = len(profile)
    energy = float((profile**2).sum())
    if energy <= 0:
        return None, 0.0
    window = np.hanning(count)
    padded = 8 * count
    power = np.abs(np.fft.rfft(profile * window, padded)) ** 2
    frequencies = np.fft.rfftfreq(padded, 1 / _SAMPLES_PER_PX)
    length = count / _SAMPLES_PER_PX
    possible = (frequencies >= LEAST_PERIODS / length) & (frequencies <= 1 / SHORTEST_PERIOD_PX)
    if not possible.any():
        return None, 0.0
    # Narrow ticks have strong harmonics; the fundamental is the lowest frequency that is nearly as strong as the strongest.
    strongest = power[possible].max()
    peak = possible & (power >= np.roll(power, 1)) & (power >= np.roll(power, -1)) & (power >= 0.4 * strongest)
    if not peak.any():
        return None, 0.0
    fundamental = float(frequencies[np.flatnonzero(peak)[0]])
    total = 0.0
    position = np.arange(count) / _SAMPLES_PER_PX
    for harmonic in range(1, 5):
        if harmonic * fundamental > 0.45 * _SAMPLES_PER_PX:
            break
        basis = np.exp(-2j * np.pi * harmonic * fundamental * position)
        total += 2 * float(np.abs((profile * window * basis).sum()) ** 2) / float((window**2).sum()) / count
    return fundamental, min(1.0, total * count / float((profile**2 * window**2).sum()) * float((window**2).mean()))


def _phases(profile: Array, frequency: float) -> tuple[Array, Array, Array]:
    """(places in pixels from the middle, phases in ticks, weights) of the fundamental in windows of four ticks, two ticks apart.

    Hann windows keep the harmonics of narrow ticks out.
    """
    position = np.arange(len(profile)) / _SAMPLES_PER_PX
    middle = float(position.mean())
    signal = profile * np.exp(-2j * np.pi * frequency * (position - middle))
    half = 2 / frequency
    count = max(3, int((position[-1] - 2 * half) * frequency / 2) + 1)
    places = np.linspace(half, position[-1] - half, count)
    windows = np.clip(1 - np.abs(position - places[:, None]) / half, 0.0, None)
    sums = (np.sin(np.pi / 2 * windows) ** 2) @ signal
    phases = np.unwrap(np.angle(sums)) / (2 * np.pi)
    return places - middle, phases, np.abs(sums) / np.abs(sums).max()
