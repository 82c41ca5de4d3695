"""What a cutting guide is: its body, the patch that lies on the bone, its slot and its wires."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.planning.plane import Plane
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Wire:
    """A K-wire hole. entry: (3,) where its axis meets the bone, LPS mm; direction: (3,) unit, into the bone; diameter_mm."""

    entry: Array
    direction: Array
    diameter_mm: float


@dataclass(frozen=True)
class Guide:
    """A patient-specific cutting guide in the frame of the bone it was made on (LPS mm).

    Attributes
    ----------
    surface: the closed, printable body.
    contact: the part of it that lies on the bone: an open patch, its normals pointing at the bone.
    clearance_mm: designed gap between `contact` and the bone.
    cut_plane: middle of the saw slot; its normal points to the proximal (joint) side.
    slot_thickness_mm: of the slot, across the plane.
    wires: holes for K-wires.
    seating_direction: (3,) unit vector in which it is pushed onto the bone.
    hinge: (point (3,), unit direction (3,)) of the osteotomy's hinge axis, or None where the guide knows no hinge.
    parameters: every dimension by name, mm or degrees as the name says; with the planned wedge as `wedge_degrees`.
    second_cut_plane: middle of the second slot, of a closing wedge's lower cut, its normal to the proximal side; None otherwise.
    """

    surface: Surface
    contact: Surface
    clearance_mm: float
    cut_plane: Plane
    slot_thickness_mm: float
    wires: tuple[Wire, ...]
    seating_direction: Array
    hinge: tuple[Array, Array] | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    second_cut_plane: Plane | None = None
