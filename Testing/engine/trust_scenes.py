"""Balls in space with exact radiographs, and measures of a usual knee: for tests of trust."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.evaluation.outline_distance import OutlineDistance
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.trust.bone_sizes import SIZE_NAMES
from SSRKDCore.trust.case_measures import CaseMeasures
from SSRKDCore.trust.domain_distance import fit_domain
from SSRKDCore.trust.error_model import ErrorModel
from SSRKDCore.trust.limits import fit_limit
from SSRKDCore.trust.reference import LIMIT_NAMES, TrustReference
from SSRKDCore.trust.view_scales import ScaleDisagreement

Array = NDArray[np.float64]

FEATURES = 20
#: mm, of a usual adult.
USUAL_SIZES = (80.0, 62.0, 72.0, 50.0, 42.0, 40.0, 20.0, 38.0, 30.0, 26.0, 34.0, 60.0)


def room(side: str) -> Rig:
    """A room with few pixels whose field of view lies off the origin."""
    return preset("room", side, (1.0, 1.0), 300, 300).translated((12.0, -20.0, 31.0))


def balls(side: str) -> list[tuple[Array, float]]:
    """Centres (mm) and radii about the room's centre; asymmetric, and mirrored for the other side."""
    sign = -1.0 if side == "right" else 1.0
    around = np.array([12.0, -20.0, 31.0])
    places = [(0, 0, 46, 14), (14, 6, 30, 12), (-12, -9, 12, 16), (20, 14, -6, 9), (-18, 4, -22, 13), (3, -16, -44, 11)]
    return [(around + np.array([sign * x, y, z]), float(r)) for x, y, z, r in places]


def shadow(view: View, solids: Sequence[tuple[Array, float]], density: float = 0.05) -> NDArray[np.float32]:
    """Line integrals [row, column] of balls: chord lengths times their density (1/mm)."""
    rows, columns = np.meshgrid(np.arange(view.rows), np.arange(view.columns), indexing="ij")
    rays = view.pixel_position(rows, columns) - np.array(view.source)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    image = np.zeros(rays.shape[:2])
    for center, radius in solids:
        to_center = center - np.array(view.source)
        along = rays @ to_center
        square = radius**2 - (to_center @ to_center - along**2)
        image += 2 * np.sqrt(np.maximum(square, 0.0)) * density
    return image.astype(np.float32)


def usual_reference(seed: int = 0) -> TrustReference:
    """A reference of normally distributed knees of USUAL_SIZES, 6 % apart."""
    generator = np.random.default_rng(seed)
    sizes = np.log(USUAL_SIZES) + 0.06 * generator.normal(size=(80, 1)) + 0.03 * generator.normal(size=(80, 12))
    limits = {name: fit_limit(np.exp(generator.normal(0.0, 0.1, 40)).tolist()) for name in LIMIT_NAMES}
    limits["growth_plate"] = fit_limit((0.03 * np.exp(generator.normal(0.0, 0.1, 40))).tolist())
    return TrustReference(
        "0" * 64,
        fit_domain(generator.normal(size=(80, FEATURES))),
        fit_domain(sizes),
        0.06,
        limits,
        {bone: ErrorModel(np.array([0.5, 0.0, 0.1, 0.2, 0.0, 0.1, 0.0]), 2.5) for bone in BONE_NAMES},
        provenance={"command": "a test"},
    )


def usual_measures(**changes: object) -> CaseMeasures:
    """Measures of a knee that nothing speaks against, with some of them replaced."""
    values: dict[str, object] = {
        "features": np.zeros(FEATURES),
        "sizes": dict(zip(SIZE_NAMES, USUAL_SIZES, strict=True)),
        "missing": (),
        "pieces": 0.01,
        "scale": ScaleDisagreement(0.1, 0.0, 1.0, 0.5),
        "contradiction": None,
        "outlines": outlines(1.0),
        "metal_cm2": 0.0,
        "growth_plate": 0.03,
        "swapped": False,
        "other_side": False,
        "vertices": {"femur": np.array([0, 1])},
        "terms": {"femur": np.full((2, 6), 0.5)},
    }
    return CaseMeasures(**{**values, **changes})  # type: ignore[arg-type]


def outlines(mean_mm: float | None) -> dict[str, dict[str, OutlineDistance]]:
    """Outline distances of a mean."""
    return {"all": {"all": OutlineDistance(mean_mm, mean_mm, 0.0, 1.0 if mean_mm is not None else 0.0, 100)}}
