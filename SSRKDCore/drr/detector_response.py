"""What focal spot and detector make of the signal: blur, veiling glare, quantum and electronic noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from SSRKDCore.drr.frequency_filter import filtered

#: Veiling glare of an image intensifier spreads about this far.
_GLARE_MM = 25.0


def modulation_transfer(half_per_mm: Tensor, penumbra_mm: Tensor, glare: Tensor) -> Callable[[Tensor], Tensor]:
    """The transfer function of tube and detector.

    half_per_mm: (N,) frequency at which the detector's own MTF, 1 / (1 + (f/half)^2), is one half: about 1.4 cycles/mm for caesium
    iodide of 0.5 mm, 1.1 for storage phosphor, 2.5 for selenium. penumbra_mm: (N,) width of the focal spot's image on the detector,
    focal spot times (magnification - 1), a disc taken as a Gaussian of its variance. glare: (N,) share of the signal that an image
    intensifier spreads over 25 mm; 0 for flat panels.
    """
    half, sigma, share = (value[:, None, None] for value in (half_per_mm, penumbra_mm / 4, glare))

    def transfer(frequency: Tensor) -> Tensor:
        spot = torch.exp(-2 * (math.pi * sigma * frequency) ** 2)
        veil = 1 - share + share * torch.exp(-2 * (math.pi * _GLARE_MM * frequency) ** 2)
        return spot * veil / (1 + (frequency / half) ** 2)

    return transfer


def kernel_reach_mm(penumbra_mm: Tensor, glare: Tensor) -> float:
    """How far from an edge these blurs are felt, in mm, over a batch."""
    return 2 * _GLARE_MM if bool((glare > 0).any()) else 4.0 + float(penumbra_mm.max())


def detected(
    signal: Tensor,
    photons: Tensor,
    electronic: Tensor,
    transfer: Callable[[Tensor], Tensor],
    pixel_mm: Tensor,
    draw: Callable[[Tensor], Tensor],
    reach_mm: float,
) -> Tensor:
    """The signal (N, H, W), open beam 1, after blur and noise.

    Quantum noise is drawn before the blur, since a scintillator spreads each photon's light: noise is correlated as the detector's
    transfer function has it. It is Gaussian of the Poisson variance, which holds from some ten photons on.

    photons: (N,) in an open pixel. electronic: (N,) standard deviation of read-out noise, photons. draw: standard normal numbers of a
    tensor's shape. reach_mm: see `kernel_reach_mm`. Returns (N, H, W), not below half a photon.
    """
    count = photons[:, None, None]
    noisy = signal + draw(signal) * torch.sqrt(signal.clamp(min=0) / count)
    blurred = filtered(noisy, pixel_mm, transfer, reach_mm)
    blurred = blurred + draw(signal) * electronic[:, None, None] / count
    return torch.maximum(blurred, 0.5 / count)
