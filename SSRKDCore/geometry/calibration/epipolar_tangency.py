"""Frontier points: where a plane through both sources touches a bone, both images show its outline at the same height.

Two views of one body agree there whatever its shape (Cipolla, Astrom and Giblin, "Motion from the frontier of curved surfaces", ICCV
1995), so the mismatch judges the views without trusting the reconstruction: its contour only says where to look.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.calibration.outline_edges import ContourEdges, OutlineEdges
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View

Array = NDArray[np.float64]

_CLOSE_MM = 1.5
_CUT_MM = 5.0
_FEWEST = 3


@dataclass(frozen=True)
class FrontierPoints:
    """Frontier points that both images show.

    points: (N, 3) LPS mm, where the contour of the second view has them. up: (N, 3) unit normals of their epipolar planes, away from
    the bone. mismatch: (N,) height seen in the first image minus that in the second, along `up`, mm at the bone.
    """

    points: Array
    up: Array
    mismatch: Array

    @property
    def rms(self) -> float:
        """Root mean square mismatch in mm; NaN without points."""
        return float(np.sqrt(np.mean(self.mismatch**2))) if len(self.mismatch) else float("nan")


def frontier_points(edges: OutlineEdges, first: View, second: View, field_of_view: FieldOfView) -> FrontierPoints:
    """The top and the bottom of each bone along the normal of the epipolar planes, where both images show it."""
    center = np.array(field_of_view.center)
    baseline = np.array(second.source) - np.array(first.source)
    up = np.cross(baseline, center - np.array(first.source))
    up /= np.linalg.norm(up)
    points, directions, mismatches = [], [], []
    for bone in sorted({part.bone for part in edges.parts}):
        pair = [next((p for p in edges.parts if p.bone == bone and p.view == view), None) for view in (0, 1)]
        if pair[0] is None or pair[1] is None:
            continue
        for sign in (1.0, -1.0):
            here = _seen_height(pair[0], first, sign * up, baseline, center, field_of_view)
            there = _seen_height(pair[1], second, sign * up, baseline, center, field_of_view)
            if here is not None and there is not None:
                points.append(there[1])
                directions.append(sign * up)
                mismatches.append(here[0] - there[0])
    return FrontierPoints(np.array(points).reshape(-1, 3), np.array(directions).reshape(-1, 3), np.array(mismatches))


def _seen_height(
    part: ContourEdges, view: View, up: Array, baseline: Array, center: Array, field_of_view: FieldOfView
) -> tuple[float, Array] | None:
    """Height in mm, at the centre, of the epipolar plane that touches the outline seen in the image, and the contour's
    point there; None where it is not seen."""
    source = np.array(view.source)
    along = baseline / np.linalg.norm(baseline)
    # Of a point's epipolar plane: its slope about the baseline, times the centre's distance from it.
    forward = np.cross(up, along)
    forward *= np.sign(forward @ (center - source))
    reach = float((center - source) @ forward)
    rays = part.points - source
    height = (rays @ up) / (rays @ forward) * reach
    top = int(height.argmax())
    low, high = field_of_view.bounds
    if (part.points[top] < low + _CUT_MM).any() or (part.points[top] > high - _CUT_MM).any():
        return None
    close = (height > height[top] - _CLOSE_MM) & (part.weight > 0) & (part.normals @ up > 0.5)
    if close.sum() < _FEWEST:
        return None
    off = float(np.median(part.distance[close] * (part.normals[close] @ up)))
    return float(height[top]) + off, part.points[top]
