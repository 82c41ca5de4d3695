"""Pictures of results, drawn off-screen with VTK."""

from __future__ import annotations

from SSRKDCore._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "RenderingUnavailable": "render",
        "write_preview": "preview",
        "write_distance_picture": "distance_picture",
    },
)
