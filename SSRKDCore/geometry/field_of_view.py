"""The cube in patient space that is reconstructed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FieldOfView:
    """A cube aligned with the LPS axes.

    Attributes
    ----------
    center: (x, y, z) in mm, LPS.
    size: side of the cube in mm.

    Raises InputError for numbers that are none.
    """

    center: tuple[float, float, float]
    size: float

    def __post_init__(self) -> None:
        x, y, z = (float(v) for v in self.center)
        object.__setattr__(self, "center", (x, y, z))
        object.__setattr__(self, "size", float(self.size))
        if not np.isfinite([x, y, z, self.size]).all() or self.size <= 0:
            raise InputError(
                f"A field of view needs a finite centre and a positive size in mm, not {self.center} and {self.size:g}: correct them."
            )

    @property
    def bounds(self) -> Array:
        """(2, 3): lowest and highest corner in mm."""
        half = self.size / 2
        return np.array(self.center) + np.array([[-half] * 3, [half] * 3])

    @property
    def corners(self) -> Array:
        """(8, 3) corners in mm."""
        bounds = self.bounds
        return np.array([[bounds[i, 0], bounds[j, 1], bounds[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])

    def translated(self, offset: Array | tuple[float, float, float]) -> FieldOfView:
        """The same cube moved by (dx, dy, dz) mm."""
        x, y, z = np.array(self.center) + np.asarray(offset, dtype=np.float64)
        return FieldOfView((x, y, z), self.size)
