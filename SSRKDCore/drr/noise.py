"""Noise of a digital detector, in photon counts: quantum (Poisson) and electronic (Gaussian)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError


@dataclass(frozen=True)
class NoiseModel:
    """What the detector counts in each pixel.

    Attributes
    ----------
    photons: I0, photons that reach a pixel when nothing is in the beam.
    electronic_sigma: standard deviation of the read-out noise, in photons.
    lowest_count: counts below this are read as this (a pixel that saw nothing), so that the logarithm exists.
    relative_to_maximum: True divides the line integrals by their largest value before counting and multiplies them
        back afterwards, as TIGRE's noise function and hence the published code do. That is no physics: every image
        then looks exposed alike.
    """

    photons: float = 5e4
    electronic_sigma: float = 10.0
    lowest_count: float = 1.0
    relative_to_maximum: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.photons) and 1.0 <= self.photons <= 1e12):
            raise InputError(f"The number of photons a pixel is {self.photons:g}: it must be from 1 to 1e12.")
        if not (np.isfinite(self.electronic_sigma) and 0.0 <= self.electronic_sigma <= self.photons):
            raise InputError(
                f"The electronic noise is {self.electronic_sigma:g} photons: it must be from 0 to the number of photons ({self.photons:g})."
            )
        if not 0.0 < self.lowest_count <= self.photons:
            raise InputError(
                f"The lowest count is {self.lowest_count:g}: it must be above 0 and at most {self.photons:g}."
            )

    def mean_counts(self, line_integrals: NDArray[np.floating]) -> NDArray[np.float64]:
        """Expected counts I0 exp(-p) of line integrals p, any shape."""
        return self.photons * np.exp(-np.asarray(line_integrals, dtype=np.float64) / self._scale(line_integrals))

    def counts(self, line_integrals: NDArray[np.floating], generator: np.random.Generator) -> NDArray[np.float64]:
        """One noisy exposure in counts: Poisson of the expected counts plus read-out noise; may be negative."""
        counts = generator.poisson(self.mean_counts(line_integrals)).astype(np.float64)
        if self.electronic_sigma > 0:
            counts += generator.normal(0.0, self.electronic_sigma, size=counts.shape)
        return counts

    def apply(self, line_integrals: NDArray[np.floating], generator: np.random.Generator) -> NDArray[np.float32]:
        """Line integrals as read from one noisy exposure: -log(counts / I0), float32 of the same shape.

        line_integrals: finite, -log(I/I0); slightly negative results are noise around 0 and stay. Raises InputError
            for NaN.
        """
        if not np.isfinite(line_integrals).all():
            raise InputError(
                "The line integrals hold NaN or infinite values, so no counts can be drawn: check the volume."
            )
        counts = np.maximum(self.counts(line_integrals, generator), self.lowest_count)
        return (-np.log(counts / self.photons) * self._scale(line_integrals)).astype(np.float32)

    def _scale(self, line_integrals: NDArray[np.floating]) -> float:
        largest = float(np.max(line_integrals, initial=0.0)) if self.relative_to_maximum else 1.0
        return largest if largest > 0 else 1.0


NOISE_PRESETS: dict[str, NoiseModel] = {
    "radiograph": NoiseModel(),
    "low_dose": NoiseModel(photons=5e3, electronic_sigma=10.0),
    "published": NoiseModel(photons=1e5, electronic_sigma=10.0, relative_to_maximum=True),
}
"""Named noise: a usual exposure (about 50,000 photons in a 0.4 mm pixel), a tenth of it, and the published setting."""


def noise_preset(name: str) -> NoiseModel:
    """The noise model of that name. Raises InputError naming the ones there are."""
    if name not in NOISE_PRESETS:
        raise InputError(f"There is no noise preset '{name}': use one of {', '.join(NOISE_PRESETS)}, or none.")
    return NOISE_PRESETS[name]
