"""Digitally reconstructed radiographs: line integrals through a volume (Siddon on the CPU, TIGRE on CUDA),
attenuation, noise."""

from __future__ import annotations

from SSRKDCore._lazy import attach

__getattr__, __dir__, __all__ = attach(  # pyright: ignore[reportUnsupportedDunderAll]
    __name__,
    {
        "LegTissue": "bone_phantom",
        "NOISE_PRESETS": "noise",
        "NoiseModel": "noise",
        "attenuation_from_hounsfield": "attenuation",
        "available_backends": "projector",
        "leg_attenuation": "bone_phantom",
        "linear_attenuation": "attenuation",
        "noise_preset": "noise",
        "project": "projector",
    },
)
