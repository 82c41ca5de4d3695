"""A guide moved as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.planning.guide_errors import moved_plane
from SSRKDCore.planning.guide_model import Guide, Wire

Array = NDArray[np.float64]


def moved_guide(guide: Guide, matrix: ArrayLike) -> Guide:
    """A guide after a rigid motion (4, 4), such as the registration of the reconstruction onto the reference."""
    motion = np.asarray(matrix, dtype=np.float64)

    def point(place: Array) -> Array:
        return motion[:3, :3] @ place + motion[:3, 3]

    def direction(way: Array) -> Array:
        return motion[:3, :3] @ way

    return replace(
        guide,
        surface=guide.surface.transformed(motion),
        contact=guide.contact.transformed(motion),
        cut_plane=moved_plane(guide.cut_plane, motion),
        wires=tuple(Wire(point(wire.entry), direction(wire.direction), wire.diameter_mm) for wire in guide.wires),
        seating_direction=direction(guide.seating_direction),
        hinge=None if guide.hinge is None else (point(guide.hinge[0]), direction(guide.hinge[1])),
        second_cut_plane=None if guide.second_cut_plane is None else moved_plane(guide.second_cut_plane, motion),
    )
