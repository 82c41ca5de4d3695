"""A scanner's noise: correlated within a slice as filtered back projection leaves it."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_BANK = 24


@numba.njit(cache=True)
def _add(volume, bank, chosen, shifts, result):  # type: ignore[no-untyped-def]
    """`volume` plus a shifted slice of the bank for each slice, rounded and clipped into `result` (int16)."""
    _, rows, columns = bank.shape
    for z in range(volume.shape[0]):
        noise = bank[chosen[z]]
        for y in range(volume.shape[1]):
            row = (y + shifts[z, 0]) % rows
            column = shifts[z, 1] % columns
            for x in range(volume.shape[2]):
                value = volume[z, y, x] + noise[row, column]
                result[z, y, x] = np.int16(round(min(max(value, -1024.0), 32767.0)))
                column += 1
                if column == columns:
                    column = 0


def with_noise(
    volume: NDArray[np.float32], deviation: float, voxel: float, generator: np.random.Generator
) -> NDArray[np.int16]:
    """`volume` [z, y, x] in HU with noise of the given deviation (HU), rounded and clipped to -1024..32767.

    The power spectrum in the slice is the ramp of filtered back projection times a Gaussian kernel (S. J. Riederer et al., Physics in
    Medicine and Biology 23, 1978): it vanishes at frequency 0, so that the noise of an area cancels better than white noise would. Slices
    draw from a bank of two dozen noise pictures, each at a shift of its own.
    """
    from scipy.fft import irfft2, next_fast_len, rfft2

    rows, columns = (next_fast_len(count, real=True) for count in volume.shape[1:])
    white = generator.standard_normal((_BANK, rows, columns), dtype=np.float32)
    fy = np.fft.fftfreq(rows, voxel).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(columns, voxel).astype(np.float32)[None]
    frequency = np.hypot(fy, fx)
    amplitude = np.sqrt(frequency * np.exp(-((frequency / np.float32(0.35)) ** 2)))
    bank = irfft2(rfft2(white) * amplitude, s=(rows, columns))
    bank = np.ascontiguousarray(bank * (deviation / max(float(bank.std()), 1e-9)), dtype=np.float32)
    result = np.empty(volume.shape, dtype=np.int16)
    chosen = generator.integers(0, _BANK, volume.shape[0])
    shifts = np.stack(
        [generator.integers(0, rows, volume.shape[0]), generator.integers(0, columns, volume.shape[0])], 1
    )
    _add(volume, bank, chosen, shifts, result)
    return result
