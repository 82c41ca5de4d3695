"""Where the second radiograph was taken relative to the first, from the bones themselves.

Two radiographs taken one after the other share no frame. The bones do: the outlines of one set of surfaces must fall on the bone
edges of both images. The second view's pose, the knee's place, and a small affine error of each bone (so that what the
reconstruction got wrong is not taken for a pose) are estimated together by Gauss-Newton steps on the distances from projected contours
to edges along their normals, and on the heights of frontier points (see `epipolar_tangency`), with a prior on everything: a bundle
adjustment with contours in place of points.

What the images cannot tell keeps its prior: the estimate stays near what the rig said, and the uncertainty says so. Shifts along the
beam change only the magnification (0.1 % a mm), and shifts along the other view's beam only that of the other view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.calibration.epipolar_tangency import FrontierPoints, frontier_points
from SSRKDCore.geometry.calibration.outline_edges import OutlineEdges, mesh_edge_table
from SSRKDCore.geometry.calibration.pose_edges import COARSE, FINE, ROBUST, EdgeStage, PoseEdges
from SSRKDCore.geometry.calibration.pose_estimate import (
    DEFAULT_SHIFT_SD,
    DEFAULT_TURN_SD,
    HEIGHT_LIMIT_MM,
    OutlineFit,
    RelativePose,
    best_of_restarts,
    check_belief,
    check_estimate,
    check_starts,
    estimate_of,
)
from SSRKDCore.geometry.calibration.pose_parameters import PoseProblem
from SSRKDCore.geometry.calibration.pose_progress import part, stoppable, with_words
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_WORDS = "matching outlines in both views"
_ITERATIONS = 12
_CONVERGED_MM = 0.02
# Neighbouring contour points share their errors: about one in this many tells something new.
_DEPENDENT_POINTS = 20.0
# How much less outlines count that were reconstructed from the same images.
_OWN_OUTLINES = 10.0
# Standard deviation of a frontier point's height over that of a contour point.
_FRONTIER_NOISE = 0.8


def relative_pose(
    surfaces: Mapping[str, Surface],
    images: Mapping[str, NDArray[np.floating]],
    rig: Rig,
    turn_sd: float = DEFAULT_TURN_SD,
    shift_sd: float = DEFAULT_SHIFT_SD,
    bones_known: bool = True,
    starts: int = 4,
    seed: int = 0,
    height_limit_mm: float = HEIGHT_LIMIT_MM,
    begin: NDArray[np.floating] | None = None,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    last: bool = True,
) -> RelativePose:
    """Estimate the pose of the rig's second view; the first one stays.

    Parameters
    ----------
    surfaces: bone name -> surface, LPS mm, outward winding, such as a network reconstructs with the rig as it is.
    images: view name -> line integrals [row, column].
    rig: two views; where the second one is believed to be.
    turn_sd, shift_sd: how well that is believed, standard deviations in degrees and mm.
    bones_known: the surfaces come from elsewhere (a CT); False: from these very images with this very rig. A network bends the bones so
        that their outlines fit even a wrong rig, so that these outlines then count a tenth, and frontier points decide.
    starts: from how many poses drawn from that belief the fit is started as well as from `begin`.
    height_limit_mm: the pose is refused when its height is less certain (95 %).
    begin: (6,) pose to start from, POSE_NAMES; None starts where the rig has the view.
    progress: receives a fraction 0..1 and words. cancelled: asked whenever progress is told.
    last: False where a better pose is still to come, so that images that contradict this one, or cannot confirm it, are no reason to
        refuse it.

    Raises InputError when the bones are not in the field of view, the outlines do not find edges, the height stays too uncertain, the
    images contradict the pose, or they cannot confirm one that bones reconstructed from them led to; Cancelled.
    """
    check_belief(rig, turn_sd, shift_sd)
    check_starts(starts)
    present = {name: surfaces[name] for name in BONE_NAMES if name in surfaces and not surfaces[name].is_empty}
    if not present:
        raise InputError("There are no bones to compare with the images: reconstruct them first.")
    center = np.array(rig.field_of_view.center)
    tell = stoppable(progress, cancelled)
    tell(0.0, _WORDS)
    problem = PoseProblem(rig.views[0], rig.views[1], center, present, turn_sd, shift_sd)
    fitter = _Fitter(problem, images, rig, _DEPENDENT_POINTS * (1.0 if bones_known else _OWN_OUTLINES))
    generator = np.random.default_rng(seed)
    zero = np.zeros(problem.count)
    begins = [zero.copy()]
    if begin is not None:
        begins[0][:6] = begin
    for _ in range(starts):
        drawn = zero.copy()
        drawn[:6] = generator.normal(0.0, problem.prior_sd[:6])
        begins.append(drawn)
    solutions: list[tuple[Array, float]] = []
    for index, begin in enumerate(begins):
        own = part(tell, 0.9 * index / len(begins), 0.9 * (index + 1) / len(begins))
        with suppress(_OutOfSightError):
            solutions.append(fitter.solve(begin, with_words(own, _WORDS)))
    if not solutions:
        raise InputError(
            "The bones lie outside the field of view of the two radiographs: they must stand where the knee is, in the AP view's frame."
        )
    best, spread = best_of_restarts([found[:6] for found, _ in solutions], [cost for _, cost in solutions])
    parameters = solutions[best][0]
    fit = OutlineFit(
        parameters[:6],
        spread,
        fitter.information(parameters),
        problem.prior_sd,
        problem.moved_surfaces(zero),
        problem.moved_surfaces(parameters),
        fitter.table,
        "known" if bones_known else "reconstructed",
    )
    result = estimate_of(fit, images, rig, fitter.edges[FINE[-1]], with_words(part(tell, 0.9, 1.0), _WORDS))
    check_estimate(result, height_limit_mm, last)
    return result


class _OutOfSightError(Exception):
    """No outline of the bones lies in the field of view."""


class _Fitter:
    """Gauss-Newton steps on one problem, with the edges of both images at each scale."""

    def __init__(
        self, problem: PoseProblem, images: Mapping[str, NDArray[np.floating]], rig: Rig, dependent: float
    ) -> None:
        self._problem, self._rig, self._dependent = problem, rig, dependent
        self.table = {name: mesh_edge_table(surface) for name, surface in problem.surfaces.items()}
        self.edges = {stage: PoseEdges(images, rig, stage) for stage in (COARSE, *FINE)}

    def solve(self, start: Array, progress: Callable[[float], None]) -> tuple[Array, float]:
        parameters, stages = start, (COARSE, *FINE)
        for index, stage in enumerate(stages):
            for iteration in range(_ITERATIONS):
                progress((index + iteration / _ITERATIONS) / len(stages))
                normal, right, rows = self._normal(parameters, stage)
                step = np.linalg.solve(normal, right)
                parameters = parameters + step
                if len(rows) == 0 or np.abs(rows @ step).max() < _CONVERGED_MM:
                    break
        return parameters, self._cost(parameters)

    def information(self, parameters: Array) -> Array:
        """(P, P) what contours and frontier points alone tell of all parameters."""
        normal, _, _ = self._normal(parameters, FINE[-1])
        return np.asarray(normal - np.diag(1 / self._problem.prior_sd**2), dtype=np.float64)

    def _outlines(self, parameters: Array, stage: EdgeStage) -> OutlineEdges:
        surfaces, view = self._problem.moved_surfaces(parameters), self._problem.moved_view(parameters)
        found = self.edges[stage].outlines(surfaces, self.table, view)
        if not found.parts:
            raise _OutOfSightError
        return found

    def _normal(self, parameters: Array, stage: EdgeStage) -> tuple[Array, Array, Array]:
        found = self._outlines(parameters, stage)
        rows = np.concatenate(
            [
                self._problem.rows(part.bone, part.points, part.normals, part.view == 1)
                for part in found.parts
            ]
        )  # fmt: skip
        distance, weight = found.distance, found.weight
        weight = weight / (1 + (distance / (ROBUST * stage.noise_mm)) ** 2) / (stage.noise_mm**2 * self._dependent)
        inverse = 1 / self._problem.prior_sd**2
        normal = rows.T @ (weight[:, None] * rows) + np.diag(inverse)
        right = rows.T @ (weight * distance) - inverse * parameters
        # Frontier points hold whatever the bones' shape is, and so tie the pose alone.
        frontier = self._frontier(found, parameters)
        noise = _FRONTIER_NOISE * stage.noise_mm
        heights = self._problem.frontier_rows(frontier.points, frontier.up)
        weight = 1 / noise**2 / (1 + (frontier.mismatch / (ROBUST * noise)) ** 2)
        normal += heights.T @ (weight[:, None] * heights)
        return normal, right + heights.T @ (weight * frontier.mismatch), rows

    def _cost(self, parameters: Array) -> float:
        """Twice the negative logarithm of the posterior."""
        stage = FINE[-1]
        found = self._outlines(parameters, stage)
        frontier = self._frontier(found, parameters)
        noise = _FRONTIER_NOISE * stage.noise_mm
        heights = ROBUST**2 * np.log1p((frontier.mismatch / noise / ROBUST) ** 2).sum()
        data = self.edges[stage].misfit(found) * len(found.weight) / (stage.noise_mm**2 * self._dependent)
        return float(data + heights + ((parameters / self._problem.prior_sd) ** 2).sum())

    def _frontier(self, found: OutlineEdges, parameters: Array) -> FrontierPoints:
        return frontier_points(
            found, self._problem.fixed, self._problem.moved_view(parameters), self._rig.field_of_view
        )
