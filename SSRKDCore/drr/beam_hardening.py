"""Polychromatic line integrals from the path lengths of materials.

Thick parts absorb the soft photons first, and look thinner than they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.mass_attenuation import linear_attenuation_per_mm
from SSRKDCore.drr.spectrum import Spectrum

Values = NDArray[np.floating]


def material_fractions(attenuation: NDArray[np.floating], energy_kev: float) -> dict[str, NDArray[np.float32]]:
    """Volume shares of water and cortical bone that linear attenuation (1/mm, any shape) at an energy comes from.

    Up to water's attenuation a voxel is water and air, above it water and bone of the tabulated density, as in
    `attenuation.attenuation_from_hounsfield`; at that energy the two give the attenuation back exactly. Denser voxels than bone (metal) are
    more than their volume of bone.

    Returns "water" and "cortical bone", float32 of the same shape.
    """
    values = np.asarray(attenuation, dtype=np.float32)
    water, bone = (float(linear_attenuation_per_mm(name, energy_kev)) for name in ("water", "cortical bone"))
    share = np.maximum(values - np.float32(water), 0) / np.float32(bone - water)
    return {"water": np.minimum(values / np.float32(water), 1) - share, "cortical bone": share}


def polychromatic_line_integrals(paths_mm: Mapping[str, Values], spectrum: Spectrum) -> NDArray[np.float32]:
    """-log of the share of the signal that is left behind materials, for a spectrum as the detector weighs it.

    paths_mm: material -> path lengths in mm, all of one shape. Returns float32 of that shape.
    """
    left: Values | float = 0.0
    coefficients = {name: spectrum.attenuation_per_mm(name) for name in paths_mm}
    for index, weight in enumerate(spectrum.weights):
        exponent = sum(
            coefficients[name][index] * np.asarray(path, dtype=np.float64) for name, path in paths_mm.items()
        )
        left = left + weight * np.exp(-exponent)
    return np.asarray(-np.log(np.maximum(left, 1e-30)), dtype=np.float32)
