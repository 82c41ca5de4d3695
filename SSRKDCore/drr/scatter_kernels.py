"""Scattered radiation by superposition of kernels: each pencil of the beam scatters some of its photons widely over the detector.

How much a pencil scatters depends on what it crosses: p exp(-p) of its photons are scattered once on a path of line integral p and leave
the object (B. Ohnesorge et al., European Radiology 9, 1999). Where they go is a narrow and a wide Gaussian, as measured pencil-beam kernels
are fitted (M. Sun and J. Star-Lack, Phys Med Biol 55, 2010). The amount is set by a scatter to primary ratio that grows with thickness.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from SSRKDCore.drr.frequency_filter import filtered

#: Part of the scattered photons in the narrow Gaussian, and the two widths as multiples of the spread.
_NARROW_SHARE, _NARROW, _WIDE = 0.4, 0.4, 1.4
_COARSE = 4
#: Pixels of a larger line integral are behind the object.
_BEHIND_OBJECT = 0.3


def scatter_signal(
    line_integrals: Tensor, ratio_per_cm: Tensor, spread_mm: Tensor, pixel_mm: Tensor, per_mm: float
) -> Tensor:
    """What scattered photons add to the signal, in units of the open beam, (N, H, W).

    Parameters
    ----------
    line_integrals: (N, H, W) of the primary photons.
    ratio_per_cm: (N,) scatter to primary ratio, on the mean behind the object, a cm of its mean water-equivalent thickness: without a
        grid about 0.05 to 0.12 for an extremity (a guess between slabs, where it is more, and thin fields, where it is less).
    spread_mm: (N,) on the detector; larger with an air gap. pixel_mm: (N,). per_mm: attenuation of water, 1/mm.
    """
    integrals = line_integrals.clamp(min=0)
    primary = torch.exp(-integrals)
    behind = integrals > _BEHIND_OBJECT
    count = behind.sum(dim=(1, 2)).clamp(min=1)
    spread = spread_mm[:, None, None]

    def transfer(frequency: Tensor) -> Tensor:
        square = -2 * (math.pi * spread * frequency) ** 2
        return _NARROW_SHARE * torch.exp(square * _NARROW**2) + (1 - _NARROW_SHARE) * torch.exp(square * _WIDE**2)

    # Nothing of the veil is finer than a coarse copy of the image shows.
    coarse = functional.avg_pool2d((integrals * primary)[:, None], _COARSE, ceil_mode=True, count_include_pad=False)[
        :, 0
    ]
    veil = filtered(coarse, pixel_mm * _COARSE, transfer, float(spread_mm.max()) * _WIDE * 2).clamp(min=0)
    veil = functional.interpolate(veil[:, None], size=integrals.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    thickness_cm = (integrals * behind).sum(dim=(1, 2)) / count / per_mm / 10
    present = ((veil / primary.clamp(min=1e-6)) * behind).sum(dim=(1, 2)) / count
    factor = ratio_per_cm * thickness_cm / present.clamp(min=1e-6)
    return veil * torch.where(behind.any(dim=2).any(dim=1), factor, torch.zeros_like(factor))[:, None, None]
