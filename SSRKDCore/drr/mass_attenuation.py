"""Mass attenuation coefficients and densities of what lies between a tube and its detector, 15 to 150 keV.

J. H. Hubbell and S. M. Seltzer, "Tables of X-Ray Mass Attenuation Coefficients and Mass Energy-Absorption Coefficients", NIST Standard
Reference Database 126 (NISTIR 5632): table 3 (elements) and table 4 (compounds and tissues of ICRU Report 44), in cm^2/g, coherent
scattering included. Gypsum, silica and polyvinyl chloride are mixtures of the elements of the same tables by weight. Below
15 keV nothing leaves a filtered tube.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError

Array = NDArray[np.float64]

LOWEST_KEV, HIGHEST_KEV = 15.0, 150.0
ENERGIES_KEV = (15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)

#: material -> cm^2/g at ENERGIES_KEV.
_TABLE: dict[str, tuple[float, ...]] = {
    "water": (1.673, 0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505),
    "muscle": (1.693, 0.8205, 0.3783, 0.2685, 0.2262, 0.2048, 0.1823, 0.1693, 0.1492),
    "fat": (1.083, 0.5677, 0.3063, 0.2396, 0.2123, 0.1974, 0.1800, 0.1688, 0.1500),
    "cortical bone": (9.032, 4.001, 1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480),
    "aluminium": (7.955, 3.441, 1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378),
    "titanium": (35.87, 15.85, 4.972, 2.214, 1.213, 0.7661, 0.4052, 0.2721, 0.1649),
    "iron": (57.08, 25.68, 8.176, 3.629, 1.958, 1.205, 0.5952, 0.3717, 0.1964),
    "copper": (74.05, 33.79, 10.92, 4.862, 2.613, 1.593, 0.7630, 0.4584, 0.2217),
    "tungsten": (138.9, 65.73, 22.73, 10.67, 5.949, 3.713, 7.810, 4.438, 1.581),
    "lead": (111.6, 86.36, 30.32, 14.36, 8.041, 5.021, 2.419, 5.549, 2.014),
    "caesium iodide": (58.16, 26.86, 9.045, 22.97, 12.87, 7.921, 3.677, 2.035, 0.7291),
    "gypsum": (10.85, 4.781, 1.562, 0.7621, 0.4730, 0.3426, 0.2341, 0.1909, 0.1491),
    "silica": (5.809, 2.547, 0.8728, 0.4653, 0.3186, 0.2515, 0.1935, 0.1684, 0.1402),
    "polyvinyl chloride": (10.45, 4.579, 1.492, 0.7299, 0.4559, 0.3325, 0.2298, 0.1887, 0.1486),
}
#: material -> (energy in keV, cm^2/g just below and just above) of its K edges in the range.
_K_EDGES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "tungsten": ((69.525, 2.552, 11.23),),
    "lead": ((88.0045, 1.910, 7.683),),
    "caesium iodide": ((33.1694, 6.923, 21.22), (35.9846, 17.19, 30.27)),
}
#: g/cm^3. Gypsum and silica as in a cast: plaster of Paris with its gauze and air, and fibreglass in resin.
DENSITY_G_PER_CM3 = {
    "water": 1.0,
    "muscle": 1.05,
    "fat": 0.95,
    "cortical bone": 1.92,
    "aluminium": 2.699,
    "titanium": 4.54,
    "iron": 7.874,
    "copper": 8.96,
    "tungsten": 19.3,
    "lead": 11.35,
    "caesium iodide": 4.51,
    "gypsum": 0.9,
    "silica": 0.6,
    "polyvinyl chloride": 1.3,
}
MATERIALS = tuple(_TABLE)


def mass_attenuation(material: str, energies_kev: Array | float) -> Array:
    """Mass attenuation coefficients in cm^2/g, interpolated log-log between the tabulated energies and the K edges.

    material: one of MATERIALS. energies_kev: any shape, 15 to 150 keV.

    Raises InputError outside that range, KeyError for another material.
    """
    energies = np.asarray(energies_kev, dtype=np.float64)
    if energies.size and not (energies.min() >= LOWEST_KEV and energies.max() <= HIGHEST_KEV):
        raise InputError(
            f"Attenuation is known from {LOWEST_KEV:g} to {HIGHEST_KEV:g} keV, not at {energies.min():g} to {energies.max():g} keV: "
            "choose another tube voltage or energy."
        )
    points = list(zip(ENERGIES_KEV, _TABLE[material], strict=True))
    for energy, below, above in _K_EDGES.get(material, ()):
        points += [(energy * (1 - 1e-9), below), (energy, above)]
    energy, value = np.array(sorted(points)).T
    return np.exp(np.interp(np.log(energies), np.log(energy), np.log(value)))


def linear_attenuation_per_mm(material: str, energies_kev: Array | float) -> Array:
    """Linear attenuation coefficients in 1/mm; see `mass_attenuation`."""
    return mass_attenuation(material, energies_kev) * DENSITY_G_PER_CM3[material] / 10.0
