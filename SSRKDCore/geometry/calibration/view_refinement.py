"""A view from markers: direct linear transform, then least squares of the reprojection, with outliers and covariance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.direct_linear_transform import Pinhole, decomposed, projection_matrix
from SSRKDCore.geometry.calibration.marker_object import LEAST_MARKERS, check_spread
from SSRKDCore.geometry.view import View

Array = NDArray[np.float64]

# A marker is an outlier when good markers would lie so far off less often than this, all markers of an image together ...
_FALSE_ALARM = 0.001
# ... and when, fitted without it, it lies at least so many pixels off: less is not worth losing a marker for.
_OUTLIER_PIXELS = 1.0
# A marker that the others check less than this (1 - leverage) cannot be judged.
_LEAST_CHECKED = 0.02


@dataclass(frozen=True)
class MarkerCalibration:
    """A view as markers determine it.

    Attributes
    ----------
    view: in the markers' frame, mm.
    names: of all markers that were given.
    residual_px: (N, 2) seen minus projected [row, column].
    residual_mm: (N,) its length in the plane of the marker.
    used: (N,) False for outliers, which were left out.
    noise_px: standard deviation of a picked coordinate, from the residuals of the used markers and their degrees of freedom.
    parameters: name -> (value, standard uncertainty): source x, y, z (mm), focal length (pixels), principal point (pixels),
        turns about x, y, z (degrees), from the covariance of the least-squares problem.
    pinhole: the view in pixels.
    covariance: (P, P) of `displaced`'s numbers about it, scaled by the residual noise.
    freedom: degrees of freedom of that noise.
    told_focal: where distance and spacing were both given, the focal length (pixels) that the markers tell by themselves, with its standard
        uncertainty; else None.
    """

    view: View
    names: tuple[str, ...]
    residual_px: Array
    residual_mm: Array
    used: NDArray[np.bool_]
    noise_px: float
    parameters: dict[str, tuple[float, float]]
    pinhole: Pinhole
    covariance: Array
    freedom: int
    told_focal: tuple[float, float] | None = None

    @property
    def outliers(self) -> list[str]:
        return [name for name, used in zip(self.names, self.used, strict=True) if not used]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        length = np.linalg.norm(self.residual_px, axis=1)
        return {
            "view": self.view.name,
            "markers": {
                name: {"residual_px": float(pixels), "residual_mm": float(mm), "used": bool(used)}
                for name, pixels, mm, used in zip(self.names, length, self.residual_mm, self.used, strict=True)
            },
            "rms_px": float(np.sqrt((length[self.used] ** 2).mean())),
            "rms_mm": float(np.sqrt((self.residual_mm[self.used] ** 2).mean())),
            "noise_px": self.noise_px,
            "outliers": self.outliers,
            "parameters": {
                name: {"value": value, "standard_uncertainty": sd} for name, (value, sd) in self.parameters.items()
            },
        }


def view_from_markers(
    name: str,
    points: ArrayLike,
    pixels: ArrayLike,
    rows: int,
    columns: int,
    pixel_spacing: tuple[float, float] | None = None,
    source_to_detector: float | None = None,
    marker_names: tuple[str, ...] | None = None,
) -> MarkerCalibration:
    """The view in which markers at known places are seen where they are seen.

    Parameters
    ----------
    name: of the view. points: (N, 3) mm. pixels: (N, 2) [row, column]. rows, columns: size of the image.
    pixel_spacing: mm on the detector; the ratio of its numbers is kept, and without `source_to_detector` the distance follows.
    source_to_detector: mm; without `pixel_spacing` the pitch follows. Given both, the focal length is not estimated.

    Square pixels are assumed where no spacing is given. Raises InputError when neither spacing nor distance is given (only their
    ratio can be seen), and for markers that leave the view open.
    """
    points, pixels = np.asarray(points, dtype=np.float64), np.asarray(pixels, dtype=np.float64)
    if pixel_spacing is None and source_to_detector is None:
        raise InputError(
            "Markers tell only the ratio of the source-to-detector distance to the pixel spacing: state one of the two."
        )
    names = marker_names or tuple(f"marker {index + 1}" for index in range(len(points)))
    ratio = 1.0 if pixel_spacing is None else pixel_spacing[0] / pixel_spacing[1]
    fixed = source_to_detector / pixel_spacing[1] if pixel_spacing is not None and source_to_detector else None
    used = np.ones(len(points), dtype=bool)
    while True:
        pinhole, jacobian, noise = refined(points[used], pixels[used], ratio, fixed)
        worst = _outlier(points, pixels - pinhole.project(points), used, jacobian)
        if worst is None:
            break
        used[worst] = False
    distance = source_to_detector or pinhole.focal[1] * (pixel_spacing[1] if pixel_spacing is not None else 1.0)
    view = pinhole.view(name, distance, rows, columns)
    seen = pixels - pinhole.project(points)
    depth = view.project(points)[1]
    on_detector = seen * np.array(view.pixel_spacing)
    covariance = np.asarray(noise**2 * np.linalg.pinv(jacobian.T @ jacobian), dtype=np.float64)
    return MarkerCalibration(
        view,
        names,
        seen,
        np.asarray(np.linalg.norm(on_detector, axis=1) * depth / view.source_to_detector),
        used,
        noise,
        _parameters(pinhole, covariance, fixed is not None),
        pinhole,
        covariance,
        jacobian.shape[0] - jacobian.shape[1],
        None if fixed is None else _told_focal(points[used], pixels[used], ratio),
    )


def _told_focal(points: Array, pixels: Array, ratio: float) -> tuple[float, float]:
    """The focal length (pixels) of markers that are free to tell it, and its standard uncertainty."""
    pinhole, jacobian, noise = refined(points, pixels, ratio)
    covariance = noise**2 * np.linalg.pinv(jacobian.T @ jacobian)
    return pinhole.focal[1], float(np.sqrt(max(covariance[-1, -1], 0.0)))


def refined(
    points: Array, pixels: Array, ratio: float = 1.0, focal: float | None = None
) -> tuple[Pinhole, Array, float]:
    """Least squares of the reprojection without skew, from the direct linear transform.

    ratio: pitch between rows over pitch between columns. focal: along columns, in pixels; None estimates it.

    Returns the view, the (2N, P) Jacobian in the order of `parameter_names`, and the standard deviation of a coordinate in pixels.
    """
    from scipy.optimize import least_squares

    start = decomposed(projection_matrix(points, pixels), points)
    along = focal or 0.5 * (start.focal[0] * ratio + start.focal[1])
    # Scales that make a unit step of each parameter move the images by about a pixel.
    center = points.mean(axis=0)
    depth = float((center - start.source) @ start.axes[2])
    size = float(np.linalg.norm(points - center, axis=1).max())
    scales = [depth / along] * 2 + [depth**2 / (along * size)] + [1.0, 1.0, 1.0] + [1.0, 1.0] + [1.0] * (focal is None)
    scales[3:6] = [1 / along, 1 / along, 1 / max(float(np.ptp(pixels)), 1.0)]
    scale = np.array(scales)
    start = Pinhole(start.source, start.axes, (along / ratio, along), start.principal)
    fit = least_squares(
        lambda step: (displaced(start, step * scale).project(points) - pixels).ravel(), np.zeros(len(scale)), method="lm",
        xtol=1e-15, ftol=1e-15, gtol=1e-15,
    )  # fmt: skip
    freedom = 2 * len(points) - len(scale)
    noise = float(np.sqrt((fit.fun**2).sum() / max(freedom, 1)))
    found = displaced(start, fit.x * scale)
    # About the view that was found, not about the start: its axes are those of the parameters.
    jacobian = derivative(lambda step: displaced(found, step).project(points).ravel(), scale)
    return found, jacobian, noise


def displaced(pinhole: Pinhole, step: Array) -> Pinhole:
    """The view after a step of (P,) numbers in the order of `parameter_names`; eight keep the focal length.

    The source moves along the view's own axes, which turn about themselves. Without skew.
    """
    length = pinhole.focal[1] + (step[8] if len(step) > 8 else 0.0)
    return Pinhole(
        pinhole.source + pinhole.axes.T @ step[:3],
        _rotation(step[3:6]) @ pinhole.axes,
        (length * pinhole.focal[0] / pinhole.focal[1], length),
        (pinhole.principal[0] + step[6], pinhole.principal[1] + step[7]),
    )


def derivative(function: Callable[[Array], Array], scale: Array) -> Array:
    """(M, P) of a function from (P,) to (M,) at zero, by central differences of a thousandth of `scale` (P,)."""
    columns = []
    for index, size in enumerate(scale):
        step = np.zeros(len(scale))
        step[index] = 1e-3 * size
        columns.append((function(step) - function(-step)) / (2e-3 * size))
    return np.stack(columns, axis=1)


def _rotation(vector: Array) -> Array:
    """(3, 3) rotation by |vector| radians about it."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_rotvec(vector).as_matrix())


