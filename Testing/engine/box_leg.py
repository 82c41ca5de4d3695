"""A leg whose osteotomy is known in closed form: a box for the tibia, its landmarks, a straight mechanical axis with a known varus."""

from __future__ import annotations

import numpy as np

from SSRKDCore.anatomy import lateral_direction
from SSRKDCore.planning.landmark_set import Landmark, LandmarkSet
from SSRKDCore.surface import Surface

# Half width and half depth of the box, its length below the plateau, mm.
HALF_WIDTH, HALF_DEPTH, LENGTH = 40.0, 25.0, 300.0


def box_tibia() -> Surface:
    """Closed, the plateau at z = 0."""
    import trimesh

    mesh = trimesh.creation.box((2 * HALF_WIDTH, 2 * HALF_DEPTH, LENGTH)).subdivide().subdivide().subdivide()
    return Surface(mesh.vertices - np.array([0.0, 0.0, LENGTH / 2]), mesh.faces)


def round_tibia(side: str, around: int = 72, step: float = 4.0) -> Surface:
    """A closed metaphysis that narrows downwards, with a ridge in front that is not in the middle: the same bone for
    both sides, mirrored.
    """
    angles = 2 * np.pi * np.arange(around) / around
    heights = np.arange(-160.0, 0.1, step)
    rings = []
    for z in heights:
        share = np.clip((z + 90.0) / 90.0, 0.0, 1.0) ** 1.5
        across, deep = 15.0 + 23.0 * share, 17.0 + 9.0 * share
        ridge = 5.0 * np.exp(-(((angles - np.radians(280.0)) / 0.35) ** 2)) * np.exp(-(((z + 42.0) / 22.0) ** 2))
        x = (across + ridge) * np.cos(angles)
        y = (deep + ridge) * np.sin(angles)
        rings.append(np.column_stack([x, y, np.full(around, z)]))
    vertices = np.concatenate([*rings, [[0.0, 0.0, heights[0]], [0.0, 0.0, heights[-1]]]])
    faces = []
    for level in range(len(heights) - 1):
        for j in range(around):
            a, b = level * around + j, level * around + (j + 1) % around
            faces += [(a, b, a + around), (b, b + around, a + around)]
    top = (len(heights) - 1) * around
    for j in range(around):
        k = (j + 1) % around
        faces += [(len(vertices) - 2, k, j), (len(vertices) - 1, top + j, top + k)]
    # As made, lateral is +x: a left leg.
    surface = Surface(vertices, np.array(faces))
    return surface if side == "left" else surface.transformed(np.diag([-1.0, 1.0, 1.0, 1.0]))


def leg_landmarks(
    side: str, whole: bool = True, slope: float = 0.0, **changed: tuple[float, float, float]
) -> LandmarkSet:
    """Landmarks of both tibias above; coordinates as of a left leg. With `whole`, hip and ankle centre: varus."""
    rise = 18.0 * np.tan(np.radians(slope))
    points: dict[str, tuple[float, float, float]] = {
        "medial_plateau_edge": (-38.0, 0.0, 0.0),
        "lateral_plateau_edge": (38.0, 0.0, 0.0),
        "medial_plateau_centre": (-20.0, 0.0, 0.0),
        "lateral_plateau_centre": (20.0, 0.0, 0.0),
        "tibial_tubercle": (5.0, -25.0, -45.0),
        "tibial_shaft_proximal": (0.0, 0.0, -100.0),
        "tibial_shaft_distal": (0.0, 0.0, -150.0),
    }
    for name, x in (("medial", -20.0), ("lateral", 20.0)):
        points[f"{name}_plateau_anterior"] = (x, -18.0, rise)
        points[f"{name}_plateau_posterior"] = (x, 18.0, -rise)
    points |= {
        "intercondylar_notch": (0.0, 0.0, 0.0),
        "medial_condyle_posterior": (-20.0, 30.0, 15.0),
        "lateral_condyle_posterior": (20.0, 30.0, 15.0),
    }
    if whole:
        points |= {"hip_centre": (-60.0, 0.0, 450.0), "ankle_centre": (0.0, 0.0, -300.0)}
    points |= changed
    sign = np.array([lateral_direction(side), 1.0, 1.0])
    return LandmarkSet({name: Landmark(name, sign * np.array(point)) for name, point in points.items()}, {}, side)
