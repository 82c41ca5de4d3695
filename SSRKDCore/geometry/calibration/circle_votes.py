"""Bright discs in an image, by voting: each edge pixel votes for the centres that lie one radius up its gradient.

The Hough transform for circles with the gradient's direction (Kimme, Ballard and Sklansky, Commun ACM 18(2), 1975), on an
image reduced so that the smallest radius is still some ten pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SMALLEST_RADIUS = 9.0
_RADIUS_STEP = 1.04
_EDGE_PERCENTILE = 70.0
_RAYS = 180
_OFF_RIM = 0.04


@dataclass(frozen=True)
class Circle:
    """A circle in pixels: centre, radius, and the share (0..1) of its rim where the image falls outwards at an edge."""

    row: float
    column: float
    radius: float
    rim_seen: float


def bright_circles(
    image: NDArray[np.floating],
    radii: tuple[float, float],
    near: tuple[float, float] | None = None,
    count: int = 6,
) -> list[Circle]:
    """The circles with the most votes, those with the most complete rim first.

    Parameters
    ----------
    image: (rows, columns) line integrals; discs are brighter than their surroundings.
    radii: smallest and largest radius in pixels.
    near: (row, column) of a click: only centres within the smallest radius (at least 8 pixels) of it count.
    count: at most so many.
    """
    from scipy.ndimage import gaussian_filter, maximum_filter

    factor = max(1, int(radii[0] // _SMALLEST_RADIUS))
    small = _reduced(np.asarray(image, dtype=np.float64), factor)
    smooth = gaussian_filter(small, 1.0)
    down, across = np.gradient(smooth)
    strength = np.hypot(down, across)
    rows, columns = _thin_edges(strength, down, across)
    if not len(rows):
        return []
    unit = np.stack([down[rows, columns], across[rows, columns]]) / strength[rows, columns]
    low, high = radii[0] / factor, radii[1] / factor
    tried = low * _RADIUS_STEP ** np.arange(int(np.ceil(np.log(max(high / low, 1.0)) / np.log(_RADIUS_STEP))) + 1)
    votes = np.zeros((len(tried), *small.shape))
    for layer, radius in zip(votes, tried, strict=True):
        at = np.rint(np.stack([rows, columns]) + radius * unit).astype(int)
        inside = ((at >= 0) & (at < np.array(small.shape)[:, None])).all(axis=0)
        flat = np.bincount(at[0, inside] * small.shape[1] + at[1, inside], minlength=small.size)
        # A blur as wide as the radii are apart; divided by the rim's length it is a share of the rim.
        layer[:] = gaussian_filter(flat.reshape(small.shape).astype(np.float64), 1.0 + 0.02 * radius) / (
            2 * np.pi * radius
        )
    if near is not None:
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in small.shape), indexing="ij"))
        off = np.hypot(*(grid - _to_small(np.array(near), factor)[:, None, None]))
        votes[:, off > max(low, 8.0 / factor)] = 0.0
    peaks = (votes == maximum_filter(votes, size=(5, 5, 5))) & (votes > 0)
    where = np.argwhere(peaks)
    where = where[np.argsort(-votes[peaks])][: 6 * count]
    found: list[Circle] = []
    for layer_index, row, column in where:
        circle = _refined(smooth, float(row), float(column), float(tried[layer_index]))
        if circle is not None and low * 0.9 <= circle.radius <= high * 1.1:
            full = Circle(*_to_full(circle, factor), circle.rim_seen)
            if not any(_same(full, other) for other in found):
                found.append(full)
    return sorted(found, key=lambda circle: -circle.rim_seen)[:count]


def _reduced(image: Array, factor: int) -> Array:
    """Means over blocks of `factor` x `factor` pixels; an incomplete last block is left out."""
    rows, columns = (n // factor for n in image.shape)
    return image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor).mean(axis=(1, 3))


def _to_small(position: Array, factor: int) -> Array:
    return (position - (factor - 1) / 2) / factor


def _to_full(circle: Circle, factor: int) -> tuple[float, float, float]:
    shift = (factor - 1) / 2
    return circle.row * factor + shift, circle.column * factor + shift, circle.radius * factor


def _same(one: Circle, other: Circle) -> bool:
    return bool(np.hypot(one.row - other.row, one.column - other.column) < 0.5 * max(one.radius, other.radius))


def _thin_edges(strength: Array, down: Array, across: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels where the gradient is the largest along its own direction (J. Canny, IEEE TPAMI 8(6), 1986)."""
    from scipy.ndimage import map_coordinates

    strong = strength > max(float(np.percentile(strength, _EDGE_PERCENTILE)), 1e-9)
    rows, columns = np.nonzero(strong)
    unit = np.stack([down[rows, columns], across[rows, columns]]) / strength[rows, columns]
    here = np.stack([rows, columns])
    ahead, behind = (map_coordinates(strength, here + sign * unit, order=1, mode="nearest") for sign in (1, -1))
    kept = (strength[rows, columns] >= ahead) & (strength[rows, columns] >= behind)
    return rows[kept], columns[kept]


def _refined(smooth: Array, row: float, column: float, radius: float) -> Circle | None:
    """Fit a circle to the steepest falls along rays from the centre, and count how much of the rim shows one."""
    from scipy.ndimage import map_coordinates

    turn = 2 * np.pi * np.arange(_RAYS) / _RAYS
    direction = np.stack([np.sin(turn), np.cos(turn)])
    off_rim = max(_OFF_RIM * radius, 1.0)
    for share in (0.3, 0.15):
        reach = np.arange(max(2.0, radius * (1 - share)), radius * (1 + share) + 0.5, 0.5)
        places = np.array([row, column])[:, None, None] + direction[:, :, None] * reach
        inside = ((places >= 0) & (places <= np.array(smooth.shape)[:, None, None] - 1)).all(axis=0)
        fall = -np.gradient(map_coordinates(smooth, places, order=1, mode="nearest"), axis=1)
        fall = np.where(inside, fall, 0.0)
        best = fall.argmax(axis=1)
        strength = fall[np.arange(_RAYS), best]
        used = (strength > 0.25 * np.median(strength)) & (strength > 0)
        if used.sum() < 20:
            return None
        points = np.array([row, column])[:, None] + direction * reach[best]
        for _ in range(6):
            system = np.stack([points[0, used], points[1, used], np.ones(used.sum())], axis=1)
            solved = np.linalg.lstsq(system, (points[:, used] ** 2).sum(axis=0), rcond=None)[0]
            row, column = float(solved[0] / 2), float(solved[1] / 2)
            radius = float(np.sqrt(max(solved[2] + row**2 + column**2, 1.0)))
            away = np.abs(np.hypot(points[0] - row, points[1] - column) - radius)
            used = (strength > 0.25 * np.median(strength)) & (strength > 0)
            used &= away <= max(off_rim, 1.5 * float(np.median(away)))
            if used.sum() < 20:
                return None
    if not (0 <= row < smooth.shape[0] and 0 <= column < smooth.shape[1]):
        return None
    seen = (away <= off_rim) & (strength > 0.25 * np.median(strength)) & (strength > 0)
    return Circle(row, column, radius, float(seen.mean()))
