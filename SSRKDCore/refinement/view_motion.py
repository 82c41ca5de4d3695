"""Whether the second view stands where the rig says, asked of the radiographs' edges and of what knees look like.

The shape model's knee goes on to the edges alone, without the network's surface, and the second view is free to turn and to shift while it
does (`free_view`).

Height and scale of the second view are free as well, so that what is wrong with them is not taken for a turn; they are known better from
the images themselves (`trust.view_scales`). Of a shift across the images say nothing, as the knee moves with it, and of a turn about the
image's columns' direction little; both stay as stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.refinement.free_view import FreeViewSearch, ViewFreedom, fit_with_free_view
from SSRKDCore.refinement.joint_fit import JointFit
from SSRKDCore.shape_fit.contour_fit import FINE
from SSRKDCore.shape_fit.fitted_knee import FittedKnee
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Edges somewhat further off first, where a wrong view puts them.
_SEARCH = FreeViewSearch(FINE[1:], 6, 0.1)
# Standard deviations of what a rig may have wrong: angle and roll in degrees, height in mm, scale in percent.
_PRIOR_SD = np.array([20.0, 10.0, 5.0, 8.0])
# A motion of more of these has lost the knee.
_LOST = 5.0
#: Beams nearer to parallel than this have no plane that an angle between them lies in.
_LEAST_SEPARATION_DEGREES = 15.0


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
    views = [image.view for image in images[_SEARCH.stages[0].blur_mm]]
    freedom = _freedom(views, field_of_view) if len(views) == 2 else None
    if freedom is None:
        return None
    found = fit_with_free_view(knee, fit, bones, images, edges, field_of_view, freedom, _SEARCH)
    if found is None:
        return None
    covariance = np.linalg.inv(found.information + np.diag(found.spread**-2.0))
    spreads = np.sqrt(np.diag(covariance)[:2]) * found.further
    return ViewMotion(*(float(value) for value in (*found.motion[:2], *spreads)))


def view_motions(
    knee: FittedKnee,
    fit: JointFit,
    bones: Sequence[str],
    images: Mapping[float, Sequence[EdgeImage]],
    edges: Mapping[str, Indices],
    field_of_view: FieldOfView,
) -> dict[tuple[int, int], ViewMotion]:
    """`view_motion` of each of three or more views beside each other one alone: (the one that stays, the one that may move) by number.

    Pairs whose beams are nearly parallel, and those that cannot tell, are left out. Parameters as of `view_motion`.
    """
    found = {}
    for pair in permutations(range(len(images[_SEARCH.stages[0].blur_mm])), 2):
        both = {blur: [of_scale[index] for index in pair] for blur, of_scale in images.items()}
        motion = view_motion(knee, fit, bones, both, edges, field_of_view)
        if motion is not None:
            found[pair] = motion
    return found


def turned_second_view(rig: Rig, angle_degrees: float, roll_degrees: float) -> Rig:
    """The rig with its second view turned about the field of view's centre: beams further apart, and the image from columns towards rows.

    Raises InputError for a rig without two views, or whose beams are nearly parallel.
    """
    freedom = _freedom(rig.views, rig.field_of_view) if len(rig.views) == 2 else None
    if freedom is None:
        raise InputError("A rig whose second view is to be turned needs two views that are not parallel: give another.")
    motion = np.array([angle_degrees, roll_degrees, 0.0, 0.0])
    return replace(rig, views=(rig.views[0], freedom.moved(rig.views[1], motion)))


def _freedom(views: Sequence[View], field_of_view: FieldOfView) -> ViewFreedom | None:
    """How the second view may move: turns by which the beams get further apart, and columns turn towards rows; height along its rows'
    direction; scale. None for beams that are nearly parallel."""
    center = np.array(field_of_view.center)
    beams = [center - np.array(view.source) for view in views]
    beams = [beam / np.linalg.norm(beam) for beam in beams]
    apart = np.cross(*beams)
    length = float(np.linalg.norm(apart))
    if length < np.sin(np.radians(_LEAST_SEPARATION_DEGREES)):
        return None
    across, down = np.array(views[1].column_direction), np.array(views[1].row_direction)
    turns = np.stack([apart / length, np.cross(across, down)])
    return ViewFreedom(center, turns, down[None], True, _PRIOR_SD, _LOST * _PRIOR_SD)
