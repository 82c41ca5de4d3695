"""Landmarks of the femur: condyles, epicondyles, notch, shaft next to the knee, hip centre."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.bone_checks import RoughDirections
from SSRKDCore.planning.bone_samples import BoneSamples, across, farthest, front_of, unit
from SSRKDCore.planning.femoral_head import hip_centre
from SSRKDCore.planning.landmark_collector import LandmarkCollector
from SSRKDCore.planning.shaft_axis import first_direction, settled_axis

Array = NDArray[np.float64]

_CONDYLES_MM = 40.0
# Heights above the joint, and distances from the middle, in widths of the condyles.
_CONDYLE_HEIGHT, _MIDDLE_PART = 0.5, 0.1
_EPICONDYLES = (0.12, 0.6)
_ITERATIONS, _ROUNDS = 6, 3


def find_femur_landmarks(femur: BoneSamples, rough: RoughDirections, collector: LandmarkCollector) -> Array:
    """Find a right femur's landmarks and put them into `collector`; returns proximal (3,), the unit vector of its shaft.

    The condyles' landmarks are the points where a straight line touches both, in the frontal plane (distal: Paley 2002) and in the
    transverse plane (posterior condylar line); the epicondyles the outermost points of the condyles' sides; the notch the place
    where the shadow of the condyles, seen from the front, is highest between them.
    """
    up, lateral = rough.up, rough.lateral
    width = _width(femur.points, up, lateral)
    if not 30.0 < width < 150.0:
        raise InputError(f"The femur's condyles measure {width:.0f} mm across: give a knee in millimetres.")
    up = first_direction(femur, up, width)
    lateral = across(lateral, up)
    shaft_ends = (collector.get("femoral_shaft_distal"), collector.get("femoral_shaft_proximal"))
    # The stretch of shaft is measured in widths, and the width is right only once the axes are.
    for _ in range(_ROUNDS):
        computed, axis = settled_axis(femur, up, width, *shaft_ends)
        if axis is not None:
            up = axis.away
            lateral = across(lateral, up)
        medial, outer = _posterior_condyles(femur, up, lateral)
        lateral = across(outer - medial, up)
        width = _width(femur.points, up, lateral)
    if computed is None:
        collector.lack(
            "too little of the femur's shaft is there for an axis", "femoral_shaft_distal", "femoral_shaft_proximal"
        )
    else:
        collector.place_shaft("femur", computed, width, "femoral_shaft_distal", "femoral_shaft_proximal")
    medial = collector.place("medial_condyle_posterior", medial)
    outer = collector.place("lateral_condyle_posterior", outer)
    lateral = across(outer - medial, up)
    condyles = femur.points[_height(femur.points, up) < _CONDYLE_HEIGHT * width]
    _distal_condyles(condyles, up, lateral, collector)
    _epicondyles(femur, up, lateral, width, collector)
    _notch(femur, up, lateral, width, collector)
    if not collector.is_given("hip_centre"):
        found = hip_centre(femur, up, lateral, width)
        if isinstance(found, str):
            collector.lack(found, "hip_centre")
        else:
            collector.place("hip_centre", found)
    return up


def _height(points: Array, up: Array) -> Array:
    """(N,) mm above the femur's lowest point."""
    height = points @ up
    return np.asarray(height - height.min())


def _width(points: Array, up: Array, lateral: Array) -> float:
    return float(np.ptp(points[_height(points, up) < _CONDYLES_MM] @ lateral))


def _halves(points: Array, lateral: Array) -> tuple[Array, Array]:
    """The medial and the lateral part of points (N, 3), without the middle."""
    position = points @ lateral
    middle, width = 0.5 * (position.min() + position.max()), np.ptp(position)
    return points[position < middle - _MIDDLE_PART * width], points[position > middle + _MIDDLE_PART * width]


def _posterior_condyles(femur: BoneSamples, up: Array, lateral: Array) -> tuple[Array, Array]:
    """(3,) medial and (3,) lateral point where a line behind the condyles touches them."""
    for _ in range(_ITERATIONS):
        width = _width(femur.points, up, lateral)
        condyles = femur.points[_height(femur.points, up) < _CONDYLE_HEIGHT * width]
        back = -front_of(up, lateral)
        medial, outer = (farthest(half, back) for half in _halves(condyles, lateral))
        lateral = across(outer - medial, up)
    return medial, outer


def _distal_condyles(condyles: Array, up: Array, lateral: Array, collector: LandmarkCollector) -> None:
    down = -up
    for _ in range(_ITERATIONS):
        medial, outer = (farthest(half, down) for half in _halves(condyles, lateral))
        line = outer - medial
        down = across(-up, unit((line @ lateral) * lateral + (line @ up) * up))
    collector.place("medial_condyle_distal", medial)
    collector.place("lateral_condyle_distal", outer)


def _epicondyles(femur: BoneSamples, up: Array, lateral: Array, width: float, collector: LandmarkCollector) -> None:
    height = _height(femur.points, up)
    sides = femur.points[(height > _EPICONDYLES[0] * width) & (height < _EPICONDYLES[1] * width)]
    collector.place("medial_epicondyle", farthest(sides, -lateral))
    collector.place("lateral_epicondyle", farthest(sides, lateral))


def _notch(femur: BoneSamples, up: Array, lateral: Array, width: float, collector: LandmarkCollector) -> None:
    from scipy.ndimage import gaussian_filter1d

    medial, outer = collector.get("medial_condyle_distal"), collector.get("lateral_condyle_distal")
    assert medial is not None and outer is not None
    points = femur.centres[_height(femur.centres, up) < _CONDYLE_HEIGHT * width]
    position, height = points @ lateral, points @ up
    first, last = float(medial @ lateral), float(outer @ lateral)
    columns = np.arange(first, last, 1.0)
    lowest = np.full(len(columns), np.nan)
    for index, start in enumerate(columns):
        inside = (position >= start - 1.0) & (position < start + 1.0)
        if inside.any():
            lowest[index] = height[inside].min()
    known = np.isfinite(lowest)
    # The shadow's edge between the condyles, without the two condyles themselves.
    share = (columns - first) / max(last - first, 1.0)
    between = known & (share > 0.2) & (share < 0.8)
    if not between.any():
        collector.lack("there is no notch between the condyles", "intercondylar_notch")
        return
    smooth = gaussian_filter1d(np.interp(columns, columns[known], lowest[known]), 1.5)
    best = columns[between][np.argmax(smooth[between])]
    strip = points[np.abs(position - best) < 1.5]
    collector.place("intercondylar_notch", farthest(strip, -up))
