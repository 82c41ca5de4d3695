"""A right knee of ellipses on top of each other, whose inside is known in closed form: for tests of synthetic CTs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Middle (x, y), heights from bottom to top, and half axes there, all mm: the fibula lies lateral (negative x) and behind.
SHAPES: dict[str, tuple[tuple[float, float], Array, Array, Array]] = {
    "femur": ((0.0, 0.0), np.array([2.0, 30.0, 60.0, 150.0]), np.array([34.0, 38.0, 18.0, 14.0]), np.array([26.0, 27.0, 15.0, 14.0])),
    "tibia": ((0.0, 0.0), np.array([-150.0, -60.0, -25.0, -3.0]), np.array([12.0, 15.0, 33.0, 37.0]), np.array([12.0, 15.0, 23.0, 25.0])),
    "fibula": ((-36.0, 22.0), np.array([-150.0, -40.0, -15.0]), np.array([7.0, 7.0, 9.0]), np.array([7.0, 6.0, 9.0])),
    "patella": ((2.0, -44.0), np.array([10.0, 30.0, 50.0]), np.array([8.0, 21.0, 12.0]), np.array([5.0, 9.0, 7.0])),
}  # fmt: skip


def half_axes(name: str, z: Array) -> tuple[Array, Array]:
    """Half axes in mm along x and y of a bone's section at heights z; meaningless beyond its ends."""
    _, heights, across, deep = SHAPES[name]
    return np.interp(z, heights, across), np.interp(z, heights, deep)


def inside(name: str, points: Array) -> NDArray[np.bool_]:
    """Which points (..., 3) in mm a bone holds."""
    middle, heights, _, _ = SHAPES[name]
    across, deep = half_axes(name, points[..., 2])
    level = ((points[..., 0] - middle[0]) / across) ** 2 + ((points[..., 1] - middle[1]) / deep) ** 2
    return (level < 1.0) & (points[..., 2] > heights[0]) & (points[..., 2] < heights[-1])


def simple_leg(step: float = 2.0, around: int = 64) -> dict[str, Surface]:
    """The four bones as closed surfaces, in LPS mm."""
    return {name: _stack(name, step, around) for name in SHAPES}


def _stack(name: str, step: float, around: int) -> Surface:
    (x, y), heights, _, _ = SHAPES[name]
    z = np.linspace(heights[0], heights[-1], int((heights[-1] - heights[0]) / step) + 1)
    z = np.unique(np.concatenate([z, heights]))
    angle = 2 * np.pi * np.arange(around) / around
    across, deep = half_axes(name, z)
    rings = np.stack(
        [
            x + across[:, None] * np.cos(angle),
            y + deep[:, None] * np.sin(angle),
            np.broadcast_to(z[:, None], (len(z), around)),
        ],
        axis=2,
    )
    vertices = np.concatenate([rings.reshape(-1, 3), [[x, y, z[0]], [x, y, z[-1]]]])
    faces = []
    for j in range(around):
        k = (j + 1) % around
        for i in range(len(z) - 1):
            a, b, c, d = i * around + j, i * around + k, (i + 1) * around + j, (i + 1) * around + k
            faces += [(a, b, c), (b, d, c)]
        last = (len(z) - 1) * around
        faces += [(len(vertices) - 2, k, j), (len(vertices) - 1, last + j, last + k)]
    return Surface(vertices, np.array(faces))
