"""How a sphere falls on a flat detector: the ellipse in which the detector cuts the cone of rays that graze it.

With the source at distance f from the detector, a sphere of radius R at depth w (along the detector's normal) and its
centre seen at an angle t off the normal, the cone's half angle a has sin a = R cos t / w, and the ellipse has the half axes
f R / sqrt(w^2 - R^2), whatever t is, and, towards the foot of the central ray,
f sin a cos a / (cos^2 t - sin^2 a). The minor axis alone therefore tells the depth; the mean diameter would not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.view import View

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ellipse:
    """An ellipse in an image of square pixels.

    Attributes
    ----------
    row, column: centre, whole numbers at pixel centres.
    minor, major: half axes in pixels.
    angle: radians from the direction of growing columns to the major axis, towards growing rows.
    """

    row: float
    column: float
    minor: float
    major: float
    angle: float

    def points(self, count: int = 72) -> Array:
        """(count, 2) [row, column] on the ellipse."""
        turn = 2 * np.pi * np.arange(count) / count
        along, across = self.major * np.cos(turn), self.minor * np.sin(turn)
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        return np.stack(
            [self.row + along * sine + across * cosine, self.column + along * cosine - across * sine], axis=1
        )

    @classmethod
    def from_conic(cls, conic: ArrayLike) -> Ellipse:
        """The ellipse of all (row, column) with (row, column, 1) Q (row, column, 1)^T = 0.

        conic: (3, 3) symmetric Q, of any scale. Raises ValueError when that is no ellipse.
        """
        matrix = np.asarray(conic, dtype=np.float64)
        middle = np.linalg.solve(matrix[:2, :2], -matrix[:2, 2])
        rest = float(matrix[2, 2] + matrix[2, :2] @ middle)
        values, vectors = np.linalg.eigh(-matrix[:2, :2] / rest)
        if values[0] <= 0:
            raise ValueError("the conic is no ellipse")
        long = vectors[:, 0]
        return cls(
            float(middle[0]),
            float(middle[1]),
            float(values[1] ** -0.5),
            float(values[0] ** -0.5),
            float(np.arctan2(long[0], long[1])),
        )


def sphere_outline(view: View, center: ArrayLike, radius: float) -> Ellipse:
    """The outline of a sphere on the image of a view with square pixels.

    Parameters
    ----------
    view: LPS mm.
    center: (3,) of the sphere, LPS mm.
    radius: mm.

    Raises InputError when the source lies in the sphere, or part of the sphere beside or behind the source.
    """
    source = np.array(view.source)
    towards = np.asarray(center, dtype=np.float64) - source
    if towards @ view.normal <= radius or np.linalg.norm(towards) <= radius:
        raise InputError(f"The sphere lies around or behind the source of view '{view.name}': correct its position.")
    # A pixel's ray is (row, column, 1) times these three vectors.
    rays = np.stack(
        [
            view.pixel_spacing[0] * np.array(view.row_direction),
            view.pixel_spacing[1] * np.array(view.column_direction),
            np.array(view.detector_origin) - source,
        ],
        axis=1,
    )
    cone = np.outer(towards, towards) - (towards @ towards - radius**2) * np.eye(3)
    return Ellipse.from_conic(rays.T @ cone @ rays)


def principal_point(view: View) -> tuple[float, float]:
    """(row, column) where the perpendicular from the source meets the detector."""
    offset = np.array(view.source) - np.array(view.detector_origin)
    return (
        float(offset @ np.array(view.row_direction) / view.pixel_spacing[0]),
        float(offset @ np.array(view.column_direction) / view.pixel_spacing[1]),
    )


def elongation(
    row: ArrayLike, column: ArrayLike, minor: float, principal: tuple[float, float], focal_pixels: float
) -> tuple[Array, Array]:
    """(major / minor, angle of the major axis as in `Ellipse`) of a sphere's outline at a place of the image.

    The ellipse's centre stands for the cone's axis, which lies a little nearer the central ray: the ratio is right to 1e-5 for balls
    in a radiograph.

    principal: (row, column) of the foot of the central ray. focal_pixels: source-to-detector distance over pixel pitch.
    """
    down, across = np.asarray(row) - principal[0], np.asarray(column) - principal[1]
    # Of the cone: tan^2 a cos^2 t = (minor / f)^2 cos^2 t / (1 + (minor / f)^2), with sin a = R cos t / w.
    cosine_squared = focal_pixels**2 / (focal_pixels**2 + down**2 + across**2)
    ratio = (minor / focal_pixels) ** 2
    sine_squared = cosine_squared * ratio / (1 + ratio)
    stretch = np.sqrt((1 - sine_squared) / (cosine_squared - sine_squared))
    return stretch, np.arctan2(down, across)


def magnification_of_outline(minor_mm: float, radius_mm: float, source_to_detector: float | None) -> float:
    """Magnification at the depth of a sphere's centre, from the minor half axis of its outline, both on the detector in mm.

    Without the source-to-detector distance the cone's opening is left out: too large by (R / depth)^2 / 2, less than
    0.0004 for a ball of 25.4 mm anywhere beyond 450 mm from the source.
    """
    apparent = minor_mm / radius_mm
    if source_to_detector is None:
        return apparent
    return float(1 / np.hypot(1 / apparent, radius_mm / source_to_detector))
