"""Legs made of simple solids, whose alignment is known: cylinders, balls and boxes, joined and meshed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import bone as anatomy_of
from SSRKDCore.grid import Grid
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]
Field = Callable[[Array], Array]
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])

# A right leg in LPS: +x medial, -y to the front; mm.
HIP, ANKLE = np.array([2.0, 0.0, 400.0]), np.array([-4.0, 0.0, -330.0])
PLATEAU = -3.0


def capsule(a: object, b: object, radius: float) -> Field:
    start, end = np.asarray(a, float), np.asarray(b, float)

    def distance(points: Array) -> Array:
        along = np.clip((points - start) @ (end - start) / ((end - start) @ (end - start)), 0.0, 1.0)
        return np.asarray(np.linalg.norm(points - start - along[..., None] * (end - start), axis=-1) - radius)

    return distance


def box(centre: object, half: object, turn: Array | None = None) -> Field:
    middle, size, axes = np.asarray(centre, float), np.asarray(half, float), np.eye(3) if turn is None else turn

    def distance(points: Array) -> Array:
        inside = np.abs((points - middle) @ axes) - size
        return np.asarray(np.linalg.norm(np.maximum(inside, 0.0), axis=-1) + np.minimum(inside.max(axis=-1), 0.0))

    return distance


def meshed(parts: list[Field], low: object, high: object, step: float = 2.0, cut: Field | None = None) -> Surface:
    """The surface of the union of solids, without what `cut` (negative where it stays) takes away."""
    from skimage.measure import marching_cubes

    low, high = np.asarray(low, float), np.asarray(high, float)
    # Between the planes of the shapes: a flat face exactly on the samples would be no surface.
    axes = [np.arange(low[i] - 2 * step + 0.37, high[i] + 2 * step, step) for i in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    field = np.minimum.reduce([part(points) for part in parts])
    if cut is not None:
        field = np.maximum(field, cut(points))
    vertices, faces, _, _ = marching_cubes(field, 0.0, spacing=(step, step, step))
    surface = Surface(vertices + [axis[0] for axis in axes], faces)
    return surface if surface.volume > 0 else Surface(surface.vertices, surface.faces[:, ::-1])


def rotation(axis: object, degrees: float) -> Array:
    direction = np.asarray(axis, float) / np.linalg.norm(axis)
    cross = np.cross(np.eye(3), direction)
    angle = np.deg2rad(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross))


def moved(turn: Array, shift: object = (0.0, 0.0, 0.0)) -> Array:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, shift
    return matrix


def simple_femur(valgus: float = 0.0, low: float = 0.0, high: float = 440.0) -> Surface:
    """Two condyles (balls at x = 25 and -25 mm, 22 mm in radius, their lowest points `valgus` degrees from the x axis, the lateral one
    higher), a shaft along z from x = 0, and a head of 23 mm about HIP on a neck.
    """
    rise = 25.0 * np.tan(np.deg2rad(valgus))
    parts = [
        capsule((25, 8, 22 - rise), (25, 2, 22 - rise), 22.0),
        capsule((-25, 8, 22 + rise), (-25, 2, 22 + rise), 22.0),
        box((0, 0, 34), (26, 14, 12)),
        capsule((0, 0, 30), (0, 0, 200), 15.0),
        capsule((0, 0, 200), (-35, 0, 340), 15.0),
        capsule((-35, 0, 340), (-30, 0, 385), 13.0),
        capsule((-32, 0, 370), HIP, 11.0),
        capsule(HIP, HIP + np.array([0, 0, 0.01]), 23.0),
    ]
    chosen = None if high >= 440.0 else lambda points: points[..., 2] - high
    return meshed(parts, (-60, -40, low - 10), (60, 40, min(high, 440.0)), cut=chosen)


def simple_tibia(slope: float = 0.0, varus: float = 0.0, end: float = -360.0) -> Surface:
    """A plateau: two square tables with a ridge between and round edges 37 mm from the middle, its surface falling `slope` degrees
    backwards and `varus` degrees medially; a ball as tubercle, 24 mm in front; a shaft along z from x = 0; a hollow lower end about
    ANKLE with a malleolus.
    """
    turn = rotation((0, 1, 0), varus) @ rotation((1, 0, 0), -slope)
    top = np.array([0.0, 0.0, PLATEAU])
    parts = [
        box(top - 12 * turn[:, 2], (34, 22, 12), turn),
        *(capsule(top + turn @ (x, -0.01, -9), top + turn @ (x, 0.01, -9), 8.0) for x in (29, -29)),
        box(top, (4, 8, 6), turn),
        capsule((0, -14, -38), (0, -14, -38.01), 10.0),
        capsule((0, 0, -25), (0, 0, -200), 14.0),
        capsule((0, 0, -200), ANKLE + np.array([0, 0, 30]), 13.0),
        capsule(ANKLE + np.array([0, 0, 30]), ANKLE + np.array([0, 0, 20]), 22.0),
        capsule(ANKLE + np.array([21, -2, 10]), ANKLE + np.array([21, -2, -8]), 5.0),
    ]
    hollow = capsule(ANKLE + np.array([0, -30, -60]), ANKLE + np.array([0, 30, -60]), 60.0)
    return meshed(parts, (-45, -35, max(end, -345.0)), (45, 35, 12), cut=_hollowed(hollow, end))


def _hollowed(hollow: Field, end: float) -> Field:
    def distance(points: Array) -> Array:
        beside = points[..., 0] - (ANKLE[0] + 16.0)
        # The malleolus stays where the talus' cylinder takes the rest away.
        taken = np.where(beside < 0, -hollow(points), -np.abs(beside) - 1.0)
        return np.maximum(taken, end - points[..., 2])

    return distance


@cache
def simple_leg(
    side: str = "right", slope: float = 0.0, varus: float = 0.0, valgus: float = 0.0, knee_only: bool = False
) -> dict[str, Surface]:
    """Four bones of such a leg; a left one is the mirror image."""
    end, high = (-120.0, 130.0) if knee_only else (-360.0, 440.0)
    fibula = [capsule((-34, 18, -20), (-32, 16, -40), 8.0)]
    fibula.append(capsule((-32, 16, -40), (-30, 12, -120 if knee_only else -335), 6.0))
    bones = {
        "femur": simple_femur(valgus, high=high),
        "tibia": simple_tibia(slope, varus, end),
        "fibula": meshed(fibula, (-45, 0, -125 if knee_only else -345), (-20, 30, -10)),
        "patella": meshed(
            [
                box((0, -42, 38), (17, 6, 14)),
                capsule((0, -42, 26), (0, -43, 20), 6.0),
                capsule((0, -36, 34), (0, -36, 44), 6.0),
            ],
            (-20, -52, 10),
            (20, -28, 56),
        ),
    }
    return {name: bone.transformed(MIRROR) for name, bone in bones.items()} if side == "left" else bones


def cut_between(surface: Surface, low: float, high: float) -> Surface:
    """What lies between two heights, closed flat there, as a field of view cuts a shaft."""
    import manifold3d

    mesh = manifold3d.Mesh64(surface.vertices, surface.faces.astype(np.uint64))
    solid = manifold3d.Manifold(mesh).trim_by_plane((0, 0, 1), low).trim_by_plane((0, 0, -1), -high)
    found = solid.to_mesh64()
    return Surface(np.array(found.vert_properties)[:, :3], np.array(found.tri_verts, dtype=np.int64))


def labelled(bones: dict[str, Surface], spacing: float = 1.5) -> tuple[NDArray[np.uint8], Grid]:
    """The label volume of bones: voxels whose centres lie inside."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkImagingStencil import vtkImageStencilToImage, vtkPolyDataToImageStencil

    corners = np.concatenate([bone.bounds for bone in bones.values()])
    low, high = corners.min(axis=0) - 2 * spacing, corners.max(axis=0) + 2 * spacing
    size = tuple(int(count) for count in np.ceil((high - low) / spacing))
    grid = Grid((low[0], low[1], low[2]), (spacing,) * 3, (size[2], size[1], size[0]))
    labels = np.zeros(size[::-1], np.uint8)
    for name, surface in bones.items():
        stencil = vtkPolyDataToImageStencil()
        stencil.SetInputData(surface.to_vtk())
        stencil.SetOutputOrigin(*low)
        stencil.SetOutputSpacing(spacing, spacing, spacing)
        stencil.SetOutputWholeExtent(0, size[0] - 1, 0, size[1] - 1, 0, size[2] - 1)
        image = vtkImageStencilToImage()
        image.SetInputConnection(stencil.GetOutputPort())
        image.SetInsideValue(1)
        image.SetOutsideValue(0)
        image.SetOutputScalarTypeToUnsignedChar()
        image.Update()
        inside = vtk_to_numpy(image.GetOutput().GetPointData().GetScalars()).reshape(labels.shape)
        labels[inside > 0] = anatomy_of(name).label
    return labels, grid
