"""Template meshes: one even, closed mesh a bone, with a flat end where a shaft is cut, whose vertices the shape model carries."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.signed_distance import signed_distance
from SSRKDCore.grid import Grid
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

_RELAXATIONS = 40
# The cap's rings, as shares of the way from the middle to the rim.
_RINGS = (0.67, 0.33)


@dataclass(frozen=True)
class Template:
    """A closed mesh, its shaft (if it has one) cut flat across z.

    The vertices are ordered: the bone's own, then those of the cap, which follow from the rim: rings
    within it, and the middle.

    Attributes
    ----------
    vertices: (V, 3) mm, knee frame (LPS, right knee).
    faces: (F, 3), counter-clockwise seen from outside.
    rim: (n,) the vertices around the flat end in order; empty for a bone without one.
    """

    vertices: Array
    faces: NDArray[np.int64]
    rim: NDArray[np.int64]

    @property
    def own_count(self) -> int:
        """How many vertices lie on the bone itself (not on the cap)."""
        return len(self.vertices) - (len(_RINGS) * len(self.rim) + 1 if len(self.rim) else 0)

    @property
    def surface(self) -> Surface:
        """The template as a surface."""
        return Surface(self.vertices, self.faces)

    def with_flat_end(self, vertices: Array) -> Array:
        """A copy of vertices (V, 3) whose rim lies in the plane z = its mean, and whose cap fills that plane."""
        if not len(self.rim):
            return vertices
        result = vertices.copy()
        result[self.rim, 2] = vertices[self.rim, 2].mean()
        ring = result[self.rim]
        middle = ring.mean(axis=0)
        result[self.own_count : -1] = np.concatenate([middle + share * (ring - middle) for share in _RINGS])
        result[-1] = middle
        return result


def even_mesh(
    surface: Surface, edge: float, end: float | None = None, extruded_from: float | None = None, smoothing: float = 0.0
) -> Template:
    """An even triangle mesh of a bone, cut flat across its shaft.

    The zero level of the bone's signed distance is meshed by surface nets (Gibson, MICCAI 1998) and evened by tangential relaxation.

    Parameters
    ----------
    surface: closed, mm, in the knee frame.
    edge: spacing of the net in mm; triangle edges are about as long.
    end: z in mm of the flat end (positive above the joint, negative below); None keeps the whole bone.
    extruded_from: z from which the cross-section is continued to the end as it is there, along the direction of the last 25 mm of
        shaft: for sources that stop short. A template only has to bend to the bones, so this is not a claim on anatomy.
    smoothing: standard deviation in mm of a Gaussian on the signed distance, for sources with slice steps.

    Raises ValueError when the result is not one closed mesh with one rim.
    """
    field, grid = _signed_distance(surface, min(edge / 2, 1.25), end, smoothing)
    if end is not None and extruded_from is not None:
        field = _extruded(field, grid, end, extruded_from)
    vertices, faces = _surface_net(field, grid, edge)
    rim = np.zeros(0, dtype=np.int64)
    if end is not None:
        vertices, faces, rim = _cut(vertices, faces, end)
    vertices = _relaxed(vertices, faces, rim, field, grid)
    template = _capped(vertices, faces, rim)
    if not template.surface.is_closed():
        raise ValueError("the template is not one closed mesh: another edge length is needed")
    if template.surface.volume < 0:
        return Template(template.vertices, template.faces[:, ::-1].copy(), template.rim)
    return template


def _signed_distance(surface: Surface, spacing: float, end: float | None, smoothing: float) -> tuple[Array, Grid]:
    from scipy.ndimage import gaussian_filter

    margin = 10.0
    low, high = surface.bounds[0] - margin, surface.bounds[1] + margin
    if end is not None and end > 0:
        high[2] = end + margin
    elif end is not None:
        low[2] = end - margin
    # Extrusion leans with the shaft, so there is room beside it.
    low[:2] -= 15.0
    high[:2] += 15.0
    count = np.ceil((high - low) / spacing).astype(int) + 1
    grid = Grid(tuple(low), (spacing, spacing, spacing), (int(count[2]), int(count[1]), int(count[0])))
    field = signed_distance(surface, grid, 8.0, 6.0).astype(np.float64)
    if smoothing > 0:
        field = gaussian_filter(field, smoothing / spacing, mode="nearest")
    return field, grid


def _extruded(field: Array, grid: Grid, end: float, start: float) -> Array:
    """The field with the slice at z = `start` repeated towards the end, shifted along the shaft's direction."""
    from scipy.ndimage import shift

    spacing = grid.spacing[2]
    heights = grid.origin[2] + spacing * np.arange(grid.shape[0])
    towards = 1 if end > 0 else -1

    def center(height: float) -> Array:
        slice_ = field[round((height - grid.origin[2]) / spacing)] < 0
        y, x = np.nonzero(slice_)
        return np.array([y.mean(), x.mean()])

    drift = (center(start) - center(start - towards * 25.0)) / 25.0
    first = round((start - grid.origin[2]) / spacing)
    result = field.copy()
    for index in range(len(heights)):
        beyond = (heights[index] - heights[first]) * towards
        if beyond > 0:
            result[index] = shift(field[first], drift * beyond, order=1, mode="nearest")
    return result


