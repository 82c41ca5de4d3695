"""Edges of the two images of a rig at one scale, and how well outlines of bones lie on them wherever the second view stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.epipolar_tangency import frontier_points
from SSRKDCore.geometry.calibration.outline_edges import OutlineEdges, outline_edges
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.surface import Surface

Indices = NDArray[np.int64]

#: An edge counts less the further off it lies (Cauchy's function), from so many standard deviations.
ROBUST = 2.0


@dataclass(frozen=True)
class EdgeStage:
    """Scale of the edges (mm), how far they may lie (mm), standard deviation of a contour point (mm)."""

    blur_mm: float
    reach_mm: float
    noise_mm: float


COARSE = EdgeStage(2.0, 14.0, 3.0)
FINE = (EdgeStage(1.5, 8.0, 1.5), EdgeStage(0.8, 4.0, 0.8))


@dataclass(frozen=True)
class PoseQuality:
    """How bones and a pose agree with the images.

    Attributes
    ----------
    outline_mm: mean distance of contours from edges (first, second view), before and after.
    matched: share of contour points that found an edge, after.
    better_than_chance: 0..1, by how much smaller the misfit is than that of the same outlines on the images turned upside down.
    tangency_mm: root mean square mismatch of the frontier points' heights, before and after; NaN where none was seen.
    """

    outline_mm: tuple[tuple[float, float], tuple[float, float]]
    matched: float
    better_than_chance: float
    tangency_mm: tuple[float, float]


class PoseEdges:
    """The edges of both images of a rig at a stage. images: view name -> line integrals [row, column]. rig: as stated.

    Raises InputError for an image without edges.
    """

    def __init__(self, images: Mapping[str, NDArray[np.floating]], rig: Rig, stage: EdgeStage) -> None:
        from SSRKDCore.shape_fit.silhouette_edges import EdgeImage

        self._rig, self._stage = rig, stage
        self._images = []
        for view in rig.views:
            on_detector = float(stage.blur_mm * view.magnification(rig.field_of_view.center))
            image = images[view.name]
            self._images.append(EdgeImage.of(image, np.ones(image.shape), view, on_detector))
        if any(image.strong <= 0 for image in self._images):
            raise InputError("A radiograph shows no edges: check the image and the rig.")

    def outlines(
        self, surfaces: Mapping[str, Surface], table: Mapping[str, Indices], second: View, upside_down: bool = False
    ) -> OutlineEdges:
        """Contours of bones with the second view where it is given; upside down: beside edges that are none of theirs.

        surfaces: LPS mm. table: of each, see `mesh_edge_table`.
        """
        images = self._images
        if upside_down:
            images = [replace(image, down=-image.down[::-1], across=image.across[::-1]) for image in images]
        views = (self._rig.views[0], second)
        return outline_edges(surfaces, table, views, images, self._stage.reach_mm, self._rig.field_of_view)

    def misfit(self, found: OutlineEdges) -> float:
        """Robust mean square distance in mm^2 in both images, a point without an edge counted as one at the reach."""
        scale = ROBUST * self._stage.noise_mm
        full = scale**2 * np.log1p((self._stage.reach_mm / scale) ** 2)
        if not len(found.weight):
            return float(full)
        penalty = scale**2 * np.log1p((np.abs(found.distance) / scale) ** 2)
        return float((found.weight * penalty + (1 - found.weight) * full).mean())

    def quality(
        self,
        before: Mapping[str, Surface],
        after: Mapping[str, Surface],
        table: Mapping[str, Indices],
        second: View,
    ) -> PoseQuality:
        """Of bones as they were with the second view as stated, and as they are with it where it is given."""
        first, stated = self._rig.views
        was, now = self.outlines(before, table, stated), self.outlines(after, table, second)
        chance = self.misfit(self.outlines(after, table, second, upside_down=True))
        field_of_view = self._rig.field_of_view
        return PoseQuality(
            (was.mean_distances(), now.mean_distances()),
            now.matched,
            1 - self.misfit(now) / max(chance, 1e-9),
            (
                frontier_points(was, first, stated, field_of_view).rms,
                frontier_points(now, first, second, field_of_view).rms,
            ),
        )
