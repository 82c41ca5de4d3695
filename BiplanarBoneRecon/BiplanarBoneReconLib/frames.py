"""Between the engine's frame and Slicer's: LPS (x to the patient's left, y to posterior) and RAS. Half a turn about z, no mirror."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def turnedAboutZ(polydata: Any) -> Any:
    """A copy of the polydata with x and y negated: LPS to RAS, or RAS to LPS."""
    return moved(polydata, LPS_TO_RAS)


def toWorld(node: Any) -> np.ndarray | None:
    """(4, 4) of the transforms above a node, RAS; None where they are not linear."""
    transform, matrix = node.GetParentTransformNode(), vtk.vtkMatrix4x4()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        return None
    transform.GetMatrixTransformToWorld(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def isRigid(matrix: np.ndarray) -> bool:
    """Whether a (4, 4) neither stretches nor mirrors."""
    return keepsSizes(matrix) and not isMirror(matrix)


def keepsSizes(matrix: np.ndarray) -> bool:
    """Whether a (4, 4) neither stretches nor shears; it may mirror."""
    turn = matrix[:3, :3]
    return bool(np.allclose(turn.T @ turn, np.eye(3), atol=1e-5))


def isMirror(matrix: np.ndarray | None) -> bool:
    """Whether a (4, 4) turns a surface inside out; None is not linear and taken as one that does not."""
    return matrix is not None and bool(np.linalg.det(matrix[:3, :3]) < 0)


def moved(polydata: Any, matrix: np.ndarray) -> Any:
    """A copy of the polydata, moved by a (4, 4) of its own axes."""
    transform = vtk.vtkTransform()
    transform.SetMatrix(vtkMatrix(matrix))
    filter_ = vtk.vtkTransformPolyDataFilter()
    filter_.SetTransform(transform)
    filter_.SetInputData(polydata)
    filter_.Update()
    copy = vtk.vtkPolyData()
    copy.DeepCopy(filter_.GetOutput())
    return copy


def imageToRAS(view: dict[str, Any]) -> np.ndarray:
    """The (4, 4) IJK-to-RAS matrix of a one-slice volume that stands on the detector of a view of rig.json.

    i runs along the columns, j along the rows, k along the beam or against it, so that the axes are right-handed.
    """
    between_rows, between_columns = view["pixel_spacing"]
    across = np.array(view["column_direction"], dtype=float)
    down = np.array(view["row_direction"], dtype=float)
    matrix = np.eye(4)
    matrix[:3, 0] = across * between_columns
    matrix[:3, 1] = down * between_rows
    matrix[:3, 2] = np.cross(across, down)
    matrix[:3, 3] = view["detector_origin"]
    return LPS_TO_RAS @ matrix


def sliceToRAS(view: dict[str, Any]) -> np.ndarray:
    """The (4, 4) slice-to-RAS matrix that shows a view's image as it is stored: columns to the right, rows downwards."""
    across = np.array(view["column_direction"], dtype=float)
    up = -np.array(view["row_direction"], dtype=float)
    center = (
        np.array(view["detector_origin"], dtype=float)
        + across * view["pixel_spacing"][1] * (view["columns"] - 1) / 2
        - up * view["pixel_spacing"][0] * (view["rows"] - 1) / 2
    )
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = across, up, np.cross(across, up), center
    return LPS_TO_RAS @ matrix


def vtkMatrix(matrix: np.ndarray) -> Any:
    """A numpy (4, 4) as vtkMatrix4x4."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=float).ravel().tolist())
    return result
