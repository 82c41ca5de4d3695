"""The spectrum of a diagnostic tungsten tube, and what an indirect detector makes of it.

Bremsstrahlung after H. A. Kramers, Phil Mag 46, 1923 (photons of energy E in proportion to E0/E - 1), weakened on its way out of the
target: electrons lose their energy at depths that follow the Thomson-Whiddington law (E0^2 - E^2 = C rho x with C about 1e6 keV^2 cm^2/g
for these voltages, R. Birch and M. Marshall, Phys Med Biol 24, 1979), and photons leave at the anode's angle through that much tungsten.
K lines above 69.5 kV: intensity as (E0/69.5 - 1)^1.67 (M. Green and V. E. Cosslett, J Phys D 1, 1968), their energies and relative yields
as tabulated in the X-ray Data Booklet. Then the filters, by `mass_attenuation`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.mass_attenuation import HIGHEST_KEV, LOWEST_KEV, linear_attenuation_per_mm, mass_attenuation
from SSRKDCore.errors import InputError

Array = NDArray[np.float64]

LOWEST_KILOVOLTS, HIGHEST_KILOVOLTS = 40.0, 150.0
_THOMSON_WHIDDINGTON = 1.0e6
_K_EDGE_KEV = 69.525
#: energy in keV, share of the K lines' photons.
_K_LINES = ((59.32, 0.505), (57.98, 0.291), (67.2, 0.160), (69.1, 0.044))
#: K photons over bremsstrahlung photons above 15 keV, unfiltered, at twice the edge's voltage; of filtered photons about 6 % at 100 kV.
_K_AT_TWICE_EDGE = 0.05


@dataclass(frozen=True)
class Spectrum:
    """A discrete spectrum as the detector weighs it.

    Attributes
    ----------
    energies_kev: (E,) ascending. weights: (E,) share of the signal in an open beam, sum 1.
    """

    energies_kev: Array
    weights: Array

    @property
    def mean_kev(self) -> float:
        """Mean energy, by weight."""
        return float(self.energies_kev @ self.weights)

    def attenuation_per_mm(self, material: str) -> Array:
        """(E,) linear attenuation coefficients of a material in 1/mm."""
        return linear_attenuation_per_mm(material, self.energies_kev)

    def transmission(self, paths_mm: dict[str, float]) -> float:
        """Share of the signal behind these materials (mm)."""
        total = sum(self.attenuation_per_mm(name) * length for name, length in paths_mm.items())
        return float(self.weights @ np.exp(-np.asarray(total)))

    def behind(self, paths_mm: dict[str, float]) -> Spectrum:
        """The spectrum behind these materials (mm)."""
        total = sum(self.attenuation_per_mm(name) * length for name, length in paths_mm.items())
        left = self.weights * np.exp(-np.asarray(total))
        return Spectrum(self.energies_kev, left / left.sum())

    def half_value_layer_mm(self, material: str = "aluminium") -> float:
        """Thickness in mm that halves the signal."""
        low, high = 0.0, 1000.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.transmission({material: middle}) > 0.5 else (low, middle)
        return (low + high) / 2

    def condensed(self, bins: int) -> Spectrum:
        """About the same spectrum in fewer energies: bins of equal weight, each at its mean energy."""
        share = (np.cumsum(self.weights) - self.weights / 2) * bins
        number = np.minimum(share.astype(int), bins - 1)
        weights = np.asarray(np.bincount(number, self.weights, minlength=bins), dtype=np.float64)
        energies = np.bincount(number, self.weights * self.energies_kev, minlength=bins)
        filled = weights > 0
        return Spectrum(energies[filled] / weights[filled], weights[filled])


def monochromatic(energy_kev: float) -> Spectrum:
    """A spectrum of one energy."""
    return Spectrum(np.array([float(energy_kev)]), np.ones(1))


def tube_spectrum(
    kilovolts: float, aluminium_mm: float = 2.5, copper_mm: float = 0.0, anode_degrees: float = 12.0
) -> Spectrum:
    """Photons that leave a tungsten tube, in steps of 1 keV from 15 keV: weights are numbers of photons.

    kilovolts: tube voltage, 40 to 150. aluminium_mm, copper_mm: all filtration. anode_degrees: between target face and beam.

    Raises InputError for values that no tube has.
    """
    if not LOWEST_KILOVOLTS <= kilovolts <= HIGHEST_KILOVOLTS:
        raise InputError(
            f"The tube voltage is {kilovolts:g} kV: it must be from {LOWEST_KILOVOLTS:g} to {HIGHEST_KILOVOLTS:g} kV."
        )
    if not (0 <= aluminium_mm <= 100 and 0 <= copper_mm <= 10 and 5 <= anode_degrees <= 30):
        raise InputError(
            "The tube has 0 to 100 mm of aluminium, 0 to 10 mm of copper and an anode of 5 to 30 degrees: correct these."
        )
    energies = np.arange(LOWEST_KEV, min(kilovolts, HIGHEST_KEV) + 1e-9, 1.0)
    brems = np.maximum(kilovolts / energies - 1.0, 0.0)
    # Mean depth in g/cm^2 at which photons of an energy are made: halfway through the electrons' energies that can make them.
    halfway = (kilovolts + energies) / 2
    depth = (kilovolts**2 - halfway**2) / _THOMSON_WHIDDINGTON
    lines = np.zeros_like(energies)
    if kilovolts > _K_EDGE_KEV:
        amount = _K_AT_TWICE_EDGE * brems.sum() * (kilovolts / _K_EDGE_KEV - 1.0) ** 1.67
        for energy, share in _K_LINES:
            lines[round(energy - LOWEST_KEV)] += amount * share
    photons = (brems + lines) * np.exp(
        -mass_attenuation("tungsten", energies) * depth / np.sin(np.radians(anode_degrees))
    )
    for material, thickness in (("aluminium", aluminium_mm), ("copper", copper_mm)):
        photons = photons * np.exp(-linear_attenuation_per_mm(material, energies) * thickness)
    return Spectrum(energies, photons / photons.sum())


def as_detected(spectrum: Spectrum, caesium_iodide_mm: float = 0.5) -> Spectrum:
    """The spectrum as an energy-integrating scintillator weighs it: each absorbed photon by its energy.

    caesium_iodide_mm: thickness of the layer (packed to 0.8 of its density, as needles are).
    """
    absorbed = 1.0 - np.exp(-0.8 * spectrum.attenuation_per_mm("caesium iodide") * caesium_iodide_mm)
    weights = spectrum.weights * spectrum.energies_kev * absorbed
    return Spectrum(spectrum.energies_kev, weights / weights.sum())
