"""Linear X-ray attenuation of tissue, in 1/mm, at a stated effective photon energy.

Mass attenuation coefficients: J. H. Hubbell and S. M. Seltzer, "Tables of X-Ray Mass Attenuation Coefficients", NIST
Standard Reference Database 126 (NISTIR 5632), table 4, tissues of ICRU Report 44.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError

DEFAULT_ENERGY_KEV = 60.0
"""Usual monoenergetic stand-in for a filtered knee exposure behind a leg; the water of a 60 keV beam attenuates
0.0206 per mm."""
CT_EFFECTIVE_ENERGY_KEV = 75.0
"""Effective energy of a 120 to 140 kVp CT beam, at which Hounsfield units were measured."""

_ENERGIES_KEV = (30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)
_MASS_ATTENUATION_CM2_PER_G = {
    "water": (0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505),
    "cortical bone": (1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480),
    "muscle": (0.3783, 0.2685, 0.2262, 0.2048, 0.1823, 0.1693, 0.1492),
    "fat": (0.3063, 0.2396, 0.2123, 0.1974, 0.1800, 0.1688, 0.1500),
}
DENSITY_G_PER_CM3 = {"water": 1.0, "cortical bone": 1.92, "muscle": 1.05, "fat": 0.95}
MATERIALS = tuple(DENSITY_G_PER_CM3)

_LOWEST_HU = -1100.0
_HIGHEST_HU = 32768.0


def linear_attenuation(material: str, energy_kev: float = DEFAULT_ENERGY_KEV) -> float:
    """Linear attenuation coefficient in 1/mm of one of MATERIALS, interpolated log-log between the tabulated energies.

    Raises InputError outside 30 to 150 keV, KeyError for another material.
    """
    if not _ENERGIES_KEV[0] <= energy_kev <= _ENERGIES_KEV[-1]:
        raise InputError(
            f"The effective energy is {energy_kev:g} keV: it must be between {_ENERGIES_KEV[0]:g} and {_ENERGIES_KEV[-1]:g} keV."
        )
    logarithm = np.interp(np.log(energy_kev), np.log(_ENERGIES_KEV), np.log(_MASS_ATTENUATION_CM2_PER_G[material]))
    return float(np.exp(logarithm)) * DENSITY_G_PER_CM3[material] / 10.0


def attenuation_from_hounsfield(
    hounsfield: NDArray[np.floating] | NDArray[np.integer],
    energy_kev: float = DEFAULT_ENERGY_KEV,
    ct_energy_kev: float = CT_EFFECTIVE_ENERGY_KEV,
) -> NDArray[np.float32]:
    """Linear attenuation in 1/mm from CT numbers.

    Up to 0 HU a voxel is water and air: attenuation is proportional to HU + 1000. Above, it is water and cortical
    bone, whose share is read off at the CT's own effective energy; bone then attenuates more at the lower energy of a
    radiograph (bilinear scaling, after C. Burger et al., "PET attenuation coefficients from CT images", Eur J Nucl
    Med 29, 2002, with NIST coefficients). Metal is no such
    mixture: its values are only plausible. Below -1000 HU (padding outside the scanned circle) is air: 0.

    hounsfield: any shape. Returns float32 of the same shape. Raises InputError for NaN or values that are no
        Hounsfield units.
    """
    hounsfield = np.asarray(hounsfield)
    if hounsfield.size == 0:
        return np.zeros(hounsfield.shape, dtype=np.float32)
    low, high = float(hounsfield.min()), float(hounsfield.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("The CT holds NaN or infinite values: replace them by -1000 HU (air).")
    if high > _HIGHEST_HU:
        raise InputError(
            f"The CT holds values up to {high:g}, which are no Hounsfield units: apply the scanner's rescale first."
        )
    water, water_in_ct = linear_attenuation("water", energy_kev), linear_attenuation("water", ct_energy_kev)
    bone, bone_in_ct = (
        linear_attenuation("cortical bone", energy_kev),
        linear_attenuation("cortical bone", ct_energy_kev),
    )
    slope_water = water / 1000.0
    slope_bone = water_in_ct / 1000.0 * (bone - water) / (bone_in_ct - water_in_ct)
    values = hounsfield.astype(np.float32)
    attenuation = np.where(values > 0, water + slope_bone * values, water + slope_water * values)
    return np.maximum(attenuation, 0.0).astype(np.float32)


def check_hounsfield_like(hounsfield: NDArray[np.floating] | NDArray[np.integer], what: str) -> list[str]:
    """Warnings about a volume that is said to hold Hounsfield units.

    Raises InputError, naming `what`, when it cannot: nothing in it is air, or it is constant, or values are far
    outside the scale.
    """
    low, high = float(np.min(hounsfield)), float(np.max(hounsfield))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{what} holds NaN or infinite values: replace them by -1000 HU (air).")
    if low == high:
        raise InputError(f"{what} is constant ({low:g} everywhere): give the CT itself.")
    if high > _HIGHEST_HU:
        raise InputError(
            f"{what} holds values up to {high:g}, which are no Hounsfield units: apply the scanner's rescale first."
        )
    if low > -200.0 or high < 100.0:
        raise InputError(
            f"{what} spans {low:g} to {high:g}, without air or without bone: "
            "a CT in Hounsfield units (air -1000, bone above 200) is needed."
        )
    if low < _LOWEST_HU:
        return [f"{what} holds values down to {low:g} HU (padding outside the scan): they count as air."]
    return []
