"""The shape model's knee and a view that may stand elsewhere than stated, fitted to the radiographs' edges together.

A network's bones fit even a wrong rig: it bends them until both images agree. A shape model cannot: seen between two beams that are
further apart than stated, a knee has condyles and shafts that no knee has. So the knee of the joint fit goes on to the edges alone, without
the network's surface, and the second view is free to move while it does: a bundle adjustment with apparent contours, and a shape model in
place of known points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.refinement.joint_fit import JointFit
from SSRKDCore.shape_fit.contour_fit import (
    DEPENDENT_POINTS,
    LEAST_MATCHED,
    Stage,
    cauchy_costs,
    cauchy_weights,
    free_parameters,
)
from SSRKDCore.shape_fit.contour_match import grazed_points
from SSRKDCore.shape_fit.fitted_knee import FittedKnee, KneeState, only
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Contour points that are looked at, of so many neighbours that share their errors.
_EVERY = 4
_FEWEST_POINTS = 60
#: Root mean square distance (mm) of outlines from edges; where edges are further off, they tell less. Knees that the shape model does not
#: know stay below, images of bad rooms do not.
_USUAL_DISTANCE_MM = 1.0


@dataclass(frozen=True)
class ViewFreedom:
    """How a view may move from where it is stated.

    A motion (M,) holds degrees about each of `turns`, mm along each of `shifts`, and a percentage of scale if `scale` says so.

    Attributes
    ----------
    center: (3,) mm, through which the axes of turns go. turns: (T, 3) unit axes. shifts: (S, 3) unit directions. All LPS.
    scale: whether the image may be larger than stated.
    spread: (M,) standard deviations of motions about none. limit: (M,) beyond which a motion has lost the knee.
    """

    center: Array
    turns: Array
    shifts: Array
    scale: bool
    spread: Array
    limit: Array

    def moved(self, view: View, motion: Array) -> View:
        """The view after a motion."""
        turns = len(self.turns)
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_rotvec(np.radians(motion[:turns]) @ self.turns).as_matrix()
        shift = motion[turns : turns + len(self.shifts)] @ self.shifts
        matrix[:3, 3] = self.center - matrix[:3, :3] @ self.center + shift
        larger = 1.0 + motion[-1] / 100.0 if self.scale else 1.0
        return view.transformed(matrix).with_larger_pixels(larger)

    def rows(self, positions: Array, normals: Array) -> Array:
        """(N, M) by how many mm a unit of each motion moves what the view sees at positions (N, 3), along normals (N, 3)."""
        about = positions - self.center
        # A view that moves one way sees the bones move the other way.
        parts = [-np.radians(1.0) * np.cross(about, normals) @ self.turns.T, -normals @ self.shifts.T]
        if self.scale:
            parts.append(-0.01 * np.einsum("ij,ij->i", normals, about)[:, None])
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class FreeViewSearch:
    """How the fit goes on.

    stages: scales of edges, with reach and noise, one after another. iterations: of each at most. converged: degrees and mm that a motion
    changes by at most when a stage ends.
    """

    stages: Sequence[Stage]
    iterations: int
    converged: float


@dataclass(frozen=True)
class FreeViewFit:
    """The most probable knee and motion of the second view.

    Attributes
    ----------
    state: of the knee. motion: (M,) of the second view, see `ViewFreedom`.
    information: (M + P, M + P) inverse covariance by the edges alone, the motion first, then the knee's free parameters. spread: (M + P,)
        standard deviations of their prior.
    matched_share: of contour points that found an edge. further: 1, or by how much further off than usual edges lie, and so by how much
        larger errors are than the information says.
    cost: twice the negative logarithm of the posterior, up to a constant.
    """

    state: KneeState
    motion: Array
    information: Array
    spread: Array
    matched_share: float
    further: float
    cost: float


def fit_with_free_view(
    knee: FittedKnee,
    fit: JointFit,
    bones: Sequence[str],
    images: Mapping[float, Sequence[EdgeImage]],
    edges: Mapping[str, Indices],
    field_of_view: FieldOfView,
    freedom: ViewFreedom,
    search: FreeViewSearch,
    begin: Array | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> FreeViewFit | None:
    """The knee and the motion of the second of two views that let outlines lie on edges best; None where too few do, or the knee is lost.

    Parameters
    ----------
    knee, fit: of the joint fit, of a right knee. bones: names of those that take part.
    images: edges of both views by the scale of each stage of the search; the second view where no motion leaves it.
    edges: of the templates, see `template_edges`.
    field_of_view: LPS mm.
    freedom: of the second view.
    begin: (M,) motion to go on from; None: none.
    progress: receives a fraction 0..1 before each iteration.
    """
    free = free_parameters(knee, search.stages[-1])
    count = len(freedom.spread)
    taken = np.append(np.ones(count, dtype=bool), free)
    state, motion = fit.state, np.zeros(count) if begin is None else np.array(begin, dtype=np.float64)
    for index, stage in enumerate(search.stages):
        fixed, moving = images[stage.blur_mm]
        for iteration in range(search.iterations):
            progress((index + iteration / search.iterations) / len(search.stages))
            moved = replace(moving, view=freedom.moved(moving.view, motion))
            rows, distances, strengths = _matched(
                knee, state, stage, bones, [fixed, moved], edges, freedom, field_of_view
            )
            if (strengths > 0).sum() < _FEWEST_POINTS:
                return None
            rows = rows[:, taken]
            weights = strengths * cauchy_weights(distances, stage.noise_mm, DEPENDENT_POINTS / _EVERY)
            information = rows.T @ (weights[:, None] * rows)
            offset, inverse = knee.prior(state, fit.start)
            spread = np.concatenate([freedom.spread, 1.0 / inverse[free]])
            off = np.concatenate([motion / freedom.spread, offset[free]])
            right = rows.T @ (weights * distances) - off / spread
            step = np.asarray(np.linalg.solve(information + np.diag(spread**-2.0), right), dtype=np.float64)
            motion = motion + step[:count]
            if not np.isfinite(step).all() or (np.abs(motion) > freedom.limit).any():
                return None
            state = only(state, free, step[count:])
            if np.abs(step[:count]).max() < search.converged:
                break
    matched = float((strengths > 0).mean())
    if matched < LEAST_MATCHED:
        return None
    distance = float(np.sqrt((strengths * distances**2).sum() / strengths.sum()))
    further = max(1.0, distance / _USUAL_DISTANCE_MM)
    offset, _ = knee.prior(state, fit.start)
    prior = float((offset[free] ** 2).sum() + ((motion / freedom.spread) ** 2).sum())
    last = search.stages[-1]
    none = cauchy_costs(np.array([last.reach_mm]), last.noise_mm, DEPENDENT_POINTS / _EVERY)
    of_points = strengths * cauchy_costs(distances, last.noise_mm, DEPENDENT_POINTS / _EVERY) + (1.0 - strengths) * none
    cost = float(of_points.sum()) + prior
    return FreeViewFit(state, motion, information, spread, matched, further, cost)


def _matched(
    knee: FittedKnee,
    state: KneeState,
    stage: Stage,
    bones: Sequence[str],
    images: Sequence[EdgeImage],
    edges: Mapping[str, Indices],
    freedom: ViewFreedom,
    field_of_view: FieldOfView,
) -> tuple[Array, Array, Array]:
    """Rows (N, M + P) mm a unit of the motion and of the knee's parameters, distances (N,) mm, and strengths (N,) 0..1 of edges."""
    surfaces = knee.surfaces(state)
    found = []
    for name in bones:
        for index, image in enumerate(images):
            points = grazed_points(surfaces[name], edges[name], np.array(image.view.source), field_of_view)
            first, second, share = points.first[::_EVERY], points.second[::_EVERY], points.share[::_EVERY]
            positions, normals = points.positions[::_EVERY], points.normals[::_EVERY]
            distance, strength = image.along_normals(positions, normals, stage.reach_mm)
            of_motion = np.zeros((len(distance), len(freedom.spread)))
            if index == 1:
                of_motion = freedom.rows(positions, normals)
            of_knee = knee.derivative(name, state, first, second, share, normals)
            found.append((np.concatenate([of_motion, of_knee], axis=1), distance, strength))
    rows, distances, strengths = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, distances, strengths
