"""Fit of a shape model to edges in calibrated images: iterative closest contour points, Gauss-Newton steps, and a prior.

After Baka et al., "2D-3D shape reconstruction of the distal femur from stereo X-ray imaging using statistical shape models",
Medical Image Analysis 15, 2011, and the same group's biplane work of 2012; see docs/baselines.md for what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.shape_fit.contour_match import Matches, matched_contours, template_edges
from SSRKDCore.shape_fit.fitted_knee import PARTS, FittedKnee, KneeState, only
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage

Array = NDArray[np.float64]

# From one image scale to EdgeImages of all views.
EdgeMaker = Callable[[float], Sequence[EdgeImage]]


@dataclass(frozen=True)
class Stage:
    """A part of the fit: scale of the edges (mm), how far they may lie (mm), iterations, standard deviation of a contour point (mm),
    which parts move, and how many modes."""

    blur_mm: float
    reach_mm: float
    iterations: int
    noise_mm: float
    parts: tuple[str, ...]
    modes: int


# The fibula only follows the tibia, and its contours do not count, until its own edges are nearer than others: in a lateral view it
# lies in the tibia's shadow.
_WITHOUT_FIBULA = tuple(part for part in PARTS if part != "fibula")
COARSE = (
    Stage(3.0, 24.0, 14, 5.0, ("knee", "tibia"), 0),
    Stage(2.0, 14.0, 12, 3.0, _WITHOUT_FIBULA, 5),
)
FINE = (
    Stage(1.5, 9.0, 12, 2.0, _WITHOUT_FIBULA, 15),
    Stage(1.0, 6.0, 15, 1.2, PARTS, 40),
    Stage(0.8, 4.0, 20, 0.8, PARTS, 40),
)
# Degrees at which the fit starts; adults' knees are radiographed straight to moderately bent.
FLEXION_STARTS = (0.0, 15.0, 30.0)
# Neighbouring contour points share their errors: about one in this many tells something new.
DEPENDENT_POINTS = 20.0
_ROBUST = 2.0
_CONVERGED_MM = 0.02
#: A fit of whose contours a smaller share lies on edges has failed.
LEAST_MATCHED = 0.6


@dataclass(frozen=True)
class ContourFit:
    """The result: the knee's state, the start that it came from, the share of contour points with an edge, the weighted mean distance to it
    in mm, and the cost."""

    state: KneeState
    start: KneeState
    matched_share: float
    distance_mm: float
    cost: float


def fit_contours(
    knee: FittedKnee,
    edges_at: EdgeMaker,
    field_of_view: FieldOfView,
    starts: Sequence[float] = FLEXION_STARTS,
    coarse: Sequence[Stage] = COARSE,
    fine: Sequence[Stage] = FINE,
    progress: Callable[[float, str], None] = lambda fraction, words: None,
) -> ContourFit:
    """The knee whose apparent contours lie on the edges; a coarse fit from each start, the best of them refined.

    Raises InputError when the images show too few edges along the contours.
    """
    network = template_edges(knee.model)
    images = {stage.blur_mm: edges_at(stage.blur_mm) for stage in (*coarse, *fine)}
    if any(image.strong <= 0 for found in images.values() for image in found):
        raise InputError("A radiograph shows no edges inside the field of view: check the image and the rig.")
    best: tuple[float, KneeState, KneeState] | None = None
    for index, flexion in enumerate(starts):
        progress(0.6 * index / len(starts), "matching contours")
        start = knee.start(flexion)
        state = start
        for stage in coarse:
            state = _run(knee, state, start, stage, images[stage.blur_mm], network, field_of_view)
        cost = judged_contours(knee, state, start, images[coarse[-1].blur_mm], network, field_of_view, coarse[-1]).cost
        if best is None or cost < best[0]:
            best = cost, state, start
    if best is None:
        raise ValueError("a fit needs at least one start")
    _, state, start = best
    result = fit_finely(
        knee,
        state,
        start,
        images,
        network,
        field_of_view,
        fine,
        lambda done: progress(0.6 + 0.4 * done, "matching contours"),
    )
    if result.matched_share < LEAST_MATCHED:
        raise InputError(
            f"Only {100 * result.matched_share:.0f} % of the fitted knee's contours lie on edges of the radiographs: "
            "the fit failed; check images and rig."
        )
    return result


def fit_finely(
    knee: FittedKnee,
    state: KneeState,
    start: KneeState,
    images: Mapping[float, Sequence[EdgeImage]],
    edges: Mapping[str, NDArray[np.int64]],
    field_of_view: FieldOfView,
    stages: Sequence[Stage] = FINE,
    progress: Callable[[float], None] = lambda fraction: None,
) -> ContourFit:
    """The fit from a state that is near already, and how well it lies on edges; a poor one is the caller's to refuse.

    Parameters
    ----------
    state: where it goes on from. start: whose pose the prior is about.
    images: EdgeImages of all views by the scale of each stage.
    edges: of the templates, see `template_edges`.
    progress: receives a fraction 0..1.
    """
    for index, stage in enumerate(stages):
        progress(index / len(stages))
        state = _run(knee, state, start, stage, images[stage.blur_mm], edges, field_of_view)
    last = stages[-1]
    return judged_contours(knee, state, start, images[last.blur_mm], edges, field_of_view, last)


def _run(
    knee: FittedKnee,
    state: KneeState,
    start: KneeState,
    stage: Stage,
    images: Sequence[EdgeImage],
    network: Mapping[str, NDArray[np.int64]],
    field_of_view: FieldOfView,
) -> KneeState:
    free = free_parameters(knee, stage)
    bones = [name for name in BONE_NAMES if name != "fibula" or "fibula" in stage.parts]
    for _ in range(stage.iterations):
        matches = matched_contours(knee, state, images, network, field_of_view, stage.reach_mm, bones)
        weights = robust_weights(matches, stage)
        rows = matches.derivatives[:, free]
        offset, inverse = knee.prior(state, start)
        normal = rows.T @ (weights[:, None] * rows) + np.diag(inverse[free] ** 2)
        right = rows.T @ (weights * matches.distances) - (inverse * offset)[free]
        step = np.asarray(np.linalg.solve(normal, right), dtype=np.float64)
        state = only(state, free, step)
        if len(rows) == 0 or np.abs(rows @ step).max() < _CONVERGED_MM:
            break
    return state


def free_parameters(knee: FittedKnee, stage: Stage) -> NDArray[np.bool_]:
    """(P,) which of a knee's parameters a stage moves; the common size always."""
    free = np.zeros(knee.count, dtype=bool)
    for part in stage.parts:
        free[6 * PARTS.index(part) : 6 * PARTS.index(part) + 6] = True
    last = 6 * len(PARTS)
    free[last : last + 1 + min(stage.modes, knee.modes)] = True
    return free


