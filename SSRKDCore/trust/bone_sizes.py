"""Widths of a reconstructed knee: whether they are those of an adult knee at all, and whether all of them are too large or too small."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

#: In mm, all positive for any knee.
SIZE_NAMES = (
    "femur_width",
    "femur_depth",
    "tibia_width",
    "tibia_depth",
    "patella_width",
    "patella_height",
    "patella_thickness",
    "patella_in_front",
    "patella_above",
    "fibula_width",
    "fibula_beside",
    "shaft_width",
)
#: Those that grow with the person alone; the rest also tells how the bones lie to one another.
WIDTHS = ("femur_width", "femur_depth", "tibia_width", "tibia_depth", "patella_width", "patella_height")
_CONDYLES_MM = 35.0
_PLATEAU_MM = 25.0
_FIBULA_MM = 25.0
# Distance from the condyles at which the femur's shaft is measured; a cut nearer than that leaves it out.
_SHAFT_MM = (48.0, 56.0)
_FEWEST_VERTICES = 20


def bone_sizes(surfaces: Mapping[str, Surface]) -> dict[str, float]:
    """Sizes in mm by name, of a knee about upright in LPS; what cannot be measured (a bone is absent, or cut) is left out.

    Extents along x (width), y (depth) and z (height): of the femur's lowest 35 mm, the tibia's highest 25 mm, the whole patella, and the
    fibula's highest 25 mm; `patella_in_front` from the femur's foremost point back to the middle of the patella, plus 30 mm;
    `patella_above` from the tibia's top to the middle of the patella; `fibula_beside` between the fibula and the tibia along x;
    `shaft_width` of the femur 48 to 56 mm above its lowest point.
    """
    points = {name: surface.vertices for name, surface in surfaces.items() if len(surface.vertices) >= _FEWEST_VERTICES}
    found: dict[str, float] = {}
    if "femur" in points:
        femur = points["femur"]
        height = femur[:, 2] - femur[:, 2].min()
        _extents(found, femur[height < _CONDYLES_MM], femur_width=0, femur_depth=1)
        _extents(found, femur[(height > _SHAFT_MM[0]) & (height < _SHAFT_MM[1])], shaft_width=0)
    if "tibia" in points:
        tibia = points["tibia"]
        _extents(found, tibia[tibia[:, 2] > tibia[:, 2].max() - _PLATEAU_MM], tibia_width=0, tibia_depth=1)
    if "fibula" in points:
        fibula = points["fibula"]
        _extents(found, fibula[fibula[:, 2] > fibula[:, 2].max() - _FIBULA_MM], fibula_width=0)
    if "patella" in points:
        patella = points["patella"]
        _extents(found, patella, patella_width=0, patella_thickness=1, patella_height=2)
        middle = patella.mean(axis=0)
        if "femur" in points:
            found["patella_in_front"] = float(points["femur"][:, 1].min() - middle[1]) + 30.0
        if "tibia" in points:
            found["patella_above"] = float(middle[2] - points["tibia"][:, 2].max())
    if "tibia" in points and "fibula" in points:
        top = points["tibia"][points["tibia"][:, 2] > points["tibia"][:, 2].max() - _PLATEAU_MM]
        found["fibula_beside"] = abs(float(points["fibula"][:, 0].mean() - top[:, 0].mean()))
    return found


def size_vector(sizes: Mapping[str, float]) -> Array:
    """(12,) mm in the order of SIZE_NAMES, NaN where not measured."""
    return np.array([sizes.get(name, np.nan) for name in SIZE_NAMES])


def _extents(found: dict[str, float], points: Array, **axes: int) -> None:
    if len(points) >= _FEWEST_VERTICES:
        found.update({name: float(np.ptp(points[:, axis])) for name, axis in axes.items()})
