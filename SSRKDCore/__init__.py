"""SSRKDCore: femur, tibia, fibula and patella in millimetres from two knee radiographs.

The engine of BiplanarBoneRecon. It knows nothing of 3D Slicer; its frame is LPS and its unit the millimetre.
Importing it loads nothing heavy: every name below loads its module on first use.
"""

from __future__ import annotations

from SSRKDCore._lazy import attach

__version__ = "0.1.0"

__getattr__, __dir__, _names = attach(
    __name__,
    {
        "BONES": "anatomy",
        "BONE_NAMES": "anatomy",
        "Case": "cases",
        "Grid": "grid",
        "InputError": "errors",
        "Surface": "surface",
    },
)
__all__ = [*_names, "__version__"]
