"""Metal in a synthetic CT: staples, a plate with screws, or a partial knee replacement.

Labels and surfaces do not change: staples, plates and screws belong to no bone outside it and to the bone inside it, and the parts of a
partial knee fill the outline that the bone had before, and carry that bone's label. There are no streaks: this CT stands for the true
body that radiographs are simulated from, and streaks are not in the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.special import ndtr

from SSRKDCore.grid import Grid
from SSRKDCore.population.bone_distance import COARSENING, DistanceBox
from SSRKDCore.population.leg_landmarks import LegLandmarks
from SSRKDCore.population.painting import paint_tube
from SSRKDCore.population.tissue import TissueParameters
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_POLYETHYLENE_HU = -90.0
_LEAST_BLUR = 0.4


def add_metal(
    volume: NDArray[np.float32],
    grid: Grid,
    bones: Mapping[str, Surface],
    boxes: Mapping[str, DistanceBox],
    landmarks: LegLandmarks,
    tissue: TissueParameters,
    generator: np.random.Generator,
) -> dict[str, object]:
    """Put the tissue's metal into `volume` [z, y, x] (HU), in place; `boxes` are on the coarse grid. Returns what and where, for JSON."""
    if tissue.metal == "staples":
        return _add_staples(volume, grid, bones, landmarks, tissue, generator)
    if tissue.metal == "plate_and_screws":
        return _add_plate(volume, grid, bones, landmarks, tissue, generator)
    if tissue.metal == "partial_knee":
        return _add_partial_knee(volume, grid, bones, boxes, landmarks, tissue)
    return {"kind": "none"}


def _outermost(bone: Surface, landmarks: LegLandmarks, name: str, side: float, along: float) -> Array | None:
    """(3,) vertex farthest to a side (sign of x) within 4 mm of a distance (mm) along a bone from its knee end, in the middle third
    from front to back; None without any.
    """
    near = bone.vertices[np.abs(landmarks.axes[name].along(bone.vertices) - along) < 4.0]
    if not len(near):
        return None
    third = np.quantile(near[:, 1], [0.33, 0.67])
    near = near[(near[:, 1] >= third[0]) & (near[:, 1] <= third[1])]
    return near[(side * near[:, 0]).argmax()] if len(near) else None


def _add_staples(volume, grid, bones, landmarks, tissue, generator) -> dict[str, object]:  # type: ignore[no-untyped-def]
    name = str(generator.choice(["tibia", "femur"]))
    side = landmarks.lateral * float(generator.choice([-1.0, 1.0]))
    blur, size, count = max(tissue.resolution, _LEAST_BLUR), landmarks.size, int(generator.integers(1, 4))
    for index in range(count):
        along = (16.0 + 9.0 * index + generator.uniform(-2, 2)) * size
        at = _outermost(bones[name], landmarks, name, side, along)
        if at is None:
            continue
        axis = landmarks.axes[name].direction
        out = np.array([side, generator.normal(0, 0.15), generator.normal(0, 0.1)])
        bridge = at + 1.2 * out + np.array([0.0, generator.uniform(-8, 8), 0.0])
        ends = (bridge - 8.0 * axis, bridge + 8.0 * axis)
        paint_tube(volume, grid, *ends, 1.1, tissue.metal_hu, blur)
        for end in ends:
            paint_tube(volume, grid, end, end - generator.uniform(14, 20) * out, 0.9, tissue.metal_hu, blur)
    return {"kind": "staples", "bone": name, "count": count}


def _add_plate(volume, grid, bones, landmarks, tissue, generator) -> dict[str, object]:  # type: ignore[no-untyped-def]
    name = str(generator.choice(["tibia", "femur"]))
    side = landmarks.lateral if name == "femur" else landmarks.lateral * float(generator.choice([-1.0, 1.0]))
    blur, size = max(tissue.resolution, _LEAST_BLUR), landmarks.size
    stations = np.arange(14.0, generator.uniform(75.0, 120.0), 6.0) * size
    found = [_outermost(bones[name], landmarks, name, side, along) for along in stations]
    points = np.array([point for point in found if point is not None])
    if len(points) < 3:
        return {"kind": "plate_and_screws", "bone": name, "screws": 0}
    # A plate is stiffer than the bone is smooth: a parabola that stands off just enough.
    knots = np.linspace(-1, 1, len(points))
    smooth = np.stack([np.polyval(np.polyfit(knots, points[:, axis], 2), knots) for axis in range(3)], axis=1)
    stand_off = max(float((side * (points[:, 0] - smooth[:, 0])).max()), 0.0) + 1.9
    out = np.array([side, 0.0, 0.0])
    line = smooth + stand_off * out
    for start, end in pairwise(line):
        paint_tube(volume, grid, start, end, 7.5, tissue.metal_hu, blur, 1.9, (0.0, 1.0, 0.0))
    screws = 0
    for index in range(0, len(line), 2):
        direction = out + np.array([0.0, generator.normal(0, 0.1), generator.normal(0, 0.08)])
        length = generator.uniform(55, 68) * size if stations[index] < 40 * size else generator.uniform(28, 38) * size
        paint_tube(volume, grid, line[index], line[index] - length * direction, 2.3, tissue.metal_hu, blur)
        screws += 1
    return {"kind": "plate_and_screws", "bone": name, "screws": screws}


