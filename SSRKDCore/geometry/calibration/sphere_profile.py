"""Where a ball's rim is, to a fraction of a pixel, from a model of the whole shadow.

The shadow of a ball rises at its rim like a square root, so the steepest place of the blurred image lies inside the rim, by
about three quarters of the blur: the outline of a 25 mm ball taken there is 1 to 2 % too small. The model has that rise:
line integrals k-saturated, A (1 - exp(-k c)) / (1 - exp(-k)), where c is the chord over the diameter (k small: glass or
plastic; k large: metal that lets nothing through, a disc), blurred by a Gaussian, over a quadratic background. Blurring in two
dimensions is blurring along the radius and a shift of sigma^2 / (2 r) inwards (heat equation in polar coordinates).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.calibration.sphere_projection import Ellipse, elongation

Array = NDArray[np.float64]

# Pixels farther out than this many radii tell about other things than the ball.
OUTER = 1.3
_STEP = 0.05
_MOST_PIXELS = 4000
_ROUNDS = 4
_TUKEY = 4.7
_LEAST_NOISE_SHARE = 1e-4
# Of the circle that is looked at, so much must lie on the image, and so much of that within the collimator.
_LEAST_AREA, _LEAST_SEEN = 0.7, 0.7
# A blade's edge: so many robust deviations, of so much of the surroundings, so purely on one side of a line, masked with so many pixels.
_STEP_DEVIATIONS = 8.0
_LEAST_BEYOND, _PURE = 0.02, 0.9
_HALF_SHADOW_PX = 2.0


@dataclass(frozen=True)
class SphereShadow:
    """A ball's shadow as fitted.

    Attributes
    ----------
    ellipse: outline, pixels.
    minor_sd: standard deviation of the minor half axis in pixels, from the fit's covariance and its residuals.
    center_sd: of the centre, pixels.
    amplitude: line integral through the middle above the background.
    residual: robust standard deviation of the pixels about the model, line integral.
    explained: share (0..1) of what the background leaves unexplained that the ball explains.
    blur: pixels, standard deviation.
    saturation: k of the model.
    """

    ellipse: Ellipse
    minor_sd: float
    center_sd: float
    amplitude: float
    residual: float
    explained: float
    blur: float
    saturation: float


def fit_sphere_shadow(
    image: NDArray[np.floating],
    row: float,
    column: float,
    radius: float,
    principal: tuple[float, float] | None = None,
    focal_pixels: float | None = None,
) -> SphereShadow | None:
    """Fit the shadow model near a circle.

    Parameters
    ----------
    image: (rows, columns) line integrals (a ball is bright), square pixels.
    row, column, radius: where to start, pixels.
    principal, focal_pixels: foot of the central ray [row, column], and source-to-detector distance over pixel pitch; then
        the ellipse has the elongation that this geometry demands. Without them it is free.

    Returns None when too little of it lies on the image, or nothing like a ball is there.
    """
    from scipy.optimize import least_squares

    pixels = _pixels_around(image, row, column, radius)
    if pixels is None:
        return None
    rows, columns, values = pixels
    kept = _in_the_field(rows - row, columns - column, values, radius)
    if kept.sum() < _LEAST_SEEN * len(values):
        return None
    rows, columns, values = rows[kept], columns[kept], values[kept]
    background = _background(rows, columns, row, column, radius)
    known = principal is not None and focal_pixels is not None
    start = np.array([row, column, np.log(radius), np.log(4.0), np.log(max(1.0, 0.04 * radius)), 0.0, 0.0])
    reach = 0.25 * radius
    low = np.array([row - reach, column - reach, start[2] - 0.3, np.log(0.05), np.log(0.2), -0.12, -0.12])
    high = np.array(
        [row + reach, column + reach, start[2] + 0.3, np.log(300.0), np.log(max(2.0, 0.12 * radius)), 0.12, 0.12]
    )
    if known:
        start, low, high = start[:5], low[:5], high[:5]

    def shape(parameters: Array) -> Array:
        return _shadow(parameters, rows, columns, principal, focal_pixels)

    def residuals(parameters: Array, root: Array) -> Array:
        design = np.concatenate([shape(parameters)[:, None], background], axis=1) * root[:, None]
        normal = design.T @ design + 1e-12 * len(values) * np.eye(design.shape[1])
        weighted = values * root
        return np.asarray(weighted - design @ np.linalg.solve(normal, design.T @ weighted))

    def amplitude_of(parameters: Array, root: Array) -> tuple[float, Array]:
        design = np.concatenate([shape(parameters)[:, None], background], axis=1)
        found, *_ = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)
        return float(found[0]), np.asarray(values - design @ found)

    root = np.ones(len(values))
    parameters = start
    scale = 1.0
    spread = float(np.ptp(values))
    for _ in range(_ROUNDS):
        fit = least_squares(
            residuals, parameters, args=(root,), bounds=(low, high), x_scale=np.maximum(np.abs(start) * 1e-3, 1e-3),
            max_nfev=25,
        )  # fmt: skip
        parameters = fit.x
        _, left = amplitude_of(parameters, root)
        scale = max(1.4826 * float(np.median(np.abs(left - np.median(left)))), _LEAST_NOISE_SHARE * spread, 1e-12)
        inner = np.clip(1 - (left / (_TUKEY * scale)) ** 2, 0.0, None)
        root = np.maximum(inner, 1e-3)
    amplitude, left = amplitude_of(parameters, root)
    if amplitude <= 0:
        return None
    weights = root**2
    bare = values - background @ np.linalg.lstsq(background, values, rcond=None)[0]
    explained = 1 - float((left**2).sum() / max(float((bare**2).sum()), 1e-30))
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac) * float((weights * left**2).sum() / max(weights.sum() - 12, 1.0))
    covariance *= _correlation_inflation(rows, columns, left)
    ellipse = _ellipse(parameters, principal, focal_pixels)
    relative_variance = covariance[2, 2] if known else covariance[2, 2] + np.trace(covariance[5:, 5:]) / 8
    return SphereShadow(
        ellipse,
        ellipse.minor * float(np.sqrt(max(relative_variance, 0.0))),
        float(np.sqrt(max(covariance[0, 0] + covariance[1, 1], 0.0))),
        amplitude,
        scale,
        max(explained, 0.0),
        float(np.exp(parameters[4])),
        float(np.exp(parameters[3])),
    )


def _pixels_around(
    image: NDArray[np.floating], row: float, column: float, radius: float
) -> tuple[Array, Array, Array] | None:
    """(rows, columns, values) of the pixels within OUTER radii, thinned evenly to at most some thousand."""
    reach = OUTER * radius
    first_row, last_row = max(0, int(row - reach)), min(image.shape[0], int(row + reach) + 2)
    first_column, last_column = max(0, int(column - reach)), min(image.shape[1], int(column + reach) + 2)
    if last_row - first_row < 4 or last_column - first_column < 4:
        return None
    rows, columns = np.meshgrid(np.arange(first_row, last_row), np.arange(first_column, last_column), indexing="ij")
    inside = np.hypot(rows - row, columns - column) <= reach
    if inside.sum() < _LEAST_AREA * np.pi * reach**2:
        return None
    rows, columns = rows[inside].astype(np.float64), columns[inside].astype(np.float64)
    values = np.asarray(image[first_row:last_row, first_column:last_column], dtype=np.float64)[inside]
    if len(values) > _MOST_PIXELS:
        # The rim carries the information; the inside and the surroundings are thinned first.
        rim = np.abs(np.hypot(rows - row, columns - column) / radius - 1) < 0.2
        other = np.flatnonzero(~rim)
        kept = np.concatenate(
            [np.flatnonzero(rim)[:: max(1, int(np.ceil(rim.sum() / 3000)))], other[:: max(1, len(other) // 1000)]]
        )
        rows, columns, values = rows[kept], columns[kept], values[kept]
    return rows, columns, values


def _in_the_field(down: Array, across: Array, values: Array, radius: float) -> NDArray[np.bool_]:
    """(N,) False beyond a straight step in the surroundings of the ball: the blade of a collimator, whose shadow is no background.

    down, across: (N,) pixels from the middle. Two blades at most, as in a corner of the field.
    """
    kept = np.ones(len(values), dtype=bool)
    away = np.hypot(down, across)
    for _ in range(2):
        around = kept & (away > 1.08 * radius)
        if around.sum() < 20:
            break
        middle = float(np.median(values[around]))
        spread = 1.4826 * float(np.median(np.abs(values[around] - middle)))
        other = around & (np.abs(values - middle) > _STEP_DEVIATIONS * max(spread, 1e-9))
        if other.sum() < _LEAST_BEYOND * around.sum():
            break
        towards = np.array([down[other].mean(), across[other].mean()])
        length = float(np.linalg.norm(towards))
        if length < 0.3 * radius:
            break
        along = (down * towards[0] + across * towards[1]) / length
        edge = float(np.quantile(along[other], 0.02))
        beyond = around & (along > edge)
        if other[beyond].mean() < _PURE:
            break
        kept &= along < edge - _HALF_SHADOW_PX
    return kept


def _background(rows: Array, columns: Array, row: float, column: float, radius: float) -> Array:
    down, across = (rows - row) / radius, (columns - column) / radius
    return np.stack([np.ones_like(down), down, across, down**2, down * across, across**2], axis=1)


def _ellipse(parameters: Array, principal: tuple[float, float] | None, focal_pixels: float | None) -> Ellipse:
    """The outline: with known geometry the parameters hold the minor half axis, else the geometric mean of both axes."""
    row, column, size = float(parameters[0]), float(parameters[1]), float(np.exp(parameters[2]))
    if principal is not None and focal_pixels is not None:
        ratio, angle = elongation(row, column, size, principal, focal_pixels)
        return Ellipse(row, column, size, size * float(ratio), float(angle))
    first, second = parameters[5], parameters[6]
    half = float(np.exp(0.5 * np.hypot(first, second)))
    return Ellipse(row, column, size / half, size * half, float(0.5 * np.arctan2(second, first)))


def _shadow(
    parameters: Array, rows: Array, columns: Array, principal: tuple[float, float] | None, focal_pixels: float | None
) -> Array:
    """(N,) the blurred shadow at pixels, 1 in the middle before the blur."""
    from scipy.ndimage import gaussian_filter1d

    saturation, blur = (float(value) for value in np.exp(parameters[3:5]))
    ellipse = _ellipse(parameters, principal, focal_pixels)
    minor, cosine, sine = ellipse.minor, np.cos(ellipse.angle), np.sin(ellipse.angle)
    down, across = rows - ellipse.row, columns - ellipse.column
    # Distance from the middle in units in which the rim is a circle of the minor half axis.
    radial = np.hypot((across * cosine + down * sine) * minor / ellipse.major, down * cosine - across * sine)
    # The samples move with the rim, so that the model is smooth in the radius.
    depth = np.arange(-(OUTER - 1) * minor * 1.6 - 4 * blur, minor, _STEP)
    chord = np.sqrt(np.clip(1 - (1 - depth / minor) ** 2, 0.0, None)) * (depth > 0)
    profile = -np.expm1(-saturation * chord) / -np.expm1(-saturation)
    profile = gaussian_filter1d(profile, blur / _STEP, mode="nearest")
    shifted = radial + blur**2 / (2 * np.maximum(radial, 0.5 * minor))
    return np.interp(minor - shifted, depth, profile)


def _correlation_inflation(rows: Array, columns: Array, left: Array) -> float:
    """By how much neighbouring pixels that err together widen the variance, from the residuals' own correlation."""
    down, across = (rows - rows.min()).astype(int), (columns - columns.min()).astype(int)
    grid = np.full((down.max() + 1, across.max() + 1), np.nan)
    grid[down, across] = left
    products = [grid[1:] * grid[:-1], grid[:, 1:] * grid[:, :-1]]
    variance = float(np.mean(left**2))
    if variance <= 0 or not any(np.isfinite(product).any() for product in products):
        return 1.0
    with np.errstate(invalid="ignore"):
        means = [float(np.nanmean(product)) for product in products if np.isfinite(product).any()]
    correlation = float(np.clip(np.mean(means) / variance, 0.0, 0.9))
    return ((1 + correlation) / (1 - correlation)) ** 2
