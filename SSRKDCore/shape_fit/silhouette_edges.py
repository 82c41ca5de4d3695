"""Edges of bone in an image, found along the normals of a projected contour.

An edge is where the image falls steepest from inside to outside, as at a Canny edge whose orientation agrees with the
contour's (Baka et al., Medical Image Analysis 15, 2011; J. Canny, IEEE TPAMI 8(6), 1986).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, minimum_filter

from SSRKDCore.geometry.view import View

Array = NDArray[np.float64]

_STEP_MM = 0.4
# Strength, as a share of the image's strong edges, below which nothing is called an edge.
_WEAKEST = 0.12
_STRONG_PERCENTILE = 97.0
# Line integrals below this share of a leg's are air.
_AIR = 0.1
_SKIN_MM = 2.0


def beneath_skin(image: NDArray[np.floating], seen: NDArray[np.bool_], margin: float) -> NDArray[np.bool_]:
    """(rows, columns) where the leg is, but for its outer `margin` pixels: the skin is a stronger edge than any bone, and bone lies
    at least some millimetres beneath it."""
    if not seen.any():
        return seen
    leg = seen & (image > _AIR * np.percentile(image[seen], 95.0))
    return np.asarray(minimum_filter(leg, size=2 * int(np.ceil(margin)) + 1, mode="nearest"))


@dataclass(frozen=True)
class EdgeImage:
    """The gradient of a smoothed image.

    Attributes
    ----------
    view: of the image, LPS mm.
    down, across: (rows, columns) derivatives along rows and columns per pixel, 0 where the detector did not see.
    strong: derivative of a strong edge; 0 in an image without edges.
    """

    view: View
    down: Array
    across: Array
    strong: float

    @classmethod
    def of(
        cls,
        image: NDArray[np.floating],
        coverage: NDArray[np.floating],
        view: View,
        blur_mm: float,
        with_skin: bool = True,
    ) -> EdgeImage:
        """Edges at the scale `blur_mm` (standard deviation, on the detector) of an image (rows, columns) that grows with bone.

        coverage: (rows, columns) 0..1, what the detector saw. with_skin: the image shows the leg (a radiograph, and not a picture of
        bone alone), so that nothing next to the skin counts.
        """
        blur = blur_mm / view.pixel_spacing[0]
        seen = np.asarray(coverage) >= 0.5
        values = np.where(seen, image, float(np.median(image[seen])) if seen.any() else 0.0).astype(np.float64)
        margin = 1.5 * blur + _SKIN_MM / view.pixel_spacing[0]
        inner = beneath_skin(values if with_skin else np.ones(values.shape), seen, margin)
        down = np.where(inner, gaussian_filter(values, blur, order=(1, 0)), 0.0)
        across = np.where(inner, gaussian_filter(values, blur, order=(0, 1)), 0.0)
        magnitude = np.hypot(down, across)
        strong = float(np.percentile(magnitude[inner], _STRONG_PERCENTILE)) if inner.any() else 0.0
        return cls(view, down, across, strong)

    def along_normals(self, points: Array, normals: Array, reach_mm: float) -> tuple[Array, Array]:
        """The edge next to each contour point, along its normal.

        Parameters
        ----------
        points, normals: (N, 3) LPS mm, and outward unit normals perpendicular to the rays.
        reach_mm: how far an edge may lie, mm at the point; nearer ones are preferred.

        Returns
        -------
        distance: (N,) mm at the point, positive outwards; 0 where there is no edge.
        weight: (N,) 0..1, how strong the edge is; 0 where there is none.
        """
        pixels, _ = self.view.project(points)
        ahead, _ = self.view.project(points + normals)
        per_mm = ahead - pixels
        count = int(np.ceil(reach_mm / _STEP_MM))
        offsets = _STEP_MM * np.arange(-count, count + 1)
        places = pixels[:, None] + offsets[:, None] * per_mm[:, None]
        flat = np.nan_to_num(places.reshape(-1, 2).T, nan=-10.0)
        down = map_coordinates(self.down, flat, order=1, mode="constant").reshape(places.shape[:2])
        across = map_coordinates(self.across, flat, order=1, mode="constant").reshape(places.shape[:2])
        unit = per_mm / np.maximum(np.linalg.norm(per_mm, axis=1, keepdims=True), 1e-12)
        fall = -(down * unit[:, None, 0] + across * unit[:, None, 1])
        score = fall * np.exp(-0.5 * (2.0 * offsets / reach_mm) ** 2)
        rows = np.arange(len(points))
        best = np.clip(np.argmax(score, axis=1), 1, max(len(offsets) - 2, 1))
        before, here, after = score[rows, best - 1], score[rows, best], score[rows, best + 1]
        curvature = before - 2.0 * here + after
        vertex = np.where(
            curvature < -1e-12, 0.5 * (before - after) / np.where(curvature < -1e-12, curvature, 1.0), 0.0
        )
        distance = offsets[best] + _STEP_MM * np.clip(vertex, -0.5, 0.5)
        strength = fall[rows, best] / self.strong if self.strong > 0 else np.zeros(len(points))
        found = strength > _WEAKEST
        return np.where(found, distance, 0.0), np.where(found, np.clip(strength, 0.0, 1.0), 0.0)
