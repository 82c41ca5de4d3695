"""A pose of the second view under which slices through both sources weaken both images alike, as near to an estimate as it is known.

Epipolar consistency (see `slice_profiles`) tells what outlines tell least: half a degree of turn about the columns' direction, or half a
millimetre of height, mixes slices, and the profiles of the two images no longer agree. It knows nothing of the angle between the beams. The
estimate by outlines, with its covariance, is the prior; the profiles' slopes, each of unit length, are compared height by height, and are
believed the less the worse they agree, so that images which are no line integrals change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.calibration.pose_parameters import moved_view
from SSRKDCore.geometry.calibration.slice_profiles import profile_slopes
from SSRKDCore.geometry.rig import Rig

Array = NDArray[np.float64]

# Blur of the profiles (mm): wide first, so that slopes that are apart still meet.
_BLURS_MM = (3.0, 1.5, 0.8)
_ITERATIONS = 4
# Heights that tell something new: far fewer than there are, as what profiles disagree in (scatter, what an image cuts off) is alike over
# many of them.
_INDEPENDENT = 8.0
# Squared distance of the unit slopes below which profiles are not believed any further: correlation 0.95.
_LEAST_DISTANCE = 0.1
#: Correlation below which profiles are not believed at all: with scatter and display curves they disagree for reasons of their own.
LEAST_CORRELATION = 0.9
_STEPS = np.array([0.3] * 3 + [2.0, 2.0, 0.2])
_CONVERGED = 0.02
# A step beyond this many of the estimate's standard deviations goes where profiles are not alike by shape but by chance.
_LONGEST = 3.0


def aligned_pose(
    images: Sequence[NDArray[np.floating]],
    rig: Rig,
    pose: Array,
    covariance: Array,
    progress: Callable[[float], None] = lambda fraction: None,
) -> tuple[Array, Array]:
    """The pose (6,) of the rig's second view that estimate and slices together make the most probable, and the slices' own information
    (6, 6) about it; the estimate and zeros where the images share too few heights, or their slices are not alike at any pose near it.

    Parameters
    ----------
    images: line integrals [row, column] of both views.
    rig: where the second view is believed to be. pose, covariance: (6,) and (6, 6) of the estimate, POSE_NAMES.
    progress: receives a fraction 0..1 before each iteration.
    """
    inverse = np.linalg.inv(covariance)
    spread = np.sqrt(np.diag(covariance))
    found, information = pose.copy(), np.zeros((6, 6))
    for index, blur in enumerate(_BLURS_MM):
        for iteration in range(_ITERATIONS):
            progress((index + iteration / _ITERATIONS) / len(_BLURS_MM))
            here = _difference(images, rig, found, blur)
            if here is None:
                return pose, np.zeros((6, 6))
            columns = []
            for direction, step in enumerate(_STEPS):
                moved = found.copy()
                moved[direction] += step
                there = _difference(images, rig, moved, blur)
                if there is None:
                    return pose, np.zeros((6, 6))
                columns.append((there - here) / step)
            derivative = np.stack(columns, axis=1)
            weight = _INDEPENDENT / max(float(here @ here), _LEAST_DISTANCE)
            information = weight * derivative.T @ derivative
            right = -weight * derivative.T @ here - inverse @ (found - pose)
            step = np.linalg.solve(information + inverse, right)
            found = pose + np.clip(found + step - pose, -_LONGEST * spread, _LONGEST * spread)
            if (np.abs(step) / spread).max() < _CONVERGED:
                break
    left = _difference(images, rig, found, _BLURS_MM[-1])
    if left is None or 1.0 - 0.5 * float(left @ left) < LEAST_CORRELATION:
        return pose, np.zeros((6, 6))
    return found, information


def _difference(images: Sequence[NDArray[np.floating]], rig: Rig, pose: Array, blur_mm: float) -> Array | None:
    """(H,) the profiles' unit slopes of the second view at a pose, less those of the first; None where there are too few heights."""
    slopes = profile_slopes(images, (rig.views[0], moved_view(rig, pose)), rig.field_of_view, blur_mm)
    return None if slopes is None else slopes[1] - slopes[0]
