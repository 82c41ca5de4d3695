"""Triangle surfaces in LPS millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData


@dataclass(frozen=True)
class Surface:
    """A triangle mesh.

    Attributes
    ----------
    vertices: (V, 3) float64, LPS mm.
    faces: (F, 3) int64, indices of vertices, counter-clockwise seen from outside.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]

    def __post_init__(self) -> None:
        vertices = np.ascontiguousarray(self.vertices, dtype=np.float64).reshape(-1, 3)
        faces = np.ascontiguousarray(self.faces, dtype=np.int64).reshape(-1, 3)
        if not np.isfinite(vertices).all():
            raise ValueError("a surface needs finite vertices")
        if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
            raise ValueError("a face names a vertex that does not exist")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", faces)

    @classmethod
    def empty(cls) -> Surface:
        """A surface without vertices or faces."""
        return cls(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))

    @property
    def is_empty(self) -> bool:
        """True when there is not a single triangle."""
        return len(self.faces) == 0

    @property
    def triangles(self) -> NDArray[np.float64]:
        """(F, 3 corners, 3) positions in mm."""
        return self.vertices[self.faces]

    @property
    def triangle_areas(self) -> NDArray[np.float64]:
        """(F,) areas in mm^2."""
        corners = self.triangles
        return 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)

    @property
    def area(self) -> float:
        """Total area in mm^2."""
        return float(self.triangle_areas.sum())

    @property
    def volume(self) -> float:
        """Signed enclosed volume in mm^3: positive for a closed surface with outward winding."""
        if self.is_empty:
            return 0.0
        corners = self.triangles - self.vertices.mean(axis=0)
        return float(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6.0)

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(2, 3): lowest and highest corner of the vertices in mm. Raises ValueError for an empty surface."""
        if len(self.vertices) == 0:
            raise ValueError("an empty surface has no bounds")
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    @property
    def centroid(self) -> NDArray[np.float64]:
        """(3,) area-weighted centre of the surface in mm. Raises ValueError for an empty surface."""
        areas = self.triangle_areas
        if areas.sum() <= 0:
            raise ValueError("an empty surface has no centroid")
        return np.asarray((self.triangles.mean(axis=1) * areas[:, None]).sum(axis=0) / areas.sum())

    def is_closed(self) -> bool:
        """True when every edge is shared by exactly two triangles that run along it in opposite directions."""
        if self.is_empty:
            return False
        start = self.faces[:, [0, 1, 2]].ravel()
        end = self.faces[:, [1, 2, 0]].ravel()
        count = len(self.vertices)
        forward = np.sort(start * count + end)
        backward = np.sort(end * count + start)
        return bool(np.all(forward[1:] != forward[:-1]) and np.array_equal(forward, backward))

    def transformed(self, matrix: ArrayLike) -> Surface:
        """The surface moved by a 4x4 matrix; a mirroring one (negative determinant) also turns the winding, so outside stays outside."""
        transform = np.asarray(matrix, dtype=np.float64)
        vertices = self.vertices @ transform[:3, :3].T + transform[:3, 3]
        faces = self.faces[:, ::-1] if np.linalg.det(transform[:3, :3]) < 0 else self.faces
        return Surface(vertices, faces)

    def to_vtk(self) -> vtkPolyData:
        """The same surface as VTK data, coordinates unchanged."""
        from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
        from vtkmodules.vtkCommonCore import vtkPoints
        from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

        points = vtkPoints()
        points.SetData(numpy_to_vtk(self.vertices, deep=True))
        cells = vtkCellArray()
        offsets = numpy_to_vtkIdTypeArray(np.arange(0, 3 * len(self.faces) + 1, 3, dtype=np.int64), deep=True)
        cells.SetData(offsets, numpy_to_vtkIdTypeArray(self.faces.ravel(), deep=True))
        polydata = vtkPolyData()
        polydata.SetPoints(points)
        polydata.SetPolys(cells)
        return polydata

    @classmethod
    def from_vtk(cls, polydata: vtkPolyData) -> Surface:
        """The triangles of VTK data. Raises ValueError when a polygon is not a triangle."""
        from vtkmodules.util.numpy_support import vtk_to_numpy

        if polydata.GetNumberOfPolys() == 0:
            return cls.empty()
        offsets = vtk_to_numpy(polydata.GetPolys().GetOffsetsArray())
        if not np.array_equal(np.diff(offsets), np.full(len(offsets) - 1, 3)):
            raise ValueError("the surface has polygons that are not triangles")
        faces = vtk_to_numpy(polydata.GetPolys().GetConnectivityArray()).reshape(-1, 3)
        return cls(vtk_to_numpy(polydata.GetPoints().GetData()).astype(np.float64), faces.astype(np.int64))