def _add_partial_knee(volume, grid, bones, boxes, landmarks, tissue) -> dict[str, object]:  # type: ignore[no-untyped-def]
    """A medial unicompartmental replacement: a shell of the condyle, a tray in the plateau, polyethylene between."""
    medial, size, joint, blur = -landmarks.lateral, landmarks.size, landmarks.joint, max(tissue.resolution, _LEAST_BLUR)
    first = grid.indices(joint - np.array([landmarks.half_width + 12, 50 * size, 35 * size]))
    last = grid.indices(joint + np.array([landmarks.half_width + 12, 50 * size, 50 * size]))
    low = np.clip(np.floor(first).astype(int), 0, np.array(grid.shape) - 1)
    high = np.clip(np.ceil(last).astype(int), low + 1, grid.shape)
    index = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"))
    z, y, x = (grid.origin[2 - axis] + grid.spacing[2 - axis] * index[axis].astype(np.float32) for axis in range(3))
    femur_depth, tibia_depth = (
        map_coordinates(
            boxes[name].values,
            index / COARSENING - np.array(boxes[name].start)[:, None, None, None],
            order=1,
            mode="nearest",
        )
        for name in ("femur", "tibia")
    )
    inwards = medial * (x - joint[0])

    condyle = bones["femur"].vertices
    condyle = condyle[(medial * (condyle[:, 0] - joint[0]) > 8 * size) & (condyle[:, 2] < joint[2] + 35 * size)]
    radius = 20.0 * size
    center_y, center_z = condyle[:, 1].max() - radius, condyle[:, 2].min() + radius
    middle = float(np.median(condyle[:, 0]))
    turn = np.degrees(np.arctan2(z - center_z, y - center_y))
    shell = (
        ndtr(-femur_depth / blur)
        * ndtr((femur_depth + 4.0 * size) / blur)
        * ndtr((11.0 * size - np.abs(x - middle)) / blur)
    )
    shell = shell * ((turn < 35.0) & (turn > -140.0))

    plateau = bones["tibia"].vertices
    medially = medial * (plateau[:, 0] - joint[0])
    top = float(np.quantile(plateau[(medially > 14 * size) & (plateau[:, 2] > joint[2] - 15 * size), 2], 0.9))
    cut = top - 4.0 * size
    inside = ndtr(-tibia_depth / blur) * ndtr((inwards - 4 * size) / blur)
    tray = inside * ndtr((cut - z) / blur) * ndtr((z - cut + 3.0) / blur)
    bearing = ndtr((8.0 * size - tibia_depth) / blur) * ndtr((inwards - 5 * size) / blur) * ndtr((z - cut) / blur)
    bearing = bearing * ndtr((femur_depth - 0.2) / blur)

    part = volume[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    for weight, value in ((bearing, _POLYETHYLENE_HU), (tray, tissue.metal_hu), (shell, tissue.metal_hu)):
        part += (weight * (value - part)).astype(np.float32)
    keel, half = np.array([middle, joint[1], cut - 8.0]), np.array([0.0, 12.0 * size, 0.0])
    paint_tube(volume, grid, keel - half, keel + half, 6.5, tissue.metal_hu, blur, 1.4, (0, 0, 1))
    peg = np.array([middle, center_y, center_z - radius + 3 * size])
    paint_tube(volume, grid, peg, peg + np.array([0.0, 0.0, 15.0 * size]), 3.0, tissue.metal_hu, blur)
    return {"kind": "partial_knee", "compartment": "medial", "label_of_implant": "the bone that it replaces"}
