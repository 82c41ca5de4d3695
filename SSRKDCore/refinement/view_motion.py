"""Whether the second view stands where the rig says, asked of the radiographs' edges and of what knees look like.

A network's bones fit even a wrong rig: it bends them until both images agree. A shape model cannot: seen between two beams that are
further apart than stated, a knee has condyles and shafts that no knee has. So the knee of the joint fit goes on to the edges alone, without
the network's surface, and the second view is free to turn and to shift while it does: a bundle adjustment with apparent contours, and a
shape model in place of known points.

Height and scale of the second view are free as well, so that what is wrong with them is not taken for a turn; they are known better from
the images themselves (`trust.view_scales`). Of a shift across the images say nothing, as the knee moves with it, and of a turn about the
image's columns' direction little; both stay as stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.refinement.joint_fit import JointFit
from SSRKDCore.shape_fit.contour_fit import (
    DEPENDENT_POINTS,
    FINE,
    LEAST_MATCHED,
    Stage,
    cauchy_weights,
    free_parameters,
)
from SSRKDCore.shape_fit.contour_match import grazed_points
from SSRKDCore.shape_fit.fitted_knee import FittedKnee, KneeState, only
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Edges somewhat further off first, where a wrong view puts them.
_STAGES = FINE[1:]
# Standard deviations of what a rig may have wrong: angle and roll in degrees, height in mm, scale in percent.
_PRIOR_SD = np.array([20.0, 10.0, 5.0, 8.0])
# A motion of more of these has lost the knee.
_LOST = 5.0
_ITERATIONS = 6
_CONVERGED_DEGREES = 0.1
#: Beams nearer to parallel than this have no plane that an angle between them lies in.
_LEAST_SEPARATION_DEGREES = 15.0
#: Contour points that are looked at, of so many neighbours that share their errors.
_EVERY = 4
_FEWEST_POINTS = 60
#: Root mean square distance (mm) of outlines from edges; where edges are further off, they tell less. Knees that the shape model does not
#: know stay below, images of bad rooms do not.
_USUAL_DISTANCE_MM = 1.0


@dataclass(frozen=True)
class ViewMotion:
    """How the second view seems to be turned, beyond what the rig says.

    Attributes
    ----------
    angle_degrees: by how much further the beams are apart.
    roll_degrees: of the image in its own plane, from columns towards rows.
    angle_spread_degrees, roll_spread_degrees: standard deviations of the least-squares problem, larger by as much as edges lie further
        off than usual; what they are worth, see `trust.known_view_motion`.
    """

    angle_degrees: float
    roll_degrees: float
    angle_spread_degrees: float
    roll_spread_degrees: float


def view_motion(
    knee: FittedKnee,
    fit: JointFit,
    bones: Sequence[str],
    images: Mapping[float, Sequence[EdgeImage]],
    edges: Mapping[str, Indices],
    field_of_view: FieldOfView,
) -> ViewMotion | None:
    """The motion of the second of two views that lets the shape model's outlines lie on edges best; None where it cannot be told, since
    too few outlines lie on edges.

    Parameters
    ----------
    knee, fit: of the joint fit, of a right knee. bones: names of those that take part.
    images: edges of both views, where the rig has them, by the scale of each stage of `contour_fit.FINE`.
    edges: of the templates, see `template_edges`.
    field_of_view: LPS mm.
    """
    views = [image.view for image in images[_STAGES[0].blur_mm]]
    axes = _axes(views, np.array(field_of_view.center)) if len(views) == 2 else None
    if axes is None:
        return None
    free = free_parameters(knee, _STAGES[-1])
    count = int(free.sum())
    state, motion = fit.state, np.zeros(len(_PRIOR_SD))
    normal, distances, strengths = np.eye(count + len(motion)), np.zeros(0), np.zeros(0)
    for stage in _STAGES:
        fixed, moving = images[stage.blur_mm]
        for _ in range(_ITERATIONS):
            moved = replace(moving, view=_moved(views[1], motion, axes, field_of_view))
            rows, distances, strengths = _matched(knee, state, stage, bones, [fixed, moved], edges, axes, field_of_view)
            if (strengths > 0).sum() < _FEWEST_POINTS:
                return None
            rows = rows[:, np.append(free, np.ones(len(motion), dtype=bool))]
            weights = strengths * cauchy_weights(distances, stage.noise_mm, DEPENDENT_POINTS / _EVERY)
            offset, inverse = knee.prior(state, fit.start)
            prior = np.concatenate([inverse[free], 1.0 / _PRIOR_SD])
            normal = rows.T @ (weights[:, None] * rows) + np.diag(prior**2)
            right = rows.T @ (weights * distances)
            right[:count] -= (inverse * offset)[free]
            right[count:] -= motion / _PRIOR_SD**2
            step = np.asarray(np.linalg.solve(normal, right), dtype=np.float64)
            motion = motion + step[count:]
            if not np.isfinite(step).all() or (np.abs(motion) > _LOST * _PRIOR_SD).any():
                return None
            state = only(state, free, step[:count])
            if np.abs(step[count:]).max() < _CONVERGED_DEGREES:
                break
    if (strengths > 0).mean() < LEAST_MATCHED:
        return None
    distance = float(np.sqrt((strengths * distances**2).sum() / strengths.sum()))
    spreads = np.sqrt(np.diag(np.linalg.inv(normal))[count:]) * max(1.0, distance / _USUAL_DISTANCE_MM)
    return ViewMotion(*(float(value) for value in (*motion[:2], *spreads[:2])))


def turned_second_view(rig: Rig, angle_degrees: float, roll_degrees: float) -> Rig:
    """The rig with its second view turned about the field of view's centre: beams further apart, and the image from columns towards rows.

    Raises InputError for a rig without two views, or whose beams are nearly parallel.
    """
    axes = _axes(rig.views, np.array(rig.field_of_view.center)) if len(rig.views) == 2 else None
    if axes is None:
        raise InputError("A rig whose second view is to be turned needs two views that are not parallel: give another.")
    motion = np.array([angle_degrees, roll_degrees, 0.0, 0.0])
    return replace(rig, views=(rig.views[0], _moved(rig.views[1], motion, axes, rig.field_of_view)))


def _axes(views: Sequence[View], center: Array) -> Array | None:
    """(3, 3) rows: about which the beams turn apart, about which columns turn towards rows, and the second image's rows' direction, unit
    vectors; None for beams that are nearly parallel."""
    beams = [center - np.array(view.source) for view in views]
    beams = [beam / np.linalg.norm(beam) for beam in beams]
    apart = np.cross(*beams)
    length = float(np.linalg.norm(apart))
    if length < np.sin(np.radians(_LEAST_SEPARATION_DEGREES)):
        return None
    across, down = np.array(views[1].column_direction), np.array(views[1].row_direction)
    return np.stack([apart / length, np.cross(across, down), down])


def _moved(view: View, motion: Array, axes: Array, field_of_view: FieldOfView) -> View:
    center = np.array(field_of_view.center)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(motion[:2]) @ axes[:2]).as_matrix()
    matrix[:3, 3] = center - matrix[:3, :3] @ center + motion[2] * axes[2]
    return view.transformed(matrix).with_larger_pixels(1.0 + motion[3] / 100.0)


def _matched(
    knee: FittedKnee,
    state: KneeState,
    stage: Stage,
    bones: Sequence[str],
    images: Sequence[EdgeImage],
    edges: Mapping[str, Indices],
    axes: Array,
    field_of_view: FieldOfView,
) -> tuple[Array, Array, Array]:
    """Rows (N, P + 4) mm a unit of the knee's parameters and of the motion, distances (N,) mm, and strengths (N,) 0..1 of edges."""
    center = np.array(field_of_view.center)
    surfaces = knee.surfaces(state)
    found = []
    for name in bones:
        for index, image in enumerate(images):
            points = grazed_points(surfaces[name], edges[name], np.array(image.view.source), field_of_view)
            first, second, share = points.first[::_EVERY], points.second[::_EVERY], points.share[::_EVERY]
            positions, normals = points.positions[::_EVERY], points.normals[::_EVERY]
            distance, strength = image.along_normals(positions, normals, stage.reach_mm)
            of_motion = np.zeros((len(distance), len(_PRIOR_SD)))
            if index == 1:
                # A view that moves one way sees the bones move the other way.
                of_motion[:, :2] = -np.radians(1.0) * np.cross(positions - center, normals) @ axes[:2].T
                of_motion[:, 2] = -normals @ axes[2]
                of_motion[:, 3] = -0.01 * np.einsum("ij,ij->i", normals, positions - center)
            of_knee = knee.derivative(name, state, first, second, share, normals)
            found.append((np.concatenate([of_knee, of_motion], axis=1), distance, strength))
    rows, distances, strengths = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, distances, strengths
