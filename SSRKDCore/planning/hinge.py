"""The hinge axis of an osteotomy and the cut that ends at it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.osteotomy import LATERAL_CLOSING, OsteotomyParameters
from SSRKDCore.planning.osteotomy_frame import TibialAxes
from SSRKDCore.planning.plane import Plane
from SSRKDCore.planning.surface_rays import ray_hits
from SSRKDCore.population.rigid_transforms import rotation_about
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Farther away than any cortex of a tibia is from its middle.
_OUTSIDE_MM = 300.0


@dataclass(frozen=True)
class Hinge:
    """The axis about which the distal fragment turns.

    Attributes
    ----------
    point: (3,) LPS mm, halfway between the front and the back of the bone (at the plateau's middle).
    direction: (3,) unit vector; a positive, right-handed turn about it moves the ankle laterally (into valgus), on both sides.
    """

    point: Array
    direction: Array

    def rotation(self, degrees: float) -> Array:
        """(4, 4) motion of the distal fragment for a wedge of `degrees`."""
        return rotation_about(self.direction, degrees, self.point)


def hinge_side(kind: str) -> float:
    """+1 where the hinge lies laterally (opening wedge), -1 where it lies medially (closing wedge)."""
    return -1.0 if kind == LATERAL_CLOSING else 1.0


def place_hinge(
    tibia: Surface,
    axes: TibialAxes,
    plateau_height: float,
    tilt_degrees: float,
    parameters: OsteotomyParameters,
) -> Hinge:
    """The hinge axis at its distances from the cortex and below the plateau.

    Parameters
    ----------
    tibia: closed surface, LPS mm.
    axes: of the tibia.
    plateau_height: mm proximal of the origin, of the plateau on the hinge's side.
    tilt_degrees: posterior tilt of the axis.
    parameters: the distances.

    Raises InputError where the hinge falls out of the bone.
    """
    side = hinge_side(parameters.kind)
    height = plateau_height - parameters.hinge_below_plateau_mm
    cortex = cortex_position(tibia, axes, side, height, "hinge")
    lateral = side * (cortex - parameters.hinge_to_cortex_mm)
    point = axes.point(lateral, 0.0, height)
    tilt, turn = np.radians(tilt_degrees), np.radians(parameters.hinge_rotation_degrees)
    # A plateau that falls to the back rises to the front, and so does an axis parallel to it.
    level = np.cos(turn) * axes.anterior + np.sin(turn) * axes.lateral
    direction = np.cos(tilt) * level + np.sin(tilt) * axes.proximal
    if direction @ np.cross(axes.lateral, axes.proximal) < 0:
        direction = -direction
    if len(ray_hits(tibia, point, axes.lateral)) % 2 == 0:
        raise InputError("The hinge lies outside the bone: bring it nearer to its cortex, or lower.")
    return Hinge(point, direction)


def cut_through(hinge: Hinge, entry: Array, axes: TibialAxes) -> Plane:
    """The plane through the hinge axis and the entry point (3,), its normal to the joint. Raises InputError when the
    entry lies on the axis.
    """
    normal = np.cross(hinge.direction, entry - hinge.point)
    if np.linalg.norm(normal) < 1.0:
        raise InputError("The entry of the cut lies at the hinge: move them apart.")
    return Plane(hinge.point, normal if normal @ axes.proximal > 0 else -normal)


def entry_point(tibia: Surface, axes: TibialAxes, plateau_height: float, parameters: OsteotomyParameters) -> Array:
    """(3,) where the cut meets the cortex across from the hinge, halfway between front and back. Raises InputError."""
    side = -hinge_side(parameters.kind)
    height = plateau_height - parameters.entry_below_plateau_mm
    return axes.point(side * cortex_position(tibia, axes, side, height, "entry of the cut"), 0.0, height)


def cortex_position(tibia: Surface, axes: TibialAxes, side: float, height: float, what: str) -> float:
    """mm from the origin to the outermost bone on the lateral (+1) or medial (-1) side, at a height proximal of the origin."""
    start = axes.point(side * _OUTSIDE_MM, 0.0, height)
    hits = ray_hits(tibia, start, -side * axes.lateral)
    if len(hits) == 0:
        raise InputError(
            f"There is no bone at the height of the {what}: check the landmarks and the distances below the plateau."
        )
    return float(_OUTSIDE_MM - hits[0])
