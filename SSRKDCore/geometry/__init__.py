"""Cone-beam views and rigs in LPS millimetres."""

from __future__ import annotations

from SSRKDCore._lazy import attach

__getattr__, __dir__, __all__ = attach(  # pyright: ignore[reportUnsupportedDunderAll]
    __name__,
    {
        "FieldOfView": "field_of_view",
        "PRESET_NAMES": "presets",
        "Rig": "rig",
        "View": "view",
        "preset": "presets",
        "rig_for_radiographs": "dicom_rig",
        "rig_from_dicom": "dicom_rig",
        "rig_from_xmalab": "xmalab",
    },
)
