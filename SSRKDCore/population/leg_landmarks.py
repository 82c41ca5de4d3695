"""Where the parts of a posed knee are: joint line, bone axes, tuberosity, poles of the patella, and where shafts end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES, SIDES, lateral_direction
from SSRKDCore.errors import InputError
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Width of the tibial plateau of a knee of size 1, mm: about the mean of adults.
USUAL_PLATEAU_WIDTH = 75.0
# The bone's axis from its knee end (+1: the bone lies above the joint).
_ABOVE = {"femur": 1.0, "tibia": -1.0, "fibula": -1.0}


@dataclass(frozen=True)
class BoneAxis:
    """The axis of a bone: `end` (3,) mm is the knee end of the bone projected on it, `direction` (3,) points to the shaft."""

    end: Array
    direction: Array

    def along(self, points: Array) -> Array:
        """Distance in mm of points (..., 3) from the bone's knee end, along its axis."""
        return np.asarray((points - self.end) @ self.direction)


@dataclass(frozen=True)
class LegLandmarks:
    """Landmarks of a posed knee, LPS mm.

    Attributes
    ----------
    lateral: sign of x that points laterally.
    joint: (3,) middle of the tibial plateau, at the height of the joint line.
    size: width of the plateau over 75 mm.
    half_width: half the width of the plateau, mm.
    axes: of femur, tibia and fibula.
    tuberosity: (3,) most anterior point of the tibia where the patellar ligament ends.
    patella_low, patella_high: (3,) its poles.
    fibula_top: (3,) tip of the fibula's head.
    z_limits: lowest and highest z between which every shaft is whole.
    """

    lateral: float
    joint: Array
    size: float
    half_width: float
    axes: dict[str, BoneAxis]
    tuberosity: Array
    patella_low: Array
    patella_high: Array
    fibula_top: Array
    z_limits: tuple[float, float]


def find_landmarks(bones: Mapping[str, Surface], side: str) -> LegLandmarks:
    """Landmarks of the four bones of one knee (closed surfaces, LPS mm, leg roughly along z).

    Raises InputError when a bone lacks or is empty, for an unknown side, or where the fibula lies on the other side of the tibia.
    """
    missing = [name for name in BONE_NAMES if name not in bones or bones[name].is_empty]
    if missing:
        raise InputError(f"The knee has no {missing[0]}: a synthetic CT needs patella, femur, fibula and tibia.")
    if side not in SIDES:
        raise InputError(f"The side is '{side}', and it must be right or left.")
    lateral = lateral_direction(side)
    femur, tibia = bones["femur"].vertices, bones["tibia"].vertices
    if lateral * (bones["fibula"].centroid[0] - bones["tibia"].centroid[0]) < 0:
        raise InputError(
            f"The fibula lies where that of the other leg does, but the knee is said to be a {side} one: correct the side."
        )
    top = float(tibia[:, 2].max())
    plateau = tibia[tibia[:, 2] > top - 20.0]
    low, high = plateau[:, :2].min(axis=0), plateau[:, :2].max(axis=0)
    width = float(high[0] - low[0])
    size = width / USUAL_PLATEAU_WIDTH
    joint = np.array([*(low + high) / 2, (top + float(femur[:, 2].min())) / 2])
    front = tibia[(tibia[:, 2] < top - 25 * size) & (tibia[:, 2] > top - 55 * size)]
    patella, fibula = bones["patella"].vertices, bones["fibula"].vertices
    axes = {name: _axis(bones[name].vertices, sign) for name, sign in _ABOVE.items()}
    return LegLandmarks(
        lateral=lateral,
        joint=joint,
        size=size,
        half_width=width / 2,
        axes=axes,
        tuberosity=front[front[:, 1].argmin()] if len(front) else joint - size * np.array([0.0, 20.0, 35.0]),
        patella_low=patella[patella[:, 2].argmin()],
        patella_high=patella[patella[:, 2].argmax()],
        fibula_top=fibula[fibula[:, 2].argmax()],
        z_limits=(
            max(_shaft_end(bones[name], axes[name]) for name in ("tibia", "fibula")),
            _shaft_end(bones["femur"], axes["femur"]),
        ),
    )


def _axis(vertices: Array, sign: float, reach: float = 130.0) -> BoneAxis:
    """Axis of a long bone, through the middles of slabs from a quarter to the whole of its part within `reach` mm of the knee."""
    away = sign * vertices[:, 2]
    away = away - away.min()
    length = min(float(away.max()), reach)
    edges = np.linspace(0.25 * length, length, 9)
    middles = [
        (part.min(axis=0) + part.max(axis=0)) / 2
        for first, last in pairwise(edges)
        if len(part := vertices[(away >= first) & (away <= last)]) > 2
    ]
    direction = np.array([0.0, 0.0, sign])
    if len(middles) > 1:
        centred = np.array(middles) - np.mean(middles, axis=0)
        direction = np.linalg.svd(centred, full_matrices=False)[2][0]
        direction = direction * np.sign(direction[2] * sign)
    point = np.mean(middles, axis=0) if middles else vertices.mean(axis=0)
    nearest = float(((vertices - point) @ direction).min())
    return BoneAxis(point + nearest * direction, direction)


def _shaft_end(surface: Surface, axis: BoneAxis) -> float:
    """The z nearest to the knee at which a long bone's far end begins: of the triangles there that face along the axis."""
    corners = surface.triangles
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1)
    facing = (normal @ axis.direction) > 0.8 * length
    along = axis.along(corners.mean(axis=1))
    # A shaft cut across z is oblique to a bent bone's axis: the cut reaches over some millimetres along it.
    cap = corners[facing & (along > along.max() - 18.0)]
    heights = (cap if len(cap) else corners)[..., 2]
    return float(heights.min() if axis.direction[2] > 0 else heights.max())
