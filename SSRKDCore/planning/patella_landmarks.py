"""Landmarks of the patella: its poles, and where its joint surface ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.planning.bone_samples import BoneSamples, across, farthest, unit
from SSRKDCore.planning.landmark_collector import LandmarkCollector

Array = NDArray[np.float64]

_STRIP_MM = 4.0


def find_patella_landmarks(patella: BoneSamples, up: Array, front: Array, collector: LandmarkCollector) -> None:
    """Find the patella's landmarks and put them into `collector`.

    Its thin direction (the principal axis of least extent) is its front to back; poles are the ends along what `up` has at right
    angles to that. The joint surface ends, in the strip along the ridge, at the corners of the profile between the ridge and either
    pole: the points farthest outside the chord.

    Parameters
    ----------
    up, front: (3,) rough unit vectors, proximal and anterior.
    """
    centred = patella.centres - np.average(patella.centres, axis=0, weights=patella.areas)
    thin = np.linalg.eigh((centred * patella.areas[:, None]).T @ centred)[1][:, 0]
    thin = thin * np.sign(thin @ front)
    along = across(up, thin)
    inferior = collector.place("patella_inferior_pole", farthest(patella.points, -along, 1.0))
    # The base is broad and flat: its pole is the one opposite the apex.
    middle = np.average(patella.centres, axis=0, weights=patella.areas)
    superior = collector.place("patella_superior_pole", farthest(patella.points, across(middle - inferior, thin), 2.0))
    along = across(superior - inferior, thin)
    side = np.cross(along, thin)
    ridge = farthest(patella.points, -thin, 1.0)
    strip = patella.points[np.abs((patella.points - ridge) @ side) < _STRIP_MM]
    flat = strip - ((strip - ridge) @ side)[:, None] * side
    for name, pole, direction in (("inferior", inferior, -along), ("superior", superior, along)):
        beyond = flat[(flat - ridge) @ direction > 0]
        if not len(beyond):
            collector.lack("there is no bone between the patella's ridge and that pole", f"patella_articular_{name}")
            continue
        chord = pole - ridge
        chord = chord - (chord @ side) * side
        outwards = across(-thin, unit(chord))
        collector.place(f"patella_articular_{name}", farthest(beyond, outwards))
