"""A plane in patient space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """All points p with (p - point) . normal = 0.

    Attributes
    ----------
    point: (3,) a point of it, LPS mm.
    normal: (3,) unit vector; the positive side is where it points.

    Raises ValueError for a normal without length or coordinates that are not finite.
    """

    point: Array
    normal: Array

    def __post_init__(self) -> None:
        point = np.array(self.point, dtype=np.float64).reshape(3)
        normal = np.array(self.normal, dtype=np.float64).reshape(3)
        length = float(np.linalg.norm(normal))
        if not (np.isfinite(point).all() and np.isfinite(length) and length > 0):
            raise ValueError(f"a plane needs a finite point and a normal with a length, not {point}, {normal}")
        object.__setattr__(self, "point", point)
        object.__setattr__(self, "normal", normal / length)

    def distances(self, points: ArrayLike) -> Array:
        """(N,) signed distances in mm of points (N, 3), positive on the normal's side."""
        return (np.asarray(points, dtype=np.float64) - self.point) @ self.normal
