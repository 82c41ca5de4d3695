"""Levenberg-Marquardt fit of a shape and intensity model to radiographs.

After Klima et al., "Intensity-based femoral atlas 2D/3D registration using Levenberg-Marquardt optimisation", SPIE Medical Imaging
2016; damping after D. W. Marquardt, J. SIAM 11(2), 1963. See docs/baselines.md for what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.baselines.ssim_images import Band, IntensityState, KneeRadiographs
from SSRKDCore.shape_fit.fitted_knee import PARTS, KneeState

Array = NDArray[np.float64]

BandMaker = Callable[[int, float], Sequence[Band]]


@dataclass(frozen=True)
class Level:
    """A part of the fit: pixels of an image's side, the blur (mm) beyond which the image is taken off, iterations, which parts move,
    how many modes of shape, and whether densities vary."""

    pixels: int
    coarse_mm: float
    iterations: int
    parts: tuple[str, ...]
    modes: int
    densities: bool


# The fibula follows the tibia, and is left out of the images, until the tibia stands: its shadow is thin and easily lost.
COARSE = (Level(48, 16.0, 12, ("knee", "tibia"), 0, False), Level(48, 14.0, 8, ("knee", "tibia", "patella"), 3, False))
FINE = (
    Level(80, 10.0, 12, ("knee", "tibia", "patella"), 10, True),
    Level(128, 7.0, 12, PARTS, 25, True),
)
FLEXION_STARTS = (0.0, 15.0, 30.0)
# Neighbouring pixels of a band share their errors; a model of four shells explains a radiograph to about this deviation.
_DEPENDENT_PIXELS = 12.0
_NOISE = 0.5
_ROBUST = 3.0
_GAIN_SPREAD = 0.2
_FIRST_DAMPING, _LARGEST_DAMPING = 1e-2, 1e6
_CONVERGED = 1e-4
_LEAST_CORRELATION = 0.5


@dataclass(frozen=True)
class IntensityFit:
    """The result: the state, the correlation of simulated and observed bands at the finest level, and the costs of each level, a
    tuple for each, first before any step and then after each accepted one."""

    state: IntensityState
    correlation: float
    costs: tuple[tuple[float, ...], ...]


def fit_intensities(
    radiographs: KneeRadiographs,
    bands_at: BandMaker,
    starts: Sequence[float] = FLEXION_STARTS,
    candidates: Sequence[tuple[KneeState, KneeState]] = (),
    coarse: Sequence[Level] = COARSE,
    fine: Sequence[Level] = FINE,
    progress: Callable[[float, str], None] = lambda fraction, words: None,
) -> IntensityFit:
    """The knee whose simulated radiographs are most like those given; a coarse fit from each flexion, the best of them refined.

    candidates: knees that were found otherwise, each with the start that its pose is a deviation from; the last coarse level alone is
    run on them, and they stand for selection beside the others.

    Raises InputError when an image shows no structure, or the fitted knee's is not like it.
    """
    bands = {(level.pixels, level.coarse_mm): bands_at(level.pixels, level.coarse_mm) for level in (*coarse, *fine)}
    if any(band.spread <= 0 for found in bands.values() for band in found):
        raise InputError("A radiograph shows nothing inside the field of view: check the image and the rig.")
    views = len(next(iter(bands.values())))
    costs: list[tuple[float, ...]] = []
    best: tuple[float, IntensityState, IntensityState] | None = None

    def undensified(knee: KneeState) -> IntensityState:
        return IntensityState(knee, np.ones(views), np.zeros(radiographs.density_modes))

    begins = [(undensified(knee), undensified(start), coarse[-1:]) for knee, start in candidates]
    for flexion in starts:
        mean = undensified(radiographs.knee.start(flexion))
        begins.append((mean, mean, coarse))
    for index, (begin, start, levels) in enumerate(begins):
        progress(0.3 * index / len(begins), "simulating radiographs")
        state = begin
        for level in levels:
            state, history = _minimised(radiographs, state, start, level, bands[level.pixels, level.coarse_mm])
            costs.append(history)
        if best is None or costs[-1][-1] < best[0]:
            best = costs[-1][-1], state, start
    if best is None:
        raise ValueError("a fit needs at least one start")
    _, state, start = best
    for index, level in enumerate(fine):
        progress(0.3 + 0.7 * index / len(fine), "simulating radiographs")
        state, history = _minimised(radiographs, state, start, level, bands[level.pixels, level.coarse_mm])
        costs.append(history)
    last = (*coarse, *fine)[-1]
    correlation = _likeness(radiographs, state, bands[last.pixels, last.coarse_mm])
    if not correlation >= _LEAST_CORRELATION:
        raise InputError(
            f"The fitted knee's radiographs are not like those given (correlation {correlation:.2f}): the fit failed; "
            "check images and rig."
        )
    return IntensityFit(state, correlation, tuple(costs))


def _minimised(
    radiographs: KneeRadiographs, state: IntensityState, start: IntensityState, level: Level, bands: Sequence[Band]
) -> tuple[IntensityState, tuple[float, ...]]:
    free = _free(radiographs, level, len(bands))
    bones = [name for name in BONE_NAMES if name != "fibula" or "fibula" in level.parts]
    residual = radiographs.residuals(state, bands, bones)
    cost = _cost(radiographs, state, start, residual)
    history, damping = [cost], _FIRST_DAMPING
    for _ in range(level.iterations):
        rows = radiographs.jacobian(state, bands, free, bones)[:, free]
        weights = 1.0 / (_NOISE**2 * _DEPENDENT_PIXELS * (1.0 + (residual / (_ROBUST * _NOISE)) ** 2))
        offset, inverse = _prior(radiographs, state, start)
        normal = rows.T @ (weights[:, None] * rows) + np.diag(inverse[free] ** 2)
        right = -(rows.T @ (weights * residual)) - (inverse * offset)[free]
        before = cost
        while damping < _LARGEST_DAMPING:
            step = np.zeros(len(free))
            step[free] = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), right)
            candidate = state.moved(step)
            there = radiographs.residuals(candidate, bands, bones)
            found = _cost(radiographs, candidate, start, there)
            if found < cost:
                state, residual, cost, damping = candidate, there, found, max(damping / 5.0, 1e-6)
                history.append(cost)
                break
            damping *= 4.0
        if not cost < before * (1.0 - _CONVERGED):
            break
    return state, tuple(history)


def _free(radiographs: KneeRadiographs, level: Level, views: int) -> NDArray[np.bool_]:
    knee = radiographs.knee
    free = np.zeros(knee.count + views + radiographs.density_modes, dtype=bool)
    for part in level.parts:
        free[6 * PARTS.index(part) : 6 * PARTS.index(part) + 6] = True
    last = 6 * len(PARTS)
    free[last : last + 1 + min(level.modes, knee.modes)] = True
    free[knee.count : knee.count + views] = True
    free[knee.count + views :] = level.densities
    return free


def _prior(radiographs: KneeRadiographs, state: IntensityState, start: IntensityState) -> tuple[Array, Array]:
    """Residuals in standard deviations, and one over the deviations, of all parameters."""
    offset, inverse = radiographs.knee.prior(state.knee, start.knee)
    gains = (state.gains - start.gains) / _GAIN_SPREAD
    ones = np.ones(len(state.densities))
    return (
        np.concatenate([offset, gains, state.densities]),
        np.concatenate([inverse, np.full(len(gains), 1.0 / _GAIN_SPREAD), ones]),
    )


def _cost(radiographs: KneeRadiographs, state: IntensityState, start: IntensityState, residual: Array) -> float:
    """Cauchy's robust cost of the pixels, and that of the prior."""
    width = _ROBUST * _NOISE
    pixels = (_ROBUST**2 * np.log1p((residual / width) ** 2)).sum() / _DEPENDENT_PIXELS
    return float(pixels + (_prior(radiographs, state, start)[0] ** 2).sum())


def _likeness(radiographs: KneeRadiographs, state: IntensityState, bands: Sequence[Band]) -> float:
    """The lowest correlation, over the views, of simulated and observed pixels."""
    found = []
    for index, band in enumerate(bands):
        simulated = band.filtered(state.gains[index] * radiographs.line_integrals(state, band.view))
        if band.inside.sum() < 2 or simulated.std() <= 0:
            return 0.0
        found.append(float(np.corrcoef(simulated, band.values[band.inside])[0, 1]))
    return min(found)
