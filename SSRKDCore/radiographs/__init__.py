"""Reading, checking and standardising X-ray images: any usual file in, line integrals with a record out."""

from __future__ import annotations

from SSRKDCore._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DicomGeometry": "radiograph",
        "Radiograph": "radiograph",
        "check_pair": "pair_checks",
        "read_radiograph": "reader",
    },
)
