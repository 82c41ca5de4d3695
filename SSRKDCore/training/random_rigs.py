"""Random rooms: the rigs in which a case is exposed for training.

Ranges rather than one rig, so that the network holds for rooms that it never saw: domain randomisation, after J. Tobin et al.,
"Domain randomization for transferring deep neural networks from simulation to the real world", IROS 2017; for radiographs
C. Gao et al., "Synthetic data accelerates the development of generalizable learning-based algorithms for X-ray image analysis",
Nature Machine Intelligence 5, 2023. The figures are guesses of what rooms are like, wide enough to hold the presets of `geometry`.

Of a detector only its plane matters here: a network view lies in it and shows the cube, whatever the pixels. Pixels that the detector or
the collimator leaves out, its blur and its noise are changes of the image: see `augmentation`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.network_view import network_view
from SSRKDCore.geometry.presets import central_view
from SSRKDCore.geometry.view import View

Array = NDArray[np.float64]

_LARGEST_DEVIATION = 2.5
"""Normal deviates are drawn again beyond this many standard deviations: no room is absurd."""
_BEAMS = {"ap": ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)), "lateral": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))}
"""Beam and column direction of the two exact standard views, LPS; rows run downwards."""


@dataclass(frozen=True)
class RigRanges:
    """How rigs differ: mm, degrees; pairs are the limits of a uniform distribution, single figures standard deviations.

    Attributes
    ----------
    field_of_view: side of the cube.
    offset: of the cube's centre from the case's own, along x, y, z.
    source_to_isocentre: distance, drawn for each view.
    magnification: source to detector over source to isocentre, drawn for each view.
    off_centre: of the central ray from the cube's centre, in the detector's plane at the isocentre.
    axial_error: rotation of each view about the body's long axis, away from the exact AP or lateral view.
    tilt: cranio-caudal tilt, and roll of the image, of each view.
    detector_tilt: of the detector away from perpendicular to the central ray.
    narrow_share: share of rigs whose views are not about 90 degrees apart; both views turn towards each other, by random parts.
    narrow_separation: angle between the views of those.
    energy_kev: effective energy of the beam.
    cut_share: share of rigs that see a CT cut short by planes of constant z, as a short scan is: air and no bone beyond. A third each
        are cut above, below and on both sides.
    cut_distance: from the case's centre to a cutting plane; the larger limit is half the cube's side where that is smaller.
    """

    field_of_view: tuple[float, float] = (120.0, 210.0)
    offset: tuple[float, float, float] = (5.0, 5.0, 10.0)
    source_to_isocentre: tuple[float, float] = (550.0, 1600.0)
    magnification: tuple[float, float] = (1.05, 2.05)
    off_centre: float = 12.0
    axial_error: float = 4.0
    tilt: float = 3.0
    detector_tilt: float = 1.0
    narrow_share: float = 0.25
    narrow_separation: tuple[float, float] = (30.0, 90.0)
    energy_kev: tuple[float, float] = (48.0, 75.0)
    cut_share: float = 0.3
    cut_distance: tuple[float, float] = (40.0, 105.0)


@dataclass(frozen=True)
class RandomRig:
    """One exposure.

    Attributes
    ----------
    views: an AP-like and a lateral-like network view, from either side (AP or PA, mediolateral or lateromedial).
    cube: what they show.
    energy_kev: effective energy of the beam.
    cut: (lowest, highest) z in mm of the CT that is used, infinite where it is not cut.
    """

    views: tuple[View, View]
    cube: FieldOfView
    energy_kev: float
    cut: tuple[float, float]


def _normal(generator: np.random.Generator, scale: float, count: int = 1) -> Array:
    """(count,) normal deviates times `scale`, none beyond the largest deviation."""
    values = generator.normal(size=count)
    while (far := np.abs(values) > _LARGEST_DEVIATION).any():
        values[far] = generator.normal(size=int(far.sum()))
    return values * scale


def _axial_turns(generator: np.random.Generator, ranges: RigRanges) -> dict[str, float]:
    """Rotation in degrees about z of each view from its exact standard view."""
    turns = {name: float(_normal(generator, ranges.axial_error)[0]) for name in _BEAMS}
    if generator.random() < ranges.narrow_share:
        missing = 90.0 - float(generator.uniform(*ranges.narrow_separation))
        share, sign = generator.random(), 1.0 if generator.random() < 0.5 else -1.0
        # The beams of the two views lie 90 degrees apart; turned against each other they come nearer by as much.
        turns["ap"] += sign * share * missing
        turns["lateral"] -= sign * (1.0 - share) * missing
    return turns


def _view(name: str, axial: float, cube: FieldOfView, generator: np.random.Generator, ranges: RigRanges) -> View:
    """A small detector in the right plane: `network_view` lays the image on it."""
    from scipy.spatial.transform import Rotation

    beam, column = (np.array(axis) for axis in _BEAMS[name])
    about_z = Rotation.from_euler("z", axial, degrees=True)
    tilt = Rotation.from_euler("xy", _normal(generator, ranges.tilt, 2), degrees=True)
    turn = (about_z * tilt).as_matrix()
    beam, column, row = turn @ beam, turn @ column, turn @ np.array([0.0, 0.0, -1.0])
    shift = _normal(generator, ranges.off_centre, 2)
    isocentre = np.array(cube.center) + shift[0] * column + shift[1] * row
    distance = float(generator.uniform(*ranges.source_to_isocentre))
    sign = -1.0 if generator.random() < 0.5 else 1.0
    lean = Rotation.from_rotvec(_normal(generator, np.radians(ranges.detector_tilt)) * column)
    lean = lean * Rotation.from_rotvec(_normal(generator, np.radians(ranges.detector_tilt)) * row)
    view = central_view(
        name,
        beam * sign,
        column,
        row,
        distance,
        distance * float(generator.uniform(*ranges.magnification)),
        (1.0, 1.0),
        9,
        9,
        isocentre=(float(isocentre[0]), float(isocentre[1]), float(isocentre[2])),
    )
    return _leaning(view, lean.as_matrix())


def _leaning(view: View, turn: Array) -> View:
    """The view with its detector turned by a matrix (3, 3) about its centre; the source stays."""
    middle = view.pixel_position((view.rows - 1) / 2, (view.columns - 1) / 2)
    column, row = turn @ np.array(view.column_direction), turn @ np.array(view.row_direction)
    first = middle - (view.rows - 1) / 2 * view.pixel_spacing[0] * row
    first = first - (view.columns - 1) / 2 * view.pixel_spacing[1] * column
    return replace(view, detector_origin=tuple(first), column_direction=tuple(column), row_direction=tuple(row))


def _cut(generator: np.random.Generator, center_z: float, cube: FieldOfView, ranges: RigRanges) -> tuple[float, float]:
    """(lowest, highest) z of the CT that is used."""
    if generator.random() >= ranges.cut_share:
        return -np.inf, np.inf
    nearest = ranges.cut_distance[0]
    farthest = max(nearest, min(ranges.cut_distance[1], cube.size / 2))
    below, above = (float(generator.uniform(nearest, farthest)) for _ in range(2))
    kind = int(generator.integers(3))
    return (center_z - below if kind != 1 else -np.inf), (center_z + above if kind != 0 else np.inf)


def random_rig(
    generator: np.random.Generator, ranges: RigRanges, image_size: int, center: tuple[float, float, float]
) -> RandomRig:
    """A random room about a case, its two network views of `image_size` pixels a side, and the cube that they see.

    Parameters
    ----------
    generator: all randomness; the same state gives the same rig.
    ranges: how rigs differ.
    image_size: pixels.
    center: centre of the case (x, y, z), LPS mm, from which the cube is offset.
    """
    size = float(generator.uniform(*ranges.field_of_view))
    x, y, z = np.array(center) + np.concatenate([_normal(generator, scale) for scale in ranges.offset])
    cube = FieldOfView((float(x), float(y), float(z)), size)
    turns = _axial_turns(generator, ranges)
    ap, lateral = (network_view(_view(name, turns[name], cube, generator, ranges), cube, image_size) for name in _BEAMS)
    energy = float(generator.uniform(*ranges.energy_kev))
    return RandomRig((ap, lateral), cube, energy, _cut(generator, float(center[2]), cube, ranges))