def _sampled(field: Array, grid: Grid, points: Array) -> Array:
    from scipy.ndimage import map_coordinates

    index = ((points - grid.origin) / grid.spacing)[:, ::-1].T
    return map_coordinates(field, index, order=1, mode="nearest")


def _surface_net(field: Array, grid: Grid, edge: float) -> tuple[Array, NDArray[np.int64]]:
    """Vertices and triangles of the net between the inside and outside of a field, on a lattice of `edge` mm."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkSurfaceNets3D, vtkTriangleFilter

    low, high = grid.bounds
    axes = [np.arange(low[axis] + edge, high[axis] - edge, edge) for axis in range(3)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    inside = _sampled(field, grid, np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)) < 0
    image = vtkImageData()
    image.SetDimensions(len(axes[0]), len(axes[1]), len(axes[2]))
    image.SetSpacing(edge, edge, edge)
    image.SetOrigin(axes[0][0], axes[1][0], axes[2][0])
    image.GetPointData().SetScalars(numpy_to_vtk(inside.astype(np.uint8), deep=True))
    net = vtkSurfaceNets3D()
    net.SetInputData(image)
    net.SetValue(0, 1)
    net.SmoothingOff()
    triangles = vtkTriangleFilter()
    triangles.SetInputConnection(net.GetOutputPort())
    triangles.Update()
    found = Surface.from_vtk(triangles.GetOutput())
    return found.vertices, found.faces


def _cut(vertices: Array, faces: NDArray[np.int64], end: float) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Drops what lies beyond the lattice layer next to z = `end`, moves that layer there; the rim's vertices in order."""
    layers = np.unique(np.round(vertices[:, 2], 3))
    layer = float(layers[np.abs(layers - end).argmin()])
    beyond = (vertices[:, 2] - layer) * np.sign(end) > 1e-2
    faces = faces[~beyond[faces].any(axis=1)]
    # Triangles that lie in the layer belong to no wall.
    faces = faces[~(np.abs(vertices[faces][..., 2] - layer) < 1e-2).all(axis=1)]
    used, renumbered = np.unique(faces, return_inverse=True)
    vertices, faces = vertices[used].copy(), renumbered.reshape(-1, 3)
    vertices[np.abs(vertices[:, 2] - layer) < 1e-2, 2] = end
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    directed = set(map(tuple, edges.tolist()))
    following = {int(b): int(a) for a, b in directed if (b, a) not in directed}
    if not following:
        raise ValueError("the bone does not reach its flat end")
    rim = [next(iter(following))]
    while following[rim[-1]] != rim[0]:
        rim.append(following[rim[-1]])
    if len(rim) != len(following):
        raise ValueError("the flat end has more than one rim")
    return vertices, faces, np.array(rim, dtype=np.int64)


def _relaxed(vertices: Array, faces: NDArray[np.int64], rim: NDArray[np.int64], field: Array, grid: Grid) -> Array:
    """Vertices moved towards the middle of their neighbours and back onto the field's zero level; a rim stays in its plane."""
    average = neighbour_average(faces, len(vertices))
    height = vertices[rim, 2].copy()
    step = 0.5 * grid.spacing[0]
    for _ in range(_RELAXATIONS):
        vertices = 0.4 * vertices + 0.6 * (average @ vertices)
        for _ in range(2):
            vertices[rim, 2] = height
            value = _sampled(field, grid, vertices)
            slopes = [
                _sampled(field, grid, vertices + step * axis) - _sampled(field, grid, vertices - step * axis)
                for axis in np.eye(3)
            ]
            gradient = np.stack(slopes, axis=1) / (2 * step)
            vertices = vertices - gradient * (value / np.maximum((gradient**2).sum(axis=1), 0.25))[:, None]
    vertices[rim, 2] = height
    return vertices


def neighbour_average(faces: NDArray[np.int64], count: int):  # type: ignore[no-untyped-def]
    """Sparse (V, V) matrix that replaces each vertex value by the mean over its neighbours."""
    from scipy.sparse import coo_matrix, diags

    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    both = np.concatenate([edges, edges[:, ::-1]])
    adjacency = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(count, count)).tocsr()
    adjacency.data[:] = 1.0
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    return diags(1.0 / np.maximum(degree, 1.0)) @ adjacency


def _capped(vertices: Array, faces: NDArray[np.int64], rim: NDArray[np.int64]) -> Template:
    """The mesh closed by a flat cap on its rim (which runs so that the cap's triangles face outwards)."""
    if not len(rim):
        return Template(vertices, faces, rim)
    count, middle = len(rim), len(vertices) + len(_RINGS) * len(rim)
    here, there = np.arange(count), (np.arange(count) + 1) % count
    rings = [rim, *(len(vertices) + index * count + here for index in range(len(_RINGS)))]
    cap = [
        np.concatenate([
            np.stack([outer[here], outer[there], inner[here]], axis=1),
            np.stack([outer[there], inner[there], inner[here]], axis=1),
        ])
        for outer, inner in pairwise(rings)
    ]  # fmt: skip
    cap.append(np.stack([rings[-1][here], rings[-1][there], np.full(count, middle)], axis=1))
    room = np.zeros((middle + 1 - len(vertices), 3))
    template = Template(np.concatenate([vertices, room]), np.concatenate([faces, *cap]), rim)
    return Template(template.with_flat_end(template.vertices), template.faces, rim)