def parameter_names(focal_fixed: bool) -> tuple[str, ...]:
    """Names of the parameters of `refined`: source along rows, columns and the beam (mm), turns about these (radians), principal
    point (pixels), focal length (pixels)."""
    names: tuple[str, ...] = ("source_along_rows_mm", "source_along_columns_mm", "source_along_beam_mm")
    names += ("turn_about_rows", "turn_about_columns", "turn_about_beam", "principal_row_px", "principal_column_px")
    return names if focal_fixed else (*names, "focal_length_px")


def _parameters(pinhole: Pinhole, covariance: Array, focal_fixed: bool) -> dict[str, tuple[float, float]]:
    deviations = np.sqrt(np.clip(np.diag(covariance), 0.0, None))
    along = pinhole.axes @ pinhole.source
    values = [*along, 0.0, 0.0, 0.0, *pinhole.principal, pinhole.focal[1]]
    result = {}
    for name, value, deviation in zip(parameter_names(focal_fixed), values, deviations, strict=False):
        if name.startswith("turn"):
            result[f"{name}_degrees"] = (0.0, float(np.degrees(deviation)))
        else:
            result[name] = (float(value), float(deviation))
    return result


def _outlier(points: Array, residuals: Array, used: NDArray[np.bool_], jacobian: Array) -> int | None:
    """The used marker that the others contradict most, if it is an outlier and enough others remain.

    A wrong marker pulls the fit towards itself, so each is judged by the fit of the others, which follows from the linearised
    problem (externally studentised residuals: Cook and Weisberg, Residuals and Influence in Regression, 1982) and is compared with
    the F distribution, corrected for as many comparisons as there are markers.

    residuals: (N, 2) of all markers. jacobian: (2M, P) of the M used ones.
    """
    from scipy.stats import f as f_distribution

    if used.sum() <= LEAST_MARKERS:
        return None
    own = residuals[used].ravel()
    freedom = len(own) - jacobian.shape[1] - 2
    if freedom < 1:
        return None
    basis, _ = np.linalg.qr(jacobian / np.linalg.norm(jacobian, axis=0))
    total = float(own @ own)
    limit = float(f_distribution.isf(_FALSE_ALARM / used.sum(), 2, freedom))
    worst: tuple[float, int] | None = None
    for place, index in enumerate(np.flatnonzero(used)):
        pair = slice(2 * place, 2 * place + 2)
        left = np.eye(2) - basis[pair] @ basis[pair].T
        others = used.copy()
        others[index] = False
        if np.linalg.eigvalsh(left)[0] < _LEAST_CHECKED or not _determines(points[others]):
            continue
        deleted = np.linalg.solve(left, own[pair])
        explained = float(own[pair] @ deleted)
        ratio = explained / 2 / max((total - explained) / freedom, 1e-18)
        if ratio > limit and np.linalg.norm(deleted) > _OUTLIER_PIXELS and (worst is None or ratio > worst[0]):
            worst = ratio, int(index)
    return None if worst is None else worst[1]


def _determines(points: Array) -> bool:
    try:
        check_spread(points, "The calibration object")
    except InputError:
        return False
    return True
