"""A shape model's knee fitted to the network's bones and to the edges in the radiographs at once.

The network places every bone and says roughly how it is shaped, depth included; the radiographs' edges say to a fraction of a
millimetre where outlines lie; the shape model says what lies between. Weighted least squares by Gauss-Newton steps, as in
`shape_fit.contour_fit` (after Baka et al., Medical Image Analysis 15, 2011), with the network's surface as further data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.refinement.network_bones import NetworkBone, distances_along_normals
from SSRKDCore.shape_fit.contour_fit import Stage, cauchy_weights, free_parameters, robust_weights
from SSRKDCore.shape_fit.contour_match import matched_contours
from SSRKDCore.shape_fit.fitted_knee import PARTS, FittedKnee, KneeState, only
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage
from SSRKDCore.vertex_normals import vertex_normals

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Vertices of each bone that are compared with the network's surface.
SURFACE_POINTS = 700
#: Of so many of them one tells something new: the network's errors are alike over some millimetres.
DEPENDENT_SURFACE_POINTS = 20.0
#: Standard deviation (mm) of the network's surface about the bone.
SURFACE_NOISE_MM = 1.5
# Degrees of flexion at which the pose starts, and how it is found: all parts, no modes, then with them.
_FLEXION_STARTS = (0.0, 15.0, 30.0)
_POSE = Stage(0.0, 40.0, 12, 6.0, PARTS, 0)
_SHAPE = Stage(0.0, 12.0, 8, SURFACE_NOISE_MM, PARTS, 40)
#: Then edges count as well, at finer and finer scales.
WITH_EDGES = (
    Stage(1.5, 9.0, 6, 2.0, PARTS, 40),
    Stage(0.8, 4.0, 10, 0.8, PARTS, 40),
)
_CONVERGED_MM = 0.02
# The surface of a bone that the network saw in part still has to be there in some places.
_FEWEST_MATCHES = 50


@dataclass(frozen=True)
class JointFit:
    """The knee's parameters, the start that its pose is about, and the mean distance in mm of its surface from the network's before edges
    counted."""

    state: KneeState
    start: KneeState
    network_distance_mm: float


def chosen_vertices(knee: FittedKnee) -> dict[str, Indices]:
    """Bone -> (n,) vertices that stand for its surface, evenly over it and the same each time."""
    generator = np.random.default_rng(0)
    return {
        name: np.sort(generator.choice(t.own_count, min(SURFACE_POINTS, t.own_count), replace=False))
        for name, t in knee.model.templates.items()
    }


def fit_jointly(
    knee: FittedKnee,
    bones: Mapping[str, NetworkBone],
    images: Mapping[float, Sequence[EdgeImage]],
    edges: Mapping[str, Indices],
    field_of_view: FieldOfView,
    progress: Callable[[float], None] = lambda fraction: None,
) -> JointFit:
    """The most probable knee.

    Parameters
    ----------
    knee: of a right knee.
    bones: what the network saw, of a right knee, LPS mm.
    images: the edges of all views by the scale of `WITH_EDGES`.
    edges: of the templates, see `template_edges`.
    field_of_view: LPS mm.
    progress: receives a fraction 0..1.

    Raises InputError when the shape model does not come near the network's bones.
    """
    vertices = chosen_vertices(knee)
    best: tuple[float, KneeState, KneeState] | None = None
    for index, flexion in enumerate(_FLEXION_STARTS):
        progress(0.3 * index / len(_FLEXION_STARTS))
        start = knee.start(flexion)
        state, distance = _run(knee, start, start, _POSE, bones, vertices, (), edges, field_of_view)
        if best is None or distance < best[0]:
            best = distance, state, start
    assert best is not None
    progress(0.3)
    _, state, start = best
    state, distance = _run(knee, state, start, _SHAPE, bones, vertices, (), edges, field_of_view)
    for index, stage in enumerate(WITH_EDGES):
        progress(0.4 + 0.6 * index / len(WITH_EDGES))
        state, _ = _run(knee, state, start, stage, bones, vertices, images[stage.blur_mm], edges, field_of_view)
    return JointFit(state, start, distance)


def _run(
    knee: FittedKnee,
    state: KneeState,
    start: KneeState,
    stage: Stage,
    bones: Mapping[str, NetworkBone],
    vertices: Mapping[str, Indices],
    images: Sequence[EdgeImage],
    edges: Mapping[str, Indices],
    field_of_view: FieldOfView,
) -> tuple[KneeState, float]:
    """The state after a stage, and the mean distance (mm) from the network's surface before its last step."""
    free = free_parameters(knee, stage)
    # With edges the network's surface is believed no more, and reached no further, than without.
    reach, noise = (_SHAPE.reach_mm, SURFACE_NOISE_MM) if images else (stage.reach_mm, stage.noise_mm)
    mean_distance = float("inf")
    for _ in range(stage.iterations):
        rows, distances = _surface_rows(knee, state, bones, vertices, field_of_view, reach)
        rows = rows[:, free]
        mean_distance = float(np.abs(distances).mean())
        weights = cauchy_weights(distances, noise, DEPENDENT_SURFACE_POINTS)
        normal, right = rows.T @ (weights[:, None] * rows), rows.T @ (weights * distances)
        if images:
            matches = matched_contours(knee, state, images, edges, field_of_view, stage.reach_mm, list(bones))
            contour, contour_weights = matches.derivatives[:, free], robust_weights(matches, stage)
            normal += contour.T @ (contour_weights[:, None] * contour)
            right += contour.T @ (contour_weights * matches.distances)
        offset, inverse = knee.prior(state, start)
        normal += np.diag(inverse[free] ** 2)
        right -= (inverse * offset)[free]
        step = np.asarray(np.linalg.solve(normal, right), dtype=np.float64)
        if not np.isfinite(step).all():
            raise InputError("The shape model could not be fitted to the network's bones.")
        state = only(state, free, step)
        if np.abs(rows @ step).max() < _CONVERGED_MM:
            break
    return state, mean_distance


def _surface_rows(
    knee: FittedKnee,
    state: KneeState,
    bones: Mapping[str, NetworkBone],
    vertices: Mapping[str, Indices],
    field_of_view: FieldOfView,
    reach_mm: float,
) -> tuple[Array, Array]:
    """Derivatives (N, P) of points along their normals, mm a unit of each parameter, and distances (N,) mm to the network's surface."""
    all_rows, all_distances = [], []
    placed = knee.vertices(state)
    for name in BONE_NAMES:
        if name not in bones:
            continue
        chosen = vertices[name]
        normals = vertex_normals(placed[name], knee.model.templates[name].faces)[chosen]
        matched, distances = distances_along_normals(
            bones[name], placed[name][chosen], normals, field_of_view, reach_mm
        )
        own = chosen[matched]
        all_rows.append(knee.derivative(name, state, own, own, np.zeros(len(own)), normals[matched]))
        all_distances.append(distances)
    rows, distances = np.concatenate(all_rows), np.concatenate(all_distances)
    if len(distances) < _FEWEST_MATCHES:
        raise InputError("The shape model does not come near the network's bones.")
    return rows, distances
