"""One exposure from the path lengths of materials: spectrum, scatter, grid, blur, noise, to what the detector reads, all in millimetres.

Works on batches of images whose exposures all differ, on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from SSRKDCore.drr.detector_response import detected, kernel_reach_mm, modulation_transfer
from SSRKDCore.drr.grid_lines import grid_transmission
from SSRKDCore.drr.mass_attenuation import linear_attenuation_per_mm
from SSRKDCore.drr.scatter_kernels import scatter_signal
from SSRKDCore.drr.spectrum import Spectrum, monochromatic

#: Line integrals that tell how much a pencil scatters are those of water at this energy.
_SCATTER_KEV = 50.0


@dataclass(frozen=True)
class Exposures:
    """How N images were exposed; every tensor is (N,).

    Attributes
    ----------
    spectra: N, as the detector weighs them (`spectrum.as_detected`), all with as many energies.
    scatter_per_cm, spread_mm: see `scatter_kernels.scatter_signal`.
    primary_transmission, scatter_transmission: of the anti-scatter grid (IEC 60627): about 0.7 and 0.1 to 0.2; 1 and 1 without.
    lines_per_mm, line_amplitude, line_turn, cut_off: see `grid_lines.grid_transmission`.
    half_per_mm, penumbra_mm, glare: see `detector_response.modulation_transfer`.
    photons, electronic: see `detector_response.detected`.
    """

    spectra: Sequence[Spectrum]
    scatter_per_cm: Tensor
    spread_mm: Tensor
    primary_transmission: Tensor
    scatter_transmission: Tensor
    lines_per_mm: Tensor
    line_amplitude: Tensor
    line_turn: Tensor
    cut_off: Tensor
    half_per_mm: Tensor
    penumbra_mm: Tensor
    glare: Tensor
    photons: Tensor
    electronic: Tensor


def plain_exposures(count: int, energy_kev: float, **changes: float) -> Exposures:
    """Exposures that add nothing: one energy, no scatter, no grid, a sharp and noiseless detector; changed by single values."""
    values = {name: 0.0 for name in Exposures.__dataclass_fields__ if name != "spectra"}
    values |= {"primary_transmission": 1.0, "scatter_transmission": 1.0, "lines_per_mm": 4.0, "spread_mm": 30.0}
    values |= {"half_per_mm": 1e6, "photons": 1e12, **changes}
    tensors = {name: torch.full((count,), float(value)) for name, value in values.items()}
    return Exposures(spectra=[monochromatic(energy_kev)] * count, **tensors)


def primary_signal(paths_mm: Mapping[str, Tensor], spectra: Sequence[Spectrum]) -> Tensor:
    """Share of the open beam's signal that goes straight through, (N, H, W): Beer-Lambert over the spectrum.

    paths_mm: material -> (N, H, W) path lengths.
    """
    first = next(iter(paths_mm.values()))
    tables = {
        name: torch.from_numpy(np.stack([spectrum.attenuation_per_mm(name) for spectrum in spectra])).to(first)
        for name in paths_mm
    }
    weights = torch.from_numpy(np.stack([spectrum.weights for spectrum in spectra])).to(first)
    signal = torch.zeros_like(first)
    for energy in range(weights.shape[1]):
        exponent = torch.zeros_like(first)
        for name, path in paths_mm.items():
            exponent = exponent - tables[name][:, energy, None, None] * path
        signal = signal + weights[:, energy, None, None] * torch.exp(exponent)
    return signal


def expose(
    paths_mm: Mapping[str, Tensor],
    exposures: Exposures,
    pixel_mm: Tensor,
    draw: Callable[[Tensor], Tensor],
    openness: Tensor | None = None,
) -> Tensor:
    """Line integrals -log(I / I0) as read from one exposure each, (N, H, W).

    Parameters
    ----------
    paths_mm: material (of `mass_attenuation`) -> (N, H, W) path lengths. pixel_mm: (N,).
    draw: standard normal numbers of a tensor's shape. openness: (N, H, W) 0..1, of the collimator; None is open.
    """
    primary = primary_signal(paths_mm, exposures.spectra)
    if openness is not None:
        primary = primary * openness
    # What the blades keep away scatters nothing.
    hit = (
        -torch.log(primary.clamp(min=1e-12))
        if openness is None
        else -torch.log((primary / openness.clamp(min=1e-3)).clamp(min=1e-12))
    )
    per_mm = float(linear_attenuation_per_mm("water", _SCATTER_KEV))
    hit = hit if openness is None else hit * (openness > 0.5)
    scatter = scatter_signal(hit, exposures.scatter_per_cm, exposures.spread_mm, pixel_mm, per_mm)
    # The open beam goes through the grid as well, and its reading is 1.
    ratio = (exposures.scatter_transmission / exposures.primary_transmission)[:, None, None]
    lines = grid_transmission(
        primary, pixel_mm, exposures.lines_per_mm, exposures.line_amplitude, exposures.line_turn, exposures.cut_off
    )
    signal = (primary + ratio * scatter) * lines
    transfer = modulation_transfer(exposures.half_per_mm, exposures.penumbra_mm, exposures.glare)
    reach = kernel_reach_mm(exposures.penumbra_mm, exposures.glare)
    return -torch.log(detected(signal, exposures.photons, exposures.electronic, transfer, pixel_mm, draw, reach))