def robust_weights(matches: Matches, stage: Stage) -> Array:
    """Weights (N,) in 1/mm^2 of contour points: less the further the edge lies off (Cauchy's function), for then it is more often another
    one; points beside each other share theirs."""
    return cauchy_weights(matches.distances, stage.noise_mm, DEPENDENT_POINTS) * matches.weights


def cauchy_weights(distances: Array, noise_mm: float, dependent: float) -> Array:
    """(N,) 1/mm^2: of residuals with a standard deviation of `noise_mm`, of which `dependent` neighbours tell as much as one."""
    return 1.0 / ((1.0 + (distances / (_ROBUST * noise_mm)) ** 2) * noise_mm**2 * dependent)


def cauchy_costs(distances: Array, noise_mm: float, dependent: float) -> Array:
    """(N,) of the same residuals, twice the negative logarithm of their likelihood: `cauchy_weights` are its slope over the residual."""
    scale = _ROBUST * noise_mm
    return np.asarray(scale**2 * np.log1p((distances / scale) ** 2) / (noise_mm**2 * dependent))


def contour_costs(distances: Array, weights: Array, reach_mm: float) -> Array:
    """(N,) 0..1 of contour points: how far their edge lies, as a share of the reach; a point without an edge costs as much as one there.

    distances, weights: (N,) as `EdgeImage.along_normals` gives them.
    """
    scaled = np.where(weights > 0, np.minimum(np.abs(distances) / reach_mm, 1.0), 1.0)
    return np.asarray(weights * scaled + (1.0 - weights))


def judged_contours(
    knee: FittedKnee,
    state: KneeState,
    start: KneeState,
    images: Sequence[EdgeImage],
    network: Mapping[str, NDArray[np.int64]],
    field_of_view: FieldOfView,
    stage: Stage,
) -> ContourFit:
    """How well a state's contours lie on edges within the reach of a stage.

    The cost is the mean over the bones of `contour_costs`, so that a long contour does not drown the patella's. Raises InputError for a
    knee outside the field of view.
    """
    matches = matched_contours(knee, state, images, network, field_of_view, stage.reach_mm)
    if not len(matches.weights):
        raise InputError("The fitted knee lies outside the field of view: the fit failed; check images and rig.")
    costs = contour_costs(matches.distances, matches.weights, stage.reach_mm)
    cost = float(
        np.mean([costs[matches.bones == i].mean() for i in range(len(BONE_NAMES)) if (matches.bones == i).any()])
    )
    total = matches.weights.sum()
    distance = float((matches.weights * np.abs(matches.distances)).sum() / total) if total > 0 else float("inf")
    return ContourFit(state, start, matches.matched_share, distance, cost)
