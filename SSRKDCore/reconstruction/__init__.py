"""From the occupancy field to four watertight surfaces: the fast exact sampler, the surfaces, the pipeline."""

from __future__ import annotations

from SSRKDCore._lazy import attach

__getattr__, __dir__, __all__ = attach(  # pyright: ignore[reportUnsupportedDunderAll]
    __name__,
    {
        "NetworkInput": "network_input",
        "Reconstruction": "pipeline",
        "prepare_network_input": "network_input",
        "reconstruct": "pipeline",
        "write_reconstruction": "report",
    },
)
