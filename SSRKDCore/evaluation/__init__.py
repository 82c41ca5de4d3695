"""How good a reconstruction is: exact distances, the paper's protocol, overlap, and whole sets of cases."""

from __future__ import annotations

from SSRKDCore._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "BoneComparison": "comparison",
        "MEASURES": "comparison",
        "MEASURE_EXPLANATIONS": "comparison",
        "compare": "comparison",
        "compare_bone": "comparison",
        "means_by_bone": "comparison",
        "EmptySurface": "exact_distances",
        "SurfaceDistances": "exact_distances",
        "signed_distances": "exact_distances",
        "surface_distances": "exact_distances",
        "PaperDistances": "paper_protocol",
        "paper_distances": "paper_protocol",
        "dice": "overlap",
        "surface_dice": "overlap",
        "flat_shaft_end": "field_of_view",
        "label_surface": "label_surfaces",
        "surfaces_of_segmentation": "label_surfaces",
        "evaluate_cases": "case_evaluation",
    },
)
